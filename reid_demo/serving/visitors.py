"""Galleries of single visits: made from an upload, seen by that visit alone, deleted after it. Knows no page.

Every gallery has a name that nobody can guess, the token; whoever holds it may search. All lie in this process's own
folder (`workplace`). A timer deletes them ten minutes after their visit ends or after an hour without use,
whichever comes first. That depends on no event that a visitor's browser sends.
"""

import logging
import lzma
import re
import secrets
import shutil
import stat
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from reid_demo.engine import Engine
from reid_demo.errors import GalleryError, NoImagesError, NotWritableError
from reid_demo.images import MAX_BYTES, looks_like_image
from reid_demo.measuring.calibrate import calibrate_stored
from reid_demo.measuring.calibrate import write as write_calibration
from reid_demo.search import gallery as galleries
from reid_demo.search.build import IndexOptions, IndexReport, index_folder
from reid_demo.search.scan import cut_to_bytes, zip_name
from reid_demo.serving import workplace
from reid_demo.serving.current import Current
from reid_demo.whatif.confidence import Calibration

MAX_IMAGES = 500  # of one gallery
MAX_TOTAL = 200 << 20  # bytes of one gallery's files, unpacked
MAX_UPLOAD = 64 << 20  # bytes of one file as it is sent, a zip perhaps
# What a zip can fail with; RuntimeError where it is encrypted or packed in a way that `zipfile` does not know
UNPACKING_FAULTS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, RuntimeError, EOFError, ValueError)
MAX_ENTRIES = 2000  # of one zip
MAX_GALLERIES = 30  # at a time
MAX_AN_ADDRESS = 3  # at a time, where visitors' addresses are known
KEEP_S = 3600  # without use
GRACE_S = 600  # after a visit's connection ended; it may come back
ABANDONED_S = 15  # after a visit's connection ended, its work stops
SWEEP_S = 20  # between two sweeps of the timer
PREFIX, LOCK = workplace.PREFIX, workplace.LOCK
GONE = (
    "Your own gallery is no longer here: it is deleted ten minutes after a visit ends or after an hour without use. "
    "Make it again from your pictures, or press “Delete it and go back” under “Your pictures”."
)
_log = logging.getLogger(__name__)
NO_ROOM = "This server has no room for another gallery just now. Try again later."
FULL = "Too many visitors have a gallery of their own just now. Try again in a few minutes."


@dataclass
class _Held:
    """One private gallery."""

    owner: str
    engine: Engine
    folder: Path
    used: float  # seconds of the monotonic clock
    packed: str = ""  # file name of its zip, once it was saved


