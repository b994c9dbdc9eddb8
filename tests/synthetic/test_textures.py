"""Painted surfaces."""

import numpy as np
import pytest

pytest.importorskip("scipy")


from reid_demo.synthetic import textures


def test_layers_differ_and_clouds_tile():
    painted = textures.layers()
    assert painted.shape == (len(textures.LAYERS), textures.SIZE, textures.SIZE, 4)
    assert len({layer.tobytes() for layer in painted}) == len(painted)
    rough = textures.cloud(np.random.default_rng(0))
    seam, inside = np.abs(rough[0] - rough[-1]).mean(), np.abs(rough[0] - rough[1]).mean()
    assert seam < 2 * inside
