"""A pass shared out among threads does every step once, with PyTorch's threads as they were."""

import multiprocessing
import threading

import numpy as np
import pytest
import torch

from reid_demo.search import similarity
from reid_demo.search.similarity import CACHED_ROWS, part_products, share_out


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 100])
def test_every_step_is_done_once_and_each_thread_works_alone(threads, count):
    done, seen, lock = np.zeros(count, int), [], threading.Lock()

    def work(first: int, end: int) -> None:
        with lock:
            done[first:end] += 1
            seen.append((threading.get_ident(), torch.get_num_threads()))

    share_out(work, count)
    assert (done == 1).all()
    assert torch.get_num_threads() == threads
    if threads > 1 and count >= threads:
        assert len(seen) == threads and {number for _, number in seen} == {1}
    else:
        assert [ident for ident, _ in seen] == [threading.get_ident()]


def test_what_fails_in_a_thread_fails_here(threads):
    with pytest.raises(ZeroDivisionError):
        share_out(lambda first, end: 1 / 0, 8)


def test_products_are_the_same_bits_with_any_number_of_threads(threads):
    rng = np.random.default_rng(0)
    parts = rng.standard_normal((5 * CACHED_ROWS + 7, 3, 32), np.float32).astype(np.float16)
    probes = rng.standard_normal((2, 3, 32)).astype(np.float32)
    found = part_products(parts, probes)
    np.testing.assert_allclose(found, np.einsum("gtd,ntd->ntg", parts.astype(np.float32), probes), atol=1e-4)
    torch.set_num_threads(1)
    np.testing.assert_array_equal(found, part_products(parts, probes))


def test_the_first_callers_compile_the_loop_once(monkeypatch):
    """PyTorch compiles with a register that is nobody's own, and watches a function's first call."""
    made, script, together = [], torch.jit.script, threading.Barrier(4)
    calls: list[tuple[bool, torch.Size]] = []

    def counted(function):
        compiled = script(function)

        def call(*given):
            calls.append((similarity._starting.locked(), given[1].shape))
            return compiled(*given)

        made.append(function)
        return call

    def first() -> None:
        together.wait()
        part_products(np.ones((5, 3, 8), np.float16), np.ones((1, 3, 8), np.float32))

    monkeypatch.setattr(torch.jit, "script", counted)
    similarity._compiled_blocks.cache_clear()
    callers = [threading.Thread(target=first) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    similarity._compiled_blocks.cache_clear()
    assert made == [similarity._multiply_blocks]
    assert calls[:2] == [(True, (1, 1, 1))] * 2 and [shape for _, shape in calls[2:]] == [(5, 3, 8)] * 4


def test_callers_at_once_get_their_own_products(threads):
    rng = np.random.default_rng(1)
    parts = rng.standard_normal((9 * CACHED_ROWS, 3, 32), np.float32).astype(np.float16)
    probes = [rng.standard_normal((1, 3, 32)).astype(np.float32) for _ in range(6)]
    wanted, found = [part_products(parts, probe) for probe in probes], [None] * 6

    def ask(number: int) -> None:
        found[number] = part_products(parts, probes[number])

    callers = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    np.testing.assert_array_equal(found, wanted)


def _count_in_a_fork(connection) -> None:
    done = []
    torch.set_num_threads(2)
    share_out(lambda first, end: done.append(end - first), 8)
    connection.send(sum(done))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
def test_a_forked_process_starts_its_own_threads(threads):
    share_out(lambda first, end: None, 8)
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_count_in_a_fork, args=(there,), daemon=True)
    child.start()
    assert here.poll(30) and here.recv() == 8
    child.join(30)
