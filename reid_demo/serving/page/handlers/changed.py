"""What a change of the probe did, as HTML: one sentence, both lists, a slope chart and the numbers."""

import html
from collections.abc import Sequence

import numpy as np

from reid_demo import images
from reid_demo.drawing import charts
from reid_demo.drawing import overlays as render
from reid_demo.engine import Engine
from reid_demo.records import Match
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.ranking import framed
from reid_demo.serving.page.handlers.session import Session, left_out, name_of, shows_person
from reid_demo.whatif.compare import Comparison

LEAST_TERM, LEAST_PRESENCE = 0.01, 0.02  # differences that fill a whole bar at least
KINDS = {True: charts.RIGHT, False: charts.WRONG, None: charts.UNKNOWN}


def changed(engine: Engine, session: Session) -> str:
    """Compare the untouched and the changed probe; a hint where nothing was changed."""
    if not session.recipe or not session.matches:
        return f'<section class="why"><p class="note">{html.escape(text.CHANGED_EMPTY)}</p></section>'
    leave_out = left_out(session, session.settings)
    found = engine.compare(
        (session.untouched, session.probe),
        top_k=len(session.matches),
        pid=session.pid,
        scoring=session.scoring,
        exclude_same_camera=leave_out,
    )
    before = engine.search(session.untouched, len(session.matches), session.scoring, leave_out)
    summary = text.CHANGED_SUMMARY.format(entered=len(found.entered), left=len(found.left), top_k=found.top_k)
    return (
        f'<section class="why"><h3 id="changed-sentence">{html.escape(sentence(engine, session, found))}</h3>'
        f'<p class="note">{html.escape(summary)}</p>{_lists(engine, session, before)}'
        f'<div class="two"><div><h4>{html.escape(text.CHANGED_CHART)}</h4>{_chart(engine, session, found)}'
        f'<p class="note">{html.escape(text.CHANGED_KEY)}</p>{_presence(engine, found)}</div>'
        f"<div>{_numbers(found)}{_terms(engine, found)}</div></div>{_heatmaps(engine, session)}"
        f"{_table(engine, session, found)}</section>"
    )


def sentence(engine: Engine, session: Session, found: Comparison) -> str:
    """Say in plain words what the change did."""
    first, last = found.rank
    words = text.CHANGED_STILL if first == last else text.CHANGED_MOVED
    said = words.format(what=_what(session), who=_who(found), before=first, after=last)
    lost = [engine.term_labels[i] if i else text.CHANGED_GLOBAL for i in found.lost_most()]
    return said + (text.CHANGED_LOST.format(parts=text.AND.join(lost)) if lost else text.CHANGED_NO_LOSS)


def _what(session: Session) -> str:
    if len(session.recipe) > 1:
        return text.CHANGED_SEVERAL.format(count=len(session.recipe))
    kind = session.recipe[0].kind
    return text.CHANGED_WHAT.get(kind) or text.CHANGED_HIDING.format(place=kind.replace("_", " "))


def _who(found: Comparison) -> str:
    return text.CHANGED_RIGHT if found.watched_is_right else text.CHANGED_FIRST


def _lists(engine: Engine, session: Session, before: list[Match]) -> str:
    sides = zip(text.CHANGED_LISTS, (session.image, session.current), (before, session.matches), strict=True)
    shown = ""
    for words, probe, matches in sides:
        pictures = "".join(
            f"<figure>{_picture(engine, session, m)}<figcaption>#{m.rank}<br>{m.similarity:.3f}</figcaption></figure>"
            for m in matches[:10]
        )
        own = render.img_tag(render.thumbnail(probe, 192, 96, render.UNKNOWN, 5), f"{words} {text.WHY_PROBE}")
        shown += (
            f'<div class="list"><figure class="own">{own}<figcaption>{html.escape(words)}</figcaption></figure>'
            f"{pictures}</div>"
        )
    return f'<div class="lists">{shown}</div>'