class PrivateGalleries:
    """The private galleries of a running page. Safe to share between threads."""

    def __init__(self, engine: Engine, keep_s: float = KEEP_S, cache: Path | None = None) -> None:
        """Start with none; `engine` lends its network. Copies of saved galleries in `cache` are deleted with them."""
        self.current, self.keep_s, self.cache = Current(engine), keep_s, cache
        self._held: dict[str, _Held] = {}
        self._parted: dict[str, float] = {}  # visits whose connection ended, and when
        self._addresses: dict[str, str] = {}  # visit -> address, where a trusted proxy tells it
        self._lock = threading.RLock()
        self._root: Path | None = None

    def __deepcopy__(self, memo) -> "PrivateGalleries":
        """Never copy a page's galleries."""
        return self

    def __len__(self) -> int:
        """Number of galleries held."""
        return len(self._held)

    @property
    def engine(self) -> Engine:
        """The page's own engine, over its gallery as it lies on the disk now."""
        return self.current.engine

    def arrive(self, owner: str, address: str = "") -> None:
        """Note that a visit is connected, or connected again."""
        with self._lock:
            self._parted.pop(owner, None)
            if address:
                self._addresses[owner] = address

    def part(self, owner: str) -> None:
        """Note that a visit's connection ended; its gallery waits `GRACE_S` for it to come back."""
        with self._lock:
            self._parted[owner] = time.monotonic()

    def engine_of(self, token: str) -> Engine:
        """Return the engine over the gallery of a token; over the page's own for an empty one.

        Raises:
            GalleryError: the gallery is deleted.
        """
        if not token:
            return self.engine
        self.sweep()
        with self._lock:
            held = self._held.get(token)
            if held is None:
                raise GalleryError(GONE)
            held.used = time.monotonic()
            self._parted.pop(held.owner, None)  # who uses it is here
            return held.engine

    def build(
        self,
        owner: str,
        uploads: Sequence[Path],
        *,
        finder=None,
        name: str = "your pictures",
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> tuple[str, IndexReport]:
        """Make a gallery of uploaded images and zips, and return its token and what was taken in.

        Args:
            owner: the visit, for `drop_owner`; an earlier gallery of it is deleted once this one stands.
            uploads: files; they are not changed.
            finder: cuts people out of whole frames; without one, each image is one person.
            name: shown on the page.
            progress: gets (files done, files in all).

        Raises:
            GalleryError: nothing usable, too much, or a zip that is not to be trusted; nothing is kept then.
        """
        self._make_room(owner)
        token = secrets.token_urlsafe(18)
        folder = self._place() / token
        try:
            work = folder / "uploads"
            work.mkdir(parents=True)
            refused = unpack(uploads, work)
            if not any(work.iterdir()):
                first = f" {refused[0][0]}: {refused[0][1]}" if refused else ""
                raise GalleryError(f"There is no picture in what you sent.{first}")
            report = self._index(work, folder / "gallery", finder, name, self._while_here(owner, progress))
            report.skipped = [(PurePosixPath(path).name, reason) for path, reason in report.skipped] + refused
            shutil.rmtree(work)
            page = self.engine
            engine = over(page, galleries.load(folder / "gallery", page.gallery.fingerprint))
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, (NotWritableError, OSError)):
                _log.error("No room for a visitor's gallery: %s", error)
                raise GalleryError(NO_ROOM) from error
            raise
        self.drop_owner(owner)
        with self._lock:
            self._held[token] = _Held(owner, engine, folder, time.monotonic())
        return token, report

    def _index(self, work: Path, out: Path, finder, name: str, progress: Callable[[int, int], None]) -> IndexReport:
        page = self.engine
        describer, fingerprint = page.describer, page.gallery.fingerprint
        try:
            return index_folder(work, out, describer, fingerprint, IndexOptions(name, finder, progress=progress))
        except NoImagesError as error:
            # Its words name folders of this machine.
            why = "shows a person that could be found." if finder else "can be read. Send JPEG or PNG files."
            raise GalleryError(f"None of your pictures {why}") from error

    def _while_here(self, owner: str, progress: Callable[[int, int], None]) -> Callable[[int, int], None]:
        """Return `progress`, which also stops the work once its visit has been gone for a while."""

        def step(done: int, total: int) -> None:
            parted = self._parted.get(owner)
            if parted is not None and time.monotonic() - parted > ABANDONED_S:
                raise GalleryError(GONE)
            progress(done, total)

        return step

    def _make_room(self, owner: str) -> None:
        """Let galleries of visits that are gone give way to one of `owner`, the longest unused first.

        Raises:
            GalleryError: every place, or every place of this address, belongs to a visit that is here.
        """
        self.sweep()
        with self._lock:
            others = {token: held for token, held in self._held.items() if held.owner != owner}
            address = self._addresses.get(owner)
            near = [t for t, held in others.items() if address and self._addresses.get(held.owner) == address]
            if len(near) >= MAX_AN_ADDRESS:
                self._give_way(near)
            elif len(others) >= MAX_GALLERIES:
                self._give_way(list(others))

    def _give_way(self, tokens: Sequence[str]) -> None:
        gone = [token for token in tokens if self._held[token].owner in self._parted]
        if not gone:
            raise GalleryError(FULL)
        self.drop(min(gone, key=lambda token: self._held[token].used))

    def save(self, token: str) -> Path:
        """Write a gallery into one zip, for `app.py --gallery` after unpacking; return its path."""
        folder = self.engine_of(token).gallery.folder
        # A name of its own: the copy that is handed out is found by it when the gallery is deleted.
        target = folder.parent / f"my_gallery_{secrets.token_hex(4)}.zip"
        kept = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as packed:
            for path in kept:
                packed.write(path, Path("my_gallery") / path.relative_to(folder))
        with self._lock:
            held = self._held.get(token)
            if held is None:
                target.unlink(missing_ok=True)
                raise GalleryError(GONE)
            before, held.packed = held.packed, target.name
        self._forget_zip(before)
        if before:
            (folder.parent / before).unlink(missing_ok=True)
        return target

    def calibrate(self, token: str) -> Calibration:
        """Measure how far a similarity can be believed in a gallery, by its own people; searches are judged by it then.

        Raises:
            DatasetError: too few people were seen by two cameras.
            GalleryError: the gallery is deleted.
        """
        engine = self.engine_of(token)
        found = calibrate_stored(engine.gallery, engine.gallery.fingerprint)
        measured = engine.over(engine.gallery, engine.probes)
        measured.calibration = found
        with self._lock:
            held = self._held.get(token)
            if held is None:
                raise GalleryError(GONE)
            write_calibration(found, engine.gallery.folder)  # so that a saved gallery carries it
            held.engine = measured
        return found

    def _forget_zip(self, name: str) -> None:
        """Delete the copies of a saved gallery that are offered for download."""
        for copied in self.cache.glob(f"*/{name}") if name and self.cache else ():
            copied.unlink(missing_ok=True)

    def drop(self, token: str) -> None:
        """Delete a gallery; one that is gone already is no error."""
        with self._lock:
            held = self._held.pop(token, None)
        if held is not None:
            shutil.rmtree(held.folder, ignore_errors=True)
            self._forget_zip(held.packed)

    def drop_owner(self, owner: str) -> None:
        """Delete the galleries of a visit."""
        with self._lock:
            tokens = [token for token, held in self._held.items() if held.owner == owner]
        for token in tokens:
            self.drop(token)

    def sweep(self) -> None:
        """Delete galleries whose visit is gone for `GRACE_S` and those that nobody used for `keep_s`."""
        now = time.monotonic()
        with self._lock:
            late = {owner for owner, parted in self._parted.items() if now - parted > GRACE_S}
            unused = now - self.keep_s
            tokens = [token for token, held in self._held.items() if held.owner in late or held.used < unused]
            for owner in late - {held.owner for held in self._held.values()}:
                self._parted.pop(owner, None)
                self._addresses.pop(owner, None)
        for token in tokens:
            self.drop(token)

    def _sweep_by_the_clock(self) -> None:
        while True:
            time.sleep(SWEEP_S)
            self.sweep()

    def _place(self) -> Path:
        """Return the folder of these galleries; the first call starts the sweeper."""
        with self._lock:
            if self._root is None:
                self._root = workplace.of_this_process().subfolder(f"galleries_{secrets.token_hex(4)}")
                threading.Thread(target=self._sweep_by_the_clock, daemon=True, name="galleries' sweeper").start()
            return self._root


