"""The API: named, typed endpoints beside the page, for programs and, where `mcp` is installed, as MCP tools."""

import functools
import importlib.util
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import gradio as gr
from fastapi import Request
from fastapi.responses import JSONResponse
from gradio import processing_utils, utils
from gradio.data_classes import FileData

from reid_demo.engine import Engine
from reid_demo.errors import ReidError
from reid_demo.serving import answers
from reid_demo.serving import api_calls as handlers

QUEUE = {"concurrency_id": "model", "concurrency_limit": 1}  # the page's own: one queue asks the network
NO_FETCH = "image: this server fetches no address. Upload the file, or send a data URL."
NOT_UPLOADED = f"image: {handlers.NOT_UPLOADED}"
Weighing = Literal["default", "cosine", "adaptive", "part_aware"]


def add_api(engine: Engine) -> None:
    """Add the endpoints to the `gr.Blocks` that is being built."""
    refuse_addresses()
    refuse_files_of_the_server()
    uploads = Path(utils.get_upload_folder())

    def search(
        image: FileData, top_k: int = 10, weighing: Weighing = "default", parts: list[str] | None = None
    ) -> answers.Ranking:
        """Rank the gallery's images by their similarity to a picture of one person: candidates to verify.

        Args:
            image: picture of one person: an uploaded file or a data URL (data:image/jpeg;base64,...).
            top_k: how many matches, 1 to 1000.
            weighing: how parts are weighed; default is the weights' own way.
            parts: names or numbers of the parts that count, and global; none named is all.
        """
        return handlers.search(engine, uploads, image, top_k, weighing, parts)

    def explain(
        image: FileData, rank: int = 1, weighing: Weighing = "default", parts: list[str] | None = None
    ) -> answers.Why:
        """Split the similarity of a picture and one of its matches into what each part adds.

        Args:
            image: picture of one person: an uploaded file or a data URL (data:image/jpeg;base64,...).
            rank: which match, 1 is the best.
            weighing: how parts are weighed; default is the weights' own way.
            parts: names or numbers of the parts that count, and global; none named is all.
        """
        return handlers.explain(engine, uploads, image, rank, weighing, parts)

    def what_if(
        image: FileData,
        recipe: list[dict],
        top_k: int = 10,
        weighing: Weighing = "default",
        parts: list[str] | None = None,
    ) -> answers.Change:
        """Hide or crop parts of a picture, search again, and say which matches moved.

        Args:
            image: picture of one person: an uploaded file or a data URL (data:image/jpeg;base64,...).
            recipe: changes in order, such as [{"kind": "lower_half", "fill": "mean_grey"}].
            top_k: how many matches, 1 to 1000.
            weighing: how parts are weighed; default is the weights' own way.
            parts: names or numbers of the parts that count, and global; none named is all.
        """
        return handlers.what_if(engine, uploads, image, recipe, top_k, weighing, parts)

    def sweep(
        image: FileData,
        rank: int = 1,
        size: float = 0.4,
        stride: float = 0.14,
        fill: Literal["mean_grey", "blur", "noise", "black", "inpaint"] = "mean_grey",
        weighing: Weighing = "default",
        parts: list[str] | None = None,
    ) -> answers.SweepMap:
        """Hide one place of a picture after another and say what each does to a match.

        Args:
            image: picture of one person: an uploaded file or a data URL (data:image/jpeg;base64,...).
            rank: which match to watch, 1 is the best.
            size: side of the window, a fraction of the width, 0.1 to 1.
            stride: step, a fraction of the width, 0.05 to 1.
            fill: what the hidden place shows.
            weighing: how parts are weighed; default is the weights' own way.
            parts: names or numbers of the parts that count, and global; none named is all.
        """
        return handlers.sweep(engine, uploads, image, rank, size, stride, fill, weighing, parts)

    def gallery_info() -> answers.GalleryInfo:
        """Say what is searched, and by which network."""
        return answers.gallery_info(engine)

    for endpoint in (search, explain, what_if, sweep, gallery_info):
        gr.api(_told(endpoint), api_name=endpoint.__name__, **QUEUE)


def has_mcp() -> bool:
    """Say whether the page can also be an MCP server: the extra `gradio[mcp]` is installed."""
    return importlib.util.find_spec("mcp") is not None


def app_options() -> dict:
    """Give `app_kwargs` for `launch`: a field that is missing or unknown is HTTP 422 with its name, not a 500."""

    async def wrong_field(request: Request, error: Exception) -> JSONResponse:
        if "/call/v2/" not in request.url.path:
            raise error
        if isinstance(error, KeyError):
            return JSONResponse({"detail": f"There is no endpoint {error}."}, 404)
        return JSONResponse({"detail": str(error).partition(" Please click")[0]}, 422)

    return {"exception_handlers": {TypeError: wrong_field, KeyError: wrong_field}}


def refuse_addresses() -> None:
    """Let no component fetch what a visitor names: Gradio downloads a file whose path is an address."""

    async def refuse(url: str, cache_dir: str) -> str:
        raise gr.Error(NO_FETCH, print_exception=False)

    processing_utils.async_ssrf_protected_download = refuse


def refuse_files_of_the_server() -> None:
    """Say what is wrong with a file that was not uploaded; Gradio refuses it as well, but tells the caller nothing."""
    move = processing_utils.async_move_files_to_cache
    if move.__module__ == __name__:
        return

    async def told(*values, check_in_upload_folder: bool = False, **named):
        try:
            return await move(*values, check_in_upload_folder=check_in_upload_folder, **named)
        except gr.Error:  # has said it
            raise
        except (ValueError, TypeError, OSError) as error:  # not there, no file of an upload, no path at all
            if not check_in_upload_folder:
                raise  # a file that the page itself shows
            raise gr.Error(NOT_UPLOADED, print_exception=False) from error

    processing_utils.async_move_files_to_cache = told


def _told(endpoint: Callable) -> Callable:
    """Tell a caller what was wrong in one sentence."""

    @functools.wraps(endpoint)
    def run(*values):
        try:
            return endpoint(*values)
        except ReidError as error:
            raise gr.Error(str(error), print_exception=False) from error

    run.__annotations__ = typing.get_type_hints(endpoint)
    return run
