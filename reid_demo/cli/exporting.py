"""Export the network for other programs: `export`."""

import argparse
import json
from pathlib import Path

from reid_demo.cli import common


def add(commands) -> None:
    """Add the command to the parser."""
    text = "write the network as an ONNX graph for any batch size, checked against PyTorch"
    sub = common.command(commands, "export", _export, text, uses=("weights",))
    sub.add_argument("--onnx", required=True, metavar="OUT.onnx", help="file to write")
    common.json_flag(sub)


def _export(options: argparse.Namespace) -> None:
    from reid_demo.model import checkpoint
    from reid_demo.model.export import OUTPUTS, export
    from reid_demo.search import bundled

    folder, path = bundled.weights_folder(options.weights), Path(options.onnx)
    checked_by, difference = export(checkpoint.load_weights(folder), path)
    told = {
        "onnx": str(path),
        "outputs": list(OUTPUTS),
        "checked_by": checked_by,
        "largest_difference": difference,
        "fingerprint": checkpoint.fingerprint(folder),
    }
    if options.json:
        print(json.dumps(told, indent=2))
        return
    size = path.stat().st_size / 1e6
    print(f"{path}: {size:.0f} MB, {', '.join(OUTPUTS)}; {checked_by} differs from PyTorch by {difference:.1e} at most")
