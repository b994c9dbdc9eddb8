"""Why a match scores what it scores, as HTML: pictures, contributions, presence, heatmaps and the three distances."""

import html

import numpy as np

from reid_demo import images
from reid_demo.drawing import overlays as render
from reid_demo.engine import Engine
from reid_demo.records import WEIGHINGS, Explanation
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.ranking import framed
from reid_demo.serving.page.handlers.session import Session, chosen_match, left_out, name_of

HEAT_SIZE = (256, 128)  # height, width of a heatmap, px
FAINT = 0.25  # of an even share of presence: below, the strongest part gets a word of caution


def why(engine: Engine, session: Session) -> str:
    """Explain the chosen match, or the best one. Pointing at a part shows its heatmap on both pictures."""
    if not session.matches:
        return f'<p class="empty">{html.escape(text.WHY_EMPTY)}</p>'
    match = chosen_match(session)
    explained = engine.explain(session.probe, match, session.scoring)
    picture = images.read_image(engine.gallery.image_path(match.index))
    of_match = text.WHY_MATCH_OF.format(pid=name_of(match.record.pid), camid=name_of(match.record.camid))
    heading = text.WHY_HEADING.format(rank=match.rank, similarity=match.similarity)
    heat = _heatmaps(session, explained, picture)
    lit = strongest(explained)
    pair = "".join(
        f'<figure><div class="stack">{render.img_tag(shown, words)}'
        f"{''.join(_over(i, h[side], i == lit) for i, h in heat)}</div>"
        f"<figcaption>{html.escape(words)}</figcaption></figure>"
        for side, shown, words in (
            (0, render.thumbnail(session.current, frame=render.UNKNOWN), text.WHY_PROBE),
            (1, framed(session, match, picture), of_match),
        )
    )
    terms = render.signed_bars(
        explained.names,
        explained.contributions,
        text.WHY_CONTRIBUTIONS,
        text.WHY_SUM,
        rows_of="part",
        notes=("", *engine.part_meanings),
        lit=lit,
    )
    head = f'<h3 id="why-heading">{html.escape(heading)}</h3>'
    distances = _distances(engine, session, match.index)
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
        engine.part_meanings,
    )
    measured = " " + html.escape(text.WHY_MEANINGS) if any(engine.part_meanings) else ""
    cards = "".join(_card(explained, i, engine.part_meanings[i - 1], figures, i == lit) for i, figures in heat)
    point = text.WHY_POINT
    if lit is not None:
        name = f"<strong>{html.escape(engine.term_labels[lit])}</strong>"
        point = text.WHY_STRONGEST.format(name=name, value=explained.contributions[lit])
        presence_of_lit = float(explained.probe.presence[lit - 1])
        if presence_of_lit < FAINT / len(explained.probe.presence):
            point += f" <strong>{html.escape(text.WHY_FAINT.format(presence=presence_of_lit))}</strong>"
        point += f" {text.WHY_POINT}"
    return (
        f'<section class="why">{head}<div class="why-top"><div><div class="pair">{pair}</div>'
        f'<p class="note">{point}</p></div><div>{terms}</div></div>'
        f'<div class="why-heat"><div><h4>{html.escape(text.WHY_HEAT)}</h4>'
        f'<p class="note">{html.escape(text.WHY_HEAT_NOTE)}{measured}</p></div>{render.legend(*text.LEGEND)}</div>'
        f'<div class="heat-grid">{cards}</div><div class="two"><div>{presence}'
        f'<p class="note">{html.escape(text.WHY_PRESENCE_NOTE)}</p></div><div>{distances}</div></div></section>'
    )


def strongest(explained: Explanation) -> int | None:
    """Give the number, from 1, of the part that adds most to the similarity; `None` where none adds anything."""
    parts = explained.contributions[1:]
    return int(parts.argmax()) + 1 if len(parts) and parts.max() > 0 else None


def _heatmaps(session: Session, explained: Explanation, picture: np.ndarray) -> list[tuple[int, tuple[str, str]]]:
    """Give each part's number, from 1, with its `<img>` on the probe and on the match."""
    sides = (
        (text.WHY_PROBE, session.current, explained.probe.template_attention),
        (text.WHY_MATCH, picture, explained.match.template_attention),
    )
    return [
        (
            i + 1,
            tuple(
                render.img_tag(render.heat_overlay(image, maps[i], *HEAT_SIZE), _heat_alt(name, side, maps[i]))
                for side, image, maps in sides
            ),
        )
        for i, name in enumerate(explained.names[1:])
    ]


def _over(number: int, picture: str, lit: bool) -> str:
    return f'<span class="over over-{number}{" lit" if lit else ""}" aria-hidden="true">{picture}</span>'


def _card(explained: Explanation, number: int, meaning: str, figures: tuple[str, str], lit: bool) -> str:
    shown = "".join(
        f"<figure>{figure}<figcaption>{html.escape(side)}</figcaption></figure>"
        for figure, side in zip(figures, (text.WHY_PROBE, text.WHY_MATCH), strict=True)
    )
    term = f"{explained.contributions[number]:+.4f}"
    measured = f'<span class="meaning">{html.escape(meaning)}</span>' if meaning else ""
    name, classes = html.escape(explained.names[number]), f"part part-{number}{' lit' if lit else ''}"
    return (
        f'<article class="{classes}" tabindex="0"><h5>{name} {measured}'
        f'<span class="number">{term}</span></h5><div class="two-pictures">{shown}</div></article>'
    )


def _distances(engine: Engine, session: Session, index: int) -> str:
    """Give the match's similarity and rank under each way of weighing, as a table."""
    leave_out = left_out(session, session.settings)
    rows = "".join(
        f'<tr{_current(name == session.settings.weighing)}><th scope="row">{html.escape(WEIGHINGS[name])}</th>'
        f'<td class="number">{similarity:.4f}</td><td class="number">{rank}</td></tr>'
        for name, (similarity, rank) in engine.compare_scorings(
            session.probe, index, session.scoring, leave_out
        ).items()
    )
    columns = "".join(f'<th scope="col">{html.escape(word)}</th>' for word in text.DISTANCE_COLUMNS)
    return (
        f'<table class="bars distances"><caption>{html.escape(text.WHY_DISTANCES)}</caption>'
        f"<thead><tr>{columns}</tr></thead><tbody>{rows}</tbody></table>"
        f'<p class="note">{html.escape(text.WHY_DISTANCES_NOTE)}</p>'
    )


def _current(is_current: bool) -> str:
    return ' aria-current="true"' if is_current else ""


def _heat_alt(name: str, side: str, attention: np.ndarray) -> str:
    h, w = attention.shape
    row, column = np.unravel_index(int(attention.argmax()), (h, w))
    place = text.PLACES[min(2, 3 * int(row) // h)][min(1, 2 * int(column) // w)]
    peak = float(render.relative_attention(attention).max())
    return text.HEAT_ALT.format(name=name, side=side, peak=peak, place=place)
