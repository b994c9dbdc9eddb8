"""Reproduce the paper's tables: `reproduce`."""

import argparse
import json
import sys
from pathlib import Path

from reid_demo.cli import common
from reid_demo.errors import ConfigError


def add(commands) -> None:
    """Add the command to the parser."""
    text = "train and measure one row of the paper's Tables 1 to 5, resumable (docs/REPRODUCE.md)"
    sub = common.command(commands, "reproduce", _reproduce, text, uses=())
    sub.add_argument("--table", required=True, type=int, choices=range(1, 6), help="number in the paper")
    sub.add_argument("--row", metavar="NAME", help="a variant of Table 4 or a backbone of Table 5")
    sub.add_argument("--data", required=True, metavar="DIR", help="holds market1501/, occluded_reid/ and so on")
    sub.add_argument("--init", required=True, metavar="PATH", help="ImageNet weights of the row's backbone")
    sub.add_argument("--out", required=True, metavar="DIR", help="for the runs and tableN_ROW.json; re-run to resume")
    common.set_flag(sub, "change the paper's recipe")
    sub.add_argument("--seed", type=common.seed, default=0, metavar="N", help="of the training; default 0")
    sub.add_argument("--max-steps", type=common.count, metavar="N", help="rehearse with N optimiser steps per run")
    sub.add_argument("--device", help="cpu, cuda or cuda:N; default: a GPU if there is one")
    common.json_flag(sub)


def _reproduce(options: argparse.Namespace) -> None:
    from reid_demo.paper import reproduce

    common.refuse_seed(options, "--seed")
    try:
        row = reproduce.find_row(options.table, options.row)
    except ConfigError as error:
        options.refuse(str(error))
    out = Path(options.out)
    attempt = reproduce.Attempt(
        Path(options.data), out, Path(options.init), options.set, options.seed, options.max_steps, options.device
    )
    with common.resumable(out):
        record = reproduce.reproduce(row, attempt, say=lambda words: print(words, file=sys.stderr))
    record["command"] = common.command_line()
    text = json.dumps(record, indent=2)
    (out / f"table{row.table}_{row.name}.json").write_text(text + "\n", encoding="utf-8")
    print(text if options.json else reproduce.markdown(record))
