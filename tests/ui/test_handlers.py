"""Every click as a function, against a tiny real engine: good input and bad."""

import copy
import dataclasses

import numpy as np
import pytest

from reid_demo import render
from reid_demo.engine import Engine
from reid_demo.errors import ConfigError, GalleryError, ImageError, OcclusionError
from reid_demo.ui import handlers, text
from reid_demo.ui.handlers import Session, Settings


@pytest.fixture
def opened(tiny_engine) -> Session:
    return handlers.open_example(tiny_engine, Session(), Settings(), 0)


def rgba(image: np.ndarray) -> np.ndarray:
    return np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])


def canvas_of(session: Session, painted: np.ndarray | None = None) -> dict:
    shown = rgba(handlers.canvas_image(session))
    layer = np.zeros_like(shown)
    if painted is not None:
        layer[painted] = (232, 68, 122, 255)
    return {"background": shown, "layers": [layer], "composite": None}


def places(session: Session) -> list[int]:
    return [match.index for match in session.matches]


def test_an_example_is_ranked_at_once(tiny_engine, opened):
    assert len(opened.matches) == 10 and opened.chosen is None and opened.pid == 2
    assert places(opened) == [m.index for m in tiny_engine.search(opened.probe, 10)]
    assert set(opened.moves.values()) == {0}
    assert len(handlers.strip(tiny_engine, opened)) == 10


def test_a_session_can_be_copied_and_is_frozen(opened):
    assert places(copy.deepcopy(opened)) == places(opened)
    with pytest.raises(dataclasses.FrozenInstanceError):
        opened.pid = 3


@pytest.mark.parametrize("kind", list(text.OCCLUDERS))
def test_each_occluder_searches_again_and_can_be_undone(tiny_engine, opened, kind):
    hidden = handlers.hide(tiny_engine, opened, Settings(), kind, "mean_grey")
    assert len(hidden.recipe) == 1 and hidden.chosen is None
    assert not np.array_equal(hidden.current, opened.current) and np.array_equal(hidden.image, opened.image)
    ranks = tiny_engine.ranks(opened.probe), tiny_engine.ranks(hidden.probe)
    assert hidden.moves == {i: int(ranks[0][i] - ranks[1][i]) for i in places(hidden)}
    assert handlers.status(hidden) and handlers.probe_line(hidden)
    undone = handlers.undo(tiny_engine, hidden, Settings())
    assert places(undone) == places(opened) and np.array_equal(undone.current, opened.image)
    with pytest.raises(OcclusionError):
        handlers.undo(tiny_engine, undone, Settings())


def test_random_occluders_differ_from_click_to_click(tiny_engine, opened):
    once = handlers.hide(tiny_engine, opened, Settings(), "random_block", "black")
    twice = handlers.hide(tiny_engine, once, Settings(), "random_block", "black")
    assert twice.recipe[0].seed != twice.recipe[1].seed
    assert handlers.back(tiny_engine, twice, Settings()).recipe == ()


def test_an_untouched_canvas_changes_nothing(tiny_engine, opened):
    for canvas in (canvas_of(opened), {**canvas_of(opened), "layers": []}):
        again = handlers.search_canvas(tiny_engine, opened, Settings(), canvas, "mean_grey")
        assert again.recipe == () and places(again) == places(opened) and again.pid == 2


