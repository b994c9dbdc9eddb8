"""Make weights: `train`, `ablate`, `teach` and `average`."""

import argparse
import json
import shlex
import sys
from dataclasses import asdict, replace
from pathlib import Path

from reid_demo.cli import common


def add(commands) -> None:
    """Add these commands to the parser."""
    _add_train(commands)
    _add_ablate(commands)
    _add_teach(commands)
    _add_average(commands)


def _add_train(commands) -> None:
    sub = common.command(commands, "train", _train, "train a variant on a data set, resumable", uses=("device",))
    sub.add_argument("--dataset", required=True, help="layout of the roots: market1501, synthetic or folder")
    sub.add_argument("--root", required=True, nargs="+", metavar="DIR", help="one folder, or several")
    sub.add_argument(
        "--out", required=True, metavar="DIR", help="for the checkpoint, the log and weights/; never overwrites a run"
    )
    sub.add_argument("--config", metavar="JSON", help="recipe; default: the paper's")
    sub.add_argument("--variant", help="variant of the network: G, G+P, G+T, G+D or G+D+W")
    common.set_flag(sub)
    sub.add_argument("--init", metavar="PATH", help="start from ImageNet weights, a network's .xml or a weights folder")
    _partial_init_flag(sub)
    _teacher_flag(sub)
    sub.add_argument("--occluders", metavar="DIR", help="folder of cut-outs, for pasted; default: those that ship")
    sub.add_argument("--max-steps", type=common.count, help="optimiser steps in all; the schedule shrinks to fit")
    sub.add_argument("--time-limit", type=float, metavar="S", help="seconds in all; the schedule follows the clock")
    sub.add_argument("--resume", action="store_true", help="resume from the checkpoint in --out")
    sub.add_argument(
        "--save-every", type=common.count, default=100, metavar="N", help="steps between checkpoints; default 100"
    )
    sub.add_argument("--evaluate", nargs=2, metavar=("DATASET", "DIR"), help="measure the finished weights")
    common.json_flag(sub, always=True)


def _add_ablate(commands) -> None:
    sub = common.command(
        commands,
        "ablate",
        _ablate,
        "train and measure variants, backbones or recipes under equal budgets (Tables 4, 5)",
        uses=("device",),
    )
    sub.add_argument("--dataset", required=True, help="layout of the roots: market1501, synthetic or folder")
    sub.add_argument("--root", required=True, nargs="+", metavar="DIR", help="train on these, measure on the first")
    sub.add_argument("--out", required=True, metavar="DIR", help="for one folder per run, ablation.json, ablation.md")
    sub.add_argument(
        "--variants", nargs="+", metavar="NAME", help="rows of Table 4; default: all, if no other rows are named"
    )
    sub.add_argument("--backbones", nargs="+", default=[], metavar="NAME", help="rows of Table 5")
    sub.add_argument("--rows", metavar="JSON", help='custom rows: [{"name": "...", "set": ["KEY=VALUE"], "roots": 1}]')
    sub.add_argument("--seeds", nargs="+", type=common.seed, default=[0], metavar="N", help="a run for each; default 0")
    sub.add_argument("--max-steps", required=True, type=common.count, help="optimiser steps of every run")
    text = "also measure with each of these changes to every query"
    sub.add_argument("--occlude", nargs="+", default=[], type=common.probe_change, metavar="NAME", help=text)
    sub.add_argument("--part-aware", action="store_true", help="also measure everything by part-aware similarity")
    common.fill_flag(sub)
    sub.add_argument("--probes", nargs="+", default=[], metavar="NAME", help="probe sets; default: the data set's own")
    sub.add_argument("--evaluate", nargs=2, action="append", metavar=("DATASET", "DIR"), help="measure here instead")
    sub.add_argument("--config", metavar="JSON", help="recipe that all runs share; default: the paper's")
    common.set_flag(sub)
    text = "ImageNet weights of backbones, or a model.safetensors"
    sub.add_argument("--init", nargs="+", default=[], metavar="BACKBONE=PATH", help=text)
    _partial_init_flag(sub)
    _teacher_flag(sub)
    common.json_flag(sub)


