"""Describing, indexing and searching, as the page and the command line do it, beside the same plainly."""

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from reid_demo.engine import Engine
from reid_demo.model.dpti import DPTI
from reid_demo.records import Occlusion
from reid_demo.search import gallery as galleries
from reid_demo.search import store
from reid_demo.search.build import IndexOptions, index_folder
from reid_demo.search.gallery_views import ONE_VIEW
from reid_demo.serving.bench.plain import Plain
from reid_demo.serving.bench.rows import ROUNDS, Row, in_ms, per_second, side_by_side

FOLDER = 96  # files of the folder's row
BLOCK = 2000  # made-up images at a time
CHANGE = Occlusion("lower_half")


def bench(engine: Engine, network: DPTI, *, gallery_size: int = 20_000, repeats: int = 10) -> list[Row]:
    """Measure describe, index, search and the way from a change of a probe to its ranked list.

    Args:
        engine: what is measured; its own gallery is searched, and a made-up one.
        network: the same network as its weights have it, for the reference.
        gallery_size: images of the made-up gallery.
        repeats: of each row but those of many images, which have at most five.
    """
    few = min(repeats, ROUNDS)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (256, 128, 3), dtype=np.uint8) for _ in range(32)]
    device, precision = engine.describer.device, engine.describer.precision
    plain = Plain(network, device, engine.gallery)
    many = side_by_side(lambda: engine.describer.describe(images), lambda: plain.describe(images), few)
    one = side_by_side(lambda: engine.describe(images[0]), lambda: plain.describe(images[:1]), repeats)
    rows = [
        per_second("describe, batch 32, images per second", 32, *many, precision),
        _folder(engine, plain, few),
        in_ms("describe one probe", *one, precision),
    ]
    probe = engine.describe(images[0])
    with tempfile.TemporaryDirectory(prefix="reid_demo-bench-") as folder:
        large = made_up(engine, Path(folder) / "gallery", gallery_size)
        plainly = Plain(network, device, large)
        # Another probe each time: a gallery remembers its pass for one that it has seen.
        both = side_by_side(
            lambda: large.search(replace(probe), 10, large.scoring),
            lambda: plainly.search(probe.parts, probe.presence),
            repeats,
        )
        kind = "exact" if large.exact else "approximate"
        rows.append(in_ms(f"{kind} search of {len(large):,} images", *both))

    def again() -> None:
        engine.search(engine.describe(engine.occlude(images[0], [CHANGE])))

    both = side_by_side(again, lambda: plain.change(images[0], CHANGE), repeats)
    rows.append(in_ms(f"occlude, describe and search {len(engine.gallery):,} images", *both, precision))
    return rows


def _folder(engine: Engine, plain: Plain, repeats: int) -> Row:
    """Measure a gallery of files in one view, from reading them to the finished folder."""
    files = [engine.gallery.image_path(i) for i in range(min(len(engine.gallery), FOLDER))]
    describer = engine.describer.for_many()
    with tempfile.TemporaryDirectory(prefix="reid_demo-bench-") as work:
        folder, places = Path(work) / "images", (Path(work) / str(i) for i in itertools.count())
        folder.mkdir()
        copied = [Path(shutil.copy(file, folder)) for file in files]
        both = side_by_side(
            lambda: index_folder(folder, next(places), describer, "bench", IndexOptions(views=ONE_VIEW)),
            lambda: plain.index(copied, next(places)),
            repeats,
        )
    what = f"make a gallery of {len(files)} files in one view, images per second"
    return per_second(what, len(files), *both, describer.precision)


def made_up(engine: Engine, folder: Path, size: int) -> galleries.Gallery:
    """Write and read a gallery of `size` images: those of the engine again and again, their descriptors with noise."""
    own, rng = engine.gallery, np.random.default_rng(0)
    pick = np.arange(size) % len(own)
    for number, record in enumerate(own.records[:size]):
        target = folder / record.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(own.image_path(number), target)

    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, size, BLOCK):
            parts, presence = own.rows(pick[start : start + BLOCK])
            exact = parts.astype(np.float32)
            noise = rng.standard_normal(parts.shape, np.float32) * 0.3 * exact.std()
            yield (exact + noise).astype(np.float16), presence

    records = [replace(own.records[i]) for i in pick]
    store.write(folder, records, blocks(), store.About(own.fingerprint, own.name, own.scoring))
    return galleries.load(folder)
