"""Places, their cameras, and things that stand in the way. To add one, add a row to a table.

A camera is at `(0, height, 0)` and looks along -z; people stand at the distances of `Scene.walk`. All in metres.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from reid_demo.synthetic.geometry import Mesh, box, cylinder, extrude, lathe, normals, rotation, rounded_box, tube
from reid_demo.synthetic.renderer import Light
from reid_demo.synthetic.textures import INDEX

Soup = np.ndarray  # (3 k, 12) float32: position, normal, tint, layer, tiles per metre, gloss
Rgb = tuple[float, float, float]
Range = tuple[float, float]
GREY: Rgb = (0.8, 0.8, 0.8)
PATCH_LIFT = 0.012  # m above the floor, so that a patch and the floor do not flicker
SUITCASES: tuple[Rgb, ...] = (
    (0.12, 0.12, 0.13),
    (0.62, 0.1, 0.12),
    (0.12, 0.22, 0.42),
    (0.66, 0.66, 0.68),
    (0.8, 0.62, 0.15),
    (0.16, 0.42, 0.4),
)


def surface(
    mesh: Mesh, layer: str, tint: Rgb = GREY, scale: float = 0.5, gloss: float = 0.03, soft: bool = False
) -> Soup:
    """Cover a mesh with a painted layer; `soft` shades it smooth instead of faceted."""
    vertices, triangles = mesh
    corners = vertices[triangles].reshape(-1, 3)
    if soft:
        smooth = normals(vertices, triangles)[triangles].reshape(-1, 3)
    else:
        flat = np.cross(corners[1::3] - corners[::3], corners[2::3] - corners[::3])
        flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
        smooth = np.repeat(flat, 3, 0)
    rest = np.tile([*(np.array(tint) ** 2.2), INDEX[layer], scale, gloss], (len(corners), 1))
    return np.concatenate([corners, smooth, rest], 1).astype(np.float32)


def moved(soup: Soup, x: float, z: float, yaw: float = 0.0) -> Soup:
    """Rotate a thing about the vertical by `yaw` radians and move it to `(x, z)`."""
    out, turn = soup.copy(), rotation(1, yaw).astype(np.float32)
    out[:, :3] = out[:, :3] @ turn.T + np.float32([x, 0, z])
    out[:, 3:6] = out[:, 3:6] @ turn.T
    return out


@dataclass(frozen=True)
class Finish:
    """The look of a floor or wall."""

    layer: str  # a key of `textures.LAYERS`
    tint: Rgb
    scale: float  # tiles per metre
    gloss: float = 0.03

    def on(self, mesh: Mesh) -> Soup:
        """Cover a mesh with this finish."""
        return surface(mesh, self.layer, self.tint, self.scale, self.gloss)


def _floor(finish: Finish, x: Range = (-40, 40), z: Range = (-60, 15)) -> Soup:
    corners = np.array([[x[0], 0, z[0]], [x[1], 0, z[0]], [x[1], 0, z[1]], [x[0], 0, z[1]]], np.float32)
    return finish.on((corners, np.array([[0, 2, 1], [0, 3, 2]])))


def _patch(finish: Finish, x: Range, z: Range) -> Soup:
    out = _floor(finish, x, z)
    out[:, 1] += PATCH_LIFT
    return out


def _wall(x: Range, z: float, high: float, finish: Finish, deep: float = 3.0) -> Soup:
    centre = [(x[0] + x[1]) / 2, high / 2, z - deep / 2]
    return finish.on(box(centre, [x[1] - x[0], high, deep]))


def _side_wall(x: float, z: Range, high: float, finish: Finish) -> Soup:
    return finish.on(box([x, high / 2, (z[0] + z[1]) / 2], [0.5, high, abs(z[1] - z[0])]))


# Things: each builder takes a random generator and returns a soup about the origin


def car(rng: np.random.Generator) -> Soup:
    """Build a parked car, along z."""
    long, high = rng.uniform(3.9, 4.7), rng.uniform(1.4, 1.65)
    shades = (
        (0.75, 0.76, 0.78),
        (0.14, 0.14, 0.15),
        (0.42, 0.44, 0.47),
        (0.2, 0.26, 0.4),
        (0.5, 0.12, 0.12),
        (0.9, 0.9, 0.9),
    )
    shade = shades[int(rng.integers(len(shades)))]
    h = long / 2
    lower = [(-h, 0.32), (h, 0.32), (h, 0.62), (h - 0.15, 0.78), (h - 1.25, 0.92), (-h + 0.5, 0.95), (-h, 0.85)]
    cabin = [(h - 1.3, 0.9), (h - 1.95, high), (-h + 1.15, high), (-h + 0.3, 0.92)]
    parts = [surface(extrude(np.array(lower), 1.76), "paint", shade, 0.3, 0.5)]
    parts.append(surface(extrude(np.array(cabin), 1.5), "glass", (0.5, 0.5, 0.5), 0.3, 0.8))
    roof = [(h - 2.0, high - 0.05), (h - 2.02, high + 0.03), (-h + 1.2, high + 0.03), (-h + 1.15, high - 0.05)]
    parts.append(surface(extrude(np.array(roof), 1.46), "paint", shade, 0.3, 0.5))
    for x in (-0.82, 0.82):
        for z in (h - 0.85, -h + 0.8):
            for wide, radius, shade_of in ((0.1, 0.33, 0.09), (0.12, 0.2, 0.5)):  # tyre and hub
                across = np.array([[x + w, 0.33, z] for w in (-wide, -wide + 0.001, wide - 0.001, wide)])
                wheel = tube(across, np.array([0.01, radius, radius, 0.01]), 16)
                parts.append(surface(wheel, "paint", (shade_of,) * 3, 1))
    for x in (-0.6, 0.6):
        parts.append(surface(box([x, 0.68, h - 0.06], [0.36, 0.13, 0.1]), "paint", (0.95, 0.95, 0.9), 1, 0.5))
        parts.append(surface(box([x, 0.74, -h + 0.02], [0.34, 0.14, 0.08]), "paint", (0.6, 0.08, 0.08), 1, 0.4))
    return np.concatenate(parts)


def bench(rng: np.random.Generator) -> Soup:
    """Build a bench of slats with a back, along x."""
    parts = []
    for y, z in ((0.45, -0.16), (0.45, 0.0), (0.45, 0.16), (0.66, -0.26), (0.82, -0.3)):
        parts.append(
            surface(box([0, y, z], [1.7, 0.05 if y < 0.5 else 0.12, 0.13 if y < 0.5 else 0.04]), "wood", GREY, 0.8)
        )
    for x in (-0.7, 0.7):
        parts.append(surface(box([x, 0.22, 0], [0.07, 0.44, 0.42]), "metal", (0.3, 0.3, 0.32), 1))
        parts.append(surface(box([x, 0.65, -0.28], [0.06, 0.5, 0.05]), "metal", (0.3, 0.3, 0.32), 1))
    return np.concatenate(parts)


def pole(rng: np.random.Generator) -> Soup:
    """Build a lamp post, or a sign post if it is thin."""
    radius = float(rng.choice([0.05, 0.07, 0.1, 0.16]))
    tint = tuple(np.full(3, rng.uniform(0.25, 0.65)))
    parts = [surface(cylinder([0, 0, 0], radius, 4.5, 14), "paint", tint, 0.4, 0.1, True)]
    parts.append(surface(cylinder([0, 0, 0], (radius * 1.8, radius * 1.2), 0.5, 14), "paint", tint, 0.4, 0.1, True))
    if radius < 0.08:
        sign = box([0, 2.4, 0.06], [0.5, 0.5, 0.03])
        parts.append(surface(sign, "paint", tuple(rng.uniform(0.1, 0.9, 3)), 1))
    return np.concatenate(parts)


def column(rng: np.random.Generator) -> Soup:
    """Build a pillar of a hall."""
    radius = rng.uniform(0.2, 0.32)
    return surface(
        cylinder([0, 0, 0], radius, 5, 20), "plaster", tuple(np.full(3, rng.uniform(0.6, 0.9))), 0.5, 0.05, True
    )


def foliage(rng: np.random.Generator, centre: tuple, size: tuple, tint: Rgb) -> Soup:
    """Build a lumpy ball of leaves."""
    turn = np.linspace(0, np.pi, 8)
    ball = lathe(np.stack([np.sin(turn), -np.cos(turn)], 1), 12)
    bumps = rng.uniform(0.78, 1.2, (len(ball[0]), 1))
    return surface(((ball[0] * bumps * size + centre).astype(np.float32), ball[1]), "hedge", tint, 0.7, 0.02, True)


def planter(rng: np.random.Generator) -> Soup:
    """Build a box or pot with a shrub."""
    tint = (0.75, 0.85, 0.6)
    wide = rng.uniform(0.5, 0.9)
    pot = (
        cylinder([0, 0, 0], (wide * 0.38, wide * 0.5), 0.55, 14)
        if rng.random() < 0.5
        else box([0, 0.28, 0], [wide * 1.5, 0.56, wide])
    )
    parts = [surface(pot, str(rng.choice(["concrete", "wood", "paint"])), tuple(rng.uniform(0.35, 0.8, 3)), 0.7)]
    for _ in range(5):
        at = (rng.uniform(-0.3, 0.3) * wide, rng.uniform(0.65, 1.15), rng.uniform(-0.2, 0.2) * wide)
        parts.append(foliage(rng, at, tuple(rng.uniform(0.22, 0.42, 3)), tint))
    return np.concatenate(parts)


def tree(rng: np.random.Generator) -> Soup:
    """Build a tree with a crown above head height."""
    trunk = cylinder([0, 0, 0], (0.16, 0.1), 3.4, 12)
    parts = [surface(trunk, "bark", GREY, 0.8, 0.02, True)]
    for _ in range(7):
        at = (rng.uniform(-1.0, 1.0), rng.uniform(2.9, 4.4), rng.uniform(-1.0, 1.0))
        parts.append(
            foliage(
                rng, at, tuple(rng.uniform(0.7, 1.2, 3)), tuple(np.array([0.8, 0.85, 0.65]) * rng.uniform(0.8, 1.1))
            )
        )
    return np.concatenate(parts)


def bin_(rng: np.random.Generator) -> Soup:
    """Build a litter bin."""
    tint = ((0.2, 0.3, 0.24), (0.25, 0.26, 0.28), (0.5, 0.5, 0.5))[int(rng.integers(3))]
    return surface(cylinder([0, 0, 0], (0.24, 0.28), 0.95, 16), "metal", tint, 1, 0.08, True)


def barrier(rng: np.random.Generator) -> Soup:
    """Build a low wall, a counter or a construction fence, along x."""
    wide, high = rng.uniform(1.2, 2.4), rng.uniform(0.6, 1.1)
    layer = str(rng.choice(["brick", "concrete", "wood", "metal"]))
    shade = tuple(rng.uniform(0.6, 0.95, 3))
    return surface(box([0, high / 2, 0], [wide, high, 0.3]), layer, shade, 0.6)


def railing(rng: np.random.Generator) -> Soup:
    """Build a railing of thin bars, along x."""
    tint = tuple(np.full(3, rng.uniform(0.2, 0.7)))
    parts = [surface(tube(np.array([[-1.2, y, 0], [1.2, y, 0]]), 0.03, 6), "metal", tint, 1) for y in (0.15, 1.05)]
    for x in np.linspace(-1.2, 1.2, 13):
        parts.append(surface(tube(np.array([[x, 0, 0], [x, 1.05, 0]]), 0.014, 5), "metal", tint, 1))
    return np.concatenate(parts)


def board(rng: np.random.Generator) -> Soup:
    """Build an advertising board."""
    high = rng.uniform(1.0, 1.8)
    parts = [
        surface(box([0, high / 2 + 0.12, 0], [rng.uniform(0.6, 1.1), high, 0.12]), "posters", (0.95, 0.95, 0.95), 0.7)
    ]
    return np.concatenate([*parts, surface(box([0, 0.06, 0], [0.7, 0.12, 0.4]), "metal", (0.3, 0.3, 0.3), 1)])


def trolley(rng: np.random.Generator) -> Soup:
    """Build a shopping trolley with goods."""
    parts = []
    for y in (0.45, 0.7, 0.95):
        ring = np.array([[-0.28, y, -0.45], [0.28, y, -0.45], [0.28, y, 0.45], [-0.28, y, 0.45]])
        parts.append(surface(tube(ring, 0.02, 5, True), "metal", GREY, 1))
    for x in np.linspace(-0.28, 0.28, 5):
        for z in (-0.45, 0.45):
            parts.append(surface(tube(np.array([[x, 0.42, z], [x, 0.97, z]]), 0.012, 4), "metal", GREY, 1))
    for x in (-0.26, 0.26):
        for z in (-0.4, 0.4):
            parts.append(surface(tube(np.array([[x, 0.03, z], [x, 0.45, z]]), 0.02, 5), "metal", GREY, 1))
    for _ in range(5):
        at = [rng.uniform(-0.15, 0.15), rng.uniform(0.55, 0.85), rng.uniform(-0.3, 0.3)]
        parts.append(surface(box(at, rng.uniform(0.15, 0.3, 3)), "paint", tuple(rng.uniform(0.2, 0.9, 3)), 1))
    return np.concatenate(parts)


def stall(rng: np.random.Generator) -> Soup:
    """Build a market stall with goods and an awning."""
    parts = [surface(box([0, 0.45, 0], [2.2, 0.9, 0.9]), "wood", (0.8, 0.75, 0.7), 0.6)]
    for _ in range(14):
        at = [rng.uniform(-1, 1), 0.98, rng.uniform(-0.35, 0.35)]
        parts.append(surface(box(at, [0.24, 0.14, 0.22]), "paint", tuple(rng.uniform(0.15, 0.9, 3)), 1))
    parts.append(surface(box([0, 2.35, 0.1], [2.5, 0.06, 1.5]), "paint", tuple(rng.uniform(0.2, 0.9, 3)), 1))
    for x in (-1.1, 1.1):
        parts.append(surface(cylinder([x, 0, -0.4], 0.03, 2.35, 8), "metal", GREY, 1))
    return np.concatenate(parts)


def suitcase(rng: np.random.Generator) -> Soup:
    """Build a hard suitcase left standing, with ribs, wheels and its handle out."""
    wide, high, deep = rng.uniform(0.38, 0.48), rng.uniform(0.55, 0.7), rng.uniform(0.24, 0.3)
    tint = np.array(SUITCASES[int(rng.integers(len(SUITCASES)))]) * rng.uniform(0.85, 1.1)
    shell = rounded_box((wide, high, deep), 13, 9)
    shell[0][:, 1] += 0.07 + high / 2
    parts = [surface(shell, "paint", tuple(tint), 1, 0.15, True)]
    for x in np.linspace(-0.34, 0.34, 6) * wide:
        rib = box([x, 0.07 + high / 2, 0], [0.018, high * 0.84, deep + 0.016])
        parts.append(surface(rib, "paint", tuple(tint * 0.8), 1, 0.15))
    dark = (0.08, 0.08, 0.09)
    for x in (-0.4 * wide, 0.4 * wide):
        for z in (-0.35 * deep, 0.35 * deep):
            wheel = tube(np.array([[x - 0.015, 0.035, z], [x + 0.015, 0.035, z]]), 0.035, 10)
            parts.append(surface(wheel, "paint", dark, 1))
    top, grip = 0.07 + high, rng.uniform(0.25, 0.4)
    bow = np.array([[-0.09, top, 0], [-0.09, top + grip, 0], [0.09, top + grip, 0], [0.09, top, 0]])
    parts.append(surface(tube(bow, 0.013, 6), "metal", (0.35, 0.35, 0.37), 1))
    return np.concatenate(parts)


@dataclass(frozen=True)
class Thing:
    """A kind of thing that stands in a place."""

    build: Callable[[np.random.Generator], Soup]
    clear: float  # m, half the width that people keep clear of


THINGS: dict[str, Thing] = {
    "car": Thing(car, clear=2.5),
    "bench": Thing(bench, clear=1.0),
    "pole": Thing(pole, clear=0.35),
    "column": Thing(column, clear=0.5),
    "planter": Thing(planter, clear=0.8),
    "tree": Thing(tree, clear=0.5),
    "bin": Thing(bin_, clear=0.5),
    "barrier": Thing(barrier, clear=1.2),
    "railing": Thing(railing, clear=1.2),
    "board": Thing(board, clear=0.7),
    "trolley": Thing(trolley, clear=0.6),
    "stall": Thing(stall, clear=1.5),
    "suitcase": Thing(suitcase, clear=0.5),
}


@dataclass(frozen=True)
class Weather:
    """The light of a kind of place, linear RGB; the sun's azimuth depends on the camera."""

    elevation: float  # degrees, of the sun
    sun: Rgb
    sky: Rgb
    ground: Rgb
    fog: Rgb
    fog_density: float  # per metre
    dapple: float = 0  # depth of the shade of leaves
    lamp: float = 0  # brightness of lit windows


