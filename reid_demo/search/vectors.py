"""Vectors in, nearest rows out: the only module that imports FAISS, for a compressed index alone.

Knows no images, records or scorings.

Up to `EXACT_LIMIT` rows the index is flat: unit vectors in half precision, and a probe is compared with every image
(`similarity.part_products`). Above, it is compressed (principal axes, 8 bits each) and pruned (inverted lists): it
proposes candidates, and the gallery scores those exactly from its half-precision file.
"""

from __future__ import annotations

import json
import math
import struct
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from reid_demo.data.files import parse_json
from reid_demo.errors import GalleryError

if TYPE_CHECKING:
    import faiss

COMPRESSED = "compressed"  # kind of an index, in `meta.json`
EXACT_LIMIT = 200_000  # rows; a flat index of 2304-dimensional vectors takes 0.9 GB there
TARGET_RECALL = 0.99  # recall@10 sought on the tuning queries; a measurement on others is then above 0.98
BLOCK = 4096  # rows read, turned and added at a time
TRAINING_ROWS = 65_536
TUNING_QUERIES = 128
DIMS = (64, 128, 256, 512)  # numbers of principal axes to try
ENERGY = 0.95  # least fraction of the variance that the kept axes must hold to be tried
MAX_DEPTH = 2048  # most candidates to score exactly
EVERY_S = 5.0  # least time between two lines of progress

Rows = Callable[[np.ndarray], np.ndarray]  # (n,) int64 ascending row numbers -> (n, D) float32 unit vectors
Say = Callable[[str], None]

# How FAISS begins a file of vectors in half precision, little-endian: "IxSQ", D, G, two unused numbers, trained, inner
# product; then the quantizer: half precision, no range, D, bytes a vector, no trained values; then bytes that follow.
FLAT_HEAD = struct.Struct("<4siqqq?iiifQQQQ")
FAISS_UNUSED, FAISS_INNER_PRODUCT, FAISS_FP16 = 1 << 20, 0, 4


def _faiss() -> ModuleType:
    """Import FAISS where it is needed: most galleries are flat, and it takes a while to load."""
    import faiss

    return faiss


class Flat:
    """Every vector in half precision. It proposes nothing: a gallery compares a probe with all of its images."""

    exact = True
    proposes = False

    def __init__(self, stored: np.ndarray) -> None:
        """Hold `(G, D)` float16 unit vectors, memory-mapped perhaps."""
        self._stored = stored

    def __len__(self) -> int:
        """Number of vectors."""
        return len(self._stored)

    def holds(self, row: int, vector: np.ndarray) -> bool:
        """Return whether a row equals this `(D,)` vector, within half precision."""
        return bool(np.allclose(self._stored[row].astype(np.float32), vector, atol=2e-3))

    def save(self, path: Path) -> None:
        """Write the vectors as one file, which FAISS reads as well."""
        with open(path, "wb") as file:
            file.write(_flat_head(*self._stored.shape))
            file.write(self._stored.data)

    def facts(self) -> dict:
        """Return what `meta.json` stores about the index."""
        return {"kind": "flat"}


@dataclass(frozen=True)
class Tuning:
    """The search settings of a compressed index, chosen by measurement in `Compressed.build`."""

    dims: int  # principal axes kept
    lists: int  # inverted lists
    probes: int  # lists visited per probe
    depth: int  # candidates scored exactly for a top ten
    recall_at_10: float  # against exact search; the queries are gallery images, left out of their own results
    queries: int  # number of these


