"""The nouns of the package: small frozen records that pass between modules and live in session state."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from reid_demo.errors import ConfigError, DatasetError

UNKNOWN = -2  # in arrays of pids and camids: the image has none

Weighing = Literal["cosine", "adaptive", "part_aware"]
WEIGHINGS: dict[str, str] = {  # name -> words for people
    "cosine": "cosine",  # of the concatenated descriptors
    "adaptive": "adaptive (Eq. 8)",  # that, with part weights w_i = N rho_i
    "part_aware": "part-aware",  # mean of part cosines by what the probe has of each, not in the paper
}
_OLD_WEIGHINGS = {"plain": "cosine", "part-aware": "part_aware"}  # spellings of earlier releases


@dataclass(frozen=True)
class ImageRecord:
    """One gallery or data-set image. `pid` -1 is junk, 0 a distractor; `None` means not known."""

    path: str  # relative to its gallery or data-set root
    pid: int | None = None
    camid: int | None = None
    width: int = 0  # image px
    height: int = 0  # image px
    sha256: str = ""  # of the file it came from
    frame: str = ""  # where it was cut out of a whole frame: that file, relative to the folder indexed
    box: tuple[int, int, int, int] | None = None  # (x0, y0, x1, y1) in that frame, image px


def same_person(pid, other):
    """Tell whether two images are known to show the same person; arrays give arrays.

    Args:
        pid: a pid, `None`, or an array of pids with `UNKNOWN`. Junk (-1) and distractors (0) are nobody in particular,
            so they are never the same person as anyone.
        other: likewise.
    """
    pid, other = _number(pid), _number(other)
    return (pid == other) & (pid > 0)


def same_camera(camid, other):
    """Tell whether two images are known to come from the same camera; arguments as of `same_person`."""
    camid, other = _number(camid), _number(other)
    return (camid == other) & (camid >= 0)


def _number(value):
    return UNKNOWN if value is None else value


@dataclass(frozen=True, eq=False)
class Identities:
    """Person and camera of many images, as arrays."""

    pids: np.ndarray  # (n,) int64, `UNKNOWN` where an image has none
    camids: np.ndarray  # (n,) int64, likewise

    @classmethod
    def of(cls, pids: Iterable[int | None], camids: Iterable[int | None]) -> "Identities":
        """Collect the pids and camids of images.

        Raises:
            DatasetError: a number needs more than 64 bits.
        """
        return cls(_column(pids), _column(camids))

    def __len__(self) -> int:
        """Number of images."""
        return len(self.pids)

    def show(self, pid: int | None) -> np.ndarray:
        """Mark the images, `(n,)` bool, that show a person."""
        return same_person(self.pids, pid)

    def taken_with(self, pid: int | None, camid: int | None) -> np.ndarray:
        """Mark the images, `(n,)` bool, that show a person under one camera."""
        return self.show(pid) & same_camera(self.camids, camid)

    @property
    def num_people(self) -> int:
        """Number of different people; junk and distractors are none."""
        return len(np.unique(self.pids[self.pids > 0]))


def _column(numbers: Iterable[int | None]) -> np.ndarray:
    try:
        return np.array([_number(number) for number in numbers], np.int64)
    except OverflowError as error:
        raise DatasetError("An identity or camera number needs more than 64 bits; use smaller ones.") from error


@dataclass(frozen=True, eq=False)
class Descriptor:
    """What the model keeps of one image. `P` parts (0 for the variant G), `D` dimensions."""

    parts: np.ndarray  # (P+1, D) float32, unweighted: the global descriptor first
    presence: np.ndarray  # (P,) float32, sums to 1: rho of Sec. 3.5; relative attention, not visibility
    template_attention: np.ndarray  # (P, h, w) float32, each map sums to 1: softmax of Eq. 5, heads averaged
    part_attention: np.ndarray  # (P, h, w) float32, each map sums to 1: cross-attention of Sec. 3.4


@dataclass(frozen=True, eq=False)
class Match:
    """One candidate of a ranked list."""

    record: ImageRecord
    index: int  # row in the gallery
    rank: int  # 1 is the best
    similarity: float  # higher is closer
    contributions: np.ndarray  # (P+1,) float32, signed; they sum to `similarity`


@dataclass(frozen=True)
class Scoring:
    """How two descriptors are compared."""

    weighing: Weighing = "cosine"  # a key of `WEIGHINGS`
    parts: tuple[bool, ...] | None = None  # (P+1,) which terms count, global first; None: all

    def __post_init__(self) -> None:
        """Refuse a weighing that does not exist."""
        if self.weighing not in WEIGHINGS:
            raise ConfigError(f"Unknown weighing {self.weighing!r}; choose one of {', '.join(WEIGHINGS)}.")

    @property
    def counts_all(self) -> bool:
        """Whether every part counts."""
        return self.parts is None or all(self.parts)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Scoring":
        """Read a scoring from JSON values, as this or any earlier release wrote it.

        Args:
            values: the name under `weighing`, `similarity` or `scoring`, or the switches `adaptive` and `part_aware`;
                the parts that count under `parts`, `terms` or `enabled`. Other keys are left alone.

        Raises:
            ConfigError: a value that no release wrote; the message names its field.
        """
        name = next((values[key] for key in ("weighing", "similarity", "scoring") if values.get(key) is not None), None)
        if name is None:
            switches = {key: values.get(key, False) for key in ("adaptive", "part_aware")}
            for key, on in switches.items():
                if not isinstance(on, bool):
                    raise ConfigError(f"{key} must be true or false, not {on!r}.")
            if all(switches.values()):
                raise ConfigError("adaptive and part_aware exclude each other.")
            name = next((key for key, on in switches.items() if on), "cosine")
        parts = next((values[key] for key in ("parts", "terms", "enabled") if values.get(key) is not None), None)
        if parts is None:
            return cls(weighing_named(name))
        if not isinstance(parts, list | tuple) or not all(isinstance(on, bool) for on in parts):
            raise ConfigError(f"parts must be a list of true and false, not {parts!r}.")
        return cls(weighing_named(name), tuple(parts))


def weighing_named(name: str) -> Weighing:
    """Return the key of `WEIGHINGS` that a name means, in this or any earlier release's spelling.

    Raises:
        ConfigError: no release had such a name.
    """
    known = _OLD_WEIGHINGS.get(name, name) if isinstance(name, str) else None
    if known not in WEIGHINGS:
        raise ConfigError(f"weighing must be one of {', '.join(WEIGHINGS)}, not {name!r}.")
    return known


@dataclass(frozen=True)
class Occlusion:
    """One change of a probe. Boxes are fractions `(x0, y0, x1, y1)` of the image, so that it replays on any probe."""

    kind: str  # a name of `occlude.KINDS`
    fill: str = "mean_grey"  # a name of `occlude.FILLS`
    box: tuple[float, float, float, float] | None = None  # for "box" and "crop"
    coverage: float = 0.25  # area fraction, for "random_block"
    seed: int = 0
    mask_png: str | None = None  # base64 PNG, for "brush"


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a probe and a match score what they score."""

    similarity: float
    contributions: np.ndarray  # (P+1,) float32, signed, sum to `similarity`
    names: tuple[str, ...]  # P+1 names, "global" first
    probe: Descriptor
    match: Descriptor


@dataclass(frozen=True)
class Move:
    """Where a gallery image stood before a change of the probe, and where it stands after."""

    index: int  # row in the gallery
    rank: tuple[int, int]  # before and after, 1 is the best
    similarity: tuple[float, float]  # before and after


@dataclass(frozen=True, eq=False)
class WhatIf:
    """A search before and after a change of the probe."""

    image: np.ndarray  # (H, W, 3) uint8, the changed probe
    before: tuple[Match, ...]
    after: tuple[Match, ...]
    probe_before: Descriptor
    probe_after: Descriptor
    moves: tuple[Move, ...] = ()  # of every image in either list, in gallery order
