"""Numbers to pictures and bars: heat overlays on one fixed scale, framed thumbnails, accessible HTML charts.

Knows records' arrays and nothing of the model, the page or its words: every word arrives as an argument.
"""

import base64
import html
from collections.abc import Sequence

import cv2
import numpy as np

FULL_SCALE = 8.0  # attention relative to uniform that gets the last colour; the same for every picture
RIGHT, WRONG, UNKNOWN = (0, 114, 178), (213, 94, 0), (136, 146, 158)  # Okabe-Ito: told apart by colour-blind people
PAD = (136, 136, 136)
_COLOURS = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_VIRIDIS)[:, 0, ::-1]  # (256, 3) RGB


def relative_attention(attention: np.ndarray) -> np.ndarray:
    """Give attention as a multiple of uniform: `(h, w)` that sums to 1 in, 1.0 where it is `1 / (h w)` out."""
    return attention * attention.size


def colours(values: np.ndarray) -> np.ndarray:
    """Give the viridis colour, `(..., 3)` uint8 RGB, of values in 0 to `FULL_SCALE`; beyond it the last colour."""
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


def signed_legend(low: str, middle: str, high: str, *, power: float = 0.5) -> str:
    """Give the colour scale of `signed_overlay` on a middle grey as HTML, with words at its ends and its middle."""
    shown = signed_overlay(np.full((4, 64, 3), 128, np.uint8), np.linspace(-1, 1, 21)[None], 1, 21, power=power)[0]
    stops = ", ".join("rgb({},{},{})".format(*colour) for colour in shown)
    return (
        f'<div class="legend signed"><div class="legend-bar" style="background:linear-gradient(90deg,{stops})">'
        f'<i style="left:50%"></i></div><div class="legend-words"><span>{html.escape(low)}</span>'
        f"<span>{html.escape(middle)}</span><span>{html.escape(high)}</span></div></div>"
    )


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


def img_tag(image: np.ndarray, alt: str, *, lossless: bool = False) -> str:
    """Give an `<img>` that carries its own pixels, so that no file of a visitor is written."""
    options = [] if lossless else [cv2.IMWRITE_WEBP_QUALITY, 90]
    data = cv2.imencode(".png" if lossless else ".webp", np.ascontiguousarray(image[:, :, ::-1]), options)[1]
    kind = "png" if lossless else "webp"
    uri = base64.b64encode(data.tobytes()).decode()
    return f'<img src="data:image/{kind};base64,{uri}" alt="{html.escape(alt, quote=True)}">'


def download_link(data: bytes, file_name: str, kind: str, words: str) -> str:
    """Give a link that carries a file in itself, so that no file of a visitor is written on the server."""
    uri = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    return f'<a class="download" href="{uri}" download="{html.escape(file_name, quote=True)}">{html.escape(words)}</a>'


def legend(low: str, middle: str, high: str) -> str:
    """Give the colour scale of `heat_overlay` as HTML, with its two ends and the place of 'uniform' in words."""
    stops = ", ".join("rgb({},{},{})".format(*_COLOURS[i]) for i in range(0, 256, 15))
    uniform = 100 / FULL_SCALE
    return (
        f'<div class="legend"><div class="legend-bar" style="background:linear-gradient(90deg,{stops})">'
        f'<i style="left:{uniform:.1f}%"></i></div><div class="legend-words"><span>{html.escape(low)}</span>'
        f"<span>{html.escape(middle)}</span><span>{html.escape(high)}</span></div></div>"
    )


def signed_bars(
    names: Sequence[str],
    values: np.ndarray,
    caption: str,
    total: str,
    *,
    rows_of: str = "",
    notes: Sequence[str] = (),
    lit: int | None = None,
) -> str:
    """Give signed bars around a common zero, with their numbers, as an HTML table.

    Args:
        names: one a bar.
        values: `(T,)` float.
        caption: of the table.
        total: words of the last row; their number is the sum of `values`.
        rows_of: if given, rows can be focused and carry the class `NAME NAME-i`, `i` from 0, for a style sheet.
        notes: of each name, in smaller words under it; none by default.
        lit: number of the row that also carries the class `lit`.
    """
    values = np.asarray(values, np.float64)
    most = max(float(np.abs(values).max(initial=0)), 1e-6)
    zero = 100 * most / (2 * most) if (values < 0).any() else 0
    room = 100 - zero
    hook = f' class="{rows_of} {rows_of}-{{i}}{{lit}}" tabindex="0"' if rows_of else ""
    notes = notes or [""] * len(names)
    rows = []
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        long = abs(value) / most * room
        left = zero if value >= 0 else zero - long
        sign = "plus" if value >= 0 else "minus"
        rows.append(
            f'<tr{hook.format(i=i, lit=" lit" if i == lit else "")}><th scope="row">{named(name, notes[i])}</th>'
            f'<td class="track">'
            f'<span class="axis" style="left:{zero:.1f}%">'
            f'</span><span class="bar {sign}" style="left:{left:.2f}%;width:{long:.2f}%"></span></td>'
            f'<td class="number">{value:+.4f}</td></tr>'
        )
    return (
        f'<table class="bars"><caption>{html.escape(caption)}</caption><tbody>{"".join(rows)}</tbody>'
        f'<tfoot><tr><th scope="row" colspan="2">{html.escape(total)}</th>'
        f'<td class="number">{values.sum():.4f}</td></tr></tfoot></table>'
    )


def named(name: str, note: str) -> str:
    """Give a name as HTML, and a note in smaller words under it, if there is one."""
    return html.escape(name) + (f'<span class="meaning">{html.escape(note)}</span>' if note else "")


def paired_bars(
    names: Sequence[str],
    first: np.ndarray,
    second: np.ndarray,
    labels: tuple[str, str],
    caption: str,
    notes: Sequence[str] = (),
) -> str:
    """Give two bars a name, from zero, on one scale, with their numbers, as an HTML table.

    Args:
        names: `P` names.
        first: `(P,)` not negative.
        second: `(P,)` not negative.
        labels: what the two are.
        caption: of the table.
        notes: of each name, in smaller words under it; none by default.
    """
    most = max(float(np.max([first, second], initial=0)), 1e-6)
    notes = notes or [""] * len(names)
    rows = []
    for name, note, a, b in zip(names, notes, first, second, strict=True):
        rows.append(
            f'<tr><th scope="row">{named(name, note)}</th><td class="track two">'
            f'<span class="bar one" style="width:{a / most * 100:.2f}%"></span>'
            f'<span class="bar other" style="width:{b / most * 100:.2f}%"></span></td>'
            f'<td class="number">{a:.3f}</td><td class="number">{b:.3f}</td></tr>'
        )
    one, other = (html.escape(label) for label in labels)
    return (
        f'<table class="bars"><caption>{html.escape(caption)}</caption><thead><tr><td></td><td></td>'
        f'<th scope="col"><i class="key one"></i>{one}</th><th scope="col"><i class="key other"></i>{other}</th></tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table>"
    )
