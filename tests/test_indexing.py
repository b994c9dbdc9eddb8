"""A folder becomes a gallery: incremental, resumable, honest about what it skipped."""

import fcntl

import pytest
from figures import draw_person
from PIL import Image

from reid_demo import checkpoint, gallery
from reid_demo.errors import GalleryError
from reid_demo.indexing import index_folder, market_ids


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "photos" / "sub"
    folder.mkdir(parents=True)
    for pid in range(3):
        Image.fromarray(draw_person(pid, 1)).save(folder / f"{pid + 1:04d}_c1s1_000001_00.jpg", quality=95)
    Image.fromarray(draw_person(9, 2)).save(tmp_path / "photos" / "holiday picture.png")
    return tmp_path / "photos"


def run(images, out, tiny_describer, tiny_weights):
    return index_folder(images, out, tiny_describer, checkpoint.fingerprint(tiny_weights))


def test_market_names_give_ids():
    assert market_ids("0002_c1s1_000451_03.jpg") == (2, 1)
    assert market_ids("-1_c12s1_000451_03.jpg") == (-1, 12)
    assert market_ids("holiday.jpg") == (None, None)


def test_index_is_incremental(images, tmp_path, tiny_describer, tiny_weights):
    out = tmp_path / "gallery"
    first = run(images, out, tiny_describer, tiny_weights)
    assert (first.added, first.kept, first.total) == (4, 0, 4)
    second = run(images, out, tiny_describer, tiny_weights)
    assert (second.added, second.kept) == (0, 4)
    (images / "sub" / "0001_c1s1_000001_00.jpg").unlink()
    third = run(images, out, tiny_describer, tiny_weights)
    assert (third.added, third.kept, third.removed, third.total) == (0, 3, 1, 3)
    loaded = gallery.load(out, checkpoint.fingerprint(tiny_weights))
    assert sorted(r.pid for r in loaded.records if r.pid is not None) == [2, 3]
    assert all(loaded.image_path(i).is_file() for i in range(len(loaded)))
    assert len(list((out / "images").rglob("*.jpg"))) == 3


def test_bad_and_double_files_are_reported(images, tmp_path, tiny_describer, tiny_weights):
    (images / "broken.jpg").write_bytes(b"\xff\xd8 not really")
    copy = images / "copy.jpg"
    copy.write_bytes((images / "sub" / "0001_c1s1_000001_00.jpg").read_bytes())
    report = run(images, tmp_path / "gallery", tiny_describer, tiny_weights)
    assert [path for path, _ in report.skipped] == ["broken.jpg"]
    assert report.duplicates == 1 and report.total == 4


def test_a_second_writer_is_refused(images, tmp_path, tiny_describer, tiny_weights):
    out = tmp_path / "gallery"
    out.mkdir()
    (out / "images").mkdir()
    with open(out / ".lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(GalleryError, match="Another"):
            run(images, out, tiny_describer, tiny_weights)


def test_wrong_folders_are_refused(images, tmp_path, tiny_describer, tiny_weights):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(GalleryError, match="No images"):
        run(empty, tmp_path / "gallery", tiny_describer, tiny_weights)
    with pytest.raises(GalleryError, match="not a folder"):
        run(tmp_path / "nowhere", tmp_path / "gallery", tiny_describer, tiny_weights)
    with pytest.raises(GalleryError, match="something else"):
        run(images / "sub", images, tiny_describer, tiny_weights)
