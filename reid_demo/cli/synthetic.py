"""Render synthetic people: `synthesize`."""

import argparse
import json
from pathlib import Path

from reid_demo.cli import common
from reid_demo.errors import SyntheticError
from reid_demo.synthetic import NEEDS


def add(commands) -> None:
    """Add the command to the parser."""
    text = "render synthetic people in the layout of Market-1501, resumable"
    sub = common.command(commands, "synthesize", _synthesize, text, uses=())
    sub.add_argument("--assets", required=True, metavar="DIR", help="MakeHuman assets: holds base and data")
    sub.add_argument("--out", required=True, metavar="DIR", help="folder for the data set; run again to resume")
    sub.add_argument("--ids", required=True, type=int, help="people for training and test together")
    sub.add_argument("--images-per-id", type=int, default=10, help="pictures of each person; default 10")
    sub.add_argument(
        "--test-fraction", type=float, default=0.2, help="fraction of the people who are for testing; default 0.2"
    )
    sub.add_argument("--absent", type=int, help="more people, in no gallery; default: a tenth of the test people")
    sub.add_argument("--seed", type=int, default=0, help="of all that is drawn by lot; default 0")
    sub.add_argument("--workers", type=int, default=0, help="processes; 0 is one per core")
    sub.add_argument("--jpeg-quality", type=int, default=92, help="1 to 100; default 92")
    text = "harder images: more people in front, more cuts, looser boxes, 42 cameras instead of 14"
    sub.add_argument("--hard", action="store_true", help=text)
    sub.add_argument("--gallery", metavar="GALLERY", help="also build this gallery of the test people")
    sub.add_argument("--weights", help="weights folder that describes the gallery; default: the shipped one")
    sub.add_argument("--device", help="cpu, cuda or cuda:N, for the gallery")
    common.json_flag(sub, always=True)


def _synthesize(options: argparse.Namespace) -> None:
    if (options.weights or options.device) and not options.gallery:
        options.refuse("--weights and --device need --gallery")
    try:
        from reid_demo.synthetic.dataset import Wanted, synthesize  # needs an extra; wrong usage is reported without
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("scipy", "moderngl"):
            raise
        raise SyntheticError(NEEDS) from error

    wanted = Wanted(
        options.ids,
        images_per_id=options.images_per_id,
        test_fraction=options.test_fraction,
        absent=options.absent,
        seed=options.seed,
        jpeg_quality=options.jpeg_quality,
        hard=options.hard,
    )
    described_by = None
    if options.gallery:  # what is wrong here is said before hours of rendering
        if not wanted.plan().test_ids:
            raise SyntheticError("A gallery needs people for testing; raise --ids or --test-fraction.")
        described_by = common.describer(options)
    report = synthesize(Path(options.assets), Path(options.out), wanted, workers=options.workers)
    if described_by:
        report["gallery"] = _ship(options, *described_by[:2])
    print(json.dumps(report, indent=2))


def _ship(options: argparse.Namespace, describer, fingerprint: str) -> dict[str, int]:
    """Build a gallery of a synthetic data set's test people; return the number of each thing in it."""
    from reid_demo.search import gallery
    from reid_demo.search import ship as probes
    from reid_demo.search.build import IndexOptions, index_folder

    dataset = Path(options.out)
    pids = {path.name.partition("_")[0] for path in (dataset / "query").glob("*.jpg")}
    name = f"{len(pids)} synthetic people"
    report = index_folder(dataset / "bounding_box_test", options.gallery, describer, fingerprint, IndexOptions(name))
    built = gallery.load(options.gallery)
    shipped = probes.ship_probes(dataset, built, dataset / "absent")
    cutouts, truths = probes.ship_cutouts(dataset, built), probes.ship_truth(dataset, built)
    people = probes.ship_people(dataset, built)
    return {"images": report.total, **shipped, "cutouts": cutouts, "ground_truth": truths, "people": people}
