"""The network alone, in each precision, and a change to its list: what a machine with a GPU is asked for.

Needs neither a folder of pictures nor Gradio nor FAISS, so it runs wherever PyTorch does.
"""

import numpy as np
import torch

from reid_demo.engine import Engine
from reid_demo.model.describer import PRECISIONS, Describer
from reid_demo.model.dpti import DPTI
from reid_demo.model.runtimes import ONNXRUNTIME, TORCH
from reid_demo.records import Occlusion
from reid_demo.serving.bench.plain import Plain
from reid_demo.serving.bench.rows import Row, Timing, in_ms, per_second, side_by_side

BATCH = 32
CHANGE = Occlusion("lower_half")
ON_A_GPU = 50  # repeats, where one takes milliseconds


def bench_network(engine: Engine, network: DPTI, repeats: int = 10) -> list[Row]:
    """Measure one probe and a batch in each precision, and a change to its list, beside plain float32 in the same run.

    Every action ends when its numbers are NumPy arrays in this process, so a GPU has finished its work.

    Args:
        engine: what is measured, on its device and by its runtime.
        network: the same network as its weights have it, for the reference.
        repeats: of each row on a CPU.
    """
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (256, 128, 3), dtype=np.uint8) for _ in range(BATCH)]
    plain = Plain(network, engine.describer.device, engine.gallery)
    repeats = repeats if engine.describer.device.type == "cpu" else ON_A_GPU
    rows = []
    for precision in PRECISIONS:
        describer = _describer(engine, precision)
        said, by = _said(precision, describer), f"by {describer.runtime}"
        one, many = (_both(describer, plain, some, repeats) for some in (images[:1], images))
        rows += [
            in_ms(f"describe one probe, {by}", *one, said),
            per_second(f"describe, batch {BATCH}, images per second, {by}", BATCH, *many, said),
        ]

    def again() -> None:
        engine.search(engine.describe(engine.occlude(images[0], [CHANGE])))

    both = side_by_side(again, lambda: plain.change(images[0], CHANGE), repeats)
    what = f"occlude, describe and search {len(engine.gallery):,} images"
    return [*rows, in_ms(what, *both, _said(engine.describer.precision, engine.describer))]


def _both(network: Describer, plain: Plain, images: list[np.ndarray], repeats: int) -> tuple[Timing, Timing]:
    return side_by_side(lambda: network.describe(images), lambda: plain.describe(images), repeats)


def _describer(engine: Engine, precision: str) -> Describer:
    """Return the engine's describer, or one that differs from it in precision, and in the runtime if that lacks it."""
    own = engine.describer
    if precision == own.precision:
        return own
    runtime = TORCH if own.runtime == ONNXRUNTIME else own.runtime
    return Describer(own.model, own.device, BATCH, precision, runtime)


def _said(precision: str, describer: Describer) -> str:
    """Return the precision as a row says it: PyTorch rounds what a GPU's convolutions multiply, unless told not to."""
    rounded = describer.device.type == "cuda" and torch.backends.cudnn.allow_tf32
    return "float32, convolutions TF32" if precision == "float32" and rounded else precision
