"""Data sets by their published layouts, as sorted lists of `ImageRecord`."""

import json
import re
from pathlib import Path

from reid_demo.errors import DatasetError
from reid_demo.records import ImageRecord

MARKET_NAME = re.compile(r"^(-?\d+)_c(\d+)")  # 0002_c1s1_000451_03.jpg
CAMERA_NAME = re.compile(r"_c(\d+)")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


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


def load_train(dataset: str, root: Path) -> list[ImageRecord]:
    """Give the training images of a data set, people only (no distractors), sorted by path.

    Args:
        dataset: `market1501`, `synthetic` (the same layout), or `folder` (one sub-folder of images a person; a flat
            folder needs Market-1501 names).
        root: its folder.

    Raises:
        DatasetError: an unknown name, or a root that is not as its layout says.
    """
    if dataset in ("market1501", "synthetic"):
        records = load_split(root, "bounding_box_train")
    elif dataset == "folder":
        records = load_folder(root)
    else:
        raise DatasetError(f"Cannot train on {dataset!r}; choose market1501, synthetic or folder.")
    people = [record for record in records if record.pid is not None and record.pid > 0]
    if not people:
        raise DatasetError(f"{root.name!r} holds no image of a known person to train on.")
    return people


def load_folder(root: Path) -> list[ImageRecord]:
    """Read a plain folder: each sub-folder is a person (pid 1, 2, ... by name), or flat files with Market-1501 names.

    A file name of the form `..._cN...` gives the camera; without it the camera is not known.
    """
    if not root.is_dir():
        raise DatasetError(f"The folder {root.name!r} does not exist.")
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    records = []
    for pid, folder in enumerate(folders, start=1):
        for path in _images(folder):
            camera = CAMERA_NAME.search(path.name)
            records.append(ImageRecord(f"{folder.name}/{path.name}", pid, int(camera.group(1)) if camera else None))
    if not folders:
        for path in _images(root):
            found = MARKET_NAME.match(path.name)
            if not found:
                raise DatasetError(
                    f"{path.name} is not named like 0002_c1s1_000451_03.jpg; use one sub-folder a person."
                )
            if int(found.group(1)) != -1:
                records.append(ImageRecord(path.name, int(found.group(1)), int(found.group(2))))
    if not records:
        raise DatasetError(f"The folder {root.name!r} holds no images.")
    return records


def load_benchmark(dataset: str, root: Path, probes: str = "partial") -> tuple[list[ImageRecord], list[ImageRecord]]:
    """Give queries and gallery of an occluded or partial benchmark; cameras are not known, so none is excluded.

    Args:
        dataset: `occluded_reid` (`occluded_body_images/NNN/*`, `whole_body_images/NNN/*`), `partial_reid`
            (`partial_body_images`, `occluded_body_images`, `whole_body_images`, files `001_001.jpg`) or
            `partial_ilids` (`Probe/1.jpg`, `Gallery/1.jpg`).
        root: its folder.
        probes: for `partial_reid`, `partial` or `occluded`.
    """
    if dataset == "occluded_reid":
        return tuple(_numbered(root, f"{kind}_body_images", deep=True) for kind in ("occluded", "whole"))
    if dataset == "partial_reid":
        if probes not in ("partial", "occluded"):
            raise DatasetError(f"Partial-REID has the probes partial and occluded, not {probes!r}.")
        return tuple(_numbered(root, f"{kind}_body_images", deep=False) for kind in (probes, "whole"))
    if dataset == "partial_ilids":
        return _numbered(root, "Probe", deep=False), _numbered(root, "Gallery", deep=False)
    raise DatasetError(f"Unknown benchmark {dataset!r}; choose occluded_reid, partial_reid or partial_ilids.")


def read_probes(gallery_folder: Path) -> list[dict]:
    """Read the probes that a gallery ships: rows `path, title, pid, camid, kind, featured`, paths under `probes/`.

    Raises:
        DatasetError: there is no listing, or it is damaged.
    """
    listing = gallery_folder / "probes" / "probes.jsonl"
    try:
        return [json.loads(line) for line in listing.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError as error:
        raise DatasetError(f"The gallery has no {listing.name}; make it with `python -m reid_demo probes`.") from error
    except ValueError as error:
        raise DatasetError(f"The listing {listing.name} of the gallery's probes is damaged: {error}") from error


def _numbered(root: Path, name: str, deep: bool) -> list[ImageRecord]:
    """Read images whose pid is the leading number of their folder (`deep`) or of their own name."""
    folder = root / name
    if not folder.is_dir():
        raise DatasetError(f"The folder {name!r} is missing under {root.name!r}; the data set's layout needs it.")
    places = sorted(path for path in folder.iterdir() if path.is_dir()) if deep else [folder]
    records = []
    for place in places:
        for path in _images(place):
            number = re.match(r"\d+", place.name if deep else path.name)
            if not number:
                raise DatasetError(f"{path.relative_to(root)} has no person number at the start of its name.")
            records.append(ImageRecord(path.relative_to(root).as_posix(), int(number.group())))
    if not records:
        raise DatasetError(f"The folder {name!r} under {root.name!r} holds no images.")
    return sorted(records, key=lambda record: record.path)


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
