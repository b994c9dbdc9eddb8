"""A seeded sample of rendered pictures with their ground truth, for studies that photographs do not allow."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid_demo.data.ground_truth import TRUTH_FILE, Truth, read_truth
from reid_demo.errors import DatasetError
from reid_demo.images import read_image
from reid_demo.measuring.part_meanings import masks_of


@dataclass(frozen=True, eq=False)
class Rendered:
    """A picture and its ground truth."""

    truth: Truth
    image: np.ndarray  # (H, W, 3) uint8

    @property
    def masks(self) -> np.ndarray:
        """Visible pixels of each of `ground_truth.PARTS`, `(8, H, W)` bool."""
        return masks_of(self.truth, self.image.shape[:2])


def rendered(root: Path, folders: Sequence[str], count: int, seed: int = 0) -> list[Rendered]:
    """Read up to `count` rendered pictures of a data set or gallery, drawn by a seed, in the order of its ground truth.

    Args:
        root: with `truth.jsonl.gz`.
        folders: of `root`, to draw from.
        count: most pictures to draw.
        seed: of the draw.

    Raises:
        SyntheticError: there is no ground truth.
        DatasetError: no picture lies in these folders.
    """
    rows = [truth for truth in read_truth(root / TRUTH_FILE) if truth.image.split("/")[0] in folders]
    if not rows:
        raise DatasetError(f"{root.name!r} has no rendered picture under {', '.join(folders)}; name another --root.")
    chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
    return [Rendered(rows[i], read_image(root / rows[i].image)) for i in sorted(chosen)]
