"""Write a gallery's files atomically: either all the new ones appear or none. Knows no pixels and no model."""

import functools
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from reid_demo.errors import GalleryError
from reid_demo.records import Identities, ImageRecord, Scoring
from reid_demo.search import milvus, similarity, vectors
from reid_demo.search.gallery_views import ONE_VIEW

FORMAT_VERSION = 3  # 2 described every image in one view; 1 had `adaptive` instead of `similarity`
VECTORS, PARTS, PRESENCE, RECORDS, META = (
    "vectors.faiss",
    "parts.npy",
    "presence.npy",
    "records.jsonl",
    "meta.json",
)
READY = ".ready"  # folder of complete new files; any process that finds it finishes moving them into place
BLOCK = 2048  # rows held in float32 at a time

Blocks = Iterator[tuple[np.ndarray, np.ndarray]]  # (n, P+1, D) float16 parts and (n, P) float32 presence, in order


@dataclass(frozen=True)
class About:
    """The facts for `meta.json` that cannot be computed from the descriptors."""

    fingerprint: str  # of the weights
    name: str  # shown to people
    scoring: Scoring = Scoring()  # of the index's vectors, and the gallery's default
    views: Sequence[str] = ONE_VIEW  # in which the images were described
    finder: str = ""  # name of the detector that cut people out of whole frames; empty if none
    empty_frames: Sequence[str] = ()  # SHA-256 of frames in which no person was found


@dataclass(frozen=True)
class Storage:
    """Where and how to store a gallery's vectors."""

    address: str | None = None  # a `milvus://` address; None: a FAISS file in the folder
    exact_limit: int | None = None  # images in the largest exact gallery; None: `vectors.EXACT_LIMIT`
    say: Callable[[str], None] = lambda line: None  # called with lines of progress


def write(
    folder: str | Path, records: Sequence[ImageRecord], blocks: Blocks, about: About, storage: Storage = Storage()
) -> None:
    """Write a gallery of any size with only one block and the index in memory.

    Args:
        folder: already holds the images.
        records: one per image, in the order of the blocks.
        blocks: `(n, P+1, D)` float16 parts and `(n, P)` float32 presence; `G` rows in all.
        about: for `meta.json`.
        storage: where the vectors go.

    Raises:
        GalleryError: no images, unequal numbers of images and descriptors, or descriptors that are not finite.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as temporary:
        stage = Path(temporary) / "files"
        stage.mkdir()
        presence = _write_parts(stage / PARTS, records, blocks)
        np.save(stage / PRESENCE, presence)
        index = _index(stage, presence, about.scoring, storage, folder)
        with open(stage / RECORDS, "w", encoding="utf-8") as lines:
            lines.writelines(json.dumps(asdict(record), ensure_ascii=False) + "\n" for record in records)
        meta = _meta(records, about, index.facts())
        (stage / META).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
        finish(folder)
        os.rename(stage, folder / READY)  # the commit point: from here on the new gallery is valid
    finish(folder)
    if storage.address:
        (folder / VECTORS).unlink(missing_ok=True)


def _index(stage: Path, presence: np.ndarray, scoring: Scoring, storage: Storage, folder: Path):
    """Build the index from the stored float16 parts, so that it agrees with exact scoring, and save it."""

    def rows(numbers: np.ndarray, side: Callable = similarity.gallery_vectors) -> np.ndarray:
        # A new memory map per block, so that pages do not pile up in this process
        stored = np.load(stage / PARTS, mmap_mode="r", allow_pickle=False)
        whole = len(numbers) and numbers[-1] - numbers[0] + 1 == len(numbers)
        picked = stored[numbers[0] : numbers[-1] + 1] if whole else stored[numbers]
        return side(picked.astype(np.float32), presence[numbers], Scoring(scoring.weighing))

    count, terms, dim = np.load(stage / PARTS, mmap_mode="r", allow_pickle=False).shape
    if storage.address:
        return milvus.build(storage.address, rows, count, terms * dim, folder, storage.say)
    limit = vectors.EXACT_LIMIT if storage.exact_limit is None else storage.exact_limit
    probes = functools.partial(rows, side=similarity.probe_vectors)
    index = vectors.build(rows, count, terms * dim, storage.say, limit, probes)
    index.save(stage / VECTORS)
    return index


def _meta(records: Sequence[ImageRecord], about: About, facts: dict) -> dict:
    found = {"finder": about.finder, "empty_frames": sorted(about.empty_frames)} if about.finder else {}
    return {
        "format_version": FORMAT_VERSION,
        "name": about.name,
        "fingerprint": about.fingerprint,
        "similarity": about.scoring.weighing,
        "views": list(about.views),
        "count": len(records),
        "pids": Identities.of((r.pid for r in records), ()).num_people,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "index": facts,
        **found,
    }


def _write_parts(path: Path, records: Sequence[ImageRecord], blocks: Iterator) -> np.ndarray:
    """Write the parts `(G, P+1, D)` float16 block by block; return the presence `(G, P)` float32."""
    presence, count = [], 0
    with open(path, "wb") as file:
        for parts, rho in blocks:
            if not presence:
                shape = (len(records), *parts.shape[1:])
                header = {"descr": "<f2", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            if not np.isfinite(parts).all() or not np.isfinite(rho).all():
                raise GalleryError("The network returned descriptors that are not finite. Use other weights.")
            file.write(np.ascontiguousarray(parts, "<f2").tobytes())
            presence.append(np.asarray(rho, np.float32))
            count += len(parts)
    if not count or count != len(records):
        raise GalleryError(f"A gallery needs one descriptor per image, not {count} for {len(records)} images.")
    return np.concatenate(presence)


def finish(folder: Path) -> None:
    """Move a writer's complete new files into place; also finishes for a writer that was killed while moving.

    Raises:
        GalleryError: the files cannot be moved.
    """
    ready = folder / READY
    if not ready.is_dir():
        return
    try:
        for name in (VECTORS, PARTS, PRESENCE, RECORDS, META):
            try:
                os.replace(ready / name, folder / name)
            except FileNotFoundError:
                continue  # moved already, or the vectors are in Milvus
        ready.rmdir()
    except FileNotFoundError:
        return  # another process finished it
    except OSError as error:
        raise GalleryError(
            f"The gallery {folder.name!r} waits for its new files, which cannot be moved here ({error.strerror}). "
            "Run `index` on it again where it can be written."
        ) from error
