"""Bodies, clothes and poses; needs the assets but no OpenGL."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from reid_demo.errors import SyntheticError
from reid_demo.synthetic.assets import _read_target, load_assets
from reid_demo.synthetic.body import PART, Build
from reid_demo.synthetic.people import MAX_MATERIALS, Person, identity


def test_a_wrong_folder_is_told(tmp_path):
    with pytest.raises(SyntheticError, match="base.obj is missing"):
        load_assets(tmp_path)


def test_unknown_clothes_are_told(body):
    with pytest.raises(SyntheticError, match="tuxedo"):
        body.assets.cloth("tuxedo")


def test_a_target_is_rows_of_a_vertex_and_its_shift(tmp_path):
    path = tmp_path / "small.target"
    path.write_text("# CC0\n#\n3 .5 -.25 0\n7 1e-3 0 2\n", encoding="utf-8")
    rows, shifts = _read_target(path)
    assert rows.tolist() == [3, 7]
    np.testing.assert_array_equal(shifts, np.float32([[0.5, -0.25, 0], [0.001, 0, 2]]))
    path.write_text("# CC0, and nothing to shift", encoding="utf-8")
    assert _read_target(path)[1].shape == (0, 3)
    for damaged in ("# CC0\n3 .5 -.25\n", "# CC0\n3 .5 x 0\n"):
        path.write_text(damaged, encoding="utf-8")
        with pytest.raises(SyntheticError, match="small.target"):
            _read_target(path)


def test_sliders_change_the_body(body):
    tall, small = body.shape(Build(height=0.8)), body.shape(Build(height=0.2))
    assert np.ptp(tall[body.is_skin, 1]) > np.ptp(small[body.is_skin, 1]) + 1
    heavy, light = body.shape(Build(weight=1)), body.shape(Build(weight=0))
    waist = body.is_skin & (body.arm < 0.1) & (np.abs(body.assets.vertices[:, 1] - 1.5) < 0.4)
    assert np.ptp(heavy[waist, 0]) > np.ptp(light[waist, 0]) + 0.3


@pytest.mark.parametrize("index", range(0, 20, 4))
def test_people_are_whole_and_stand_on_the_ground(body, index):
    person = Person(body, identity(5, index))
    assert len(person.materials) <= MAX_MATERIALS
    assert person.triangles.max() < len(person.rest)
    for name in ("walk", "stand", "phone"):
        posed = person.pose(np.random.default_rng(index), name)
        assert np.isfinite(posed.vertices).all()
        feet = posed.vertices[person.part == PART["feet"], 1]
        assert feet.min() == pytest.approx(0, abs=1e-5)
        assert 1.3 < posed.vertices[person.part == PART["head"], 1].max() < 2.25
        np.testing.assert_allclose(np.linalg.norm(posed.normals, axis=1).max(), 1, atol=1e-3)


def test_same_seed_same_pose(person):
    first, again = (person.pose(np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(first.vertices, again.vertices)


def test_skirts_keep_the_legs_inside(body):
    found = 0
    for index in range(1, 200, 2):
        look = identity(1, index)
        if look.bottom not in ("skirt", "long skirt") or look.coat != "none":
            continue
        person = Person(body, look)
        found += 1
        for phase in range(3):
            posed = person.pose(np.random.default_rng(phase), "walk")
            start, end = person._sheets[0].start, person._sheets[0].end
            hem = posed.vertices[start:end, 1].min()
            skin = np.isin(person.surface, [i for i, m in enumerate(person.materials) if m.kind == 1])
            legs = posed.vertices[skin & np.isin(person.part, [PART["left_leg"], PART["right_leg"]])]
            legs = legs[(legs[:, 1] > hem + 0.1) & (legs[:, 1] < 0.75)]
            if len(legs):
                skirt = posed.vertices[start:end]
                wide = np.abs(skirt[:, 2]).max() + 0.02
                assert np.abs(legs[:, 2]).max() < wide
        if found == 2:
            break
    assert found
