"""A folder of images becomes a gallery: incremental, resumable, one writer at a time, bad files reported.

What is described goes at once into a journal inside the gallery's folder; the gallery itself is replaced in one step at
the end. A killed run leaves the old gallery as it was, and the next run takes the journal up.
"""

import errno
import hashlib
import io
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image

from reid_demo.data.files import inside, read_json_lines
from reid_demo.data.layouts import market_ids
from reid_demo.errors import GalleryError, ImageError, NoImagesError, NotWritableError
from reid_demo.images import MAX_BYTES, PROBE_SIDE, load_picture, read_image, shrunk
from reid_demo.model.describer import Describer
from reid_demo.records import Descriptor, ImageRecord, Scoring
from reid_demo.search import gallery as galleries
from reid_demo.search import milvus, store
from reid_demo.search.gallery_views import VIEWS, describe_in_views
from reid_demo.search.journal import Journal, MadeWith
from reid_demo.search.scan import Found, cut_to_bytes, printable, scan
from reid_demo.search.similarity import own_scoring

MAX_STEM = 100  # bytes of a file's name kept in the gallery
IMAGES, LOCK, JOURNAL = "images", ".lock", ".journal"
READERS = 2  # threads that read and decode ahead of the network
REASONS = 3  # how many are named where no image could be read


@dataclass
class IndexReport:
    """What `index_folder` did."""

    added: int = 0  # images described and taken in, by this run or by one it took up
    kept: int = 0  # images known before, not described again
    removed: int = 0  # images of the gallery whose file is gone
    duplicates: int = 0  # files with the content of another
    skipped: list[tuple[str, str]] = field(default_factory=list)  # (path, reason) of pictures that could not be taken
    unread: list[tuple[str, str]] = field(default_factory=list)  # (path, reason) of files and folders not looked into
    empty: int = 0  # frames in which nobody was found
    resumed: int = 0  # of `added`, described by a run that was stopped
    rebuilt: str = ""  # why nothing of an earlier gallery, or of a stopped run, could be kept
    total: int = 0
    exact: bool = True  # whether a search compares every image
    seconds: float = 0.0


@dataclass(frozen=True)
class IndexOptions:
    """How a gallery is made."""

    name: str | None = None  # shown on the page; the old gallery's or the folder's where None
    finder: object = None  # cuts people out of whole frames (`detector.open_finder`); None: each image is one person
    store: str | None = None  # a `milvus://` address for the vectors; a file in the gallery otherwise
    exact_limit: int | None = None  # the largest gallery compared image by image; `vectors.EXACT_LIMIT` where None
    scoring: Scoring | None = None  # the gallery's similarity; the model's own where None
    views: Sequence[str] = VIEWS  # in which every image is described; the helpers' too
    helpers: object = None  # other processes that describe as well (`distributed.Helpers`); the gallery is the same
    progress: Callable[[int, int], None] = lambda done, total: None  # gets (files done, files in all)
    say: Callable[[str], None] = lambda line: None  # gets lines about what takes long after the last file


def index_folder(
    source: str | Path, out: str | Path, describer: Describer, fingerprint: str, options: IndexOptions = IndexOptions()
) -> IndexReport:
    """Build or update the gallery `out` from the images under `source`.

    Files known by content are not described again; vanished ones leave; equal contents are kept once.

    Args:
        source: folder of images, searched with all folders below it.
        out: the gallery's folder; made if missing.
        describer: of the weights in use.
        fingerprint: of these weights; a gallery made by others, or in other views, is described anew.
        options: see there.

    Raises:
        GalleryError: no images, another run at work, no space, or `out` is not a gallery folder.
    """
    start = time.monotonic()
    source, out = Path(source).resolve(), Path(out).resolve()
    _check_folders(source, out)
    found = scan(source, out)
    if not found.images:
        first = f" {found.unread[0][0]}: {found.unread[0][1]}" if found.unread else ""
        raise GalleryError(f"No images were found under {str(source)!r}.{first}")
    if options.store:
        milvus.check(options.store)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(out / LOCK, timeout=0):
            report = _Run(source, out, describer, fingerprint, options).index(found)
    except Timeout as error:
        raise GalleryError(f"Another `index` is writing {out.name!r}. Wait for it to end.") from error
    except OSError as error:
        raise NotWritableError(
            f"The gallery {out.name!r} cannot be written ({error.strerror or error}). Make room or name another --out; "
            "a new run goes on where this one stopped."
        ) from error
    report.seconds = round(time.monotonic() - start, 2)
    return report


