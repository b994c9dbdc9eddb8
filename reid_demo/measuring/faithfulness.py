"""Measure whether the page's maps explain a match: hide or reveal a probe in a map's order, and watch the similarity.

Deletion hides the most important cells first: a faithful map makes the similarity fall early, so a small area under
the curve is good. Insertion reveals them first on a blurred picture: a large area is good. Each uses another fill for
what is not shown, so no map wins because it was made with the same fill. The page's maps are compared with controls
that know nothing of the match, the gradient of the similarity, and XAITK's sliding window.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from reid_demo import occlude
from reid_demo.engine import Engine
from reid_demo.errors import DatasetError
from reid_demo.images import read_image
from reid_demo.measuring import gradient, intervals
from reid_demo.measuring.intervals import Interval
from reid_demo.records import Descriptor, Occlusion
from reid_demo.whatif import explain, sweep

GRID = (32, 16)  # rows and columns of the cells that are hidden or revealed
STEPS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7)  # shares of the cells; 0 and 1 are the same for every map
XAITK_WINDOW = 50  # px at 256 x 128, XAITK's default for similarity
OURS = "map of what matters"  # the page's map; all others are compared with it


@dataclass(frozen=True, eq=False)
class Case:
    """A probe and the watched match: the image of its person that the search ranks highest."""

    engine: Engine
    image: np.ndarray  # (H, W, 3) uint8
    probe: Descriptor
    watched: int  # gallery row
    right: np.ndarray  # (R,) gallery rows of the person under other cameras
    left_out: np.ndarray  # (G,) bool: the person under the probe's own camera
    seed: int  # orders equal cells of a map

    def changes(self, pictures: list[np.ndarray]) -> np.ndarray:
        """Return the change of the watched image's similarity for each changed picture of the probe, `(n,)` float."""
        return self.similarity(self.engine.describer.describe(pictures)) - self.similarity([self.probe])

    def similarity(self, probes: list[Descriptor]) -> np.ndarray:
        """Return the similarity of the watched image to each probe, `(n,)` float."""
        return self.engine.gallery.scores_of(probes, self.engine.default_scoring)[:, self.watched]

    def outcomes(self, probes: list[Descriptor]) -> np.ndarray:
        """Return what a curve plots for each probe, `(n, 2)` float: watched similarity, and 1 / rank of the person."""
        values = self.engine.gallery.scores_of(probes, self.engine.default_scoring)
        best = values[:, self.right].max(axis=1)
        rank = 1 + (values[:, ~self.left_out] > best[:, None]).sum(axis=1)
        return np.stack([values[:, self.watched], 1 / rank], axis=1)


@dataclass(frozen=True)
class Row:
    """The areas of one kind of map: under curves over the share of the picture that is hidden or revealed."""

    method: str
    calls: int  # pictures that the network describes, besides the probe
    deletion: Interval  # similarity; lower is better
    insertion: Interval  # similarity; higher is better
    deletion_rank: Interval  # 1 / rank of the right person; lower is better
    insertion_rank: Interval  # 1 / rank of the right person; higher is better
    advantage: Interval  # insertion minus deletion, less the same for `OURS`, probe by probe


@dataclass(frozen=True)
class Faithfulness:
    """The result of `study`."""

    fingerprint: str  # of the weights
    num_probes: int
    seed: int
    rows: tuple[Row, ...]  # in the order of `methods`

    def table(self) -> str:
        """Format the rows as a Markdown table."""
        head = ("order of", "calls", "deletion", "insertion", "deletion, 1/rank", "insertion, 1/rank", f"less {OURS}")
        rows = [
            (r.method, r.calls, r.deletion, r.insertion, r.deletion_rank, r.insertion_rank, r.advantage)
            for r in self.rows
        ]
        return intervals.table(head, rows)


def random_order(case: Case) -> np.ndarray:
    """Return random importances: the control that knows nothing, `(32, 16)`."""
    return np.random.default_rng([case.seed, 7]).random(GRID)


def centre_prior(case: Case) -> np.ndarray:
    """Return importances that fall with the distance from the middle, `(32, 16)`: people stand there."""
    y, x = (np.arange(GRID[0]) + 0.5) / GRID[0], (np.arange(GRID[1]) + 0.5) / GRID[1]
    return -(((y - 0.5)[:, None] / 0.5) ** 2 + ((x - 0.5)[None] / 0.5) ** 2)


