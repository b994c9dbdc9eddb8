"""The command line, `python -m reid_demo COMMAND`: run a command of `cli` and turn errors into exit codes."""

import argparse
import os
import sys
from collections.abc import Sequence

from reid_demo import __version__
from reid_demo.cli import explaining, exporting, galleries, hub, measuring, reproducing, searching, synthetic, training
from reid_demo.errors import ReidError, escape_what_a_console_lacks

GROUPS = (galleries, searching, training, measuring, explaining, reproducing, synthetic, exporting, hub)

EPILOG = """\
first steps, with the shipped weights:
  python -m reid_demo info                               check that it works here
  python -m reid_demo index PHOTOS --out MY_GALLERY      make a folder of person pictures searchable
  python -m reid_demo search ME.jpg --gallery MY_GALLERY --top-k 5
  python app.py --gallery MY_GALLERY                     the same as a page; also takes a folder of pictures

`python -m reid_demo COMMAND --help` explains one command. Answers go to stdout, progress to stderr.
Exit codes: 0 done, 1 an error (one sentence on stderr), 2 wrong usage."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 0 done, 1 an error (one sentence on stderr), 2 wrong usage."""
    escape_what_a_console_lacks()
    options = _parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except ReidError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"error: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reid_demo",
        description="Person re-identification with dynamic part templates. A ranking is a list of candidates "
        "for a human to verify.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"reid_demo {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in GROUPS:
        group.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
