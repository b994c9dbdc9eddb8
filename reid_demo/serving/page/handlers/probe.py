"""Bring a probe, hide a part of it, crop it, take a change back."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from reid_demo import images, occlude
from reid_demo.drawing import figures, overlays
from reid_demo.engine import Engine
from reid_demo.errors import ImageError, OcclusionError
from reid_demo.records import Occlusion
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.session import (
    Picture,
    Session,
    Settings,
    check_list,
    chosen_match,
    digest,
    file_name,
    name_of,
    need_probe,
    start,
    with_recipe,
)
from reid_demo.serving.page.markup import render

OBJECT_SHARE = 0.4  # of the picture, that a thing in front hides
BLOCK_SHARE = 0.25


@dataclass(frozen=True)
class Hiding:
    """What one click hides."""

    kind: str  # of `occlude.KINDS`
    fill: str = "mean_grey"  # of `occlude.FILLS`
    coverage: float | None = None  # of a random block, percent of the area; None: a quarter
    seed: float | None = None  # of what is random; None: another one at each click


@dataclass(frozen=True, eq=False)
class Drawn:
    """What the browser sent of the canvas, and the fill of its strokes."""

    canvas: Mapping | None = None  # `background` (h, w, 4) uint8 or None, and `layers`, a list of the same
    fill: str = "mean_grey"


@dataclass(frozen=True)
class PixelBox:
    """A box as a visitor typed it, image px; fields may be empty."""

    x: float | None
    y: float | None
    w: float | None
    h: float | None

    @property
    def complete(self) -> bool:
        """Whether every field is filled in."""
        return None not in (self.x, self.y, self.w, self.h)

    def fits(self, width: int, height: int) -> bool:
        """Tell whether the box has an area and lies inside a picture."""
        inside = self.x >= 0 and self.y >= 0 and self.x + self.w <= width and self.y + self.h <= height
        return inside and self.w > 0 and self.h > 0

    def words(self, width: int, height: int) -> dict[str, str | int]:
        """Return the fields as words for a message about a picture of this size."""
        fields = {name: f"{getattr(self, name):g}" for name in ("x", "y", "w", "h")}
        return {**fields, "width": width, "height": height}


def open_example(engine: Engine, session: Session, settings: Settings, index: int) -> Session:
    """Start over with a shipped probe."""
    if not 0 <= index < len(engine.examples):
        raise ImageError(text.NO_SUCH_EXAMPLE)
    example = engine.examples[index]
    title = text.EXAMPLE_TITLE.format(title=example.title)
    source = f"example:{example.path.stem}"
    picture = Picture(images.read_image(example.path), title, example.pid, example.camid, source)
    return start(engine, session, settings, picture)


def open_picture(engine: Engine, session: Session, settings: Settings, source) -> Session:
    """Start over with a visitor's picture: a path or an array."""
    if source is None:
        raise ImageError(text.NO_PROBE)
    return start(engine, session, settings, Picture(images.read_probe(source), text.UPLOADED))


def open_gallery_image(engine: Engine, session: Session, settings: Settings, index: int) -> Session:
    """Start over with a gallery image as the probe."""
    path = engine.gallery.image_path(index)
    record = engine.gallery.records[index]
    title = text.FROM_GALLERY.format(pid=name_of(record.pid))
    if record.pid is None:
        title = text.FROM_GALLERY_NAMED.format(name=file_name(record.path))
    picture = Picture(images.read_probe(path), title, record.pid, record.camid, f"gallery:{index}")
    return start(engine, session, settings, picture)


def open_match(engine: Engine, session: Session, settings: Settings) -> Session:
    """Start over with the chosen match as the probe."""
    check_list(engine, session)
    return open_gallery_image(engine, session, settings, chosen_match(session).index)


def hide(
    engine: Engine, session: Session, settings: Settings, hiding: Hiding, canvas: Mapping | None = None
) -> Session:
    """Hide a part by one click, after the strokes that wait on the canvas, and search again."""
    session, strokes = _take_canvas(engine, session, settings, Drawn(canvas, hiding.fill))
    need_probe(session)
    number = session.seed + 1 if hiding.seed is None else int(hiding.seed)
    share = OBJECT_SHARE if hiding.kind == "object" else BLOCK_SHARE
    share = hiding.coverage / 100 if hiding.coverage is not None and hiding.kind == "random_block" else share
    step = Occlusion(hiding.kind, hiding.fill, coverage=share, seed=number)
    return replace(with_recipe(engine, session, settings, (*session.recipe, *strokes, step)), seed=session.seed + 1)


def crop(engine: Engine, session: Session, settings: Settings, box: PixelBox, drawn: Drawn = Drawn()) -> Session:
    """Crop to exact pixels of the probe as it is now, after waiting strokes, and search again."""
    session, strokes = _take_canvas(engine, session, settings, drawn)
    height, width = need_probe(session).shape[:2]
    if not box.complete:
        raise OcclusionError(text.CROP_NEEDS)
    if not box.fits(width, height):
        raise OcclusionError(text.CROP_OUTSIDE.format(**box.words(width, height)))
    share = (box.x / width, box.y / height, (box.x + box.w) / width, (box.y + box.h) / height)
    return with_recipe(engine, session, settings, (*session.recipe, *strokes, Occlusion("crop", box=share)))


