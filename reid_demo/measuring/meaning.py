"""Whether a part's contribution means the body part that it was taught: hide that body part, and see what falls.

Rendered people have a mask for every body part. Each picture of a gallery is searched against the best other picture of
its person; then one body part after another is hidden by its mask, whole and by half, and the fall of the similarity is
compared with what the part's contribution said. The part's own switch is the third way of taking it away.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid_demo.data.ground_truth import PARTS as BODY_PARTS
from reid_demo.engine import Engine
from reid_demo.errors import DatasetError
from reid_demo.measuring import intervals
from reid_demo.measuring.part_meanings import LEAST_AREA, hide, words
from reid_demo.measuring.rendered import Rendered, rendered
from reid_demo.records import Descriptor, Scoring
from reid_demo.search import similarity


@dataclass(frozen=True)
class Fit:
    """How a fall of the similarity follows a contribution over many pictures."""

    fall: float  # mean
    correlation: float  # Pearson's, -1 to 1
    slope: float  # of the fall on the contribution; 1: what the contribution says is what is lost
    own: float  # share of pictures in which the part's own contribution fell more than that of any other part
    lost: float  # share of the part's own contribution that is gone


@dataclass(frozen=True)
class Row:
    """One body part and the part of the descriptor that was taught it."""

    body_part: str
    num_pictures: int  # in which it can be seen well enough to hide it
    contribution: float  # mean, of the untouched picture
    whole: Fit
    half: Fit
    switched: Fit  # the part's switch off, the picture untouched


@dataclass(frozen=True)
class Meaning:
    """What was measured."""

    fingerprint: str  # of the weights
    num_pictures: int
    seed: int
    rows: tuple[Row, ...]

    def table(self) -> str:
        """Write the rows as a Markdown table."""
        head = ["body part", "pictures", "contribution"]
        for way in ("whole", "half", "switch"):
            head += [f"{way}: fall", "r", "slope", *([] if way == "switch" else ["own part fell most", "of it lost"])]
        rows = [
            (words(r.body_part), r.num_pictures, f"{r.contribution:.3f}")
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
    """A rendered picture, described, and the stored image of its person that it is compared with."""

    picture: Rendered
    probe: Descriptor
    match: Descriptor

    def terms(self, probe: Descriptor, scoring: Scoring) -> np.ndarray:
        """Return the `(P+1,)` contributions of a changed probe."""
        match = self.match
        found = similarity.contributions(probe.parts, probe.presence, match.parts[None], match.presence[None], scoring)
        return found[0]


def study(
    engine: Engine,
    root: Path,
    count: int = 200,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Meaning:
    """Hide body parts in `count` pictures of a gallery that ships its ground truth, drawn by `seed`.

    Raises:
        DatasetError: the network does not have one part for each body part.
    """
    if len(engine.part_names) != len(BODY_PARTS):
        raise DatasetError(f"Only a network with a part for each of {', '.join(BODY_PARTS)} can be measured so.")
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
    """Return the upper half of a body part's pixels, `(H, W)` bool."""
    rows, columns = np.nonzero(mask)
    kept = np.zeros_like(mask)
    first = slice(0, (len(rows) + 1) // 2)  # row-major, so from the top
    kept[rows[first], columns[first]] = True
    return kept


def _measure(engine: Engine, pairs: Sequence[Pair], number: int, name: str) -> Row:
    if len(pairs) < 3:
        raise DatasetError(f"Too few pictures show {words(name)}; take more with --limit.")
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
    """Compare the fall of the similarity with one term's contribution.

    Args:
        before: `(n, P+1)` contributions of the untouched pictures.
        after: `(n, P+1)` with something taken away.
        term: which of the terms was meant, from 1.
    """
    said, fall = before[:, term], (before - after).sum(axis=1)
    varies = said.std() > 0 and fall.std() > 0
    correlation = np.corrcoef(said, fall)[0, 1] if varies else 0.0
    slope = correlation * fall.std() / said.std() if varies else 0.0
    own = ((before - after)[:, 1:].argmax(axis=1) == term - 1).mean()
    lost = (said - after[:, term]).mean() / said.mean() if said.mean() else 0.0
    return Fit(*(round(float(value), 4) for value in (fall.mean(), correlation, slope, own, lost)))
