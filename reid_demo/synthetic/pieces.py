"""Pieces of clothing as meshes on the resting body, and the ways to make one. Knows no particular garment."""

from dataclasses import dataclass

import numpy as np

from reid_demo.synthetic.body import PART, Body
from reid_demo.synthetic.fabrics import Material
from reid_demo.synthetic.geometry import normals


@dataclass(eq=False)
class Piece:
    """A mesh on the resting body, with the properties of its `n` vertices that posing and shading need."""

    vertices: np.ndarray  # (n, 3) dm
    triangles: np.ndarray  # (m, 3)
    weights: np.ndarray  # (n, bones)
    coords: np.ndarray  # (n, 3) dm, pattern coordinates
    sleeve: np.ndarray  # (n,) 0 on the torso, 1 on the arm
    part: np.ndarray  # (n,) a value of `body.PART`
    material: Material
    rows: int = 0  # of a hanging sheet: its rings of equal size, from the top; 0 if it does not hang
    own: int = 0  # 1 for a sheet that is the lower part of the piece before it
    trim: bool = False  # a hood or a collar: stands off the body, so hair does not lie on it


def grown(body: Body, shape: np.ndarray, quads: np.ndarray, ease: np.ndarray, smooth: int, material: Material) -> Piece:
    """Grow a piece from faces of the base mesh; see `Body.grow`."""
    vertices, triangles, used = body.grow(shape, quads, ease, smooth)
    return Piece(
        vertices=vertices,
        triangles=triangles,
        weights=body.weights[used],
        coords=body.coords[used],
        sleeve=body.sleeve[used],
        part=body.part[used],
        material=material,
    )


def fitted(
    body: Body, shape: np.ndarray, name: str, material: Material, keep: np.ndarray | None = None, inflate: float = 0.0
) -> Piece:
    """Fit a garment of the assets to the body.

    Args:
        body: the base body.
        shape: `(N, 3)` dm, the person's own.
        name: of the garment.
        material: its cloth.
        keep: `(n,)` bool, the vertices of the garment to keep; default: all.
        inflate: dm by which to push it out.
    """
    asset = body.assets.cloth(name)
    vertices, triangles = asset.fit(shape), asset.triangles
    if inflate:
        vertices = vertices + inflate * normals(vertices, triangles)
    if keep is not None:
        triangles = triangles[keep[triangles[:, 0]]]
    used, local = np.unique(triangles, return_inverse=True)
    weights = np.maximum(asset.spread(body.weights), 0)
    weights /= np.maximum(weights.sum(1, keepdims=True), 1e-6)
    coords = asset.spread(body.coords) + 0.8 * asset.offsets
    return Piece(
        vertices=vertices[used].astype(np.float32),
        triangles=local.reshape(triangles.shape),
        weights=weights[used],
        coords=coords[used],
        sleeve=asset.spread(body.sleeve)[used],
        part=body.part[asset.anchors[used, 0]],
        material=material,
    )


def attached(
    body: Body, mesh: tuple, bone: str, material: Material, part: str, coords: np.ndarray | None = None
) -> Piece:
    """Make a piece that moves rigidly with one bone."""
    vertices, triangles = mesh
    weights = np.zeros((len(vertices), len(body.bones)), np.float32)
    weights[:, body.bone[bone]] = 1
    return Piece(
        vertices=np.asarray(vertices, np.float32),
        triangles=triangles,
        weights=weights,
        coords=vertices if coords is None else coords,
        sleeve=np.zeros(len(vertices)),
        part=np.full(len(vertices), PART[part]),
        material=material,
    )


@dataclass(eq=False)
class Outfit:
    """A person being dressed: the pieces so far, and the skin that they hide."""

    body: Body
    shape: np.ndarray  # (N, 3) dm, the person's own
    pieces: list[Piece]
    hides: np.ndarray  # (N,) bool
