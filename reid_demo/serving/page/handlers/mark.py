"""The mark of a strong score: how sure it is, and the searches for absent people that set it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from reid_demo import images
from reid_demo.data.probes import FOLDER
from reid_demo.drawing import figures, overlays
from reid_demo.engine import Engine
from reid_demo.records import Occlusion
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.ranking import judged_by
from reid_demo.serving.page.handlers.session import Session
from reid_demo.whatif.confidence import Alarm, Rates

SIZE = (96, 48)  # height, width of a picture, px


@dataclass(frozen=True)
class Pair:
    """A search for an absent person, and the stranger it finds first."""

    probe: str  # address of its picture
    match: str
    similarity: str
    words: str  # for who cannot see them


@dataclass(frozen=True)
class Shown:
    """What stands behind the verdict's i; pairs are nearest to the mark first, and none where none were recorded."""

    interval: str
    above: tuple[Pair, ...]
    below: tuple[Pair, ...]
    heads: tuple[str, str]


def mark(engine: Engine, session: Session) -> dict:
    """Return what set the mark that the present search is judged by, as plain values."""
    rates = judged_by(engine, session)
    if rates is None or rates.mark is None:
        return asdict(Shown("", (), (), text.MARK_HEADS))
    found = rates.mark
    return asdict(Shown(interval(rates), _pairs(engine, found.above), _pairs(engine, found.below), text.MARK_HEADS))


def interval(rates: Rates) -> str:
    """Say how sure a mark is; empty where that was not recorded."""
    if rates.mark is None:
        return ""
    low, high = rates.mark.threshold
    return text.MARK_INTERVAL.format(mark=rates.confident.threshold, low=low, high=high, count=rates.num_absent)


def _pairs(engine: Engine, alarms: Sequence[Alarm]) -> tuple[Pair, ...]:
    return tuple(
        Pair(
            _picture(_probe(engine, alarm)),
            _picture(images.image_or_placeholder(engine.gallery.folder / alarm.match)),
            (similarity := figures.number(alarm.similarity, ".3f")),
            text.MARK_PAIR.format(similarity=similarity),
        )
        for alarm in alarms
    )


def _probe(engine: Engine, alarm: Alarm) -> np.ndarray:
    """Read the probe of an alarm, hidden as it was: a shipped one, or for `calibrate --stored` a gallery image."""
    folder = engine.gallery.folder
    shipped = folder / FOLDER / alarm.probe
    image = images.image_or_placeholder(shipped if shipped.is_file() else folder / alarm.probe)
    return engine.occlude(image, [Occlusion(alarm.hidden)]) if alarm.hidden else image


def _picture(image: np.ndarray) -> str:
    return figures.picture_uri(overlays.thumbnail(image, *SIZE))