class Compressed:
    """Principal axes at 8 bits in inverted lists; proposes candidates and estimates the similarity of other rows."""

    exact = False
    proposes = True

    def __init__(self, index: faiss.IndexPreTransform, tuning: Tuning) -> None:
        """Hold a trained index; set its search width once, because requests share it."""
        self._index, self.tuning = index, tuning
        faiss = _faiss()
        self._axes = faiss.downcast_VectorTransform(index.chain.at(0))
        self._lists = faiss.extract_index_ivf(index)
        self._lists.nprobe = tuning.probes
        self._lists.parallel_mode = 1  # all cores search for one probe

    def __len__(self) -> int:
        """Return the number of vectors."""
        return self._index.ntotal

    def nearest(self, vector: np.ndarray, count: int, exclude: np.ndarray | None = None) -> np.ndarray:
        """Return candidate rows, `(n,)` int64 with n at most `count`, nearest first.

        Args:
            vector: `(D,)` float32 of a probe.
            count: how many.
            exclude: `(G,)` bool, rows to leave out.
        """
        return self._nearest(vector, count, exclude)[1]

    def _nearest(self, vector: np.ndarray, count: int, exclude: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Return squared distances, `(n,)` float32 ascending, and rows, `(n,)` int64; arguments as `nearest`."""
        count = min(count, len(self) - (0 if exclude is None else int(exclude.sum())))
        if count < 1:
            return np.zeros(0, np.float32), np.zeros(0, np.int64)
        for probes in (self.tuning.probes, self._lists.nlist):  # all lists where the usual ones hold too few
            squared, found = self._lists.search(self._turn(vector), count, params=_parameters(exclude, probes))
            if found[0, -1] >= 0:
                break
        return squared[0, found[0] >= 0], found[0, found[0] >= 0]

    def estimate(self, vector: np.ndarray) -> np.ndarray:
        """Return the similarity of every row, `(G,)` float32, estimated from the compressed codes."""
        parameters = _faiss().SearchParametersIVF(nprobe=self._lists.nlist)
        _, squared, rows = self._lists.range_search(self._turn(vector), np.float32(1e9), params=parameters)
        values = np.full(len(self), -1, np.float32)
        values[rows] = (1 + vector @ vector - squared) / 2  # rows have length 1
        return values

    def _turn(self, vector: np.ndarray) -> np.ndarray:
        return self._axes.apply(vector[None])

    def holds(self, row: int, vector: np.ndarray) -> bool:
        """Return whether a row is among the candidates for its own `(D,)` vector, or as near to it as they are.

        Copies of one picture are equally near, and may be more than the candidates.
        """
        if not vector.any():
            return True
        near, rows = self._nearest(vector, max(self.tuning.depth, 10), None)
        if row in rows:
            return True
        own, _ = self._nearest(vector, 1, np.arange(len(self)) != row)  # empty where the lists have lost it
        return bool(len(own) and own[0] <= near[-1])

    def save(self, path: Path) -> None:
        """Write the index as one file."""
        _faiss().write_index(self._index, str(path))

    def facts(self) -> dict:
        """Return what `meta.json` stores about the index."""
        return {"kind": COMPRESSED, **asdict(self.tuning)}

    @classmethod
    def build(cls, rows: Rows, count: int, dim: int, say: Say, probes: Rows | None = None) -> Compressed:
        """Train, fill and tune an index with the smallest number of axes whose measured recall reaches the target.

        Arguments are those of the module's `build`. Memory: one sample of `TRAINING_ROWS` vectors, one block, and the
        codes (`dims` bytes per row).
        """
        faiss, rng = _faiss(), np.random.default_rng(0)
        sample = _scattered(rows, np.sort(rng.choice(count, min(count, TRAINING_ROWS), replace=False)), dim)
        say(f"finding the principal axes of {len(sample):,} vectors")
        most = min(dim, DIMS[-1], len(sample))
        axes = faiss.PCAMatrix(dim, most)
        axes.train(sample)
        energy = np.cumsum(faiss.vector_to_array(axes.eigenvalues).clip(0))
        choices = [d for d in DIMS if d < most] + [most]
        enough = [d for d in choices if energy[d - 1] >= ENERGY * energy[-1]] or choices[-1:]
        queries = np.sort(rng.choice(count, min(count, TUNING_QUERIES), replace=False))
        asked = (probes or rows)(queries)
        truth = _nearest_exactly(rows, asked, count, queries, say)
        best = None
        for dims in enough:
            index = cls._fill(rows, count, axes, dims, sample, say)
            tuned = _tune(index, asked, queries, truth, dims, say)
            if best is None or tuned.recall_at_10 > best.tuning.recall_at_10:
                best = cls(index, tuned)
            if tuned.recall_at_10 >= TARGET_RECALL:
                break
        return best

    @staticmethod
    def _fill(
        rows: Rows, count: int, axes: faiss.PCAMatrix, dims: int, sample: np.ndarray, say: Say
    ) -> faiss.IndexPreTransform:
        faiss = _faiss()
        kept = faiss.PCAMatrix(sample.shape[1], dims)
        kept.copy_from(axes)
        kept.d_out = dims
        kept.prepare_Ab()
        lists = max(1, min(2 ** round(math.log2(2 * math.sqrt(count))), len(sample) // 16))
        # Distance instead of inner product: subtracting the mean leaves it unchanged, and the order is the same
        coarse = faiss.IndexFlatL2(dims)
        inverted = faiss.IndexIVFScalarQuantizer(
            coarse, dims, lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_L2, True
        )
        inverted.cp.min_points_per_centroid = 1
        index = faiss.IndexPreTransform(kept, inverted)
        say(f"training {lists:,} lists over {dims} axes")
        index.train(sample)
        tell = _Paced(say)
        for start in range(0, count, BLOCK):
            stop = min(start + BLOCK, count)
            index.add(rows(np.arange(start, stop)))
            tell("compressed", stop, count)
        return index


def _scattered(rows: Rows, numbers: np.ndarray, dim: int) -> np.ndarray:
    """Read `(n, dim)` scattered rows in blocks; reading all at once would keep the whole file mapped in memory."""
    sample = np.empty((len(numbers), dim), np.float32)
    for start in range(0, len(numbers), BLOCK):
        sample[start : start + BLOCK] = rows(numbers[start : start + BLOCK])
    return sample


def build(rows: Rows, count: int, dim: int, say: Say, limit: int, probes: Rows | None = None):
    """Index `count` vectors: flat and exact up to `limit`, compressed above.

    Args:
        rows: returns `(n, D)` float32 unit vectors for ascending row numbers.
        count: G.
        dim: D.
        say: called with lines of progress.
        limit: rows of the largest exact index.
        probes: like `rows`, but as probes, if those vectors differ; a compressed index is tuned with them.
    """
    if count > limit:
        return Compressed.build(rows, count, dim, say, probes)
    stored = np.empty((count, dim), "<f2")
    for start in range(0, count, BLOCK):
        stored[start : start + BLOCK] = rows(np.arange(start, min(start + BLOCK, count)))
    return Flat(stored)


def load(path: Path, facts: dict, count: int, dim: int) -> Flat | Compressed:
    """Read an index written by `save`.

    Args:
        path: the file.
        facts: from the `facts()` of the saved index.
        count: G, according to the gallery's other files.
        dim: D, likewise.

    Raises:
        GalleryError: the file is damaged, or has another kind or size.
    """
    if facts["kind"] not in ("flat", COMPRESSED):
        raise GalleryError(f"{path.name} has the unknown kind {facts['kind']!r}.")
    _check_size(path, facts["kind"], count, dim)
    if facts["kind"] == "flat":
        return Flat(np.memmap(path, "<f2", "r", FLAT_HEAD.size, (count, dim)))
    faiss = _faiss()
    try:
        tuning = _tuning(facts, path.name)
        index = faiss.read_index(str(path))
        if not isinstance(index, faiss.IndexPreTransform) or index.d != dim or index.ntotal != count:
            raise GalleryError(f"{path.name} is damaged: it is not an index of {count} vectors of {dim} numbers.")
        return Compressed(index, tuning)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise GalleryError(f"{path.name} is damaged ({str(error).splitlines()[0]}).") from error


def _tuning(facts: dict, name: str) -> Tuning:
    values = {key: value for key, value in facts.items() if key not in ("kind", "address", "stamp")}
    return parse_json(Tuning, json.dumps(values), f"{name} is damaged: its description", GalleryError, "")


def _check_size(path: Path, kind: str, count: int, dim: int) -> None:
    """Check the file's size before FAISS reads it, because FAISS trusts the sizes stated in a damaged file."""
    size = path.stat().st_size
    if kind == COMPRESSED:
        if not 8 * count < size < 4 * count * (dim + 8) + 8 * dim * (dim + 65_536) + (1 << 20):
            raise GalleryError(f"{path.name} is damaged: {size} bytes are not what {count} vectors take.")
        return
    head = _flat_head(count, dim)
    with open(path, "rb") as file:
        if size != len(head) + 2 * count * dim or file.read(len(head)) != head:
            raise GalleryError(f"{path.name} is damaged: it does not begin as {count} vectors of {dim} numbers do.")


def _flat_head(count: int, dim: int) -> bytes:
    """Return how FAISS begins a file of `count` vectors in half precision; `count * dim` numbers follow."""
    index = b"IxSQ", dim, count, FAISS_UNUSED, FAISS_UNUSED, True, FAISS_INNER_PRODUCT
    return FLAT_HEAD.pack(*index, FAISS_FP16, 0, 0.0, dim, 2 * dim, 0, 2 * count * dim)


def _parameters(exclude: np.ndarray | None, probes: int):
    """Return FAISS's parameters for one search: the rows to leave out and the number of lists to visit."""
    faiss = _faiss()
    if exclude is None:
        return faiss.SearchParametersIVF(nprobe=probes)
    selector = faiss.IDSelectorBitmap(np.packbits(~exclude, bitorder="little"))
    return faiss.SearchParametersIVF(sel=selector, nprobe=probes)


def _nearest_exactly(rows: Rows, vectors: np.ndarray, count: int, queries: np.ndarray, say: Say) -> np.ndarray:
    """Return the ten rows nearest to each query but not the query itself, `(Q, 10)` int64, by exhaustive search."""
    wanted = min(10, count - 1)
    best = np.full((len(queries), wanted), -np.inf, np.float32)
    which = np.full((len(queries), wanted), -1, np.int64)
    tell = _Paced(say)
    for start in range(0, count, BLOCK):
        stop = min(start + BLOCK, count)
        values = vectors @ rows(np.arange(start, stop)).T
        own = np.flatnonzero((queries >= start) & (queries < stop))
        values[own, queries[own] - start] = -np.inf
        values = np.concatenate([best, values], axis=1)
        names = np.concatenate([which, np.broadcast_to(np.arange(start, stop), (len(queries), stop - start))], axis=1)
        chosen = np.argpartition(-values, wanted - 1, axis=1)[:, :wanted]
        best, which = np.take_along_axis(values, chosen, 1), np.take_along_axis(names, chosen, 1)
        tell("compared exactly", stop, count)
    return which


def _tune(
    index: faiss.IndexPreTransform, vectors: np.ndarray, queries: np.ndarray, truth: np.ndarray, dims: int, say: Say
) -> Tuning:
    """Choose the cheapest numbers of lists and candidates that reach the target recall, else the best recall."""
    inverted = _faiss().extract_index_ivf(index)
    depth = min(MAX_DEPTH, index.ntotal)
    tried: list[tuple[float, Tuning]] = []
    probes = 8
    while True:
        probes = min(probes, inverted.nlist)
        inverted.nprobe = probes
        found = index.search(vectors, depth)[1]
        # place[q, t]: position of query q's t-th true neighbour among its candidates, not counting q itself
        place = np.full(truth.shape, MAX_DEPTH + 1)
        for q, own in enumerate(queries):
            order = {row: at for at, row in enumerate(found[q][found[q] != own])}
            place[q] = [order.get(row, MAX_DEPTH + 1) for row in truth[q]]
        for keep in (128, 256, 512, 1024, MAX_DEPTH):
            recall = float((place < keep).mean())
            cost = probes * index.ntotal / inverted.nlist * dims + keep * index.d * 8.0
            tried.append((cost, Tuning(dims, inverted.nlist, probes, keep, round(recall, 4), len(queries))))
        if probes == inverted.nlist or probes >= 512:
            break
        probes *= 2
    good = [row for row in tried if row[1].recall_at_10 >= TARGET_RECALL]
    chosen = min(good, key=lambda row: row[0])[1] if good else max(tried, key=lambda row: row[1].recall_at_10)[1]
    say(
        f"{dims} axes: {chosen.probes} of {chosen.lists} lists and {chosen.depth} candidates find "
        f"{chosen.recall_at_10:.3f} of the exact ten nearest"
    )
    return chosen


class _Paced:
    """Report progress with rate and time left, at most one line every `EVERY_S` seconds."""

    def __init__(self, say: Say) -> None:
        self._say, self._start = say, time.monotonic()
        self._last = self._start

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last >= EVERY_S:
            self._last = now
            rate = done / (now - self._start)
            self._say(f"{what} {done:,} of {total:,}, {rate:,.0f}/s, {(total - done) / rate:.0f} s left")