def _check_folders(source: Path, out: Path) -> None:
    if not source.is_dir():
        raise GalleryError(f"{str(source)!r} is not a folder. Name the folder that holds the images.")
    if out == source:
        raise GalleryError("The gallery cannot be written into the folder of the images. Name another --out.")
    if out.exists() and not _is_ours(out):
        raise GalleryError(f"The folder {out.name!r} holds something else than a gallery. Name an empty --out.")
    if (out / IMAGES).is_symlink():
        raise GalleryError(f"{IMAGES!r} in {out.name!r} is a link to another folder. Name an empty --out.")


def _is_ours(out: Path) -> bool:
    """Tell whether files of a folder may be replaced: it holds a gallery, an unfinished one, or nothing."""
    if not out.is_dir():
        return False
    if (out / galleries.META).is_file():
        try:
            galleries.read_meta(out)
        except GalleryError:  # another program's meta.json, or none that says enough
            return False
        return (out / galleries.RECORDS).is_file()
    names = {path.name for path in out.iterdir() if not path.name.startswith(".writing-")}
    return names <= {LOCK} or (out / JOURNAL).is_dir() and names <= {LOCK, JOURNAL, IMAGES, galleries.READY}


def holds_images(source: Path) -> bool:
    """Tell whether a folder, or a folder below it, holds a file that looks like an image by its suffix."""
    return bool(scan(source, source / JOURNAL).images)


@dataclass(frozen=True)
class _Cut:
    """One picture to store: a whole image, or a person found in a frame."""

    box: tuple[int, int, int, int] | None  # in the frame, image px
    size: tuple[int, int]  # (width, height), image px
    image: np.ndarray  # (H, W, 3) uint8, as stored
    content: bytes  # the stored file


@dataclass
class _Read:
    """One file, read and decoded."""

    path: str  # relative to the source, with /
    digest: str = ""
    error: str = ""
    known: bool = False
    cuts: list[_Cut] = field(default_factory=list)


@dataclass(frozen=True)
class _Place:
    """Where the descriptor of an image lies."""

    fresh: bool  # in the journal, else in the old gallery
    row: int


@dataclass(frozen=True)
class _Row:
    """One image of the gallery to write."""

    record: ImageRecord
    place: _Place


