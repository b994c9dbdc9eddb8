"""The look of the page: theme, style sheet and head, as `launch()` takes them."""

from pathlib import Path

import gradio as gr
from markupsafe import Markup

from reid_demo.serving.page import text
from reid_demo.serving.page.markup import render


def launch_options() -> dict:
    """Return the arguments of `launch()` that belong to the look of the page."""
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
    css, script = _joined("page.css", "stage.css"), _joined("answers.js", "page.js")
    head = render("head.html.jinja", description=text.DESCRIPTION, script=Markup(script))
    spoken = gr.I18n(en={"common.complete": text.STATUS_DONE})  # Gradio announces it and has no word for it
    return {"theme": theme, "css": css, "head": str(head), "i18n": spoken}


def _joined(*names: str) -> str:
    return "\n".join((Path(__file__).parent / name).read_text(encoding="utf-8") for name in names)
