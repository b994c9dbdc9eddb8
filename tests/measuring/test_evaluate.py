"""Evaluation describes images as the page does, and reads every layout."""

import json
import shutil

import numpy as np
import pytest
from figures import draw_person
from PIL import Image

from reid_demo.__main__ import main
from reid_demo.config import MEAN_GREY
from reid_demo.data.layouts import load_benchmark
from reid_demo.errors import DatasetError, OcclusionError
from reid_demo.images import read_image
from reid_demo.measuring.evaluate import DATASETS, Plan
from reid_demo.measuring.evaluate import evaluate as measure
from reid_demo.records import Descriptor, Occlusion, Scoring
from reid_demo.search import gallery
from reid_demo.search.gallery_views import ONE_VIEW, VIEWS, describe_in_views

KEYS = ["dataset", "protocol", "num_query", "num_gallery", "rank1", "rank3", "rank5", "rank10", "mAP", "mINP"]


def evaluate(describer, dataset, root, *, memory=None, **options) -> dict:
    return measure(describer, Plan(dataset, root, **options), memory=memory)


class ByColour:
    """A describer whose descriptor is the picture's mean colour, so that rankings are predictable."""

    def describe_stream(self, images, maps=True):
        for image in images:
            colour = image.reshape(-1, 3).mean(axis=0).astype(np.float32)
            yield Descriptor(np.stack([colour, colour[::-1]]), np.ones(1, np.float32), None, None)


