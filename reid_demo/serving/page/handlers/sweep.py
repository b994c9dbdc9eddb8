"""A sliding window over the probe: signed maps of what each place does to a match's similarity and rank."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from reid_demo.drawing import figures, overlays
from reid_demo.engine import Engine
from reid_demo.serving import budget
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.session import Session, chosen_match, left_out, name_of, need_probe
from reid_demo.serving.page.markup import render
from reid_demo.whatif.sweep import SweepStep, Window, sweep_map

SIMILARITY_SCALE = 0.10  # change of similarity that gets the full colour
RANK_SCALE = 20  # change of rank that gets the full colour


def sweep(engine: Engine, session: Session, size: float, stride: float, fill: str) -> Iterator[str]:
    """Run a sweep over the probe as it is now; yield HTML after every batch of windows.

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
    step = None
    for step in budget.within(engine.sweep(image, groups, window, session.scoring, leave_out), budget.SWEEP_S):
        yield show(step, image, names)
    if step is not None and step.done < step.total:
        yield show(step, image, names, cut=True)


@dataclass(frozen=True)
class Group:
    """The maps of one watched group of gallery images."""

    name: str
    pictures: list[Markup]  # one for each of `text.SWEEP_MAPS`
    worst: str


def show(step: SweepStep, image: np.ndarray, names: list[str], cut: bool = False) -> str:
    """Return a sweep so far as HTML: a row of maps for each watched group, their legends and the costliest window.

    A sweep that is done, or was `cut` short by its time budget, has its numbers as well.
    """
    words = text.SWEEP_CUT if cut else text.SWEEP_DONE if step.done == step.total else text.SWEEP_PROGRESS
    columns = [*text.SWEEP_COLUMNS[:2], *(w.format(who=name) for name in names for w in text.SWEEP_COLUMNS[2:])]
    ended = cut or step.done == step.total
    # For people a true minus; programs read a hyphen.
    rows, lines = (_rows(step, write) if ended else [] for write in (figures.number, format))
    written = "\n".join(",".join(f'"{cell}"' for cell in line) for line in (columns, *lines)) + "\n"
    scales = ((text.SWEEP_LEGEND_SIMILARITY, SIMILARITY_SCALE), (text.SWEEP_LEGEND_RANK, RANK_SCALE))
    return render(
        "sweep.html.jinja",
        words=words.format(done=step.done, total=step.total, seconds=budget.SWEEP_S),
        step=step,
        groups=[_group(step, image, name, k) for k, name in enumerate(names)],
        legends=[figures.signed_legend(*(word.format(most=most) for word in ends)) for ends, most in scales],
        columns=columns,
        rows=rows,
        save=figures.download_link(written.encode(), "sweep.csv", "text/csv", text.SWEEP_SAVE),
    )


def _rows(step: SweepStep, write: Callable[[float, str], str]) -> list[list[str]]:
    """Return every window that was tried with its changes as `write` says them, from top to bottom."""
    middle = 50 * (step.boxes[: step.done, :2] + step.boxes[: step.done, 2:])
    rows = []
    for i in np.lexsort((middle[:, 0], middle[:, 1])):
        changes = [
            word
            for similarity, rank in zip(step.similarity_change[:, i], step.rank_change[:, i], strict=True)
            for word in (write(similarity, "+.4f"), write(int(rank), "+d"))
        ]
        rows.append([f"{middle[i, 0]:.1f}", f"{middle[i, 1]:.1f}", *changes])
    return rows


def _group(step: SweepStep, image: np.ndarray, name: str, k: int) -> Group:
    similarity = sweep_map(step.boxes, step.similarity_change[k])
    rank = sweep_map(step.boxes, step.rank_change[k])
    pictures = []
    # Violet in both maps: hiding this place makes the match worse, so the place helps.
    for what, strength, raw in (
        (text.SWEEP_MAPS[0], similarity / SIMILARITY_SCALE, step.similarity_change[k]),
        (text.SWEEP_MAPS[1], -rank / RANK_SCALE, step.rank_change[k]),
    ):
        peak = raw[np.nanargmax(np.abs(raw))]
        alt = text.SWEEP_ALT.format(what=what, who=name, peak=figures.number(peak, "+.3g"))
        pictures.append(figures.picture(overlays.signed_overlay(image, strength, 320, 160), alt))
    worst = int(np.nanargmin(step.similarity_change[k]))
    before = int(step.base[k, 1])
    after = before + int(step.rank_change[k, worst])
    ranks = text.SWEEP_RANKS[before == after].format(before=before, after=after)
    costs = figures.number(step.similarity_change[k, worst], "+.4f")
    words = text.SWEEP_WORST.format(similarity=costs, ranks=ranks)
    return Group(name, pictures, words)