LIGHTS: dict[str, Weather] = {
    "sunny": Weather(
        elevation=48,
        sun=(1.6, 1.45, 1.2),
        sky=(0.36, 0.43, 0.55),
        ground=(0.26, 0.24, 0.21),
        fog=(0.55, 0.66, 0.8),
        fog_density=0.005,
        dapple=0,
        lamp=0,
    ),
    "low sun": Weather(
        elevation=27,
        sun=(1.5, 1.2, 0.85),
        sky=(0.36, 0.40, 0.50),
        ground=(0.24, 0.21, 0.18),
        fog=(0.7, 0.68, 0.66),
        fog_density=0.006,
        dapple=0,
        lamp=0,
    ),
    "leaves": Weather(
        elevation=55,
        sun=(1.5, 1.4, 1.1),
        sky=(0.36, 0.42, 0.44),
        ground=(0.22, 0.23, 0.17),
        fog=(0.45, 0.5, 0.46),
        fog_density=0.004,
        dapple=0.85,
        lamp=0,
    ),
    "hazy": Weather(
        elevation=55,
        sun=(0.75, 0.72, 0.66),
        sky=(0.58, 0.61, 0.66),
        ground=(0.32, 0.31, 0.29),
        fog=(0.6, 0.62, 0.65),
        fog_density=0.006,
        dapple=0,
        lamp=0,
    ),
    "overcast": Weather(
        elevation=70,
        sun=(0.2, 0.2, 0.2),
        sky=(0.82, 0.84, 0.88),
        ground=(0.36, 0.36, 0.35),
        fog=(0.66, 0.68, 0.72),
        fog_density=0.006,
        dapple=0,
        lamp=0,
    ),
    "dusk": Weather(
        elevation=50,
        sun=(0.42, 0.32, 0.2),
        sky=(0.2, 0.22, 0.32),
        ground=(0.15, 0.13, 0.12),
        fog=(0.2, 0.22, 0.32),
        fog_density=0.01,
        dapple=0,
        lamp=1.1,
    ),
    "night": Weather(
        elevation=62,
        sun=(0.5, 0.36, 0.18),
        sky=(0.1, 0.11, 0.16),
        ground=(0.1, 0.085, 0.07),
        fog=(0.05, 0.06, 0.09),
        fog_density=0.01,
        dapple=0,
        lamp=1.3,
    ),
    "white lamps": Weather(
        elevation=78,
        sun=(0.42, 0.43, 0.42),
        sky=(0.62, 0.64, 0.64),
        ground=(0.4, 0.4, 0.38),
        fog=(0.6, 0.6, 0.6),
        fog_density=0.003,
        dapple=0,
        lamp=0.5,
    ),
    "warm lamps": Weather(
        elevation=74,
        sun=(0.55, 0.48, 0.36),
        sky=(0.5, 0.45, 0.38),
        ground=(0.34, 0.29, 0.23),
        fog=(0.45, 0.4, 0.34),
        fog_density=0.004,
        dapple=0,
        lamp=0.7,
    ),
}


