"""Settings of what is hidden by chance, a crop by numbers, the changes as text, and a camera: beside the stage."""

from dataclasses import dataclass

import gradio as gr

from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import probe as handlers
from reid_demo.serving.page.handlers.session import Session, Settings
from reid_demo.serving.page.wiring import Detail, Wiring


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
class ChangePanel:
    """All that changes the probe by numbers."""

    dials: tuple[gr.Slider, gr.Number]  # coverage and seed of what is random
    crop: CropPanel
    recipe: RecipePanel


def build_changes() -> ChangePanel:
    """Lay out the dials, the crop and the recipe."""
    with gr.Accordion(text.BLOCK_HEADING, open=False, elem_id="block-box"):
        coverage = gr.Slider(5, 80, value=25, step=5, label=text.COVERAGE, elem_id="coverage")
        seed = gr.Number(label=text.SEED, precision=0, value=None, elem_id="seed")
    return ChangePanel((coverage, seed), _build_crop(), _build_recipe())


def _build_crop() -> CropPanel:
    with gr.Accordion(text.CROP_HEADING, open=False, elem_id="crop-box"):
        with gr.Row(elem_classes="tight"):
            box = [
                gr.Number(label=name, precision=0, minimum=0, min_width=100, elem_id=f"crop-{name}")
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


def build_camera() -> gr.Image:
    """Lay out a camera whose picture becomes the probe."""
    with gr.Accordion(text.CAMERA_HEADING, open=False, elem_id="camera-box"):
        return gr.Image(
            label=text.CAMERA_HEADING,
            show_label=False,
            sources=["webcam"],
            type="filepath",
            format="png",
            webcam_options=gr.WebcamOptions(mirror=False),
            elem_id="camera",
        )


def wire(panel: ChangePanel, wiring: Wiring) -> None:
    """Connect the crop and the recipe."""

    def crop(engine, now: Session, settings: Settings, *box) -> Session:
        return handlers.crop(engine, now, settings, handlers.PixelBox(*box))

    wiring.search(panel.crop.crop.click, crop, panel.crop.box)
    wiring.search(panel.recipe.replay.click, handlers.replay, [panel.recipe.recipe])
    wiring.search(panel.recipe.load.upload, handlers.replay_file, [panel.recipe.load])


def wire_pictures(upload: gr.UploadButton, camera: gr.Image, wiring: Wiring) -> None:
    """Connect what brings a picture of the visitor's own."""

    def newest(engine, now: Session, settings: Settings, picture: str | None) -> Session:
        return now if picture is None else handlers.open_picture(engine, now, settings, picture)

    only = "(visit, picture, ...settings) => [visit, window.ifAwaited(picture), ...settings]"
    wiring.search(upload.upload, newest, [upload], js=only, trigger_mode="multiple")
    wiring.search(camera.input, handlers.open_picture, [camera])
