"""The page's speed: a change and a drag to their lists, a sweep, stopping one, and ten visitors at once."""

import contextlib
import copy
import itertools
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from reid_demo.drawing.figures import MINUS
from reid_demo.engine import Engine
from reid_demo.errors import GalleryError
from reid_demo.images import read_image
from reid_demo.model.dpti import DPTI
from reid_demo.occlude import BOXES
from reid_demo.records import Occlusion
from reid_demo.serving.bench.engine import made_up
from reid_demo.serving.bench.plain import Plain
from reid_demo.serving.bench.rows import ROUNDS, Row, Timing, in_ms, of, side_by_side
from reid_demo.serving.bench.visitors import Answer, Ask, Crowd, Visitor
from reid_demo.serving.page.handlers import acts, probe
from reid_demo.serving.page.handlers.examples import stories_of
from reid_demo.serving.page.handlers.session import Session, default_settings, new_token
from reid_demo.serving.page.handlers.stage import Stage
from reid_demo.serving.page.handlers.visits import Visits
from reid_demo.serving.page.view import build_ui, launch_options
from reid_demo.whatif.sweep import Window

VISITORS = 10
DRAGGED = 48  # steps in which a block is dragged down the probe
STEP = 1 / 8  # a window of this side and stride has 128 positions on a picture twice as high as wide
KINDS = tuple(BOXES)
LIMIT = 6.0  # the slowest of all visitors may take so many times a lone one


def bench_page(
    engine: Engine, network: DPTI, *, gallery_size: int = 20_000, step: float = STEP, repeats: int = 10
) -> list[Row]:
    """Measure what a visitor waits for, each beside a plain way of doing the same in the same run.

    Args:
        engine: with shipped examples.
        network: the same network as its weights have it, for the reference.
        gallery_size: images of the made-up gallery that is searched: the engine's own, with noise.
        step: side and stride of the window that sweeps, a fraction of the width.
        repeats: of short measurements; the median counts.

    Returns:
        Rows; those of the sweep's end and of stopping are single runs.

    Raises:
        GalleryError: the gallery ships no examples to visit with.
    """
    if not engine.examples:
        raise GalleryError("This gallery ships no example probes, so there is nothing to visit the page with.")
    with tempfile.TemporaryDirectory(prefix="reid_demo-bench-") as folder:
        large = copy.copy(engine)
        large.hold(made_up(engine, Path(folder) / "gallery", gallery_size))
        plain = Plain(network, large.describer.device, large.gallery)
        rows = [_change(large, plain, repeats), _drag(large, plain, repeats)]
        rows += _sweep(large, plain, step, min(repeats, ROUNDS))
        demo = build_ui(large)
        # The server speaks of itself; the table alone goes to the standard output.
        said = contextlib.redirect_stdout(sys.stderr)
        with said:
            _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **launch_options())
        try:
            rows += [*_visitors(large, demo, url, repeats), _stop(large, demo, url)]
        finally:
            with said:
                demo.close()
    return rows


def _change(engine: Engine, plain: Plain, repeats: int) -> Row:
    """Time one click on an occluder to its ranked list, beside a plain model and a full sort."""
    settings = default_settings(engine)
    opened = probe.open_example(engine, Session(), settings, 0)
    both = side_by_side(
        lambda: probe.hide(engine, opened, settings, probe.Hiding("lower_half", "mean_grey")),
        lambda: plain.change(opened.image, Occlusion("lower_half")),
        repeats,
    )
    return in_ms(f"a change to its list, {len(engine.gallery):,} images", *both, engine.describer.precision)


