"""Run a benchmark: describe, compare, measure. Describes and compares exactly as the page does."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid_demo import occlude
from reid_demo.data.layouts import PROBES, Benchmark, load_benchmark
from reid_demo.data.probes import read_probes
from reid_demo.errors import DatasetError, ImageError
from reid_demo.images import read_image
from reid_demo.measuring.metrics import rank_metrics
from reid_demo.measuring.rerank import K1, K2, WEIGHT, rerank
from reid_demo.model.describer import Describer
from reid_demo.records import WEIGHINGS, Identities, ImageRecord, Occlusion, Scoring
from reid_demo.search import gallery as galleries
from reid_demo.search.gallery_views import ONE_VIEW, describe_in_views
from reid_demo.search.similarity import gallery_vectors, probe_vectors, similarity_matrix

DATASETS = (*PROBES, "gallery")
GALLERY_PROBES = ("whole", "occluded", "partial")
RANKS = (1, 3, 5, 10)


@dataclass(frozen=True)
class Plan:
    """What to measure, and how."""

    dataset: str  # one of `DATASETS`: a layout of `load_benchmark`, or `gallery` (a gallery and the probes it ships)
    root: Path  # the folder of the data set or gallery
    probes: str | None = None  # which probe set; None: the one of the data set's protocol
    scoring: Scoring = Scoring()
    occlusion: Occlusion | None = None  # applied to every query
    reranked: bool = False  # by k-reciprocal re-ranking over all queries and gallery images
    views: tuple[str, ...] = ONE_VIEW  # of gallery images: one as in the paper, or `VIEWS` as in `index`

    @property
    def protocol(self) -> str:
        """Description of how queries are compared with the gallery."""
        weighing = self.scoring.weighing
        words = ["cosine, adaptive weights" if weighing == "adaptive" else WEIGHINGS[weighing]]
        if self.occlusion:
            words.append(occlude.words(self.occlusion))
        if len(self.views) > 1:
            words.append(f"gallery images in {len(self.views)} views")
        if self.reranked:
            words.append(f"k-reciprocal re-ranking (k1 {K1}, k2 {K2}, lambda {WEIGHT})")
        return ", ".join(words)


def evaluate(
    describer: Describer,
    plan: Plan,
    *,
    cutouts: occlude.Cutouts | None = None,
    memory: dict | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict:
    """Measure a network on a data set.

    Args:
        describer: the network.
        plan: what to measure. For `gallery`, images of the same person and camera are excluded if both cameras are
            known.
        cutouts: what an occlusion by a person or an object pastes.
        memory: a cache of descriptors between measurements with this describer; start with an empty dictionary.
        progress: called with (images described, images in all).

    Returns:
        `dataset, protocol, num_query, num_gallery, rank1, rank3, rank5, rank10, mAP, mINP`. The metrics are fractions;
        `num_query` counts queries with a right answer.

    Raises:
        DatasetError: the root does not follow its layout, an image cannot be read, or no query has a right answer; the
            message names the path.
        OcclusionError: unknown occlusion or fill, or a query is too small to be cut.
        GalleryError: the gallery is missing or damaged.
    """
    if plan.occlusion is not None:
        occlude.check(plan.occlusion)
    benchmark, query_root = _benchmark(plan)
    queries, gallery = (
        Identities.of((r.pid for r in records), (r.camid for r in records))
        for records in (benchmark.queries, benchmark.gallery)
    )
    if not np.isin(queries.pids[queries.pids > 0], gallery.pids).any():
        words = f"No query of {plan.root} has a right answer in its gallery; check the ids in the file names."
        raise DatasetError(words)

    total = len(queries) + len(gallery)
    memory = {} if memory is None else memory
    asked = _Batch(query_root, benchmark.queries, plan.occlusion)
    shown = _Batch(Path(plan.root), benchmark.gallery, views=tuple(plan.views))
    probes = asked.described(describer, memory, cutouts, lambda done: progress(done, total))
    images = shown.described(describer, memory, cutouts, lambda done: progress(len(queries) + done, total))
    similarity = _similarity(probes, images, plan)
    try:
        result = rank_metrics(similarity, queries, gallery, exclude_same_camera=benchmark.exclude_same_camera)
    except DatasetError as error:
        raise DatasetError(f"{error} The data set is {plan.root}.") from error
    return {
        "dataset": plan.dataset,
        "protocol": f"{benchmark.protocol}, {plan.protocol}",
        "num_query": result["num_query"],
        "num_gallery": len(gallery),
        **{f"rank{k}": round(float(result["cmc"][k - 1]), 4) for k in RANKS},
        "mAP": round(result["mAP"], 4),
        "mINP": round(result["mINP"], 4),
    }


@dataclass(frozen=True)
class _Batch:
    """Images to describe in the same way."""

    root: Path
    records: Sequence[ImageRecord]  # paths relative to `root`
    occlusion: Occlusion | None = None  # applied to each image
    views: tuple[str, ...] = ONE_VIEW

    def described(
        self,
        describer: Describer,
        memory: dict,
        cutouts: occlude.Cutouts | None,
        told: Callable[[int], None],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the parts `(M, P+1, D)` and presence `(M, P)` of the images, from `memory` if it holds them.

        Otherwise `told` is called with the number described so far.
        """
        key = self.root, tuple(record.path for record in self.records), self.occlusion, self.views
        if key not in memory:
            pictures = _pictures(self.root, self.records)
            if self.occlusion is not None:
                pictures = (occlude.apply(picture, [self.occlusion], cutouts) for picture in pictures)
            memory[key] = _describe(describer, pictures, self.views, told)
        return memory[key]


