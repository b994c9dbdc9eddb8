"""Numbers to pictures: heat overlays on one fixed scale, framed thumbnails. Knows arrays, and no page and no model."""

from collections.abc import Sequence

import cv2
import numpy as np

FULL_SCALE = 8.0  # attention relative to uniform that gets the last colour; the same for every picture
RIGHT, WRONG, UNKNOWN = (0, 114, 178), (213, 94, 0), (136, 146, 158)  # Okabe-Ito: told apart by colour-blind people
PAD = (136, 136, 136)
_COLOURS = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_VIRIDIS)[:, 0, ::-1]  # (256, 3) RGB


def relative_attention(attention: np.ndarray) -> np.ndarray:
    """Return attention as a multiple of uniform: `(h, w)` that sums to 1 in, 1.0 where it is `1 / (h w)` out."""
    return attention * attention.size


def colours(values: np.ndarray) -> np.ndarray:
    """Return the viridis colour, `(..., 3)` uint8 RGB, of values in 0 to `FULL_SCALE`; beyond it the last colour."""
    steps = np.clip(np.asarray(values, np.float32) / FULL_SCALE, 0, 1)
    return _COLOURS[np.round(steps * 255).astype(np.uint8)]


def heat_overlay(image: np.ndarray, attention: np.ndarray, height: int = 192, width: int = 96) -> np.ndarray:
    """Lay an attention map over its picture in grey.

    Args:
        image: `(H, W, 3)` uint8; stretched to the output as the model stretches it to its input.
        attention: `(h, w)`, sums to 1.
        height: output px.
        width: output px.

    Returns:
        `(height, width, 3)` uint8; colours are those of `colours`, never rescaled to the picture.
    """
    grey = cv2.cvtColor(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    relative = np.ascontiguousarray(relative_attention(attention), np.float32)
    smooth = cv2.resize(relative, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.round(0.4 * grey[:, :, None] + 0.6 * colours(smooth)).astype(np.uint8)


def signed_overlay(
    image: np.ndarray, strength: np.ndarray, height: int = 256, width: int = 128, *, power: float = 0.5
) -> np.ndarray:
    """Lay a signed map over its picture in grey; the picture shows through where the map is 0 or NaN.

    Args:
        image: `(H, W, 3)` uint8; stretched to the output.
        strength: `(h, w)` float, -1 to 1; NaN where nothing is known.
        height: output px.
        width: output px.
        power: the colour grows with this power of the strength; below 1, small effects stay visible.

    Returns:
        `(height, width, 3)` uint8; blue is negative, orange positive, never rescaled to the picture.
    """
    grey = cv2.cvtColor(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    known = np.nan_to_num(np.clip(np.asarray(strength, np.float32), -1, 1))
    smooth = cv2.resize(known, (width, height), interpolation=cv2.INTER_LINEAR)[:, :, None]
    ends = np.where(smooth < 0, np.float32(RIGHT), np.float32(WRONG))
    weight = 0.85 * np.abs(smooth) ** power  # the legend is drawn by the same rule
    return np.round(grey[:, :, None] * (1 - weight) + ends * weight).astype(np.uint8)


def mark_box(image: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """Copy a `(H, W, 3)` uint8 picture with a white frame, dark outside, around a box in fractions x0, y0, x1, y1."""
    (height, width), out = image.shape[:2], image.copy()
    x0, y0, x1, y1 = (round(side * end) for side, end in zip(box, (width, height, width, height), strict=True))
    for inset, colour in ((1, (20, 24, 30)), (3, (255, 255, 255)), (4, (255, 255, 255)), (6, (20, 24, 30))):
        corner, other = (x0 + inset, y0 + inset), (x1 - 1 - inset, y1 - 1 - inset)
        cv2.rectangle(out, corner, other, colour, 2 if inset < 6 else 1)
    return out


def enlarge(image: np.ndarray, aim: int = 480, most: int = 1024) -> np.ndarray:
    """Copy an image for a canvas: enlarged by a whole number towards `aim` px, or shrunk to at most `most` px."""
    longest = max(image.shape[:2])
    if longest > most:
        size = [max(1, round(side * most / longest)) for side in (image.shape[1], image.shape[0])]
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    times = max(1, aim // longest)
    return np.repeat(np.repeat(image, times, axis=0), times, axis=1)


def locate(piece: np.ndarray, whole: np.ndarray) -> tuple[float, float, float, float] | None:
    """Find where a picture was cut from another.

    Args:
        piece: `(h, w, 3)` uint8.
        whole: `(H, W, 3)` uint8.

    Returns:
        Box `(x0, y0, x1, y1)` in fractions of `whole`, or `None` where it is no part of it.
    """
    (h, w), (height, width) = piece.shape[:2], whole.shape[:2]
    if h > height or w > width:
        return None
    _, _, (x, y), _ = cv2.minMaxLoc(cv2.matchTemplate(whole, piece, cv2.TM_SQDIFF))
    difference = np.abs(whole[y : y + h, x : x + w].astype(int) - piece).mean()
    return (x / width, y / height, (x + w) / width, (y + h) / height) if difference < 2 else None


def thumbnail(
    image: np.ndarray, height: int = 256, width: int = 128, frame: tuple[int, int, int] | None = None, edge: int = 7
) -> np.ndarray:
    """Fit an image into `(height, width, 3)` uint8 without stretching; a frame adds `edge` px of colour all round."""
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
