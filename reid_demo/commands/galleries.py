"""Make galleries: `index` and `probes`."""

import argparse
import json
import sys
from pathlib import Path

from reid_demo.commands import common


def add(commands) -> None:
    """Add these commands to the parser."""
    sub = common.command(commands, "index", _index, "build or update a gallery from a folder of person crops")
    sub.add_argument("images", metavar="DIR")
    sub.add_argument("--out", required=True, metavar="GALLERY")
    sub.add_argument("--name", help="name shown on the page; default: the folder's")
    sub.add_argument(
        "--find-people",
        nargs="?",
        const="hog",
        metavar="ONNX",
        help="the images are whole frames: cut out each person found, by OpenCV's detector or by a YOLO-like ONNX file",
    )
    sub.add_argument("--store", metavar="ADDRESS", help="keep the vectors in milvus://host:port/collection instead")
    sub.add_argument("--exact-limit", type=int, metavar="N", help="compress galleries of more images; default 200000")
    common.json_flag(sub)

    sub = common.command(
        commands, "probes", _probes, "ship example probes with a gallery, from the query images of its data set"
    )
    sub.add_argument("dataset", metavar="DIR", help="with query, query_occluded, query_partial")
    sub.add_argument("--gallery", required=True)
    sub.add_argument("--absent", metavar="DIR", help="images of people who are not in the gallery")


def _index(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from reid_demo import finder
    from reid_demo.indexing import index_folder

    people = finder.open_finder(options.find_people) if options.find_people else None
    describer, fingerprint, _ = common.describer(options)
    pace = 0.1 if sys.stderr.isatty() else 10.0  # seconds between two updates; a log gets few lines
    with tqdm(unit="image", file=sys.stderr, mininterval=pace, maxinterval=pace) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        report = index_folder(
            options.images,
            options.out,
            describer,
            fingerprint,
            name=options.name,
            finder=people,
            store=options.store,
            progress=progress,
            say=lambda line: tqdm.write(line, file=sys.stderr),
            exact_limit=options.exact_limit,
        )
    if options.json:
        print(json.dumps(vars(report)))
        return
    if report.rebuilt:
        print(f"Everything was described anew. {report.rebuilt}")
    print(
        f"{report.total} images in {options.out}: {report.added} new ({report.resumed} from a run that was stopped), "
        f"{report.kept} kept, {report.removed} removed, {report.duplicates} duplicates left out, "
        f"{len(report.skipped)} skipped; {report.seconds:.0f} s."
    )
    if people:
        print(f"{report.empty} frames without a person. {finder.CAVEAT}")
    if not report.exact:
        print("Searches of this gallery are approximate: it is compressed, and candidates are scored exactly.")
    for path, reason in report.skipped:
        print(f"  skipped {path}: {reason}")
    print(f"Open it with: python app.py --gallery {options.out}")


def _probes(options: argparse.Namespace) -> None:
    from reid_demo import gallery
    from reid_demo.probes import ship_probes

    absent = Path(options.absent) if options.absent else None
    print(json.dumps(ship_probes(Path(options.dataset), gallery.load(options.gallery), absent)))
