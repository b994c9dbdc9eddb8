"""Calls by MCP. Gradio carries them out through a client of its own, which neither leaves nor waits as theirs do.

Each function here takes one of Gradio's or of `mcp`'s and returns the one that is called in its place; `gradio_patches`
says where.
"""

import asyncio
import functools
import importlib.util
import logging
from collections.abc import Callable
from urllib.parse import urlsplit

from reid_demo.serving.incoming import REASON_LENGTH

ASK_EVERY_S = 0.5  # between two looks whether the client of a call is still there
NAMED_AFTER_S = 0.05  # until a call that has no name yet is looked at again
MOST_LEFT = 1000  # calls whose clients have left that are remembered
LOGGERS = ("mcp.server.lowlevel.server", "mcp.server.sse", "mcp.server.streamable_http", "root")
INVALID = "Failed to validate"  # what `mcp` writes to the root's log, a hundred lines each
_left: dict[str, None] = {}  # events of calls whose clients have left, the oldest first


def has_mcp() -> bool:
    """Return whether the page can also be an MCP server: the extra `gradio[mcp]` is installed."""
    return importlib.util.find_spec("mcp") is not None


def while_asked(execute: Callable) -> Callable:
    """Note when the client of an MCP call has left. Gradio makes the call through a client of its own, which stays."""

    @functools.wraps(execute)
    async def executed(self, job, *given, **named):
        request = self.mcp_server.request_context.request
        stays = "/messages/" in request.url.path  # over SSE it was answered before the call began; its stream cancels
        task = asyncio.ensure_future(execute(self, job, *given, **named))
        try:
            while not (await asyncio.wait({task}, timeout=ASK_EVERY_S))[0]:
                if not stays and await request.is_disconnected():
                    break
        finally:
            if not task.done():
                _leave(job)
        return await task

    return executed


def _leave(job) -> None:
    name = job.communicator.event_id if job.communicator else None
    if name:
        _left[name] = None
        if len(_left) > MOST_LEFT:
            _left.pop(next(iter(_left)), None)
    elif not job.done():  # it has no name before the server has taken it
        asyncio.get_running_loop().call_later(NAMED_AFTER_S, _leave, job)


def has_left(event: str) -> bool:
    """Tell whether the client of an MCP call has left."""
    return event in _left


def pictures_in_place(convert: Callable) -> Callable:
    """Pass data URLs on as a call by the API sends them. Gradio writes them into files that it forgets."""

    @functools.wraps(convert)
    def converted(self, value: dict, positions: list):
        names = {place[0] for place in positions if len(place) == 1}
        sent = {name: value[name] for name in names if str(value.get(name, "")).startswith("data:")}
        return {**convert(self, {k: v for k, v in value.items() if k not in sent}, positions), **sent}

    return converted


def public_address(launch: Callable) -> Callable:
    """Let the page that says where the MCP server is name its public address, where `--root-path` gives one."""

    @functools.wraps(launch)
    def launched(self, app, subpath: str, root_path: str) -> None:
        launch(self, app, subpath, root_path)
        here = self._server_url_from_scope

        def address(scope: dict) -> str:
            found, root = urlsplit(here(scope)), (root_path or "").rstrip("/")
            if "://" in root:
                return f"{root}{subpath}/"
            return f"{found.scheme}://{found.netloc}{root}{subpath}/"

        self._server_url_from_scope = address

    return launched


def short_errors(make: Callable) -> Callable:
    """Cut what an MCP client is told, and what the log says of it: both repeat the wrong value whole.

    A message that is none is one line of the log, without the traceback of who read it.
    """

    def cut(record: logging.LogRecord) -> bool:
        words = record.getMessage()
        if record.name != "root" or words.startswith(INVALID):
            words = " ".join(words[:REASON_LENGTH].split())
            record.msg, record.args, record.exc_info = words, (), None
        return True

    for name in LOGGERS:
        logging.getLogger(name).addFilter(cut)

    @functools.wraps(make)
    def made(self, error_message: str):
        return make(self, error_message[:REASON_LENGTH] + "..." * (len(error_message) > REASON_LENGTH))

    return made
