"""The left side: examples, the probe on its canvas, and all that hides or crops."""

from dataclasses import dataclass

import gradio as gr

from reid_demo.engine import Engine
from reid_demo.serving import gradio_patches
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import probe as handlers
from reid_demo.serving.page.wiring import Wiring

BRUSH_PX = 36  # on the enlarged canvas


@dataclass(frozen=True)
class ProbePanel:
    """Components that others read or draw."""

    canvas: gr.ImageEditor
    line: gr.HTML
    recipe: gr.Textbox
    recipe_file: gr.HTML
    keep: gr.Checkbox
    buttons: dict
    fields: dict


def build_examples(engine: Engine) -> gr.Gallery:
    """Lay out the strip of shipped probes."""
    with gr.Column(elem_id="example-side", visible=bool(engine.examples)):
        gr.Markdown(f"## {text.STEP_EXAMPLES}")
        return gr.Gallery(
            label=text.EXAMPLES_LABEL,
            show_label=False,
            columns=max(1, len(engine.examples)),
            rows=1,
            height="auto",
            object_fit="contain",
            allow_preview=False,
            interactive=False,
            buttons=[],
            elem_id="examples",
        )


def build_probe(engine: Engine) -> tuple[gr.ImageEditor, gr.HTML, dict]:
    """Lay out the canvas with its buttons."""
    with gr.Column(elem_id="probe-side"):
        gr.Markdown(f"## {text.STEP_PROBE}")
        canvas = gr.ImageEditor(
            label=text.CANVAS_LABEL,
            show_label=False,
            image_mode="RGBA",
            type="numpy",
            format="png",
            sources=["upload", "clipboard", "webcam"],
            transforms=["crop"],
            brush=gr.Brush(default_size=BRUSH_PX, colors=["#e8447a"], color_mode="fixed"),
            eraser=gr.Eraser(default_size=BRUSH_PX),
            layers=False,
            fixed_canvas=False,
            canvas_size=(480, 480),
            height=540,
            buttons=[],
            interactive=True,
            elem_id="canvas",
        )
        gradio_patches.forgive_an_early_click(canvas)
        line = gr.HTML(elem_id="probe-line")
        with gr.Row(elem_classes="tight"):
            search = gr.Button(text.SEARCH, variant="primary", elem_id="search", size="md", min_width=130)
            upload = gr.UploadButton(
                text.UPLOAD, file_types=["image"], type="filepath", elem_id="upload", size="md", min_width=130
            )
        with gr.Row(elem_classes="tight"):
            undo = gr.Button(text.UNDO, elem_id="undo", size="sm", min_width=90)
            back = gr.Button(text.BACK, elem_id="back", size="sm", min_width=130)
        gr.Markdown(text.CANVAS_HINT, elem_classes="intro")
    return canvas, line, {"search": search, "upload": upload, "undo": undo, "back": back}


def build_hide(engine: Engine, canvas: gr.ImageEditor, line: gr.HTML, buttons: dict) -> ProbePanel:
    """Lay out the occluders, the fill, the crop and the recipe."""
    kinds = [k for k in text.OCCLUDERS if k != "person" or engine.cutouts.get("person")]
    fields = {}
    with gr.Column(elem_id="hide-side"):
        gr.Markdown(f"## {text.STEP_HIDE}")
        with gr.Row(elem_classes="occluders"):
            for kind in kinds:
                buttons[kind] = gr.Button(text.OCCLUDERS[kind], size="sm", elem_id=f"hide-{kind}", min_width=92)
        fields["fill"] = gr.Radio(
            [(words, name) for name, words in text.FILLS.items()],
            value="mean_grey",
            label=text.FILL,
            elem_id="fill",
        )
        with gr.Accordion(text.BLOCK_HEADING, open=False, elem_id="block-box"):
            with gr.Row(elem_classes="tight"):
                fields["coverage"] = gr.Slider(
                    5, 80, value=25, step=5, label=text.COVERAGE, elem_id="coverage", min_width=150
                )
                fields["seed"] = gr.Number(
                    label=text.SEED,
                    precision=0,
                    minimum=0,
                    maximum=2**31 - 1,
                    value=None,
                    min_width=150,
                    elem_id="seed",
                )
        with gr.Accordion(text.CROP_HEADING, open=False, elem_id="crop-box"):
            with gr.Row(elem_classes="tight"):
                fields["crop"] = [
                    gr.Number(label=name, precision=0, minimum=0, min_width=60, elem_id=f"crop-{name}")
                    for name in text.CROP_FIELDS
                ]
            buttons["crop"] = gr.Button(text.CROP, size="sm", elem_id="crop")
        with gr.Accordion(text.RECIPE_HEADING, open=False, elem_id="recipe-side"):
            keep = gr.Checkbox(False, label=text.KEEP_RECIPE, elem_id="keep-recipe")
            recipe = gr.Textbox(
                label=text.RECIPE_BOX,
                info=text.RECIPE_INFO,
                lines=4,
                max_lines=10,
                max_length=500_000,
                buttons=["copy"],
                elem_id="recipe",
            )
            with gr.Row(elem_classes="tight"):
                buttons["replay"] = gr.Button(text.REPLAY, size="sm", elem_id="replay", min_width=120)
                buttons["recipe_file"] = gr.UploadButton(
                    text.RECIPE_FILE,
                    file_types=[".json"],
                    type="binary",
                    size="sm",
                    elem_id="recipe-file",
                    min_width=120,
                )
            saved = gr.HTML(elem_id="recipe-save")
    return ProbePanel(canvas, line, recipe, saved, keep, buttons, fields)


def wire(panel: ProbePanel, examples: gr.Gallery, wiring: Wiring) -> None:
    """Connect the clicks of the left side."""
    wiring.detail(panel.recipe, handlers.recipe_text, on_choice=False)
    wiring.detail(panel.recipe_file, handlers.recipe_link, on_choice=False)
    buttons, fields, canvas = panel.buttons, panel.fields, panel.canvas
    fill = fields["fill"]
    wiring.search(buttons["search"].click, handlers.search_canvas, [canvas, fill])
    wiring.search(buttons["upload"].upload, handlers.open_picture, [buttons["upload"]])
    wiring.search(canvas.upload, handlers.search_canvas, [canvas, fill])
    wiring.search(buttons["undo"].click, handlers.undo, [canvas])
    wiring.search(buttons["back"].click, handlers.back)
    wiring.search(buttons["crop"].click, handlers.crop, [*fields["crop"], canvas, fill])
    wiring.search(buttons["replay"].click, handlers.replay, [panel.recipe])
    wiring.search(buttons["recipe_file"].upload, handlers.replay_file, [buttons["recipe_file"]])
    for kind in text.OCCLUDERS:
        if kind in buttons:
            inputs = [fill, canvas, fields["coverage"], fields["seed"]]
            wiring.search(buttons[kind].click, _hider(kind), inputs)


def _hider(kind: str):
    def hide(engine, now, settings, *values):
        return handlers.hide(engine, now, settings, kind, *values)

    return hide