def what_matters(case: Case) -> np.ndarray:
    """Return the map that the page shows under the match: hide where each part template looks, one at a time."""
    return _hidden_places(case, explain.hide_for(case.image, case.probe, case.engine.describer.describe))


def fifteen_places(case: Case) -> np.ndarray:
    """Return the map of an earlier page: hide fifteen large fixed places, one at a time."""
    return _hidden_places(case, explain.hide_places(case.image, case.engine.describer.describe))


def _hidden_places(case: Case, places: explain.Places) -> np.ndarray:
    changes = case.similarity(list(places.hidden)) - case.similarity([case.probe])
    return resized(-explain.place_map(places, changes))


def heatmaps(case: Case) -> np.ndarray:
    """Sum the heatmaps of the part templates, each weighed by its part's contribution to the match."""
    stored = case.engine.gallery.descriptor(case.watched)
    why = explain.explain(case.probe, stored, case.engine.term_names, case.engine.default_scoring)
    return resized(explain.weighed_heatmap(why))


def swept(case: Case) -> np.ndarray:
    """Return the map of the page's sweep."""
    boxes = sweep_windows()
    return -sweep.sweep_map(boxes, case.changes(hidden(case.image, boxes, "mean_grey")), *GRID)


def xaitk_few(case: Case) -> np.ndarray:
    """Return the map of XAITK's window at fifteen places."""
    return _xaitk(case, 5, 3)


def xaitk_many(case: Case) -> np.ndarray:
    """Return the map of XAITK's window at as many places as the sweep has."""
    boxes = sweep_windows()
    return _xaitk(case, len(np.unique(boxes[:, 1])), len(np.unique(boxes[:, 0])))


def similarity_gradient(case: Case) -> np.ndarray:
    """Return gradient times input of the similarity: its first-order change if a place becomes mean grey."""
    stored = case.engine.gallery.descriptor(case.watched)
    found = gradient.gradient_map(case.engine.describer.model, case.image, stored, case.engine.default_scoring)
    return cv2.resize(found, GRID[::-1], interpolation=cv2.INTER_AREA)


@dataclass(frozen=True)
class Method:
    """One kind of map and its cost."""

    name: str
    calls: int  # as in `Row`
    make: Callable[[Case], np.ndarray]  # returns (32, 16) float, larger is more important


def methods(num_parts: int) -> tuple[Method, ...]:
    """Return all kinds of maps that are compared for a network of `num_parts` templates, `OURS` first."""
    many = len(sweep_windows())
    return (
        Method(OURS, num_parts or 15, what_matters),
        Method("fifteen large places", 15, fifteen_places),
        Method("part heatmaps by contribution", 0, heatmaps),
        Method("sweep", many, swept),
        Method("random order", 0, random_order),
        Method("centre prior", 0, centre_prior),
        Method("gradient of the similarity", 2, similarity_gradient),
        Method("XAITK's window, as few calls", 15, xaitk_few),
        Method("XAITK's window, as many calls", many, xaitk_many),
    )


def sweep_windows() -> np.ndarray:
    """Return the boxes of the page's sweep over a 256 x 128 picture, `(T, 4)` in fractions."""
    window = sweep.Window()
    return sweep.sweep_boxes(window.size, window.stride)


def _xaitk(case: Case, rows: int, columns: int) -> np.ndarray:
    height, width = XAITK_WINDOW / 256, XAITK_WINDOW / 128
    corners = [(x, y) for y in np.linspace(0, 1 - height, rows) for x in np.linspace(0, 1 - width, columns)]
    boxes = np.array([(x, y, x + width, y + height) for x, y in corners]).clip(0, 1)
    falls = np.clip(-case.changes(hidden(case.image, boxes, "black")), 0, None)  # XAITK ignores rises
    return np.nan_to_num(sweep.sweep_map(boxes, falls, *GRID))


def hidden(image: np.ndarray, boxes: np.ndarray, fill: str) -> list[np.ndarray]:
    """Return one picture for each box, with that box hidden."""
    return [occlude.apply(image, [Occlusion("box", fill, tuple(map(float, box)))]) for box in boxes]


def resized(found: np.ndarray) -> np.ndarray:
    """Resize a map of any size to the cells of `GRID`, bilinearly."""
    return cv2.resize(np.ascontiguousarray(found, np.float32), GRID[::-1], interpolation=cv2.INTER_LINEAR)


def order_of(importance: np.ndarray, seed: int) -> np.ndarray:
    """Return the indices of a map's cells, `(512,)` int, the most important first; equal ones in random order."""
    noise = np.random.default_rng(seed).random(importance.size)
    return np.lexsort((noise, -importance.ravel()))