def _add_teach(commands) -> None:
    sub = common.command(
        commands,
        "teach",
        _teach,
        "cache a teacher network's vectors of training images, for train --teacher",
        uses=(),
    )
    sub.add_argument("--device", help="cpu, the only device for a teacher")
    sub.add_argument("--dataset", required=True, help="layout of the roots: market1501, synthetic or folder")
    sub.add_argument(
        "--root", required=True, nargs="+", metavar="DIR", help="one folder of training images, or several"
    )
    text = "run the network as the backbone osnet_lct, to train it on its own vectors; needs no OpenVINO"
    sub.add_argument("--own-backbone", action="store_true", help=text)
    sub.add_argument("--network", required=True, metavar="XML", help="a Re-ID network in OpenVINO's format")
    sub.add_argument("--out", required=True, metavar="NPZ", help="file for the vectors, for train --teacher")
    common.json_flag(sub)


def _add_average(commands) -> None:
    text = "average the backbone and global pooling of one or more runs with those of the network they started from"
    sub = common.command(commands, "average", _average, text, uses=())
    trained = "trained weights, one or several: a folder, name of shipped weights, hf:// address, or a run's folder"
    sub.add_argument("weights", metavar="WEIGHTS", nargs="+", help=trained)
    sub.add_argument("untouched", metavar="UNTOUCHED", help="the same, or the network's .xml in OpenVINO's format")
    text = "share of the trained weights: 1 keeps WEIGHTS, 0 takes backbone and pooling of UNTOUCHED"
    sub.add_argument("--share", required=True, type=float, metavar="A", help=text)
    text = "multiply the global descriptor, so that it counts more beside the parts; default 1"
    sub.add_argument("--emphasis", type=float, default=1.0, metavar="F", help=text)
    sub.add_argument("--out", required=True, metavar="DIR", help="for the averaged weights; never overwrites others")
    common.json_flag(sub)


def _teacher_flag(sub: argparse.ArgumentParser) -> None:
    text = "a teacher's vectors, written by teach, or the .xml of one that runs during training"
    sub.add_argument("--teacher", metavar="FILE", help=text)


def _partial_init_flag(sub: argparse.ArgumentParser) -> None:
    text = "accept ImageNet weights that lack tensors, and list these"
    sub.add_argument("--partial-init", action="store_true", help=text)


def _train(options: argparse.Namespace) -> None:
    from reid_demo.config import read_train_config
    from reid_demo.search import bundled
    from reid_demo.training.run import WEIGHTS_FOLDER, Limits, Sources, train
    from reid_demo.training.state import Start

    config = read_train_config(options.config, options.variant, options.set)
    occluders = options.occluders or (bundled.DEFAULT_GALLERY / bundled.OCCLUDERS if config.pasted else None)
    out = Path(options.out)
    sources = Sources(
        options.dataset,
        [Path(root) for root in options.root],
        teacher=Path(options.teacher) if options.teacher else None,
        occluders=Path(occluders) if occluders else None,
        evaluate_on=(options.evaluate[0], Path(options.evaluate[1])) if options.evaluate else None,
    )
    start = Start(Path(options.init) if options.init else None, options.partial_init, options.resume)
    limits = Limits(options.max_steps, options.time_limit, options.save_every)
    try:
        result = train(config, sources, out, start=start, limits=limits, device=options.device)
    except KeyboardInterrupt:
        print(f"\n{_how_to_resume(out, options.save_every)}", file=sys.stderr)
        raise
    if "fingerprint" in result:  # only the process that wrote the weights
        print(json.dumps(result, indent=2))
        weights = shlex.quote(str(out / WEIGHTS_FOLDER))
        print(f"Measure: python -m reid_demo evaluate --dataset NAME --root DIR --weights {weights}", file=sys.stderr)


