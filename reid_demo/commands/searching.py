"""Ask a gallery: `search`, `explain`, `what-if` and `info`."""

import argparse
import json
import sys
from pathlib import Path

from reid_demo import __version__
from reid_demo.commands import common
from reid_demo.errors import ReidError


def add(commands) -> None:
    """Add these commands to the parser."""
    sub = common.command(commands, "search", _search, "rank a gallery for one or more probe images", engine=True)
    sub.add_argument("probes", nargs="+", metavar="PROBE")
    sub.add_argument("--top-k", type=int, default=10)
    common.scoring_flags(sub)
    common.json_flag(sub)

    sub = common.command(
        commands, "explain", _explain, "write heatmaps, presence and contributions of a match", engine=True
    )
    sub.add_argument("probe", metavar="PROBE")
    sub.add_argument("--out", required=True, metavar="DIR")
    sub.add_argument("--rank", type=int, default=1, help="which match; default 1")
    common.scoring_flags(sub)

    sub = common.command(
        commands, "what-if", _what_if, "measure a list of occlusions over a list of labelled probes", engine=True
    )
    sub.add_argument("probes", nargs="*", metavar="PATH", help="files or folders named as Market-1501; else shipped")
    sub.add_argument("--occlude", nargs="+", default=[], metavar="NAME", help="such as lower_half centre random_block")
    sub.add_argument("--recipe", nargs="+", default=[], metavar="JSON", help="recipes that the page or this tool wrote")
    sub.add_argument("--fill", default="mean_grey")
    sub.add_argument("--out", metavar="DIR", help="also write what-if.json and the curve what-if.svg")
    common.scoring_flags(sub)
    common.json_flag(sub)

    sub = common.command(
        commands, "info", _info, "versions, device, fingerprints and a self-test, for bug reports", engine=True
    )
    common.json_flag(sub)


def _search(options: argparse.Namespace) -> None:
    from reid_demo.images import read_image

    engine = common.load_engine(options)
    answers = []
    for path in options.probes:
        probe = engine.describe(read_image(path))
        matches = engine.search(probe, options.top_k, common.scoring(options, engine.default_scoring))
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

    engine = common.load_engine(options)
    image = read_image(options.probe)
    probe = engine.describe(image)
    scoring = common.scoring(options, engine.default_scoring)
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


def _what_if(options: argparse.Namespace) -> None:
    from reid_demo import occlude, whatif

    engine = common.load_engine(options)
    probes = whatif.read_probes([Path(p) for p in options.probes]) if options.probes else whatif.shipped_probes(engine)
    trials = [whatif.Trial("untouched"), *whatif.named_trials(options.occlude, options.fill)]
    for path in map(Path, options.recipe):
        trials.append(whatif.Trial(path.stem, tuple(occlude.read_recipe(path.read_text(encoding="utf-8")))))
    if len(trials) == 1:
        trials = whatif.curve_trials(options.fill)
    for step in whatif.run_set(engine, probes, trials, common.scoring(options, engine.default_scoring)):
        print(f"{step.done} of {step.total} what-ifs", file=sys.stderr)
    if options.out:
        for path in whatif.write(Path(options.out), step.results, engine):
            print(path, file=sys.stderr)
    print(whatif.to_json(step.results, engine) if options.json else whatif.table(step.results))


def _info(options: argparse.Namespace) -> None:
    from reid_demo.bench import machine
    from reid_demo.images import read_image

    engine = common.load_engine(options)
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
