"""The command line: `python -m reid_demo COMMAND`. The commands are in `commands`; here errors become exit codes."""

import argparse
import sys
from collections.abc import Sequence

from reid_demo import __version__
from reid_demo.commands import galleries, hub, measuring, searching, synthetic, training
from reid_demo.errors import ReidError

GROUPS = (galleries, searching, training, measuring, synthetic, hub)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; give its exit code: 0 done, 1 a `ReidError` (its sentence is on stderr), 2 wrong usage."""
    options = _parser().parse_args(arguments)
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
    for group in GROUPS:
        group.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
