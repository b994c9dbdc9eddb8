"""The similarity: its terms sum to it, and plain loops agree."""

import threading
import time

import numpy as np
import pytest
import torch

from reid_demo.errors import ConfigError, ShapeError
from reid_demo.records import Scoring
from reid_demo.search import similarity

RNG = np.random.default_rng(0)
PROBE, PARTS = RNG.normal(size=(4, 6)).astype(np.float32), RNG.normal(size=(9, 4, 6)).astype(np.float32)
RHO, RHOS = RNG.dirichlet(np.ones(3)).astype(np.float32), RNG.dirichlet(np.ones(3), 9).astype(np.float32)
SCORINGS = [
    Scoring(),
    Scoring("adaptive"),
    Scoring(parts=(True, False, True, False)),
    Scoring("adaptive", parts=(False, True, True, True)),
    Scoring("part_aware"),
    Scoring("part_aware", parts=(False, True, False, True)),
]


def slow_similarity(probe, rho, parts, other_rho, scoring) -> float:
    on = scoring.parts or (True,) * 4
    if scoring.weighing == "part_aware":
        total = weight = 0.0
        for i in range(4):
            seen = 1.0 if i == 0 else min(1.0, 3 * rho[i - 1]) ** 0.25
            trust = float(on[i]) * np.linalg.norm(probe[i]) * seen
            total += trust * probe[i] @ parts[i] / np.linalg.norm(probe[i]) / np.linalg.norm(parts[i])
            weight += trust
        return total / weight
    f, g = [], []
    for i in range(4):
        if on[i]:
            adaptive = scoring.weighing == "adaptive" and i > 0
            f.extend(probe[i] * (3 * rho[i - 1] if adaptive else 1))
            g.extend(parts[i] * (3 * other_rho[i - 1] if adaptive else 1))
    return float(np.dot(f, g) / np.linalg.norm(f) / np.linalg.norm(g))


@pytest.mark.parametrize("scoring", SCORINGS, ids=str)
def test_terms_sum_to_the_similarity_of_a_slow_loop(scoring):
    values = similarity.similarity_matrix(PROBE[None], RHO[None], PARTS, RHOS, scoring)[0]
    terms = similarity.contributions(PROBE, RHO, PARTS, RHOS, scoring)
    slow = [slow_similarity(PROBE, RHO, PARTS[g], RHOS[g], scoring) for g in range(9)]
    assert terms.shape == (9, 4) and values.shape == (9,)
    np.testing.assert_allclose(values, slow, atol=1e-5)
    np.testing.assert_allclose(terms.sum(1), values, atol=1e-5)
    for i, on in enumerate(scoring.parts or (True,) * 4):
        assert on or not terms[:, i].any()


def test_unit_vectors_give_the_cosine():
    vectors = similarity.unit_vectors(PARTS, RHOS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    matrix = similarity.similarity_matrix(PARTS, RHOS, PARTS, RHOS)
    np.testing.assert_allclose(np.diag(matrix), 1, atol=1e-5)


def test_adaptive_weights_change_the_ranking_values():
    plain, weighted = (similarity.similarity_matrix(PROBE[None], RHO[None], PARTS, RHOS, s)[0] for s in SCORINGS[:2])
    assert not np.allclose(plain, weighted, atol=1e-3)


def test_part_aware_asks_for_what_the_probe_has():
    """A candidate gains nothing from a part that the probe lacks, however long that part's descriptor is."""
    probe, aware = PROBE.copy(), Scoring("part_aware")
    probe[3] *= 1e-3
    longer = PARTS.copy()
    longer[:, 3] *= 50
    before, after = (
        similarity.similarity_matrix(probe[None], RHO[None], parts, RHOS, aware)[0] for parts in (PARTS, longer)
    )
    np.testing.assert_allclose(before, after, atol=1e-6)
    itself = similarity.similarity_matrix(probe[None], RHO[None], probe[None], RHO[None], aware)[0]
    assert itself[0] == pytest.approx(1, abs=1e-6)
    hidden = similarity.contributions(PROBE, np.array([0.5, 0.5, 0], np.float32), PARTS, RHOS, aware)
    assert not hidden[:, 3].any()


@pytest.mark.parametrize("scoring", SCORINGS, ids=str)
def test_the_vectors_of_candidates_have_length_one_and_their_products_are_the_similarity(scoring):
    candidates = similarity.gallery_vectors(PARTS, RHOS, scoring)
    assert candidates.shape == (9, 24) and candidates.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(candidates, axis=1), 1, atol=1e-6)
    values = candidates @ similarity.probe_vectors(PROBE, RHO, scoring)
    np.testing.assert_allclose(
        values, similarity.similarity_matrix(PROBE[None], RHO[None], PARTS, RHOS, scoring)[0], atol=1e-6
    )


