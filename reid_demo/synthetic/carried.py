"""Things that people carry or wear on head and neck: bags with straps, umbrellas, hats, scarves, glasses.

To add a bag or a hat, write a builder and add it to `WORN_BAGS`, `HELD_BAGS` or `HATS`. Model a hand-held bag about its
grip, with y up and z ahead, and list it in `HELD`: the pose moves it with the hand.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from reid_demo.synthetic.body import PART, Body
from reid_demo.synthetic.fabrics import CLOTH, PLAIN, Material
from reid_demo.synthetic.geometry import Mesh, grid, join, lathe, ribbon, rounded_box, tube
from reid_demo.synthetic.pieces import Outfit, Piece, attached, fitted, grown

BAG_WEIGHTS = {"none": 46, "backpack": 19, "cross-body": 10, "shoulder": 8, "handbag": 7, "shopping": 5, "wheeled": 4}
HAT_WEIGHTS = {"none": 78, "cap": 8, "beanie": 6, "fedora": 2, "bucket": 3, "headscarf": 3}
HELD = {"handbag": "bag", "shopping": "bag", "wheeled": "wheeled"}  # bag -> how the hand holds it
DARK = Material(PLAIN, (0.05, 0.05, 0.055), gloss=0.25)


def shell(outfit: Outfit) -> tuple[np.ndarray, np.ndarray]:
    """Return the clothed torso above the hips, without arms: points `(n, 3)`, dm, and weights `(n, bones)`."""
    body, shape = outfit.body, outfit.shape
    arms = [i for name, i in body.bone.items() if name.startswith(("upperarm", "lowerarm", "wrist", "finger"))]
    points, weights = [], []
    floor = body.joint(shape, "upperleg01.L")[1] - 0.3
    ceiling = body.joint(shape, "upperarm01.L")[1] + 0.55  # straps do not lie on hoods and collars
    for piece in outfit.pieces:
        torso = (piece.weights[:, arms].sum(1) < 0.35) & (piece.vertices[:, 1] > floor)
        torso &= piece.vertices[:, 1] < ceiling
        points.append(piece.vertices[torso])
        weights.append(piece.weights[torso])
    return np.concatenate(points), np.concatenate(weights)


def hug(points: np.ndarray, centre: np.ndarray, along: np.ndarray, turn: np.ndarray, reach: float) -> np.ndarray:
    """Lay a strap round points in a plane: at each angle, it passes the farthest point near the plane.

    Args:
        points: `(n, 3)` dm.
        centre: `(3,)` dm, in the plane and inside the body.
        along: `(2, 3)` unit vectors that span the plane; angle 0 is the first.
        turn: `(k,)` radians.
        reach: largest distance of a point from the plane, dm.

    Returns:
        The strap's line, `(k, 3)`.
    """
    flat = points - centre
    flat = flat[np.abs(flat @ np.cross(*along)) < reach]
    places = flat @ along.T
    angle, radius = np.arctan2(places[:, 1], places[:, 0]), np.linalg.norm(places, axis=1)
    gap = np.abs((angle[None] - turn[:, None] + np.pi) % (2 * np.pi) - np.pi)
    found = np.where(gap < 0.16, radius[None], 0).max(1)
    known = found > 0
    order = np.argsort(turn[known])  # `interp` needs rising angles
    found = np.interp(turn, turn[known][order], found[known][order]) if known.any() else np.ones(len(turn))
    padded = np.pad(found, 2, mode="edge")
    found = np.maximum(found, (padded[:-4] + padded[1:-3] + padded[2:-2] + padded[3:-1] + padded[4:]) / 5)
    return centre + (found[:, None] + 0.03) * (np.cos(turn)[:, None] * along[0] + np.sin(turn)[:, None] * along[1])


def _strap(line: np.ndarray, centre: np.ndarray, width: float, points: np.ndarray, weights: np.ndarray) -> tuple:
    mesh = ribbon(line, line - centre, width, 0.07)
    nearest = cKDTree(points).query(mesh[0])[1]
    return mesh, weights[nearest]


def _bound(mesh: Mesh, weights: np.ndarray, material: Material) -> Piece:
    vertices, triangles = mesh
    count = len(vertices)
    return Piece(
        vertices=vertices,
        triangles=triangles,
        weights=weights,
        coords=vertices,
        sleeve=np.zeros(count),
        part=np.full(count, PART["carried"]),
        material=material,
    )


def backpack(outfit: Outfit, material: Material, rng: np.random.Generator) -> None:
    """Put on a backpack with a front pocket, perhaps a lid, and two straps."""
    body, shape = outfit.body, outfit.shape
    points, weights = shell(outfit)
    chest = body.joint(shape, "spine01") + [0, -0.3, 0]
    wide, tall, deep = rng.uniform(2.5, 3.2), rng.uniform(3.6, 4.9), rng.uniform(1.1, 1.7)
    top = body.joint(shape, "upperarm01.L")[1] + rng.uniform(-0.3, 0.15)
    near = (np.abs(points[:, 0]) < 0.9) & (points[:, 1] < top) & (points[:, 1] > top - 0.7 * tall)
    back = points[near][:, 2].min() - 0.04
    at = np.array([0, top - tall / 2, back - deep / 2])
    body_mesh = rounded_box((wide, tall, deep), rng.uniform(5, 9), 9)
    vertices = body_mesh[0]
    vertices[:, 2] *= 1 - 0.22 * (vertices[:, 1] / tall + 0.5)  # thinner towards the top
    vertices[:, 0] *= 1 - 0.10 * (vertices[:, 1] / tall + 0.5) ** 2
    coords = vertices.copy()
    outfit.pieces.append(attached(body, (vertices + at, body_mesh[1]), "spine01", material, "carried", coords))
    second = Material(CLOTH, material.b, folds=0.4, phase=material.phase + 3, gloss=material.gloss)
    pocket = rounded_box((wide * 0.78, tall * rng.uniform(0.34, 0.46), 0.55), 7, 7)
    pocket = pocket[0] + at + np.array([0, -tall * 0.2, -deep * 0.5]), pocket[1]
    if rng.random() < 0.6:
        lid = rounded_box((wide * 0.93, tall * 0.2, deep * 0.86), 6, 7)
        pocket = join(pocket, (lid[0] + at + np.array([0, tall * 0.43, -0.08]), lid[1]))
    outfit.pieces.append(attached(body, pocket, "spine01", second, "carried"))
    straps, strap_weights = [], []
    for sign in (1, -1):
        centre = chest + [sign * 0.92, -0.2, 0.1]
        turn = np.linspace(np.radians(152), np.radians(-78), 26)  # from the back over the shoulder to the ribs
        line = hug(points, centre, np.array([[0, 0, 1.0], [0, 1.0, 0]]), turn, 0.3)
        line[:, 0] += sign * 0.25 * np.clip(-np.sin(turn), 0, 1)
        line[-1] = [sign * wide * 0.45, at[1] - tall * 0.38, back]
        line[-2] = 0.5 * line[-1] + 0.5 * line[-3] + [sign * 0.25, 0, 0]
        mesh, bound = _strap(line, centre, 0.52, points, weights)
        straps.append(mesh)
        strap_weights.append(bound)
    strap_material = Material(CLOTH, tuple(0.85 * x for x in material.a), folds=0.1)
    outfit.pieces.append(_bound(join(*straps), np.concatenate(strap_weights), strap_material))


def _side_bag(outfit: Outfit, material: Material, rng: np.random.Generator, across: bool) -> None:
    body, shape = outfit.body, outfit.shape
    points, weights = shell(outfit)
    side = 1 if rng.random() < 0.5 else -1
    hip, chest = body.joint(shape, "upperleg01.L"), body.joint(shape, "spine01")
    size = (rng.uniform(0.7, 1.1), rng.uniform(1.7, 2.6), rng.uniform(2.2, 3.2))
    height = hip[1] + rng.uniform(0.1, 0.7)
    beside = (np.abs(points[:, 1] - height) < 0.9) & (np.abs(points[:, 2] - hip[2]) < 1)
    wall = np.abs(points[beside][:, 0]).max()
    at = np.array([side * (wall + size[0] / 2 + 0.04), height, hip[2] + rng.uniform(-0.3, 0.2)])
    mesh = rounded_box(size, rng.uniform(6, 10), 8)
    flap = rounded_box((size[0] * 1.08, size[1] * 0.5, size[2] * 1.03), 8, 6)
    outfit.pieces.append(attached(body, (mesh[0] + at, mesh[1]), "root", material, "carried", mesh[0]))
    lid = Material(CLOTH, tuple(0.8 * x for x in material.a), folds=0.3, gloss=material.gloss)
    outfit.pieces.append(attached(body, (flap[0] + at + [0, size[1] * 0.27, 0], flap[1]), "root", lid, "carried"))
    over = np.array([(-1 if across else 1) * side * 1.12, body.joint(shape, "upperarm01.L")[1] + 0.25, chest[2] - 0.05])
    low = at + [-side * size[0] * 0.4, size[1] * 0.4, 0]
    u = over - low
    u /= np.linalg.norm(u)
    ahead = np.cross(u, np.cross([0, 0, 1.0], u))
    ahead /= np.linalg.norm(ahead)
    centre = low + u * np.linalg.norm(over - low) * 0.5
    straps, strap_weights = [], []
    for start, end in ((-170, 0), (0, 170)):
        turn = np.radians(np.linspace(start, end, 22))
        line = hug(points, centre, np.stack([u, ahead]), turn, 0.28)
        line[0 if start < 0 else -1] = at + [-side * 0.1, size[1] * 0.46, (size[2] * 0.46) * (-1 if start < 0 else 1)]
        piece, bound = _strap(line, centre, rng.uniform(0.28, 0.5), points, weights)
        straps.append(piece)
        strap_weights.append(bound)
    outfit.pieces.append(_bound(join(*straps), np.concatenate(strap_weights), lid))


def cross_body(outfit: Outfit, material: Material, rng: np.random.Generator) -> None:
    """Put on a bag at the hip with its strap over the other shoulder."""
    _side_bag(outfit, material, rng, True)


def shoulder_bag(outfit: Outfit, material: Material, rng: np.random.Generator) -> None:
    """Put on a bag at the hip with its strap over the shoulder on the same side."""
    _side_bag(outfit, material, rng, False)


def handbag(rng: np.random.Generator) -> Mesh:
    """Model a handbag about its grip: a body and two handles."""
    size = np.array([rng.uniform(0.7, 1.3), rng.uniform(1.8, 2.8), rng.uniform(2.4, 3.6)])
    drop = rng.uniform(0.6, 1.1)
    mesh = rounded_box(size, 9, 8)
    mesh[0][:, 2] *= 1 - 0.12 * (mesh[0][:, 1] / size[1] + 0.5)
    mesh[0][:, 1] -= drop + size[1] / 2
    parts = [mesh]
    for x in (-0.3, 0.3):
        turn = np.linspace(0, np.pi, 9)
        arc = np.stack([np.full(9, x * size[0]), -drop + drop * np.sin(turn), 0.3 * size[2] * np.cos(turn)], 1)
        parts.append(tube(arc, 0.06, 5))
    return join(*parts)


def shopping(rng: np.random.Generator) -> Mesh:
    """Model a soft shopping bag about its grip."""
    wide, tall = rng.uniform(2.2, 3.2), rng.uniform(2.6, 3.8)
    steps = np.linspace(0, 1, 9)
    profile = np.stack([0.5 * wide * (0.25 + 0.75 * steps**0.6), -0.3 - tall * steps], 1)
    profile = np.concatenate([[[0.1, 0.1]], profile, [[0.02, -0.3 - tall]]])
    folds = rng.uniform(0, 6)
    mesh = lathe(
        profile, 20, lambda turn, r: r * (1 + 0.12 * np.sin(5 * turn + folds)) * (0.62 + 0.38 * np.cos(turn) ** 2)
    )
    return mesh


def wheeled(rng: np.random.Generator) -> Mesh:
    """Model a wheeled case about its grip, with its wheels 10 dm below; the pose tilts it."""
    size = (rng.uniform(2.4, 3.4), rng.uniform(4.6, 6.0), rng.uniform(1.6, 2.3))
    case = rounded_box(size, 11, 9)
    case[0][:, 1] += -9.7 + size[1] / 2
    parts = [case]
    for x in (-0.6, 0.6):
        parts.append(tube(np.array([[x, 0, 0.2], [x, -9.5 + size[1], 0.2]]), 0.07, 5))
        wheel = tube(np.array([[x * size[0] * 0.6 - 0.12, -9.7, 0.4], [x * size[0] * 0.6 + 0.12, -9.7, 0.4]]), 0.3, 10)
        parts.append(wheel)
    parts.append(tube(np.array([[-0.65, 0, 0.2], [0.65, 0, 0.2]]), 0.12, 6))
    return join(*parts)


def umbrella(rng: np.random.Generator) -> Mesh:
    """Model an open umbrella about its grip."""
    radius, rise = rng.uniform(4.4, 5.4), rng.uniform(5.5, 6.3)
    steps = np.linspace(0.02, 1, 7)
    profile = np.stack([radius * np.sin(steps * 1.2) / np.sin(1.2), rise - 1.9 * (1 - np.cos(steps * 1.2)) / 0.64], 1)
    canopy = lathe(profile, 32, lambda turn, r: r * (1 - 0.07 * (r / radius) * np.abs(np.sin(4 * turn))))
    return join(canopy, tube(np.array([[0, -0.7, 0], [0, rise + 0.35, 0]]), 0.07, 6))


WORN_BAGS: dict[str, Callable[[Outfit, Material, np.random.Generator], None]] = {
    "backpack": backpack,
    "cross-body": cross_body,
    "shoulder": shoulder_bag,
}
HELD_BAGS: dict[str, Callable[[np.random.Generator], Mesh]] = {
    "handbag": handbag,
    "shopping": shopping,
    "wheeled": wheeled,
}


@dataclass(frozen=True, eq=False)
class Cover:
    """A layer of hair or of a hat on the skull, above a line round the head."""

    ease: float | np.ndarray  # thickness, dm; one value or `(N,)`
    brim: float  # height of the line, dm on the average body
    slope: float  # rise of the line towards the front
    smooth: int = 6


def scalp(body: Body, shape: np.ndarray, cover: Cover, material: Material) -> Piece:
    """Grow a layer of hair or of a hat from the skull."""
    v, quads = body.assets.vertices, body.skin_quads
    over = (body.head > 0.6) & (v[:, 1] > cover.brim + cover.slope * np.clip(v[:, 2] - 0.3, -1.2, 1))
    ears = (np.abs(v[:, 0]) > 0.86) & (v[:, 1] < 7.6) & (v[:, 1] > 6.6)
    return grown(
        body, shape, quads[(over & ~ears)[quads].all(1)], np.broadcast_to(cover.ease, len(v)), cover.smooth, material
    )


def cut_hair(hair: Piece, shape: np.ndarray, body: Body, brim: float) -> None:
    """Remove hair that a hat covers, in place: above `brim`, in dm above the eyes."""
    height = body.joint(shape, "eye.L")[1] + brim
    hair.triangles = hair.triangles[hair.vertices[hair.triangles][..., 1].min(1) < height]


def cap(body: Body, shape: np.ndarray, material: Material, rng: np.random.Generator) -> list[Piece]:
    """Build a cap with a peak."""
    crown = scalp(body, shape, Cover(0.24, brim=7.28, slope=0.5), material)
    brow = crown.vertices[np.abs(crown.vertices[:, 0]) < 0.4]
    front = brow[:, 2].max() - 0.1
    low = brow[brow[:, 2] > front - 0.3][:, 1].min()
    turn = np.linspace(-1.2, 1.2, 15)
    inner = np.stack([0.86 * np.sin(turn), np.full(15, low + 0.1), front - 0.62 * (1 - np.cos(turn))], 1)
    outer = inner + np.stack([0.08 * np.sin(turn), np.full(15, -0.2) + 0.0 * turn, 0.85 * np.cos(turn) + 0.06], 1)
    drop = np.array([0, 0.07, 0])
    rings = np.stack([inner + drop, outer + drop, outer, inner], 1).reshape(-1, 3)
    peak = attached(body, (rings, grid(15, 4, True)), "head", material, "head", rings * 0)
    return [crown, peak]


def beanie(body: Body, shape: np.ndarray, material: Material, rng: np.random.Generator) -> list[Piece]:
    """Build a knitted hat with a turned-up edge."""
    slack = rng.uniform(0.24, 0.34)
    edge = scalp(body, shape, Cover(slack + 0.1, brim=7.18, slope=0.42), material)
    top = edge.vertices[:, 1].min()
    keep = edge.vertices[edge.triangles][..., 1].max(1) < top + 1.15
    edge.triangles = edge.triangles[keep]
    return [scalp(body, shape, Cover(slack, brim=7.18, slope=0.42), material), edge]


def fedora(body: Body, shape: np.ndarray, material: Material, rng: np.random.Generator) -> list[Piece]:
    """Build a felt hat with a brim."""
    return [
        fitted(body, shape, "fedora01", material, inflate=0.1),
        scalp(body, shape, Cover(0.12, brim=7.5, slope=0.3, smooth=4), material),
    ]


def bucket(body: Body, shape: np.ndarray, material: Material, rng: np.random.Generator) -> list[Piece]:
    """Build a soft hat with a sloping brim all round."""
    crown = scalp(body, shape, Cover(0.27, brim=7.45, slope=0.3, smooth=7), material)
    head = crown.vertices
    middle = (head.min(0) + head.max(0)) / 2
    half = (head.max(0) - head.min(0)) / 2
    low = head[:, 1].min() + 0.25
    flare = rng.uniform(0.35, 0.75)
    profile = np.array([[0.98, 0.35], [1.02, 0.1], [1.02 + 0.5 * flare, -0.15], [1.04 + flare, -0.42]])
    mesh = lathe(profile, 28)
    vertices = mesh[0] * [half[0], 1, half[2]] + [middle[0], low, middle[2]]
    return [crown, attached(body, (vertices, mesh[1]), "head", material, "head", vertices * 0)]


def headscarf(body: Body, shape: np.ndarray, material: Material, rng: np.random.Generator) -> list[Piece]:
    """Build a scarf over hair, ears and neck that leaves the face free."""
    v, quads = body.assets.vertices, body.skin_quads
    face = (v[:, 2] > 0.7) & (np.abs(v[:, 0]) < 0.76) & (v[:, 1] < 7.72) & (v[:, 1] > 6.1)
    over = (v[:, 1] > 5.2) & (body.arm < 0.25) & ~face & ((v[:, 1] > 5.8) | (np.hypot(v[:, 0], v[:, 2]) < 1.5))
    ease = np.where(v[:, 1] > 6.8, 0.3, 0.36)
    return [grown(body, shape, quads[over[quads].all(1)], ease, 14, material)]


@dataclass(frozen=True)
class Hat:
    """A kind of hat."""

    build: Callable[[Body, np.ndarray, Material, np.random.Generator], list[Piece]]
    hair_ends: float  # dm above the eyes; hair above is hidden


HATS: dict[str, Hat] = {
    "cap": Hat(cap, hair_ends=0.25),
    "beanie": Hat(beanie, hair_ends=0.1),
    "fedora": Hat(fedora, hair_ends=0.35),
    "bucket": Hat(bucket, hair_ends=0.2),
    "headscarf": Hat(headscarf, hair_ends=-9.0),
}


def scarf(body: Body, shape: np.ndarray, material: Material, rng: np.random.Generator) -> Piece:
    """Build a scarf wound round the neck, perhaps with an end hanging down."""
    neck = body.joint(shape, "neck01") + [0, 0.15, 0.05]
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    parts = []
    for lift, wide in ((0.0, 1.0), (0.32, 0.88)):
        ring = np.stack([0.95 * wide * np.sin(turn), lift - 0.22 * np.cos(turn), 0.85 * wide * np.cos(turn)], 1)
        parts.append(tube(neck + ring, 0.27, 7, True))
    if rng.random() < 0.7:
        chest = body.joint(shape, "spine01")
        front = shape[body.is_skin & (np.abs(shape[:, 0]) < 0.8) & (np.abs(shape[:, 1] - chest[1]) < 1.2)][:, 2].max()
        x = rng.choice([-0.35, 0.35])
        long = rng.uniform(1.6, 3.2)
        line = np.array(
            [neck + [x, -0.2, 0.95], [x, neck[1] - 1.0, front + 0.32], [x * 1.1, neck[1] - long, front + 0.34]]
        )
        parts.append(ribbon(line, np.tile([0, 0, 1.0], (3, 1)), 0.62, 0.12))
    mesh = join(*parts)
    return attached(body, mesh, "spine01", material, "torso", mesh[0] * 1.0)


def glasses(body: Body, shape: np.ndarray, dark: bool) -> Piece:
    """Build glasses, or sunglasses if `dark`."""
    parts = []
    for side in "LR":
        eye = body.joint(shape, f"eye.{side}")
        front = shape[body.is_skin & (np.abs(shape[:, 0]) < 0.15) & (np.abs(shape[:, 1] - eye[1]) < 0.12)][:, 2].max()
        turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        rim = np.stack([0.24 * np.cos(turn), 0.17 * np.sin(turn), -0.1 * np.abs(np.cos(turn))], 1)
        rim += [eye[0] * 1.02, eye[1] - 0.02, front + 0.02]
        if dark:
            fan = np.stack([np.arange(12), np.roll(np.arange(12), -1), np.full(12, 12)], 1)
            parts.append((np.concatenate([rim, rim.mean(0, keepdims=True)]), fan))
        parts.append(tube(rim, 0.035, 4, True))
        sign = 1 if side == "L" else -1
        temple = np.array([[eye[0] + sign * 0.24, eye[1], front - 0.1], [sign * 0.92, eye[1] + 0.05, eye[2] - 1.0]])
        parts.append(tube(temple, 0.035, 4))
    return attached(body, join(*parts), "head", DARK, "head")
