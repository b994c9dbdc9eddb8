"""The API: named, typed endpoints beside the page, for programs and, where `mcp` is installed, as MCP tools."""

import functools
import logging
import time
import typing
from collections.abc import Callable
from pathlib import Path

import gradio as gr
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from gradio import utils
from gradio.context import LocalContext
from gradio.data_classes import FileData
from gradio.route_utils import FnIndexInferError
from starlette.middleware import Middleware

from reid_demo.engine import Engine
from reid_demo.errors import ReidError
from reid_demo.serving import answers, api_calls, budget, gradio_patches, mcp_calls
from reid_demo.serving.api_calls import Fill, Weighing
from reid_demo.serving.border import Border, Rules
from reid_demo.serving.current import Current
from reid_demo.serving.visitors import PrivateGalleries

# The page's own queues. Clicks and calls of several visitors run side by side and take turns at the network.
QUEUE = {"concurrency_id": "model", "concurrency_limit": gradio_patches.AT_ONCE["model"]}
LONG = {"concurrency_id": "long", "concurrency_limit": gradio_patches.AT_ONCE["long"]}  # runs of many steps
UNHEARD_S = 5  # after which nobody is believed to fetch what a call has said so far
NAME_LENGTH = 60  # characters of a name that is repeated to who sent it
FAILURE = "Something went wrong on the server. Try once more; its log says what it was."
_log = logging.getLogger(__name__)


def add_api(current: Current) -> None:
    """Add the endpoints to the `gr.Blocks` that is being built."""
    offered = Endpoints(current, Path(utils.get_upload_folder()))
    for endpoint in (offered.search, offered.explain, offered.what_if, offered.sweep, offered.gallery_info):
        queue = LONG if endpoint == offered.sweep else QUEUE
        gr.api(_told(endpoint), api_name=endpoint.__name__, **queue)


