"""Why a probe and a match score what they score: the terms, and what hiding each place does to them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reid_demo import occlude
from reid_demo.records import Descriptor, Explanation, Occlusion, Scoring
from reid_demo.search import similarity


def explain(
    probe: Descriptor,
    match: Descriptor,
    names: Sequence[str],
    scoring: Scoring = Scoring(),
) -> Explanation:
    """Split the similarity of a pair into its signed terms, which sum to it.

    Args:
        probe: with its attention maps.
        match: with its attention maps.
        names: `P+1` names, global first.
        scoring: which similarity.
    """
    terms = similarity.contributions(probe.parts, probe.presence, match.parts[None], match.presence[None], scoring)[0]
    return Explanation(float(terms.sum()), terms.astype(np.float32), tuple(names), probe, match)


def weighed_heatmap(explanation: Explanation) -> np.ndarray:
    """Return where on the probe the match was earned by its parts, at no further call of the network.

    Each part template's attention, weighed by that part's contribution: `(h, w)` float32 that sums to the contribution
    of all parts together; negative where parts speak against the match.
    """
    return np.einsum("p,phw->hw", explanation.contributions[1:], explanation.probe.template_attention)


@dataclass(frozen=True, eq=False)
class Places:
    """A probe with one coarse place after another hidden, described; serves any match."""

    boxes: np.ndarray  # (T, 4) float, fractions x0, y0, x1, y1
    hidden: tuple[Descriptor, ...]  # T


def hide_places(
    image: np.ndarray, describe: Callable[[Sequence[np.ndarray]], list[Descriptor]], fill: str = "mean_grey"
) -> Places:
    """Hide fifteen large places of a probe, one at a time, and describe each picture, in one batch.

    Args:
        image: `(H, W, 3)` uint8.
        describe: images to descriptors, batched.
        fill: of `occlude.FILLS`.
    """
    boxes = np.array([(x, y, x + 0.4, y + 0.2) for y in (0, 0.2, 0.4, 0.6, 0.8) for x in (0, 0.3, 0.6)]).clip(0, 1)
    hidden = [occlude.apply(image, [Occlusion("box", fill, tuple(map(float, box)))]) for box in boxes]
    return Places(boxes, tuple(describe(hidden)))


def place_changes(probe: Descriptor, places: Places, match: Descriptor, scoring: Scoring = Scoring()) -> np.ndarray:
    """Return what hiding each place adds to a match's similarity: `(T,)` float32, negative where the place helps."""
    every = (probe, *places.hidden)
    parts, presence = np.stack([d.parts for d in every]), np.stack([d.presence for d in every])
    values = similarity.similarity_matrix(parts, presence, match.parts[None], match.presence[None], scoring)[:, 0]
    return (values[1:] - values[0]).astype(np.float32)
