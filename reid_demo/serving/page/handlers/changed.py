"""What a change of the probe did, as HTML: one sentence, both lists, a slope chart and the numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from reid_demo import images
from reid_demo.drawing import charts, figures, overlays
from reid_demo.engine import Engine
from reid_demo.records import Match
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.ranking import framed
from reid_demo.serving.page.handlers.session import Session, left_out, name_of, shows_person
from reid_demo.serving.page.handlers.why import about_parts
from reid_demo.serving.page.markup import render
from reid_demo.whatif.compare import Comparison, Move

LEAST_TERM, LEAST_PRESENCE = 0.01, 0.02  # differences that fill a whole bar at least
FULL_CHANGE = 8.0  # of attention relative to uniform, that gets the full colour
LISTED = 10  # pictures of each list
KINDS = {True: charts.RIGHT, False: charts.WRONG, None: charts.UNKNOWN}
MARKS = {charts.RIGHT: text.RIGHT, charts.WRONG: text.WRONG, charts.UNKNOWN: ""}


@dataclass(frozen=True)
class ListShown:
    """One ranked list with the probe that made it."""

    words: str
    probe: Markup
    matches: list[tuple[int, float, Markup]]  # rank, similarity, picture


@dataclass(frozen=True)
class Number:
    """One row of the table of numbers: before, after and their difference, as words."""

    name: str
    cells: tuple[str, str, str]


@dataclass(frozen=True)
class Difference:
    """One row of a table of pairs; `share`, -1 to 1, is the length of its bar."""

    name: str
    before: float
    after: float
    share: float


@dataclass(frozen=True)
class Differences:
    """A table of pairs with a signed bar for each difference."""

    caption: str
    form: str  # of a value
    rows: list[Difference]


@dataclass(frozen=True)
class HeatCard:
    """One part's heatmaps before and after, and their difference unless the frame moved."""

    name: str
    moved: str
    pictures: list[tuple[str, Markup]]


@dataclass(frozen=True)
class Heat:
    """The heatmaps of all parts, with the scales they share."""

    note: str
    legends: list[Markup]
    cards: list[HeatCard]


@dataclass(frozen=True)
class Candidate:
    """One row of the table of all candidates."""

    name: str
    mark: str
    rank: tuple[int, int]
    what: str
    similarity: tuple[float, float]


def changed(engine: Engine, session: Session) -> str:
    """Compare the untouched and the changed probe; a hint where nothing was changed."""
    if not session.recipe or not session.matches:
        return render("unchanged.html.jinja", words=text.CHANGED_EMPTY)
    leave_out = left_out(session, session.settings)
    found = engine.compare(
        (session.untouched, session.probe),
        top_k=len(session.matches),
        pid=session.pid,
        scoring=session.scoring,
        exclude_same_camera=leave_out,
    )
    before = engine.search(session.untouched, len(session.matches), session.scoring, leave_out)
    return render(
        "changed.html.jinja",
        sentence=sentence(engine, session, found),
        summary=text.CHANGED_SUMMARY.format(entered=len(found.entered), left=len(found.left), top_k=found.top_k),
        lists=_lists(engine, session, before),
        columns=text.CHANGED_COLUMNS,
        chart=_chart(engine, session, found),
        presence=_presence(engine, found),
        numbers=_numbers(found),
        terms=_terms(engine, found),
        heat=_heat(engine, session),
        about=about_parts(engine),
        candidates=[_candidate(engine, session, found, move) for move in found.moves],
    )


def sentence(engine: Engine, session: Session, found: Comparison) -> str:
    """Say in plain words what the change did."""
    first, last = found.rank
    words = text.CHANGED_STILL if first == last else text.CHANGED_MOVED
    said = words.format(what=_what(session), who=_who(found), before=first, after=last)
    lost = [engine.term_labels[i] for i in found.lost_most()]
    return said + (text.CHANGED_LOST.format(parts=text.AND.join(lost)) if lost else text.CHANGED_NO_LOSS)


def _what(session: Session) -> str:
    if len(session.recipe) > 1:
        return text.CHANGED_SEVERAL.format(count=len(session.recipe))
    kind = session.recipe[0].kind
    return text.CHANGED_WHAT.get(kind) or text.CHANGED_HIDING.format(place=kind.replace("_", " "))


def _who(found: Comparison) -> str:
    return text.CHANGED_RIGHT if found.watched_is_right else text.CHANGED_FIRST


def _watched(found: Comparison) -> str:
    """Name the one image whose similarity is compared; the right person's best rank may be another image's."""
    return text.CHANGED_WATCHED if found.watched_is_right else text.CHANGED_FIRST


def _lists(engine: Engine, session: Session, before: Sequence[Match]) -> list[ListShown]:
    sides = zip(text.CHANGED_LISTS, (session.image, session.current), (before, session.matches), strict=True)
    return [
        ListShown(
            words,
            figures.picture(overlays.thumbnail(probe, 192, 96, overlays.UNKNOWN, 5), f"{words} {text.WHY_PROBE}"),
            [(m.rank, m.similarity, _picture(engine, session, m)) for m in matches[:LISTED]],
        )
        for words, probe, matches in sides
    ]


