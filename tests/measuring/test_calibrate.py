"""Open-set rates, checked by hand and against a slow count."""

import json
import re
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest

from reid_demo.data.probes import read_probes
from reid_demo.engine import Engine
from reid_demo.errors import DatasetError, GalleryError, WeightsError
from reid_demo.measuring import calibrate as calibrating
from reid_demo.measuring.calibrate import (
    FPIR_LEVELS,
    alarm_table,
    calibrate,
    calibrate_stored,
    first_matches,
    mark_table,
    open_set_rates,
)
from reid_demo.records import Identities, Scoring
from reid_demo.search.gallery_views import ONE_VIEW, VIEWS
from reid_demo.whatif.confidence import Calibration, Level, Rates, Searched, judge, read, why_not


def test_by_hand():
    # Two people under camera 1, each once in the gallery under camera 2; the third query's person is absent.
    similarity = np.array([[0.9, 0.3], [0.6, 0.5], [0.2, 0.7]])
    rates = open_set_rates(similarity, Identities.of([1, 2, None], [1, 1, 1]), Identities.of([1, 2], [2, 2]))
    assert (rates.num_present, rates.num_absent) == (2, 3)
    # First matches were the person absent: 0.3, 0.6, 0.7. Below a third, none of them may pass.
    strict = rates.levels[0]
    assert strict.fpir == 0 and strict.threshold == pytest.approx(0.7, abs=1e-5)
    assert strict.fnir == 0.5  # the first query is found; the second has a stranger first
    loose = rates.levels[-1]  # half of three searches: one may pass
    assert loose.fpir == pytest.approx(1 / 3, abs=1e-3) and loose.threshold > 0.6


def test_the_same_camera_is_left_out():
    rates = open_set_rates(np.array([[0.9, 0.4]]), Identities.of([5], [1]), Identities.of([5, 6], [1, 1]))
    assert rates.num_present == 0 and rates.levels[0].fnir is None
    assert rates.levels[0].threshold == pytest.approx(0.4, abs=1e-5)  # nor does it count as a stranger


def test_against_a_slow_count():
    rng = np.random.default_rng(0)
    similarity = rng.random((60, 80))
    q_pids, g_pids = rng.integers(-1, 12, 60), rng.integers(-1, 12, 80)
    q_camids, g_camids = rng.integers(1, 3, 60), rng.integers(1, 4, 80)
    rates = open_set_rates(similarity, Identities(q_pids, q_camids), Identities(g_pids, g_camids))
    previous = 2.0
    for aim, level in zip(FPIR_LEVELS, rates.levels, strict=True):
        alarms = misses = present = 0
        for q in range(60):
            own = [g for g in range(80) if g_pids[g] == q_pids[q] >= 1]
            strangers = [similarity[q, g] for g in range(80) if g not in own and g_pids[g] != -1]
            mates = [similarity[q, g] for g in own if g_camids[g] != q_camids[q]]
            alarms += max(strangers) >= level.threshold
            if mates:
                present += 1
                misses += max(mates) < level.threshold or max(mates) <= max(strangers)
        assert present == rates.num_present
        assert level.fpir == pytest.approx(alarms / 60, abs=1e-4) and level.fpir <= aim
        assert level.fnir == pytest.approx(misses / present, abs=1e-4)
        assert level.threshold <= previous
        previous = level.threshold


