"""Build a gallery from a folder of images: incremental, resumable, one writer at a time, bad files reported.

Descriptors go at once into a journal inside the gallery's folder; the gallery itself is replaced in one step at the
end. A killed run leaves the old gallery unchanged, and the next run resumes from the journal.
"""

import contextvars
import errno
import hashlib
import io
import os
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image

from reid_demo.data.files import read_json_lines
from reid_demo.data.layouts import market_ids
from reid_demo.errors import DatasetError, GalleryError, ImageError, NoImagesError, NotWritableError
from reid_demo.images import MAX_BYTES, PROBE_SIDE, carries_exif, inside, opened, read_image, shrunk
from reid_demo.model.describer import Describer
from reid_demo.records import Descriptor, ImageRecord, Scoring
from reid_demo.search import gallery as galleries
from reid_demo.search import milvus, store, vectors
from reid_demo.search.gallery_views import describe_in_views, own_views
from reid_demo.search.journal import FOLDER as JOURNAL
from reid_demo.search.journal import Journal, MadeWith
from reid_demo.search.scan import Found, cut_to_bytes, printable, scan
from reid_demo.search.similarity import own_scoring

MAX_STEM = 100  # bytes of a file's stem kept in its name in the gallery
IMAGES, LOCK = "images", ".lock"
OF_DESKTOPS = {".DS_Store", "desktop.ini", "Thumbs.db"}  # what file managers leave in a folder that was looked into
READERS = 2  # threads that read and decode ahead of the network
JPEG_START = b"\xff\xd8"
REASONS = 3  # number of reasons in the message if no image could be read


@dataclass
class IndexReport:
    """What `index_folder` did."""

    added: int = 0  # new images, described by this run or by the stopped run it resumed
    kept: int = 0  # images already in the gallery, not described again
    removed: int = 0  # images whose file is gone
    duplicates: int = 0  # files with the same content as another
    skipped: list[tuple[str, str]] = field(default_factory=list)  # (path, reason) of pictures that could not be used
    unread: list[tuple[str, str]] = field(default_factory=list)  # (path, reason) of files and folders not opened
    empty: int = 0  # frames in which no person was found
    resumed: int = 0  # how many of `added` a stopped run had described
    rebuilt: str = ""  # why the earlier gallery or the stopped run could not be reused
    total: int = 0  # images in the gallery
    exact: bool = True  # whether a search compares every image
    seconds: float = 0.0


@dataclass(frozen=True)
class IndexOptions:
    """How to build a gallery."""

    name: str | None = None  # shown on the page; None: the old gallery's name, else the folder's
    finder: object = None  # cuts people out of whole frames (`detector.open_finder`); None: each image is one person
    store: str | None = None  # a `milvus://` address for the vectors; None: a file in the gallery
    exact_limit: int | None = None  # images in the largest exact gallery; None: `vectors.EXACT_LIMIT`
    scoring: Scoring | None = None  # the gallery's similarity; None: the model's own
    views: Sequence[str] | None = None  # in which every image is described, as by helpers; None: the model's own
    helpers: object = None  # other processes that share the describing (`distributed.Helpers`); same result
    progress: Callable[[int, int], None] = lambda done, total: None  # called with (files done, files in all)
    say: Callable[[str], None] = lambda line: None  # called with lines about long steps after the last file


