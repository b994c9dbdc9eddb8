"""The speed table: each row beside a plain reference measured in the same run."""

import os
import platform
import time
from collections.abc import Callable

import numpy as np
import torch

from reid_demo import matching
from reid_demo.describe import Describer
from reid_demo.engine import Engine
from reid_demo.images import to_model_input
from reid_demo.records import Occlusion


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
    model = engine.describer.model
    describer = Describer(model, engine.describer.device, batch_size=32)

    def plain_describe() -> None:
        with torch.no_grad():
            pixels = torch.stack([torch.from_numpy(to_model_input(image)) for image in images])
            model(pixels.to(describer.device)).descriptor.cpu()

    ours, plain = median_s(lambda: describer.describe(images), 3), median_s(plain_describe, 3)
    rows = [_row("describe, batch 32, images per second", "1/s", 32 / ours, 32 / plain, 32 / ours / (32 / plain))]

    one = median_s(lambda: engine.describe(images[0]), repeats)
    one_plain = median_s(lambda: model(torch.from_numpy(to_model_input(images[0]))[None].to(describer.device)), repeats)
    rows.append(_row("describe one probe", "ms", one * 1e3, one_plain * 1e3, one_plain / one))

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
    rows.append(_row(f"exact search of {gallery_size:,} vectors", "ms", fast * 1e3, full * 1e3, full / fast))

    occlusion = [Occlusion("lower_half")]

    def again() -> None:
        changed = engine.occlude(images[0], occlusion)
        engine.search(engine.describe(changed))

    path = median_s(again, repeats)
    both = one_plain + full
    rows.append(
        _row(f"occlude, describe and search {len(engine.gallery):,} images", "ms", path * 1e3, both * 1e3, both / path)
    )
    return rows


def _row(what: str, unit: str, value: float, reference: float, ratio: float) -> dict:
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
