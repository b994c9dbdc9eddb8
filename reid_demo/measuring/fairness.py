"""Error rates by who the rendered people are: build, age, skin, sex and dress. Sec. 4.5 of the paper asks for them.

Two errors matter. A person who is there and is not found first (R-1 is its complement), and a person who is not there
and of whom the search is confident all the same: a false alarm (FPIR), at the one threshold for everybody.
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

LEAST = 8  # people of a group in the gallery, below which nothing is said of it
SKIRTS = ("dress", "skirt", "short skirt", "long skirt")
GROUPS: dict[str, Callable[[dict[str, Any]], str]] = {  # what is asked -> the group of a person
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

    asked: str  # a key of `GROUPS`
    group: str
    num_people: int
    first: Interval  # R-1 over all probes of a person, people drawn
    false_alarms: Interval  # FPIR of whole probes at the threshold of all
    stands_out: str  # "R-1", "FPIR", both or "": the interval does not hold the figure of everybody


@dataclass(frozen=True)
class Fairness:
    """What was measured."""

    fingerprint: str  # of the weights
    threshold: float
    num_people: int
    num_searches: int
    first: float  # R-1 of everybody
    false_alarms: float  # FPIR of everybody
    rows: tuple[Row, ...]  # worst R-1 first

    def table(self) -> str:
        """Write the rows as a Markdown table."""
        rows = [
            (f"{r.asked}: {r.group}", r.num_people, r.first.percent, r.false_alarms.percent, r.stands_out or "-")
            for r in self.rows
        ]
        everybody = ("everybody", self.num_people, f"{self.first:.0%}", f"{self.false_alarms:.0%}", "-")
        return intervals.table(("who", "people", "R-1", "FPIR", "stands out"), [*rows, everybody])


@dataclass(frozen=True, eq=False)
class Searches:
    """What every shipped probe found."""

    pids: np.ndarray  # (Q,) of the probe's person, whether in the gallery or not
    whole: np.ndarray  # (Q,) bool
    present: np.ndarray  # (Q,) bool
    right: np.ndarray  # (Q,) bool, found first
    alarm: np.ndarray  # (Q,) bool, a stranger reaches the threshold where the person is left out


def search_all(engine: Engine, threshold: float) -> Searches:
    """Search with every shipped probe, whole, occluded, partial and absent."""
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
    """Measure the groups of the people of a gallery.

    Args:
        engine: over a gallery with probes, and calibrated on it.
        people: the file that says who they are; default: the gallery's own.

    Raises:
        DatasetError: the gallery is not calibrated, or ships no probes.
        SyntheticError: nobody says who the people are.
    """
    if engine.calibration is None or not engine.probes:
        raise DatasetError("Fairness needs a gallery with probes whose threshold is known; run `calibrate` first.")
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
    """Return by pid the share of probes that find the person first, and whether the whole probe raises an alarm."""
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
