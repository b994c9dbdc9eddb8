"""Open-set rates worked by hand, and against a slow count."""

import json
import shutil

import numpy as np
import pytest

from reid_demo.data.layouts import read_probes
from reid_demo.errors import DatasetError, WeightsError
from reid_demo.measuring.calibrate import FPIR_LEVELS, calibrate, open_set_rates
from reid_demo.records import Scoring
from reid_demo.search.gallery_views import ONE_VIEW, VIEWS
from reid_demo.whatif.confidence import judge, read


def test_by_hand():
    # Two people under camera 1, each once in the gallery under camera 2; the third query's person is absent.
    similarity = np.array([[0.9, 0.3], [0.6, 0.5], [0.2, 0.7]])
    rates = open_set_rates(similarity, np.array([1, 2, -1]), np.array([1, 2]), np.array([1, 1, 1]), np.array([2, 2]))
    assert (rates["num_present"], rates["num_absent"]) == (2, 3)
    # First matches were the person absent: 0.3, 0.6, 0.7. Below a third, none of them may pass.
    strict = rates["levels"][0]
    assert strict["fpir"] == 0 and strict["threshold"] == pytest.approx(0.7, abs=1e-5)
    assert strict["fnir"] == 0.5  # the first query is found; the second has a stranger first
    loose = rates["levels"][-1]  # half of three searches: one may pass
    assert loose["fpir"] == pytest.approx(1 / 3, abs=1e-3) and loose["threshold"] > 0.6


def test_the_same_camera_is_left_out():
    rates = open_set_rates(np.array([[0.9, 0.4]]), np.array([5]), np.array([5, 6]), np.array([1]), np.array([1, 1]))
    assert rates["num_present"] == 0 and rates["levels"][0]["fnir"] is None
    assert rates["levels"][0]["threshold"] == pytest.approx(0.4, abs=1e-5)  # nor does it count as a stranger


def test_against_a_slow_count():
    rng = np.random.default_rng(0)
    similarity = rng.random((60, 80))
    q_pids, g_pids = rng.integers(-1, 12, 60), rng.integers(0, 12, 80)
    q_camids, g_camids = rng.integers(1, 3, 60), rng.integers(1, 4, 80)
    rates = open_set_rates(similarity, q_pids, g_pids, q_camids, g_camids)
    previous = 2.0
    for aim, level in zip(FPIR_LEVELS, rates["levels"], strict=True):
        alarms = misses = present = 0
        for q in range(60):
            strangers = [similarity[q, g] for g in range(80) if g_pids[g] != q_pids[q]]
            mates = [similarity[q, g] for g in range(80) if g_pids[g] == q_pids[q] and g_camids[g] != q_camids[q]]
            alarms += max(strangers) >= level["threshold"]
            if q_pids[q] >= 0 and mates:
                present += 1
                misses += max(mates) < level["threshold"] or max(mates) <= max(strangers)
        assert present == rates["num_present"]
        assert level["fpir"] == pytest.approx(alarms / 60, abs=1e-4) and level["fpir"] <= aim
        assert level["fnir"] == pytest.approx(misses / present, abs=1e-4)
        assert level["threshold"] <= previous
        previous = level["threshold"]


def test_a_gallery_with_probes(tiny_engine, tmp_path):
    folder = tmp_path / "gallery"
    shutil.copytree(tiny_engine.gallery.folder, folder)
    rows = [{"path": e.path.name, "pid": e.pid, "camid": 99, "kind": "whole"} for e in tiny_engine.examples]
    rows.append({**rows[0], "pid": 77, "kind": "absent"})
    (folder / "probes" / "probes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    record = calibrate(tiny_engine.describer, folder)
    assert record["views"] == list(ONE_VIEW)
    for kind, times in (("whole", 1), ("occluded", 4)):
        rates = record[kind]
        assert rates["num_present"] > 0 and rates["num_absent"] % times == 0
        misses = [level["fnir"] for level in rates["levels"]]
        assert misses == sorted(misses, reverse=True)  # fewer misses as more false alarms are allowed
    with pytest.raises(DatasetError, match="probes.jsonl"):
        read_probes(tmp_path)


RECORD = {
    "gallery": "tiny",
    "num_images": 18,
    "scoring": "cosine",
    "fingerprint": "abc",
    "whole": {"levels": [{"fpir_aim": 0.1, "threshold": 0.7, "fpir": 0.09, "fnir": 0.3}]},
    "occluded": {"levels": [{"fpir_aim": 0.1, "threshold": 0.6, "fpir": 0.1, "fnir": 0.5}]},
}


def test_a_first_match_is_judged_apart_for_whole_and_occluded_probes():
    for similarity, occluded, confident in ((0.65, False, False), (0.65, True, True), (0.7, False, True)):
        verdict = judge(RECORD, "tiny", 18, Scoring(), similarity, occluded)
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
    assert judge(RECORD, *asked, 0.9, False) is None and judge(None, "tiny", 18, Scoring(), 0.9, False) is None


def test_a_gallery_described_in_other_views_was_not_measured():
    asked = "tiny", 18, Scoring(), 0.9, False
    assert judge(RECORD, *asked, VIEWS) is None and judge({**RECORD, "views": list(VIEWS)}, *asked) is None
    assert judge({**RECORD, "views": list(VIEWS)}, *asked, VIEWS).confident


def test_a_calibration_of_other_weights_is_not_read(tmp_path):
    path = tmp_path / "calibration.json"
    assert read(path, "abc") is None
    path.write_text(json.dumps(RECORD))
    assert read(path, "abc") == RECORD and read(path, "abd") is None
    for broken in ("{", json.dumps({**RECORD, "whole": {"levels": []}}), json.dumps({"fingerprint": "abc"})):
        path.write_text(broken)
        with pytest.raises(WeightsError, match="calibrate"):
            read(path, "abc")
