"""The visitor's own gallery, and a person cut out of a whole frame."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from reid_demo import images
from reid_demo.drawing import overlays
from reid_demo.engine import Engine
from reid_demo.errors import GalleryError, ImageError, OcclusionError
from reid_demo.measuring.calibrate import LEAST_PEOPLE, people_of_two_cameras
from reid_demo.search import detector as finders
from reid_demo.search.build import IndexReport
from reid_demo.serving.gradio_patches import is_shown
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.examples import with_identity
from reid_demo.serving.page.handlers.mark import interval
from reid_demo.serving.page.handlers.probe import PixelBox, open_gallery_image
from reid_demo.serving.page.handlers.session import Picture, Session, Settings, fitted, ranked, start
from reid_demo.serving.page.markup import render
from reid_demo.serving.visitors import PrivateGalleries

PREVIEW_SIDE = 1024  # px of the larger side of a frame as it is shown
ORANGE, BLUE = (230, 120, 20), (20, 110, 220)


@dataclass(frozen=True)
class Upload:
    """What a visitor sent to make a gallery of."""

    owner: str  # what the visit is called, to delete its galleries when it ends
    files: Sequence[str | Path] | None  # that Gradio keeps; deleted from there once they are read
    frames: bool = False  # cut out each person found


def make(
    galleries: PrivateGalleries, upload: Upload, progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[str, IndexReport]:
    """Make a private gallery of uploads; return its token and what was taken in.

    `progress` gets (files done, files in all).
    """
    paths = [Path(path) for path in upload.files or ()]
    if not paths:
        raise ImageError(text.OWN_NONE)
    finder = finders.open_finder("hog") if upload.frames else None
    try:
        return galleries.build(upload.owner, paths, finder=finder, name=text.OWN_TITLE, progress=progress)
    finally:
        for path in paths:  # nobody else shall fetch them from the upload cache
            if not is_shown(path):
                path.unlink(missing_ok=True)


def enter(galleries: PrivateGalleries, session: Session, settings: Settings, token: str) -> Session:
    """Rank the private gallery of a token: for the visitor's own probe, else for its first picture."""
    engine = galleries.engine_of(token)
    session, settings = replace(session, own=token), fitted(session, settings, engine)
    if session.current is None or session.source:  # a shipped picture says little about other galleries
        return open_gallery_image(engine, session, settings, 0)
    return replace(ranked(engine, session, settings), decisions={})


def leave(galleries: PrivateGalleries, session: Session, settings: Settings) -> Session:
    """Delete the visitor's gallery and rank the shipped one again."""
    if not session.own:
        raise GalleryError(text.OWN_NOT_YET)
    engine, fresh = galleries.engine, replace(session, own="", decisions={})
    galleries.drop(session.own)
    settings = fitted(session, settings, engine)
    if session.source.startswith("gallery:") or session.current is None:
        return open_gallery_image(engine, fresh, settings, 0)
    return ranked(engine, with_identity(engine, fresh), settings)


def save(galleries: PrivateGalleries, session: Session) -> Path:
    """Write the visitor's gallery as one file."""
    if not session.own:
        raise GalleryError(text.OWN_NOT_YET)
    return galleries.save(session.own)


def can_measure(engine: Engine) -> bool:
    """Tell whether a gallery shows enough people under two cameras to measure its own mark."""
    return len(people_of_two_cameras(engine.gallery)) >= LEAST_PEOPLE


def measure(galleries: PrivateGalleries, session: Session) -> str:
    """Measure the mark of a strong score on the visitor's own people; return what was found, as HTML."""
    if not session.own:
        raise GalleryError(text.OWN_NOT_YET)
    found = galleries.calibrate(session.own)
    level, people = found.whole.confident, people_of_two_cameras(galleries.engine_of(session.own).gallery)
    words = text.OWN_MEASURED.format(
        people=len(people),
        count=found.whole.num_absent,
        mark=level.threshold,
        fpir=round(100 * level.fpir),
        fnir=round(100 * level.fnir),
    )
    return told_plainly(f"{words} {interval(found.whole)}")


def told(engine: Engine, report: IndexReport, *, first: bool = False) -> str:
    """Say what was taken in and what was not, and whether this gallery can be measured.

    Args:
        engine: over that gallery.
        report: of its making.
        first: its first picture took the place of the probe.
    """
    people = len(people_of_two_cameras(engine.gallery))
    counts = {"duplicates": report.duplicates, "skipped": len(report.skipped), "empty": report.empty}
    words = ", ".join(f"{count} {text.OWN_PARTS[name]}" for name, count in counts.items() if count)
    return render(
        "told.html.jinja",
        made=text.OWN_MADE.format(total=report.total),
        parts=f"{words}." if words else "",
        first=text.OWN_PROBE if first else "",
        skipped=report.skipped,
        unmeasured="" if can_measure(engine) else text.OWN_UNMEASURED.format(least=LEAST_PEOPLE, people=people),
    )


def told_plainly(words: str) -> str:
    """Say one sentence where `told` stands."""
    return render("plain.html.jinja", words=words)


@dataclass(frozen=True, eq=False)
class Frame:
    """A whole frame of a visitor, as the file it came as; boxes are `(x0, y0, x1, y1)`, image px."""

    data: bytes = b""
    height: int = 0
    width: int = 0
    people: tuple[finders.Found, ...] | None = None  # None: nobody looked yet
    corner: tuple[int, int] | None = None  # the first of two clicks, image px
    box: tuple[int, int, int, int] | None = None


