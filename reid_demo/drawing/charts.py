"""SVG charts: rank changes, and curves against coverage. Readable on light and dark pages, and without colour."""

from collections.abc import Sequence
from dataclasses import dataclass

from reid_demo.drawing.figures import Templates

RIGHT, WRONG, UNKNOWN = "right", "wrong", "unknown"
_LETTER = 8  # SVG units, width of a bold letter at the charts' font size
_WIDTH, _HEIGHT = 560, 320  # SVG units, of the curve chart
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 70, 40, 48  # SVG units, its margins
_APART = 15  # SVG units, smallest vertical distance between two curves' names
_NAME_RISE = 5  # SVG units, how far above the highest value a name may stand before it meets the title

_templates = Templates()


@dataclass(frozen=True)
class Slope:
    """One line of a slope chart."""

    label: str
    before: int  # rank, 1 is the best
    after: int  # rank
    kind: str = UNKNOWN  # RIGHT, WRONG or UNKNOWN


@dataclass(frozen=True)
class _End:
    """One end of a slope, with the positions of its labels."""

    x: int
    y: float
    rank: int
    listed: bool  # whether its rank is inside the list; only then it is labelled
    anchor: str
    number_x: int
    label_x: int


@dataclass(frozen=True)
class _Line:
    """A slope in SVG coordinates."""

    label: str
    before: int
    after: int
    kind: str
    strong: bool
    crosses: bool  # enters or leaves the list
    ends: tuple[_End, _End]


@dataclass(frozen=True)
class Curve:
    """One curve of `(x, y)` points; both are fractions, 0 to 1."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Lone:
    """Points that belong to no curve: one value per series at the same `across`."""

    name: str
    across: float
    values: Sequence[float]


@dataclass(frozen=True)
class _Point:
    """A point in SVG coordinates, with its tooltip."""

    x: float
    y: float
    tip: str = ""
    series: int = 0


@dataclass(frozen=True)
class _Drawn:
    """A curve in SVG coordinates."""

    name: str
    points: Sequence[_Point]
    name_y: float


@dataclass(frozen=True)
class _Tick:
    """One tick value, placed on both axes."""

    x: float
    y: float
    words: str


def slopes(rows: Sequence[Slope], top_k: int, title: str, ends: tuple[str, str], beyond: str) -> str:
    """Return a slope chart of ranks before and after a change.

    Args:
        rows: one per line; all ranks beyond `top_k` end in one row below the list.
        top_k: length of the list.
        title: for screen readers.
        ends: headings of the two columns.
        beyond: label of the row below the list.

    Returns:
        SVG text. Lines of right matches are thick with filled ends, those of wrong ones thin with hollow ends; lines
        that enter or leave the list are dashed.
    """
    step, top = 24, 46
    left = round(44 + _LETTER * max((len(row.label) for row in rows), default=12))  # fits the longest label
    right = left + 156

    def y(rank: int) -> float:
        return top + step * (min(rank, top_k + 1) - 1) + (8 if rank > top_k else 0)

    def line(row: Slope) -> _Line:
        first = _End(left, y(row.before), row.before, row.before <= top_k, "end", left - 12, left - 38)
        last = _End(right, y(row.after), row.after, row.after <= top_k, "start", right + 12, right + 38)
        crosses = first.listed != last.listed
        return _Line(row.label, row.before, row.after, row.kind, row.kind == RIGHT, crosses, (first, last))

    return _templates.render(
        "slopes.svg.jinja",
        width=left + right,
        height=top + step * (top_k + 1) + 14,
        left=left,
        right=right,
        title=title,
        ends=ends,
        beyond=beyond,
        line_y=y(top_k + 1) - step / 2 - 4,
        words_y=y(top_k + 1) + 4,
        slopes=[line(row) for row in sorted(rows, key=lambda r: r.kind == RIGHT)],  # right ones last, on top
    )


def _place(across: float, up: float) -> tuple[float, float]:
    return (
        _LEFT + across * (_WIDTH - _LEFT - _RIGHT),
        _TOP + (1 - up) * (_HEIGHT - _TOP - _BOTTOM),
    )


def curves(
    series: Sequence[Curve], title: str, across: str, names: Sequence[str] = (), marks: Sequence[Lone] = ()
) -> str:
    """Return curves as SVG text.

    Args:
        series: the first is drawn solid with discs, the second dashed with squares.
        title: above the chart.
        across: label of the horizontal axis.
        names: of the points, shown in their tooltips.
        marks: hollow points that belong to no curve.
    """
    ticks = [_Tick(*_place(value, value), f"{value:.0%}") for value in (0, 0.25, 0.5, 0.75, 1)]
    drawn: list[_Drawn] = []
    for curve in series:
        points = []
        for i, (x, y) in enumerate(curve.points):
            words = f"{names[i]}: " if i < len(names) else ""
            points.append(_Point(*_place(x, y), f"{words}{curve.name} {y:.1%} at {x:.1%}"))
        drawn.append(_Drawn(curve.name, points, _name_y(points, [other.name_y for other in drawn if other.points])))
    lone = [
        _Point(*_place(mark.across, value), f"{mark.name}: {series[i].name} {value:.1%} at {mark.across:.1%}", i)
        for mark in marks
        for i, value in enumerate(mark.values)
    ]
    return _templates.render(
        "curves.svg.jinja",
        width=_WIDTH,
        height=_HEIGHT,
        left=_LEFT,
        end=_WIDTH - _RIGHT,
        ground=_HEIGHT - _BOTTOM,
        middle=_LEFT + (_WIDTH - _LEFT - _RIGHT) / 2,
        title=title,
        across=across,
        ticks=ticks,
        curves=drawn,
        marks=lone,
    )


def _name_y(points: Sequence[_Point], taken: Sequence[float]) -> float:
    """Return the y of a curve's name: beside its last point, or as near to it as other names, title and axis allow."""
    y = points[-1].y if points else 0.0
    places = [y, *(other + side for other in taken for side in (-_APART, _APART))]
    free = [one for one in places if all(abs(one - other) > _APART - 0.01 for other in taken)]
    inside = [one for one in free if _TOP - _NAME_RISE <= one <= _HEIGHT - _BOTTOM]
    return min(inside or free, key=lambda one: abs(one - y))
