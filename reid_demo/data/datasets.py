"""Data sets by their published layouts, as sorted lists of `ImageRecord`."""

import re
from pathlib import Path

from reid_demo.errors import DatasetError
from reid_demo.records import ImageRecord

MARKET_NAME = re.compile(r"^(-?\d+)_c(\d+)")  # 0002_c1s1_000451_03.jpg


def load_split(root: Path, split: str) -> list[ImageRecord]:
    """Read one folder of the Market-1501 layout; pid -1 (junk) is dropped, 0 (distractor) kept.

    Raises:
        DatasetError: the folder is missing, empty, or holds names of another form.
    """
    folder = root / split
    if not folder.is_dir():
        raise DatasetError(f"The folder {split!r} is missing under {root.name!r}; the Market-1501 layout needs it.")
    records = []
    for path in sorted(folder.glob("*.jpg")):
        found = MARKET_NAME.match(path.name)
        if not found:
            raise DatasetError(f"{split}/{path.name} is not named like 0002_c1s1_000451_03.jpg.")
        pid, camid = int(found.group(1)), int(found.group(2))
        if pid != -1:
            records.append(ImageRecord(f"{split}/{path.name}", pid, camid))
    if not records:
        raise DatasetError(f"The folder {split!r} under {root.name!r} holds no .jpg images.")
    return records
