"""The parts of the page: components and their wiring. With `view` and `wiring` the only modules that import Gradio."""
