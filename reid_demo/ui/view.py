"""The page: what stands where, and what is drawn after a search. `panels` hold the parts, `wiring` the clicks."""

import functools

import gradio as gr

from reid_demo.engine import Engine
from reid_demo.ui import text
from reid_demo.ui.handlers import probe as probes
from reid_demo.ui.handlers import ranking
from reid_demo.ui.handlers.session import Session, default_settings
from reid_demo.ui.panels import probe, results
from reid_demo.ui.theme import launch_options
from reid_demo.ui.wiring import QUEUE, Wiring, guard, read_settings

__all__ = ["build_ui", "launch_options"]
CLEAN_EVERY_S, KEEP_FILES_S = 600, 3600


def build_ui(engine: Engine) -> gr.Blocks:
    """Build the page over an engine; nothing is started."""
    with gr.Blocks(title=text.TITLE, delete_cache=(CLEAN_EVERY_S, KEEP_FILES_S), analytics_enabled=False) as demo:
        session = gr.State(Session(), time_to_live=KEEP_FILES_S)
        wiring = Wiring(engine, session)
        gr.HTML(ranking.header(engine), elem_id="header")
        examples = probe.build_examples(engine)
        with gr.Row(elem_id="work", equal_height=False):
            with gr.Column(scale=0, min_width=320, elem_id="left"):
                canvas, line, buttons = probe.build_probe(engine)
                left = probe.build_hide(engine, canvas, line, buttons)
            with gr.Column(scale=1, min_width=320, elem_id="right"):
                right = results.build_ranking(engine)
                with gr.Tabs(elem_id="tabs"):
                    with gr.Tab(text.STEP_WHY, id="why"):
                        use_match = results.build_why(engine, wiring)
        if engine.card:
            with gr.Accordion(text.STEP_ABOUT, open=False, elem_id="about"):
                gr.Markdown(engine.card)

        wiring.settings = [*right.settings, left.keep]
        wiring.ranking = [session, left.line, right.status, right.strip]
        wiring.everything = [*wiring.ranking, left.canvas]
        wiring.busy = [right.strip]

        def show_ranking(now: Session) -> list:
            shown = gr.Gallery(value=ranking.strip(engine, now), selected_index=None)
            return [now, probes.probe_line(now), ranking.status(now), shown]

        def show_everything(now: Session) -> list:
            canvas = {"background": probes.canvas_image(now), "layers": [], "composite": None}
            return [*show_ranking(now), canvas]

        wiring.show_ranking, wiring.show_everything = show_ranking, show_everything
        probe.wire(left, examples, wiring)
        results.wire_ranking(right, wiring)
        results.wire_why(use_match, wiring)

        _wire_examples(examples, wiring, show_everything)
        _wire_opening(demo, engine, examples, wiring, show_everything)
    return demo


def _wire_examples(examples: gr.Gallery, wiring: Wiring, show) -> None:
    def click(now: Session, k, w, c, t, keep, event: gr.SelectData) -> list:
        def action() -> Session:
            return probes.open_example(wiring.engine, now, read_settings(k, w, c, t, keep), event.index)

        return guard(action, show, len(wiring.everything))()

    step = examples.select(
        click, [wiring.session, *wiring.settings], wiring.everything, show_progress_on=wiring.busy, **QUEUE
    )
    wiring.follow(step, everything=True)


def _wire_opening(demo: gr.Blocks, engine: Engine, examples: gr.Gallery, wiring: Wiring, show) -> None:
    """Open the page with a result on it: the first example, ranked once for all visitors."""
    first = functools.cache(lambda: probes.open_example(engine, Session(), default_settings(engine), 0))

    def show_opening(now: Session) -> list:
        ready = show(now) if now.matches else [now, probes.probe_line(now), "", [], None]
        return [*ready, probes.examples(engine)]

    outputs = [*wiring.everything, examples]
    opening = guard(lambda now: first() if engine.examples else now, show_opening, len(outputs))
    wiring.follow(demo.load(opening, [wiring.session], outputs, show_progress="hidden", **QUEUE), everything=True)
