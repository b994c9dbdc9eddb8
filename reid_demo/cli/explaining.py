"""Check explanations: `faithfulness`, `meaning`, `visibility`, `sanity`, `counterfactuals` and `fairness`.

All but `fairness`, which takes every probe, draw a seeded sample. Each prints a table; `--into` also puts it into its
place in a document.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from reid_demo.cli import common


def add(commands) -> None:
    """Add these commands to the parser."""
    text = "measure whether the maps that explain a match are faithful: deletion and insertion, beside simple maps"
    _study(commands, "faithfulness", _faithfulness, text, limit=(30, "probes"))
    text = "measure whether a part's contribution stands for its body part: hide it by its mask, and see what falls"
    common.rendered_root_flag(_study(commands, "meaning", _meaning, text, limit=(200, "pictures")))
    text = "measure how well presence tells which body parts are visible; writes visibility.json"
    sub = _study(commands, "visibility", _visibility, text, limit=(1600, "pictures"), uses=("weights", "device"))
    common.rendered_root_flag(sub)
    text = "check that maps depend on the network, on the match and on where things are in the picture"
    _study(commands, "sanity", _sanity, text, limit=(12, "probes"))
    text = "render people again with one thing changed, and measure what each change costs a search"
    sub = _study(commands, "counterfactuals", _counterfactuals, text, limit=(70, "people"))
    sub.add_argument("--assets", required=True, metavar="DIR", help="the folder of MakeHuman assets")
    sub.add_argument("--strip", metavar="DIR", help="also write pictures of some people, and their listing")
    sub = common.command(
        commands, "fairness", _fairness, "measure errors by who the rendered people are", uses=common.ENGINE
    )
    sub.add_argument("--people", metavar="FILE", help="who the people are; default: the gallery's people.jsonl.gz")
    _into(sub)


def _study(
    commands, name: str, run: Callable, text: str, *, limit: tuple[int, str], uses=common.ENGINE
) -> argparse.ArgumentParser:
    sub = common.command(commands, name, run, text, uses=uses)
    number, what = limit
    sub.add_argument("--limit", type=common.count, default=number, help=f"most {what} to draw; default {number}")
    sub.add_argument("--seed", type=common.seed, default=0, help=f"of the draw of {what}; default 0")
    _into(sub)
    return sub


def _into(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--into", metavar="FILE", help="also put the table into its place in a Markdown file")
    common.json_flag(sub)


def _show(options: argparse.Namespace, record, **tables: str) -> None:
    """Print a record as JSON or as its tables; with `--into`, put each table into the document's place of its name."""
    from reid_demo.measuring import intervals

    for name, text in tables.items():
        if options.into:
            intervals.put(Path(options.into), name, text)
    print(json.dumps(asdict(record), indent=2) if options.json else "\n\n".join(tables.values()))


def _faithfulness(options: argparse.Namespace) -> None:
    from reid_demo.measuring import faithfulness

    _show_study(options, "faithfulness", faithfulness.study)


def _show_study(options: argparse.Namespace, name: str, study: Callable) -> None:
    """Run a study over probes of the engine's gallery, and show its only table."""
    engine = common.load_engine(options)
    with common.progress_bar("probe") as progress:
        found = study(engine, options.limit, options.seed, progress)
    _show(options, found, **{name: found.table()})


def _meaning(options: argparse.Namespace) -> None:
    from reid_demo.measuring import meaning

    engine = common.load_engine(options)
    with common.progress_bar("body part") as progress:
        found = meaning.study(engine, common.rendered_root(options), options.limit, options.seed, progress)
    _show(options, found, meaning=found.table())


def _visibility(options: argparse.Namespace) -> None:
    from reid_demo import occlude
    from reid_demo.data.files import write_whole
    from reid_demo.measuring import visibility
    from reid_demo.search import bundled
    from reid_demo.whatif.confidence import VISIBILITY_FILE

    describer, fingerprint, _ = common.describer(options)
    cutouts = occlude.read_cutouts(bundled.DEFAULT_GALLERY / bundled.OCCLUDERS)
    sample = visibility.Sample(common.rendered_root(options), options.limit, options.seed, cutouts)
    found = visibility.study(describer, fingerprint, sample)
    text = json.dumps(asdict(found), indent=1)
    write_whole(Path(bundled.weights_folder(options.weights), VISIBILITY_FILE), text + "\n")
    _show(options, found, visibility=visibility.table(found), visibility_curve=visibility.curve_table(found))


def _sanity(options: argparse.Namespace) -> None:
    from reid_demo.measuring import sanity

    _show_study(options, "sanity", sanity.study)


def _counterfactuals(options: argparse.Namespace) -> None:
    import os

    from reid_demo.measuring import counterfactuals
    from reid_demo.synthetic.assets import load_assets
    from reid_demo.synthetic.body import Body
    from reid_demo.synthetic.capture import Studio

    os.environ.setdefault("LP_NUM_THREADS", "0")  # Mesa draws in this thread
    engine = common.load_engine(options)
    plan = counterfactuals.SHIPPED
    studio = Studio(Body(load_assets(Path(options.assets))), plan.seed)
    with common.progress_bar("person") as progress:
        found, outcomes = counterfactuals.study(engine, studio, options.limit, options.seed, progress)
    if options.strip:
        counterfactuals.strip(outcomes, Path(options.strip))
    _show(options, found, counterfactuals=found.table())


def _fairness(options: argparse.Namespace) -> None:
    from reid_demo.measuring import fairness

    found = fairness.study(common.load_engine(options), Path(options.people) if options.people else None)
    _show(options, found, fairness=found.table())
