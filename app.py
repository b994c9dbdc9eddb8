"""Start the demo: `python app.py`."""

import argparse
import logging
import os

from reid_demo.model import zerogpu
from reid_demo.serving.startup import without_type_stubs

zerogpu.prepare()  # before torch, which the next lines import
with without_type_stubs():
    import gradio  # noqa: F401

from reid_demo.engine import Engine  # noqa: E402
from reid_demo.errors import ReidError  # noqa: E402
from reid_demo.search.bundled import gallery_of_photos  # noqa: E402
from reid_demo.serving.api import app_options, has_mcp  # noqa: E402
from reid_demo.serving.page.view import build_ui, launch_options  # noqa: E402
from reid_demo.serving.visitors import MAX_UPLOAD  # noqa: E402

MAX_WAITING = 100  # requests in the queue; more are told to try again


def create_demo(engine: Engine):
    """Build the page over an engine; nothing is started."""
    return build_ui(engine)


def serve(engine: Engine, host: str | None = None, port: int | None = None, share: bool = False, **more):
    """Serve page and API until the process ends; give the `gr.Blocks`, at once with `prevent_thread_lock=True`."""
    demo = create_demo(engine)
    demo.queue(max_size=MAX_WAITING)
    demo.launch(
        server_name=host,
        server_port=port,
        share=share,
        max_file_size=MAX_UPLOAD,
        allowed_paths=[],
        blocked_paths=[str(engine.gallery.folder)],
        strict_cors=True,
        footer_links=["api", "gradio", "settings"],
        mcp_server=has_mcp(),
        app_kwargs=app_options(),
        **launch_options(),
        **more,
    )
    return demo


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the options; each has an environment variable that it overrides."""
    parser = argparse.ArgumentParser(description="Person re-identification: hide a part, search again, see why.")

    def option(name: str, help_text: str, **more) -> None:
        variable = f"REID_DEMO_{name.upper()}"
        default = os.environ.get(variable) or None
        parser.add_argument(f"--{name}", default=default, help=f"{help_text} (or {variable})", **more)

    option("weights", "folder of weights, or the name of shipped ones")
    option("gallery", "gallery made by `python -m reid_demo index`, or a folder of pictures, which is described first")
    option("device", "cpu, cuda or cuda:N; the best one by default")
    option("host", "address to listen on; Gradio's own default otherwise")
    option("port", "port to listen on; Gradio's own default otherwise", type=_port)
    share = os.environ.get("REID_DEMO_SHARE", "").lower() in ("1", "true", "yes")
    parser.add_argument("--share", action="store_true", default=share, help="public link (or REID_DEMO_SHARE=1)")
    return parser.parse_args(arguments)


def _port(value: str) -> int:
    """Read a port; argparse turns the error into one sentence."""
    if not value.isdigit() or not 0 < int(value) < 65536:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65535 (flag or REID_DEMO_PORT), not {value!r}")
    return int(value)


def main(arguments: list[str] | None = None) -> None:
    """Load the engine and serve the page."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    options = parse_arguments(arguments)
    try:
        gallery = gallery_of_photos(options.gallery, options.weights, options.device)
        engine = Engine.load(options.weights, gallery, options.device)
    except ReidError as error:
        raise SystemExit(f"error: {error}") from error
    serve(engine, options.host, options.port, options.share)


if __name__ == "__main__":
    main()
