"""Run tests side by side: a worker a core (`-n auto`), each with one thread and its own temporary folder and ports.

Imported before torch, which counts its threads when it is imported.
"""

import gc
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

try:
    import fcntl
except ImportError:  # Windows, where tests run in one process
    fcntl = None

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")  # gw0, gw1, ...
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
MOST_WORKERS = 8
GIB_A_WORKER = 6  # a worker that has run hundreds of tests, its browser and one program that it starts
LONGEST = ("runtimes", "browser_order", "browser_stage", "browser_tools", "browser_pictures", "browser", "run", "build")
SHARED = pytest.StashKey[str]()

if WORKER:
    os.environ.update(dict.fromkeys(THREADS, "1"))
    os.environ["GRADIO_SERVER_PORT"] = str(7860 + 100 * (1 + int(WORKER.removeprefix("gw"))))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return as many workers as cores and memory allow; 0 for named files, which are quicker in one process."""
    named = all(Path(argument.partition("::")[0]).suffix == ".py" for argument in config.args)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = int(min(cores, MOST_WORKERS, _memory_gib() / GIB_A_WORKER))
    return 0 if named or fcntl is None or workers < 2 else workers


def _memory_gib() -> float:
    """Return the memory that these tests may use, where the system tells."""
    limits = [math.inf]
    if hasattr(os, "sysconf"):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    group = Path("/sys/fs/cgroup/memory.max")
    if group.is_file() and (limit := group.read_text(encoding="ascii").strip()).isdigit():
        limits.append(int(limit))
    return min(limits) / 2**30


def pytest_configure(config: pytest.Config) -> None:
    """Make the run's folder, or enter it as a worker: what one worker's tests count and clear is that worker's."""
    if not WORKER:
        config.stash[SHARED] = tempfile.mkdtemp(prefix="reid_demo_tests_")
        return
    config.stash[SHARED] = config.workerinput["shared"]
    own = Path(config.stash[SHARED]) / WORKER
    own.mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(own)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """Tell a new worker the run's folder."""
    node.workerinput["shared"] = node.config.stash[SHARED]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the run's folder."""
    if not WORKER:
        shutil.rmtree(config.stash[SHARED], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: one that began last would keep a single core waiting at the end."""
    items.sort(key=lambda item: item.path.stem.removeprefix("test_") not in LONGEST)


def pytest_collection_finish() -> None:
    """Take what the imports have made, half a million objects, out of every later search for garbage."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item):
    """Hold other workers' tests back while one marked `quiet` runs."""
    if not WORKER:
        return (yield)
    with _in_turn(Path(item.config.stash[SHARED]), alone=item.get_closest_marker("quiet") is not None):
        return (yield)


@contextmanager
def _in_turn(shared: Path, alone: bool) -> Iterator[None]:
    """Hold the room alone or with others; who waits for it keeps those that come later out of it."""
    with open(shared / "turn", "w") as turn, open(shared / "room", "w") as room:
        fcntl.flock(turn, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(turn, fcntl.LOCK_UN)
        try:
            yield
        finally:  # unlocked by name: a forked process that outlives its test has the same open file
            fcntl.flock(room, fcntl.LOCK_UN)
            fcntl.flock(turn, fcntl.LOCK_UN)
