"""The ranked list: rank it again, choose from it, its pictures, and what it shows in words.

A picture that the lists of several visitors show is made once.
"""

import functools
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from reid_demo import images
from reid_demo.drawing import figures, overlays
from reid_demo.drawing.figures import number
from reid_demo.engine import Engine
from reid_demo.errors import GalleryError
from reid_demo.records import Match, Occlusion
from reid_demo.search.gallery import Gallery
from reid_demo.serving import answers, budget
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.session import (
    Session,
    Settings,
    file_name,
    is_hidden,
    is_right,
    left_out,
    name_of,
    need_probe,
    ranked,
)
from reid_demo.serving.page.markup import render
from reid_demo.whatif.confidence import Rates, Verdict

FRAMES = {True: overlays.RIGHT, False: overlays.WRONG, None: overlays.UNKNOWN}
TILE_SIZE = (192, 96)  # height and width, px
MOST_LISTED = 128  # remembered, 0.1 MB each
MOST_TILES = 1024  # remembered, 5 kB each


def rank_again(engine: Engine, session: Session, settings: Settings) -> Session:
    """Rank the same probe under other settings; the model is not asked again."""
    need_probe(session)
    return ranked(engine, session, settings)


def choose(session: Session, index: int) -> Session:
    """Choose a match by its place in the list."""
    if not 0 <= index < len(session.matches):
        raise GalleryError(text.NO_MATCH)
    return replace(session, chosen=session.matches[index], follows_best=False)


def strip(engine: Engine, session: Session) -> list[tuple[np.ndarray, str]]:
    """Return the ranked list as framed thumbnails with captions."""
    return [
        (listed(engine.gallery, match.index, is_right(session, match)), caption(session, match))
        for match in session.matches
    ]


def framed(session: Session, match: Match, image: np.ndarray) -> np.ndarray:
    """Return a match's thumbnail in the frame that says right, wrong or not known."""
    return overlays.thumbnail(image, frame=FRAMES[is_right(session, match)])


def caption(session: Session, match: Match) -> str:
    """Return the words under a match."""
    marks = {True: text.RIGHT, False: text.WRONG, None: ""}
    gained = session.moves.get(match.index, 0)
    move = text.STILL if session.recipe else ""
    if gained:
        move = (text.UP if gained > 0 else text.DOWN).format(by=abs(gained))
    lines = text.CAPTION.format(
        rank=match.rank,
        similarity=number(match.similarity, ".3f"),
        mark=marks[is_right(session, match)],
        move=move,
        pid=name_of(match.record.pid),
        camid=name_of(match.record.camid),
    ).split("\n")
    if match.record.pid is None and match.record.camid is None:  # its name tells more than two unknowns
        lines[-2:] = [file_name(match.record.path)]
    decided = session.decisions.get(match.index)
    if decided:
        lines.append(text.DECISION_WORDS[decided])
    return "\n".join(" ".join(line.split()) for line in lines)


def status(engine: Engine, session: Session) -> str:
    """Say in plain words what the ranking shows, what the change did, and whether the first match is confident."""
    own = text.OWN_BADGE.format(count=len(engine.gallery)) if session.own else ""
    return render(
        "status.html.jinja",
        own=own,
        lines=_lines(engine, session) if session.matches else _none_left(session),
        key=text.STATUS_KEY if session.shows_somebody else "",
        verdict=confidence(engine, session),
    )


def _none_left(session: Session) -> list[str]:
    """Say why a probe has no list; nothing where there is no probe."""
    return [] if session.probe is None else [text.STATUS_NONE]


def _lines(engine: Engine, session: Session) -> list[str]:
    lines = [answers.NO_COLOUR] if images.lacks_colour(session.image) else []
    if session.undone:
        total = len(session.recipe) + session.undone
        lines.append(answers.CHANGES_CUT.format(seconds=budget.CHANGES_S, done=len(session.recipe), total=total))
    if not session.shows_somebody:
        lines.append(text.STATUS_UNKNOWN)
    elif session.first_right is None:
        lines.append(text.STATUS_ABSENT)
    elif session.recipe:
        lines.append(text.STATUS_MOVED.format(before=session.first_right[0], after=session.first_right[1]))
    else:
        lines.append(text.STATUS_RIGHT.format(rank=session.first_right[1]))
    if not session.recipe and session.source == f"gallery:{session.matches[0].index}":
        lines.append(text.STATUS_SELF)
        if len(engine.gallery.views) > 1:
            lines.append(text.STATUS_VIEWS)
    if session.recipe:
        words = text.STATUS_CHANGED if session.entered else text.STATUS_SAME
        lines.append(words.format(count=session.entered, top_k=len(session.matches)))
    if session.own and (unmeasured := _why_not(engine, session)):
        lines.append(unmeasured)
    return lines


@dataclass(frozen=True)
class Judged:
    """Whether the first match is confident, in words, with the rates at which that judgement errs."""

    confident: bool
    said: str
    rates: str


