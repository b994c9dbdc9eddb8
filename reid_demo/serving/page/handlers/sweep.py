"""A sliding window over the probe: signed maps of what each place does to a match's similarity and rank."""

import html
from collections.abc import Iterator

import numpy as np

from reid_demo.drawing import overlays as render
from reid_demo.engine import Engine
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.session import Session, chosen_match, left_out, name_of, need_probe
from reid_demo.whatif.sweep import SweepStep, Window, sweep_map

SIMILARITY_SCALE = 0.10  # change of similarity that gets the full colour
RANK_SCALE = 20  # change of rank that gets the full colour


def sweep(engine: Engine, session: Session, size: float, stride: float, fill: str) -> Iterator[str]:
    """Run a sweep over the probe as it is now; give HTML after every batch of windows.

    Args:
        engine: the verbs.
        session: the visit; its chosen match is watched, and the right person where known.
        size: percent of the probe's width.
        stride: percent of the probe's width.
        fill: of `occlude.FILLS`.
    """
    image = need_probe(session)
    match = chosen_match(session)
    leave_out = left_out(session, session.settings)
    groups = [[match.index]]
    names = [text.SWEEP_OF_MATCH.format(rank=match.rank, pid=name_of(match.record.pid))]
    right = engine.right_matches(session.pid, leave_out)
    if len(right):
        groups.append([int(i) for i in right])
        names.append(text.SWEEP_OF_RIGHT)
    window = Window(size / 100, stride / 100, fill)
    for step in engine.sweep(image, groups, window, session.scoring, leave_out):
        yield show(step, image, names)


def show(step: SweepStep, image: np.ndarray, names: list[str]) -> str:
    """Give a sweep so far as HTML: a row of maps for each watched group, their legends and the costliest window."""
    words = text.SWEEP_DONE if step.done == step.total else text.SWEEP_PROGRESS
    share = 100 * step.done / step.total
    head = (
        f'<p id="sweep-progress"><strong>{html.escape(words.format(done=step.done, total=step.total))}</strong></p>'
        f'<div class="progress"><i style="width:{share:.0f}%"></i></div>'
    )
    blocks = "".join(_group(step, image, names[k], k) for k in range(len(names)))
    similarity, rank = text.SWEEP_LEGEND_SIMILARITY, text.SWEEP_LEGEND_RANK
    legends = (
        f"<div><h5>{text.SWEEP_MAPS[0]}</h5>"
        f"{render.signed_legend(*(w.format(most=SIMILARITY_SCALE) for w in similarity))}</div>"
        f"<div><h5>{text.SWEEP_MAPS[1]}</h5>{render.signed_legend(*(w.format(most=RANK_SCALE) for w in rank))}</div>"
    )
    note = f'<p class="note">{html.escape(text.SWEEP_NOTE)}</p>'
    numbers = _numbers(step, names) if step.done == step.total else ""
    return f'{head}<div class="sweeps">{blocks}</div><div class="two legends">{legends}</div>{note}{numbers}'


def _numbers(step: SweepStep, names: list[str]) -> str:
    """Give every window with its changes as a folded table and as a CSV file, from top to bottom."""
    columns = [*text.SWEEP_COLUMNS[:2], *(w.format(who=name) for name in names for w in text.SWEEP_COLUMNS[2:])]
    middle = 50 * (step.boxes[:, :2] + step.boxes[:, 2:])
    rows = []
    for i in np.lexsort((middle[:, 0], middle[:, 1])):
        changes = [
            word
            for similarity, rank in zip(step.similarity_change[:, i], step.rank_change[:, i], strict=True)
            for word in (f"{similarity:+.4f}", f"{int(rank):+d}")
        ]
        rows.append([f"{middle[i, 0]:.1f}", f"{middle[i, 1]:.1f}", *changes])
    head = "".join(f'<th scope="col">{html.escape(word)}</th>' for word in columns)
    body = "".join("<tr>" + "".join(f'<td class="number">{cell}</td>' for cell in row) + "</tr>" for row in rows)
    written = "\n".join(",".join(f'"{cell}"' for cell in row) for row in (columns, *rows)) + "\n"
    save = render.download_link(written.encode(), "sweep.csv", "text/csv", text.SWEEP_SAVE)
    return (
        f"<details><summary>{html.escape(text.SWEEP_TABLE)}</summary>"
        f'<p class="note">{html.escape(text.SWEEP_TABLE_NOTE)}</p><div class="scroll"><table class="bars">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></details>"
        f'<p class="downloads">{save}</p>'
    )


def _group(step: SweepStep, image: np.ndarray, name: str, k: int) -> str:
    similarity = sweep_map(step.boxes, step.similarity_change[k])
    rank = sweep_map(step.boxes, step.rank_change[k])
    figures = ""
    # Blue in both maps: hiding this place makes the match worse, so the place helps.
    for what, strength, raw in (
        (text.SWEEP_MAPS[0], similarity / SIMILARITY_SCALE, step.similarity_change[k]),
        (text.SWEEP_MAPS[1], -rank / RANK_SCALE, step.rank_change[k]),
    ):
        peak = raw[np.nanargmax(np.abs(raw))]
        alt = text.SWEEP_ALT.format(what=what, who=name, peak=f"{peak:+.3g}")
        picture = render.img_tag(render.signed_overlay(image, strength, 320, 160), alt)
        figures += f"<figure>{picture}<figcaption>{html.escape(what)}</figcaption></figure>"
    worst = int(np.nanargmin(step.similarity_change[k]))
    before = int(step.base[k, 1])
    after = before + int(step.rank_change[k, worst])
    ranks = text.SWEEP_RANKS[before == after].format(before=before, after=after)
    sentence = text.SWEEP_WORST.format(similarity=step.similarity_change[k, worst], ranks=ranks)
    return (
        f'<article><h4>{html.escape(name)}</h4><div class="two-pictures">{figures}</div>'
        f'<p class="note">{html.escape(sentence)}</p></article>'
    )
