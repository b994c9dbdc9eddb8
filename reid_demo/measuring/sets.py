"""Measure sets of what-ifs over many labelled probes. Knows no page."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from reid_demo import images, occlude
from reid_demo.data.layouts import market_ids
from reid_demo.drawing import charts
from reid_demo.engine import Engine, Example
from reid_demo.errors import ImageError, OcclusionError
from reid_demo.measuring import intervals, metrics
from reid_demo.measuring.intervals import Interval
from reid_demo.records import Descriptor, Identities, Occlusion, Scoring
from reid_demo.search.gallery import Ranking

UNTOUCHED, BLOCK = "untouched", "random block"  # names of the what-ifs on the curve
MOST_PROBES = 100  # gallery images to use as probes if no probes ship
CURVE_COVERAGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)  # of random blocks


@dataclass(frozen=True, eq=False)
class LabelledProbe:
    """A probe with a known identity."""

    image: np.ndarray  # (H, W, 3) uint8
    pid: int
    camid: int | None


@dataclass(frozen=True)
class Trial:
    """One what-if of a set: its name and its changes."""

    name: str
    recipe: tuple[Occlusion, ...] = ()


@dataclass(frozen=True)
class Spread:
    """95 % intervals over the people of a set."""

    rank1: Interval
    mAP: Interval
    mean_rank: Interval


@dataclass(frozen=True)
class TrialResult:
    """One what-if, measured over all probes of a set."""

    name: str
    coverage: float  # mean hidden fraction of the probe's area, 0 to 1
    rank1: float  # fraction, 0 to 1
    mAP: float  # fraction, 0 to 1
    mean_rank: float  # of the first right image, over the probes
    similarity: float  # of the best right image, averaged over the probes
    num_probes: int
    spread: Spread


@dataclass(frozen=True)
class SetProgress:
    """The results of a set so far."""

    done: int
    total: int
    results: tuple[TrialResult, ...]


def curve_trials(fill: str = "mean_grey", seed: int = 1) -> list[Trial]:
    """Return the what-ifs of the curve: the untouched probe and random blocks of growing size."""
    blocks = [Occlusion("random_block", fill, coverage=share, seed=seed) for share in CURVE_COVERAGES]
    return [Trial(UNTOUCHED), *(Trial(f"{BLOCK} {b.coverage:.0%}", (b,)) for b in blocks)]


def named_trials(kinds: Sequence[str], fill: str = "mean_grey", seed: int = 1) -> list[Trial]:
    """Return one what-if for each kind of occlusion."""
    return [Trial(kind.replace("_", " "), (Occlusion(kind, fill, seed=seed),)) for kind in kinds]


def own_probes(engine: Engine, count: int | None = None) -> list[LabelledProbe]:
    """Return at most `count` whole probes of people in the gallery.

    These are the probes that ship with the gallery. If there are none, return an image of each person seen by a second
    camera, at most `MOST_PROBES`; the second camera is needed because `run_set` leaves out the probe's own.
    """
    return [LabelledProbe(images.read_image(path), pid, camid) for path, pid, camid in _known(engine)[:count]]


def count_own(engine: Engine) -> int:
    """Count the probes of `own_probes` without reading their images."""
    return len(_known(engine))


def _known(engine: Engine) -> list[tuple[Path, int, int | None]]:
    """Return the path, pid and camid of each probe of `own_probes`."""
    ship = [(e.path, e.pid, e.camid) for e in engine.probes if e.kind == "whole" and len(engine.right_matches(e.pid))]
    if ship:
        return ship
    first: dict[int, int] = {}  # pid -> its first row
    found: dict[int, int] = {}  # the same, only for people seen by a second camera
    for row in np.flatnonzero((engine.pids > 0) & (engine.camids >= 0)):
        pid = int(engine.pids[row])
        if engine.camids[first.setdefault(pid, int(row))] != engine.camids[row]:
            found.setdefault(pid, first[pid])
            if len(found) == MOST_PROBES:
                break
    return [(engine.gallery.image_path(row), pid, int(engine.camids[row])) for pid, row in found.items()]


def read_probes(paths: Sequence[Path], shipped: Sequence[Example] = ()) -> list[LabelledProbe]:
    """Read labelled probes from images, and folders of images, named as in Market-1501: `PID_cCAMID...`.

    Args:
        paths: the images and folders.
        shipped: probes whose identity is known, whatever their names.

    Raises:
        ImageError: an image cannot be read.
        OcclusionError: a name states no person.
    """
    known = {example.path.resolve(): (example.pid, example.camid) for example in shipped}
    probes = []
    for path in [f for given in paths for f in (sorted(given.iterdir()) if given.is_dir() else [given])]:
        if path in paths and not path.exists():
            raise ImageError(f"There is no picture or folder {str(path)!r}.")
        if path.is_dir() or path.name.startswith(".") or not images.looks_like_image(path):
            continue
        pid, camid = known.get(path.resolve()) or market_ids(path.name)
        if pid is None or pid < 0:
            raise OcclusionError(f"The name {path.name!r} states no person; use names like 0007_c3s1_000001_00.jpg.")
        probes.append(LabelledProbe(images.read_named(path), pid, camid))
    return probes


def run_set(
    engine: Engine, probes: Sequence[LabelledProbe], trials: Sequence[Trial], scoring: Scoring | None = None
) -> Iterator[SetProgress]:
    """Measure every what-if over every probe; yield after each what-if.

    As in the benchmarks, images of the probe's person under its own camera are left out.

    Raises:
        OcclusionError: no what-if, or no probe whose person is in the gallery.
    """
    scoring = scoring or engine.default_scoring
    probes = [p for p in probes if len(engine.right_matches(p.pid, _pair(p)))]
    if not probes or not trials:
        raise OcclusionError("A set needs at least one what-if and one probe whose person is in the gallery.")
    results: list[TrialResult] = []
    yield SetProgress(0, len(trials), ())
    for trial in trials:
        changed = [engine.occlude(p.image, trial.recipe) for p in probes]
        covered = [coverage(engine, p.image, trial.recipe) for p in probes]
        results.append(_measure(engine, trial.name, probes, engine.describer.describe(changed), covered, scoring))
        yield SetProgress(len(results), len(trials), tuple(results))


def _pair(probe: LabelledProbe) -> tuple[int, int] | None:
    return None if probe.camid is None else (probe.pid, probe.camid)


def _measure(
    engine: Engine,
    name: str,
    probes: Sequence[LabelledProbe],
    described: Sequence[Descriptor],
    covered: Sequence[float],
    scoring: Scoring,
) -> TrialResult:
    gallery = engine.gallery.identities
    similarity = np.stack([engine.gallery.scores(d, scoring) for d in described])
    people = Identities.of((p.pid for p in probes), (p.camid for p in probes))
    measured = metrics.rank_metrics(similarity, people, gallery)
    first, best, precision = [], [], []
    for i, (probe, row) in enumerate(zip(probes, similarity, strict=True)):
        exclude = gallery.taken_with(probe.pid, probe.camid) | (gallery.pids == metrics.JUNK)
        right = gallery.show(probe.pid) & ~exclude
        first.append(int(Ranking.of(row, exclude).ranks[right].min()))
        best.append(float(row[right].max()))
        one = Identities(people.pids[i : i + 1], people.camids[i : i + 1])
        precision.append(metrics.rank_metrics(row[None], one, gallery)["mAP"])
    return TrialResult(
        name,
        float(np.mean(covered)),
        float(measured["cmc"][0]),
        measured["mAP"],
        float(np.mean(first)),
        float(np.mean(best)),
        len(probes),
        _spread(people.pids, np.array(first), np.array(precision)),
    )


def _spread(pids: np.ndarray, first: np.ndarray, precision: np.ndarray) -> Spread:
    """Return the intervals over people: probes of one person are averaged, as they are not independent.

    Args:
        pids: `(Q,)`, of the probes.
        first: `(Q,)`, rank of the first right image.
        precision: `(Q,)`, average precision.
    """
    rows = [np.flatnonzero(pids == pid) for pid in np.unique(pids)]
    hits, ranks, precisions = (
        np.array([values[own].mean() for own in rows]) for values in ((first == 1).astype(float), first, precision)
    )
    alone = len(rows) == len(pids)
    rank1 = intervals.wilson(int(hits.sum()), len(hits)) if alone else intervals.bootstrap(hits)
    return Spread(rank1, intervals.bootstrap(precisions), intervals.bootstrap(ranks))


def coverage(engine: Engine, image: np.ndarray, recipe: Sequence[Occlusion]) -> float:
    """Return the fraction of a probe's area, 0 to 1, that a recipe hides, covers or crops away."""
    area = image.shape[0] * image.shape[1]
    hidden = np.zeros(image.shape[:2], bool)
    for occlusion in recipe:
        changed = engine.occlude(image, [occlusion])
        if occlusion.kind == "crop":
            flags = np.repeat(hidden[:, :, None], 3, axis=2).astype(np.uint8)
            hidden = engine.occlude(flags, [occlusion])[:, :, 0].astype(bool)
        else:
            hidden = hidden | occlude.hidden_by(occlusion, image, changed)
        image = changed
    return 1 - float((~hidden).sum()) / area


