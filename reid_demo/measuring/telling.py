"""Choose the examples that the page offers: hide every part of every shipped probe in turn, and see what it changes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from reid_demo import images, occlude
from reid_demo.data import stories
from reid_demo.data.ground_truth import TRUTH_FILE, read_truth
from reid_demo.data.probes import ABSENT
from reid_demo.data.stories import Ranks, Story
from reid_demo.engine import Engine, Example
from reid_demo.records import Descriptor, Occlusion, Scoring

WEIGHINGS = ("cosine", "part_aware")
AT_ONCE = 8  # probes to describe together, each with all its occluders
LEAST_FALL, MOST_FALL = 8, 40  # ranks that make a story: far enough to notice, near enough to believe
LEAST_RISE = 5  # rank of the untouched probe; a story if hiding a part then makes it 1
FALLS, PARTS, RISES = 3, 1, 2  # most examples of each kind


@dataclass(frozen=True)
class Measured:
    """The ranks of one probe's person, with one part of the probe hidden."""

    example: Example
    occluder: str  # of `occlude.BOXES`
    cosine: Ranks
    part_aware: Ranks
    clean: bool  # with the part hidden, part-aware ranks every image of the person before all others
    clear: bool  # nothing is known to hide the person in the first right image of the untouched probe

    def story(self, kind: str) -> Story:
        """Return it as a story of a kind."""
        return Story(self.example.path.name, kind, self.occluder, self.cosine, self.part_aware)


def measure(engine: Engine, progress: Callable[[int, int], None] = lambda done, total: None) -> list[Measured]:
    """Rank every shipped probe of a person who is in the gallery, untouched and with each of `occlude.BOXES` hidden.

    Args:
        engine: over a gallery with probes.
        progress: called with (probes done, probes in all).

    Returns:
        One record for each probe and box; none if the gallery has no probes.
    """
    known = [example for example in engine.probes if len(engine.right_matches(example.pid))]
    covered = _covered(engine)
    measured: list[Measured] = []
    for done, batch in _batches(known):
        measured += _measure(engine, batch, covered)
        progress(done, len(known))
    return measured


def _covered(engine: Engine) -> set[int]:
    """Return the rows of gallery images in which something hides the person; none where there is no ground truth."""
    path = engine.gallery.folder / TRUTH_FILE
    names = {truth.image for truth in read_truth(path) if truth.hidden_by} if path.is_file() else set()
    return {row for row, record in enumerate(engine.gallery.records) if record.path in names}


def _batches(examples: Sequence[Example]) -> Iterator[tuple[int, list[Example]]]:
    left, done = iter(examples), 0
    while batch := list(islice(left, AT_ONCE)):
        done += len(batch)
        yield done, batch


def _measure(engine: Engine, batch: Sequence[Example], covered: set[int]) -> list[Measured]:
    pictures = [images.read_image(example.path) for example in batch]
    recipes = [(), *((Occlusion(kind),) for kind in occlude.BOXES)]
    described = engine.describer.describe([engine.occlude(p, recipe) for p in pictures for recipe in recipes])
    measured = []
    for number, example in enumerate(batch):
        untouched, *hidden = described[number * len(recipes) : (number + 1) * len(recipes)]
        before = [_ranks(engine, example, untouched, weighing) for weighing in WEIGHINGS]
        first = int(engine.right_matches(example.pid)[before[1].argmin()])
        for kind, descriptor in zip(occlude.BOXES, hidden, strict=True):
            cosine, part_aware = (_ranks(engine, example, descriptor, weighing) for weighing in WEIGHINGS)
            measured.append(
                Measured(
                    example,
                    kind,
                    Ranks(int(before[0].min()), int(cosine.min())),
                    Ranks(int(before[1].min()), int(part_aware.min())),
                    bool(part_aware.max() == len(part_aware)),
                    first not in covered,
                )
            )
    return measured


def _ranks(engine: Engine, example: Example, probe: Descriptor, weighing: str) -> np.ndarray:
    return engine.ranks(probe, Scoring(weighing))[engine.right_matches(example.pid)]


def choose(engine: Engine, measured: Sequence[Measured]) -> list[Story]:
    """Choose the examples to offer, the most telling first. A probe is taken once; kinds without a probe are left out.

    Args:
        engine: as for `measure`.
        measured: what `measure` returned.
    """
    whole = [m for m in measured if m.example.kind == "whole"]
    taken: set[str] = set()

    def best(candidates: Sequence[Measured], kind: str, order: Callable[[Measured], tuple], count: int) -> list[Story]:
        chosen: list[Measured] = []
        for one in sorted(candidates, key=lambda m: (order(m), m.example.path.name, m.occluder)):
            again = one.example.path.name in taken or one.occluder in {m.occluder for m in chosen}
            if len(chosen) < count and not again:
                chosen.append(one)
                taken.add(one.example.path.name)
        return [one.story(kind) for one in chosen]

    falls = [m for m in whole if _first(m) and LEAST_FALL <= m.part_aware.hidden <= MOST_FALL]
    parts = [m for m in whole if _first(m) and m.part_aware.hidden == 1 and m.cosine.hidden > 1]
    covered = [m for m in measured if m.example.kind == "occluded"]
    rises = [m for m in covered if m.part_aware.untouched >= LEAST_RISE and m.part_aware.hidden == 1]
    holds = [m for m in whole if _first(m) and m.clean and m.occluder in occlude.HALVES]
    stays = [m for m in covered if _first(m) and m.clean]
    return [
        *best(falls, stories.FALLS, lambda m: (not m.clear, _place(m), -m.part_aware.hidden), FALLS),
        *best(parts, stories.PARTS, lambda m: (m.occluder not in occlude.HALVES, -m.cosine.hidden), PARTS),
        *best(rises, stories.RISES, lambda m: (-m.part_aware.untouched,), RISES),
        *best(holds, stories.HOLDS, lambda m: (_place(m),), 1),
        *(Story(s.path, s.story, None, s.cosine, s.part_aware) for s in best(stays, stories.COVERED, lambda m: (), 1)),
        *_nobody(engine),
    ]


def _place(measured: Measured) -> int:
    """Return how early an occluder comes: hidden legs and bags change a picture more visibly than hidden heads."""
    return occlude.HALVES.index(measured.occluder) if measured.occluder in occlude.HALVES else len(occlude.HALVES)


def _first(measured: Measured) -> bool:
    return measured.cosine.untouched == measured.part_aware.untouched == 1


def _nobody(engine: Engine) -> list[Story]:
    """Return the probe of an absent person whose first match scores lowest, so that the page rightly calls it weak."""
    absent = [example for example in engine.probes if example.kind == ABSENT]
    if not absent:
        return []
    described = engine.describer.describe([images.read_image(example.path) for example in absent])
    scores = [engine.search(descriptor, 1)[0].similarity for descriptor in described]
    return [Story(absent[int(np.argmin(scores))].path.name, stories.ABSENT, None)]
