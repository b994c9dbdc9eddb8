"""Palettes."""

import numpy as np
import pytest

pytest.importorskip("scipy")


from reid_demo.synthetic import fabrics


def test_people_wear_mostly_dark_and_neutral():
    rng = np.random.default_rng(0)
    for use in fabrics.USES:
        weights = fabrics.palette_weights(use)
        rgb = np.array([fabrics.colour(rng, fabrics.choose(rng, weights)) for _ in range(600)])
        spread = rgb.max(1) - rgb.min(1)
        assert ((rgb.mean(1) < 0.45) | (spread < 0.15)).mean() > 0.7