def table(results: Sequence[TrialResult]) -> str:
    """Return the results of a set as a plain-text table."""
    rows = [f"{'what-if':28} {'hidden':>7} {'R-1':>6} {'mAP':>6} {'rank':>7} {'similarity':>10}"]
    rows += [
        f"{r.name:28} {r.coverage:7.1%} {r.rank1:6.1%} {r.mAP:6.1%} {r.mean_rank:7.1f} {r.similarity:10.4f}"
        for r in results
    ]
    return "\n".join(rows)


def curve(results: Sequence[TrialResult]) -> str:
    """Return an SVG chart of R-1 and mAP against the hidden share: random blocks as lines, others as hollow points."""
    on_line = [r for r in results if r.name == UNTOUCHED or r.name.startswith(BLOCK)]
    ordered = sorted(on_line, key=lambda r: r.coverage)
    marks = [charts.Lone(r.name, r.coverage, (r.rank1, r.mAP)) for r in results if r not in on_line]
    series = [
        charts.Curve("R-1", [(r.coverage, r.rank1) for r in ordered]),
        charts.Curve("mAP", [(r.coverage, r.mAP) for r in ordered]),
    ]
    title = f"R-1 and mAP against the hidden share, {results[0].num_probes} probes"
    return charts.curves(series, title, "hidden share of the probe", [r.name for r in ordered], marks)


def to_json(results: Sequence[TrialResult], engine: Engine) -> str:
    """Return the results of a set as JSON text that also names the weights and the gallery."""
    values = {
        "weights": engine.weights_name,
        "fingerprint": engine.gallery.fingerprint,
        "gallery": engine.gallery.name,
        "results": [asdict(r) for r in results],
    }
    return json.dumps(values, indent=2) + "\n"


def write(folder: Path, results: Sequence[TrialResult], engine: Engine) -> list[Path]:
    """Write `what-if.json` and `what-if.svg`; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "what-if.json", folder / "what-if.svg"]
    paths[0].write_text(to_json(results, engine), encoding="utf-8")
    paths[1].write_text(curve(results) + "\n", encoding="utf-8")
    return paths
