"""What a contribution means, on numbers and masks whose answer is known."""

import numpy as np
import pytest
from rendered_gallery import with_truth

from reid_demo.errors import DatasetError
from reid_demo.measuring import meaning


def test_a_fit_by_hand():
    before = np.array([[0.5, 0.1, 0.2], [0.5, 0.2, 0.2], [0.5, 0.3, 0.2]])
    after = before.copy()
    after[:, 1] -= [0.05, 0.1, 0.15]  # half of what the contribution says
    found = meaning.fit(before, after, 1)
    assert (found.fall, found.correlation, found.slope, found.own, found.lost) == (0.1, 1.0, 0.5, 1.0, 0.5)
    assert meaning.fit(before, after, 2).own == 0  # it was another part that fell
    assert meaning.fit(before, before, 1).correlation == 0


def test_half_a_body_part_is_its_upper_half():
    mask = np.zeros((8, 4), bool)
    mask[2:6, 1:3] = True
    half = meaning.half_of(mask)
    assert half[2:4, 1:3].all() and half.sum() == 4


def test_every_body_part_is_hidden_and_switched(tiny_engine, tmp_path):
    root = with_truth(tiny_engine.gallery.folder, tmp_path / "gallery")
    found = meaning.study(tiny_engine, root, 12)
    assert [row.body_part for row in found.rows] == list(meaning.BODY_PARTS)
    assert all(row.num_pictures == found.num_pictures for row in found.rows)
    assert found == meaning.study(tiny_engine, root, 12)
    for row in found.rows:
        assert 0 <= row.whole.own <= 1 and -1 <= row.switched.correlation <= 1
    assert found.table().count("\n") == len(found.rows) + 1


def test_a_body_part_that_nobody_shows_is_refused(tiny_engine, tmp_path):
    root = with_truth(tiny_engine.gallery.folder, tmp_path / "gallery", without="head")
    with pytest.raises(DatasetError, match="Fewer than three pictures show head"):
        meaning.study(tiny_engine, root, 12)
