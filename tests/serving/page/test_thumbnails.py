"""A thumbnail is made once of a file as it is now; a file that lies outside of the gallery is never read."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from reid_demo.drawing import figures, overlays
from reid_demo.errors import GalleryError
from reid_demo.images import image_or_placeholder
from reid_demo.search import gallery as galleries
from reid_demo.serving.page.handlers import ranking


@pytest.fixture
def gallery(tiny_engine, tmp_path) -> galleries.Gallery:
    shutil.copytree(tiny_engine.gallery.folder, tmp_path / "gallery")
    return galleries.load(tmp_path / "gallery")


def test_it_shows_the_picture_and_is_made_once(gallery):
    image = image_or_placeholder(gallery.image_path(3))
    for right, colour in ranking.FRAMES.items():
        framed = ranking.listed(gallery, 3, right)
        assert np.array_equal(framed, overlays.thumbnail(image, frame=colour))
        assert ranking.listed(gallery, 3, right) is framed and not framed.flags.writeable
    assert ranking.tile(gallery, 3) == figures.picture_uri(overlays.thumbnail(image, *ranking.TILE_SIZE))
    assert ranking.tile(gallery, 3) is ranking.tile(gallery, 3)


def test_a_file_that_changed_or_vanished_is_looked_at_again(gallery):
    path, before = gallery.image_path(3), ranking.listed(gallery, 3, True)
    shutil.copyfile(gallery.image_path(7), path)
    os.utime(path, ns=(1, 1))
    changed = ranking.listed(gallery, 3, True)
    assert np.array_equal(changed, ranking.listed(gallery, 7, True)) and not np.array_equal(changed, before)
    path.unlink()
    gone = overlays.thumbnail(image_or_placeholder(path), frame=overlays.RIGHT)
    assert np.array_equal(ranking.listed(gallery, 3, True), gone)


def test_nothing_outside_of_the_gallery_is_read(gallery):
    outside = gallery.folder.parent / "outside.jpg"
    shutil.copyfile(gallery.image_path(3), outside)
    gallery.records[3] = replace(gallery.records[3], path="../outside.jpg")
    for make in (ranking.tile, lambda gallery, row: ranking.listed(gallery, row, None)):
        with pytest.raises(GalleryError, match="outside"):
            make(gallery, 3)
