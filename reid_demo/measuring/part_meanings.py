"""Measure what each part template means: the body parts on which its attention falls.

Needs a mask of each body part, which only rendered people have. The page takes the parts' names from here.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from reid_demo import occlude
from reid_demo.data.ground_truth import PARTS as BODY_PARTS
from reid_demo.data.ground_truth import TRUTH_FILE, Truth, read_truth
from reid_demo.errors import DatasetError, ShapeError
from reid_demo.images import read_image
from reid_demo.measuring.metrics import auc
from reid_demo.model.describer import Describer
from reid_demo.records import Descriptor
from reid_demo.whatif.confidence import part_words

GALLERY_FOLDERS = ("bounding_box_test/", "images/")  # of a data set, and of a gallery
BACKGROUND = "background"
MOSTLY = 0.5  # least fraction of the attention for the name "mostly ..."
LEANS = 1.5  # least ratio of a body part's fractions of attention and of the image for "leans to ..."
SLIVER = 0.1  # least fraction of the attention for a body part to be named at all
NEARLY = 0.67  # least ratio of the two sides' lifts for both to be named together
LEAST_AREA = 0.01  # fraction of the image; smaller body parts are not used to test presence


@dataclass(frozen=True, eq=False)
class Labelled:
    """One rendered image and the masks of its body parts."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    masks: np.ndarray  # (K, H, W) bool, the visible pixels of each body part


def labelled(root: Path, limit: int = 400) -> Iterator[Labelled]:
    """Read up to `limit` gallery images, evenly spaced over all, with the masks of `BODY_PARTS`.

    Args:
        root: a synthetic data set, or a gallery that ships its ground truth.
        limit: largest number of images.

    Raises:
        SyntheticError: there is no ground truth.
    """
    rows = [truth for truth in read_truth(root / TRUTH_FILE) if truth.image.startswith(GALLERY_FOLDERS)]
    chosen = np.linspace(0, len(rows) - 1, min(limit, len(rows))).round().astype(int)
    for truth in (rows[row] for row in chosen):
        image = read_image(root / truth.image)
        yield Labelled(image, masks_of(truth, image.shape[:2]))


def masks_of(truth: Truth, shape: tuple[int, int]) -> np.ndarray:
    """Return the visible pixels of each of `BODY_PARTS`, `(8, H, W)` bool, at the image's shape `(H, W)`."""
    masks = np.zeros((len(BODY_PARTS), *shape), bool)
    for mask, name in zip(masks, BODY_PARTS, strict=True):
        if name in truth.masks:
            small = truth.masks[name].astype(np.uint8)
            mask[:] = cv2.resize(small, shape[::-1], interpolation=cv2.INTER_NEAREST).astype(bool)
    return masks


def study(describer: Describer, samples: Iterable[Labelled], body_parts: Sequence[str]) -> dict:
    """Measure what the templates of a network attend to.

    Args:
        describer: a network with parts.
        samples: rendered images with masks.
        body_parts: K names, in the order of the masks.

    Returns:
        `names`, one per template ("mostly head"); `num_images`; `body_parts` (K names and "background"); `area` (K+1
        mean fractions of the image); `template_attention` and `part_attention`, each with `share` `(P, K+1)`,
        `entropy` `(P,)` in 0..1 and `overlap` in 0..1 between templates; `presence_auc`, one per template or `None`.

    Raises:
        DatasetError: no sample, or a network without parts.
    """
    samples = list(samples)
    if not samples:
        raise DatasetError("No image with body-part masks was given.")
    described = describer.describe([sample.image for sample in samples])
    num_parts = len(described[0].presence)
    if not num_parts:
        raise DatasetError("This network has no parts to study (variant G).")
    maps = {kind: np.stack([getattr(d, kind) for d in described]) for kind in ("template_attention", "part_attention")}
    found = {}
    for kind, attention in maps.items():
        coverage = np.stack([cover(sample.masks, attention.shape[2:]) for sample in samples])  # (M, K+1, h, w)
        found[kind] = {
            "share": _rounded(attention_share(attention, coverage)),
            "entropy": _rounded(entropy(attention)),
            "overlap": round(overlap(attention), 4),
        }
    area = coverage.mean(axis=(0, 2, 3))
    share = np.array(found["template_attention"]["share"])
    names = (*body_parts, BACKGROUND)
    return {
        "names": [name_of(row, area, names) for row in share],
        "num_images": len(samples),
        "body_parts": list(names),
        "area": _rounded(area),
        **found,
        "presence_auc": _presence_auc(describer, samples, described, share[:, :-1].argmax(axis=1)),
    }


