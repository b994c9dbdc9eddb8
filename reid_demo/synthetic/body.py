"""The base body: regions, pattern coordinates, and shape from sliders. Knows no clothes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from scipy.sparse import csr_matrix

from reid_demo.data.ground_truth import PARTS
from reid_demo.synthetic.assets import Assets
from reid_demo.synthetic.geometry import averaging, incidence, normals, quads_to_triangles

PART = {name: i + 1 for i, name in enumerate(PARTS)}  # 0 is "no part" in an image of ids
ANCESTRIES = ("african", "asian", "caucasian")

# Bones that a pose turns; every other bone moves with the nearest of these above it.
MOVING = ("root", "spine03", "spine01", "neck02", "head") + tuple(
    f"{name}.{side}"
    for side in "LR"
    for name in (
        *("upperleg01", "lowerleg01", "foot", "clavicle", "upperarm01", "lowerarm01", "lowerarm02", "wrist"),
        *(f"finger{finger}-{joint}" for finger in range(1, 6) for joint in range(1, 4)),
    )
)


@dataclass(frozen=True)
class Build:
    """Body shape as sliders from 0 to 1, defined as in MakeHuman."""

    male: float = 0.5
    age: float = 0.5  # 0.5 is 25 years, 1 is 90
    muscle: float = 0.5
    weight: float = 0.5
    height: float = 0.5
    proportions: float = 0.5
    ancestry: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3)  # African, Asian, Caucasian; sums to 1
    cup: float = 0.5


@dataclass(eq=False)
class Body:
    """The average body, with the properties of its `N` vertices that garments and poses need."""

    assets: Assets
    arm: np.ndarray = field(init=False)  # (N,) weight of the arm bones, 0..1; `leg`, `head`, `hand`, `foot` likewise
    arm_t: np.ndarray = field(init=False)  # (N,) 0 at the shoulder, 1 at the wrist
    leg_t: np.ndarray = field(init=False)  # (N,) 0 at the hip, 1 at the ankle
    sleeve: np.ndarray = field(init=False)  # (N,) 0 on the torso, 1 on the arm
    coords: np.ndarray = field(init=False)  # (N, 3) dm, pattern coordinates; y runs down the sleeve, so stripes ring it
    part: np.ndarray = field(init=False)  # (N,) uint8, a value of `PART`

    def __post_init__(self) -> None:
        a = self.assets
        self.bones = [name for name in a.bones if name in MOVING]
        self.bone = {name: i for i, name in enumerate(self.bones)}
        self.parents, self.weights = self._merge_bones()
        self.arm = self._share("upperarm", "lowerarm", "wrist", "finger", "metacarpal", "shoulder01")
        self.leg = self._share("upperleg", "lowerleg", "foot", "toe")
        self.hand = self._share("finger", "metacarpal", "wrist")
        self.foot = self._share("foot", "toe")
        above_neck = {a.bones.index("neck03")}
        for i, parent in enumerate(a.parents):
            if parent in above_neck:
                above_neck.add(i)
        self.head = a.weights[:, sorted(above_neck)].sum(1)
        v = a.vertices
        self.arm_t, self.leg_t = np.zeros(len(v)), np.zeros(len(v))
        arm_length = 1.0
        for side, mask in (("L", v[:, 0] >= 0), ("R", v[:, 0] < 0)):
            arm_line = [self.joint(v, f"{bone}.{side}") for bone in ("upperarm01", "lowerarm01", "wrist")]
            leg_line = [self.joint(v, f"{bone}.{side}") for bone in ("upperleg01", "lowerleg01", "foot")]
            self.arm_t[mask], arm_length = _along(v[mask], arm_line)
            self.leg_t[mask], _ = _along(v[mask], leg_line)
        self.sleeve = np.clip((self.arm - 0.3) / 0.4, 0, 1)
        self.coords = v.copy()
        shoulder = self.joint(v, "upperarm01.L")[1]
        self.coords[:, 1] = (1 - self.sleeve) * v[:, 1] + self.sleeve * (shoulder - self.arm_t * arm_length)
        self.part = self._parts()
        group = a.groups
        self.skin_quads, self.tight_quads = a.quads[group == "body"], a.quads[group == "helper-tights"]
        self.eye_quads = a.quads[np.isin(group, ["helper-l-eye", "helper-r-eye"])]
        self.is_skin = np.zeros(len(v), bool)
        self.is_skin[np.unique(self.skin_quads)] = True
        self.hip = self.joint(v, "upperleg01.L")[1]
        self.neck = self.joint(v, "neck01")

    def _merge_bones(self) -> tuple[list[int], np.ndarray]:
        a, owner = self.assets, []
        for name, parent in zip(a.bones, a.parents, strict=True):
            owner.append(self.bone[name] if name in self.bone else owner[parent])
        parents = [
            owner[a.parents[a.bones.index(name)]] if a.parents[a.bones.index(name)] >= 0 else -1 for name in self.bones
        ]
        weights = np.zeros((len(a.vertices), len(self.bones)), np.float32)
        for i, target in enumerate(owner):
            weights[:, target] += a.weights[:, i]
        return parents, weights

    def _share(self, *prefixes: str) -> np.ndarray:
        return self.assets.weights[:, [i for i, name in enumerate(self.assets.bones) if name.startswith(prefixes)]].sum(
            1
        )

    def _parts(self) -> np.ndarray:
        left = self.assets.vertices[:, 0] >= 0
        part = np.full(len(left), PART["torso"], np.uint8)
        part[self.leg > 0.5] = np.where(left, PART["left_leg"], PART["right_leg"])[self.leg > 0.5]
        part[self.arm > 0.5] = np.where(left, PART["left_arm"], PART["right_arm"])[self.arm > 0.5]
        part[self.head > 0.4] = PART["head"]
        part[self.foot > 0.5] = PART["feet"]
        return part

    def joint(self, vertices: np.ndarray, bone: str) -> np.ndarray:
        """Return the start of a bone, `(3,)` dm, on a body of this shape."""
        return vertices[self.assets.heads[self.assets.bones.index(bone)]].mean(0)

    def shape(self, build: Build) -> np.ndarray:
        """Return the `(N, 3)` float32 vertices, in dm, of a body of this build."""
        out = self.assets.vertices.copy()
        for name, amount in _targets(build):
            target = self.assets.target(name) if amount > 1e-3 else None
            if target is not None:
                shifted = out.take(target[0], axis=0)  # twice as fast as out[rows] += ...
                shifted += amount * target[1]
                out[target[0]] = shifted
        return out

    def grow(self, vertices: np.ndarray, quads: np.ndarray, ease: np.ndarray, smooth: int) -> tuple[np.ndarray, ...]:
        """Grow cloth from faces of the base mesh: smooth the surface, then push it out to `ease` dm above the body.

        Returns:
            Vertices `(n, 3)` float32, triangles `(m, 3)`, and the base vertex `(n,)` of each vertex.
        """
        used, local = np.unique(quads, return_inverse=True)
        local = local.reshape(quads.shape)
        triangles = quads_to_triangles(local)
        sums = incidence(triangles, len(used))
        start = vertices[used].astype(np.float64)
        soft = start.copy()
        mean = averaging(local, len(used))
        for _ in range(smooth):
            soft = 0.5 * soft + 0.5 * (mean @ soft)
        outward, soft_outward = normals(start, triangles, sums), normals(soft, triangles, sums)
        lifted = ((soft - start) * outward).sum(1)
        out = soft + soft_outward * np.maximum(ease[used] - lifted, 0)[:, None]
        return out.astype(np.float32), triangles, used


def _along(points: np.ndarray, line: list[np.ndarray]) -> tuple[np.ndarray, float]:
    """Return each point's position along a polyline (0 to 1, extrapolated past the ends), and the line's length."""
    line = np.array(line)
    lengths = np.linalg.norm(np.diff(line, axis=0), axis=1)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    best, place = np.full(len(points), np.inf), np.zeros(len(points))
    for i, length in enumerate(lengths):
        direction = (line[i + 1] - line[i]) / length
        low, high = (-9 if i == 0 else 0), (9 if i == len(lengths) - 1 else length)
        s = np.clip((points - line[i]) @ direction, low, high)
        distance = np.linalg.norm(points - line[i] - s[:, None] * direction, axis=1)
        nearer = distance < best
        best[nearer], place[nearer] = distance[nearer], starts[i] + s[nearer]
    return place / starts[-1], float(starts[-1])


def _three(value: float, name: str) -> dict[str, float]:
    high, low = max(0.0, value * 2 - 1), max(0.0, 1 - value * 2)
    return {f"max{name}": high, f"min{name}": low, f"average{name}": 1 - high - low}


def _targets(build: Build) -> Iterator[tuple[str, float]]:
    """Yield each morph target of a build with its amount, by MakeHuman's rules."""
    sexes = {"male": build.male, "female": 1 - build.male}
    if build.age < 0.5:
        young = max(0.0, (build.age - 0.1875) * 3.2)
        ages = {"young": young, "child": max(0.0, min(1.0, 5.333 * build.age) - young)}
    else:
        ages = {"young": 2 - 2 * build.age, "old": build.age * 2 - 1}
    muscles, weights = _three(build.muscle, "muscle"), _three(build.weight, "weight")
    heights = {"max": max(0.0, build.height * 2 - 1), "min": max(0.0, 1 - build.height * 2)}
    proportions = {"ideal": max(0.0, build.proportions * 2 - 1), "uncommon": max(0.0, 1 - build.proportions * 2)}
    cups, firmness = _three(build.cup, "cup"), _three(0.6, "firmness")
    for (sex, a), (age, b) in product(sexes.items(), ages.items()):
        for ancestry, share in zip(ANCESTRIES, build.ancestry, strict=True):
            yield f"macrodetails/{ancestry}-{sex}-{age}", a * b * share
        for (muscle, c), (weight, d) in product(muscles.items(), weights.items()):
            amount, name = a * b * c * d, f"{sex}-{age}-{muscle}-{weight}"
            if amount < 1e-3:
                continue
            yield f"macrodetails/universal-{name}", amount
            for height, e in heights.items():
                yield f"macrodetails/height/{name}-{height}height", amount * e
            for proportion, e in proportions.items():
                yield f"macrodetails/proportions/{name}-{proportion}proportions", amount * e
            if sex == "female":
                for (cup, e), (firm, f) in product(cups.items(), firmness.items()):
                    yield f"breast/{name}-{cup}-{firm}", amount * e * f


def skinning(weights: np.ndarray) -> csr_matrix:
    """Return a sparse `(n, bones)` matrix of the weights above 1 %, with rows that sum to 1."""
    kept = np.where(weights > 0.01, weights, 0)
    return csr_matrix(kept / np.maximum(kept.sum(1, keepdims=True), 1e-6), dtype=np.float32)
