"""What the commands share: options, and loading the engine or describer that the options name."""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from reid_demo.errors import ConfigError

ENGINE = ("weights", "device", "gallery")


def command(
    commands, name: str, run: Callable, text: str, *, uses: Sequence[str] = ("weights", "device")
) -> argparse.ArgumentParser:
    """Add a command that calls `run(options)`; return its parser.

    Args:
        commands: from `add_subparsers`.
        name: of the command.
        run: returns the exit code, or `None` for 0.
        text: what the command does, starting in lower case and without a full stop.
        uses: which of `--weights`, `--device` and `--gallery` it takes; `ENGINE` for a command that searches.

    Returns:
        The parser. The options get its `error` as `refuse(words)`, for wrong usage (exit code 2) that argparse cannot
        detect.
    """
    sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    sub.set_defaults(run=run, refuse=sub.error)
    if "weights" in uses:
        sub.add_argument("--weights", help="weights folder, name of shipped weights, or hf:// address")
    if "device" in uses:
        sub.add_argument("--device", help="cpu, cuda or cuda:N; default: a GPU if there is one")
        words = "on a CPU: torch, openvino or onnxruntime; default: the fastest one installed"
        sub.add_argument("--runtime", help=words)
    if "gallery" in uses:
        sub.add_argument("--gallery", help="gallery folder, hf:// or milvus:// address; default: the shipped one")
    return sub


def json_flag(sub: argparse.ArgumentParser, *, always: bool = False) -> None:
    """Add `--json`; a command that `always` prints JSON accepts it too, so that scripts can pass it everywhere."""
    words = "no effect: this command always prints JSON" if always else "print JSON instead of text"
    sub.add_argument("--json", action="store_true", help=words)


def set_flag(sub: argparse.ArgumentParser, text: str = "change the recipe, such as loss.margin=0.5") -> None:
    """Add `--set`, which can be repeated."""
    sub.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help=text)


def command_line() -> str:
    """Return this process's command line, quoted for a shell."""
    return f"python -m reid_demo {shlex.join(sys.argv[1:])}"


def scoring_flags(sub: argparse.ArgumentParser) -> None:
    """Add one flag per weighing; they exclude each other."""
    way = sub.add_mutually_exclusive_group()
    for flag, name, text in (
        ("--cosine", "cosine", "all parts alike, without weights"),
        ("--adaptive", "adaptive", "weight parts by presence (Eq. 8)"),
        ("--part-aware", "part_aware", "mean of part cosines, weighted by how much of each the probe shows"),
    ):
        way.add_argument(flag, action="store_const", dest="weighing", const=name, help=text)


def fill_flag(sub: argparse.ArgumentParser) -> None:
    """Add `--fill`, one of `occlude.FILLS`."""
    sub.add_argument("--fill", type=_fill, help="what the hidden part shows; default mean_grey")


def fill(options: argparse.Namespace, used: bool = True) -> str:
    """Return the value of `--fill` or its default; refuse the option if it is not `used`."""
    from reid_demo.records import Occlusion

    if options.fill and not used:
        options.refuse("--fill sets what a part hidden by --occlude shows; add --occlude")
    return options.fill or Occlusion.fill


def occluder(text: str) -> str:
    """Check the name of an occlusion, for argparse, so that a wrong one fails before anything is loaded."""
    from reid_demo.occlude import NAMED

    if text not in NAMED:
        raise argparse.ArgumentTypeError(f"no occluder is called {text!r}; choose from {', '.join(NAMED)}")
    return text


def probe_change(text: str) -> str:
    """Check the name of a change to every query (hide, cut or remove colour), for argparse."""
    from reid_demo.occlude import MEASURED

    if text not in MEASURED:
        raise argparse.ArgumentTypeError(
            f"no change of the queries is called {text!r}; choose from {', '.join(MEASURED)}"
        )
    return text


def _fill(text: str) -> str:
    from reid_demo.occlude import FILLS

    if text not in FILLS:
        raise argparse.ArgumentTypeError(f"no fill is called {text!r}; choose from {', '.join(FILLS)}")
    return text


