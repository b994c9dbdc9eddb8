"""Data sets by their published layouts, as sorted lists of `ImageRecord`."""

import re
from dataclasses import dataclass
from pathlib import Path

from reid_demo.data.probes import QUERY_FOLDERS
from reid_demo.errors import DatasetError
from reid_demo.images import looks_like_image
from reid_demo.records import ImageRecord

MARKET_NAME = re.compile(r"^(-?\d+)_c(\d+)")  # 0002_c1s1_000451_03.jpg
CAMERA_NAME = re.compile(r"_c(\d+)")
MOST = 2**63 - 1  # the largest number of a person or camera; arrays hold 64 bits
SPLITS = {"bounding_box_train", "bounding_box_test", "query"}

# Benchmarks, and the probe sets of each; the first is the one that its protocol means.
PROBES = {
    "market1501": ("whole",),
    "synthetic": ("whole", "occluded", "partial"),
    "occluded_reid": ("occluded",),
    "partial_reid": ("partial", "occluded"),
    "partial_ilids": ("partial",),
    "folder": ("whole",),
}


def market_ids(name: str) -> tuple[int | None, int | None]:
    """Read (pid, camid) from a Market-1501 file name, (None, None) where it is not one.

    Raises:
        DatasetError: a number is larger than `MOST`.
    """
    found = MARKET_NAME.match(name)
    return (_number(found.group(1), name), _number(found.group(2), name)) if found else (None, None)


def _number(digits: str, name: str) -> int:
    if abs(int(digits)) > MOST:
        raise DatasetError(f"The name {name!r} has a number of more than 64 bits. Rename it.")
    return int(digits)


@dataclass(frozen=True)
class Benchmark:
    """Queries and gallery of a data set, and its protocol."""

    queries: list[ImageRecord]
    gallery: list[ImageRecord]
    exclude_same_camera: bool  # leave out gallery images of the query's person under the query's camera
    protocol: str  # in words


def load_split(root: Path, split: str) -> list[ImageRecord]:
    """Read one folder of the Market-1501 layout; pid -1 (junk) is dropped, 0 (distractor) kept.

    Raises:
        DatasetError: the folder is missing, empty, or holds names of another form.
    """
    folder = _folder(root, split)
    records = []
    for path in sorted(folder.glob("[!.]*.jpg")):
        pid, camid = market_ids(path.name)
        if pid is None:
            raise DatasetError(f"The file {path} is not named like 0002_c1s1_000451_03.jpg; rename or remove it.")
        if pid != -1:
            records.append(ImageRecord(f"{split}/{path.name}", pid, camid))
    if not records:
        raise DatasetError(f"The folder {folder} holds no .jpg images.")
    return records


