"""Search a gallery: `search`, `explain`, `sweep`, `what-if` and `info`."""

import argparse
import json
import sys
from importlib import metadata
from pathlib import Path

from reid_demo import __version__
from reid_demo.cli import common
from reid_demo.errors import ReidError


def add(commands) -> None:
    """Add these commands to the parser."""
    text = "rank a gallery for one or more probe images, optionally with parts hidden"
    sub = common.command(commands, "search", _search, text, uses=common.ENGINE)
    sub.add_argument("probes", nargs="+", metavar="PROBE", help="picture of one person")
    sub.add_argument("--top-k", type=common.count, default=10, metavar="K", help="number of matches; default 10")
    text = "hide a part first, such as lower_half"
    sub.add_argument("--occlude", nargs="+", default=[], type=common.occluder, metavar="NAME", help=text)
    common.fill_flag(sub)
    sub.add_argument("--recipe", metavar="JSON", help="change the probe by a recipe saved on the page")
    common.scoring_flags(sub)
    common.parts_flag(sub)
    common.json_flag(sub)

    text = "write heatmaps, presence and contributions of a match"
    sub = common.command(commands, "explain", _explain, text, uses=common.ENGINE)
    sub.add_argument("probe", metavar="PROBE", help="picture of one person")
    sub.add_argument("--out", required=True, metavar="DIR", help="for explanation.json and the heatmaps as PNG")
    sub.add_argument("--rank", type=common.count, default=1, metavar="K", help="which match; default 1")
    common.scoring_flags(sub)
    common.parts_flag(sub)
    common.json_flag(sub)

    text = "slide an occluder over a probe and print what each position does to a match"
    sub = common.command(commands, "sweep", _sweep, text, uses=common.ENGINE)
    sub.add_argument("probe", metavar="PROBE", help="picture of one person")
    sub.add_argument("--rank", type=common.count, default=1, metavar="K", help="which match to watch; default 1")
    sub.add_argument("--size", type=float, default=0.4, help="window side as a fraction of the width; default 0.4")
    sub.add_argument("--stride", type=float, default=0.14, help="step as a fraction of the width; default 0.14")
    common.fill_flag(sub)
    common.scoring_flags(sub)
    common.parts_flag(sub)
    common.json_flag(sub)

    sub = common.command(
        commands, "what-if", _what_if, "measure a list of occlusions over a list of labelled probes", uses=common.ENGINE
    )
    text = "the gallery's probes (default: its whole ones), or pictures named as in Market-1501"
    sub.add_argument("probes", nargs="*", metavar="PATH", help=text)
    text = "such as lower_half centre random_block"
    sub.add_argument("--occlude", nargs="+", default=[], type=common.occluder, metavar="NAME", help=text)
    sub.add_argument("--recipe", nargs="+", default=[], metavar="JSON", help="recipes saved on the page")
    common.fill_flag(sub)
    sub.add_argument("--out", metavar="DIR", help="also write what-if.json and the curve what-if.svg")
    common.scoring_flags(sub)
    common.parts_flag(sub)
    common.json_flag(sub)

    sub = common.command(
        commands, "info", _info, "versions, device, fingerprints and a self-test, for bug reports", uses=common.ENGINE
    )
    common.json_flag(sub)


def _search(options: argparse.Namespace) -> None:
    from reid_demo import occlude
    from reid_demo.images import read_named
    from reid_demo.records import Occlusion
    from reid_demo.serving import answers

    fill = common.fill(options, used=bool(options.occlude))
    recipe = [Occlusion(kind, fill) for kind in options.occlude]
    if options.recipe:
        recipe += occlude.read_recipe(common.read_text(options.recipe))
    engine = common.load_engine(options)
    scoring = common.engine_scoring(options, engine)
    found = []
    for path in options.probes:
        image = engine.occlude(read_named(path), recipe)
        answer = answers.search(engine, image, options.top_k, scoring, occluded=bool(recipe))
        found.append({"probe": path, **answers.with_paths(answer)})
    for answer in found:
        _warn(answer, answer["probe"])
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for answer in found:
        judged = f". {answer['confidence']['words']}" if answer["confidence"] else ""
        print(f"{answer['probe']}: candidates to verify{'' if answer['exact'] else ', approximate'}{judged}")
        for row in answer["matches"]:
            print(f"  {_line(row)}")


def _warn(answer, probe: str) -> None:
    """Say on stderr what limits an answer; with `--json` it is its key `warning` as well."""
    if "warning" in answer:
        print(f"{probe}: {answer['warning']}", file=sys.stderr)


def _line(row) -> str:
    pid, camid = (("-" if v is None else v) for v in (row["pid"], row["camid"]))
    return f"{row['rank']:3d}  {row['similarity']:.4f}  id {pid}  camera {camid}  {row['path']}"