def test_a_gallery_with_probes(tiny_engine, tmp_path):
    folder = tmp_path / "gallery"
    shutil.copytree(tiny_engine.gallery.folder, folder)
    rows = [{"path": e.path.name, "pid": e.pid, "camid": 99, "kind": "whole"} for e in tiny_engine.examples]
    rows.append({**rows[0], "pid": 77, "kind": "absent"})
    (folder / "probes" / "probes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(GalleryError, match="other weights"):
        calibrate(tiny_engine.describer, folder, "abc")
    made_by = tiny_engine.gallery.fingerprint
    record = calibrate(tiny_engine.describer, folder, made_by)
    assert record.views == ONE_VIEW and record.fingerprint == made_by
    for kind, times in (("whole", 1), ("occluded", 4)):
        rates = getattr(record, kind)
        assert rates.num_present > 0 and rates.num_absent % times == 0
        misses = [level.fnir for level in rates.levels]
        assert misses == sorted(misses, reverse=True)  # fewer misses as more false alarms are allowed
    with pytest.raises(DatasetError, match="probes.jsonl"):
        read_probes(tmp_path)


RECORD = Calibration(
    gallery="tiny",
    num_images=18,
    scoring="cosine",
    whole=Rates(levels=(Level(0.1, 0.7, 0.09, 0.3),)),
    occluded=Rates(levels=(Level(0.1, 0.6, 0.1, 0.5),)),
    fingerprint="abc",
)


def test_a_first_match_is_judged_apart_for_whole_and_occluded_probes():
    for similarity, occluded, confident in ((0.65, False, False), (0.65, True, True), (0.7, False, True)):
        verdict = judge(RECORD, Searched("tiny", 18, Scoring()), similarity, occluded=occluded)
        assert verdict.confident is confident and verdict.occluded is occluded
        assert (verdict.fpir, verdict.fnir) == ((0.1, 0.5) if occluded else (0.09, 0.3))


@pytest.mark.parametrize(
    "asked",
    [
        ("other", 18, Scoring()),
        ("tiny", 19, Scoring()),
        ("tiny", 18, Scoring("adaptive")),
        ("tiny", 18, Scoring("part_aware")),
        ("tiny", 18, Scoring(parts=(True, False))),
    ],
)
def test_nothing_is_said_of_what_was_not_measured(asked):
    assert judge(RECORD, Searched(*asked), 0.9, occluded=False) is None
    assert judge(None, Searched("tiny", 18, Scoring()), 0.9, occluded=False) is None


def test_a_gallery_described_in_other_views_was_not_measured():
    once, often = (Searched("tiny", 18, Scoring(), views) for views in (ONE_VIEW, VIEWS))
    measured = replace(RECORD, views=VIEWS)
    assert judge(RECORD, often, 0.9, occluded=False) is None and judge(measured, once, 0.9, occluded=False) is None
    assert judge(measured, often, 0.9, occluded=False).confident


def test_a_calibration_of_other_weights_is_not_read(tmp_path):
    path = tmp_path / "calibration.json"
    assert read(path, "abc") is None
    path.write_text(json.dumps(asdict(RECORD)))
    assert read(path, "abc") == RECORD and read(path, "abd") is None


def test_a_calibration_of_an_earlier_release_is_read(tmp_path):
    values = asdict(RECORD)
    del values["views"], values["whole"]["num_present"]
    for old, name in (("part-aware", "part_aware"), ("plain", "cosine"), ("adaptive", "adaptive")):
        (tmp_path / "calibration.json").write_text(json.dumps({**values, "scoring": old}))
        assert read(tmp_path / "calibration.json", "abc") == replace(RECORD, scoring=name)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"whole": {"levels": []}}, "whole.levels: .*no level has the fpir_aim 0.1"),
        ({"whole": {"levels": [{"fpir_aim": 0.1, "threshold": "0.5"}]}}, "whole.levels.0.threshold: "),
        ({"scoring": "heavy"}, "scoring: .*weighing must be one of cosine"),
        ({"num_images": None}, "num_images: "),
    ],
)
def test_a_broken_calibration_is_refused_by_its_field(tmp_path, change, field):
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps({**asdict(RECORD), **change}))
    with pytest.raises(WeightsError, match=f"calibration.json in .* cannot be read \\({field}.*calibrate"):
        read(path, "abc")


@pytest.mark.parametrize("text", ["{", json.dumps({"fingerprint": "abc"})])
def test_a_damaged_calibration_says_what_to_do(tmp_path, text):
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(WeightsError, match="calibrate"):
        read(tmp_path / "calibration.json", "abc")