def index_folder(
    source: str | Path, out: str | Path, describer: Describer, fingerprint: str, options: IndexOptions = IndexOptions()
) -> IndexReport:
    """Build or update the gallery `out` from the images under `source`.

    Files whose content is in the gallery are not described again, images whose file is gone are removed, and files of
    equal content are kept once.

    Args:
        source: folder of images, searched recursively.
        out: the gallery's folder; created if missing.
        describer: of the weights in use.
        fingerprint: of these weights; a gallery made with others, or in other views, is rebuilt.
        options: see `IndexOptions`.

    Raises:
        NoImagesError: no image could be read, or no person found.
        GalleryError: no images, another run is writing, no space, or `out` is not a gallery folder.
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
            f"The gallery {out.name!r} cannot be written ({error.strerror or error}). Make room or name another --out. "
            "Run `index` again to resume."
        ) from error
    report.seconds = round(time.monotonic() - start, 2)
    return report


def _check_folders(source: Path, out: Path) -> None:
    if not source.is_dir():
        raise GalleryError(f"{str(source)!r} is not a folder. Name the folder that holds the images.")
    if out == source:
        raise GalleryError("The gallery cannot be written into the folder of the images. Name another --out.")
    if out.exists() and not _is_ours(out):
        raise GalleryError(f"The folder {out.name!r} holds something other than a gallery. Name an empty --out.")
    if (out / IMAGES).is_symlink():
        raise GalleryError(f"{IMAGES!r} in {out.name!r} is a link to another folder. Name an empty --out.")


def _is_ours(out: Path) -> bool:
    """Return whether `index` may write into a folder: it holds a gallery, an unfinished one, or nothing."""
    if not out.is_dir():
        return False
    if (out / galleries.META).is_file():
        try:
            galleries.read_meta(out)
        except GalleryError:  # damaged, or another program's meta.json
            return False
        return (out / galleries.RECORDS).is_file()
    names = {path.name for path in out.iterdir() if not path.name.startswith(".writing-")} - OF_DESKTOPS
    return names <= {LOCK} or (out / JOURNAL).is_dir() and names <= {LOCK, JOURNAL, IMAGES, galleries.READY}


def holds_images(source: Path) -> bool:
    """Return whether a folder or one below it holds a file with the suffix of an image."""
    return bool(scan(source, source / JOURNAL).images)


@dataclass(frozen=True)
class _Cut:
    """One picture to store: a whole image, or a person found in a frame."""

    box: tuple[int, int, int, int] | None  # in the frame, image px
    size: tuple[int, int]  # (width, height) before any shrinking, image px
    image: np.ndarray  # (H, W, 3) uint8, decoded from `content`
    content: bytes  # the file to store


@dataclass
class _Read:
    """One file, read and decoded."""

    path: str  # relative to the source, with / as separator
    digest: str = ""  # SHA-256
    error: str = ""  # why it is skipped
    known: bool = False  # its content was described before
    cuts: list[_Cut] = field(default_factory=list)


@dataclass(frozen=True)
class _Place:
    """Where the descriptor of an image is stored."""

    fresh: bool  # in the journal; otherwise in the old gallery
    row: int


@dataclass(frozen=True)
class _Row:
    """One image of the gallery to write."""

    record: ImageRecord
    place: _Place


Batch = list[tuple[ImageRecord, np.ndarray]]  # pictures with their records


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
        self.views = tuple(options.views or own_views(describer.model.config))
        self.at_once = options.helpers.size if options.helpers else 1  # batches described in parallel
        self.finder_name = options.finder.name if options.finder else ""
        self.report = IndexReport()
        for left in out.glob(".writing-*"):
            shutil.rmtree(left)
        self.named: set[str] = set()  # pictures that an earlier run stored; only these may be deleted
        self.old = self._open_old()
        self.journal = Journal(out / JOURNAL, MadeWith(fingerprint, self.finder_name, self.views))
        self.report.rebuilt = " ".join(filter(None, (self.report.rebuilt, self.journal.damaged)))
        self.named |= self.journal.noted
        self.known = self._known()
        self.blank: set[str] = set(self.old.meta.get("empty_frames", ()) if self.old else ())
        self.rows: list[_Row] = []
        self.seen: set[str] = set()
        self.blank_now: set[str] = set()
        self.waiting: list[Batch] = [[]]  # to describe
        self.running: tuple[list[Batch], Future] | None = None  # what the network describes meanwhile
        self.network = ThreadPoolExecutor(1, "describe")

    def _open_old(self) -> galleries.Gallery | None:
        """Return the old gallery if its descriptors can be reused, else set `report.rebuilt`."""
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
            self.report.rebuilt = "Its people were found in another way."
        elif old.views != self.views:
            self.report.rebuilt = f"Its images were described in other views ({', '.join(old.views)})."
        else:
            return old
        return None

    def _known(self) -> dict[str, list[_Row]]:
        """Group the described images by the hash of their file; leave out groups with a missing picture."""
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
        """Describe the new images and write the gallery."""
        report, files = self.report, found.images
        report.unread = found.unread
        with self.network:
            for done, read in enumerate(self._read_all(files), start=1):
                self._take(read)
                self.options.progress(done, len(files))
            if self.waiting[0]:
                self._describe_waiting()
            self._keep_described()
        if not self.rows:
            raise NoImagesError(self._nothing(len(files)))
        self.rows.sort(key=lambda row: row.record.path)
        report.removed = sum(record.sha256 not in self.seen for record in self.old.records) if self.old else 0
        report.total = len(self.rows)
        gone = self.named - {row.record.path for row in self.rows}
        self.journal.note(gone)
        if self._changed():
            self._write()
        self._clean(gone)
        self.journal.remove()
        report.exact = galleries.read_meta(self.out).index.kind != vectors.COMPRESSED
        return report

    def _nothing(self, count: int) -> str:
        """Return the message for a run without a usable image, with the most frequent reasons."""
        skipped = self.report.skipped
        what = "hold a person that could be found" if self.options.finder and not skipped else "could be read"
        reasons = Counter(reason for _, reason in skipped).most_common(REASONS)
        told = " ".join(f"{number} x: {reason}" for reason, number in reasons)
        return f"None of the {count} images under {str(self.source)!r} {what}. {told}".rstrip()

    def _take(self, read: _Read) -> None:
        """Count one file, reuse its descriptors if known, else queue its pictures for the network."""
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

    def _wait(self, stored: Batch) -> None:
        self.waiting[-1].extend(stored)
        if len(self.waiting[-1]) < self.describer.batch_size:  # all people of a frame stay in one batch
            return
        if len(self.waiting) == self.at_once:
            self._describe_waiting()
        else:
            self.waiting.append([])

    def _describe_waiting(self) -> None:
        """Hand what waits to the network, once it has described what it had; go on reading meanwhile."""
        self._keep_described()
        batches, self.waiting = [batch for batch in self.waiting if batch], [[]]
        if self.options.helpers:  # their messages belong to the thread that joined the team
            described = Future()
            described.set_result(self._describe(batches))
        else:
            described = self.network.submit(contextvars.copy_context().run, self._describe, batches)
        self.running = batches, described

    def _keep_described(self) -> None:
        """Wait for what the network describes, and write it to the journal."""
        if self.running is None:
            return
        (batches, described), self.running = self.running, None
        for batch, descriptors in zip(batches, described.result(), strict=True):
            for (record, _), row in zip(batch, self.journal.append(batch, descriptors), strict=True):
                self.rows.append(_Row(record, _Place(True, row)))

    def _describe(self, batches: list[Batch]) -> list[list[Descriptor]]:
        pictures = [[image for _, image in batch] for batch in batches]
        if self.options.helpers:
            return self.options.helpers.describe(pictures)
        return [list(describe_in_views(self.describer, batch, self.views)) for batch in pictures]

    def _read_all(self, files: list[Path]) -> Iterator[_Read]:
        with ThreadPoolExecutor(READERS * self.at_once) as pool:
            yield from _ahead(pool, self._read, files, 2 * self.describer.batch_size * self.at_once)

    def _read(self, path: Path) -> _Read:
        read = _Read(path.relative_to(self.source).as_posix())
        try:
            read.path.encode("utf-8")
            market_ids(path.name)  # numbers that no array can hold are refused here, with the file's name
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
        except (ImageError, DatasetError) as error:
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
        """Return the absolute path for a picture; create its folder.

        Raises:
            GalleryError: the path leads outside the gallery.
        """
        target = inside(self.out, path, GalleryError)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _store(self, read: _Read, cut: _Cut) -> ImageRecord:
        path = _place(read.path, read.digest, cut.box)
        self.journal.note([path])
        self._target(path).write_bytes(cut.content)
        pid, camid = market_ids(Path(read.path).name)
        width, height = cut.size
        frame = read.path if cut.box else ""
        return ImageRecord(path, None if cut.box else pid, camid, width, height, read.digest, frame, cut.box)

    def _renamed(self, record: ImageRecord, relative: str) -> ImageRecord:
        """Update a record, and copy its picture, if its source file was renamed."""
        path = _place(relative, record.sha256, record.box)
        if path == record.path:
            return record
        self.journal.note([path])
        shutil.copyfile(inside(self.out, record.path, GalleryError), self._target(path))
        pid, camid = market_ids(Path(relative).name)
        frame = relative if record.box else ""
        return replace(record, path=path, pid=None if record.box else pid, camid=camid, frame=frame)

    def _changed(self) -> bool:
        """Return whether the gallery to write differs from the existing one."""
        old, options = self.old, self.options
        if old is None or [row.record for row in self.rows] != old.records:
            return True
        if old.scoring != self.scoring or old.meta["format_version"] != galleries.FORMAT_VERSION:
            return True
        index = old.meta.get("index", {})
        if (options.name or old.name) != old.name or index.get("address") != options.store:
            return True
        if options.store and not milvus.is_filled(index, len(self.rows)):
            return True
        compressed = options.store is None and len(self.rows) > self._limit
        return (index.get("kind") == vectors.COMPRESSED) != compressed or self.blank_now != self.blank

    @property
    def _limit(self) -> int:
        """Images in the largest exact gallery; one compressed by a limit of its own stays so until another is named."""
        if self.options.exact_limit is not None:
            return self.options.exact_limit
        old = self.old
        squeezed = old is not None and len(old) <= vectors.EXACT_LIMIT
        return 0 if squeezed and old.meta.get("index", {}).get("kind") == vectors.COMPRESSED else vectors.EXACT_LIMIT

    def _write(self) -> None:
        options = self.options
        name = options.name or (self.old.name if self.old else self.out.name)
        blank = self.blank_now if options.finder else ()
        about = store.About(self.fingerprint, name, self.scoring, self.views, self.finder_name, sorted(blank))
        storage = store.Storage(options.store, self._limit, options.say)
        store.write(self.out, [row.record for row in self.rows], self._blocks(), about, storage)

    def _blocks(self) -> store.Blocks:
        """Yield the rows' stored descriptors in blocks, from the old gallery and the journal."""
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

    def _clean(self, gone: set[str]) -> None:
        """Delete stored pictures that the new gallery no longer names, and folders that become empty."""
        for path in gone:
            try:
                target = inside(self.out, path, GalleryError)
            except GalleryError:  # a damaged or hostile listing named somebody else's file
                continue
            # Some were noted and never stored, because their name is too long
            if not target.is_relative_to(self.out / IMAGES) or not os.path.lexists(target):
                continue
            target.unlink()
            for folder in target.parents:
                if folder == self.out / IMAGES or not folder.is_dir() or any(folder.iterdir()):
                    break
                folder.rmdir()


