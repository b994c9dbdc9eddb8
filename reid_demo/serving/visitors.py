"""Galleries of single visits: made from an upload, seen by that visit alone, deleted when it ends. Knows no page.

Every gallery has a name that nobody can guess (the token); whoever holds it may search. All lie in one temporary folder
of this process, which goes with it; folders that a killed process left are removed by the next one.
"""

import copy
import re
import secrets
import shutil
import stat
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from reid_demo.engine import Engine
from reid_demo.errors import GalleryError
from reid_demo.images import MAX_BYTES, looks_like_image
from reid_demo.search import gallery as galleries
from reid_demo.search.build import IndexReport, index_folder

MAX_IMAGES = 500  # of one gallery
MAX_TOTAL = 200 << 20  # bytes of one gallery's files, unpacked
MAX_UPLOAD = 64 << 20  # bytes of one file as it is sent, a zip perhaps
MAX_ENTRIES = 2000  # of one zip
MAX_GALLERIES = 30  # at a time
KEEP_S = 3600  # without use
PREFIX, LOCK = "reid_demo_private_", "lock"
GONE = (
    "Your own gallery is no longer here: it is deleted when a visit ends or after an hour without use. Make it again."
)
FULL = "Too many visitors have a gallery of their own just now. Try again in a few minutes."


@dataclass
class _Visit:
    """One private gallery."""

    owner: str
    engine: Engine
    folder: Path
    used: float  # seconds of the monotonic clock