def confidence(engine: Engine, session: Session) -> Judged | None:
    """Judge the first match; `None` where there is none or that was not calibrated."""
    judged = _judge(engine, session, session.matches[0], session.recipe) if session.matches else None
    if judged is None:
        return None
    errs = text.CONFIDENCE_RATES.format(
        probe=text.CONFIDENCE_PROBES[judged.occluded], images=judged.num_images, fpir=round(100 * judged.fpir)
    )
    if judged.fnir is not None:
        errs += text.CONFIDENCE_MISSES.format(fnir=round(100 * judged.fnir))
    return Judged(judged.confident, judged.said, errs + text.CONFIDENCE_END)


def _judge(engine: Engine, session: Session, first: Match, recipe: tuple[Occlusion, ...]) -> Verdict | None:
    if session.source.startswith("gallery:"):
        return None  # such a probe finds itself, which was not measured
    occluded = is_hidden(engine, replace(session, recipe=recipe))
    return engine.confidence(first, session.scoring, occluded=occluded)


def verdict(engine: Engine, session: Session, first: Match, recipe: tuple[Occlusion, ...]) -> str:
    """Say who stands first, and whether the score is strong by the mark of such probes; empty where neither is known.

    Args:
        engine: over the gallery that was searched.
        session: the visit.
        first: the first match of the probe under `recipe`.
        recipe: the changes it was found with.
    """
    judged = _judge(engine, session, first, recipe)
    known = len(engine.right_matches(session.pid, left_out(session, session.settings))) > 0
    who = is_right(session, first) if known or not session.shows_somebody else "absent"
    if judged is None:
        return text.VERDICTS[who]
    strong = text.STRONG_YET if who in (False, "absent") else text.STRONG
    return text.VERDICT_SCORED.format(
        who=text.VERDICTS[who] or text.VERDICT_UNKNOWN,
        similarity=number(judged.similarity, ".3f"),
        strength=strong if judged.confident else text.WEAK,
        probe=text.CONFIDENCE_PROBES[judged.occluded],
        threshold=judged.threshold,
    )


def judged_by(engine: Engine, session: Session) -> Rates | None:
    """Return the rates that the first match is judged by; `None` where such a search was not measured."""
    if not session.matches or _judge(engine, session, session.matches[0], session.recipe) is None:
        return None
    return engine.calibration.occluded if is_hidden(engine, session) else engine.calibration.whole


def rates(engine: Engine, session: Session) -> str:
    """Say what the mark of a strong score is and how often it errs, or why there is none."""
    judged = confidence(engine, session)
    if judged is None:
        return _why_not(engine, session) or text.MARK_NONE
    return f"{judged.said} {judged.rates}"


def _why_not(engine: Engine, session: Session) -> str:
    return engine.why_not_confident(session.scoring, occluded=is_hidden(engine, session))


def header(engine: Engine) -> str:
    """Return the head of the page: what this is, what it runs with, and what a ranking is not."""
    gallery = engine.gallery
    people = gallery.num_pids
    size = text.GALLERY_SIZE.format(name=gallery.name, images=len(gallery))
    size += text.GALLERY_PEOPLE.format(people=people) if people else ""
    chips = (
        (text.CHIP_WEIGHTS, engine.weights_name),
        (text.CHIP_DEVICE, engine.device_name),
        (text.CHIP_GALLERY, size),
    )
    return render(
        "header.html.jinja",
        title=text.TITLE,
        description=text.DESCRIPTION,
        honesty=text.HONESTY,
        chips=chips,
        warning=engine.warning,
        trained=engine.trained,
    )


def listed(gallery: Gallery, row: int, right: bool | None) -> np.ndarray:
    """Return an image in the frame that says right, wrong or not known: `(H, W, 3)` uint8, read-only.

    A file that cannot be read has a placeholder.

    Raises:
        GalleryError: as `Gallery.image_path`.
    """
    return _listed(*_file(gallery, row), right)


def tile(gallery: Gallery, row: int) -> str:
    """Return an image as the data URI of a tile of the stage; see `listed`."""
    return _tile(*_file(gallery, row))


def _file(gallery: Gallery, row: int) -> tuple[Path, str, tuple[int, int] | None]:
    """Return the gallery's folder, the image's path in it, and what changes with the file; `None` where it is gone."""
    path = gallery.records[row].path
    try:
        file = os.stat(os.path.join(gallery.folder, path))
    except OSError:
        return gallery.folder, path, None
    return gallery.folder, path, (file.st_mtime_ns, file.st_size)


@functools.lru_cache(MOST_LISTED)
def _listed(folder: Path, path: str, version: tuple[int, int] | None, right: bool | None) -> np.ndarray:
    picture = overlays.thumbnail(_read(folder, path), frame=FRAMES[right])
    picture.flags.writeable = False
    return picture


@functools.lru_cache(MOST_TILES)
def _tile(folder: Path, path: str, version: tuple[int, int] | None) -> str:
    return figures.picture_uri(overlays.thumbnail(_read(folder, path), *TILE_SIZE))


def _read(folder: Path, path: str) -> np.ndarray:
    return images.image_or_placeholder(images.inside(folder, path, GalleryError))
