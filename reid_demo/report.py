"""An explanation as files: heatmaps as PNG, numbers as JSON."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from reid_demo import render
from reid_demo.records import Explanation


def write_explanation(
    folder: Path, probe: np.ndarray, match: np.ndarray, explanation: Explanation, match_row: dict
) -> list[Path]:
    """Write `explanation.json` and one heatmap a template for probe and match; give the paths.

    Args:
        folder: made if missing.
        probe: `(H, W, 3)` uint8.
        match: `(H, W, 3)` uint8.
        explanation: of this pair.
        match_row: the match as `search --json` gives it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for side, image, descriptor in (("probe", probe, explanation.probe), ("match", match, explanation.match)):
        for i, heat in enumerate(descriptor.template_attention):
            path = folder / f"{side}_template_{i + 1}.png"
            Image.fromarray(render.heat_overlay(image, heat)).save(path)
            written.append(path)
    numbers = {
        "similarity": explanation.similarity,
        "names": list(explanation.names),
        "contributions": [float(v) for v in explanation.contributions],
        "presence_probe": [float(v) for v in explanation.probe.presence],
        "presence_match": [float(v) for v in explanation.match.presence],
        "match": match_row,
        "note": "Presence is relative attention and sums to 1 over the parts whatever is hidden.",
    }
    path = folder / "explanation.json"
    path.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    return [path, *written]
