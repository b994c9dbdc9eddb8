"""Which places of the probe earned the chosen match: one picture, by hiding where its part templates look."""

import functools

import numpy as np

from reid_demo.drawing import figures, overlays
from reid_demo.engine import Engine
from reid_demo.model.describer import Describer
from reid_demo.records import WEIGHINGS, Match, Scoring
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.session import Session, explained_match
from reid_demo.serving.page.markup import render
from reid_demo.whatif import explain

SCALE = 0.1  # change of similarity that gets the full colour, for every picture
SIZE = (384, 192)  # height, width of the picture, px


def waiting(engine: Engine, session: Session) -> str:
    """Show the probe plain, while its places are being hidden."""
    if not session.matches:
        return ""
    picture = figures.picture(_grey(session), text.EARNED_ALT_WAIT)
    return _card(*explained_match(engine, session), session, picture, text.EARNED_WAIT)


def earned(engine: Engine, session: Session) -> str:
    """Show the probe in violet where it earned the chosen match, with the place whose hiding costs most framed."""
    if not session.matches:
        return ""
    match, scoring = explained_match(engine, session)
    places = _places(engine, session)
    changes = engine.place_changes(session.probe, places, match.index, scoring)
    spread = explain.place_map(places, changes)
    picture = overlays.signed_overlay(session.current, spread / SCALE, *SIZE, power=1)
    worst = int(changes.argmin())
    if changes[worst] >= 0:
        return _card(match, scoring, session, figures.picture(picture, text.EARNED_ALT_WAIT), text.EARNED_NOTHING)
    box = places.boxes[worst]
    alt = text.EARNED_ALT.format(place=_place(box), change=figures.number(changes[worst], "+.2f"))
    of_parts = len(changes) == len(engine.part_names)  # each place is where one part looks
    part = text.EARNED_PART.format(part=engine.term_labels[1 + worst]) if of_parts else ""
    ends = (match.similarity, match.similarity + changes[worst])
    before, after = (figures.number(similarity, ".2f") for similarity in ends)
    said = text.EARNED_HELPS.format(part=part, before=before, after=after)
    return _card(match, scoring, session, figures.picture(overlays.mark_box(picture, box), alt), said)


def _grey(session: Session) -> np.ndarray:
    return overlays.signed_overlay(session.current, np.zeros((1, 1)), *SIZE)


def _card(match: Match, scoring: Scoring, session: Session, picture: str, said: str) -> str:
    heading = text.EARNED_HEADING_BY if session.compare else text.EARNED_HEADING
    return render(
        "earned.html.jinja",
        heading=heading.format(rank=match.rank, weighing=WEIGHINGS[scoring.weighing]),
        picture=picture,
        legend=figures.signed_legend(*text.EARNED_LEGEND, power=1),
        said=said,
        scale=text.EARNED_SCALE.format(most=SCALE),
    )


def _place(box: np.ndarray) -> str:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return text.PLACES[min(2, int(3 * y))][min(1, int(2 * x))]


def _places(engine: Engine, session: Session) -> explain.Places:
    # Only untouched pictures that ship with the page are remembered: never anything of a visitor.
    if not session.source or session.own or session.recipe:
        return engine.hide_places(session.current, session.probe)
    return _shipped(engine.describer, session.current.tobytes(), session.current.shape)


@functools.lru_cache(maxsize=32)
def _shipped(describer: Describer, data: bytes, shape: tuple[int, int, int]) -> explain.Places:
    image = np.frombuffer(data, np.uint8).reshape(shape)
    return explain.hide_for(image, describer.describe([image])[0], describer.describe)
