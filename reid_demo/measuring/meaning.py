"""Measure whether a part's contribution stands for its body part: hide the body part, and see what falls.

Rendered people have a mask for every body part. Each picture is compared with the best gallery image of its person
under another camera. Then each body part is hidden by its mask, whole and half, and the fall of the similarity is
compared with the part's contribution. Switching the part off is the third way to take it away.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid_demo.data.ground_truth import PARTS as BODY_PARTS
from reid_demo.engine import Engine
from reid_demo.errors import DatasetError
from reid_demo.measuring import intervals
from reid_demo.measuring.part_meanings import LEAST_AREA, hide
from reid_demo.measuring.rendered import Rendered, rendered
from reid_demo.records import Descriptor, Scoring
from reid_demo.search import similarity
from reid_demo.whatif.confidence import part_words


@dataclass(frozen=True)
class Fit:
    """How the fall of the similarity follows a part's contribution, over many pictures."""

    fall: float  # mean
    correlation: float  # Pearson's, -1 to 1
    slope: float  # of the fall on the contribution; 1: the similarity falls by what the contribution says
    own: float  # share of pictures in which the part's own contribution fell most
    lost: float  # share of the part's own contribution that is gone


@dataclass(frozen=True)
class Row:
    """One body part, and the part of the descriptor that was trained to look at it."""

    body_part: str
    num_pictures: int  # that show at least `LEAST_AREA` of it
    contribution: float  # mean, to untouched pictures
    whole: Fit  # the body part hidden
    half: Fit  # its upper half hidden
    switched: Fit  # the part switched off, the picture untouched


@dataclass(frozen=True)
class Meaning:
    """The result of `study`."""

    fingerprint: str  # of the weights
    num_pictures: int
    seed: int
    rows: tuple[Row, ...]

    def table(self) -> str:
        """Format the rows as a Markdown table."""
        head = ["body part", "pictures", "contribution"]
        for way in ("whole", "half", "switch"):
            head += [f"{way}: fall", "r", "slope", *([] if way == "switch" else ["own part fell most", "of it lost"])]
        rows = [
            (part_words(r.body_part), r.num_pictures, f"{r.contribution:.3f}")
            + _cells(r.whole)
            + _cells(r.half)
            + _cells(r.switched)[:3]
            for r in self.rows
        ]
        return intervals.table(head, rows)


def _cells(fit: Fit) -> tuple[str, ...]:
    return f"{fit.fall:.3f}", f"{fit.correlation:.2f}", f"{fit.slope:.2f}", f"{fit.own:.0%}", f"{fit.lost:.0%}"


@dataclass(frozen=True, eq=False)
class Pair:
    """A rendered picture with its descriptor, and that of the gallery image it is compared with."""

    picture: Rendered
    probe: Descriptor
    match: Descriptor

    def terms(self, probe: Descriptor, scoring: Scoring) -> np.ndarray:
        """Return the contributions of a changed probe's parts to its similarity with the match, `(P+1,)` float."""
        stored = self.match
        return similarity.contributions(
            probe.parts, probe.presence, stored.parts[None], stored.presence[None], scoring
        )[0]


def study(
    engine: Engine,
    root: Path,
    count: int = 200,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Meaning:
    """Hide body parts in `count` pictures of a gallery that ships its ground truth, drawn by `seed`.

    Args:
        engine: over that gallery; the network has one part for each of `ground_truth.PARTS`.
        root: the gallery's folder.
        count: most pictures to draw.
        seed: of the draw; the same seed gives the same result.
        progress: called with (body parts done, body parts in all).

    Raises:
        DatasetError: the network has other parts, or fewer than three pictures show some body part.
        SyntheticError: there is no ground truth.
    """
    if len(engine.part_names) != len(BODY_PARTS):
        raise DatasetError(f"`meaning` needs weights with one part for each of {', '.join(BODY_PARTS)}; name others.")
    pairs = list(_pairs(engine, rendered(root, ("images",), count, seed)))
    rows = []
    for number, name in enumerate(BODY_PARTS):
        rows.append(_measure(engine, [p for p in pairs if _area(p.picture, number) >= LEAST_AREA], number, name))
        progress(number + 1, len(BODY_PARTS))
    return Meaning(engine.gallery.fingerprint, len(pairs), seed, tuple(rows))


def _area(picture: Rendered, number: int) -> float:
    return float(picture.masks[number].mean())


def _pairs(engine: Engine, pictures: Sequence[Rendered]):
    described = engine.describer.describe([picture.image for picture in pictures])
    for picture, probe in zip(pictures, described, strict=True):
        own = (picture.truth.pid, picture.truth.camid)
        right = engine.right_matches(own[0], own)
        if len(right):
            best = right[engine.gallery.scores(probe, engine.default_scoring)[right].argmax()]
            yield Pair(picture, probe, engine.gallery.descriptor(int(best)))


def half_of(mask: np.ndarray) -> np.ndarray:
    """Return the upper half of a mask's pixels; both masks are `(H, W)` bool."""
    rows, columns = np.nonzero(mask)
    kept = np.zeros_like(mask)
    first = slice(0, (len(rows) + 1) // 2)  # row-major, so from the top
    kept[rows[first], columns[first]] = True
    return kept


def _measure(engine: Engine, pairs: Sequence[Pair], number: int, name: str) -> Row:
    if len(pairs) < 3:
        raise DatasetError(f"Fewer than three pictures show {part_words(name)}. Take more with --limit.")
    scoring = engine.default_scoring
    before = np.stack([pair.terms(pair.probe, scoring) for pair in pairs])  # (n, P+1)
    ways = []
    for part_of in (lambda mask: mask, half_of):
        hidden = [hide(pair.picture.image, part_of(pair.picture.masks[number])) for pair in pairs]
        after = engine.describer.describe(hidden)
        terms = np.stack([pair.terms(probe, scoring) for pair, probe in zip(pairs, after, strict=True)])
        ways.append(fit(before, terms, number + 1))
    switches = tuple(i != number + 1 for i in range(len(BODY_PARTS) + 1))
    off = np.stack([pair.terms(pair.probe, Scoring(scoring.weighing, switches)) for pair in pairs])
    return Row(name, len(pairs), round(float(before[:, number + 1].mean()), 4), *ways, fit(before, off, number + 1))


def fit(before: np.ndarray, after: np.ndarray, term: int) -> Fit:
    """Compare the fall of the similarity with one part's contribution.

    Args:
        before: `(n, P+1)` float, contributions to the untouched pictures.
        after: `(n, P+1)` float, contributions once something is taken away.
        term: column of the part, from 1; 0 is global.
    """
    own, fall = before[:, term], (before - after).sum(axis=1)
    varies = own.std() > 0 and fall.std() > 0
    correlation = np.corrcoef(own, fall)[0, 1] if varies else 0.0
    slope = correlation * fall.std() / own.std() if varies else 0.0
    fell_most = ((before - after)[:, 1:].argmax(axis=1) == term - 1).mean()
    lost = (own - after[:, term]).mean() / own.mean() if own.mean() else 0.0
    return Fit(*(round(float(value), 4) for value in (fall.mean(), correlation, slope, fell_most, lost)))
