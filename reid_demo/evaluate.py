"""Benchmarks: describe, compare, measure. Uses the same describe path and similarity as the page."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reid_demo import gallery as galleries
from reid_demo import matching, occlude
from reid_demo.data.datasets import load_split
from reid_demo.describe import Describer
from reid_demo.errors import DatasetError
from reid_demo.images import read_image
from reid_demo.metrics import rank_metrics
from reid_demo.records import Descriptor, ImageRecord, Occlusion, Scoring

DATASETS = ("market1501", "gallery")
PROBE_KINDS = ("whole", "occluded", "partial")


def evaluate(
    describer: Describer,
    dataset: str,
    root: Path,
    *,
    scoring: Scoring = Scoring(),
    occlusion: Occlusion | None = None,
    probes: str = "whole",
) -> dict:
    """Measure a network on a data set.

    Args:
        describer: the network.
        dataset: `market1501` (its layout, or `synthetic` in that layout) or `gallery` (a gallery and its probes).
        root: the data set's or the gallery's folder.
        scoring: which similarity.
        occlusion: hides part of every query.
        probes: for `gallery`, which of its probes.

    Returns:
        `dataset, protocol, num_query, num_gallery, rank1, rank3, rank5, rank10, mAP, mINP`; fractions.
    """
    if dataset in ("market1501", "synthetic"):
        queries = load_split(root, "query")
        images = load_split(root, "bounding_box_test")
    elif dataset == "gallery":
        queries = _gallery_probes(root, probes)
        images = galleries.load(root).records
    else:
        raise DatasetError(f"Unknown data set {dataset!r}; choose one of {', '.join((*DATASETS, 'synthetic'))}.")
    q_root = root / "probes" if dataset == "gallery" else root
    pictures = (read_image(q_root / record.path) for record in queries)
    if occlusion is not None:
        pictures = (occlude.apply(picture, [occlusion]) for picture in pictures)
    q_parts, q_presence = _stack(list(describer.describe_stream(pictures)))
    g_parts, g_presence = _stack(list(describer.describe_paths(root / record.path for record in images)))
    similarity = matching.similarity_matrix(q_parts, q_presence, g_parts, g_presence, scoring)
    result = rank_metrics(similarity, *_column(queries, images, "pid"), *_column(queries, images, "camid"))
    cmc = result["cmc"]
    hidden = f", {occlusion.kind} of every query filled with {occlusion.fill}" if occlusion else ""
    kind = f", {probes} probes" if dataset == "gallery" else ""
    how = "part-aware" if scoring.part_aware else "cosine" + (", adaptive weights" if scoring.adaptive else "")
    return {
        "dataset": dataset,
        "protocol": f"same person and camera excluded, {how}{kind}{hidden}",
        "num_query": result["num_query"],
        "num_gallery": len(images),
        **{f"rank{k}": round(float(cmc[k - 1]), 4) for k in (1, 3, 5, 10)},
        "mAP": round(result["mAP"], 4),
        "mINP": round(result["mINP"], 4),
    }


def _gallery_probes(root: Path, kind: str) -> list[ImageRecord]:
    if kind not in PROBE_KINDS:
        raise DatasetError(f"Unknown probes {kind!r}; choose one of {', '.join(PROBE_KINDS)}.")
    listing = root / "probes" / "probes.jsonl"
    if not listing.is_file():
        raise DatasetError(f"The gallery has no {listing.name}; make it with `python -m reid_demo probes`.")
    rows = [json.loads(line) for line in listing.read_text(encoding="utf-8").splitlines()]
    return [ImageRecord(row["path"], row["pid"], row["camid"]) for row in rows if row["kind"] == kind]


def _stack(descriptors: Sequence[Descriptor]) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([d.parts for d in descriptors]), np.stack([d.presence for d in descriptors])


def _column(queries: Sequence[ImageRecord], images: Sequence[ImageRecord], name: str) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.array([-2 if (v := getattr(r, name)) is None else v for r in rows]) for rows in (queries, images))
