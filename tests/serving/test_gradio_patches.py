"""Each patch finds its target or reports it; nothing is served without the no-fetch guard; pictures are complete."""

import asyncio
import functools
import gc
import importlib.util
import io
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from pathlib import Path
from types import ModuleType, SimpleNamespace

import gradio
import gradio as gr
import numpy as np
import pytest
from gradio import processing_utils
from gradio.state_holder import SessionState
from loops import in_a_new_loop
from PIL import Image

import app
from reid_demo.errors import ConfigError
from reid_demo.serving import gradio_patches
from reid_demo.serving.bench.page import listener
from reid_demo.serving.page.view import build_ui, launch_options


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 255, (600, 400, 3), np.uint8))


@pytest.fixture(autouse=True)
def _patched(monkeypatch):
    for patch in gradio_patches.PATCHES:
        monkeypatch.setattr(patch.holder(), patch.target, getattr(patch.holder(), patch.target))
    gradio_patches.install()


def test_a_picture_shown_again_is_never_seen_half_written(tmp_path, picture):
    path = Path(gradio_patches.save_whole(picture, str(tmp_path), format="png"))
    size, stop, sizes = path.stat().st_size, threading.Event(), set()

    def read():
        while not stop.is_set():
            sizes.add(len(path.read_bytes()))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        assert gradio_patches.save_whole(picture, str(tmp_path), format="png") == str(path)
    stop.set()
    reader.join()
    assert sizes == {size}
    assert [file.name for file in path.parent.iterdir()] == ["image.png"]


def test_components_show_the_same_pixels_from_one_file(picture):
    shown = gr.Image(format="png")
    first, second = (shown.postprocess(np.asarray(picture)).path for _ in range(2))
    assert first == second
    inode = Path(first).stat().st_ino
    shown.postprocess(picture)
    assert Path(first).stat().st_ino == inode
    assert np.array_equal(np.asarray(Image.open(first)), np.asarray(picture))


def test_pixels_that_were_shown_before_are_encoded_once(tmp_path, picture, monkeypatch):
    save, encoded = Image.Image.save, []
    count = lambda *values, **how: (encoded.append(1), save(*values, **how))[1]  # noqa: E731
    monkeypatch.setattr(Image.Image, "save", count)
    first = gradio_patches.save_whole(picture, str(tmp_path))
    assert gradio_patches.save_whole(picture.copy(), str(tmp_path)) == first and len(encoded) == 1
    other = gradio_patches.save_whole(picture.rotate(180), str(tmp_path))
    assert gradio_patches.save_whole(picture, str(tmp_path), format="png") != first != other and len(encoded) == 3
    Path(first).unlink()
    assert gradio_patches.save_whole(picture, str(tmp_path)) == first and Path(first).exists()


def test_a_picture_that_cannot_change_is_read_once(picture, monkeypatch):
    convert, read = Image.fromarray, []
    monkeypatch.setattr(Image, "fromarray", lambda *values, **how: (read.append(1), convert(*values, **how))[1])
    fixed, loose = np.asarray(picture), np.array(picture)
    shown = gr.Gallery()
    first, again = (shown.postprocess([(fixed, "one")]).root[0].image.path for _ in range(2))
    assert first == again and len(read) == 1
    assert shown.postprocess([fixed[::-1], fixed]).root[0].image.path != first and len(read) == 2
    Path(first).unlink()
    assert shown.postprocess([fixed]).root[0].image.path == first and len(read) == 3 and Path(first).exists()
    shown.postprocess([loose])
    loose[:] = 0
    assert shown.postprocess([loose]).root[0].image.path != first and len(read) == 5


def test_a_picture_looks_as_gradio_encodes_it_and_keeps_its_metadata(tmp_path, picture):
    smooth = picture.resize((30, 40)).resize((150, 200))  # noise alone is no picture
    ours = np.asarray(Image.open(gradio_patches.save_whole(smooth, str(tmp_path))), np.int16)
    theirs = np.asarray(Image.open(io.BytesIO(processing_utils.encode_pil_to_bytes(smooth, "webp"))), np.int16)
    original = np.asarray(smooth, np.int16)
    assert np.abs(ours - original).mean() < 1.2 * np.abs(theirs - original).mean()
    exif = Image.Exif()
    exif[0x010E] = "a title"
    buffer = io.BytesIO()
    smooth.save(buffer, "jpeg", exif=exif)
    told = Image.open(gradio_patches.save_whole(Image.open(buffer), str(tmp_path)))
    assert told.getexif()[0x010E] == "a title"


