"""Thumbnails of gallery images. One that the lists of several visitors show is made once."""

import functools
import os
from pathlib import Path

import numpy as np

from reid_demo import images
from reid_demo.drawing import figures, overlays
from reid_demo.errors import GalleryError
from reid_demo.search.gallery import Gallery

FRAMES = {True: overlays.RIGHT, False: overlays.WRONG, None: overlays.UNKNOWN}
TILE_SIZE = (192, 96)  # height and width, px
MOST_FRAMED = 128  # remembered, 0.1 MB each
MOST_TILES = 1024  # remembered, 5 kB each


def framed(gallery: Gallery, row: int, right: bool | None) -> np.ndarray:
    """Return an image in the frame that says right, wrong or not known: `(H, W, 3)` uint8, read-only.

    A file that cannot be read has a placeholder.

    Raises:
        GalleryError: as `Gallery.image_path`.
    """
    return _framed(*_file(gallery, row), right)


def tile(gallery: Gallery, row: int) -> str:
    """Return an image as the data URI of a tile of the stage; see `framed`."""
    return _tile(*_file(gallery, row))


def _file(gallery: Gallery, row: int) -> tuple[Path, str, tuple[int, int] | None]:
    """Return the gallery's folder, the image's path in it, and what changes with the file; `None` where it is gone."""
    path = gallery.records[row].path
    try:
        file = os.stat(os.path.join(gallery.folder, path))
    except OSError:
        return gallery.folder, path, None
    return gallery.folder, path, (file.st_mtime_ns, file.st_size)


@functools.lru_cache(MOST_FRAMED)
def _framed(folder: Path, path: str, version: tuple[int, int] | None, right: bool | None) -> np.ndarray:
    picture = overlays.thumbnail(_read(folder, path), frame=FRAMES[right])
    picture.flags.writeable = False
    return picture


@functools.lru_cache(MOST_TILES)
def _tile(folder: Path, path: str, version: tuple[int, int] | None) -> str:
    return figures.picture_uri(overlays.thumbnail(_read(folder, path), *TILE_SIZE))


def _read(folder: Path, path: str) -> np.ndarray:
    return images.image_or_placeholder(images.inside(folder, path, GalleryError))
