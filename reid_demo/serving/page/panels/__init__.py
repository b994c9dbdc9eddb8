"""The parts of the page: components and their wiring. Beside them `view`, `wiring` and `theme` import Gradio."""
