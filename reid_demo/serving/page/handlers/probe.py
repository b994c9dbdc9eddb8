"""Bring a probe, hide a part of it, crop it, take a change back."""

import html
from dataclasses import replace

import numpy as np

from reid_demo import images, occlude
from reid_demo.drawing import overlays as render
from reid_demo.engine import Engine
from reid_demo.errors import ImageError, OcclusionError
from reid_demo.records import Occlusion
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.session import (
    Session,
    Settings,
    chosen_match,
    digest,
    file_name,
    name_of,
    need_probe,
    start,
    with_recipe,
)

OBJECT_SHARE = 0.4  # of the picture, that a thing in front hides


def open_example(engine: Engine, session: Session, settings: Settings, index: int) -> Session:
    """Start over with a shipped probe."""
    if not 0 <= index < len(engine.examples):
        raise ImageError(text.NO_SUCH_EXAMPLE)
    example = engine.examples[index]
    title = text.EXAMPLE_TITLE.format(title=example.title)
    image = images.read_image(example.path)
    return start(engine, session, settings, image, title, example.pid, example.camid, f"example:{example.path.stem}")


def open_picture(engine: Engine, session: Session, settings: Settings, source) -> Session:
    """Start over with a visitor's picture: a path or an array."""
    if source is None:
        raise ImageError(text.NO_PROBE)
    return start(engine, session, settings, images.read_probe(source), text.UPLOADED)


def open_gallery_image(engine: Engine, session: Session, settings: Settings, index: int) -> Session:
    """Start over with a gallery image as the probe."""
    path = engine.gallery.image_path(index)
    record = engine.gallery.records[index]
    title = text.FROM_GALLERY.format(pid=name_of(record.pid))
    if record.pid is None:
        title = text.FROM_GALLERY_NAMED.format(name=file_name(record.path))
    image = images.read_probe(path)
    return start(engine, session, settings, image, title, record.pid, record.camid, f"gallery:{index}")


def open_match(engine: Engine, session: Session, settings: Settings) -> Session:
    """Start over with the chosen match as the probe."""
    return open_gallery_image(engine, session, settings, chosen_match(session).index)


def hide(
    engine: Engine,
    session: Session,
    settings: Settings,
    kind: str,
    fill: str,
    canvas: dict | None = None,
    coverage: float | None = None,
    seed: float | None = None,
) -> Session:
    """Hide a part by one click, after the strokes that wait on the canvas, and search again.

    Args:
        engine: the verbs.
        session: the visit.
        settings: of the ranking.
        kind: of `occlude.KINDS`.
        fill: of `occlude.FILLS`, for this and the strokes.
        canvas: as `search_canvas`.
        coverage: of a random block, percent of the area; None: a quarter. An object has more.
        seed: of what is random; None: another one at each click.
    """
    session, strokes = _take_canvas(engine, session, settings, canvas, fill)
    need_probe(session)
    number = session.seed + 1 if seed is None else int(seed)
    share = OBJECT_SHARE if kind == "object" else 0.25
    share = coverage / 100 if coverage is not None and kind == "random_block" else share
    recipe = (*session.recipe, *strokes, Occlusion(kind, fill, coverage=share, seed=number))
    return replace(with_recipe(engine, session, settings, recipe), seed=session.seed + 1)


def crop(engine: Engine, session: Session, settings: Settings, x, y, w, h, canvas=None, fill="mean_grey") -> Session:
    """Crop to exact pixels of the probe as it is now, after waiting strokes, and search again."""
    session, strokes = _take_canvas(engine, session, settings, canvas, fill)
    height, width = need_probe(session).shape[:2]
    if any(value is None for value in (x, y, w, h)):
        raise OcclusionError(text.CROP_NEEDS)
    if x < 0 or y < 0 or w <= 0 or h <= 0 or x + w > width or y + h > height:
        raise OcclusionError(
            text.CROP_OUTSIDE.format(x=f"{x:g}", y=f"{y:g}", w=f"{w:g}", h=f"{h:g}", width=width, height=height)
        )
    box = (x / width, y / height, (x + w) / width, (y + h) / height)
    return with_recipe(engine, session, settings, (*session.recipe, *strokes, Occlusion("crop", box=box)))


