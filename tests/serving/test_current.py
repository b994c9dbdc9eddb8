"""A gallery that is written anew under a running page: noticed between two searches; lists of the old one say so."""

import logging
import shutil
from dataclasses import replace

import pytest
from figures import draw_person, one_block
from gradio_client import Client, handle_file
from pages import opened, pictures_in
from PIL import Image

import app
from reid_demo.engine import AboutWeights, Engine
from reid_demo.errors import GalleryError, ImageError
from reid_demo.images import image_or_placeholder, read_image
from reid_demo.records import ImageRecord
from reid_demo.search import gallery, store
from reid_demo.serving import current as following
from reid_demo.serving.current import Current
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import browse, probe, ranking, verify, why
from reid_demo.serving.page.handlers.session import Session, check_list, default_settings
from reid_demo.serving.visitors import PrivateGalleries

PROBES = '{"path": "new.png", "title": "new", "pid": 8, "camid": 9, "kind": "whole"}\n'


@pytest.fixture
def engine(tiny_engine, tiny_gallery_folder, tmp_path) -> Engine:
    """Return an engine over a copy of the tiny gallery."""
    folder = shutil.copytree(tiny_gallery_folder, tmp_path / "gallery")
    examples = [replace(example, path=folder / "probes" / example.path.name) for example in tiny_engine.examples]
    opened = gallery.load(folder, tiny_engine.gallery.fingerprint)
    return Engine(tiny_engine.describer, opened, about=AboutWeights("tiny"), examples=examples)


def write_anew(engine: Engine, pids=(7, 8), fingerprint: str = "") -> None:
    """Do to a gallery what another run of `index` over another folder does."""
    folder = engine.gallery.folder
    shutil.rmtree(folder / "images")
    (folder / "images").mkdir()
    records, pictures = [], []
    for pid in pids:
        path = f"images/{pid:04d}_c1s1_000001_00.png"
        Image.fromarray(draw_person(pid, 1)).save(folder / path)
        records.append(ImageRecord(path, pid, 1, 64, 128))
        pictures.append(read_image(folder / path))
    Image.fromarray(draw_person(8, 9)).save(folder / "probes" / "new.png")
    (folder / "probes" / "probes.jsonl").write_text(PROBES)
    descriptors = one_block(list(engine.describer.describe_stream(iter(pictures))))
    store.write(folder, records, descriptors, store.About(fingerprint or engine.gallery.fingerprint, "anew"))


def test_a_gallery_that_was_written_anew_is_opened_anew(engine):
    current = Current(engine)
    assert current.engine is engine
    write_anew(engine)
    now = current.engine
    assert len(now.gallery) == 2 and now.describer is engine.describer and current.engine is now
    assert [example.title for example in now.examples] == ["new"]
    best = now.search(now.describe(draw_person(8, 1)), 1)[0]
    assert best.record.pid == 8 and now.gallery.image_path(best.index).is_file()
    write_anew(engine, (1, 2, 3))
    assert len(current.engine.gallery) == 3


@pytest.mark.parametrize(
    "spoil",
    [lambda e: write_anew(e, fingerprint="0" * 16), lambda e: (e.gallery.folder / gallery.META).write_text("{")],
)
def test_a_new_one_that_cannot_be_opened_leaves_the_old_one_in_use(engine, spoil, caplog):
    current = Current(engine)
    wanted = engine.search(engine.describe(draw_person(3, 1)), 5)
    spoil(engine)
    with caplog.at_level(logging.WARNING):
        assert current.engine is engine and current.engine is engine
    assert len(caplog.records) == 1 and "still searched" in caplog.text
    assert [m.index for m in engine.search(engine.describe(draw_person(3, 1)), 5)] == [m.index for m in wanted]
    write_anew(engine)
    assert len(current.engine.gallery) == 2, "a later one that is sound is taken"


def test_one_that_was_being_copied_is_taken_once_it_is_whole(engine, monkeypatch, caplog):
    """`rsync` puts meta.json before the files that it speaks of."""
    current = Current(engine)
    write_anew(engine)
    records = engine.gallery.folder / gallery.RECORDS
    whole = records.read_text()
    records.write_text(whole.splitlines(keepends=True)[0])
    assert current.engine is engine
    records.write_text(whole)
    assert current.engine is engine, "it is not tried again at every search"
    monkeypatch.setattr(following, "RETRY_S", 0)
    assert len(current.engine.gallery) == 2 and len(caplog.records) == 1


