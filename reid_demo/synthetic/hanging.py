"""Hanging cloth: skirts, the lower part of tops and coats, and hair on the shoulders. Each lies over the layers inside.

A sheet is rows of `COLUMNS` vertices from the top down; column 0 is the front, and the left is a quarter turn on.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from reid_demo.synthetic.body import PART, Body
from reid_demo.synthetic.fabrics import Clip, Material
from reid_demo.synthetic.geometry import grid, hull_radius, normals
from reid_demo.synthetic.pieces import Piece

COLUMNS = 44
TURN = np.linspace(0, 2 * np.pi, COLUMNS, endpoint=False)
OUTWARD = np.stack([np.sin(TURN), np.cos(TURN)], 1)  # x, z
NEAR = 0.3  # dm: points within this height of a row push it out
SEAM = 1.5  # dm above the hip, where tops stop clinging and start hanging
FREE = 0.7  # dm below the hip, from where cloth falls straight
UNDER = 0.05  # dm between a sheet and the layer inside


def radii(points: np.ndarray, heights: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Return the radii at which a sheet encloses points.

    Args:
        points: `(n, 3)` dm.
        heights: `(rows,)` of the sheet, dm.
        axis: `(2,)` x and z of the sheet's middle, inside the points.

    Returns:
        `(rows, COLUMNS)` dm; 0 at heights without points.
    """
    points = points[np.argsort(points[:, 1], kind="stable")]
    flat = points[:, [0, 2]] - axis
    starts, ends = (np.searchsorted(points[:, 1], heights + shift) for shift in (-NEAR, NEAR))
    out = np.zeros((len(heights), COLUMNS))
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        if end > start:
            out[row] = hull_radius(flat[start:end], OUTWARD)
    return out


@dataclass(frozen=True)
class Hang:
    """The cut of hanging cloth."""

    hem: float  # height at which it ends, dm on this person
    ease: float  # dm above the body
    flare: float  # growth of the radius, dm per dm of fall
    pleats: float = 0.0  # depth of pleats at the hem of a skirt, dm


def sheath(body: Body, shape: np.ndarray, top: float, hang: Hang, material: Material) -> Piece:
    """Build a skirt that follows the torso's hull down to the hips and falls freely below.

    Args:
        body: the base body.
        shape: `(N, 3)` dm, the person's own.
        top: height at which it starts, dm on this person.
        hang: its hem, ease, flare and pleats.
        material: its cloth.
    """
    rows = max(6, int((top - hang.hem) / 0.35))
    torso, hip, axis = _torso(body, shape)
    heights = np.linspace(top, hang.hem, rows)
    radius = _falling(radii(torso, np.maximum(heights, hip - FREE), axis), heights, hip)
    fall = np.maximum(hip + 0.4 - heights, 0)[:, None]
    ripple = np.sin(TURN * 11 + material.phase) + 0.6 * np.sin(TURN * 7 + 2 * material.phase)
    radius = radius + hang.ease + hang.flare * fall + hang.pleats * ripple * fall / max(fall[-1, 0], 0.1)
    vertices = _place(radius, heights[:, None] + _wave(material) * fall / 4, axis)
    weights = np.zeros((len(vertices), len(body.bones)), np.float32)
    follow = np.clip((vertices[:, 1] - hip) / 1.6, 0, 0.8)
    weights[:, body.bone["root"]], weights[:, body.bone["spine03"]] = 1 - follow, follow
    return _sheet(vertices, weights, vertices + [0, body.hip - hip, 0], hip, material)


