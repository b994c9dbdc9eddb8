"""The page: what stands where, and what is drawn after a search. `panels` hold the parts, `wiring` the clicks."""

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

from reid_demo.engine import Engine
from reid_demo.errors import ReidError
from reid_demo.serving import api, gradio_patches
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import link, ranking
from reid_demo.serving.page.handlers import probe as probes
from reid_demo.serving.page.handlers.session import Session, default_settings
from reid_demo.serving.page.handlers.stage import Stage, Visits, new_token
from reid_demo.serving.page.panels import browse, lab, probe, results, stage
from reid_demo.serving.page.panels import own as own_panel
from reid_demo.serving.page.theme import launch_options
from reid_demo.serving.page.wiring import QUEUE, Detail, Places, Wiring, guard
from reid_demo.serving.visitors import PrivateGalleries

__all__ = ["build_ui", "launch_options"]
CLEAN_EVERY_S, KEEP_FILES_S = 600, 3600


@dataclass(frozen=True)
class Tabs:
    """The tabs under the list."""

    tabs: gr.Tabs
    why: results.WhyPanel
    changed: tuple[Detail, ...]
    sweep: lab.RunPanel
    sets: lab.RunPanel
    verify: lab.VerifyPanel
    gallery_tab: gr.Tab
    browse: browse.BrowsePanel
    own: own_panel.OwnPanel
    frame: own_panel.FramePanel

    @property
    def details(self) -> tuple[Detail, ...]:
        """What is drawn after every search; maps of another probe's sweep go."""
        swept = Detail(self.sweep.shown, lambda engine, now: "", on_choice=False)
        return (*self.why.details, *self.changed, swept, *self.verify.details)


def build_ui(engine: Engine, galleries: PrivateGalleries | None = None) -> gr.Blocks:
    """Build the page over an engine, with these or new private galleries; nothing is started."""
    gradio_patches.install()
    engine.describer.share()
    with gr.Blocks(title=text.TITLE, delete_cache=(CLEAN_EVERY_S, KEEP_FILES_S), analytics_enabled=False) as demo:
        galleries = galleries or PrivateGalleries(engine, cache=Path(get_upload_folder()))
        visits = Visits()

        def end(now: Session) -> None:
            galleries.drop(now.own)
            visits.drop(now.token)

        session = gr.State(Session(), time_to_live=KEEP_FILES_S, delete_callback=end)
        gr.HTML(ranking.header(engine), elem_id="header")
        live = stage.build_stage(visits, Stage(visits, lambda now: galleries.engine_of(now.own)))
        examples = probe.build_examples(engine)
        with gr.Row(elem_id="work", equal_height=False):
            with gr.Column(scale=0, min_width=320, elem_id="left"):
                canvas = probe.build_canvas()
                hide = probe.build_hide(engine)
            with gr.Column(scale=1, min_width=320, elem_id="right"):
                right = results.build_ranking(engine)
                tabs = _build_tabs(engine)
                link_field = lab.build_link()
        if engine.card:
            with gr.Accordion(text.STEP_ABOUT, open=False, elem_id="about"):
                gr.Markdown(engine.card)
        linked = Detail(link_field, lab.show_link)
        details = (*live.details, *right.details, *tabs.details, *hide.recipe.details, linked)
        settings = (*right.settings, hide.recipe.keep)
        places = Places(session, settings, canvas.line, right.status, right.strip, canvas.canvas, link_field, details)
        wiring = Wiring(engine, galleries, places)
        stage.wire_stage(live, wiring)
        probe.wire(canvas, hide, wiring)
        results.wire_ranking(right, wiring)
        _wire_tabs(demo, tabs, wiring)
        _wire_examples(examples, wiring)
        _wire_opening(demo, examples, wiring)
        api.add_api(galleries.current)
    return demo


def _build_tabs(engine: Engine) -> Tabs:
    with gr.Tabs(elem_id="tabs") as tabs:
        with gr.Tab(text.STEP_WHY, id="why"):
            why = results.build_why()
        with gr.Tab(text.STEP_CHANGED, id="changed"):
            changed = lab.build_changed()
        with gr.Tab(text.STEP_SWEEP, id="sweep"):
            sweep = lab.build_sweep()
        with gr.Tab(text.STEP_SETS, id="sets"):
            sets = lab.build_sets(engine)
        with gr.Tab(text.STEP_VERIFY, id="verify"):
            verify = lab.build_verify()
        with gr.Tab(text.STEP_BROWSE, id=browse.BROWSE_TAB) as gallery_tab:
            looked = browse.build_browse()
        with gr.Tab(text.STEP_OWN, id="own"):
            mine, frame = own_panel.build_own()
    return Tabs(tabs, why, changed, sweep, sets, verify, gallery_tab, looked, mine, frame)


def _wire_tabs(demo: gr.Blocks, tabs: Tabs, wiring: Wiring) -> None:
    results.wire_why(tabs.why, wiring)
    lab.wire_sweep(tabs.sweep, wiring)
    lab.wire_sets(tabs.sets, wiring)
    lab.wire_verify(tabs.verify, wiring)
    browse.wire_browse(tabs.gallery_tab, tabs.browse, wiring)
    own_panel.wire_own(demo, tabs.own, tabs.tabs, wiring)
    own_panel.wire_frame(tabs.frame, wiring)


def _wire_examples(examples: gr.Gallery, wiring: Wiring) -> None:
    picked = gr.State(None)

    def pick(event: gr.SelectData) -> int:
        return event.index

    chosen = examples.select(pick, None, picked, queue=False, show_progress="hidden", api_visibility="private")
    wiring.search(chosen.success, probes.open_example, [picked])


def _wire_opening(demo: gr.Blocks, examples: gr.Gallery, wiring: Wiring) -> None:
    """Open the page with a result on it: what the address names, or the first example, ranked once for all."""

    @functools.lru_cache(maxsize=1)
    def first(engine: Engine) -> Session:
        open_first = probes.open_example if engine.examples else probes.open_gallery_image
        return open_first(engine, Session(), default_settings(engine), 0)

    def opening(now: Session, request: gr.Request) -> Session:
        engine = wiring.galleries.engine
        values = dict(request.query_params)
        if "probe" in values:
            try:
                return replace(link.open_query(engine, values), token=new_token())
            except ReidError:
                gr.Warning(text.LINK_BAD)
        return replace(first(engine), token=new_token())

    def show_opening(now: Session) -> list:
        if not now.matches:
            now_settings = wiring.show_settings(replace(now, settings=default_settings(wiring.galleries.engine)))
            return [now, probes.probe_line(now), "", [], None, *now_settings, []]
        return [*wiring.show_everything_and_settings(now), probes.examples(wiring.galleries.engine)]

    outputs = [*wiring.everything, *wiring.places.settings, examples]
    guarded = guard(opening, show_opening, len(outputs))

    def load(now: Session, request: gr.Request) -> list:
        return guarded(now, request)

    wiring.follow(demo.load(load, [wiring.session], outputs, show_progress="hidden", **QUEUE), everything=True)