def load_train(dataset: str, root: Path) -> list[ImageRecord]:
    """Return the training images of a data set, people only (no distractors), sorted by path.

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
        raise DatasetError(f"The folder {root} holds no image of a known person to train on.")
    return people


def load_folder(root: Path) -> list[ImageRecord]:
    """Read a plain folder: each sub-folder is a person (pid 1, 2, ... by name), or flat files with Market-1501 names.

    A file name of the form `..._cN...` gives the camera; without it the camera is not known.
    """
    folders = sorted(p for p in _folder(root).iterdir() if p.is_dir() and not p.name.startswith("."))
    if SPLITS & {folder.name for folder in folders}:
        raise DatasetError(f"The folder {root} has the layout of Market-1501; name the data set market1501.")
    records = []
    for pid, folder in enumerate(folders, start=1):
        for path in _images(folder):
            camera = CAMERA_NAME.search(path.name)
            records.append(
                ImageRecord(f"{folder.name}/{path.name}", pid, _number(camera.group(1), path.name) if camera else None)
            )
    if not folders:
        for path in _images(root):
            pid, camid = market_ids(path.name)
            if pid is None:
                raise DatasetError(
                    f"The file {path} is not named like 0002_c1s1_000451_03.jpg; use one sub-folder a person."
                )
            if pid != -1:
                records.append(ImageRecord(path.name, pid, camid))
    if not records:
        raise DatasetError(f"The folder {root} holds no images.")
    return records


def load_benchmark(dataset: str, root: Path, probes: str | None = None) -> Benchmark:
    """Read queries and gallery as the protocol of a data set pairs them.

    Args:
        dataset: one of `PROBES`.
            `market1501`: `query/` against `bounding_box_test/`, the same person and camera excluded.
            `synthetic`: the same layout and rule; `query_occluded/` and `query_partial/` are further probe sets.
            `occluded_reid`: `occluded_body_images/NNN/*` against `whole_body_images/NNN/*`.
            `partial_reid`: `partial_body_images/NNN_*` (or `occluded_body_images`) against `whole_body_images/NNN_*`.
            `partial_ilids`: `Probe/NNN*` against `Gallery/NNN*`. These three exclude nothing: they name no cameras.
            `folder`: as `load_folder`. The first image, by name, of every person with two or more is a query; all other
            images are the gallery. If every name states a camera, the same person and camera are excluded.
        root: its folder.
        probes: which probe set; default: the first that `PROBES` lists.

    Raises:
        DatasetError: an unknown data set or probe set, or a root that is not as its layout says.
    """
    if dataset not in PROBES:
        raise DatasetError(f"Unknown data set {dataset!r}; choose one of {', '.join(PROBES)}.")
    probes = probes or PROBES[dataset][0]
    if probes not in PROBES[dataset]:
        raise DatasetError(f"The data set {dataset} has the probes {', '.join(PROBES[dataset])}, not {probes!r}.")
    if dataset in ("market1501", "synthetic"):
        queries, gallery = load_split(root, QUERY_FOLDERS[probes]), load_split(root, "bounding_box_test")
        return Benchmark(queries, gallery, True, f"{probes} queries, same person and camera excluded")
    if dataset == "folder":
        return _split_folder(load_folder(root))
    if dataset == "partial_ilids":
        queries, gallery = _numbered(root, "Probe", deep=False), _numbered(root, "Gallery", deep=False)
    else:
        deep = dataset == "occluded_reid"
        queries, gallery = (_numbered(root, f"{kind}_body_images", deep=deep) for kind in (probes, "whole"))
    return Benchmark(queries, gallery, False, f"{probes} queries, whole gallery, nothing excluded")


def _split_folder(records: list[ImageRecord]) -> Benchmark:
    by_person: dict[int, list[ImageRecord]] = {}
    for record in records:
        by_person.setdefault(record.pid, []).append(record)
    queries = [rows[0] for pid, rows in sorted(by_person.items()) if pid > 0 and len(rows) > 1]
    chosen = {record.path for record in queries}
    cameras = all(record.camid is not None for record in records)
    rule = "same person and camera excluded" if cameras else "nothing excluded"
    gallery = [record for record in records if record.path not in chosen]
    return Benchmark(queries, gallery, cameras, f"first image of each person is the query, {rule}")


def _folder(root: Path, name: str = "") -> Path:
    """Return a folder of a data set; it must be there."""
    root = Path(root)
    if not root.is_dir():
        raise DatasetError(f"The data set's folder {root} does not exist.")
    if not (root / name).is_dir():
        raise DatasetError(f"The folder {root / name} is missing; the data set's layout needs it.")
    return root / name


def _numbered(root: Path, name: str, deep: bool) -> list[ImageRecord]:
    """Read images whose pid is the leading number of their folder (`deep`) or of their own name."""
    folder = _folder(root, name)
    places = sorted(path for path in folder.iterdir() if path.is_dir()) if deep else [folder]
    records = []
    for place in places:
        for path in _images(place):
            number = re.match(r"\d+", place.name if deep else path.name)
            if not number:
                raise DatasetError(f"The path {path} has no person number at the start of its name.")
            records.append(ImageRecord(path.relative_to(root).as_posix(), _number(number.group(), path.name)))
    if not records:
        wanted = folder / "001" if deep else folder
        raise DatasetError(f"There are no images in {folder}; the layout expects some such as {wanted / '001_01.jpg'}.")
    return sorted(records, key=lambda record: record.path)


def _images(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if looks_like_image(p) and not p.name.startswith("."))
