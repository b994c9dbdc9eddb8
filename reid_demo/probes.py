"""Ship example probes with a gallery: whole, occluded, partial, and people who are not in it."""

import json
import shutil
from pathlib import Path

from reid_demo.errors import DatasetError
from reid_demo.gallery import Gallery
from reid_demo.indexing import market_ids

KINDS = {"whole": "query", "occluded": "query_occluded", "partial": "query_partial"}
FEATURED = {"whole": 4, "occluded": 4, "partial": 2, "absent": 2}  # how many the page offers
MAX_ABSENT = 40


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


def _copy(path: Path, folder: Path, kind: str) -> dict:
    pid, camid = market_ids(path.name)
    name = f"{kind}_{path.name}"
    shutil.copyfile(path, folder / name)
    title = f"{kind}: person {pid}" if kind != "absent" else f"not in the gallery: person {pid}"
    return {"path": name, "title": title, "pid": pid, "camid": camid, "kind": kind, "featured": False}
