"""The speed table: each row beside a plain reference measured in the same run."""

import itertools
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from reid_demo.config import TrainConfig, variant_name
from reid_demo.data.loaders import Batch, BatchLoader, TrainingSet
from reid_demo.engine import Engine
from reid_demo.images import read_image, to_model_input
from reid_demo.model.backbones import build_backbone
from reid_demo.model.checkpoint import choose_device
from reid_demo.model.describer import Describer, bulk_precision
from reid_demo.model.dpti import build_model
from reid_demo.records import Occlusion
from reid_demo.search import similarity as matching
from reid_demo.search.build import index_folder
from reid_demo.search.gallery_views import ONE_VIEW
from reid_demo.training.distributed import Team, WholeBatch
from reid_demo.training.losses import Objective
from reid_demo.training.step import build_optimizer, train_step

CLASSES = 751  # people of Market-1501's training split
FOLDER = 96  # files of the folder's row
LOADED = 8  # batches read for the loader's row


def median_s(action: Callable[[], object], repeats: int) -> float:
    """Give the median time of an action in seconds, after one warm-up."""
    action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def bench(engine: Engine, *, gallery_size: int = 20_000, repeats: int = 9) -> list[dict]:
    """Measure describe, search and the way from a probe to a ranked list.

    Returns:
        Rows `{what, unit, value, reference, ratio}`; the reference is a plain float32 eager loop or a plain
        full matrix product, and `ratio` is how many times better the value is.
    """
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (256, 128, 3), dtype=np.uint8) for _ in range(32)]
    describer = engine.describer
    # Plain: neither folded nor channels last. Random weights take as long as trained ones.
    model = build_model(describer.model.config).eval().requires_grad_(False).to(describer.device)

    def plain_describe() -> None:
        with torch.no_grad():
            pixels = torch.stack([torch.from_numpy(to_model_input(image)) for image in images])
            model(pixels.to(describer.device)).descriptor.cpu()

    ours, plain = median_s(lambda: describer.describe(images), 3), median_s(plain_describe, 3)
    rows = [row("describe, batch 32, images per second", "1/s", 32 / ours, 32 / plain, 32 / ours / (32 / plain))]

    rows.append(_bench_folder(engine, model))

    one = median_s(lambda: engine.describe(images[0]), repeats)
    one_plain = median_s(lambda: model(torch.from_numpy(to_model_input(images[0]))[None].to(describer.device)), repeats)
    rows.append(row("describe one probe", "ms", one * 1e3, one_plain * 1e3, one_plain / one))

    terms, dim = engine.gallery.parts.shape[1:]
    pick = np.sort(rng.integers(0, len(engine.gallery), gallery_size))
    vectors = matching.unit_vectors(engine.gallery.parts[pick].astype(np.float32), engine.gallery.presence[pick])
    vectors += rng.normal(0, 0.1 / np.sqrt(terms * dim), vectors.shape).astype(np.float32)
    probe = vectors[7].copy()

    def partial_sort() -> np.ndarray:
        values = vectors @ probe
        best = np.argpartition(-values, 10)[:10]
        return best[np.argsort(-values[best])]

    fast, full = median_s(partial_sort, repeats), median_s(lambda: np.argsort(-(vectors @ probe)), repeats)
    rows.append(row(f"exact search of {gallery_size:,} vectors", "ms", fast * 1e3, full * 1e3, full / fast))

    occlusion = [Occlusion("lower_half")]

    def again() -> None:
        changed = engine.occlude(images[0], occlusion)
        engine.search(engine.describe(changed))

    path = median_s(again, repeats)
    both = one_plain + full
    rows.append(
        row(f"occlude, describe and search {len(engine.gallery):,} images", "ms", path * 1e3, both * 1e3, both / path)
    )
    return rows


def _bench_folder(engine: Engine, model: nn.Module) -> dict:
    """Measure a gallery of files in one view, from reading them to the finished folder, beside the same alone."""
    place = engine.describer.device
    files = [engine.gallery.image_path(i) for i in range(min(len(engine.gallery), FOLDER))]
    describer = Describer(engine.describer.model, place, precision=bulk_precision(place))

    def plain() -> None:
        with torch.no_grad():
            for start in range(0, len(files), 32):
                pixels = [torch.from_numpy(to_model_input(read_image(file))) for file in files[start : start + 32]]
                model(torch.stack(pixels).to(place)).descriptor.cpu()

    with tempfile.TemporaryDirectory() as work:
        folder, places = Path(work) / "images", (Path(work) / str(i) for i in itertools.count())
        folder.mkdir()
        for file in files:
            shutil.copy(file, folder)
        ours = median_s(lambda: index_folder(folder, next(places), describer, "bench", views=ONE_VIEW), 3)
    theirs = median_s(plain, 3)
    what = f"make a gallery of {len(files)} files in one view ({bulk_precision(place)}), images per second"
    return row(what, "1/s", len(files) / ours, len(files) / theirs, theirs / ours)


