"""The page: what stands where, and what is drawn after a search. `panels` hold the parts, `wiring` the clicks."""

import functools
from dataclasses import replace
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

from reid_demo.engine import Engine
from reid_demo.errors import ReidError
from reid_demo.serving import api, gradio_patches
from reid_demo.serving.page import text, text_browse, text_own
from reid_demo.serving.page.handlers import link, own, ranking
from reid_demo.serving.page.handlers import probe as probes
from reid_demo.serving.page.handlers.session import Session, default_settings
from reid_demo.serving.page.panels import browse, lab, probe, results
from reid_demo.serving.page.panels import own as own_panel
from reid_demo.serving.page.theme import launch_options
from reid_demo.serving.page.wiring import QUEUE, Wiring, guard, read_settings
from reid_demo.serving.visitors import PrivateGalleries

__all__ = ["build_ui", "launch_options"]
CLEAN_EVERY_S, KEEP_FILES_S = 600, 3600


def build_ui(engine: Engine, galleries: PrivateGalleries | None = None) -> gr.Blocks:
    """Build the page over an engine, with these or new private galleries; nothing is started."""
    gradio_patches.install()
    with gr.Blocks(title=text.TITLE, delete_cache=(CLEAN_EVERY_S, KEEP_FILES_S), analytics_enabled=False) as demo:
        galleries = galleries or PrivateGalleries(engine, cache=Path(get_upload_folder()))
        session = gr.State(Session(), time_to_live=KEEP_FILES_S, delete_callback=lambda now: galleries.drop(now.own))
        wiring = Wiring(engine, session, galleries)
        gr.HTML(ranking.header(engine), elem_id="header")
        examples = probe.build_examples(engine)
        with gr.Row(elem_id="work", equal_height=False):
            with gr.Column(scale=0, min_width=320, elem_id="left"):
                canvas, line, buttons = probe.build_probe(engine)
                left = probe.build_hide(engine, canvas, line, buttons)
            with gr.Column(scale=1, min_width=320, elem_id="right"):
                right = results.build_ranking(engine, wiring)
                with gr.Tabs(elem_id="tabs") as tabs:
                    with gr.Tab(text.STEP_WHY, id="why"):
                        use_match = results.build_why(engine, wiring)
                    with gr.Tab(text.STEP_CHANGED, id="changed"):
                        lab.build_changed(engine, wiring)
                    with gr.Tab(text.STEP_SWEEP, id="sweep"):
                        lab.build_sweep(engine, wiring)
                    with gr.Tab(text.STEP_SETS, id="sets"):
                        lab.build_sets(engine, wiring)
                    with gr.Tab(text.STEP_VERIFY, id="verify"):
                        decisions = lab.build_verify(engine, wiring)
                    with gr.Tab(text_browse.STEP_BROWSE, id=browse.BROWSE_TAB) as gallery_tab:
                        looked = browse.build_browse()
                    with gr.Tab(text_own.STEP_OWN, id="own"):
                        mine = own_panel.build_own(wiring)
                lab.build_link(engine, wiring)
        if engine.card:
            with gr.Accordion(text.STEP_ABOUT, open=False, elem_id="about"):
                gr.Markdown(engine.card)

        wiring.settings = [*right.settings, left.keep]
        wiring.ranking = [session, left.line, right.status, right.strip]
        wiring.everything = [*wiring.ranking, left.canvas]
        wiring.busy = [right.strip]

        def show_ranking(now: Session) -> list:
            shown = gr.Gallery(value=ranking.strip(wiring.engine_of(now), now), selected_index=None)
            said = own.badge(wiring.engine_of(now), now) + ranking.status(wiring.engine_of(now), now)
            return [now, probes.probe_line(now), said, shown]

        def show_everything(now: Session) -> list:
            canvas = {"background": probes.canvas_image(now), "layers": [], "composite": None}
            return [*show_ranking(now), canvas]

        def show_settings(now: Session) -> list:
            wanted = now.settings
            terms = list(engine.term_names) if wanted.terms is None else list(wanted.terms)
            return [wanted.top_k, wanted.weighing, wanted.same_camera, terms, wanted.keep_recipe]

        def show_captions(now: Session) -> gr.Gallery:
            return gr.Gallery(value=ranking.strip(wiring.engine_of(now), now), selected_index=None)

        wiring.show_ranking, wiring.show_everything = show_ranking, show_everything
        wiring.show_settings = show_settings
        probe.wire(left, examples, wiring)
        results.wire_ranking(right, wiring)
        results.wire_why(use_match, wiring)
        lab.wire_verify(decisions, right.strip, wiring, show_captions)

        browse.wire_browse(gallery_tab, looked, wiring)
        own_panel.wire_own(demo, mine, tabs, wiring)
        _wire_examples(examples, wiring, show_everything)
        _wire_opening(demo, engine, examples, wiring)
        api.add_api(engine)
    return demo


def _wire_examples(examples: gr.Gallery, wiring: Wiring, show) -> None:
    def click(now: Session, k, w, c, t, keep, event: gr.SelectData) -> list:
        def action() -> Session:
            return probes.open_example(wiring.engine_of(now), now, read_settings(k, w, c, t, keep), event.index)

        return guard(action, show, len(wiring.everything))()

    step = examples.select(
        click, [wiring.session, *wiring.settings], wiring.everything, show_progress_on=wiring.busy, **QUEUE
    )
    wiring.follow(step, everything=True)


def _wire_opening(demo: gr.Blocks, engine: Engine, examples: gr.Gallery, wiring: Wiring) -> None:
    """Open the page with a result on it: what the address names, or the first example, ranked once for all."""
    open_first = probes.open_example if engine.examples else probes.open_gallery_image
    first = functools.cache(lambda: open_first(engine, Session(), default_settings(engine), 0))

    def opening(now: Session, request: gr.Request) -> Session:
        values = dict(request.query_params)
        if "probe" in values:
            try:
                return link.open_query(engine, values)
            except ReidError:
                gr.Warning(text.LINK_BAD)
        return first()

    def show_opening(now: Session) -> list:
        if not now.matches:
            now_settings = wiring.show_settings(replace(now, settings=default_settings(engine)))
            return [now, probes.probe_line(now), "", [], None, *now_settings, []]
        return [*wiring.show_everything(now), *wiring.show_settings(now), probes.examples(engine)]

    outputs = [*wiring.everything, *wiring.settings, examples]
    guarded = guard(opening, show_opening, len(outputs))

    def load(now: Session, request: gr.Request) -> list:
        return guarded(now, request)

    wiring.follow(demo.load(load, [wiring.session], outputs, show_progress="hidden", **QUEUE), everything=True)