def paint(path, colour, size=(32, 64)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


RED, RED_TOO, GREEN, BLUE = (200, 10, 10), (190, 30, 20), (10, 200, 10), (10, 10, 200)


@pytest.fixture
def market(tmp_path):
    for split, camid in (("query", 1), ("bounding_box_test", 2)):
        (tmp_path / split).mkdir()
        for pid in (-1, 0, 1, 2, 3):
            if split == "query" and pid < 1:
                continue
            name = f"{pid:04d}" if pid >= 0 else "-1"
            Image.fromarray(draw_person(abs(pid), camid)).save(tmp_path / split / f"{name}_c{camid}s1_000001_00.jpg")
    return tmp_path


def test_market_layout(market, tiny_describer, monkeypatch):
    result = evaluate(tiny_describer, "market1501", market)
    assert (result["num_query"], result["num_gallery"]) == (3, 4)  # junk is dropped
    assert 0 <= result["rank1"] <= result["rank10"] <= 1

    seen = []
    real = type(tiny_describer).describe_stream

    def watch(self, images, maps=True):
        images = list(images)
        seen.extend(images)
        return real(self, images, maps=maps)

    monkeypatch.setattr(type(tiny_describer), "describe_stream", watch)
    hidden = evaluate(tiny_describer, "market1501", market, occlusion=Occlusion("lower_half"))
    assert "lower_half" in hidden["protocol"]
    hides = [bool((image[len(image) // 2 :] == MEAN_GREY).all()) for image in seen]
    assert sum(hides) == 3  # every query, no gallery image


def test_gallery_probes(tmp_path, market, tiny_describer, tiny_gallery_folder):
    from reid_demo.search.ship import ship_probes

    (market / "query").rename(market / "old")
    (market / "query").mkdir()
    for pid in (1, 2):
        Image.fromarray(draw_person(pid, 4)).save(market / "query" / f"{pid:04d}_c4s1_000001_00.jpg")
    own = tmp_path / "gallery"
    shutil.copytree(tiny_gallery_folder, own)
    ship_probes(market, gallery.load(own))
    assert evaluate(tiny_describer, "gallery", own)["num_query"] == 2
    with pytest.raises(DatasetError, match="Unknown probes"):
        evaluate(tiny_describer, "gallery", own, probes="odd")


def test_the_gallery_is_described_in_views_as_index_does(market, tiny_describer, tmp_path):
    memory, root = {}, market
    once = evaluate(tiny_describer, "market1501", root, memory=memory)
    several = evaluate(tiny_describer, "market1501", root, memory=memory, views=VIEWS)
    assert several["protocol"] == once["protocol"] + ", gallery images in 4 views"
    assert sorted(len(parts) for parts, _ in memory.values()) == [3, 4, 4]  # the queries once
    by_views = {shown: value for (*_, shown), value in memory.items() if len(value[0]) == 4}
    assert set(by_views) == {ONE_VIEW, VIEWS}
    pictures = [read_image(root / record.path) for record in load_benchmark("market1501", root, None).gallery]
    for views, (parts, presence) in by_views.items():
        for row, wanted in enumerate(describe_in_views(tiny_describer, pictures, views)):
            np.testing.assert_allclose(parts[row], wanted.parts, atol=1e-4 * np.abs(wanted.parts).max())
            np.testing.assert_allclose(presence[row], wanted.presence, atol=1e-5)
    out = tmp_path / "record.json"
    options = ["--root", str(root), "--dataset", "market1501", "--out", str(out)]
    main(["evaluate", *options, "--views"])
    assert "in 4 views" in json.loads(out.read_text())["protocol"]


def test_errors_name_what_is_missing(tmp_path, tiny_describer):
    with pytest.raises(DatasetError, match=r"query is missing"):
        evaluate(tiny_describer, "market1501", tmp_path)
    with pytest.raises(DatasetError, match=r"nowhere does not exist"):
        evaluate(tiny_describer, "market1501", tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="Unknown data set"):
        evaluate(tiny_describer, "imagenet", tmp_path)
    (tmp_path / "query").mkdir()
    Image.fromarray(draw_person(1, 1)).save(tmp_path / "query" / "someone.jpg")
    with pytest.raises(DatasetError, match="not named like"):
        evaluate(tiny_describer, "market1501", tmp_path)


@pytest.fixture
def benchmarks(tmp_path):
    """Lay out every data set: person 1 is red, 2 green, 3 blue; person 2's hidden query looks red."""
    for pid, colour, hidden in ((1, RED, RED_TOO), (2, GREEN, RED), (3, BLUE, BLUE)):
        synthetic = tmp_path / "synthetic"
        paint(synthetic / f"query/{pid:04d}_c1s1_000001_00.jpg", colour)
        paint(synthetic / f"query_occluded/{pid:04d}_c2s1_000001_00.jpg", hidden)
        paint(synthetic / f"query_partial/{pid:04d}_c3s1_000001_00.jpg", colour)
        paint(synthetic / f"bounding_box_test/{pid:04d}_c4s1_000001_00.jpg", colour)
        paint(tmp_path / f"occluded_reid/occluded_body_images/{pid:03d}/{pid:03d}_01.tif", hidden)
        paint(tmp_path / f"occluded_reid/whole_body_images/{pid:03d}/{pid:03d}_01.tif", colour)
        paint(tmp_path / f"partial_reid/partial_body_images/{pid:03d}_001.jpg", colour)
        paint(tmp_path / f"partial_reid/occluded_body_images/{pid:03d}_001.jpg", hidden)
        paint(tmp_path / f"partial_reid/whole_body_images/{pid:03d}_001.jpg", colour)
        paint(tmp_path / f"partial_ilids/Probe/{pid}.jpg", hidden)
        paint(tmp_path / f"partial_ilids/Gallery/{pid}.jpg", colour)
        paint(tmp_path / f"folder/person{pid}/a.png", hidden)
        paint(tmp_path / f"folder/person{pid}/b.png", colour)
    return tmp_path


@pytest.mark.parametrize(
    ("dataset", "probes", "rank1", "words"),
    [
        ("synthetic", None, 1, "whole queries, same person and camera excluded"),
        ("synthetic", "occluded", 2 / 3, "occluded queries"),
        ("synthetic", "partial", 1, "partial queries"),
        ("occluded_reid", None, 2 / 3, "occluded queries, whole gallery, nothing excluded"),
        ("partial_reid", None, 1, "partial queries"),
        ("partial_reid", "occluded", 2 / 3, "occluded queries"),
        ("partial_ilids", None, 2 / 3, "partial queries, whole gallery, nothing excluded"),
        ("folder", None, 2 / 3, "first image of each person is the query, nothing excluded"),
    ],
)
def test_every_data_set_is_measured_by_its_protocol(benchmarks, dataset, probes, rank1, words):
    result = evaluate(ByColour(), dataset, benchmarks / dataset, probes=probes)
    assert list(result) == KEYS
    assert (result["dataset"], result["num_query"], result["num_gallery"]) == (dataset, 3, 3)
    assert result["rank1"] == pytest.approx(rank1, abs=1e-4) and result["rank10"] == 1
    assert result["protocol"].startswith(words)


def test_reranking_is_said_and_done(benchmarks):
    for scoring in (Scoring(), Scoring("part_aware")):
        result = evaluate(ByColour(), "synthetic", benchmarks / "synthetic", scoring=scoring, reranked=True)
        assert "re-ranking (k1 20, k2 6, lambda 0.3)" in result["protocol"] and result["num_query"] == 3


def test_cameras_count_in_a_folder_only_if_all_names_state_one(tmp_path):
    for pid, colour in ((1, RED), (2, GREEN)):
        for camid in (1, 1, 2):
            paint(tmp_path / f"p{pid}" / f"{len(list(tmp_path.rglob('*.png')))}_c{camid}.png", colour)
    result = evaluate(ByColour(), "folder", tmp_path)
    assert "camera excluded" in result["protocol"] and (result["num_query"], result["num_gallery"]) == (2, 4)
    assert result["mINP"] == 1  # of each person one right answer is left, and it comes first
    paint(tmp_path / "p3" / "alone.png", BLUE)
    result = evaluate(ByColour(), "folder", tmp_path)
    assert "nothing excluded" in result["protocol"] and (result["num_query"], result["num_gallery"]) == (2, 5)


def test_unknown_cameras_and_ids_of_a_gallery_are_never_the_same(tmp_path, tiny_describer, tiny_gallery_folder):
    own = tmp_path / "gallery"
    shutil.copytree(tiny_gallery_folder, own)
    lines = [json.loads(line) for line in (own / "records.jsonl").read_text().splitlines()]
    for row in lines:
        row["camid"] = None
        row["pid"] = None if row["pid"] == 3 else row["pid"]
    (own / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    paint(own / "probes" / "a.png", RED)
    rows = [{"path": "a.png", "pid": pid, "camid": None, "kind": "whole"} for pid in (1, None)]
    (own / "probes" / "probes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert evaluate(tiny_describer, "gallery", own)["num_query"] == 1
    with pytest.raises(DatasetError, match=r"probes\.jsonl has no partial probe"):
        evaluate(tiny_describer, "gallery", own, probes="partial")


def test_every_fault_names_the_path_expected(benchmarks):
    for dataset in DATASETS:
        with pytest.raises(DatasetError, match="nowhere"):
            evaluate(ByColour(), dataset, benchmarks / "nowhere")
    expected = {
        "market1501": "query",
        "occluded_reid": "occluded_body_images",
        "partial_reid": "partial_body_images",
        "partial_ilids": "Probe",
    }
    (benchmarks / "empty").mkdir()
    for dataset, name in expected.items():
        with pytest.raises(DatasetError, match=f"empty/{name} is missing"):
            evaluate(ByColour(), dataset, benchmarks / "empty")
        (benchmarks / "empty" / name).mkdir()
        with pytest.raises(DatasetError, match=f"empty/{name}"):
            evaluate(ByColour(), dataset, benchmarks / "empty")
    for dataset in ("market1501", "partial_ilids"):
        with pytest.raises(DatasetError, match=f"{dataset} has the probes"):
            evaluate(ByColour(), dataset, benchmarks / "synthetic", probes="occluded" if dataset[0] == "m" else "whole")
    with pytest.raises(DatasetError, match="market1501"):
        evaluate(ByColour(), "folder", benchmarks / "synthetic")
    with pytest.raises(OcclusionError):
        evaluate(ByColour(), "folder", benchmarks / "folder", occlusion=Occlusion("lower_hafl"))


def test_a_broken_image_and_a_query_without_answers_are_named(benchmarks):
    root = benchmarks / "partial_ilids"
    (root / "Gallery" / "2.jpg").write_bytes(b"oops")
    with pytest.raises(DatasetError, match=r"Gallery/2\.jpg cannot be used"):
        evaluate(ByColour(), "partial_ilids", root)
    for pid in (1, 2, 3):
        (root / "Gallery" / f"{pid}.jpg").rename(root / "Gallery" / f"{pid + 10}.jpg")
    with pytest.raises(DatasetError, match=r"No query of .*partial_ilids has a right answer"):
        evaluate(ByColour(), "partial_ilids", root)
    same = benchmarks / "same"
    paint(same / "query/0001_c1s1_000001_00.jpg", RED)
    paint(same / "bounding_box_test/0001_c1s1_000002_00.jpg", RED)
    with pytest.raises(DatasetError, match=r"No query has a right answer.*same"):
        evaluate(ByColour(), "market1501", same)


@pytest.mark.parametrize("dataset", ["synthetic", "occluded_reid", "partial_reid", "folder"])
def test_a_broken_query_and_gallery_image_of_every_layout_is_named(benchmarks, dataset):
    loaded = load_benchmark(dataset, benchmarks / dataset)
    for record in (loaded.queries[1], loaded.gallery[-1]):
        path = benchmarks / dataset / record.path
        kept = path.read_bytes()
        path.write_bytes(kept[: len(kept) // 2])
        with pytest.raises(DatasetError) as found:
            evaluate(ByColour(), dataset, benchmarks / dataset)
        assert str(found.value).startswith(f"The image {path} cannot be used: ")
        path.write_bytes(kept)


@pytest.mark.parametrize("dataset", ["occluded_reid", "partial_reid", "folder"])
def test_no_valid_query_names_the_data_set(benchmarks, dataset):
    root = benchmarks / dataset
    for folder in [*root.glob("whole_body_images/0*"), *root.glob("person*/b.png")]:
        shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
    stranger = {"occluded_reid": "whole_body_images/077/1.tif", "partial_reid": "whole_body_images/077_1.jpg"}
    paint(root / stranger.get(dataset, "stranger/a.png"), RED)
    with pytest.raises(DatasetError, match=f"No query of {root} has a right answer"):
        evaluate(ByColour(), dataset, root)


def test_the_command_writes_the_record(benchmarks, tiny_weights, tmp_path, capsys):
    out = tmp_path / "record.json"
    options = ["--root", str(benchmarks / "folder"), "--occlude", "lower_half", "--fill", "black", "--rerank"]
    options += ["--weights", str(tiny_weights), "--device", "cpu", "--out", str(out)]
    assert main(["evaluate", "--dataset", "folder", *options, "--json"]) == 0
    record = json.loads(out.read_text())
    assert list(record) == [*KEYS, "weights", "fingerprint", "command"]
    assert "lower_half of every query filled with black" in record["protocol"]
    captured = capsys.readouterr()
    assert json.loads(captured.out) == record and "6/6" in captured.err  # the progress bar
    run = tmp_path / "mine" / "weights"  # as `train` leaves them
    shutil.copytree(tiny_weights, run)
    out.unlink()
    assert main(["evaluate", "--dataset", "folder", *options, "--weights", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mine on folder: 3 queries, 3 gallery images" and lines[1] == record["protocol"]
    assert lines[2].startswith(f"R-1 {record['rank1']:.1%}  R-3 ") and lines[2].endswith(f"mINP {record['mINP']:.1%}")
    again = json.loads(out.read_text())
    assert again["weights"] == "mine" and again["fingerprint"] == record["fingerprint"]
    assert main(["evaluate", "--dataset", "folder", "--root", str(tmp_path / "gone"), "--weights", str(tiny_weights)])
    assert "gone does not exist" in capsys.readouterr().err


def test_what_was_described_is_remembered_and_measures_the_same(market, tiny_describer, monkeypatch):
    asked = [(Scoring(), None), (Scoring("part_aware"), None), (Scoring(), Occlusion("lower_half"))]
    alone = [evaluate(tiny_describer, "market1501", market, scoring=s, occlusion=o) for s, o in asked]
    counts, real = [], type(tiny_describer).describe_stream

    def count(self, images, maps=True):
        images = list(images)
        counts.append(len(images))
        return real(self, images, maps=maps)

    monkeypatch.setattr(type(tiny_describer), "describe_stream", count)
    memory: dict = {}
    again = [evaluate(tiny_describer, "market1501", market, scoring=s, occlusion=o, memory=memory) for s, o in asked]
    assert again == alone
    assert counts == [3, 4, 3]  # queries, gallery, hidden queries


def test_ranks_are_counted_from_one(tmp_path):
    """Ten people in ten greys: the right answer of query k is its k-th candidate."""
    for k in range(10):
        paint(tmp_path / "query" / f"{k + 1:04d}_c1s1_000001_00.jpg", (100, 100, 100))
        paint(tmp_path / "bounding_box_test" / f"{k + 1:04d}_c2s1_000001_00.jpg", (100, 100 + 3 * k, 100))
    result = evaluate(ByColour(), "market1501", tmp_path)
    assert [result[f"rank{k}"] for k in (1, 3, 5, 10)] == [0.1, 0.3, 0.5, 1.0]
