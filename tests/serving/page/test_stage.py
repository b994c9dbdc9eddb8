"""The stage: the block as a change, the ranking while it is dragged, and tokens that open one visit alone."""

from dataclasses import replace

import numpy as np
import pytest

from reid_demo.errors import GalleryError, OcclusionError
from reid_demo.records import Occlusion
from reid_demo.serving.page import text
from reid_demo.serving.page.handlers import probe, stage
from reid_demo.serving.page.handlers.session import Session, Settings, with_recipe

LOWER = [0, 0.5, 1, 1]


@pytest.fixture
def opened(tiny_engine) -> Session:
    """Open the first example as a visit."""
    return replace(probe.open_example(tiny_engine, Session(), Settings(), 0), token=stage.new_token())


@pytest.fixture
def answers(tiny_engine, opened):
    """Answer for that visit."""
    visits = stage.Visits()
    visits.keep(opened)
    return stage.Stage(visits, lambda session: tiny_engine)


def test_dragging_ranks_as_hiding_the_same_half_does(tiny_engine, opened, answers):
    shown = answers.rank({"token": opened.token, "box": LOWER})
    hidden = probe.hide(tiny_engine, opened, Settings(), probe.Hiding("lower_half"))
    assert [tile["index"] for tile in shown["now"]] == [match.index for match in hidden.matches[: stage.TILES]]
    assert np.allclose([t["similarity"] for t in shown["now"]], [m.similarity for m in hidden.matches[: stage.TILES]])
    assert shown["right"]["rank"] == hidden.first_right[1] and "Without the lower half" in shown["sentence"]
    assert opened.recipe == ()


def test_letting_go_makes_one_change_of_many_drags(tiny_engine, opened):
    first = stage.settle(tiny_engine, opened, Settings(), [0.1, 0.1, 0.6, 0.6])
    assert [(o.kind, o.box) for o in first.recipe] == [("box", (0.1, 0.1, 0.6, 0.6))] and first.token == opened.token
    second = stage.settle(tiny_engine, first, Settings(), LOWER)
    assert [o.kind for o in second.recipe] == ["lower_half"]
    assert stage.settle(tiny_engine, second, Settings(), None).recipe == ()


def test_the_block_lies_over_the_other_changes(tiny_engine, opened):
    under = with_recipe(tiny_engine, opened, Settings(), (Occlusion("centre", "black"),))
    both = stage.settle(tiny_engine, under, Settings(), LOWER)
    assert [o.kind for o in both.recipe] == ["centre", "lower_half"]
    drawn = stage.opening(tiny_engine, both)
    assert drawn["box"] == (0.0, 0.5, 1.0, 1.0) and text.STAGE_SEVERAL in drawn["shown"]["sentence"]
    assert [o.kind for o in stage.settle(tiny_engine, both, Settings(), None).recipe] == ["centre"]


def test_the_chosen_match_stays_chosen(tiny_engine, opened):
    chosen = stage.choose_tile(opened, opened.matches[3].index)
    after = stage.settle(tiny_engine, chosen, Settings(top_k=18), LOWER)
    assert after.matches[after.chosen].index == opened.matches[3].index
    with pytest.raises(GalleryError):
        stage.choose_tile(opened, -1)


def test_another_token_opens_nothing(opened, answers):
    for token in ("", None, 7, [], opened.token[:-1], stage.new_token()):
        asked = {"token": token, "box": None, "rows": [0]}
        assert answers.rank(asked) == answers.pictures(asked) == {"error": text.STAGE_GONE}
    assert "error" in answers.rank(None) and "error" in answers.rank("x")


def test_a_dropped_visit_and_the_oldest_of_too_many_are_gone(opened, monkeypatch):
    monkeypatch.setattr(stage, "MOST_VISITS", 2)
    visits = stage.Visits()
    kept = [replace(opened, token=str(i)) for i in range(3)]
    for session in kept:
        visits.keep(session)
    with pytest.raises(GalleryError):
        visits.open("0")
    assert visits.open("2") is kept[2]
    visits.drop("2")
    with pytest.raises(GalleryError):
        visits.open("2")


@pytest.mark.parametrize("box", [[0, 0, 2, 1], [0.5, 0, 0.5, 1], [0, 0, 1], "half", {"x": 1}, [0, 0, float("nan"), 1]])
def test_a_bad_box_is_one_sentence(opened, answers, box):
    assert answers.rank({"token": opened.token, "box": box}) == {"error": text.STAGE_BOX}
    with pytest.raises(OcclusionError):
        stage.read_box(box)


def test_pictures_come_from_the_gallery_that_the_visit_searches(tiny_engine, opened, answers):
    found = answers.pictures({"token": opened.token, "rows": [0, 2]})
    assert set(found) == {"0", "2"} and all(uri.startswith("data:image/webp") for uri in found.values())
    assert "error" in answers.pictures({"token": opened.token, "rows": [len(tiny_engine.gallery)]})
    assert "error" in answers.pictures({"token": opened.token, "rows": ["x"]})


def test_an_absent_person_is_said_to_be_absent(tiny_engine):
    absent = probe.open_example(tiny_engine, Session(), Settings(), 1)
    drawn = stage.opening(tiny_engine, absent)
    assert drawn["shown"]["right"] is None and drawn["shown"]["sentence"] == text.STAGE_ABSENT
    assert stage.opening(tiny_engine, Session()) is None