def _picture(engine: Engine, session: Session, match: Match) -> str:
    small = framed(session, match, images.read_image(engine.gallery.image_path(match.index)))
    words = text.WHY_MATCH_OF.format(pid=name_of(match.record.pid), camid=name_of(match.record.camid))
    return render.img_tag(render.thumbnail(small, 180, 95), words)


def _kind(session: Session, pid: int | None) -> str:
    return KINDS[shows_person(session, pid)]


def _label(engine: Engine, index: int) -> str:
    record = engine.gallery.records[index]
    return f"id {name_of(record.pid)} · cam {name_of(record.camid)}"


def _chart(engine: Engine, session: Session, found: Comparison) -> str:
    rows = [
        charts.Slope(_label(engine, m.index), *m.rank, _kind(session, engine.gallery.records[m.index].pid))
        for m in found.moves
    ]
    beyond = text.CHANGED_BEYOND.format(top_k=found.top_k)
    return charts.slopes(rows, found.top_k, text.CHANGED_CHART, text.CHANGED_CHART_ENDS, beyond)


def _numbers(found: Comparison) -> str:
    rows = [(text.CHANGED_RANK.format(who=_who(found)), *found.rank, "{:d}", "{:+d}")]
    rows.append((text.CHANGED_SIMILARITY, *found.similarity, "{:.4f}", "{:+.4f}"))
    if found.average_precision:
        rows.append((text.CHANGED_AP, *found.average_precision, "{:.3f}", "{:+.3f}"))
    body = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th><td class="number">{plain.format(first)}</td>'
        f'<td class="number">{plain.format(last)}</td><td class="number">{signed.format(last - first)}</td></tr>'
        for name, first, last, plain, signed in rows
    )
    return _plain_table(text.CHANGED_NUMBERS, text.CHANGED_COLUMNS, body, "bars")


def _terms(engine: Engine, found: Comparison) -> str:
    caption = text.CHANGED_TERMS.format(who=_who(found))
    notes = ("", *engine.part_meanings)
    return _changes(caption, engine.term_names, notes, found.terms, "{:+.4f}", LEAST_TERM)


def _presence(engine: Engine, found: Comparison) -> str:
    if not len(found.presence):
        return ""
    caption, names, notes = text.CHANGED_PRESENCE, engine.part_names, engine.part_meanings
    shown = _changes(caption, names, notes, found.presence, "{:.3f}", LEAST_PRESENCE)
    return f'{shown}<p class="note">{html.escape(text.WHY_PRESENCE_NOTE)}</p>'


def _heatmaps(engine: Engine, session: Session) -> str:
    """Give each part's heatmap before and after with their difference, which a crop leaves out: it moves the frame."""
    maps = (session.untouched.template_attention, session.probe.template_attention)
    if not len(maps[0]):
        return ""
    cropped = any(step.kind == "crop" for step in session.recipe)
    cards = "".join(
        _heatmap(session, name, meaning, before, after, cropped)
        for name, meaning, before, after in zip(engine.part_names, engine.part_meanings, *maps, strict=True)
    )
    legends = render.legend(*text.LEGEND)
    if not cropped:
        words = (w.format(most=render.FULL_SCALE) for w in text.CHANGED_HEAT_LEGEND)
        legends += render.signed_legend(*words, power=1)
    note = text.CHANGED_HEAT_CROPPED if cropped else text.CHANGED_HEAT_NOTE
    return (
        f'<div class="why-heat"><div><h4>{html.escape(text.CHANGED_HEAT)}</h4>'
        f'<p class="note">{html.escape(note)}</p></div><div>{legends}</div></div>'
        f'<div class="heat-grid threes">{cards}</div>'
    )


