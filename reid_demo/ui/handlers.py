"""What one click does, without Gradio: `(engine, session, inputs) -> Session`, and a session to what is shown.

A `Session` is a small frozen record of one visit; it never holds the model or the gallery.
"""

import html
from dataclasses import dataclass, field, replace

import numpy as np

from reid_demo import images, occlude, render
from reid_demo.engine import Engine
from reid_demo.errors import GalleryError, ImageError, OcclusionError
from reid_demo.records import Descriptor, Explanation, Match, Occlusion, Scoring
from reid_demo.ui import text


@dataclass(frozen=True)
class Settings:
    """How the list is ranked, as the visitor set it."""

    top_k: int = 10
    adaptive: bool = False
    same_camera: bool = False  # leave out the probe's own person under its own camera
    terms: tuple[str, ...] | None = None  # names of the terms that count; None: all


@dataclass(frozen=True, eq=False)
class Session:
    """One visit: the probe, what was done to it, and the ranking of it."""

    image: np.ndarray | None = None  # (H, W, 3) uint8, as it came
    title: str = ""
    pid: int | None = None
    camid: int | None = None
    recipe: tuple[Occlusion, ...] = ()
    current: np.ndarray | None = None  # `image` after the recipe
    untouched: Descriptor | None = None  # of `image`
    probe: Descriptor | None = None  # of `current`
    matches: tuple[Match, ...] = ()
    moves: dict[int, int] = field(default_factory=dict)  # gallery index -> ranks gained against the untouched probe
    first_right: tuple[int, int] | None = None  # rank of the first right match, untouched and now
    entered: int = 0  # matches that were not in the untouched top-k
    scoring: Scoring = Scoring()
    chosen: int | None = None  # place in `matches`
    seed: int = 0  # grows with every random occluder, so that each click gives another


def open_example(engine: Engine, session: Session, settings: Settings, index: int) -> Session:
    """Start over with a shipped probe."""
    if not 0 <= index < len(engine.examples):
        raise ImageError(text.NO_SUCH_EXAMPLE)
    example = engine.examples[index]
    title = text.EXAMPLE_TITLE.format(title=example.title)
    return _start(engine, settings, images.read_image(example.path), title, example.pid, example.camid)


def open_picture(engine: Engine, session: Session, settings: Settings, source) -> Session:
    """Start over with a visitor's picture: a path or an array."""
    if source is None:
        raise ImageError(text.NO_PROBE)
    return _start(engine, settings, images.read_image(source), text.UPLOADED, None, None)


def open_match(engine: Engine, session: Session, settings: Settings) -> Session:
    """Start over with the chosen match as the probe."""
    match = chosen_match(session)
    record = engine.gallery.records[match.index]
    title = text.FROM_GALLERY.format(pid=_name(record.pid))
    image = images.read_image(engine.gallery.image_path(match.index))
    return _start(engine, settings, image, title, record.pid, record.camid)


def hide(engine: Engine, session: Session, settings: Settings, kind: str, fill: str) -> Session:
    """Hide a part by one click and search again."""
    seed = session.seed + 1
    return replace(_change(engine, session, settings, Occlusion(kind, fill, seed=seed)), seed=seed)


def crop(engine: Engine, session: Session, settings: Settings, x, y, w, h) -> Session:
    """Crop to exact pixels of the probe as it is now and search again."""
    height, width = _probe(session).shape[:2]
    if any(value is None for value in (x, y, w, h)):
        raise OcclusionError(text.CROP_NEEDS)
    if x < 0 or y < 0 or w <= 0 or h <= 0 or x + w > width or y + h > height:
        raise OcclusionError(
            text.CROP_OUTSIDE.format(x=f"{x:g}", y=f"{y:g}", w=f"{w:g}", h=f"{h:g}", width=width, height=height)
        )
    box = (x / width, y / height, (x + w) / width, (y + h) / height)
    return _change(engine, session, settings, Occlusion("crop", box=box))


