"""Vectors in Milvus rank like vectors in FAISS. Tests with a database are skipped without `milvus-lite`."""

import json

import numpy as np
import pytest

from reid_demo.errors import GalleryError
from reid_demo.model import checkpoint
from reid_demo.records import Scoring
from reid_demo.search import gallery, milvus
from reid_demo.search.build import IndexOptions, index_folder


@pytest.fixture
def address(tmp_path):
    pytest.importorskip("pymilvus", reason="needs `pip install '.[milvus]'`")
    pytest.importorskip("milvus_lite", reason="needs `pip install '.[milvus]'`")
    return f"milvus+file://{tmp_path}/vectors.db"


def index(source, out, describer, weights, store=None):
    return index_folder(source, out, describer, checkpoint.fingerprint(weights), IndexOptions(store=store))


def test_the_ranking_equals_that_of_faiss(address, tmp_path, tiny_engine, tiny_describer, tiny_weights, probe_image):
    images = tiny_engine.gallery.folder / "images"
    index(images, tmp_path / "faiss", tiny_describer, tiny_weights)
    index(images, tmp_path / "milvus", tiny_describer, tiny_weights, address)
    assert not (tmp_path / "milvus" / gallery.VECTORS).exists()
    by_file, by_base = gallery.load(tmp_path / "faiss"), gallery.load(address)
    assert by_base.exact and by_base.meta["index"]["kind"] == "milvus"
    probe = tiny_engine.describe(probe_image)
    exclude = np.zeros(len(by_file), bool)
    exclude[by_file.search(probe, 3)[0].index] = True
    for scoring in (Scoring(), Scoring("adaptive"), Scoring("part_aware")):
        for left_out in (None, exclude):
            wanted, got = (one.search(probe, 7, scoring, left_out) for one in (by_file, by_base))
            assert [m.record for m in got] == [m.record for m in wanted]
            np.testing.assert_allclose([m.similarity for m in got], [m.similarity for m in wanted], atol=1e-6)
    np.testing.assert_array_equal(by_base.ranking(probe).ranks, by_file.ranking(probe).ranks)
    named = gallery.load(address, checkpoint.fingerprint(tiny_weights))  # by the address alone
    assert named.folder == (tmp_path / "milvus").resolve() and len(named) == len(by_base)


def test_a_collection_of_another_gallery_is_refused(address, tmp_path, tiny_engine, tiny_describer, tiny_weights):
    images = tiny_engine.gallery.folder / "images"
    index(images, tmp_path / "one", tiny_describer, tiny_weights, address)
    index(images, tmp_path / "two", tiny_describer, tiny_weights, address)
    assert gallery.load(address).folder == (tmp_path / "two").resolve()
    with pytest.raises(GalleryError, match="was not filled for it"):
        milvus.load(gallery.load(tmp_path / "one").meta["index"])
    assert len(gallery.load(tmp_path / "one")) == 18  # by its own vectors
    again = index(images, tmp_path / "one", tiny_describer, tiny_weights)  # back to a file, nothing lost but the index
    assert again.total == 18 and (tmp_path / "one" / gallery.VECTORS).is_file()


def test_a_lost_collection_is_filled_again(address, tmp_path, tiny_engine, tiny_describer, tiny_weights):
    """By the command that the error names: nothing else about the gallery has changed."""
    images, out = tiny_engine.gallery.folder / "images", tmp_path / "one"
    index(images, out, tiny_describer, tiny_weights, address)
    stamp = gallery.load(address).meta["index"]["stamp"]
    index(images, out, tiny_describer, tiny_weights, address)
    assert gallery.load(address).meta["index"]["stamp"] == stamp  # it is there, so it is not sent again
    client, name = milvus._open(address)
    client.drop_collection(name)
    client.close()
    with pytest.raises(GalleryError, match="no gallery at .*index IMAGES"):
        gallery.load(address)
    report = index(images, out, tiny_describer, tiny_weights, address)
    assert (report.added, report.kept) == (0, 18) and len(gallery.load(address)) == 18