def _explain(options: argparse.Namespace) -> None:
    from reid_demo.drawing.report import write_explanation
    from reid_demo.images import read_named
    from reid_demo.serving import answers

    engine = common.load_engine(options)
    image = read_named(options.probe)
    why, explanation, match = answers.explain(engine, image, options.rank, common.engine_scoring(options, engine))
    why = answers.with_paths(why)
    _warn(why, options.probe)
    written = write_explanation(Path(options.out), image, match, explanation, why)
    if options.json:
        print(json.dumps({**why, "files": [str(path) for path in written]}, indent=2))
        return
    print(_line(why["match"]))
    for name, label, value in zip(why["names"], engine.term_labels, why["contributions"], strict=True):
        told = name if label == name else f"{name}, {label}"
        print(f"  {told:28} {value:+.4f}")
    for row in why["visible_probe"]:
        print(f"  {row['body_part']}: {row['words']}")
    print(f"{len(written)} files in {options.out}")


def _sweep(options: argparse.Namespace) -> None:
    from reid_demo.images import read_named
    from reid_demo.serving import answers
    from reid_demo.whatif.sweep import Window

    engine = common.load_engine(options)
    with common.progress_bar("window") as progress:
        swept = answers.sweep(
            engine,
            read_named(options.probe),
            options.rank,
            window=Window(options.size, options.stride, common.fill(options)),
            scoring=common.engine_scoring(options, engine),
            go_on=progress,
        )
    found = answers.with_paths(swept)
    _warn(found, options.probe)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    print(_line(found["match"]))
    print("hidden window (x0 y0 x1 y1)  similarity  rank, the costliest first")
    rows = sorted(zip(found["similarity_change"], found["rank_change"], found["boxes"], strict=True))
    for similarity, rank, box in rows[:10]:
        print(f"  {' '.join(f'{value:.2f}' for value in box):26} {similarity:+.4f}  {rank:+d}")


def _what_if(options: argparse.Namespace) -> None:
    from reid_demo import occlude
    from reid_demo.measuring import sets

    fill = common.fill(options, used=bool(options.occlude or not options.recipe))
    engine = common.load_engine(options)
    given = [Path(probe) for probe in options.probes]
    probes = sets.read_probes(given, engine.probes) if given else sets.own_probes(engine)
    trials = [sets.Trial("untouched"), *sets.named_trials(options.occlude, fill)]
    for path in map(Path, options.recipe):
        trials.append(sets.Trial(path.stem, tuple(occlude.read_recipe(common.read_text(path)))))
    if len(trials) == 1:
        trials = sets.curve_trials(fill)
    for change in (change for trial in trials for change in trial.recipe):
        occlude.check(change)  # before the work
    for step in sets.run_set(engine, probes, trials, common.engine_scoring(options, engine)):
        print(f"{step.done} of {step.total} what-ifs", file=sys.stderr)
    if options.out:
        for path in sets.write(Path(options.out), step.results, engine):
            print(path, file=sys.stderr)
    print(sets.to_json(step.results, engine) if options.json else sets.table(step.results))


def _info(options: argparse.Namespace) -> None:
    from reid_demo.serving import answers
    from reid_demo.serving.bench.rows import machine

    report = {"reid_demo": __version__, **machine(), **_libraries()}
    try:
        engine = common.load_engine(options)
        about = answers.gallery_info(engine)
        report |= {"gallery_images": about.pop("images"), "gallery_pids": about.pop("people"), **about}
        report["runtime"] = engine.describer.runs_by
        if engine.examples:
            report["self_test"] = _self_test(engine)
    except ReidError as error:  # print the versions even so: a bug report needs them
        report["error"] = str(error)
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        for key, value in report.items():
            print(f"{key:22} {', '.join(value) if isinstance(value, list) else value}")
    if "error" in report:
        raise ReidError(report["error"])


def _self_test(engine) -> dict:
    """Search with the first example probe; return the best match and whether its terms sum to its similarity."""
    from reid_demo.images import read_image

    first = engine.examples[0]
    best = engine.search(engine.describe(read_image(first.path)), 1)[0]
    return {
        "probe": first.path.name,
        "pid": first.pid,
        "best_pid": best.record.pid,
        "similarity": round(best.similarity, 4),
        "terms_sum_to_similarity": bool(abs(best.contributions.sum() - best.similarity) < 1e-5),
    }


def _libraries() -> dict[str, str]:
    """Return the versions of the main libraries, "not installed" for a missing one."""
    found = {}
    for name in ("gradio", "faiss-cpu", "opencv-python-headless", "pillow", "huggingface-hub"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
