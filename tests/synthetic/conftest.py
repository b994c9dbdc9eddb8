"""Fixtures for rendering. Tests are skipped without OpenGL or the MakeHuman assets that REID_DEMO_ASSETS names."""

import os
from pathlib import Path

import pytest

from reid_demo.errors import SyntheticError


@pytest.fixture(scope="session")
def assets_folder() -> Path:
    folder = os.environ.get("REID_DEMO_ASSETS")
    if not folder:
        pytest.skip("REID_DEMO_ASSETS does not name a folder of MakeHuman assets")
    return Path(folder)


@pytest.fixture(scope="session")
def body(assets_folder):
    from reid_demo.synthetic.assets import load_assets
    from reid_demo.synthetic.body import Body

    return Body(load_assets(assets_folder))


@pytest.fixture(scope="session")
def studio(body):
    pytest.importorskip("moderngl", reason="moderngl is not installed")
    os.environ.setdefault("LP_NUM_THREADS", "0")
    from reid_demo.synthetic.capture import Studio

    try:
        return Studio(body, 0, bystanders=2)
    except SyntheticError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def person(body):
    from reid_demo.synthetic.people import Person, identity

    return Person(body, identity(0, 1))


@pytest.fixture
def shoot(studio, person):
    """Return a function that photographs the person, given a seed and changes to an ordinary order."""
    import numpy as np

    from reid_demo.synthetic.capture import Order

    return lambda seed=0, **order: studio.shoot(person, Order(**{"camid": 8, **order}), np.random.default_rng(seed))


@pytest.fixture(scope="session")
def small_set(studio, assets_folder, tmp_path_factory):
    """Render four people, two of them test people; return the folder."""
    from reid_demo.synthetic import cutouts
    from reid_demo.synthetic.dataset import Wanted, synthesize

    out = tmp_path_factory.mktemp("synthetic") / "small"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutouts, "KINDS", dict.fromkeys(cutouts.KINDS, 1))
        synthesize(assets_folder, out, Wanted(4, images_per_id=2, test_fraction=0.5, absent=1), workers=1)
    return out
