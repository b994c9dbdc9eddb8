"""Measure error rates by who the rendered people are: build, age, skin, sex and dress, as Sec. 4.5 of the paper asks.

There are two errors: a person in the gallery who is not found first (R-1 is the complement), and a confident match for
a person who is not in the gallery, a false alarm (FPIR). One threshold holds for everybody.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reid_demo.data.people_file import PEOPLE, read_people
from reid_demo.engine import Engine
from reid_demo.errors import DatasetError
from reid_demo.images import read_image
from reid_demo.measuring import intervals
from reid_demo.measuring.calibrate import first_matches
from reid_demo.measuring.intervals import Interval
from reid_demo.records import Identities

LEAST = 8  # people in the gallery; smaller groups are left out
SKIRTS = ("dress", "skirt", "short skirt", "long skirt")
GROUPS: dict[str, Callable[[dict[str, Any]], str]] = {  # attribute: a person's group, from a row of the people file
    "build": lambda row: row["weight"],
    "height": lambda row: row["height"],
    "age": lambda row: row["age"],
    "skin": lambda row: row["skin"],
    "sex": lambda row: row["sex"],
    "coat": lambda row: "with a coat or jacket" if row["coat"] != "none" else "without",
    "lower body": lambda row: "skirt or dress" if row["bottom"] in SKIRTS else "trousers",
    "bag": lambda row: "with a bag" if row["bag"] != "none" else "without",
}


@dataclass(frozen=True)
class Row:
    """One group of people."""

    asked: str  # attribute, a key of `GROUPS`
    group: str
    num_people: int
    first: Interval  # mean over people of the share of their probes; people are resampled
    false_alarms: Interval  # FPIR of whole probes at the threshold for everybody
    stands_out: str  # "R-1", "FPIR", "R-1 and FPIR" or "": whose interval excludes the figure of everybody


@dataclass(frozen=True)
class Fairness:
    """The result of `study`."""

    fingerprint: str  # of the weights
    threshold: float  # similarity from which a first match is confident
    num_people: int
    num_searches: int
    first: float  # R-1 of everybody
    false_alarms: float  # FPIR of everybody
    rows: tuple[Row, ...]  # worst R-1 first

    def table(self) -> str:
        """Format the rows as a Markdown table."""
        rows = [
            (f"{r.asked}: {r.group}", r.num_people, r.first.percent, r.false_alarms.percent, r.stands_out or "-")
            for r in self.rows
        ]
        everybody = ("everybody", self.num_people, f"{self.first:.0%}", f"{self.false_alarms:.0%}", "-")
        return intervals.table(("who", "people", "R-1", "FPIR", "stands out"), [*rows, everybody])


@dataclass(frozen=True, eq=False)
class Searches:
    """The outcome of each of `Q` searches."""

    pids: np.ndarray  # (Q,) int, of the probe's person, whether in the gallery or not
    whole: np.ndarray  # (Q,) bool, nothing of the probe is hidden
    present: np.ndarray  # (Q,) bool, the person is in the gallery
    right: np.ndarray  # (Q,) bool, the person is found first
    alarm: np.ndarray  # (Q,) bool, the best stranger reaches the threshold


def search_all(engine: Engine, threshold: float) -> Searches:
    """Search with every shipped probe: whole, occluded, partial and absent."""
    probes = [probe for probe in engine.probes if probe.pid is not None]
    described = engine.describer.describe_stream(read_image(probe.path) for probe in probes)
    scores = np.stack([engine.gallery.scores(probe, engine.default_scoring) for probe in described])
    queries = Identities.of((p.pid for p in probes), (p.camid for p in probes))
    found = first_matches(scores, queries, engine.gallery.identities)
    return Searches(
        pids=queries.pids,
        whole=np.array([probe.kind in ("whole", "absent") for probe in probes]),
        present=found.present,
        right=found.right,
        alarm=found.strangers >= threshold,
    )


def study(engine: Engine, people: Path | None = None) -> Fairness:
    """Measure each group of a gallery's people.

    Args:
        engine: over a gallery with probes that `calibrate` measured.
        people: the people file; default: the gallery's own.

    Raises:
        DatasetError: the gallery is not calibrated, or has no probes.
        SyntheticError: there is no people file.
    """
    unmeasured = engine.why_not_confident(engine.default_scoring)
    if unmeasured or not engine.probes:
        words = "`fairness` needs a gallery with probes and a threshold measured on it; run `calibrate` first."
        raise DatasetError(f"{words} {unmeasured}".rstrip())
    rows = read_people(people or engine.gallery.folder / PEOPLE)
    threshold = engine.calibration.whole.confident.threshold
    found = search_all(engine, threshold)
    known = np.isin(found.pids, list(rows))
    first, alarms = _by_person(found, known)
    groups = []
    for asked, group_of in GROUPS.items():
        members: dict[str, list[int]] = {}
        for pid in np.unique(found.pids[known]):
            members.setdefault(group_of(rows[int(pid)]), []).append(int(pid))
        groups += [
            _row(asked, name, pids, first, alarms)
            for name, pids in members.items()
            if len(first.keys() & pids) >= LEAST
        ]
    groups.sort(key=lambda row: (row.first.value, -row.false_alarms.value))
    return Fairness(
        fingerprint=engine.gallery.fingerprint,
        threshold=threshold,
        num_people=len(np.unique(found.pids[known])),
        num_searches=int(known.sum()),
        first=round(float(np.mean(list(first.values()))), 4),
        false_alarms=round(float(np.mean(list(alarms.values()))), 4),
        rows=tuple(groups),
    )


def _by_person(found: Searches, known: np.ndarray) -> tuple[dict[int, float], dict[int, float]]:
    """Return two shares by pid: of probes that find the person first, and of whole probes that raise an alarm."""
    first, alarms = {}, {}
    for pid in np.unique(found.pids[known]):
        own = found.pids == pid
        if (own & found.present).any():
            first[int(pid)] = float(found.right[own & found.present].mean())
        if (own & found.whole).any():
            alarms[int(pid)] = float(found.alarm[own & found.whole].mean())
    return first, alarms


def _row(asked: str, name: str, pids: list[int], first: dict[int, float], alarms: dict[int, float]) -> Row:
    found = [first[pid] for pid in pids if pid in first]
    raised = [alarms[pid] for pid in pids if pid in alarms]
    rate, alarm = intervals.bootstrap(found), intervals.wilson(round(sum(raised)), len(raised))
    everybody = {"R-1": (rate, np.mean(list(first.values()))), "FPIR": (alarm, np.mean(list(alarms.values())))}
    apart = [what for what, (span, usual) in everybody.items() if not span.low <= usual <= span.high]
    return Row(asked, name, len(pids), rate, alarm, " and ".join(apart))