def test_pictures_of_a_server_before_this_one_are_the_pages_own(tmp_path, monkeypatch):
    picture = Image.new("RGB", (8, 8), "red")
    path = gradio_patches.save_whole(picture, str(tmp_path))
    monkeypatch.setattr(gradio_patches, "_written", {})
    monkeypatch.setattr(gradio_patches, "_encoded", {})
    assert not gradio_patches.is_shown(Path(path))
    assert gradio_patches.save_whole(picture, str(tmp_path)) == path and gradio_patches.is_shown(Path(path))


def test_a_picture_shown_again_is_young_again(tmp_path, picture):
    import os

    path = gradio_patches.save_whole(picture, str(tmp_path))
    os.utime(path, (1, 1))
    gradio_patches.save_whole(picture, str(tmp_path))
    assert Path(path).stat().st_mtime > 1


def unpatched(module: ModuleType) -> ModuleType:
    """Run a module of Gradio anew, as it was installed."""
    found = importlib.util.spec_from_file_location(module.__name__, module.__file__)
    fresh = importlib.util.module_from_spec(found)
    found.loader.exec_module(fresh)
    return fresh


class Words(str):
    """A text that can be watched."""


def test_a_visit_describes_nothing_and_keeps_nothing_of_what_is_sent(tiny_engine, monkeypatch):
    demo = app.create_demo(tiny_engine)
    visit = SessionState(demo)
    box = next(block for block in demo.blocks.values() if isinstance(block, gr.Textbox))
    first = next(block for block in demo.blocks.values() if isinstance(block, gr.Gallery))
    state = next(block for block in demo.blocks.values() if isinstance(block, gr.State))
    monkeypatch.setattr(gr.Gallery, "api_info", lambda self: pytest.fail("the list was described"))
    visit[first._id] = copy(first)
    visit._update_config(first._id)
    sent = Words("typed")
    gone = weakref.ref(sent)
    visit._update_value_in_config(box._id, sent)
    del sent
    assert gone() is None and list(visit.components) == []
    visit[state._id] = "kept apart"
    assert visit[state._id] == "kept apart" and visit[first._id] is not first and visit[box._id] is box


def test_a_visit_that_is_dropped_is_gone_at_once(tiny_engine):
    demo = app.create_demo(tiny_engine)
    visit, held = SessionState(demo), Words("a picture")
    state = next(block for block in demo.blocks.values() if isinstance(block, gr.State))
    visit[state._id], gone = held, weakref.ref(held)
    gc.disable()
    try:
        del visit, held
        assert gone() is None
    finally:
        gc.enable()


def shown_by(move: Callable, data, block) -> object:
    with ThreadPoolExecutor(1) as other:  # a browser that an earlier test opened keeps a loop in this thread
        return other.submit(asyncio.run, move(data, block, postprocess=True)).result()


def test_the_pages_own_pictures_get_the_addresses_that_gradio_gives_them(picture, tmp_path):
    theirs = unpatched(processing_utils).async_move_files_to_cache
    with gr.Blocks():
        listed, other = gr.Gallery(), gr.Gallery()
    data = listed.postprocess([(np.asarray(picture), "one & more"), (np.asarray(picture.rotate(180)), None)])
    ours = shown_by(processing_utils.async_move_files_to_cache, data, listed)
    assert ours == shown_by(theirs, data, other) and "/file=" in ours[0]["image"]["url"]
    assert listed.temp_files == other.temp_files != set(), "so that they are deleted by their age"
    update = {"__type__": "update", "value": data.model_dump()}
    assert shown_by(processing_utils.async_move_files_to_cache, update, listed) == shown_by(theirs, update, other)
    plain = {"choices": [("a", 1)], "value": "a"}
    assert shown_by(processing_utils.async_move_files_to_cache, plain, listed) == shown_by(theirs, plain, other)


def test_a_file_that_the_page_did_not_write_is_left_to_gradio(picture, tmp_path):
    foreign = tmp_path / "foreign.png"
    picture.save(foreign)
    with gr.Blocks():
        listed = gr.Gallery()
    data = listed.postprocess([(np.asarray(picture), "own"), (str(foreign), "foreign")])
    own, moved = shown_by(processing_utils.async_move_files_to_cache, data, listed)
    assert own["image"]["path"] == data.root[0].image.path
    assert moved["image"]["path"] != str(foreign) and Path(moved["image"]["path"]).is_relative_to(listed.GRADIO_CACHE)