def search_canvas(engine: Engine, session: Session, settings: Settings, canvas: dict | None, fill: str) -> Session:
    """Search with what is on the canvas: strokes and a crop become occlusions, another picture a new probe.

    Args:
        engine: the verbs.
        session: the visit.
        settings: of the ranking.
        canvas: `background` `(h, w, 4)` uint8 or None, and `layers`, a list of the same; blank where untouched.
        fill: of the strokes.
    """
    background = (canvas or {}).get("background")
    if background is None:
        raise ImageError(text.NO_PROBE)
    picture = images.read_image(background)
    changes = []
    if session.current is None:
        session = open_picture(engine, session, settings, background)
    shown = render.enlarge(session.current)
    if picture.shape != shown.shape:
        box = render.locate(picture, shown)
        if box is None:
            session = open_picture(engine, session, settings, background)
        else:
            changes.append(Occlusion("crop", box=box))
    elif np.abs(picture.astype(np.int16) - shown).mean() > 2:
        session = open_picture(engine, session, settings, background)
    painted = np.zeros(picture.shape[:2], bool)
    for layer in (canvas or {}).get("layers") or []:
        if layer is not None and layer.shape[:2] == painted.shape:
            painted |= layer[:, :, -1] > 127
    if painted.any():
        changes.append(occlude.brush(painted, fill))
    return _change(engine, session, settings, *changes)


def undo(engine: Engine, session: Session, settings: Settings) -> Session:
    """Take the last change back."""
    if not session.recipe:
        raise OcclusionError(text.NOTHING_TO_UNDO)
    return _with_recipe(engine, session, settings, session.recipe[:-1])


def back(engine: Engine, session: Session, settings: Settings) -> Session:
    """Go back to the untouched probe."""
    return _with_recipe(engine, session, settings, ())


def rank_again(engine: Engine, session: Session, settings: Settings) -> Session:
    """Rank the same probe under other settings; the model is not asked again."""
    _probe(session)
    return _ranked(engine, session, settings)


def choose(engine: Engine, session: Session, index: int) -> Session:
    """Choose a match by its place in the list."""
    if not 0 <= index < len(session.matches):
        raise GalleryError(text.NO_MATCH)
    return replace(session, chosen=index)


def chosen_match(session: Session) -> Match:
    """Give the chosen match, or the first one where none is chosen."""
    if not session.matches:
        raise GalleryError(text.NO_MATCH)
    return session.matches[session.chosen or 0]


def scoring_of(engine: Engine, settings: Settings) -> Scoring:
    """Turn settings into the engine's scoring."""
    enabled = None
    if settings.terms is not None and len(engine.part_names):
        enabled = tuple(name in settings.terms for name in engine.term_names)
        enabled = None if all(enabled) else enabled
    return Scoring(adaptive=bool(settings.adaptive), enabled=enabled)


def _probe(session: Session) -> np.ndarray:
    if session.current is None:
        raise ImageError(text.NO_PROBE)
    return session.current


def _start(engine: Engine, settings: Settings, image: np.ndarray, title: str, pid, camid) -> Session:
    probe = engine.describe(image)
    fresh = Session(image, title, pid, camid, current=image, untouched=probe, probe=probe)
    return _ranked(engine, fresh, settings)


def _change(engine: Engine, session: Session, settings: Settings, *changes: Occlusion) -> Session:
    _probe(session)
    return _with_recipe(engine, session, settings, (*session.recipe, *changes))


def _with_recipe(engine: Engine, session: Session, settings: Settings, recipe: tuple[Occlusion, ...]) -> Session:
    _probe(session)
    current = engine.occlude(session.image, recipe)
    probe = engine.describe(current) if recipe else session.untouched
    return _ranked(engine, replace(session, recipe=recipe, current=current, probe=probe), settings)


def _ranked(engine: Engine, session: Session, settings: Settings) -> Session:
    scoring = scoring_of(engine, settings)
    known = session.pid is not None and session.camid is not None
    leave_out = (session.pid, session.camid) if settings.same_camera and known else None
    matches = tuple(engine.search(session.probe, int(settings.top_k), scoring, leave_out))
    before = engine.ranks(session.untouched, scoring, leave_out)
    after = engine.ranks(session.probe, scoring, leave_out)
    moves = {m.index: int(before[m.index] - after[m.index]) for m in matches}
    right = [
        i
        for i, r in enumerate(engine.gallery.records)
        if session.pid is not None and r.pid == session.pid and (r.pid, r.camid) != leave_out
    ]
    first_right = (int(before[right].min()), int(after[right].min())) if right else None
    entered = sum(int(before[m.index]) > len(matches) for m in matches)
    return replace(
        session,
        matches=matches,
        moves=moves,
        first_right=first_right,
        entered=entered,
        scoring=scoring,
        chosen=None,
    )


