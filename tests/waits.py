"""Wait for what another thread or process does, but never for ever."""

import time
from collections.abc import Callable


def wait_until(true: Callable[[], object], seconds: float = 20) -> None:
    """Return once `true()` returns something true; fail the test after `seconds`."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"still waiting after {seconds} s"
        time.sleep(0.01)


class MovableClock:
    """The module `time` for code under test, which a test moves on instead of sleeping."""

    sleep = staticmethod(time.sleep)

    def __init__(self) -> None:
        """Start at the present time."""
        self._ahead = 0.0

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self._ahead += seconds

    def monotonic(self) -> float:
        """Return the time that `time.monotonic` would, once all the moves had passed."""
        return time.monotonic() + self._ahead
