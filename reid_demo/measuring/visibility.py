"""Fit the probability that a body part is visible on half of the rendered people, and measure it on the other half."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from reid_demo import occlude
from reid_demo.data.ground_truth import PARTS as BODY_PARTS
from reid_demo.errors import DatasetError
from reid_demo.measuring import intervals
from reid_demo.measuring.metrics import auc
from reid_demo.measuring.rendered import Rendered, rendered
from reid_demo.model.describer import Describer
from reid_demo.records import Occlusion
from reid_demo.whatif.confidence import SEEN, Bin, BodyPart, Visibility, features, part_words

FOLDERS = ("images", "probes", "bounding_box_test", "query", "query_occluded", "query_partial")
RIDGE = 1.0  # of the regression, on standardised features
NUM_BINS = 10
ALL_HIDDEN = 0.04  # share of the changed pictures that are hidden entirely


@dataclass(frozen=True, eq=False)
class Cases:
    """Features and ground truth of `n` pictures."""

    features: np.ndarray  # (n, F) float64, of `confidence.features`
    seen: np.ndarray  # (n, 8) bool, whether at least `SEEN` of a body part is visible

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.features)


@dataclass(frozen=True)
class Sample:
    """The pictures to fit to and to measure on."""

    root: Path  # a data set of `synthesize`, or a gallery with its ground truth
    count: int = 1600  # most pictures to draw
    seed: int = 0
    cutouts: occlude.Cutouts = field(default_factory=dict)  # to hide people behind, besides plain blocks


def study(describer: Describer, fingerprint: str, sample: Sample) -> Visibility:
    """Fit and measure on a sample: each picture as it is, and again with something hidden.

    Every second person, by pid, is fitted to, so no person is on both sides.

    Args:
        describer: of the weights.
        fingerprint: of the weights.
        sample: the pictures.

    Raises:
        DatasetError: fewer than two people, or a network without parts.
        SyntheticError: there is no ground truth.
    """
    if not describer.model.config.parts:
        raise DatasetError(
            "`visibility` needs the presence of parts; these weights have none (variant G). Name others."
        )
    pictures = rendered(sample.root, FOLDERS, sample.count, sample.seed)
    people = sorted({picture.truth.pid for picture in pictures})
    if len(people) < 2:
        raise DatasetError("`visibility` fits to one person and measures on another: take pictures of at least two.")
    sides = [set(people[::2]), set(people[1::2])]
    halves = [[p for p in pictures if p.truth.pid in side] for side in sides]
    fitted, held = (_cases(describer, half, sample) for half in halves)
    mean, scale = fitted.features.mean(axis=0), fitted.features.std(axis=0) + 1e-3
    fitted, held = (Cases((c.features - mean) / scale, c.seen) for c in (fitted, held))
    return Visibility(
        num_people=(len(sides[0]), len(sides[1])),
        num_pictures=(len(fitted), len(held)),
        mean=_rounded(mean),
        scale=_rounded(scale),
        parts=tuple(_body_part(name, number, fitted, held) for number, name in enumerate(BODY_PARTS)),
        fingerprint=fingerprint,
    )


def _cases(describer: Describer, pictures: Sequence[Rendered], sample: Sample) -> Cases:
    """Describe each picture as it is, and again with something hidden: `2 n` cases."""
    rng = np.random.default_rng([sample.seed, 5])
    shown, seen = [], []
    for picture in pictures:
        nothing = np.zeros(picture.image.shape[:2], bool)
        changed, hidden = hide_something(picture.image, rng, sample.cutouts)
        for image, mask in ((picture.image, nothing), (changed, hidden)):
            shown.append(image)
            seen.append(visible_shares(picture, mask) >= SEEN)
    described = describer.describe_stream(shown)
    return Cases(np.stack([features(probe) for probe in described]), np.array(seen))


def hide_something(
    image: np.ndarray, rng: np.random.Generator, cutouts: occlude.Cutouts
) -> tuple[np.ndarray, np.ndarray]:
    """Hide a random part of a picture in one of the page's ways.

    Args:
        image: `(H, W, 3)` uint8, not changed.
        rng: draws what is hidden, and how.
        cutouts: of people and things, to hide people behind; without things a post is drawn, without people none.

    Returns:
        The changed picture, and what is hidden: `(H, W)` bool.
    """
    fill = str(rng.choice(["mean_grey", "blur", "noise", "black"], p=[0.55, 0.15, 0.15, 0.15]))
    if rng.random() < ALL_HIDDEN:
        everything = np.ones(image.shape[:2], bool)
        return occlude.fill(image, everything, fill), everything
    kinds = ("block", "random_block", *(kind for kind in occlude.PASTED if kind == "object" or kind in cutouts))
    kind, seed = str(rng.choice(kinds)), int(rng.integers(2**31))
    kind = str(rng.choice(list(occlude.BOXES))) if kind == "block" else kind
    occlusion = Occlusion(kind, fill, coverage=float(rng.uniform(0.1, 0.6)), seed=seed)
    changed = occlude.apply(image, [occlusion], cutouts)
    return changed, occlude.hidden_by(occlusion, image, changed)


def visible_shares(picture: Rendered, hidden: np.ndarray) -> np.ndarray:
    """Return the visible share of each body part, `(8,)` float, 0 to 1; 0 for one that the picture never showed.

    Args:
        picture: what the renderer said is visible of it.
        hidden: `(H, W)` bool, what was hidden since.
    """
    masks = picture.masks
    area = masks.sum(axis=(1, 2))
    kept = (masks & ~hidden).sum(axis=(1, 2)) / np.maximum(area, 1)
    return np.array([picture.truth.visible.get(part, 0.0) for part in BODY_PARTS]) * np.where(area > 0, kept, 0)


def _body_part(name: str, number: int, fitted: Cases, held: Cases) -> BodyPart:
    coefficients, bias = fit_logistic(fitted.features, fitted.seen[:, number])
    probability = 1 / (1 + np.exp(-np.clip(held.features @ coefficients + bias, -50, 50)))
    seen = held.seen[:, number]
    curve = calibration_curve(probability, seen)
    return BodyPart(
        name=name,
        coefficients=_rounded(coefficients),
        bias=round(float(bias), 5),
        num_seen=int(seen.sum()),
        num_hidden=int((~seen).sum()),
        auc=round(auc(probability, seen), 4),
        ece=round(sum(b.count * abs(b.predicted - b.seen) for b in curve) / len(held), 4),
        brier=round(float(((probability - seen) ** 2).mean()), 4),
        curve=curve,
    )


def fit_logistic(values: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit a ridge logistic regression by Newton's method; return its coefficients, `(F,)` float64, and its bias.

    Args:
        values: `(n, F)` float64, standardised.
        truth: `(n,)` bool.
    """
    design = np.concatenate([values, np.ones((len(values), 1))], axis=1)
    penalty = np.append(np.full(values.shape[1], RIDGE), 1e-6)
    found = np.zeros(design.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-np.clip(design @ found, -50, 50)))
        slope = design.T @ (chance - truth) + penalty * found
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curvature, slope)
        found -= step * min(1, 10 / max(np.abs(step).max(), 1e-9))
        if np.abs(step).max() < 1e-8:
            break
    return found[:-1], float(found[-1])


