"""The nouns of the package: small frozen records that pass between modules and live in session state."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


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

    adaptive: bool = False  # Eq. 8 weighting w_i = N rho_i
    part_aware: bool = False  # mean of part cosines by what the probe has of each, not in the paper
    enabled: tuple[bool, ...] | None = None  # (P+1,) switches, global first; None: all on


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


@dataclass(frozen=True, eq=False)
class WhatIf:
    """A search before and after a change of the probe."""

    image: np.ndarray  # (H, W, 3) uint8, the changed probe
    before: tuple[Match, ...]
    after: tuple[Match, ...]
    probe_before: Descriptor
    probe_after: Descriptor
    moves: dict[int, tuple[int, int]] = field(default_factory=dict)  # gallery index -> (rank before, rank after)
    summary: dict[str, Any] = field(default_factory=dict)
