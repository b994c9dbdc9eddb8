"""Surfaces: palettes, patterns and the `Material` record that the shader reads. Knows no geometry."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]  # sRGB, 0..1

CLOTH, SKIN, HAIR, EYE, PLAIN = range(5)  # kinds of material, as numbered in the shader
PATTERNS = (
    *("solid", "rings", "stripes", "check", "dots", "block", "camouflage", "logo", "denim", "raglan", "open", "seam"),
    *("buttons", "gradient", "floral", "zip", "yoke", "sole"),
)


@dataclass(frozen=True)
class Swatch:
    """A colour of the palette, and its weight among tops, bottoms (trousers and skirts) and coats."""

    rgb: tuple[int, int, int]  # sRGB, 0..255
    top: float
    bottom: float
    coat: float


# People wear mostly dark and neutral colours.
PALETTE: dict[str, Swatch] = {
    "black": Swatch((24, 24, 26), top=14, bottom=18, coat=20),
    "charcoal": Swatch((48, 49, 52), top=8, bottom=9, coat=8),
    "dark grey": Swatch((72, 73, 77), top=6, bottom=6, coat=5),
    "grey": Swatch((118, 119, 122), top=6, bottom=4, coat=4),
    "light grey": Swatch((168, 169, 171), top=5, bottom=2, coat=2),
    "white": Swatch((226, 226, 224), top=10, bottom=2, coat=1.5),
    "cream": Swatch((214, 205, 186), top=3, bottom=1.5, coat=2),
    "navy": Swatch((28, 34, 56), top=8, bottom=9, coat=9),
    "indigo": Swatch((44, 56, 88), top=4, bottom=9, coat=3),
    "denim blue": Swatch((84, 104, 136), top=3, bottom=8, coat=2),
    "pale blue": Swatch((158, 178, 202), top=3, bottom=1, coat=0.5),
    "blue": Swatch((44, 84, 146), top=2, bottom=0.5, coat=1),
    "brown": Swatch((78, 58, 46), top=2, bottom=3, coat=4),
    "camel": Swatch((164, 134, 98), top=1.5, bottom=2, coat=4),
    "khaki": Swatch((138, 126, 100), top=2, bottom=5, coat=3),
    "beige": Swatch((190, 176, 152), top=2, bottom=4, coat=3),
    "olive": Swatch((78, 80, 56), top=2.5, bottom=3, coat=4),
    "dark green": Swatch((34, 62, 48), top=2, bottom=1, coat=2),
    "green": Swatch((72, 118, 74), top=1, bottom=0.2, coat=0.4),
    "burgundy": Swatch((88, 32, 40), top=2.5, bottom=1, coat=2),
    "red": Swatch((166, 40, 42), top=2, bottom=0.4, coat=1.2),
    "rust": Swatch((150, 84, 52), top=1, bottom=0.4, coat=0.6),
    "mustard": Swatch((186, 150, 62), top=1, bottom=0.3, coat=0.5),
    "yellow": Swatch((222, 198, 84), top=0.5, bottom=0.1, coat=0.5),
    "rose": Swatch((198, 148, 152), top=1.5, bottom=0.5, coat=0.6),
    "pink": Swatch((208, 110, 140), top=0.8, bottom=0.2, coat=0.4),
    "plum": Swatch((84, 52, 90), top=0.8, bottom=0.4, coat=0.5),
    "teal": Swatch((40, 100, 106), top=1, bottom=0.3, coat=0.6),
}
USES = ("top", "bottom", "coat")
SHOE_COLOURS = {"black": 10, "white": 6, "charcoal": 3, "brown": 3, "grey": 2, "navy": 1.5, "beige": 1, "red": 0.4}
BAG_COLOURS = {
    "black": 12,
    "charcoal": 4,
    "navy": 4,
    "brown": 4,
    "grey": 3,
    "olive": 2,
    "camel": 2,
    "red": 1,
    "blue": 1,
}
HAIR_COLOURS: dict[str, Colour] = {
    "black": (0.06, 0.055, 0.055),
    "dark brown": (0.15, 0.105, 0.08),
    "brown": (0.27, 0.185, 0.125),
    "light brown": (0.40, 0.29, 0.19),
    "blond": (0.62, 0.50, 0.32),
    "red": (0.42, 0.20, 0.10),
    "grey": (0.50, 0.49, 0.48),
    "white": (0.74, 0.73, 0.71),
}
SKIN_TONES: tuple[Colour, ...] = (  # light to dark; each ancestry draws from a range of them
    (0.93, 0.79, 0.71),
    (0.87, 0.71, 0.61),
    (0.80, 0.63, 0.51),
    (0.72, 0.54, 0.42),
    (0.63, 0.45, 0.34),
    (0.53, 0.37, 0.27),
    (0.42, 0.28, 0.21),
    (0.32, 0.21, 0.16),
)


@dataclass(frozen=True)
class Clip:
    """The edges of a grown garment, in pattern dm; the shader cuts there for clean edges on a coarse mesh."""

    hem: float = -99.0  # no cloth below this height
    cuff: float = -99.0  # no sleeve below this
    neck: float = 99.0  # height of the neck opening
    neck_radius: float = 0.0
    neck_depth: float = 0.0  # of a V at the front
    waist: float = 99.0  # no cloth above this height
    open_top: float = -1.0  # half width of an open front at the chest and at the hem; below 0: closed
    open_hem: float = -1.0


@dataclass(frozen=True)
class Material:
    """One surface, with the parameters of the shader."""

    kind: int
    a: Colour
    b: Colour = (0.5, 0.5, 0.5)
    c: Colour = (0.5, 0.5, 0.5)
    pattern: str = "solid"
    scale: float = 1.0
    phase: float = 0.0  # shifts patterns and folds, so that no two pieces look alike
    detail: float = 0.0  # of cloth by its pattern: band width, fading, zip; of skin: how strong the beard is
    gloss: float = 0.03
    folds: float = 0.5  # depth of the folds of cloth
    clip: Clip = Clip()


def choose(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    """Draw a key from a table of weights."""
    names = list(weights)
    p = np.array([weights[name] for name in names], float)
    return names[int(rng.choice(len(names), p=p / p.sum()))]


def palette_weights(use: str) -> dict[str, float]:
    """Return the weight of every colour for tops, bottoms or coats."""
    return {name: getattr(swatch, use) for name, swatch in PALETTE.items()}


def colour(rng: np.random.Generator, name: str) -> Colour:
    """Return a palette colour with a little random variation."""
    rgb = np.array(PALETTE[name].rgb) / 255
    return to_colour(rgb * rng.uniform(0.88, 1.12) + rng.normal(0, 0.012, 3))


def to_colour(rgb: np.ndarray) -> Colour:
    """Clip sRGB `(3,)` to the range that cloth can reflect; return a tuple."""
    return tuple(float(x) for x in np.clip(rgb, 0.03, 0.95))


def cloth(rng: np.random.Generator, use: str, patterns: Mapping[str, float], folds: float = 0.5) -> Material:
    """Draw a fabric: its colour from the palette for its use, its pattern from a table of weights."""
    base = colour(rng, choose(rng, palette_weights(use)))
    other = colour(rng, choose(rng, palette_weights("top")))
    third = colour(rng, choose(rng, palette_weights("top")))
    pattern = choose(rng, patterns)
    if pattern in ("rings", "stripes", "check", "dots", "seam") and np.abs(np.subtract(base, other)).max() < 0.12:
        other = to_colour(np.array(base) + (0.35 if np.mean(base) < 0.5 else -0.35))
    if pattern == "denim":
        base = colour(rng, choose(rng, {"indigo": 5, "denim blue": 4, "navy": 3, "black": 2, "grey": 1}))
    return Material(
        CLOTH,
        base,
        other,
        third,
        pattern,
        scale=float(rng.uniform(0.7, 1.7)),
        phase=float(rng.uniform(0, 50)),
        detail=float(rng.uniform(0, 1)),
        gloss=float(rng.choice([0.015, 0.03, 0.09], p=[0.5, 0.35, 0.15])),
        folds=folds * float(rng.uniform(0.75, 1.3)),
    )
