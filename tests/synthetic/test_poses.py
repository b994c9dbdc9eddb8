"""Poses, without a mesh."""

import numpy as np
import pytest

pytest.importorskip("scipy")


from reid_demo.synthetic import poses


def test_shares_of_poses_sum_to_1():
    assert sum(poses.POSES.values()) == pytest.approx(1)


def test_aim_takes_one_direction_to_the_other_and_keeps_lengths():
    rng = np.random.default_rng(0)
    for _ in range(20):
        start, end = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
        turn = poses.aim(start, end)
        np.testing.assert_allclose(turn @ start, end, atol=1e-9)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