def light(name: str, azimuth: float) -> Light:
    """Return the light of a row of `LIGHTS` with the sun `azimuth` degrees from +z towards +x."""
    weather = LIGHTS[name]
    e, a = np.radians(weather.elevation), np.radians(azimuth)
    return Light(
        sun=(float(np.cos(e) * np.sin(a)), float(np.sin(e)), float(np.cos(e) * np.cos(a))),
        sun_colour=weather.sun,
        sky=weather.sky,
        ground=weather.ground,
        fog=weather.fog,
        fog_density=weather.fog_density,
        dapple=weather.dapple,
        lamp=weather.lamp,
    )


@dataclass(frozen=True)
class Scene:
    """A kind of place."""

    light: str  # a key of `LIGHTS`
    build: Callable[[np.random.Generator], list[Soup]]  # floor and walls
    things: dict[str, int]  # number of each kind in `THINGS`
    in_front: tuple[str, ...]  # kinds that can hide a person here
    indoors: bool = False
    walk: tuple[float, float] = (4.5, 10.0)  # m, least and largest distance of a person from the camera


def _plaza(r: np.random.Generator) -> list[Soup]:
    rows = [_floor(Finish("slabs", (0.86, 0.84, 0.8), 0.4))]
    for x in range(-36, 36, 9):
        rows.append(
            _wall(
                (x, x + 8.6),
                -20 - r.uniform(0, 4),
                r.uniform(8, 14),
                Finish("facade", tuple(r.uniform(0.7, 1, 3)), 0.16),
            )
        )
    return rows