class _Run:
    """One run of `index_folder` under its lock."""

    def __init__(self, source: Path, out: Path, describer: Describer, fingerprint: str, options: IndexOptions) -> None:
        self.source, self.out, self.describer, self.fingerprint, self.options = (
            source,
            out,
            describer,
            fingerprint,
            options,
        )
        self.scoring = options.scoring or own_scoring(describer.model.config)
        self.at_once = options.helpers.size if options.helpers else 1  # batches at a time
        self.finder_name = options.finder.name if options.finder else ""
        self.report = IndexReport()
        for left in out.glob(".writing-*"):
            shutil.rmtree(left)
        self.named: set[str] = set()  # stored pictures that records of ours name: these alone may be deleted
        self.old = self._open_old()
        self.journal = Journal(out / JOURNAL, MadeWith(fingerprint, self.finder_name, tuple(options.views)))
        self.report.rebuilt = " ".join(filter(None, (self.report.rebuilt, self.journal.damaged)))
        self.named |= self.journal.named | {record.path for record in self.journal.records}
        self.known = self._known()
        self.blank: set[str] = set(self.old.meta.get("empty_frames", ()) if self.old else ())
        self.rows: list[_Row] = []
        self.seen: set[str] = set()
        self.blank_now: set[str] = set()
        self.waiting: list[list[tuple[ImageRecord, np.ndarray]]] = [[]]  # batches to describe

    def _open_old(self) -> galleries.Gallery | None:
        """Return the gallery whose descriptors may be kept."""
        store.finish(self.out)
        if not (self.out / galleries.META).is_file():
            return None
        try:
            records = read_json_lines(ImageRecord, self.out / galleries.RECORDS, GalleryError, "")
            self.named = {record.path for record in records}
            old = galleries.load(self.out)
        except GalleryError as error:
            self.report.rebuilt = str(error).split(" Rebuild it")[0]
            return None
        if old.fingerprint != self.fingerprint:
            self.report.rebuilt = f"It was made by other weights ({old.fingerprint}, now {self.fingerprint})."
        elif old.meta.get("finder", "") != self.finder_name:
            self.report.rebuilt = "Its people were cut out in another way."
        elif old.views != tuple(self.options.views):
            self.report.rebuilt = f"Its images were described in other views ({', '.join(old.views)})."
        else:
            return old
        return None

    def _known(self) -> dict[str, list[_Row]]:
        """Group what is described already by the hash of its file; a group of which a picture is gone is left out."""
        known: dict[str, list[_Row]] = {}
        for fresh, records in ((False, self.old.records if self.old else ()), (True, self.journal.records)):
            found: dict[str, list[_Row]] = {}
            for row, record in enumerate(records):
                found.setdefault(record.sha256, []).append(_Row(record, _Place(fresh, row)))
            for digest, group in found.items():
                if digest not in known and all(self._is_stored(row.record) for row in group):
                    known[digest] = group
        return known

    def _is_stored(self, record: ImageRecord) -> bool:
        return inside(self.out, record.path, GalleryError).is_file()

    def index(self, found: Found) -> IndexReport:
        """Describe what is new, and write the gallery."""
        report, files = self.report, found.images
        report.unread = found.unread
        for done, read in enumerate(self._read_all(files), start=1):
            self._take(read)
            self.options.progress(done, len(files))
        if self.waiting[0]:
            self._describe_waiting()
        if not self.rows:
            raise NoImagesError(self._nothing(len(files)))
        self.rows.sort(key=lambda row: row.record.path)
        report.removed = sum(record.sha256 not in self.seen for record in self.old.records) if self.old else 0
        report.total = len(self.rows)
        if self._changed():
            self._write()
        self.journal.remove()
        self._clean()
        report.exact = galleries.read_meta(self.out).index.kind != "compressed"
        return report

    def _nothing(self, count: int) -> str:
        """Say that no image could be read, and the most frequent reasons."""
        skipped = self.report.skipped
        what = "hold a person that could be found" if self.options.finder and not skipped else "could be read"
        reasons = Counter(reason for _, reason in skipped).most_common(REASONS)
        told = " ".join(f"{number} x: {reason}" for reason, number in reasons)
        return f"None of the {count} images under {str(self.source)!r} {what}. {told}".rstrip()

    def _take(self, read: _Read) -> None:
        """Count one file, keep what is known of it, and let what is new wait for the network."""
        report = self.report
        if read.error:
            report.skipped.append((read.path, read.error))
            return
        if read.digest in self.seen:
            report.duplicates += 1
            return
        try:
            stored = [(self._store(read, cut), cut.image) for cut in read.cuts]
            known = self.known.get(read.digest, ())
            kept = [replace(row, record=self._renamed(row.record, read.path)) for row in known]
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            report.skipped.append((read.path, "Its name is too long. Rename it or its folders."))
            return
        self.seen.add(read.digest)
        fresh = sum(row.place.fresh for row in kept)
        self.rows += kept
        report.added += fresh + len(stored)
        report.resumed += fresh
        report.kept += len(kept) - fresh
        self._wait(stored)
        if (read.known and read.digest in self.blank) or not (read.known or read.cuts):
            self.blank_now.add(read.digest)
            report.empty += 1

    def _wait(self, stored: list[tuple[ImageRecord, np.ndarray]]) -> None:
        self.waiting[-1].extend(stored)
        if len(self.waiting[-1]) < self.describer.batch_size:  # a frame's people are never torn apart
            return
        if len(self.waiting) == self.at_once:
            self._describe_waiting()
        else:
            self.waiting.append([])

    def _describe_waiting(self) -> None:
        batches = [batch for batch in self.waiting if batch]
        for batch, descriptors in zip(batches, self._describe(batches), strict=True):
            for (record, _), row in zip(batch, self.journal.append(batch, descriptors), strict=True):
                self.rows.append(_Row(record, _Place(True, row)))
        self.waiting = [[]]

    def _describe(self, batches: list[list[tuple[ImageRecord, np.ndarray]]]) -> list[list[Descriptor]]:
        pictures = [[image for _, image in batch] for batch in batches]
        if self.options.helpers:
            return self.options.helpers.describe(pictures)
        return [list(describe_in_views(self.describer, batch, self.options.views)) for batch in pictures]

    def _read_all(self, files: list[Path]) -> Iterator[_Read]:
        with ThreadPoolExecutor(READERS * self.at_once) as pool:
            yield from _ahead(pool, self._read, files, 2 * self.describer.batch_size * self.at_once)

    def _read(self, path: Path) -> _Read:
        read = _Read(path.relative_to(self.source).as_posix())
        try:
            read.path.encode("utf-8")
            if path.stat().st_size > MAX_BYTES:
                raise ImageError(f"The file is larger than {MAX_BYTES >> 20} MB. Use a smaller image.")
            content = path.read_bytes()
            read.digest = hashlib.sha256(content).hexdigest()
            read.known = read.digest in self.known or read.digest in self.blank
            if not read.known:
                read.cuts = list(self._cuts(content))
        except UnicodeEncodeError:
            read.path = printable(read.path)
            read.error = "Its name is not valid text. Rename the file."
        except ImageError as error:
            read.error = str(error)
        except OSError as error:
            read.error = f"The file cannot be read ({error.strerror})."
        return read

    def _cuts(self, content: bytes) -> Iterator[_Cut]:
        """Yield each picture to store: the whole image, or the people found in it."""
        image = read_image(content)
        if self.options.finder is None:
            yield _Cut(None, (image.shape[1], image.shape[0]), *_stored(image, content))
            return
        for found in self.options.finder.find(image):
            x0, y0, x1, y1 = found.box
            yield _Cut(found.box, (x1 - x0, y1 - y0), *_stored(np.ascontiguousarray(image[y0:y1, x0:x1])))

    def _target(self, path: str) -> Path:
        """Return where a picture is stored; its folder is made, and is never one outside of the gallery."""
        target = inside(self.out, path, GalleryError)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _store(self, read: _Read, cut: _Cut) -> ImageRecord:
        path = _place(read.path, read.digest, cut.box)
        self._target(path).write_bytes(cut.content)
        pid, camid = market_ids(Path(read.path).name)
        width, height = cut.size
        frame = read.path if cut.box else ""
        return ImageRecord(path, None if cut.box else pid, camid, width, height, read.digest, frame, cut.box)

    def _renamed(self, record: ImageRecord, relative: str) -> ImageRecord:
        """Follow a file that has another name than when it was described."""
        path = _place(relative, record.sha256, record.box)
        if path == record.path:
            return record
        shutil.copyfile(inside(self.out, record.path, GalleryError), self._target(path))
        pid, camid = market_ids(Path(relative).name)
        frame = relative if record.box else ""
        return replace(record, path=path, pid=None if record.box else pid, camid=camid, frame=frame)

    def _changed(self) -> bool:
        """Tell whether the gallery to write differs from the one that is there."""
        old, options = self.old, self.options
        if old is None or [row.record for row in self.rows] != old.records:
            return True
        if old.scoring != self.scoring or old.meta["format_version"] != galleries.FORMAT_VERSION:
            return True
        address = old.meta.get("index", {}).get("address")
        return (options.name or old.name) != old.name or address != options.store or self.blank_now != self.blank

    def _write(self) -> None:
        options = self.options
        name = options.name or (self.old.name if self.old else self.out.name)
        blank = self.blank_now if options.finder else ()
        about = store.About(self.fingerprint, name, self.scoring, options.views, self.finder_name, sorted(blank))
        storage = store.Storage(options.store, options.exact_limit, options.say)
        store.write(self.out, [row.record for row in self.rows], self._blocks(), about, storage)

    def _blocks(self) -> store.Blocks:
        """Yield the stored descriptors of the rows, from the old gallery and from the journal."""
        for start in range(0, len(self.rows), store.BLOCK):
            places = [row.place for row in self.rows[start : start + store.BLOCK]]
            parts = presence = None
            for fresh, source in ((False, self.old), (True, self.journal)):
                at = np.flatnonzero([place.fresh == fresh for place in places])
                if len(at):
                    some_parts, some_presence = source.rows(np.array([places[i].row for i in at]))
                    if parts is None:
                        parts = np.empty((len(places), *some_parts.shape[1:]), np.float16)
                        presence = np.empty((len(places), *some_presence.shape[1:]), np.float32)
                    parts[at], presence[at] = some_parts, some_presence
            yield parts, presence

    def _clean(self) -> None:
        """Delete stored pictures that only earlier records name, and the folders that this leaves empty."""
        for path in self.named - {row.record.path for row in self.rows}:
            target = inside(self.out, path, GalleryError)
            if not target.is_relative_to(self.out / IMAGES):
                continue
            target.unlink(missing_ok=True)
            for folder in target.parents:
                if folder == self.out / IMAGES or not folder.is_dir() or any(folder.iterdir()):
                    break
                folder.rmdir()


