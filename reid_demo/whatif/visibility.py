"""Estimate how probable it is that each body part of a probe is visible. Not in the paper.

Presence sums to 1 whatever is hidden, so it does not tell what is visible. On rendered people, `measuring.visibility`
fits a logistic regression from presence and the lengths of all part vectors to "at least half of this body part is
visible", measures it on other rendered people, and writes `visibility.json` beside the weights. Knows no network.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import FiniteFloat

from reid_demo.data.files import read_json
from reid_demo.errors import WeightsError
from reid_demo.records import Descriptor

FILE = "visibility.json"
SEEN = 0.5  # least share of a body part that is called visible
SURE = 0.7  # least probability at which the words say visible or hidden
LEAST_AUC, MOST_ECE, LEAST_CASES = 0.8, 0.1, 30  # a body part that does worse is never judged
FAR = 8.0  # standard deviations from the pictures of the fit, beyond which no body part is judged
_TINY = 1e-6


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
    if np.abs(standard).max() > FAR:
        return tuple(Seen(_words(part.name), None) for part in model.parts)
    return tuple(
        Seen(_words(part.name), _sigmoid(standard @ np.array(part.coefficients) + part.bias) if part.reliable else None)
        for part in model.parts
    )


def _words(name: str) -> str:
    return "carried items" if name == "carried" else name.replace("_", " ")


def _sigmoid(score: float) -> float:
    return round(float(1 / (1 + np.exp(-np.clip(score, -50, 50)))), 4)


def read(path: Path, fingerprint: str) -> Visibility | None:
    """Read the file of `visibility`; return `None` if there is none or it belongs to other weights.

    Raises:
        WeightsError: the file is invalid; the message names the field.
    """
    if not path.is_file():
        return None
    found = read_json(Visibility, path, WeightsError, "Write it anew with `python -m reid_demo visibility`.")
    return found if found.fingerprint == fingerprint else None
