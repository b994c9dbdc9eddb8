"""Measure the error rates of open-set search per threshold: how far to trust a similarity. Not in the paper.

Every query of a known person is searched twice: with its person in the gallery, and with that person's images left
out, as if the person were absent. Rates are per search at this gallery's size. They do not hold for a much larger
gallery, which has more look-alikes.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from reid_demo import occlude
from reid_demo.data.files import write_whole
from reid_demo.data.probes import ShippedProbe, read_probes
from reid_demo.errors import DatasetError
from reid_demo.images import read_image
from reid_demo.measuring import intervals
from reid_demo.measuring.metrics import JUNK
from reid_demo.model.describer import Describer
from reid_demo.records import Identities, Occlusion, same_camera, same_person
from reid_demo.search import gallery as galleries
from reid_demo.search.gallery import Gallery
from reid_demo.whatif.confidence import CONFIDENT_FPIR, FILE, Alarm, Calibration, Level, Mark, Rates

FPIR_LEVELS = (0.01, 0.05, 0.1, 0.2, 0.5)
LEAST_PEOPLE = 20  # under two cameras, to derive a threshold from a gallery's own images
SHOWN = 4  # false alarms to record on each side of the threshold
BOOTSTRAPS = 500


def calibrate(describer: Describer, gallery_folder: Path, fingerprint: str) -> Calibration:
    """Measure open-set error rates of a gallery's whole probes, untouched and with each half hidden.

    Uses the gallery's own similarity.

    Args:
        describer: the network that described the gallery.
        gallery_folder: a gallery with `probes/`; its `absent` probes count as absent people.
        fingerprint: of the network's weights.

    Raises:
        DatasetError: the gallery ships no whole probe of a known person, or shows nobody else.
        GalleryError: other weights described the gallery.
    """
    gallery = galleries.load(gallery_folder, fingerprint)
    listed = read_probes(gallery_folder)
    known = [row for row in listed if row.kind == "whole" and row.pid is not None]
    if not known:
        raise DatasetError("The gallery has no whole probe of a known person; add some with `probes`.")
    absent = [replace(row, pid=None) for row in listed if row.kind == "absent"]
    whole = _rates(describer, gallery, known + absent, [None])
    occluded = _rates(describer, gallery, known + absent, [Occlusion(kind) for kind in occlude.HALVES])
    return _calibration(gallery, fingerprint, whole, occluded)


def calibrate_stored(gallery: Gallery, fingerprint: str, *, most: int = 1000, least: int = LEAST_PEOPLE) -> Calibration:
    """Measure open-set error rates from a gallery's stored descriptors, for galleries without probes.

    At most `most` evenly spaced images of people seen by two cameras are searched among the other images. Stored
    descriptors are means over the gallery's views, so an outside probe, described once, has slightly lower similarities
    and the threshold is strict for it.

    Args:
        gallery: with known people and cameras.
        fingerprint: of the weights.
        most: largest number of searches.
        least: smallest number of people seen by two cameras for a meaningful threshold.

    Raises:
        DatasetError: there are fewer than `least` such people.
    """
    ids, people = gallery.identities, people_of_two_cameras(gallery)
    if len(people) < least:
        raise DatasetError(
            f"Only {len(people)} people of this gallery were seen by two cameras; a threshold needs {least}."
        )
    rows = np.flatnonzero(np.isin(ids.pids, list(people)))
    rows = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]
    similarity = np.stack([gallery.scores(gallery.descriptor(int(row)), gallery.scoring) for row in rows])
    similarity[np.arange(len(rows)), rows] = -1  # the image itself
    queries = Identities(ids.pids[rows], ids.camids[rows])
    searched = [Search(str(ids.pids[row]), gallery.records[row].path) for row in rows]
    return _calibration(gallery, fingerprint, _with_mark(similarity, queries, gallery, searched), None)


def _calibration(gallery: Gallery, fingerprint: str, whole: Rates, occluded: Rates | None) -> Calibration:
    return Calibration(
        gallery=gallery.name,
        num_images=len(gallery),
        scoring=gallery.scoring.weighing,
        views=gallery.views,
        whole=whole,
        occluded=occluded,
        fingerprint=fingerprint,
    )


def people_of_two_cameras(gallery: Gallery) -> set[int]:
    """Return the pids whom a gallery shows under two cameras or more, of which `calibrate_stored` needs some."""
    ids = gallery.identities
    seen = {int(pid): len(np.unique(ids.camids[ids.pids == pid])) for pid in np.unique(ids.pids) if pid > 0}
    return {pid for pid, cameras in seen.items() if cameras > 1}


def write(found: Calibration, folder: Path) -> str:
    """Write a calibration into the folder of the weights or of the gallery it holds for; return its JSON text."""
    text = json.dumps(asdict(found), indent=2)
    write_whole(Path(folder, FILE), text + "\n")
    return text


@dataclass(frozen=True)
class Search:
    """Who was searched for, and with what."""

    person: str  # the same in all searches for a person
    probe: str  # file of the probe
    hidden: str = ""  # name of the occlusion, "" for none


def _with_mark(similarity: np.ndarray, queries: Identities, gallery: Gallery, searched: list[Search]) -> Rates:
    """Return the rates of many searches, with the intervals and false alarms behind the confident level."""
    outcome = first_matches(similarity, queries, gallery.identities)
    if not np.isfinite(outcome.strangers).all():
        raise DatasetError("The gallery shows nobody but a probe's own person; a threshold needs other people in it.")
    rates = open_set_rates(similarity, queries, gallery.identities)
    people = np.array([one.person for one in searched])
    threshold = rates.confident.threshold
    order = np.argsort(outcome.strangers)
    above = [i for i in order if outcome.strangers[i] >= threshold][:SHOWN]
    below = [i for i in order[::-1] if outcome.strangers[i] < threshold][:SHOWN]

    def alarm(i: int) -> Alarm:
        match = gallery.records[int(outcome.first[i])].path
        return Alarm(searched[i].probe, searched[i].hidden, match, round(float(outcome.strangers[i]), 4))

    alarms = [tuple(map(alarm, chosen)) for chosen in (above, below)]
    return replace(rates, mark=Mark(*mark_intervals(outcome, threshold, people), *alarms))


def mark_intervals(
    outcome: "FirstMatches", threshold: float, people: np.ndarray
) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float] | None]:
    """Return 95 % intervals of the confident threshold, and of FPIR and FNIR at the given threshold.

    Args:
        outcome: of all searches.
        threshold: of the confident level.
        people: `(Q,)`, identifies each search's person; the bootstrap draws all searches of a person together.

    Returns:
        Low and high ends of each; `None` for FNIR if no person is present.
    """
    rng = np.random.default_rng(0)
    groups = [np.flatnonzero(people == name) for name in np.unique(people)]
    found = []
    for _ in range(BOOTSTRAPS):
        rows = np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))])
        strangers, present = outcome.strangers[rows], outcome.present[rows]
        missed = ~(outcome.right[rows] & (outcome.best[rows] >= threshold))[present]
        again = threshold_at(CONFIDENT_FPIR, strangers)
        found.append((again, (strangers >= threshold).mean(), missed.mean() if len(missed) else np.nan))
    low, high = (
        np.nanpercentile(found, (2.5, 97.5), axis=0)
        if outcome.present.any()
        else np.percentile(np.array(found)[:, :2], (2.5, 97.5), axis=0)
    )
    spans = [(round(float(a), 4), round(float(b), 4)) for a, b in zip(low, high, strict=True)]
    return spans[0], spans[1], spans[2] if len(spans) > 2 else None


def _person(row: ShippedProbe) -> str:
    """Return a name for the person, so that all searches for one are drawn together; absent people have one probe."""
    return row.path if row.pid is None else f"whole_{row.pid}"  # in the order of the paths, by which is drawn


def _rates(
    describer: Describer, gallery: Gallery, rows: list[ShippedProbe], occlusions: list[Occlusion | None]
) -> Rates:
    """Search every probe of a listing once under each occlusion; a row without a pid is an absent person."""
    similarity = []
    for occlusion in occlusions:
        pictures = (read_image(gallery.folder / "probes" / row.path) for row in rows)
        if occlusion is not None:
            pictures = (occlude.apply(picture, [occlusion]) for picture in pictures)
        described = list(describer.describe_stream(pictures))
        similarity += [gallery.scores(probe, gallery.scoring) for probe in described]
    searched = rows * len(occlusions)
    queries = Identities.of((row.pid for row in searched), (row.camid for row in searched))
    names = [
        Search(_person(row), row.path, occlusion.kind if occlusion else "") for occlusion in occlusions for row in rows
    ]
    return _with_mark(np.stack(similarity), queries, gallery, names)


@dataclass(frozen=True, eq=False)
class FirstMatches:
    """The first matches of `Q` searches."""

    strangers: np.ndarray  # (Q,) similarity of the first match if the person were absent
    first: np.ndarray  # (Q,) gallery row of that match
    present: np.ndarray  # (Q,) bool, whether the person is in the gallery under another camera
    best: np.ndarray  # (Q,) similarity of the person's best image; -inf if there is none
    right: np.ndarray  # (Q,) bool, whether that image comes before all strangers


def first_matches(similarity: np.ndarray, queries: Identities, gallery: Identities) -> FirstMatches:
    """Return the first matches with and without the person; arguments as for `open_set_rates`."""
    own = same_person(queries.pids[:, None], gallery.pids[None])
    right = own & ~same_camera(queries.camids[:, None], gallery.camids[None])
    others = np.where(own | (gallery.pids == JUNK), -np.inf, similarity)  # junk may show the person
    best = np.where(right, similarity, -np.inf).max(axis=1)
    strangers = others.max(axis=1)
    return FirstMatches(strangers, others.argmax(axis=1), right.any(axis=1), best, best > strangers)


def threshold_at(aim: float, strangers: np.ndarray) -> float:
    """Return the lowest threshold that at most a fraction `aim` of the absent people's first matches reach."""
    allowed = int(np.floor(aim * len(strangers)))
    return float(np.nextafter(np.sort(strangers)[::-1][allowed], np.inf)) if allowed < len(strangers) else -1.0


