"""A sweep, checked against a slow loop."""

import numpy as np
import pytest

from reid_demo import occlude
from reid_demo.errors import GalleryError
from reid_demo.records import Occlusion
from reid_demo.whatif.sweep import Window, sweep_map


def test_sweep_equals_a_slow_loop(tiny_engine, probe_image):
    groups = [[4], [3, 5]]
    steps = list(tiny_engine.sweep(probe_image, groups, Window(0.8, 0.5, "black")))
    last = steps[-1]
    assert last.done == last.total == len(last.boxes) and not np.isnan(last.similarity_change).any()
    assert np.isnan(steps[0].similarity_change).any() == (steps[0].done < last.total)
    assert last.similarity_change.shape == last.rank_change.shape == (2, last.total)

    def slow(image):
        values = tiny_engine.gallery.scores(tiny_engine.describe(image))
        ranks = [sum(value > best for value in values) + 1 for best in (values[4], max(values[3], values[5]))]
        return np.array([values[4], max(values[3], values[5])]), np.array(ranks)

    similarity, rank = slow(probe_image)
    np.testing.assert_allclose(last.base, np.stack([similarity, rank], axis=1), atol=1e-5)
    for i in range(4):
        hidden = occlude.apply(probe_image, [Occlusion("box", "black", tuple(last.boxes[i]))])
        values, ranks = slow(hidden)
        np.testing.assert_allclose(values - similarity, last.similarity_change[:, i], atol=1e-5)
        assert np.array_equal(ranks - rank, last.rank_change[:, i])


def test_a_sweep_map_is_the_mean_over_the_windows_of_a_cell():
    boxes = np.array([(0, 0, 1, 0.5), (0, 0, 0.5, 1), (0.5, 0.5, 1, 1)])
    found = sweep_map(boxes, np.array([1.0, -3.0, np.nan]), 4, 4)
    assert np.array_equal(found[:2, :2], np.full((2, 2), -1)) and np.array_equal(found[:2, 2:], np.full((2, 2), 1))
    assert np.array_equal(found[2:, :2], np.full((2, 2), -3)) and np.isnan(found[2:, 2:]).all()


def test_a_sweep_watches_what_is_there(tiny_engine, probe_image):
    for groups in ([], [[]], [[99]]):
        with pytest.raises(GalleryError):
            tiny_engine.sweep(probe_image, groups)
