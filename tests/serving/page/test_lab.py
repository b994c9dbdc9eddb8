"""The tabs of the laboratory as functions: what changed, sweep, sets, verify and export, links."""

import base64
import csv
import io
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from urllib.parse import parse_qsl

import numpy as np
import pytest
from markupsafe import escape

from reid_demo import occlude
from reid_demo.errors import CaseError, ImageError, OcclusionError, ReidError
from reid_demo.images import read_image
from reid_demo.measuring import sets as whatif
from reid_demo.records import Occlusion
from reid_demo.serving import case
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import changed, link, probe, ranking, sets, sweep, verify, why
from reid_demo.serving.page.handlers import session as sessions
from reid_demo.serving.page.handlers.session import Session, Settings, choose_row
from reid_demo.whatif.sweep import SweepStep


@pytest.fixture
def opened(tiny_engine) -> Session:
    return probe.open_example(tiny_engine, Session(), Settings(), 0)


@pytest.fixture
def hidden(tiny_engine, opened) -> Session:
    return probe.hide(tiny_engine, opened, Settings(), probe.Hiding("lower_half", "black"))


def places(session: Session) -> list[int]:
    return [m.index for m in session.matches]


def test_an_untouched_probe_has_nothing_to_compare(tiny_engine, opened):
    assert escape(text.CHANGED_EMPTY) in changed.changed(tiny_engine, opened)


def test_what_changed_states_the_numbers_of_the_comparison(tiny_engine, hidden):
    found = tiny_engine.compare((hidden.untouched, hidden.probe), pid=2, top_k=10)
    shown = changed.changed(tiny_engine, hidden)
    said = changed.sentence(tiny_engine, hidden, found)
    assert escape(said) in shown and said.startswith("Hiding the lower half")
    assert f"rank {found.rank[1]}" in said or f"to {found.rank[1]}" in said
    for name in (tiny_engine.term_names[i] for i in found.lost_most() if i):
        assert name in said
    for value in (*found.similarity, *(m.similarity[1] for m in found.moves)):
        assert f"{value:.4f}" in shown
    assert found.watched_is_right and f"similarity of {text.CHANGED_WATCHED}" in shown, "ranks are of the best image"
    assert f"rank of {text.CHANGED_RIGHT}" in shown
    for value in found.average_precision:
        assert f"{value:.3f}" in shown
    assert shown.count("<svg") == 1 and shown.count('<div class="list">') == 2
    picture = shown[shown.index("<svg") : shown.index("</svg>") + 6]
    tree = ElementTree.fromstring(picture)
    groups = [g for g in tree.iter() if g.tag.endswith("}g") and g.get("stroke") != "none"]
    assert len(groups) == len(found.moves)


def test_what_changed_shows_each_heatmap_before_after_and_their_difference(tiny_engine, opened, hidden):
    shown = changed.changed(tiny_engine, hidden)
    before, after = hidden.untouched.template_attention, hidden.probe.template_attention
    cards = shown.split("<article")[1:]
    assert len(cards) == len(before) == len(tiny_engine.part_names)
    for card, one, other in zip(cards, before, after, strict=True):
        moved = sum(max(0.0, float(b - a)) for a, b in zip(one.ravel(), other.ravel(), strict=True))
        assert card.count("<img") == 3 and f">{moved:.0%} moved<" in card
    cropped = changed.changed(tiny_engine, probe.crop(tiny_engine, opened, Settings(), probe.PixelBox(0, 0, 32, 64)))
    assert cropped.count("<article") == len(before) and escape(text.CHANGED_HEAT_CROPPED) in cropped
    assert all(card.count("<img") == 2 for card in cropped.split("<article")[1:])


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (["object"], "An object in front"),
        (["random_block"], "Hiding a random block"),
        (["centre"] * 2, "These 2 changes"),
    ],
)
def test_the_sentence_names_the_change(tiny_engine, opened, kinds, words):
    now = opened
    for kind in kinds:
        now = probe.hide(tiny_engine, now, Settings(), probe.Hiding(kind, "black"))
    assert f'changed-sentence">{words}' in changed.changed(tiny_engine, now)


