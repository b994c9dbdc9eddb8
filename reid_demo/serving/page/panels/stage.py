"""The stage, at the top of the page: its component, and how its drags become changes of the probe."""

import json
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from reid_demo.engine import Engine
from reid_demo.serving.page.handlers import stage
from reid_demo.serving.page.handlers.session import Session
from reid_demo.serving.page.markup import render
from reid_demo.serving.page.wiring import QUEUE, Detail, Wiring, guard

FOLDER = Path(__file__).parent.parent


@dataclass(frozen=True)
class StagePanel:
    """The stage, and what its last event brought."""

    shown: gr.HTML
    box: gr.State
    index: gr.State
    visits: stage.Visits

    @property
    def details(self) -> tuple[Detail, ...]:
        """What is drawn after every search; the visit is kept for the stage's own calls."""

        def show(engine: Engine, now: Session) -> str:
            self.visits.keep(now)
            return json.dumps(stage.opening(engine, now))

        return (Detail(self.shown, show),)


def build_stage(visits: stage.Visits, answers: stage.Stage) -> StagePanel:
    """Lay out the stage."""

    def rank(asked: dict) -> dict:  # Gradio marks a server function, which cannot be a method
        return answers.rank(asked)

    def pictures(asked: dict) -> dict:
        return answers.pictures(asked)

    shown = gr.HTML(
        "null",
        html_template=render("stage.html.jinja", halves=stage.HALVES),
        js_on_load=(FOLDER / "stage.js").read_text(encoding="utf-8"),
        server_functions=[rank, pictures],
        elem_id="stage",
    )
    return StagePanel(shown, gr.State(None), gr.State(None), visits)


def wire_stage(panel: StagePanel, wiring: Wiring) -> None:
    """Connect the stage: where a block is let go becomes a change, and a tile that is clicked is chosen."""
    at_once = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}

    def box(event: gr.EventData):
        return event._data.get("box")

    def index(event: gr.EventData):
        return event._data.get("index")

    def choose(now: Session, row) -> Session:
        return guard(lambda: stage.choose_tile(now, row), lambda chosen: chosen, 1)()

    settled = panel.shown.settle(box, None, panel.box, **at_once)
    wiring.search(settled.success, stage.settle, [panel.box])
    picked = panel.shown.choose(index, None, panel.index, **at_once)
    wiring.follow(picked.success(choose, [wiring.session, panel.index], [wiring.session], **QUEUE), choice=True)