# What is shown -------------------------------------------------------------------------------------------------------


def _name(number: int | None) -> str:
    if number == 0:
        return text.DISTRACTOR
    return text.UNKNOWN if number is None else str(number)


def is_right(session: Session, match: Match) -> bool | None:
    """Say whether a match shows the probe's person; `None` where that is not known."""
    if session.pid is None or match.record.pid is None:
        return None
    return match.record.pid == session.pid


def canvas_image(session: Session) -> np.ndarray | None:
    """Give the probe as it is now, enlarged by a whole number so that a stroke is usable."""
    return None if session.current is None else render.enlarge(session.current)


def strip(engine: Engine, session: Session) -> list[tuple[np.ndarray, str]]:
    """Give the ranked list as framed thumbnails with captions."""
    return [
        (_framed(session, match, images.read_image(engine.gallery.image_path(match.index))), caption(session, match))
        for match in session.matches
    ]


def _framed(session: Session, match: Match, image: np.ndarray) -> np.ndarray:
    frames = {True: render.RIGHT, False: render.WRONG, None: render.UNKNOWN}
    return render.thumbnail(image, frame=frames[is_right(session, match)])


def caption(session: Session, match: Match) -> str:
    """Give the words under a match."""
    marks = {True: text.RIGHT, False: text.WRONG, None: ""}
    gained = session.moves.get(match.index, 0)
    move = text.STILL if session.recipe else ""
    if gained:
        move = (text.UP if gained > 0 else text.DOWN).format(by=abs(gained))
    return text.CAPTION.format(
        rank=match.rank,
        similarity=match.similarity,
        mark=marks[is_right(session, match)],
        move=move,
        pid=_name(match.record.pid),
        camid=_name(match.record.camid),
    ).replace("  \n", "\n")


def examples(engine: Engine) -> list[tuple[np.ndarray, str]]:
    """Give the shipped probes as thumbnails with captions."""
    return [
        (render.thumbnail(images.read_image(e.path), 192, 96), text.EXAMPLE_KINDS.get(e.kind, e.kind))
        for e in engine.examples
    ]


def probe_line(session: Session) -> str:
    """Say in one line what the probe is and what was done to it."""
    if session.current is None:
        return text.NO_PROBE
    height, width = session.current.shape[:2]
    line = text.PROBE_LINE.format(title=session.title, width=width, height=height)
    if session.pid is not None:
        line += text.PROBE_KNOWN.format(pid=_name(session.pid), camid=_name(session.camid))
    names = {**{k: v.lower() for k, v in text.OCCLUDERS.items()}, **text.KIND_WORDS}
    steps = " → ".join(_step(o, names) for o in session.recipe)
    recipe = text.RECIPE.format(steps=steps) if steps else text.NO_RECIPE
    return f"<p>{html.escape(line)}<br><span>{html.escape(recipe)}</span></p>"


def _step(occlusion: Occlusion, names: dict[str, str]) -> str:
    name = names.get(occlusion.kind, occlusion.kind.replace("_", " "))
    filled = occlusion.kind not in ("crop", "person", "object")
    return f"{name} ({text.FILLS.get(occlusion.fill, occlusion.fill)})" if filled else name


def status(session: Session) -> str:
    """Say in plain words what the ranking shows and what the change did."""
    if not session.matches:
        return ""
    lines = []
    if session.pid is None:
        lines.append(text.STATUS_UNKNOWN)
    elif session.first_right is None:
        lines.append(text.STATUS_ABSENT)
    elif session.recipe:
        lines.append(text.STATUS_MOVED.format(before=session.first_right[0], after=session.first_right[1]))
    else:
        lines.append(text.STATUS_RIGHT.format(rank=session.first_right[1]))
    if session.recipe:
        words = text.STATUS_CHANGED if session.entered else text.STATUS_SAME
        lines.append(words.format(count=session.entered, top_k=len(session.matches)))
    first, *rest = [html.escape(line) for line in lines]
    key = "" if session.pid is None else f"<span>{html.escape(text.STATUS_KEY)}</span>"
    return f"<p><strong>{first}</strong> {' '.join(rest)}</p><p>{key}</p>"


