"""What every request passes before it reaches the page or the API, and every answer on its way out.

Headers that decide what a browser may do, which names of the server count, the login, and when a visit begins and ends.
Plain ASGI: it guards page, API, MCP and server functions alike, as Gradio's own routes never see what is refused here.
"""

import asyncio
import base64
import binascii
import functools
import hashlib
import ipaddress
import json
import logging
import re
import secrets
import socket
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException

from reid_demo.errors import ConfigError
from reid_demo.serving import incoming
from reid_demo.serving.visitors import GRACE_S, PrivateGalleries

# What a proxy may say of the address that a visitor asked for. Nothing here relies on it; see `--root-path`.
FORWARDED = frozenset(
    (b"forwarded", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-port", b"x-forwarded-prefix")
) | {b"x-gradio-server"}
HEARTBEAT, CALL = "/gradio_api/heartbeat/", "/gradio_api/call/"
OPEN_PATH = "/gradio_api/startup-events"  # the server asks itself at start; it answers true to anybody
SPACE_FRAMES = ("https://huggingface.co", "https://*.huggingface.co", "https://*.hf.space")
SWEEP_EVERY_S = 20
# What Gradio offers and nothing here uses: it runs ffmpeg on a visitor's film, writes a visit to the disk, and more.
UNUSED = tuple(
    f"{prefix}{name}"
    for prefix, names in (
        ("/gradio_api/", "proxy= process_recording deep_link vibe- undo-vibe- run-history runs profiling stream/ dev/"),
        ("/", "monitoring dev/"),
    )
    for name in names.split()
)
MOST_VALUES = 20_000  # in the JSON of a request: Gradio walks through them while nobody is served. A stroke has 4,000
MOST_BYTES = 96 << 20  # of the JSON of a request, room for the largest picture as a data URL
TOO_MUCH = (
    f"This request holds more than {MOST_VALUES:,} values or {MOST_BYTES >> 20} MB. "
    "Send pictures and files as uploads or data URLs."
)
MOST_UPLOADED = 256 << 20  # bytes of one request with files: a gallery's pictures, each with its head
TOO_LARGE = f"Send at most {MOST_UPLOADED >> 20} MB at once."
STALLED_S = 15.0  # without a byte of a body that was announced
LONGEST_BODY_S = 300.0  # from a body's first byte to its last
TOO_SLOW = "The rest of this request did not come. Send it again, or upload the picture as a file."
MOST_UNFETCHED = 100  # calls whose answers wait for somebody to fetch them; a long list takes a megabyte
LONGEST_QUERY = 8192  # characters behind the question mark
UPLOAD, MCP = "/gradio_api/upload", "/gradio_api/mcp"
RANGE = re.compile(r"bytes=\d{0,15}-\d{0,15}")  # the only form of this header that Gradio understands
SERVER_FUNCTIONS = "/gradio_api/component_server"
LONGEST_PATH = 4096  # characters, as of a file
CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # in an address; no link has them
NOTED = 200  # characters of a path or a reason in the log
PACKAGE = Path(__file__).parents[1]
WRAPPERS = ("border", "incoming", "mcp_calls", "gradio_patches")  # modules of ours that every request passes
UNFORESEEN = "The server could not answer this request. If the page or the API sent it, the log says what failed."
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rules:
    """How this server is reached, and by whom."""

    hosts: frozenset[str] | None = None  # names it answers to besides addresses and its own name; None: any
    trusts_proxy: bool = False  # a Space or a share link: the proxy in front is known and sets the forwarded headers
    frames: tuple[str, ...] = ()  # origins that may show the page in a frame, besides its own
    login: "Login | None" = None
    address_header: str = ""  # which header, set by a trusted proxy, names a visitor's address


@dataclass(frozen=True)
class Login:
    """Names and SHA-256 digests of their passwords."""

    digests: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def read(cls, text: str, source: str = "--auth") -> "Login":
        """Read lines of `name:password`; empty lines and lines that begin with # are skipped.

        Args:
            text: the lines.
            source: where they stand, for the message of an error.

        Raises:
            ConfigError: no line, or one without a name or a password. The message never repeats a line.
        """
        digests = {}
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            name, _, password = line.strip().partition(":")
            if not name or not password:
                raise ConfigError(f"{source}: line {number} is not name:password.")
            digests[name] = _digest(password)
        if not digests:
            raise ConfigError(f"{source}: there is no line name:password.")
        return cls(digests)

    def admits(self, authorization: str) -> bool:
        """Tell whether an `Authorization` header carries a name and its password (HTTP Basic)."""
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            name, _, password = base64.b64decode(value.strip(), validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        # A name that nobody has takes as long as a wrong password.
        known = self.digests.get(name, bytes(32))
        return secrets.compare_digest(_digest(password), known) and name in self.digests


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode("utf-8")).digest()


@functools.lru_cache(maxsize=256)  # parsing takes longer than all else that a request passes here
def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def names_of(host: str | None, root_path: str | None) -> frozenset[str]:
    """Return the host names that a server answers to besides IP addresses: its own, and that of its public address."""
    names = {"localhost", socket.gethostname().lower(), _full_name().lower()}
    if host:
        names.add(host.strip("[]").lower())
    if root_path and "://" in root_path:
        names.add((urlsplit(root_path).hostname or "").lower())
    return frozenset(names - {""})


@functools.cache
def _full_name() -> str:
    """Return this machine's name with its domain, or "" where the name service takes more than a second to say it."""
    found: list[str] = []
    asking = threading.Thread(target=lambda: found.append(socket.getfqdn()), daemon=True)
    asking.start()
    asking.join(timeout=1)
    if not found:
        _log.warning("The name service does not answer, so the page does not answer to this machine's full name.")
    return found[0] if found else ""


def policy(frames: tuple[str, ...]) -> str:
    """Return the content security policy: everything from this server, and nothing from anywhere else.

    Gradio's page runs inline scripts and styles, evaluates the `js` of its listeners and makes workers of blobs.
    """
    return "; ".join(
        (
            "default-src 'self'",
            "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "media-src 'self' data: blob:",
            "connect-src 'self' data: blob:",
            "worker-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            " ".join(("frame-ancestors 'self'", *frames)),
        )
    )


class Border:
    """ASGI middleware over a Gradio app."""

    def __init__(self, app: Callable, rules: Rules, galleries: PrivateGalleries | None = None) -> None:
        """Wrap an app; `galleries` are told who comes and goes."""
        self.app, self.rules, self.galleries = app, rules, galleries
        self.connected: Counter[str] = Counter()  # visits by their open heartbeats
        self.swept = time.monotonic()
        self.reading = 0  # bytes of bodies that are not whole yet
        self.headers = [
            (b"content-security-policy", policy(rules.frames).encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"same-origin"),
        ]
        if not rules.frames:
            self.headers.append((b"x-frame-options", b"SAMEORIGIN"))

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        sent: dict[bytes, str] = {}
        for name, value in scope["headers"]:
            sent.setdefault(name.lower(), value.decode("latin-1"))  # of a header sent twice, Gradio reads the first
        if not self.rules.trusts_proxy:
            scope["headers"] = [(name, value) for name, value in scope["headers"] if name.lower() not in FORWARDED]
        refusal = self._refusal(scope, sent)
        if refusal is not None:
            await _answer(scope, send, *refusal, headers=self.headers)
            return
        self._sweep_sessions(scope)
        if not RANGE.fullmatch(sent.get(b"range", "bytes=-")):  # the whole file is an answer too
            scope["headers"] = [(name, value) for name, value in scope["headers"] if name.lower() != b"range"]
        receive = _in_time(receive) if scope.get("method") == "POST" else receive
        if _path(scope).rstrip("/") == UPLOAD:
            receive = _counted(receive)
        elif scope.get("method") == "POST":
            try:
                whole = await self._read(receive)
            except HTTPException as refused:
                await _answer(scope, send, refused.status_code, refused.detail, headers=self.headers)
                return
            receive = _read_again(whole, receive)
            self._forget_unfetched(scope["app"].get_blocks()._queue)
        await self._follow(_to_mcp(scope), sent, receive, self._with_headers(send))

    def _refusal(self, scope: dict, sent: Mapping[bytes, str]) -> tuple[int, str] | None:
        """Return status and sentence for a request that goes no further; `None` for all others."""
        if not self._answers_to(sent.get(b"host", "")):
            return 400, "This server does not answer to that name. Its owner can name it: --root-path https://NAME/."
        login, path = self.rules.login, _path(scope)
        if len(path) > LONGEST_PATH or len(scope.get("query_string", b"")) > LONGEST_QUERY:
            return 414, "This address is too long."
        if path.startswith(UNUSED) or CONTROL.search(path):
            return 404, "This server has no such address."
        if path.startswith(HEARTBEAT) and not incoming.VISIT.fullmatch(path[len(HEARTBEAT) :].strip("/")):
            return 404, incoming.WRONG_NAME
        if path.startswith(SERVER_FUNCTIONS) and not sent.get(b"content-type", "").startswith("application/json"):
            return 415, "This address takes JSON."  # Gradio would write files of a form outside of this server's folder
        if login is not None and path != OPEN_PATH and not login.admits(sent.get(b"authorization", "")):
            return 401, "Log in with the name and password that the owner of this server gave you."
        return None

    def _answers_to(self, host: str) -> bool:
        if self.rules.hosts is None or not host:
            return True
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:  # brackets without an address of version 6
            return False
        if name in self.rules.hosts:
            return True
        return _is_address(name)

    async def _follow(self, scope: dict, sent: Mapping[bytes, str], receive: Callable, send: Callable) -> None:
        """Pass a request on; note when a visit connects and disconnects, and drop what an API call leaves."""
        path = _path(scope)
        if path.startswith(HEARTBEAT):
            visit = path[len(HEARTBEAT) :].strip("/")
            self.connected[visit] += 1
            if self.galleries is not None:
                self.galleries.arrive(visit, self._address(sent))
            try:
                await self._pass(scope, receive, send)
            finally:
                self.connected[visit] -= 1
                if not self.connected[visit]:
                    del self.connected[visit]
                    if self.galleries is not None:
                        self.galleries.part(visit)
        else:
            await self._pass(scope, receive, send)
            if path.startswith(CALL) and scope.get("method") == "GET":
                _drop_session(scope["app"], path.rstrip("/").rpartition("/")[2])

    async def _read(self, receive: Callable) -> dict:
        """Return a request's body as one message, or the message that its client has left.

        Raises:
            HTTPException: its JSON is too long or holds too many values, it stopped before its end, or too much is
                being sent just now.
        """
        body, values = bytearray(), 0
        try:
            while True:
                message = await receive()
                piece = message.get("body", b"")
                values += sum(piece.count(mark) for mark in (b",", b"[", b"{"))
                body += piece
                self.reading += len(piece)
                if values > MOST_VALUES or len(body) > MOST_BYTES:
                    raise HTTPException(413, TOO_MUCH)
                if len(body) > incoming.SMALL and self.reading > incoming.MOST_WAITING:
                    raise HTTPException(503, incoming.FULL)
                if message["type"] != "http.request":
                    return message
                if not message.get("more_body"):
                    return {"type": "http.request", "body": bytes(body), "more_body": False}
        finally:
            self.reading -= len(body)

    async def _pass(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Let Gradio answer. What it fails at is one line in the log; where our own code failed, with its traceback."""
        begun = False

        async def noting(message: dict) -> None:
            nonlocal begun
            await send(message)
            begun = begun or message["type"] == "http.response.start"

        try:
            await self.app(scope, receive, noting)
        except Exception as error:
            _note(_path(scope), error, begun)
            if begun:  # all that is left to say is that it ends here
                await send({"type": "http.response.body", "body": b""})
            else:
                await _answer(scope, send, 500, UNFORESEEN, headers=[])

    def _address(self, sent: Mapping[bytes, str]) -> str:
        """Return a visitor's address as the trusted proxy wrote it last; empty where no option names its header."""
        named = self.rules.address_header.lower().encode()
        return sent.get(named, "").rpartition(",")[2].strip() if named else ""

    def _with_headers(self, send: Callable) -> Callable:
        async def sending(message: dict) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in self.headers}
                kept = [pair for pair in message.get("headers", ()) if pair[0].lower() not in own]
                message = {**message, "headers": [*kept, *self.headers]}
            await send(message)

        return sending

    def _sweep_sessions(self, scope: dict) -> None:
        """Drop what the server remembers of visits that are neither connected nor waiting, after a grace."""
        if time.monotonic() - self.swept < SWEEP_EVERY_S:
            return
        self.swept = time.monotonic()
        if self.galleries is not None:
            self.galleries.sweep()
        holder, queue = scope["app"].state_holder, scope["app"].get_blocks()._queue
        busy = _busy(queue)
        for name, used in list(holder.time_last_used.items()):
            idle_s = time.time() - used.timestamp()
            if idle_s > GRACE_S and name not in self.connected and name not in busy:
                _drop_session(scope["app"], name)
        for known in (queue.pending_event_ids_session, queue.pending_messages_per_session):
            for name in set(known) - set(holder.session_data) - set(self.connected) - busy:
                known.pop(name, None)

    def _forget_unfetched(self, queue) -> None:
        """Drop the oldest answers that nobody fetches; what an open page waits for stays."""
        messages = queue.pending_messages_per_session
        if len(messages) <= MOST_UNFETCHED:
            return
        busy = _busy(queue)
        waiting = [name for name in list(messages) if name not in self.connected and name not in busy]
        unfetched = [name for name in waiting if messages[name].qsize()]
        for name in unfetched[:-MOST_UNFETCHED]:
            messages.pop(name, None)


def _busy(queue) -> set[str]:
    """Return the visits for which something waits or runs."""
    running = [event for job in queue.active_jobs if job for event in job]
    return {event.session_hash for event in (*queue.event_ids_to_events.values(), *running)}


def _path(scope: dict) -> str:
    """Return the path of a request inside the app."""
    path, root = scope.get("path", ""), scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _note(path: str, error: Exception, begun: bool) -> None:
    """Write to the log that a request failed; what a stranger sent is not repeated at length."""
    while getattr(error, "exceptions", ()):  # a group, of which Python 3.10 has no type
        error = error.exceptions[0]
    where = f"{path[:NOTED]} failed: {type(error).__name__}: {str(error)[:NOTED]}"
    where = where.encode("unicode_escape").decode("ascii")
    frames = {Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)}
    if any(frame.is_relative_to(PACKAGE) and frame.stem not in WRAPPERS for frame in frames):
        _log.error("%s", where, exc_info=error)
    elif not begun:
        _log.warning("%s", where)
    else:  # an answer of a visit that is gone, as a rule
        _log.info("%s", where)