def search_canvas(engine: Engine, session: Session, settings: Settings, drawn: Drawn) -> Session:
    """Search with what is on the canvas: strokes and a crop become occlusions, another picture a new probe."""
    if (drawn.canvas or {}).get("background") is None:
        raise ImageError(text.NO_PROBE)
    session, changes = _take_canvas(engine, session, settings, drawn)
    return with_recipe(engine, session, settings, (*session.recipe, *changes))


def _take_canvas(
    engine: Engine, session: Session, settings: Settings, drawn: Drawn
) -> tuple[Session, tuple[Occlusion, ...]]:
    """Read what the visitor did on the canvas since the server drew it: a new picture, a crop, strokes."""
    canvas = drawn.canvas or {}
    background = canvas.get("background")
    if background is None:
        return session, ()
    picture = images.read_image(background)
    painted = np.zeros(picture.shape[:2], bool)
    for layer in canvas.get("layers") or []:
        if layer is not None and layer.shape[:2] == painted.shape:
            painted |= layer[:, :, -1] > 127
    strokes = (occlude.brush(painted, drawn.fill),) if painted.any() else ()
    if session.current is None:
        return open_picture(engine, session, settings, background), strokes
    shown = overlays.enlarge(session.current)
    if picture.shape == shown.shape and np.abs(picture.astype(np.int16) - shown).mean() <= 2:
        return session, strokes
    if digest(picture) in session.canvases:  # drawn by an earlier answer: a click overtook the new drawing
        return session, strokes if picture.shape == shown.shape else ()
    box = overlays.locate(picture, shown) if picture.shape != shown.shape else None
    if box is None:
        return open_picture(engine, session, settings, background), strokes
    return session, (Occlusion("crop", box=box), *strokes)


def undo(engine: Engine, session: Session, settings: Settings, canvas: dict | None = None) -> Session:
    """Take the last change back; strokes that were not searched with are the last change."""
    need_probe(session)
    layers = (canvas or {}).get("layers") or []
    if any(layer is not None and (layer[..., -1] > 127).any() for layer in layers):
        return with_recipe(engine, session, settings, session.recipe)
    if not session.recipe:
        raise OcclusionError(text.NOTHING_TO_UNDO)
    return with_recipe(engine, session, settings, session.recipe[:-1])


def back(engine: Engine, session: Session, settings: Settings) -> Session:
    """Go back to the untouched probe."""
    return with_recipe(engine, session, settings, ())


def replay(engine: Engine, session: Session, settings: Settings, recipe_json: str) -> Session:
    """Replace the changes of the probe by a recipe written as JSON."""
    return with_recipe(engine, session, settings, tuple(occlude.read_recipe(recipe_json or "")))


def canvas_image(session: Session) -> np.ndarray | None:
    """Return the probe as it is now, enlarged by a whole number so that a stroke is usable."""
    return None if session.current is None else overlays.enlarge(session.current)


def examples(engine: Engine) -> list[tuple[np.ndarray, str]]:
    """Return the shipped probes as thumbnails with captions."""
    return [
        (overlays.thumbnail(images.read_image(e.path), 192, 96), text.EXAMPLE_KINDS.get(e.kind, e.kind))
        for e in engine.examples
    ]


def probe_line(session: Session) -> str:
    """Say in one line what the probe is and what was done to it."""
    if session.current is None:
        return render("probe_line.html.jinja", line=text.NO_PROBE, recipe="")
    height, width = session.current.shape[:2]
    line = text.PROBE_LINE.format(title=session.title, width=width, height=height)
    if session.pid is not None:
        line += text.PROBE_KNOWN.format(pid=name_of(session.pid), camid=name_of(session.camid))
    steps = recipe_words(session.recipe)
    recipe = text.RECIPE.format(steps=steps) if steps else text.NO_RECIPE
    return render("probe_line.html.jinja", line=line, recipe=recipe)


def recipe_words(recipe: tuple[Occlusion, ...]) -> str:
    """Return a recipe in a few words; empty where nothing was done."""
    return " → ".join(_step(occlusion) for occlusion in recipe)


def _step(occlusion: Occlusion) -> str:
    names = {**{k: v.lower() for k, v in text.OCCLUDERS.items()}, **text.KIND_WORDS}
    name = names.get(occlusion.kind, occlusion.kind.replace("_", " "))
    if occlusion.kind == "random_block":
        name += f" {occlusion.coverage:.0%}"
    if occlusion.kind in ("random_block", *occlude.PASTED):
        name += text.SEED_WORDS.format(seed=occlusion.seed)
    filled = occlusion.kind not in ("crop", *occlude.PASTED)
    return f"{name} ({text.FILLS.get(occlusion.fill, occlusion.fill)})" if filled else name


def recipe_text(session: Session) -> str:
    """Return the changes as JSON text."""
    return occlude.write_recipe(session.recipe)


def recipe_link(session: Session) -> str:
    """Return a link that saves the changes as a file."""
    data = occlude.write_recipe(session.recipe).encode()
    return figures.download_link(data, "recipe.json", "application/json", text.RECIPE_SAVE)


def replay_file(engine: Engine, session: Session, settings: Settings, data: bytes | None) -> Session:
    """Replace the changes of the probe by those of a recipe file, given by its bytes."""
    try:
        return replay(engine, session, settings, (data or b"").decode("utf-8"))
    except UnicodeDecodeError as error:
        raise OcclusionError(text.RECIPE_UNREADABLE) from error
