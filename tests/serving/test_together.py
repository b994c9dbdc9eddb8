"""Several visitors on the real server: no long work holds up another, and one visitor's clicks keep their order."""

import threading
import time
from types import SimpleNamespace

import httpx
import pytest
from waits import wait_until

from reid_demo.serving import gradio_patches
from reid_demo.serving.bench.page import hiding, inputs, listener
from reid_demo.serving.bench.visitors import Visitor
from reid_demo.serving.page.view import build_ui, launch_options

MANY = [None, 20, 10, "mean_grey"]  # session, size, stride and fill of a sweep over some 170 windows


class Guest(Visitor):
    """A visitor who knows the page's listeners."""

    def __init__(self, demo, url, engine):
        super().__init__(url)
        self.demo, self.engine = demo, engine

    def listener(self, elem_id, event):
        return listener(self.demo, elem_id, event)

    def act(self, asked):
        return self.ask(self.listener("stage", "act"), inputs(self.engine), asked)


@pytest.fixture(scope="module")
def page(tiny_engine):
    demo = build_ui(tiny_engine)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **launch_options())

    def enter():
        guest = Guest(demo, url, tiny_engine)
        guest.act({"verb": "example", "number": 0})
        return guest

    yield enter, demo, url
    demo.close()


def events(visitor, number, data):
    """Queue an event; return its name, and an iterator of what the server says of it."""
    name = visitor.join(number, data)
    return name, (message for message in visitor.messages() if message.get("event_id") == name)


def first_step(messages):
    return next(message for message in messages if message["msg"] == "process_generating")


def is_idle(demo):
    return not any(demo._queue.active_jobs)


@pytest.fixture
def sweeping(page):
    """Let a visitor sweep, wait for the first map, and stop at the end."""
    enter, demo, _ = page
    visitor = enter()
    number = visitor.listener("sweep-run", "click")
    name, messages = events(visitor, number, MANY)
    first_step(messages)
    yield lambda: visitor.stop(number, name)
    visitor.stop(number, name)
    wait_until(lambda: is_idle(demo))


@pytest.mark.quiet
def test_a_page_opens_while_another_visitor_sweeps(page, sweeping):
    _, demo, url = page
    visitor = Visitor(url)
    load = next(n for n, fn in demo.fns.items() if any(event == "load" for _, event in fn.targets))
    start = time.monotonic()
    body = {"data": [None], "fn_index": load, "session_hash": visitor.name}  # it passes the queue by
    answer = visitor.http.post(f"{visitor.url}/run/predict", json=body).json()["data"]
    assert time.monotonic() - start < 2
    assert answer[4] and not is_idle(demo), "the list is there, the sweep goes on"


@pytest.mark.quiet
def test_a_page_opens_while_another_visitor_measures_sets(page):
    enter, demo, url = page
    busy = enter()
    number = busy.listener("sets-run", "click")
    name, messages = events(busy, number, [None, ["curve", "lower_half", "upper_half", "left_half"], 2, "noise"])
    first_step(messages)
    start = time.monotonic()
    enter()
    assert time.monotonic() - start < 2
    busy.stop(number, name)


@pytest.mark.quiet
def test_stopping_ends_the_work_soon(page, sweeping):
    _, demo, _ = page
    assert not is_idle(demo)
    start = time.monotonic()
    sweeping()
    wait_until(lambda: is_idle(demo), 1)
    assert time.monotonic() - start < 1


@pytest.mark.quiet
def test_work_stops_when_its_page_is_closed(page, tiny_engine, monkeypatch):
    enter, demo, _ = page
    visitor, described = enter(), []
    real = tiny_engine.describer.describe

    def slowly(images):
        time.sleep(0.3)
        described.append(len(images))
        return real(images)

    monkeypatch.setattr(tiny_engine.describer, "describe", slowly)
    number = visitor.listener("sweep-run", "click")
    visitor.join(number, MANY)  # some 43 batches: 13 s
    stream = visitor.messages()
    first_step(stream)
    stream.close()
    wait_until(lambda: is_idle(demo), 5)
    assert len(described) < 20


