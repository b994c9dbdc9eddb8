"""Ship with a gallery what the page and the measurements need: example probes, cut-outs, ground truth."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

from reid_demo.data.ground_truth import read_truth, to_line, write_truth
from reid_demo.data.people_file import PEOPLE, copy_people
from reid_demo.errors import DatasetError
from reid_demo.search.build import market_ids
from reid_demo.search.gallery import Gallery

KINDS = {"whole": "query", "occluded": "query_occluded", "partial": "query_partial"}
FEATURED = {"whole": 4, "occluded": 4, "partial": 2, "absent": 2}  # how many the page offers
MAX_ABSENT = 60
TRUTH = "truth.jsonl.gz"


def ship_probes(dataset: Path, gallery: Gallery, absent: Path | None = None) -> dict[str, int]:
    """Copy the query images of a Market-1501-like data set into `GALLERY/probes` and list them.

    Args:
        dataset: with `query`, and where there are any `query_occluded` and `query_partial`.
        gallery: built from the same data set; probes of people it does not know are left out.
        absent: a folder of images of people who must not be in the gallery.

    Returns:
        How many of each kind.

    Raises:
        DatasetError: no query images, or an absent person is in the gallery.
    """
    known = {record.pid for record in gallery.records}
    folder = gallery.folder / "probes"
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    rows: list[dict] = []
    for kind, source in KINDS.items():
        for path in sorted((dataset / source).glob("*.jpg")):
            if market_ids(path.name)[0] in known:
                rows.append(_copy(path, folder, kind))
    if not rows:
        raise DatasetError(f"No query images of people in this gallery under {dataset.name!r}/query.")
    for path in sorted(absent.glob("*.jpg")) if absent else ():
        pid = market_ids(path.name)[0]
        if pid in known:
            raise DatasetError(f"The person {pid} is in the gallery; `--absent` needs people who are not.")
        if pid not in {row["pid"] for row in rows}:
            rows.append(_copy(path, folder, "absent"))
        if sum(row["kind"] == "absent" for row in rows) >= MAX_ABSENT:
            break
    counts = {kind: sum(row["kind"] == kind for row in rows) for kind in FEATURED}
    for kind, number in FEATURED.items():
        same = [row for row in rows if row["kind"] == kind]
        step = max(1, len(same) // number)
        for row in same[::step][:number]:
            row["featured"] = True
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "probes.jsonl").write_text(lines, encoding="utf-8")
    return counts


def ship_cutouts(dataset: Path, gallery: Gallery) -> int:
    """Copy the cut-outs of a synthetic data set, RGBA, to `GALLERY/occluders`; give how many there are."""
    source, target = dataset / "occluders", gallery.folder / "occluders"
    if not source.is_dir():
        return 0
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source, target)
    return sum(1 for _ in target.glob("*.png"))


def ship_truth(dataset: Path, gallery: Gallery) -> int:
    """Write the ground truth of the gallery's images and probes to `GALLERY/truth.jsonl.gz`; give how many rows.

    A row's `image` is the path inside the gallery's folder.
    """
    if not (dataset / TRUTH).is_file():
        return 0
    # `index` puts a piece of the content's hash into a file name, before the suffix.
    places = {Path(record.path).name.split(".")[0]: record.path for record in gallery.records}
    for path in (gallery.folder / "probes").glob("*.jpg"):
        places[path.stem.partition("_")[2]] = f"probes/{path.name}"
    rows = [(places.get(Path(row.image).stem), row) for row in read_truth(dataset / TRUTH)]
    lines = sorted(to_line(replace(row, image=place)) for place, row in rows if place)
    write_truth(gallery.folder / TRUTH, lines)
    return len(lines)


def ship_people(dataset: Path, gallery: Gallery) -> int:
    """Write who the people of the gallery and of its probes are to `GALLERY/people.jsonl.gz`; return how many."""
    if not (dataset / PEOPLE).is_file():
        return 0
    rows = (gallery.folder / "probes" / "probes.jsonl").read_text(encoding="utf-8").splitlines()
    pids = {record.pid for record in gallery.records} | {json.loads(row)["pid"] for row in rows}
    return copy_people(dataset / PEOPLE, gallery.folder / PEOPLE, pids)


def _copy(path: Path, folder: Path, kind: str) -> dict:
    pid, camid = market_ids(path.name)
    name = f"{kind}_{path.name}"
    shutil.copyfile(path, folder / name)
    title = f"{kind}: person {pid}" if kind != "absent" else f"not in the gallery: person {pid}"
    return {"path": name, "title": title, "pid": pid, "camid": camid, "kind": kind, "featured": False}
