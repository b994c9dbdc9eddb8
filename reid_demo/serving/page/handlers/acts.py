"""What a visitor does on the stage, as the browser sends it: a mapping with a `verb` and its values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np

from reid_demo import occlude
from reid_demo.data.stories import PARTS, Story
from reid_demo.engine import Engine
from reid_demo.errors import GalleryError, OcclusionError
from reid_demo.records import Occlusion
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import probe
from reid_demo.serving.page.handlers.block import join, read_box, refill, slip, split
from reid_demo.serving.page.handlers.session import (
    COMPARED,
    Session,
    Settings,
    choose_best,
    choose_row,
    with_recipe,
)

BRUSH = 0.05  # of the picture's width
LONGEST_STROKE = 2000  # points
PAINTED = 512  # px, the longer side of a painted mask


@dataclass(frozen=True)
class Dials:
    """The numbers beside the page's buttons for what is random."""

    coverage: float | None = None  # of a random block, percent of the area
    seed: float | None = None  # None: another one at each click


def act(
    engine: Engine, session: Session, settings: Settings, asked: object, dials: Dials, stories: list[Story]
) -> Session:
    """Do what the browser asks and rank anew.

    Raises:
        ReidError: it asks for nothing that is here.
    """
    values = asked if isinstance(asked, Mapping) else {}
    session = compared(session, values)
    verbs: dict[str, Callable[[], Session]] = {
        "settle": lambda: settle(engine, session, settings, values.get("box")),
        "hide": lambda: toggle(engine, session, settings, str(values.get("kind")), dials),
        "paint": lambda: paint(engine, session, settings, values.get("stroke")),
        "crop": lambda: crop(engine, session, settings, values.get("box")),
        "fill": lambda: fill(engine, session, settings, str(values.get("fill"))),
        "remove": lambda: remove(engine, session, settings, values.get("step")),
        "undo": lambda: probe.undo(engine, session, settings),
        "back": lambda: probe.back(engine, session, settings),
        "example": lambda: open_story(engine, session, settings, stories, values.get("number")),
    }
    verb = verbs.get(str(values.get("verb")))
    if verb is None:
        raise OcclusionError(text.STAGE_BOX)
    return verb()


def compared(session: Session, asked: object) -> Session:
    """Take over from the browser whether weighings are compared, and of which one Why speaks."""
    values = asked if isinstance(asked, Mapping) else {}
    if not isinstance(values.get("compare"), bool):
        return session
    explained = next((name for name in COMPARED if name == values.get("explained")), None)
    return replace(session, compare=values["compare"], explained=explained)


def choose(engine: Engine, session: Session, asked: object) -> Session:
    """Choose the match to explain, by its row in the gallery as `index`, from one of the lists that are shown."""
    values = asked if isinstance(asked, Mapping) else {}
    return choose_row(engine, compared(session, values), values.get("index"))


def settle(engine: Engine, session: Session, settings: Settings, value: object) -> Session:
    """Make the block where it was let go a change of the probe."""
    probe.need_probe(session)
    return with_recipe(engine, session, settings, join(session.recipe, read_box(value), session.fill))


def toggle(engine: Engine, session: Session, settings: Settings, kind: str, dials: Dials) -> Session:
    """Hide by one click, or show again what the same click hid; the block stays on top."""
    if kind not in occlude.NAMED:
        raise OcclusionError(text.STAGE_BOX)
    if kind in occlude.BOXES:
        _, block = split(session.recipe)
        again = block is not None and block.kind == kind
        return settle(engine, session, settings, None if again else occlude.BOXES[kind])
    kinds = [step.kind for step in session.recipe]
    if kind in kinds:
        return remove(engine, session, settings, len(kinds) - 1 - kinds[::-1].index(kind))
    hiding = probe.Hiding(kind, session.fill, dials.coverage, dials.seed)
    step = probe.step_of(session, hiding)
    return replace(with_recipe(engine, session, settings, slip(session.recipe, step)), seed=session.seed + 1)


def paint(engine: Engine, session: Session, settings: Settings, stroke: object) -> Session:
    """Hide what a stroke covers; strokes of one fill after another are one change.

    Args:
        stroke: `(n, 2)` points as fractions of the probe without the block.
    """
    probe.need_probe(session)
    under, block = split(session.recipe)
    height, width = engine.occlude(session.image, under).shape[:2]
    share = PAINTED / max(height, width)
    size = max(1, round(height * share)), max(1, round(width * share))
    painted = _drawn(stroke, *size)
    if under and under[-1].kind == "brush" and under[-1].fill == session.fill:
        painted |= occlude.mask(under[-1], *size)
        under = under[:-1]
    recipe = (*under, occlude.brush(painted, session.fill), *(() if block is None else (block,)))
    return with_recipe(engine, session, settings, recipe)


def _drawn(stroke: object, height: int, width: int) -> np.ndarray:
    try:
        points = np.asarray(stroke, np.float64)
    except (TypeError, ValueError) as error:
        raise OcclusionError(text.STAGE_BOX) from error
    if (
        points.ndim != 2
        or points.shape[1] != 2
        or not 1 <= len(points) <= LONGEST_STROKE
        or not np.isfinite(points).all()
    ):
        raise OcclusionError(text.STAGE_BOX)
    pixels = np.round(np.clip(points, -1, 2) * (width - 1, height - 1)).astype(np.int32)
    mask = np.zeros((height, width), np.uint8)
    cv2.polylines(mask, [pixels[:, None]], False, 1, max(2, round(BRUSH * width)), cv2.LINE_8)
    return mask.astype(bool)


def crop(engine: Engine, session: Session, settings: Settings, value: object) -> Session:
    """Cut the probe as it is now to a box in fractions of it."""
    probe.need_probe(session)
    box = read_box(value)
    if box is None:
        raise OcclusionError(text.STAGE_BOX)
    return with_recipe(engine, session, settings, (*session.recipe, Occlusion("crop", box=box)))


def fill(engine: Engine, session: Session, settings: Settings, name: str) -> Session:
    """Fill what is hidden, and all that will be, with something else."""
    if name not in occlude.FILLS:
        raise OcclusionError(text.STAGE_BOX)
    now = with_recipe(engine, session, settings, refill(session.recipe, name))
    return replace(now, fill=name)


def remove(engine: Engine, session: Session, settings: Settings, step: object) -> Session:
    """Take one change back, by its place in the recipe."""
    if type(step) is not int or not 0 <= step < len(session.recipe):
        raise OcclusionError(text.NOTHING_TO_UNDO)
    recipe = session.recipe[:step] + session.recipe[step + 1 :]
    return with_recipe(engine, session, settings, recipe)


def open_story(engine: Engine, session: Session, settings: Settings, stories: list[Story], number: object) -> Session:
    """Start over with an example, with its part hidden and the right person chosen; a plain one where none is told."""
    if type(number) is not int:
        raise GalleryError(text.NO_SUCH_EXAMPLE)
    if not stories:
        return probe.open_example(engine, session, settings, number)
    if not 0 <= number < len(stories):
        raise GalleryError(text.NO_SUCH_EXAMPLE)
    story = stories[number]
    now = probe.open_named(engine, session, settings, story.path.rpartition(".")[0])
    now = replace(now, compare=story.story == PARTS, fill="mean_grey")
    if story.occluder:
        now = with_recipe(engine, now, settings, (*now.recipe, Occlusion(story.occluder)))
    return choose_best(engine, now)
