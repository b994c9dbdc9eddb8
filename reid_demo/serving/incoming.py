"""What comes in: values, uploads and the names of visits; MCP calls are in `mcp_calls`.

Each function here takes one of Gradio's and returns the one that is called in its place; `gradio_patches` says where.
This module imports Gradio only inside its functions, as `gradio_patches` does.
"""

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
from urllib.parse import urlsplit

from python_multipart.exceptions import FormParserError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

try:
    import resource
except ImportError:  # Windows
    resource = None

NO_SUCH_VALUE = "This request holds a value that the page never sends: {reason}"
EMPTY_NUMBER = "{label}: fill in a number."
NO_FILE = "files: send each file as a part of the form that has a file name."
NO_FORM = "This is not a form with files. Send multipart/form-data."
CUT_OFF = "The upload was cut off. Send it again."
LEFT_OUT = "A file of this form is cut off or is not sent as `files`."
TOO_MANY_FILES = "Send at most {most} files at once."
LONG_FIELD = "A field of this form is longer than {most} bytes."
WRONG_NAME = "session_hash: name your visit with 1 to 100 letters, digits, dots, dashes or underscores."
FULL = "Too much is waiting here just now. Try again in a minute, or send smaller pictures."
REASON_LENGTH = 200  # characters of a reason, which may repeat the value
NUMBERS = ("Number", "Slider")  # components whose values are numbers
MOST_FILES = 500  # of one upload, each of which is open at once
MOST_OPEN = 4000  # of all uploads
LONGEST_FIELD = 1000  # bytes of a field of an upload's form that is no file
MOST_FOLLOWED = 1000  # uploads whose progress is remembered
MOST_WAITING = 512 << 20  # bytes of all requests that wait or run, as they lie in memory
SMALL = 1 << 20  # bytes of a request that is always taken: nobody's click waits for another's pictures
SIZE = "reid_demo.size"  # of a request's body, in its scope
VISIT = re.compile(r"[\w.-]{1,100}", re.ASCII)
_log = logging.getLogger(__name__)
_receiving: ContextVar[list] = ContextVar("files of the upload that is being received")
_uploads: list[list] = []  # those files of every upload that is being received


def told_values(read: Callable) -> Callable:
    """Answer values that no widget sends with one short sentence.

    Gradio writes a traceback with the whole value, which may be megabytes, and sends it back as well.
    """

    import gradio as gr

    @functools.wraps(read)
    async def told(self, block_fn, inputs, *given, **named):
        with _values_of_strangers():
            if block_fn.fn is None:
                raise ValueError("a browser does this alone")
            for block, value in zip(block_fn.inputs, inputs, strict=False):
                if type(block).__name__ == "Slider" and value is None:
                    raise gr.Error(EMPTY_NUMBER.format(label=block.label), print_exception=False)
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
        received = _receiving.get([])
        received.append(self)
        if len(received) > MOST_FILES:
            raise HTTPException(400, TOO_MANY_FILES.format(most=MOST_FILES))
        if sum(map(len, _uploads)) > _most_open():
            raise HTTPException(503, FULL)

    return started


