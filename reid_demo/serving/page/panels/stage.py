"""The stage, at the top of the page: its component, and how what a visitor does there becomes changes of the probe."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import gradio as gr

from reid_demo.data.stories import Story
from reid_demo.drawing import figures, overlays
from reid_demo.engine import Engine
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import acts, examples, places, stage
from reid_demo.serving.page.handlers.session import COMPARED, Session
from reid_demo.serving.page.handlers.visits import Visits
from reid_demo.serving.page.handlers.why import about_parts
from reid_demo.serving.page.markup import render
from reid_demo.serving.page.wiring import QUEUE, Detail, Wiring, guard, read_settings

FOLDER = Path(__file__).parent.parent
SCRIPTS = ("stage.js", "stage_why.js", "stage_hand.js")

# What brings another picture by a click: an upload that arrives later is left out.
CHOOSERS = (
    "[data-example], #people button, #use-match, #frame-search, #browse-grid .thumbnail-item, "
    "#frame-people .thumbnail-item"
)


@dataclass(frozen=True)
class StagePanel:
    """The stage, with the upload that stands behind its last example."""

    shown: gr.HTML
    upload: gr.UploadButton
    visits: Visits
    stories: list[Story]

    @property
    def detail(self) -> Detail:
        """What is drawn first of all after every search."""
        return Detail(self.shown, self.draw)

    def draw(self, engine: Engine, now: Session) -> str:
        """Keep a visit for the stage's own calls, and return what the stage draws of it."""
        self.visits.keep(now)
        return json.dumps(stage.opening(engine, now))


def build_stage(engine: Engine, visits: Visits, answers: stage.Stage, first: Session) -> StagePanel:
    """Lay out the stage with a visit drawn on it."""

    def rank(asked: dict) -> dict:  # Gradio marks a server function, which cannot be a method
        return answers.rank(asked)

    def pictures(asked: dict) -> dict:
        return answers.pictures(asked)

    def maps(asked: dict) -> dict:
        return answers.maps(asked)

    def mark(asked: dict) -> dict:
        return answers.mark(asked)

    stories = examples.stories_of(engine)
    drawn = stage.opening(engine, first)
    shown = gr.HTML(
        json.dumps(stage.with_pictures(engine, drawn) if drawn else None),
        html_template=render(
            "stage.html.jinja",
            kinds=[kind for kind in text.STAGE_MORE_KINDS if kind != "person" or engine.cutouts.get("person")],
            examples=examples.offered(engine, stories),
            legend=figures.legend(*text.STAGE_LEGEND),
            compares=len(engine.part_names) > 0,
            about=about_parts(engine),
            setup=json.dumps(_setup(engine, examples.views(engine, stories))),
        ),
        js_on_load="\n".join((FOLDER / name).read_text(encoding="utf-8") for name in SCRIPTS),
        server_functions=[rank, pictures, maps, mark],
        elem_id="stage",
    )
    upload = gr.UploadButton(text.UPLOAD, file_types=["image"], type="filepath", elem_id="upload")
    return StagePanel(shown, upload, visits, stories)


def _setup(engine: Engine, views: Sequence[examples.View]) -> dict:
    """Return what the browser needs once: names, words and colours."""
    words = {
        "now": text.STAGE_NOW,
        "before": text.STAGE_BEFORE,
        "next": text.STAGE_NEXT,
        "other": text.STAGE_OTHER_IMAGE,
        "cosine": text.STAGE_COSINE,
        "part_aware": text.STAGE_PART_AWARE,
        "lostServer": text.STAGE_LOST_SERVER,
        "none": text.STATUS_NONE,
        "remove": text.STAGE_REMOVE,
        "again": text.STAGE_AGAIN,
        "tile": text.STAGE_TILE,
        "tileOf": text.STAGE_TILE_OF,
        "why": text.STAGE_WHY,
        "by": text.STAGE_WHY_BY,
        "was": text.STAGE_WAS,
        "lost": text.STAGE_LOST,
        "gained": text.STAGE_GAINED,
        "block": text.STAGE_BLOCK,
        "frame": text.STAGE_FRAME,
        "upload": text.UPLOAD,
        "choosers": CHOOSERS,
    }
    return {
        "names": engine.term_labels,
        "about": ["", *about_parts(engine)],
        "examples": [asdict(view) for view in views],
        "palette": overlays.palette().ravel().tolist(),
        "compared": COMPARED,
        "marks": text.STAGE_MARKS,
        "boxes": {name: list(box) for name, box in stage.occlude.BOXES.items()},
        "words": words,
        "brush": acts.BRUSH,
    }


def wire_stage(panel: StagePanel, wiring: Wiring, dials: tuple) -> None:
    """Connect the stage: what a visitor does there is a change of the probe, and a tile that is clicked is chosen.

    Args:
        panel: the stage.
        wiring: of the page.
        dials: the numbers of what is hidden by chance.
    """

    def act(event: gr.EventData, now: Session, *values) -> list:
        def do() -> Session:
            coverage, seed, *settings = values
            wanted, numbers = read_settings(*settings), acts.Dials(coverage, seed)
            return acts.act(wiring.engine_of(now), now, wanted, event._data, numbers, panel.stories)

        return guard(do, wiring.show_everything, len(wiring.everything))()

    def choose(event: gr.EventData, now: Session) -> list:
        def do() -> Session:
            return acts.choose(wiring.engine_of(now), now, event._data)

        return guard(do, wiring.show_choice, len(wiring.choice))()

    def go(event: gr.EventData, now: Session, *settings) -> list:
        def do() -> Session:
            return places.go(wiring.engine_of(now), now, read_settings(*settings), event._data)

        return guard(do, wiring.show_everything, len(wiring.everything))()

    def compare(event: gr.EventData, now: Session) -> list:
        def show(after: Session) -> list:
            panel.visits.keep(after)
            return [after]

        return guard(lambda: acts.compared(now, event._data), show, 1)()

    # What a visitor does travels with its own event: quick acts would overwrite one another in a state.
    inputs = [wiring.session, *dials, *wiring.places.settings]
    quick = {**QUEUE, "trigger_mode": "multiple"}  # one that comes while another is under way counts as well
    every = {**quick, "show_progress_on": [wiring.places.strip]}
    acted = panel.shown.act(act, inputs, wiring.everything, **every)
    went = panel.shown.go(go, [wiring.session, *wiring.places.settings], wiring.everything, **every)
    weighed = panel.shown.compare(compare, [wiring.session], [wiring.session], show_progress="hidden", **quick)
    chosen = panel.shown.choose(choose, [wiring.session], wiring.choice, **quick)
    for told in (acted, went, weighed, chosen):  # well or not
        told.then(None, js="() => window.wasTold()", api_visibility="private")
    went.then(None, js="() => window.wentToPlace()", api_visibility="private")
    wiring.follow(acted)
    wiring.follow(went)
    wiring.follow(weighed, choice=True)
    wiring.follow(chosen, choice=True)
