"""The page's speed table: its rows, its artificial gallery, and that it notices swapped answers."""

import functools
import json
from dataclasses import replace

import numpy as np
import pytest

from reid_demo.__main__ import main
from reid_demo.engine import Engine
from reid_demo.errors import GalleryError
from reid_demo.serving.bench import page as bench_page
from reid_demo.serving.bench.engine import made_up
from reid_demo.serving.bench.rows import Row
from reid_demo.serving.bench.visitors import Ask, Crowd
from reid_demo.serving.page.handlers import probe, ranking
from reid_demo.serving.page.handlers.session import Session, default_settings
from reid_demo.serving.page.view import build_ui, launch_options


def test_the_command_measures_every_wait(tiny_engine, tiny_weights, monkeypatch, capsys):
    monkeypatch.setattr("reid_demo.cli.common.load_engine", lambda options: tiny_engine)
    quickly = functools.partial(bench_page.bench_page, step=0.5, repeats=1)
    monkeypatch.setattr(bench_page, "bench_page", quickly)
    assert main(["bench", "--page", "--weights", str(tiny_weights), "--gallery-size", "40", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [set(row) for row in rows] == [set(Row.__dataclass_fields__)] * 8
    by_name = {row["what"]: row for row in rows}
    assert "sweep of 8 windows" in by_name and "a drag to its list, 40 images" in by_name
    assert by_name["10 visitors at once, answers lost or crossed over"]["value"] == 0
    assert all(row["value"] > 0 and row["reference"] > 0 for row in rows if row["unit"] in ("ms", "x"))


def test_an_answer_of_another_visitor_is_noticed(tiny_engine, monkeypatch):
    asked = bench_page.hiding
    monkeypatch.setattr(bench_page, "hiding", lambda kind: asked("lower_half"))  # everybody gets the first one's change
    demo = build_ui(tiny_engine)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **launch_options())
    try:
        rows = bench_page._visitors(tiny_engine, demo, url, 1)
    finally:
        demo.close()
    assert next(row.value for row in rows if "crossed over" in row.what) > 0


def test_a_lost_answer_is_counted_and_the_others_arrive(tiny_engine):
    demo = build_ui(tiny_engine)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **launch_options())
    act, sent = bench_page.listener(demo, "stage", "act"), bench_page.inputs(tiny_engine)
    try:
        with Crowd(url) as crowd:
            good, bad = crowd.ask([Ask("a", act, sent, {"verb": "example", "number": 0}), Ask("b", 10**6, [], {})])
    finally:
        demo.close()
    assert good.seconds > 0 and good.outputs and bad.outputs is None


def test_the_made_up_gallery_is_like_the_real_one(tiny_engine, tmp_path):
    made = made_up(tiny_engine, tmp_path / "made", 40)
    assert len(made) == 40 and made.image_path(39).is_file()
    own = tiny_engine.gallery
    assert [r.pid for r in made.records[:36]] == [r.pid for r in own.records] * 2
    first, again = np.float32(made.parts[0]).ravel(), np.float32(made.parts[18]).ravel()
    assert 0.7 < np.corrcoef(first, again)[0, 1] < 0.999  # look-alikes, not copies


def test_without_examples_there_is_no_visit(tiny_engine):
    bare = Engine(tiny_engine.describer, tiny_engine.gallery)
    with pytest.raises(GalleryError, match="no example"):
        bench_page.bench_page(bare, bare.describer.model)


def test_an_answer_may_differ_in_the_last_digit_but_not_be_anothers(tiny_engine):
    settings = default_settings(tiny_engine)
    one, other = (probe.open_example(tiny_engine, Session(), settings, number) for number in (0, 1))

    def answer(session: Session, shift: float = 0, line: Session | None = None) -> list:
        captions = [ranking.caption(session, replace(m, similarity=m.similarity + shift)) for m in session.matches]
        return [None, None, probe.probe_line(line or session), None, {"value": [{"caption": c} for c in captions]}]

    assert bench_page._shows(answer(one), one) and bench_page._shows(answer(one, shift=4e-4), one)
    assert not bench_page._shows(answer(one, shift=2e-3), one)
    assert not bench_page._shows(answer(other), one) and not bench_page._shows(answer(other, line=one), one)
    short = answer(one)
    short[4]["value"].pop()
    assert not bench_page._shows(short, one)
