"""The page: components, their order, and the wiring of clicks to handlers. The only module that imports Gradio."""

import functools
import logging
from collections.abc import Callable
from pathlib import Path

import gradio as gr

from reid_demo.engine import Engine
from reid_demo.errors import ReidError
from reid_demo.ui import handlers, text
from reid_demo.ui.handlers import Session, Settings

MODEL_QUEUE = "model"  # one queue for all that touches the network
CLEAN_EVERY_S, KEEP_FILES_S = 600, 3600
_log = logging.getLogger(__name__)


def launch_options() -> dict:
    """Give the arguments of `launch()` that belong to the look of the page."""
    fonts = ["Inter", "ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    mono = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]
    theme = gr.themes.Base(
        primary_hue="blue",
        neutral_hue="slate",
        radius_size="md",
        font=fonts,
        font_mono=mono,
    ).set(
        body_background_fill="#f4f6f8",
        body_background_fill_dark="#0e141b",
        block_background_fill="#ffffff",
        block_background_fill_dark="#161e27",
        block_border_width="1px",
        block_border_color="#dce2e8",
        block_border_color_dark="#2a3644",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        button_border_width="1px",
        button_border_width_dark="1px",
        button_primary_background_fill="#0b63a8",
        button_primary_background_fill_hover="#084d83",
        button_primary_background_fill_dark="#1f7fcb",
        button_primary_background_fill_hover_dark="#3a93da",
        button_primary_text_color="#ffffff",
        button_secondary_background_fill="#ffffff",
        button_secondary_background_fill_hover="#eaf2f9",
        button_secondary_background_fill_dark="#1f2a36",
        button_secondary_background_fill_hover_dark="#2b3948",
        button_secondary_border_color="#c5cfd8",
        button_secondary_border_color_dark="#3a4959",
    )
    css = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    head = f'<meta name="description" content="{text.DESCRIPTION}">'
    return {"theme": theme, "css": css, "head": head}


def build_ui(engine: Engine) -> gr.Blocks:
    """Build the page over an engine; nothing is started."""
    parts = len(engine.part_names)
    kinds = [k for k in text.OCCLUDERS if k != "person" or engine.cutouts.get("person")]
    with gr.Blocks(title=text.TITLE, delete_cache=(CLEAN_EVERY_S, KEEP_FILES_S), analytics_enabled=False) as demo:
        session = gr.State(Session(), time_to_live=KEEP_FILES_S)
        gr.HTML(handlers.header(engine), elem_id="header")

        with gr.Row(elem_id="work", equal_height=False):
            with gr.Column(scale=4, min_width=320, elem_id="probe-side"):
                gr.Markdown(f"## {text.STEP_EXAMPLES}", visible=bool(engine.examples))
                example_strip = gr.Gallery(
                    label=text.EXAMPLES_LABEL,
                    show_label=False,
                    columns=min(8, max(4, len(engine.examples))),
                    rows=1,
                    height="auto",
                    object_fit="contain",
                    allow_preview=False,
                    interactive=False,
                    buttons=[],
                    elem_id="examples",
                    visible=bool(engine.examples),
                )
                gr.Markdown(f"## {text.STEP_PROBE}")
                canvas = gr.ImageEditor(
                    label=text.CANVAS_LABEL,
                    show_label=False,
                    image_mode="RGBA",
                    type="numpy",
                    format="png",
                    sources=["upload", "clipboard", "webcam"],
                    transforms=["crop"],
                    brush=gr.Brush(default_size=36, colors=["#e8447a"], color_mode="fixed"),
                    eraser=gr.Eraser(default_size=36),
                    layers=False,
                    fixed_canvas=False,
                    canvas_size=(480, 480),
                    height=520,
                    buttons=[],
                    interactive=True,
                    elem_id="canvas",
                )
                probe_line = gr.HTML(elem_id="probe-line")
                with gr.Row(elem_classes="tight"):
                    search = gr.Button(text.SEARCH, variant="primary", elem_id="search", size="md", min_width=130)
                    upload = gr.UploadButton(
                        text.UPLOAD, file_types=["image"], type="filepath", elem_id="upload", size="md", min_width=130
                    )
                with gr.Row(elem_classes="tight"):
                    undo = gr.Button(text.UNDO, elem_id="undo", size="sm", min_width=90)
                    back = gr.Button(text.BACK, elem_id="back", size="sm", min_width=130)
                gr.Markdown(f"## {text.STEP_HIDE}")
                with gr.Row(elem_classes="occluders"):
                    occluders = {
                        kind: gr.Button(text.OCCLUDERS[kind], size="sm", elem_id=f"hide-{kind}", min_width=92)
                        for kind in kinds
                    }
                fill = gr.Radio(
                    [(words, name) for name, words in text.FILLS.items()],
                    value="mean_grey",
                    label=text.FILL,
                    elem_id="fill",
                )
                with gr.Accordion(text.CROP_HEADING, open=False, elem_id="crop-box"):
                    with gr.Row(elem_classes="tight"):
                        crop_fields = [
                            gr.Number(label=name, precision=0, minimum=0, min_width=60, elem_id=f"crop-{name}")
                            for name in text.CROP_FIELDS
                        ]
                    crop = gr.Button(text.CROP, size="sm", elem_id="crop")

            with gr.Column(scale=7, min_width=320, elem_id="result-side"):
                gr.Markdown(f"## {text.STEP_RANKING}")
                status = gr.HTML(elem_id="status")
                strip = gr.Gallery(
                    label=text.STRIP_LABEL,
                    show_label=False,
                    columns=5,
                    height="auto",
                    object_fit="contain",
                    allow_preview=False,
                    interactive=False,
                    buttons=[],
                    elem_id="strip",
                )
                with gr.Accordion(text.SETTINGS, open=True, elem_id="settings"):
                    with gr.Row():
                        top_k = gr.Slider(
                            1, min(50, len(engine.gallery)), value=min(10, len(engine.gallery)), step=1,
                            label=text.TOP_K, elem_id="top-k", min_width=200,
                        )  # fmt: skip
                        adaptive = gr.Checkbox(
                            engine.default_scoring.adaptive,
                            label=text.ADAPTIVE,
                            info=text.ADAPTIVE_INFO,
                            visible=parts > 0,
                            elem_id="adaptive",
                            min_width=200,
                        )
                        same_camera = gr.Checkbox(
                            False, label=text.SAME_CAMERA, info=text.SAME_CAMERA_INFO,
                            elem_id="same-camera", min_width=200,
                        )  # fmt: skip
                    terms = gr.CheckboxGroup(
                        list(engine.term_names),
                        value=list(engine.term_names),
                        label=text.SWITCHES,
                        info=text.SWITCHES_INFO,
                        visible=parts > 0,
                        elem_id="terms",
                    )

        with gr.Column(elem_id="why-side"):
            with gr.Row(equal_height=True):
                gr.Markdown(f"## {text.STEP_WHY}")
                use_match = gr.Button(text.USE_AS_PROBE, size="sm", elem_id="use-match", scale=0, min_width=200)
            why = gr.HTML(elem_id="why")
        if engine.card:
            with gr.Accordion(text.STEP_ABOUT, open=False, elem_id="about"):
                gr.Markdown(engine.card)

        settings_inputs = [top_k, adaptive, same_camera, terms]
        ranking = [session, probe_line, status, strip]
        everything = [*ranking, canvas]
        queue = {"concurrency_id": MODEL_QUEUE, "concurrency_limit": 1, "api_visibility": "private"}

        def show_ranking(now: Session) -> list:
            shown = gr.Gallery(value=handlers.strip(engine, now), selected_index=None)
            return [now, handlers.probe_line(now), handlers.status(now), shown]

        def show_all(now: Session) -> list:
            return [*show_ranking(now), {"background": handlers.canvas_image(now), "layers": [], "composite": None}]

        def show_why(now: Session) -> str:
            return handlers.why(engine, now)

        def on(listen: Callable, action: Callable, inputs: list, show: Callable, outputs: list) -> None:
            """Wire one click: handler, what it shows, then the explanation of the list's chosen or first match."""
            step = listen(_guard(action, show, len(outputs)), [session, *inputs], outputs, **queue)
            step.success(_guard(lambda now: now, show_why, 1), [session], why, show_progress="minimal", **queue)

        def ranked(verb: Callable, extra: int) -> Callable:
            """Bind the engine, and read the first `extra` inputs as the verb's own, the others as settings."""

            def act(now: Session, *values) -> Session:
                return verb(engine, now, _settings(*values[extra:]), *values[:extra])

            return act

        first = functools.cache(lambda: handlers.open_example(engine, Session(), _default_settings(engine), 0))

        def opening(now: Session) -> Session:
            return first() if engine.examples else now

        def show_opening(now: Session) -> list:
            ready = show_all(now) if now.matches else [now, handlers.probe_line(now), "", [], None]
            return [*ready, handlers.examples(engine)]

        on(demo.load, opening, [], show_opening, [*everything, example_strip])
        on(search.click, ranked(handlers.search_canvas, 2), [canvas, fill, *settings_inputs], show_all, everything)
        on(upload.upload, ranked(handlers.open_picture, 1), [upload, *settings_inputs], show_all, everything)
        on(undo.click, ranked(handlers.undo, 0), settings_inputs, show_all, everything)
        on(back.click, ranked(handlers.back, 0), settings_inputs, show_all, everything)
        on(crop.click, ranked(handlers.crop, 4), [*crop_fields, *settings_inputs], show_all, everything)
        on(use_match.click, ranked(handlers.open_match, 0), settings_inputs, show_all, everything)
        for kind, button in occluders.items():
            on(button.click, ranked(_hider(kind), 1), [fill, *settings_inputs], show_all, everything)
        for listen in (top_k.release, adaptive.input, same_camera.input, terms.input):
            on(listen, ranked(handlers.rank_again, 0), settings_inputs, show_ranking, ranking)

        def click_example(now: Session, k, a, c, t, event: gr.SelectData) -> list:
            action = ranked(handlers.open_example, 1)
            return _guard(action, show_all, len(everything))(now, event.index, k, a, c, t)

        def click_match(now: Session, event: gr.SelectData) -> list:
            def show(chosen: Session) -> list:
                return [chosen, handlers.why(engine, chosen)]

            return _guard(lambda s: handlers.choose(engine, s, event.index), show, 2)(now)

        step = example_strip.select(click_example, [session, *settings_inputs], everything, **queue)
        step.success(_guard(lambda now: now, show_why, 1), [session], why, show_progress="minimal", **queue)
        strip.select(click_match, [session], [session, why], **queue)
    return demo


def _settings(top_k: float, adaptive: bool, same_camera: bool, terms: list[str]) -> Settings:
    return Settings(int(top_k), bool(adaptive), bool(same_camera), tuple(terms))


def _default_settings(engine: Engine) -> Settings:
    return Settings(min(10, len(engine.gallery)), engine.default_scoring.adaptive)


def _hider(kind: str) -> Callable:
    return lambda engine, now, settings, fill: handlers.hide(engine, now, settings, kind, fill)


def _guard(action: Callable, show: Callable, outputs: int) -> Callable:
    """Run an action; a `ReidError` becomes a warning, and nothing on the page changes."""

    def run(*inputs):
        try:
            return show(action(*inputs))
        except ReidError as error:
            gr.Warning(str(error))
        except Exception:
            _log.exception("A click failed")
            gr.Warning(text.BUSY_FAILURE)
        return gr.skip() if outputs == 1 else [gr.skip()] * outputs

    return run
