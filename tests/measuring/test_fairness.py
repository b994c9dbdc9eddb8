"""Error rates by group, counted again by hand."""

from dataclasses import replace

import numpy as np
import pytest

from reid_demo.data.people_file import write_people
from reid_demo.engine import AboutWeights, Engine
from reid_demo.errors import DatasetError, SyntheticError
from reid_demo.measuring import fairness
from reid_demo.whatif.confidence import Calibration, Level, Rates

CALIBRATION = Calibration(
    gallery="tiny",
    num_images=18,
    scoring="cosine",
    whole=Rates(levels=(Level(0.1, 0.97, 0.09, 0.3),)),
    occluded=None,
    fingerprint="abc",
)
PERSON = {"weight": "light", "height": "tall", "age": "over 50", "skin": "dark", "sex": "female", "coat": "none"}
PERSON |= {"bottom": "skirt", "bag": "none"}


@pytest.fixture
def engine(tiny_engine):
    about = AboutWeights("tiny", calibration=CALIBRATION)
    return Engine(tiny_engine.describer, tiny_engine.gallery, about=about, examples=tiny_engine.probes)


def people_file(path, rows):
    write_people(path, [{**PERSON, "pid": pid, **row} for pid, row in rows.items()])
    return path


def test_rates_by_hand(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(fairness, "LEAST", 1)
    found = fairness.study(engine, people_file(tmp_path / "people.jsonl.gz", {2: {}, 50: {"skin": "light"}}))
    assert (found.num_people, found.num_searches) == (2, 2)
    rows = {(row.asked, row.group): row for row in found.rows}
    for probe in engine.probes:
        scores = engine.gallery.scores(engine.describe(fairness.read_image(probe.path)), engine.default_scoring)
        own = engine.pids == probe.pid
        alarm = bool(scores[~own].max() >= 0.97)
        name = "dark" if probe.pid == 2 else "light"
        if ("skin", name) in rows:
            assert rows["skin", name].false_alarms.value == alarm
        if own.any():
            assert rows["skin", name].first.value == (scores[own].max() > scores[~own].max())
    assert found.table().count("\n") == len(found.rows) + 2


def test_small_groups_are_left_out(engine, tmp_path):
    found = fairness.study(engine, people_file(tmp_path / "people.jsonl.gz", {2: {}, 50: {}}))
    assert found.rows == ()  # of two people nothing is said


def test_what_is_missing_is_named(tiny_engine, engine, tmp_path):
    with pytest.raises(DatasetError, match="run `calibrate` first"):
        fairness.study(tiny_engine)
    with pytest.raises(SyntheticError, match="none.jsonl.gz"):
        fairness.study(engine, tmp_path / "none.jsonl.gz")


def test_a_group_that_differs_stands_out():
    first = {pid: float(pid % 2) for pid in range(100)} | {pid: 0.0 for pid in range(100, 120)}
    alarms = dict.fromkeys(first, 0.0) | dict.fromkeys(range(100, 120), 1.0)
    row = fairness._row("skin", "dark", list(range(100, 120)), first, alarms)
    assert row.stands_out == "R-1 and FPIR" and row.first.value == 0
    assert fairness._row("skin", "light", list(range(40)), first, alarms).stands_out in ("", "FPIR")
    assert np.isclose(row.false_alarms.value, 1)


def test_a_threshold_of_another_gallery_does_not_count(engine, tmp_path):
    other = engine.over(engine.gallery, engine.probes)
    other.calibration = replace(engine.calibration, gallery="elsewhere")
    with pytest.raises(DatasetError, match="measured on 'elsewhere'"):
        fairness.study(other, people_file(tmp_path / "people.jsonl.gz", {2: {}}))
