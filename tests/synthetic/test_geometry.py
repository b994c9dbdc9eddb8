"""Mesh tools."""

import numpy as np
import pytest

pytest.importorskip("scipy")


from reid_demo.synthetic.geometry import hull_radius


def test_hull_radius_of_a_square():
    turn = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    outward = np.stack([np.sin(turn), np.cos(turn)], 1)
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1], [0.2, 0.3]])
    np.testing.assert_allclose(hull_radius(corners, outward), np.tile([1, np.sqrt(2)], 4))
