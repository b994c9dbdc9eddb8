"""The visitor's own gallery, and a person cut out of a whole frame."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from reid_demo import images
from reid_demo.drawing import overlays as render
from reid_demo.engine import Engine
from reid_demo.errors import GalleryError, ImageError, OcclusionError
from reid_demo.search import detector as finders
from reid_demo.search.build import IndexReport
from reid_demo.serving.page import text_own as text
from reid_demo.serving.page.handlers.probe import open_gallery_image
from reid_demo.serving.page.handlers.session import Session, Settings, ranked, start
from reid_demo.serving.visitors import PrivateGalleries

PREVIEW_SIDE = 1024  # px of the larger side of a frame as it is shown
ORANGE, BLUE = (230, 120, 20), (20, 110, 220)


def make(
    galleries: PrivateGalleries,
    session: Session,
    settings: Settings,
    owner: str,
    uploads: Sequence[str | Path] | None,
    frames: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Session, IndexReport]:
    """Make a private gallery of uploads and rank it: for the visitor's own probe, else for its first picture.

    Args:
        galleries: of the page.
        session: the visit.
        settings: of the ranking.
        owner: what the visit is called, to delete its galleries when it ends.
        uploads: files that Gradio keeps; deleted from there once they are read.
        frames: cut out each person found.
        progress: gets (files done, files in all).
    """
    paths = [Path(path) for path in uploads or ()]
    if not paths:
        raise ImageError(text.OWN_NONE)
    finder = finders.open_finder("hog") if frames else None
    try:
        token, report = galleries.build(owner, paths, finder=finder, name=text.OWN_TITLE, progress=progress)
    finally:
        for path in paths:  # nobody else shall fetch them from the upload cache
            path.unlink(missing_ok=True)
    return _enter(galleries.engine_of(token), replace(session, own=token), settings), report


def _enter(engine: Engine, session: Session, settings: Settings) -> Session:
    settings = replace(settings, top_k=max(1, min(settings.top_k, len(engine.gallery))))
    if session.current is None or session.source:  # a shipped picture says little about other galleries
        return open_gallery_image(engine, session, settings, 0)
    return replace(ranked(engine, session, settings), decisions={})


def leave(galleries: PrivateGalleries, session: Session, settings: Settings) -> Session:
    """Delete the visitor's gallery and rank the shipped one again."""
    if not session.own:
        raise GalleryError(text.OWN_NOT_YET)
    galleries.drop(session.own)
    engine, fresh = galleries.engine, replace(session, own="", decisions={})
    if session.source.startswith("gallery:") or session.current is None:
        return open_gallery_image(engine, fresh, settings, 0)
    return ranked(engine, fresh, settings)


def save(galleries: PrivateGalleries, session: Session) -> Path:
    """Write the visitor's gallery as one file."""
    if not session.own:
        raise GalleryError(text.OWN_NOT_YET)
    return galleries.save(session.own)


def badge(engine: Engine, session: Session) -> str:
    """Say above the list that it is the visitor's own gallery; empty for the shipped one."""
    if not session.own:
        return ""
    return f'<p class="note own-badge">{html.escape(text.OWN_BADGE.format(count=len(engine.gallery)))}</p>'


def told(report: IndexReport) -> str:
    """Say what was taken in and what was not, as HTML."""
    counts = {"duplicates": report.duplicates, "skipped": len(report.skipped), "empty": report.empty}
    words = ", ".join(f"{count} {text.OWN_PARTS[name]}" for name, count in counts.items() if count)
    rows = "".join(f"<li>{html.escape(name)}: {html.escape(reason)}</li>" for name, reason in report.skipped)
    listed = (
        f"<details open><summary>{html.escape(text.OWN_SKIPPED)}</summary><ul>{rows}</ul></details>" if rows else ""
    )
    return (
        f'<p id="own-told"><strong>{html.escape(text.OWN_MADE.format(total=report.total))}</strong> '
        f"{html.escape(words + '.' if words else '')}</p>{listed}"
    )


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


def find(frame: Frame, finder: finders.HogFinder) -> Frame:
    """Look for people in a frame."""
    return replace(frame, people=tuple(finder.find(_pixels(frame))))


def click(frame: Frame, x: float, y: float) -> Frame:
    """Take a click on the shown frame, in px of it: the first sets a corner, the second the box."""
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


def search_box(engine: Engine, session: Session, settings: Settings, frame: Frame, x, y, w, h) -> Session:
    """Start over with a box of the frame, given as x, y, width and height in image px, as the probe."""
    image = _pixels(frame)
    if any(value is None for value in (x, y, w, h)) or (w, h) == (0, 0):
        raise OcclusionError(text.FRAME_NO_BOX)
    if x < 0 or y < 0 or w <= 0 or h <= 0 or x + w > frame.width or y + h > frame.height:
        numbers = {name: f"{value:g}" for name, value in zip("xywh", (x, y, w, h), strict=True)}
        raise OcclusionError(text.FRAME_OUTSIDE.format(**numbers, width=frame.width, height=frame.height))
    x0, y0, x1, y1 = round(x), round(y), round(x + w), round(y + h)
    numbers = [i for i, found in enumerate(frame.people or (), start=1) if found.box == (x0, y0, x1, y1)]
    title = text.FRAME_PERSON.format(number=numbers[0]) if numbers else text.FRAME_BOX
    cut = np.ascontiguousarray(image[y0:y1, x0:x1])
    images.check_size(cut.shape[1], cut.shape[0])
    return start(engine, session, settings, cut, title)


def fields(frame: Frame) -> list[int | None]:
    """Give the box as x, y, width and height."""
    if frame.box is None:
        return [None] * 4
    x0, y0, x1, y1 = frame.box
    return [x0, y0, x1 - x0, y1 - y0]


def draw(frame: Frame) -> np.ndarray | None:
    """Give the frame as it is shown, with numbered people and the box."""
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
    """Give the people found as numbered thumbnails."""
    if not frame.people:
        return []
    image = _pixels(frame)
    boxes = [found.box for found in frame.people]
    return [
        (render.thumbnail(np.ascontiguousarray(image[y0:y1, x0:x1])), str(i))
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
    return f'<p class="note">{html.escape(" ".join(words))}</p>'


def _pixels(frame: Frame) -> np.ndarray:
    if not frame.data:
        raise ImageError(text.FRAME_NONE)
    return images.read_image(frame.data)


def _shown_size(frame: Frame) -> tuple[int, int]:
    """Give (height, width) of the shown frame; never larger than it is."""
    scale = min(1.0, PREVIEW_SIDE / max(frame.height, frame.width))
    return max(1, round(frame.height * scale)), max(1, round(frame.width * scale))
