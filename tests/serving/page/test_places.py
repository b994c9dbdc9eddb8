"""Places: the probes of a visit that Back and Forward lead to, each as it was left."""

from dataclasses import replace

import numpy as np
import pytest

from reid_demo.errors import GalleryError
from reid_demo.records import Occlusion
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import link, places, probe, session, verify
from reid_demo.serving.page.handlers.session import Session, Settings, choose_row, with_recipe

LOWER = Occlusion("lower_half")


@pytest.fixture
def upload(tmp_path):
    """Write a picture of a visitor's own."""
    from PIL import Image

    path = tmp_path / "mine.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 64, 3), np.uint8)).save(path)
    return path


@pytest.fixture
def first(tiny_engine) -> Session:
    """Open the first example as a visit, hide a half, choose a match and decide on it."""
    now = replace(probe.open_example(tiny_engine, Session(), Settings(), 0), token="t")
    now = with_recipe(tiny_engine, now, Settings(), (LOWER,))
    return choose_row(tiny_engine, verify.decide(now, "confirmed"), now.matches[4].index)


def go(engine, now: Session, place: str, address: str = "") -> Session:
    return places.go(engine, now, now.settings, {"place": place, "address": address})


def listed(now: Session) -> list:
    return [(m.index, round(m.similarity, 6)) for m in now.matches]


def test_each_probe_comes_back_as_it_was_left(tiny_engine, first, upload):
    mine = probe.open_picture(tiny_engine, first, Settings(), upload)
    mine = with_recipe(tiny_engine, mine, Settings(), (Occlusion("upper_half", "black"),))
    other = probe.open_example(tiny_engine, mine, Settings(), 1)
    assert len({first.place, mine.place, other.place}) == 3 and other.token == "t"
    now = other
    for left in (mine, first, mine, other, first):  # Back, Back, Forward, Forward, two Backs at once
        now = go(tiny_engine, now, left.place)
        assert (now.place, now.title, now.recipe, now.token) == (left.place, left.title, left.recipe, "t")
        assert np.array_equal(now.image, left.image) and np.array_equal(now.current, left.current)
        assert listed(now) == listed(left) and now.moves == left.moves and now.decisions == left.decisions
        assert (now.chosen and now.chosen.index) == (left.chosen and left.chosen.index)
        assert sorted(one.place for one in (now, *now.places)) == sorted((first.place, mine.place, other.place))


def test_a_change_is_no_place_and_neither_is_the_same_example_again(tiny_engine, first):
    hidden = with_recipe(tiny_engine, first, Settings(), (Occlusion("centre"),))
    again = probe.open_example(tiny_engine, hidden, Settings(), 0)
    assert (hidden.place, hidden.places) == (first.place, ()) == (again.place, again.places)
    assert go(tiny_engine, hidden, hidden.place) is hidden


def test_what_is_not_kept_opens_from_its_address_or_is_said_to_be_gone(tiny_engine, first, upload, monkeypatch):
    monkeypatch.setattr(session, "MOST_PLACES", 2)
    mine = probe.open_picture(tiny_engine, first, Settings(), upload)
    now = mine
    for row in range(3):
        now = probe.open_gallery_image(tiny_engine, now, Settings(), row)
    assert len(now.places) == 2
    for address in ("", "probe=example%3Anobody", "probe=gallery%3A99999", "recipe=x", "x" * 9000):
        with pytest.raises(GalleryError, match=text.PLACE_GONE[:30]):
            go(tiny_engine, now, mine.place, address)
    with pytest.raises(GalleryError):
        places.go(tiny_engine, now, now.settings, None)
    opened = go(tiny_engine, now, first.place, link.query(tiny_engine, first))
    assert (opened.source, opened.recipe, listed(opened)) == (first.source, first.recipe, listed(first))
    assert opened.token == "t" and opened.places[-1].place == now.place
    again = go(tiny_engine, opened, "of an earlier visit", f"probe={first.source}")
    assert again.source == opened.source and again.recipe == () and again.places[-1].recipe == opened.recipe
    assert again.place not in (opened.place, "of an earlier visit")


def test_settings_are_the_pages_and_stay(tiny_engine, first, upload):
    mine = probe.open_picture(tiny_engine, first, Settings(), upload)
    wanted = Settings(top_k=3, weighing="part_aware")
    back = places.go(tiny_engine, mine, wanted, {"place": first.place})
    assert len(back.matches) == 3 and back.settings == wanted and back.recipe == first.recipe


def test_another_gallerys_rows_are_not_taken_for_this_ones(tiny_engine, first, upload):
    row = probe.open_gallery_image(tiny_engine, first, Settings(), 3)
    own = replace(probe.open_picture(tiny_engine, row, Settings(), upload), own="mine")
    with pytest.raises(GalleryError):
        go(tiny_engine, own, row.place, "probe=gallery%3A3")
    back = go(tiny_engine, own, first.place)
    assert back.own == "mine" and back.decisions == {} and back.chosen is None and back.recipe == first.recipe


def test_what_is_left_keeps_no_more_than_it_must(tiny_engine, first, upload):
    now = probe.open_example(tiny_engine, probe.open_picture(tiny_engine, first, Settings(), upload), Settings(), 1)
    for left in now.places:
        assert left.current is None and left.probe is None and left.before is None and left.places == ()


def test_a_case_that_is_opened_leaves_the_probe_as_it_was(tiny_engine, first, upload):
    mine = probe.open_picture(tiny_engine, first, Settings(), upload)
    from reid_demo.serving import case

    written = case.write_json(verify.case_of(tiny_engine, mine), tiny_engine).encode()
    opened = verify.open_case(tiny_engine, first, Settings(), written)
    assert opened.recipe == () and opened.places[-1].recipe == first.recipe
    assert go(tiny_engine, opened, first.place).recipe == first.recipe