def _high_street(r: np.random.Generator) -> list[Soup]:
    rows = [
        _floor(Finish("pavers", (0.85, 0.82, 0.8), 0.62)),
        _patch(Finish("asphalt", (0.62, 0.62, 0.63), 0.3), (-40, 40), (-60, -13)),
    ]
    for x in range(-32, 32, 6):
        rows.append(_wall((x, x + 6), -22, 3.6, Finish("shopfront", tuple(r.uniform(0.7, 1, 3)), 0.28)))
        rows.append(_wall((x, x + 6), -22.2, r.uniform(8, 11), Finish("facade", tuple(r.uniform(0.65, 1, 3)), 0.2)))
    return rows


def _park(r: np.random.Generator) -> list[Soup]:
    rows = [
        _floor(Finish("grass", (0.85, 0.9, 0.75), 0.3)),
        _patch(Finish("asphalt", (0.75, 0.73, 0.7), 0.3), (-3.6, 3.6), (-60, 15)),
    ]
    rows += [
        _side_wall(-7, (-40, -4), 1.3, Finish("hedge", (0.8, 0.85, 0.7), 0.6)),
        _wall((-30, 30), -26, 3, Finish("hedge", (0.7, 0.8, 0.65), 0.5)),
    ]
    return rows


def _mall(r: np.random.Generator) -> list[Soup]:
    rows = [
        _floor(Finish("tiles", (0.92, 0.9, 0.86), 0.35, 0.18)),
        _side_wall(-8, (-40, 0), 5, Finish("shopfront", GREY, 0.3)),
    ]
    rows += [
        _side_wall(8, (-40, 0), 5, Finish("shopfront", (0.9, 0.85, 0.8), 0.3)),
        _wall((-12, 12), -24, 6, Finish("office", (0.9, 0.85, 0.8), 0.3)),
    ]
    return rows


