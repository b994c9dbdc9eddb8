"""The plan of a data set, and the data set on disk; the latter needs the assets and OpenGL."""

import hashlib
import json
import os
import re
from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip("scipy")

from reid_demo.__main__ import main
from reid_demo.data.ground_truth import TRUTH_FILE, read_truth
from reid_demo.data.layouts import load_split, load_train
from reid_demo.data.people_file import PEOPLE, read_people
from reid_demo.errors import SyntheticError
from reid_demo.search import gallery
from reid_demo.synthetic import dataset
from reid_demo.synthetic.dataset import SPLITS, Wanted, synthesize

SMALL = Wanted(4, images_per_id=2, test_fraction=0.5, absent=1)


def test_names_and_layout_are_those_of_market1501(small_set):
    counts = {split: sorted(path.name for path in (small_set / split).glob("*")) for split in SPLITS}
    assert {split: len(names) for split, names in counts.items()} == {
        **{"bounding_box_train": 4, "query": 2, "bounding_box_test": 4},
        **{"query_occluded": 2, "query_partial": 2, "absent": 1},
    }
    for names in counts.values():
        assert all(re.fullmatch(r"2\d{4}_c\d{1,2}s1_\d{6}_00\.jpg", name) for name in names)
    assert len(load_train("synthetic", small_set)) == 4
    image = cv2.imread(str(small_set / "query" / counts["query"][0]))
    assert image.shape == (256, 128, 3)


def test_training_and_test_share_nobody(small_set):
    train, test, absent = (
        {record.pid for record in load_split(small_set, split)}
        for split in ("bounding_box_train", "bounding_box_test", "absent")
    )
    assert train == {20001, 20002}
    assert test == {20003, 20004}
    assert absent == {20005}


def test_truth_has_every_image_and_knows_why_it_is_occluded(small_set):
    rows = read_truth(small_set / TRUTH_FILE)
    files = {path.relative_to(small_set).as_posix() for split in SPLITS for path in (small_set / split).glob("*.jpg")}
    assert {row.image for row in rows} == files
    for row in rows:
        assert f"{row.pid}_c{row.camid}s" in row.image
        assert all(0 <= value <= 1 for value in row.visible.values())
        if row.image.startswith("query_occluded"):
            assert row.hidden_by and row.body_visible < 0.95
        if row.image.startswith("query/"):
            assert not row.hidden_by


def test_the_card_and_the_cutouts_are_there(small_set):
    card = (small_set / "README.md").read_text(encoding="utf-8")
    assert len(read_people(small_set / PEOPLE)) == 5
    for word in ("CC0", "Limits", "ancestry", "query_occluded", "skin"):
        assert word in card
    cutout = cv2.imread(str(small_set / "occluders" / "person_00.png"), cv2.IMREAD_UNCHANGED)
    assert cutout.shape[2] == 4
    assert cutout[..., 3].max() == 255 and cutout[..., 3].min() == 0


def test_a_worker_does_its_linear_algebra_in_one_thread(monkeypatch):
    for name in dataset.THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with dataset.one_core_each(), dataset.SPAWN.Pool(1) as pool:
        assert pool.map(os.getenv, dataset.THREADS) == ["1"] * len(dataset.THREADS)
    assert [os.getenv(name) for name in dataset.THREADS] == ["7", None, None, None]


def test_same_seed_same_bytes_with_two_workers(small_set, assets_folder, tmp_path):
    synthesize(assets_folder, tmp_path / "again", SMALL, workers=2, cutouts=False)
    for split in SPLITS:
        for path in (small_set / split).glob("*.jpg"):
            assert (tmp_path / "again" / split / path.name).read_bytes() == path.read_bytes()
    assert (tmp_path / "again" / TRUTH_FILE).read_bytes() == (small_set / TRUTH_FILE).read_bytes()


def test_a_finished_set_is_left_alone_and_another_plan_is_refused(small_set, assets_folder):
    before = (small_set / TRUTH_FILE).stat().st_mtime_ns
    assert synthesize(assets_folder, small_set, SMALL, workers=1)["query"] == 2
    assert (small_set / TRUTH_FILE).stat().st_mtime_ns == before
    with pytest.raises(SyntheticError, match="another data set"):
        synthesize(assets_folder, small_set, replace(SMALL, ids=5), workers=1)


