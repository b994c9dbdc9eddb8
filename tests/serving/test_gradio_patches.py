"""A picture that a browser fetches is whole, whoever else shows the same one meanwhile."""

import threading
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from reid_demo.serving import gradio_patches


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 255, (600, 400, 3), np.uint8))


@pytest.fixture(autouse=True)
def _patched(monkeypatch):
    from gradio import processing_utils

    monkeypatch.setattr(processing_utils, "save_pil_to_cache", processing_utils.save_pil_to_cache)
    gradio_patches.write_pictures_whole()


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


def test_a_picture_shown_again_is_young_again(tmp_path, picture):
    import os

    path = gradio_patches.save_whole(picture, str(tmp_path))
    os.utime(path, (1, 1))
    gradio_patches.save_whole(picture, str(tmp_path))
    assert Path(path).stat().st_mtime > 1
