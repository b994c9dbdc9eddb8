"""Turns at the network: first come, first served, and probes that wait at the same moment share a run.

Long work asks for one small step after another; between two of them everybody else who waits has a turn.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

SMALL = 2  # most items of a request that may join another's run: a probe, or a probe before and after a change
MOST = 32  # most items of a shared run
PATIENCE_S = 0.5  # of waiting, after which a visitor is told once how many requests come first

Run = Callable[[list], Sequence]  # items to as many results, in order
Tell = Callable[[int], None]  # gets the number of requests that come first

_tell: ContextVar[Tell | None] = ContextVar("tell", default=None)


@contextlib.contextmanager
def telling(tell: Tell) -> Iterator[None]:
    """Call `tell` when a request that this thread makes inside has waited for others for `PATIENCE_S`."""
    before = _tell.set(tell)
    try:
        yield
    finally:
        _tell.reset(before)


@dataclass(eq=False)
class _Request:
    """What one thread waits for."""

    run: Run
    items: list
    joins: bool  # may share a run with others of the same `run`
    results: Sequence = ()
    error: Exception | None = None
    done: bool = False
    since: float = field(default_factory=time.monotonic)


class Turns:
    """A queue of requests by threads, of which one is served at a time. Safe to share between threads."""

    def __init__(self) -> None:
        """Start with nobody waiting."""
        self._changed = threading.Condition()
        self._waiting: deque[_Request] = deque()
        self._taken = False

    def __deepcopy__(self, memo) -> "Turns":
        """Never copy it: it holds a lock."""
        return self

    def __len__(self) -> int:
        """Number of requests that wait, without the one that is served."""
        return len(self._waiting)

    def ask(self, run: Run, items: Sequence) -> list:
        """Return `run(items)`; small requests for the same `run` that wait at that moment share one call of it.

        Raises:
            Exception: what `run` raises for these items. Errors over the items of others do not reach this request.
        """
        request = _Request(run, list(items), joins=True)
        self._serve(request)
        return list(request.results)

    def alone(self, action: Callable[[], object]) -> object:
        """Return `action()`, called when it is this thread's turn."""
        request = _Request(lambda _: [action()], [], joins=False)
        self._serve(request)
        return request.results[0]

    def _serve(self, request: _Request) -> None:
        """Wait until a request comes first and serve it with those that join it, unless another thread serves it."""
        with self._changed:
            self._waiting.append(request)
            try:
                self._wait(request)
            except BaseException:  # a keyboard interrupt, or what `tell` raised
                if request in self._waiting:
                    self._waiting.remove(request)
                self._changed.notify_all()
                raise
            together = [] if request.done else self._take()
        if together:
            try:
                _carry_out(together)
            finally:
                with self._changed:
                    self._taken = False
                    for one in together:
                        one.done = True
                    self._changed.notify_all()
        if request.error is not None:
            raise request.error

    def _wait(self, request: _Request) -> None:
        tell = _tell.get()
        while not request.done and (self._taken or self._waiting[0] is not request):
            patience = None if tell is None else max(0.0, request.since + PATIENCE_S - time.monotonic())
            if not self._changed.wait(patience) and tell is not None and not request.done:
                first = self._waiting.index(request) if request in self._waiting else 0
                tell(first + self._taken)
                tell = None

    def _take(self) -> list[_Request]:
        """Take the first request, and the small ones that may join it."""
        self._taken = True
        first = self._waiting.popleft()
        together, count = [first], len(first.items)
        for one in list(self._waiting) if first.joins else ():
            fits = one.joins and one.run == first.run and len(one.items) <= SMALL
            if fits and count + len(one.items) <= MOST:
                self._waiting.remove(one)
                together.append(one)
                count += len(one.items)
        return together


def _carry_out(together: list[_Request]) -> None:
    """Run requests as one. If that fails, run each alone, so that bad items fail only their own request."""
    try:
        results = together[0].run([item for one in together for item in one.items])
    except Exception as error:
        if len(together) == 1:
            together[0].error = error
            return
        for one in together:
            _carry_out([one])
        return
    if len(together) == 1:
        together[0].results = results
        return
    start = 0
    for one in together:
        one.results = results[start : start + len(one.items)]
        start += len(one.items)