def over(engine: Engine, gallery: galleries.Gallery) -> Engine:
    """Return an engine with the same network over another gallery, where shipped probes have no identity."""
    return engine.over(gallery, [replace(example, pid=None, camid=None) for example in engine.probes])


def unpack(uploads: Sequence[Path], target: Path) -> list[tuple[str, str]]:
    """Copy uploaded images, and those inside zips, into numbered folders; return (name, reason) of what was left out.

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
        except UNPACKING_FAULTS as error:
            place.rmdir()
            refused.append((name, f"It cannot be unpacked ({str(error) or type(error).__name__})."))
            continue
        (place / _clean(name)).write_bytes(data)
    return refused


def _offered(uploads: Sequence[Path], refused: list) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """Yield (name, bytes, reader) of each picture, and note in `refused` what is none."""
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
    except UNPACKING_FAULTS as error:
        raise GalleryError(f"{path.name} is no zip file that can be opened. Pack it again.") from error
    with packed:
        entries = [entry for entry in packed.infolist() if not entry.is_dir()]
        if len(entries) > MAX_ENTRIES:
            raise GalleryError(f"{path.name} holds {len(entries)} files; use at most {MAX_ENTRIES}.")
        for entry in entries:
            named = zip_name(entry)
            parts = PurePosixPath(named.replace("\\", "/")).parts
            if ".." in parts or named[:1] in ("/", "\\") or re.match(r"[A-Za-z]:", named):
                raise GalleryError(
                    f"{path.name} holds a file name with .. or a whole path, so it was not unpacked. Pack it without."
                )
        if sum(entry.file_size for entry in entries) > MAX_TOTAL:
            raise GalleryError(f"{path.name} unpacks to more than {MAX_TOTAL >> 20} MB. It was not unpacked.")
        for entry in entries:
            name = PurePosixPath(zip_name(entry).replace("\\", "/")).name
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
    """Return a file name without anything that a file system or a page could stumble over."""
    stem, dot, suffix = re.sub(r"[^\w.() -]", "_", PurePosixPath(name).name).rpartition(".")
    return f"{cut_to_bytes(stem, 80).lstrip('. ') or 'picture'}{dot}{suffix}"