def calibration_curve(probability: np.ndarray, seen: np.ndarray) -> tuple[Bin, ...]:
    """Return, for each tenth of the probability that occurs, how often the body part was visible.

    Args:
        probability: `(n,)` float, 0 to 1.
        seen: `(n,)` bool.
    """
    numbers = np.minimum((probability * NUM_BINS).astype(int), NUM_BINS - 1)
    bins = [(probability[numbers == i], seen[numbers == i]) for i in range(NUM_BINS)]
    return tuple(Bin(len(p), round(float(p.mean()), 4), round(float(s.mean()), 4)) for p, s in bins if len(p))


def table(model: Visibility) -> str:
    """Format how each body part did as a Markdown table."""
    head = ("body part", "visible in", "hidden in", "AUC", "ECE", "Brier", "told")
    rows = [
        (part_words(p.name), p.num_seen, p.num_hidden, f"{p.auc:.3f}", f"{p.ece:.3f}", f"{p.brier:.3f}")
        + ("yes" if p.reliable else "no",)
        for p in model.parts
    ]
    return intervals.table(head, rows)


def curve_table(model: Visibility) -> str:
    """Format the calibration curve of all reliable body parts together as a Markdown table."""
    found = []
    for low in range(NUM_BINS):
        bins = [b for part in model.parts if part.reliable for b in part.curve if _tenth(b) == low]
        count = sum(b.count for b in bins)
        if count:
            said = sum(b.count * b.predicted for b in bins) / count
            seen = sum(b.count * b.seen for b in bins) / count
            found.append((f"{low / 10:.1f} to {low / 10 + 0.1:.1f}", count, f"{said:.2f}", f"{seen:.2f}"))
    return intervals.table(("probability", "cases", "said", "visible"), found)


def _tenth(found: Bin) -> int:
    return min(int(found.predicted * NUM_BINS), NUM_BINS - 1)


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 5) for value in values)