def _platform(r: np.random.Generator) -> list[Soup]:
    rows = [
        _floor(Finish("concrete", (0.8, 0.8, 0.8), 0.3)),
        _patch(Finish("paint", (0.85, 0.75, 0.25), 0.4), (-40, 40), (-13.4, -13)),
    ]
    rows += [
        _wall((-40, 40), -14.2, 3.4, Finish("train", (0.95, 0.95, 0.95), 0.22)),
        _wall((-40, 40), -20, 7, Finish("concrete", (0.6, 0.6, 0.62), 0.2)),
    ]
    return rows


def _car_park(r: np.random.Generator) -> list[Soup]:
    rows = [
        _floor(Finish("asphalt", (0.7, 0.7, 0.7), 0.3)),
        _wall((-40, 40), -22, 4, Finish("brick", (0.9, 0.85, 0.8), 0.5)),
    ]
    for x in np.arange(-20, 20, 2.6):
        rows.append(_patch(Finish("paint", (0.8, 0.8, 0.78), 0.4), (x, x + 0.1), (-18, -12.5)))
    return rows


def _crossing(r: np.random.Generator) -> list[Soup]:
    rows = [
        _floor(Finish("asphalt", (0.58, 0.58, 0.6), 0.3)),
        _patch(Finish("slabs", (0.78, 0.77, 0.75), 0.5), (-40, 40), (-60, -14)),
    ]
    for z in np.arange(-12.5, -3, 1.0):
        rows.append(_patch(Finish("paint", (0.82, 0.82, 0.8), 0.4), (-2.6, 2.6), (z, z + 0.5)))
    for x in range(-32, 32, 8):
        rows.append(
            _wall(
                (x, x + 8),
                -20,
                r.uniform(5, 12),
                Finish(str(r.choice(["office", "shopfront", "facade"])), tuple(r.uniform(0.6, 1, 3)), 0.22),
            )
        )
    return rows


def _campus(r: np.random.Generator) -> list[Soup]:
    rows = [
        _floor(Finish("pavers", (0.86, 0.8, 0.76), 0.7)),
        _patch(Finish("grass", (0.8, 0.85, 0.7), 0.3), (4.4, 40), (-60, 10)),
    ]
    rows += [
        _wall((-30, 2), -17, 9, Finish("brick", (0.95, 0.9, 0.85), 0.4)),
        _wall((-28, 0), -16.9, 8, Finish("facade", (0.85, 0.7, 0.62), 0.2)),
    ]
    rows.append(_wall((2, 30), -24, 7, Finish("office", GREY, 0.25)))
    return rows


