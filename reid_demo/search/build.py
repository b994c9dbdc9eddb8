"""A folder of images becomes a gallery: incremental, resumable, one writer at a time, bad files reported.

What is described goes at once into a journal inside the gallery's folder; the gallery itself is replaced in one step at
the end. A killed run leaves the old gallery as it was, and the next run takes the journal up.
"""

import hashlib
import io
import json
import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image

from reid_demo.errors import GalleryError, ImageError
from reid_demo.images import MAX_BYTES, PROBE_SIDE, load_picture, looks_like_image, read_image, shrunk
from reid_demo.model.describer import Describer
from reid_demo.records import Descriptor, ImageRecord, Scoring
from reid_demo.search import gallery as galleries
from reid_demo.search import milvus
from reid_demo.search.gallery_views import VIEWS, describe_in_views
from reid_demo.search.similarity import own_scoring

MARKET_NAME = re.compile(r"^(-?\d+)_c(\d+)")  # 0002_c1s1_000451_03.jpg
MAX_STEM = 100  # characters of a file's name kept in the gallery
LOCK, JOURNAL = ".lock", ".journal"
READERS = 2  # threads that read and decode ahead of the network


@dataclass
class IndexReport:
    """What `index_folder` did."""

    added: int = 0  # images described and taken in, by this run or by one it took up
    kept: int = 0  # images known before, not described again
    removed: int = 0  # images of the gallery whose file is gone
    duplicates: int = 0  # files with the content of another
    skipped: list[tuple[str, str]] = field(default_factory=list)  # (path, reason)
    empty: int = 0  # frames in which nobody was found
    resumed: int = 0  # of `added`, described by a run that was stopped
    rebuilt: str = ""  # why nothing of an earlier gallery could be kept
    total: int = 0
    exact: bool = True  # whether a search compares every image
    seconds: float = 0.0


def market_ids(name: str) -> tuple[int | None, int | None]:
    """Read (pid, camid) from a Market-1501 file name, (None, None) where it is not one."""
    found = MARKET_NAME.match(name)
    return (int(found.group(1)), int(found.group(2))) if found else (None, None)


def index_folder(
    source: str | Path,
    out: str | Path,
    describer: Describer,
    fingerprint: str,
    *,
    name: str | None = None,
    finder=None,
    store: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda line: None,
    exact_limit: int | None = None,
    helpers=None,
    scoring: Scoring | None = None,
    views: Sequence[str] = VIEWS,
) -> IndexReport:
    """Build or update the gallery `out` from the images under `source`.

    Files known by content are not described again; vanished ones leave; equal contents are kept once. Files that no
    reader knows by their suffix, and hidden ones, are not looked at.

    Args:
        source: folder of images, searched with all folders below it.
        out: the gallery's folder; made if missing.
        describer: of the weights in use.
        fingerprint: of these weights; a gallery made by others is described anew.
        name: shown on the page.
        finder: cuts people out of whole frames (`finder.open_finder`); without one, each image is one person.
        store: a `milvus://` address for the vectors; a file in the gallery otherwise.
        progress: gets (files done, files in all).
        say: gets lines about what takes long after the last file.
        exact_limit: the largest gallery that is compared image by image; `vectors.EXACT_LIMIT` where None.
        helpers: other processes that describe batches as well (`parallel.Helpers`); the gallery is the same.
        scoring: the gallery's similarity, with all parts; the model's own where None.
        views: in which every image is described; a gallery of other views is described anew. The helpers' too.

    Raises:
        GalleryError: no images, another run at work, no space, or `out` is not a gallery folder.
    """
    start = time.monotonic()
    source, out = Path(source).resolve(), Path(out).resolve()
    if not source.is_dir():
        raise GalleryError(f"{str(source)!r} is not a folder. Name the folder that holds the images.")
    if out == source:
        raise GalleryError("The gallery cannot be written into the folder of the images. Name another --out.")
    if out.exists() and not _is_ours(out):
        raise GalleryError(f"The folder {out.name!r} holds something else than a gallery. Name an empty --out.")
    files = _image_files(source, out)
    if not files:
        raise GalleryError(f"No images were found under {str(source)!r}.")
    if store:
        milvus.check(store)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(out / LOCK, timeout=0):
            run = _Run(source, out, describer, fingerprint, finder, store, exact_limit, helpers, scoring, views)
            report = run.index(files, name, progress, say)
    except Timeout as error:
        raise GalleryError(f"Another `index` is writing {out.name!r}. Wait for it to end.") from error
    except OSError as error:
        raise GalleryError(
            f"The gallery {out.name!r} cannot be written ({error.strerror or error}). Make room or name another --out; "
            "a new run goes on where this one stopped."
        ) from error
    report.seconds = round(time.monotonic() - start, 2)
    return report