def test_a_picture_of_nobody_known_is_compared_by_its_first_match(tiny_engine):
    picture = np.random.default_rng(0).integers(0, 256, (90, 40, 3), np.uint8)
    now = probe.open_picture(tiny_engine, Session(), Settings(top_k=4), picture)
    now = probe.hide(tiny_engine, now, Settings(top_k=4), probe.Hiding("centre", "black"))
    assert text.CHANGED_FIRST in changed.changed(tiny_engine, now)


def test_a_sweep_shows_maps_of_match_and_right_person(tiny_engine, opened):
    shown = list(sweep.sweep(tiny_engine, ranking.choose(opened, 2), 80, 50, "mean_grey"))
    assert all("<img" in s for s in shown) and text.SWEEP_DONE.split("{")[0] in shown[-1]
    assert shown[-1].count("<article>") == 2 and shown[-1].count("<img") == 4
    assert "Match #3" in shown[-1] and escape(text.SWEEP_OF_RIGHT) in shown[-1]
    unknown = probe.open_picture(tiny_engine, Session(), Settings(), opened.image)
    assert list(sweep.sweep(tiny_engine, unknown, 80, 50, "blur"))[-1].count("<article>") == 1
    with pytest.raises(ImageError):
        next(sweep.sweep(tiny_engine, Session(), 80, 50, "blur"))


def test_a_sweep_gives_every_window_in_numbers(tiny_engine, opened):
    *earlier, last = sweep.sweep(tiny_engine, opened, 80, 50, "mean_grey")
    assert all("<table" not in step for step in earlier)
    written = base64.b64decode(last.split("data:text/csv;base64,")[1].split('"')[0]).decode()
    rows = list(csv.reader(io.StringIO(written)))
    assert len(rows[0]) == 6 and rows[0][2] == f"similarity: Match #1, id {opened.matches[0].record.pid}"
    match = opened.matches[0].index
    for row in rows[1:]:  # a window of 0.8 x 0.4 of the picture around the place that the row says
        x, y = float(row[0]) / 100, float(row[1]) / 100
        box = Occlusion("box", box=(x - 0.4, y - 0.2, x + 0.4, y + 0.2))
        now = tiny_engine.describe(tiny_engine.occlude(opened.image, [box]))
        gained = float(tiny_engine.gallery.scores(now, opened.scoring)[match]) - opened.matches[0].similarity
        assert float(row[2]) == pytest.approx(gained, abs=1e-4)
        assert int(row[3]) == int(tiny_engine.ranks(now, opened.scoring, None)[match]) - 1
        written = [cell.replace("-", "−") if float(cell) else cell.lstrip("+-") for cell in row]
        assert all(f">{cell}</td>" in last for cell in written)


def test_a_window_that_moves_nothing_keeps_its_rank(tiny_engine, opened):
    step = SweepStep(1, 1, np.array([[0, 0, 0.5, 0.25]]), np.array([[0.5, 3]]), np.full((1, 1), -0.2), np.zeros((1, 1)))
    assert "still rank 3" in sweep.show(step, opened.image, ["Match #3"])


def test_the_strongest_part_with_little_presence_gets_a_word_of_caution(tiny_engine, hidden, monkeypatch):
    explained = tiny_engine.explain(hidden.probe, hidden.matches[0], hidden.scoring)
    lit, count = why.strongest(explained), len(tiny_engine.part_names)
    for share, careful in ((0.01, True), (1 / count, False)):
        presence = np.full(count, (1 - share) / (count - 1), np.float32)
        presence[lit - 1] = share
        told = replace(explained, probe=replace(explained.probe, presence=presence))
        monkeypatch.setattr(tiny_engine, "explain", lambda *values, told=told: told)
        assert ("Careful" in why.why(tiny_engine, hidden)) == careful


