"""How far a similarity can be believed: error rates of an open-set search, per threshold. Not in the paper.

Every query of a known person is searched twice: with its person in the gallery, and with that person's images left
out, as if the person were absent. Rates are per search at the gallery's size; they do not carry over to a much larger
gallery, where an absent person finds more look-alikes.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from reid_demo import occlude
from reid_demo.data.probes import ShippedProbe, read_probes
from reid_demo.errors import DatasetError
from reid_demo.images import read_image
from reid_demo.model.describer import Describer
from reid_demo.records import Identities, Occlusion, same_camera, same_person
from reid_demo.search import gallery as galleries
from reid_demo.search.gallery import Gallery
from reid_demo.whatif.confidence import Calibration, Level, Rates

HALVES = ("lower_half", "upper_half", "left_half", "right_half")
FPIR_LEVELS = (0.01, 0.05, 0.1, 0.2, 0.5)


def calibrate(describer: Describer, gallery_folder: Path, fingerprint: str) -> Calibration:
    """Measure open-set error rates of a gallery's whole probes, untouched and with half hidden in four ways.

    The similarity is the gallery's own.

    Args:
        describer: the network that described the gallery.
        gallery_folder: a gallery with `probes/`; its `absent` probes are searched as absent people.
        fingerprint: of the network's weights.

    Raises:
        DatasetError: the gallery ships no whole probe of a known person.
    """
    gallery = galleries.load(gallery_folder)
    listed = read_probes(gallery_folder)
    known = [row for row in listed if row.kind == "whole" and row.pid is not None]
    if not known:
        raise DatasetError("The gallery ships no whole probe of a known person; make some with `probes`.")
    absent = [replace(row, pid=None) for row in listed if row.kind == "absent"]
    return Calibration(
        gallery=gallery.name,
        num_images=len(gallery),
        scoring=gallery.scoring.weighing,
        views=gallery.views,
        whole=_rates(describer, gallery, known + absent, [None]),
        occluded=_rates(describer, gallery, known + absent, [Occlusion(kind) for kind in HALVES]),
        fingerprint=fingerprint,
    )


def _rates(
    describer: Describer, gallery: Gallery, rows: list[ShippedProbe], occlusions: list[Occlusion | None]
) -> Rates:
    """Search every probe of a listing once under each occlusion; a row without a pid is an absent person."""
    similarity = []
    for occlusion in occlusions:
        pictures = (read_image(gallery.folder / "probes" / row.path) for row in rows)
        if occlusion is not None:
            pictures = (occlude.apply(picture, [occlusion]) for picture in pictures)
        described = list(describer.describe_stream(pictures))
        similarity += [gallery.scores(probe, gallery.scoring) for probe in described]
    searched = rows * len(occlusions)
    queries = Identities.of((row.pid for row in searched), (row.camid for row in searched))
    return open_set_rates(np.stack(similarity), queries, gallery.identities)


def open_set_rates(similarity: np.ndarray, queries: Identities, gallery: Identities) -> Rates:
    """Return the misses at chosen rates of false alarms.

    FPIR is the share of searches for an absent person whose first match reaches the threshold. FNIR is the share of
    searches for a present person whose first match is not that person or does not reach it.

    Args:
        similarity: `(Q, G)`, higher is closer.
        queries: Q probes; one without a known person is of somebody who is not in the gallery.
        gallery: G images; a person's images under the query's own camera are left out where both cameras are known.

    Returns:
        One level for each of `FPIR_LEVELS`.
    """
    own = same_person(queries.pids[:, None], gallery.pids[None])
    right = own & ~same_camera(queries.camids[:, None], gallery.camids[None])
    strangers = np.where(own, -np.inf, similarity).max(axis=1)  # (Q,) first match if the person were absent
    present = right.any(axis=1)
    best = np.where(right, similarity, -np.inf).max(axis=1)[present]
    first_is_right = best > strangers[present]
    levels = []
    for aim in FPIR_LEVELS:
        # The lowest threshold that at most this share of the absent people's first matches reach.
        allowed = int(np.floor(aim * len(strangers)))
        threshold = float(np.nextafter(np.sort(strangers)[::-1][allowed], np.inf)) if allowed < len(strangers) else -1.0
        fpir = round(float((strangers >= threshold).mean()), 4)
        fnir = round(float(1 - (first_is_right & (best >= threshold)).mean()), 4) if len(best) else None
        levels.append(Level(aim, threshold, fpir, fnir))
    return Rates(num_present=int(present.sum()), num_absent=len(strangers), levels=tuple(levels))
