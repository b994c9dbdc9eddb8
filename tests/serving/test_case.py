"""Saved cases open with the same ranking, and files that are not valid cases are refused."""

import csv
import dataclasses
import io
import json

import numpy as np
import pytest

from reid_demo import occlude
from reid_demo.errors import CaseError, ReidError
from reid_demo.images import PROBE_SIDE
from reid_demo.records import ImageRecord, Match, Occlusion, Scoring
from reid_demo.serving import case


@pytest.fixture
def made(tiny_engine, probe_image) -> case.Case:
    recipe = (Occlusion("lower_half", "noise", seed=3),)
    scoring = Scoring("part_aware", parts=(True,) * 8 + (False,))
    matches = tuple(tiny_engine.search(tiny_engine.describe(tiny_engine.occlude(probe_image, recipe)), 6, scoring))
    decisions = {matches[0].index: "confirmed", matches[2].index: "rejected"}
    moves = {m.index: -1 for m in matches}
    return case.Case(probe_image, "<i>x</i>", 2, 4, "", recipe, scoring, 6, False, matches, moves, decisions)


def test_json_opens_to_the_same_case(tiny_engine, made):
    opened = case.read_json(case.write_json(made, tiny_engine), tiny_engine)
    assert np.array_equal(opened.image, made.image) and opened.recipe == made.recipe
    assert (opened.scoring, opened.top_k, opened.same_camera) == (made.scoring, 6, False)
    assert (opened.pid, opened.camid, opened.title) == (2, 4, "<i>x</i>")
    probe = tiny_engine.describe(tiny_engine.occlude(opened.image, opened.recipe))
    again = tiny_engine.search(probe, opened.top_k, opened.scoring)
    assert [m.record.path for m in again] == list(opened.paths)
    assert opened.decisions == {made.matches[0].record.path: "confirmed", made.matches[2].record.path: "rejected"}


LONG = "x" * 100_000


@pytest.mark.parametrize("weighing", ["cosine", "adaptive", "part_aware"])
def test_a_case_of_an_earlier_release_opens(tiny_engine, made, weighing):
    values = json.loads(case.write_json(made, tiny_engine))
    assert values["settings"]["weighing"] == "part_aware"
    del values["settings"]["weighing"]
    values["settings"] |= {"adaptive": weighing == "adaptive", "part_aware": weighing == "part_aware"}
    opened = case.read_json(json.dumps(values), tiny_engine)
    assert opened.scoring == Scoring(weighing, made.scoring.parts)


def test_json_states_weights_recipe_ranks_and_decisions(tiny_engine, made):
    values = json.loads(case.write_json(made, tiny_engine))
    assert values["fingerprint"] == tiny_engine.gallery.fingerprint
    assert [occlude.from_dict(o) for o in values["recipe"]] == list(made.recipe)
    assert [row["rank"] for row in values["candidates"]] == [1, 2, 3, 4, 5, 6]
    assert [row["decision"] for row in values["candidates"]][:3] == ["confirmed", "open", "rejected"]


def test_csv_has_a_row_a_candidate_and_runs_nothing(made):
    rows = list(csv.DictReader(io.StringIO(case.write_csv(made))))
    assert tuple(rows[0]) == case.COLUMNS and len(rows) == 6 and rows[0]["decision"] == "confirmed"
    bad = Match(ImageRecord("=1+1.png", 1, 1), 0, 1, 0.5, np.zeros(9))
    risky = case.Case(made.image, "", None, None, "", (), Scoring(), 1, False, (bad,), {}, {})
    assert "'=1+1.png" in case.write_csv(risky)
    for sign in "=+-@\t\r":
        assert case.guarded(f"{sign}1+1") == f"'{sign}1+1"
    assert [case.guarded(cell) for cell in (-3, 0.5, None, "a=b")] == [-3, 0.5, None, "a=b"]


def test_script_in_records_does_not_run_in_the_report(tiny_engine, made):
    script = "<img src=x onerror=alert(1)>"
    evil = dataclasses.replace(made.matches[0].record, pid=script, camid=script)
    match = dataclasses.replace(made.matches[0], record=evil)
    page = case.write_html(dataclasses.replace(made, title=script, matches=(match,)), tiny_engine)
    assert script not in page and page.count("&lt;img src=x onerror=alert(1)&gt;") == 3


def test_html_stands_alone(tiny_engine, made):
    page = case.write_html(made, tiny_engine)
    assert page.count("<img") == 2 + 6 and "http" not in page and "<script" not in page
    assert "&lt;i&gt;x&lt;/i&gt;" in page and "<i>x</i>" not in page
    assert tiny_engine.gallery.fingerprint in page and "part-aware" in page and ">confirmed<" in page


