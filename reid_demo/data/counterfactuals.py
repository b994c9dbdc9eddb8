"""Pictures of rendered people with one thing changed: `GALLERY/counterfactuals`, one JSON object a line beside them.

`python -m reid_demo counterfactuals --strip` makes them; the page searches with them. They hold no ranks: which
pictures there are does not depend on the weights.
"""

from dataclasses import dataclass
from pathlib import Path

from reid_demo.data.files import read_json_lines
from reid_demo.errors import DatasetError
from reid_demo.images import inside

FOLDER, LISTING = "counterfactuals", "counterfactuals.jsonl"
MEND = "Make the pictures again with `python -m reid_demo counterfactuals --strip`."


@dataclass(frozen=True)
class Changed:
    """One line of the listing."""

    path: str  # relative to `GALLERY/counterfactuals`
    pid: int  # of the person in the gallery
    change: str  # what differs from the shipped probe; empty for the untouched picture, which comes first
    words: str  # for a caption: "the same woman without her bag"


def read_changed(gallery_folder: Path) -> list[Changed]:
    """Read the changed people of a gallery, each person's pictures together; none where it ships none.

    Raises:
        DatasetError: a field of the listing is wrong, or it names a file outside of its folder.
    """
    folder = gallery_folder / FOLDER
    if not (folder / LISTING).is_file():
        return []
    rows = list(read_json_lines(Changed, folder / LISTING, DatasetError, MEND))
    for row in rows:
        inside(folder, row.path, DatasetError)
    return rows