@pytest.mark.quiet
def test_two_sweeps_go_on_side_by_side(page, sweeping, tiny_engine):
    enter, _, _ = page
    other = enter()
    number = other.listener("sweep-run", "click")
    start = time.monotonic()
    name, messages = events(other, number, MANY)
    first_step(messages)
    assert time.monotonic() - start < 2, "the second one does not wait for the end of the first"
    other.stop(number, name)


def test_quick_clicks_of_one_visitor_build_on_each_other(page, tiny_engine):
    enter, demo, _ = page
    visitor = enter()
    names = [
        visitor.join(visitor.listener("stage", "act"), inputs(tiny_engine), {"verb": "hide", "kind": kind})
        for kind in ("random_block", "lower_half")
    ]
    lines = {}
    for message in visitor.messages():
        if message["msg"] == "process_completed" and message.get("event_id") in names:
            lines[message["event_id"]] = message["output"]["data"][2]
        if len(lines) == 2:
            break
    first, second = (lines[name] for name in names)
    assert "andom block" in first and "ower half" not in first
    assert "andom block" in second and "ower half" in second


def test_the_patch_picks_the_oldest_of_each_visit(page):
    """A visit that is served waits with all its further clicks; others are taken in the order of their coming."""
    _, demo, _ = page
    queue = demo._queue

    class Event:
        streaming = False

        def __init__(self, visit, kind, at, **headers):
            self.session_hash, self.concurrency_id, self.enqueue_time = visit, kind, at
            self._id, self.request = str(at), SimpleNamespace(headers={"x-gradio-user": "web", **headers})
            self.fn = type("Fn", (), {"batch": False})

    from gradio.queueing import EventQueue

    before = queue.event_queue_per_concurrency_id, queue.active_jobs
    try:
        kinds = {name: EventQueue(name, limit) for name, limit in gradio_patches.AT_ONCE.items()}
        a1, a2, b1 = Event("a", "long", 1), Event("a", "model", 2), Event("b", "model", 3)
        kinds["long"].queue, kinds["model"].queue = [a1], [a2, b1]
        queue.event_queue_per_concurrency_id, queue.active_jobs = kinds, [None] * 4
        for place in range(2):  # as Gradio does it
            queue.active_jobs[place] = queue.get_events()[0]
        assert {job[0] for job in queue.active_jobs[:2]} == {a1, b1} and kinds["model"].queue == [a2]
        queue.active_jobs = [[a1], [b1], None, None]
        assert queue.get_events() is None, "the visit's first click is not done"
        look1, look2 = Event("a", "browse", 4), Event("a", "browse", 5)
        kinds["browse"].queue = [look1, look2]
        assert queue.get_events()[0] == [look1], "looking through the gallery waits for no search of the same visit"
        queue.active_jobs = [[a1], [b1], [look1], None]
        assert queue.get_events() is None and kinds["browse"].queue == [look2], "but for its last look"
        kinds["browse"].queue = []
        queue.active_jobs = [None, [b1], None, None]
        assert queue.get_events()[0] == [a2]
        of_mcp = [Event("one client", "long", at, **{"x-gradio-user": "mcp"}) for at in (6, 7)]
        kinds["long"].queue, queue.active_jobs = of_mcp[1:], [of_mcp[:1], None, None, None]
        assert queue.get_events()[0] == of_mcp[1:], "all MCP calls come as one visit, but they are of many clients"
    finally:
        queue.event_queue_per_concurrency_id, queue.active_jobs = before


def test_ten_visitors_at_once_get_their_own_answers(page):
    enter, _, _ = page
    kinds = ("lower_half", "upper_half", "left_half", "right_half", "centre") * 2
    visitors = [enter() for _ in kinds]
    wanted = {}
    for visitor, kind in zip(visitors[:5], kinds, strict=False):
        wanted[kind] = visitor.act(hiding(kind))[2]
    visitors = [enter() for _ in kinds]
    answers, begin = [None] * 10, threading.Barrier(10)

    def click(i):
        begin.wait()
        try:
            answers[i] = visitors[i].act(hiding(kinds[i]))
        except httpx.HTTPError as error:
            answers[i] = error

    threads = [threading.Thread(target=click, args=(i,)) for i in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [answer[2] for answer in answers] == [wanted[kind] for kind in kinds]
