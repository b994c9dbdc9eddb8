"""What a visitor asks of the page has a time, after which it shows what there is and says so."""

import time

import numpy as np
import pytest

from reid_demo.records import Occlusion
from reid_demo.serving import answers, budget
from reid_demo.serving.page.handlers import probe, ranking, sets, sweep
from reid_demo.serving.page.handlers.session import Session, default_settings, with_recipe
from reid_demo.whatif.sweep import FIRST


@pytest.fixture
def opened(tiny_engine) -> Session:
    return probe.open_example(tiny_engine, Session(), default_settings(tiny_engine), 0)


@pytest.mark.quiet
def test_only_the_making_of_a_step_counts():
    def steps():
        for number in range(5):
            time.sleep(0.05)
            yield number

    shown = []
    for step in budget.within(steps(), 0.12):
        shown.append(step)
        time.sleep(0.2)  # others work
    assert shown == [0, 1, 2]
    assert list(budget.within(iter("ab"), 9)) == ["a", "b"] and list(budget.within(steps(), 0)) == [0]


def test_a_sweep_past_its_time_shows_what_it_has(tiny_engine, opened, monkeypatch):
    whole = list(sweep.sweep(tiny_engine, opened, 40, 20, "mean_grey"))
    monkeypatch.setattr(budget, "SWEEP_S", 0)
    first, last = sweep.sweep(tiny_engine, opened, 40, 20, "mean_grey")
    assert f"{FIRST} of" in first and "<table" not in first
    assert f"Stopped after 0 s: {FIRST} of" in last and last.count('<td class="number">') == FIRST * 6
    assert "All" in whole[-1] and "Stopped" not in whole[-1]


def test_a_set_past_its_time_shows_what_it_has(tiny_engine, opened, monkeypatch):
    monkeypatch.setattr(budget, "SET_S", 0)
    _, first, last = sets.measure(tiny_engine, opened, ["lower_half", "centre"], 1, "mean_grey")
    assert "Stopped after 0 s: 1 of 3 what-ifs" in last and "Save the numbers" in last and "Stopped" not in first


def test_changes_past_their_time_are_left_out(tiny_engine, opened, monkeypatch):
    settings = default_settings(tiny_engine)
    recipe = tuple(Occlusion(kind, "inpaint") for kind in ("upper_third", "centre", "lower_third"))
    assert with_recipe(tiny_engine, opened, settings, recipe).recipe == recipe
    monkeypatch.setattr(budget, "CHANGES_S", 0)
    cut = with_recipe(tiny_engine, opened, settings, recipe)
    assert cut.recipe == recipe[:1] and np.array_equal(cut.current, tiny_engine.occlude(opened.image, recipe[:1]))
    assert "Stopped after 0 s: 1 of 3 changes were made." in ranking.status(tiny_engine, cut)
    assert "Stopped" not in ranking.status(tiny_engine, probe.undo(tiny_engine, cut, settings))


def test_a_probe_without_colour_is_warned_of(tiny_engine, opened):
    grey = np.repeat(opened.image[:, :, :1], 3, axis=2)
    now = probe.open_picture(tiny_engine, opened, default_settings(tiny_engine), grey)
    assert answers.NO_COLOUR in ranking.status(tiny_engine, now)
    assert answers.NO_COLOUR not in ranking.status(tiny_engine, opened)
