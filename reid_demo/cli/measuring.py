"""Measure weights and speed: `evaluate`, `calibrate`, `anatomy`, `attention-sheet` and `bench`."""

import argparse
import json
import sys
from pathlib import Path

from reid_demo.cli import common


def add(commands) -> None:
    """Add these commands to the parser."""
    _add_evaluate(commands)
    sub = common.command(
        commands, "calibrate", _calibrate, "measure how far a similarity can be trusted; writes calibration.json"
    )
    sub.add_argument("--gallery", help="gallery with probes; default: the shipped one")
    text = "measure a gallery without probes by searching for its own images of known people; writes into its folder"
    sub.add_argument("--stored", action="store_true", help=text)
    sub.add_argument("--into", metavar="FILE", help="also put the tables into their places in a Markdown file")
    common.json_flag(sub, always=True)

    sub = common.command(
        commands, "anatomy", _anatomy, "measure on which body part each template looks; writes parts.json"
    )
    common.rendered_root_flag(sub)
    sub.add_argument("--limit", type=common.count, default=400, help="number of images; default 400")
    common.json_flag(sub)

    sub = common.command(commands, "attention-sheet", _attention_sheet, "draw where every part template looks (Fig. 3)")
    sub.add_argument("images", nargs="+", metavar="IMAGE", help="pictures of one person each; each is a row")
    sub.add_argument("--out", required=True, metavar="PNG", help="file for the sheet")
    sub.add_argument("--maps", default="template", help="template (Fig. 3) or part (the cross-attention)")
    common.json_flag(sub)

    sub = common.command(commands, "bench", _bench, "measure speed against a plain reference", uses=common.ENGINE)
    what = sub.add_mutually_exclusive_group()
    what.add_argument("--train", action="store_true", help="measure a training step and the loader instead")
    what.add_argument("--page", action="store_true", help="measure what visitors of the page wait for instead")
    text = "measure the network in each precision, and a change to its list, instead; needs no picture files"
    what.add_argument("--network", action="store_true", help=text)
    what.add_argument("--start", action="store_true", help="measure the start of the page and its memory instead")
    text = "measure a gallery of N artificial descriptors instead"
    what.add_argument("--large", type=common.count, metavar="N", help=text)
    common.set_flag(sub, "with --train: change the paper's recipe")
    text = "images in the artificial gallery to search; default 20000"
    sub.add_argument("--gallery-size", type=common.count, metavar="N", help=text)
    sub.add_argument("--markdown", action="store_true", help="print the table as the README has it")
    common.json_flag(sub)


def _add_evaluate(commands) -> None:
    text = "measure rank-1, mAP and mINP under a data set's protocol"
    sub = common.command(commands, "evaluate", _evaluate, text, uses=("device",))
    text = "weights folder, name of shipped weights, hf:// address, or a network's .xml in OpenVINO's format"
    sub.add_argument("--weights", help=text)
    text = "market1501, synthetic, occluded_reid, partial_reid, partial_ilids, gallery or folder"
    sub.add_argument("--dataset", required=True, help=text)
    sub.add_argument("--root", required=True, metavar="DIR", help="folder of the data set or gallery")
    text = "hide part of every query (such as lower_half), cut it (such as upper_60) or remove its colour (grey)"
    sub.add_argument("--occlude", type=common.probe_change, metavar="NAME", help=text)
    common.fill_flag(sub)
    text = (
        "whole, occluded or partial, of synthetic and gallery; partial or occluded, of partial_reid; default: the first"
    )
    sub.add_argument("--probes", help=text)
    text = "describe gallery images in several views, like `index`; default: in one, as in the paper"
    sub.add_argument("--views", action="store_true", help=text)
    common.precision_flag(sub, "float32")
    sub.add_argument(
        "--rerank", action="store_true", help="re-rank by k-reciprocal neighbours, with all queries at once"
    )
    sub.add_argument("--out", metavar="FILE", help="also write the record, as JSON, to FILE")
    common.scoring_flags(sub)
    common.json_flag(sub)


def _evaluate(options: argparse.Namespace) -> None:
    from reid_demo import occlude
    from reid_demo.measuring.evaluate import RANKS, Plan, evaluate, signed
    from reid_demo.search import bundled
    from reid_demo.search.gallery_views import ONE_VIEW, VIEWS
    from reid_demo.search.similarity import paper_scoring

    fill = common.fill(options, used=bool(options.occlude))
    describer, fingerprint, name = common.describer(options, networks=True)
    scoring = common.scoring(options, paper_scoring(describer.model.config))
    occlusion = occlude.named(options.occlude, fill) if options.occlude else None
    views = VIEWS if options.views else ONE_VIEW
    root = Path(options.root)
    plan = Plan(options.dataset, root, options.probes, scoring, occlusion, options.rerank, views)
    if options.out:  # fail before the work, not after it
        Path(options.out).parent.mkdir(parents=True, exist_ok=True)
    with common.progress_bar("image") as progress:
        cutouts = occlude.read_cutouts(bundled.DEFAULT_GALLERY / bundled.OCCLUDERS)
        record = evaluate(describer, plan, cutouts=cutouts, progress=progress)
    record = signed(record, name, fingerprint, common.command_line())
    text = json.dumps(record, indent=2)
    if options.out:
        Path(options.out).write_text(text + "\n", encoding="utf-8")
    if options.json:
        print(text)
        return
    print(f"{name} on {options.dataset}: {record['num_query']} queries, {record['num_gallery']} gallery images")
    print(record["protocol"])
    numbers = {f"R-{k}": record[f"rank{k}"] for k in RANKS} | {key: record[key] for key in ("mAP", "mINP")}
    print("  ".join(f"{key} {value:.1%}" for key, value in numbers.items()))


