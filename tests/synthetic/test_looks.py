"""Descriptions of people in words."""

from collections import defaultdict

import numpy as np
import pytest

pytest.importorskip("scipy")


from reid_demo.data import ground_truth, people_file
from reid_demo.errors import SyntheticError
from reid_demo.images import read_image, resized
from reid_demo.search import bundled
from reid_demo.synthetic import dataset, fabrics, people
from reid_demo.synthetic.looks import colour_word, level, row_of


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


def test_the_people_of_the_shipped_gallery_are_those_of_its_seed():
    rows = people_file.read_people(bundled.DEFAULT_GALLERY / people_file.PEOPLE)
    plan = dataset.Wanted(170, images_per_id=6, test_fraction=1, absent=60, seed=11).plan()
    assert list(rows.values()) == list(dataset.people_of(plan))
    shown = ground_truth.read_truth(bundled.DEFAULT_GALLERY / "truth.jsonl.gz")
    assert set(rows) == {truth.pid for truth in shown}
    # by another road: what the renderer drew. Who has a bag is seen with it; others may hold a phone or an umbrella
    seen = {truth.pid for truth in shown if truth.visible.get("carried")}
    assert {pid for pid, row in rows.items() if row["bag"] != "none"} <= seen < set(rows)


def test_dark_and_light_trousers_are_dark_and_light_in_the_shipped_pictures():
    rows = people_file.read_people(bundled.DEFAULT_GALLERY / people_file.PEOPLE)
    shades = {"black": "dark", "beige": "light", "cream": "light", "camel": "light", "white": "light"}
    brightness = defaultdict(list)
    for truth in ground_truth.read_truth(bundled.DEFAULT_GALLERY / "truth.jsonl.gz"):
        row = rows[truth.pid]
        long = row["bottom"] in ("trousers", "jeans", "slim jeans", "joggers", "leggings")
        if long and row["bottom_colour"] in shades and "left_leg" in truth.masks and not truth.hidden_by:
            image = resized(read_image(bundled.DEFAULT_GALLERY / truth.image), *ground_truth.GRID)
            brightness[truth.pid, shades[row["bottom_colour"]]].append(image[truth.masks["left_leg"]].mean())
    dark, light = (
        np.array([np.median(values) for (_, shade), values in brightness.items() if shade == wanted])
        for wanted in ("dark", "light")
    )
    assert len(dark) > 30 and len(light) > 8
    assert np.percentile(dark, 90) < np.percentile(light, 10)