def open_set_rates(similarity: np.ndarray, queries: Identities, gallery: Identities) -> Rates:
    """Return the miss rates (FNIR) at chosen false-alarm rates (FPIR).

    FPIR is the fraction of searches for an absent person whose first match reaches the threshold. FNIR is the fraction
    of searches for a present person whose first match is not that person or does not reach it.

    Args:
        similarity: `(Q, G)`, higher is closer.
        queries: Q probes; one with an unknown pid is of a person who is not in the gallery.
        gallery: G images; a person's images under the query's own camera are left out if both cameras are known.

    Returns:
        One level for each of `FPIR_LEVELS`.
    """
    found = first_matches(similarity, queries, gallery)
    best, first_is_right = found.best[found.present], found.right[found.present]
    levels = []
    for aim in FPIR_LEVELS:
        threshold = threshold_at(aim, found.strangers)
        fpir = round(float((found.strangers >= threshold).mean()), 4)
        fnir = round(float(1 - (first_is_right & (best >= threshold)).mean()), 4) if len(best) else None
        levels.append(Level(aim, threshold, fpir, fnir))
    return Rates(num_present=len(best), num_absent=len(found.strangers), levels=tuple(levels))


def mark_table(found: Calibration) -> str:
    """Return the confident level, with intervals, as a Markdown table."""
    rows = []
    for name, rates in (("whole", found.whole), ("half hidden", found.occluded)):
        if rates is not None and rates.mark is not None:
            level, mark = rates.confident, rates.mark
            missed = "-" if level.fnir is None or mark.fnir is None else _cell(level.fnir, mark.fnir, "{:.0%}")
            threshold = _cell(level.threshold, mark.threshold, "{:.3f}")
            false = _cell(level.fpir, mark.fpir, "{:.0%}")
            rows.append((name, rates.num_absent, threshold, false, rates.num_present, missed))
    head = ("probes", "searches for the absent", "threshold", "pass (FPIR)", "for the present", "fail (FNIR)")
    return intervals.table(head, rows)


def alarm_table(found: Calibration) -> str:
    """Return the false alarms next to the threshold of whole probes as a Markdown table."""
    mark = found.whole.mark
    alarms = [] if mark is None else [*reversed(mark.above), *mark.below]
    rows = [(f"`{Path(a.probe).name}`", f"`{Path(a.match).name}`", f"{a.similarity:.3f}") for a in alarms]
    return intervals.table(("absent probe", "finds first", "similarity"), rows)


def _cell(value: float, span: tuple[float, float], form: str) -> str:
    return f"{form.format(value)} ({form.format(span[0])} to {form.format(span[1])})"