def _is_ours(out: Path) -> bool:
    """Say whether files of a folder may be replaced: it holds a gallery, an unfinished one, or nothing."""
    if not out.is_dir():
        return False
    return (out / galleries.META).is_file() or (out / JOURNAL).is_dir() or {p.name for p in out.iterdir()} <= {LOCK}


def holds_images(source: Path) -> bool:
    """Say whether a folder, or a folder below it, holds a file that looks like an image by its suffix."""
    return bool(_image_files(source, source / JOURNAL))


def _image_files(source: Path, out: Path) -> list[Path]:
    return sorted(
        path
        for path in source.rglob("*")
        if looks_like_image(path.name)
        and not path.is_relative_to(out)
        and not any(part.startswith(".") for part in path.relative_to(source).parts)
        and path.is_file()
    )


@dataclass
class _Read:
    """One file, read and decoded; the images are what the gallery will store."""

    path: str  # relative to the source, with /
    digest: str = ""
    error: str = ""
    known: bool = False
    cuts: list[tuple[tuple[int, int, int, int] | None, tuple[int, int], np.ndarray, bytes]] = field(
        default_factory=list
    )
    # box in the frame or None, (width, height) in image px, (H, W, 3) uint8 as stored, the stored file


class _Run:
    """One run of `index_folder` under its lock."""

    def __init__(
        self, source, out, describer, fingerprint, finder, store, exact_limit, helpers, scoring, views
    ) -> None:
        self.source, self.out, self.describer, self.fingerprint = source, out, describer, fingerprint
        self.finder, self.store, self.exact_limit = finder, store, exact_limit
        self.scoring = scoring or own_scoring(describer.model.config)
        self.views = tuple(views)
        self.helpers, self.at_once = helpers, helpers.size if helpers else 1  # batches at a time
        self.report = IndexReport()
        self.finder_name = finder.name if finder else ""
        for left in out.glob(".writing-*"):
            shutil.rmtree(left)
        self.old = self._open_old()
        made_with = {"fingerprint": fingerprint, "finder": self.finder_name, "views": list(views)}
        self.journal = _Journal(out / JOURNAL, made_with)
        # digest of a file -> its records, each with (0, row of the old gallery) or (1, row of the journal)
        self.known: dict[str, list[tuple[ImageRecord, tuple[int, int]]]] = {}
        for place, records in ((0, self.old.records if self.old else ()), (1, self.journal.records)):
            found: dict[str, list] = {}
            for row, record in enumerate(records):
                found.setdefault(record.sha256, []).append((record, (place, row)))
            for digest, group in found.items():
                if digest not in self.known and all((out / record.path).is_file() for record, _ in group):
                    self.known[digest] = group
        self.blank: set[str] = set(self.old.meta.get("empty_frames", ()) if self.old else ())

    def _open_old(self) -> galleries.Gallery | None:
        """Give the gallery whose descriptors may be kept."""
        galleries.finish(self.out)
        if not (self.out / galleries.META).is_file():
            return None
        try:
            old = galleries.load(self.out)
        except GalleryError as error:
            self.report.rebuilt = str(error).split(" Rebuild it")[0]
            return None
        if old.fingerprint != self.fingerprint:
            self.report.rebuilt = f"It was made by other weights ({old.fingerprint}, now {self.fingerprint})."
        elif old.meta.get("finder", "") != self.finder_name:
            self.report.rebuilt = "Its people were cut out in another way."
        elif old.views != self.views:
            self.report.rebuilt = f"Its images were described in other views ({', '.join(old.views)})."
        else:
            return old
        return None

    def index(self, files: list[Path], name: str | None, progress: Callable, say: Callable) -> IndexReport:
        report = self.report
        rows: list[tuple[ImageRecord, tuple[int, int]]] = []
        waiting: list[list[tuple[ImageRecord, np.ndarray]]] = [[]]  # batches; the last one is filling
        seen: set[str] = set()
        blank: set[str] = set()

        def describe_waiting() -> None:
            batches = [batch for batch in waiting if batch]
            for batch, descriptors in zip(batches, self._describe(batches), strict=True):
                for (record, _), place in zip(batch, self.journal.append(batch, descriptors), strict=True):
                    rows.append((record, (1, place)))
            waiting[:] = [[]]

        for done, read in enumerate(self._read_all(files), start=1):
            if read.error:
                report.skipped.append((read.path, read.error))
            elif read.digest in seen:
                report.duplicates += 1
            else:
                seen.add(read.digest)
                if read.known:
                    for record, place in self.known.get(read.digest, ()):
                        rows.append((self._renamed(record, read.path), place))
                        fresh = place[0] == 1
                        report.added, report.kept = report.added + fresh, report.kept + (not fresh)
                        report.resumed += fresh
                elif read.cuts:
                    stored = [(self._store(read, cut), cut[2]) for cut in read.cuts]
                    report.added += len(stored)
                    waiting[-1].extend(stored)
                    if len(waiting[-1]) >= self.describer.batch_size:  # a frame's people are never torn apart
                        if len(waiting) == self.at_once:
                            describe_waiting()
                        else:
                            waiting.append([])
                if (read.known and read.digest in self.blank) or not (read.known or read.cuts):
                    blank.add(read.digest)
                    report.empty += 1
            progress(done, len(files))
        if waiting[0]:
            describe_waiting()
        if not rows:
            what = "hold a person that could be found" if self.finder and not report.skipped else "could be read"
            raise GalleryError(f"None of the {len(files)} images under {str(self.source)!r} {what}.")
        rows.sort(key=lambda row: row[0].path)
        report.removed = sum(record.sha256 not in seen for record in self.old.records) if self.old else 0
        report.total = len(rows)
        if self._changed(rows, name, blank):
            self._write(rows, name, blank, say)
        self.journal.remove()
        self._clean({record.path for record, _ in rows})
        report.exact = (
            json.loads((self.out / galleries.META).read_text(encoding="utf-8"))["index"]["kind"] != "compressed"
        )
        return report

    def _describe(self, batches: list[list[tuple[ImageRecord, np.ndarray]]]) -> list[list[Descriptor]]:
        pictures = [[image for _, image in batch] for batch in batches]
        if self.helpers:
            return self.helpers.describe(pictures)
        return [list(describe_in_views(self.describer, batch, self.views)) for batch in pictures]

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
            read.path = read.path.encode("utf-8", "backslashreplace").decode("utf-8")
            read.error = "Its name is not valid text. Rename the file."
        except ImageError as error:
            read.error = str(error)
        except OSError as error:
            read.error = f"The file cannot be read ({error.strerror})."
        return read

    def _cuts(self, content: bytes) -> Iterator[tuple]:
        """Give each picture to store: the whole image, or the people found in it."""
        image = read_image(content)
        if self.finder is None:
            yield None, (image.shape[1], image.shape[0]), *_stored(image, content)
            return
        for found in self.finder.find(image):
            x0, y0, x1, y1 = found.box
            yield found.box, (x1 - x0, y1 - y0), *_stored(np.ascontiguousarray(image[y0:y1, x0:x1]))

    def _store(self, read: _Read, cut: tuple) -> ImageRecord:
        box, (width, height), _, content = cut
        frame = read.path if box else ""
        path = _place(read.path, read.digest, box)
        target = self.out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        pid, camid = market_ids(Path(read.path).name)
        return ImageRecord(path, None if box else pid, camid, width, height, read.digest, frame, box)

    def _renamed(self, record: ImageRecord, relative: str) -> ImageRecord:
        """Follow a file that has another name than when it was described."""
        path = _place(relative, record.sha256, record.box)
        if path == record.path:
            return record
        target = self.out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.out / record.path, target)
        pid, camid = market_ids(Path(relative).name)
        frame = relative if record.box else ""
        return replace(record, path=path, pid=None if record.box else pid, camid=camid, frame=frame)

    def _changed(self, rows: list, name: str | None, blank: set[str]) -> bool:
        if self.old is None or [record for record, _ in rows] != self.old.records:
            return True
        kind = self.old.meta.get("index", {}).get("address")
        if self.old.scoring != self.scoring or self.old.meta["format_version"] != galleries.FORMAT_VERSION:
            return True
        return (name or self.old.name) != self.old.name or kind != self.store or blank != self.blank

    def _write(self, rows: list, name: str | None, blank: set[str], say: Callable) -> None:
        def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for start in range(0, len(rows), galleries.BLOCK):
                places = np.array([place for _, place in rows[start : start + galleries.BLOCK]])
                parts = presence = None
                for which, source in ((0, self.old), (1, self.journal)):
                    at = np.flatnonzero(places[:, 0] == which)
                    if len(at):
                        some_parts, some_presence = source.rows(places[at, 1])
                        if parts is None:
                            parts = np.empty((len(places), *some_parts.shape[1:]), np.float16)
                            presence = np.empty((len(places), *some_presence.shape[1:]), np.float32)
                        parts[at], presence[at] = some_parts, some_presence
                yield parts, presence

        galleries.write(
            self.out,
            [record for record, _ in rows],
            blocks(),
            fingerprint=self.fingerprint,
            scoring=self.scoring,
            views=self.views,
            name=name or (self.old.name if self.old else self.out.name),
            more={"finder": self.finder_name, "empty_frames": sorted(blank)} if self.finder else None,
            store=self.store,
            say=say,
            exact_limit=self.exact_limit,
        )

    def _clean(self, kept: set[str]) -> None:
        """Take away stored pictures that no record names, and the folders that this leaves empty."""
        folder = self.out / "images"
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.relative_to(self.out).as_posix() not in kept:
                path.unlink()


