"""A folder of images becomes a gallery: incremental, resumable, one writer at a time, bad files reported."""

import hashlib
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from reid_demo import gallery as galleries
from reid_demo.config import IMAGE_HEIGHT
from reid_demo.describe import Describer
from reid_demo.errors import GalleryError, ImageError
from reid_demo.images import MAX_BYTES, read_image
from reid_demo.records import Descriptor, ImageRecord

MARKET_NAME = re.compile(r"^(-?\d+)_c(\d+)")  # 0002_c1s1_000451_03.jpg
CHUNK = 512  # images between two saves: what a killed run can lose
STORED_HEIGHT = 3 * IMAGE_HEIGHT  # image px; larger originals are stored reduced


@dataclass
class IndexReport:
    """What `index_folder` did."""

    added: int = 0
    kept: int = 0
    removed: int = 0
    duplicates: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)  # (path, reason)
    total: int = 0


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
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> IndexReport:
    """Build or update the gallery `out` from the images under `source`.

    Files known by content are not described again; vanished ones leave; equal contents are kept once.

    Raises:
        GalleryError: no images, another run at work, or `out` is not a gallery folder.
    """
    source, out = Path(source).resolve(), Path(out).resolve()
    if not source.is_dir():
        raise GalleryError(f"{str(source)!r} is not a folder. Name the folder that holds the images.")
    if out == source:
        raise GalleryError("The gallery cannot be written into the folder of the images. Name another --out.")
    if out.exists() and any(out.iterdir()) and not (out / galleries.META).is_file() and not (out / "images").is_dir():
        raise GalleryError(f"The folder {out.name!r} holds something else than a gallery. Name an empty --out.")
    suffixes = set(Image.registered_extensions())
    files = sorted(
        p for p in source.rglob("*") if p.suffix.lower() in suffixes and p.is_file() and not p.is_relative_to(out)
    )
    if not files:
        raise GalleryError(f"No images were found under {str(source)!r}.")
    out.mkdir(parents=True, exist_ok=True)
    with _lock(out):
        known = _known(out, fingerprint)
        report = IndexReport()
        rows: list[tuple[ImageRecord, Descriptor]] = []
        waiting: list[tuple[ImageRecord, Path]] = []
        seen: set[str] = set()
        saved = 0

        def describe_waiting() -> None:
            pictures = [out / record.path for record, _ in waiting]
            rows.extend(zip((record for record, _ in waiting), describer.describe_paths(pictures), strict=True))
            waiting.clear()

        def save() -> None:
            ordered = sorted(rows, key=lambda row: row[0].path)
            galleries.save(
                out,
                [record for record, _ in ordered],
                [descriptor for _, descriptor in ordered],
                fingerprint=fingerprint,
                adaptive=describer.model.config.adaptive_weighting,
                name=name or out.name,
            )

        for done, path in enumerate(files, start=1):
            relative = path.relative_to(source).as_posix()
            try:
                if path.stat().st_size > MAX_BYTES:
                    raise ImageError(f"larger than {MAX_BYTES >> 20} MB")
                content = path.read_bytes()
                digest = hashlib.sha256(content).hexdigest()
                if digest in seen:
                    report.duplicates += 1
                    continue
                if digest in known:
                    rows.append(known[digest])
                    report.kept += 1
                else:
                    waiting.append((_store(content, relative, digest, out), path))
                    report.added += 1
                seen.add(digest)
            except (ImageError, OSError) as error:
                report.skipped.append((relative, str(error)))
            if len(waiting) >= describer.batch_size:
                describe_waiting()
            if len(rows) - saved >= CHUNK and report.added:
                save()
                saved = len(rows)
            progress(done, len(files))
        describe_waiting()
        if not rows:
            raise GalleryError(f"None of the {len(files)} images under {str(source)!r} could be read.")
        save()
        kept = {record.path for record, _ in rows}
        report.removed = sum(1 for digest in known if digest not in seen)
        for picture in (out / "images").rglob("*"):
            if picture.is_file() and picture.relative_to(out).as_posix() not in kept:
                picture.unlink()
        report.total = len(rows)
        return report


def _store(content: bytes, relative: str, digest: str, out: Path) -> ImageRecord:
    """Put a copy that the page can show into the gallery; small JPEGs byte for byte, anything else as JPEG."""
    image = read_image(content)
    height, width = image.shape[:2]
    pid, camid = market_ids(Path(relative).name)
    target = out / "images" / Path(relative).with_suffix(f".{digest[:8]}.jpg")
    target.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.open(io.BytesIO(content))
    plain = picture.format == "JPEG" and picture.mode == "RGB" and not picture.getexif()
    if plain and height <= STORED_HEIGHT:
        target.write_bytes(content)
    else:
        stored = Image.fromarray(image)
        stored.thumbnail((STORED_HEIGHT * 2, STORED_HEIGHT))
        stored.save(target, "JPEG", quality=95, subsampling=0)
    return ImageRecord(target.relative_to(out).as_posix(), pid, camid, width, height, digest)


def _known(out: Path, fingerprint: str) -> dict[str, tuple[ImageRecord, Descriptor]]:
    """Give what an earlier run with the same weights described, by content."""
    if not (out / galleries.META).is_file():
        return {}
    meta = json.loads((out / galleries.META).read_text(encoding="utf-8"))
    if meta.get("fingerprint") != fingerprint:
        return {}
    old = galleries.load(out, fingerprint)
    return {
        record.sha256: (record, old.descriptor(i))
        for i, record in enumerate(old.records)
        if record.sha256 and (out / record.path).is_file()
    }


@contextmanager
def _lock(out: Path) -> Iterator[None]:
    """Let one process write a gallery; the system releases the lock of a process that dies."""
    if sys.platform == "win32":
        import msvcrt

        def acquire(handle):
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        def acquire(handle):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    with open(out / ".lock", "a+", encoding="utf-8") as handle:
        try:
            acquire(handle)
        except OSError as error:
            raise GalleryError(f"Another `index` is writing {out.name!r}. Wait for it to end.") from error
        yield
    if os.path.exists(out / ".lock"):
        os.unlink(out / ".lock")
