"""Example probes are added to a gallery, and absent people really are absent."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from figures import draw_person
from PIL import Image

from reid_demo.data.ground_truth import GRID, Truth, read_truth, to_line, write_truth
from reid_demo.data.probes import read_probes
from reid_demo.engine import _read_examples
from reid_demo.errors import DatasetError
from reid_demo.records import UNKNOWN
from reid_demo.search import gallery
from reid_demo.search.ship import ship_cutouts, ship_probes, ship_truth


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
    examples = _read_examples(own_gallery.folder)
    assert [e.kind for e in examples] == ["whole", "whole", "occluded", "absent", "absent"]
    assert all(e.path.is_file() for e in examples)


def test_junk_and_distractors_are_no_probes(dataset, own_gallery):
    junk = [replace(own_gallery.records[0], pid=pid) for pid in (-1, 0, None)]
    own_gallery.records[:3] = junk
    own_gallery.pids[:3] = (-1, 0, UNKNOWN)
    for name in ("-1_c4s1_000001_00", "0000_c4s1_000001_00", "holiday"):
        Image.fromarray(draw_person(3, 4)).save(dataset / "query" / f"{name}.jpg")
    ship_probes(dataset, own_gallery)
    assert {row.pid for row in read_probes(own_gallery.folder)} == {1, 2} & set(own_gallery.pids.tolist())


def test_cutouts_and_ground_truth_go_along(dataset, own_gallery):
    (dataset / "occluders").mkdir()
    Image.new("RGBA", (8, 8)).save(dataset / "occluders" / "person_00.png")
    ship_probes(dataset, own_gallery, dataset / "absent")
    kept = Path(own_gallery.records[0].path)
    mask = np.zeros(GRID, bool)
    rows = [
        Truth(f"{split}/{stem}.jpg", 1, 1, 1, 1, "street", "walk", 0.0, {}, (0.0,) * 4, (), {}, {"head": mask}, 1.0)
        for split, stem in (("bounding_box_test", kept.stem), ("query", "0001_c4s1_000001_00"), ("query", "0099_c4s1"))
    ]
    write_truth(dataset / "truth.jsonl.gz", map(to_line, rows))
    assert ship_cutouts(dataset, own_gallery) == 1 and ship_truth(dataset, own_gallery) == 2
    shipped = read_truth(own_gallery.folder / "truth.jsonl.gz")
    assert [row.image for row in shipped] == [kept.as_posix(), "probes/whole_0001_c4s1_000001_00.jpg"]
    assert all((own_gallery.folder / row.image).is_file() for row in shipped)


def test_a_present_person_is_not_absent(dataset, own_gallery):
    ship_probes(dataset, own_gallery)
    before = read_probes(own_gallery.folder)
    with pytest.raises(DatasetError, match="is in the gallery"):
        ship_probes(dataset, own_gallery, dataset / "query")
    assert read_probes(own_gallery.folder) == before  # what shipped is still there


def test_no_queries_is_an_error(dataset, tmp_path, own_gallery):
    ship_probes(dataset, own_gallery, dataset / "absent")
    before = read_probes(own_gallery.folder)
    with pytest.raises(DatasetError, match="No query images"):
        ship_probes(tmp_path, own_gallery)
    assert read_probes(own_gallery.folder) == before
    assert all((own_gallery.folder / "probes" / row.path).is_file() for row in before)
    ship_probes(dataset, own_gallery)  # without absent people, whose pictures go
    assert {row.kind for row in read_probes(own_gallery.folder)} == {"whole", "occluded"}
    assert not list((own_gallery.folder / "probes").glob("absent*"))
