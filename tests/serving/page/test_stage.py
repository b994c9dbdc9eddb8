"""The stage: the block as a change, the ranking while it is dragged, why a candidate scores, and tokens."""

import base64
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from markupsafe import escape

from reid_demo import occlude
from reid_demo.data.stories import FALLS, Story
from reid_demo.drawing import figures, overlays
from reid_demo.errors import GalleryError, OcclusionError
from reid_demo.images import read_image
from reid_demo.records import WEIGHINGS, Occlusion
from reid_demo.search import gallery
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import acts, block, examples, probe, ranking, stage, visits, why
from reid_demo.serving.page.handlers.session import (
    Session,
    Settings,
    choose_best,
    choose_row,
    new_token,
    ranked,
    with_recipe,
)

LOWER = [0, 0.5, 1, 1]


@pytest.fixture
def opened(tiny_engine) -> Session:
    """Open the first example as a visit."""
    return replace(probe.open_example(tiny_engine, Session(), Settings(), 0), token=new_token())


@pytest.fixture
def answers(tiny_engine, opened):
    """Answer for that visit."""
    held = visits.Visits()
    held.keep(opened)
    return stage.Stage(held, lambda session: tiny_engine)


@pytest.fixture
def act(tiny_engine):
    """Do one thing on the stage."""

    def do(session: Session, verb: str, **values) -> Session:
        return acts.act(tiny_engine, session, Settings(), {"verb": verb, **values}, acts.Dials(), [])

    return do


def test_dragging_ranks_as_hiding_the_same_half_does(tiny_engine, opened, answers):
    shown = answers.rank({"token": opened.token, "box": LOWER})
    hidden = probe.hide(tiny_engine, opened, Settings(), probe.Hiding("lower_half"))
    tiles = shown["now"]["tiles"]
    assert [tile["index"] for tile in tiles] == [match.index for match in hidden.matches[: stage.TILES]]
    assert np.allclose([t["similarity"] for t in tiles], [m.similarity for m in hidden.matches[: stage.TILES]])
    assert shown["now"]["right"]["rank"] == hidden.first_right[1] and "Without the lower half" in shown["sentence"]
    assert opened.recipe == ()


@pytest.mark.parametrize("kind", occlude.HALVES)
def test_where_nobody_knows_who_is_right_the_sentence_tells_of_the_first(tiny_engine, opened, answers, act, kind):
    stranger = replace(opened, pid=None)
    assert stage.opening(tiny_engine, stranger)["shown"]["sentence"] == text.STAGE_UNKNOWN
    hidden = act(stranger, "hide", kind=kind)
    same = hidden.matches[0].index == opened.matches[0].index
    words = text.STAGE_FIRST_STAYS if same else text.STAGE_FIRST_CHANGES
    what = text.STAGE_WITHOUT.format(part=kind.replace("_", " "))
    assert stage.opening(tiny_engine, hidden)["shown"]["sentence"] == words.format(what=what)


@pytest.mark.parametrize("kind", occlude.HALVES)
def test_what_moved_most_is_what_gained_where_the_similarity_rose(tiny_engine, opened, answers, kind):
    for row in range(len(tiny_engine.gallery)):
        why = answers.rank({"token": opened.token, "box": list(occlude.BOXES[kind]), "chosen": row})["why"]
        moves = np.array(why["terms"]) - why["terms_before"]
        moves = moves if why["similarity"] >= why["was"] else -moves
        most = [tiny_engine.term_labels[i] for i in np.argsort(-moves)[:2] if moves[i] > 0.01]
        assert why["moved"] == text.AND.join(most)


def test_letting_go_makes_one_change_of_many_drags(opened, act):
    first = act(opened, "settle", box=[0.1, 0.1, 0.6, 0.6])
    assert [(o.kind, o.box) for o in first.recipe] == [("box", (0.1, 0.1, 0.6, 0.6))] and first.token == opened.token
    second = act(first, "settle", box=LOWER)
    assert [o.kind for o in second.recipe] == ["lower_half"]
    assert act(second, "settle", box=None).recipe == ()