@pytest.mark.parametrize(
    "change",
    [
        lambda v: "oops",
        lambda v: [],
        lambda v: {},
        lambda v: {**v, "fingerprint": "0" * 16},
        lambda v: {**v, "gallery": "another"},
        lambda v: {**v, "candidates": 3},
        lambda v: {**v, "probe": {**v["probe"], "png": "%%"}},
        lambda v: {**v, "probe": {**v["probe"], "png": "AAAA"}},
        lambda v: {**v, "recipe": [{"kind": "hat"}]},
        lambda v: {**v, "settings": {**v["settings"], "top_k": 0}},
        lambda v: {**v, "settings": {**v["settings"], "terms": [True]}},
        lambda v: {**v, "settings": {**v["settings"], "terms": []}},
        lambda v: {k: w for k, w in v.items() if k != "settings"},
    ],
)
def test_what_is_no_case_of_ours_is_refused(tiny_engine, made, change):
    values = change(json.loads(case.write_json(made, tiny_engine)))
    with pytest.raises(ReidError):
        case.read_json(json.dumps(values), tiny_engine)
    with pytest.raises(CaseError):
        case.read_json(b"\xff", tiny_engine)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda v: v["settings"].update(top_k="5"), "settings.top_k"),
        (lambda v: v["settings"].update(same_camera=1), "settings.same_camera"),
        (lambda v: v["settings"].update(weighing="heavy"), "settings: weighing"),
        (lambda v: v["settings"].update(terms="111"), "settings: parts"),
        (lambda v: v["probe"].update(pid="2"), "probe.pid"),
        (lambda v: v["candidates"][1].update(decision="maybe"), "candidates.1.decision"),
        (lambda v: v["candidates"][0].pop("path"), "candidates.0.path"),
        (lambda v: v["recipe"][0].update(seed=None), "seed"),
        (lambda v: v["recipe"][0].update(coverage=True), "coverage"),
        (lambda v: v["recipe"][0].update(box="0011"), "box"),
    ],
)
def test_the_field_that_is_wrong_is_named(tiny_engine, made, change, field):
    values = json.loads(case.write_json(made, tiny_engine))
    change(values)
    with pytest.raises(ReidError, match=field):
        case.read_json(json.dumps(values), tiny_engine)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.update(gallery=LONG),
        lambda v: v.update(fingerprint=LONG),
        lambda v: v["settings"].update(weighing=LONG),
        lambda v: v["settings"].update(terms=[LONG]),
        lambda v: v["recipe"][0].update(kind=LONG),
        lambda v: v["recipe"][0].update(fill=LONG),
        lambda v: v["recipe"][0].update({LONG: 1}),
    ],
)
def test_what_is_wrong_is_not_repeated_at_length(tiny_engine, made, change):
    values = json.loads(case.write_json(made, tiny_engine))
    change(values)
    with pytest.raises(ReidError) as told:
        case.read_json(json.dumps(values), tiny_engine)
    assert len(str(told.value)) < 400


def test_no_message_is_endless():
    assert str(ReidError(LONG)) == LONG[:2000] + "..." and str(ReidError("short")) == "short"


def test_a_case_of_two_weighings_at_once_is_refused(tiny_engine, made):
    values = json.loads(case.write_json(made, tiny_engine))
    del values["settings"]["weighing"]
    values["settings"].update(adaptive=False, part_aware=True)
    assert case.read_json(json.dumps(values), tiny_engine).scoring == made.scoring
    values["settings"]["adaptive"] = True
    with pytest.raises(CaseError, match="exclude each other"):
        case.read_json(json.dumps(values), tiny_engine)


def test_the_report_names_a_fill_only_where_something_is_filled(tiny_engine, made):
    recipe = (Occlusion("lower_half", "noise"), Occlusion("crop", box=(0, 0, 1, 0.5)), Occlusion("person"))
    report = case.write_html(dataclasses.replace(made, recipe=recipe[:2]), tiny_engine)
    assert "lower half (noise), crop<" in report
    assert [case._change(step) for step in recipe] == ["lower half (noise)", "crop", "person"]


def test_a_large_picture_of_a_case_is_shrunk_as_any_probe(tiny_engine, made):
    large = dataclasses.replace(made, image=np.zeros((1500, 700, 3), np.uint8))
    assert max(case.read_json(case.write_json(large, tiny_engine), tiny_engine).image.shape) == PROBE_SIDE


def test_the_report_has_the_verdict_on_the_first_match(tiny_engine, made):
    judged = dataclasses.replace(made, verdict="No confident match: 0.41 is below 0.58.")
    assert "<dd>No confident match: 0.41 is below 0.58.</dd>" in case.write_html(judged, tiny_engine)
    assert "not calibrated" in case.write_html(made, tiny_engine)
