"""Compare a search before and after a change to the probe: moves, the right person's rank, and the terms lost."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from reid_demo.records import Descriptor, Match, Move, Scoring
from reid_demo.search import similarity
from reid_demo.search.gallery import Gallery, Ranking

LEAST_LOSS = 5e-5  # of a term; anything smaller is rounding


@dataclass(frozen=True, eq=False)
class Comparison:
    """A search before and after a change to the probe. Pairs are (before, after)."""

    top_k: int
    moves: tuple[Move, ...]  # of every image in either list, by rank before
    watched: int  # gallery row whose terms are compared: the best right image before, else the first match before
    watched_is_right: bool
    rank: tuple[int, int]  # of the best right image if any is right, else of `watched`
    similarity: tuple[float, float]  # of `watched`
    average_precision: tuple[float, float] | None  # None if the person is unknown or not in the gallery
    terms: np.ndarray  # (P+1, 2) float32, contributions to the similarity of `watched`
    presence: np.ndarray  # (P, 2) float32

    @property
    def entered(self) -> tuple[Move, ...]:
        """Images in the list after but not before."""
        return tuple(move for move in self.moves if move.rank[1] <= self.top_k < move.rank[0])

    @property
    def left(self) -> tuple[Move, ...]:
        """Images in the list before but not after."""
        return tuple(move for move in self.moves if move.rank[0] <= self.top_k < move.rank[1])

    def lost_most(self, count: int = 2) -> list[int]:
        """Return the `count` terms (0 is global) whose contribution fell most, worst first; fewer if fewer fell."""
        change = self.terms[:, 1] - self.terms[:, 0]
        return [int(i) for i in np.argsort(change, kind="stable")[:count] if change[i] < -LEAST_LOSS]


def moves_of(rows: Iterable[int], before: Ranking, after: Ranking) -> tuple[Move, ...]:
    """Return the moves of gallery images between two rankings, in the order of `rows`."""
    return tuple(
        Move(
            int(row),
            (int(before.ranks[row]), int(after.ranks[row])),
            (float(before.similarity[row]), float(after.similarity[row])),
        )
        for row in rows
    )


def ranks_gained(rows: Iterable[int], before: np.ndarray, after: np.ndarray) -> dict[int, int]:
    """Return by row how many ranks gallery images gained from a change; negative for a loss.

    Args:
        rows: which images.
        before: `(G,)` ranks of all images for the untouched probe.
        after: `(G,)` ranks for the changed one.
    """
    return {int(row): int(before[row]) - int(after[row]) for row in rows}


def listed(before: Iterable[Match], after: Iterable[Match]) -> list[int]:
    """Return the gallery rows in either list, ascending."""
    return sorted({match.index for match in (*before, *after)})


def compare(
    gallery: Gallery,
    probes: tuple[Descriptor, Descriptor],
    right: np.ndarray,
    top_k: int = 10,
    scoring: Scoring = Scoring(),
    exclude: np.ndarray | None = None,
) -> Comparison:
    """Compare the rankings of an untouched and a changed probe.

    Args:
        gallery: to rank.
        probes: the untouched and the changed one.
        right: `(R,)` gallery rows of the probe's person, without excluded ones; empty if unknown or absent.
        top_k: length of both lists.
        scoring: which similarity.
        exclude: `(G,)` bool, images to leave out of both lists.
    """
    first, last = (gallery.ranking(probe, scoring, exclude) for probe in probes)
    top_k = min(top_k, len(gallery) - (0 if exclude is None else int(exclude.sum())))
    shown = np.flatnonzero((first.ranks <= top_k) | (last.ranks <= top_k))
    known = len(right) > 0
    watched = int(right[np.argmin(first.ranks[right])]) if known else int(np.argmin(first.ranks))
    places = right if known else np.array([watched])
    stored = gallery.descriptor(watched)
    terms = [
        similarity.contributions(p.parts, p.presence, stored.parts[None], stored.presence[None], scoring)[0]
        for p in probes
    ]
    return Comparison(
        top_k,
        moves_of(shown[np.argsort(first.ranks[shown])], first, last),
        watched,
        known,
        rank=tuple(int(ranking.ranks[places].min()) for ranking in (first, last)),
        similarity=tuple(float(values.sum()) for values in terms),
        average_precision=tuple(average_precision(r.ranks[right]) for r in (first, last)) if known else None,
        terms=np.stack(terms, axis=1).astype(np.float32),
        presence=np.stack([probe.presence for probe in probes], axis=1),
    )


def average_precision(ranks: np.ndarray) -> float:
    """Return the average precision, 0 to 1, of right answers at `(R,)` int ranks, 1 is the best."""
    ordered = np.sort(ranks)
    return float(np.mean(np.arange(1, len(ordered) + 1) / ordered))