class PrivateGalleries:
    """The private galleries of a running page. Safe to share between threads."""

    def __init__(self, engine: Engine, keep_s: float = KEEP_S) -> None:
        """Start with none; `engine` lends its network."""
        self.engine, self.keep_s = engine, keep_s
        self._visits: dict[str, _Visit] = {}
        self._lock = threading.Lock()
        self._root: tempfile.TemporaryDirectory | None = None

    def __deepcopy__(self, memo) -> "PrivateGalleries":
        """Never copy a page's galleries."""
        return self

    def __len__(self) -> int:
        """Number of galleries held."""
        return len(self._visits)

    def engine_of(self, token: str) -> Engine:
        """Give the engine over the gallery of a token; over the page's own for an empty one.

        Raises:
            GalleryError: the gallery is deleted.
        """
        if not token:
            return self.engine
        self.sweep()
        with self._lock:
            visit = self._visits.get(token)
            if visit is None:
                raise GalleryError(GONE)
            visit.used = time.monotonic()
            return visit.engine

    def build(
        self,
        owner: str,
        uploads: Sequence[Path],
        *,
        finder=None,
        name: str = "your pictures",
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> tuple[str, IndexReport]:
        """Make a gallery of uploaded images and zips; give its token and what was taken in.

        Args:
            owner: the visit, for `drop_owner`; an earlier gallery of it is deleted once this one stands.
            uploads: files; they are not changed.
            finder: cuts people out of whole frames; without one, each image is one person.
            name: shown on the page.
            progress: gets (files done, files in all).

        Raises:
            GalleryError: nothing usable, too much, or a zip that is not to be trusted; nothing is kept then.
        """
        self.sweep()
        if len(self) >= MAX_GALLERIES:
            raise GalleryError(FULL)
        token = secrets.token_urlsafe(18)
        folder = self._place() / token
        try:
            work = folder / "uploads"
            work.mkdir(parents=True)
            refused = unpack(uploads, work)
            out = folder / "gallery"
            if not any(work.iterdir()):
                first = f" {refused[0][0]}: {refused[0][1]}" if refused else ""
                raise GalleryError(f"There is no picture in what you sent.{first}")
            fingerprint = self.engine.gallery.fingerprint
            try:
                report = index_folder(
                    work, out, self.engine.describer, fingerprint, name=name, finder=finder, progress=progress
                )
            except GalleryError as error:
                if not str(error).startswith("None of"):
                    raise
                # Its words name folders of this machine.
                why = "shows a person that could be found" if finder else "can be read"
                raise GalleryError(f"None of your pictures {why}.") from error
            report.skipped = [(PurePosixPath(path).name, reason) for path, reason in report.skipped] + refused
            shutil.rmtree(work)
            engine = over(self.engine, galleries.load(out, fingerprint))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self.drop_owner(owner)
        with self._lock:
            self._visits[token] = _Visit(owner, engine, folder, time.monotonic())
        return token, report

    def save(self, token: str) -> Path:
        """Write a gallery into one zip, for `app.py --gallery` after unpacking; give its path."""
        folder = self.engine_of(token).gallery.folder
        target = folder.parent / "my_gallery.zip"
        kept = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as packed:
            for path in kept:
                packed.write(path, Path("my_gallery") / path.relative_to(folder))
        return target

    def drop(self, token: str) -> None:
        """Delete a gallery; one that is gone already is no error."""
        with self._lock:
            visit = self._visits.pop(token, None)
        if visit is not None:
            shutil.rmtree(visit.folder, ignore_errors=True)

    def drop_owner(self, owner: str) -> None:
        """Delete the galleries of a visit."""
        with self._lock:
            tokens = [token for token, visit in self._visits.items() if visit.owner == owner]
        for token in tokens:
            self.drop(token)

    def sweep(self) -> None:
        """Delete galleries that nobody used for a while."""
        oldest = time.monotonic() - self.keep_s
        with self._lock:
            tokens = [token for token, visit in self._visits.items() if visit.used < oldest]
        for token in tokens:
            self.drop(token)

    def _place(self) -> Path:
        """Give this process's folder, and remove those that others left when they were killed."""
        with self._lock:
            if self._root is None:
                for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
                    _remove_if_left(left)
                self._root = tempfile.TemporaryDirectory(prefix=PREFIX)
                self._mine = FileLock(Path(self._root.name, LOCK))
                self._mine.acquire(timeout=0)
            return Path(self._root.name)


def over(engine: Engine, gallery: galleries.Gallery) -> Engine:
    """Give an engine with the same network over another gallery, where shipped probes have no identity."""
    other = copy.copy(engine)
    other.hold(gallery)
    other.probes = [replace(example, pid=None, camid=None) for example in engine.probes]
    other.examples = [example for example in other.probes if example.featured]
    return other


def unpack(uploads: Sequence[Path], target: Path) -> list[tuple[str, str]]:
    """Copy uploaded images, and those inside zips, into numbered folders; give (name, reason) of what was left out.

    Nothing is written where a name inside a zip says: only its last part is kept, cleaned.

    Raises:
        GalleryError: too many, too large, or a zip with names that lead outside or contents that unpack to a bomb.
    """
    refused: list[tuple[str, str]] = []
    count = total = 0
    for name, size, read in _offered(uploads, refused):
        count, total = count + 1, total + size
        if count > MAX_IMAGES:
            raise GalleryError(
                f"That is more than {MAX_IMAGES} pictures. Send fewer, or use `index` on your own machine."
            )
        if total > MAX_TOTAL:
            raise GalleryError(f"That is more than {MAX_TOTAL >> 20} MB. Send fewer or smaller pictures.")
        place = target / f"{count:04d}"
        place.mkdir()
        try:
            data = read()
        except (OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile, EOFError, ValueError) as error:
            place.rmdir()
            refused.append((name, f"It cannot be unpacked ({str(error) or type(error).__name__})."))
            continue
        (place / _clean(name)).write_bytes(data)
    return refused


def _offered(uploads: Sequence[Path], refused: list) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """Give (name, bytes, reader) of each picture, and note what is none."""
    for path in map(Path, uploads):
        if path.suffix.lower() == ".zip" or zipfile.is_zipfile(path) and not looks_like_image(path.name):
            yield from _in_zip(path, refused)
        elif not looks_like_image(path.name):
            refused.append((path.name, "Its name does not end as a picture's does, such as .jpg or .png."))
        elif path.stat().st_size > MAX_BYTES:
            refused.append((path.name, f"The file is larger than {MAX_BYTES >> 20} MB. Use a smaller image."))
        else:
            yield path.name, path.stat().st_size, path.read_bytes


def _in_zip(path: Path, refused: list) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    try:
        packed = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise GalleryError(f"{path.name} is no zip file that can be opened. Pack it again.") from error
    with packed:
        entries = [entry for entry in packed.infolist() if not entry.is_dir()]
        if len(entries) > MAX_ENTRIES:
            raise GalleryError(f"{path.name} holds {len(entries)} files; use at most {MAX_ENTRIES}.")
        for entry in entries:
            parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
            if ".." in parts or entry.filename[:1] in ("/", "\\") or re.match(r"[A-Za-z]:", entry.filename):
                raise GalleryError(f"{path.name} holds a name that leads outside of it. It was not unpacked.")
        if sum(entry.file_size for entry in entries) > MAX_TOTAL:
            raise GalleryError(f"{path.name} unpacks to more than {MAX_TOTAL >> 20} MB. It was not unpacked.")
        for entry in entries:
            name = PurePosixPath(entry.filename.replace("\\", "/")).name
            if name.startswith(".") or entry.filename.startswith("__MACOSX/"):
                continue
            if stat.S_ISLNK(entry.external_attr >> 16):
                refused.append((name, "It is a link, not a picture."))
            elif not looks_like_image(name):
                refused.append((name, "Its name does not end as a picture's does, such as .jpg or .png."))
            elif entry.file_size > MAX_BYTES:
                refused.append((name, f"The file is larger than {MAX_BYTES >> 20} MB. Use a smaller image."))
            else:
                yield name, entry.file_size, _reader(packed, entry)


def _reader(packed: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        with packed.open(entry) as file:  # the size that the zip states may be a lie
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES or len(data) != entry.file_size:
            raise ValueError("its size is not what the zip says")
        return data

    return read


def _clean(name: str) -> str:
    """Give a file name without anything that a file system or a page could stumble over."""
    stem, dot, suffix = re.sub(r"[^\w.() -]", "_", PurePosixPath(name).name).rpartition(".")
    return f"{stem[:80].lstrip('. ') or 'picture'}{dot}{suffix}"


def _remove_if_left(folder: Path) -> None:
    """Remove a folder whose process is gone: nobody holds its lock."""
    try:
        if time.time() - folder.stat().st_mtime < 60:  # it may be starting just now
            return
        with FileLock(folder / LOCK, timeout=0):
            pass
        shutil.rmtree(folder, ignore_errors=True)
    except (Timeout, OSError):
        return
