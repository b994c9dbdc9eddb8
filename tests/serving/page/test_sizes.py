"""Galleries at the edge of sizes: no picture, one, two, one person, one camera; and widgets that follow the gallery."""

from dataclasses import replace

import pytest
from figures import draw_person
from pages import config_of, opened, pictures_in
from PIL import Image

from reid_demo.engine import AboutWeights, Engine
from reid_demo.errors import GalleryError
from reid_demo.search import gallery
from reid_demo.search.build import IndexOptions, index_folder
from reid_demo.serving.page.handlers import own, probe, ranking, sets, stage, sweep
from reid_demo.serving.page.handlers.session import Session, default_settings
from reid_demo.serving.page.view import build_ui, launch_options
from reid_demo.serving.page.wiring import Wiring
from reid_demo.serving.visitors import PrivateGalleries


def engine_of(tiny_engine, folder, names) -> Engine:
    """Return an engine over a gallery of figures named as in Market-1501."""
    (folder / "in").mkdir()
    for name in names:
        pid, camid = int(name[:4]), int(name[6])
        Image.fromarray(draw_person(pid, camid)).save(folder / "in" / f"{name}.png")
    fingerprint = tiny_engine.gallery.fingerprint
    index_folder(folder / "in", folder / "out", tiny_engine.describer, fingerprint, IndexOptions(views=("whole",)))
    return Engine(tiny_engine.describer, gallery.load(folder / "out", fingerprint), about=AboutWeights("tiny"))


GALLERIES = {
    "one picture": ["0001_c1s1_000001_00"],
    "two pictures": ["0001_c1s1_000001_00", "0002_c2s1_000001_00"],
    "one person": [f"0001_c{camid}s1_000001_00" for camid in range(1, 5)],
    "one person, one camera": [f"0001_c1s1_00000{number}_00" for number in range(1, 2)],
    "one camera": [f"{pid:04d}_c1s1_000001_00" for pid in range(1, 5)],
}


@pytest.mark.parametrize("what", GALLERIES)
def test_every_verb_works_over_a_small_gallery(what, tiny_engine, tmp_path):
    engine = engine_of(tiny_engine, tmp_path, GALLERIES[what])
    settings = default_settings(engine)
    now = probe.open_gallery_image(engine, Session(), settings, 0)
    assert len(now.matches) == len(engine.gallery) == settings.top_k
    assert ranking.status(engine, now) and ranking.strip(engine, now) and stage.opening(engine, now)
    hidden = probe.hide(engine, now, settings, probe.Hiding("lower_half"))
    assert "rank" in ranking.status(engine, hidden)
    assert "All" in list(sweep.sweep(engine, now, 100, 50, "mean_grey"))[-1]
    alone = ranking.rank_again(engine, now, replace(settings, same_camera=True))
    right = {(r.pid, r.camid) for r in engine.gallery.records} - {(now.pid, now.camid)}
    assert len(alone.matches) == sum((r.pid, r.camid) in right for r in engine.gallery.records)
    assert ("left to rank" in ranking.status(engine, alone)) == (not alone.matches)
    if what != "one person":
        with pytest.raises(Exception, match="No probe ships"):
            list(sets.measure(engine, now, ["lower_half"], 5, "mean_grey"))


def test_a_folder_without_pictures_makes_no_gallery(tiny_engine, tmp_path):
    with pytest.raises(GalleryError, match="No images were found"):
        engine_of(tiny_engine, tmp_path, [])


@pytest.mark.parametrize("what", ["one picture", "two pictures", "one person, one camera"])
def test_the_page_starts_and_shows_its_list(what, tiny_engine, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    demo = build_ui(engine_of(tiny_engine, tmp_path, GALLERIES[what]))
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **launch_options())
    try:
        config = config_of(url)
        slider = next(c["props"] for c in config["components"] if c["props"].get("elem_id") == "top-k")
        assert slider["minimum"] < slider["maximum"] and slider["value"] == len(GALLERIES[what])
        values = opened(url)
        assert len(pictures_in(values["strip"])) == len(GALLERIES[what])
    finally:
        demo.close()


def test_the_settings_follow_an_own_gallery_that_is_larger_and_back(tiny_engine, tmp_path):
    page = engine_of(tiny_engine, tmp_path, [f"{pid:04d}_c1s1_000001_00" for pid in (1, 2, 3)])
    galleries, settings = PrivateGalleries(page), default_settings(page)
    pictures = []
    for number in range(14):
        pictures.append(tmp_path / f"IMG_{number}.png")
        Image.fromarray(draw_person(number + 10, 1)).save(pictures[-1])
    first = probe.open_gallery_image(page, Session(), settings, 0)
    assert len(first.matches) == settings.top_k == 3
    mine = own.enter(galleries, first, settings, own.make(galleries, own.Upload("me", pictures))[0])
    assert len(mine.matches) == mine.settings.top_k == 10, "the page's gallery had no more than 3"
    sliders = [Wiring(page, galleries, None).show_settings(visit)[0] for visit in (first, mine)]
    assert [slider.maximum for slider in sliders] == [3, 14], "as far as the gallery in use"
    back = own.leave(galleries, mine, mine.settings)
    assert len(back.matches) == back.settings.top_k == 3
    chosen = replace(settings, top_k=2)
    few = probe.open_gallery_image(page, Session(), chosen, 0)
    for picture in pictures:
        Image.fromarray(draw_person(len(picture.name), 1)).save(picture)
    mine = own.enter(galleries, few, chosen, own.make(galleries, own.Upload("me", pictures))[0])
    assert mine.settings.top_k == 2, "what a visitor chose stays"
