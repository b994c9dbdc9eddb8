"""`Gallery`: vectors, records and the model's fingerprint travel together. Knows no images' contents and no model."""

import functools
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from reid_demo.errors import ConfigError, GalleryError
from reid_demo.records import WEIGHINGS, Descriptor, Identities, ImageRecord, Match, Scoring
from reid_demo.search import milvus, vectors
from reid_demo.search import similarity as matching
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
MATRIX_BYTES = 512 << 20  # largest float32 matrix kept for a scoring that is not the index's own
BLOCK = 2048  # rows held in float32 at a time


class Gallery:
    """A searchable set. Read-only after load; searches from several threads do not disturb each other."""

    def __init__(
        self,
        folder: Path,
        records: Sequence[ImageRecord],
        parts: np.ndarray,
        presence: np.ndarray,
        meta: dict,
        index: "vectors.Flat | vectors.Compressed | milvus.Collection",
    ) -> None:
        """Hold what `load` read; see the attributes of the files in this module."""
        self.folder = folder
        self.records = list(records)
        self.identities = Identities.of((r.pid for r in self.records), (r.camid for r in self.records))
        self.pids, self.camids = self.identities.pids, self.identities.camids
        self.parts = parts  # (G, P+1, D) float16, unweighted, the means of the views; memory-mapped
        self.presence = presence  # (G, P) float32
        self.meta = meta
        self.index = index
        self.fingerprint: str = meta["fingerprint"]
        self.scoring = Scoring.read(meta)  # that of the index's vectors, and how the gallery is searched by default
        self.views: tuple[str, ...] = tuple(meta.get("views", ONE_VIEW))  # in which its images were described
        self._matrices: dict[Scoring, np.ndarray] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Number of images."""
        return len(self.records)

    @property
    def name(self) -> str:
        """Name given when the gallery was built."""
        return self.meta.get("name", self.folder.name)

    @property
    def exact(self) -> bool:
        """Say whether every image is compared; a compressed gallery compares candidates and is approximate."""
        return self.index.exact

    @property
    def num_pids(self) -> int:
        """Number of people; junk and distractors are none."""
        return int((self.people > 0).sum())

    @functools.cached_property
    def people(self) -> np.ndarray:
        """Every pid that is here, `(N,)` int64, ascending; `UNKNOWN` among them where some image has none."""
        return _distinct(self.pids)

    @functools.cached_property
    def cameras(self) -> np.ndarray:
        """Every camid that is here, `(C,)` int64, ascending; `UNKNOWN` among them where some image has none."""
        return _distinct(self.camids)

    def rows_of(self, pid: int | None = None, camid: int | None = None) -> range | np.ndarray:
        """Give the rows of the images of a person and a camera, in gallery order; sliced for one page of them.

        Args:
            pid: of the person; `UNKNOWN` for images without one, None for all people.
            camid: of the camera; likewise.

        Returns:
            `(n,)` int64; a `range` where nothing is asked for, so that no list of a large gallery is made.
        """
        asked = [marks == wanted for marks, wanted in ((self.pids, pid), (self.camids, camid)) if wanted is not None]
        return np.flatnonzero(np.logical_and.reduce(asked)) if asked else range(len(self))

    def image_path(self, index: int) -> Path:
        """Give the file of an image; never one outside the gallery's own folder.

        A gallery in the Hub's cache is made of links into that repository's own store, which count as inside.
        """
        root = self.folder.resolve()
        path = Path(os.path.normpath(root / self.records[index].path))
        stores = [parent.parent / "blobs" for parent in root.parents if parent.name == "snapshots"]
        target = path.resolve()
        if path.is_relative_to(root) and (target.is_relative_to(root) or target.parent in stores):
            return target
        raise GalleryError(f"The gallery names an image outside its folder: {self.records[index].path!r}.")

    def descriptor(self, index: int) -> Descriptor:
        """Give the stored descriptor of an image, without attention maps `(P, 0, 0)`."""
        empty = np.zeros((self.presence.shape[1], 0, 0), np.float32)
        return Descriptor(self.parts[index].astype(np.float32), self.presence[index].copy(), empty, empty)

    def rows(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give stored `(n, P+1, D)` float16 parts and `(n, P)` float32 presence of some images."""
        # Mapped anew, so that the pages read are given back.
        stored = np.load(self.folder / PARTS, mmap_mode="r", allow_pickle=False)
        return stored[numbers], self.presence[numbers]

    def scores(self, probe: Descriptor, scoring: Scoring = Scoring()) -> np.ndarray:
        """Give the `(G,)` float32 similarity of every image.

        Exact, but in a compressed gallery under its own scoring: there the candidates' are exact and all others
        estimated from their codes. A scoring that the compressed codes do not hold reads every stored vector.
        """
        if not self.exact and self.is_indexed(scoring):
            return self._estimates(probe, scoring)
        return self._exact(matching.probe_vectors(probe.parts, probe.presence, scoring), scoring)

    def scores_of(self, probes: Sequence[Descriptor], scoring: Scoring = Scoring()) -> np.ndarray:
        """Return the `(n, G)` float32 similarities of several probes; as `scores`, in one pass over the gallery."""
        if not self.exact and self.is_indexed(scoring):
            return np.stack([self._estimates(probe, scoring) for probe in probes])
        parts, presence = np.stack([p.parts for p in probes]), np.stack([p.presence for p in probes])
        return self._exact(matching.probe_vectors(parts, presence, scoring).T, scoring).T

    def _exact(self, probes: np.ndarray, scoring: Scoring) -> np.ndarray:
        """Multiply every stored vector by one probe's, `(D,)`, or by several, `(D, n)`; `(G,)` or `(G, n)` float32."""
        if self.parts.size * 4 <= MATRIX_BYTES:
            return vectors.product(self._matrix(scoring), probes)
        values = np.empty((len(self), *probes.shape[1:]), np.float32)
        for start in range(0, len(self), BLOCK):
            rows = slice(start, start + BLOCK)
            block = matching.gallery_vectors(self.parts[rows].astype(np.float32), self.presence[rows], scoring)
            values[rows] = vectors.product(block, probes)
        return values

    def ranking(self, probe: Descriptor, scoring: Scoring = Scoring(), exclude: np.ndarray | None = None) -> "Ranking":
        """Score every image once, and rank them all; arguments as of `search`.

        Ranks follow `scores`: in a compressed gallery those of images that are not candidates are estimates.
        """
        return Ranking.of(self.scores(probe, scoring), exclude)

    def _estimates(self, probe: Descriptor, scoring: Scoring) -> np.ndarray:
        vector = matching.probe_vectors(probe.parts, probe.presence, scoring)
        values = self.index.estimate(vector)
        candidates = self.index.nearest(vector, self.index.tuning.depth)
        exact = self._terms(probe, candidates, scoring).sum(axis=1)
        # Lost axes make all estimates too high by about the same amount, which the candidates tell.
        values += np.mean(exact - values[candidates], dtype=np.float32)
        values[candidates] = exact
        return values

    def _terms(self, probe: Descriptor, rows: np.ndarray, scoring: Scoring) -> np.ndarray:
        return matching.contributions(
            probe.parts, probe.presence, self.parts[rows].astype(np.float32), self.presence[rows], scoring
        )

    def _matrix(self, scoring: Scoring) -> np.ndarray:
        """The gallery's vectors under a scoring; as many are kept as a match is explained by, one after another."""
        # Part-aware switches act on the probe alone.
        key = Scoring(scoring.weighing) if scoring.weighing == "part_aware" else scoring
        with self._lock:
            if key not in self._matrices:
                if len(self._matrices) >= len(WEIGHINGS):
                    self._matrices.pop(next(iter(self._matrices)))
                self._matrices[key] = matching.gallery_vectors(self.parts.astype(np.float32), self.presence, scoring)
            return self._matrices[key]

    def is_indexed(self, scoring: Scoring) -> bool:
        """Say whether the index itself holds vectors under this scoring."""
        # Part-aware switches act on the probe alone.
        return scoring.weighing == self.scoring.weighing and (scoring.weighing == "part_aware" or scoring.counts_all)

    def search(
        self,
        probe: Descriptor,
        top_k: int = 10,
        scoring: Scoring = Scoring(),
        exclude: np.ndarray | None = None,
    ) -> list[Match]:
        """Rank the gallery.

        Args:
            probe: as `Describer` gives it.
            top_k: how many matches; fewer come back from a smaller gallery.
            scoring: which similarity.
            exclude: `(G,)` bool, images to leave out.

        Returns:
            Best first; equal similarities in gallery order. `contributions` sum to `similarity`.
        """
        if top_k < 1:
            raise GalleryError(f"Ask for at least one match, not {top_k}.")
        if probe.parts.shape != self.parts.shape[1:]:
            raise GalleryError(
                f"The probe has descriptors {probe.parts.shape}, this gallery {self.parts.shape[1:]}; "
                "rebuild the gallery with `python -m reid_demo index`."
            )
        return self._best(probe, self._candidates(probe, top_k, scoring, exclude), top_k, scoring)

    def search_and_rank(
        self,
        probe: Descriptor,
        top_k: int = 10,
        scoring: Scoring = Scoring(),
        exclude: np.ndarray | None = None,
    ) -> tuple[list[Match], "Ranking"]:
        """Return what `search` and `ranking` return; an exact gallery is scored once, not twice."""
        if not self.exact or top_k < 1 or probe.parts.shape != self.parts.shape[1:]:
            return self.search(probe, top_k, scoring, exclude), self.ranking(probe, scoring, exclude)
        ranking = self.ranking(probe, scoring, exclude)
        count = min(4 * top_k + 32, len(self) - (0 if exclude is None else int(exclude.sum())))
        return self._best(probe, np.flatnonzero(ranking.ranks <= count), top_k, scoring), ranking

    def _best(self, probe: Descriptor, candidates: np.ndarray, top_k: int, scoring: Scoring) -> list[Match]:
        terms = self._terms(probe, candidates, scoring)
        totals = terms.sum(axis=1)
        best = np.lexsort((candidates, -totals))[:top_k]
        return [
            Match(self.records[candidates[i]], int(candidates[i]), rank, float(totals[i]), terms[i])
            for rank, i in enumerate(best, start=1)
        ]

    def _candidates(self, probe: Descriptor, top_k: int, scoring: Scoring, exclude: np.ndarray | None) -> np.ndarray:
        """Give the rows to score for `top_k` matches: more than asked, so that rounded vectors cannot lose one."""
        count = min(len(self), 4 * top_k + 32)
        if self.is_indexed(scoring):
            if not self.exact:
                count = max(count, min(self.index.tuning.depth * -(-top_k // 10), vectors.MAX_DEPTH))
            return self.index.nearest(matching.probe_vectors(probe.parts, probe.presence, scoring), count, exclude)
        if not self.exact:  # the codes hold another scoring: go deep with it, then score as asked
            vector = matching.probe_vectors(probe.parts, probe.presence, self.scoring)
            return self.index.nearest(vector, max(count, vectors.MAX_DEPTH), exclude)
        values = self.scores(probe, scoring)
        if exclude is not None:
            values = np.where(exclude, -np.inf, values)
            count = min(count, int((~exclude).sum()))
        return np.argsort(-values, kind="stable")[:count]


@dataclass(frozen=True, eq=False)
class Ranking:
    """What one pass over a gallery says of every image, in gallery order."""

    similarity: np.ndarray  # (G,) float32
    ranks: np.ndarray  # (G,) int64, 1 is the best, ties in gallery order; images left out come last

    @classmethod
    def of(cls, similarity: np.ndarray, exclude: np.ndarray | None = None) -> "Ranking":
        """Rank `(G,)` similarities; `exclude` `(G,)` bool marks images to leave out."""
        values = similarity if exclude is None else np.where(exclude, -np.inf, similarity)
        ranks = np.empty(len(values), np.int64)
        ranks[np.argsort(-values, kind="stable")] = np.arange(1, len(values) + 1)
        return cls(similarity, ranks)


def _distinct(numbers: np.ndarray) -> np.ndarray:
    # Asked to count as well, NumPy sorts; its hash table takes six times as long over 100,000 people.
    return np.unique(numbers, return_counts=True)[0]


def load(folder: str | Path, fingerprint: str | None = None) -> Gallery:
    """Read a gallery.

    Args:
        folder: as `save` wrote it, or the `milvus://` address of its vectors.
        fingerprint: of the weights in use; a gallery made by others is refused.

    Raises:
        GalleryError: missing, damaged or made by other weights.
    """
    folder = Path(milvus.folder_of(folder) if milvus.is_address(folder) else folder)
    for _ in range(3):
        finish(folder)
        before = _stamp(folder)
        try:
            loaded = _read(folder, fingerprint)
        except GalleryError:
            if not (folder / READY).exists() and before == _stamp(folder):
                raise
            continue
        if not (folder / READY).exists() and before == _stamp(folder):
            return loaded  # nobody replaced the files meanwhile
    raise GalleryError(f"The gallery {folder.name!r} is being rewritten all the time. Wait for `index` to end.")


def _stamp(folder: Path) -> tuple[int, int] | None:
    try:
        facts = (folder / META).stat()
    except FileNotFoundError:
        return None
    return facts.st_mtime_ns, facts.st_ino


def _read(folder: Path, fingerprint: str | None) -> Gallery:
    rebuild = f"Rebuild it with `python -m reid_demo index IMAGES --out {folder}`."
    names = (PARTS, PRESENCE, RECORDS, META)
    missing = [name for name in names if not (folder / name).is_file()]
    if not folder.exists():
        words = "Make one with `python -m reid_demo index IMAGES --out GALLERY`, or name the folder of one."
        raise GalleryError(f"There is no gallery {str(folder)!r}. {words}")
    if len(missing) == len(names):
        words = f"Describe its pictures with `python -m reid_demo index {folder} --out GALLERY`."
        raise GalleryError(f"The folder {folder.name!r} is no gallery. {words}")
    if missing:
        raise GalleryError(f"The gallery {folder.name!r} has no {missing[0]}. {rebuild}")
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        made_by, version, facts = meta["fingerprint"], meta["format_version"], meta.get("index", {"kind": "flat"})
        Scoring.read(meta)
    except (ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise GalleryError(f"The gallery {folder.name!r} is damaged ({META}: {error}). {rebuild}") from error
    if version not in range(1, FORMAT_VERSION + 1):
        raise GalleryError(
            f"The gallery {folder.name!r} has format {version}, this program reads {FORMAT_VERSION}. {rebuild}"
        )
    if fingerprint is not None and made_by != fingerprint:
        raise GalleryError(
            f"The gallery {folder.name!r} was made by other weights ({made_by}, now {fingerprint}). {rebuild}"
        )
    if facts["kind"] != "milvus" and not (folder / VECTORS).is_file():
        raise GalleryError(f"The gallery {folder.name!r} has no {VECTORS}. {rebuild}")
    try:
        with open(folder / RECORDS, encoding="utf-8") as lines:
            records = [read_record(line) for line in lines]
        parts = np.load(folder / PARTS, mmap_mode="r", allow_pickle=False)
        presence = np.load(folder / PRESENCE, allow_pickle=False).astype(np.float32)
        index = milvus.load(facts) if facts["kind"] == "milvus" else vectors.load(folder / VECTORS, facts)
    except (ValueError, KeyError, TypeError, EOFError) as error:
        raise GalleryError(f"The gallery {folder.name!r} is damaged ({error}). {rebuild}") from error
    except OSError as error:
        raise GalleryError(f"The gallery {folder.name!r} cannot be read ({error.strerror}). {rebuild}") from error
    except GalleryError as error:
        raise GalleryError(f"The gallery {folder.name!r}: {error} {rebuild}") from error
    if not len(records) == len(parts) == len(presence) == len(index) or not len(records):
        raise GalleryError(f"The files of the gallery {folder.name!r} disagree in length. {rebuild}")
    return Gallery(folder, records, parts, presence, meta, index)


def read_record(line: str | bytes) -> ImageRecord:
    """Give the record of one line of `records.jsonl`."""
    values = json.loads(line)
    if values.get("box") is not None:
        values["box"] = tuple(values["box"])
    return ImageRecord(**values)


def save(
    folder: str | Path,
    records: Sequence[ImageRecord],
    descriptors: Iterable[Descriptor],
    *,
    fingerprint: str,
    name: str,
    scoring: Scoring = Scoring(),
) -> None:
    """Write the gallery files beside the images that already lie in `folder`; all appear, or none does."""
    descriptors = list(descriptors)
    if not records or len(records) != len(descriptors):
        raise GalleryError(f"{len(records)} images and {len(descriptors)} descriptors do not make a gallery.")
    parts = np.stack([d.parts for d in descriptors]).astype(np.float16)
    presence = np.stack([d.presence for d in descriptors]).astype(np.float32)
    write(folder, records, iter([(parts, presence)]), fingerprint=fingerprint, name=name, scoring=scoring)


def write(
    folder: str | Path,
    records: Sequence[ImageRecord],
    blocks: Iterator[tuple[np.ndarray, np.ndarray]],
    *,
    fingerprint: str,
    name: str,
    scoring: Scoring = Scoring(),
    views: Sequence[str] = ONE_VIEW,
    more: dict | None = None,
    store: str | None = None,
    say: Callable[[str], None] = lambda line: None,
    exact_limit: int | None = None,
) -> None:
    """Write a gallery of any size, holding one block and the index in memory.

    Args:
        folder: already holds the images.
        records: one an image, in the order of the blocks.
        blocks: `(n, P+1, D)` float16 parts and `(n, P)` float32 presence, in order; G rows in all.
        fingerprint: of the weights.
        name: for people.
        scoring: with all parts, of the vectors that the index holds; the gallery's own from then on.
        views: in which the images were described.
        more: further keys of `meta.json`.
        store: a `milvus://` address for the vectors; a FAISS file in the folder otherwise.
        say: gets lines of progress.
        exact_limit: the largest gallery with an exact index, images; `vectors.EXACT_LIMIT` where None.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as temporary:
        stage = Path(temporary) / "files"
        stage.mkdir()
        presence = _write_parts(stage / PARTS, records, blocks)
        np.save(stage / PRESENCE, presence)

        def rows(numbers: np.ndarray, side: Callable = matching.gallery_vectors) -> np.ndarray:
            # The index holds what the stored half-precision parts say, so both ways of scoring agree. The file is
            # mapped anew for every block, so that the pages read do not pile up in this process.
            stored = np.load(stage / PARTS, mmap_mode="r", allow_pickle=False)
            whole = len(numbers) and numbers[-1] - numbers[0] + 1 == len(numbers)
            picked = stored[numbers[0] : numbers[-1] + 1] if whole else stored[numbers]
            return side(picked.astype(np.float32), presence[numbers], Scoring(scoring.weighing))

        _, terms, dim = np.load(stage / PARTS, mmap_mode="r", allow_pickle=False).shape
        if store:
            index = milvus.build(store, rows, len(records), terms * dim, folder, say)
        else:
            limit = vectors.EXACT_LIMIT if exact_limit is None else exact_limit
            probes = functools.partial(rows, side=matching.probe_vectors)
            index = vectors.build(rows, len(records), terms * dim, say, limit, probes)
            index.save(stage / VECTORS)
        with open(stage / RECORDS, "w", encoding="utf-8") as lines:
            lines.writelines(json.dumps(asdict(record), ensure_ascii=False) + "\n" for record in records)
        meta = {
            "format_version": FORMAT_VERSION,
            "name": name,
            "fingerprint": fingerprint,
            "similarity": scoring.weighing,
            "views": list(views),
            "count": len(records),
            "pids": Identities.of((r.pid for r in records), ()).num_people,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "index": index.facts(),
            **(more or {}),
        }
        (stage / META).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
        finish(folder)
        os.rename(stage, folder / READY)  # from here on the new gallery holds
    finish(folder)
    if store:
        (folder / VECTORS).unlink(missing_ok=True)


def _write_parts(path: Path, records: Sequence[ImageRecord], blocks: Iterator) -> np.ndarray:
    """Write `(G, P+1, D)` float16 block by block; give the presence `(G, P)` float32."""
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