def pictures(image: np.ndarray, order: np.ndarray) -> list[np.ndarray]:
    """Return the pictures of a deletion curve, then those of an insertion curve: one of each for each of `STEPS`.

    Args:
        image: `(H, W, 3)` uint8, the probe.
        order: as `order_of` returns it.
    """
    blurred = occlude.fill(image, np.ones(image.shape[:2], bool), "blur")
    masks = []
    for share in STEPS:
        cells = np.zeros(GRID[0] * GRID[1], np.uint8)
        cells[order[: round(share * len(order))]] = 1
        size = (image.shape[1], image.shape[0])
        masks.append(cv2.resize(cells.reshape(GRID), size, interpolation=cv2.INTER_NEAREST).astype(bool))
    deleted = [occlude.fill(image, mask, "mean_grey") for mask in masks]
    return deleted + [np.where(mask[..., None], image, blurred) for mask in masks]


def areas(case: Case, maps: list[np.ndarray]) -> np.ndarray:
    """Return the areas under the curves of `M` maps, `(M, 2, 2)`: (deletion, insertion) x (similarity, 1 / rank)."""
    everything = np.ones(case.image.shape[:2], bool)
    ends = [case.image, *(occlude.fill(case.image, everything, fill) for fill in ("mean_grey", "blur"))]
    drawn = [picture for found in maps for picture in pictures(case.image, order_of(found, case.seed))]
    measured = case.outcomes(case.engine.describer.describe(ends + drawn))
    whole, grey, blurred = measured[:3]
    steps = measured[3:].reshape(len(maps), 2, len(STEPS), 2)
    shares = np.array([0, *STEPS, 1])
    found = np.empty((len(maps), 2, 2))
    for i, (deletion, insertion) in enumerate(steps):
        for j, curve in enumerate(([whole, *deletion, grey], [blurred, *insertion, whole])):
            values = np.stack(curve)
            found[i, j] = (np.diff(shares)[:, None] * (values[1:] + values[:-1]) / 2).sum(axis=0)
    return found


def cases(engine: Engine, count: int, seed: int) -> list[Case]:
    """Draw up to `count` whole probes of people who are in the gallery.

    Raises:
        DatasetError: the gallery has none.
    """
    known = [e for e in engine.probes if e.kind == "whole" and len(engine.right_matches(e.pid, (e.pid, e.camid)))]
    if not known:
        raise DatasetError("The gallery has no whole probe of a person who is in it; add some with `probes`.")
    rng, found = np.random.default_rng(seed), []
    for number in rng.permutation(len(known))[:count]:
        example = known[number]
        image = read_image(example.path)
        probe = engine.describe(image)
        own = (example.pid, example.camid)
        right = engine.right_matches(example.pid, own)
        left_out = engine.gallery.identities.taken_with(*own)
        scores = engine.gallery.scores(probe, engine.default_scoring)
        watched = int(right[scores[right].argmax()])
        found.append(Case(engine, image, probe, watched, right, left_out, int(number)))
    return found


def study(
    engine: Engine, count: int = 30, seed: int = 0, progress: Callable[[int, int], None] = lambda done, total: None
) -> Faithfulness:
    """Measure all maps on `count` whole probes of the gallery, drawn by `seed`.

    Args:
        engine: over a gallery with probes.
        count: most probes to draw.
        seed: of the draw; the same seed gives the same result.
        progress: called with (probes done, probes in all).

    Raises:
        DatasetError: the gallery has no whole probe of a person who is in it.
    """
    compared = methods(engine.describer.model.config.parts)
    drawn = cases(engine, count, seed)
    found = []
    for done, case in enumerate(drawn, 1):
        found.append(areas(case, [method.make(case) for method in compared]))
        progress(done, len(drawn))
    measured = np.stack(found)  # (probes, maps, deletion or insertion, similarity or 1 / rank)
    gain = measured[:, :, 1, 0] - measured[:, :, 0, 0]
    rows = [
        Row(
            method.name,
            method.calls,
            *(intervals.bootstrap(measured[:, i, j, k]) for k in (0, 1) for j in (0, 1)),
            intervals.bootstrap(gain[:, i] - gain[:, 0]),
        )
        for i, method in enumerate(compared)
    ]
    return Faithfulness(engine.gallery.fingerprint, len(drawn), seed, tuple(rows))
