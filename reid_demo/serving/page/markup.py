"""The page's own templates, which may use those of `drawing`."""

from pathlib import Path

from reid_demo.drawing.figures import Templates
from reid_demo.serving.page import text

render = Templates(Path(__file__).parent / "templates", text=text).render
