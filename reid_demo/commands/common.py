"""What the commands share: their options, and the engine or the network that these name."""

import argparse
from collections.abc import Callable


def command(commands, name: str, run: Callable, text: str, *, engine: bool = False) -> argparse.ArgumentParser:
    """Add a command that runs `run(options)`; give its parser.

    Args:
        commands: what `add_subparsers` gave.
        name: of the command.
        run: gives the exit code, or None for 0.
        text: what the command does, from a small letter on and without a full stop.
        engine: whether it searches a gallery.
    """
    sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    sub.set_defaults(run=run)
    sub.add_argument("--weights", help="weights folder or hf:// address; default: the shipped one")
    sub.add_argument("--device", help="cpu, cuda or cuda:N; default: a GPU where there is one")
    if engine:
        sub.add_argument("--gallery", help="gallery folder, hf:// or milvus:// address; default: the shipped one")
    return sub


def json_flag(sub: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    sub.add_argument("--json", action="store_true", help="print JSON instead of words")


def scoring_flags(sub: argparse.ArgumentParser) -> None:
    """Add the ways of weighing parts."""
    sub.add_argument("--adaptive", action="store_true", help="weight parts by presence (Eq. 8)")
    sub.add_argument("--part-aware", action="store_true", help="presence-weighted mean of part cosines")


def scoring(options: argparse.Namespace, default):
    """Give the `Scoring` that the flags name, or the default."""
    from reid_demo.records import Scoring

    if not options.adaptive and not options.part_aware:
        return default
    return Scoring(adaptive=options.adaptive, part_aware=options.part_aware)


def load_engine(options: argparse.Namespace):
    """Give the engine over the named weights and gallery."""
    from reid_demo.engine import Engine

    return Engine.load(options.weights, options.gallery, options.device)


def describer(options: argparse.Namespace):
    """Give the describer of the named weights, their fingerprint and their name."""
    from reid_demo import checkpoint, hub
    from reid_demo.describe import Describer
    from reid_demo.engine import DEFAULT_WEIGHTS

    weights = hub.local_folder(options.weights or DEFAULT_WEIGHTS, "weights")
    describer = Describer(checkpoint.load_weights(weights), checkpoint.choose_device(options.device))
    return describer, checkpoint.fingerprint(weights), weights.name
