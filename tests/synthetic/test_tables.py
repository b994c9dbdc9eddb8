"""What needs neither assets nor OpenGL: tables, palettes, boxes, looks."""

import hashlib
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy")

from reid_demo.data import people_file
from reid_demo.errors import SyntheticError
from reid_demo.synthetic import carried, dataset, fabrics, garments, people, poses, scenes, textures
from reid_demo.synthetic.capture import CROPS, _crop
from reid_demo.synthetic.looks import colour_word, level, row_of


def test_people_wear_mostly_dark_and_neutral():
    rng = np.random.default_rng(0)
    for use in fabrics.USES:
        weights = fabrics.palette_weights(use)
        rgb = np.array([fabrics.colour(rng, fabrics.choose(rng, weights)) for _ in range(600)])
        spread = rgb.max(1) - rgb.min(1)
        assert ((rgb.mean(1) < 0.45) | (spread < 0.15)).mean() > 0.7


def test_every_scene_has_what_it_names():
    assert len(scenes.SCENES) >= 12
    assert len(scenes.CAMERAS) >= 12
    assert {camera.scene for camera in scenes.CAMERAS} == set(scenes.SCENES)
    for scene in scenes.SCENES.values():
        assert scene.light in scenes.LIGHTS
        assert {*scene.things, *scene.in_front} <= set(scenes.THINGS)
    assert any(scene.indoors for scene in scenes.SCENES.values())
    assert {"sunny", "dusk"} <= {scene.light for scene in scenes.SCENES.values()}


@pytest.mark.parametrize("name", scenes.THINGS)
def test_a_thing_is_a_finite_soup_on_the_ground(name):
    soup = scenes.THINGS[name].build(np.random.default_rng(1))
    assert soup.dtype == np.float32
    assert soup.shape[1] == 12
    assert len(soup) % 3 == 0
    assert np.isfinite(soup).all()
    assert -0.01 <= soup[:, 1].min() < 0.4
    np.testing.assert_allclose(np.linalg.norm(soup[:, 3:6], axis=1), 1, atol=0.01)


def test_a_place_is_always_the_same_and_people_stand_clear_of_its_things():
    first, again = scenes.build_place(1), scenes.build_place(1)
    np.testing.assert_array_equal(first.mesh, again.mesh)
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, z = scenes.stand(first, rng)
        assert -11 < z < -4
        assert (np.hypot(first.clear[:, 0] - x, first.clear[:, 1] - z) > 0.3).all()


def test_detector_boxes_hold_most_of_the_person_and_are_off_now_and_then():
    rng = np.random.default_rng(0)
    exact = (0.0, 0.0, 40.0, 100.0)
    boxes = np.array([scenes.detector_box(rng, exact) for _ in range(500)])
    area = (np.minimum(boxes[:, 2:], exact[2:]) - np.maximum(boxes[:, :2], exact[:2])).clip(0).prod(1) / 4000
    assert np.median(area) > 0.95
    assert 0.01 < (area < 0.85).mean() < 0.15
    careful = np.array([scenes.detector_box(rng, exact, careless=0) for _ in range(200)])
    assert (np.abs(careful[:, 3] - careful[:, 1] - 104.5) < 8).all()


@pytest.mark.parametrize("crop", CROPS)
def test_a_crop_takes_part_of_the_box_away(crop):
    x0, y0, x1, y1 = _crop(np.random.default_rng(0), (0.0, 0.0, 50.0, 100.0), crop)
    assert {"upper": y1 < 75, "lower": y0 > 25, "left": x0 > 10, "right": x1 < 40}[crop]
    assert (x1 - x0) / (y1 - y0) < 1.3


def test_looks_are_repeatable_and_balanced():
    looks = [people.identity(3, index) for index in range(240)]
    assert looks[7] == people.identity(3, 7)
    shares = dataset.balance(looks)
    assert 0.4 < shares["body"]["female"] < 0.6
    assert min(shares["main ancestry"].values()) > 0.2
    assert len(shares["skin"]) == 3
    assert all(abs(sum(share.values()) - 1) < 1e-9 for share in shares.values())


def test_groups_dress_alike_and_differ_in_one_thing():
    alike = 0
    for group in range(40):
        first, *others = (people.identity(0, group * people.GROUP + k) for k in range(people.GROUP))
        if all(other.top_cloth == first.top_cloth for other in others):
            alike += 1
            for other in others:
                assert other != first
                assert (other.top, other.bottom, other.coat) == (first.top, first.bottom, first.coat)
    assert 8 <= alike <= 24


def test_tables_name_what_exists():
    assert set(carried.BAG_WEIGHTS) == {"none", *carried.WORN_BAGS, *carried.HELD_BAGS}
    assert set(carried.HAT_WEIGHTS) == {"none", *carried.HATS}
    assert sum(poses.POSES.values()) == pytest.approx(1)
    for table in (garments.TOPS, garments.COATS, garments.BOTTOMS):
        for row in table.values():
            assert set(row.patterns) <= set(fabrics.PATTERNS)


