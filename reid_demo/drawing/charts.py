"""Charts as SVG text: ranks that move, curves against coverage. Readable in light and dark, and without colour."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

RIGHT, WRONG, UNKNOWN = "right", "wrong", "unknown"
_COLOURS = {  # CSS variables of the page, with a value for a file that stands alone
    RIGHT: "var(--one, #0b72b9)",
    WRONG: "var(--other, #b9770e)",
    UNKNOWN: "var(--quiet, #6b7884)",
}
_QUIET, _RULE, _INK = "var(--quiet, #6b7884)", "var(--rule, #dce2e8)", "var(--body-text-color, #1f2937)"
_FONT = 'font-family="Inter, system-ui, sans-serif"'
_LETTER = 8  # width of a bold letter at the charts' font size, in their units


@dataclass(frozen=True)
class Slope:
    """One line of a slope chart."""

    label: str
    before: int  # rank, 1 is the best
    after: int  # rank
    kind: str = UNKNOWN  # RIGHT, WRONG or UNKNOWN


def slopes(rows: Sequence[Slope], top_k: int, title: str, ends: tuple[str, str], beyond: str) -> str:
    """Give a slope chart of ranks before and after a change.

    Args:
        rows: one a line; ranks beyond `top_k` meet in one row below the list, which states them.
        top_k: length of the list.
        title: read out by screen readers.
        ends: words over the two columns.
        beyond: words of the row below the list.

    Returns:
        `<svg>` text. Right lines are thick and solid with filled ends, wrong ones thin with hollow ends; lines that
        enter or leave the list are dashed.
    """
    step, top = 24, 46
    left = round(44 + _LETTER * max((len(row.label) for row in rows), default=12))  # room for the longest label
    right = left + 156
    width = left + right
    height = top + step * (top_k + 1) + 14

    def y(rank: int) -> float:
        return top + step * (min(rank, top_k + 1) - 1) + (8 if rank > top_k else 0)

    parts = [
        f'<text x="{x}" y="20" text-anchor="middle" font-weight="650" fill="{_INK}">{html.escape(words)}</text>'
        for x, words in ((left, ends[0]), (right, ends[1]))
    ]
    line_y = y(top_k + 1) - step / 2 - 4
    words_y = y(top_k + 1) + 4
    parts.append(
        f'<line x1="20" x2="{width - 20}" y1="{line_y}" y2="{line_y}" stroke="{_RULE}" stroke-dasharray="2 3"/>'
        f'<text x="{width / 2}" y="{words_y}" text-anchor="middle" fill="{_QUIET}">{html.escape(beyond)}</text>'
    )
    for row in sorted(rows, key=lambda r: r.kind == RIGHT):  # right ones are drawn last, on top
        strong = row.kind == RIGHT
        colour = _COLOURS[row.kind]
        dash = ' stroke-dasharray="5 4"' if (row.before > top_k) != (row.after > top_k) else ""
        parts.append(
            f'<g stroke="{colour}" stroke-width="{3 if strong else 1.6}"><title>{html.escape(row.label)}: '
            f"{row.before} to {row.after}</title>"
            f'<line x1="{left}" y1="{y(row.before)}" x2="{right}" y2="{y(row.after)}"{dash}/>'
        )
        fill = colour if strong else "var(--block-background-fill, #fff)"
        for x, rank in ((left, row.before), (right, row.after)):
            parts.append(f'<circle cx="{x}" cy="{y(rank)}" r="4" fill="{fill}"/>')
        parts.append("</g>")
        weight = ' font-weight="700"' if strong else ""
        for x, rank, anchor in ((left - 12, row.before, "end"), (right + 12, row.after, "start")):
            if rank <= top_k:
                away = -26 if anchor == "end" else 26
                number = f'<text x="{x}" y="{y(rank) + 4}" fill="{_QUIET}">{rank}</text>'
                words = f'<text x="{x + away}" y="{y(rank) + 4}" fill="{_INK}">{html.escape(row.label)}</text>'
                parts.append(f'<g text-anchor="{anchor}"{weight} stroke="none">{number}{words}</g>')
    return _svg(width, height, title, parts)


def curves(
    series: Sequence[tuple[str, Sequence[tuple[float, float]]]],
    title: str,
    across: str,
    names: Sequence[str] = (),
    marks: Sequence[tuple[str, Sequence[float]]] = (),
) -> str:
    """Give lines of fractions against a fraction, both 0 to 1, as `<svg>` text.

    Args:
        series: (name, points) each; the first is solid with filled discs, the second dashed with squares.
        title: over the chart.
        across: words under the horizontal axis.
        names: of the points, read out when one points at them.
        marks: (name, (across, value of every series)), hollow points on no line.
    """
    width, height, left, right, top, bottom = 560, 320, 52, 70, 40, 48
    across_px, down_px = width - left - right, height - top - bottom

    def place(point: tuple[float, float]) -> tuple[float, float]:
        return left + point[0] * across_px, top + (1 - point[1]) * down_px

    parts = [f'<text x="{left}" y="22" font-weight="650" fill="{_INK}">{html.escape(title)}</text>']
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x, y = place((tick, tick))
        parts.append(
            f'<line x1="{left}" x2="{width - right}" y1="{y}" y2="{y}" stroke="{_RULE}"/>'
            f'<text x="{left - 8}" y="{y + 4}" text-anchor="end" fill="{_QUIET}">{tick:.0%}</text>'
            f'<text x="{x}" y="{height - bottom + 18}" text-anchor="middle" fill="{_QUIET}">{tick:.0%}</text>'
        )
    middle = left + across_px / 2
    parts.append(
        f'<text x="{middle}" y="{height - 8}" text-anchor="middle" fill="{_QUIET}">{html.escape(across)}</text>'
    )
    last_y: list[float] = []
    for i, (name, points) in enumerate(series):
        colour = (_COLOURS[RIGHT], _COLOURS[WRONG])[i % 2]
        placed = [place(point) for point in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        dash = ' stroke-dasharray="6 4"' if i % 2 else ""
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.2"{dash}/>')
        for j, ((x, y), point) in enumerate(zip(placed, points, strict=True)):
            words = f"{names[j]}: " if j < len(names) else ""
            tip = f"<title>{html.escape(words)}{html.escape(name)} {point[1]:.1%} at {point[0]:.1%}</title>"
            shape = (
                f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="{colour}">{tip}</rect>'
                if i % 2
                else f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}">{tip}</circle>'
            )
            parts.append(shape)
        if placed:
            y = placed[-1][1]
            while any(abs(y - other) < 15 for other in last_y):
                y -= 15  # upwards: below are the numbers of the axis
            last_y.append(y)
            parts.append(
                f'<text x="{placed[-1][0] + 10:.1f}" y="{y + 4:.1f}" font-weight="650" fill="{colour}">'
                f"{html.escape(name)}</text>"
            )
    for name, (share, *values) in marks:
        for i, value in enumerate(values):
            x, y = place((share, value))
            colour = (_COLOURS[RIGHT], _COLOURS[WRONG])[i % 2]
            tip = f"<title>{html.escape(name)}: {html.escape(series[i][0])} {value:.1%} at {share:.1%}</title>"
            look = f'fill="var(--block-background-fill, #fff)" stroke="{colour}" stroke-width="2"'
            parts.append(
                f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" {look}>{tip}</rect>'
                if i % 2
                else f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" {look}>{tip}</circle>'
            )
    return _svg(width, height, title, parts)


def _svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    label = html.escape(title, quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{label}" font-size="13" {_FONT}>{"".join(parts)}</svg>'
    )