def _drag(engine: Engine, plain: Plain, repeats: int) -> Row:
    """Time one move of the block to the rows under it, by the function that the browser calls while it is dragged."""
    opened = replace(probe.open_example(engine, Session(), default_settings(engine), 0), token=new_token())
    visits = Visits()
    visits.keep(opened)
    stage = Stage(visits, lambda session: engine)
    places = itertools.cycle((0.0, y / DRAGGED, 1.0, (y + DRAGGED // 2) / DRAGGED) for y in range(DRAGGED // 2))

    def drag() -> None:
        if "error" in (answer := stage.rank({"token": opened.token, "box": next(places)})):
            raise GalleryError(answer["error"])

    both = side_by_side(drag, lambda: plain.change(opened.image, Occlusion("box", box=next(places))), repeats)
    return in_ms(f"a drag to its list, {len(engine.gallery):,} images", *both, engine.describer.precision)


def _sweep(engine: Engine, plain: Plain, step: float, repeats: int) -> list[Row]:
    """Time a sweep and its first map, beside the same windows one after another with a plain model."""
    image = read_image(engine.examples[0].path)
    watched = engine.search(engine.describe(image))[0].index
    boxes, batch = np.zeros((0, 4)), 0

    def first() -> None:
        nonlocal boxes, batch
        now = next(iter(engine.sweep(image, [[watched]], Window(step, step))))
        boxes, batch = now.boxes, now.done

    def whole() -> None:
        for _ in engine.sweep(image, [[watched]], Window(step, step)):
            pass

    until_first = side_by_side(first, lambda: plain.sweep(image, boxes[:batch], watched), repeats)
    until_end = side_by_side(whole, lambda: plain.sweep(image, boxes, watched), repeats, warm=False)
    precision = engine.describer.precision
    return [
        in_ms(f"sweep of {len(boxes)} windows", *until_end, precision),
        in_ms(f"sweep, to its first map of {batch} windows", *until_first, precision),
    ]


def _settings(engine: Engine) -> list:
    start = default_settings(engine)
    return [start.top_k, start.weighing, start.same_camera, list(engine.term_names), start.keep_recipe]


def listener(demo, elem_id: str, event: str) -> int:
    """Return the number of the listener of a component of a page that asks the server."""
    asking = ((number, found) for number, found in demo.fns.items() if found.fn is not None)
    for number, found in asking:
        for block, name in found.targets:
            if name == event and block is not None and demo.blocks[block].elem_id == elem_id:
                return number
    raise KeyError(f"The page has no {event} on {elem_id!r}.")


def inputs(engine: Engine) -> list:
    """Return the inputs of what is done on the stage: session, coverage and seed of a random block, settings."""
    return [None, 25, 1, *_settings(engine)]


def hiding(kind: str) -> dict:
    """Return what the browser sends when a block is let go over a half."""
    return {"verb": "settle", "box": BOXES[kind]}


def _visitors(engine: Engine, demo, url: str, repeats: int) -> list[Row]:
    """Time ten changes at once, beside one visitor making them one after another; compare every answer."""
    stories, settings = stories_of(engine), default_settings(engine)
    plan = [(i % len(stories or engine.examples), KINDS[i % len(KINDS)]) for i in range(VISITORS)]
    act, sent = listener(demo, "stage", "act"), inputs(engine)
    alone, together = [], []
    with Crowd(url) as crowd:

        def all_do(verbs: Sequence[dict]) -> list[Answer]:
            return crowd.ask([Ask(f"visitor-{n}", act, sent, verb) for n, verb in enumerate(verbs)])

        opened = [{"verb": "example", "number": example} for example, _ in plan]
        for _ in range(ROUNDS):  # in turn, so that other load on the machine slows both alike
            taken = []
            for _ in range(1 + -(-repeats // ROUNDS)):
                all_do(opened[:1])
                taken.append(all_do([hiding(KINDS[0])])[0].seconds)
            alone += taken[1:]  # the first one warms up
            all_do(opened)
            together.append(all_do([hiding(kind) for _, kind in plan]))
    lone, slowest = Timing.of(alone), Timing.of([max(one.seconds for one in answers) for answers in together])
    wrong = 0
    for number, (example, kind) in enumerate(plan):
        one = acts.settle(engine, acts.open_story(engine, Session(), settings, stories, example), settings, BOXES[kind])
        given = [answers[number].outputs for answers in together]
        wrong += sum(outputs is None or not _shows(outputs, one) for outputs in given)
    return _rows_of_visitors(lone, slowest, wrong, engine.describer.precision)


def _rows_of_visitors(lone: Timing, slowest: Timing, wrong: int, precision: str) -> list[Row]:
    name, in_turn = f"{VISITORS} visitors at once", VISITORS * lone.median_s
    waits = slowest.median_s, slowest.low_s, slowest.high_s
    ms, times = tuple(wait * 1e3 for wait in waits), tuple(wait / lone.median_s for wait in waits)
    gain, within = in_turn / slowest.median_s, LIMIT * lone.median_s / slowest.median_s
    return [
        of(f"{name}, the slowest; beside all in turn", "ms", ms, in_turn * 1e3, precision, gain),
        of(f"{name}, times a lone request; beside the limit", "x", times, LIMIT, precision, within),
        of(f"{name}, answers lost or crossed over", "", float(wrong), 0.0, precision),
    ]


def _shows(answer: list, one: Session) -> bool:
    """Tell whether an answer draws a session's line of the probe and its list, whose similarities have three digits.

    A runtime may round a picture that it describes among others otherwise than the same one alone.
    """
    line, strip = answer[2], answer[4]
    items = strip["value"] if isinstance(strip, dict) else strip
    drawn = [float(item["caption"].split("\n")[1].replace(MINUS, "-")) for item in items]
    wanted = [match.similarity for match in one.matches]
    return line == probe.probe_line(one) and len(drawn) == len(wanted) and np.allclose(drawn, wanted, atol=1e-3, rtol=0)


def _stop(engine: Engine, demo, url: str) -> Row:
    """Time from stopping a sweep until its work has ended, beside waiting for the sweep's end."""
    visitor = Visitor(url)
    visitor.ask(listener(demo, "stage", "act"), inputs(engine), {"verb": "example", "number": 0})
    number = listener(demo, "sweep-run", "click")
    data = [None, 20, 10, "mean_grey"]
    start = time.perf_counter()
    visitor.ask(number, data)
    whole = time.perf_counter() - start

    event = visitor.join(number, data)
    for message in visitor.messages():
        if message["msg"] == "process_generating" and message.get("event_id") == event:
            break
    start = time.perf_counter()
    visitor.stop(number, event)
    while any(demo._queue.active_jobs):
        time.sleep(0.002)
    stopped = time.perf_counter() - start
    what = "stop a sweep, until its work has ended; beside its end"
    return of(what, "ms", stopped * 1e3, whole * 1e3, engine.describer.precision, whole / stopped)
