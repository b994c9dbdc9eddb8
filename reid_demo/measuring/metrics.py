"""From similarities to CMC, mAP and mINP; pure numpy."""

import numpy as np

from reid_demo.errors import DatasetError, ShapeError
from reid_demo.records import Identities

JUNK = -1  # pid of images that a protocol leaves out of every list


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
        similarity: `(Q, G)`, finite, higher is closer; equal values keep the gallery's order.
        queries: Q images.
        gallery: G images; junk (pid -1) is left out of every list, distractors (pid 0) are right for nobody.
        exclude_same_camera: leave out gallery images of the query's person under its own camera (Market-1501).
        max_rank: length of the CMC curve; it may pass the size of the gallery.

    Returns:
        `cmc` `(max_rank,)`, `mAP`, `mINP` as fractions, and `num_query`, the queries with at least one right answer;
        the means are over these. `cmc[k - 1]` is R-k. A query's AP is the mean, over its right answers, of the share
        of right answers down to each; its INP is their number divided by the rank of the last.

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