def test_no_parts_is_the_global_cosine():
    empty = np.zeros((9, 0), np.float32)
    terms = similarity.contributions(PROBE[:1], empty[0], PARTS[:, :1], empty)
    assert terms.shape == (9, 1)


def test_bad_switches_are_refused():
    with pytest.raises(ConfigError, match="at least one"):
        similarity.part_weights(RHO, Scoring(parts=(False,) * 4))
    with pytest.raises(ConfigError, match="4 part switches"):
        similarity.part_weights(RHO, Scoring(parts=(True,)))
    with pytest.raises(ShapeError):
        similarity.unit_vectors(PARTS[:, :2], RHOS)


@pytest.mark.parametrize("count", [1, 64, 300])
@pytest.mark.parametrize("probes", [1, 7])
def test_products_and_lengths_are_numpy_s(count, probes):
    rng = np.random.default_rng(0)
    parts = rng.standard_normal((count, 3, 40)).astype(np.float16)
    asked = rng.standard_normal((probes, 3, 40), np.float32)
    found = similarity.part_products(parts, asked)
    assert found.dtype == np.float32 and found.shape == (probes, 3, count)
    np.testing.assert_allclose(found, np.einsum("gtd,ntd->ntg", parts.astype(float), asked), atol=1e-4)
    lengths = similarity.part_lengths(parts)
    assert lengths.dtype == np.float32
    np.testing.assert_allclose(lengths, np.linalg.norm(parts.astype(float), axis=2).T, rtol=1e-5)


@pytest.mark.parametrize("count", [1, 95, 96, 300])
def test_the_compiled_loop_is_the_loop_in_python_to_the_last_bit(count):
    rng = np.random.default_rng(0)
    asked, parts = rng.standard_normal((3, 2, 40), np.float32), rng.standard_normal((count, 3, 40)).astype(np.float16)
    blocks = -(-count // similarity.CACHED_ROWS)
    asked, parts = torch.from_numpy(asked), torch.from_numpy(parts)
    found = [torch.zeros(blocks, 3, 2, similarity.CACHED_ROWS) for _ in range(2)]
    for multiply, products in zip((similarity._multiply_blocks, similarity._compiled_blocks()), found, strict=True):
        multiply(asked, parts, torch.zeros(similarity.CACHED_ROWS, 3, 40), products)
    assert torch.equal(*found)


@pytest.mark.quiet
def test_a_pass_does_not_wait_for_each_block_while_another_thread_works():
    """A loop in Python did: 20,000 rows took 250 times as long on one thread beside another that calculates."""
    parts, asked = np.ones((9600, 9, 64), np.float16), np.ones((1, 9, 64), np.float32)
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            sum(range(1000))

    def seconds() -> float:
        begun = time.perf_counter()
        similarity.part_products(parts, asked)
        return time.perf_counter() - begun

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        similarity.part_products(parts, asked)
        alone = np.median([seconds() for _ in range(5)])
        other = threading.Thread(target=work)
        other.start()
        beside = np.median([seconds() for _ in range(5)])
    finally:
        ended.set()
        torch.set_num_threads(threads)
    other.join()
    assert beside < 10 * alone + 0.05, (beside, alone)
