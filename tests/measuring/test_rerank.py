"""Re-ranking equals a slow direct version, helps where it should, and keeps few rows in memory."""

import tracemalloc

import numpy as np
import pytest

from reid_demo.errors import ConfigError, ShapeError
from reid_demo.measuring.rerank import Settings, rerank


def direct(similarity, num_query, k1, k2, weight):
    """Follow Zhong et al. with dense matrices and plain loops."""
    count = len(similarity)
    k1 = min(k1, count - 1)
    distance = np.maximum(2 - 2 * similarity.astype(np.float64), 0)
    distance /= distance.max(axis=1, keepdims=True)
    ranks = np.argsort(distance, axis=1, kind="stable")

    def reciprocal(i, k):
        return {int(j) for j in ranks[i, : k + 1] if i in ranks[j, : k + 1]}

    vectors = np.zeros((count, count))
    for i in range(count):
        own = reciprocal(i, k1)
        wide = set(own)
        for j in own:
            theirs = reciprocal(j, round(k1 / 2))
            if len(theirs & own) > 2 / 3 * len(theirs):
                wide |= theirs
        for j in wide:
            vectors[i, j] = np.exp(-distance[i, j])
        vectors[i] /= vectors[i].sum()
    vectors = np.stack([vectors[ranks[i, :k2]].mean(axis=0) for i in range(count)])
    out = np.empty((num_query, count - num_query))
    for q in range(num_query):
        for g in range(num_query, count):
            jaccard = 1 - np.minimum(vectors[q], vectors[g]).sum() / np.maximum(vectors[q], vectors[g]).sum()
            out[q, g - num_query] = 1 - (jaccard * (1 - weight) + distance[q, g] * weight)
    return out


def people(count, dim=16, num_people=12, noise=0.6, seed=0):
    rng = np.random.default_rng(seed)
    pids = rng.integers(0, num_people, count)
    vectors = rng.normal(size=(num_people, dim))[pids] + noise * rng.normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), pids


@pytest.mark.parametrize(
    ("k1", "k2", "weight", "chunk"), [(20, 6, 0.3, 512), (7, 3, 0.5, 10), (5, 1, 0.0, 1), (500, 9, 1.0, 33)]
)
def test_equals_the_direct_version(k1, k2, weight, chunk):
    vectors, _ = people(90)
    similarity = vectors @ vectors.T
    ours = rerank(lambda a, b: similarity[a:b], 20, 90, Settings(k1, k2, weight, chunk))
    assert ours.shape == (20, 70) and ours.dtype == np.float32 and ours.max() <= 1
    np.testing.assert_allclose(ours, direct(similarity, 20, k1, k2, weight), atol=1e-5)


def test_equal_similarities_are_settled_by_order():
    vectors, _ = people(12, dim=4)
    vectors = np.repeat(vectors, 4, axis=0)  # four copies of each
    similarity = np.round(vectors @ vectors.T, 3)
    ours = rerank(lambda a, b: similarity[a:b], 10, 48, Settings(6, 3))
    np.testing.assert_allclose(ours, direct(similarity, 10, 6, 3, 0.3), atol=1e-5)


def test_all_of_the_weight_keeps_the_first_order():
    vectors, _ = people(40)
    similarity = vectors @ vectors.T
    ours = rerank(lambda a, b: similarity[a:b], 8, 40, Settings(weight=1.0))
    assert (np.argsort(-ours, axis=1) == np.argsort(-similarity[:8, 8:], axis=1)).all()


def test_neighbours_help_each_other():
    vectors, pids = people(400, num_people=20, noise=0.9)
    similarity = vectors @ vectors.T
    after = rerank(lambda a, b: similarity[a:b], 60, 400)

    def mean_average_precision(matrix):
        hits = (pids[60:] == pids[:60, None])[np.arange(60)[:, None], np.argsort(-matrix, axis=1, kind="stable")]
        precision = np.cumsum(hits, axis=1) / np.arange(1, 341)
        return ((precision * hits).sum(axis=1) / hits.sum(axis=1)).mean()

    assert mean_average_precision(after) > mean_average_precision(similarity[:60, 60:]) + 0.05


def test_memory_does_not_grow_with_the_square():
    vectors, _ = people(1200, dim=32, num_people=120)
    asked = []

    def rows(start, stop):
        asked.append(stop - start)
        return vectors[start:stop] @ vectors.T

    tracemalloc.start()
    rerank(rows, 20, 1200, Settings(chunk=16))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert max(asked) <= 16
    assert peak < 1200 * 1200 * 4 * 0.6  # of one full float32 matrix


def test_wrong_settings_and_shapes_are_refused():
    square = np.eye(4, dtype=np.float32)
    for wrong in ({"k1": 0}, {"k2": 0}, {"weight": 1.5}, {"chunk": 0}):
        with pytest.raises(ConfigError):
            Settings(**wrong)
    for num_query in (0, 4):
        with pytest.raises(ShapeError, match="queries and a gallery"):
            rerank(lambda a, b: square[a:b], num_query, 4)
    with pytest.raises(ShapeError, match="Expected similarities"):
        rerank(lambda a, b: square[a:b, :2], 1, 4)