def test_a_set_is_measured_over_the_shipped_probes(tiny_engine, hidden):
    shown = list(sets.measure(tiny_engine, hidden, ["upper_half", sets.CURRENT], 5, "black"))
    assert len(shown) == 4 and "what-if.json" in shown[-1] and "what-if.json" not in shown[-2]
    first = tiny_engine.examples[0]
    probes = [whatif.LabelledProbe(read_image(first.path), first.pid, first.camid)]
    trials = [whatif.Trial("untouched"), *whatif.named_trials(["upper_half"], "black"), whatif.Trial("", hidden.recipe)]
    for result in list(whatif.run_set(tiny_engine, probes, trials))[-1].results:
        assert f"{result.mAP:.1%}" in shown[-1] and f"{result.similarity:.4f}" in shown[-1]
    with pytest.raises(OcclusionError, match="at least one"):
        next(sets.measure(tiny_engine, hidden, [], 5, "black"))
    untouched = probe.undo(tiny_engine, hidden, Settings())
    for chosen in ([sets.CURRENT], [sets.CURRENT, "upper_half"]):
        with pytest.raises(OcclusionError, match="has no changes to measure"):
            next(sets.measure(tiny_engine, untouched, chosen, 5, "black"))
    with pytest.raises(OcclusionError, match="No probe ships"):
        next(sets.measure(tiny_engine, hidden, ["centre"], 0, "black"))


def test_decisions_go_from_candidate_to_candidate(tiny_engine, opened):
    now = verify.decide(opened, "confirmed")
    now = verify.decide(now, "rejected")
    assert [now.decisions.get(i) for i in places(now)[:3]] == ["confirmed", "rejected", None] and now.chosen.rank == 3
    assert text.VERIFY_COUNT.format(confirmed=1, rejected=1, open=8) in verify.candidate(tiny_engine, now)
    assert text.DECISION_WORDS["confirmed"] in ranking.caption(now, now.matches[0])
    again = verify.decide(ranking.choose(now, 0), "open")
    assert places(again)[0] not in again.decisions
    last = verify.decide(ranking.choose(now, 9), "rejected")
    assert last.chosen.rank == 10
    far = choose_row(tiny_engine, last, next(row for row in range(18) if row not in places(last)))
    kept = verify.decide(far, "confirmed")
    assert kept.chosen == far.chosen and kept.decisions[far.chosen.index] == "confirmed"
    shown = verify.candidate(tiny_engine, kept)
    assert (
        text.VERIFY_COUNT.format(confirmed=2, rejected=2, open=7) in shown
        and "beyond the 10 listed: confirmed" in shown
    )
    assert verify.decide(kept, "open").decisions == far.decisions
    changed_probe = probe.hide(tiny_engine, now, Settings(), probe.Hiding("centre", "black"))
    assert changed_probe.decisions == now.decisions  # they belong to the probe, not to one ranking
    assert probe.open_example(tiny_engine, now, Settings(), 1).decisions == {}


def test_a_saved_case_opens_to_the_same_view(tiny_engine, hidden):
    settings = Settings(top_k=5, weighing="adaptive", same_camera=True, terms=tiny_engine.term_names[:6])
    now = verify.decide(ranking.rank_again(tiny_engine, hidden, settings), "confirmed")
    data = case.write_json(verify.case_of(tiny_engine, now), tiny_engine).encode()
    back = verify.open_case(tiny_engine, Session(), Settings(), data)
    assert places(back) == places(now) and back.decisions == now.decisions and back.recipe == now.recipe
    assert back.settings == settings and np.array_equal(back.current, now.current) and back.pid == now.pid
    links = verify.case_files(tiny_engine, now)
    assert links.count("download=") == 3
    ranks = tiny_engine.ranks(now.probe, now.scoring, (now.pid, now.camid))
    before = tiny_engine.ranks(now.untouched, now.scoring, (now.pid, now.camid))
    for rank in (9, 7):  # whom something was decided of beyond the list stands in every file
        now = verify.decide(choose_row(tiny_engine, now, int(np.flatnonzero(ranks == rank)[0])), "rejected")
    written = verify.case_of(tiny_engine, now)
    told = [(row["rank"], row["decision"], row["ranks_gained"]) for row in case.rows(written)[5:]]
    assert told == [(rank, "rejected", int(before[ranks == rank][0]) - rank) for rank in (7, 9)]
    assert case.write_csv(written).count("rejected") == 2
    assert case.write_html(written, tiny_engine).count('"rejected">rejected<') == 2
    data = case.write_json(written, tiny_engine).encode()
    back = verify.open_case(tiny_engine, Session(), Settings(), data)
    assert back.decisions == now.decisions and len(back.matches) == 5
    with pytest.raises(CaseError, match="ranks differently"):  # a longer list, of which nothing was decided
        verify.open_case(tiny_engine, Session(), Settings(), data.replace(b"rejected", b"open"))
    swapped = data.replace(now.matches[0].record.path.encode(), b"images/other.png")
    with pytest.raises(CaseError, match="ranks differently"):
        verify.open_case(tiny_engine, Session(), Settings(), swapped)
    with pytest.raises(ReidError):
        verify.open_case(tiny_engine, Session(), Settings(), None)


