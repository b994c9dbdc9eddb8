"""Sets of what-ifs, checked against a second way of computing them."""

import copy
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from figures import draw_person
from PIL import Image

from reid_demo import occlude
from reid_demo.__main__ import main
from reid_demo.engine import Example
from reid_demo.errors import ImageError, OcclusionError
from reid_demo.images import read_image
from reid_demo.measuring import intervals, sets
from reid_demo.records import Identities, Occlusion, Scoring
from reid_demo.search import similarity


@pytest.fixture
def pair(tiny_engine, probe_image):
    changed = tiny_engine.occlude(probe_image, [Occlusion("upper_half", "black")])
    return tiny_engine.describe(probe_image), tiny_engine.describe(changed)


def test_nothing_changed_is_no_change(tiny_engine, pair):
    found = tiny_engine.compare((pair[0], pair[0]), pid=2, top_k=5)
    assert not found.entered and not found.left and not found.lost_most()
    assert len(found.moves) == 5 and all(m.rank[0] == m.rank[1] for m in found.moves)
    assert found.average_precision[0] == found.average_precision[1]


@pytest.mark.parametrize("scoring", [Scoring(), Scoring("adaptive"), Scoring("part_aware")], ids=str)
def test_a_comparison_equals_two_searches(tiny_engine, pair, scoring):
    found = tiny_engine.compare(pair, pid=2, top_k=5, scoring=scoring)
    lists = [[m.index for m in tiny_engine.search(p, 5, scoring)] for p in pair]
    assert {m.index for m in found.moves} == set(lists[0]) | set(lists[1])
    assert {m.index for m in found.entered} == set(lists[1]) - set(lists[0])
    assert {m.index for m in found.left} == set(lists[0]) - set(lists[1])
    full = [[m.index for m in tiny_engine.search(p, 18, scoring)] for p in pair]
    for side in (0, 1):
        hits = [i + 1 for i, index in enumerate(full[side]) if tiny_engine.gallery.records[index].pid == 2]
        assert found.rank[side] == hits[0]
        expected = np.mean([(n + 1) / rank for n, rank in enumerate(hits)])
        assert found.average_precision[side] == pytest.approx(expected)
        stored = tiny_engine.gallery.descriptor(found.watched)
        value = similarity.similarity_matrix(
            pair[side].parts[None], pair[side].presence[None], stored.parts[None], stored.presence[None], scoring
        )[0][0]
        assert found.similarity[side] == pytest.approx(value, abs=1e-5)
        assert found.terms[:, side].sum() == pytest.approx(value, abs=1e-5)
    change = found.terms[:, 1] - found.terms[:, 0]
    lost = found.lost_most(3)
    assert lost == sorted(lost, key=lambda i: change[i]) and all(change[i] < 0 for i in lost)


def test_an_unknown_person_is_followed_by_the_first_match(tiny_engine, pair):
    for pid in (None, 50):
        found = tiny_engine.compare(pair, pid=pid, top_k=3)
        assert not found.watched_is_right and found.average_precision is None
        assert found.watched == tiny_engine.search(pair[0], 1)[0].index and found.rank[0] == 1


def test_what_is_left_out_is_in_no_list(tiny_engine, pair):
    found = tiny_engine.compare(pair, pid=2, top_k=18, exclude_same_camera=(2, 1))
    gone = {i for i, r in enumerate(tiny_engine.gallery.records) if (r.pid, r.camid) == (2, 1)}
    assert found.top_k == 17 and not gone & {m.index for m in found.moves}


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ([], 0),
        ([Occlusion("lower_half")], 0.5),
        ([Occlusion("lower_half"), Occlusion("left_half")], 0.75),
        ([Occlusion("crop", box=(0, 0, 1, 0.5))], 0.5),
        ([Occlusion("upper_half"), Occlusion("crop", box=(0, 0, 1, 0.75))], 0.75),
        ([Occlusion("random_block", coverage=0.3)], 0.3),
    ],
    ids=str,
)
def test_coverage_counts_each_pixel_once(tiny_engine, probe_image, recipe, expected):
    assert sets.coverage(tiny_engine, probe_image, recipe) == pytest.approx(expected, abs=0.03)


