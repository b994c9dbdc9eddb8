"""Compute CMC, mAP and mINP from similarities, and the area under a ROC curve; pure numpy."""

import numpy as np

from reid_demo.errors import DatasetError, ShapeError
from reid_demo.records import Identities

JUNK = -1  # pid of images that the protocol drops from every list


def rank_metrics(
    similarity: np.ndarray,
    queries: Identities,
    gallery: Identities,
    *,
    exclude_same_camera: bool = True,
    max_rank: int = 10,
) -> dict:
    """Return CMC, mAP and mINP of a benchmark.

    Args:
        similarity: `(Q, G)`, finite, higher is closer; ties keep the gallery's order.
        queries: Q images.
        gallery: G images; junk (pid -1) is dropped from every list, distractors (pid 0) are never a right answer.
        exclude_same_camera: leave out gallery images of the query's person under its own camera (Market-1501).
        max_rank: length of the CMC curve; can exceed the size of the gallery.

    Returns:
        `cmc` `(max_rank,)`, `mAP` and `mINP` as fractions, averaged over the `num_query` queries with a right answer.
        `cmc[k - 1]` is R-k. AP averages the precision at the rank of each right answer; INP is the number of right
        answers divided by the rank of the last.

    Raises:
        ShapeError: lengths differ, or a similarity is not finite.
        DatasetError: no query has a right answer.
    """
    if similarity.shape != (len(queries), len(gallery)):
        words = f"{len(queries)} queries and {len(gallery)} images"
        raise ShapeError(f"similarity {similarity.shape} does not fit {words}.")
    if not np.isfinite(similarity).all():
        raise ShapeError("A similarity is not finite; the network's descriptors are broken.")
    curves, precisions, penalties = [], [], []
    for row, pid, camid in zip(similarity, queries.pids, queries.camids, strict=True):
        keep = gallery.pids != JUNK
        if exclude_same_camera:
            keep &= ~gallery.taken_with(pid, camid)
        order = np.argsort(-row, kind="stable")
        hits = gallery.show(pid)[order][keep[order]]
        if not hits.any():
            continue
        found = np.flatnonzero(hits) + 1  # ranks of the right answers
        curve = np.zeros(max_rank)
        curve[min(found[0] - 1, max_rank) :] = 1
        curves.append(curve)
        precisions.append(np.mean(np.arange(1, len(found) + 1) / found))
        penalties.append(len(found) / found[-1])
    if not curves:
        raise DatasetError("No query has a right answer in the gallery. Check ids and cameras of the data set.")
    return {
        "cmc": np.mean(curves, axis=0),
        "mAP": float(np.mean(precisions)),
        "mINP": float(np.mean(penalties)),
        "num_query": len(curves),
    }


def auc(score: np.ndarray, truth: np.ndarray) -> float:
    """Return the area under the ROC curve of `(n,)` scores, 0 to 1; 0.5 if the truth, `(n,)` bool, never varies."""
    if truth.all() or not truth.any():
        return 0.5
    order = np.sort(score[~truth])
    below = np.searchsorted(order, score[truth], "left") + np.searchsorted(order, score[truth], "right")
    return float(below.mean() / (2 * len(order)))
