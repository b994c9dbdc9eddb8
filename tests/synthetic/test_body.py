"""The base body; needs the assets but no OpenGL."""

import numpy as np
import pytest

pytest.importorskip("scipy")


from reid_demo.synthetic.body import Build


def test_sliders_change_the_body(body):
    tall, small = body.shape(Build(height=0.8)), body.shape(Build(height=0.2))
    assert np.ptp(tall[body.is_skin, 1]) > np.ptp(small[body.is_skin, 1]) + 1
    heavy, light = body.shape(Build(weight=1)), body.shape(Build(weight=0))
    waist = body.is_skin & (body.arm < 0.1) & (np.abs(body.assets.vertices[:, 1] - 1.5) < 0.4)
    assert np.ptp(heavy[waist, 0]) > np.ptp(light[waist, 0]) + 0.3
