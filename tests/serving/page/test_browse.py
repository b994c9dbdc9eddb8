"""The gallery browser, without Gradio."""

import dataclasses

import numpy as np
import pytest

from reid_demo.engine import Engine
from reid_demo.errors import GalleryError
from reid_demo.records import ImageRecord
from reid_demo.search import gallery
from reid_demo.serving.page.handlers import browse
from reid_demo.serving.page.handlers.session import Session, default_settings
from reid_demo.serving.visitors import over


@pytest.fixture
def pages_of_8(monkeypatch):
    monkeypatch.setattr(browse, "PAGE", 8)


def with_marks(engine, marks) -> Engine:
    """Return the engine with its images relabelled by (pid, camid)."""
    source = engine.gallery
    records = [dataclasses.replace(source.records[i % 18], pid=p, camid=c) for i, (p, c) in enumerate(marks)]
    rows = np.arange(len(records)) % 18
    other = gallery.Gallery(
        source.folder, records, source.parts[rows], source.presence[rows], source.meta, source.index
    )
    return over(engine, other)


def test_pages_together_are_the_gallery(tiny_engine, pages_of_8):
    views = [browse.look(tiny_engine, Session(), page=page) for page in (1, 2, 3)]
    assert [view.pages for view in views] == [3] * 3
    assert [row for view in views for row in view.rows] == list(range(18))
    lines = [browse.count_line(tiny_engine, view) for view in views]
    assert "<strong>18 pictures</strong>, 1 to 8 shown." in lines[0] and "17 to 18 shown" in lines[2]
    shown = browse.pictures(tiny_engine, views[2])
    assert [words for _, words in shown] == ["id 6\ncam 2", "id 6\ncam 3"] and shown[0][0].shape == (256, 128, 3)


@pytest.mark.parametrize(("asked", "given"), [(0, 1), (-4, 1), (None, 1), (2, 2), (99, 3), (2.7, 2)])
def test_a_page_that_is_not_there_is_the_nearest(tiny_engine, pages_of_8, asked, given):
    assert browse.look(tiny_engine, Session(), page=asked).page == given


def test_person_and_camera_are_counted_in_words(tiny_engine):
    person = browse.look(tiny_engine, Session(), " 2 ", "all")
    assert [tiny_engine.gallery.records[row].pid for row in person.rows] == [2, 2, 2]
    assert "<strong>3 of 18 pictures</strong>." in browse.count_line(tiny_engine, person)
    both = browse.look(tiny_engine, Session(), "2", 3)
    assert [words for _, words in browse.pictures(tiny_engine, both)] == ["id 2\ncam 3"]
    for person, camera, words in (
        ("77", "all", "No picture here shows the person 77."),
        ("all", "9", "comes from the camera 9"),
        ("2", "9", "None under this camera, but under 1, 2, 3."),
    ):
        nothing = browse.look(tiny_engine, Session(), person, camera)
        line = browse.count_line(tiny_engine, nothing)
        assert "0 of 18 pictures" in line and words in line and browse.pictures(tiny_engine, nothing) == []
    with pytest.raises(GalleryError, match="whole number, such as 6,"):
        browse.look(tiny_engine, Session(), "<b>", "all")


def test_people_and_cameras_are_offered_by_name(tiny_engine):
    offered = browse.people(tiny_engine.gallery)
    assert offered[0] == ("all people", "all") and offered[1:] == [(str(pid), str(pid)) for pid in range(1, 7)]
    assert [value for _, value in browse.cameras(tiny_engine.gallery)] == ["all", "1", "2", "3"]
    mixed = with_marks(tiny_engine, [(None, 0), (0, None), (-1, 4), (5, 4)])
    assert browse.people(mixed.gallery)[1:] == [
        ("not known", "-2"), ("junk", "-1"), ("none: distractors", "0"), ("5", "5")
    ]  # fmt: skip
    assert browse.cameras(mixed.gallery)[1:] == [("not known", "-2"), ("0", "0"), ("4", "4")]
    assert [value for _, value in browse.cameras(mixed.gallery, 5)] == ["all", "4"]
    for nowhere in (0, 77):  # a person that no known camera saw, and none
        assert browse.cameras(mixed.gallery, nowhere) == browse.cameras(mixed.gallery)
    words = [words for _, words in browse.pictures(mixed, browse.look(mixed, Session()))]
    assert words == ["cam 0", "id none", "id -1\ncam 4", "id 5\ncam 4"]
    assert browse.look(mixed, Session(), "-2").rows == (0,) and browse.look(mixed, Session(), "all", "-2").rows == (1,)


def test_what_a_gallery_does_not_know_is_not_offered(tiny_engine):
    for marks, offers, words in (
        ((None, None), (False, False), "no ids and no cameras"),
        ((None, 2), (False, True), "carry no ids."),
        ((2, None), (True, False), "carry no cameras."),
    ):
        engine = with_marks(tiny_engine, [marks] * 2)
        assert (bool(browse.people(engine.gallery)), bool(browse.cameras(engine.gallery))) == offers
        assert words in browse.count_line(engine, browse.look(engine, Session()))
    nameless = with_marks(tiny_engine, [(None, None)])
    assert "<strong>1 picture</strong>" in browse.count_line(nameless, browse.look(nameless, Session()))
    assert [words for _, words in browse.pictures(nameless, browse.look(nameless, Session()))] == [
        "0001_c1s1_000001_00"
    ]


def test_a_large_gallery_is_read_one_page_at_a_time(tiny_engine, monkeypatch):
    engine = with_marks(tiny_engine, [(pid, pid % 5) for pid in range(3000)])
    read = []
    monkeypatch.setattr(browse.images, "read_image", lambda path: read.append(path) or np.zeros((4, 2, 3), np.uint8))
    view = browse.look(engine, Session(), "all", "3", page=2)
    assert len(browse.pictures(engine, view)) == len(read) == browse.PAGE
    assert view.found == 600 and view.rows[:2] == (203, 208)
    assert len(browse.people(engine.gallery)) == browse.LISTED + 1
    assert "all 3,000" in browse.info(engine.gallery.people) and browse.info(engine.gallery.cameras) == ""
    assert browse.look(engine, Session(), "2999").rows == (2999,), "one that is not listed may be typed"


def test_a_picture_that_cannot_be_read_hides_no_other(tiny_engine):
    engine = with_marks(tiny_engine, [(1, 1), (2, 2)])
    engine.gallery.records[0] = ImageRecord("images/gone.png", 1, 1)
    shown = browse.pictures(engine, browse.look(engine, Session()))
    assert [words for _, words in shown] == ["cannot be read", "id 2\ncam 2"] and len(np.unique(shown[0][0])) == 1


def test_a_picture_becomes_the_probe_and_finds_itself(tiny_engine, pages_of_8):
    settings = default_settings(tiny_engine)
    view = browse.look(tiny_engine, Session(), page=2)
    now = browse.search_from(tiny_engine, Session(), settings, view, 3)
    assert now.source == "gallery:11" and now.matches[0].index == 11 and (now.pid, now.camid) == (4, 3)
    for stale, place in ((view, 8), (view, -1), (view, None), (dataclasses.replace(view, own="token"), 3)):
        with pytest.raises(GalleryError, match="Open another tab and come back"):
            browse.search_from(tiny_engine, now, settings, stale, place)
