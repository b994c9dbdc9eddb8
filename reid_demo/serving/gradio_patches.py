"""What is changed in Gradio itself: the patches of `PATCHES`, made for the versions of `MADE_FOR` and checked at start.

`app.py` calls `without_type_stubs` before it imports Gradio, so this module imports Gradio only inside its functions.
"""

import contextlib
import hashlib
import importlib
import inspect
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

from reid_demo.errors import ConfigError

MADE_FOR = ("6.31",)  # versions of Gradio, major.minor, whose source was read for these patches
NO_FETCH = "image: this server fetches no address. Upload the file, or send a data URL."
NOT_UPLOADED = "image: upload the file first and name the path that the upload gave."
_log = logging.getLogger(__name__)


# Clicks and calls that are carried out at once, by their `concurrency_id`. Those of one visit are not: see `_in_order`.
AT_ONCE = {"model": 12, "long": 6}

MOST_ENCODED = 5000  # pictures whose encoded form is remembered by its name, 0.3 kB each
_encoded: dict[tuple, str] = {}  # format, mode, size and digest of the pixels -> digest of the encoded picture


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

    key = None if img.info else (format, img.mode, img.size, hashlib.sha256(img.tobytes()).digest())
    if key in _encoded and (known := _made_young(Path(cache_dir).resolve() / _encoded[key] / f"{name}.{format}")):
        return known
    data = processing_utils.encode_pil_to_bytes(img, format)
    digest = processing_utils.hash_bytes(data)
    if key is not None:
        _encoded[key] = digest
        if len(_encoded) > MOST_ENCODED:
            _encoded.pop(next(iter(_encoded), None), None)
    folder = Path(cache_dir).resolve() / digest
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{name}.{format}"
    if known := _made_young(place):
        return known
    handle, waiting = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    os.replace(waiting, place)
    return str(place)


def _made_young(place: Path) -> str | None:
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


def _telling(move: Callable) -> Callable:
    """Say what is wrong with a file that was not uploaded; Gradio refuses it as well, but tells the caller nothing."""
    import gradio as gr

    async def told(*values, check_in_upload_folder: bool = False, **named):
        try:
            return await move(*values, check_in_upload_folder=check_in_upload_folder, **named)
        except gr.Error:  # has said it
            raise
        except (ValueError, TypeError, OSError, AttributeError) as error:  # not there, no upload, no path at all
            if not check_in_upload_folder:
                raise  # a file that the page itself shows
            raise gr.Error(NOT_UPLOADED, print_exception=False) from error

    return told


def _in_order(get_events: Callable) -> Callable:
    """Start no click of a visit before its last one has ended, while those of other visits go on.

    Gradio knows a limit for all visitors together alone. A click that started beside the visitor's last one would see
    the visit as it was before both, and undo what the first one did.
    """

    def ordered(self):
        running = {event.session_hash for job in self.active_jobs if job for event in job if _counts(event)}
        queues = [self.event_queue_per_concurrency_id[name] for name in AT_ONCE.keys() & _names(self)]
        first = {}  # visit -> its oldest event that waits, in whichever queue
        for event in sorted((e for queue in queues for e in queue.queue), key=lambda e: e.enqueue_time):
            first.setdefault(event.session_hash, event)
        every = [queue.queue for queue in queues]
        for queue in queues:
            queue.queue = [e for e in queue.queue if first[e.session_hash] is e and e.session_hash not in running]
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


class _MadeWhenRead(dict):
    """The configurations of a visit's components, by their number. Each is made when all are read."""

    def __init__(self, config, numbers: Iterable[int]) -> None:
        super().__init__()
        self._config, self._numbers = config, numbers

    def items(self):
        for number in self._numbers:
            if number not in self and number in self._config.blocks:
                self[number] = self._config.config_for_block(number, [], self._config.blocks[number])
        return super().items()


def _without_configurations(init: Callable) -> Callable:
    """Begin a visit without describing every component of the page, which only Gradio's own deep links read.

    Gradio does it in the event loop at each call of the API, as a call is a visit of its own: 18 ms and 0.4 MB for this
    page, in which nobody is served. What a visit changes is described when it changes.
    """

    def begin(self, blocks) -> None:
        init(self, SimpleNamespace(default_config=blocks.default_config, blocks=()))
        self.config_values = _MadeWhenRead(self.blocks_config, blocks.blocks.keys())

    return begin


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
        _telling,
        "a file that was not uploaded is refused without a reason",
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
        "each call of the API keeps all others waiting while Gradio describes the page's components to itself",
        owner="gradio.state_holder:SessionState",
    ),
)
