"""Photographs: masks, occlusion, repeatability; most need the assets and OpenGL."""

import numpy as np
import pytest

pytest.importorskip("scipy")


from reid_demo.data.ground_truth import GRID
from reid_demo.synthetic.capture import CROPS, _crop


@pytest.mark.parametrize("crop", CROPS)
def test_a_crop_takes_part_of_the_box_away(crop):
    x0, y0, x1, y1 = _crop(np.random.default_rng(0), (0.0, 0.0, 50.0, 100.0), crop)
    assert {"upper": y1 < 75, "lower": y0 > 25, "left": x0 > 10, "right": x1 < 40}[crop]
    assert (x1 - x0) / (y1 - y0) < 1.3


def test_a_photograph_is_of_the_right_form_and_not_flat(shoot):
    shot = shoot()
    assert shot.image.shape == (256, 128, 3)
    assert shot.image.dtype == np.uint8
    assert shot.image.std() > 15


def test_same_seed_same_photograph(shoot):
    np.testing.assert_array_equal(shoot().image, shoot().image)
    assert (shoot().image != shoot(1).image).any()


def test_masks_lie_in_the_box_and_body_parts_are_in_order(shoot):
    for seed in range(4):
        shot = shoot(seed)
        x0, y0, x1, y1 = np.array(shot.box) / 4  # grid cells are 4 px wide and high
        for part, mask in shot.masks.items():
            assert mask.shape == GRID
            if part != "carried":
                ys, xs = np.nonzero(mask)
                assert ys.min() >= y0 - 2 and ys.max() <= y1 + 2
                assert xs.min() >= x0 - 2 and xs.max() <= x1 + 2
        rows = {part: np.nonzero(mask)[0].mean() for part, mask in shot.masks.items()}
        assert rows["head"] < rows["torso"] < rows["feet"]
        assert shot.body_visible > 0.9


def test_something_in_front_lowers_what_is_visible(shoot):
    whole = shoot(3)
    for hide in ("object", "person"):
        hidden = shoot(3, hide=hide)
        assert hidden.body_visible < whole.body_visible - 0.1
        assert hidden.hidden_by and "frame" not in hidden.hidden_by
        assert min(hidden.visible.values()) < 0.9


def test_the_frame_cuts_the_right_parts(shoot):
    upper, lower = (shoot(2, crop=crop) for crop in ("upper", "lower"))
    assert upper.visible["head"] > 0.9 and upper.visible.get("feet", 0) < 0.1
    assert lower.visible["feet"] > 0.9 and lower.visible.get("head", 0) < 0.1
    assert upper.hidden_by == ("frame",)