class Endpoints:
    """What the API offers. Gradio reads names, types, defaults and docstrings of these methods for its own schema."""

    def __init__(self, current: Current, uploads: Path) -> None:
        """Answer with the engine that `current` has; `uploads` is the one folder whose files a call may name."""
        self._current, self._uploads = current, uploads

    def search(
        self, image: FileData, top_k: int = 10, weighing: Weighing = "default", parts: list[str] | None = None
    ) -> answers.Ranking:
        """Rank the gallery's images by their similarity to a picture of one person: candidates to verify.

        Args:
            image: picture of one person: an uploaded file or a data URL (data:image/jpeg;base64,...).
            top_k: how many matches, 1 to 1000.
            weighing: how parts are weighed; default is the gallery's own way.
            parts: names or numbers of the parts that count, and global; none named is all.
        """
        engine = self._current.engine
        asked = self._read(engine, api_calls.Search, image=image, top_k=top_k, weighing=weighing, parts=parts)
        return answers.search(engine, asked.image, asked.top_k, asked.scoring(engine))

    def explain(
        self, image: FileData, rank: int = 1, weighing: Weighing = "default", parts: list[str] | None = None
    ) -> answers.Why:
        """Split the similarity of a picture and one of its matches into what each part adds.

        Args:
            image: picture of one person: an uploaded file or a data URL (data:image/jpeg;base64,...).
            rank: which match, 1 is the best.
            weighing: how parts are weighed; default is the gallery's own way.
            parts: names or numbers of the parts that count, and global; none named is all.
        """
        engine = self._current.engine
        asked = self._read(engine, api_calls.Explain, image=image, rank=rank, weighing=weighing, parts=parts)
        return answers.explain(engine, asked.image, asked.rank, asked.scoring(engine))[0]

    def what_if(
        self,
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
            weighing: how parts are weighed; default is the gallery's own way.
            parts: names or numbers of the parts that count, and global; none named is all.
        """
        fields = {"image": image, "recipe": recipe, "top_k": top_k, "weighing": weighing, "parts": parts}
        engine = self._current.engine
        asked = self._read(engine, api_calls.WhatIf, **fields)
        return answers.what_if(engine, asked.image, asked.recipe, asked.top_k, asked.scoring(engine))

    def sweep(
        self,
        image: FileData,
        rank: int = 1,
        size: float = 0.4,
        stride: float = 0.14,
        fill: Fill = "mean_grey",
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
            weighing: how parts are weighed; default is the gallery's own way.
            parts: names or numbers of the parts that count, and global; none named is all.
        """
        window = {"size": size, "stride": stride, "fill": fill}
        engine = self._current.engine
        asked = self._read(engine, api_calls.Sweep, image=image, rank=rank, **window, weighing=weighing, parts=parts)
        api_calls.check_windows(asked)
        ends, caller = time.monotonic() + budget.SWEEP_S, _Caller()

        def go_on(done: int, total: int) -> bool:
            return caller.waits() and time.monotonic() < ends

        how = {"window": asked.window, "scoring": asked.scoring(engine)}
        return answers.sweep(engine, asked.image, asked.rank, **how, go_on=go_on)

    def gallery_info(self) -> answers.GalleryInfo:
        """Say what is searched, and by which network."""
        return answers.gallery_info(self._current.engine)

    def _read(self, engine: Engine, model: type, **values):
        return api_calls.read(model, values, self._uploads, len(engine.gallery))


def app_options(rules: Rules | None = None, galleries: PrivateGalleries | None = None) -> dict:
    """Return `app_kwargs` for `launch`: the border, and sentences for what FastAPI itself refuses.

    A field that is missing or unknown is HTTP 422 with its name, not a 500.
    """

    async def wrong_field(request: Request, error: Exception) -> JSONResponse:
        path, named = request.url.path, str(error)[:NAME_LENGTH]
        if isinstance(error, FnIndexInferError) or isinstance(error, KeyError) and "/call/" in path:
            return JSONResponse({"detail": f"There is no endpoint {named.rpartition(': ')[2]}."}, 404)
        if isinstance(error, KeyError) and path.endswith(("/queue/join", "/component_server")):
            return JSONResponse({"detail": f"The page has no listener or component {named}. Reload it."}, 404)
        if isinstance(error, KeyError) and "page" in request.query_params:
            return JSONResponse({"detail": f"There is no page {named}."}, 404)
        if "/call/v2/" not in path:
            raise error
        return JSONResponse({"detail": str(error).partition(" Please click")[0]}, 422)

    async def wrong_body(request: Request, error: RequestValidationError) -> JSONResponse:
        told = [{name: one[name] for name in ("loc", "msg", "type")} for one in error.errors()]
        return JSONResponse({"detail": told[:10]}, 422)  # FastAPI's own answer repeats what was sent, whole

    async def too_deep(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": "The request nests lists or objects too deeply."}, 400)

    return {
        "exception_handlers": {
            TypeError: wrong_field,
            KeyError: wrong_field,
            FnIndexInferError: wrong_field,
            RecursionError: too_deep,
            RequestValidationError: wrong_body,
        },
        "middleware": [Middleware(Border, rules=rules or Rules(), galleries=galleries)],
    }


class _Caller:
    """Who waits for the running call."""

    def __init__(self) -> None:
        """Begin to watch the caller."""
        self._heard = time.monotonic()

    def waits(self) -> bool:
        """Tell whether the caller is still there and listens to the answers; true where Gradio does not know."""
        blocks, name = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
        event = blocks._queue.event_ids_to_events.get(name) if blocks is not None and name else None
        if event is None:
            return True
        unread = blocks._queue.pending_messages_per_session.get(event.session_hash)
        if unread is None or unread.empty():
            self._heard = time.monotonic()
        return event.alive and not mcp_calls.has_left(name) and time.monotonic() - self._heard < UNHEARD_S


def _told(endpoint: Callable) -> Callable:
    """Tell a caller what was wrong in one sentence."""

    @functools.wraps(endpoint)
    def run(*values):
        try:
            return endpoint(*values)
        except ReidError as error:
            raise gr.Error(str(error), print_exception=False) from error
        except Exception as error:
            _log.exception("A call of %s failed", endpoint.__name__)
            raise gr.Error(FAILURE, print_exception=False) from error

    run.__annotations__ = typing.get_type_hints(endpoint)
    return run
