"""Heat overlays on one fixed scale, and framed thumbnails. Knows only arrays: no page and no model."""

from collections.abc import Sequence

import cv2
import numpy as np

# Attention relative to uniform that gets the last colour, the same for every picture: half of it in one of 128 cells.
# Colours grow with the logarithm, so that peaks stay apart.
FULL_SCALE = 64.0
RIGHT, WRONG, UNKNOWN = (0, 122, 94), (200, 80, 10), (136, 146, 158)  # told apart by colour-blind people; with marks
HELPS, HURTS = (92, 52, 168), (184, 134, 11)  # of signed maps: violet takes away, ochre adds
PAD = (136, 136, 136)
_COLOURS = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_VIRIDIS)[:, 0, ::-1]  # (256, 3) RGB


def relative_attention(attention: np.ndarray) -> np.ndarray:
    """Return attention `(h, w)`, which sums to 1, as a multiple of uniform: `1 / (h w)` becomes 1.0."""
    return attention * attention.size


def scale(values: np.ndarray) -> np.ndarray:
    """Return how far along the scale values of 0 to `FULL_SCALE` lie: `log(1 + value)`, 0 to 1, float32."""
    return np.clip(np.log1p(np.maximum(np.asarray(values, np.float32), 0)) / np.log1p(np.float32(FULL_SCALE)), 0, 1)


def unscale(places: np.ndarray) -> np.ndarray:
    """Return the values at places, 0 to 1, of the scale; the inverse of `scale`."""
    return np.expm1(np.asarray(places, np.float32) * np.log1p(np.float32(FULL_SCALE)))


def heat_steps(attention: np.ndarray) -> np.ndarray:
    """Return the step of `palette`, uint8, for every cell of attention maps `(..., h, w)` that each sum to 1."""
    cells = attention.shape[-2] * attention.shape[-1]
    return np.round(scale(attention * cells) * 255).astype(np.uint8)


def palette() -> np.ndarray:
    """Return the `(256, 3)` uint8 RGB colours of the scale, from its beginning to its end."""
    return _COLOURS.copy()


def colours(values: np.ndarray) -> np.ndarray:
    """Return the viridis colours, `(..., 3)` uint8 RGB, of values `(...)` clipped to 0 .. `FULL_SCALE`."""
    return _COLOURS[np.round(scale(values) * 255).astype(np.uint8)]


def heat_overlay(image: np.ndarray, attention: np.ndarray, height: int = 192, width: int = 96) -> np.ndarray:
    """Blend an attention map with a grey copy of its image.

    Args:
        image: `(H, W, 3)` uint8; stretched to the output size, as the model stretches it to its input size.
        attention: `(h, w)`, sums to 1.
        height: output px.
        width: output px.

    Returns:
        `(height, width, 3)` uint8; coloured by `colours`, never rescaled to the picture.
    """
    grey = cv2.cvtColor(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    relative = np.ascontiguousarray(relative_attention(attention), np.float32)
    smooth = cv2.resize(relative, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.round(0.4 * grey[:, :, None] + 0.6 * colours(smooth)).astype(np.uint8)


def signed_overlay(
    image: np.ndarray, strength: np.ndarray, height: int = 256, width: int = 128, *, power: float = 0.5
) -> np.ndarray:
    """Blend a signed map with a grey copy of its image, which shows through where the map is 0 or NaN.

    Args:
        image: `(H, W, 3)` uint8; stretched to the output size.
        strength: `(h, w)` float, -1 to 1; NaN where unknown.
        height: output px.
        width: output px.
        power: opacity grows with this power of the strength; below 1, small effects stay visible.

    Returns:
        `(height, width, 3)` uint8; violet is negative, ochre positive, never rescaled to the picture.
    """
    grey = cv2.cvtColor(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    known = np.nan_to_num(np.clip(np.asarray(strength, np.float32), -1, 1))
    smooth = cv2.resize(known, (width, height), interpolation=cv2.INTER_LINEAR)[:, :, None]
    ends = np.where(smooth < 0, np.float32(HELPS), np.float32(HURTS))
    weight = 0.85 * np.abs(smooth) ** power  # `figures.signed_legend` draws its scale with this function
    return np.round(grey[:, :, None] * (1 - weight) + ends * weight).astype(np.uint8)


def mark_box(image: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """Return a copy of an `(H, W, 3)` uint8 image with a white frame, edged in black, along the inside of a box.

    Args:
        image: not changed.
        box: `(x0, y0, x1, y1)` in fractions of the image.
    """
    (height, width), out = image.shape[:2], image.copy()
    x0, y0, x1, y1 = (round(side * end) for side, end in zip(box, (width, height, width, height), strict=True))
    for inset, colour in ((1, (20, 24, 30)), (3, (255, 255, 255)), (4, (255, 255, 255)), (6, (20, 24, 30))):
        corner, other = (x0 + inset, y0 + inset), (x1 - 1 - inset, y1 - 1 - inset)
        cv2.rectangle(out, corner, other, colour, 2 if inset < 6 else 1)
    return out


def shrink(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Copy a `(H, W, 3)` uint8 picture at a smaller size, px."""
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def thumbnail(
    image: np.ndarray, height: int = 256, width: int = 128, frame: tuple[int, int, int] | None = None, edge: int = 7
) -> np.ndarray:
    """Fit an `(H, W, 3)` uint8 image into `(height, width, 3)` without stretching; pad with `PAD`.

    A `frame`, an RGB colour, adds `edge` px on every side.
    """
    scale = min(height / image.shape[0], width / image.shape[1])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    out = np.full((height, width, 3), PAD, np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    out[top : top + size[1], left : left + size[0]] = small
    if frame is None:
        return out
    framed = np.full((height + 2 * edge, width + 2 * edge, 3), frame, np.uint8)
    framed[edge:-edge, edge:-edge] = out
    return framed
