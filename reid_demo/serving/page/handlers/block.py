"""The block over the probe, as the last step of a recipe: where it stands, and what lies under it."""

from dataclasses import replace

import numpy as np

from reid_demo import occlude
from reid_demo.errors import OcclusionError
from reid_demo.records import Occlusion
from reid_demo.serving.page import text

LEAST = 0.02  # side of a block, of the probe's
Box = tuple[float, float, float, float]
Recipe = tuple[Occlusion, ...]


def split(recipe: Recipe) -> tuple[Recipe, Occlusion | None]:
    """Split a recipe into what lies under the block and the block, its last step if that is a box."""
    if recipe and (recipe[-1].kind in occlude.BOXES or recipe[-1].kind == "box"):
        return recipe[:-1], recipe[-1]
    return recipe, None


def box_of(block: Occlusion | None) -> Box | None:
    """Return where a block stands, fractions `(x0, y0, x1, y1)` of the probe."""
    return None if block is None else occlude.BOXES.get(block.kind) or block.box


def join(recipe: Recipe, box: Box | None, fill: str = "mean_grey") -> Recipe:
    """Put the block at a box, or take it away; a block that covers exactly a named place is that place."""
    under, _ = split(recipe)
    if box is None:
        return under
    kind = next((name for name, place in occlude.BOXES.items() if np.allclose(place, box, atol=1e-3)), None)
    return (*under, Occlusion(kind, fill) if kind else Occlusion("box", fill, box=box))


def slip(recipe: Recipe, step: Occlusion) -> Recipe:
    """Add a step under the block, which stays on top where the visitor can take hold of it."""
    under, block = split(recipe)
    return (*under, step) if block is None else (*under, step, block)


def refill(recipe: Recipe, fill: str) -> Recipe:
    """Fill all that is hidden with something else."""
    return tuple(step if step.kind in occlude.UNFILLED else replace(step, fill=fill) for step in recipe)


def read_box(value: object) -> Box | None:
    """Read a box in fractions `(x0, y0, x1, y1)` of the probe from the browser; `None` is no block.

    Raises:
        OcclusionError: it is none, or leaves the probe.
    """
    if value is None:
        return None
    try:
        x0, y0, x1, y1 = (float(side) for side in value)
    except (TypeError, ValueError) as error:
        raise OcclusionError(text.STAGE_BOX) from error
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1 and x1 - x0 >= LEAST and y1 - y0 >= LEAST):
        raise OcclusionError(text.STAGE_BOX)
    return x0, y0, x1, y1