def test_strokes_hide_what_they_cover(tiny_engine, opened):
    shown = handlers.canvas_image(opened)
    painted = np.zeros(shown.shape[:2], bool)
    painted[: shown.shape[0] // 2] = True
    done = handlers.search_canvas(tiny_engine, opened, Settings(), canvas_of(opened, painted), "black")
    half = opened.image.shape[0] // 2
    assert not done.current[:half].any() and np.array_equal(done.current[half:], opened.image[half:])


def test_a_crop_on_the_canvas_is_found_again(tiny_engine, opened):
    shown = handlers.canvas_image(opened)
    times = shown.shape[0] // opened.image.shape[0]
    piece = shown[10 * times : 90 * times, 5 * times : 60 * times]
    canvas = {"background": rgba(piece), "layers": [np.zeros((*piece.shape[:2], 4), np.uint8)]}
    done = handlers.search_canvas(tiny_engine, opened, Settings(), canvas, "mean_grey")
    assert np.array_equal(done.current, opened.image[10:90, 5:60]) and done.pid == 2


def test_another_picture_on_the_canvas_is_a_new_probe(tiny_engine, opened):
    other = np.random.default_rng(0).integers(0, 256, (90, 50, 3), np.uint8)
    done = handlers.search_canvas(tiny_engine, opened, Settings(), {"background": rgba(other), "layers": []}, "black")
    assert np.array_equal(done.image, other) and done.pid is None and done.recipe == ()
    assert "not known" in handlers.status(done)


def test_crop_by_numbers(tiny_engine, opened):
    done = handlers.crop(tiny_engine, opened, Settings(), 4, 8, 40, 100)
    assert np.array_equal(done.current, opened.image[8:108, 4:44])
    for bad in ((0, 0, 65, 10), (-1, 0, 20, 20), (0, 0, 0, 20), (None, 0, 20, 20), (0, 0, 4, 4)):
        with pytest.raises(OcclusionError):
            handlers.crop(tiny_engine, opened, Settings(), *bad)


def test_a_match_becomes_the_probe_and_finds_itself(tiny_engine, opened):
    chosen = handlers.choose(tiny_engine, opened, 3)
    done = handlers.open_match(tiny_engine, chosen, Settings())
    assert done.matches[0].index == opened.matches[3].index and done.matches[0].similarity == pytest.approx(1, abs=1e-3)
    with pytest.raises(GalleryError):
        handlers.choose(tiny_engine, opened, 10)


def test_same_camera_leaves_out_the_probe_itself(tiny_engine, opened):
    done = handlers.open_match(tiny_engine, opened, Settings())
    filtered = handlers.rank_again(tiny_engine, done, Settings(same_camera=True))
    assert (done.pid, done.camid) not in {(m.record.pid, m.record.camid) for m in filtered.matches}


def test_settings_change_the_list_as_the_engine_says(tiny_engine, opened):
    settings = Settings(top_k=4, adaptive=True, terms=("global", tiny_engine.part_names[0]))
    done = handlers.rank_again(tiny_engine, opened, settings)
    scoring = handlers.scoring_of(tiny_engine, settings)
    assert places(done) == [m.index for m in tiny_engine.search(opened.probe, 4, scoring)]
    assert not done.matches[0].contributions[2:].any()
    with pytest.raises(ConfigError):
        handlers.rank_again(tiny_engine, opened, Settings(terms=()))


def test_the_explanation_shows_the_similarity_of_the_list(tiny_engine, opened):
    shown = handlers.why(tiny_engine, handlers.choose(tiny_engine, opened, 2))
    assert f"{opened.matches[2].similarity:.4f}</td></tr></tfoot>" in shown
    assert shown.count("<article>") == len(tiny_engine.part_names)
    assert text.WHY_PRESENCE_NOTE in shown


def test_captions_say_rank_and_right_or_wrong(opened):
    words = [handlers.caption(opened, match) for match in opened.matches]
    assert words[0].startswith("#1 ")
    for match, word in zip(opened.matches, words, strict=True):
        assert (text.RIGHT in word) == (match.record.pid == 2) and (text.WRONG in word) == (match.record.pid != 2)


def test_an_absent_person_is_said_to_be_absent(tiny_engine):
    assert text.STATUS_ABSENT in handlers.status(handlers.open_example(tiny_engine, Session(), Settings(), 1))


def test_without_a_probe_every_click_says_what_to_do(tiny_engine):
    empty = Session()
    for call in (
        lambda: handlers.hide(tiny_engine, empty, Settings(), "centre", "black"),
        lambda: handlers.search_canvas(tiny_engine, empty, Settings(), None, "black"),
        lambda: handlers.rank_again(tiny_engine, empty, Settings()),
        lambda: handlers.open_picture(tiny_engine, empty, Settings(), None),
        lambda: handlers.crop(tiny_engine, empty, Settings(), 0, 0, 20, 20),
        lambda: handlers.open_example(tiny_engine, empty, Settings(), 99),
    ):
        with pytest.raises(ImageError):
            call()
    assert text.WHY_EMPTY in handlers.why(tiny_engine, empty)


def test_a_bad_upload_is_refused_in_a_sentence(tiny_engine, opened, tmp_path):
    (tmp_path / "no.png").write_bytes(b"not a picture")
    with pytest.raises(ImageError, match="not an image"):
        handlers.open_picture(tiny_engine, opened, Settings(), str(tmp_path / "no.png"))


def test_a_model_without_parts_is_explained(tiny_gallery_folder, tmp_path):
    from reid_demo import checkpoint, gallery
    from reid_demo.config import ModelConfig
    from reid_demo.describe import Describer
    from reid_demo.model import build_model

    folder = tmp_path / "weights"
    checkpoint.save_weights(build_model(ModelConfig(templates="none", dim=32, ffn_dim=64)), folder)
    describer = Describer(checkpoint.load_weights(folder), "cpu")
    records = gallery.load(tiny_gallery_folder).records[:3]
    found = list(describer.describe_paths(tiny_gallery_folder / r.path for r in records))
    place = tmp_path / "gallery"
    gallery.save(place, records, found, fingerprint=checkpoint.fingerprint(folder), adaptive=False, name="plain")
    loaded = gallery.load(place)
    loaded.folder = tiny_gallery_folder
    engine = Engine(describer, loaded, weights_name="<plain>")
    done = handlers.open_picture(engine, Session(), Settings(terms=()), np.zeros((64, 32, 3), np.uint8))
    assert text.WHY_NO_PARTS in handlers.why(engine, done)
    assert "&lt;plain&gt;" in handlers.header(engine)


def test_the_page_builds_and_app_starts_nothing(tiny_engine, monkeypatch):
    import app

    demo = app.create_demo(tiny_engine)
    for listener in demo.fns.values():
        assert listener.outputs and (listener.inputs or listener.targets)
    monkeypatch.setenv("REID_DEMO_PORT", "1234")
    options = app.parse_arguments(["--host", "127.0.0.1"])
    assert (options.host, options.port, options.weights, options.share) == ("127.0.0.1", 1234, None, False)


def test_canvas_is_a_whole_number_larger(opened):
    assert handlers.canvas_image(opened).shape == (384, 192, 3)
    assert np.array_equal(handlers.canvas_image(opened), render.enlarge(opened.image))