def _benchmark(plan: Plan) -> tuple[Benchmark, Path]:
    """Read queries and gallery; return them and the folder to which the queries' paths are relative."""
    root = Path(plan.root)
    if plan.dataset == "gallery":
        return _gallery_benchmark(root, plan.probes or "whole"), root / "probes"
    if plan.dataset in PROBES:
        return load_benchmark(plan.dataset, root, plan.probes), root
    raise DatasetError(f"Unknown data set {plan.dataset!r}; choose one of {', '.join(DATASETS)}.")


def _similarity(
    queries: tuple[np.ndarray, np.ndarray], gallery: tuple[np.ndarray, np.ndarray], plan: Plan
) -> np.ndarray:
    """Return the `(Q, G)` float32 similarities of queries and gallery images, each given as (parts, presence)."""
    if not plan.reranked:
        return similarity_matrix(*queries, *gallery, plan.scoring)
    parts, presence = (np.concatenate(both) for both in zip(queries, gallery, strict=True))
    probes, candidates = probe_vectors(parts, presence, plan.scoring), gallery_vectors(parts, presence, plan.scoring)
    return rerank(lambda start, stop: probes[start:stop] @ candidates.T, len(queries[0]), len(parts))


def signed(record: dict, weights: str, fingerprint: str, command: str) -> dict:
    """Return a record of `evaluate` with `weights`, `fingerprint` and the `command` that repeats it."""
    return {**record, "weights": weights, "fingerprint": fingerprint, "command": command}


def _gallery_benchmark(root: Path, probes: str) -> Benchmark:
    if probes not in GALLERY_PROBES:
        raise DatasetError(f"Unknown probes {probes!r}; choose one of {', '.join(GALLERY_PROBES)}.")
    queries = [ImageRecord(row.path, row.pid, row.camid) for row in read_probes(root) if row.kind == probes]
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
    """Return the parts `(M, P+1, D)` and presence `(M, P)` of pictures; call `told` with the number done."""
    kept = []
    for d in describe_in_views(describer, pictures, views):
        kept.append((d.parts, d.presence))
        told(len(kept))
    return np.stack([parts for parts, _ in kept]), np.stack([presence for _, presence in kept])
