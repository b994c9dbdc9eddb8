"""Add to a gallery what the page and the measurements need: example probes, cut-outs, ground truth, people."""

import json
import shutil
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from reid_demo.data.ground_truth import TRUTH_FILE, read_truth, to_line, write_truth
from reid_demo.data.layouts import market_ids
from reid_demo.data.people_file import PEOPLE, copy_people
from reid_demo.data.probes import ABSENT, FOLDER, LISTING, QUERY_FOLDERS, ShippedProbe, read_probes
from reid_demo.errors import DatasetError
from reid_demo.search.gallery import Gallery

FEATURED = {"whole": 4, "occluded": 4, "partial": 2, "absent": 2}  # number of example probes on the page, by kind
MAX_ABSENT = 60


def ship_probes(dataset: Path, gallery: Gallery, absent: Path | None = None) -> dict[str, int]:
    """Copy the query images of a data set in the layout of Market-1501 into `GALLERY/probes`, with a listing.

    Args:
        dataset: with `query`, and optionally `query_occluded` and `query_partial`.
        gallery: built from the same data set; probes of people it does not hold are left out.
        absent: a folder of images of people who must not be in the gallery.

    Returns:
        The number of probes of each kind.

    Raises:
        DatasetError: no query images, or an absent person is in the gallery.
    """
    known = {pid for pid in gallery.people.tolist() if pid > 0}  # junk and distractors are nobody to look for
    chosen = _chosen(dataset, known, absent)
    folder = gallery.folder / FOLDER
    # What ships stays until all is written.
    with tempfile.TemporaryDirectory(dir=gallery.folder, prefix=".writing-") as aside:
        counts = _write(chosen, Path(aside))
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        for path in Path(aside).iterdir():
            path.replace(folder / path.name)
    return counts


def _chosen(dataset: Path, known: set[int], absent: Path | None) -> list[tuple[Path, str]]:
    """Return the pictures to ship, with the kind of each; `known` are the people of the gallery."""
    chosen = [
        (path, kind)
        for kind, source in QUERY_FOLDERS.items()
        for path in sorted((dataset / source).glob("*.jpg"))
        if market_ids(path.name)[0] in known
    ]
    if not chosen:
        raise DatasetError(f"No query images of people in this gallery under {dataset.name!r}/query.")
    strangers: dict[int | None, Path] = {}  # the first picture of each
    for path in sorted(absent.glob("*.jpg")) if absent else ():
        pid = market_ids(path.name)[0]
        if pid in known:
            raise DatasetError(f"The person {pid} is in the gallery; `--absent` needs people who are not.")
        strangers.setdefault(pid, path)
        if len(strangers) >= MAX_ABSENT:
            break
    return [*chosen, *((path, ABSENT) for path in strangers.values())]


def _write(chosen: list[tuple[Path, str]], folder: Path) -> dict[str, int]:
    """Copy pictures into a folder, with their listing; return the number of each kind."""
    rows = [_copy(path, folder, kind) for path, kind in chosen]
    counts = {kind: sum(row.kind == kind for row in rows) for kind in FEATURED}
    featured: set[str] = set()
    for kind, number in FEATURED.items():
        same = [row.path for row in rows if row.kind == kind]
        featured.update(same[:: max(1, len(same) // number)][:number])
    rows = [replace(row, featured=row.path in featured) for row in rows]
    lines = "".join(json.dumps(asdict(row)) + "\n" for row in rows)
    (folder / LISTING).write_text(lines, encoding="utf-8")
    return counts


def ship_cutouts(dataset: Path, gallery: Gallery) -> int:
    """Copy the RGBA cut-outs of a synthetic data set to `GALLERY/occluders`; return their number."""
    source, target = dataset / "occluders", gallery.folder / "occluders"
    if not source.is_dir():
        return 0
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source, target)
    return sum(1 for _ in target.glob("*.png"))


def ship_truth(dataset: Path, gallery: Gallery) -> int:
    """Write the ground truth of the gallery's images and probes to `GALLERY/truth.jsonl.gz`; return the row count.

    A row's `image` is the path inside the gallery's folder.
    """
    if not (dataset / TRUTH_FILE).is_file():
        return 0
    # `index` inserts part of the content's hash before the suffix of a file name
    places = {Path(record.path).name.split(".")[0]: record.path for record in gallery.records}
    for path in (gallery.folder / FOLDER).glob("*.jpg"):
        places[path.stem.partition("_")[2]] = f"probes/{path.name}"
    rows = [(places.get(Path(row.image).stem), row) for row in read_truth(dataset / TRUTH_FILE)]
    lines = sorted(to_line(replace(row, image=place)) for place, row in rows if place)
    write_truth(gallery.folder / TRUTH_FILE, lines)
    return len(lines)


def ship_people(dataset: Path, gallery: Gallery) -> int:
    """Copy the rows about people in the gallery or its probes to `GALLERY/people.jsonl.gz`; return their number."""
    if not (dataset / PEOPLE).is_file():
        return 0
    pids = {record.pid for record in gallery.records} | {row.pid for row in read_probes(gallery.folder)}
    return copy_people(dataset / PEOPLE, gallery.folder / PEOPLE, pids)


def _copy(path: Path, folder: Path, kind: str) -> ShippedProbe:
    pid, camid = market_ids(path.name)
    name = f"{kind}_{path.name}"
    shutil.copyfile(path, folder / name)
    title = f"{kind}: person {pid}" if kind != ABSENT else f"not in the gallery: person {pid}"
    return ShippedProbe(name, title, pid, camid, kind, featured=False)
