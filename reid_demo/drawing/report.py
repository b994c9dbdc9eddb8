"""An explanation as files: heatmaps as PNG, numbers as JSON."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from reid_demo.drawing import overlays
from reid_demo.records import Explanation


def write_explanation(
    folder: Path, probe: np.ndarray, match: np.ndarray, explanation: Explanation, numbers: Mapping
) -> list[Path]:
    """Write `explanation.json` and, for probe and match, one heatmap per part template; return the paths.

    Args:
        folder: created if missing.
        probe: `(H, W, 3)` uint8.
        match: `(H, W, 3)` uint8.
        explanation: of this pair.
        numbers: as `explain --json` prints them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for side, image, descriptor in (("probe", probe, explanation.probe), ("match", match, explanation.match)):
        for i, heat in enumerate(descriptor.template_attention):
            path = folder / f"{side}_template_{i + 1}.png"
            Image.fromarray(overlays.heat_overlay(image, heat)).save(path)
            written.append(path)
    path = folder / "explanation.json"
    path.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    return [path, *written]