def _place(relative: str, digest: str, box: tuple[int, int, int, int] | None) -> str:
    """Return the path in the gallery, relative to its folder, for the picture of a file or of a person in it."""
    path = Path(relative)
    cut = "" if box is None else ".{}-{}-{}-{}".format(*box)
    mark = f".{digest[:8]}"
    # A picture that already carries this mark, because a gallery's own images are indexed, keeps its name
    stem = cut_to_bytes(path.stem.removesuffix(mark), MAX_STEM)
    return (Path(IMAGES) / path.parent / f"{stem}{mark}{cut}.jpg").as_posix()


def _stored(image: np.ndarray, content: bytes | None = None) -> tuple[np.ndarray, bytes]:
    """Return the picture to store, decoded and as a file: small JPEGs byte for byte, anything else re-encoded as JPEG.

    Descriptors are made from the stored picture, so that a gallery image used as a probe finds itself.
    """
    if content is not None and max(image.shape) <= PROBE_SIDE:
        picture = opened(content) if content.startswith(JPEG_START) else None
        if picture is not None and picture.format == "JPEG" and picture.mode == "RGB" and not carries_exif(picture):
            return image, content
    buffer = io.BytesIO()
    Image.fromarray(shrunk(image)).save(buffer, "JPEG", quality=95, subsampling=0)
    return read_image(buffer.getvalue()), buffer.getvalue()


def _ahead(pool: ThreadPoolExecutor, function: Callable, items: Iterable, window: int) -> Iterator:
    """Map in order in the pool, at most `window` items ahead of the consumer."""
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