def test_people_of_a_gallery_without_cameras_are_all_present(tiny_engine, tmp_path):
    similarity = np.array([[0.9, 0.3], [0.2, 0.8]])
    rates = open_set_rates(similarity, Identities.of([1, 2], [None, None]), Identities.of([1, 2], [None, None]))
    assert rates.num_present == 2 and rates.levels[-1].fnir == 0
    rates = open_set_rates(similarity, Identities.of([0, -1], [None, None]), Identities.of([0, -1], [None, None]))
    assert rates.num_present == 0

    folder = tmp_path / "gallery"
    shutil.copytree(tiny_engine.gallery.folder, folder)
    lines = (folder / "records.jsonl").read_text().splitlines()
    records = [{**json.loads(line), "camid": None} for line in lines]
    (folder / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    example = tiny_engine.examples[0]
    row = {"path": example.path.name, "pid": example.pid, "camid": None, "kind": "whole"}
    (folder / "probes" / "probes.jsonl").write_text(json.dumps(row) + "\n")
    record = calibrate(tiny_engine.describer, folder, tiny_engine.gallery.fingerprint)
    assert (record.whole.num_present, record.occluded.num_present) == (1, 4)


def test_the_mark_is_set_by_the_false_alarms_nearest_to_it(tiny_engine, tmp_path):
    record = calibrate_stored(tiny_engine.gallery, "abc", least=2)
    assert record.occluded is None and record.whole.num_present == 18
    assert judge(record, searched_in(tiny_engine.gallery), 0.9, occluded=True) is None
    mark, level = record.whole.mark, record.whole.confident
    above, below = ([alarm.similarity for alarm in alarms] for alarms in (mark.above, mark.below))
    assert above == sorted(above) and below == sorted(below, reverse=True)
    assert not above or min(above) >= level.threshold - 1e-4
    assert max(below) < level.threshold + 1e-4
    rows = {record.path: row for row, record in enumerate(tiny_engine.gallery.records)}
    for alarm in (*mark.above, *mark.below):
        probe, match = rows[alarm.probe], rows[alarm.match]
        assert tiny_engine.pids[probe] != tiny_engine.pids[match]
        scores = tiny_engine.gallery.scores(tiny_engine.gallery.descriptor(probe), tiny_engine.gallery.scoring)
        assert scores[match] == pytest.approx(alarm.similarity, abs=1e-4)
    for span, value in ((mark.threshold, level.threshold), (mark.fpir, level.fpir), (mark.fnir, level.fnir)):
        assert span[0] - 1e-3 <= value <= span[1] + 1e-3
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(asdict(record)))
    assert read(path, "abc") == record


def test_a_gallery_of_few_people_is_not_calibrated_by_itself(tiny_engine):
    with pytest.raises(DatasetError, match="Only 6 people .* needs 20"):
        calibrate_stored(tiny_engine.gallery, "abc")


def searched_in(gallery):
    return Searched(gallery.name, len(gallery), gallery.scoring, gallery.views)


@pytest.mark.parametrize(
    ("calibration", "asked", "words"),
    [
        (None, Searched("tiny", 18, Scoring()), "not measured for these weights"),
        (RECORD, Searched("mine", 40, Scoring()), "measured on 'tiny' .18 images., not on this gallery"),
        (RECORD, Searched("tiny", 18, Scoring("adaptive")), "another similarity"),
        (RECORD, Searched("tiny", 18, Scoring(parts=(True, False))), "switched off"),
    ],
)
def test_it_is_said_why_a_match_is_not_judged(calibration, asked, words):
    assert judge(calibration, asked, 0.9, occluded=False) is None
    assert re.search(words, why_not(calibration, asked, occluded=False))
    assert why_not(RECORD, Searched("tiny", 18, Scoring()), occluded=False) == ""


