"""The command line: `python -m reid_demo COMMAND`. Heavy imports happen inside each command."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from reid_demo import __version__
from reid_demo.errors import ReidError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; give its exit code: 0 done, 1 a `ReidError` (its sentence is on stderr), 2 wrong usage."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return options.run(options) or 0
    except ReidError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reid_demo",
        description="Person re-identification with dynamic part templates. A ranking is a list of candidates "
        "for a human to verify.",
    )
    parser.add_argument("--version", action="version", version=f"reid_demo {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable, text: str, *, engine: bool = False) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.set_defaults(run=run)
        sub.add_argument("--weights", help="weights folder; default: the shipped one")
        sub.add_argument("--device", help="cpu, cuda or cuda:N; default: a GPU where there is one")
        if engine:
            sub.add_argument("--gallery", help="gallery folder; default: the shipped one")
        return sub

    def json_flag(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--json", action="store_true", help="print JSON instead of a table")

    sub = command("index", _index, "build or update a gallery from a folder of person crops")
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
    json_flag(sub)

    sub = command("search", _search, "rank a gallery for one or more probe images", engine=True)
    sub.add_argument("probes", nargs="+", metavar="PROBE")
    sub.add_argument("--top-k", type=int, default=10)
    _scoring_flags(sub)
    json_flag(sub)

    sub = command("explain", _explain, "write heatmaps, presence and contributions of a match", engine=True)
    sub.add_argument("probe", metavar="PROBE")
    sub.add_argument("--out", required=True, metavar="DIR")
    sub.add_argument("--rank", type=int, default=1, help="which match; default 1")
    _scoring_flags(sub)

    sub = command("train", _train, "train a variant on a data set, resumable")
    sub.add_argument("--dataset", required=True, help="layout of the roots: market1501, synthetic or folder")
    sub.add_argument("--root", required=True, nargs="+", metavar="DIR", help="one folder, or several")
    sub.add_argument("--out", required=True, metavar="DIR", help="gets the checkpoint, the log and weights/")
    sub.add_argument("--config", metavar="JSON", help="recipe; default: the paper's")
    sub.add_argument("--variant", help="G, G+P, G+T, G+D or G+D+W")
    sub.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="change the recipe, as loss.margin=0.5")
    sub.add_argument("--init", metavar="PATH", help="ImageNet weights of the backbone, or a weights folder")
    sub.add_argument("--teacher", metavar="NPZ", help="a teacher's vectors, from the command teach")
    sub.add_argument("--max-steps", type=int, help="optimiser steps in all; the schedule shrinks to fit")
    sub.add_argument("--time-limit", type=float, metavar="S", help="seconds in all; the schedule follows the clock")
    sub.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    sub.add_argument("--save-every", type=int, default=100, metavar="N", help="steps between checkpoints; default 100")
    sub.add_argument("--evaluate", nargs=2, metavar=("DATASET", "DIR"), help="measure the finished weights")

    sub = command("ablate", _ablate, "train and measure variants or backbones under equal budgets (Tables 4 and 5)")
    sub.add_argument("--dataset", required=True, help="layout of the roots: market1501, synthetic or folder")
    sub.add_argument("--root", required=True, nargs="+", metavar="DIR", help="train on these, measure on the first")
    sub.add_argument("--out", required=True, metavar="DIR", help="gets a folder a run, ablation.json and ablation.md")
    sub.add_argument("--variants", nargs="+", metavar="NAME", help="rows of Table 4; default: all, unless --backbones")
    sub.add_argument("--backbones", nargs="+", default=[], metavar="NAME", help="rows of Table 5")
    sub.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N")
    sub.add_argument("--max-steps", required=True, type=int, help="optimiser steps of every run")
    sub.add_argument("--occlude", nargs="+", default=[], metavar="NAME", help="also measure with these hidden")
    sub.add_argument("--fill", default="mean_grey", help="what the hidden part shows; default mean_grey")
    sub.add_argument("--probes", nargs="+", default=[], metavar="NAME", help="probe sets; default: the data set's own")
    sub.add_argument("--evaluate", nargs=2, action="append", metavar=("DATASET", "DIR"), help="measure here instead")
    sub.add_argument("--config", metavar="JSON", help="recipe that all runs share; default: the paper's")
    sub.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="change the recipe, as loss.margin=0.5")
    sub.add_argument("--init", nargs="+", default=[], metavar="BACKBONE=PATH", help="ImageNet weights of backbones")
    sub.add_argument("--teacher", metavar="NPZ", help="a teacher's vectors, from the command teach")

    sub = command("attention-sheet", _attention_sheet, "draw where every part template looks (Fig. 3)")
    sub.add_argument("images", nargs="+", metavar="IMAGE")
    sub.add_argument("--out", required=True, metavar="PNG")
    sub.add_argument("--maps", default="template", help="template (Fig. 3) or part (the cross-attention)")

    sub = command("teach", _teach, "cache a teacher network's vectors of training images, for train --teacher")
    sub.add_argument("--dataset", required=True, help="layout of the roots: market1501, synthetic or folder")
    sub.add_argument("--root", required=True, nargs="+", metavar="DIR")
    sub.add_argument("--network", required=True, metavar="XML", help="a Re-ID network in OpenVINO's format")
    sub.add_argument("--out", required=True, metavar="NPZ")

    sub = command("evaluate", _evaluate, "measure rank-1, mAP and mINP under a data set's protocol")
    names = "market1501, synthetic, occluded_reid, partial_reid, partial_ilids, gallery or folder"
    sub.add_argument("--dataset", required=True, help=names)
    sub.add_argument("--root", required=True, metavar="DIR")
    sub.add_argument("--occlude", metavar="NAME", help="hide part of every query, as lower_half")
    sub.add_argument("--fill", default="mean_grey", help="what the hidden part shows; default mean_grey")
    probes = "of synthetic and gallery: whole, occluded or partial; of partial_reid: partial or occluded"
    sub.add_argument("--probes", help=f"{probes}; default: the first")
    sub.add_argument("--rerank", action="store_true", help="k-reciprocal re-ranking; sees all queries at once")
    sub.add_argument("--json", metavar="FILE", dest="json_file", help="also write the record to FILE")
    _scoring_flags(sub)

    sub = command("calibrate", _calibrate, "measure how far a similarity can be believed; writes calibration.json")
    sub.add_argument("--gallery", help="gallery with probes; default: the shipped one")

    sub = commands.add_parser("synthesize", help="render synthetic people in the layout of Market-1501, resumable")
    sub.set_defaults(run=_synthesize)
    sub.add_argument("--assets", required=True, metavar="DIR", help="MakeHuman assets: holds base and data")
    sub.add_argument("--out", required=True, metavar="DIR")
    sub.add_argument("--ids", required=True, type=int, help="people for training and test together")
    sub.add_argument("--images-per-id", type=int, default=10)
    sub.add_argument("--test-fraction", type=float, default=0.2, help="share of the people that are for test")
    sub.add_argument("--absent", type=int, help="further people who are in no gallery; default: a tenth of the test's")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--workers", type=int, default=0, help="processes; 0 is one per core")
    sub.add_argument("--jpeg-quality", type=int, default=92)
    sub.add_argument("--gallery", metavar="GALLERY", help="also build this gallery of the test people")
    sub.add_argument("--weights", help="weights folder that describes the gallery; default: the shipped one")
    sub.add_argument("--device", help="cpu, cuda or cuda:N, for the gallery")

    sub = command("anatomy", _anatomy, "measure on which body part each template looks; writes parts.json")
    sub.add_argument("--root", required=True, metavar="DIR", help="a data set of `synthesize`, with its ground truth")
    sub.add_argument("--limit", type=int, default=400, help="how many images; default 400")

    sub = command("what-if", _what_if, "measure a list of occlusions over a list of labelled probes", engine=True)
    sub.add_argument("probes", nargs="*", metavar="PATH", help="files or folders named as Market-1501; else shipped")
    sub.add_argument("--occlude", nargs="+", default=[], metavar="NAME", help="such as lower_half centre random_block")
    sub.add_argument("--recipe", nargs="+", default=[], metavar="JSON", help="recipes that the page or this tool wrote")
    sub.add_argument("--fill", default="mean_grey")
    sub.add_argument("--out", metavar="DIR", help="also write what-if.json and the curve what-if.svg")
    _scoring_flags(sub)
    json_flag(sub)

    sub = command("probes", _probes, "ship example probes with a gallery, from the query images of its data set")
    sub.add_argument("dataset", metavar="DIR", help="with query, query_occluded, query_partial")
    sub.add_argument("--gallery", required=True)
    sub.add_argument("--absent", metavar="DIR", help="images of people who are not in the gallery")

    sub = command("bench", _bench, "measure speed beside a plain reference", engine=True)
    sub.add_argument("--train", action="store_true", help="measure a training step and the loader instead")
    sub.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="with --train: change the paper's recipe"
    )
    sub.add_argument("--gallery-size", type=int, default=20_000)
    sub.add_argument("--large", type=int, metavar="N", help="measure a gallery of N mixed descriptors instead")
    json_flag(sub)

    sub = commands.add_parser("push", help="upload weights, a gallery or this Space to the Hugging Face Hub")
    sub.set_defaults(run=_push)
    what = sub.add_mutually_exclusive_group(required=True)
    what.add_argument("--weights", metavar="DIR")
    what.add_argument("--gallery", metavar="DIR")
    what.add_argument("--space", metavar="OWNER/NAME", help="this checkout, as a Space")
    sub.add_argument("--to", metavar="OWNER/NAME", help="repository of the weights or the gallery")
    sub.add_argument("--public", action="store_true", help="make a new repository public; default: private")
    sub.add_argument("--dry-run", action="store_true", help="check and print, without a network")
    json_flag(sub)

    sub = command("info", _info, "versions, device, fingerprints and a self-test, for bug reports", engine=True)
    json_flag(sub)
    return parser


def _scoring_flags(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--adaptive", action="store_true", help="weight parts by presence (Eq. 8)")
    sub.add_argument("--part-aware", action="store_true", help="presence-weighted mean of part cosines")


def _scoring(options: argparse.Namespace, default):
    from reid_demo.records import Scoring

    if not options.adaptive and not options.part_aware:
        return default
    return Scoring(adaptive=options.adaptive, part_aware=options.part_aware)


def _engine(options: argparse.Namespace):
    from reid_demo.engine import Engine

    return Engine.load(options.weights, options.gallery, options.device)


def _describer(options: argparse.Namespace):
    from reid_demo import checkpoint, hub
    from reid_demo.describe import Describer
    from reid_demo.engine import DEFAULT_WEIGHTS

    weights = hub.local_folder(options.weights or DEFAULT_WEIGHTS, "weights")
    describer = Describer(checkpoint.load_weights(weights), checkpoint.choose_device(options.device))
    return describer, checkpoint.fingerprint(weights), weights.name


def _index(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from reid_demo import finder
    from reid_demo.indexing import index_folder

    people = finder.open_finder(options.find_people) if options.find_people else None
    describer, fingerprint, _ = _describer(options)
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


def _search(options: argparse.Namespace) -> None:
    from reid_demo.images import read_image

    engine = _engine(options)
    answers = []
    for path in options.probes:
        probe = engine.describe(read_image(path))
        matches = engine.search(probe, options.top_k, _scoring(options, engine.default_scoring))
        answers.append({"probe": path, "matches": [_match_row(match) for match in matches]})
    if options.json:
        print(json.dumps(answers, indent=2))
        return
    for answer in answers:
        print(f"{answer['probe']}: candidates to verify")
        for row in answer["matches"]:
            pid, camid = (("-" if v is None else v) for v in (row["pid"], row["camid"]))
            print(f"  {row['rank']:3d}  {row['similarity']:.4f}  id {pid}  camera {camid}  {row['path']}")


def _match_row(match) -> dict:
    return {
        "rank": match.rank,
        "similarity": match.similarity,
        "pid": match.record.pid,
        "camid": match.record.camid,
        "path": match.record.path,
        "contributions": [float(value) for value in match.contributions],
    }


def _explain(options: argparse.Namespace) -> None:
    from reid_demo.images import read_image
    from reid_demo.report import write_explanation

    engine = _engine(options)
    image = read_image(options.probe)
    probe = engine.describe(image)
    scoring = _scoring(options, engine.default_scoring)
    matches = engine.search(probe, options.rank, scoring)
    if options.rank < 1 or options.rank > len(matches):
        raise ReidError(f"--rank must be between 1 and {len(engine.gallery)}.")
    match = matches[-1]
    explanation = engine.explain(probe, match, scoring)
    written = write_explanation(
        Path(options.out), image, read_image(engine.gallery.image_path(match.index)), explanation, _match_row(match)
    )
    for path in written:
        print(path)


def _evaluate(options: argparse.Namespace) -> None:
    from reid_demo.evaluate import evaluate
    from reid_demo.records import Occlusion, Scoring

    describer, fingerprint, name = _describer(options)
    scoring = _scoring(options, Scoring(adaptive=describer.model.config.adaptive_weighting))
    occlusion = Occlusion(options.occlude, options.fill) if options.occlude else None
    record = evaluate(
        describer,
        options.dataset,
        Path(options.root),
        scoring=scoring,
        occlusion=occlusion,
        probes=options.probes,
        reranked=options.rerank,
    )
    shown = " ".join(a for a in sys.argv[1:])
    record = {**record, "weights": name, "fingerprint": fingerprint, "command": f"python -m reid_demo {shown}"}
    print(json.dumps(record, indent=2))
    if options.json_file:
        Path(options.json_file).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _calibrate(options: argparse.Namespace) -> None:
    from reid_demo import calibrate
    from reid_demo.engine import DEFAULT_GALLERY, DEFAULT_WEIGHTS
    from reid_demo.records import Scoring

    describer, fingerprint, _ = _describer(options)
    scoring = Scoring(adaptive=describer.model.config.adaptive_weighting)
    record = calibrate.calibrate(describer, Path(options.gallery or DEFAULT_GALLERY), scoring)
    text = json.dumps({**record, "fingerprint": fingerprint}, indent=2)
    Path(options.weights or DEFAULT_WEIGHTS, calibrate.FILE).write_text(text + "\n", encoding="utf-8")
    print(text)


def _anatomy(options: argparse.Namespace) -> None:
    from reid_demo import anatomy
    from reid_demo.engine import DEFAULT_WEIGHTS

    describer, fingerprint, _ = _describer(options)
    samples = anatomy.labelled(Path(options.root), limit=options.limit)
    record = anatomy.study(describer, samples, anatomy.BODY_PARTS)
    text = json.dumps({**record, "fingerprint": fingerprint})
    Path(options.weights or DEFAULT_WEIGHTS, anatomy.FILE).write_text(text + "\n", encoding="utf-8")
    shares = record["template_attention"]["share"]
    for name, share, auc in zip(record["names"], shares, record["presence_auc"], strict=True):
        print(f"{name:28} presence AUC {auc}  " + "  ".join(f"{value:.2f}" for value in share))
    print(" " * 46 + "  ".join(name[:4] for name in record["body_parts"]))


def _train(options: argparse.Namespace) -> None:
    from reid_demo.config import read_train_config
    from reid_demo.train import train

    result = train(
        read_train_config(options.config, options.variant, options.set),
        dataset=options.dataset,
        root=[Path(root) for root in options.root],
        out=Path(options.out),
        init=Path(options.init) if options.init else None,
        teacher=Path(options.teacher) if options.teacher else None,
        resume=options.resume,
        max_steps=options.max_steps,
        time_limit_s=options.time_limit,
        save_every=options.save_every,
        device=options.device,
        evaluate_on=(options.evaluate[0], Path(options.evaluate[1])) if options.evaluate else None,
    )
    if "fingerprint" in result:  # of several processes, the one that writes
        print(json.dumps(result, indent=2))


def _ablate(options: argparse.Namespace) -> None:
    from reid_demo.ablate import Condition, ablate, markdown, rows_of
    from reid_demo.config import read_train_config
    from reid_demo.errors import ConfigError
    from reid_demo.records import Occlusion

    if options.dataset == "folder" and not options.evaluate:
        raise ConfigError("A plain folder has no test split; name what to measure on with --evaluate DATASET DIR.")
    config = read_train_config(options.config, None, options.set)
    starts = [text.partition("=") for text in options.init]
    if not all(equals for _, equals, _ in starts):
        raise ConfigError("--init takes BACKBONE=PATH, as resnet50=resnet50.pth.")
    conditions = []
    for dataset, root in options.evaluate or [(options.dataset, options.root[0])]:
        for probes in options.probes or [None]:
            conditions.append(Condition(dataset, Path(root), probes))
        for kind in options.occlude:
            conditions.append(Condition(dataset, Path(root), None, Occlusion(kind, options.fill)))
    variants = options.variants or ([] if options.backbones else ["G", "G+P", "G+T", "G+D", "G+D+W"])
    summary = ablate(
        config,
        rows_of(config, variants, options.backbones),
        dataset=options.dataset,
        roots=[Path(root) for root in options.root],
        out=Path(options.out),
        conditions=conditions,
        seeds=options.seeds,
        max_steps=options.max_steps,
        init={name: Path(path) for name, _, path in starts},
        teacher=Path(options.teacher) if options.teacher else None,
        device=options.device,
        say=lambda words: print(words, file=sys.stderr),
    )
    print(markdown(summary, config))


def _attention_sheet(options: argparse.Namespace) -> None:
    from PIL import Image

    from reid_demo.attention_sheet import attention_sheet
    from reid_demo.images import read_image

    describer, _, _ = _describer(options)
    sheet = attention_sheet(describer, [read_image(path) for path in options.images], maps=options.maps)
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(out, "PNG")
    print(out)


def _teach(options: argparse.Namespace) -> None:
    from reid_demo.data.datasets import load_train
    from reid_demo.distill import describe_with_teacher, save_vectors

    records, vectors = [], []
    for root in map(Path, options.root):
        found = load_train(options.dataset, root)
        records += found
        vectors.append(describe_with_teacher(Path(options.network), root, found))
    save_vectors(Path(options.out), records, np.concatenate(vectors))
    print(f"{len(records)} vectors in {options.out}")


def _synthesize(options: argparse.Namespace) -> None:
    from reid_demo.synthetic.dataset import synthesize

    report = synthesize(
        Path(options.assets),
        Path(options.out),
        options.ids,
        images_per_id=options.images_per_id,
        test_fraction=options.test_fraction,
        absent=options.absent,
        seed=options.seed,
        workers=options.workers,
        jpeg_quality=options.jpeg_quality,
    )
    if options.gallery:
        report["gallery"] = _ship(options)
    print(json.dumps(report, indent=2))


def _ship(options: argparse.Namespace) -> dict[str, int]:
    """Build a gallery of a synthetic data set's test people; give what it holds."""
    from reid_demo import gallery, probes
    from reid_demo.indexing import index_folder

    describer, fingerprint, _ = _describer(options)
    dataset = Path(options.out)
    people = len({path.name.partition("_")[0] for path in (dataset / "query").glob("*.jpg")})
    name = f"{people} synthetic people"
    report = index_folder(dataset / "bounding_box_test", options.gallery, describer, fingerprint, name=name)
    built = gallery.load(options.gallery)
    shipped = probes.ship_probes(dataset, built, dataset / "absent")
    cutouts, truths = probes.ship_cutouts(dataset, built), probes.ship_truth(dataset, built)
    return {"images": report.total, **shipped, "cutouts": cutouts, "ground_truth": truths}


