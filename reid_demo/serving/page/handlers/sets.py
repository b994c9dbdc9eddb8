"""Sets of what-ifs over the gallery's own probes: a table, and R-1 and mAP against the hidden share."""

import html
from collections.abc import Iterator, Sequence

from reid_demo.drawing import overlays as render
from reid_demo.engine import Engine
from reid_demo.errors import OcclusionError
from reid_demo.measuring import sets as whatif
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.session import Session

CURVE, CURRENT = "curve", "current"


def measure(engine: Engine, session: Session, chosen: Sequence[str], count: float, fill: str) -> Iterator[str]:
    """Measure the chosen what-ifs over the gallery's own probes; give HTML after each of them.

    Args:
        engine: the verbs.
        session: the visit, for its scoring and the changes of its probe.
        chosen: `CURVE`, `CURRENT` and names of `occlude.KINDS`.
        count: how many probes.
        fill: of `occlude.FILLS`.
    """
    trials = whatif.curve_trials(fill) if CURVE in chosen else [whatif.Trial("untouched")]
    trials += whatif.named_trials([kind for kind in chosen if kind not in (CURVE, CURRENT)], fill)
    if CURRENT in chosen and session.recipe:
        trials.append(whatif.Trial(text.SETS_CURRENT.lower(), session.recipe))
    if len(trials) < 2:
        raise OcclusionError(text.SETS_PICK)
    probes = whatif.own_probes(engine, int(count))
    if not probes:
        raise OcclusionError(text.SETS_NONE)
    for step in whatif.run_set(engine, probes, trials, session.scoring):
        yield show(engine, step)


def show(engine: Engine, step: whatif.SetProgress) -> str:
    """Give a set so far as HTML."""
    words = html.escape(text.SETS_PROGRESS.format(done=step.done, total=step.total))
    head = (
        f'<p id="sets-progress"><strong>{words}</strong></p>'
        f'<div class="progress"><i style="width:{100 * step.done / step.total:.0f}%"></i></div>'
    )
    if not step.results:
        return head
    rows = "".join(
        f'<tr><th scope="row">{html.escape(r.name)}</th><td class="number">{r.coverage:.1%}</td>'
        f'<td class="number">{r.rank1:.1%}</td><td class="number">{r.mAP:.1%}</td>'
        f'<td class="number">{r.mean_rank:.1f}</td><td class="number">{r.similarity:.4f}</td></tr>'
        for r in step.results
    )
    columns = "".join(f'<th scope="col">{html.escape(word)}</th>' for word in text.SETS_COLUMNS)
    caption = html.escape(text.SETS_TABLE.format(probes=step.results[0].num_probes))
    table = (
        f'<table class="bars lines"><caption>{caption}</caption><thead><tr>{columns}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )
    curve = whatif.curve(step.results)
    key = f'<p class="note">{html.escape(text.SETS_KEY)}</p>'
    saves = ""
    if step.done == step.total:
        numbers = whatif.to_json(step.results, engine).encode()
        saves = (
            '<p class="downloads">'
            + render.download_link(numbers, "what-if.json", "application/json", text.SETS_SAVE_JSON)
            + render.download_link(curve.encode(), "what-if.svg", "image/svg+xml", text.SETS_SAVE_SVG)
            + "</p>"
        )
    return f'{head}<div class="scroll">{table}</div>{curve}{key}{saves}'
