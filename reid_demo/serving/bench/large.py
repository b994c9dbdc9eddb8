"""Measure a gallery of any size without its images: real descriptors are mixed, jittered, built in and searched."""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid_demo.errors import GalleryError
from reid_demo.records import Descriptor, ImageRecord, Scoring
from reid_demo.search import gallery as galleries
from reid_demo.search import similarity, store
from reid_demo.search.gallery import Gallery
from reid_demo.serving.bench.rows import Row, Timing, in_ms, of

JITTER = 0.1  # length of the noise added to a descriptor of length 1
PROBES = 100
TIMED = 50


@dataclass(frozen=True)
class Found:
    """What building and searching one large gallery took."""

    searches: Timing
    exact_s: float  # one product with every float32 vector; reading them from the disk is not counted
    recall: float  # share of the exact ten that were found
    built_s: float
    peak_gb: float
    loaded_s: float
    index_gb: float
    parts_gb: float
    exact: bool


def bench_large(
    real: Gallery, count: int, *, folder: Path | None = None, say: Callable[[str], None] = lambda line: None
) -> list[Row]:
    """Build a gallery of `count` descriptors and search it with probes that are not in it.

    Args:
        real: its descriptors are mixed, two at a time, and jittered.
        count: G; 2304-dimensional descriptors take 4.6 kB each on the disk.
        folder: where to build; a temporary folder otherwise.
        say: gets lines of progress.

    Raises:
        GalleryError: `count` is below 100.
    """
    if count < 100:
        raise GalleryError(f"--large needs at least 100 descriptors, not {count}.")
    with tempfile.TemporaryDirectory(dir=folder, prefix="reid_demo-large-") as temporary:
        found = _build_and_search(real, count, Path(temporary), say)
    name = f"{count:,} descriptors, {'exact' if found.exact else 'approximate'}"
    exact, half, whole = Timing.of([found.exact_s]), "float16", 2 * found.parts_gb
    searches, slowest = found.searches, Timing.of([found.searches.high_s])
    return [
        in_ms(f"{name}: search, median", searches, exact),
        in_ms(f"{name}: search, slowest of {TIMED}", slowest, exact),
        of(f"{name}: recall@10 of {PROBES} other probes", "", found.recall, 1.0, ratio=found.recall),
        of(f"{name}: index in memory", "GB", found.index_gb, whole, half, whole / found.index_gb),
        of(f"{name}: half-precision file on disk", "GB", found.parts_gb, whole, half, 2.0),
        of(f"{name}: most memory while building", "GB", found.peak_gb, whole, half, whole / found.peak_gb),
        of(f"{name}: time to build", "s", found.built_s),
        of(f"{name}: time to open", "s", found.loaded_s),
    ]


def _build_and_search(real: Gallery, count: int, place: Path, say: Callable[[str], None]) -> Found:
    start = time.perf_counter()
    about = store.About(real.fingerprint, f"{count:,} mixed descriptors", real.scoring)
    records = [ImageRecord(f"images/{i:08d}.jpg") for i in range(count)]
    store.write(place, records, _blocks(real, count, np.random.default_rng(0), say), about, store.Storage(say=say))
    built_s, peak = time.perf_counter() - start, _peak_gb()
    start = time.perf_counter()
    large = galleries.load(place)
    loaded_s = time.perf_counter() - start
    parts, presence = _mix(real, PROBES, np.random.default_rng(1))
    maps = np.zeros((presence.shape[1], 0, 0), np.float32)
    probes = [Descriptor(p, r, maps, maps) for p, r in zip(parts, presence, strict=True)]
    truth, exact_s = _exact(large, parts, presence, real.scoring, say)
    for probe in probes:  # warm: the pages of the candidates are read once
        large.search(probe, 10, real.scoring)
    times, hits = [], 0
    for probe, right in zip(probes, truth, strict=True):
        start = time.perf_counter()
        found = large.search(probe, 10, real.scoring)
        times.append(time.perf_counter() - start)
        hits += len({match.index for match in found} & set(right.tolist()))
    searches, recall = Timing.of(times[:TIMED]), hits / truth.size
    index_gb, parts_gb = ((place / name).stat().st_size / 1e9 for name in (galleries.VECTORS, galleries.PARTS))
    return Found(searches, exact_s, recall, built_s, peak, loaded_s, index_gb, parts_gb, large.exact)


def _mix(real: Gallery, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return `(n, P+1, D)` float32 and `(n, P)` float32: each a random blend of two real descriptors, with noise."""
    first, second = rng.integers(0, len(real), (2, count))
    share = rng.random((count, 1, 1), np.float32)
    parts = share * real.parts[first].astype(np.float32) + (1 - share) * real.parts[second].astype(np.float32)
    length = np.linalg.norm(parts.reshape(count, -1), axis=1)[:, None, None]
    noise = rng.standard_normal(parts.shape, np.float32)
    parts += noise * (JITTER * length / np.sqrt(parts[0].size))
    presence = share[:, 0] * real.presence[first] + (1 - share[:, 0]) * real.presence[second]
    return parts, presence


def _blocks(real: Gallery, count: int, rng: np.random.Generator, say: Callable[[str], None]) -> Iterator:
    last = time.monotonic()
    for start in range(0, count, store.BLOCK):
        parts, presence = _mix(real, min(store.BLOCK, count - start), rng)
        yield parts.astype(np.float16), presence
        if time.monotonic() - last > 5:
            last = time.monotonic()
            say(f"mixed {start:,} of {count:,}")


def _exact(
    large: Gallery, parts: np.ndarray, presence: np.ndarray, scoring: Scoring, say: Callable[[str], None]
) -> tuple[np.ndarray, float]:
    """Return the ten nearest of each probe, `(Q, 10)` rows, by float32 similarity; and the seconds that one takes."""
    vectors = similarity.probe_vectors(parts, presence, scoring)
    best: list[tuple[np.ndarray, np.ndarray]] = []
    one_s, last = 0.0, time.monotonic()
    for start in range(0, len(large), store.BLOCK):
        rows = np.arange(start, min(start + store.BLOCK, len(large)))
        stored, rho = large.rows(rows)
        block = similarity.gallery_vectors(stored.astype(np.float32), rho, scoring)
        begun = time.perf_counter()
        block @ vectors[0]
        one_s += time.perf_counter() - begun
        values = vectors @ block.T
        top = (
            np.argpartition(-values, 9, axis=1)[:, :10]
            if len(rows) > 10
            else np.tile(np.arange(len(rows)), (PROBES, 1))
        )
        best.append((np.take_along_axis(values, top, 1), rows[top]))
        if time.monotonic() - last > 5:
            last = time.monotonic()
            say(f"compared exactly {start:,} of {len(large):,}")
    values, rows = (np.concatenate(part, axis=1) for part in zip(*best, strict=True))
    return np.take_along_axis(rows, np.argsort(-values, axis=1)[:, :10], 1), one_s


def _peak_gb() -> float:
    """Return the most memory that this process has held so far, in GB."""
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9
