"""Small mesh tools in plain numpy: solids, tubes, ribbons, normals and rotations. Knows no people and no OpenGL.

A mesh is `(vertices (n, 3) float32, triangles (m, 3) int)`. The frame is right-handed with y up.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix, diags

Mesh = tuple[np.ndarray, np.ndarray]


def rotation(axis: int, angle: float) -> np.ndarray:
    """Return the `(3, 3)` rotation by `angle` radians about x (0), y (1) or z (2)."""
    c, s = np.cos(angle), np.sin(angle)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = -s, s
    return matrix


def rotation_about(direction: np.ndarray, angle: float) -> np.ndarray:
    """Return the `(3, 3)` rotation by `angle` radians about any direction."""
    x, y, z = direction / max(np.linalg.norm(direction), 1e-9)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def quads_to_triangles(quads: np.ndarray) -> np.ndarray:
    """Split `(q, 4)` faces into triangles, without those that have no area."""
    t = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return t[(t[:, 0] != t[:, 1]) & (t[:, 1] != t[:, 2]) & (t[:, 0] != t[:, 2])]


def incidence(triangles: np.ndarray, count: int) -> csr_matrix:
    """Return the `(count, m)` matrix that adds face vectors up at the vertices."""
    faces = np.tile(np.arange(len(triangles)), 3)
    return csr_matrix(
        (np.ones(len(faces), np.float32), (triangles.T.ravel(), faces)), shape=(count, len(triangles)), dtype=np.float32
    )


def normals(vertices: np.ndarray, triangles: np.ndarray, sums: csr_matrix | None = None) -> np.ndarray:
    """Return smooth unit normals `(n, 3)`; pass `incidence(triangles, n)` as `sums` if it is known."""
    sums = incidence(triangles, len(vertices)) if sums is None else sums
    a, u, v = (vertices.take(triangles[:, k], axis=0) for k in range(3))
    u -= a
    v -= a
    face = np.empty_like(u)
    (ux, uy, uz), (vx, vy, vz) = np.ascontiguousarray(u.T), np.ascontiguousarray(v.T)
    face[:, 0] = uy * vz - uz * vy
    face[:, 1] = uz * vx - ux * vz
    face[:, 2] = ux * vy - uy * vx
    summed = sums @ face
    return summed / np.maximum(np.sqrt(np.einsum("ij,ij->i", summed, summed))[:, None], 1e-9)


def averaging(faces: np.ndarray, count: int) -> csr_matrix:
    """Return the `(count, count)` matrix that moves each vertex to the mean of its neighbours."""
    width = faces.shape[1]
    edges = np.concatenate([faces[:, [k, (k + 1) % width]] for k in range(width)])
    edges = edges[edges[:, 0] != edges[:, 1]]
    near = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count)).tocsr()
    near = ((near + near.T) > 0).astype(np.float32)
    return (diags(1 / np.maximum(np.asarray(near.sum(1)).ravel(), 1)) @ near).tocsr().astype(np.float32)


def hull_radius(points: np.ndarray, outward: np.ndarray) -> np.ndarray:
    """Return how far the hull of `(n, 2)` points round the origin reaches along unit vectors `(k, 2)`: `(k,)`."""
    reach = np.maximum((points @ outward.T).max(0), 0.05)  # of the hull's tangents
    facing = outward @ outward.T
    return np.where(facing > 0.1, reach / np.maximum(facing, 0.1), np.inf).min(1)


def join(*meshes: Mesh) -> Mesh:
    """Merge meshes into one."""
    starts = np.cumsum([0, *(len(v) for v, _ in meshes[:-1])])
    return np.concatenate([v for v, _ in meshes]), np.concatenate(
        [t + s for (_, t), s in zip(meshes, starts, strict=True)]
    )


def grid(rows: int, columns: int, closed: bool) -> np.ndarray:
    """Return the triangles of `rows x columns` vertices, row-major; `closed` joins the last column to the first."""
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns if closed else columns - 1), indexing="ij")
    a, b = (i * columns + j).ravel(), (i * columns + (j + 1) % columns).ravel()
    return np.concatenate([np.stack([a, a + columns, b], 1), np.stack([b, a + columns, b + columns], 1)])


def rounded_box(size: Sequence[float], square: float = 8.0, divisions: int = 7) -> Mesh:
    """Build a box with soft edges about the origin; a larger `square` has sharper edges."""
    vertices, triangles = [], []
    steps = np.linspace(-1, 1, divisions)
    a, b = np.meshgrid(steps, steps, indexing="ij")
    for axis in range(3):
        for sign in (-1, 1):
            face = np.empty((divisions * divisions, 3))
            face[:, axis], face[:, (axis + 1) % 3], face[:, (axis + 2) % 3] = sign, a.ravel(), b.ravel()
            face /= (np.abs(face) ** square).sum(1, keepdims=True) ** (1 / square)
            tris = grid(divisions, divisions, False)[:, ::-1] + len(vertices) * divisions**2
            triangles.append(tris if sign > 0 else tris[:, ::-1])
            vertices.append(face)
    return (np.concatenate(vertices) * np.asarray(size) / 2).astype(np.float32), np.concatenate(triangles)


def box(centre: Sequence[float], size: Sequence[float]) -> Mesh:
    """Build a sharp box with flat faces (24 vertices)."""
    vertices = []
    for axis in range(3):
        for sign in (-1, 1):
            for u, v in ((-sign, -1), (sign, -1), (sign, 1), (-sign, 1)):
                corner = np.zeros(3)
                corner[axis], corner[(axis + 1) % 3], corner[(axis + 2) % 3] = sign, u, v
                vertices.append(corner)
    points = np.array(vertices) * np.asarray(size) / 2 + np.asarray(centre)
    return points.astype(np.float32), quads_to_triangles(np.arange(24).reshape(6, 4))


def tube(points: np.ndarray, radius: float | np.ndarray, sides: int = 6, closed: bool = False) -> Mesh:
    """Build a round tube along `(k, 3)` points; `radius` may differ per point."""
    points = np.asarray(points, float)
    ahead = np.roll(points, -1, 0) - np.roll(points, 1, 0)
    if not closed:
        ahead[0], ahead[-1] = points[1] - points[0], points[-1] - points[-2]
    ahead /= np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-9)
    across = np.cross(ahead, [0.31, 0.12, 0.94])
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    up = np.cross(ahead, across)
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = np.cos(turn)[None, :, None] * across[:, None] + np.sin(turn)[None, :, None] * up[:, None]
    radius = np.broadcast_to(np.asarray(radius, float), len(points))
    vertices = (points[:, None] + ring * radius[:, None, None]).reshape(-1, 3)
    triangles = grid(len(points), sides, True)
    if closed:
        last = np.arange(sides) + (len(points) - 1) * sides
        first = np.arange(sides)
        a, b = last, np.roll(last, -1)
        c, d = first, np.roll(first, -1)
        triangles = np.concatenate([triangles, np.stack([a, c, b], 1), np.stack([b, c, d], 1)])
    return vertices.astype(np.float32), triangles


def ribbon(points: np.ndarray, outward: np.ndarray, width: float, thickness: float) -> Mesh:
    """Build a flat strap along points `(k, 3)`, facing along `outward`, `(k, 3)`."""
    points = np.asarray(points, float)
    ahead = np.gradient(points, axis=0)
    side = np.cross(outward, ahead)
    side *= 0.5 * width / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    lift = outward * (thickness / np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-9))
    rings = np.stack([points - side, points - side + lift, points + side + lift, points + side], 1)
    return rings.reshape(-1, 3).astype(np.float32), grid(len(points), 4, True)


def cylinder(base: Sequence[float], radius: float | tuple[float, float], height: float, sides: int = 12) -> Mesh:
    """Build an upright cylinder with a lid, or a cone if `radius` is `(bottom, top)`."""
    below, above = radius if isinstance(radius, tuple) else (radius, radius)
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    circle = np.stack([np.cos(turn), np.zeros(sides), np.sin(turn)], 1)
    low, high = circle * below + base, circle * above + np.asarray(base) + [0, height, 0]
    lid = np.concatenate([high, [np.asarray(base) + [0, height, 0]]])
    fan = np.stack([np.arange(sides), np.full(sides, sides), (np.arange(sides) + 1) % sides], 1)
    return join((np.concatenate([low, high]), grid(2, sides, True)), (lid, fan))


def lathe(
    profile: np.ndarray, sides: int, radius: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
) -> Mesh:
    """Revolve a profile `(k, 2)` of (radius, y) about the vertical axis; `radius(turn, r)` can reshape it."""
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    r = np.repeat(np.asarray(profile, float)[:, :1], sides, 1)
    if radius is not None:
        r = radius(np.broadcast_to(turn, r.shape), r)
    y = np.repeat(np.asarray(profile, float)[:, 1:], sides, 1)
    vertices = np.stack([r * np.sin(turn), y, r * np.cos(turn)], -1).reshape(-1, 3)
    return vertices.astype(np.float32), grid(len(profile), sides, True)


def extrude(outline: np.ndarray, width: float) -> Mesh:
    """Extrude a closed outline `(k, 2)` of (z, y), listed anticlockwise, along x; caps are fans about the centre."""
    outline = np.asarray(outline, float)
    count = len(outline)
    sides = []
    for x in (-width / 2, width / 2):
        sides.append(np.stack([np.full(count, x), outline[:, 1], outline[:, 0]], 1))
    a, b = np.arange(count), (np.arange(count) + 1) % count
    strips = np.stack([sides[0][a], sides[0][b], sides[1][b], sides[1][a]], 1).reshape(-1, 3)  # unshared, to stay flat
    mesh = strips, quads_to_triangles(np.arange(4 * count).reshape(count, 4))
    for side, order in zip(sides, (1, -1), strict=True):
        cap = np.concatenate([side, side.mean(0, keepdims=True)])
        mesh = join(mesh, (cap, np.stack([a, b, np.full(count, count)], 1)[:, ::order]))
    return mesh[0].astype(np.float32), mesh[1]
