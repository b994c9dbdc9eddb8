"""Tiling textures of places, painted with numpy. To add one, write a painter and add it to `LAYERS`."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SIZE = 256  # px
Painter = Callable[[np.random.Generator], np.ndarray]


def cloud(rng: np.random.Generator, roughness: float = 1.6, stretch: tuple[float, float] = (1, 1)) -> np.ndarray:
    """Return tiling noise `(SIZE, SIZE)` of mean 0 and deviation 1.

    Args:
        rng: random numbers.
        roughness: a lower value makes finer noise.
        stretch: along (y, x).
    """
    fy, fx = np.meshgrid(np.fft.fftfreq(SIZE) * SIZE, np.fft.rfftfreq(SIZE) * SIZE, indexing="ij")
    power = np.maximum(np.hypot(fy * stretch[0], fx * stretch[1]), 1) ** -roughness
    power[0, 0] = 0
    spectrum = power * np.exp(2j * np.pi * rng.random(power.shape))
    out = np.fft.irfft2(spectrum, s=(SIZE, SIZE))
    return out / out.std()


def _tint(value: np.ndarray, rgb: tuple[float, float, float], glow: np.ndarray | float = 0.0) -> np.ndarray:
    out = np.empty((SIZE, SIZE, 4), np.float32)
    out[..., :3] = np.clip(value, 0, 2)[..., None] * np.array(rgb)
    out[..., 3] = glow
    return out


@dataclass(frozen=True)
class Laying:
    """The layout of slabs or bricks."""

    rows: int
    columns: int
    shift: float = 0.0  # of every other row, in cells
    joint: float = 0.0  # width of the joints, as a fraction of the layer


def _cells(laying: Laying) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each pixel's row, its column, and whether it lies in a joint; `(SIZE, SIZE)` each."""
    rows, columns = laying.rows, laying.columns
    y, x = np.meshgrid(np.arange(SIZE) / SIZE * rows, np.arange(SIZE) / SIZE * columns, indexing="ij")
    row = y.astype(int)
    x = (x + laying.shift * (row % 2)) % columns
    column = x.astype(int)
    joint = (y % 1 < laying.joint * rows) | (x % 1 < laying.joint * columns)
    return row, column, joint


def _laid(rng: np.random.Generator, laying: Laying, rgb: tuple[float, float, float], spread: float) -> np.ndarray:
    """Paint cells whose shades differ by `spread`, with darker joints."""
    row, column, joint = _cells(laying)
    size = laying.rows, laying.columns
    shade = 1 + spread * rng.normal(size=size)[row, column] + 0.05 * cloud(rng, 1.2) + 0.05 * cloud(rng, 0.4)
    out = _tint(shade, rgb)
    out[..., :3] *= 1 + 0.5 * spread * rng.normal(size=(*size, 3))[row, column]
    out[joint, :3] *= 0.62
    return out


def asphalt(rng: np.random.Generator) -> np.ndarray:
    """Paint worn asphalt with patches."""
    return _tint(0.75 + 0.05 * cloud(rng, 1.8) + 0.11 * cloud(rng, 0.25), (0.62, 0.62, 0.64))


def concrete(rng: np.random.Generator) -> np.ndarray:
    """Paint stained concrete."""
    return _tint(0.9 + 0.07 * cloud(rng, 1.7) + 0.035 * cloud(rng, 0.4), (0.76, 0.75, 0.72))


def plaster(rng: np.random.Generator) -> np.ndarray:
    """Paint a rendered wall with streaks."""
    return _tint(0.95 + 0.04 * cloud(rng, 1.5, (0.3, 1.5)) + 0.02 * cloud(rng, 0.4), (0.9, 0.88, 0.84))


def slabs(rng: np.random.Generator) -> np.ndarray:
    """Paint square paving."""
    return _laid(rng, Laying(4, 4, shift=0, joint=0.008), (0.74, 0.73, 0.70), 0.05)


def pavers(rng: np.random.Generator) -> np.ndarray:
    """Paint small paving bricks."""
    return _laid(rng, Laying(16, 8, shift=0.5, joint=0.006), (0.66, 0.61, 0.58), 0.06)


def cobbles(rng: np.random.Generator) -> np.ndarray:
    """Paint cobbles."""
    return _laid(rng, Laying(14, 14, shift=0.5, joint=0.012), (0.6, 0.59, 0.57), 0.08)


def brick(rng: np.random.Generator) -> np.ndarray:
    """Paint a brick wall."""
    bond = Laying(24, 8, shift=0.5, joint=0.005)
    out = _laid(rng, bond, (0.66, 0.42, 0.34), 0.1)
    joint = _cells(bond)[2]
    out[joint, :3] = 0.66 + 0.05 * cloud(rng, 0.5)[joint][:, None]
    return out