def test_a_list_is_written_without_starting_threads(picture, monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", lambda self: pytest.fail("a thread was started"))
    shown = gr.Gallery().postprocess([(np.asarray(picture), "one"), (np.asarray(picture.rotate(180)), "other")])
    assert [image.caption for image in shown.root] == ["one", "other"] and Path(shown.root[1].image.path).is_file()


def test_what_takes_microseconds_is_done_where_it_is_asked_for():
    import gradio.queueing
    from anyio import to_thread

    class Slider:
        def preprocess(self, value):
            return threading.get_ident(), value

    class Gallery(Slider):
        pass

    def login_check(value):
        return threading.get_ident(), value

    theirs = functools.partial(login_check, 3)  # of another program, under the same name
    login_check.__module__, ours = "gradio.routes", functools.partial(login_check, 3)

    async def ask(run):
        return [await run(Slider().preprocess, 3), await run(Gallery().preprocess, 3), await run(ours)]

    with ThreadPoolExecutor(1) as loop:  # a thread without a browser's loop
        here = loop.submit(threading.get_ident).result()
        for run in (to_thread.run_sync, gradio.queueing.run_sync):
            told = loop.submit(asyncio.run, ask(run)).result()
            assert [thread == here for thread, _ in told] == [True, False, True]
            assert [value for _, value in told] == [3, 3, 3]
        login_check.__module__ = "other"
        assert loop.submit(asyncio.run, to_thread.run_sync(theirs)).result()[0] != here


def test_an_idle_server_looks_for_clicks_some_hundred_times_a_second(tiny_engine, monkeypatch):
    demo, looks = build_ui(tiny_engine), []
    demo.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **launch_options())
    try:
        monkeypatch.setattr(type(demo._queue), "__len__", lambda self: looks.append(self is demo._queue) or 0)
        time.sleep(0.5)
        assert 10 < sum(looks) <= 100  # of 500 by Gradio alone
    finally:
        demo.close()


def test_no_value_of_a_click_on_the_stage_waits_for_a_thread_but_the_list(tiny_engine):
    demo = build_ui(tiny_engine)
    act = demo.fns[listener(demo, "stage", "act")]
    sent = {type(block).__name__ for block in act.inputs}
    drawn = {type(block).__name__ for block in act.outputs}
    assert sent - {"State"} <= set(gradio_patches.PLAIN) and drawn - {"State", "Gallery"} <= set(gradio_patches.PLAIN)
    assert all(callable(getattr(gr, name).preprocess) for name in gradio_patches.PLAIN)


def test_a_run_that_is_stopped_as_it_ends_leaves_no_traceback():
    from gradio.queueing import Queue

    class Ending:
        async def aclose(self) -> None:
            del app.iterators["run"]  # the stop was quicker

    async def end() -> None:
        app.lock = asyncio.Lock()
        await Queue.reset_iterators(queue, "run")

    app = SimpleNamespace(iterators={"run": Ending()})
    queue = SimpleNamespace(server_app=app)
    in_a_new_loop(end())
    assert app.iterators == {}


def test_every_patch_is_in_place_and_was_made_for_this_gradio():
    assert gradio.__version__.startswith(tuple(f"{version}." for version in gradio_patches.MADE_FOR))
    for patch in gradio_patches.PATCHES:
        assert getattr(patch.holder(), patch.target).reid_demo_patch == patch.target
    before = processing_utils.async_move_files_to_cache
    gradio_patches.install()
    assert processing_utils.async_move_files_to_cache is before, "a second installation wraps nothing twice"


@pytest.mark.parametrize("change", ["gone", "other parameters"])
def test_without_its_no_fetch_guard_nothing_is_built(monkeypatch, change, tiny_engine):
    if change == "gone":
        monkeypatch.delattr(processing_utils, "async_ssrf_protected_download")
    else:
        monkeypatch.setattr(processing_utils, "async_ssrf_protected_download", lambda address: None)
    with pytest.raises(ConfigError, match=r"async_ssrf_protected_download.*Install Gradio 6\.31"):
        app.create_demo(tiny_engine)


def test_a_guard_that_was_taken_out_again_stops_the_server(monkeypatch, tiny_engine):
    def download(url: str, cache_dir: str) -> str:
        return url

    monkeypatch.setattr(
        app,
        "create_demo",
        lambda *values: monkeypatch.setattr(processing_utils, "async_ssrf_protected_download", download),
    )
    with pytest.raises(ConfigError, match="not in place"):
        app.serve(tiny_engine, prevent_thread_lock=True)


def test_a_patch_that_only_helps_is_left_out_and_said(monkeypatch, caplog):
    monkeypatch.setattr(processing_utils, "save_pil_to_cache", lambda img: "")
    gradio_patches.install()
    assert "save_pil_to_cache takes no cache_dir" in caplog.text and "half a picture" in caplog.text
    gradio_patches.require_guard()


def test_another_gradio_is_named(monkeypatch, caplog):
    monkeypatch.setattr(gradio, "__version__", "7.0.0")
    gradio_patches.install()
    assert "Gradio 7.0.0 is not 6.31" in caplog.text
