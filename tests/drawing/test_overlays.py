"""Pictures: one fixed scale, nothing rescaled to a picture."""

import numpy as np
import pytest

from reid_demo.drawing import overlays


def test_uniform_attention_is_one_and_its_colour_depends_on_nothing_else():
    uniform = np.full((16, 8), 1 / 128, np.float32)
    assert np.allclose(overlays.relative_attention(uniform), 1)
    grey = np.full((64, 32, 3), 100, np.uint8)
    peaked = uniform.copy()
    peaked[0, 0] += 20 / 128
    flat, hot = overlays.heat_overlay(grey, uniform), overlays.heat_overlay(grey, peaked)
    assert flat.shape == (192, 96, 3) and flat.dtype == np.uint8
    assert np.array_equal(flat[100:], hot[100:])  # a peak elsewhere changes no colour here
    assert not np.array_equal(flat[:6, :6], hot[:6, :6])


def test_colours_end_at_the_scale():
    ends = overlays.colours(np.array([-1, 0, overlays.FULL_SCALE, 99]))
    assert np.array_equal(ends[0], ends[1]) and np.array_equal(ends[2], ends[3])
    assert not np.array_equal(ends[0], ends[2])


@pytest.mark.parametrize(("shape", "expected"), [((128, 64), (384, 192)), ((500, 300), (500, 300))])
def test_enlarge_is_exact(shape, expected):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    large = overlays.enlarge(image)
    assert large.shape[:2] == expected
    times = expected[0] // shape[0]
    assert np.array_equal(large[::times, ::times], image)


def test_enlarge_shrinks_what_is_too_large_for_a_canvas():
    assert max(overlays.enlarge(np.zeros((4000, 2000, 3), np.uint8)).shape) == 1024


def test_locate_finds_a_crop_and_refuses_another_picture():
    rng = np.random.default_rng(1)
    whole = rng.integers(0, 256, (80, 40, 3), np.uint8)
    assert overlays.locate(whole[20:60, 10:30].copy(), whole) == (10 / 40, 20 / 80, 30 / 40, 60 / 80)
    assert overlays.locate(rng.integers(0, 256, (40, 20, 3), np.uint8), whole) is None
    assert overlays.locate(rng.integers(0, 256, (90, 20, 3), np.uint8), whole) is None


@pytest.mark.parametrize("shape", [(16, 300), (300, 16), (128, 64)])
def test_thumbnail_has_one_size(shape):
    picture = np.zeros((*shape, 3), np.uint8)
    assert overlays.thumbnail(picture).shape == (256, 128, 3)
    framed = overlays.thumbnail(picture, frame=(1, 2, 3))
    assert framed.shape == (270, 142, 3) and (framed[:7] == (1, 2, 3)).all() and (framed[:, -7:] == (1, 2, 3)).all()
