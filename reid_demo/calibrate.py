"""How far a similarity can be believed: error rates of an open-set search, per threshold. Not in the paper.

Every query of a known person is searched twice: with its person in the gallery, and with that person's images left
out, as if the person were absent. Rates are per search at the gallery's size; they do not carry over to a much larger
gallery, where an absent person finds more look-alikes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid_demo import gallery as galleries
from reid_demo import matching, occlude
from reid_demo.data.datasets import read_probes
from reid_demo.describe import Describer
from reid_demo.errors import DatasetError, WeightsError
from reid_demo.images import read_image
from reid_demo.records import Occlusion, Scoring
from reid_demo.views import ONE_VIEW

HALVES = ("lower_half", "upper_half", "left_half", "right_half")
FPIR_LEVELS = (0.01, 0.05, 0.1, 0.2, 0.5)
CONFIDENT_FPIR = 0.1  # a match is called confident at the threshold that this share of absent people may pass
FILE = "calibration.json"


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


def scoring_name(scoring: Scoring) -> str:
    """Give the name under which a similarity is calibrated; empty where parts are switched off."""
    if scoring.enabled is not None and not all(scoring.enabled):
        return ""
    return matching.similarity_name(scoring)


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
    asked = (gallery, num_images, scoring_name(scoring), list(views))
    if record is None:
        return None
    measured_views = record.get("views", list(ONE_VIEW))  # a record of an earlier release does not name them
    if asked != (record["gallery"], record["num_images"], record["scoring"], measured_views):
        return None
    level = _level(record["occluded" if occluded else "whole"])
    threshold = level["threshold"]
    return Verdict(similarity >= threshold, similarity, threshold, level["fpir"], level["fnir"], occluded, num_images)


def _level(rates: dict) -> dict:
    return next(level for level in rates["levels"] if level["fpir_aim"] == CONFIDENT_FPIR)


def calibrate(describer: Describer, gallery_folder: Path) -> dict:
    """Measure open-set error rates of a gallery's whole probes, untouched and with half hidden in four ways.

    The similarity is the gallery's own.

    Args:
        describer: the network that described the gallery.
        gallery_folder: a gallery with `probes/`; its `absent` probes are searched as absent people.

    Returns:
        `gallery, num_images, scoring, views, whole, occluded`; each of the last two as `open_set_rates` gives.

    Raises:
        DatasetError: the gallery ships no whole probe of a known person.
    """
    gallery = galleries.load(gallery_folder)
    listed = read_probes(gallery_folder)
    known = [row for row in listed if row["kind"] == "whole" and row["pid"] is not None]
    absent = [row for row in listed if row["kind"] == "absent"]
    if not known:
        raise DatasetError("The gallery ships no whole probe of a known person; make some with `probes`.")

    def rates(occlusions: Sequence[Occlusion | None]) -> dict:
        similarity, pids, camids = [], [], []
        for occlusion in occlusions:
            pictures = (read_image(gallery_folder / "probes" / row["path"]) for row in known + absent)
            if occlusion is not None:
                pictures = (occlude.apply(picture, [occlusion]) for picture in pictures)
            described = list(describer.describe_stream(pictures))
            similarity += [gallery.scores(probe, gallery.scoring) for probe in described]
            pids += [row["pid"] for row in known] + [-1] * len(absent)
            camids += [-2 if row["camid"] is None else row["camid"] for row in known + absent]
        return open_set_rates(np.stack(similarity), np.array(pids), gallery.pids, np.array(camids), gallery.camids)

    return {
        "gallery": gallery.name,
        "num_images": len(gallery),
        "scoring": scoring_name(gallery.scoring),
        "views": list(gallery.views),
        "whole": rates([None]),
        "occluded": rates([Occlusion(kind) for kind in HALVES]),
    }


def open_set_rates(
    similarity: np.ndarray, q_pids: np.ndarray, g_pids: np.ndarray, q_camids: np.ndarray, g_camids: np.ndarray
) -> dict:
    """Give the misses at chosen rates of false alarms.

    FPIR is the share of searches for an absent person whose first match reaches the threshold. FNIR is the share of
    searches for a present person whose first match is not that person or does not reach it.

    Args:
        similarity: `(Q, G)`, higher is closer.
        q_pids: `(Q,)`; -1 is a person who is not in the gallery.
        g_pids: `(G,)`.
        q_camids: `(Q,)`; a person's images under the query's own camera are left out.
        g_camids: `(G,)`.

    Returns:
        `num_present`, `num_absent`, and `levels`: rows `fpir_aim, threshold, fpir, fnir`, ascending in the aim.
    """
    own = q_pids[:, None] == g_pids[None]
    own &= (q_pids >= 0)[:, None]
    right = own & (q_camids[:, None] != g_camids[None])
    strangers = np.where(own, -np.inf, similarity).max(axis=1)  # (Q,) first match if the person were absent
    present = right.any(axis=1)
    best = np.where(right, similarity, -np.inf).max(axis=1)[present]
    first_is_right = best > strangers[present]
    levels = []
    for aim in FPIR_LEVELS:
        # The lowest threshold that at most this share of the absent people's first matches reach.
        allowed = int(np.floor(aim * len(strangers)))
        threshold = float(np.nextafter(np.sort(strangers)[::-1][allowed], np.inf)) if allowed < len(strangers) else -1.0
        levels.append(
            {
                "fpir_aim": aim,
                "threshold": threshold,
                "fpir": round(float((strangers >= threshold).mean()), 4),
                "fnir": round(float(1 - (first_is_right & (best >= threshold)).mean()), 4) if len(best) else None,
            }
        )
    return {"num_present": int(present.sum()), "num_absent": len(strangers), "levels": levels}
