"""Explain a similarity: its terms, and how it changes as places of the probe are hidden."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from reid_demo import occlude
from reid_demo.records import Descriptor, Explanation, Occlusion, Scoring
from reid_demo.search import similarity
from reid_demo.whatif import sweep

GRID = (20, 10)  # rows and columns of the map of fixed places
LOOK = (0.5, 0.25)  # width and height of the window where a template looks, as fractions of the image
FINE = (64, 32)  # rows and columns of the grid on which that window is searched


def explain(
    probe: Descriptor,
    match: Descriptor,
    names: Sequence[str],
    scoring: Scoring = Scoring(),
) -> Explanation:
    """Split the similarity of a pair into its signed terms, which sum to it.

    Args:
        probe: with attention maps.
        match: with attention maps.
        names: `P+1` names, global first.
        scoring: which similarity.
    """
    terms = similarity.contributions(probe.parts, probe.presence, match.parts[None], match.presence[None], scoring)[0]
    return Explanation(float(terms.sum()), terms.astype(np.float32), tuple(names), probe, match)


def weighed_heatmap(explanation: Explanation) -> np.ndarray:
    """Return a map of where the parts earned the match, without calling the network.

    The map is each part template's attention weighted by the part's contribution: `(h, w)` float32 that sums to the
    contribution of all parts together; negative where parts count against the match.
    """
    return np.einsum("p,phw->hw", explanation.contributions[1:], explanation.probe.template_attention)


@dataclass(frozen=True, eq=False)
class Places:
    """A probe's descriptors with one coarse box at a time hidden; usable with any match."""

    boxes: np.ndarray  # (T, 4) float, (x0, y0, x1, y1) in fractions: the hidden boxes
    where: np.ndarray  # (T, h, w) float32, how strongly to show the effect of each box in each cell
    hidden: tuple[Descriptor, ...]  # T, one per box


def hide_places(
    image: np.ndarray, describe: Callable[[Sequence[np.ndarray]], list[Descriptor]], fill: str = "mean_grey"
) -> Places:
    """Hide fifteen large boxes of a probe, one at a time, and describe the results in one batch.

    Args:
        image: `(H, W, 3)` uint8.
        describe: maps images to descriptors.
        fill: one of `occlude.FILLS`.
    """
    boxes = np.array([(x, y, x + 0.4, y + 0.2) for y in (0, 0.2, 0.4, 0.6, 0.8) for x in (0, 0.3, 0.6)]).clip(0, 1)
    inside = np.stack([sweep.cells_in(box, *GRID) for box in boxes]).astype(np.float32)
    return Places(boxes, inside / inside.sum(axis=0), _described(image, boxes, describe, fill))


def hide_looks(
    image: np.ndarray,
    attention: np.ndarray,
    describe: Callable[[Sequence[np.ndarray]], list[Descriptor]],
    fill: str = "mean_grey",
) -> Places:
    """Hide the window where each part template looks most, one at a time, and describe the results in one batch.

    The effect of hiding a window is shown where its template looks. Such a map is more faithful than one of fixed
    places (`measuring.faithfulness`) and needs fewer descriptions.

    Args:
        image: `(H, W, 3)` uint8.
        attention: `(P, h, w)`, the probe's `template_attention`.
        describe: maps images to descriptors.
        fill: one of `occlude.FILLS`.
    """
    boxes = np.array([_most(found) for found in attention])
    cells = attention.shape[1] * attention.shape[2]
    where = attention * (cells * LOOK[0] * LOOK[1])  # about 1 if all attention is inside one window
    return Places(boxes, where.astype(np.float32), _described(image, boxes, describe, fill))


def hide_for(
    image: np.ndarray, probe: Descriptor, describe: Callable[[Sequence[np.ndarray]], list[Descriptor]]
) -> Places:
    """Hide where the probe's templates look; without templates, or with uniform attention, hide fifteen large boxes."""
    attention = probe.template_attention
    looks = attention.size and float(np.ptp(attention)) > 1e-6
    return hide_looks(image, attention, describe) if looks else hide_places(image, describe)


def _most(attention: np.ndarray) -> tuple[float, float, float, float]:
    """Return the first window of size `LOOK` with the most attention, as a box in fractions."""
    height, width = FINE
    found = cv2.resize(np.ascontiguousarray(attention, np.float32), FINE[::-1], interpolation=cv2.INTER_LINEAR)
    w, h = round(LOOK[0] * width), round(LOOK[1] * height)
    total = np.pad(found.astype(np.float64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    inside = total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]
    y, x = np.unravel_index(int(inside.argmax()), inside.shape)
    return x / width, y / height, (x + w) / width, (y + h) / height


def _described(image: np.ndarray, boxes: np.ndarray, describe: Callable, fill: str) -> tuple[Descriptor, ...]:
    return tuple(describe([occlude.apply(image, [Occlusion("box", fill, tuple(map(float, box)))]) for box in boxes]))


def place_changes(probe: Descriptor, places: Places, match: Descriptor, scoring: Scoring = Scoring()) -> np.ndarray:
    """Return how hiding each place changes a match's similarity, `(T,)` float32; negative if the place helps."""
    every = (probe, *places.hidden)
    parts, presence = np.stack([d.parts for d in every]), np.stack([d.presence for d in every])
    values = similarity.similarity_matrix(parts, presence, match.parts[None], match.presence[None], scoring)[:, 0]
    return (values[1:] - values[0]).astype(np.float32)


def place_map(places: Places, changes: np.ndarray) -> np.ndarray:
    """Spread what hiding each place adds to the similarity, `(T,)`, over the picture: `(h, w)` float32, signed."""
    return np.einsum("t,thw->hw", changes, places.where).astype(np.float32)
