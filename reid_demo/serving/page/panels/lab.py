"""The tabs under the list: what changed, the sweep, sets of what-ifs, verify and export, and the link."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr

from reid_demo.engine import Engine
from reid_demo.errors import ReidError
from reid_demo.measuring import sets as whatif
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import changed, link, sets, sweep, verify
from reid_demo.serving.page.handlers.session import Session
from reid_demo.serving.page.markup import render
from reid_demo.serving.page.wiring import LONG, QUEUE, Detail, Wiring, guard, guard_steps
from reid_demo.whatif.sweep import Window

FILLS = [(words, name) for name, words in text.FILLS.items()]


@dataclass(frozen=True)
class RunPanel:
    """A long run: its inputs, the buttons that start and stop it, and where its steps are shown."""

    inputs: tuple
    run: gr.Button
    stop: gr.Button
    told: gr.HTML  # that it was stopped
    shown: gr.HTML


@dataclass(frozen=True)
class VerifyPanel:
    """Decisions on the candidates, and the case file."""

    decide: dict[str, gr.Button]  # a key of `text.DECISION_WORDS` -> its button
    candidate: gr.HTML
    make: gr.Button
    load: gr.UploadButton
    files: gr.HTML

    @property
    def details(self) -> tuple[Detail, ...]:
        """What is drawn after every search."""
        return (Detail(self.candidate, verify.candidate), Detail(self.files, lambda engine, now: ""))


def build_changed() -> tuple[Detail, ...]:
    """Lay out the comparison of the untouched and the changed probe."""
    return (Detail(gr.HTML(elem_id="changed"), changed.changed),)


def build_sweep() -> RunPanel:
    """Lay out the sliding window with its controls."""
    gr.Markdown(text.SWEEP_INTRO, elem_classes="intro")
    with gr.Row(equal_height=True, elem_classes="tight"):
        side, step = round(100 * Window.size), round(100 * Window.stride)  # of the command and the API as well
        size = gr.Slider(20, 100, value=side, step=1, label=text.SWEEP_SIZE, elem_id="sweep-size", min_width=170)
        stride = gr.Slider(10, 50, value=step, step=1, label=text.SWEEP_STRIDE, elem_id="sweep-stride", min_width=170)
        fill = gr.Dropdown(FILLS, value="mean_grey", label=text.FILL, elem_id="sweep-fill", min_width=130)
    with gr.Row(elem_classes="tight"):
        run = gr.Button(text.SWEEP_RUN, variant="primary", size="sm", elem_id="sweep-run", min_width=140)
        stop = gr.Button(text.SWEEP_STOP, size="sm", elem_id="sweep-stop", min_width=90)
    told = gr.HTML(elem_id="sweep-told")
    return RunPanel((size, stride, fill), run, stop, told, gr.HTML(elem_id="sweep"))


def wire_sweep(panel: RunPanel, wiring: Wiring) -> None:
    """Connect the sweep."""
    _wire_run(panel, sweep.sweep, wiring, text.SWEEP_STOPPED)


def build_sets(engine: Engine) -> RunPanel:
    """Lay out the choice of what-ifs and probes."""
    available = whatif.count_own(engine)
    gr.Markdown(text.SETS_INTRO if available else text.SETS_NONE, elem_classes="intro")
    kinds = [k for k in text.OCCLUDERS if k != "random_block" and (k != "person" or engine.cutouts.get("person"))]
    choices = [(text.SETS_CURVE, sets.CURVE), (text.SETS_CURRENT, sets.CURRENT)]
    trials = gr.CheckboxGroup(
        choices + [(text.OCCLUDERS[k], k) for k in kinds],
        value=[sets.CURVE, "lower_half", "upper_half"],
        label=text.SETS_TRIALS,
        elem_id="sets-trials",
    )
    with gr.Row(equal_height=True, elem_classes="tight"):
        # Not bounded by this gallery: a visitor's own may have more probes, and fewer are no error.
        count = gr.Slider(
            1,
            100,
            value=min(20, max(1, available)),
            step=1,
            label=text.SETS_PROBES,
            elem_id="sets-probes",
            min_width=170,
        )
        fill = gr.Dropdown(FILLS, value="mean_grey", label=text.FILL, elem_id="sets-fill", min_width=130)
    with gr.Row(elem_classes="tight"):
        run = gr.Button(text.SETS_RUN, variant="primary", size="sm", elem_id="sets-run", min_width=140)
        stop = gr.Button(text.SWEEP_STOP, size="sm", elem_id="sets-stop", min_width=90)
    told = gr.HTML(elem_id="sets-told")
    return RunPanel((trials, count, fill), run, stop, told, gr.HTML(elem_id="sets"))


def wire_sets(panel: RunPanel, wiring: Wiring) -> None:
    """Connect the sets."""
    _wire_run(panel, sets.measure, wiring, text.SETS_STOPPED)


def _wire_run(panel: RunPanel, verb: Callable, wiring: Wiring, words: str) -> None:
    """Connect a run; `words` stand there once it was stopped, and nothing where there was nothing to stop."""

    def steps(now: Session, *values):
        yield from verb(wiring.engine_of_list(now), now, *values)

    at_once = {"show_progress": "hidden", "api_visibility": "private"}
    panel.run.click(None, None, panel.told, js="() => ''", **at_once)  # first: Gradio ends one listener before the next
    running = panel.run.click(
        guard_steps(steps), [wiring.session, *panel.inputs], panel.shown, show_progress="minimal", **LONG
    )
    stopped = json.dumps(render("note.html.jinja", words=words))
    told = f"() => document.querySelector('#{panel.shown.elem_id} [data-under-way]') ? {stopped} : ''"
    panel.stop.click(None, None, panel.told, js=told, cancels=[running], **at_once)


def build_verify() -> VerifyPanel:
    """Lay out the decisions and the case file."""
    gr.Markdown(text.VERIFY_INTRO, elem_classes="intro")
    with gr.Row(elem_classes="tight"):
        decide = {
            name: gr.Button(words, size="sm", elem_id=f"verify-{name}", min_width=90)
            for name, words in (
                ("confirmed", text.VERIFY_CONFIRM),
                ("rejected", text.VERIFY_REJECT),
                ("open", text.VERIFY_LEAVE),
            )
        }
    candidate = gr.HTML(elem_id="verify")
    with gr.Row(elem_classes="tight"):
        make = gr.Button(text.CASE_MAKE, size="sm", elem_id="case-make", min_width=140)
        load = gr.UploadButton(text.CASE_LOAD, file_types=[".json"], type="binary", size="sm", elem_id="case-load")
    files = gr.HTML(elem_id="case-files")
    gr.Markdown(text.CASE_NOTE, elem_classes="intro")
    return VerifyPanel(decide, candidate, make, load, files)


def wire_verify(panel: VerifyPanel, wiring: Wiring) -> None:
    """Connect the decisions: each marks the candidate in the strip and goes on to the next one."""
    outputs = [*wiring.choice, wiring.places.strip]
    for name, button in panel.decide.items():
        act = guard(_decider(name), lambda now: [*wiring.show_choice(now), wiring.show_strip(now)], len(outputs))
        wiring.follow(button.click(act, [wiring.session], outputs, **QUEUE), choice=True)

    def make(now: Session) -> str:
        return verify.case_files(wiring.engine_of_list(now), now)

    panel.make.click(guard(make, lambda shown: shown, 1), [wiring.session], panel.files, **QUEUE)
    wiring.search_with_settings(panel.load.upload, verify.open_case, [panel.load])


def _decider(name: str) -> Callable[[Session], Session]:
    return lambda now: verify.decide(now, name)


def build_link() -> gr.Textbox:
    """Lay out the field with a link to what is shown."""
    with gr.Accordion(text.LINK_HEADING, open=False, elem_id="link-box"):
        return gr.Textbox(
            label=text.LINK_HEADING,
            info=text.LINK_INFO,
            show_label=False,
            interactive=False,
            lines=2,
            buttons=["copy"],
            elem_id="link",
        )


def show_link(engine: Engine, now: Session) -> str:
    """Return the part of the link that the server knows, or the reason why there is none."""
    try:
        return "?" + link.query(engine, now)
    except ReidError as error:
        return str(error)
