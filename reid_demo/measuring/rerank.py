"""k-reciprocal re-ranking (Zhong et al., 2017), in memory linear in the number of images. Not in the paper.

Two images are close if they share k-reciprocal neighbours. Re-ranking sees all queries and gallery images of a
benchmark at once, so its numbers are not those of a search for a single probe.
Knows no model and no images: a function returns similarities a few rows at a time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from reid_demo.errors import ConfigError, ShapeError

K1, K2, WEIGHT = 20, 6, 0.3  # from the authors' code
CHUNK = 512  # rows of similarities in memory at once

SimilarityRows = Callable[[int, int], np.ndarray]


@dataclass(frozen=True)
class Settings:
    """The parameters of re-ranking, with the authors' defaults."""

    k1: int = K1  # size of a neighbourhood, capped at the number of other images
    k2: int = K2  # number of neighbours averaged in query expansion; 1 turns it off
    weight: float = WEIGHT  # lambda, the weight of the original distance, 0 to 1
    chunk: int = CHUNK  # rows of similarities in memory at once

    def __post_init__(self) -> None:
        """Refuse settings out of range."""
        if self.k1 < 1 or self.k2 < 1 or self.chunk < 1 or not 0 <= self.weight <= 1:
            raise ConfigError("Re-ranking needs k1, k2 and chunk of at least 1, and a weight between 0 and 1.")


def rerank(
    similarity_rows: SimilarityRows, num_query: int, num_images: int, settings: Settings = Settings()
) -> np.ndarray:
    """Return re-ranked similarities.

    The original distance is `2 - 2 similarity` (for unit vectors their squared Euclidean distance) divided by the row's
    maximum, as in the authors' code. Ties go to the earlier image.

    Args:
        similarity_rows: called with `(start, stop)`; returns the `(stop - start, Q + G)` similarities of images
            `start:stop` to all images, queries first. Symmetric in the authors' work; of a similarity that is not, such
            as the part-aware one, a row takes its image as the probe. Every row is requested twice, at most
            `settings.chunk` rows per call.
        num_query: Q.
        num_images: Q + G.
        settings: see `Settings`.

    Returns:
        `(Q, G)` float32, at most 1, higher is closer: 1 minus the weighted sum of Jaccard and original distance.

    Raises:
        ShapeError: no query or no gallery, or rows of another shape.
    """
    if not 0 < num_query < num_images:
        raise ShapeError(f"Re-ranking needs queries and a gallery; got {num_query} queries of {num_images} images.")
    k1, k2, weight = min(settings.k1, num_images - 1), settings.k2, settings.weight

    def blocks() -> Iterator[tuple[int, np.ndarray]]:
        for start in range(0, num_images, settings.chunk):
            yield start, _distances(similarity_rows, start, min(start + settings.chunk, num_images), num_images)

    near = np.empty((num_images, max(k1 + 1, min(k2, num_images))), np.int32)  # nearest first, includes itself
    first = np.empty((num_query, num_images - num_query), np.float32)
    for start, rows in blocks():
        for i, row in enumerate(rows, start):
            near[i] = _nearest(row, near.shape[1])
            if i < num_query:
                first[i] = row[num_query:]

    halves = [_reciprocal(near, i, round(k1 / 2)) for i in range(num_images)]
    columns, values = [], []
    for start, rows in blocks():
        for i, row in enumerate(rows, start):
            hood = _neighbourhood(_reciprocal(near, i, k1), halves)
            closeness = np.exp(-row[hood])
            columns.append(hood)
            values.append(closeness / closeness.sum())
    if k2 > 1:
        columns, values = _average(columns, values, near[:, :k2])
    first *= weight
    first += (1 - weight) * _jaccard_distances(columns, values, num_query, num_images)
    return np.subtract(1, first, out=first)


def _distances(similarity_rows: SimilarityRows, start: int, stop: int, num_images: int) -> np.ndarray:
    """Return the `(stop - start, Q + G)` float32 distances of some images to all, each row divided by its maximum."""
    rows = np.asarray(similarity_rows(start, stop), np.float32)
    if rows.shape != (stop - start, num_images):
        raise ShapeError(f"Expected similarities {(stop - start, num_images)}, got {rows.shape}.")
    rows = np.maximum(2 - 2 * rows, 0)
    return rows / np.maximum(rows.max(axis=1, keepdims=True), 1e-12)


def _nearest(row: np.ndarray, count: int) -> np.ndarray:
    """Return the `count` nearest images, nearest first, ties in order."""
    limit = np.partition(row, count - 1)[count - 1]
    candidates = np.flatnonzero(row <= limit)
    return candidates[np.argsort(row[candidates], kind="stable")][:count]


def _reciprocal(near: np.ndarray, i: int, k: int) -> np.ndarray:
    forward = near[i, : k + 1]
    return forward[(near[forward, : k + 1] == i).any(axis=1)]


def _neighbourhood(own: np.ndarray, halves: list[np.ndarray]) -> np.ndarray:
    """Expand a k-reciprocal set with the k/2-reciprocal set of each member that overlaps it by more than two thirds."""
    wide = [own]
    for candidate in own:
        theirs = halves[candidate]
        if 3 * (theirs[:, None] == own).sum() > 2 * len(theirs):
            wide.append(theirs)
    return np.unique(np.concatenate(wide))


def _average(
    columns: list[np.ndarray], values: list[np.ndarray], near: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Replace each image's sparse row by the mean over its nearest images."""
    wide, mean = [], []
    for neighbours in near:
        joined, place = np.unique(np.concatenate([columns[j] for j in neighbours]), return_inverse=True)
        total = np.bincount(place, np.concatenate([values[j] for j in neighbours]), len(joined))
        wide.append(joined)
        mean.append((total / len(neighbours)).astype(np.float32))
    return wide, mean


def _jaccard_distances(
    columns: list[np.ndarray], values: list[np.ndarray], num_query: int, num_images: int
) -> np.ndarray:
    """Return `(Q, G)` distances `1 - sum(min) / sum(max)` of sparse rows that each sum to 1."""
    rows = np.repeat(np.arange(num_images), [len(c) for c in columns])
    flat, weights = np.concatenate(columns), np.concatenate(values)
    held = rows >= num_query  # the gallery's entries, sorted by column
    order = np.argsort(flat[held], kind="stable")
    g_rows, g_weights = rows[held][order] - num_query, weights[held][order]
    starts = np.searchsorted(flat[held][order], np.arange(num_images + 1))
    out = np.empty((num_query, num_images - num_query), np.float32)
    for q in range(num_query):
        spans = [slice(starts[c], starts[c + 1]) for c in columns[q]]
        least = [np.minimum(v, g_weights[span]) for v, span in zip(values[q], spans, strict=True)]
        shared = np.bincount(
            np.concatenate([g_rows[span] for span in spans]), np.concatenate(least), num_images - num_query
        )
        out[q] = 1 - shared / (2 - shared)
    return out
