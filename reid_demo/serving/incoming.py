"""What comes in: values, uploads, names of visits and MCP calls.

Each function here takes one of Gradio's and returns the one that is called in its place; `gradio_patches` says where.
This module imports Gradio only inside its functions, as `gradio_patches` does.
"""

import asyncio
import contextlib
import functools
import logging
import math
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

NO_SUCH_VALUE = "This request holds a value that the page never sends: {reason}"
NO_FILE = "files: send each file as a part of the form that has a file name."
CUT_OFF = "The upload ended before its end."
WRONG_NAME = "session_hash: name your visit with 1 to 100 letters, digits, dots, dashes or underscores."
REASON_LENGTH = 200  # characters of a reason, which may repeat the value
NUMBERS = ("Number", "Slider")  # components whose values are numbers
VISIT = re.compile(r"[\w.-]{1,100}", re.ASCII)
ASK_EVERY_S = 0.5  # between two looks whether the client of an MCP call is still there
MOST_LEFT = 1000  # calls whose clients have left that are remembered
MCP_LOGGER = "mcp.server.lowlevel.server"
_log = logging.getLogger(__name__)
_receiving: ContextVar[list] = ContextVar("files of the upload that is being received")
_left: dict[str, None] = {}  # events of MCP calls whose clients have left, the oldest first


def told_values(read: Callable) -> Callable:
    """Answer values that no widget sends with one short sentence.

    Gradio writes a traceback with the whole value, which may be megabytes, and sends it back as well.
    """

    @functools.wraps(read)
    async def told(self, block_fn, inputs, *given, **named):
        with _values_of_strangers():
            for block, value in zip(block_fn.inputs, inputs, strict=False):
                if type(block).__name__ in NUMBERS and isinstance(value, float) and not math.isfinite(value):
                    raise ValueError("a number is infinite or none at all")
            return await read(self, block_fn, inputs, *given, **named)

    return told


def told_events(pass_on: Callable) -> Callable:
    """Do the same for what a click is said to be about: Gradio makes events of it when it calls the handler."""

    @functools.wraps(pass_on)
    def told(*given, **named):
        with _values_of_strangers():
            return pass_on(*given, **named)

    return told


@contextlib.contextmanager
def _values_of_strangers() -> Iterator[None]:
    import gradio as gr

    try:
        yield
    except (gr.Error, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        if isinstance(error, gr.Error) and not error.print_exception:
            raise  # has said it
        words = str(getattr(error, "message", error))[:REASON_LENGTH]
        if not isinstance(error, gr.Error):  # Gradio's own sentence, of a number that is too large
            words = NO_SUCH_VALUE.format(reason=f"{type(error).__name__}, {words}")
        words = words.encode("utf-8", "backslashreplace").decode()  # half of a surrogate pair cannot be sent
        _log.info("%s", words.encode("unicode_escape").decode("ascii"))
        raise gr.Error(words, print_exception=False) from error


def own_place(begin: Callable) -> Callable:
    """Keep each upload in a folder of its own, whose name nobody can guess.

    Gradio names the folder by what the file holds. Two visitors who sent the same file would share it, and the first
    one to delete it would take it from the other.
    """

    @functools.wraps(begin)
    def started(self, *given, **named) -> None:
        begin(self, *given, **named)
        self.sha.update(secrets.token_bytes(16))
        _receiving.get([]).append(self)

    return started


def whole_uploads(take: Callable) -> Callable:
    """Leave nothing of an upload that is refused or cut off, and answer it in a sentence."""

    @functools.wraps(take)
    async def taken(request, upload_dir, *given, **named):
        begun: list = []
        token, moved = _receiving.set(begun), None
        try:
            moved = await take(request, upload_dir, *given, **named)
            return moved
        except (TypeError, AttributeError) as error:  # Gradio's, of a part that is no file
            raise HTTPException(400, NO_FILE) from error
        except ClientDisconnect as error:
            raise HTTPException(400, CUT_OFF) from error
        finally:
            _receiving.reset(token)
            kept = moved[1] if moved else ()  # which Gradio will move after it has answered
            for upload in begun:
                upload.file.close()
                if upload.file.name not in kept:
                    Path(upload.file.name).unlink(missing_ok=True)
                if moved is None:
                    shutil.rmtree(Path(upload_dir) / upload.sha.hexdigest(), ignore_errors=True)

    return taken


def whole_sweep(delete: Callable) -> Callable:
    """Delete with old files what Gradio does not know of: their emptied folders, and empty files that it made itself.

    It would also remember for good the paths of files that another of its parts has deleted.
    """

    @functools.wraps(delete)
    def swept(blocks, age: int | None) -> None:
        from gradio.utils import get_upload_folder

        before = {path for known in blocks.temp_file_sets for path in list(known)}
        delete(blocks, age)
        gone = {path for path in before if not os.path.exists(path)}
        for known in blocks.temp_file_sets:
            known -= gone
        for path in gone:
            with contextlib.suppress(OSError):  # not empty, or gone
                os.rmdir(os.path.dirname(path))
        with contextlib.suppress(FileNotFoundError), os.scandir(get_upload_folder()) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False) and time.time() - entry.stat().st_mtime > (age or 0):
                    Path(entry.path).unlink(missing_ok=True)

    return swept


def named_visits(push: Callable) -> Callable:
    """Take clicks of visits with a proper name alone; Gradio loses those of a visit without one."""

    @functools.wraps(push)
    async def pushed(self, body, *given, **named):
        if body.session_hash is not None and not VISIT.fullmatch(body.session_hash):
            return False, WRONG_NAME, "error"
        return await push(self, body, *given, **named)

    return pushed


def while_asked(execute: Callable) -> Callable:
    """Note when the client of an MCP call has left. Gradio makes the call through a client of its own, which stays."""

    @functools.wraps(execute)
    async def executed(self, job, *given, **named):
        request = self.mcp_server.request_context.request
        task = asyncio.ensure_future(execute(self, job, *given, **named))
        try:
            while not (await asyncio.wait({task}, timeout=ASK_EVERY_S))[0]:
                if await request.is_disconnected():
                    break
            else:
                return await task
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


def has_left(event: str) -> bool:
    """Tell whether the client of an MCP call has left."""
    return event in _left


def short_errors(make: Callable) -> Callable:
    """Cut what an MCP client is told, and what the log says of it: both repeat the wrong value whole."""

    def cut(record: logging.LogRecord) -> bool:
        record.msg, record.args = record.getMessage()[:REASON_LENGTH], ()
        return True

    logging.getLogger(MCP_LOGGER).addFilter(cut)

    @functools.wraps(make)
    def made(self, error_message: str):
        return make(self, error_message[:REASON_LENGTH] + "..." * (len(error_message) > REASON_LENGTH))

    return made
