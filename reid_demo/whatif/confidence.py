"""What the weights' makers measured of them: whether a first match is confident, and what each part looks at.

Reads `calibration.json` and `parts.json` of a weights folder; `measuring` writes them. Knows no network.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, FiniteFloat

from reid_demo.data.files import read_json
from reid_demo.errors import ConfigError, WeightsError
from reid_demo.records import Scoring, Weighing, weighing_named
from reid_demo.search.gallery_views import ONE_VIEW

CONFIDENT_FPIR = 0.1  # a match is called confident at the threshold that this share of absent people may pass
FILE = "calibration.json"
MEANINGS_FILE = "parts.json"


@dataclass(frozen=True)
class Level:
    """What a threshold costs. Rates are shares of searches, 0 to 1."""

    fpir_aim: float  # the false alarms that the threshold was chosen for
    threshold: FiniteFloat  # the least similarity of a confident match
    fpir: float  # share of searches for an absent person whose first match reaches the threshold
    fnir: float | None  # share of searches for a present person that do not, or find another first; None: no search


@dataclass(frozen=True)
class Alarm:
    """A first match of somebody who is absent: such images set the mark of "no confident match"."""

    probe: str  # file of the probe
    hidden: str  # what was hidden of it: an occlusion's name, "" for nothing
    match: str  # gallery path of the stranger who came first
    similarity: FiniteFloat


@dataclass(frozen=True)
class Mark:
    """How sure the confident level is, and what it hangs on. Intervals hold 95 % of bootstraps over people."""

    threshold: tuple[FiniteFloat, FiniteFloat]
    fpir: tuple[FiniteFloat, FiniteFloat]  # of the threshold as it stands
    fnir: tuple[FiniteFloat, FiniteFloat] | None
    above: tuple[Alarm, ...]  # the false alarms nearest above the threshold, the nearest first
    below: tuple[Alarm, ...]  # those nearest below, which just fail


def _has_confident(levels: tuple[Level, ...]) -> tuple[Level, ...]:
    if all(level.fpir_aim != CONFIDENT_FPIR for level in levels):
        raise ValueError(f"no level has the fpir_aim {CONFIDENT_FPIR}")
    return levels


def _weighing(name: object) -> object:
    try:
        return weighing_named(name)
    except ConfigError as error:
        raise ValueError(str(error)) from error


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Open-set error rates of one kind of probe."""

    num_present: int | None = None  # searches for a person who is in the gallery; None: an earlier release's file
    num_absent: int | None = None
    levels: Annotated[tuple[Level, ...], AfterValidator(_has_confident)]  # ascending in `fpir_aim`
    mark: Mark | None = None  # of the confident level; None: an earlier release's file

    @property
    def confident(self) -> Level:
        """The level from which a match is called confident."""
        return next(level for level in self.levels if level.fpir_aim == CONFIDENT_FPIR)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What `calibrate` measured of weights on one gallery: `calibration.json`."""

    gallery: str  # its name
    num_images: int
    scoring: Annotated[Weighing, BeforeValidator(_weighing)]
    views: tuple[str, ...] = ONE_VIEW  # in which the gallery's images were described; earlier releases had one
    whole: Rates
    occluded: Rates | None  # None: measured on stored descriptors, of which nothing can be hidden
    fingerprint: str  # of the weights


@dataclass(frozen=True)
class Searched:
    """The gallery in which a first match was found, and how."""

    gallery: str  # its name
    num_images: int
    scoring: Scoring
    views: tuple[str, ...] = ONE_VIEW  # in which its images were described


@dataclass(frozen=True)
class Verdict:
    """Whether a first match is confident, and how often that answer is wrong at this gallery's size."""

    confident: bool
    similarity: float
    threshold: float
    fpir: float  # share of searches for an absent person that reach the threshold
    fnir: float | None  # share of searches for a present person that do not, or find another first
    occluded: bool  # the rates are those of half hidden probes
    num_images: int  # of the gallery that was measured


def read(path: Path, fingerprint: str) -> Calibration | None:
    """Read what `calibrate` wrote of these weights; `None` where there is nothing or it is of other weights.

    Raises:
        WeightsError: the file cannot be understood; the message names the field.
    """
    if not path.is_file():
        return None
    found = read_json(Calibration, path, WeightsError, "Write it anew with `python -m reid_demo calibrate`.")
    return found if found.fingerprint == fingerprint else None


def judge(calibration: Calibration | None, searched: Searched, similarity: float, *, occluded: bool) -> Verdict | None:
    """Judge a first match; `None` where this gallery, its size, its views or this similarity was not calibrated.

    Args:
        calibration: of the weights.
        searched: where and how the match was found.
        similarity: of the match.
        occluded: whether part of the probe is hidden.
    """
    if calibration is None or not searched.scoring.counts_all:
        return None
    measured = calibration.gallery, calibration.num_images, calibration.scoring, calibration.views
    if measured != (searched.gallery, searched.num_images, searched.scoring.weighing, searched.views):
        return None
    rates = calibration.occluded if occluded else calibration.whole
    if rates is None:
        return None
    level = rates.confident
    confident = similarity >= level.threshold
    return Verdict(confident, similarity, level.threshold, level.fpir, level.fnir, occluded, searched.num_images)


def why_not(calibration: Calibration | None, searched: Searched) -> str:
    """Say in one sentence why `judge` says nothing of a search; empty where it does."""
    if calibration is None:
        return "How far a similarity can be believed was not measured for these weights and this gallery."
    if not searched.scoring.counts_all:
        return "How far a similarity can be believed was measured with all parts counting; some are switched off."
    if (calibration.gallery, calibration.num_images) != (searched.gallery, searched.num_images):
        return (
            f"How far a similarity can be believed was measured on {calibration.gallery!r} "
            f"({calibration.num_images:,} images), not on this gallery; look-alikes differ from place to place, and a "
            "larger gallery has more of them. `calibrate --stored` measures a gallery with known people and cameras."
        )
    if (calibration.scoring, calibration.views) != (searched.scoring.weighing, searched.views):
        return "How far a similarity can be believed was measured with another similarity than the one chosen."
    return ""


@dataclass(frozen=True)
class _PartMeanings:
    names: tuple[str, ...]  # one a part
    fingerprint: str  # of the weights


def read_part_meanings(path: Path, fingerprint: str) -> tuple[str, ...]:
    """Return what `anatomy` found of these weights' parts; nothing where the file is absent or of other weights.

    Raises:
        WeightsError: the file cannot be understood; the message names the field.
    """
    if not path.is_file():
        return ()
    study = read_json(_PartMeanings, path, WeightsError, "Write it anew with `python -m reid_demo anatomy`.")
    return study.names if study.fingerprint == fingerprint else ()
