"""What is changed in Gradio itself: the patches of `PATCHES`, made for the versions of `MADE_FOR` and checked at start.

`app.py` imports Gradio inside `quick_import`, so this module imports Gradio only inside its functions.
"""

import contextlib
import functools
import hashlib
import importlib
import inspect
import io
import logging
import os
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np

from reid_demo.errors import ConfigError
from reid_demo.serving import incoming, mcp_calls

MADE_FOR = ("6.31",)  # versions of Gradio, major.minor, whose source was read for these patches
NO_FETCH = "image: this server fetches no address. Upload the file, or send a data URL."
NOT_UPLOADED = "image: upload the file first and name the path that the upload gave."
_log = logging.getLogger(__name__)


# Clicks and calls that are carried out at once, by their `concurrency_id`. Those of one visit are not: see `_in_order`.
AT_ONCE = {"model": 12, "long": 6, "browse": 2}
ASIDE = ("browse",)  # those wait for their like alone: who looks through the gallery need not wait for a search

OF_MCP = ("x-gradio-user", "mcp")  # the header of calls that Gradio's MCP server makes

READ_AT_IMPORT = "DEFAULT_TEMP_DIR"  # where modules of Gradio keep what GRADIO_TEMP_DIR said

QUICK = ("login_check", "compute_analytics_summary")  # functions of Gradio that take microseconds
PLAIN = ("Slider", "Radio", "Checkbox", "CheckboxGroup", "HTML", "Number", "Textbox")  # components whose values do

LOOK_EVERY_S, PROGRESS_EVERY_S = 0.005, 0.05  # between two looks for clicks that wait, and for progress to tell of

WEBP_EFFORT = 2  # of 0 to 6; Pillow takes 4
MOST_ENCODED = 5000  # pictures whose encoded form is remembered by its name, 0.3 kB each
MOST_WRITTEN = 5000  # files whose paths are remembered, 0.3 kB each
_arrays: dict[tuple, tuple[weakref.ref, str]] = {}  # identity, folder and format of an array -> it, and its file
_encoded: dict[tuple, str] = {}  # format, mode, size and digest of the pixels -> digest of the encoded picture
_written: dict[str, None] = {}  # paths of the pictures that `save_whole` wrote, the oldest first


@dataclass(frozen=True)
class Patch:
    """One function of Gradio that is replaced."""

    target: str
    parameters: tuple[str, ...]  # the names its callers use
    make: Callable[[Callable], Callable]  # from the function that is there to the one that takes its place
    why: str
    needed: bool = False  # without it nothing is served
    owner: str = "gradio.processing_utils"  # the module, or the class in it, that holds the function

    def holder(self) -> ModuleType | type:
        """Return what holds the function."""
        module, _, name = self.owner.partition(":")
        found = importlib.import_module(module)
        return getattr(found, name) if name else found


@contextlib.contextmanager
def without_type_stubs() -> Iterator[None]:
    """Import Gradio inside this: it then leaves its own `.pyi` files as they are.

    At every import Gradio parses the source of each component again to refresh these files for editors, which takes
    half of its import. It skips a component whose file cannot be found (`OSError`), so that is what it gets here.
    """
    real = inspect.getfile

    def getfile(thing: object) -> str:
        if getattr(thing, "__module__", "").startswith("gradio."):
            raise OSError("type stubs are not wanted")
        return real(thing)

    inspect.getfile = getfile
    try:
        yield
    finally:
        inspect.getfile = real


@contextlib.contextmanager
def without_pandas() -> Iterator[None]:
    """Import Gradio inside this: it then gets pandas when it first uses it, which this page never does.

    Gradio names pandas at the top of one module, for functions whose results it remembers.
    """
    name = "pandas"
    if name in sys.modules:
        yield
        return
    stand_in = ModuleType(name)

    def load(attribute: str) -> object:
        if attribute.startswith("__") and attribute != "__path__":  # what `inspect` asks of every module
            raise AttributeError(attribute)
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)

    stand_in.__getattr__ = load
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]


@contextlib.contextmanager
def quick_import() -> Iterator[None]:
    """Import Gradio inside this, without what makes its import slow and is of no use here."""
    with without_type_stubs(), without_pandas():
        yield


