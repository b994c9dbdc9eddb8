"""Ground truth of synthetic images, one JSON line an image in `truth.jsonl.gz`. Knows no renderer.

`read_truth(folder / TRUTH_FILE)` returns a list of `Truth`. A mask is kept as run lengths of 0, 1, 0, ... over the
`GRID` in row-major order; the fractions visible are measured at full resolution.
"""

import gzip
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid_demo.errors import SyntheticError

TRUTH_FILE = "truth.jsonl.gz"  # in a data set or gallery
PARTS = ("head", "torso", "left_arm", "right_arm", "left_leg", "right_leg", "feet", "carried")
GRID = (64, 32)  # rows and columns of the masks, over the whole image


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of one image."""

    image: str  # relative to the data set's root
    pid: int
    camid: int
    sequence: int
    frame: int
    scene: str
    pose: str
    facing: float  # degrees from facing the camera; 90 looks to the image's right
    camera: dict[str, float]  # height_m, distance_m, exposure, resolution_px
    box: tuple[float, float, float, float]  # (x0, y0, x1, y1) image px of the whole person; may leave the image
    hidden_by: tuple[str, ...]  # what stands in front or was cut: "person", "car", ..., "frame"
    visible: dict[str, float]  # part -> fraction visible; parts that face away wholly are left out
    masks: dict[str, np.ndarray]  # part -> (64, 32) bool, where it is seen
    body_visible: float  # fraction of the whole person


def encode(mask: np.ndarray) -> list[int]:
    """Return the run lengths of a bool mask, starting with the zeros."""
    flat = np.concatenate([[0], mask.ravel().astype(np.int8), [-1]])
    ends = np.flatnonzero(np.diff(flat))
    return np.diff(np.concatenate([[0], ends])).tolist()


def decode(runs: Iterable[int], shape: tuple[int, int] = GRID) -> np.ndarray:
    """Return the bool mask of run lengths.

    Raises:
        SyntheticError: the runs do not fill the shape.
    """
    runs = list(runs)
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    if len(flat) != shape[0] * shape[1]:
        raise SyntheticError(f"A mask has {len(flat)} cells; {shape[0]} x {shape[1]} are needed.")
    return flat.reshape(shape)


def to_line(truth: Truth) -> str:
    """Return one line of JSON."""
    row = dict(vars(truth))
    row["masks"] = {part: encode(mask) for part, mask in truth.masks.items()}
    row["visible"] = {part: round(value, 3) for part, value in truth.visible.items()}
    row["box"] = [round(value, 1) for value in truth.box]
    row["camera"] = {name: round(value, 3) for name, value in truth.camera.items()}
    row["facing"], row["body_visible"] = round(truth.facing, 1), round(truth.body_visible, 3)
    return json.dumps(row, separators=(",", ":"))


def from_line(line: str) -> Truth:
    """Read one line of JSON back."""
    row = json.loads(line)
    row["masks"] = {part: decode(runs) for part, runs in row["masks"].items()}
    row["box"], row["hidden_by"] = tuple(row["box"]), tuple(row["hidden_by"])
    return Truth(**row)


# What reading packed lines of JSON fails with where they are damaged.
FAULTS = (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError, AttributeError)


def write_truth(path: Path, lines: Iterable[str]) -> None:
    """Write lines of JSON, packed, whole or not at all; the same lines give the same bytes."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as file:
        for line in lines:
            file.write(line.encode() + b"\n")
    temporary.replace(path)


def read_truth(path: Path) -> list[Truth]:
    """Read the ground truth of a data set, in the order of its images' names.

    Raises:
        SyntheticError: the file is missing or damaged.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return [from_line(line) for line in file]
    except FileNotFoundError as error:
        raise SyntheticError(f"There is no ground truth {path.name!r}; make the data set with `synthesize`.") from error
    except FAULTS as error:
        raise SyntheticError(f"The ground truth {path.name!r} is damaged; make the data set again.") from error
