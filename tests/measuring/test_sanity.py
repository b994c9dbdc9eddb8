"""Maps depend on the network, the match and the place: of the shipped weights, with thresholds."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from reid_demo.engine import Engine
from reid_demo.measuring import sanity
from reid_demo.whatif import explain


def test_the_rank_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 9, (8, 4)), rng.integers(0, 9, (8, 4))
    assert sanity.rank_correlation(one, other) == pytest.approx(spearmanr(one.ravel(), other.ravel()).statistic)
    assert sanity.rank_correlation(one, np.zeros((8, 4))) == 0
    assert sanity.rank_correlation(one, one) == pytest.approx(1)


def test_a_picture_is_shifted_with_its_edge_repeated():
    image = np.arange(12).reshape(4, 3)
    moved = sanity.moved_down(image, 1)
    assert (moved[0] == image[0]).all() and (moved[1:] == image[:-1]).all()


def test_the_weighed_heatmap_sums_to_the_parts_contributions(tiny_engine, probe_image):
    probe = tiny_engine.describe(probe_image)
    why = explain.explain(probe, probe, tiny_engine.term_names, tiny_engine.default_scoring)
    found = explain.weighed_heatmap(why)
    assert found.shape == probe.template_attention.shape[1:]
    assert found.sum() == pytest.approx(why.contributions[1:].sum(), abs=1e-5)


def test_layers_are_made_random_one_after_another(tiny_describer, probe_image):
    before = tiny_describer.describe([probe_image])[0]
    names, described = [], []
    for name, network in sanity.randomised(tiny_describer):
        names.append(name)
        described.append(network.describe([probe_image])[0])
    assert names == list(sanity.LAYERS)
    np.testing.assert_array_equal(described[0].template_attention, before.template_attention)  # it comes earlier
    assert not np.allclose(described[0].part_attention, before.part_attention, atol=1e-4)
    assert not np.allclose(described[-1].template_attention, before.template_attention, atol=1e-4)
    np.testing.assert_array_equal(tiny_describer.describe([probe_image])[0].parts, before.parts)  # itself unchanged


@pytest.fixture(scope="module")
def checked():
    return {row.change: row.correlation for row in sanity.study(Engine.load(), 2).rows}


def test_maps_fall_apart_when_the_network_is_random(checked):
    assert all(span.value < 0.5 for span in checked["random from backbone on"])
    assert all(span.value < 0.8 for span in checked["random from templates on"])


def test_maps_follow_a_mirrored_and_a_shifted_picture(checked):
    assert all(span.value > 0.6 for span in checked[sanity.MIRRORED])
    for moved, left in zip(checked[sanity.MOVED], checked[sanity.LEFT], strict=True):
        assert moved.value > 0.3 and moved.value > left.value


def test_maps_depend_on_the_match(checked):
    matters, heatmap = checked[sanity.STRANGER]
    assert matters.value < 0.85  # another person is another map
    assert heatmap.value < 0.995  # hardly: templates look at the same places whoever is compared; the document says so
