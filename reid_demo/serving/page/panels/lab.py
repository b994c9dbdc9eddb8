"""The tabs under the list: what changed, the sweep, sets of what-ifs, verify and export, and the link."""

import gradio as gr

from reid_demo.engine import Engine
from reid_demo.errors import ReidError
from reid_demo.measuring import sets as whatif
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import changed, link, sets, sweep, verify
from reid_demo.serving.page.handlers.session import Session
from reid_demo.serving.page.wiring import QUEUE, Wiring, guard, guard_steps

FILLS = [(words, name) for name, words in text.FILLS.items()]


def build_changed(engine: Engine, wiring: Wiring) -> None:
    """Lay out the comparison of the untouched and the changed probe."""
    wiring.detail(gr.HTML(elem_id="changed"), lambda now: changed.changed(wiring.engine_of(now), now))


def build_sweep(engine: Engine, wiring: Wiring) -> None:
    """Lay out the sliding window with its controls."""
    gr.Markdown(text.SWEEP_INTRO, elem_classes="intro")
    with gr.Row(equal_height=True, elem_classes="tight"):
        size = gr.Slider(20, 100, value=40, step=5, label=text.SWEEP_SIZE, elem_id="sweep-size", min_width=170)
        stride = gr.Slider(10, 50, value=20, step=5, label=text.SWEEP_STRIDE, elem_id="sweep-stride", min_width=170)
        fill = gr.Dropdown(FILLS, value="mean_grey", label=text.FILL, elem_id="sweep-fill", min_width=130)
    with gr.Row(elem_classes="tight"):
        run = gr.Button(text.SWEEP_RUN, variant="primary", size="sm", elem_id="sweep-run", min_width=140)
        stop = gr.Button(text.SWEEP_STOP, size="sm", elem_id="sweep-stop", min_width=90)
    shown = gr.HTML(elem_id="sweep")

    def steps(now: Session, *values):
        yield from sweep.sweep(wiring.engine_of(now), now, *values)

    running = run.click(
        guard_steps(steps), [wiring.session, size, stride, fill], shown, show_progress="minimal", **QUEUE
    )
    stop.click(
        lambda: gr.Info(text.SWEEP_STOPPED), None, None, cancels=[running], queue=False, api_visibility="private"
    )
    wiring.detail(shown, lambda now: "", on_choice=False)


def build_sets(engine: Engine, wiring: Wiring) -> None:
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
        most = max(2, min(100, available))
        count = gr.Slider(
            1, most, value=min(20, most), step=1, label=text.SETS_PROBES, elem_id="sets-probes", min_width=170
        )
        fill = gr.Dropdown(FILLS, value="mean_grey", label=text.FILL, elem_id="sets-fill", min_width=130)
    with gr.Row(elem_classes="tight"):
        run = gr.Button(text.SETS_RUN, variant="primary", size="sm", elem_id="sets-run", min_width=140)
        stop = gr.Button(text.SWEEP_STOP, size="sm", elem_id="sets-stop", min_width=90)
    shown = gr.HTML(elem_id="sets")

    def steps(now: Session, *values):
        yield from sets.measure(wiring.engine_of(now), now, *values)

    running = run.click(
        guard_steps(steps), [wiring.session, trials, count, fill], shown, show_progress="minimal", **QUEUE
    )
    stop.click(
        lambda: gr.Info(text.SWEEP_STOPPED), None, None, cancels=[running], queue=False, api_visibility="private"
    )


def build_verify(engine: Engine, wiring: Wiring) -> dict:
    """Lay out the decisions and the case file; the rest is wired by `wire_verify`."""
    gr.Markdown(text.VERIFY_INTRO, elem_classes="intro")
    with gr.Row(elem_classes="tight"):
        buttons = {
            name: gr.Button(words, size="sm", elem_id=f"verify-{name}", min_width=90)
            for name, words in (
                ("confirmed", text.VERIFY_CONFIRM),
                ("rejected", text.VERIFY_REJECT),
                ("open", text.VERIFY_LEAVE),
            )
        }
    wiring.detail(gr.HTML(elem_id="verify"), lambda now: verify.candidate(wiring.engine_of(now), now))
    with gr.Row(elem_classes="tight"):
        make = gr.Button(text.CASE_MAKE, size="sm", elem_id="case-make", min_width=140)
        load = gr.UploadButton(text.CASE_LOAD, file_types=[".json"], type="binary", size="sm", elem_id="case-load")
    files = gr.HTML(elem_id="case-files")
    gr.Markdown(text.CASE_NOTE, elem_classes="intro")
    make.click(
        guard(lambda now: verify.case_files(wiring.engine_of(now), now), lambda shown: shown, 1),
        [wiring.session],
        files,
        **QUEUE,
    )
    wiring.detail(files, lambda now: "")
    return {**buttons, "load": load}


def wire_verify(parts: dict, strip: gr.Gallery, wiring: Wiring, show_captions) -> None:
    """Connect the decisions: each marks the candidate in the strip and goes on to the next one."""
    for name in ("confirmed", "rejected", "open"):
        act = guard(_decider(name), lambda now: [now, show_captions(now)], 2)
        wiring.follow(parts[name].click(act, [wiring.session], [wiring.session, strip], **QUEUE), choice=True)
    wiring.search(parts["load"].upload, verify.open_case, [parts["load"]], settings_too=True)


def _decider(name: str):
    return lambda now: verify.decide(now, name)


def build_link(engine: Engine, wiring: Wiring) -> None:
    """Lay out the field with a link to what is shown."""
    with gr.Accordion(text.LINK_HEADING, open=False, elem_id="link-box"):
        field = gr.Textbox(
            label=text.LINK_HEADING,
            info=text.LINK_INFO,
            show_label=False,
            interactive=False,
            lines=2,
            buttons=["copy"],
            elem_id="link",
        )

    def show(now: Session) -> str:
        try:
            return "?" + link.query(wiring.engine_of(now), now)
        except ReidError as error:
            return str(error)

    wiring.detail(field, show)
    wiring.link = field
