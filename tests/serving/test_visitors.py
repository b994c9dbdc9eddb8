"""Private galleries: limited in size, confined to their folder, invisible to others, deleted when the visit ends."""

import io
import os
import stat
import time
import zipfile

import numpy as np
import pytest
from figures import draw_person
from filelock import FileLock
from PIL import Image
from waits import MovableClock, wait_until

from reid_demo.errors import GalleryError, NotWritableError
from reid_demo.model import checkpoint
from reid_demo.search import gallery
from reid_demo.serving import visitors as private
from reid_demo.serving import workplace
from reid_demo.serving.visitors import PrivateGalleries, unpack


def picture(pid: int, camid: int = 1, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(draw_person(pid, camid)).save(buffer, kind)
    return buffer.getvalue()


def pack(path, files: dict):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return path


@pytest.fixture
def galleries(tiny_engine):
    return PrivateGalleries(tiny_engine)


@pytest.fixture
def clock(monkeypatch):
    """Return the galleries' clock."""
    clock = MovableClock()
    monkeypatch.setattr(private, "time", clock)
    return clock


@pytest.fixture
def three(tmp_path):
    files = {f"album/{pid:04d}_c1s1_000001_00.png": picture(pid) for pid in (11, 12, 13)}
    return pack(tmp_path / "three.zip", files)


def files_under(folder) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_pictures_and_zips_become_a_gallery_that_finds_its_own(galleries, three, tmp_path, tiny_engine):
    single = tmp_path / "one more.jpg"
    single.write_bytes(picture(14, kind="JPEG"))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    steps = []
    token, report = galleries.build("me", [three, single, broken], progress=lambda *at: steps.append(at))
    engine = galleries.engine_of(token)
    assert (report.total, report.added, steps[-1]) == (4, 4, (5, 5))
    assert [name for name, _ in report.skipped] == ["broken.png"]
    assert sorted(r.pid for r in engine.gallery.records if r.pid) == [11, 12, 13]
    best = engine.search(engine.describe(draw_person(12, 1)), 1)[0]
    assert best.record.pid == 12 and best.similarity > 0.99
    assert engine.describer is tiny_engine.describer and len(tiny_engine.gallery) == 18
    assert all(example.pid is None for example in engine.examples) and tiny_engine.examples[0].pid == 2


def test_a_token_opens_one_gallery_only(galleries, three, tiny_engine):
    mine, _ = galleries.build("me", [three])
    yours, _ = galleries.build("you", [three])
    assert mine != yours and len(mine) > 20
    assert galleries.engine_of(mine).gallery.folder != galleries.engine_of(yours).gallery.folder
    assert galleries.engine_of("") is tiny_engine
    with pytest.raises(GalleryError, match="no longer here"):
        galleries.engine_of("guessed")


def test_the_end_of_a_visit_deletes_its_gallery_and_no_other(galleries, three):
    mine, _ = galleries.build("me", [three])
    yours, _ = galleries.build("you", [three])
    folder = galleries.engine_of(mine).gallery.folder.parent
    assert files_under(folder)
    galleries.drop_owner("me")
    assert not folder.exists() and len(galleries.engine_of(yours).gallery) == 3
    with pytest.raises(GalleryError, match="no longer here"):
        galleries.engine_of(mine)
    galleries.drop(mine)
    galleries.drop(yours)
    assert len(galleries) == 0


def test_another_upload_replaces_the_first_gallery_of_a_visit(galleries, three, tmp_path):
    first, _ = galleries.build("me", [three])
    with pytest.raises(GalleryError):
        galleries.build("me", [tmp_path / "empty.txt"])
    assert len(galleries.engine_of(first).gallery) == 3, "a failed upload costs nothing"
    second, _ = galleries.build("me", [three])
    assert len(galleries) == 1 and len(galleries.engine_of(second).gallery) == 3


def test_an_unused_gallery_is_deleted(galleries, three, clock):
    token, _ = galleries.build("me", [three])
    folder = galleries.engine_of(token).gallery.folder
    clock.move(galleries.keep_s - 60)
    galleries.engine_of(token)  # which is a use
    clock.move(galleries.keep_s - 60)
    galleries.engine_of(token)
    clock.move(galleries.keep_s + 1)
    with pytest.raises(GalleryError, match="no longer here"):
        galleries.engine_of(token)
    assert not folder.exists()


def test_a_saved_gallery_opens_elsewhere(galleries, three, tmp_path, tiny_weights):
    token, _ = galleries.build("me", [three])
    with zipfile.ZipFile(galleries.save(token)) as packed:
        packed.extractall(tmp_path)
    opened = gallery.load(tmp_path / "my_gallery", checkpoint.fingerprint(tiny_weights))
    assert len(opened) == 3 and all(opened.image_path(i).is_file() for i in range(3))
    assert not any(name.startswith((".", "uploads")) for name in os.listdir(tmp_path / "my_gallery"))


@pytest.mark.parametrize(
    "name", ["../evil.png", "a/../../evil.png", "/tmp/evil.png", "..\\evil.png", "C:\\evil.png", "\\evil.png"]
)
def test_a_zip_that_leads_outside_is_refused_whole(galleries, tmp_path, name):
    bad = pack(tmp_path / "slip.zip", {"good.png": picture(1), name: picture(2)})
    with pytest.raises(GalleryError, match="whole path"):
        galleries.build("me", [bad])
    assert len(galleries) == 0 and not list(tmp_path.parent.rglob("evil*")) and _left(galleries) == []


def _left(galleries) -> list[str]:
    """Return the names in the galleries' folder, without its lock."""
    return [path.name for path in galleries._place().iterdir() if path.name != private.LOCK]


def test_a_bomb_is_refused_before_it_is_unpacked(galleries, tmp_path):
    zeros = bytes(19 << 20)
    bomb = pack(tmp_path / "bomb.zip", {f"{i}.png": zeros for i in range(12)})
    assert bomb.stat().st_size < 1 << 20
    with pytest.raises(GalleryError, match="unpacks to more than 200 MB"):
        galleries.build("me", [bomb])
    large = pack(tmp_path / "large.zip", {"large.png": bytes(21 << 20), "good.png": picture(1)})
    (tmp_path / "out").mkdir()
    assert [name for name, _ in unpack([large], tmp_path / "out")] == ["large.png"]
    assert files_under(tmp_path / "out") == ["0001/good.png"]
    many = pack(tmp_path / "many.zip", {f"{i}.txt": b"" for i in range(private.MAX_ENTRIES + 1)})
    with pytest.raises(GalleryError, match="at most 2000"):
        galleries.build("me", [many])
    assert _left(galleries) == []


def test_a_zip_that_lies_about_sizes_is_found_out(tmp_path):
    honest = pack(tmp_path / "lie.zip", {"lie.png": bytes(1 << 20)})
    data = honest.read_bytes()
    size = (1 << 20).to_bytes(4, "little")
    honest.write_bytes(data.replace(size, (1000).to_bytes(4, "little")))
    (tmp_path / "out").mkdir()
    assert [name for name, _ in unpack([honest], tmp_path / "out")] == ["lie.png"]
    assert files_under(tmp_path / "out") == []


@pytest.mark.parametrize("method", ["ZIP_STORED", "ZIP_DEFLATED", "ZIP_BZIP2", "ZIP_LZMA"])
def test_a_damaged_entry_of_a_zip_is_named_and_the_others_are_taken(galleries, tmp_path, method):
    mixed = tmp_path / "mixed.zip"
    with zipfile.ZipFile(mixed, "w", getattr(zipfile, method)) as packed:
        packed.writestr("bad.png", picture(1))
        packed.writestr("good.png", picture(2))
    begins = mixed.read_bytes().index(b"bad.png") + len("bad.png")
    for place in range(begins, begins + 40, 3):  # every place breaks another part of what unpacks it
        data = bytearray(mixed.read_bytes())
        data[place : place + 12] = b"\xff" * 12
        broken, out = tmp_path / f"{place}.zip", tmp_path / f"out{place}"
        broken.write_bytes(data)
        out.mkdir()
        refused = [name for name, _ in unpack([broken], out)]
        kept = {path.name: path.read_bytes() for path in out.rglob("*.png")}
        assert kept.pop("good.png") == picture(2)
        assert refused == ["bad.png"] or kept == {"bad.png": picture(1)}  # a byte that bzip2 does not need
        if place == begins:
            _, report = galleries.build("me", [broken])
            assert report.total == 1 and report.skipped[0][0] == "bad.png" and "unpacked" in report.skipped[0][1]


def test_too_many_pictures_are_refused(galleries, tmp_path, monkeypatch):
    monkeypatch.setattr(private, "MAX_IMAGES", 2)
    three = pack(tmp_path / "three.zip", {f"{i}.png": picture(i) for i in range(1, 4)})
    with pytest.raises(GalleryError, match="more than 2 pictures"):
        galleries.build("me", [three])
    monkeypatch.setattr(private, "MAX_GALLERIES", 0)
    with pytest.raises(GalleryError, match="Too many visitors"):
        galleries.build("me", [three])
    assert _left(galleries) == []


def test_what_is_no_picture_is_listed(galleries, tmp_path):
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    mixed = tmp_path / "mixed.zip"
    with zipfile.ZipFile(mixed, "w") as packed:
        packed.writestr("good.png", picture(1))
        packed.writestr("notes.txt", "hello")
        packed.writestr("inner.zip", "PK")
        packed.writestr(link, "/etc/passwd")
        packed.writestr("__MACOSX/._good.png", b"x")
        packed.writestr(".hidden.png", b"x")
        packed.writestr("broken <b>.png", b"x")
    _, report = galleries.build("me", [mixed])
    assert report.total == 1
    assert sorted(name for name, _ in report.skipped) == ["broken _b_.png", "inner.zip", "link.png", "notes.txt"]


@pytest.mark.parametrize("name", ["\U00020000" * 70, "\u4eba" * 81, "x" * 250], ids=["4 bytes", "3 bytes", "1 byte"])
def test_names_in_a_zip_are_limited_in_bytes(name, galleries, tmp_path):
    token, report = galleries.build(
        "me", [pack(tmp_path / "long.zip", {f"day/{name}.png": picture(1), "b.png": picture(2)})]
    )
    engine = galleries.engine_of(token)
    assert report.total == 2 and not report.skipped
    assert all(engine.gallery.image_path(row).is_file() for row in range(2))


@pytest.mark.parametrize(("text", "encoding"), [("\u5f20\u4f1f", "gbk"), ("\u3084\u307e\u3060", "cp932")])
def test_old_names_in_a_zip_are_readable(text, encoding, galleries, tmp_path):
    raw = text.encode(encoding)
    old = pack(tmp_path / "old.zip", {f"{'n' * len(raw)}.png": picture(1)})
    old.write_bytes(old.read_bytes().replace(b"n" * len(raw), raw))
    token, _ = galleries.build("me", [old])
    (record,) = galleries.engine_of(token).gallery.records
    assert text in record.path


def test_postscript_in_a_zip_is_refused_and_never_run(galleries, tmp_path):
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 128\n%%EndComments\n{ 1 1 add pop } loop\n"
    mixed = pack(tmp_path / "mixed.zip", {"x.jpg": script, "y.eps": script, "good.png": picture(1)})
    begun = time.monotonic()
    _, report = galleries.build("me", [mixed])
    assert time.monotonic() - begun < 20 and report.total == 1
    told = dict(report.skipped)
    assert sorted(told) == ["x.jpg", "y.eps"]
    assert "not an image that can be read" in told["x.jpg"] and "does not end as" in told["y.eps"]


@pytest.mark.parametrize("data", [b"PK\x03\x04 not really", b""], ids=["damaged", "empty"])
def test_a_zip_that_cannot_be_opened_is_a_sentence(galleries, tmp_path, data):
    bad = tmp_path / "bad.zip"
    bad.write_bytes(data)
    with pytest.raises(GalleryError, match="bad.zip is no zip file"):
        galleries.build("me", [bad])


def test_nothing_readable_is_a_sentence_without_paths(galleries, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"x")
    with pytest.raises(GalleryError) as told:
        galleries.build("me", [bad])
    assert str(told.value) == "None of your pictures can be read. Send JPEG or PNG files." and _left(galleries) == []


def test_whole_frames_are_cut(galleries, tmp_path):
    class LeftHalf:
        name = "left half"

        def find(self, image):
            from reid_demo.search.detector import Found

            return [Found((0, 0, image.shape[1] // 2, image.shape[0]), 1.0)]

    frame = tmp_path / "frame.png"
    Image.fromarray(np.concatenate([draw_person(1, 1), draw_person(2, 1)], axis=1)).save(frame)
    token, report = galleries.build("me", [frame], finder=LeftHalf())
    record = galleries.engine_of(token).gallery.records[0]
    assert report.total == 1 and record.box == (0, 0, 64, 128)


def test_folders_of_killed_processes_are_removed(tmp_path):
    dead, held, young = (tmp_path / f"{private.PREFIX}{name}" for name in ("dead", "held", "young"))
    for folder in (dead, held, young):
        folder.mkdir()
        (folder / "face.jpg").write_bytes(b"x")
    lock = FileLock(held / private.LOCK)
    lock.acquire()
    for folder in (dead, held):
        os.utime(folder, (1, 1))
    place = workplace.Workplace(tmp_path)
    lock.release()
    assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700
    place.close()
    assert not place.folder.exists()
    assert not dead.exists() and held.exists() and young.exists()


def test_a_cut_connection_costs_nothing_that_comes_back(galleries, three, clock):
    token, _ = galleries.build("me", [three])
    galleries.part("me")
    galleries.arrive("me")
    clock.move(private.GRACE_S + 1)
    assert len(galleries.engine_of(token).gallery) == 3
    galleries.part("me")
    assert len(galleries.engine_of(token).gallery) == 3, "who uses it is here"
    galleries.part("me")
    clock.move(private.GRACE_S + 1)
    with pytest.raises(GalleryError, match="no longer here.*Make it again"):
        galleries.engine_of(token)


def test_the_clock_deletes_without_any_further_event(galleries, three, monkeypatch):
    monkeypatch.setattr(private, "GRACE_S", 0.2)
    monkeypatch.setattr(private, "SWEEP_S", 0.1)
    token, _ = galleries.build("me", [three])
    folder = galleries.engine_of(token).gallery.folder
    galleries.part("me")
    wait_until(lambda: not folder.exists() and len(galleries) == 0)


def test_a_gallery_whose_visit_ended_while_it_was_made_is_deleted_too(galleries, three, clock):
    token, _ = galleries.build("me", [three], progress=lambda *at: galleries.part("me"))
    clock.move(private.GRACE_S + 1)
    galleries.sweep()
    assert len(galleries) == 0 and _left(galleries) == []


def test_making_a_gallery_stops_when_its_visit_is_gone(galleries, three, monkeypatch):
    monkeypatch.setattr(private, "ABANDONED_S", -1)
    galleries.part("me")
    with pytest.raises(GalleryError, match="no longer here"):
        galleries.build("me", [three])
    assert _left(galleries) == []


def test_places_belong_to_living_visits(galleries, three, monkeypatch):
    monkeypatch.setattr(private, "MAX_GALLERIES", 2)
    first, _ = galleries.build("first", [three])
    second, _ = galleries.build("second", [three])
    with pytest.raises(GalleryError, match="Too many visitors"):
        galleries.build("third", [three])
    galleries.build("second", [three])  # its own place
    galleries.part("first")
    galleries.build("third", [three])
    assert len(galleries) == 2
    with pytest.raises(GalleryError, match="no longer here"):
        galleries.engine_of(first)


def test_one_address_holds_few_places_where_it_is_known(galleries, three, monkeypatch):
    monkeypatch.setattr(private, "MAX_AN_ADDRESS", 1)
    galleries.arrive("first", "10.0.0.9")
    galleries.arrive("second", "10.0.0.9")
    galleries.build("first", [three])
    with pytest.raises(GalleryError, match="Too many visitors"):
        galleries.build("second", [three])
    galleries.build("unknown", [three])
    assert len(galleries) == 2


def test_the_zip_of_a_deleted_gallery_is_gone_everywhere(tiny_engine, three, tmp_path):
    galleries = PrivateGalleries(tiny_engine, cache=tmp_path / "cache")
    token, _ = galleries.build("me", [three])
    packed = galleries.save(token)
    offered = tmp_path / "cache" / "hash" / packed.name  # where Gradio puts the copy that it hands out
    offered.parent.mkdir(parents=True)
    offered.write_bytes(packed.read_bytes())
    again = galleries.save(token)  # one is kept at a time
    assert again.exists() and not packed.exists() and not offered.exists()
    packed, offered = again, offered.with_name(again.name)
    offered.write_bytes(packed.read_bytes())
    galleries.drop(token)
    assert not packed.exists() and not offered.exists()


def test_a_full_disk_is_said_to_a_visitor_in_their_words(galleries, three, monkeypatch):
    def full(*given, **named):
        raise NotWritableError("The gallery 'gallery' cannot be written. Name another --out.")

    def without_words(*given):
        raise OSError(28, "No space left on device")

    for at, fault in (("index_folder", full), ("unpack", without_words)):
        with monkeypatch.context() as patch:
            patch.setattr(private, at, fault)
            with pytest.raises(GalleryError, match="no room for another gallery"):
                galleries.build("me", [three])
    assert _left(galleries) == []


def test_a_living_servers_folder_stays_young(tmp_path, monkeypatch):
    """Programs that remove old files took its lock; the next server took the folder for a dead one's."""
    monkeypatch.setattr(workplace, "KEEP_YOUNG_S", 0.05)
    place = workplace.Workplace(tmp_path)
    kept = [place.folder / workplace.LOCK, place.subfolder("galleries")]
    for path in kept:
        os.utime(path, (0, 0))
    wait_until(lambda: all(path.stat().st_mtime > 0 for path in kept))
    place.close()
    assert not place.folder.exists()


def test_a_link_in_a_shared_folder_is_not_followed(tmp_path):
    (tmp_path / "home").mkdir()
    link = tmp_path / f"{workplace.PREFIX}elsewhere"
    link.symlink_to(tmp_path / "home")
    os.utime(tmp_path / "home", (0, 0))
    workplace.remove_what_is_left(tmp_path)
    assert list((tmp_path / "home").iterdir()) == [] and link.is_symlink()