def cover(masks: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Return the fraction of every grid cell that each body part covers, background last.

    Args:
        masks: `(K, H, W)` bool, not overlapping.
        grid: `(h, w)`.

    Returns:
        `(K+1, h, w)` float32; sums to 1 over the first axis.
    """
    height, width = grid
    cells = [cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) for mask in masks]
    parts = np.stack(cells) if cells else np.zeros((0, height, width), np.float32)
    return np.concatenate([parts, np.clip(1 - parts.sum(axis=0, keepdims=True), 0, 1)])


def attention_share(attention: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """Return the mean fraction of each template's attention that falls on each body part.

    Args:
        attention: `(M, P, h, w)`, each map sums to 1.
        coverage: `(M, K+1, h, w)` from `cover`.

    Returns:
        `(P, K+1)`, rows sum to 1.

    Raises:
        ShapeError: images or grids differ.
    """
    if attention.shape[0] != coverage.shape[0] or attention.shape[2:] != coverage.shape[2:]:
        raise ShapeError(f"The shapes of attention {attention.shape} and coverage {coverage.shape} do not match.")
    return np.einsum("mphw,mkhw->pk", attention, coverage) / len(attention)


def entropy(attention: np.ndarray) -> np.ndarray:
    """Return each template's mean entropy over maps `(M, P, h, w)`: `(P,)`, 0 for a single cell to 1 for uniform."""
    flat = attention.reshape(*attention.shape[:2], -1).astype(np.float64)
    each = -(flat * np.log(np.maximum(flat, 1e-12))).sum(axis=2) / np.log(flat.shape[2])
    return np.clip(each.mean(axis=0), 0, 1)


def overlap(attention: np.ndarray) -> float:
    """Return the mean overlap of two templates' maps `(M, P, h, w)`: 0 for disjoint to 1 for equal; 0 if `P` is 1."""
    images, count = attention.shape[:2]
    flat = attention.reshape(images, count, -1)
    pairs = [np.minimum(flat[:, i], flat[:, j]).sum(axis=1).mean() for i in range(count) for j in range(i)]
    return float(np.mean(pairs)) if pairs else 0.0


def name_of(share: np.ndarray, area: np.ndarray, names: Sequence[str]) -> str:
    """Name a template from the `(K+1,)` fractions of its attention and of the image on each body part.

    A template that favours both arms about equally is called "arms", and likewise "legs".
    """
    parts = _sides_together(share, area, names)
    largest, most = max(((name, part) for name, part, _ in parts), key=lambda row: row[1], default=("", 0.0))
    if most >= MOSTLY:
        return f"mostly {largest}"
    # A sliver of attention on a tiny body part means nothing. But much background is no reason to name only that: a
    # cell on a foot is mostly ground. So in that case the body part needs a larger fraction
    least = SLIVER if share[-1] < MOSTLY else 2 * SLIVER
    lifts = [(name, part / max(place, 1e-6)) for name, part, place in parts if part >= least]
    favoured, lift = max(lifts, key=lambda row: row[1], default=("", 0.0))
    if lift >= LEANS:
        return f"leans to {favoured}"
    return f"mostly {names[-1]}" if share[-1] >= MOSTLY else "spread out"


def _sides_together(share: np.ndarray, area: np.ndarray, names: Sequence[str]) -> list[tuple[str, float, float]]:
    """Return (words, attention, area) of each body part; merge left and right if their lifts are similar."""
    found = {name: (float(s), float(a)) for name, s, a in zip(names[:-1], share, area, strict=False)}
    for left in [name for name in found if name.startswith("left_")]:
        limb = left.removeprefix("left_")
        pair = [found.get(f"{side}_{limb}") for side in ("left", "right")]
        lifts = [s / max(a, 1e-6) for s, a in filter(None, pair)]
        if len(lifts) == 2 and min(lifts) >= NEARLY * max(lifts):
            found[f"{limb}s"] = tuple(np.sum([found.pop(f"{side}_{limb}") for side in ("left", "right")], axis=0))
    return [(part_words(name), part, place) for name, (part, place) in found.items()]


def _presence_auc(
    describer: Describer, samples: Sequence[Labelled], described: Sequence[Descriptor], favourite: np.ndarray
) -> list[float | None]:
    """Return for each template the AUC with which its presence drops as its favourite body part is hidden.

    0.5 is chance; `None` for too few images.
    """
    result: list[float | None] = []
    hidden_presence: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for body_part in sorted(set(favourite.tolist())):
        rows = [i for i, s in enumerate(samples) if s.masks[body_part].mean() >= LEAST_AREA]
        pictures = [hide(samples[i].image, samples[i].masks[body_part]) for i in rows]
        after = np.stack([d.presence for d in describer.describe(pictures)]) if rows else np.zeros((0, 0))
        hidden_presence[body_part] = (np.array(rows, int), after)
    for template, body_part in enumerate(favourite.tolist()):
        rows, after = hidden_presence[body_part]
        if len(rows) < 2:
            result.append(None)
            continue
        before = [described[i].presence[template] for i in rows]
        result.append(round(auc(np.append(before, after[:, template]), np.arange(2 * len(rows)) < len(rows)), 4))
    return result


def hide(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return a copy of an image with a body part, and a rim of 3 percent of the width, filled with mean grey."""
    return occlude.fill(image, occlude.with_rim(mask, 0.03), "mean_grey")


def _rounded(values: np.ndarray) -> list:
    return np.round(values, 4).tolist()