def _how_to_resume(out: Path, save_every: int) -> str:
    from reid_demo.training.state import STATE_FILE

    if (out / STATE_FILE).is_file():
        return "Run the same command with --resume to continue from the last checkpoint."
    return f"No checkpoint yet: the first is written after {save_every} steps. The same command starts over."


def _ablate(options: argparse.Namespace) -> None:
    from reid_demo import occlude
    from reid_demo.config import read_train_config
    from reid_demo.paper.ablate import Condition, Trial, ablate, markdown, recipe_rows, rows_of

    if options.dataset == "folder" and not options.evaluate:
        options.refuse("a plain folder has no test split; name what to measure on with --evaluate DATASET DIR")
    common.refuse_seed(options, "--seeds")
    starts = [text.partition("=") for text in options.init]
    if not all(equals for _, equals, _ in starts):
        options.refuse("--init takes BACKBONE=PATH, such as resnet50=resnet50.pth")
    fill = common.fill(options, used=bool(options.occlude))
    config = read_train_config(options.config, None, options.set)
    conditions = []
    for dataset, root in options.evaluate or [(options.dataset, options.root[0])]:
        for probes in options.probes or [None]:
            conditions.append(Condition(dataset, Path(root), probes))
        for kind in options.occlude:
            conditions.append(Condition(dataset, Path(root), None, occlude.named(kind, fill)))
    if options.part_aware:
        conditions += [replace(condition, part_aware=True) for condition in conditions]
    variants = options.variants or ([] if options.backbones or options.rows else ["G", "G+P", "G+T", "G+D", "G+D+W"])
    rows = rows_of(config, variants, options.backbones)
    rows += recipe_rows(Path(options.rows), options.config, options.set) if options.rows else []
    trial = Trial(
        options.dataset,
        [Path(root) for root in options.root],
        conditions,
        max_steps=options.max_steps,
        init={name: Path(path) for name, _, path in starts},
        partial_init=options.partial_init,
        teacher=Path(options.teacher) if options.teacher else None,
        device=options.device,
    )
    out = Path(options.out)
    with common.resumable(out):
        summary = ablate(config, rows, trial, out, options.seeds, say=lambda words: print(words, file=sys.stderr))
    print(json.dumps(summary, indent=2) if options.json else markdown(summary, config))


def _teach(options: argparse.Namespace) -> None:
    import numpy as np

    from reid_demo.data.layouts import load_train
    from reid_demo.data.loaders import check_names
    from reid_demo.training.teacher import describe_with_backbone, describe_with_teacher, save_vectors

    if options.device not in (None, "cpu"):
        options.refuse(f"a teacher runs on the CPU only; leave out --device {options.device}")
    describe = describe_with_backbone if options.own_backbone else describe_with_teacher
    check_names([Path(root) for root in options.root])
    records, vectors = [], []
    for root in map(Path, options.root):
        found = load_train(options.dataset, root)
        vectors.append(describe(Path(options.network), root, found))
        prefix = f"{root.name}/" if len(options.root) > 1 else ""  # two roots can hold the same relative path
        records += [replace(record, path=prefix + record.path) for record in found]
    save_vectors(Path(options.out), records, np.concatenate(vectors))
    if options.json:
        print(json.dumps({"vectors": len(records), "out": options.out}))
    else:
        print(f"{len(records)} vectors in {options.out}")


def _average(options: argparse.Namespace) -> None:
    from reid_demo.search import bundled
    from reid_demo.training.average import average

    trained, untouched = map(bundled.weights_folder, options.weights), bundled.weights_folder(options.untouched)
    averaged = average(list(trained), untouched, options.share, Path(options.out), options.emphasis)
    if options.json:
        print(
            json.dumps({"out": options.out, "share": options.share, "emphasis": options.emphasis, **asdict(averaged)})
        )
        return
    print(f"{options.out}: {averaged.tensors} tensors averaged, fingerprint {averaged.fingerprint}")
