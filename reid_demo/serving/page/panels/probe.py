"""The left side: examples, the probe on its canvas, and all that hides or crops."""

from dataclasses import dataclass

import gradio as gr

from reid_demo.engine import Engine
from reid_demo.serving import gradio_patches
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import probe as handlers
from reid_demo.serving.page.handlers.session import Session, Settings
from reid_demo.serving.page.wiring import Detail, Wiring

BRUSH_PX = 36  # on the enlarged canvas


@dataclass(frozen=True)
class CanvasPanel:
    """The canvas and the buttons that go with it."""

    canvas: gr.ImageEditor
    line: gr.HTML
    search: gr.Button
    upload: gr.UploadButton
    undo: gr.Button
    back: gr.Button


@dataclass(frozen=True)
class CropPanel:
    """A crop by numbers."""

    box: list[gr.Number]
    crop: gr.Button


@dataclass(frozen=True)
class RecipePanel:
    """The changes as text and as a file."""

    keep: gr.Checkbox
    recipe: gr.Textbox
    replay: gr.Button
    load: gr.UploadButton
    saved: gr.HTML

    @property
    def details(self) -> tuple[Detail, ...]:
        """What is drawn after every search."""
        return (
            Detail(self.recipe, lambda engine, now: handlers.recipe_text(now), on_choice=False),
            Detail(self.saved, lambda engine, now: handlers.recipe_link(now), on_choice=False),
        )


@dataclass(frozen=True)
class HidePanel:
    """All that hides or crops a part."""

    occluders: dict[str, gr.Button]  # of `occlude.KINDS`
    fill: gr.Radio
    coverage: gr.Slider
    seed: gr.Number
    crop: CropPanel
    recipe: RecipePanel


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


def build_canvas() -> CanvasPanel:
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
    return CanvasPanel(canvas, line, search, upload, undo, back)


def build_hide(engine: Engine) -> HidePanel:
    """Lay out the occluders, the fill, the crop and the recipe."""
    kinds = [k for k in text.OCCLUDERS if k != "person" or engine.cutouts.get("person")]
    occluders = {}
    with gr.Column(elem_id="hide-side"):
        gr.Markdown(f"## {text.STEP_HIDE}")
        with gr.Row(elem_classes="occluders"):
            for kind in kinds:
                occluders[kind] = gr.Button(text.OCCLUDERS[kind], size="sm", elem_id=f"hide-{kind}", min_width=92)
        fill = gr.Radio(
            [(words, name) for name, words in text.FILLS.items()],
            value="mean_grey",
            label=text.FILL,
            elem_id="fill",
        )
        with gr.Accordion(text.BLOCK_HEADING, open=False, elem_id="block-box"):
            with gr.Row(elem_classes="tight"):
                coverage = gr.Slider(5, 80, value=25, step=5, label=text.COVERAGE, elem_id="coverage", min_width=150)
                seed = gr.Number(
                    label=text.SEED,
                    precision=0,
                    minimum=0,
                    maximum=2**31 - 1,
                    value=None,
                    min_width=150,
                    elem_id="seed",
                )
        crop = _build_crop()
        recipe = _build_recipe()
    return HidePanel(occluders, fill, coverage, seed, crop, recipe)


def _build_crop() -> CropPanel:
    with gr.Accordion(text.CROP_HEADING, open=False, elem_id="crop-box"):
        with gr.Row(elem_classes="tight"):
            box = [
                gr.Number(label=name, precision=0, minimum=0, min_width=60, elem_id=f"crop-{name}")
                for name in text.CROP_FIELDS
            ]
        crop = gr.Button(text.CROP, size="sm", elem_id="crop")
    return CropPanel(box, crop)


def _build_recipe() -> RecipePanel:
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
            replay = gr.Button(text.REPLAY, size="sm", elem_id="replay", min_width=120)
            load = gr.UploadButton(
                text.RECIPE_FILE,
                file_types=[".json"],
                type="binary",
                size="sm",
                elem_id="recipe-file",
                min_width=120,
            )
        saved = gr.HTML(elem_id="recipe-save")
    return RecipePanel(keep, recipe, replay, load, saved)


def wire(canvas: CanvasPanel, hide: HidePanel, wiring: Wiring) -> None:
    """Connect the clicks of the left side."""

    def search(engine: Engine, now: Session, settings: Settings, drawn, fill: str) -> Session:
        return handlers.search_canvas(engine, now, settings, handlers.Drawn(drawn, fill))

    def crop(engine: Engine, now: Session, settings: Settings, *values) -> Session:
        *box, drawn, fill = values
        return handlers.crop(engine, now, settings, handlers.PixelBox(*box), handlers.Drawn(drawn, fill))

    drawing = [canvas.canvas, hide.fill]
    wiring.search(canvas.search.click, search, drawing)
    wiring.search(canvas.upload.upload, handlers.open_picture, [canvas.upload])
    wiring.search(canvas.canvas.upload, search, drawing)
    wiring.search(canvas.undo.click, handlers.undo, [canvas.canvas])
    wiring.search(canvas.back.click, handlers.back)
    wiring.search(hide.crop.crop.click, crop, [*hide.crop.box, *drawing])
    wiring.search(hide.recipe.replay.click, handlers.replay, [hide.recipe.recipe])
    wiring.search(hide.recipe.load.upload, handlers.replay_file, [hide.recipe.load])
    for kind, button in hide.occluders.items():
        wiring.search(button.click, _hider(kind), [canvas.canvas, hide.fill, hide.coverage, hide.seed])


def _hider(kind: str):
    def hide(engine: Engine, now: Session, settings: Settings, drawn, *values) -> Session:
        return handlers.hide(engine, now, settings, handlers.Hiding(kind, *values), drawn)

    return hide
