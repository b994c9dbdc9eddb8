"""Run a coroutine beside a browser, whose own event loop stays in the thread of the tests."""

import asyncio
from concurrent.futures import ThreadPoolExecutor


def in_a_new_loop(coroutine):
    """Return what a coroutine returns, run in an event loop of a thread of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
