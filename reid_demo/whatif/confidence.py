"""Apply what was measured about weights: is a first match confident, what does each part look at, what is visible?

`measuring` writes three files into a weights folder: `calibration.json` (open-set error rates), `parts.json` (the body
part that each template looks at) and `visibility.json`. The last is not in the paper: presence sums to 1 whatever is
hidden, so it does not tell what is visible. A logistic regression from presence and the lengths of all part vectors to
"at least half of this body part is visible" does, fitted on rendered people and measured on others. Knows no network.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from pydantic import AfterValidator, BeforeValidator, FiniteFloat

from reid_demo.data.files import read_json
from reid_demo.errors import ConfigError, WeightsError
from reid_demo.records import Descriptor, Scoring, Weighing, weighing_named
from reid_demo.search.gallery_views import ONE_VIEW

T = TypeVar("T")
CONFIDENT_FPIR = 0.1  # false-alarm rate of the threshold for a confident match
FILE = "calibration.json"
MEANINGS_FILE = "parts.json"
VISIBILITY_FILE = "visibility.json"
SEEN = 0.5  # least share of a body part that is called visible
SURE = 0.7  # least probability at which the words say visible or hidden
LEAST_AUC, MOST_ECE, LEAST_CASES = 0.8, 0.1, 30  # a body part that does worse is never judged
FAR = 8.0  # standard deviations from the pictures of the fit, beyond which no body part is judged
_TINY = 1e-6


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

    @property
    def said(self) -> str:
        """The verdict in one sentence, without its rates."""
        if self.confident:
            return f"The first similarity, {self.similarity:.3f}, is above {self.threshold:.3f}."
        return f"No confident match: the first similarity, {self.similarity:.3f}, is below {self.threshold:.3f}."


def read(path: Path, fingerprint: str) -> Calibration | None:
    """Read the file of `calibrate`; return `None` if there is none or it belongs to other weights.

    Raises:
        WeightsError: the file is invalid; the message names the field.
    """
    return _read_measured(Calibration, path, fingerprint, "calibrate")


def _read_measured(model: type[T], path: Path, fingerprint: str, command: str) -> T | None:
    """Read the file of a command; return `None` if there is none or it belongs to other weights.

    Raises:
        WeightsError: the file is invalid; the message names the field.
    """
    if not path.is_file():
        return None
    measured = read_json(model, path, WeightsError, f"Write it anew with `python -m reid_demo {command}`.")
    return measured if measured.fingerprint == fingerprint else None


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


def why_not(calibration: Calibration | None, searched: Searched, *, occluded: bool) -> str:
    """Return in one sentence why `judge` has no verdict on a search; empty if it has one. Arguments as there."""
    if calibration is None:
        return "How far a similarity can be believed was not measured for these weights and this gallery."
    if not searched.scoring.counts_all:
        return "How far a similarity can be believed was measured with all parts counting; some are switched off."
    if (calibration.gallery, calibration.num_images) != (searched.gallery, searched.num_images):
        return (
            f"How far a similarity can be believed was measured on {calibration.gallery!r} "
            f"({calibration.num_images:,} images), not on this gallery; look-alikes differ from place to place, and a "
            "larger gallery has more of them."
        )
    if calibration.scoring != searched.scoring.weighing:
        return "How far a similarity can be believed was measured with another similarity than the one chosen."
    if calibration.views != searched.views:
        return "How far a similarity can be believed was measured on a gallery described in other views."
    if occluded and calibration.occluded is None:
        return (
            "How far a similarity can be believed was measured for whole probes alone, not for one with a part hidden."
        )
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
    study = _read_measured(_PartMeanings, path, fingerprint, "anatomy")
    return study.names if study else ()


@dataclass(frozen=True)
class Bin:
    """Predictions of about the same probability, and how often the body part was visible."""

    count: int
    predicted: FiniteFloat  # mean probability, 0 to 1
    seen: FiniteFloat  # share that was visible, 0 to 1


@dataclass(frozen=True, kw_only=True)
class BodyPart:
    """The fit for one body part, and how it did on other people."""

    name: str  # of `ground_truth.PARTS`
    coefficients: tuple[FiniteFloat, ...]  # `2 P + 1`, of the standardised `features`
    bias: FiniteFloat
    num_seen: int  # pictures of the other people in which it was visible
    num_hidden: int  # pictures of the other people in which it was not
    auc: FiniteFloat  # of visible over hidden, 0.5 is chance
    ece: FiniteFloat  # expected calibration error: mean gap between probability and share, 0 is best
    brier: FiniteFloat  # mean squared error of the probability
    curve: tuple[Bin, ...]

    @property
    def reliable(self) -> bool:
        """Whether it did well enough, in enough cases, for its probability to be shown."""
        enough = min(self.num_seen, self.num_hidden) >= LEAST_CASES
        return enough and self.auc >= LEAST_AUC and self.ece <= MOST_ECE


@dataclass(frozen=True, kw_only=True)
class Visibility:
    """`visibility.json` of a weights folder."""

    num_people: tuple[int, int]  # fitted to, measured on
    num_pictures: tuple[int, int]  # fitted to, measured on
    mean: tuple[FiniteFloat, ...]  # of each of the `2 P + 1` features
    scale: tuple[FiniteFloat, ...]  # standard deviation of each
    parts: tuple[BodyPart, ...]
    fingerprint: str  # of the weights


@dataclass(frozen=True)
class Seen:
    """Whether one body part of a probe is visible, as far as it can be told."""

    body_part: str  # for people: "left leg"
    probability: float | None  # that at least half of it is visible; None: cannot be told reliably

    @property
    def words(self) -> str:
        """For people, such as "probably hidden (0.9)"."""
        if self.probability is None:
            return "cannot be told"
        if self.probability >= SURE:
            return f"probably visible ({_tenths(self.probability)})"
        if self.probability <= 1 - SURE:
            return f"probably hidden ({_tenths(1 - self.probability)})"
        return "uncertain"


def _tenths(probability: float) -> str:
    """Format with one decimal, rounded down to at most 0.9: nothing is certain."""
    return f"{min(9, int(10 * probability + 1e-6)) / 10:.1f}"


def features(probe: Descriptor) -> np.ndarray:
    """Return the logarithms of `P` presences and of `P+1` vector lengths, `(2 P + 1,)` float64."""
    lengths = np.linalg.norm(probe.parts, axis=1)
    return np.log(np.concatenate([len(probe.presence) * probe.presence, lengths]) + _TINY).astype(np.float64)


def visible_parts(model: Visibility | None, probe: Descriptor) -> tuple[Seen, ...]:
    """Return one `Seen` for each body part; empty if these weights were not measured.

    The probability is `None` for a body part that was not reliable on other people, and for all of them if the probe is
    unlike every picture of the fit.
    """
    if model is None:
        return ()
    standard = (features(probe) - np.array(model.mean)) / np.array(model.scale)
    near = np.abs(standard).max() <= FAR
    return tuple(
        Seen(
            part_words(part.name),
            _sigmoid(standard @ np.array(part.coefficients) + part.bias) if near and part.reliable else None,
        )
        for part in model.parts
    )


def part_words(part: str) -> str:
    """Return the name of a body part for people: "left arm" for `left_arm`, "carried items" for `carried`."""
    return "carried items" if part == "carried" else part.replace("_", " ")


def _sigmoid(score: float) -> float:
    return round(float(1 / (1 + np.exp(-np.clip(score, -50, 50)))), 4)


def read_visibility(path: Path, fingerprint: str) -> Visibility | None:
    """Read the file of `visibility`; return `None` if there is none or it belongs to other weights.

    Raises:
        WeightsError: the file is invalid; the message names the field.
    """
    return _read_measured(Visibility, path, fingerprint, "visibility")