def tiles(rng: np.random.Generator) -> np.ndarray:
    """Paint large polished floor tiles."""
    return _laid(rng, Laying(4, 4, shift=0, joint=0.005), (0.84, 0.82, 0.78), 0.03)


def wood(rng: np.random.Generator) -> np.ndarray:
    """Paint planks."""
    row, _, joint = _cells(Laying(8, 1, joint=0.004))
    grain = 0.85 + 0.12 * cloud(rng, 1.3, (1, 0.08)) + 0.08 * rng.normal(size=8)[row]
    out = _tint(grain, (0.62, 0.46, 0.33))
    out[joint, :3] *= 0.6
    return out


def metal(rng: np.random.Generator) -> np.ndarray:
    """Paint ribbed sheet metal or a shutter."""
    y = np.arange(SIZE) / SIZE * 20
    ribs = 0.82 + 0.16 * np.sin(2 * np.pi * y)[:, None] + 0.03 * cloud(rng, 1.2)
    return _tint(ribs, (0.74, 0.75, 0.76))


def hedge(rng: np.random.Generator) -> np.ndarray:
    """Paint leaves."""
    leaf, depth = cloud(rng, 0.35), cloud(rng, 0.9)
    value = np.clip(0.62 + 0.22 * leaf + 0.18 * depth, 0.12, 1.3)
    out = _tint(value, (0.46, 0.56, 0.30))
    out[..., 0] *= 1 + 0.12 * cloud(rng, 0.8)
    return out


def grass(rng: np.random.Generator) -> np.ndarray:
    """Paint a lawn."""
    return _tint(np.clip(0.85 + 0.12 * cloud(rng, 0.5) + 0.1 * cloud(rng, 1.6), 0.3, 1.4), (0.50, 0.58, 0.32))


def _windows(rng: np.random.Generator, rows: int, columns: int, wall: tuple, fill: float, lit: float) -> np.ndarray:
    y, x = np.meshgrid(np.arange(SIZE) / SIZE * rows, np.arange(SIZE) / SIZE * columns, indexing="ij")
    row, column = y.astype(int), x.astype(int)
    u, v = x % 1, y % 1
    inside = (np.abs(u - 0.5) < fill / 2) & (np.abs(v - 0.47) < fill * 0.42)
    frame = (np.abs(u - 0.5) < fill / 2 + 0.05) & (np.abs(v - 0.47) < fill * 0.42 + 0.04) & ~inside
    frame |= inside & (np.abs(u - 0.5) < 0.02)
    out = _tint(0.95 + 0.05 * cloud(rng, 1.5) + 0.02 * cloud(rng, 0.5), wall)
    dark = rng.uniform(0.18, 0.5, (rows, columns))[row, column] + 0.12 * (1 - v) + 0.04 * cloud(rng, 1.6)
    glass = np.clip(dark, 0.05, 1)[..., None] * [0.85, 0.95, 1.05]
    out[inside, :3] = glass[inside]
    out[frame, :3] = np.array([0.8, 0.8, 0.78]) * rng.uniform(0.4, 1)
    glow = (rng.random((rows, columns)) < lit)[row, column] & inside
    out[..., 3] = glow * (0.45 + 0.3 * rng.random((rows, columns))[row, column])
    return out


def facade(rng: np.random.Generator) -> np.ndarray:
    """Paint a wall with windows, some of them lit at dusk."""
    return _windows(rng, 2, 3, (0.78, 0.73, 0.66), 0.5, 0.35)


def office(rng: np.random.Generator) -> np.ndarray:
    """Paint a glass front."""
    return _windows(rng, 3, 4, (0.5, 0.52, 0.54), 0.88, 0.4)


def shopfront(rng: np.random.Generator) -> np.ndarray:
    """Paint shop windows with goods and signs."""
    out = _windows(rng, 1, 2, (0.34, 0.33, 0.33), 0.86, 1.0)
    for _ in range(46):
        x, y = rng.integers(SIZE), rng.integers(60, 200)
        w, h = rng.integers(6, 26), rng.integers(10, 46)
        out[y : y + h, x : x + w, :3] = out[y : y + h, x : x + w, :3] * 0.35 + 0.65 * rng.uniform(0.1, 0.9, 3)
    out[6:34, :, :3] = rng.uniform(0.15, 0.6, 3)
    for x in range(20, SIZE - 30, 14):
        if rng.random() < 0.7:
            out[14:26, x : x + 8, :3] = 0.9
    out[..., 3] *= 0.8
    return out


