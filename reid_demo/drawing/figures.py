"""Pictures, colour scales and bar tables as HTML for any page. All visible text is passed in by the caller.

HTML and SVG come from Jinja2 templates, which escape every value; no Python module contains markup.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reid_demo.drawing import overlays

TEMPLATES = Path(__file__).parent / "templates"
MINUS = "\N{MINUS SIGN}"
JPEG_QUALITY = 90


def number(value: float, form: str) -> str:
    """Write a number for people, with a true minus sign and no sign before a zero.

    Args:
        value: the number.
        form: how Python writes it, such as `.3f`, or `+.3f` with a sign before every number.
    """
    said = format(value, form)
    if said[0] not in "+-":
        return said
    rounds_to_zero = not said.strip("+-0.")
    return said[1:] if rounds_to_zero else said.replace("-", MINUS)


class Templates:
    """The templates of one or more folders; an undefined name in a template raises an error."""

    def __init__(self, *folders: Path, **shared: Any) -> None:
        """Look up templates in `folders`, then in this package's own; all templates can use the `shared` values."""
        self._environment = Environment(
            loader=FileSystemLoader([*folders, TEMPLATES]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(shared)
        self._environment.filters["number"] = number

    def render(self, name: str, **values: Any) -> Markup:
        """Render a template; values of type `Markup` are inserted as they are, all others are escaped."""
        return Markup(self._environment.get_template(name).render(**values))


_templates = Templates()


@dataclass(frozen=True)
class BarTable:
    """The text and row classes of a `signed_bars` table."""

    caption: str
    total: str  # label of the last row; its number is the sum of the values
    rows_of: str = ""  # a class name: rows become focusable and get the classes `NAME NAME-i`, `i` from 0
    lit: int | None = None  # number of the row that also gets the class `lit`


@dataclass(frozen=True)
class Bar:
    """One signed bar; `left` and `width` are percentages of the track."""

    name: str
    value: float
    left: float
    width: float


def data_uri(data: bytes, kind: str) -> str:
    """Return a file as a data URI, so that no visitor's file is written on the server; `kind` is its MIME type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def picture_uri(image: np.ndarray) -> str:
    """Return an `(H, W, 3)` uint8 image as a data URI: a JPEG with as many values of colour as of brightness.

    Encoding WebP takes about twenty times as long, for files of half the size; a page shows some forty pictures.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    data = cv2.imencode(".jpg", np.ascontiguousarray(image[:, :, ::-1]), options)[1]
    return data_uri(data.tobytes(), "image/jpeg")


def picture(image: np.ndarray, alt: str) -> Markup:
    """Return an image tag with an `(H, W, 3)` uint8 image in a data URI."""
    return _templates.render("picture.html.jinja", uri=picture_uri(image), alt=alt)


def download_link(data: bytes, file_name: str, kind: str, words: str) -> Markup:
    """Return a link that downloads `data`, a file of MIME type `kind`, from a data URI."""
    return _templates.render("download.html.jinja", uri=data_uri(data, kind), file_name=file_name, words=words)


def legend(low: str, middle: str, high: str) -> Markup:
    """Return the colour scale of `overlays.heat_overlay`, with labels for its ends and for uniform attention."""
    return _legend(overlays.palette()[::15], 100 * float(overlays.scale(1)), (low, middle, high), "legend")


def signed_legend(low: str, middle: str, high: str, *, power: float = 0.5) -> Markup:
    """Return the colour scale of `overlays.signed_overlay` over mid grey, with labels for its ends and its middle."""
    grey = np.full((4, 64, 3), 128, np.uint8)
    stops = overlays.signed_overlay(grey, np.linspace(-1, 1, 21)[None], 1, 21, power=power)[0]
    return _legend(stops, 50, (low, middle, high), "legend signed")


def _legend(stops: np.ndarray, mark: float, words: Sequence[str], kind: str) -> Markup:
    return _templates.render("legend.html.jinja", stops=stops.tolist(), mark=f"{mark:g}", words=words, kind=kind)


def signed_bars(names: Sequence[str], values: np.ndarray, table: BarTable) -> Markup:
    """Return an HTML table of signed bars around a common zero, with their numbers.

    Args:
        names: `T` names, one per bar.
        values: `(T,)` float.
        table: its text and row classes.
    """
    values = np.asarray(values, np.float64)
    most = max(float(np.abs(values).max(initial=0)), 1e-6)
    zero = 50 if (values < 0).any() else 0
    bars = [
        Bar(name, value, zero if value >= 0 else zero - _long(value, most, zero), _long(value, most, zero))
        for name, value in zip(names, values.tolist(), strict=True)
    ]
    return _templates.render("signed_bars.html.jinja", table=table, bars=bars, zero=zero, total=float(values.sum()))


def _long(value: float, most: float, zero: float) -> float:
    return abs(value) / most * (100 - zero)


def paired_bars(rows: Iterable[tuple[str, float, float]], labels: tuple[str, str], caption: str) -> Markup:
    """Return an HTML table with two bars per name on one scale from zero, with their numbers.

    Args:
        rows: (name, first value, second value); values are not negative.
        labels: of the first and the second value.
        caption: of the table.
    """
    rows = list(rows)
    most = max((max(first, second) for _, first, second in rows), default=0)
    return _templates.render(
        "paired_bars.html.jinja",
        rows=rows,
        labels=labels,
        caption=caption,
        most=max(most, 1e-6),
    )
