"""Where the body parts of a rendered picture are and how much of each is seen, carried through augmentation."""

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from reid_demo.data.ground_truth import PARTS, TRUTH_FILE, Truth, read_truth


def _mirrored(part: str) -> str:
    side, _, limb = part.partition("_")
    return {"left": f"right_{limb}", "right": f"left_{limb}"}.get(side, part)


_MIRROR = np.array([PARTS.index(_mirrored(part)) for part in PARTS])
_MIRROR_LABELS = np.concatenate([[0], _MIRROR + 1]).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Body:
    """The body parts of one picture, in the order of `ground_truth.PARTS`."""

    labels: np.ndarray  # (h, w) uint8: 0 nothing, p + 1 part p
    visible: np.ndarray  # (8,) float32 in 0..1: how much of each part of the person is seen; 0 where there is none
    clear: bool = True  # as rendered, nothing stands in front and the frame cuts nothing; augmentation leaves it

    def resized(self, height: int, width: int) -> "Body":
        """Return the body parts at another size of the picture."""
        labels = cv2.resize(self.labels, (width, height), interpolation=cv2.INTER_NEAREST)
        return replace(self, labels=labels)

    def flipped(self) -> "Body":
        """Return the body parts of the mirrored picture, where a left arm is a right one."""
        return replace(self, labels=_MIRROR_LABELS[self.labels[:, ::-1]], visible=self.visible[_MIRROR])

    def kept(self, labels: np.ndarray) -> "Body":
        """Return what a crop or an occlusion leaves: `labels` at the same scale, and shares reduced by what is gone."""
        share = areas(labels) / np.maximum(areas(self.labels), 1)
        return replace(self, labels=labels, visible=(self.visible * np.minimum(share, 1)).astype(np.float32))

    def without(self, hidden: np.ndarray) -> "Body":
        """Return what is left where `hidden`, bool at the scale of the labels, covers the rest."""
        return self.kept(np.where(hidden, 0, self.labels).astype(np.uint8))


def areas(labels: np.ndarray) -> np.ndarray:
    """Count the cells of each part, `(8,)` float32."""
    counts = cv2.calcHist([np.ascontiguousarray(labels)], [0], None, [len(PARTS) + 1], [0, len(PARTS) + 1])
    return counts.ravel()[1:]


def body_of(truth: Truth) -> Body:
    """Return the body parts of a rendered image, on the grid of its masks."""
    labels = np.zeros(next(iter(truth.masks.values())).shape if truth.masks else (1, 1), np.uint8)
    for number, part in enumerate(PARTS, 1):
        if part in truth.masks:
            labels[truth.masks[part]] = number
    visible = np.array([truth.visible.get(part, 0.0) for part in PARTS], np.float32)
    return Body(labels, visible, not truth.hidden_by)


def read_bodies(root: Path) -> dict[str, Body]:
    """Map each image path of a synthetic data set to its `Body`; empty where the root has no ground truth.

    Raises:
        SyntheticError: the ground truth is damaged.
    """
    path = root / TRUTH_FILE
    return {truth.image: body_of(truth) for truth in read_truth(path)} if path.is_file() else {}
