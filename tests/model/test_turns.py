"""Requests of several threads share runs, keep their order, and do each other no harm."""

import threading

import numpy as np
import pytest
from figures import draw_person
from waits import wait_until

from reid_demo.model import turns
from reid_demo.model.turns import Turns


class Desk:
    """A run that can be held, and that remembers what it was asked."""

    def __init__(self):
        self.turns, self.runs = Turns(), []
        self.open, self.begun = threading.Event(), threading.Event()

    def run(self, items):
        self.runs.append(list(items))
        self.begun.set()
        assert self.open.wait(10)
        if "bad" in items:
            raise ValueError("a bad item")
        return [f"{item}!" for item in items]

    def start(self, *items, got=None):
        """Ask in a thread of its own, and come back once it waits or is served."""
        got = [] if got is None else got
        before = len(self.turns)

        def work():
            try:
                got.append(self.turns.ask(self.run, items))
            except ValueError as error:
                got.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        wait_until(lambda: len(self.turns) > before or self.runs and self.runs[-1] == list(items))
        return thread, got


def finish(started):
    for thread, _ in started:
        thread.join(10)
        assert not thread.is_alive()
    return [got[0] for _, got in started]


def test_small_requests_that_wait_share_one_run_and_get_their_own_answers():
    desk = Desk()
    started = [desk.start("first")]
    assert desk.begun.wait(10)
    started += [desk.start("a"), desk.start("b", "c"), desk.start("d")]
    desk.open.set()
    assert finish(started) == [["first!"], ["a!"], ["b!", "c!"], ["d!"]]
    assert desk.runs == [["first"], ["a", "b", "c", "d"]]


def test_long_work_takes_one_step_a_turn_and_probes_join_the_next():
    desk = Desk()
    step = ["s"] * 8
    started = [desk.start(*step)]
    assert desk.begun.wait(10)
    started += [desk.start(*(["t"] * 8)), desk.start("click"), desk.start(*(["u"] * 8))]
    desk.open.set()
    finish(started)
    # Whole steps never share a run, so none gets long; a click joins whichever comes next.
    assert desk.runs == [step, ["t"] * 8 + ["click"], ["u"] * 8]


def test_two_long_works_take_turns():
    desk = Desk()
    desk.open.set()

    def work(name):
        for _ in range(20):
            desk.turns.ask(desk.run, [name] * 3)

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    desk.open.clear()
    for thread in threads:
        thread.start()
    wait_until(lambda: len(desk.turns) >= 1)
    desk.open.set()
    for thread in threads:
        thread.join(10)
    order = [items[0] for items in desk.runs]
    assert sorted(order) == ["a"] * 20 + ["b"] * 20
    both = order[: max(order.index("a"), order.index("b")) + 1]
    assert len(both) <= 3, "neither waits for the other's end"


def test_a_run_that_fails_harms_only_who_asked_for_it():
    desk = Desk()
    started = [desk.start("first")]
    assert desk.begun.wait(10)
    started += [desk.start("good"), desk.start("bad"), desk.start("fine")]
    desk.open.set()
    _, good, bad, fine = finish(started)
    assert good == ["good!"] and fine == ["fine!"] and isinstance(bad, ValueError)
    assert desk.turns.ask(desk.run, ["after"]) == ["after!"]


def test_never_more_than_the_most_in_a_shared_run():
    desk = Desk()
    started = [desk.start("first")]
    assert desk.begun.wait(10)
    started += [desk.start(str(i)) for i in range(turns.MOST + 3)]
    desk.open.set()
    finish(started)
    assert [len(items) for items in desk.runs] == [1, turns.MOST, 3]


def test_who_waits_long_is_told_once_how_many_come_first(monkeypatch):
    monkeypatch.setattr(turns, "PATIENCE_S", 0.01)
    desk, told, heard = Desk(), [], threading.Event()
    started = [desk.start("first"), desk.start(*(["t"] * 8))]

    def tell(first):
        told.append(first)
        heard.set()

    def wait():
        with turns.telling(tell):
            desk.turns.ask(desk.run, ["me"] * 3)

    thread = threading.Thread(target=wait)
    thread.start()
    assert heard.wait(10)
    desk.open.set()
    thread.join(10)
    finish(started)
    assert told == [2], "one is served, one waits before"
    with turns.telling(told.append):
        desk.turns.ask(desk.run, ["alone"])
    assert told == [2]


def test_an_interrupt_of_who_waits_leaves_the_queue_whole(monkeypatch):
    monkeypatch.setattr(turns, "PATIENCE_S", 0.0)
    desk = Desk()
    started = [desk.start("first")]
    assert desk.begun.wait(10)

    def interrupt(first):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), turns.telling(interrupt):
        desk.turns.ask(desk.run, ["given up"])
    assert len(desk.turns) == 0
    desk.open.set()
    finish(started)
    assert desk.turns.ask(desk.run, ["next"]) == ["next!"] and ["given up"] not in desk.runs


def test_an_action_alone_keeps_its_place_and_its_error():
    desk = Desk()
    desk.open.set()
    assert desk.turns.alone(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        desk.turns.alone(lambda: 1 / 0)
    assert desk.turns.alone(lambda: 8) == 8


def test_probes_described_together_are_those_described_alone(tiny_describer):
    images = [draw_person(pid, 1) for pid in range(12)]
    alone = [tiny_describer.describe([image])[0] for image in images]
    begin, together = threading.Barrier(len(images)), [None] * len(images)

    def ask(i):
        begin.wait()
        together[i] = tiny_describer.describe([images[i]])[0]

    held, go = threading.Event(), threading.Event()
    holder = threading.Thread(target=lambda: tiny_describer.turns.alone(lambda: (held.set(), go.wait(10))))
    holder.start()
    assert held.wait(10)
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(images))]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(tiny_describer.turns) == len(images))
    go.set()
    for thread in (*threads, holder):
        thread.join(30)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(other.parts, one.parts, atol=1e-5 * np.abs(one.parts).max())
        np.testing.assert_allclose(other.presence, one.presence, atol=1e-5)
        np.testing.assert_allclose(other.template_attention, one.template_attention, atol=1e-5)