def _calibrate(options: argparse.Namespace) -> None:
    from reid_demo.measuring import calibrate, intervals
    from reid_demo.search import bundled
    from reid_demo.search import gallery as galleries

    describer, fingerprint, _ = common.describer(options)
    gallery = Path(options.gallery) if options.gallery else bundled.gallery_for(describer, fingerprint)
    if options.stored:
        found = calibrate.calibrate_stored(galleries.load(gallery, fingerprint), fingerprint)
    else:
        found = calibrate.calibrate(describer, gallery, fingerprint)
    text = calibrate.write(found, gallery if options.stored else bundled.weights_folder(options.weights))
    if options.into:
        intervals.put(Path(options.into), "mark", calibrate.mark_table(found))
        intervals.put(Path(options.into), "alarms", calibrate.alarm_table(found))
    print(text)


def _anatomy(options: argparse.Namespace) -> None:
    from reid_demo.data.files import write_whole
    from reid_demo.measuring import part_meanings as anatomy
    from reid_demo.search import bundled
    from reid_demo.whatif import confidence

    describer, fingerprint, _ = common.describer(options)
    samples = anatomy.labelled(common.rendered_root(options), limit=options.limit)
    record = anatomy.study(describer, samples, anatomy.BODY_PARTS)
    text = json.dumps({**record, "fingerprint": fingerprint})
    write_whole(Path(bundled.weights_folder(options.weights), confidence.MEANINGS_FILE), text + "\n")
    if options.json:
        print(text)
        return
    shares = record["template_attention"]["share"]
    for name, share, auc in zip(record["names"], shares, record["presence_auc"], strict=True):
        print(f"{name:28} presence AUC {auc}  " + "  ".join(f"{value:.2f}" for value in share))
    print(" " * 46 + "  ".join(name[:4] for name in record["body_parts"]))


def _attention_sheet(options: argparse.Namespace) -> None:
    from PIL import Image

    from reid_demo.images import read_named
    from reid_demo.paper.attention_sheet import attention_sheet

    describer, _, _ = common.describer(options)
    sheet = attention_sheet(describer, [read_named(path) for path in options.images], maps=options.maps)
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(out, "PNG")
    print(json.dumps({"out": str(out)}) if options.json else out)


def _bench(options: argparse.Namespace) -> None:
    from reid_demo.serving.bench.rows import markdown, table

    if options.set and not options.train:
        options.refuse("--set changes the recipe of --train; add --train")
    if options.gallery_size and (options.train or options.large or options.start or options.network):
        options.refuse("--train, --large, --start and --network do not use --gallery-size")
    if options.train and (options.weights or options.gallery):
        options.refuse("--train measures a recipe, not --weights or --gallery")
    if options.json and options.markdown:
        options.refuse("choose one of --json and --markdown")
    print("This takes minutes; other programs that run meanwhile change what it measures.", file=sys.stderr)
    rows = _measured(options)
    shown = markdown if options.markdown else table
    print(json.dumps([row.as_dict() for row in rows], indent=2) if options.json else shown(rows))


def _measured(options: argparse.Namespace) -> list:
    """Run the measurement that the options select; return its rows."""
    if options.train:
        from reid_demo.config import read_train_config
        from reid_demo.serving.bench.training import bench_training

        return bench_training(read_train_config(None, None, options.set), device=options.device)
    if options.start:
        from reid_demo.serving.bench.start import bench_start

        chosen = {name: getattr(options, name) for name in (*common.ENGINE, "runtime")}
        return bench_start([word for name, value in chosen.items() if value for word in (f"--{name}", str(value))])
    engine = common.load_engine(options)
    if options.large is not None:
        from reid_demo.serving.bench.large import bench_large

        return bench_large(engine.gallery, options.large, say=lambda line: print(line, file=sys.stderr))
    return _beside_plain(options, engine)


def _beside_plain(options: argparse.Namespace, engine) -> list:
    """Run the measurement that the options select of those whose reference is the network as its weights have it."""
    from reid_demo.model.checkpoint import load_weights
    from reid_demo.search.bundled import weights_folder

    network, size = load_weights(weights_folder(options.weights)), options.gallery_size or 20_000
    if options.page:
        from reid_demo.serving.bench.page import bench_page

        return bench_page(engine, network, gallery_size=size)
    if options.network:
        from reid_demo.serving.bench.network import bench_network

        return bench_network(engine, network)
    from reid_demo.serving.bench.engine import bench

    return bench(engine, network, gallery_size=size)
