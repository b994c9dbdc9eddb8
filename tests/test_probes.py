"""Example probes ship with a gallery, and absent people really are absent."""

import json
import shutil

import pytest
from figures import draw_person
from PIL import Image

from reid_demo import gallery
from reid_demo.engine import _read_examples
from reid_demo.errors import DatasetError
from reid_demo.probes import ship_probes


@pytest.fixture
def dataset(tmp_path):
    for folder, pids in (("query", (1, 2, 99)), ("query_occluded", (2,)), ("absent", (70, 71))):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for pid in pids:
            Image.fromarray(draw_person(pid, 4)).save(tmp_path / "data" / folder / f"{pid:04d}_c4s1_000001_00.jpg")
    return tmp_path / "data"


@pytest.fixture
def own_gallery(tiny_gallery_folder, tmp_path):
    shutil.copytree(tiny_gallery_folder, tmp_path / "gallery", ignore=shutil.ignore_patterns("probes"))
    return gallery.load(tmp_path / "gallery")


def test_probes_are_copied_and_listed(dataset, own_gallery):
    counts = ship_probes(dataset, own_gallery, dataset / "absent")
    assert counts == {"whole": 2, "occluded": 1, "partial": 0, "absent": 2}  # person 99 is in no gallery
    rows = [json.loads(line) for line in (own_gallery.folder / "probes" / "probes.jsonl").read_text().splitlines()]
    assert {row["pid"] for row in rows if row["kind"] == "absent"} == {70, 71}
    examples = _read_examples(own_gallery.folder / "probes")
    assert [e.kind for e in examples] == ["whole", "whole", "occluded", "absent", "absent"]
    assert all(e.path.is_file() for e in examples)


def test_a_present_person_is_not_absent(dataset, own_gallery):
    with pytest.raises(DatasetError, match="is in the gallery"):
        ship_probes(dataset, own_gallery, dataset / "query")


def test_no_queries_is_an_error(tmp_path, own_gallery):
    with pytest.raises(DatasetError, match="No query images"):
        ship_probes(tmp_path, own_gallery)
