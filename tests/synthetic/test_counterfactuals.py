"""The same person again with one thing changed; needs the assets and OpenGL."""

from dataclasses import fields, replace

import numpy as np
import pytest

pytest.importorskip("scipy")

from reid_demo.data.counterfactuals import FOLDER, read_changed
from reid_demo.engine import Engine
from reid_demo.errors import DatasetError
from reid_demo.images import read_image
from reid_demo.measuring import counterfactuals
from reid_demo.search.bundled import DEFAULT_GALLERY
from reid_demo.synthetic.capture import Order, Studio
from reid_demo.synthetic.people import Person, identity

MAY_CHANGE = {  # the row of the table -> the fields of the look that it may touch
    "a bag put on": {"bag", "bag_cloth"},
    "the bag taken off": {"bag"},
    "a jacket put on": {"coat", "coat_cloth"},
    "the coat or jacket taken off": {"coat"},
    "other shoes": {"shoes", "shoe_colours"},
    "other hair": {"hair", "hair_colour"},
    "heavier build": {"build"},
    "lighter build": {"build"},
    "lighter skin": {"skin"},
    "darker skin": {"skin"},
}


def test_each_look_differs_in_one_thing():
    seen = set()
    for index in range(40):
        look = identity(11, index)
        for change, words, other in counterfactuals.looks_changed(look, np.random.default_rng(index)):
            changed = {f.name for f in fields(look) if getattr(look, f.name) != getattr(other, f.name)}
            assert changed and changed <= MAY_CHANGE[change], (change, changed)
            assert ("her" in words.split()) <= look.woman
            seen.add(change)
    assert seen == set(MAY_CHANGE)


@pytest.fixture(scope="module")
def setup(studio, person):
    return studio.arrange(person, Order(8), np.random.default_rng(3))


def test_a_setup_gives_the_same_picture_each_time(studio, person, setup):
    shot = studio.shoot(person, Order(8), np.random.default_rng(3))
    for _ in range(2):
        np.testing.assert_array_equal(studio.take(setup).image, shot.image)


def test_nothing_changed_changes_nothing(studio, person, setup):
    again = setup.changed(person)
    np.testing.assert_allclose(again.window, setup.window, atol=1e-9)
    assert np.abs(studio.take(again).image.astype(int) - studio.take(setup).image).max() <= 1


def test_one_thing_changed_leaves_pose_place_and_noise(studio, body, person, setup):
    bare = Person(body, replace(person.look, skin=(0.2, 0.15, 0.1), bag="none"))
    shot, before = studio.take(setup.changed(bare)), studio.take(setup)
    assert (shot.pose, shot.scene, shot.facing, shot.camera) == (
        before.pose,
        before.scene,
        before.facing,
        before.camera,
    )
    assert (shot.image != before.image).any()
    corner = np.abs(shot.image[:20, :10].astype(int) - before.image[:20, :10])
    assert corner.mean() < 4  # the background


def test_a_turn_and_another_place(studio, setup):
    turned = studio.take(setup.changed(turn=np.pi))
    assert turned.facing == pytest.approx(np.degrees(setup.facing + np.pi)) and turned.body_visible > 0.9
    moved = studio.take(setup.changed(place=studio.place(3)))
    assert moved.scene == studio.place(3).camera.scene != studio.take(setup).scene


def test_the_shipped_gallery_is_asked(body, studio, tmp_path):
    engine = Engine.load()
    own = Studio(body, counterfactuals.SHIPPED.seed)
    try:
        found, pictures = counterfactuals.study(engine, own, 1)
        assert found.num_people == 1
        by_name = {row.change: row for row in found.rows}
        assert by_name[counterfactuals.STRANGER].share == pytest.approx(1, abs=1e-3)
        assert by_name[counterfactuals.AGAIN].alike.value > 0.9 > by_name[counterfactuals.STRANGER].alike.value
        assert pictures[0].alike == pytest.approx(1, abs=1e-5) and pictures[0].change == ""
        listed = counterfactuals.strip(pictures, tmp_path / FOLDER, people=2)
        assert len(listed) == 10 and listed == read_changed(tmp_path) == read_changed(DEFAULT_GALLERY)[:10]
        for row in listed:  # what ships is what is rendered here
            one, other = (read_image(folder / FOLDER / row.path).astype(int) for folder in (tmp_path, DEFAULT_GALLERY))
            assert np.abs(one - other).mean() < counterfactuals.SAME_PICTURE
            assert (tmp_path / FOLDER / row.path).stat().st_size < 10_000
        other = replace(counterfactuals.SHIPPED, seed=12)
        with pytest.raises(DatasetError, match="rendered differently from this gallery"):
            for index in range(4):
                counterfactuals.outcomes(engine, own, other, index, 0)
    finally:
        own.renderer.close()
