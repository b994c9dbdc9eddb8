"""Overlays use one fixed scale and are never rescaled to a picture."""

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
    ends = overlays.colours(np.array([-1, 0, overlays.FULL_SCALE, 999]))
    assert np.array_equal(ends[0], ends[1]) and np.array_equal(ends[2], ends[3])
    assert not np.array_equal(ends[0], ends[2])


def test_the_scale_keeps_peaks_apart():
    found = overlays.scale(np.array([0, 1, 8, 16, 47, 64]))
    assert found[0] == 0 and found[-1] == 1 and (np.diff(found) > 0.07).all()
    assert np.allclose(overlays.unscale(found), [0, 1, 8, 16, 47, 64], rtol=1e-5)
    peaked = np.zeros((2, 16, 8), np.float32)
    peaked[0, 3, 4] = 1
    peaked[1] = 1 / 128
    steps = overlays.heat_steps(peaked)
    assert steps.dtype == np.uint8 and steps[0, 3, 4] == 255 and steps[0].sum() == 255
    assert (overlays.palette()[steps[1, 0, 0]] == overlays.colours(np.array(1.0))).all()


@pytest.mark.parametrize("shape", [(16, 300), (300, 16), (128, 64)])
def test_thumbnail_has_one_size(shape):
    picture = np.zeros((*shape, 3), np.uint8)
    assert overlays.thumbnail(picture).shape == (256, 128, 3)
    framed = overlays.thumbnail(picture, frame=(1, 2, 3))
    assert framed.shape == (270, 142, 3) and (framed[:7] == (1, 2, 3)).all() and (framed[:, -7:] == (1, 2, 3)).all()