def test_a_gallery_that_is_gone_is_still_searched(engine):
    current = Current(engine)
    shutil.rmtree(engine.gallery.folder)
    assert current.engine is engine and engine.search(engine.describe(draw_person(3, 1)), 1)


def test_a_list_of_the_old_gallery_is_refused_and_every_new_search_works(engine):
    galleries, settings = PrivateGalleries(engine), default_settings(engine)
    seen = browse.look(engine, Session())
    now = probe.open_example(engine, Session(), settings, 0)
    check_list(engine, now)
    now = verify.decide(now, "confirmed")
    write_anew(engine)
    fresh = galleries.engine_of(now.own)
    with pytest.raises(GalleryError, match="rebuilt after this list was ranked"):
        check_list(fresh, now)
    with pytest.raises(GalleryError, match="rebuilt after"):
        probe.open_match(fresh, now, settings)
    with pytest.raises(GalleryError, match="no longer searched"):
        browse.search_from(fresh, now, settings, seen, 0)
    for again in (
        ranking.rank_again(fresh, now, settings),
        probe.hide(fresh, now, settings, probe.Hiding("lower_half")),
        probe.back(fresh, now, settings),
    ):
        check_list(fresh, again)
        assert again.chosen is None and not again.decisions, "they were of the old one's rows"
        assert len(again.matches) == 2 and len(ranking.strip(fresh, again)) == 2
        assert len(again.before[1]) == 2


def test_a_picture_that_vanished_leaves_a_placeholder_in_every_list(engine):
    settings = default_settings(engine)
    now = probe.open_example(engine, Session(), settings, 0)
    whole = ranking.strip(engine, now)
    gone = engine.gallery.image_path(now.matches[0].index)
    gone.unlink()
    listed = ranking.strip(engine, now)
    assert len(listed) == len(whole) and (listed[0][0] != whole[0][0]).any()
    wanted = ranking.framed(now, now.matches[0], image_or_placeholder(gone))
    assert (listed[0][0] == wanted).all() and listed[0][1] == whole[0][1]
    assert all((one[0] == other[0]).all() for one, other in zip(listed[1:], whole[1:], strict=True))
    assert "could not be opened" in why.why(engine, now)
    assert "Candidate #1" in verify.candidate(engine, now)
    assert verify.case_files(engine, now).count("<a ") == 3
    with pytest.raises(ImageError, match="could not be opened"):
        engine.explain(now.probe, now.matches[0])
    changed = probe.hide(engine, now, settings, probe.Hiding("lower_half"))
    from reid_demo.serving.page.handlers import changed as changes

    assert "<img" in changes.changed(engine, changed)


@pytest.mark.parametrize("left", ["one example", "the gallery", "no picture"])
def test_a_page_starts_over_pictures_that_vanished(left, engine, monkeypatch):
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    first = engine.search(engine.describe(read_image(engine.examples[1].path)), 1)[0]
    engine.examples[0].path.unlink()
    engine.gallery.image_path(first.index).unlink()
    if left != "one example":
        engine.examples[1].path.unlink()
        engine.gallery.image_path(0).unlink(missing_ok=True)
    if left == "no picture":
        shutil.rmtree(engine.gallery.folder / "images")
    started = app.serve(engine, app.Place("127.0.0.1"), prevent_thread_lock=True, quiet=True)
    try:
        shown = opened(started.local_url.rstrip("/"))
        assert {"one example": "person 50", "the gallery": "id 1,", "no picture": text.NO_PROBE}[left] in str(shown)
        assert len(pictures_in(shown["strip"])) == (0 if left == "no picture" else 10)
    finally:
        started.close()


def test_page_and_api_follow_the_gallery(engine, monkeypatch):
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    started = app.serve(engine, app.Place("127.0.0.1"), prevent_thread_lock=True, quiet=True)
    try:
        url = started.local_url.rstrip("/")
        client = Client(url, verbose=False)
        picture = str(engine.examples[0].path)
        assert client.predict(api_name="/gallery_info")["images"] == 18
        engine.gallery.image_path(0).unlink()
        assert len(client.predict(image=handle_file(picture), top_k=18, api_name="/search")["matches"]) == 18
        write_anew(engine)
        assert client.predict(api_name="/gallery_info")["images"] == 2
        found = client.predict(image=handle_file(picture), top_k=10, api_name="/search")
        assert [row["pid"] for row in sorted(found["matches"], key=lambda row: row["pid"])] == [7, 8]
        shown = opened(url)
        assert "Example: new" in shown["probe-line"] and len(pictures_in(shown["strip"])) == 2
    finally:
        started.close()
