"""Stories that examples tell: `GALLERY/examples.json`, made by `python -m reid_demo examples`, read by the page."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from reid_demo.data.files import read_json
from reid_demo.errors import DatasetError

FILE = "examples.json"
MEND = "Make it again with `python -m reid_demo examples`."
# What an example shows about its own person: ranks of that person's best image.
FALLS = "falls"  # first in the untouched list, far down with a part hidden
PARTS = "parts"  # with a part hidden, the cosine loses the first place and the part-aware similarity keeps it
RISES = "rises"  # something covers the person; hiding it too brings the right person to the top
HOLDS = "holds"  # first with and without a part hidden
COVERED = "covered"  # first although something covers half of the person
ABSENT = "absent"  # nobody to find
STORIES = (FALLS, PARTS, RISES, HOLDS, COVERED, ABSENT)


def _known(story: str) -> str:
    if story not in STORIES:
        raise ValueError(f"choose one of {', '.join(STORIES)}")
    return story


@dataclass(frozen=True)
class Ranks:
    """Rank of the right person's best image, 1 is the best: of the untouched probe, and with the part hidden."""

    untouched: int
    hidden: int


@dataclass(frozen=True)
class Story:
    """A shipped probe, what to hide of it, and what happens."""

    path: str  # of the probe, relative to `GALLERY/probes`
    story: Annotated[str, AfterValidator(_known)]  # of `STORIES`
    occluder: str | None  # of `occlude.BOXES`; `None`: nothing is hidden
    cosine: Ranks | None = None  # `None` where the person is not in the gallery
    part_aware: Ranks | None = None


@dataclass(frozen=True)
class Stories:
    """The examples that a page offers, the most telling one first."""

    fingerprint: str  # of the weights that they were measured with
    command: str
    examples: list[Story]

    def as_dict(self) -> dict:
        """Return plain values for JSON."""
        return asdict(self)


def read_stories(gallery_folder: Path, fingerprint: str) -> list[Story]:
    """Read the stories of a gallery; none where the file is missing or was measured with other weights.

    Raises:
        DatasetError: a field of the file is wrong.
    """
    if not (gallery_folder / FILE).is_file():
        return []
    stories = read_json(Stories, gallery_folder / FILE, DatasetError, MEND)
    return stories.examples if stories.fingerprint == fingerprint else []
