"""Bring a probe, hide a part of it, crop it, take a change back."""

from dataclasses import dataclass, replace

from reid_demo import images, occlude
from reid_demo.drawing import figures
from reid_demo.engine import Engine, Example
from reid_demo.errors import ImageError, OcclusionError
from reid_demo.records import Occlusion
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.session import (
    Picture,
    Session,
    Settings,
    check_list,
    chosen_match,
    example_source,
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
    """Start over with a probe that the page offers, by its place."""
    if not 0 <= index < len(engine.examples):
        raise ImageError(text.NO_SUCH_EXAMPLE)
    return _open(engine, session, settings, engine.examples[index])


def open_named(engine: Engine, session: Session, settings: Settings, name: str) -> Session:
    """Start over with any shipped probe, by the name of its file without the ending."""
    example = next((one for one in engine.probes if one.path.stem == name), None)
    if example is None:
        raise ImageError(text.NO_SUCH_EXAMPLE)
    return _open(engine, session, settings, example)


def _open(engine: Engine, session: Session, settings: Settings, example: Example) -> Session:
    title = text.EXAMPLE_TITLE.format(title=example.title)
    source = example_source(example.path)
    picture = Picture(images.read_probe(example.path), title, example.pid, example.camid, source)
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


def hide(engine: Engine, session: Session, settings: Settings, hiding: Hiding) -> Session:
    """Hide a part by one click and search again."""
    need_probe(session)
    step = step_of(session, hiding)
    return replace(with_recipe(engine, session, settings, (*session.recipe, step)), seed=session.seed + 1)


def step_of(session: Session, hiding: Hiding) -> Occlusion:
    """Return the change that one click makes.

    Raises:
        OcclusionError: the seed is out of range.
    """
    if hiding.seed is not None and not 0 <= hiding.seed < 2**31:
        raise OcclusionError(text.SEED_WRONG)
    number = session.seed + 1 if hiding.seed is None else int(hiding.seed)
    share = OBJECT_SHARE if hiding.kind == "object" else BLOCK_SHARE
    share = hiding.coverage / 100 if hiding.coverage is not None and hiding.kind == "random_block" else share
    return Occlusion(hiding.kind, hiding.fill, coverage=share, seed=number)


def crop(engine: Engine, session: Session, settings: Settings, box: PixelBox) -> Session:
    """Crop to exact pixels of the probe as it is now, and search again."""
    height, width = need_probe(session).shape[:2]
    if not box.complete:
        raise OcclusionError(text.CROP_NEEDS)
    if not box.fits(width, height):
        raise OcclusionError(text.CROP_OUTSIDE.format(**box.words(width, height)))
    share = (box.x / width, box.y / height, (box.x + box.w) / width, (box.y + box.h) / height)
    return with_recipe(engine, session, settings, (*session.recipe, Occlusion("crop", box=share)))


def undo(engine: Engine, session: Session, settings: Settings) -> Session:
    """Take the last change back: the probe is as it was before it, also where it moved or removed others, or all.

    Changes that came with the probe, by a link or kept from the one before, go one by one.
    """
    need_probe(session)
    if not can_undo(session):
        raise OcclusionError(text.NOTHING_TO_UNDO)
    recipe, fill = session.past[-1] if session.past else (session.recipe[:-1], session.fill)
    before = with_recipe(engine, replace(session, fill=fill), settings, recipe)
    return replace(before, past=session.past[:-1])


def can_undo(session: Session) -> bool:
    """Tell whether the probe was changed; if so, `undo` takes the last change back, even that all was shown again."""
    return bool(session.past or session.recipe)


def back(engine: Engine, session: Session, settings: Settings) -> Session:
    """Go back to the untouched probe."""
    return with_recipe(engine, session, settings, ())


def replay(engine: Engine, session: Session, settings: Settings, recipe_json: str) -> Session:
    """Replace the changes of the probe by a recipe written as JSON."""
    return with_recipe(engine, session, settings, tuple(occlude.read_recipe(recipe_json or "")))


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
    return " → ".join(recipe_step(occlusion) for occlusion in recipe)


def recipe_step(occlusion: Occlusion, *, seeded: bool = True) -> str:
    """Return one change in a few words; with the seed of what is random, unless `seeded` is false."""
    names = {**{k: v.lower() for k, v in text.OCCLUDERS.items()}, **text.KIND_WORDS}
    name = names.get(occlusion.kind, occlusion.kind.replace("_", " "))
    if occlusion.kind == "random_block":
        name += f" {occlusion.coverage:.0%}"
    if seeded and occlusion.kind in ("random_block", *occlude.PASTED):
        name += text.SEED_WORDS.format(seed=occlusion.seed)
    filled = occlusion.kind not in occlude.UNFILLED
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
