"""Read the MakeHuman assets (CC0): base mesh, morph targets, rig and the fitting of clothes. Knows no identity."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from reid_demo.errors import SyntheticError

NEEDED = ("data/3dobjs/base.obj", "data/rigs/default.mhskel", "data/targets/macrodetails", "base/clothes", "base/hair")
NUMBER = re.compile(r"^-?\d")


@dataclass(frozen=True, eq=False)
class Cloth:
    """A garment of the assets: its mesh, and for each vertex its three anchors on the body, weights and offset."""

    name: str
    vertices: np.ndarray  # (n, 3) dm, as modelled on the average body
    triangles: np.ndarray  # (m, 3)
    anchors: np.ndarray  # (n, 3) int, vertices of the base mesh
    weights: np.ndarray  # (n, 3)
    offsets: np.ndarray  # (n, 3) dm
    scales: dict[int, tuple[int, int, float]]  # axis -> two base vertices and their distance on the average body
    hides: np.ndarray  # (k,) base vertices that it covers

    @cached_property
    def component(self) -> np.ndarray:
        """The number of each vertex's connected component, `(n,)`."""
        edges = self.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
        shape = (len(self.vertices), len(self.vertices))
        return connected_components(coo_matrix((np.ones(len(edges)), edges.T), shape=shape))[1]

    def fit(self, body: np.ndarray) -> np.ndarray:
        """Return the vertices `(n, 3)`, dm, on a body `(N, 3)` of any shape."""
        scale = np.ones(3, np.float32)
        for axis, (i, j, reference) in self.scales.items():
            scale[axis] = abs(body[i, axis] - body[j, axis]) / reference
        return self.spread(body) + self.offsets * scale

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Interpolate values of the base vertices, `(N,)` or `(N, k)`, at the garment's: `(n,)` or `(n, k)`."""
        weights = self.weights[..., None] if values.ndim == 2 else self.weights
        return (values[self.anchors] * weights).sum(1)


