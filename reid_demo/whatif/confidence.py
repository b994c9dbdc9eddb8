"""Read what was measured about weights: whether a first match is confident, and what each part looks at.

The files are `calibration.json` and `parts.json` in a weights folder; `measuring` writes them. Knows no network.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, FiniteFloat

from reid_demo.data.files import read_json
from reid_demo.errors import ConfigError, WeightsError
from reid_demo.records import Scoring, Weighing, weighing_named
from reid_demo.search.gallery_views import ONE_VIEW

CONFIDENT_FPIR = 0.1  # false-alarm rate of the threshold for a confident match
FILE = "calibration.json"
MEANINGS_FILE = "parts.json"


@dataclass(frozen=True)
class Level:
    """The error rates at a threshold, as fractions of searches, 0 to 1."""

    fpir_aim: float  # the false-alarm rate for which the threshold was chosen
    threshold: FiniteFloat  # least similarity of a confident match
    fpir: float  # searches for an absent person whose first match reaches the threshold
    fnir: float | None  # searches for a present person with a lower or wrong first match; None: there were none


@dataclass(frozen=True)
class Alarm:
    """The first match of a search for an absent person; such matches set the threshold of a confident match."""

    probe: str  # file of the probe
    hidden: str  # name of the occlusion of the probe, "" for none
    match: str  # gallery path of the first match, a stranger
    similarity: FiniteFloat


@dataclass(frozen=True)
class Mark:
    """How certain the confident level is: 95 % bootstrap intervals over people, and the false alarms next to it."""

    threshold: tuple[FiniteFloat, FiniteFloat]
    fpir: tuple[FiniteFloat, FiniteFloat]  # at the confident threshold
    fnir: tuple[FiniteFloat, FiniteFloat] | None
    above: tuple[Alarm, ...]  # false alarms just above the threshold, nearest first
    below: tuple[Alarm, ...]  # those just below it, nearest first


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
        """The level at which a match is called confident."""
        return next(level for level in self.levels if level.fpir_aim == CONFIDENT_FPIR)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What `calibrate` measured of weights on one gallery: `calibration.json`."""

    gallery: str  # its name
    num_images: int
    scoring: Annotated[Weighing, BeforeValidator(_weighing)]
    views: tuple[str, ...] = ONE_VIEW  # in which the gallery's images were described; earlier releases had one
    whole: Rates
    occluded: Rates | None  # None: measured on stored descriptors, which cannot be occluded
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
    """Whether a first match is confident, and how often such a verdict is wrong at this gallery's size."""

    confident: bool
    similarity: float
    threshold: float
    fpir: float  # as in `Level`
    fnir: float | None  # as in `Level`
    occluded: bool  # whether the rates are those of half-hidden probes
    num_images: int  # of the gallery that was measured


def read(path: Path, fingerprint: str) -> Calibration | None:
    """Read the file of `calibrate`; return `None` if there is none or it belongs to other weights.

    Raises:
        WeightsError: the file is invalid; the message names the field.
    """
    if not path.is_file():
        return None
    found = read_json(Calibration, path, WeightsError, "Write it anew with `python -m reid_demo calibrate`.")
    return found if found.fingerprint == fingerprint else None


def judge(calibration: Calibration | None, searched: Searched, similarity: float, *, occluded: bool) -> Verdict | None:
    """Judge a first match; return `None` if this gallery, its size, its views or this similarity was not calibrated.

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
    """Return in one sentence why `judge` has no verdict on a search; empty if it has one."""
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
    """Return the names that `anatomy` found for the parts; empty if there is no file or it belongs to other weights.

    Raises:
        WeightsError: the file is invalid; the message names the field.
    """
    if not path.is_file():
        return ()
    study = read_json(_PartMeanings, path, WeightsError, "Write it anew with `python -m reid_demo anatomy`.")
    return study.names if study.fingerprint == fingerprint else ()
