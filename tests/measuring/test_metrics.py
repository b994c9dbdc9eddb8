"""Hand-worked rankings: the same-camera rule, junk, ties, no valid query."""

import numpy as np
import pytest

from reid_demo.errors import DatasetError, ShapeError
from reid_demo.measuring.metrics import rank_metrics
from reid_demo.records import Identities


def run(similarity, q_pids, g_pids, q_camids, g_camids, **options):
    queries, gallery = Identities.of(q_pids, q_camids), Identities.of(g_pids, g_camids)
    return rank_metrics(np.array(similarity), queries, gallery, **options)


def test_hand_worked_ranking():
    # order: wrong, right, wrong, right -> AP (1/2 + 2/4) / 2, first at 2, last at 4
    result = run([[0.9, 0.8, 0.7, 0.6]], [1], [2, 1, 3, 1], [1], [2, 2, 2, 2])
    assert result["mAP"] == pytest.approx(0.5)
    assert result["mINP"] == pytest.approx(2 / 4)
    assert result["cmc"][:3].tolist() == [0, 1, 1]


def test_same_person_and_camera_is_left_out():
    similarity = [[0.9, 0.8, 0.7]]
    assert run(similarity, [1], [1, 2, 1], [1], [1, 2, 2])["cmc"][0] == 0
    assert run(similarity, [1], [1, 2, 1], [1], [1, 2, 2], exclude_same_camera=False)["cmc"][0] == 1


def test_junk_is_left_out_and_distractors_stay():
    assert run([[0.9, 0.8]], [1], [-1, 1], [1], [2, 2])["cmc"][0] == 1
    assert run([[0.9, 0.8]], [1], [0, 1], [1], [2, 2])["cmc"][0] == 0


def test_junk_and_distractors_are_right_for_nobody():
    for pid in (0, -1, None):
        with pytest.raises(DatasetError, match="No query"):
            run([[0.9, 0.8]], [pid], [pid, 1], [1], [2, 2])


def test_two_unknown_cameras_are_not_the_same():
    assert run([[0.9, 0.8]], [1], [1, 2], [None], [None, None])["cmc"][0] == 1
    with pytest.raises(DatasetError, match="No query"):
        run([[0.9, 0.8]], [1], [1, 2], [0], [0, 0])


def test_every_number_of_two_queries_by_hand():
    # query A: right at ranks 2, 4 and 6 of 6; query B: its one right answer at rank 5
    similarity = [[0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [0.5, 0.9, 0.8, 0.7, 0.6, 0.4]]
    result = run(similarity, [1, 2], [2, 1, 3, 1, 4, 1], [1, 1], [2] * 6)
    assert result["cmc"].tolist() == [0, 0.5, 0.5, 0.5, 1, 1, 1, 1, 1, 1]
    assert result["mAP"] == pytest.approx(((1 / 2 + 2 / 4 + 3 / 6) / 3 + 1 / 5) / 2)
    assert result["mINP"] == pytest.approx((3 / 6 + 1 / 5) / 2)
    assert result["num_query"] == 2


def test_ranks_past_the_gallery_and_beyond_the_curve():
    assert run([[0.9, 0.8]], [1], [2, 1], [1], [2, 2])["cmc"].tolist() == [0] + [1] * 9
    late = run([[12 - i for i in range(12)]], [1], [2] * 11 + [1], [1], [2] * 12)
    assert late["cmc"].tolist() == [0] * 10 and late["mINP"] == pytest.approx(1 / 12)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_broken_similarities_are_refused(value):
    with pytest.raises(ShapeError, match="not finite"):
        run([[0.9, value]], [1], [2, 1], [1], [2, 2])


def test_ties_keep_the_order_of_the_gallery():
    assert run([[0.5, 0.5]], [1], [2, 1], [1], [2, 2])["cmc"][:2].tolist() == [0, 1]


def test_a_query_without_a_right_answer_does_not_count():
    result = run([[0.9, 0.1], [0.9, 0.1]], [1, 7], [1, 2], [1, 1], [2, 2])
    assert result["num_query"] == 1 and result["mAP"] == 1
    with pytest.raises(DatasetError, match="No query"):
        run([[0.9]], [7], [1], [1], [2])


def test_lengths_must_fit():
    with pytest.raises(ShapeError):
        run([[0.9, 0.2]], [1], [1], [1], [2])


def test_against_a_slow_loop():
    rng = np.random.default_rng(0)
    similarity = rng.random((20, 60))
    q_pids, g_pids = rng.integers(1, 9, 20), rng.integers(1, 9, 60)
    q_camids, g_camids = rng.integers(0, 3, 20), rng.integers(0, 3, 60)
    precisions, firsts = [], []
    for q in range(20):
        ranked = sorted(range(60), key=lambda g: -similarity[q, g])
        ranked = [g for g in ranked if not (g_pids[g] == q_pids[q] and g_camids[g] == q_camids[q])]
        right = total = 0
        first = None
        for place, g in enumerate(ranked, start=1):
            if g_pids[g] == q_pids[q]:
                right += 1
                total += right / place
                first = first or place
        if right:
            precisions.append(total / right)
            firsts.append(first)
    result = run(similarity, q_pids, g_pids, q_camids, g_camids)
    assert result["mAP"] == pytest.approx(np.mean(precisions))
    assert result["cmc"][4] == pytest.approx(np.mean([first <= 5 for first in firsts]))