def _lobby(r: np.random.Generator) -> list[Soup]:
    rows = [
        _floor(Finish("tiles", (0.7, 0.69, 0.68), 0.3, 0.25)),
        _wall((-20, 20), -15, 6, Finish("office", (0.95, 0.95, 0.95), 0.3)),
    ]
    rows += [
        _side_wall(-6.5, (-30, 0), 5, Finish("wood", (0.8, 0.75, 0.7), 0.4)),
        _wall((1.5, 6), -12.5, 1.15, Finish("wood", (0.9, 0.8, 0.7), 0.5), 0.8),
    ]
    return rows


def _old_town(r: np.random.Generator) -> list[Soup]:
    rows = [_floor(Finish("cobbles", (0.84, 0.8, 0.76), 0.62))]
    for x in range(-30, 30, 5):
        tint = tuple(np.array([1.0, r.uniform(0.8, 0.95), r.uniform(0.6, 0.85)]) * r.uniform(0.75, 1))
        rows.append(_wall((x, x + 5), -15 - r.uniform(0, 1.5), r.uniform(7, 10), Finish("facade", tint, 0.22)))
    rows.append(_side_wall(-7.5, (-30, -3), 8, Finish("plaster", (0.95, 0.85, 0.7), 0.3)))
    return rows


def _square_at_dusk(r: np.random.Generator) -> list[Soup]:
    rows = [_floor(Finish("slabs", (0.75, 0.75, 0.76), 0.5, 0.08))]
    for x in range(-30, 30, 10):
        rows.append(
            _wall(
                (x, x + 9),
                -19 - r.uniform(0, 3),
                r.uniform(9, 14),
                Finish("office", tuple(r.uniform(0.6, 0.9, 3)), 0.2),
            )
        )
    return rows


def _street_at_night(r: np.random.Generator) -> list[Soup]:
    rows = [_floor(Finish("cobbles", (0.7, 0.68, 0.66), 0.55, 0.1))]
    for x in range(-30, 30, 6):
        rows.append(_wall((x, x + 6), -15, 3.4, Finish("shopfront", tuple(r.uniform(0.6, 1, 3)), 0.29)))
        rows.append(_wall((x, x + 6), -15.2, 9, Finish("facade", tuple(r.uniform(0.5, 0.9, 3)), 0.2)))
    return rows


def _corridor(r: np.random.Generator) -> list[Soup]:
    rows = [
        _floor(Finish("carpet", (0.8, 0.8, 0.85), 0.5)),
        _side_wall(-2.9, (-40, 4), 3, Finish("plaster", (0.9, 0.9, 0.86), 0.4)),
    ]
    rows += [
        _side_wall(2.9, (-40, 4), 3, Finish("posters", (0.92, 0.92, 0.9), 0.33)),
        _wall((-3, 3), -26, 3, Finish("wood", (0.85, 0.8, 0.75), 0.5)),
    ]
    for z in range(-24, -2, 5):
        rows.append(surface(box([-2.68, 1.05, z], [0.1, 2.1, 0.95]), "wood", (0.75, 0.65, 0.55), 0.6))
    return rows


def _supermarket(r: np.random.Generator) -> list[Soup]:
    rows = [
        _floor(Finish("tiles", (0.9, 0.9, 0.88), 0.5, 0.15)),
        _wall((-20, 20), -20, 3.2, Finish("shelves", (0.95, 0.95, 0.95), 0.45)),
    ]
    rows += [_side_wall(x, (-18, -5), 2.1, Finish("shelves", (0.95, 0.95, 0.95), 0.5)) for x in (-5.5, 5.5)]
    rows.append(_wall((-5, -1.8), -13, 2.1, Finish("shelves", (0.95, 0.95, 0.95), 0.5), 1.0))
    return rows


SCENES: dict[str, Scene] = {
    "plaza": Scene(
        light="sunny",
        build=_plaza,
        things={"bench": 3, "tree": 4, "pole": 4, "bin": 2, "planter": 2},
        in_front=("pole", "bench", "planter", "bin"),
    ),
    "high street": Scene(
        light="overcast",
        build=_high_street,
        things={"car": 5, "pole": 4, "board": 2, "bin": 1},
        in_front=("car", "pole", "board", "barrier"),
    ),
    "park": Scene(
        light="leaves",
        build=_park,
        things={"tree": 6, "bench": 3, "bin": 1, "pole": 2},
        in_front=("bench", "pole", "tree", "planter"),
    ),
    "mall": Scene(
        light="warm lamps",
        build=_mall,
        things={"planter": 4, "column": 3, "board": 2, "bench": 2},
        in_front=("planter", "column", "board", "trolley"),
        indoors=True,
    ),
    "platform": Scene(
        light="hazy",
        build=_platform,
        things={"column": 4, "bench": 2, "board": 1, "bin": 1},
        in_front=("column", "bench", "suitcase", "pole"),
    ),
    "car park": Scene(
        light="low sun", build=_car_park, things={"car": 7, "pole": 3}, in_front=("car", "pole", "barrier")
    ),
    "crossing": Scene(
        light="overcast",
        build=_crossing,
        things={"pole": 4, "car": 3, "railing": 2},
        in_front=("car", "pole", "railing"),
    ),
    "campus": Scene(
        light="sunny",
        build=_campus,
        things={"tree": 4, "bench": 2, "railing": 3, "bin": 1},
        in_front=("bench", "railing", "pole", "planter"),
    ),
    "lobby": Scene(
        light="white lamps",
        build=_lobby,
        things={"planter": 3, "column": 2, "bench": 1},
        in_front=("planter", "column", "barrier", "suitcase"),
        indoors=True,
    ),
    "old town": Scene(
        light="low sun",
        build=_old_town,
        things={"stall": 3, "pole": 2, "planter": 3},
        in_front=("stall", "planter", "pole", "barrier"),
    ),
    "square at dusk": Scene(
        light="dusk",
        build=_square_at_dusk,
        things={"tree": 3, "pole": 4, "bench": 2},
        in_front=("bench", "pole", "planter"),
    ),
    "street at night": Scene(
        light="night",
        build=_street_at_night,
        things={"car": 3, "pole": 3, "bin": 2},
        in_front=("car", "pole", "bin", "board"),
    ),
    "corridor": Scene(
        light="white lamps", build=_corridor, things={"bin": 1}, in_front=("barrier", "board", "suitcase"), indoors=True
    ),
    "supermarket": Scene(
        light="white lamps",
        build=_supermarket,
        things={"trolley": 3, "board": 2},
        in_front=("trolley", "board", "barrier"),
        indoors=True,
    ),
}


