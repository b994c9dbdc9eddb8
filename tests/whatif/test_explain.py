"""Why a match matched: terms that sum to its similarity."""

import pytest

from reid_demo.errors import GalleryError
from reid_demo.records import WEIGHINGS, Scoring


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
