"""Rendered people with one thing changed: a row of pictures for each, which become the probe by a click."""

from collections.abc import Mapping
from dataclasses import dataclass

import gradio as gr

from reid_demo.engine import Engine
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import counterfactuals
from reid_demo.serving.page.handlers.session import Session
from reid_demo.serving.page.wiring import QUEUE, Wiring, guard, read_settings

CLICK = """element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-name]");
  if (!button) return;
  trigger("open", { name: button.dataset.name });
  window.showRanking();
});"""


@dataclass(frozen=True)
class PeoplePanel:
    """The tab, and what stands in it."""

    tab: gr.Tab
    shown: gr.HTML


def build_people(engine: Engine) -> PeoplePanel:
    """Lay out the tab; a gallery that ships no such pictures has none."""
    with gr.Tab(text.STEP_PEOPLE, id="people", visible=counterfactuals.are_shipped(engine)) as tab:
        gr.Markdown(text.PEOPLE_INTRO, elem_classes="intro")
        shown = gr.HTML(elem_id="people", js_on_load=CLICK)
    return PeoplePanel(tab, shown)


def wire_people(panel: PeoplePanel, wiring: Wiring) -> None:
    """Connect the tab, which searches when it is opened, and its pictures."""

    def look(now: Session) -> str:
        return guard(lambda: counterfactuals.people(wiring.galleries.engine, now), lambda shown: shown, 1)()

    panel.tab.select(look, [wiring.session], panel.shown, show_progress="minimal", **QUEUE)

    def choose(event: gr.EventData, now: Session, *settings) -> list:
        def do() -> Session:
            name = event._data.get("name") if isinstance(event._data, Mapping) else None
            home, engine = wiring.galleries.engine, wiring.engine_of(now)
            return counterfactuals.open_person(home, engine, now, read_settings(*settings), name)

        return guard(do, wiring.show_everything, len(wiring.everything))()

    inputs = [wiring.session, *wiring.places.settings]
    opened = panel.shown.open(choose, inputs, wiring.everything, show_progress_on=[wiring.places.strip], **QUEUE)
    wiring.follow(opened)