def _drop_session(app, name: str) -> None:
    """Forget a visit; the callbacks of its state run as if it had expired."""
    app.state_holder.delete_state(name)
    app.state_holder.session_data.pop(name, None)
    app.state_holder.time_last_used.pop(name, None)
    app.get_blocks()._queue.pending_messages_per_session.pop(name, None)  # or who asks once more waits for ever


def _to_mcp(scope: dict) -> dict:
    """Return the scope of a request, of one to MCP as Starlette finds it.

    It answers the address without its last slash with a redirect to the host that the request names, and finds none of
    the addresses below where a proxy has taken the prefix of `--root-path` away.
    """
    path, root = _path(scope), urlsplit(scope.get("root_path", "")).path.rstrip("/")
    if path == MCP:
        path += "/"
    elif not path.startswith(f"{MCP}/"):
        return scope
    return {**scope, "root_path": root, "path": f"{root}{path}", "raw_path": f"{root}{path}".encode()}


def _in_time(receive: Callable) -> Callable:
    """Refuse a body that stops before its end, or takes too long altogether."""
    until, whole = time.monotonic() + LONGEST_BODY_S, False

    async def waiting() -> dict:
        nonlocal whole
        if whole:  # what comes now is that the client leaves
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), min(STALLED_S, until - time.monotonic()))
        except asyncio.TimeoutError as error:  # not yet the built-in one in Python 3.10
            raise HTTPException(408, TOO_SLOW) from error
        whole = not message.get("more_body")
        return message

    return waiting


def _counted(receive: Callable) -> Callable:
    """Refuse an upload that goes on beyond `MOST_UPLOADED`."""
    size = 0

    async def counting() -> dict:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MOST_UPLOADED:
            raise HTTPException(413, TOO_LARGE)
        return message

    return counting


def _read_again(message: dict, receive: Callable) -> Callable:
    read = [message]

    async def next_message() -> dict:
        return read.pop() if read else await receive()

    return next_message


async def _answer(scope: dict, send: Callable, status: int, sentence: str, headers: list) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    plain = status not in (408, 413, 503)  # else a caller of the API reads it, who expects what FastAPI writes
    body = (sentence if plain else json.dumps({"detail": sentence})).encode()
    kind = b"text/plain; charset=utf-8" if plain else b"application/json"
    extra = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if status == 401:
        extra.append((b"www-authenticate", b'Basic realm="reid_demo", charset="UTF-8"'))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *extra]})
    await send({"type": "http.response.body", "body": body})
