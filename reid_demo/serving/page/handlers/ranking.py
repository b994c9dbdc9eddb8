"""The ranked list: rank it again, choose from it, and say in words what it shows."""

import html
from dataclasses import replace

import numpy as np

from reid_demo import images
from reid_demo.drawing import overlays as render
from reid_demo.engine import Engine
from reid_demo.errors import GalleryError
from reid_demo.records import Match
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.session import (
    Session,
    Settings,
    file_name,
    is_hidden,
    is_right,
    name_of,
    need_probe,
    ranked,
)


def rank_again(engine: Engine, session: Session, settings: Settings) -> Session:
    """Rank the same probe under other settings; the model is not asked again."""
    need_probe(session)
    return ranked(engine, session, settings)


def choose(session: Session, index: int) -> Session:
    """Choose a match by its place in the list."""
    if not 0 <= index < len(session.matches):
        raise GalleryError(text.NO_MATCH)
    return replace(session, chosen=index)


def strip(engine: Engine, session: Session) -> list[tuple[np.ndarray, str]]:
    """Give the ranked list as framed thumbnails with captions."""
    return [
        (framed(session, match, images.read_image(engine.gallery.image_path(match.index))), caption(session, match))
        for match in session.matches
    ]


def framed(session: Session, match: Match, image: np.ndarray) -> np.ndarray:
    """Give a match's thumbnail in the frame that says right, wrong or not known."""
    frames = {True: render.RIGHT, False: render.WRONG, None: render.UNKNOWN}
    return render.thumbnail(image, frame=frames[is_right(session, match)])


def caption(session: Session, match: Match) -> str:
    """Give the words under a match."""
    marks = {True: text.RIGHT, False: text.WRONG, None: ""}
    gained = session.moves.get(match.index, 0)
    move = text.STILL if session.recipe else ""
    if gained:
        move = (text.UP if gained > 0 else text.DOWN).format(by=abs(gained))
    lines = text.CAPTION.format(
        rank=match.rank,
        similarity=match.similarity,
        mark=marks[is_right(session, match)],
        move=move,
        pid=name_of(match.record.pid),
        camid=name_of(match.record.camid),
    ).split("\n")
    if match.record.pid is None and match.record.camid is None:  # its name tells more than two unknowns
        lines[-2:] = [file_name(match.record.path)]
    decided = session.decisions.get(match.index)
    if decided:
        lines.append(text.DECISION_MARKS[decided])
    return "\n".join(" ".join(line.split()) for line in lines)


def status(engine: Engine, session: Session) -> str:
    """Say in plain words what the ranking shows, what the change did, and whether the first match is confident."""
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
    if not session.recipe and session.source == f"gallery:{session.matches[0].index}":
        lines.append(text.STATUS_SELF)
        if len(engine.gallery.views) > 1:
            lines.append(text.STATUS_VIEWS)
    if session.recipe:
        words = text.STATUS_CHANGED if session.entered else text.STATUS_SAME
        lines.append(words.format(count=session.entered, top_k=len(session.matches)))
    first, *rest = [html.escape(line) for line in lines]
    key = "" if session.pid is None else f"<span>{html.escape(text.STATUS_KEY)}</span>"
    return f"<p><strong>{first}</strong> {' '.join(rest)} {key}</p>{_confidence(engine, session)}"


def _confidence(engine: Engine, session: Session) -> str:
    """Judge the first match in words, with the rates at which that judgement errs; nothing where not calibrated."""
    if session.source.startswith("gallery:"):
        return ""  # such a probe finds itself, which was not measured
    verdict = engine.confidence(session.matches[0], session.scoring, occluded=is_hidden(engine, session))
    if verdict is None:
        return ""
    kind, words = ("sure", text.CONFIDENT) if verdict.confident else ("unsure", text.NOT_CONFIDENT)
    said = words.format(similarity=verdict.similarity, threshold=verdict.threshold)
    rates = text.CONFIDENCE_RATES.format(
        probe=text.CONFIDENCE_PROBES[verdict.occluded], images=verdict.num_images, fpir=round(100 * verdict.fpir)
    )
    if verdict.fnir is not None:
        rates += text.CONFIDENCE_MISSES.format(fnir=round(100 * verdict.fnir))
    return (
        f'<p id="confidence" class="{kind}"><strong>{html.escape(said)}</strong> '
        f"<span>{html.escape(rates + text.CONFIDENCE_END)}</span></p>"
    )


def header(engine: Engine) -> str:
    """Give the head of the page: what this is, what it runs with, and what a ranking is not."""
    gallery = engine.gallery
    people = gallery.num_pids
    size = text.GALLERY_SIZE.format(name=gallery.name, images=len(gallery))
    size += text.GALLERY_PEOPLE.format(people=people) if people else ""
    chips = (
        (text.CHIP_WEIGHTS, engine.weights_name),
        (text.CHIP_DEVICE, engine.device_name),
        (text.CHIP_GALLERY, size),
    )
    spans = "".join(f"<li><span>{html.escape(k)}</span> {html.escape(v)}</li>" for k, v in chips)
    return (
        f'<header class="top"><h1>{html.escape(text.TITLE)}</h1><ul class="chips">{spans}</ul>'
        f"<p>{html.escape(text.DESCRIPTION)}</p></header>"
        f'<div class="told"><p class="honesty">{html.escape(text.HONESTY)}</p>{banner(engine)}</div>'
    )


def banner(engine: Engine) -> str:
    """Give the warning about the weights: loud where they are untrained, soft where they are weak, else nothing."""
    if not engine.warning:
        return ""
    kind, role = ("weak", "note") if engine.trained else ("untrained", "alert")
    return f'<p class="banner {kind}" role="{role}">{html.escape(engine.warning)}</p>'