def search_canvas(engine: Engine, session: Session, settings: Settings, canvas: dict | None, fill: str) -> Session:
    """Search with what is on the canvas: strokes and a crop become occlusions, another picture a new probe.

    Args:
        engine: the verbs.
        session: the visit.
        settings: of the ranking.
        canvas: `background` `(h, w, 4)` uint8 or None, and `layers`, a list of the same; blank where untouched.
        fill: of the strokes.
    """
    if (canvas or {}).get("background") is None:
        raise ImageError(text.NO_PROBE)
    session, changes = _take_canvas(engine, session, settings, canvas, fill)
    return with_recipe(engine, session, settings, (*session.recipe, *changes))


def _take_canvas(
    engine: Engine, session: Session, settings: Settings, canvas: dict | None, fill: str
) -> tuple[Session, tuple[Occlusion, ...]]:
    """Read what the visitor did on the canvas since the server drew it: a new picture, a crop, strokes."""
    background = (canvas or {}).get("background")
    if background is None:
        return session, ()
    picture = images.read_image(background)
    painted = np.zeros(picture.shape[:2], bool)
    for layer in (canvas or {}).get("layers") or []:
        if layer is not None and layer.shape[:2] == painted.shape:
            painted |= layer[:, :, -1] > 127
    strokes = (occlude.brush(painted, fill),) if painted.any() else ()
    if session.current is None:
        return open_picture(engine, session, settings, background), strokes
    shown = render.enlarge(session.current)
    if picture.shape == shown.shape and np.abs(picture.astype(np.int16) - shown).mean() <= 2:
        return session, strokes
    if digest(picture) in session.canvases:  # drawn by an earlier answer: a click overtook the new drawing
        return session, strokes if picture.shape == shown.shape else ()
    box = render.locate(picture, shown) if picture.shape != shown.shape else None
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
    """Give the probe as it is now, enlarged by a whole number so that a stroke is usable."""
    return None if session.current is None else render.enlarge(session.current)


def examples(engine: Engine) -> list[tuple[np.ndarray, str]]:
    """Give the shipped probes as thumbnails with captions."""
    return [
        (render.thumbnail(images.read_image(e.path), 192, 96), text.EXAMPLE_KINDS.get(e.kind, e.kind))
        for e in engine.examples
    ]


def probe_line(session: Session) -> str:
    """Say in one line what the probe is and what was done to it."""
    if session.current is None:
        return f"<p>{html.escape(text.NO_PROBE)}</p>"
    height, width = session.current.shape[:2]
    line = text.PROBE_LINE.format(title=session.title, width=width, height=height)
    if session.pid is not None:
        line += text.PROBE_KNOWN.format(pid=name_of(session.pid), camid=name_of(session.camid))
    steps = recipe_words(session.recipe)
    recipe = text.RECIPE.format(steps=steps) if steps else text.NO_RECIPE
    return f"<p>{html.escape(line)}<br><span>{html.escape(recipe)}</span></p>"


def recipe_words(recipe: tuple[Occlusion, ...]) -> str:
    """Give a recipe in a few words; empty where nothing was done."""
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
    """Give the changes as JSON text."""
    return occlude.write_recipe(session.recipe)


def recipe_link(session: Session) -> str:
    """Give a link that saves the changes as a file, without a file on the server."""
    data = occlude.write_recipe(session.recipe).encode()
    return render.download_link(data, "recipe.json", "application/json", text.RECIPE_SAVE)


def replay_file(engine: Engine, session: Session, settings: Settings, data: bytes | None) -> Session:
    """Replace the changes of the probe by those of a recipe file, given by its bytes."""
    try:
        return replay(engine, session, settings, (data or b"").decode("utf-8"))
    except UnicodeDecodeError as error:
        raise OcclusionError(text.RECIPE_UNREADABLE) from error