def _most_open() -> int:
    """Return how many files of all uploads may be open: half of what this process may open, the rest is for others."""
    if resource is None:
        return MOST_FILES
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST_OPEN if allowed == resource.RLIM_INFINITY else min(MOST_OPEN, allowed // 2)


def short_fields(take: Callable) -> Callable:
    """Keep no long field of an upload's form that is no file: Gradio would hold it in memory, however long."""

    @functools.wraps(take)
    def taken(self, data: bytes, start: int, end: int) -> None:
        part = self._current_part
        if part.file is None and len(part.data) + end - start > LONGEST_FIELD:
            raise HTTPException(413, LONG_FIELD.format(most=LONGEST_FIELD))
        take(self, data, start, end)

    return taken


def few_followed(track: Callable) -> Callable:
    """Forget the uploads whose progress nobody asked for; Gradio remembers each until somebody does."""

    @functools.wraps(track)
    def tracked(self, upload_id: str) -> None:
        track(self, upload_id)
        for known in (self._statuses, self._signals):
            for name in list(known)[:-MOST_FOLLOWED]:
                known.pop(name, None)

    return tracked


def whole_uploads(take: Callable) -> Callable:
    """Leave nothing of an upload that is refused or cut off, and answer it in a sentence."""

    @functools.wraps(take)
    async def taken(request, upload_dir, *given, **named):
        begun: list = []
        token, moved = _receiving.set(begun), None
        _uploads.append(begun)
        try:
            found = await take(request, upload_dir, *given, **named)
            if len(found[0]) != len(begun):  # Gradio answers as if there were no such part
                raise HTTPException(400, LEFT_OUT)
            moved = found
            return moved
        except (TypeError, AttributeError) as error:  # Gradio's, of a part that is no file
            raise HTTPException(400, NO_FILE) from error
        except FormParserError as error:
            raise HTTPException(400, NO_FORM) from error
        except ClientDisconnect as error:
            raise HTTPException(400, CUT_OFF) from error
        finally:
            _receiving.reset(token)
            _uploads[:] = [one for one in _uploads if one is not begun]
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
        kept_in = Path(get_upload_folder())
        for folder in {Path(path).parent for path in gone}:
            with contextlib.suppress(OSError):  # not empty, or gone
                if folder.parent == kept_in:
                    folder.rmdir()
        with contextlib.suppress(FileNotFoundError), os.scandir(kept_in) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False) and time.time() - entry.stat().st_mtime > (age or 0):
                    Path(entry.path).unlink(missing_ok=True)

    return swept


def known_names(find: Callable) -> Callable:
    """Keep nothing of a visit whose name no browser gives: Gradio keeps each, however long."""

    @functools.wraps(find)
    def found(self, session_id: str):
        if isinstance(session_id, str) and not VISIT.fullmatch(session_id):
            raise HTTPException(400, WRONG_NAME)
        return find(self, session_id)

    return found


def own_origin(admit: Callable) -> Callable:
    """Let pages of other sites read no answer. Gradio forbids it where the server listens on loopback alone.

    A Space may be asked by any page, as its owner published it; it has no login of its own.
    """

    @functools.wraps(admit)
    def admits(self, request_headers) -> bool:
        if os.environ.get("SPACE_ID"):
            return admit(self, request_headers)
        with contextlib.suppress(ValueError):  # no address
            origin, host = urlsplit(request_headers["Origin"]), urlsplit(f"//{request_headers.get('Host', '')}")
            return bool(origin.hostname) and origin.hostname == host.hostname and admit(self, request_headers)
        return False

    return admits


def named_visits(push: Callable) -> Callable:
    """Take clicks of visits with a proper name alone, and none where too much waits already.

    Gradio loses the clicks of a visit without a name, and keeps the body of every request that waits beside what it
    holds.
    """

    @functools.wraps(push)
    async def pushed(self, body, *given, **named):
        if body.session_hash is not None and not VISIT.fullmatch(body.session_hash):
            return False, WRONG_NAME, "error"
        request = named.get("request", body.request)
        size = _held(getattr(request, "_body", b""))
        request._body = b""  # it was read; what it held is in `body`
        waiting = (event.request.scope.get(SIZE, 0) for event in self.event_ids_to_events.values() if event.request)
        if size > SMALL and sum(waiting) + size > MOST_WAITING:
            return False, FULL, "queue_full"
        request.scope[SIZE] = size
        return await push(self, body, *given, **named)

    return pushed


def _held(body: bytes) -> int:
    """Return the most bytes that the text of a request takes in memory: one rare letter makes all of them four wide."""
    return len(body) * (1 if body.isascii() and b"\\u" not in body else 4)