def install() -> None:
    """Check and apply the patches of `PATCHES`; applying them twice changes nothing.

    Raises:
        ConfigError: the no-fetch guard has no target in this version of Gradio, so nothing may be served with it.
    """
    import gradio

    if not gradio.__version__.startswith(tuple(f"{version}." for version in MADE_FOR)):
        _log.warning("Gradio %s is not %s, for which the patches were made.", gradio.__version__, " or ".join(MADE_FOR))
    for patch in PATCHES:
        holder = patch.holder()
        missing = fault(patch, holder)
        if not missing:
            present = getattr(holder, patch.target)
            if not hasattr(present, "reid_demo_patch"):
                made = patch.make(present)
                made.reid_demo_patch = patch.target
                setattr(holder, patch.target, made)
        elif patch.needed:
            raise ConfigError(
                f"Gradio {gradio.__version__}: {missing}, so nothing would stop it from fetching addresses that "
                f"visitors name. Install Gradio {MADE_FOR[0]}: pip install -r requirements.txt."
            )
        else:
            _log.warning("Gradio %s: %s. Without the patch: %s.", gradio.__version__, missing, patch.why)


def keep_files_in(folder: Path) -> None:
    """Let Gradio write all files into a folder. Some of its modules have read the variable when they were imported."""
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    for name, module in list(sys.modules.items()):
        if name.startswith("gradio.") and hasattr(module, READ_AT_IMPORT):
            setattr(module, READ_AT_IMPORT, str(folder))


def require_guard() -> None:
    """Refuse to serve where the no-fetch guard is not in place.

    Raises:
        ConfigError: it was never installed, or something put Gradio's own function back.
    """
    guarded = [(patch.holder(), patch.target) for patch in PATCHES if patch.needed]
    if not all(hasattr(getattr(holder, name, None), "reid_demo_patch") for holder, name in guarded):
        raise ConfigError("The guard that keeps Gradio from fetching addresses is not in place. Start with app.py.")


def fault(patch: Patch, holder: ModuleType | type) -> str:
    """Say what is wrong with the target of a patch in one clause; empty where it is as expected."""
    target = getattr(holder, patch.target, None)
    if not callable(target):
        return f"it has no {patch.target}"
    if hasattr(target, "reid_demo_patch"):
        return ""
    has = inspect.signature(target).parameters
    lacking = [name for name in patch.parameters if name not in has]
    return f"its {patch.target} takes no {' and no '.join(lacking)}" if lacking else ""