def _what_if(options: argparse.Namespace) -> None:
    from reid_demo import occlude, whatif

    engine = _engine(options)
    probes = whatif.read_probes([Path(p) for p in options.probes]) if options.probes else whatif.shipped_probes(engine)
    trials = [whatif.Trial("untouched"), *whatif.named_trials(options.occlude, options.fill)]
    for path in map(Path, options.recipe):
        trials.append(whatif.Trial(path.stem, tuple(occlude.read_recipe(path.read_text(encoding="utf-8")))))
    if len(trials) == 1:
        trials = whatif.curve_trials(options.fill)
    for step in whatif.run_set(engine, probes, trials, _scoring(options, engine.default_scoring)):
        print(f"{step.done} of {step.total} what-ifs", file=sys.stderr)
    if options.out:
        for path in whatif.write(Path(options.out), step.results, engine):
            print(path, file=sys.stderr)
    print(whatif.to_json(step.results, engine) if options.json else whatif.table(step.results))


def _probes(options: argparse.Namespace) -> None:
    from reid_demo import gallery
    from reid_demo.probes import ship_probes

    absent = Path(options.absent) if options.absent else None
    print(json.dumps(ship_probes(Path(options.dataset), gallery.load(options.gallery), absent)))


def _bench(options: argparse.Namespace) -> None:
    from reid_demo.bench import bench, bench_training, machine
    from reid_demo.config import read_train_config

    if options.train:
        rows = bench_training(read_train_config(None, None, options.set), device=options.device)
    elif options.large is not None:
        from reid_demo.bench_large import bench_large

        rows = bench_large(_engine(options).gallery, options.large, say=lambda line: print(line, file=sys.stderr))
    else:
        rows = bench(_engine(options), gallery_size=options.gallery_size)
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    print(f"{'what':58} {'value':>10} {'reference':>10} {'ratio':>6}")
    for row in rows:
        print(f"{row['what']:58} {row['value']:>7} {row['unit']:<3} {row['reference']:>9} {row['ratio']:>6}")