def test_layers_tile_and_differ():
    painted = textures.layers()
    assert painted.shape == (len(textures.LAYERS), textures.SIZE, textures.SIZE, 4)
    rough = textures.cloud(np.random.default_rng(0))
    seam, inside = np.abs(rough[0] - rough[-1]).mean(), np.abs(rough[0] - rough[1]).mean()
    assert seam < 2 * inside


def test_orders_of_test_people_keep_probe_cameras_out_of_the_gallery():
    plan = dataset.Plan(ids=10, images_per_id=6, test_ids=4, absent=1, seed=0)
    roles = Counter(plan.role(index) for index in range(plan.everyone))
    assert roles == {"train": 6, "test": 4, "absent": 1}
    for index in range(6, 10):
        made = list(dataset.orders(plan, index, np.random.default_rng(index)))
        gallery = {order.camid for split, order in made if split == "bounding_box_test"}
        probes = {split: order for split, order in made if split.startswith("query")}
        assert set(probes) == {"query", "query_occluded", "query_partial"}
        assert not gallery & {order.camid for order in probes.values()}
        assert probes["query_occluded"].hide
        assert probes["query_partial"].crop
        assert not probes["query"].hide


def _digest(plan: dataset.Plan) -> str:
    """Return a hash of every photograph that a plan orders."""
    seen = hashlib.sha256()
    for index in range(plan.everyone):
        for split, order in dataset.orders(plan, index, np.random.default_rng([plan.seed, 4, index])):
            seen.update(repr((split, order.camid, order.hide, order.crop, order.company)).encode())
    return seen.hexdigest()


def test_old_seeds_order_what_they_always_did():
    shipped, other = dataset.Plan(170, 6, 170, 60, 11, 82), dataset.Plan(40, 10, 8, 3, 0)
    assert _digest(shipped) == "2c384b8a2daa7fbedc05d20a29c0fe6a87aadf2ada59cac8321abee2113f2719"
    assert _digest(other) == "365bd2b824a557ff8b2c5c7e4e342099f56d36f082ae565cc7de2553f7b6cec3"
    assert _digest(replace(other, hard=True)) != _digest(other)
    assert all(order.careless == 0.08 for _, order in dataset.orders(other, 0, np.random.default_rng(0)))


def test_old_places_stay_as_they_were():
    meshes = b"".join(scenes.build_place(number).mesh.tobytes() for number in (1, 6, 14))
    assert hashlib.sha256(meshes).hexdigest() == "04969aa10e64b417c2f90345751a80f02abff1fa318da96c7b1fde27324a9232"


def test_hard_drawing_puts_more_in_the_way_and_uses_more_cameras():
    shares = {}
    for hard in (False, True):
        plan = dataset.Plan(300, 8, 0, 0, 3, hard=hard)
        orders = [o for i in range(300) for _, o in dataset.orders(plan, i, np.random.default_rng([3, 4, i]))]
        shares[hard] = (
            np.mean([order.hide == "person" for order in orders]),
            np.mean([order.crop != "" for order in orders]),
            np.mean([order.company for order in orders]),
            len({order.camid for order in orders}),
        )
    assert all(hard > 1.5 * ordinary for ordinary, hard in zip(shares[False], shares[True], strict=True))
    assert shares[True][3] == dataset.HARD.cameras


def test_cameras_beyond_the_table_follow_from_their_number_and_can_be_used():
    for number in range(len(scenes.CAMERAS) + 1, dataset.HARD.cameras + 1):
        camera = scenes.camera_of(number)
        assert camera == scenes.camera_of(number)
        assert camera.scene in scenes.SCENES
        assert 1.5 < camera.height < 5.5
        assert 72 <= camera.resolution <= 256
        assert 40 <= camera.quality <= 96
    assert len({scenes.camera_of(number) for number in range(1, 43)}) == 42


def test_people_are_written_in_words_and_read_back(tmp_path):
    looks = {20001 + index: people.identity(11, index) for index in range(40)}
    path = tmp_path / people_file.PEOPLE
    people_file.write_people(path, (row_of(pid, look) for pid, look in looks.items()))
    rows = people_file.read_people(path)
    assert set(rows) == set(looks)
    for pid, row in rows.items():
        look = looks[pid]
        assert (row["sex"] == "female") == look.woman
        assert row["bag"] == look.bag
        assert (row["bag_colour"] == "") == (look.bag == "none")
        assert row["hair_colour"] in fabrics.HAIR_COLOURS
        assert row["bottom_colour"] in fabrics.PALETTE
    assert people_file.copy_people(path, tmp_path / "some.gz", [20003, 20001, 1]) == 2
    assert list(people_file.read_people(tmp_path / "some.gz")) == [20001, 20003]
    (tmp_path / "damaged.gz").write_bytes(path.read_bytes()[:60])
    for name, words in (("damaged.gz", "damaged"), ("absent.gz", "There is no")):
        with pytest.raises(SyntheticError, match=words):
            people_file.read_people(tmp_path / name)


def test_a_colour_is_named_after_the_nearest_of_the_palette():
    for name, swatch in fabrics.PALETTE.items():
        assert colour_word(tuple((value + 1) / 255 for value in swatch.rgb)) == name
    assert [level("age", value) for value in (0.4, 0.6, 0.9)] == ["under 25", "25 to 50", "over 50"]
