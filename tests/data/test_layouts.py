"""Each published layout is read as its paper states; each error names what was expected."""

import pytest

from reid_demo.data.layouts import load_benchmark, load_folder, load_split, load_train
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
        "flat/.thumbnails/0004_c1s1_1.jpg",
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
    found = load_benchmark("occluded_reid", tmp_path)
    assert ids(found.queries) == [("occluded_body_images/001/001_01.tif", 1, None)]
    assert [r.pid for r in found.gallery] == [1, 2] and not found.exclude_same_camera


def test_partial_reid_probes_by_name(tmp_path):
    for kind in ("partial", "occluded", "whole"):
        touch(tmp_path, f"{kind}_body_images/001_001.jpg", f"{kind}_body_images/060_002.jpg")
    found = load_benchmark("partial_reid", tmp_path)
    assert [r.pid for r in found.queries] == [1, 60] and found.queries[0].path.startswith("partial")
    assert load_benchmark("partial_reid", tmp_path, "occluded").queries[0].path.startswith("occluded")
    assert found.gallery[0].path.startswith("whole")
    with pytest.raises(DatasetError, match="whole"):
        load_benchmark("partial_reid", tmp_path, "whole")


def test_partial_ilids(tmp_path):
    touch(tmp_path, "Probe/1.jpg", "Probe/119.jpg", "Gallery/1.jpg", "Gallery/119.jpg")
    found = load_benchmark("partial_ilids", tmp_path)
    assert [r.pid for r in found.queries] == [r.pid for r in found.gallery] == [1, 119]


def test_a_folder_asks_with_the_first_image_of_each_person(tmp_path):
    touch(tmp_path, "anna/1.png", "anna/2.png", "anna/3.png", "ben/1.png", "cleo/1.png", "cleo/2.png")
    found = load_benchmark("folder", tmp_path)
    assert ids(found.queries) == [("anna/1.png", 1, None), ("cleo/1.png", 3, None)]
    assert [r.path for r in found.gallery] == ["anna/2.png", "anna/3.png", "ben/1.png", "cleo/2.png"]
    assert not found.exclude_same_camera
    flat = touch(tmp_path / "flat", *(f"000{n}_c{c}s1_1.jpg" for n in (0, 4) for c in (1, 2)))
    found = load_benchmark("folder", flat)
    assert ids(found.queries) == [("0004_c1s1_1.jpg", 4, 1)]  # a distractor asks nothing
    assert [r.pid for r in found.gallery] == [0, 0, 4] and found.exclude_same_camera


def test_a_number_of_more_than_64_bits_names_its_file(tmp_path):
    large = 2**63
    touch(tmp_path, f"train/bounding_box_train/{large}_c1s1_1_0.jpg", f"ilids/Probe/{large}.jpg", "ilids/Gallery/1.jpg")
    touch(tmp_path, f"deep/anna/x_c{large}.jpg")
    for read in (
        lambda: load_train("market1501", tmp_path / "train"),
        lambda: load_benchmark("partial_ilids", tmp_path / "ilids"),
        lambda: load_folder(tmp_path / "deep"),
    ):
        with pytest.raises(DatasetError, match=f"{large}.*more than 64 bits"):
            read()


def test_faults_name_what_was_expected(tmp_path):
    with pytest.raises(DatasetError, match="bounding_box_train"):
        load_train("market1501", tmp_path)
    with pytest.raises(DatasetError, match="Probe"):
        load_benchmark("partial_ilids", tmp_path)
    with pytest.raises(DatasetError, match="Unknown data set"):
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
    with pytest.raises(DatasetError, match="market1501"):
        load_folder(tmp_path)  # holds query/


LAYOUTS = {
    ("market1501", None): ("query/0001_c1s1_1_0.jpg", "bounding_box_test/0001_c2s1_1_0.jpg"),
    ("synthetic", None): ("query/0001_c1s1_1_0.jpg", "bounding_box_test/0001_c2s1_1_0.jpg"),
    ("synthetic", "occluded"): ("query_occluded/0001_c1s1_1_0.jpg", "bounding_box_test/0001_c2s1_1_0.jpg"),
    ("synthetic", "partial"): ("query_partial/0001_c1s1_1_0.jpg", "bounding_box_test/0001_c2s1_1_0.jpg"),
    ("occluded_reid", None): ("occluded_body_images/001/001_01.tif", "whole_body_images/001/001_01.tif"),
    ("partial_reid", None): ("partial_body_images/001_001.jpg", "whole_body_images/001_001.jpg"),
    ("partial_reid", "occluded"): ("occluded_body_images/001_001.jpg", "whole_body_images/001_001.jpg"),
    ("partial_ilids", None): ("Probe/1.jpg", "Gallery/1.jpg"),
}


@pytest.mark.parametrize(("dataset", "probes"), LAYOUTS)
def test_each_missing_or_empty_split_is_named(dataset, probes, tmp_path):
    names = LAYOUTS[dataset, probes]
    touch(tmp_path, *names)
    assert load_benchmark(dataset, tmp_path, probes).gallery
    for name in names:
        split = tmp_path / name.split("/")[0]
        (tmp_path / name).unlink()
        with pytest.raises(DatasetError) as empty:
            load_benchmark(dataset, tmp_path, probes)
        assert str(split) in str(empty.value) and "image" in str(empty.value)
        split.rename(tmp_path / "away")
        with pytest.raises(DatasetError) as missing:
            load_benchmark(dataset, tmp_path, probes)
        assert str(missing.value) == f"The folder {split} is missing; the data set's layout needs it."
        (tmp_path / "away").rename(split)
        touch(tmp_path, name)
    with pytest.raises(DatasetError, match=f"{tmp_path}/absent does not exist"):
        load_benchmark(dataset, tmp_path / "absent", probes)


def test_files_that_a_mac_leaves_beside_the_pictures_are_skipped(tmp_path):
    touch(tmp_path, "query/0003_c1s1_1_0.jpg", "query/._0003_c1s1_1_0.jpg")
    touch(tmp_path, "flat/0004_c1s1_1.jpg", "flat/._0004_c1s1_1.jpg")
    assert [r.path for r in load_split(tmp_path, "query")] == ["query/0003_c1s1_1_0.jpg"]
    assert [r.path for r in load_folder(tmp_path / "flat")] == ["0004_c1s1_1.jpg"]
