"""Occlusion saliency: slide a window over a probe and map the change of similarity and rank."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from reid_demo import occlude
from reid_demo.errors import OcclusionError
from reid_demo.records import Descriptor, Occlusion

FIRST, BATCH = 2, 4  # windows of the first step and of all others; whoever stops a sweep waits for the end of one


@dataclass(frozen=True)
class Window:
    """The occluder that slides over a probe."""

    size: float = 0.4  # side, as a fraction of the image's width
    stride: float = 0.14  # step, as a fraction of the width
    fill: str = "mean_grey"  # one of `occlude.FILLS`


@dataclass(frozen=True, eq=False)
class SweepStep:
    """The results of a sweep so far, for `K` watched groups and `T` windows. Changes are signed and not rescaled."""

    done: int
    total: int
    boxes: np.ndarray  # (T, 4) float, (x0, y0, x1, y1) in fractions
    base: np.ndarray  # (K, 2) float, similarity and rank of the untouched probe
    similarity_change: np.ndarray  # (K, T) float32, after minus before; NaN if not yet tried
    rank_change: np.ndarray  # (K, T) float32, after minus before, positive is worse; NaN if not yet tried


def sweep_boxes(size: float, stride: float, aspect: float = 0.5) -> np.ndarray:
    """Return the window boxes `(T, 4)` in fractions, ordered coarse to fine so that an early map covers the image.

    Args:
        size: window side as a fraction of the image's width.
        stride: step as a fraction of the width.
        aspect: width / height of the image; makes the windows square in pixels.

    Raises:
        OcclusionError: size or stride is out of range.
    """
    if not 0 < size <= 1 or not 0 < stride <= 1:
        raise OcclusionError("Window size and stride must be above 0 and at most 1.")
    w, h = size, min(1.0, size * aspect)
    xs = _starts(w, stride)
    ys = _starts(h, stride * aspect)
    order = []
    for step, offset in ((4, 0), (2, 0), (1, 0)):
        for row in range(offset, len(ys), step):
            for column in range(offset, len(xs), step):
                if (row, column) not in order:
                    order.append((row, column))
    return np.array([(xs[c], ys[r], xs[c] + w, ys[r] + h) for r, c in order]).clip(0, 1)


def _starts(window: float, stride: float) -> np.ndarray:
    last = 1 - window
    regular = np.arange(0, last, stride)
    return np.append(regular[regular < last - 1e-6], last)


def sweep(
    image: np.ndarray,
    window: Window,
    describe: Callable[[Sequence[np.ndarray]], list[Descriptor]],
    measure: Callable[[Sequence[Descriptor]], np.ndarray],
) -> Iterator[SweepStep]:
    """Hide one window at a time and yield how the similarity and rank of the watched groups change.

    Args:
        image: `(H, W, 3)` uint8.
        window: its size, stride and fill.
        describe: maps images to descriptors.
        measure: maps `n` descriptors to `(n, K, 2)`: the similarity and rank of every watched group.

    Raises:
        OcclusionError: the window's size or stride is out of range.
    """
    boxes = sweep_boxes(window.size, window.stride, image.shape[1] / image.shape[0])
    base = np.asarray(measure(describe([image]))[0], np.float64)
    changes = np.full((2, len(base), len(boxes)), np.nan, np.float32)
    starts = [0, *range(FIRST, len(boxes), BATCH)]
    for start, stop in zip(starts, [*starts[1:], len(boxes)], strict=True):
        part = boxes[start:stop]
        hidden = [occlude.apply(image, [Occlusion("box", window.fill, tuple(map(float, box)))]) for box in part]
        changes[:, :, start:stop] = (measure(describe(hidden)) - base).T
        yield SweepStep(stop, len(boxes), boxes, base, changes[0].copy(), changes[1].copy())


def sweep_map(boxes: np.ndarray, change: np.ndarray, height: int = 64, width: int = 32) -> np.ndarray:
    """Return a map of the mean change over all windows that cover each cell's centre.

    Args:
        boxes: `(T, 4)` in fractions.
        change: `(T,)`, NaN for a window not yet tried.
        height: cells.
        width: cells.

    Returns:
        `(height, width)` float32, signed and not rescaled; NaN where no window was tried.
    """
    tried = ~np.isnan(change)
    across, down = _covered(boxes[tried, 0::2], width), _covered(boxes[tried, 1::2], height)
    total, count = (down.T * change[tried].astype(np.float64)) @ across, down.T @ across
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / count, np.nan).astype(np.float32)


def cells_in(box: np.ndarray, height: int, width: int) -> np.ndarray:
    """Mark the cells, `(height, width)` bool, whose centres lie in a box of fractions."""
    across, down = _covered(box[None, 0::2], width)[0], _covered(box[None, 1::2], height)[0]
    return np.outer(down, across) > 0


def _covered(spans: np.ndarray, cells: int) -> np.ndarray:
    """Return `(T, cells)`: 1 where the centre of a cell of one side lies in a span of fractions, `(T, 2)`, else 0."""
    centres = (np.arange(cells) + 0.5) / cells
    return ((centres >= spans[:, :1]) & (centres <= spans[:, 1:])).astype(np.float64)
