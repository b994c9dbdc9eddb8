"""Time limits after which a request answers with what it has, so that other visitors need not wait long."""

import time
from collections.abc import Iterator
from typing import TypeVar

CHANGES_S = 10  # of carrying out the changes of a recipe
SWEEP_S = 30  # of a sweep, on the page and by the API
SET_S = 120  # of a set of what-ifs

Step = TypeVar("Step")


def within(steps: Iterator[Step], seconds: float) -> Iterator[Step]:
    """Pass on steps until making them has taken `seconds`, at least one.

    The time that a step is shown for does not count; waiting for a turn at the network does.
    """
    spent = 0.0
    while spent <= seconds:
        begun = time.monotonic()
        try:
            step = next(steps)
        except StopIteration:
            return
        spent += time.monotonic() - begun
        yield step