def header(engine: Engine) -> str:
    """Give the head of the page: what this is, what it runs with, and what a ranking is not."""
    gallery = engine.gallery
    people = len({r.pid for r in gallery.records if r.pid is not None and r.pid > 0})
    size = text.GALLERY_SIZE.format(name=gallery.name, images=len(gallery), people=people)
    chips = (
        (text.CHIP_WEIGHTS, engine.weights_name),
        (text.CHIP_DEVICE, engine.device_name),
        (text.CHIP_GALLERY, size),
    )
    spans = "".join(f"<li><span>{html.escape(k)}</span> {html.escape(v)}</li>" for k, v in chips)
    return (
        f'<header class="top"><h1>{html.escape(text.TITLE)}</h1><p>{html.escape(text.DESCRIPTION)}</p>'
        f'<ul class="chips">{spans}</ul><p class="honesty">{html.escape(text.HONESTY)}</p></header>'
    )


def why(engine: Engine, session: Session) -> str:
    """Explain the chosen match, or the best one: pictures, heatmaps, contributions and presence as HTML."""
    if not session.matches:
        return f'<p class="empty">{html.escape(text.WHY_EMPTY)}</p>'
    match = chosen_match(session)
    explained = engine.explain(session.probe, match, session.scoring)
    picture = images.read_image(engine.gallery.image_path(match.index))
    of_match = text.WHY_MATCH_OF.format(pid=_name(match.record.pid), camid=_name(match.record.camid))
    heading = text.WHY_HEADING.format(rank=match.rank, similarity=match.similarity)
    pair = (
        f"<figure>{render.img_tag(render.thumbnail(session.current, frame=render.UNKNOWN), text.WHY_PROBE)}"
        f"<figcaption>{html.escape(text.WHY_PROBE)}</figcaption></figure>"
        f"<figure>{render.img_tag(_framed(session, match, picture), of_match)}"
        f"<figcaption>{html.escape(of_match)}</figcaption></figure>"
    )
    terms = render.signed_bars(explained.names, explained.contributions, text.WHY_CONTRIBUTIONS, text.WHY_SUM)
    head = f'<h3 id="why-heading">{html.escape(heading)}</h3>'
    if not len(explained.probe.presence):
        note = f'<p class="note">{html.escape(text.WHY_NO_PARTS)}</p>'
        top = f'<div class="why-top"><div class="pair">{pair}</div>{terms}</div>'
        return f'<section class="why">{head}{top}{note}</section>'
    presence = render.paired_bars(
        explained.names[1:],
        explained.probe.presence,
        explained.match.presence,
        (text.WHY_PROBE, text.WHY_MATCH),
        text.WHY_PRESENCE,
    )
    return (
        f'<section class="why">{head}<div class="why-top"><div class="pair">{pair}</div>{terms}'
        f'<div>{presence}<p class="note">{html.escape(text.WHY_PRESENCE_NOTE)}</p></div></div>'
        f'<h4>{html.escape(text.WHY_HEAT)}</h4><p class="note">{html.escape(text.WHY_HEAT_NOTE)}</p>'
        f'{render.legend(*text.LEGEND)}<div class="heat-grid">{_heatmaps(session, explained, picture)}</div></section>'
    )


def _heatmaps(session: Session, explained: Explanation, picture: np.ndarray) -> str:
    sides = (
        (text.WHY_PROBE, session.current, explained.probe.template_attention),
        (text.WHY_MATCH, picture, explained.match.template_attention),
    )
    cards = []
    for i, name in enumerate(explained.names[1:]):
        figures = "".join(
            f"<figure>{render.img_tag(render.heat_overlay(image, maps[i]), _heat_alt(name, side, maps[i]))}"
            f"<figcaption>{html.escape(side)}</figcaption></figure>"
            for side, image, maps in sides
        )
        term = f"{explained.contributions[i + 1]:+.4f}"
        cards.append(
            f'<article><h5>{html.escape(name)}<span class="number">{term}</span></h5>'
            f'<div class="two-pictures">{figures}</div></article>'
        )
    return "".join(cards)


def _heat_alt(name: str, side: str, attention: np.ndarray) -> str:
    h, w = attention.shape
    row, column = np.unravel_index(int(attention.argmax()), (h, w))
    place = text.PLACES[min(2, 3 * int(row) // h)][min(1, 2 * int(column) // w)]
    peak = float(render.relative_attention(attention).max())
    return text.HEAT_ALT.format(name=name, side=side, peak=peak, place=place)