@dataclass(eq=False)
class Assets:
    """The assets' folder; targets and clothes are read on first use."""

    folder: Path
    vertices: np.ndarray  # (N, 3) dm, average body, arms half lowered, facing +z
    quads: np.ndarray  # (F, 4)
    groups: np.ndarray  # (F,) names of the faces' groups
    bones: list[str]  # parents before children
    parents: list[int]  # -1 for the root
    heads: list[np.ndarray]  # of each bone, the base vertices whose mean is its start
    weights: np.ndarray  # (N, bones), rows sum to 1
    _targets: dict[str, tuple[np.ndarray, np.ndarray] | None] = field(default_factory=dict)
    _cloths: dict[str, Cloth] = field(default_factory=dict)

    def target(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the vertices `(k,)` and shifts `(k, 3)` of a morph target; `None` if there is no such target."""
        if name not in self._targets:
            path = self.folder / "data/targets" / f"{name}.target"
            self._targets[name] = _read_target(path) if path.is_file() else None
        return self._targets[name]

    def cloth(self, name: str) -> Cloth:
        """Return a garment, hat, pair of shoes or hair style by its folder's name.

        Raises:
            SyntheticError: the assets have none of that name, or it is damaged.
        """
        if name not in self._cloths:
            found = sorted(
                path for kind in ("clothes", "hair") for path in (self.folder / "base" / kind / name).glob("*")
            )
            found = [path for path in found if path.suffix == ".mhclo"]
            if not found:
                raise SyntheticError(f"The assets have no clothes or hair called {name!r}; unpack all asset packs.")
            try:
                self._cloths[name] = _read_cloth(found[0])
            except (OSError, ValueError, IndexError, TypeError) as error:
                raise SyntheticError(
                    f"The assets' garment {found[0].name!r} is damaged; unpack the assets again."
                ) from error
        return self._cloths[name]


def load_assets(folder: Path) -> Assets:
    """Read the base mesh and rig.

    Raises:
        SyntheticError: the folder does not hold the unpacked MakeHuman assets, or they are damaged.
    """
    missing = [name for name in NEEDED if not (folder / name).exists()]
    if missing:
        raise SyntheticError(
            f"{str(folder)!r} is not a folder of MakeHuman assets: {missing[0]} is missing. "
            "Name the folder that holds `base` and `data`."
        )
    try:
        return _assets(folder)
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise SyntheticError(f"The MakeHuman assets in {str(folder)!r} are damaged: {error!r}.") from error


def _assets(folder: Path) -> Assets:
    vertices, faces, groups = _read_obj(folder / "data/3dobjs/base.obj")
    rig = json.loads((folder / "data/rigs/default.mhskel").read_text(encoding="utf-8"))
    painted = json.loads((folder / "data/rigs/default_weights.mhw").read_text(encoding="utf-8"))["weights"]
    bones = _parents_first(rig["bones"])
    joints = {name: np.array(ids) for name, ids in rig["joints"].items()}
    index = {name: i for i, name in enumerate(bones)}
    weights = np.zeros((len(vertices), len(bones)), np.float32)
    for name, pairs in painted.items():
        if name in index and pairs:
            pairs = np.array(pairs)
            weights[pairs[:, 0].astype(int), index[name]] = pairs[:, 1]
    weights[weights.sum(1) == 0, index["root"]] = 1
    weights /= weights.sum(1, keepdims=True)
    quads = np.array([face if len(face) == 4 else [*face[:3], face[2]] for face in faces])
    return Assets(
        folder=folder,
        vertices=vertices,
        quads=quads,
        groups=np.array(groups),
        bones=bones,
        parents=[index.get(rig["bones"][name]["parent"], -1) for name in bones],
        heads=[joints[rig["bones"][name]["head"]] for name in bones],
        weights=weights,
    )


def _parents_first(bones: dict) -> list[str]:
    order: dict[str, None] = {}

    def add(name: str) -> None:
        parent = bones[name]["parent"]
        if parent and parent not in order:
            add(parent)
        order.setdefault(name)

    for name in bones:
        add(name)
    return list(order)


def _lines(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8", errors="ignore") as file:
        for line in file:
            words = line.split()
            if words and not words[0].startswith("#"):
                yield words


def _read_obj(path: Path) -> tuple[np.ndarray, list[list[int]], list[str]]:
    vertices, faces, groups, group = [], [], [], ""
    for words in _lines(path):
        if words[0] == "v":
            vertices.append([float(x) for x in words[1:4]])
        elif words[0] == "g":
            group = words[1]
        elif words[0] == "f":
            faces.append([int(word.split("/")[0]) - 1 for word in words[1:]])
            groups.append(group)
    return np.array(vertices, np.float32), faces, groups


def _read_target(path: Path) -> tuple[np.ndarray, np.ndarray]:
    text = path.read_text(encoding="utf-8", errors="ignore")
    start = 0
    while text.startswith("#", start):
        start = text.find("\n", start) + 1 or len(text)
    words = text[start:].split()
    try:
        table = np.fromiter(map(float, words), float, len(words)).reshape(-1, 4)
    except ValueError as error:
        raise SyntheticError(f"The assets' target {path.name!r} is damaged; unpack the assets again.") from error
    return table[:, 0].astype(int), table[:, 1:].astype(np.float32)


def _read_cloth(path: Path) -> Cloth:
    mesh, section, scales = "", "", {}
    anchors, weights, offsets, hides = [], [], [], []
    for words in _lines(path):
        key = words[0]
        if key == "obj_file":
            mesh = words[1]
        elif key in ("x_scale", "y_scale", "z_scale"):
            scales["xyz".index(key[0])] = int(words[1]), int(words[2]), float(words[3])
        elif key in ("verts", "delete_verts"):
            section = key
        elif section == "verts" and NUMBER.match(key):
            whole = len(words) == 1
            anchors.append([int(key)] * 3 if whole else [int(x) for x in words[:3]])
            weights.append([1, 0, 0] if whole else [float(x) for x in words[3:6]])
            offsets.append([0, 0, 0] if len(words) < 9 else [float(x) for x in words[6:9]])
        elif section == "delete_verts" and NUMBER.match(key):
            hides += _ranges(words)
    vertices, faces, _ = _read_obj(path.with_name(mesh))
    if len(vertices) != len(anchors):
        raise SyntheticError(f"{path.name} fits {len(anchors)} vertices but its mesh has {len(vertices)}.")
    triangles = np.array([(f[0], f[i], f[i + 1]) for f in faces for i in range(1, len(f) - 1)])
    return Cloth(
        name=path.stem,
        vertices=vertices,
        triangles=triangles,
        anchors=np.array(anchors),
        weights=np.array(weights, np.float32),
        offsets=np.array(offsets, np.float32),
        scales=scales,
        hides=np.array(sorted(set(hides)), int),
    )


def _ranges(words: list[str]) -> list[int]:
    """Read `3 5 - 7` as 3, 5, 6, 7."""
    found, i = [], 0
    while i < len(words):
        if i + 2 < len(words) and words[i + 1] == "-":
            found += range(int(words[i]), int(words[i + 2]) + 1)
            i += 3
        else:
            found.append(int(words[i]))
            i += 1
    return found
