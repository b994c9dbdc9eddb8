"""Sets of what-ifs over the gallery's own probes: a table, and R-1 and mAP against the hidden share."""

from collections.abc import Iterator, Sequence

from reid_demo.drawing import figures
from reid_demo.engine import Engine
from reid_demo.errors import OcclusionError
from reid_demo.measuring import sets as whatif
from reid_demo.serving import budget
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.session import Session
from reid_demo.serving.page.markup import render

CURVE, CURRENT = "curve", "current"


def measure(engine: Engine, session: Session, chosen: Sequence[str], count: float, fill: str) -> Iterator[str]:
    """Measure the chosen what-ifs over the gallery's own probes; yield HTML after each of them.

    Args:
        engine: the verbs.
        session: the visit, for its scoring and the changes of its probe.
        chosen: `CURVE`, `CURRENT` and names of `occlude.KINDS`.
        count: how many probes.
        fill: of `occlude.FILLS`.
    """
    if CURRENT in chosen and not session.recipe:
        raise OcclusionError(text.SETS_UNCHANGED)
    trials = whatif.curve_trials(fill) if CURVE in chosen else [whatif.Trial("untouched")]
    trials += whatif.named_trials([kind for kind in chosen if kind not in (CURVE, CURRENT)], fill)
    if CURRENT in chosen:
        trials.append(whatif.Trial(text.SETS_CURRENT.lower(), session.recipe))
    if len(trials) < 2:
        raise OcclusionError(text.SETS_PICK)
    probes = whatif.own_probes(engine, int(count))
    if not probes:
        raise OcclusionError(text.SETS_NONE)
    steps = whatif.run_set(engine, probes, trials, session.scoring)
    step = next(steps)  # before the first measurement
    yield show(engine, step)
    for step in budget.within(steps, budget.SET_S):
        yield show(engine, step)
    if step.done < step.total:
        yield show(engine, step, cut=True)


def show(engine: Engine, step: whatif.SetProgress, cut: bool = False) -> str:
    """Return a set so far as HTML: its table, its curve and, at the end or where it was `cut` short, both as files."""
    words = text.SETS_CUT if cut else text.SETS_PROGRESS
    saves, curve, caption = [], "", ""
    if step.results:
        caption = text.SETS_TABLE.format(probes=step.results[0].num_probes)
        curve = whatif.curve(step.results)
    if step.results and (cut or step.done == step.total):
        numbers = whatif.to_json(step.results, engine).encode()
        saves = [
            figures.download_link(numbers, "what-if.json", "application/json", text.SETS_SAVE_JSON),
            figures.download_link(curve.encode(), "what-if.svg", "image/svg+xml", text.SETS_SAVE_SVG),
        ]
    return render(
        "sets.html.jinja",
        words=words.format(done=step.done, total=step.total, seconds=budget.SET_S),
        step=step,
        caption=caption,
        curve=curve,
        saves=saves,
    )
