"""A training step beside a bare one, and reading images beside using them."""

import itertools
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from reid_demo.config import TrainConfig, variant_name
from reid_demo.data.loaders import Batch, BatchLoader, TrainingSet
from reid_demo.model.backbones import build_backbone
from reid_demo.model.checkpoint import choose_device
from reid_demo.model.dpti import build_model
from reid_demo.serving.bench.rows import Row, of, per_second, side_by_side
from reid_demo.training.distributed import Team, WholeBatch
from reid_demo.training.losses import Objective
from reid_demo.training.step import build_optimizer, train_step

CLASSES = 751  # people of Market-1501's training split
LOADED = 8  # batches read for the loader's row


def bench_training(config: TrainConfig, *, device: str | None = None, repeats: int = 5) -> list[Row]:
    """Measure a training step beside a bare one, and reading images beside using them.

    The bare step is the same backbone with an average pool and a linear classifier, cross-entropy and Adam, on the
    same pictures in the same precision and memory format: what any training of that backbone costs.

    Args:
        config: the recipe; its batch, size, precision and workers count.
        device: as `choose_device`.
        repeats: steps timed; the median counts.

    Returns:
        Two rows in images per second. The first ratio aims at 1/1.2 or more; with a second ratio above 1
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
    module = WholeBatch(model, objective, Team(place))

    def our_step() -> None:
        train_step(config, module, optimizer, itertools.repeat(batch), 0)

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

    ours, bare = side_by_side(our_step, bare_step, repeats)
    images = count * config.accumulate
    what = (
        f"train {variant_name(config.model)} {config.model.backbone}, {count} x {size[0]}x{size[1]} {config.precision}"
    )
    loaded, uses = _loader_rate(config), images / ours.median_s
    return [
        per_second(what, images, ours, bare, config.precision),
        of(f"read and augment, {config.num_workers} workers", "1/s", loaded, uses, "uint8", loaded / uses),
    ]


def _loader_rate(config: TrainConfig) -> float:
    """Return the images per second that `BatchLoader` reads from JPEG files of Market-1501's size."""
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