def _place(relative: str, digest: str, box: tuple[int, int, int, int] | None) -> str:
    """Return where the gallery keeps the picture of a file, or of a person in it."""
    path = Path(relative)
    cut = "" if box is None else ".{}-{}-{}-{}".format(*box)
    mark = f".{digest[:8]}"
    # A gallery's own picture keeps its name when it is described anew.
    stem = cut_to_bytes(path.stem.removesuffix(mark), MAX_STEM)
    return (Path(IMAGES) / path.parent / f"{stem}{mark}{cut}.jpg").as_posix()


def _stored(image: np.ndarray, content: bytes | None = None) -> tuple[np.ndarray, bytes]:
    """Return the picture that the gallery keeps, decoded and as a file: small JPEGs byte for byte, all else as JPEG.

    Descriptors are made of what is kept, so that a gallery image finds itself.
    """
    if content is not None and max(image.shape) <= PROBE_SIDE:
        picture = load_picture(content)
        if picture.format == "JPEG" and picture.mode == "RGB" and not picture.getexif():
            return image, content
    buffer = io.BytesIO()
    Image.fromarray(shrunk(image)).save(buffer, "JPEG", quality=95, subsampling=0)
    return read_image(buffer.getvalue()), buffer.getvalue()


def _ahead(pool: ThreadPoolExecutor, function: Callable, items: Iterable, window: int) -> Iterator:
    """Map in order, at most `window` items ahead of the one asked for."""
    running: deque = deque()
    try:
        for item in items:
            running.append(pool.submit(function, item))
            if len(running) > window:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()
