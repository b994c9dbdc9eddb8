"""Probes that ship with a gallery: `GALLERY/probes/probes.jsonl`, one JSON object a line, and the pictures beside."""

from dataclasses import dataclass
from pathlib import Path

from reid_demo.data.files import read_json_lines
from reid_demo.errors import DatasetError
from reid_demo.images import inside

FOLDER, LISTING = "probes", "probes.jsonl"
# Kind of probe -> folder of a data set in the layout of Market-1501.
QUERY_FOLDERS = {"whole": "query", "occluded": "query_occluded", "partial": "query_partial"}
ABSENT = "absent"  # a kind of its own: the person is not in the gallery
KINDS = (*QUERY_FOLDERS, ABSENT)
MEND = "Make the listing again with `python -m reid_demo probes`."


@dataclass(frozen=True)
class ShippedProbe:
    """One line of the listing."""

    path: str  # relative to `GALLERY/probes`
    title: str = ""
    pid: int | None = None
    camid: int | None = None
    kind: str = "whole"  # of `KINDS`
    featured: bool = True  # offered on the page; the others serve sets of what-ifs


def read_probes(gallery_folder: Path) -> list[ShippedProbe]:
    """Read the probes that a gallery ships.

    Raises:
        DatasetError: there is no listing, a field of it is wrong, or it names a file outside of `probes/`.
    """
    folder = gallery_folder / FOLDER
    if not (folder / LISTING).is_file():
        raise DatasetError(f"There is no {folder / LISTING}; make it with `python -m reid_demo probes`.")
    rows = list(read_json_lines(ShippedProbe, folder / LISTING, DatasetError, MEND))
    for row in rows:
        inside(folder, row.path, DatasetError)
    return rows
