"""Evaluation uses the page's describe path, and reads both layouts."""

import shutil

import pytest
from conftest import draw_person
from PIL import Image

from reid_demo import gallery
from reid_demo.config import MEAN_GREY
from reid_demo.errors import DatasetError
from reid_demo.evaluate import evaluate
from reid_demo.records import Occlusion


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

    def watch(self, images):
        images = list(images)
        seen.extend(images)
        return real(self, images)

    monkeypatch.setattr(type(tiny_describer), "describe_stream", watch)
    hidden = evaluate(tiny_describer, "market1501", market, occlusion=Occlusion("lower_half"))
    assert "lower_half" in hidden["protocol"]
    hides = [bool((image[len(image) // 2 :] == MEAN_GREY).all()) for image in seen]
    assert sum(hides) == 3  # every query, no gallery image


def test_gallery_probes(tmp_path, market, tiny_describer, tiny_gallery_folder):
    from reid_demo.probes import ship_probes

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


def test_errors_name_what_is_missing(tmp_path, tiny_describer):
    with pytest.raises(DatasetError, match="'query' is missing"):
        evaluate(tiny_describer, "market1501", tmp_path)
    with pytest.raises(DatasetError, match="Unknown data set"):
        evaluate(tiny_describer, "imagenet", tmp_path)
    (tmp_path / "query").mkdir()
    Image.fromarray(draw_person(1, 1)).save(tmp_path / "query" / "someone.jpg")
    with pytest.raises(DatasetError, match="not named like"):
        evaluate(tiny_describer, "market1501", tmp_path)