def test_the_block_lies_over_the_other_changes(tiny_engine, opened, act):
    under = with_recipe(tiny_engine, opened, Settings(), (Occlusion("random_block", "black"),))
    both = act(under, "settle", box=LOWER)
    assert [o.kind for o in both.recipe] == ["random_block", "lower_half"]
    drawn = stage.opening(tiny_engine, both)
    assert drawn["box"] == (0, 0.5, 1, 1) and text.STAGE_SEVERAL in drawn["shown"]["sentence"]
    assert [o.kind for o in act(both, "settle", box=None).recipe] == ["random_block"]
    third = act(both, "hide", kind="object")
    assert [o.kind for o in third.recipe] == ["random_block", "object", "lower_half"]


@pytest.mark.parametrize("kind", [kind for kind in text.OCCLUDERS])
def test_each_occluder_is_a_toggle(opened, act, kind):
    hidden = act(opened, "hide", kind=kind)
    assert [step.kind for step in hidden.recipe] == [kind] and not np.array_equal(hidden.current, opened.current)
    shown = act(hidden, "hide", kind=kind)
    assert shown.recipe == () and np.array_equal(shown.current, opened.image)


def test_a_chip_names_its_change_without_the_seed(tiny_engine, opened, act):
    now = act(act(opened, "hide", kind="random_block"), "hide", kind="object")
    assert stage.opening(tiny_engine, now)["chips"] == ("random block 25% (mean grey)", "object")
    assert "of seed 1" in probe.recipe_words(now.recipe)


def test_every_change_can_be_taken_back_by_its_place(opened, act):
    now = opened
    for kind in ("random_block", "object", "lower_half"):
        now = act(now, "hide", kind=kind)
    assert [o.kind for o in act(now, "remove", step=1).recipe] == ["random_block", "lower_half"]
    assert [o.kind for o in act(now, "undo").recipe] == ["random_block", "object"]
    assert act(now, "back").recipe == ()
    for step in (3, -1, None, "0"):
        with pytest.raises(OcclusionError):
            act(now, "remove", step=step)


def test_undo_returns_to_what_was_there_before_each_change(opened, act):
    """A second block takes the place of the first, and a chip that is removed lies under others: both come back."""
    steps = [
        ("hide", {"kind": "lower_half"}),
        ("settle", {"box": [0.1, 0.1, 0.5, 0.5]}),
        ("hide", {"kind": "object"}),  # slips under the block
        ("fill", {"fill": "black"}),
        ("remove", {"step": 0}),
        ("back", {}),
        ("hide", {"kind": "upper_half"}),
    ]
    seen, now = [], opened
    for verb, values in steps:
        seen.append((now.recipe, now.fill))
        now = act(now, verb, **values)
        assert (now.recipe, now.fill) != seen[-1]
    assert act(now, "settle", box=[0, 0, 1, 0.5]).past == now.past, "nothing was changed"
    now = act(now, "undo")
    assert now.recipe == () == seen.pop()[0], "before it, nothing was hidden"
    for recipe, fill in reversed(seen):  # the first of them takes back that all was shown
        now = act(now, "undo")
        assert (now.recipe, now.fill) == (recipe, fill)
    assert now.past == () and np.array_equal(now.current, opened.image)
    with pytest.raises(OcclusionError, match="nothing to undo"):
        act(now, "undo")


def test_changes_that_came_with_a_probe_are_undone_one_by_one(tiny_engine, opened, act):
    now = act(act(opened, "hide", kind="random_block"), "hide", kind="lower_half")
    kept = probe.open_example(tiny_engine, now, Settings(keep_recipe=True), 1)
    assert len(kept.recipe) == 2 and kept.past == ()
    assert [o.kind for o in act(kept, "undo").recipe] == ["random_block"]