def test_the_gallery_is_built_with_its_probes_cutouts_and_truth_by_the_same_command(
    small_set, assets_folder, tiny_weights, tmp_path, capsys
):
    wanted = ["--ids", "4", "--images-per-id", "2", "--test-fraction", "0.5", "--absent", "1", "--workers", "1"]
    built = ["--gallery", str(tmp_path / "gallery"), "--weights", str(tiny_weights), "--device", "cpu"]
    assert main(["synthesize", "--assets", str(assets_folder), "--out", str(small_set), *wanted, *built]) == 0
    report = json.loads(capsys.readouterr().out)["gallery"]
    assert report["images"] == 4 and report["cutouts"] == 4
    shipped = gallery.load(tmp_path / "gallery")
    assert {record.pid for record in shipped.records} == {20003, 20004}
    assert shipped.name == "2 synthetic people"
    assert report["people"] == 3  # two of the gallery and one who is absent from it
    assert set(read_people(tmp_path / "gallery" / PEOPLE)) == {20003, 20004, 20005}


def test_a_lower_jpeg_quality_makes_smaller_files(small_set, assets_folder, tmp_path):
    synthesize(assets_folder, tmp_path / "small", replace(SMALL, jpeg_quality=40), workers=1, cutouts=False)
    for path in (small_set / "query").glob("*.jpg"):
        assert (tmp_path / "small" / "query" / path.name).stat().st_size < 0.7 * path.stat().st_size
    with pytest.raises(SyntheticError, match="JPEG quality"):
        synthesize(assets_folder, tmp_path / "none", Wanted(4, jpeg_quality=0))


def test_a_stopped_run_goes_on(studio, assets_folder, tmp_path, monkeypatch):
    real, made = dataset.render_identity, []
    wanted = Wanted(3, images_per_id=1, test_fraction=0, absent=0)

    def stop_after_one(studio, out, plan, index):
        if made:
            raise KeyboardInterrupt
        made.append(index)
        real(studio, out, plan, index)

    monkeypatch.setattr(dataset, "render_identity", stop_after_one)
    with pytest.raises(KeyboardInterrupt):
        synthesize(assets_folder, tmp_path / "set", wanted, workers=1, cutouts=False)
    made.clear()
    monkeypatch.setattr(dataset, "render_identity", lambda *a: (made.append(a[3]), real(*a)))
    synthesize(assets_folder, tmp_path / "set", wanted, workers=1, cutouts=False)
    assert made == [1, 2]
    assert len(read_truth(tmp_path / "set" / TRUTH_FILE)) == 3


def test_wrong_arguments_and_folders_are_told(tmp_path):
    with pytest.raises(SyntheticError, match="test fraction"):
        synthesize(tmp_path, tmp_path / "out", Wanted(4, test_fraction=2))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_bytes(b"")
    with pytest.raises(SyntheticError, match="not empty"):
        synthesize(tmp_path, tmp_path / "mine", Wanted(4))
    with pytest.raises(SyntheticError, match="MakeHuman"):
        synthesize(tmp_path, tmp_path / "out", Wanted(1))


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


def test_a_plan_that_is_damaged_is_told(tmp_path):
    for content in ("", "3", "[]{"):
        (tmp_path / "plan.json").write_text(content)
        with pytest.raises(SyntheticError, match="plan.json in .* is damaged"):
            synthesize(tmp_path / "assets", tmp_path, SMALL)


def test_without_a_renderer_nothing_is_begun(assets_folder, tmp_path, monkeypatch):
    """A pool would start a worker that died anew, and for ever."""

    def none():
        raise SyntheticError("No off-screen OpenGL 3.3")

    monkeypatch.setattr(dataset, "create_context", none)
    monkeypatch.setattr(dataset, "SPAWN", None)
    with pytest.raises(SyntheticError, match="No off-screen OpenGL"):
        synthesize(assets_folder, tmp_path / "set", SMALL, workers=2)


def test_what_a_stop_at_the_very_end_leaves_is_tidied_up(tmp_path, monkeypatch):
    work = tmp_path / dataset.WORK
    plan = SMALL.plan()
    (tmp_path / "plan.json").write_text(json.dumps(vars(plan)))
    work.mkdir()
    for index in range(plan.everyone):
        (work / f"{index}.jsonl").write_text("not the truth")
    with pytest.raises(ValueError):
        dataset._gather(tmp_path, plan)
    assert work.is_dir() and not (tmp_path / TRUTH_FILE).exists()  # whole or not at all
    (tmp_path / TRUTH_FILE).write_bytes(b"whole")
    dataset._claim(tmp_path, plan)
    assert not work.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [(["--test-fraction", "0"], "needs people for testing"), (["--weights", "nowhere"], "'nowhere'")],
)
def test_a_gallery_that_cannot_be_made_is_refused_before_anything_is_rendered(change, words, tmp_path, capsys):
    command = ["synthesize", "--assets", str(tmp_path), "--out", str(tmp_path / "set"), "--ids", "4"]
    assert main([*command, "--gallery", str(tmp_path / "gallery"), *change]) == 1
    assert words in capsys.readouterr().err and not (tmp_path / "set").exists()
