"""Run a coroutine beside a browser, whose event loop occupies the tests' thread."""

import asyncio
from concurrent.futures import ThreadPoolExecutor


def in_a_new_loop(coroutine):
    """Run a coroutine in an event loop of its own thread; return its result."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
