"""Rendered people with one thing changed: the page's ranks are those of a search with the shipped pictures."""

import json
import re
from dataclasses import replace

import pytest
from figures import draw_person
from PIL import Image

from reid_demo.data.counterfactuals import FOLDER, LISTING, read_changed
from reid_demo.errors import DatasetError, GalleryError, ImageError
from reid_demo.images import read_image
from reid_demo.records import WEIGHINGS, Scoring
from reid_demo.search.bundled import DEFAULT_GALLERY
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import counterfactuals, link
from reid_demo.serving.page.handlers.examples import with_identity
from reid_demo.serving.page.handlers.session import Session, Settings, default_settings
from reid_demo.serving.page.view import build_ui


@pytest.fixture
def engine(tiny_engine, tmp_path):
    """Return the tiny engine over a gallery that ships two people with two changes each."""
    folder = tmp_path / FOLDER
    folder.mkdir()
    rows = []
    for pid, woman in ((2, True), (5, False)):
        who = "the same woman" if woman else "the same man"
        for number, words in enumerate(("", "with a bag", "from the side")):
            path = f"{pid}_{number}.webp"
            # The changes of person 2 are pictures of others, so that they cost ranks.
            Image.fromarray(draw_person(pid + (number if woman else 0), 4)).save(folder / path, lossless=True)
            rows.append({"path": path, "pid": pid, "change": words, "words": f"{who} {words}".strip()})
    (folder / LISTING).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    gallery = tiny_engine.gallery
    other = type(gallery)(tmp_path, gallery.records, gallery.parts, gallery.presence, gallery.meta, gallery.index)
    return tiny_engine.over(other, tiny_engine.probes)


@pytest.mark.parametrize("weighing", ["cosine", "part_aware"])
def test_each_rank_is_that_of_a_search_with_the_picture(engine, weighing):
    session = replace(Session(), scoring=Scoring(weighing))
    shown = counterfactuals.people(engine, session)
    written = [int(rank) for rank in re.findall(r"<b>rank (\d+)</b>", shown)]
    ranks = []
    for row in read_changed(engine.gallery.folder):
        probe = engine.describe(read_image(engine.gallery.folder / FOLDER / row.path))
        found = engine.search(probe, len(engine.gallery), session.scoring)
        ranks.append(next(match.rank for match in found if match.record.pid == row.pid))
    assert written == ranks and max(ranks[1:3]) > ranks[0]
    assert shown.count('class="fell"') == sum(rank > ranks[i // 3 * 3] for i, rank in enumerate(ranks))
    worst = max(ranks[:3])
    assert f": rank {ranks[0]} to {worst}</h4>" in shown and "The same woman" in shown
    assert text.PEOPLE_HOLDS.format(who="The same man", rank=ranks[3]) in shown
    assert f"Ranks by {WEIGHINGS[weighing]}, as set" in shown


def test_a_picture_becomes_the_probe_and_a_link_carries_it(engine, tiny_engine):
    settings = default_settings(engine)
    now = counterfactuals.open_person(engine, engine, Session(), settings, "2_1")
    assert now.title == "The same woman with a bag" and now.pid == 2 and now.first_right is not None
    carried = dict(pair.split("=") for pair in link.query(engine, now).replace("%3A", ":").split("&"))
    again = link.open_query(engine, carried)
    assert again.source == now.source == "changed:2_1"
    assert [match.index for match in again.matches] == [match.index for match in now.matches]
    mine = counterfactuals.open_person(engine, engine, replace(Session(), own="token"), Settings(), "2_1")
    assert with_identity(engine, replace(mine, own="")).pid == now.pid and with_identity(tiny_engine, now).pid is None
    assert mine.pid is None, "a visitor's own gallery counts people of its own"
    for name in ("2_9", "../2_1", None, 7):
        with pytest.raises(ImageError):
            counterfactuals.open_person(engine, engine, Session(), settings, name)


def test_a_gallery_without_such_pictures_has_no_tab_and_one_without_the_people_says_so(engine, tiny_engine):
    assert counterfactuals.are_shipped(engine) and not counterfactuals.are_shipped(tiny_engine)
    tabs = [block for block in build_ui(tiny_engine).blocks.values() if getattr(block, "id", None) == "people"]
    assert len(tabs) == 1 and not tabs[0].visible
    listing = engine.gallery.folder / FOLDER / LISTING
    listing.write_text(listing.read_text(encoding="utf-8").replace('"pid": 5', '"pid": 77'), encoding="utf-8")
    with pytest.raises(GalleryError, match="not in the gallery"):
        counterfactuals.people(engine, Session())
    listing.write_text(json.dumps({"path": "../2.png", "pid": 2, "change": "", "words": ""}), encoding="utf-8")
    with pytest.raises(DatasetError):
        read_changed(engine.gallery.folder)


def test_the_shipped_people_are_forty_pictures_of_the_same_changes():
    rows = read_changed(DEFAULT_GALLERY)
    people = {pid: [row for row in rows if row.pid == pid] for pid in {row.pid for row in rows}}
    assert len(rows) == 40 and [len(found) for found in people.values()] == [10] * 4
    for found in people.values():
        assert found[0].change == "" and all(row.words.startswith(found[0].words) for row in found)
    sizes = [(DEFAULT_GALLERY / FOLDER / row.path).stat().st_size for row in rows]
    assert sum(sizes) < 200_000