def test_the_fill_acts_on_present_changes_and_on_those_to_come(opened, act):
    now = act(act(opened, "hide", kind="lower_half"), "fill", fill="black")
    assert [o.fill for o in now.recipe] == ["black"] and not now.current[len(now.current) // 2 :].any()
    now = act(now, "paint", stroke=[[0.2, 0.1], [0.8, 0.1]])
    assert [(o.kind, o.fill) for o in now.recipe] == [("brush", "black"), ("lower_half", "black")]
    with pytest.raises(OcclusionError):
        act(now, "fill", fill="gold")


def test_a_stroke_hides_what_it_covers_and_joins_the_one_before(opened, act):
    once = act(opened, "paint", stroke=[[0, 0.5], [1, 0.5]])
    height, width = opened.image.shape[:2]
    changed = (once.current != opened.image).any(axis=2)
    rows = np.flatnonzero(changed.any(axis=1))
    assert abs(rows.mean() - height / 2) < 3 and 0 < len(rows) <= acts.BRUSH * width * 2
    twice = act(once, "paint", stroke=[[0.5, 0], [0.5, 1]])
    assert [o.kind for o in twice.recipe] == ["brush"]
    assert occlude.mask(twice.recipe[0], height, width).sum() > occlude.mask(once.recipe[0], height, width).sum()
    for bad in (None, [], "stroke", [[0.1]], [[float("nan"), 0]], [[0, 0]] * (acts.LONGEST_STROKE + 1)):
        with pytest.raises(OcclusionError):
            act(opened, "paint", stroke=bad)


def test_a_crop_cuts_what_is_shown_and_keeps_the_person(tiny_engine, opened, act):
    now = act(opened, "crop", box=[0, 0, 0.5, 1])
    assert stage.opening(tiny_engine, now)["shown"]["sentence"].startswith(text.STAGE_CROPPED)
    height, width = opened.image.shape[:2]
    assert np.array_equal(now.current, opened.image[:, : width // 2]) and now.pid == opened.pid
    with pytest.raises(OcclusionError):
        act(opened, "crop", box=None)


def test_an_unknown_wish_is_one_sentence(tiny_engine, opened):
    for wish in (None, {}, {"verb": "fly"}, "x", {"verb": "hide", "kind": "hat"}):
        with pytest.raises(OcclusionError):
            acts.act(tiny_engine, opened, Settings(), wish, acts.Dials(), [])
    with pytest.raises(GalleryError):
        acts.act(tiny_engine, opened, Settings(), {"verb": "example", "number": "1"}, acts.Dials(), [])


def test_the_chosen_match_stays_chosen_in_the_list_and_beyond(tiny_engine, opened, act):
    index = opened.matches[3].index
    chosen = choose_row(tiny_engine, opened, index)
    for settings in (Settings(top_k=18), Settings(top_k=1)):
        after = acts.act(tiny_engine, chosen, settings, {"verb": "settle", "box": LOWER}, acts.Dials(), [])
        ranks = tiny_engine.ranks(after.probe)
        assert after.chosen.index == index and after.chosen.rank == ranks[index]
        scores = tiny_engine.gallery.scores(after.probe, after.scoring)
        assert after.chosen.similarity == pytest.approx(float(scores[index]), abs=1e-5)
        assert after.chosen.contributions.sum() == pytest.approx(after.chosen.similarity, abs=1e-5)
    for row in (-1, len(tiny_engine.gallery), None, "0", True, False):
        with pytest.raises(GalleryError):
            choose_row(tiny_engine, opened, row)


def test_the_terms_of_why_sum_to_the_similarity_and_its_maps_are_the_probes(tiny_engine, opened, answers):
    row = opened.matches[5].index
    why = answers.rank({"token": opened.token, "box": LOWER, "chosen": row})["why"]
    hidden = tiny_engine.describe(tiny_engine.occlude(opened.image, [Occlusion("lower_half")]))
    scores = [float(tiny_engine.gallery.scores(one, opened.scoring)[row]) for one in (hidden, opened.untouched)]
    assert why["index"] == row and sum(why["terms"]) == pytest.approx(why["similarity"], abs=1e-5)
    assert (why["similarity"], why["was"]) == pytest.approx(scores, abs=1e-5)
    assert sum(why["terms_before"]) == pytest.approx(why["was"], abs=1e-5)
    steps = np.frombuffer(base64.b64decode(why["maps"]), np.uint8).reshape(-1, *why["grid"])
    assert np.array_equal(steps, overlays.heat_steps(hidden.template_attention))
    found = answers.maps({"token": opened.token, "row": row})
    fresh = tiny_engine.describe(read_image(tiny_engine.gallery.image_path(row)))
    assert base64.b64decode(found["maps"]) == overlays.heat_steps(fresh.template_attention).tobytes()


def test_why_follows_the_right_persons_best_image_until_somebody_chooses(tiny_engine, opened, act):
    opened = replace(opened, pid=6)  # whose best image is not always the same
    held, seen = choose_best(tiny_engine, opened), visits.Visits()
    answers, now, bests = stage.Stage(seen, lambda session: tiny_engine), held, set()
    for kind in occlude.BOXES:
        seen.keep(now)
        dragged = answers.rank({"token": opened.token, "box": list(occlude.BOXES[kind])})
        now = act(now, "settle", box=list(occlude.BOXES[kind]))
        ranks = tiny_engine.ranks(now.probe, now.scoring)
        right = tiny_engine.right_matches(opened.pid)
        best = int(right[np.argmin(ranks[right])])
        assert now.chosen.index == best == dragged["why"]["index"] and now.chosen.rank == ranks[best]
        assert f" {dragged['why']['rank']}." in dragged["sentence"] and dragged["why"]["rank"] == ranks[best]
        bests.add(best)
    assert len(bests) > 1, "the best image never changed, so this shows nothing"
    chosen = choose_row(tiny_engine, now, held.chosen.index)
    for kind in occlude.HALVES:
        assert act(chosen, "settle", box=list(occlude.BOXES[kind])).chosen.index == held.chosen.index


def test_the_right_persons_best_image_has_its_score_wherever_it_ranks(tiny_engine, opened, answers, monkeypatch):
    monkeypatch.setattr(stage, "TILES", 1)
    beyond = 0
    for kind in occlude.BOXES:
        row = answers.rank({"token": opened.token, "box": list(occlude.BOXES[kind]), "compare": True})
        hidden = tiny_engine.describe(tiny_engine.occlude(opened.image, [Occlusion(kind)]))
        scorings = (opened.scoring, *(replace(opened.scoring, weighing=name) for name in stage.COMPARED))
        for shown, scoring in zip((row["now"], *row["compared"]), scorings, strict=True):
            scores = tiny_engine.gallery.scores(hidden, scoring)
            assert shown["right"]["similarity"] == pytest.approx(float(scores[shown["right"]["index"]]), abs=1e-5)
            beyond += shown["right"]["rank"] > 1
    assert beyond, "it was never beyond the row, so this shows nothing"


def test_an_untouched_probe_has_its_next_candidates_where_a_changed_one_has_the_ranking_before(opened, answers):
    plain = answers.rank({"token": opened.token, "box": None})
    found = [match.index for match in opened.matches]
    shown = [tile["index"] for tile in (*plain["now"]["tiles"], *plain["more"])]
    assert not plain["changed"] and len(shown) == 2 * stage.TILES and shown[: len(found)] == found
    hidden = answers.rank({"token": opened.token, "box": LOWER})
    assert hidden["changed"] and hidden["more"] == ()


def test_the_example_that_is_the_probe_is_told(tiny_engine, opened):
    sources = [view.source for view in examples.views(tiny_engine, [])]
    assert stage.opening(tiny_engine, opened)["source"] == sources[0] and len(set(sources)) == len(sources)
    stories = [Story("whole_1.jpg", FALLS, "lower_half"), Story("occluded_2.jpg", FALLS, None)]
    shown = [(view.source, view.box) for view in examples.views(tiny_engine, stories)]
    assert shown == [("example:whole_1", tuple(LOWER)), ("example:occluded_2", None)]


def test_the_stage_is_told_whether_it_ranks_as_the_page_opens(tiny_engine):
    usual = replace(Settings(), weighing=tiny_engine.default_scoring.weighing)
    other = next(name for name in WEIGHINGS if name != usual.weighing)
    for settings, told in (
        (usual, True),
        (replace(usual, top_k=3), True),
        (replace(usual, weighing=other), False),
        (replace(usual, same_camera=True), False),
        (replace(usual, terms=tiny_engine.term_names[1:]), False),
    ):
        opened = probe.open_example(tiny_engine, Session(), settings, 0)
        assert stage.opening(tiny_engine, opened)["usual"] is told, settings
        assert stage.opening(tiny_engine, replace(opened, own="mine"))["usual"] is False


def test_weighings_are_compared_in_one_call(tiny_engine, opened, answers):
    shown = answers.rank({"token": opened.token, "box": LOWER, "compare": True})
    hidden = tiny_engine.describe(tiny_engine.occlude(opened.image, [Occlusion("lower_half")]))
    for name, row in zip(stage.COMPARED, shown["compared"], strict=True):
        found = tiny_engine.search(hidden, stage.TILES, replace(opened.scoring, weighing=name))
        assert [tile["index"] for tile in row["tiles"]] == [match.index for match in found]
        assert str(row["right"]["rank"]) in shown["sentence"]
    alone = answers.rank({"token": opened.token, "box": LOWER})
    assert alone["compared"] == ()
    said = alone["verdict"]
    assert shown["verdict"] == f"By {WEIGHINGS[opened.scoring.weighing]}: {said[0].lower()}{said[1:]}"


@pytest.mark.parametrize("name", stage.COMPARED)
def test_why_speaks_of_the_list_that_the_match_was_chosen_from(tiny_engine, opened, answers, name):
    hidden = tiny_engine.describe(tiny_engine.occlude(opened.image, [Occlusion("lower_half")]))
    scoring = replace(opened.scoring, weighing=name)
    for row in tiny_engine.search(hidden, 3, scoring):
        asked = {"token": opened.token, "box": LOWER, "compare": True, "explained": name, "chosen": row.index}
        said = answers.rank(asked)["why"]
        scores = tiny_engine.gallery.scores(hidden, scoring)
        assert said["weighing"] == WEIGHINGS[name] and said["rank"] == 1 + int((scores > scores[row.index]).sum())
        assert said["similarity"] == pytest.approx(float(scores[row.index]), abs=1e-5)
        assert sum(said["terms"]) == pytest.approx(said["similarity"], abs=1e-5)
        was = tiny_engine.gallery.scores(opened.untouched, scoring)[row.index]
        assert said["was"] == pytest.approx(float(was), abs=1e-5)
        alone = answers.rank({**asked, "compare": False})["why"]
        assert alone["weighing"] == "" and alone["rank"] == tiny_engine.ranks(hidden, opened.scoring)[row.index]


def test_the_tab_explains_the_same_list_and_names_it(tiny_engine, opened, act):
    now, seen = act(opened, "settle", box=LOWER), set()
    for name in (*stage.COMPARED, None, "adaptive", 7):
        chosen = acts.choose(tiny_engine, now, {"index": opened.matches[-1].index, "compare": True, "explained": name})
        scoring = replace(opened.scoring, weighing=name) if name in stage.COMPARED else opened.scoring
        scores = tiny_engine.gallery.scores(now.probe, scoring)
        row = chosen.chosen.index
        rank, words = 1 + int((scores > scores[row]).sum()), WEIGHINGS[scoring.weighing]
        shown = why.why(tiny_engine, chosen)
        assert f"Match #{rank} by {words}, similarity {scores[row]:.4f}" in shown
        assert re.search(rf'<tr aria-current="true"><th scope="row">{re.escape(words)}</th>', shown)
        assert re.findall(r'<tfoot>.*?class="number">([^<]+)<', shown, re.DOTALL) == [f"{scores[row]:.4f}"]
        stage_why = stage.opening(tiny_engine, chosen)["shown"]["why"]
        assert (stage_why["index"], stage_why["rank"], stage_why["weighing"]) == (row, rank, words)
        seen.add(shown)
        alone = acts.compared(chosen, {"compare": False, "explained": name})
        assert f"by {WEIGHINGS[opened.scoring.weighing]}," in why.why(tiny_engine, alone)
    assert len(seen) == 2, "the two lists are explained alike, so this shows nothing"


def test_nothing_left_in_sight_is_warned_of(opened, answers):
    assert answers.rank({"token": opened.token, "box": [0, 0, 1, 1]})["warning"] == text.STAGE_ALL_HIDDEN
    assert answers.rank({"token": opened.token, "box": LOWER})["warning"] == ""


def test_another_token_opens_nothing(opened, answers):
    for token in ("", None, 7, [], opened.token[:-1], new_token()):
        asked = {"token": token, "box": None, "rows": [0], "row": 0}
        assert answers.rank(asked) == answers.pictures(asked) == answers.maps(asked) == {"error": text.STAGE_GONE}
    assert "error" in answers.rank(None) and "error" in answers.rank("x")


def test_a_dropped_visit_and_the_oldest_of_too_many_are_gone(opened, monkeypatch):
    monkeypatch.setattr(visits, "MOST_VISITS", 2)
    held = visits.Visits()
    kept = [replace(opened, token=f"t{i}") for i in range(3)]
    for session in (*kept, replace(opened, token="")):  # one without a token is not held
        held.keep(session)
    with pytest.raises(GalleryError):
        held.open("t0")
    assert held.open("t2") is kept[2]
    held.drop("t2")
    with pytest.raises(GalleryError):
        held.open("t2")


@pytest.mark.parametrize("box", [[0, 0, 2, 1], [0.5, 0, 0.5, 1], [0, 0, 1], "half", {"x": 1}, [0, 0, float("nan"), 1]])
def test_a_bad_box_is_one_sentence(opened, answers, box):
    assert answers.rank({"token": opened.token, "box": box}) == {"error": text.STAGE_BOX}
    with pytest.raises(OcclusionError):
        block.read_box(box)


def test_pictures_come_from_the_gallery_that_the_visit_searches(tiny_engine, opened, answers):
    found = answers.pictures({"token": opened.token, "rows": [0, 2]})
    assert set(found) == {"0", "2"} and all(uri.startswith("data:image/jpeg") for uri in found.values())
    assert "error" in answers.pictures({"token": opened.token, "rows": [len(tiny_engine.gallery)]})
    assert "error" in answers.pictures({"token": opened.token, "rows": ["x"]})
    for row in (len(tiny_engine.gallery), -1, "x", None):
        assert "error" in answers.maps({"token": opened.token, "row": row})
        assert row is None or "error" in answers.rank({"token": opened.token, "box": None, "chosen": row})


def test_an_absent_person_is_said_to_be_absent(tiny_engine):
    absent = probe.open_example(tiny_engine, Session(), Settings(), 1)
    drawn = stage.opening(tiny_engine, absent)
    assert drawn["shown"]["now"]["right"] is None and drawn["shown"]["sentence"] == text.STAGE_ABSENT
    assert drawn["shown"]["verdict"] == text.VERDICTS["absent"]
    assert stage.opening(tiny_engine, Session()) is None


def test_an_opening_carries_all_pictures_that_it_shows(tiny_engine, opened):
    drawn = stage.with_pictures(tiny_engine, stage.opening(tiny_engine, opened))
    tiles = [*drawn["before"]["tiles"], *drawn["shown"]["now"]["tiles"]]
    assert {str(tile["index"]) for tile in tiles} <= set(drawn["pictures"])
    assert str(drawn["shown"]["why"]["index"]) in drawn["maps"]


def test_a_fault_of_ours_is_not_blamed_on_the_block(tiny_engine, opened):
    held = visits.Visits()
    held.keep(opened)

    def broken(session):
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        stage.Stage(held, broken).rank({"token": opened.token, "box": None})


def test_the_picture_under_the_block_is_made_anew_only_for_other_changes_under_it(tiny_engine, opened, act):
    hidden = act(opened, "settle", box=LOWER)
    first = stage.opening(tiny_engine, hidden)["probe"]
    assert stage.opening(tiny_engine, act(hidden, "settle", box=[0, 0, 1, 0.5]))["probe"] is first
    painted = act(hidden, "paint", stroke=[[0.2, 0.2], [0.8, 0.2]])
    under = stage.opening(tiny_engine, painted)["probe"]
    wanted = tiny_engine.occlude(opened.image, painted.recipe[:-1])
    assert under == figures.picture_uri(stage._fitted(wanted)) != first
    assert stage.opening(tiny_engine, act(painted, "remove", step=0))["probe"] == first


def test_the_row_before_follows_the_settings_and_not_the_changes(tiny_engine, opened, act):
    def before(session: Session) -> list[int]:
        return [tile["index"] for tile in stage.opening(tiny_engine, session)["before"]["tiles"]]

    for settings in (
        Settings(),
        Settings(weighing="adaptive"),
        Settings(same_camera=True),
        Settings(terms=("part 1",)),
    ):
        now = ranking.rank_again(tiny_engine, act(opened, "settle", box=LOWER), settings)
        alone = ranking.rank_again(tiny_engine, opened, settings)
        assert before(now) == [match.index for match in alone.matches[: stage.TILES]]


@pytest.mark.parametrize("pid", [0, -1])
def test_a_probe_who_is_nobody_in_particular_is_not_said_to_be_missing(tiny_engine, opened, answers, pid):
    nobody = replace(ranked(tiny_engine, replace(opened, pid=pid), Settings()))
    shown = stage.opening(tiny_engine, nobody)["shown"]
    assert shown["sentence"] == text.STAGE_UNKNOWN and text.VERDICTS["absent"] not in shown["verdict"]
    said = ranking.status(tiny_engine, nobody)
    assert text.STATUS_ABSENT not in said and escape(text.STATUS_UNKNOWN) in said and text.STATUS_KEY not in said


def test_the_stage_knows_of_which_gallery_its_rows_are(tiny_engine, opened, tmp_path):
    """Tiles are kept by their rows, which name other pictures in another gallery."""
    first = stage.opening(tiny_engine, opened)["gallery"]
    assert stage.opening(tiny_engine, ranked(tiny_engine, opened, Settings()))["gallery"] == first
    copied = gallery.load(shutil.copytree(tiny_engine.gallery.folder, tmp_path / "gallery"))
    other = tiny_engine.over(copied, tiny_engine.probes)
    assert stage.opening(other, ranked(other, opened, Settings()))["gallery"] != first


def test_where_no_picture_is_left_to_rank_a_drag_is_answered_in_words(tiny_engine, opened):
    held = visits.Visits()
    held.keep(replace(opened, matches=()))
    answers = stage.Stage(held, lambda session: tiny_engine)
    assert answers.rank({"token": opened.token, "box": LOWER}) == {"error": text.STATUS_NONE}


def test_pictures_of_what_is_no_list_of_rows_are_none(opened, answers):
    for rows in (5, "5", {"5": 5}, None):
        assert answers.pictures({"token": opened.token, "rows": rows}) == {}


def test_a_visit_that_gradio_has_forgotten_begins_anew(tiny_engine):
    """After an hour its state is the default one; without a token the stage could ask nothing."""
    one, other = (probe.open_example(tiny_engine, Session(), Settings(), 0).token for _ in range(2))
    assert one and other and one != other
    assert probe.open_example(tiny_engine, Session(token="mine"), Settings(), 0).token == "mine"


def test_a_match_that_is_left_out_does_not_stay_chosen(tiny_engine, opened):
    itself = choose_row(tiny_engine, probe.open_match(tiny_engine, opened, Settings()), opened.matches[0].index)
    assert itself.chosen.index == itself.matches[0].index and itself.chosen.record.camid == itself.camid
    without = ranked(tiny_engine, itself, Settings(same_camera=True))
    assert without.chosen is None and stage.opening(tiny_engine, without)["shown"]["why"]["rank"] == 1
    other = choose_row(tiny_engine, itself, without.matches[2].index)
    assert ranked(tiny_engine, other, Settings(same_camera=True)).chosen.index == without.matches[2].index
