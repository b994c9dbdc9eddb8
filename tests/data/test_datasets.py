"""Each published layout reads as its paper says; each fault names what was expected."""

import pytest

from reid_demo.data.datasets import load_benchmark, load_folder, load_split, load_train
from reid_demo.errors import DatasetError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def ids(records):
    return [(r.path, r.pid, r.camid) for r in records]


def test_market_drops_junk_keeps_distractors_and_sorts(tmp_path):
    names = ["0002_c2s1_000001_00.jpg", "-1_c1s1_000001_00.jpg", "0000_c1s1_000001_00.jpg", "0002_c1s1_000001_00.jpg"]
    touch(tmp_path, *(f"bounding_box_test/{name}" for name in names))
    assert [(r.pid, r.camid) for r in load_split(tmp_path, "bounding_box_test")] == [(0, 1), (2, 1), (2, 2)]


def test_training_images_are_people(tmp_path):
    touch(tmp_path, "bounding_box_train/0000_c1s1_1_0.jpg", "bounding_box_train/0003_c1s1_1_0.jpg")
    assert [r.pid for r in load_train("market1501", tmp_path)] == [3]
    with pytest.raises(DatasetError, match="partial_ilids"):
        load_train("partial_ilids", tmp_path)


def test_folders_of_people_and_flat_folders(tmp_path):
    touch(
        tmp_path,
        "deep/anna/1.png",
        "deep/anna/x_c2.jpg",
        "deep/ben/1.png",
        "deep/ben/notes.txt",
        "flat/0004_c1s1_1.jpg",
    )
    assert ids(load_folder(tmp_path / "deep")) == [
        ("anna/1.png", 1, None),
        ("anna/x_c2.jpg", 1, 2),
        ("ben/1.png", 2, None),
    ]
    assert ids(load_folder(tmp_path / "flat")) == [("0004_c1s1_1.jpg", 4, 1)]


def test_occluded_reid(tmp_path):
    touch(
        tmp_path,
        "occluded_body_images/001/001_01.tif",
        "whole_body_images/001/001_01.tif",
        "whole_body_images/002/1.tif",
    )
    queries, gallery = load_benchmark("occluded_reid", tmp_path)
    assert ids(queries) == [("occluded_body_images/001/001_01.tif", 1, None)]
    assert [r.pid for r in gallery] == [1, 2]


def test_partial_reid_probes_by_name(tmp_path):
    for kind in ("partial", "occluded", "whole"):
        touch(tmp_path, f"{kind}_body_images/001_001.jpg", f"{kind}_body_images/060_002.jpg")
    queries, gallery = load_benchmark("partial_reid", tmp_path)
    assert [r.pid for r in queries] == [1, 60] and queries[0].path.startswith("partial")
    assert load_benchmark("partial_reid", tmp_path, "occluded")[0][0].path.startswith("occluded")
    assert gallery[0].path.startswith("whole")
    with pytest.raises(DatasetError, match="whole"):
        load_benchmark("partial_reid", tmp_path, "whole")


def test_partial_ilids(tmp_path):
    touch(tmp_path, "Probe/1.jpg", "Probe/119.jpg", "Gallery/1.jpg", "Gallery/119.jpg")
    queries, gallery = load_benchmark("partial_ilids", tmp_path)
    assert [r.pid for r in queries] == [r.pid for r in gallery] == [1, 119]


def test_faults_name_what_was_expected(tmp_path):
    with pytest.raises(DatasetError, match="bounding_box_train"):
        load_train("market1501", tmp_path)
    with pytest.raises(DatasetError, match="Probe"):
        load_benchmark("partial_ilids", tmp_path)
    with pytest.raises(DatasetError, match="Unknown benchmark"):
        load_benchmark("duke", tmp_path)
    with pytest.raises(DatasetError, match="0002_c1s1"):
        load_split(touch(tmp_path, "query/photo.jpg"), "query")
    with pytest.raises(DatasetError, match="0002_c1s1"):
        load_folder(touch(tmp_path / "flat", "photo.jpg"))
    with pytest.raises(DatasetError, match="person number"):
        load_benchmark("partial_ilids", touch(tmp_path, "Probe/a.jpg", "Gallery/1.jpg"))
    with pytest.raises(DatasetError, match="does not exist"):
        load_folder(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no images"):
        load_folder(tmp_path / "empty")
