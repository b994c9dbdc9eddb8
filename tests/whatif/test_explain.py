"""Explanations add up; where places are hidden, and how the effect of hiding them is mapped."""

import numpy as np
import pytest

from reid_demo import occlude
from reid_demo.errors import GalleryError
from reid_demo.records import WEIGHINGS, Occlusion, Scoring
from reid_demo.whatif import explain, sweep


def test_an_explanation_adds_up(tiny_engine, probe_image):
    probe = tiny_engine.describe(probe_image)
    match = tiny_engine.search(probe, 3)[2]
    explanation = tiny_engine.explain(probe, match)
    assert explanation.similarity == pytest.approx(match.similarity, abs=1e-5)
    assert explanation.contributions.sum() == pytest.approx(match.similarity, abs=1e-5)
    assert explanation.match.template_attention.shape == (8, 16, 8) and len(explanation.names) == 9


def test_scorings_are_compared_on_one_match(tiny_engine, probe_image):
    probe = tiny_engine.describe(probe_image)
    found = tiny_engine.compare_scorings(probe, 4, Scoring(parts=(True,) * 5 + (False,) * 4))
    for name in WEIGHINGS:
        scoring = Scoring(name, (True,) * 5 + (False,) * 4)
        values = tiny_engine.gallery.scores(probe, scoring)
        assert found[name] == (pytest.approx(values[4]), int((values > values[4]).sum()) + 1)
    with pytest.raises(GalleryError, match="no image 99"):
        tiny_engine.compare_scorings(probe, 99, Scoring())


def test_fixed_places_are_spread_as_a_sweep_is(tiny_engine, probe_image):
    places = explain.hide_places(probe_image, tiny_engine.describer.describe)
    changes = np.random.default_rng(0).normal(size=15).astype(np.float32)
    wanted = sweep.sweep_map(places.boxes, changes, *explain.GRID)
    np.testing.assert_allclose(explain.place_map(places, changes), wanted, atol=1e-6)


def test_a_template_is_hidden_in_the_window_that_holds_most_of_its_attention(tiny_engine, probe_image):
    attention = np.random.default_rng(1).random((3, 16, 8)) ** 6
    attention /= attention.sum(axis=(1, 2), keepdims=True)
    places = explain.hide_looks(probe_image, attention, tiny_engine.describer.describe)
    rows, columns = explain.FINE
    for found, box, probe in zip(attention, places.boxes, places.hidden, strict=True):
        fine = explain.cv2.resize(found.astype(np.float32), (columns, rows))
        x0, y0, x1, y1 = np.round(box * [columns, rows, columns, rows]).astype(int)
        assert (x1 - x0, y1 - y0) == (columns * explain.LOOK[0], rows * explain.LOOK[1])
        most = max(
            fine[y : y + y1 - y0, x : x + x1 - x0].sum()
            for y in range(rows - (y1 - y0) + 1)
            for x in range(columns - (x1 - x0) + 1)
        )
        assert fine[y0:y1, x0:x1].sum() == pytest.approx(most, rel=1e-5)
        hidden = occlude.apply(probe_image, [Occlusion("box", "mean_grey", tuple(map(float, box)))])
        np.testing.assert_allclose(tiny_engine.describe(hidden).parts, probe.parts, atol=1e-5)


def test_a_cost_is_shown_where_its_template_looks(tiny_engine, probe_image):
    attention = np.zeros((2, 16, 8))
    attention[0, 4:8, 2:6] = 1 / 16  # an eighth of the picture, as the window
    attention[1] = 1 / 128
    places = explain.hide_looks(probe_image, attention, tiny_engine.describer.describe)
    found = explain.place_map(places, np.array([-0.2, 0.08]))
    assert found[5, 3] == pytest.approx(-0.2 + 0.08 / 8) and found[0, 0] == pytest.approx(0.08 / 8)


def test_templates_that_look_everywhere_alike_are_not_followed(tiny_engine, probe_image):
    probe = tiny_engine.describe(probe_image)
    describe = tiny_engine.describer.describe
    assert len(explain.hide_for(probe_image, probe, describe).boxes) == 8
    even = np.full_like(probe.template_attention, 1 / probe.template_attention[0].size)
    for attention in (even, even[:0]):
        blind = type(probe)(probe.parts, probe.presence, attention, attention)
        assert len(explain.hide_for(probe_image, blind, describe).boxes) == 15
