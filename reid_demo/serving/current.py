"""The engine that page and API search with. It follows its gallery when `index` writes that anew.

Before each search the state of `meta.json` tells whether that happened. Knows no visitor and no page.
"""

import logging
import threading
import time

from reid_demo.engine import Engine
from reid_demo.errors import ReidError

_log = logging.getLogger(__name__)
RETRY_S = 30  # after which a gallery that could not be opened, perhaps as it was being copied, is tried again


class Current:
    """An engine over a gallery that another process may replace. Safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        """Begin with the gallery that `engine` has read."""
        self._engine = engine
        self._lock = threading.Lock()
        self._refused: tuple[int, int] | None = None  # stamp of a new gallery that could not be opened
        self._tried = 0.0  # when that was, by the monotonic clock

    def __deepcopy__(self, memo) -> "Current":
        """Never copy it: it holds a gallery."""
        return self

    @property
    def engine(self) -> Engine:
        """The engine over the gallery as it lies on the disk now.

        If that cannot be opened, the old gallery, whose vectors are still mapped, stays in use. The log says why, once.
        """
        if not self._engine.gallery.is_replaced:
            return self._engine
        with self._lock:
            gallery = self._engine.gallery
            refused = gallery.stamp_now() == self._refused and time.monotonic() - self._tried < RETRY_S
            if gallery.is_replaced and not refused:
                self._reopen()
            return self._engine

    def _reopen(self) -> None:
        stamp, self._tried = self._engine.gallery.stamp_now(), time.monotonic()
        try:
            self._engine = self._engine.reopened()
        except ReidError as error:
            if stamp != self._refused:
                _log.warning("The gallery was replaced, and the old one is still searched. %s", error)
            self._refused = stamp
        else:
            _log.info("The gallery was replaced: its %d images are searched from now on.", len(self._engine.gallery))
