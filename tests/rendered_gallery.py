"""A gallery of drawn figures with ground truth as rendered people have: eight body parts as bands."""

import json
import shutil
from pathlib import Path

import numpy as np

from reid_demo.data.ground_truth import GRID, PARTS, Truth, to_line, write_truth


def with_truth(folder: Path, root: Path, without: str = "") -> Path:
    """Copy a gallery and say where the body parts of its figures are; `without` is a part that nobody shows."""
    shutil.copytree(folder, root)
    lines = []
    for row in map(json.loads, (root / "records.jsonl").read_text().splitlines()):
        masks = {}
        for number, part in enumerate(PARTS):
            masks[part] = np.zeros(GRID, bool)
            masks[part][4 + 7 * number : 11 + 7 * number, 8:24] = True
        masks.pop(without, None)
        lines.append(
            to_line(
                Truth(
                    image=row["path"],
                    pid=row["pid"],
                    camid=row["camid"],
                    sequence=1,
                    frame=1,
                    scene="plaza",
                    pose="walk",
                    facing=0.0,
                    camera={},
                    box=(0, 0, 1, 1),
                    hidden_by=(),
                    visible=dict.fromkeys(masks, 1.0),
                    masks=masks,
                    body_visible=1.0,
                )
            )
        )
    write_truth(root / "truth.jsonl.gz", lines)
    return root