def test_a_set_equals_a_slow_loop(tiny_engine):
    probes = [sets.LabelledProbe(draw_person(pid, 4), pid, 4) for pid in (1, 2, 3)]
    trials = [sets.Trial("untouched"), *sets.named_trials(["lower_half"], "black")]
    steps = list(sets.run_set(tiny_engine, probes, trials))
    assert [s.done for s in steps] == [0, 1, 2] and steps[-1].total == 2
    for result, trial in zip(steps[-1].results, trials, strict=True):
        firsts, precisions = [], []
        for probe in probes:
            found = tiny_engine.search(tiny_engine.describe(tiny_engine.occlude(probe.image, trial.recipe)), 18)
            hits = [m.rank for m in found if m.record.pid == probe.pid]
            firsts.append(hits[0])
            precisions.append(np.mean([(n + 1) / rank for n, rank in enumerate(hits)]))
        assert result.rank1 == pytest.approx(np.mean([rank == 1 for rank in firsts]))
        assert result.mAP == pytest.approx(np.mean(precisions)) and result.mean_rank == pytest.approx(np.mean(firsts))
    assert steps[-1].results[0].coverage == 0 and steps[-1].results[1].coverage == pytest.approx(0.5, abs=0.01)


def test_without_shipped_probes_a_gallery_probes_itself(tiny_engine, monkeypatch):
    assert [p.pid for p in sets.own_probes(tiny_engine)] == [2]  # the one that ships and is not absent
    monkeypatch.setattr(tiny_engine, "probes", [])
    found = sets.own_probes(tiny_engine, 4)
    assert [(p.pid, p.camid) for p in found] == [(1, 1), (2, 1), (3, 1), (4, 1)]
    assert np.array_equal(found[0].image, read_image(tiny_engine.gallery.image_path(0)))
    *_, last = sets.run_set(tiny_engine, found, [sets.Trial("untouched")])
    assert last.results[0].similarity < 0.9999  # the probe itself is left out
    monkeypatch.setattr(tiny_engine, "camids", np.where(tiny_engine.pids == 3, tiny_engine.camids, 1))
    assert [p.pid for p in sets.own_probes(tiny_engine)] == [3] and sets.count_own(tiny_engine) == 1
    monkeypatch.setattr(tiny_engine, "pids", np.full(18, -2))
    assert sets.own_probes(tiny_engine) == []


def test_intervals_are_over_people_not_over_pictures(tiny_engine):
    """Two probes of one person are one case; their values are those of searches with each alone."""
    many = [sets.LabelledProbe(draw_person(pid, camid), pid, None) for pid in range(1, 7) for camid in (4, 5)]
    trial = sets.Trial("blurred", (Occlusion("upper_half", "black"),))

    def measured(probes):
        *_, last = sets.run_set(tiny_engine, probes, [trial])
        return last.results[0]

    alone = [measured([probe]) for probe in many]
    people = [[alone[i], alone[i + 1]] for i in range(0, 12, 2)]
    found = measured(many).spread
    for name in ("mAP", "mean_rank", "rank1"):
        values = [np.mean([getattr(one, name) for one in pair]) for pair in people]
        assert getattr(found, name) == intervals.bootstrap(values)
    each = measured(many[::2])
    assert each.spread.rank1 == intervals.wilson(round(6 * each.rank1), 6)
    assert each.spread.mAP.value == pytest.approx(each.mAP, abs=1e-4)
    assert each.spread.mAP.low <= each.mAP <= each.spread.mAP.high


def test_junk_counts_in_no_rank(tiny_engine, probe_image):
    """R-1 drops it, so mean rank and intervals do as well."""
    found, plain = [sets.LabelledProbe(probe_image, 5, 4)], [sets.Trial("untouched")]  # no picture of person 5

    def mean_rank(engine):
        *_, last = sets.run_set(engine, found, plain)
        return last.results[0].mean_rank

    before = mean_rank(tiny_engine)
    above = tiny_engine.search(tiny_engine.describe(probe_image), 1)[0]  # of another person
    assert above.record.pid != 5 and before > 1
    other = Identities(tiny_engine.pids.copy(), tiny_engine.camids.copy())
    other.pids[above.index] = -1
    engine = tiny_engine.over(copy.copy(tiny_engine.gallery), tiny_engine.probes)
    engine.gallery.identities, engine.gallery.pids = other, other.pids
    assert mean_rank(engine) == before - 1


def test_a_set_needs_probes_and_trials(tiny_engine, probe_image):
    stranger = sets.LabelledProbe(probe_image, 50, 1)
    for probes, trials in (([], [sets.Trial("a")]), ([stranger], [sets.Trial("a")]), ([stranger], [])):
        with pytest.raises(OcclusionError, match="at least one"):
            list(sets.run_set(tiny_engine, probes, trials))


