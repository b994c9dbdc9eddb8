"""Draw the paper's Figure 3: where every part template looks in each image, on the page's fixed colour scale."""

from collections.abc import Sequence

import cv2
import numpy as np

from reid_demo.drawing import overlays
from reid_demo.errors import ConfigError
from reid_demo.model.describer import Describer

MAPS = ("template", "part")
HEIGHT, WIDTH = 192, 96  # px, one picture on the sheet
GAP, HEAD, FOOT = 8, 24, 44  # px: between pictures, above the first row, below the last
INK = (40, 40, 40)


def attention_sheet(describer: Describer, images: Sequence[np.ndarray], *, maps: str = "template") -> np.ndarray:
    """Draw one row per image: the image, then a heat overlay of each of its N maps.

    Colours are those of `overlays.heat_overlay`: attention as a multiple of uniform, never rescaled to a picture, so
    that any two pictures can be compared. The scale is drawn at the bottom.

    Args:
        describer: the network.
        images: `(H, W, 3)` uint8 of any size, at least one; stretched as the network stretches them.
        maps: `template` (Eq. 5 after its softmax, Fig. 3) or `part` (the cross-attention of Sec. 3.4).

    Returns:
        `(24 + rows * 200 + 44, 8 + (N + 1) * 104, 3)` uint8.

    Raises:
        ConfigError: no image, unknown maps, or a network that has no such maps.
    """
    config = describer.model.config
    if maps not in MAPS:
        raise ConfigError(f"Unknown maps {maps!r}; choose template or part.")
    if not images:
        raise ConfigError("Name at least one image to draw.")
    if not config.parts:
        raise ConfigError("These weights are of the variant G, which has no part templates; use others.")
    if maps == "template" and config.templates == "static":
        raise ConfigError("Static templates look at no image; draw the maps of the parts with --maps part.")
    rows = len(images)
    sheet = np.full((HEAD + rows * (HEIGHT + GAP) + FOOT, GAP + (config.parts + 1) * (WIDTH + GAP), 3), 255, np.uint8)
    for column in range(config.parts + 1):
        _write(sheet, f"T{column}" if column else "image", GAP + column * (WIDTH + GAP), HEAD - 7)
    for row, (image, descriptor) in enumerate(zip(images, describer.describe_stream(images), strict=True)):
        heats = descriptor.template_attention if maps == "template" else descriptor.part_attention
        plain = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        for column, picture in enumerate(
            [plain, *(overlays.heat_overlay(image, heat, HEIGHT, WIDTH) for heat in heats)]
        ):
            top, left = HEAD + row * (HEIGHT + GAP), GAP + column * (WIDTH + GAP)
            sheet[top : top + HEIGHT, left : left + WIDTH] = picture
    _draw_scale(sheet)
    return sheet


def _draw_scale(sheet: np.ndarray) -> None:
    top, long = len(sheet) - FOOT + 6, min(4 * (WIDTH + GAP), sheet.shape[1] - 2 * GAP)
    sheet[top : top + 12, GAP : GAP + long] = overlays.colours(overlays.unscale(np.linspace(0, 1, long)))
    uniform = GAP + round(long * float(overlays.scale(1)))
    sheet[top - 3 : top + 15, uniform] = INK
    for words, left in (("0", GAP), ("1 = uniform", uniform), (f"{overlays.FULL_SCALE:g}x and more", GAP + long - 100)):
        _write(sheet, words, left, top + 28)


def _write(sheet: np.ndarray, words: str, left: int, base: int) -> None:
    cv2.putText(sheet, words, (left, base), cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