@dataclass(frozen=True)
class Camera:
    """A fixed camera: its place and image quality."""

    scene: str
    height: float  # m
    balance: Rgb  # white balance: gain of red, green and blue
    exposure: float = 1.0
    contrast: float = 1.0
    saturation: float = 0.9
    lift: float = 0.02
    blur: float = 0.5  # px of the finished image
    resolution: int = 200  # px, height of a typical person before enlarging
    noise: float = 0.012
    quality: int = 80  # of its JPEG
    azimuth: float = 40.0  # degrees, of the sun


CAMERAS: tuple[Camera, ...] = (  # camid 1, 2, ...
    Camera(
        "plaza",
        height=3.0,
        balance=(1.06, 1.0, 0.92),
        exposure=0.95,
        contrast=1.05,
        saturation=0.95,
        lift=0.01,
        blur=0.4,
        resolution=230,
        noise=0.008,
        quality=88,
        azimuth=35,
    ),
    Camera(
        "high street",
        height=2.4,
        balance=(0.93, 1.0, 1.12),
        exposure=0.85,
        contrast=0.9,
        saturation=0.75,
        lift=0.05,
        blur=0.7,
        resolution=170,
        noise=0.014,
        quality=75,
        azimuth=120,
    ),
    Camera(
        "park",
        height=2.0,
        balance=(0.96, 1.06, 0.9),
        exposure=1.0,
        contrast=1.0,
        saturation=0.85,
        lift=0.02,
        blur=0.6,
        resolution=190,
        noise=0.012,
        quality=80,
        azimuth=-60,
    ),
    Camera(
        "mall",
        height=3.4,
        balance=(1.16, 1.0, 0.8),
        exposure=0.95,
        contrast=0.95,
        saturation=0.9,
        lift=0.03,
        blur=0.6,
        resolution=180,
        noise=0.014,
        quality=78,
        azimuth=10,
    ),
    Camera(
        "platform",
        height=3.8,
        balance=(0.98, 1.04, 0.97),
        exposure=0.72,
        contrast=0.94,
        saturation=0.66,
        lift=0.05,
        blur=0.8,
        resolution=150,
        noise=0.018,
        quality=68,
        azimuth=80,
    ),
    Camera(
        "car park",
        height=4.6,
        balance=(1.1, 0.98, 0.9),
        exposure=0.9,
        contrast=1.12,
        saturation=0.9,
        lift=0.0,
        blur=0.5,
        resolution=150,
        noise=0.012,
        quality=72,
        azimuth=-35,
    ),
    Camera(
        "crossing",
        height=2.8,
        balance=(0.92, 1.0, 1.08),
        exposure=1.05,
        contrast=1.0,
        saturation=0.8,
        lift=0.03,
        blur=0.5,
        resolution=210,
        noise=0.01,
        quality=85,
        azimuth=150,
    ),
    Camera(
        "campus",
        height=1.8,
        balance=(1.0, 1.0, 1.0),
        exposure=1.0,
        contrast=1.08,
        saturation=1.05,
        lift=0.0,
        blur=0.3,
        resolution=250,
        noise=0.006,
        quality=92,
        azimuth=-110,
    ),
    Camera(
        "lobby",
        height=2.6,
        balance=(0.9, 1.04, 1.04),
        exposure=0.8,
        contrast=0.92,
        saturation=0.7,
        lift=0.04,
        blur=0.7,
        resolution=170,
        noise=0.016,
        quality=76,
        azimuth=20,
    ),
    Camera(
        "old town",
        height=3.2,
        balance=(1.14, 0.98, 0.84),
        exposure=1.08,
        contrast=1.02,
        saturation=0.95,
        lift=0.02,
        blur=0.6,
        resolution=200,
        noise=0.01,
        quality=82,
        azimuth=65,
    ),
    Camera(
        "square at dusk",
        height=2.9,
        balance=(0.9, 0.96, 1.16),
        exposure=1.5,
        contrast=0.95,
        saturation=0.7,
        lift=0.03,
        blur=0.8,
        resolution=160,
        noise=0.026,
        quality=70,
        azimuth=-20,
    ),
    Camera(
        "street at night",
        height=3.5,
        balance=(1.12, 1.0, 0.74),
        exposure=1.9,
        contrast=1.05,
        saturation=0.72,
        lift=0.02,
        blur=0.9,
        resolution=140,
        noise=0.034,
        quality=66,
        azimuth=45,
    ),
    Camera(
        "corridor",
        height=2.3,
        balance=(0.97, 1.05, 0.88),
        exposure=0.9,
        contrast=0.9,
        saturation=0.66,
        lift=0.05,
        blur=0.6,
        resolution=190,
        noise=0.014,
        quality=80,
        azimuth=0,
    ),
    Camera(
        "supermarket",
        height=2.7,
        balance=(1.04, 1.0, 1.06),
        exposure=1.1,
        contrast=1.1,
        saturation=1.0,
        lift=0.01,
        blur=0.4,
        resolution=220,
        noise=0.009,
        quality=86,
        azimuth=-15,
    ),
)