def _push(options: argparse.Namespace) -> int:
    from reid_demo import hub, space
    from reid_demo.engine import PROJECT

    kind = "space" if options.space else "weights" if options.weights else "gallery"
    repo = options.space or options.to
    if not repo:
        raise ReidError("Name the repository with --to OWNER/NAME.")
    if kind == "space":
        told = space.check(PROJECT)
    else:
        told = {"ok": True, "card": hub.card_of(Path(options.weights or options.gallery), kind)}
    if not options.dry_run:
        if kind == "space":
            told["address"] = space.push(PROJECT, repo, public=options.public)
        else:
            told["address"] = hub.push(options.weights or options.gallery, kind, repo, public=options.public)
    if options.json:
        print(json.dumps(told, indent=2))
    elif options.dry_run:
        print(told.get("card") or "\n".join(f"{key:15} {value}" for key, value in told.items() if key != "problems"))
        for problem in told.get("problems", ()):
            print(f"problem: {problem}")
    else:
        print(f"pushed to {told['address']}")
    return 0 if told["ok"] else 1


def _info(options: argparse.Namespace) -> None:
    from reid_demo.bench import machine
    from reid_demo.images import read_image

    engine = _engine(options)
    report = {
        "reid_demo": __version__,
        **machine(),
        "device": engine.device_name,
        "weights": engine.weights_name,
        "variant": engine.variant,
        "fingerprint": engine.gallery.fingerprint,
        "gallery": engine.gallery.name,
        "gallery_images": len(engine.gallery),
        "gallery_pids": engine.gallery.num_pids,
    }
    if engine.examples:
        first = engine.examples[0]
        best = engine.search(engine.describe(read_image(first.path)), 1)[0]
        report["self_test"] = {
            "probe": first.path.name,
            "pid": first.pid,
            "best_pid": best.record.pid,
            "similarity": round(best.similarity, 4),
            "terms_sum_to_similarity": bool(abs(best.contributions.sum() - best.similarity) < 1e-5),
        }
    if options.json:
        print(json.dumps(report, indent=2, default=bool))
    else:
        for key, value in report.items():
            print(f"{key:16} {value}")


if __name__ == "__main__":
    sys.exit(main())