def test_the_curve_is_svg_and_states_its_points():
    values = {"<b>": 0.5, "untouched": 0, "random block 25%": 0.25}
    spread = sets.Spread(*(intervals.bootstrap([0, 1, 1]) for _ in range(3)))
    results = [sets.TrialResult(name, share, 0.5, 0.4, 2.0, 0.9, 3, spread) for name, share in values.items()]
    drawn = sets.curve(results)
    ElementTree.fromstring(drawn)
    assert "R-1 50.0% at 25.0%" in drawn and "mAP 40.0% at 25.0%" in drawn and "<b>" not in drawn
    assert "&lt;b&gt;: R-1 50.0% at 50.0%" in drawn
    lines = [e.get("points") for e in ElementTree.fromstring(drawn).iter() if e.tag.endswith("polyline")]
    assert [len(points.split()) for points in lines] == [2, 2]
    assert "25.0%" in sets.table(results)


def test_the_command_writes_table_json_and_curve(tiny_engine, tiny_weights, tiny_gallery_folder, tmp_path, capsys):
    probes = tmp_path / "probes"
    probes.mkdir()
    for pid in (1, 2):
        Image.fromarray(draw_person(pid, 4)).save(probes / f"{pid:04d}_c4s1_000001_00.png")
    recipe = tmp_path / "recipe.json"
    recipe.write_text(occlude.write_recipe([Occlusion("box", box=(0, 0, 0.5, 0.5))]))
    options = ["--weights", str(tiny_weights), "--gallery", str(tiny_gallery_folder), "--device", "cpu"]
    command = ["what-if", str(probes), *options, "--occlude", "lower_half", "centre", "--recipe", str(recipe)]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "lower half" in printed and "recipe" in printed
    written = json.loads((tmp_path / "out" / "what-if.json").read_text())
    labelled = [sets.LabelledProbe(read_image(p), int(p.name[:4]), 4) for p in sorted(probes.iterdir())]
    trials = [sets.Trial("untouched"), *sets.named_trials(["lower_half"])]
    expected = list(sets.run_set(tiny_engine, labelled, trials))[-1].results
    assert written["results"][0]["mAP"] == pytest.approx(expected[0].mAP)
    assert written["results"][1]["mAP"] == pytest.approx(expected[1].mAP)
    assert [r["name"] for r in written["results"]] == ["untouched", "lower half", "centre", "recipe"]
    ElementTree.fromstring((tmp_path / "out" / "what-if.svg").read_text())
    assert main(["what-if", str(probes), *options, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["results"]) == 1 + len(sets.CURVE_COVERAGES)


def test_the_command_refuses_probes_without_ids(tiny_weights, tiny_gallery_folder, tmp_path, capsys):
    Image.fromarray(draw_person(1, 4)).save(tmp_path / "someone.png")
    options = ["--weights", str(tiny_weights), "--gallery", str(tiny_gallery_folder), "--device", "cpu"]
    assert main(["what-if", str(tmp_path), *options]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_probes_are_read_from_every_picture_format_and_named_as_in_market_1501(tmp_path):
    for name in ("0007_c3s1_000451_03.jpg", "0008_c1.bmp"):
        Image.fromarray(draw_person(1, 1, 64, 32)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    for given in ([tmp_path], sorted(tmp_path.iterdir())):  # also where a shell names each file
        assert [(probe.pid, probe.camid) for probe in sets.read_probes(given)] == [(7, 3), (8, 1)]
    for nobody in ("-1_c1.jpg", "holiday.jpg"):  # junk, and no name of a person
        (tmp_path / nobody).touch()
        with pytest.raises(OcclusionError, match=f"'{nobody}' states no person"):
            sets.read_probes([tmp_path / nobody])


def test_a_probe_of_the_gallery_keeps_the_identity_of_its_listing_whatever_its_name(tmp_path, monkeypatch):
    for name in ("whole_a.png", "0008_c1.png"):
        Image.fromarray(draw_person(1, 1, 64, 32)).save(tmp_path / name)
    listed = [Example(tmp_path / name, "", 5, 2, "whole") for name in ("whole_a.png", "0008_c1.png")]
    monkeypatch.chdir(tmp_path)  # named by another path than the listing's
    found = sets.read_probes([Path("whole_a.png"), Path("0008_c1.png")], listed)
    assert [(probe.pid, probe.camid) for probe in found] == [(5, 2), (5, 2)]
    with pytest.raises(OcclusionError, match="'whole_a.png' states no person"):
        sets.read_probes([Path("whole_a.png")], listed[1:])


def test_a_probe_that_is_not_there_is_named(tmp_path):
    Image.fromarray(draw_person(1, 1, 64, 32)).save(tmp_path / "0007_c3s1_000451_03.jpg")
    for name in ("no folder", "0008_c1.jpgx"):
        with pytest.raises(ImageError, match=name):
            sets.read_probes([tmp_path / "0007_c3s1_000451_03.jpg", tmp_path / name])