def test_a_page_notices_that_its_collection_was_filled_anew(
    address, tmp_path, tiny_engine, tiny_describer, tiny_weights, probe_image
):
    images = tiny_engine.gallery.folder / "images"
    index(images, tmp_path / "one", tiny_describer, tiny_weights, address)
    opened, probe = gallery.load(address), tiny_engine.describe(probe_image)
    assert len(opened.search(probe, 5, opened.scoring)) == 5
    index(images, tmp_path / "two", tiny_describer, tiny_weights, address)
    with pytest.raises(GalleryError, match="was filled anew after it was opened. Wait for `index` to end"):
        opened.search(probe, 5, opened.scoring)
    assert len(gallery.load(address).search(probe, 5, opened.scoring)) == 5


def test_a_collection_of_an_earlier_version_counts_from_zero():
    class Client:
        def search(self, name, data, limit, search_params, filter, output_fields):
            assert filter == "id not in [1]"
            return [[{"id": 2}, {"id": 0}]]

    pytest.importorskip("pymilvus", reason="needs `pip install '.[milvus]'`")
    facts = {"kind": "milvus", "address": "milvus://a:1/b", "stamp": "x"}
    held = milvus.Collection(Client(), facts["address"], "b", facts, 3)
    assert held.nearest(np.zeros(4), 3, np.array([False, True, False])).tolist() == [2, 0] and held.facts() == facts


def test_a_collection_that_is_empty_meanwhile_is_noticed():
    class Client:
        def search(self, name, **asked):
            return [[]]

    pytest.importorskip("pymilvus", reason="needs `pip install '.[milvus]'`")
    held = milvus.Collection(Client(), "milvus://a:1/b", "b", {"first_id": 5}, 3)
    for some in (None, np.array([True, True, False])):
        with pytest.raises(GalleryError, match="was filled anew"):
            held.nearest(np.zeros(4), 3, some)
    assert held.nearest(np.zeros(4), 3, np.ones(3, bool)).tolist() == []


def test_addresses_that_lead_nowhere(address, tmp_path):
    with pytest.raises(GalleryError, match="There is no gallery at .*index IMAGES"):
        gallery.load(address)


def test_bad_addresses_are_refused(tmp_path):
    pytest.importorskip("pymilvus", reason="needs `pip install '.[milvus]'`")
    for bad in ("milvus://somewhere", "milvus://host:1/bad name", "milvus+file://notes.txt"):
        with pytest.raises(GalleryError, match="not a Milvus address"):
            milvus.folder_of(bad)


def test_without_the_extra_the_error_says_what_to_install(tmp_path, tiny_gallery_folder, monkeypatch):
    import shutil
    import sys

    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(GalleryError, match=r"pip install '\.\[milvus\]'"):
        gallery.load("milvus://localhost:19530/people")
    place = tmp_path / "gallery"
    shutil.copytree(tiny_gallery_folder, place)
    meta = json.loads((place / gallery.META).read_text())
    meta["index"] = {"kind": "milvus", "address": "milvus://localhost:19530/people", "stamp": "x"}
    (place / gallery.META).write_text(json.dumps(meta))
    assert len(gallery.load(place)) == 18  # by its own vectors: nobody named the address


def test_names_of_folders_are_not_addresses():
    assert milvus.is_address("milvus://host:19530/people") and milvus.is_address("milvus+file://a.db")
    assert not milvus.is_address("gallery") and not milvus.is_address("./milvus")


def test_a_store_that_cannot_be_used_is_said_before_anything_is_described(tmp_path, tiny_engine, tiny_weights):
    class NoDescriber:
        batch_size = 8

        def describe(self, images):
            raise AssertionError("an image was described")

    images = tiny_engine.gallery.folder / "images"
    for wrong in ("milvus://", "milvus://127.0.0.1:9/people"):
        with pytest.raises(GalleryError, match="is not a Milvus address|does not answer|Milvus needs"):
            index(images, tmp_path / "out", NoDescriber(), tiny_weights, wrong)
        assert not (tmp_path / "out").exists()
