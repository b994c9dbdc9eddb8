"""The visits of a page by their tokens, for calls that Gradio's queue and session know nothing of."""

import threading
import time

from reid_demo.errors import GalleryError
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers.session import Session

MOST_VISITS, KEEP_S = 1000, 3600


class Visits:
    """Visits by token. Safe to share between threads; a token that is unknown opens nothing."""

    def __init__(self) -> None:
        """Start with none."""
        self._visits: dict[str, tuple[float, Session]] = {}
        self._lock = threading.Lock()

    def __deepcopy__(self, memo) -> "Visits":
        """Never copy a page's visits."""
        return self

    def keep(self, session: Session) -> None:
        """Hold a visit as it is now; the oldest go when there are too many or after an hour."""
        if not session.token:
            return
        now = time.monotonic()
        with self._lock:
            self._visits.pop(session.token, None)
            self._visits[session.token] = (now, session)
            for token, (used, _) in list(self._visits.items()):
                if len(self._visits) <= MOST_VISITS and now - used < KEEP_S:
                    break  # they stand in the order of their use
                del self._visits[token]

    def open(self, token: object) -> Session:
        """Return the visit of a token.

        Raises:
            GalleryError: there is none.
        """
        with self._lock:
            found = self._visits.get(token) if isinstance(token, str) and token else None
        if found is None:
            raise GalleryError(text.STAGE_GONE)
        return found[1]

    def drop(self, token: str) -> None:
        """Forget a visit."""
        with self._lock:
            self._visits.pop(token, None)