def bench_training(config: TrainConfig, *, device: str | None = None, repeats: int = 5) -> list[dict]:
    """Measure a training step beside a bare one, and reading images beside using them.

    The bare step is the same backbone with an average pool and a linear classifier, cross-entropy and Adam, on the
    same pictures in the same precision and memory format: what any training of that backbone costs.

    Args:
        config: the recipe; its batch, size, precision and workers count.
        device: as `choose_device`.
        repeats: steps timed; the median counts.

    Returns:
        Two rows as `bench`, in images per second. The first ratio aims at 1/1.2 or more; with a second ratio above 1
        reading and augmenting in `num_workers` processes is not what training waits for.
    """
    place = choose_device(device)
    count, size = config.ids_per_batch * config.imgs_per_id, (config.height, config.width)
    torch.manual_seed(0)
    labels = torch.arange(count) // config.imgs_per_id % CLASSES
    batch = Batch(torch.randint(256, (count, *size, 3), dtype=torch.uint8), labels, None)

    model, objective = build_model(config.model), Objective(config, CLASSES)
    model, objective = model.to(place, memory_format=torch.channels_last), objective.to(place)
    optimizer = build_optimizer(config, model, objective)
    module = WholeBatch(model, objective, config.precision, Team(place))
    ours = median_s(lambda: train_step(config, module, optimizer, itertools.repeat(batch), 0), repeats)

    backbone = build_backbone(config.model)
    head = nn.Linear(backbone.final_channels, CLASSES).to(place)
    backbone = backbone.to(place, memory_format=torch.channels_last).train()
    adam = torch.optim.Adam([*backbone.parameters(), *head.parameters()], config.learning_rate)

    def bare_step() -> float:
        adam.zero_grad(set_to_none=True)
        for _ in range(config.accumulate):
            inputs = batch.on(place)
            pixels, labels = inputs.pixels, inputs.labels
            with torch.autocast(place.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
                scores = head(backbone(pixels)[1].mean(dim=(2, 3)))
            loss = functional.cross_entropy(scores.float(), labels) / config.accumulate
            loss.backward()
        adam.step()
        return loss.item()

    bare = median_s(bare_step, repeats)
    images = count * config.accumulate
    what = (
        f"train {variant_name(config.model)} {config.model.backbone}, {count} x {size[0]}x{size[1]} {config.precision}"
    )
    loaded = _loader_rate(config)
    return [
        row(what, "1/s", images / ours, images / bare, bare / ours),
        row(f"read and augment, {config.num_workers} workers", "1/s", loaded, images / ours, loaded * ours / images),
    ]


def _loader_rate(config: TrainConfig) -> float:
    """Give the images per second that `BatchLoader` reads from JPEG files of Market-1501's size."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="reid_demo-bench-") as root:
        folder = Path(root) / "bounding_box_train"
        folder.mkdir()
        for pid in range(1, config.ids_per_batch + 1):
            for number in range(config.imgs_per_id):
                picture = Image.fromarray(rng.integers(0, 256, (16, 8, 3), dtype=np.uint8)).resize((64, 128))
                picture.save(folder / f"{pid:04d}_c1s1_{number:06d}_00.jpg")
        loader = BatchLoader(TrainingSet("market1501", [Path(root)]), config)
        batches = loader.batches(0, lambda number: (config.height, config.width))
        next(batches)
        start = time.perf_counter()
        images = sum(len(next(batches).labels) for _ in range(LOADED))
        spent = time.perf_counter() - start
        batches.close()
    return images / spent


def row(what: str, unit: str, value: float, reference: float, ratio: float) -> dict:
    """Give one row of the table; `ratio` is how many times better the value is than the reference."""
    return {
        "what": what,
        "unit": unit,
        "value": round(value, 2),
        "reference": round(reference, 2),
        "ratio": round(ratio, 2),
    }


def machine() -> dict:
    """Say what machine this is, as a measurement needs it."""
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }
