"""Threads that each do their share of a long pass alone.

PyTorch's own threads meet after each of a pass's many small steps. Where they share a core, because another program had
theirs when they woke, each step waits for the scheduler: a pass took three times as long, click after click.
"""

import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

_starting = threading.Lock()


def share_out(work: Callable[[int, int], object], count: int) -> None:
    """Do a pass of `count` steps, a share of them in each of as many threads as PyTorch has here.

    Args:
        work: called with the first step of a share and the one after its last; in each thread, PyTorch works alone.
        count: steps; they are done in this thread where there are fewer than threads.
    """
    threads = torch.get_num_threads()
    if threads == 1 or count < threads:
        work(0, count)
        return
    ends = [count * number // threads for number in range(threads + 1)]
    with _starting:
        pool = _pool(os.getpid(), threads)
    list(pool.map(work, ends[:-1], ends[1:]))


@functools.cache
def _pool(_process: int, threads: int) -> ThreadPoolExecutor:
    """Start the threads; those of a process do not live on in one forked from it."""
    all_there = threading.Barrier(threads + 1)

    def alone() -> None:
        torch.set_num_threads(1)  # of this thread, and of those that begin to use PyTorch before it is taken back
        torch.get_num_threads()  # PyTorch looks at the number only when a thread first asks
        all_there.wait()

    pool = ThreadPoolExecutor(threads, "share", alone)
    for _ in range(threads):
        pool.submit(int)  # starts a thread, which waits in its initialiser
    all_there.wait()
    torch.set_num_threads(threads)
    return pool