class _Journal:
    """Descriptors of the run at work, appended as they come: what a killed run has done is not done again."""

    def __init__(self, folder: Path, made_with: dict) -> None:
        self.folder, self.records, self._shape = folder, [], None
        self._about = made_with
        about = folder / "about.json"
        if about.is_file():
            said = json.loads(about.read_text(encoding="utf-8"))
            if {key: said.get(key) for key in made_with} == made_with:
                self._shape = (said["terms"], said["dim"])
                self._take_up()
                return
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()

    def _take_up(self) -> None:
        """Read what is whole; a torn end is cut off."""
        terms, dim = self._shape
        lines = (self.folder / "records.jsonl").read_bytes().split(b"\n")[:-1]
        sizes = {"parts.f16": 2 * terms * dim, "presence.f32": 4 * (terms - 1)}
        whole = [len(lines), *((self.folder / n).stat().st_size // size for n, size in sizes.items() if size)]
        count = min(whole)
        records = [galleries.read_record(line) for line in lines[:count]]
        if records and records[-1].box is not None:  # of the last frame, others may be missing
            last = records[-1].sha256
            count = next(row for row, record in enumerate(records) if record.sha256 == last)
        for file_name, size in (*sizes.items(), ("records.jsonl", None)):
            length = count * size if size is not None else sum(len(line) + 1 for line in lines[:count])
            with open(self.folder / file_name, "r+b") as file:
                file.truncate(length)
        self.records = records[:count]

    def append(self, waiting: list[tuple[ImageRecord, np.ndarray]], descriptors: list[Descriptor]) -> range:
        """Add a batch; give its rows."""
        if self._shape is None:
            self._shape = descriptors[0].parts.shape
            terms, dim = self._shape
            for file_name in ("records.jsonl", "parts.f16", "presence.f32"):
                (self.folder / file_name).touch()
            about = json.dumps({**self._about, "terms": terms, "dim": dim})
            (self.folder / "about.tmp").write_text(about, encoding="utf-8")
            (self.folder / "about.tmp").replace(self.folder / "about.json")
        first = len(self.records)
        parts = np.stack([d.parts for d in descriptors]).astype("<f2")
        presence = np.stack([d.presence for d in descriptors]).astype("<f4")
        lines = "".join(json.dumps(asdict(record), ensure_ascii=False) + "\n" for record, _ in waiting)
        chunks = (
            ("parts.f16", parts.tobytes()),
            ("presence.f32", presence.tobytes()),
            ("records.jsonl", lines.encode()),
        )
        for file_name, data in chunks:  # records last: a row counts when its line is whole
            with open(self.folder / file_name, "ab") as file:
                file.write(data)
        self.records.extend(record for record, _ in waiting)
        return range(first, len(self.records))

    def rows(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give `(n, P+1, D)` float16 and `(n, P)` float32."""
        terms, dim = self._shape
        count = len(self.records)
        parts = np.memmap(self.folder / "parts.f16", "<f2", "r", shape=(count, terms, dim))[numbers]
        if terms == 1:
            return parts, np.zeros((len(numbers), 0), np.float32)
        return parts, np.memmap(self.folder / "presence.f32", "<f4", "r", shape=(count, terms - 1))[numbers]

    def remove(self) -> None:
        """Forget everything: the gallery holds it now."""
        shutil.rmtree(self.folder)


def _place(relative: str, digest: str, box: tuple[int, int, int, int] | None) -> str:
    """Give where the gallery keeps the picture of a file, or of a person in it."""
    path = Path(relative)
    cut = "" if box is None else ".{}-{}-{}-{}".format(*box)
    mark = f".{digest[:8]}"
    stem = path.stem.removesuffix(mark)[:MAX_STEM]  # a gallery's own picture keeps its name when it is described anew
    return (Path("images") / path.parent / f"{stem}{mark}{cut}.jpg").as_posix()


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
