"""Look through the gallery that is searched, page by page, all of it or one person and camera."""

from dataclasses import dataclass, replace

import numpy as np

from reid_demo import images
from reid_demo.drawing import overlays
from reid_demo.engine import Engine
from reid_demo.errors import GalleryError, ImageError
from reid_demo.records import UNKNOWN, ImageRecord
from reid_demo.search.gallery import Gallery
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.probe import open_gallery_image
from reid_demo.serving.page.handlers.session import Session, Settings, file_name, name_of
from reid_demo.serving.page.markup import render

PAGE = 40  # pictures shown at a time
LISTED = 1000  # people and cameras offered by name; of more, any number may be typed
NAMED = 12  # cameras said in one sentence
ALL = "all"


@dataclass(frozen=True)
class View:
    """What of a gallery is looked at: one page of the images of a person and a camera."""

    own: str | None = None  # whose gallery, as `Session.own`; None: nothing was looked at yet
    pid: int | None = None  # as `Gallery.rows_of`
    camid: int | None = None
    stamp: tuple[int, int] | None = None  # of that gallery, as `Gallery.stamp`
    page: int = 1
    found: int = 0  # images of that person and camera, on all pages
    rows: tuple[int, ...] = ()  # gallery rows of this page

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-self.found // PAGE))


def look(
    engine: Engine,
    session: Session,
    person: str | int | None = ALL,
    camera: str | int | None = ALL,
    page: float | None = 1,
) -> View:
    """Look at a page of the gallery that a visit searches.

    Args:
        engine: over that gallery.
        session: the visit.
        person: a pid as it was chosen or typed; `ALL` or empty for all people.
        camera: a camid, likewise.
        page: from 1; one that is not there gives the nearest, none the first.

    Raises:
        GalleryError: no whole number was typed.
    """
    gallery = engine.gallery
    pid, camid = _number(person, gallery.people), _number(camera, gallery.cameras)
    found = gallery.rows_of(pid, camid)
    view = View(session.own, pid, camid, gallery.stamp, found=len(found))
    page = int(max(1, min(page or 1, view.pages)))
    rows = tuple(int(row) for row in found[(page - 1) * PAGE : page * PAGE])
    return replace(view, page=page, rows=rows)


def _number(chosen: str | int | None, known: np.ndarray) -> int | None:
    """Read what was chosen or typed."""
    words = str("" if chosen is None else chosen).strip()
    if words in ("", ALL):
        return None
    try:
        return int(words)
    except ValueError as error:
        raise GalleryError(text.BROWSE_NO_NUMBER.format(example=int(known[-1]))) from error


def people(gallery: Gallery) -> list[tuple[str, str]]:
    """Return (words, value) of each person who may be chosen; nothing where the gallery has no ids."""
    return _choices(gallery.people, text.BROWSE_ALL_PEOPLE, text.BROWSE_NAMES)


def cameras(gallery: Gallery, pid: int | None = None) -> list[tuple[str, str]]:
    """Return (words, value) of each camera that may be chosen; nothing where the gallery has no cameras.

    Args:
        gallery: whose cameras.
        pid: offer those that saw this person, as `Gallery.rows_of`; all of them where none did, or for `None`.
    """
    numbers = gallery.cameras if pid is None else _seen_by(gallery, pid)
    return _choices(numbers, text.BROWSE_ALL_CAMERAS, {}) or _choices(gallery.cameras, text.BROWSE_ALL_CAMERAS, {})


def _seen_by(gallery: Gallery, pid: int) -> np.ndarray:
    """Return the cameras that saw a person, `(n,)` and ascending."""
    return np.unique(gallery.camids[gallery.rows_of(pid)])


def _choices(numbers: np.ndarray, everything: str, names: dict[int, str]) -> list[tuple[str, str]]:
    if not len(numbers) or numbers[-1] == UNKNOWN:
        return []
    names = {UNKNOWN: text.BROWSE_UNKNOWN, **names}
    return [(everything, ALL), *((names.get(number, str(number)), str(number)) for number in numbers[:LISTED].tolist())]


def info(numbers: np.ndarray) -> str:
    """Say that not all numbers are listed; empty where they are."""
    return text.BROWSE_MANY.format(count=len(numbers)) if len(numbers) > LISTED else ""


def count_line(engine: Engine, view: View) -> str:
    """Say in words how many pictures there are and which of them are here, and what cannot be filtered by."""
    gallery, found = engine.gallery, view.found
    total = len(gallery)
    words = text.BROWSE_ONE if total == 1 else text.BROWSE_ALL.format(total=total)
    if (view.pid, view.camid) != (None, None):
        words = text.BROWSE_SOME.format(found=found, total=total)
    shown = ""
    if view.pages > 1:
        first = (view.page - 1) * PAGE + 1
        shown = text.BROWSE_SHOWN.format(first=first, last=first + len(view.rows) - 1)
    notes = [note for note in (_why_none(gallery, view), _missing(gallery)) if note]
    return render("count_line.html.jinja", words=words, shown=shown, notes=notes)


def _why_none(gallery: Gallery, view: View) -> str:
    """Say why nothing was found; where it is the camera, which others the person was seen by."""
    if view.found:
        return ""
    if view.pid is None:
        return text.BROWSE_NO_CAMERA.format(camid=view.camid)
    seen = _seen_by(gallery, view.pid)
    if not len(seen):
        return text.BROWSE_NO_PERSON.format(pid=view.pid)
    listed = [text.BROWSE_UNKNOWN if camid == UNKNOWN else str(camid) for camid in seen[:NAMED].tolist()]
    listed += ["..."] * (len(seen) > NAMED)
    return text.BROWSE_ELSEWHERE.format(cameras=", ".join(listed))


def _missing(gallery: Gallery) -> str:
    no_ids, no_cameras = gallery.people[-1] == UNKNOWN, gallery.cameras[-1] == UNKNOWN
    if no_ids and no_cameras:
        return text.BROWSE_NEITHER
    return text.BROWSE_NO_IDS if no_ids else text.BROWSE_NO_CAMERAS if no_cameras else ""


def pictures(engine: Engine, view: View) -> list[tuple[np.ndarray, str]]:
    """Return a page as thumbnails with captions; of an image that cannot be read, a grey one that says so."""
    gallery, shown = engine.gallery, []
    for row in view.rows:
        words = caption(gallery.records[row])
        try:
            picture = overlays.thumbnail(images.read_image(gallery.image_path(row)))
        except (ImageError, OSError):  # the others are still worth a look
            picture, words = overlays.thumbnail(np.full((2, 1, 3), overlays.PAD, np.uint8)), text.BROWSE_UNREADABLE
        shown.append((picture, words))
    return shown


def caption(record: ImageRecord) -> str:
    """Return the words under a picture: person and camera where they are known, else its name."""
    person, camera = text.BROWSE_CAPTION
    words = [] if record.pid is None else [person.format(pid=name_of(record.pid))]
    words += [] if record.camid is None else [camera.format(camid=record.camid)]
    return "\n".join(words) or file_name(record.path)


def search_from(engine: Engine, session: Session, settings: Settings, view: View, place: int | None) -> Session:
    """Search with the picture at a place, from 0, of a page."""
    if (
        (view.own, view.stamp) != (session.own, engine.gallery.stamp)
        or place is None
        or not 0 <= place < len(view.rows)
    ):
        raise GalleryError(text.BROWSE_STALE)
    return open_gallery_image(engine, session, settings, view.rows[place])