def _heatmap(session: Session, name: str, meaning: str, before: np.ndarray, after: np.ndarray, cropped: bool) -> str:
    """Give one part's card; blue gained attention, as a blue bar gained presence."""
    shown = [
        (text.CHANGED_LISTS[0].lower(), render.heat_overlay(session.image, before)),
        (text.CHANGED_LISTS[1].lower(), render.heat_overlay(session.current, after)),
    ]
    moved = ""
    if not cropped:
        change = render.relative_attention(before - after) / render.FULL_SCALE
        shown.append((text.CHANGED_COLUMNS[3], render.signed_overlay(session.current, change, 192, 96, power=1)))
        moved = text.CHANGED_HEAT_MOVED.format(share=float(np.abs(after - before).sum()) / 2)
    figures = "".join(
        f"<figure>{render.img_tag(picture, text.CHANGED_HEAT_ALT.format(name=name, which=which))}"
        f"<figcaption>{html.escape(which)}</figcaption></figure>"
        for which, picture in shown
    )
    measured = f'<span class="meaning">{html.escape(meaning)}</span>' if meaning else ""
    return (
        f'<article><h5>{html.escape(name)} {measured}<span class="number">{html.escape(moved)}</span></h5>'
        f'<div class="two-pictures">{figures}</div></article>'
    )


def _changes(
    caption: str, names: Sequence[str], notes: Sequence[str], values: np.ndarray, form: str, least: float
) -> str:
    """Give a table of pairs with a signed bar for each difference.

    Args:
        caption: of the table.
        names: one a row.
        notes: what each was measured to look at, or nothing.
        values: `(R, 2)`, before and after.
        form: of a value.
        least: difference that may fill a whole bar; smaller ones stay small.
    """
    most = max(float(np.abs(values[:, 1] - values[:, 0]).max()), least)
    body = "".join(
        f'<tr><th scope="row">{render.named(name, note)}</th><td class="number">{form.format(first)}</td>'
        f'<td class="number">{form.format(last)}</td><td class="track">{_delta((last - first) / most)}</td>'
        f'<td class="number">{last - first:+.4f}</td></tr>'
        for name, note, (first, last) in zip(names, notes, values, strict=True)
    )
    return _plain_table(caption, (*text.CHANGED_COLUMNS[:3], "", text.CHANGED_COLUMNS[3]), body, "bars")


def _delta(share: float) -> str:
    """Give a bar for a signed share, -1 to 1, around the middle."""
    long = abs(share) * 50
    left = 50 - long if share < 0 else 50
    sign = "minus" if share < 0 else "plus"
    bar = f'<span class="bar {sign}" style="left:{left:.1f}%;width:{long:.1f}%"></span>'
    return f'<span class="axis" style="left:50%"></span>{bar}'


def _table(engine: Engine, session: Session, found: Comparison) -> str:
    body = ""
    for move in found.moves:
        first, last = move.rank
        entered, left = first > found.top_k, last > found.top_k
        words = text.STAYED if first == last else (text.ROSE if last < first else text.FELL)
        words = text.ENTERED if entered else text.LEFT if left else words.format(by=abs(first - last))
        kind = _kind(session, engine.gallery.records[move.index].pid)
        mark = {charts.RIGHT: text.RIGHT, charts.WRONG: text.WRONG, charts.UNKNOWN: ""}[kind]
        body += (
            f'<tr><th scope="row">{html.escape(_label(engine, move.index))} {mark}</th>'
            f'<td class="number">{first}</td><td class="number">{last}</td><td>{words}</td>'
            f'<td class="number">{move.similarity[0]:.4f}</td><td class="number">{move.similarity[1]:.4f}</td></tr>'
        )
    table = _plain_table(text.CHANGED_TABLE, text.CHANGED_TABLE_COLUMNS, body, "bars")
    return f'<details><summary>{html.escape(text.CHANGED_TABLE)}</summary><div class="scroll">{table}</div></details>'


def _plain_table(caption: str, columns: tuple[str, ...], body: str, kind: str) -> str:
    head = "".join(f'<th scope="col">{html.escape(word)}</th>' for word in columns)
    return (
        f'<table class="{kind} lines"><caption>{html.escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )
