"""The one folder of a running server: what visitors upload, what is shown to them, and their own galleries.

It is readable by its owner alone, is removed at exit, and each start removes what servers that died have left.
"""

import atexit
import contextlib
import functools
import os
import secrets
import shutil
import tempfile
import threading
import time
from pathlib import Path

from filelock import FileLock, Timeout

from reid_demo.errors import ConfigError

PREFIX, LOCK = "reid_demo_private_", "lock"
KEEP_YOUNG_S = 3600
YOUNG_S = 60  # a folder without a lock may be one that another program is making just now


class Workplace:
    """A folder of mode 700 whose lock is held as long as its process lives."""

    def __init__(self, parent: Path | None = None) -> None:
        """Remove what dead servers left in `parent`, by default the system's temporary folder, and make a folder.

        Raises:
            ConfigError: `parent` cannot be written.
        """
        parent = parent or Path(tempfile.gettempdir())
        remove_what_is_left(parent)
        # Under another name until it is locked: a server that starts in this moment would take it for a dead one's.
        making = parent / f".{PREFIX}{secrets.token_hex(8)}"
        self.folder = parent / f"{PREFIX}{secrets.token_hex(8)}"
        try:
            parent.mkdir(parents=True, exist_ok=True)
            making.mkdir(mode=0o700)
            if os.name == "nt":  # which renames no folder with an open file; while it is young, nobody takes it
                making = making.rename(self.folder)
            self._lock = FileLock(making / LOCK)
            self._lock.acquire(timeout=0)
            if making != self.folder:
                making.rename(self.folder)
        except (OSError, Timeout) as error:
            shutil.rmtree(making, ignore_errors=True)
            raise ConfigError(
                f"The temporary folder {parent} cannot be written ({getattr(error, 'strerror', None) or error}). "
                "Name another one in the environment variable TMPDIR."
            ) from error

        self._closed = threading.Event()
        threading.Thread(target=self._stay_young, daemon=True, name="keeper of the temporary folder").start()

    def _stay_young(self) -> None:
        """Keep it from programs that remove old files: without its lock, the folder would be a dead server's."""
        while not self._closed.wait(KEEP_YOUNG_S):
            for path in (self.folder, self.folder / LOCK, *self.folder.glob("*")):
                with contextlib.suppress(OSError):
                    os.utime(path)

    def subfolder(self, name: str) -> Path:
        """Return a folder inside, made if missing, of mode 700."""
        folder = self.folder / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def close(self) -> None:
        """Remove the folder with all that is in it; closing twice is no error."""
        self._closed.set()
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._lock.release()


@functools.cache
def of_this_process() -> Workplace:
    """Return this process's folder, made at the first call in `GRADIO_TEMP_DIR` or the system's temporary folder."""
    named = os.environ.get("GRADIO_TEMP_DIR")
    place = Workplace(Path(named).expanduser() if named else None)
    atexit.register(close_this_process, os.getpid())
    return place


def close_this_process(pid: int | None = None) -> None:
    """Remove this process's folder, if it was made; a forked child does not take its parent's (`pid`)."""
    if of_this_process.cache_info().currsize and pid in (None, os.getpid()):
        place = of_this_process()
        place.close()
        of_this_process.cache_clear()
        if Path(os.environ.get("GRADIO_TEMP_DIR", "/")).is_relative_to(place.folder):
            del os.environ["GRADIO_TEMP_DIR"]


def remove_what_is_left(parent: Path) -> None:
    """Remove the folders of servers that are gone, which nobody holds locked any more."""
    for folder in (*parent.glob(f"{PREFIX}*"), *parent.glob(f".{PREFIX}*")):
        if folder.is_symlink():  # in a folder that all share, somebody else may have made it
            continue
        try:
            if not (folder / LOCK).exists() and time.time() - folder.stat().st_mtime < YOUNG_S:
                continue
            with FileLock(folder / LOCK, timeout=0):
                pass
        except (Timeout, OSError):  # held, or another user's
            continue
        shutil.rmtree(folder, ignore_errors=True)