def shelves(rng: np.random.Generator) -> np.ndarray:
    """Paint shelves of goods."""
    out = _tint(np.full((SIZE, SIZE), 0.5), (0.6, 0.58, 0.55))
    for row in range(5):
        x, base = 0, 10 + row * 50
        while x < SIZE:
            w, h = int(rng.integers(5, 16)), int(rng.integers(22, 40))
            out[base + 40 - h : base + 40, x : x + w, :3] = rng.uniform(0.12, 0.85, 3) ** 0.8
            x += w + 1
        out[base + 40 : base + 45, :, :3] = 0.8
    out[..., :3] *= 0.85 + 0.1 * cloud(rng, 0.8)[..., None]
    return out


def posters(rng: np.random.Generator) -> np.ndarray:
    """Paint a wall with posters and notices."""
    out = plaster(rng)
    for _ in range(9):
        x, y, w, h = rng.integers(0, 210), rng.integers(20, 170), rng.integers(26, 60), rng.integers(36, 80)
        out[y : y + h, x : x + w, :3] = rng.uniform(0.2, 0.85, 3)
        for line in range(y + 8, min(y + h - 4, SIZE), 8):
            out[line : line + 3, x + 5 : x + max(w - 8, 8), :3] *= rng.uniform(0.5, 1.3)
    return np.clip(out, 0, 1)


def carpet(rng: np.random.Generator) -> np.ndarray:
    """Paint carpet tiles."""
    row, column, _ = _cells(Laying(4, 4))
    return _tint(0.7 + 0.06 * ((row + column) % 2) + 0.07 * cloud(rng, 0.3), (0.55, 0.57, 0.62))


def glass(rng: np.random.Generator) -> np.ndarray:
    """Paint dark glass with faint reflections."""
    return _tint(0.22 + 0.05 * cloud(rng, 1.9), (0.85, 0.95, 1.0))


def bark(rng: np.random.Generator) -> np.ndarray:
    """Paint bark."""
    return _tint(0.8 + 0.2 * cloud(rng, 1.0, (0.2, 1.5)), (0.46, 0.38, 0.31))


def paint(rng: np.random.Generator) -> np.ndarray:
    """Paint an even, slightly dirty coat of paint; the surface's tint sets its colour."""
    return _tint(0.95 + 0.03 * cloud(rng, 1.5), (0.95, 0.95, 0.95))


def train(rng: np.random.Generator) -> np.ndarray:
    """Paint the side of a train or bus: a window band over a coloured stripe."""
    out = _tint(0.9 + 0.02 * cloud(rng, 1.3), (0.84, 0.85, 0.86))
    out[60:130, :, :3] = 0.16 + 0.03 * cloud(rng, 1.6)[60:130, :, None]
    out[60:130, :, 3] = 0.5
    out[60:130, ::64, :3] = 0.7
    out[150:176, :, :3] = rng.uniform(0.15, 0.7, 3)
    out[30:230, 116:140, :3] *= 0.7
    return out


LAYERS: dict[str, Painter] = {
    painter.__name__: painter
    for painter in (
        *(asphalt, concrete, plaster, slabs, pavers, cobbles, brick, tiles, wood, metal, hedge, grass, facade, office),
        *(shopfront, shelves, posters, carpet, glass, bark, paint, train),
    )
}
INDEX = {name: i for i, name in enumerate(LAYERS)}


def layers(seed: int = 7) -> np.ndarray:
    """Paint all layers; return `(L, SIZE, SIZE, 4)` uint8, sRGB and glow."""
    painted = [painter(np.random.default_rng([seed, i])) for i, painter in enumerate(LAYERS.values())]
    return (np.clip(np.stack(painted), 0, 1) * 255).astype(np.uint8)


def noise_volume(size: int = 32, seed: int = 3) -> np.ndarray:
    """Return tiling 3-D noise `(size, size, size, 4)` uint8: its gradient in three channels, its value in the last."""
    rng = np.random.default_rng(seed)
    f = np.fft.fftfreq(size) * size
    radius = np.sqrt(f[:, None, None] ** 2 + f[None, :, None] ** 2 + f[None, None, :] ** 2)
    band = np.exp(-(((radius - 4.5) / 3.0) ** 2))
    value = np.real(np.fft.ifftn(band * np.exp(2j * np.pi * rng.random(radius.shape))))
    value /= value.std()
    slope = np.stack([np.roll(value, -1, axis) - np.roll(value, 1, axis) for axis in (2, 1, 0)], -1)
    slope /= slope.std()
    out = np.concatenate([slope * 0.17, value[..., None] * 0.14], -1) + 0.5
    return (np.clip(out, 0, 1) * 255).astype(np.uint8)