def test_a_case_longer_than_the_page_shows_is_refused(tiny_engine, opened, monkeypatch):
    data = case.write_json(verify.case_of(tiny_engine, opened), tiny_engine).encode()
    assert len(verify.open_case(tiny_engine, Session(), Settings(), data).matches) == 10
    monkeypatch.setattr(sessions, "MOST_TOP_K", 9)
    with pytest.raises(CaseError, match="lists 10 matches; this page shows at most 9"):
        verify.open_case(tiny_engine, Session(), Settings(), data)


def test_a_link_carries_the_view(tiny_engine, hidden):
    settings = Settings(top_k=4, weighing="part_aware", terms=tiny_engine.term_names[1:])
    now = ranking.choose(ranking.rank_again(tiny_engine, hidden, settings), 2)
    values = dict(parse_qsl(link.query(tiny_engine, now)))
    back = link.open_query(tiny_engine, values)
    assert places(back) == places(now) and back.chosen.rank == 3 and back.recipe == now.recipe
    assert np.array_equal(back.current, now.current) and back.settings == now.settings
    far = next(row for row in range(18) if row not in places(now))
    beyond = replace(choose_row(tiny_engine, now, far), compare=True, explained="cosine")
    back = link.open_query(tiny_engine, dict(parse_qsl(link.query(tiny_engine, beyond))))
    assert (back.chosen.index, back.chosen.rank) == (far, beyond.chosen.rank) and back.chosen.rank > 4
    assert back.compare and back.explained == "cosine" and places(back) == places(now)
    from_gallery = probe.open_match(tiny_engine, now, settings)
    back = link.open_query(tiny_engine, dict(parse_qsl(link.query(tiny_engine, from_gallery))))
    assert places(back) == places(from_gallery)


def test_a_link_never_carries_a_picture(tiny_engine, opened):
    own = probe.open_picture(tiny_engine, opened, Settings(), opened.image)
    with pytest.raises(ImageError, match="Your own picture"):
        link.query(tiny_engine, own)
    rng = np.random.default_rng(0)
    noise = occlude.brush(rng.random((256, 128)) > 0.5)
    with pytest.raises(OcclusionError, match="too long"):
        link.query(tiny_engine, replace(opened, recipe=(noise,)))


def test_a_link_of_an_earlier_release_names_the_cosine_plain(tiny_engine):
    opened = link.open_query(tiny_engine, {"probe": "gallery:1", "weighing": "plain"})
    assert opened.settings.weighing == "cosine" and "weighing=cosine" in link.query(tiny_engine, opened)


@pytest.mark.parametrize(
    "values",
    [
        {"probe": "example:nobody"},
        {"probe": "gallery:99"},
        {"probe": "gallery:-1"},
        {"probe": "../secret"},
        {"probe": "gallery:1", "top_k": "many"},
        {"probe": "gallery:1", "top_k": "0"},
        {"probe": "gallery:1", "weighing": "magic"},
        {"probe": "gallery:1", "terms": "10"},
        {"probe": "gallery:1", "terms": "0" * 9},
        {"probe": "gallery:1", "recipe": "oops"},
        {"probe": "gallery:1", "match": "77"},
        {"probe": "gallery:1", "match": "x"},
        {"probe": "gallery:1", "match": "-1"},
        {"probe": "gallery:1", "match": "9" * 400},
    ],
    ids=str,
)
def test_a_bad_link_is_refused(tiny_engine, values):
    with pytest.raises(ReidError):
        link.open_query(tiny_engine, values)
