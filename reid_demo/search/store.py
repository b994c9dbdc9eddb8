"""Write a gallery's files: all of the new ones appear, or none does. Knows no images' contents and no model."""

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

FORMAT_VERSION = 3  # 2 described every image as it is alone; 1 said `adaptive` instead of `similarity`
VECTORS, PARTS, PRESENCE, RECORDS, META = (
    "vectors.faiss",
    "parts.npy",
    "presence.npy",
    "records.jsonl",
    "meta.json",
)
READY = ".ready"  # complete new files on their way to their places; whoever finds them finishes the move
BLOCK = 2048  # rows held in float32 at a time

Blocks = Iterator[tuple[np.ndarray, np.ndarray]]  # (n, P+1, D) float16 parts and (n, P) float32 presence, in order


@dataclass(frozen=True)
class About:
    """What `meta.json` says of a gallery beside its counts."""

    fingerprint: str  # of the weights
    name: str  # for people
    scoring: Scoring = Scoring()  # of the vectors that the index holds; the gallery's own from then on
    views: Sequence[str] = ONE_VIEW  # in which the images were described
    finder: str = ""  # what cut the people out of whole frames
    empty_frames: Sequence[str] = ()  # hashes of frames in which nobody was found


@dataclass(frozen=True)
class Storage:
    """How a gallery's vectors are kept."""

    address: str | None = None  # `milvus://` for the vectors; a FAISS file in the folder where None
    exact_limit: int | None = None  # the largest gallery with an exact index; `vectors.EXACT_LIMIT` where None
    say: Callable[[str], None] = lambda line: None  # gets lines of progress


def write(
    folder: str | Path, records: Sequence[ImageRecord], blocks: Blocks, about: About, storage: Storage = Storage()
) -> None:
    """Write a gallery of any size, holding one block and the index in memory.

    Args:
        folder: already holds the images.
        records: one an image, in the order of the blocks.
        blocks: `(n, P+1, D)` float16 parts and `(n, P)` float32 presence, in order; G rows in all.
        about: for `meta.json`.
        storage: where the vectors go.

    Raises:
        GalleryError: no images, other numbers of images and descriptors, or descriptors that are not finite.
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
        os.rename(stage, folder / READY)  # from here on the new gallery holds
    finish(folder)
    if storage.address:
        (folder / VECTORS).unlink(missing_ok=True)


def _index(stage: Path, presence: np.ndarray, scoring: Scoring, storage: Storage, folder: Path):
    """Build the index of what the stored parts say, so that both ways of scoring agree; save it with them."""

    def rows(numbers: np.ndarray, side: Callable = similarity.gallery_vectors) -> np.ndarray:
        # Mapped anew for every block, so that the pages read do not pile up in this process.
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
    """Write `(G, P+1, D)` float16 block by block; return the presence `(G, P)` float32."""
    presence, count = [], 0
    with open(path, "wb") as file:
        for parts, rho in blocks:
            if not presence:
                shape = (len(records), *parts.shape[1:])
                header = {"descr": "<f2", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            if not np.isfinite(parts).all() or not np.isfinite(rho).all():
                raise GalleryError("The network gave descriptors that are not finite numbers. Use other weights.")
            file.write(np.ascontiguousarray(parts, "<f2").tobytes())
            presence.append(np.asarray(rho, np.float32))
            count += len(parts)
    if not count or count != len(records):
        raise GalleryError(f"{len(records)} images and {count} descriptors do not make a gallery.")
    return np.concatenate(presence)


def finish(folder: Path) -> None:
    """Move files that a writer has completed to their places; also where that writer was killed meanwhile."""
    ready = folder / READY
    if not ready.is_dir():
        return
    try:
        for name in (VECTORS, PARTS, PRESENCE, RECORDS, META):
            try:
                os.replace(ready / name, folder / name)
            except FileNotFoundError:
                continue  # moved already, or the vectors lie elsewhere
        ready.rmdir()
    except FileNotFoundError:
        return  # another process finished it
    except OSError as error:
        raise GalleryError(
            f"The gallery {folder.name!r} waits for its new files, which cannot be moved here ({error.strerror}). "
            "Run `index` on it again where it can be written."
        ) from error