def _picture(engine: Engine, session: Session, match: Match) -> Markup:
    small = framed(session, match, images.image_or_placeholder(engine.gallery.image_path(match.index)))
    words = text.WHY_MATCH_OF.format(pid=name_of(match.record.pid), camid=name_of(match.record.camid))
    return figures.picture(overlays.thumbnail(small, 180, 95), words)


def _kind(session: Session, pid: int | None) -> str:
    return KINDS[shows_person(session, pid)]


def _label(engine: Engine, index: int) -> str:
    record = engine.gallery.records[index]
    return f"id {name_of(record.pid)} · cam {name_of(record.camid)}"


def _chart(engine: Engine, session: Session, found: Comparison) -> str:
    rows = [
        charts.Slope(_label(engine, m.index), *m.rank, _kind(session, engine.gallery.records[m.index].pid))
        for m in found.moves
    ]
    beyond = text.CHANGED_BEYOND.format(top_k=found.top_k)
    return charts.slopes(rows, found.top_k, text.CHANGED_CHART, text.CHANGED_CHART_ENDS, beyond)


def _numbers(found: Comparison) -> list[Number]:
    rows = [(text.CHANGED_RANK.format(who=_who(found)), found.rank, "d")]
    rows.append((text.CHANGED_SIMILARITY.format(who=_watched(found)), found.similarity, ".4f"))
    if found.average_precision:
        rows.append((text.CHANGED_AP, found.average_precision, ".3f"))
    return [
        Number(
            name,
            (figures.number(first, form), figures.number(last, form), figures.number(last - first, f"+{form}")),
        )
        for name, (first, last), form in rows
    ]


def _terms(engine: Engine, found: Comparison) -> Differences:
    rows = _differences(engine.term_labels, found.terms, LEAST_TERM)
    return Differences(text.CHANGED_TERMS.format(who=_watched(found)), "+.4f", rows)


def _presence(engine: Engine, found: Comparison) -> Differences | None:
    if not len(found.presence):
        return None
    rows = _differences(engine.term_labels[1:], found.presence, LEAST_PRESENCE)
    return Differences(text.CHANGED_PRESENCE, ".3f", rows)


def _differences(names: Sequence[str], values: np.ndarray, least: float) -> list[Difference]:
    """Return a row for each of `values`, `(R, 2)` before and after; smaller differences than `least` stay small."""
    most = max(float(np.abs(values[:, 1] - values[:, 0]).max()), least)
    return [
        Difference(name, float(first), float(last), float(last - first) / most)
        for name, (first, last) in zip(names, values, strict=True)
    ]


def _heat(engine: Engine, session: Session) -> Heat | None:
    """Return each part's heatmap before and after with their difference; a crop has none: it moves the frame."""
    maps = (session.untouched.template_attention, session.probe.template_attention)
    if not len(maps[0]):
        return None
    cropped = any(step.kind == "crop" for step in session.recipe)
    legends = [figures.legend(*text.LEGEND)]
    if not cropped:
        words = (w.format(most=FULL_CHANGE) for w in text.CHANGED_HEAT_LEGEND)
        legends.append(figures.signed_legend(*words, power=1))
    rows = zip(engine.term_labels[1:], *maps, strict=True)
    return Heat(
        text.CHANGED_HEAT_CROPPED if cropped else text.CHANGED_HEAT_NOTE,
        legends,
        [
            HeatCard(name, "", _heat_pair(session, name, before, after))
            if cropped
            else HeatCard(name, _moved(before, after), _heat_triple(session, name, before, after))
            for name, before, after in rows
        ],
    )


def _moved(before: np.ndarray, after: np.ndarray) -> str:
    return text.CHANGED_HEAT_MOVED.format(share=float(np.abs(after - before).sum()) / 2)


def _heat_pair(session: Session, name: str, before: np.ndarray, after: np.ndarray) -> list[tuple[str, Markup]]:
    first, last = (words.lower() for words in text.CHANGED_LISTS)
    return [
        _heat_picture(name, first, overlays.heat_overlay(session.image, before)),
        _heat_picture(name, last, overlays.heat_overlay(session.current, after)),
    ]


def _heat_triple(session: Session, name: str, before: np.ndarray, after: np.ndarray) -> list[tuple[str, Markup]]:
    """Add the difference to a pair; violet gained attention."""
    change = overlays.relative_attention(before - after) / FULL_CHANGE
    shown = overlays.signed_overlay(session.current, change, 192, 96, power=1)
    return [*_heat_pair(session, name, before, after), _heat_picture(name, text.CHANGED_COLUMNS[3], shown)]


def _heat_picture(name: str, which: str, picture: np.ndarray) -> tuple[str, Markup]:
    return which, figures.picture(picture, text.CHANGED_HEAT_ALT.format(name=name, which=which))


def _candidate(engine: Engine, session: Session, found: Comparison, move: Move) -> Candidate:
    first, last = move.rank
    words = text.STAYED if first == last else (text.ROSE if last < first else text.FELL)
    words = words.format(by=abs(first - last))
    words = text.ENTERED if first > found.top_k else text.LEFT if last > found.top_k else words
    mark = MARKS[_kind(session, engine.gallery.records[move.index].pid)]
    return Candidate(_label(engine, move.index), mark, move.rank, words, move.similarity)