def weighing(text: str) -> str:
    """Read the name of a weighing in any spelling, for argparse."""
    from reid_demo.records import weighing_named

    try:
        return weighing_named(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def parts_flag(sub: argparse.ArgumentParser) -> None:
    """Add `--parts`, the terms of the similarity that count."""
    text = "parts that count, by name or number from 1, and global; default: all"
    sub.add_argument("--parts", nargs="+", metavar="PART", help=text)


def rendered_root_flag(sub: argparse.ArgumentParser) -> None:
    """Add `--root`, the rendered pictures to measure on."""
    text = "a data set of `synthesize`, or a gallery with its ground truth; default: the shipped gallery"
    sub.add_argument("--root", metavar="DIR", help=text)


def rendered_root(options: argparse.Namespace) -> Path:
    """Return the folder that `--root` names, or the shipped gallery."""
    from reid_demo.search import bundled

    return Path(options.root or bundled.DEFAULT_GALLERY)


def count(text: str) -> int:
    """Read a whole number of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


def refuse_seed(options: argparse.Namespace, flag: str) -> None:
    """Refuse a seed among the changes to a recipe, where a flag of its own replaces it."""
    if any(change.partition("=")[0].strip() == "seed" for change in options.set):
        options.refuse(f"name the seed with {flag}, not with --set")


def seed(text: str) -> int:
    """Read a whole number of at least 0, for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, not {text!r}")
    return int(text)


def read_text(path: str | Path) -> str:
    """Read a small text file named on the command line.

    Raises:
        ConfigError: missing, or not UTF-8 text.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The file {str(path)!r} cannot be read as text. Check its name and contents.") from error


@contextmanager
def resumable(out: Path) -> Iterator[None]:
    """On Ctrl-C, print what the same command will do with the runs in `out`."""
    try:
        yield
    except KeyboardInterrupt:
        print(
            f"\nRun the same command again to resume: it keeps what {out} holds. A run without a checkpoint (one is "
            "written every 100 steps) starts over.",
            file=sys.stderr,
        )
        raise


@contextmanager
def progress_bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on stderr; yield the function `(done, total)` that moves it.

    The bar appears with the first step, and is updated rarely if stderr is not a terminal.
    """
    from tqdm import tqdm

    pace = 0.1 if sys.stderr.isatty() else 10.0  # seconds between two updates
    with ExitStack() as shown:
        bars: list[tqdm] = []

        def progress(done: int, total: int) -> None:
            if not bars:
                bar = tqdm(total=total, unit=unit, file=sys.stderr, mininterval=pace, maxinterval=pace)
                bars.append(shown.enter_context(bar))
            bars[0].total = total
            bars[0].update(done - bars[0].n)

        yield progress


def scoring(options: argparse.Namespace, default):
    """Return the `Scoring` that the flags name, or the default."""
    from reid_demo.records import Scoring

    return Scoring(options.weighing) if options.weighing else default


def engine_scoring(options: argparse.Namespace, engine):
    """Return the `Scoring` that the flags and `--parts` name, by default the engine's."""
    from dataclasses import replace

    from reid_demo.serving import answers

    chosen = scoring(options, engine.default_scoring)
    if not options.parts:
        return chosen
    return replace(chosen, parts=answers.switches(engine, options.parts))


def load_engine(options: argparse.Namespace):
    """Load the engine with the named weights and gallery."""
    from reid_demo.engine import Engine

    return Engine.load(options.weights, options.gallery, options.device, options.runtime)


def precision_flag(sub: argparse.ArgumentParser, default: str) -> None:
    """Add `--precision`, the number format of the backbone."""
    sub.add_argument("--precision", help=f"of the backbone: float32 or bfloat16; default: {default}")


def describer(options: argparse.Namespace, *, bulk: bool = False, networks: bool = False):
    """Return the describer of the named weights, their fingerprint and their name.

    Args:
        options: with `weights` and `device`, and optionally `runtime` and `precision`.
        bulk: for many images: prefer speed to the last decimal unless `precision` is set.
        networks: the weights may be a network in OpenVINO's format, which has no parts.
    """
    from reid_demo.model import checkpoint, runtimes, start
    from reid_demo.model.describer import Describer, bulk_precision
    from reid_demo.search import bundled

    weights = bundled.weights_folder(options.weights)
    device = checkpoint.choose_device(options.device)
    runtime = getattr(options, "runtime", None)
    precision = getattr(options, "precision", None) or (bulk_precision(device, runtime) if bulk else "float32")
    if networks and weights.suffix == ".xml":
        model = start.published_network(weights)
        fingerprint = checkpoint.fingerprint_of([weights, weights.with_suffix(".bin")])
    else:
        model, fingerprint = checkpoint.load_weights(weights), checkpoint.fingerprint(weights)
    describer = Describer(model, device, precision=precision, runtime=runtimes.named(runtime, device))
    return describer, fingerprint, bundled.weights_name(options.weights)