def save_whole(img, cache_dir: str, name: str = "image", format: str = "webp") -> str:
    """Write a picture under a name of its content in a folder, as Gradio's function of this signature does.

    Gradio writes it in place each time it is shown. Two visitors of one example then rewrite a file while a browser
    reads it: the browser gets half a picture, and a canvas that got half of its picture no longer answers.

    Pixels that were encoded before are not encoded again: the thumbnails of most lists are those of lists before.

    Returns:
        The file's path. A file that is there is not written again, but made young, as it is deleted by its age.
    """
    from gradio import processing_utils

    cache = Path(cache_dir).resolve()
    key = None if img.info else (format, img.mode, img.size, hashlib.sha256(img.tobytes()).digest())
    if key in _encoded and (known := _made_young(cache / _encoded[key] / f"{name}.{format}")):
        return _shown(known)
    data = _encode(img, format)
    digest = processing_utils.hash_bytes(data)
    if key is not None:
        _remember(_encoded, key, digest, MOST_ENCODED)
    folder = cache / digest
    place = folder / f"{name}.{format}"
    if known := _made_young(place):
        return _shown(known)
    handle, waiting = _begin(folder, f".{name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(waiting, place)
    except OSError:  # a full disk, which what is written so far would keep full
        os.unlink(waiting)
        raise
    return _shown(str(place))


def _shown(path: str) -> str:
    """Remember a picture of the page by its path, and return that: a server before this one may have written it."""
    _remember(_written, path, None, MOST_WRITTEN)
    return path


def same_arrays(save: Callable) -> Callable:
    """Remember where a picture that cannot change was written, so that it is not read again to learn its name.

    Lists are made of the thumbnails of lists before: a fifth of the server's share of a click went into this.
    """

    @functools.wraps(save)
    def saved(arr: np.ndarray, cache_dir: str, format: str = "webp") -> str:
        if arr.flags.writeable:
            return save(arr, cache_dir, format)
        key = (id(arr), cache_dir, format)
        array, path = _arrays.get(key, (lambda: None, ""))
        if array() is arr and _made_young(path):
            return path
        path = save(arr, cache_dir, format)
        _remember(_arrays, key, (weakref.ref(arr), path), MOST_ENCODED)
        return path

    return saved


def _begin(folder: Path, prefix: str) -> tuple[int, str]:
    """Open a new file in a folder that is made if missing; the sweep may remove it again before the file is there."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            return tempfile.mkstemp(dir=folder, prefix=prefix)


def is_shown(path: Path) -> bool:
    """Tell whether `save_whole` wrote a file, which other visitors may be looking at."""
    return str(path.resolve()) in _written


def _encode(img, format: str) -> bytes:
    """Encode a picture as Gradio does; plain WebP with less effort, in half the time for files that are 5 % larger."""
    from gradio import processing_utils

    if format != "webp" or img.info:
        return processing_utils.encode_pil_to_bytes(img, format)
    with io.BytesIO() as file:
        img.save(file, format, method=WEBP_EFFORT)
        return file.getvalue()


def _remember(known: dict, key: object, value: object, most: int) -> None:
    known[key] = value
    if len(known) > most:
        known.pop(next(iter(known), None), None)


def _made_young(place: Path | str) -> str | None:
    """Return the path of a file whose age begins anew; `None` where there is no such file."""
    try:
        os.utime(place)
    except FileNotFoundError:
        return None
    return str(place)


def _refusing(download: Callable) -> Callable:
    """Let no component fetch what a visitor names: Gradio downloads a file whose path is an address."""
    import gradio as gr

    async def refuse(url: str, cache_dir: str) -> str:
        raise gr.Error(NO_FETCH, print_exception=False)

    return refuse


def _moving(move: Callable) -> Callable:
    """Leave the page's own pictures where they are, and say what is wrong with a file that was not uploaded.

    Gradio asks of each picture of a list, in the event loop, whether it may be shown and where it lies: 1 ms each.
    It refuses what was not uploaded as well, but tells the caller nothing.
    """
    import gradio as gr

    async def told(data, block, *values, postprocess: bool = False, check_in_upload_folder: bool = False, **named):
        shown = _addressed(data, block) if postprocess else None
        if shown is not None:
            return shown[0]
        how = {"postprocess": postprocess, "check_in_upload_folder": check_in_upload_folder}
        try:
            return await move(data, block, *values, **how, **named)
        except gr.Error:  # has said it
            raise
        except (ValueError, TypeError, OSError, AttributeError) as error:  # not there, no upload, no path at all
            if not check_in_upload_folder:
                raise  # a file that the page itself shows
            raise gr.Error(NOT_UPLOADED, print_exception=False) from error

    return told


def _addressed(data, block) -> tuple | None:
    """Return what a component shows with the addresses of its pictures, alone in a tuple.

    `None` if there is a file that `save_whole` did not write into the component's own cache.
    """
    from gradio.data_classes import GradioModel, GradioRootModel
    from gradio.route_utils import API_PREFIX
    from gradio_client import utils

    plain = data.model_dump() if isinstance(data, GradioModel | GradioRootModel) else data
    paths: list[str] = []

    def address(file: dict) -> dict:
        paths.append(file["path"] if file.get("url") is None else "")
        return {**file, "url": f"{API_PREFIX}/file={utils.encode_file_path(file['path'])}"}

    shown = utils.traverse(plain, address, utils.is_file_obj_with_meta)
    if block.proxy_url or not all(path in _written for path in paths):
        return None
    block.temp_files.update(paths)  # Gradio deletes them by their age
    return (shown,)


def _at_once(run_sync: Callable) -> Callable:
    """Carry out what takes microseconds where it is asked for, instead of in a thread of its own.

    Gradio and FastAPI send each value of a click and each check of a login to a thread and back: some twenty times a
    click. Where several visitors click, each such errand waits until a thread lets go of Python.
    """

    async def run(func: Callable, *args: object, **how: object) -> object:
        return func(*args) if _is_quick(func) else await run_sync(func, *args, **how)

    return run


def _is_quick(func: Callable) -> bool:
    called = func.func if isinstance(func, functools.partial) else func
    name = getattr(called, "reid_demo_patch", getattr(called, "__name__", ""))
    of, module = getattr(called, "__self__", None), getattr(called, "__module__", None) or ""
    if name in QUICK:
        return module.startswith(("gradio.", "reid_demo."))
    return name in ("preprocess", "postprocess") and type(of).__name__ in PLAIN


class _InThisThread:
    """The part of a `ThreadPoolExecutor` that Gradio's list of pictures uses, without threads."""

    def __init__(self, max_workers: int | None = None) -> None:
        pass

    def __enter__(self) -> "_InThisThread":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    map = staticmethod(map)


def _unhurried(init: Callable) -> Callable:
    """Look for waiting clicks every 5 ms. Gradio looks every 1 ms, in the thread that serves everybody."""

    @functools.wraps(init)
    def begin(self, *given, **named) -> None:
        init(self, *given, **named)
        self.sleep_when_free = LOOK_EVERY_S
        self.progress_update_sleep_when_free = PROGRESS_EVERY_S

    return begin


def _unsummarised(summarise: Callable) -> Callable:
    def leave(self, records: list) -> dict:
        return self.cached_event_analytics_summary

    return leave


def _ended_once(reset: Callable) -> Callable:
    @functools.wraps(reset)
    async def end(self, event_id: str) -> None:
        with contextlib.suppress(KeyError):  # a run that is stopped as it ends was taken out while it was being closed
            await reset(self, event_id)

    return end


def _in_order(get_events: Callable) -> Callable:
    """Start no click of a visit before its last one has ended, while those of other visits go on.

    Gradio knows a limit for all visitors together alone. A click that started beside the visitor's last one would see
    the visit as it was before both, and undo what the first one did.
    """

    def ordered(self):
        running = {_line(event) for job in self.active_jobs if job for event in job if _counts(event)}
        queues = [self.event_queue_per_concurrency_id[name] for name in AT_ONCE.keys() & _names(self)]
        first = {}  # line -> its oldest event that waits, in whichever queue
        for event in sorted((e for queue in queues for e in queue.queue), key=lambda e: e.enqueue_time):
            first.setdefault(_line(event), event)
        every = [queue.queue for queue in queues]
        for queue in queues:
            queue.queue = [e for e in queue.queue if first[_line(e)] is e and _line(e) not in running]
        try:
            found = get_events(self)
        finally:
            for queue, waiting in zip(queues, every, strict=True):
                queue.queue = waiting
        for event in found[0] if found else ():
            waiting = self.event_queue_per_concurrency_id[found[2]].queue
            if event in waiting:
                waiting.remove(event)
        return found

    return ordered


def _names(queue) -> set[str]:
    return set(queue.event_queue_per_concurrency_id)


def _counts(event) -> bool:
    return event.concurrency_id in AT_ONCE


def _line(event) -> tuple[str, str]:
    """Return in which line an event waits: its visit, and which of the visit's two lines.

    All calls by MCP come as one visit, that of Gradio's own client; each has a line for itself.
    """
    by_mcp = event.request is not None and event.request.headers.get(OF_MCP[0]) == OF_MCP[1]
    return event._id if by_mcp else event.session_hash, event.concurrency_id if event.concurrency_id in ASIDE else ""


class _NothingKept(dict):
    """What a visit has changed in the page, for Gradio's own deep links, which this server does not offer."""

    def __contains__(self, number: object) -> bool:
        return True

    def __getitem__(self, number: int) -> dict:
        return {}

    def __setitem__(self, number: int, described: dict) -> None:
        pass


def _without_configurations(init: Callable) -> Callable:
    """Begin a visit without describing every component of the page, and keep nothing of what it sends and is sent.

    Gradio describes the page in the event loop, in which nobody is served meanwhile. For this page it takes 18 ms and
    0.4 MB at each call of the API, as a call is a visit of its own, and 9 ms at each new list. It keeps every value of
    a visit as well, a picture of 90 MB perhaps. Only its deep links read them.
    """

    def begin(self, blocks) -> None:
        init(self, SimpleNamespace(default_config=blocks.default_config, blocks=()))
        make = self.blocks_config.config_for_block

        def described(number: int, rendered: list[int], block, renderable=None) -> dict:
            return make(number, rendered, block, renderable) if renderable else {}

        self.config_values, self.blocks_config.config_for_block = _NothingKept(), described

    return begin


_OF_MCP = (
    *(
        Patch(
            target,
            ("self", "job"),
            mcp_calls.while_asked,
            "a sweep that an MCP client asked for goes on after the client has left",
            owner="gradio.mcp:GradioMCPServer",
        )
        for target in ("_execute_tool_without_progress", "_execute_tool_with_progress")
    ),
    Patch(
        "convert_strings_to_filedata",
        ("self", "value"),
        mcp_calls.pictures_in_place,
        "a picture that an MCP client sends stays until the server ends, under a name that others can guess",
        owner="gradio.mcp:GradioMCPServer",
    ),
    Patch(
        "launch_mcp_on_sse",
        ("self", "app", "subpath", "root_path"),
        mcp_calls.public_address,
        "behind a proxy the MCP server's page names a wrong address",
        owner="gradio.mcp:GradioMCPServer",
    ),
    Patch(
        "_make_error_result",
        ("self", "error_message"),
        mcp_calls.short_errors,
        "an MCP client's wrong value is repeated whole",
        owner="mcp.server.lowlevel.server:Server",
    ),
)
PATCHES = (
    Patch(
        "async_ssrf_protected_download",
        ("url", "cache_dir"),
        _refusing,
        "the server fetches addresses that visitors name",
        needed=True,
    ),
    Patch(
        "async_move_files_to_cache",
        ("data", "block", "check_in_upload_folder"),
        _moving,
        "a file that was not uploaded is refused without a reason, and showing a list takes 10 ms longer",
    ),
    Patch(
        "save_img_array_to_cache",
        ("arr", "cache_dir", "format"),
        same_arrays,
        "showing a list takes 5 ms longer",
    ),
    Patch(
        "save_pil_to_cache",
        ("img", "cache_dir", "name", "format"),
        lambda write: save_whole,
        "a browser may get half a picture",
    ),
    Patch(
        "get_events",
        ("self",),
        _in_order,
        "two quick clicks of one visitor may undo each other",
        owner="gradio.queueing:Queue",
    ),
    Patch(
        "__init__",
        ("self", "blocks"),
        _without_configurations,
        "each call and click keeps all others waiting while Gradio describes the page's components to itself",
        owner="gradio.state_holder:SessionState",
    ),
    Patch(
        "ThreadPoolExecutor",
        ("max_workers",),
        lambda pool: _InThisThread,
        "each list of pictures starts several threads and ends them again",
        owner="gradio.components.gallery",
    ),
    *(
        Patch(
            "run_sync",
            ("func", "args"),
            _at_once,
            "where several visitors click, each of their values waits for a thread",
            owner=owner,
        )
        for owner in ("anyio.to_thread", "gradio.queueing")
    ),
    Patch(
        "preprocess_data",
        ("block_fn", "inputs"),
        incoming.told_values,
        "a value that no widget sends is written to the log whole, with a traceback",
        owner="gradio.blocks:Blocks",
    ),
    Patch(
        "special_args",
        ("fn", "inputs", "event_data"),
        incoming.told_events,
        "an event that no widget sends is a traceback in the log",
        owner="gradio.blocks",
    ),
    Patch(
        "__init__",
        ("self", "live_updates"),
        _unhurried,
        "an idle server wakes a thousand times a second, and a busy one takes that time from those who wait",
        owner="gradio.queueing:Queue",
    ),
    Patch(
        "compute_analytics_summary",
        ("self", "records"),
        _unsummarised,
        "after each click Gradio sums up the last 10,000 for a page of figures that nobody is shown",
        owner="gradio.queueing:Queue",
    ),
    Patch(
        "reset_iterators",
        ("self", "event_id"),
        _ended_once,
        "a run that is stopped as it ends leaves a traceback in the log",
        owner="gradio.queueing:Queue",
    ),
    Patch(
        "__init__",
        ("self", "file"),
        incoming.own_place,
        "visitors who send the same file share it, and the first to delete it takes it from the others",
        owner="gradio.route_utils:GradioUploadFile",
    ),
    Patch(
        "upload_fn",
        ("request", "upload_dir"),
        incoming.whole_uploads,
        "what came of an upload that is cut off stays until the server ends",
        owner="gradio.routes",
    ),
    Patch(
        "delete_files_created_by_app",
        ("blocks", "age"),
        incoming.whole_sweep,
        "each picture that was shown leaves an empty folder until the server ends",
        owner="gradio.route_utils",
    ),
    Patch(
        "on_part_data",
        ("self", "data", "start", "end"),
        incoming.short_fields,
        "a form with a long field fills the memory",
        owner="gradio.route_utils:GradioMultiPartParser",
    ),
    Patch(
        "track",
        ("self", "upload_id"),
        incoming.few_followed,
        "uploads whose progress nobody asks for are remembered until the server ends",
        owner="gradio.route_utils:FileUploadProgress",
    ),
    Patch(
        "__getitem__",
        ("self", "session_id"),
        incoming.known_names,
        "a visit's name of any length is kept",
        owner="gradio.state_holder:StateHolder",
    ),
    Patch(
        "is_valid_origin",
        ("self", "request_headers"),
        incoming.own_origin,
        "pages of other sites may read what a server in a local network answers",
        owner="gradio.route_utils:CustomCORSMiddleware",
    ),
    Patch(
        "push",
        ("self", "body"),
        incoming.named_visits,
        "a click of a visit with an empty name is a traceback in the log",
        owner="gradio.queueing:Queue",
    ),
    *(_OF_MCP if mcp_calls.has_mcp() else ()),
)