def tail(body: Body, shape: np.ndarray, own: Piece, inner: list[Piece], hang: Hang) -> Piece:
    """Build the hanging lower part of a top or coat, from its seam down.

    Args:
        body: the base body.
        shape: `(N, 3)` dm, the person's own.
        own: the clinging part, which must reach 1 dm below the seam; it is cut there, in place.
        inner: pieces that it hangs over.
        hang: its hem, ease and flare.
    """
    torso, hip, axis = _torso(body, shape)
    seam = body.hip + SEAM
    measure = _around(own, axis)
    top = measure(TURN, np.full(COLUMNS, seam))  # radius, height on this person, pattern's x and z, weights
    rows = max(6, int((seam + hip - body.hip - hang.hem) / 0.28) + 1)
    share = np.linspace(0, 1, rows)[:, None]
    heights = top[:, 1] + (hang.hem - top[:, 1]) * share
    level = heights.mean(1)
    depth = top[:, 1] - heights
    cling = measure(np.broadcast_to(TURN, depth.shape), seam - depth)[..., 0]
    within = [piece.vertices[piece.part != PART["carried"]] for piece in inner if not piece.rows]
    hung = [piece.vertices for piece in inner if piece.rows]
    clear = np.maximum(level, hip - FREE)
    hull = radii(torso, clear, axis) + 0.7 * hang.ease
    for points in within:
        hull = np.maximum(hull, radii(points[np.abs(points[:, 0]) < 2.6], clear, axis))
    for points in hung:
        hull = np.maximum(hull, radii(points, level, axis))
    hull += UNDER
    cling = np.where(np.isnan(cling) | (depth > 1.0), 0, cling)
    ramp = np.clip(depth / 1.0, 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    held = np.where(cling > 0, cling + 0.02, hull)
    radius = np.where(depth > 0.25, np.maximum(held + (hull - held) * ramp, hull - 0.7 * hang.ease), held)
    radius[0] = top[:, 0] - 0.03  # tucked under the clinging part
    for row in range(2, rows):  # cloth hangs from the widest row above
        radius[row] = np.maximum(radius[row], radius[row - 1] - 0.3 * (level[row - 1] - level[row]))
    fall = np.maximum(hip + 0.4 - level, 0)[:, None]
    radius = _falling(radius, level, hip) + hang.flare * fall
    vertices = _place(radius, heights + _wave(own.material) * np.clip(depth - 1, 0, 2) / 4, axis)
    follow = np.clip((heights - hip) / (top[:, 1] - hip), 0, 1).reshape(-1, 1)
    weights = follow * np.tile(top[:, 4:], (rows, 1))
    weights[:, body.bone["root"]] += 1 - weights.sum(1)
    wider = radius / top[:, 0]
    coords = np.stack([top[:, 2] * wider, seam - depth, top[:, 3] * wider], -1).reshape(-1, 3)
    fabric = own.material
    own.material = replace(fabric, clip=replace(fabric.clip, hem=seam - 0.22))
    kept = (own.coords[:, 1] > seam - 0.4) | (own.sleeve > 0.2)
    own.triangles = own.triangles[kept[own.triangles].any(1)]
    fabric = replace(fabric, clip=Clip(open_top=fabric.clip.open_top, open_hem=fabric.clip.open_hem))
    return _sheet(vertices, weights, coords, hip, fabric, own=1)


def _around(own: Piece, axis: np.ndarray):
    """Interpolate a clinging piece by angle and pattern height: radius, height, pattern x and z, weights."""
    near = (own.sleeve < 0.05) & (np.abs(own.coords[:, 1] - 1.9) < 2.2)
    flat = own.vertices[near][:, [0, 2]] - axis
    turn = np.arctan2(flat[:, 0], flat[:, 1]) % (2 * np.pi)
    known = np.column_stack(
        [np.linalg.norm(flat, axis=1), own.vertices[near, 1], own.coords[near][:, [0, 2]], own.weights[near]]
    )
    places = np.stack([turn, own.coords[near, 1]], 1)
    wrapped = np.concatenate([places + [shift, 0] for shift in (-2 * np.pi, 0, 2 * np.pi)])
    return LinearNDInterpolator(wrapped, np.tile(known, (3, 1)))


def _torso(body: Body, shape: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Return the skin points `(n, 3)` of torso and upper thighs, the hip's height, and the sheets' middle (x, z)."""
    points = shape[body.is_skin & (body.arm < 0.3) & (body.head < 0.1) & (body.leg_t < 0.35)]
    hip = float(body.joint(shape, "upperleg01.L")[1])
    return points, hip, np.array([0, points[np.abs(points[:, 1] - hip) < 0.6][:, 2].mean()])


def _falling(radius: np.ndarray, heights: np.ndarray, hip: float) -> np.ndarray:
    for row in range(1, len(radius)):
        if heights[row] < hip - FREE:
            radius[row] = np.maximum(radius[row], radius[row - 1])
    return radius


def _wave(material: Material) -> np.ndarray:
    return 0.06 * np.sin(3 * TURN + material.phase)


def _place(radius: np.ndarray, heights: np.ndarray, axis: np.ndarray) -> np.ndarray:
    x, z = radius * OUTWARD[:, 0] + axis[0], radius * OUTWARD[:, 1] + axis[1]
    return np.stack([x, np.broadcast_to(heights, x.shape), z], -1).reshape(-1, 3)


def _sheet(
    vertices: np.ndarray,
    weights: np.ndarray,
    coords: np.ndarray,
    hip: float,
    material: Material,
    own: int = 0,
) -> Piece:
    rows = len(vertices) // COLUMNS
    legs = np.where(vertices[:, 0] >= 0, PART["left_leg"], PART["right_leg"])
    return Piece(
        vertices=vertices.astype(np.float32),
        triangles=grid(rows, COLUMNS, True),
        weights=weights.astype(np.float32),
        coords=coords,
        sleeve=np.zeros(len(vertices)),
        part=np.where(vertices[:, 1] > hip - 0.6, PART["torso"], legs),
        material=material,
        rows=rows,
        own=own,
    )


def settle(sheet: np.ndarray, within: np.ndarray, mean: csr_matrix, first: int) -> None:
    """Push a posed sheet, in place, out of the points inside it, and smooth the push.

    Args:
        sheet: `(rows * COLUMNS, 3)` dm.
        within: `(n, 3)` dm.
        mean: the smoothing matrix of the sheet.
        first: the first row that can be pushed.
    """
    rings = sheet.reshape(-1, COLUMNS, 3)
    axis = sheet[:, [0, 2]].mean(0)
    need = radii(within, rings[:, :, 1].mean(1), axis)
    flat = sheet[:, [0, 2]] - axis
    length = np.maximum(np.linalg.norm(flat, axis=1), 1e-6)
    # a pose rotates the sheet, so its columns no longer face the angles of `TURN`
    place = np.arctan2(flat[:, 0], flat[:, 1]).reshape(need.shape) % (2 * np.pi) / TURN[1]
    left = place.astype(int) % COLUMNS
    share = place % 1
    rows = np.arange(len(need))[:, None]
    need = (1 - share) * need[rows, left] + share * need[rows, (left + 1) % COLUMNS]
    push = np.maximum(np.where(need > 0, need + UNDER, 0).ravel() - length, 0)
    push[: first * COLUMNS] = 0
    for _ in range(3):
        push = np.maximum(mean @ push, push)
        push[: first * COLUMNS] = 0
    sheet[:, [0, 2]] += flat * (push / length)[:, None]


def lay_over(hair: Piece, cloth: list[Piece], neck: float) -> None:
    """Lay hair on the shoulders and back: below the neck, move it out of the cloth and let it follow the cloth.

    Args:
        hair: changed in place.
        cloth: the clothes, from the inside out.
        neck: height of the neck's root, dm.
    """
    low = np.flatnonzero(hair.vertices[:, 1] < neck + 0.2)
    if not len(low) or not cloth:
        return
    places = hair.vertices[low].astype(float)
    nearest, bound = np.full(len(low), np.inf), hair.weights[low]
    for piece in cloth:  # from the inside out
        shown = (piece.sleeve > 0.5) | (piece.coords[:, 1] >= piece.material.clip.hem)
        used = np.unique(piece.triangles[shown[piece.triangles].all(1)])
        if not len(used):
            continue
        points, outward = piece.vertices[used], normals(piece.vertices, piece.triangles)[used]
        tree = cKDTree(points)
        for _ in range(2):
            away, which = tree.query(places)
            height = ((places - points[which]) * outward[which]).sum(1)
            places += outward[which] * np.where((height < 0.07) & (away < 1), 0.07 - height, 0)[:, None]
        nearer = away < nearest
        nearest[nearer], bound[nearer] = away[nearer], piece.weights[used[which[nearer]]]
    hair.vertices[low] = places
    share = np.clip((neck + 0.2 - places[:, 1]) / 1.2, 0, 1)[:, None]
    hair.weights[low] = (1 - share) * hair.weights[low] + share * bound