def open_frame(path: str | Path | None) -> Frame:
    """Read a frame."""
    if not path:
        raise ImageError(text.FRAME_NONE)
    image = images.read_image(path)
    return Frame(Path(path).read_bytes(), *image.shape[:2])


def is_wide(path: str | Path | None) -> bool:
    """Tell whether a picture is wider than high, so that it may be a whole frame rather than one person.

    What cannot be read is none: the search for it as a probe says why.
    """
    if not path:
        return False
    try:
        height, width = images.read_image(path).shape[:2]
    except ImageError:
        return False
    return width > height


def find(frame: Frame, finder: finders.HogFinder) -> Frame:
    """Look for people in a frame."""
    return replace(frame, people=tuple(finder.find(_pixels(frame))))


def click(frame: Frame, x: float, y: float) -> Frame:
    """Take a click on the shown frame, in px of it: the first sets a corner, the second the box."""
    if not frame.data:
        raise ImageError(text.FRAME_NONE)
    scale = max(frame.height, frame.width) / max(_shown_size(frame))
    at = (min(max(round(x * scale), 0), frame.width), min(max(round(y * scale), 0), frame.height))
    if frame.corner is None:
        return replace(frame, corner=at, box=None)
    (x0, x1), (y0, y1) = sorted((frame.corner[0], at[0])), sorted((frame.corner[1], at[1]))
    return replace(frame, corner=None, box=(x0, y0, x1, y1))


def choose(frame: Frame, number: int) -> Frame:
    """Choose a person who was found, from 0."""
    if not frame.people or not 0 <= number < len(frame.people):
        raise OcclusionError(text.FRAME_NO_BOX)
    return replace(frame, corner=None, box=frame.people[number].box)


def search_box(engine: Engine, session: Session, settings: Settings, frame: Frame, box: PixelBox) -> Session:
    """Start over with a box of the frame as the probe."""
    image = _pixels(frame)
    if not box.complete or (box.w, box.h) == (0, 0):
        raise OcclusionError(text.FRAME_NO_BOX)
    if not box.fits(frame.width, frame.height):
        raise OcclusionError(text.FRAME_OUTSIDE.format(**box.words(frame.width, frame.height)))
    x0, y0, x1, y1 = round(box.x), round(box.y), round(box.x + box.w), round(box.y + box.h)
    numbers = [i for i, found in enumerate(frame.people or (), start=1) if found.box == (x0, y0, x1, y1)]
    title = text.FRAME_PERSON.format(number=numbers[0]) if numbers else text.FRAME_BOX
    cut = np.ascontiguousarray(image[y0:y1, x0:x1])
    images.check_size(cut.shape[1], cut.shape[0])
    return start(engine, session, settings, Picture(images.shrunk(cut), title))


def fields(frame: Frame) -> list[int | None]:
    """Return the box as x, y, width and height; `None` four times where there is none."""
    if frame.box is None:
        return [None] * 4
    x0, y0, x1, y1 = frame.box
    return [x0, y0, x1 - x0, y1 - y0]


def draw(frame: Frame) -> np.ndarray | None:
    """Return the frame as it is shown, with numbered people and the box."""
    if not frame.data:
        return None
    height, width = _shown_size(frame)
    scale = height / frame.height
    shown = cv2.resize(_pixels(frame), (width, height), interpolation=cv2.INTER_AREA)
    for number, found in enumerate(frame.people or (), start=1):
        x0, y0, x1, y1 = (round(v * scale) for v in found.box)
        cv2.rectangle(shown, (x0, y0), (x1, y1), BLUE, 2)
        cv2.putText(shown, str(number), (x0 + 4, y0 + 22), cv2.FONT_HERSHEY_SIMPLEX, 0.8, BLUE, 2, cv2.LINE_AA)
    if frame.box:
        x0, y0, x1, y1 = (round(v * scale) for v in frame.box)
        cv2.rectangle(shown, (x0, y0), (x1, y1), ORANGE, 3)
    if frame.corner:
        at = tuple(round(v * scale) for v in frame.corner)
        cv2.drawMarker(shown, at, ORANGE, cv2.MARKER_CROSS, 20, 3)
    return shown


def cuts(frame: Frame) -> list[tuple[np.ndarray, str]]:
    """Return the people found as numbered thumbnails."""
    if not frame.people:
        return []
    image = _pixels(frame)
    boxes = [found.box for found in frame.people]
    return [
        (overlays.thumbnail(np.ascontiguousarray(image[y0:y1, x0:x1])), str(i))
        for i, (x0, y0, x1, y1) in enumerate(boxes, start=1)
    ]


def frame_line(frame: Frame) -> str:
    """Say in one line how far a frame is."""
    if not frame.data:
        return ""
    words = [text.FRAME_SIZE.format(width=frame.width, height=frame.height)]
    if frame.people is not None:
        words.append(text.FRAME_NUMBER.format(count=len(frame.people)) if frame.people else text.FRAME_NOBODY)
    if frame.corner:
        words.append(text.FRAME_CORNER)
    return render("note.html.jinja", words=" ".join(words))


def _pixels(frame: Frame) -> np.ndarray:
    if not frame.data:
        raise ImageError(text.FRAME_NONE)
    return images.read_image(frame.data)


def _shown_size(frame: Frame) -> tuple[int, int]:
    """Return (height, width) of the shown frame; never larger than it is."""
    scale = min(1.0, PREVIEW_SIDE / max(frame.height, frame.width))
    return max(1, round(frame.height * scale)), max(1, round(frame.width * scale))
