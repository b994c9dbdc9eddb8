"""The package's data types: small frozen records that modules exchange and the page keeps in its session state."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from reid_demo.errors import ConfigError, DatasetError, shown

UNKNOWN = -2  # stands for `None` in arrays of pids and camids

Weighing = Literal["cosine", "adaptive", "part_aware"]
WEIGHINGS: dict[str, str] = {  # name -> words for people
    "cosine": "cosine",  # of the concatenated descriptors
    "adaptive": "adaptive (Eq. 8)",  # the same, each part weighted by w_i = N rho_i
    "part_aware": "part-aware",  # mean of the nine cosines, weighted by what the probe shows; not in the paper
}
_OLD_WEIGHINGS = {"plain": "cosine", "part-aware": "part_aware"}  # spellings of earlier releases


@dataclass(frozen=True)
class ImageRecord:
    """One gallery or data set image. `pid` is -1 for junk and 0 for a distractor; `None` means unknown."""

    path: str  # relative to the gallery or data set root
    pid: int | None = None
    camid: int | None = None
    width: int = 0  # image px
    height: int = 0  # image px
    sha256: str = ""  # of the file it came from
    frame: str = ""  # the whole frame it was cut from, relative to the indexed folder; empty if none
    box: tuple[int, int, int, int] | None = None  # (x0, y0, x1, y1) in that frame, image px


def same_person(pid, other):
    """Return whether two images are known to show the same person.

    Args:
        pid: a pid, `None`, or an array of pids with `UNKNOWN`. Junk (-1) and distractors (0) have no identity, so
            they never match anyone.
        other: likewise.

    Returns:
        A bool, or a bool array if either argument is an array.
    """
    pid, other = _number(pid), _number(other)
    return (pid == other) & (pid > 0)


def same_camera(camid, other):
    """Return whether two images are known to come from the same camera; see `same_person` for the arguments."""
    camid, other = _number(camid), _number(other)
    return (camid == other) & (camid >= 0)


def _number(value):
    return UNKNOWN if value is None else value


@dataclass(frozen=True, eq=False)
class Identities:
    """The person and camera of each of `n` images."""

    pids: np.ndarray  # (n,) int64, `UNKNOWN` where an image has none
    camids: np.ndarray  # (n,) int64, likewise

    @classmethod
    def of(cls, pids: Iterable[int | None], camids: Iterable[int | None]) -> "Identities":
        """Build the arrays from pids and camids, `None` where unknown.

        Raises:
            DatasetError: a number needs more than 64 bits.
        """
        return cls(_column(pids), _column(camids))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.pids)

    def show(self, pid: int | None) -> np.ndarray:
        """Return an `(n,)` bool mask of the images that show this person."""
        return same_person(self.pids, pid)

    def taken_with(self, pid: int | None, camid: int | None) -> np.ndarray:
        """Return an `(n,)` bool mask of the images that show this person under this camera."""
        return self.show(pid) & same_camera(self.camids, camid)

    @property
    def num_people(self) -> int:
        """Number of distinct people; junk and distractors do not count."""
        return len(np.unique(self.pids[self.pids > 0]))


def _column(numbers: Iterable[int | None]) -> np.ndarray:
    try:
        return np.array([_number(number) for number in numbers], np.int64)
    except OverflowError as error:
        raise DatasetError("An identity or camera number needs more than 64 bits; use smaller ones.") from error


@dataclass(frozen=True, eq=False)
class Descriptor:
    """What the model keeps of one image, for `P` parts (0 for the variant G) and `D` dimensions."""

    parts: np.ndarray  # (P+1, D) float32, unweighted; the global descriptor first
    presence: np.ndarray  # (P,) float32, sums to 1: rho of Sec. 3.5; a share of attention, not visibility
    template_attention: np.ndarray  # (P, h, w) float32, each map sums to 1: softmax of Eq. 5, heads averaged
    part_attention: np.ndarray  # (P, h, w) float32, each map sums to 1: cross-attention of Sec. 3.4


@dataclass(frozen=True, eq=False)
class Match:
    """One entry of a ranked list."""

    record: ImageRecord
    index: int  # row in the gallery
    rank: int  # 1 is the best
    similarity: float  # higher is closer
    contributions: np.ndarray  # (P+1,) float32, signed; they sum to `similarity`


@dataclass(frozen=True)
class Scoring:
    """How to compare two descriptors."""

    weighing: Weighing = "cosine"  # a key of `WEIGHINGS`
    parts: tuple[bool, ...] | None = None  # (P+1,) which terms count, global first; None: all

    def __post_init__(self) -> None:
        """Refuse a weighing that does not exist."""
        if self.weighing not in WEIGHINGS:
            raise ConfigError(f"Unknown weighing {shown(self.weighing)}; choose one of {', '.join(WEIGHINGS)}.")

    @property
    def counts_all(self) -> bool:
        """Whether every part counts."""
        return self.parts is None or all(self.parts)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Scoring":
        """Read a scoring from JSON values written by this or any earlier release.

        Args:
            values: the weighing's name under `weighing`, `similarity` or `scoring`, or the switches `adaptive` and
                `part_aware`; the enabled terms under `parts`, `terms` or `enabled`. Other keys are ignored.

        Raises:
            ConfigError: a value is invalid; the message names its field.
        """
        name = next((values[key] for key in ("weighing", "similarity", "scoring") if values.get(key) is not None), None)
        if name is None:
            switches = {key: values.get(key, False) for key in ("adaptive", "part_aware")}
            for key, on in switches.items():
                if not isinstance(on, bool):
                    raise ConfigError(f"{key} must be true or false, not {shown(on)}.")
            if all(switches.values()):
                raise ConfigError("adaptive and part_aware exclude each other.")
            name = next((key for key, on in switches.items() if on), "cosine")
        parts = next((values[key] for key in ("parts", "terms", "enabled") if values.get(key) is not None), None)
        if parts is None:
            return cls(weighing_named(name))
        if not isinstance(parts, list | tuple) or not all(isinstance(on, bool) for on in parts):
            raise ConfigError(f"parts must be a list of true and false, not {shown(parts)}.")
        return cls(weighing_named(name), tuple(parts))


def weighing_named(name: str) -> Weighing:
    """Return the key of `WEIGHINGS` for a name spelled as in this or any earlier release.

    Raises:
        ConfigError: unknown name.
    """
    known = _OLD_WEIGHINGS.get(name, name) if isinstance(name, str) else None
    if known not in WEIGHINGS:
        raise ConfigError(f"weighing must be one of {', '.join(WEIGHINGS)}, not {shown(name)}.")
    return known


@dataclass(frozen=True)
class Occlusion:
    """One change to a probe, with its box in fractions of the image so that it can be replayed on any probe."""

    kind: str  # one of `occlude.KINDS`, or `occlude.GREY`
    fill: str = "mean_grey"  # one of `occlude.FILLS`
    box: tuple[float, float, float, float] | None = None  # (x0, y0, x1, y1), for "box" and "crop"
    coverage: float = 0.25  # above 0, at most 1: of the area, for "random_block" and "object" (a pole: of the width)
    seed: int = 0  # of "random_block", "person", "object" and the noise fill
    mask_png: str | None = None  # base64 PNG, for "brush"


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a probe and a match have the similarity they have."""

    similarity: float
    contributions: np.ndarray  # (P+1,) float32, signed, sum to `similarity`
    names: tuple[str, ...]  # P+1 names, "global" first
    probe: Descriptor
    match: Descriptor


@dataclass(frozen=True)
class Move:
    """The rank and similarity of a gallery image before and after a change to the probe."""

    index: int  # row in the gallery
    rank: tuple[int, int]  # before and after, 1 is the best
    similarity: tuple[float, float]  # before and after


@dataclass(frozen=True, eq=False)
class WhatIf:
    """A search before and after a change to the probe."""

    image: np.ndarray  # (H, W, 3) uint8, the changed probe
    before: tuple[Match, ...]
    after: tuple[Match, ...]
    probe_before: Descriptor
    probe_after: Descriptor
    moves: tuple[Move, ...] = ()  # one for every image in either list, in gallery order
