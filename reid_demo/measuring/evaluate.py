"""Benchmarks: describe, compare, measure. Uses the same describe path and similarity as the page."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from reid_demo import occlude
from reid_demo.data.layouts import PROBES, Benchmark, load_benchmark, read_probes
from reid_demo.errors import DatasetError, ImageError
from reid_demo.images import read_image
from reid_demo.measuring.metrics import rank_metrics
from reid_demo.measuring.rerank import K1, K2, WEIGHT, rerank
from reid_demo.model.describer import Describer
from reid_demo.records import WEIGHINGS, ImageRecord, Occlusion, Scoring
from reid_demo.search import gallery as galleries
from reid_demo.search import similarity as matching
from reid_demo.search.gallery_views import ONE_VIEW, describe_in_views

DATASETS = (*PROBES, "gallery")
GALLERY_PROBES = ("whole", "occluded", "partial")
RANKS = (1, 3, 5, 10)


def evaluate(
    describer: Describer,
    dataset: str,
    root: Path,
    *,
    scoring: Scoring = Scoring(),
    occlusion: Occlusion | None = None,
    probes: str | None = None,
    reranked: bool = False,
    views: Sequence[str] = ONE_VIEW,
    cutouts: occlude.Cutouts | None = None,
    memory: dict | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict:
    """Measure a network on a data set.

    Args:
        describer: the network.
        dataset: one of `DATASETS`: a layout of `load_benchmark`, or `gallery` (a gallery and the probes it ships; the
            same person and camera are excluded where both cameras are known).
        root: the data set's or the gallery's folder.
        scoring: which similarity.
        occlusion: hides part of every query.
        probes: which probe set of the data set; default: the one that its protocol means.
        cutouts: what an occlusion by a person or an object puts in front.
        reranked: rank by k-reciprocal re-ranking of all queries and gallery images together.
        views: in which the gallery's images are described: `views.VIEWS`, as `index` does, or once, as in the paper.
        memory: keeps descriptions from one measurement by this describer to the next; give it an empty one first.
        progress: gets (images described, images in all).

    Returns:
        `dataset, protocol, num_query, num_gallery, rank1, rank3, rank5, rank10, mAP, mINP`; fractions. `num_query`
        counts the queries that have a right answer.

    Raises:
        DatasetError: the root is not as its layout says, an image cannot be read, or no query has a right answer; the
            message names the path.
        OcclusionError: no such occlusion or fill.
    """
    root = Path(root)
    if occlusion is not None:
        occlude.check(occlusion)
    if dataset == "gallery":
        benchmark, q_root = _gallery_benchmark(root, probes or "whole"), root / "probes"
    elif dataset in PROBES:
        benchmark, q_root = load_benchmark(dataset, root, probes), root
    else:
        raise DatasetError(f"Unknown data set {dataset!r}; choose one of {', '.join(DATASETS)}.")
    queries, images = benchmark.queries, benchmark.gallery
    # An unknown id is nobody else's, an unknown camera no other's.
    pids = [_column(rows, "pid", unknown) for rows, unknown in ((queries, -2), (images, -3))]
    camids = [_column(rows, "camid", unknown) for rows, unknown in ((queries, -2), (images, -3))]
    if not np.isin(pids[0], pids[1]).any():
        raise DatasetError(f"No query of {root} has a right answer in its gallery; check the ids in the file names.")

    memory = {} if memory is None else memory
    described = []
    done, total = 0, len(queries) + len(images)
    for place, records, hidden, shown in ((q_root, queries, occlusion, ONE_VIEW), (root, images, None, tuple(views))):
        key = place, tuple(record.path for record in records), hidden, shown
        if key not in memory:
            pictures = _pictures(place, records)
            if hidden is not None:
                pictures = (occlude.apply(picture, [hidden], cutouts) for picture in pictures)
            memory[key] = _describe(describer, pictures, shown, lambda count, done=done: progress(done + count, total))
        done += len(records)
        described += memory[key]
    q_parts, q_presence, g_parts, g_presence = described
    if reranked:
        parts, presence = np.concatenate([q_parts, g_parts]), np.concatenate([q_presence, g_presence])
        similarity = _reranked(parts, presence, len(queries), scoring)
    else:
        similarity = matching.similarity_matrix(q_parts, q_presence, g_parts, g_presence, scoring)
    try:
        result = rank_metrics(similarity, *pids, *camids, exclude_same_camera=benchmark.exclude_same_camera)
    except DatasetError as error:
        raise DatasetError(f"{error} The data set is {root}.") from error
    cmc = result["cmc"]
    how = "cosine, adaptive weights" if scoring.weighing == "adaptive" else WEIGHINGS[scoring.weighing]
    hidden = f", {occlusion.kind} of every query filled with {occlusion.fill}" if occlusion else ""
    seen = f", gallery images in {len(views)} views" if len(views) > 1 else ""
    again = f", k-reciprocal re-ranking (k1 {K1}, k2 {K2}, lambda {WEIGHT})" if reranked else ""
    return {
        "dataset": dataset,
        "protocol": f"{benchmark.protocol}, {how}{hidden}{seen}{again}",
        "num_query": result["num_query"],
        "num_gallery": len(images),
        **{f"rank{k}": round(float(cmc[k - 1]), 4) for k in RANKS},
        "mAP": round(result["mAP"], 4),
        "mINP": round(result["mINP"], 4),
    }


def signed(record: dict, weights: str, fingerprint: str, command: str) -> dict:
    """Add to a record of `evaluate` what was measured and how to do it again: `weights, fingerprint, command`."""
    return {**record, "weights": weights, "fingerprint": fingerprint, "command": command}


def _gallery_benchmark(root: Path, probes: str) -> Benchmark:
    if probes not in GALLERY_PROBES:
        raise DatasetError(f"Unknown probes {probes!r}; choose one of {', '.join(GALLERY_PROBES)}.")
    queries = [ImageRecord(row["path"], row["pid"], row["camid"]) for row in read_probes(root) if row["kind"] == probes]
    if not queries:
        raise DatasetError(f"The listing {root / 'probes' / 'probes.jsonl'} has no {probes} probe.")
    return Benchmark(queries, galleries.load(root).records, True, f"{probes} probes, same person and camera excluded")


def _pictures(root: Path, records: Sequence[ImageRecord]) -> Iterator[np.ndarray]:
    for record in records:
        try:
            yield read_image(root / record.path)
        except ImageError as error:
            raise DatasetError(f"The image {root / record.path} cannot be used: {error}") from error


def _describe(
    describer: Describer, pictures: Iterable[np.ndarray], views: Sequence[str], told: Callable[[int], None]
) -> tuple[np.ndarray, np.ndarray]:
    """Give parts `(M, P+1, D)` and presence `(M, P)`; attention maps are not kept. `told` gets how many are done."""
    kept = []
    for d in describe_in_views(describer, pictures, views):
        kept.append((d.parts, d.presence))
        told(len(kept))
    return np.stack([parts for parts, _ in kept]), np.stack([presence for _, presence in kept])


def _reranked(parts: np.ndarray, presence: np.ndarray, num_query: int, scoring: Scoring) -> np.ndarray:
    probes = matching.probe_vectors(parts, presence, scoring)
    candidates = matching.gallery_vectors(parts, presence, scoring)

    def rows(start: int, stop: int) -> np.ndarray:
        return probes[start:stop] @ candidates.T

    return rerank(rows, num_query, len(parts))


def _column(records: Sequence[ImageRecord], name: str, unknown: int) -> np.ndarray:
    return np.array([unknown if (value := getattr(record, name)) is None else value for record in records])
