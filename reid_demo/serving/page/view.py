"""The page: what stands where, and what is drawn after a search. `panels` hold the parts, `wiring` the clicks."""

import functools
import logging
from dataclasses import dataclass, replace
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

from reid_demo.engine import Engine
from reid_demo.errors import ImageError, ReidError
from reid_demo.serving import api, gradio_patches
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import acts, link, ranking
from reid_demo.serving.page.handlers import probe as probes
from reid_demo.serving.page.handlers.examples import stories_of
from reid_demo.serving.page.handlers.session import Session, default_settings, new_place, new_token
from reid_demo.serving.page.handlers.stage import Stage
from reid_demo.serving.page.handlers.visits import Visits
from reid_demo.serving.page.panels import browse, lab, people, probe, results, stage
from reid_demo.serving.page.panels import own as own_panel
from reid_demo.serving.page.theme import launch_options
from reid_demo.serving.page.wiring import Detail, Places, Wiring, guard
from reid_demo.serving.visitors import PrivateGalleries

__all__ = ["build_ui", "launch_options"]
CLEAN_EVERY_S, KEEP_FILES_S = 600, 3600
FIRST_ROWS = 20  # gallery images that are tried as the first probe
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tabs:
    """The tabs under the list."""

    tabs: gr.Tabs
    why: results.WhyPanel
    changed: tuple[Detail, ...]
    sweep: lab.RunPanel
    sets: lab.RunPanel
    people: people.PeoplePanel
    verify: lab.VerifyPanel
    gallery_tab: gr.Tab
    browse: browse.BrowsePanel
    own: own_panel.OwnPanel
    frame: own_panel.FramePanel

    @property
    def details(self) -> tuple[Detail, ...]:
        """What is drawn after every search; maps of another probe's sweep go."""
        swept = [Detail(gone, lambda engine, now: "", on_choice=False) for gone in (self.sweep.shown, self.sweep.told)]
        return (self.why.detail, *self.changed, *swept, *self.verify.details)


def build_ui(engine: Engine, galleries: PrivateGalleries | None = None) -> gr.Blocks:
    """Build the page over an engine, with these or new private galleries; its first result is drawn."""
    gradio_patches.install()
    engine.describer.share()
    cleaning = (CLEAN_EVERY_S, KEEP_FILES_S)
    with gr.Blocks(title=text.TITLE, delete_cache=cleaning, analytics_enabled=False, fill_width=True) as demo:
        galleries = galleries or PrivateGalleries(engine, cache=Path(get_upload_folder()))
        visits = Visits()

        def end(now: Session) -> None:
            galleries.drop(now.own)
            visits.drop(now.token)

        session = gr.State(Session(), time_to_live=KEEP_FILES_S, delete_callback=end)
        first = _first(engine)
        with gr.Sidebar(open=False, position="right", elem_id="sidebar"):
            gr.Markdown(f"## {text.STEP_SETTINGS}")
            settings = results.build_settings(engine)
            changes = probe.build_changes()
            camera = probe.build_camera()
            link_field = lab.build_link()
        gr.HTML(ranking.header(engine), elem_id="header")
        live = stage.build_stage(engine, visits, Stage(visits, lambda now: galleries.engine_of(now.own)), first)
        right = results.build_ranking(engine)
        tabs = _build_tabs(engine)
        if engine.card:
            with gr.Accordion(text.STEP_ABOUT, open=False, elem_id="about"):
                gr.Markdown(engine.card)
        details = (*right.details, *tabs.details, *changes.recipe.details, Detail(link_field, lab.show_link))
        wanted = (*settings, changes.recipe.keep)
        places = Places(session, live.detail, wanted, right.line, right.status, right.strip, link_field, details)
        wiring = Wiring(engine, galleries, places)
        stage.wire_stage(live, wiring, changes.dials)
        probe.wire(changes, wiring)
        probe.wire_pictures(live.upload, camera, wiring)
        results.wire_ranking(right, settings, wiring)
        _wire_tabs(demo, tabs, live.upload, wiring, visits)
        _wire_opening(demo, first, wiring)
        api.add_api(galleries.current)
    return demo


def _first(engine: Engine) -> Session:
    """Return the visit that a page opens with: the most telling example, or the first picture, that can be read."""
    stories, settings = stories_of(engine), default_settings(engine)
    tries = [
        functools.partial(acts.open_story, stories=stories, number=n) for n in range(len(stories or engine.examples))
    ]
    rows = range(min(len(engine.gallery), FIRST_ROWS))
    tries += [functools.partial(probes.open_gallery_image, index=row) for row in rows]
    for attempt in tries:
        try:
            return replace(attempt(engine, Session(), settings), token="")  # each visit gets one as it opens
        except ImageError as error:  # a file that is gone must not keep the page from opening
            _log.warning("The page opens with another picture. %s", error)
    return Session()  # no probe yet: the visitor brings one


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
        changed_people = people.build_people(engine)
        with gr.Tab(text.STEP_VERIFY, id="verify"):
            verify = lab.build_verify()
        with gr.Tab(text.STEP_BROWSE, id=browse.BROWSE_TAB) as gallery_tab:
            looked = browse.build_browse()
        with gr.Tab(text.STEP_OWN, id=own_panel.OWN_TAB):
            mine, frame = own_panel.build_own()
    return Tabs(tabs, why, changed, sweep, sets, changed_people, verify, gallery_tab, looked, mine, frame)


def _wire_tabs(demo: gr.Blocks, tabs: Tabs, upload: gr.UploadButton, wiring: Wiring, visits: Visits) -> None:
    results.wire_why(tabs.why, wiring)
    lab.wire_sweep(tabs.sweep, wiring)
    lab.wire_sets(tabs.sets, wiring)
    people.wire_people(tabs.people, wiring)
    lab.wire_verify(tabs.verify, wiring)
    browse.wire_browse(tabs.gallery_tab, tabs.browse, wiring)
    own_panel.wire_own(demo, tabs.own, tabs.tabs, wiring, visits)
    own_panel.wire_frame(tabs.frame, upload, tabs.tabs, wiring)


def _wire_opening(demo: gr.Blocks, first: Session, wiring: Wiring) -> None:
    """Open a visit with what the address names, or with the result that is drawn already; the queue is not asked."""

    @functools.lru_cache(maxsize=1)
    def again(engine: Engine) -> Session:
        return _first(engine)

    def opening(now: Session, request: gr.Request) -> Session:
        engine = wiring.galleries.engine
        values = dict(request.query_params)
        if "probe" in values:
            try:
                return replace(link.open_query(engine, values), token=new_token())
            except ReidError:
                gr.Warning(text.LINK_BAD)
        shown = first if engine.gallery.stamp == first.searched else again(engine)  # a gallery that was replaced since
        return replace(shown, token=new_token(), place=new_place())

    outputs = [*wiring.everything, *wiring.places.settings]
    guarded = guard(opening, wiring.show_everything_and_settings, len(outputs))

    def load(now: Session, request: gr.Request) -> list:
        return guarded(now, request)

    step = demo.load(load, [wiring.session], outputs, queue=False, show_progress="hidden", api_visibility="private")
    wiring.follow(step)
