"""Describe a `Look` in words that can be searched. Knows no file and no renderer."""

from typing import Any

import numpy as np

from reid_demo.synthetic import garments
from reid_demo.synthetic.body import ANCESTRIES
from reid_demo.synthetic.fabrics import HAIR_COLOURS, PALETTE, Colour
from reid_demo.synthetic.people import Look

# Bounds and words: the first word is for values below the first bound, the last for those from the second on
LEVELS: dict[str, tuple[float, float, tuple[str, str, str]]] = {
    "age": (0.5, 0.68, ("under 25", "25 to 50", "over 50")),
    "skin": (0.42, 0.62, ("dark", "medium", "light")),
    "weight": (0.4, 0.65, ("light", "average", "heavy")),
    "height": (0.45, 0.55, ("short", "average", "tall")),
}


def level(name: str, value: float) -> str:
    """Return the word for a value, by the row `name` of `LEVELS`."""
    low, high, words = LEVELS[name]
    return words[0] if value < low else words[1] if value < high else words[2]


def colour_word(colour: Colour, palette: str = "cloth") -> str:
    """Return the name of the nearest colour of a palette, `cloth` or `hair`; `colour` is sRGB in 0..1."""
    if palette == "hair":
        table = HAIR_COLOURS
    else:
        table = {name: tuple(value / 255 for value in swatch.rgb) for name, swatch in PALETTE.items()}
    return min(table, key=lambda name: float(np.abs(np.subtract(table[name], colour)).sum()))


def row_of(pid: int, look: Look) -> dict[str, Any]:
    """Return a person's attributes as JSON values; `""` and `"none"` mean that there is no such thing."""
    dress = garments.BOTTOMS[look.bottom].dress
    coat = look.coat != "none"
    return {
        "pid": pid,
        "sex": "female" if look.woman else "male",
        "ancestry": ANCESTRIES[int(np.argmax(look.build.ancestry))],
        "age": level("age", look.build.age),
        "skin": level("skin", float(np.mean(look.skin))),
        "weight": level("weight", look.build.weight),
        "height": level("height", look.build.height),
        "hair": look.hair,
        "hair_colour": colour_word(look.hair_colour, "hair"),
        "beard": look.beard > 0,
        "glasses": look.glasses,
        "hat": look.hat,
        "scarf": look.scarf,
        "top": "none" if dress else look.top,
        "top_colour": colour_word(look.top_cloth.a),
        "coat": look.coat,
        "coat_colour": colour_word(look.coat_cloth.a) if coat else "",
        "bottom": look.bottom,
        "bottom_colour": colour_word(look.bottom_cloth.a),
        "shoes": look.shoes,
        "shoe_colour": colour_word(look.shoe_colours[0]),
        "bag": look.bag,
        "bag_colour": colour_word(look.bag_cloth.a) if look.bag != "none" else "",
    }
