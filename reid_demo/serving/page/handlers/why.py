"""Why a match scores what it scores, as HTML: pictures, contributions, presence, heatmaps and the three distances."""

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from reid_demo import images
from reid_demo.drawing import figures, overlays
from reid_demo.engine import Engine
from reid_demo.errors import ImageError
from reid_demo.records import WEIGHINGS, Explanation, Match, Scoring
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.ranking import framed
from reid_demo.serving.page.handlers.session import Session, explained_match, left_out, name_of
from reid_demo.serving.page.markup import render

HEAT_SIZE = (256, 128)  # height, width of a heatmap, px
FAINT = 0.25  # of an even share of presence: below, the strongest part gets a word of caution


@dataclass(frozen=True)
class Side:
    """Probe or match: its picture and the words under it."""

    picture: Markup
    words: str


@dataclass(frozen=True)
class PartShown:
    """One part: its heatmaps on probe and match, and what it adds to the similarity."""

    number: int  # from 1; 0 is the global term
    name: str
    term: float
    pictures: tuple[Markup, Markup]


@dataclass(frozen=True)
class Weighed:
    """Similarity and rank of a match under one way of weighing."""

    name: str
    similarity: float
    rank: int
    current: bool


def why(engine: Engine, session: Session) -> str:
    """Explain the chosen match, or the best one. Pointing at a part shows its heatmap on both pictures."""
    if not session.matches:
        return render("empty.html.jinja", words=text.WHY_EMPTY)
    match, scoring = explained_match(engine, session)
    try:
        picture = images.read_image(engine.gallery.image_path(match.index))
        explained = engine.explain(session.probe, match, scoring)
    except ImageError as error:  # its picture is gone; the rest of the page goes on
        return render("empty.html.jinja", words=str(error))
    of_match = text.WHY_MATCH_OF.format(pid=name_of(match.record.pid), camid=name_of(match.record.camid))
    lit = strongest(explained)
    bars = figures.BarTable(text.WHY_CONTRIBUTIONS, text.SUM, "part", lit)
    return render(
        "why.html.jinja",
        heading=_heading(engine, match, scoring),
        sides=[
            _side(overlays.thumbnail(session.current, frame=overlays.UNKNOWN), text.WHY_PROBE),
            _side(framed(session, match, picture), of_match),
        ],
        parts=_parts(engine, session, explained, picture),
        lit=lit,
        terms=figures.signed_bars(engine.term_labels, explained.contributions, bars),
        strongest=_strongest_words(engine, explained, lit),
        faint=_faint_words(explained, lit),
        about=about_parts(engine),
        legend=figures.legend(*text.LEGEND),
        seen=engine.visible_parts(session.probe),
        presence=_presence(engine, explained),
        weighings=_weighings(engine, session, match.index, scoring),
    )


def _heading(engine: Engine, match: Match, scoring: Scoring) -> str:
    words = text.WHY_HEADING_BY if engine.part_names else text.WHY_HEADING
    similarity = figures.number(match.similarity, ".4f")
    return words.format(rank=match.rank, weighing=WEIGHINGS[scoring.weighing], similarity=similarity)


def about_parts(engine: Engine) -> tuple[str, ...]:
    """Say of each part how sure its name is, for an i; empty where that was not measured."""
    if not any(engine.part_meanings):
        return ()
    rows = zip(engine.term_labels[1:], engine.part_names, engine.part_meanings, strict=True)
    return tuple(text.PART_ABOUT.format(name=name, part=part, meaning=meaning) for name, part, meaning in rows)


def _side(picture: np.ndarray, words: str) -> Side:
    return Side(figures.picture(picture, words), words)


def strongest(explained: Explanation) -> int | None:
    """Return the number, from 1, of the part that adds most to the similarity; `None` where none adds anything."""
    parts = explained.contributions[1:]
    return int(parts.argmax()) + 1 if len(parts) and parts.max() > 0 else None


def _strongest_words(engine: Engine, explained: Explanation, lit: int | None) -> Markup | None:
    if lit is None:
        return None
    name = render("strong.html.jinja", words=engine.term_labels[lit])
    return Markup(text.WHY_STRONGEST).format(name=name, value=figures.number(explained.contributions[lit], "+.3f"))


def _faint_words(explained: Explanation, lit: int | None) -> str:
    """Warn where the strongest part has little presence on the probe."""
    presence = explained.probe.presence
    if lit is None or presence[lit - 1] >= FAINT / len(presence):
        return ""
    return text.WHY_FAINT.format(presence=float(presence[lit - 1]))


def _parts(engine: Engine, session: Session, explained: Explanation, picture: np.ndarray) -> list[PartShown]:
    sides = (
        (text.WHY_PROBE, session.current, explained.probe.template_attention),
        (text.WHY_MATCH, picture, explained.match.template_attention),
    )
    return [
        PartShown(
            i + 1,
            name,
            float(explained.contributions[i + 1]),
            tuple(
                figures.picture(overlays.heat_overlay(image, maps[i], *HEAT_SIZE), _heat_alt(name, side, maps[i]))
                for side, image, maps in sides
            ),
        )
        for i, name in enumerate(engine.term_labels[1:])
    ]


def _presence(engine: Engine, explained: Explanation) -> Markup:
    rows = zip(engine.term_labels[1:], explained.probe.presence, explained.match.presence, strict=True)
    return figures.paired_bars(rows, (text.WHY_PROBE, text.WHY_MATCH), text.WHY_PRESENCE)


def _weighings(engine: Engine, session: Session, index: int, scoring: Scoring) -> list[Weighed]:
    """Return the match's similarity and rank under each way of weighing; `scoring` is the one it is explained by."""
    leave_out = left_out(session, session.settings)
    found = engine.compare_scorings(session.probe, index, scoring, leave_out)
    return [
        Weighed(WEIGHINGS[name], similarity, rank, name == scoring.weighing)
        for name, (similarity, rank) in found.items()
    ]


def _heat_alt(name: str, side: str, attention: np.ndarray) -> str:
    h, w = attention.shape
    row, column = np.unravel_index(int(attention.argmax()), (h, w))
    place = text.PLACES[min(2, 3 * int(row) // h)][min(1, 2 * int(column) // w)]
    peak = float(overlays.relative_attention(attention).max())
    return text.HEAT_ALT.format(name=name, side=side, peak=peak, place=place)
