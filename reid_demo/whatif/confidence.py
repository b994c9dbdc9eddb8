"""What the weights' makers measured of them: whether a first match is confident, and what each part looks at.

Reads `calibration.json` and `parts.json` of a weights folder; `measuring` writes them. Knows no network.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reid_demo.errors import WeightsError
from reid_demo.records import Scoring, weighing_named
from reid_demo.search.gallery_views import ONE_VIEW

CONFIDENT_FPIR = 0.1  # a match is called confident at the threshold that this share of absent people may pass
FILE = "calibration.json"
MEANINGS_FILE = "parts.json"


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


def read(path: Path, fingerprint: str) -> dict | None:
    """Read what `calibrate` wrote of these weights; `None` where there is nothing or it is of other weights.

    Raises:
        WeightsError: the file cannot be understood.
    """
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        known = record["gallery"], record["num_images"], record["scoring"]
        thresholds = [float(_level(record[kind])["threshold"]) for kind in ("whole", "occluded")]
        return record if record["fingerprint"] == fingerprint and known and thresholds else None
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise WeightsError(
            f"{path.name} of the weights {path.parent.name!r} cannot be read ({error!r}). "
            "Write it anew with `python -m reid_demo calibrate`."
        ) from error


def judge(
    record: dict | None,
    gallery: str,
    num_images: int,
    scoring: Scoring,
    similarity: float,
    occluded: bool,
    views: Sequence[str] = ONE_VIEW,
) -> Verdict | None:
    """Judge a first match; `None` where this gallery, its size, its views or this similarity was not calibrated.

    Args:
        record: of `read`.
        gallery: name of the gallery that was searched.
        num_images: its size.
        scoring: which similarity.
        similarity: of the first match.
        occluded: whether part of the probe is hidden.
        views: in which the gallery's images were described.
    """
    asked = (gallery, num_images, scoring.weighing, list(views))
    if record is None or not scoring.counts_all:
        return None
    measured_views = record.get("views", list(ONE_VIEW))  # a record of an earlier release does not name them
    if asked != (record["gallery"], record["num_images"], weighing_named(record["scoring"]), measured_views):
        return None
    level = _level(record["occluded" if occluded else "whole"])
    threshold = level["threshold"]
    return Verdict(similarity >= threshold, similarity, threshold, level["fpir"], level["fnir"], occluded, num_images)


def _level(rates: dict) -> dict:
    return next(level for level in rates["levels"] if level["fpir_aim"] == CONFIDENT_FPIR)


def read_part_meanings(path: Path, fingerprint: str) -> tuple[str, ...]:
    """Give what `anatomy` found of these weights' parts; nothing where the file is absent or of other weights."""
    if not path.is_file():
        return ()
    try:
        study = json.loads(path.read_text(encoding="utf-8"))
        return tuple(study["names"]) if study["fingerprint"] == fingerprint else ()
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{path.name} of the weights {path.parent.name!r} cannot be read ({error!r}). "
            "Write it anew with `python -m reid_demo anatomy`."
        ) from error
