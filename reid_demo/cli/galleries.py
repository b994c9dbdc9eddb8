"""Make galleries: `index`, `probes` and `examples`."""

import argparse
import functools
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from reid_demo.cli import common

MOST_UNREAD = 20  # most unread files and folders to list


def add(commands) -> None:
    """Add these commands to the parser."""
    text = "build or update a gallery from a folder of person crops; under torchrun, on several processes or GPUs"
    sub = common.command(commands, "index", _index, text)
    text = "folder of pictures, searched recursively; each shows one person, unless --find-people is set"
    sub.add_argument("images", metavar="DIR", help=text)
    sub.add_argument(
        "--out",
        required=True,
        metavar="GALLERY",
        help="the gallery's folder; re-run to update it to exactly the pictures in DIR",
    )
    sub.add_argument("--name", help="name shown on the page; default: the folder's")
    sub.add_argument(
        "--find-people",
        nargs="?",
        const="hog",
        metavar="ONNX",
        help="DIR holds whole frames: cut out the people found by OpenCV's detector, or by a YOLO-like ONNX file",
    )
    sub.add_argument("--store", metavar="ADDRESS", help="store the vectors in milvus://host:port/collection instead")
    sub.add_argument(
        "--exact-limit", type=common.count, metavar="N", help="compress galleries of more images; default 200000"
    )
    text = "default similarity of the gallery; default: adaptive for the variant G+D+W, else part_aware"
    sub.add_argument("--similarity", type=common.weighing, metavar="{cosine,adaptive,part_aware}", help=text)
    views = sub.add_mutually_exclusive_group()
    text = "describe each image only as it is: four times as fast; the default of weights for which that is enough"
    views.add_argument("--one-view", action="store_true", help=text)
    text = "describe each image mirrored and with each half hidden as well; the default of all other weights"
    views.add_argument("--four-views", action="store_true", help=text)
    common.precision_flag(sub, "bfloat16 on a CPU that supports it")
    common.json_flag(sub)

    sub = common.command(
        commands,
        "probes",
        _probes,
        "ship example probes with a gallery, from the query images of its data set",
        uses=(),
    )
    sub.add_argument("dataset", metavar="DIR", help="data set with the folders query, query_occluded, query_partial")
    sub.add_argument("--gallery", required=True, help="gallery to add the probes to")
    sub.add_argument("--absent", metavar="DIR", help="images of people who are not in the gallery")
    common.json_flag(sub, always=True)

    text = "measure every shipped probe with each part hidden, and choose the page's examples; writes examples.json"
    sub = common.command(commands, "examples", _examples, text)
    sub.add_argument("--gallery", help="gallery with probes; default: the shipped one")
    common.json_flag(sub, always=True)


def _run_index(options: argparse.Namespace, wanted):
    """Build the gallery, an `IndexOptions`; return the report, or `None` on ranks above 0 under `torchrun`."""
    from tqdm import tqdm

    from reid_demo.search.build import index_folder
    from reid_demo.search.gallery_views import own_views
    from reid_demo.training.distributed import Helpers, team

    with team(options.device, objects=True) as crew:
        own = argparse.Namespace(**{**vars(options), "device": str(crew.device)})
        describer, fingerprint, _ = common.describer(own, bulk=True)
        views = wanted.views or own_views(describer.model.config)
        helpers = Helpers(crew, describer, views) if crew.size > 1 else None
        if crew.rank:
            helpers.serve()
            return None
        try:
            with common.progress_bar("image") as progress:
                say = functools.partial(tqdm.write, file=sys.stderr)
                wanted = replace(wanted, helpers=helpers, progress=progress, say=say)
                return index_folder(options.images, options.out, describer, fingerprint, wanted)
        finally:
            if helpers:
                helpers.dismiss()


def _index(options: argparse.Namespace) -> None:
    from reid_demo.records import Scoring
    from reid_demo.search.build import IndexOptions
    from reid_demo.search.detector import CAVEAT, open_finder
    from reid_demo.search.gallery_views import ONE_VIEW, VIEWS

    wanted = IndexOptions(
        name=options.name,
        finder=open_finder(options.find_people) if options.find_people else None,
        store=options.store,
        exact_limit=options.exact_limit,
        scoring=Scoring(options.similarity) if options.similarity else None,
        views=ONE_VIEW if options.one_view else VIEWS if options.four_views else None,
    )
    report = _run_index(options, wanted)
    if report is None:
        return
    if options.json:
        print(json.dumps(vars(report)))
        return
    if report.rebuilt:
        print(f"Everything was described again. {report.rebuilt}")
    print(
        f"{report.total} images in {options.out}: {report.added} new ({report.resumed} from a stopped run), "
        f"{report.kept} kept, {report.removed} removed, {report.duplicates} duplicates left out, "
        f"{len(report.skipped)} skipped, {len(report.unread)} not read; {report.seconds:.0f} s."
    )
    if wanted.finder:
        print(f"{report.empty} frames without a person. {CAVEAT}")
    if not report.exact:
        print("Searches of this gallery are approximate: it is compressed, and only candidates are scored exactly.")
    for path, reason in report.skipped:
        print(f"  skipped {path}: {reason}")
    for path, reason in report.unread[:MOST_UNREAD]:
        print(f"  not read {path}: {reason}")
    if len(report.unread) > MOST_UNREAD:
        print(f"  and {len(report.unread) - MOST_UNREAD} more; --json lists all")
    print(f"Open it with: python app.py --gallery {shlex.quote(options.out)}")


def _probes(options: argparse.Namespace) -> None:
    from reid_demo.search import gallery
    from reid_demo.search.ship import ship_probes

    absent = Path(options.absent) if options.absent else None
    print(json.dumps(ship_probes(Path(options.dataset), gallery.load(options.gallery), absent)))


def _examples(options: argparse.Namespace) -> None:
    from reid_demo.data import stories
    from reid_demo.data.files import write_whole
    from reid_demo.measuring import telling

    engine = common.load_engine(options)
    with common.progress_bar("probe") as progress:
        measured = telling.measure(engine, progress)
    chosen = telling.choose(engine, measured)
    found = stories.Stories(engine.gallery.fingerprint, common.command_line(), chosen)
    written = json.dumps(found.as_dict(), indent=2)
    write_whole(engine.gallery.folder / stories.FILE, written + "\n")
    print(written)
