"""Check that maps depend on the network, on the match, and on where things are in the picture.

After Adebayo et al., "Sanity Checks for Saliency Maps" (2018): as the network's layers are randomised one by one,
starting at the output, a map that explains the network must fall apart. A map that stays the same for another gallery
image does not explain the match; one that does not follow a mirrored or shifted picture does not explain places.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from reid_demo.engine import Engine
from reid_demo.errors import DatasetError
from reid_demo.images import read_image
from reid_demo.measuring import faithfulness, intervals
from reid_demo.measuring.faithfulness import GRID, Case
from reid_demo.measuring.intervals import Interval
from reid_demo.model.describer import Describer
from reid_demo.model.dpti import DPTI
from reid_demo.whatif import explain

LAYERS = ("part_attention", "final_encoder", "templates", "mid_encoder", "backbone")  # from output to input
SHIFT = 0.125  # of the picture's height
STRANGER, SAME = "match exchanged for another person's", "match exchanged for another of the same person"
MIRRORED = "probe mirrored, map mirrored back"
MOVED, LEFT = "probe moved down, map moved along", "probe moved down, map left where it was"
MAPS = ("map of what matters", "part heatmaps by contribution")


@dataclass(frozen=True)
class Row:
    """How one change affects the maps: their rank correlation with the original ones, -1 to 1."""

    change: str
    wanted: str  # "high" or "low"
    correlation: tuple[Interval, ...]  # one for each of `MAPS`


@dataclass(frozen=True)
class Sanity:
    """The result of `study`."""

    fingerprint: str  # of the weights
    num_probes: int
    seed: int
    maps: tuple[str, ...]
    rows: tuple[Row, ...]

    def table(self) -> str:
        """Format the rows as a Markdown table."""
        return intervals.table(
            ("change", "wanted", *self.maps), [(r.change, r.wanted, *r.correlation) for r in self.rows]
        )


@dataclass(frozen=True, eq=False)
class Pair:
    """A probe and its match as pictures, which any network can describe."""

    image: np.ndarray  # (H, W, 3) uint8
    match: np.ndarray  # (H, W, 3) uint8


def maps_of(engine: Engine, describer: Describer, pair: Pair) -> np.ndarray:
    """Return the maps that a network makes of a pair, `(2, 32, 16)` float32, in the order of `MAPS`."""
    probe, match = describer.describe([pair.image, pair.match])
    places = explain.hide_for(pair.image, probe, describer.describe)
    changes = explain.place_changes(probe, places, match, engine.default_scoring)
    why = explain.explain(probe, match, engine.term_names, engine.default_scoring)
    maps = (-explain.place_map(places, changes), explain.weighed_heatmap(why))
    return np.stack([faithfulness.resized(found) for found in maps])


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return Spearman's correlation of two maps of one shape, -1 to 1; 0 if one of them is flat."""
    ranks = []
    for found in (one.ravel(), other.ravel()):
        ordered = np.sort(found)
        ranks.append(np.searchsorted(ordered, found, "left") + np.searchsorted(ordered, found, "right"))
    return float(np.corrcoef(*ranks)[0, 1]) if min(rank.std() for rank in ranks) > 0 else 0.0


def randomised(describer: Describer, seed: int = 0) -> Iterator[tuple[str, Describer]]:
    """Yield (name of the layer, describer) as the layers are randomised one by one from output to input, and stay so.

    Each tensor of a layer is shuffled, so its values keep their distribution.
    """
    model: DPTI = copy.deepcopy(describer.model)
    draw = torch.Generator().manual_seed(seed)
    for name in LAYERS:
        layer: nn.Module | None = getattr(model, name, None)
        if layer is None:
            continue
        with torch.no_grad():
            for weights in layer.parameters():
                flat = weights.flatten().cpu()
                weights.copy_(flat[torch.randperm(len(flat), generator=draw)].view(weights.shape))
        yield name, Describer(model, describer.device, describer.batch_size, runtime="torch")


def moved_down(image: np.ndarray, rows: int) -> np.ndarray:
    """Move an `(H, W, ...)` picture down by `rows` pixels, repeating its first row."""
    return image[np.clip(np.arange(len(image)) - rows, 0, None)]


def other_matches(engine: Engine, case: Case) -> tuple[int, int | None]:
    """Return two gallery rows: the best image of another person, and another image of the same one, or `None`."""
    scores = engine.gallery.scores(case.probe, engine.default_scoring)
    pid = engine.gallery.pids[case.watched]
    stranger = int(np.where(engine.gallery.identities.show(pid), -np.inf, scores).argmax())
    same = [int(row) for row in case.right if row != case.watched]
    return stranger, same[0] if same else None


def changes_of(engine: Engine, case: Case, networks: Sequence[tuple[str, Describer]]) -> dict[str, np.ndarray]:
    """Return by the name of each change how the changed maps correlate with the original ones, `(2,)` as in `MAPS`.

    Args:
        engine: over the gallery of the case.
        case: the probe and its match.
        networks: as `randomised` yields them.
    """

    def picture(row: int) -> np.ndarray:
        return read_image(engine.gallery.image_path(row))

    def maps(image: np.ndarray, match: np.ndarray, describer: Describer = engine.describer) -> np.ndarray:
        return maps_of(engine, describer, Pair(image, match))

    def correlations(changed: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        return np.array([rank_correlation(one, other) for one, other in zip(changed, wanted, strict=True)])

    match = picture(case.watched)
    original = maps(case.image, match)
    found = {f"random from {name} on": correlations(maps(case.image, match, net), original) for name, net in networks}
    stranger, same = other_matches(engine, case)
    found[STRANGER] = correlations(maps(case.image, picture(stranger)), original)
    if same is not None:
        found[SAME] = correlations(maps(case.image, picture(same)), original)
    found[MIRRORED] = correlations(maps(case.image[:, ::-1], match)[:, :, ::-1], original)
    down = round(SHIFT * GRID[0])  # cells
    moved = maps(moved_down(case.image, round(SHIFT * len(case.image))), match)[:, down:]
    found[MOVED] = correlations(moved, original[:, : GRID[0] - down])
    found[LEFT] = correlations(moved, original[:, down:])
    return found


def study(
    engine: Engine, count: int = 12, seed: int = 0, progress: Callable[[int, int], None] = lambda done, total: None
) -> Sanity:
    """Change networks, matches and pictures for `count` whole probes of the gallery, drawn by `seed`.

    Args:
        engine: over a gallery with probes.
        count: most probes to draw.
        seed: of the draw and of the random networks; the same seed gives the same result.
        progress: called with (probes done, probes in all).

    Raises:
        DatasetError: the network has no parts, or the gallery has no whole probe of a person who is in it.
    """
    if not engine.part_names:
        raise DatasetError("`sanity` checks the heatmaps of parts; these weights have none (variant G). Name others.")
    networks = list(randomised(engine.describer, seed))
    drawn, found = faithfulness.cases(engine, count, seed), {}
    for done, case in enumerate(drawn, 1):
        for name, values in changes_of(engine, case, networks).items():
            found.setdefault(name, []).append(values)
        progress(done, len(drawn))
    rows = [
        Row(
            name,
            "low" if name.startswith("random") or name in (STRANGER, LEFT) else "high",
            tuple(intervals.bootstrap(np.array(values)[:, i]) for i in range(len(MAPS))),
        )
        for name, values in found.items()
    ]
    return Sanity(engine.gallery.fingerprint, len(drawn), seed, MAPS, tuple(rows))