def camera_of(number: int) -> Camera:
    """Return the camera of a number, from 1: a row of `CAMERAS`, or beyond the table one that its number seeds."""
    if number <= len(CAMERAS):
        return CAMERAS[number - 1]
    rng = np.random.default_rng([91, number])
    scene = list(SCENES)[number % len(SCENES)]  # in turn, so that every kind of place gets equally many
    dark = {"dusk": 1.5, "night": 1.9}.get(SCENES[scene].light, 1.0)
    dim = float(rng.uniform(0, 1))  # cheap cameras are soft, noisy, pale and small all at once
    return Camera(
        scene,
        height=float(rng.uniform(1.6, 5.2)),
        balance=tuple(float(v) for v in np.clip(rng.normal(1, [0.1, 0.03, 0.12]), 0.7, 1.3)),
        exposure=float(dark * rng.uniform(0.65, 1.2)),
        contrast=float(rng.uniform(0.85, 1.15)),
        saturation=float(1.05 - 0.55 * dim * rng.uniform(0.5, 1)),
        lift=float(rng.uniform(0, 0.07)),
        blur=float(0.3 + 0.7 * dim),
        resolution=int(250 - 150 * dim * rng.uniform(0.6, 1)),
        noise=float((0.006 + 0.016 * dim) * (1.6 if dark > 1 else 1)),
        quality=int(92 - 34 * dim * rng.uniform(0.5, 1)),
        azimuth=float(rng.uniform(-180, 180)),
    )


@dataclass(eq=False)
class Place:
    """The built scene of one camera."""

    camera: Camera
    scene: Scene
    light: Light
    mesh: Soup
    clear: np.ndarray  # (k, 3) m: x, z and half width of things that people walk round


def build_place(number: int) -> Place:
    """Build the place of a camera by its number, from 1; deterministic."""
    camera = camera_of(number)
    scene = SCENES[camera.scene]
    rng = np.random.default_rng([90, number])
    parts, clear = scene.build(rng), []
    narrow = 2.2 if camera.scene == "corridor" else 9.0
    for name, count in scene.things.items():
        thing = THINGS[name]
        for _ in range(count):
            for _ in range(20):
                x, z = rng.uniform(-narrow, narrow), -rng.uniform(7, 17)
                if abs(x) > 1.6 or z < -11.5:
                    break
            yaw = float(rng.choice([0, np.pi / 2])) + rng.normal(0, 0.15)
            parts.append(moved(thing.build(rng), x, z, yaw))
            clear.append((x, z, thing.clear))
    return Place(
        camera, scene, light(scene.light, camera.azimuth), np.concatenate(parts), np.array(clear).reshape(-1, 3)
    )


def stand(place: Place, rng: np.random.Generator) -> tuple[float, float]:
    """Draw a person's position `(x, z)`, neither inside a thing nor hidden behind one if that can be found."""
    near, far = place.scene.walk
    wide = 1.7 if place.camera.scene == "corridor" else 3.2
    x = z = 0.0
    for _ in range(60):
        x, z = rng.uniform(-wide, wide), -rng.uniform(near, far)
        t = np.clip((place.clear[:, 0] * x + place.clear[:, 1] * z) / (x * x + z * z), 0, 1)
        gap = np.hypot(place.clear[:, 0] - t * x, place.clear[:, 1] - t * z)
        if (gap > place.clear[:, 2] * np.where(t < 0.98, 1, 0.7)).all():
            break
    return float(x), float(z)


def detector_box(
    rng: np.random.Generator, box_px: tuple[float, float, float, float], careless: float = 0.08
) -> tuple[float, float, float, float]:
    """Perturb an exact box `(x0, y0, x1, y1)` as a detector would: a little loose, and `careless` often far off."""
    x0, y0, x1, y1 = box_px
    height, width = y1 - y0, x1 - x0
    x, y = (x0 + x1) / 2 + rng.normal(0, 0.03) * width, (y0 + y1) / 2 + rng.normal(0, 0.012) * height
    tall = height * rng.uniform(1.01, 1.08)
    wide = float(np.clip(max(tall * rng.uniform(0.40, 0.50), width * rng.uniform(0.95, 1.1)), 0, tall * 0.62))
    if rng.random() < careless:
        scale = rng.choice([rng.uniform(0.82, 0.94), rng.uniform(1.12, 1.3)])
        x, y = x + rng.normal(0, 0.16) * wide, y + rng.normal(0, 0.06) * tall
        tall, wide = tall * scale, wide * scale
    return x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2