@pytest.mark.parametrize("views", [ONE_VIEW, VIEWS])
@pytest.mark.parametrize("occluded", [False, True])
@pytest.mark.parametrize("calibration", [RECORD, replace(RECORD, occluded=None)])
def test_there_is_a_verdict_or_a_reason_why_not(calibration, occluded, views):
    asked = Searched("tiny", 18, Scoring(), views)
    judged, reason = judge(calibration, asked, 0.9, occluded=occluded), why_not(calibration, asked, occluded=occluded)
    assert (judged is None) == bool(reason)
    assert ("other views" in reason) == (views != ONE_VIEW)


def test_an_engine_prefers_what_was_measured_on_its_own_gallery(tiny_engine, tiny_weights, tmp_path):
    folder = tmp_path / "gallery"
    shutil.copytree(tiny_engine.gallery.folder, folder)
    measured = calibrate_stored(tiny_engine.gallery, tiny_engine.gallery.fingerprint, least=2)
    (folder / "calibration.json").write_text(json.dumps(asdict(measured)))
    engine = Engine.load(tiny_weights, folder)
    assert engine.calibration == measured and not engine.why_not_confident(engine.default_scoring, occluded=False)


def test_the_mark_is_written_as_tables(tiny_engine):
    record = calibrate_stored(tiny_engine.gallery, "abc", least=2)
    assert mark_table(record).count("\n") == 2  # nothing is known of hidden probes
    mark = record.whole.mark
    assert alarm_table(record).count("\n") == 1 + len(mark.above) + len(mark.below)
    assert mark_table(RECORD).count("\n") == 1


def test_all_probes_of_a_person_are_drawn_together(tiny_engine, tmp_path, monkeypatch):
    """The intervals are over people: two pictures of one do not tell more than one."""
    folder = tmp_path / "gallery"
    shutil.copytree(tiny_engine.gallery.folder, folder)
    rows = [{"path": e.path.name, "pid": e.pid, "camid": 99, "kind": "whole"} for e in tiny_engine.examples[:2]]
    rows.append({**rows[0], "title": "again"})
    (folder / "probes" / "probes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked, measure = [], calibrating._with_mark
    monkeypatch.setattr(calibrating, "_with_mark", lambda *given: asked.append(given[-1]) or measure(*given))
    calibrate(tiny_engine.describer, folder, tiny_engine.gallery.fingerprint)
    whole, occluded = ([search.person for search in names] for names in asked)
    assert whole == [f"whole_{row['pid']}" for row in rows] and occluded == whole * 4


def test_a_gallery_of_one_person_has_no_threshold(tiny_engine, tmp_path):
    """Nobody is a stranger there, and no number can be written."""
    folder = tmp_path / "gallery"
    shutil.copytree(tiny_engine.gallery.folder, folder)
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    (folder / "records.jsonl").write_text("".join(json.dumps({**line, "pid": 2}) + "\n" for line in lines))
    example = tiny_engine.examples[0]
    row = {"path": example.path.name, "pid": 2, "camid": 99, "kind": "whole"}
    (folder / "probes" / "probes.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DatasetError, match="shows nobody but"):
        calibrate(tiny_engine.describer, folder, tiny_engine.gallery.fingerprint)


def test_junk_is_no_stranger():
    """Bad crops of the protocol's junk often show the probe's own person."""
    similarity = np.array([[0.5, 0.9, 0.4]])
    gallery = Identities.of([1, -1, 2], [1, 1, 1])
    found = first_matches(similarity, Identities.of([1], [2]), gallery)
    assert found.strangers[0] == 0.4 and found.first[0] == 2 and found.right[0]


def test_a_measurement_is_written_whole_and_never_through_a_link(tmp_path):
    """A file of the Hub's cache is a link to a blob that is named by its hash."""
    (tmp_path / "blob").write_text("as fetched")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "calibration.json").symlink_to(tmp_path / "blob")
    calibrating.write(RECORD, tmp_path / "weights")
    assert (tmp_path / "blob").read_text() == "as fetched"
    assert read(tmp_path / "weights" / "calibration.json", "abc") == RECORD
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["calibration.json"]
