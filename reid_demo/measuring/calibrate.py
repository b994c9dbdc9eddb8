"""How far a similarity can be believed: error rates of an open-set search, per threshold. Not in the paper.

Every query of a known person is searched twice: with its person in the gallery, and with that person's images left
out, as if the person were absent. Rates are per search at the gallery's size; they do not carry over to a much larger
gallery, where an absent person finds more look-alikes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reid_demo import occlude
from reid_demo.data.layouts import read_probes
from reid_demo.errors import DatasetError
from reid_demo.images import read_image
from reid_demo.model.describer import Describer
from reid_demo.records import Occlusion
from reid_demo.search import gallery as galleries

HALVES = ("lower_half", "upper_half", "left_half", "right_half")
FPIR_LEVELS = (0.01, 0.05, 0.1, 0.2, 0.5)


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
        "scoring": gallery.scoring.weighing,
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
