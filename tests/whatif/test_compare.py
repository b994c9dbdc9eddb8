"""Before and after a change, checked against plain searches."""

import numpy as np
import pytest

from reid_demo import occlude
from reid_demo.errors import GalleryError
from reid_demo.records import Occlusion, Scoring

SCORINGS = [Scoring(), Scoring("adaptive"), Scoring(parts=(False,) + (True,) * 8), Scoring("part_aware")]


def test_what_if_with_nothing_hidden_changes_nothing(tiny_engine, probe_image):
    result = tiny_engine.what_if(probe_image, [], 5)
    assert np.array_equal(result.image, probe_image)
    assert [m.index for m in result.before] == [m.index for m in result.after]
    assert all(move.rank[0] == move.rank[1] for move in result.moves)


def test_what_if_reports_moves_over_the_whole_gallery(tiny_engine, probe_image):
    result = tiny_engine.what_if(probe_image, [Occlusion("upper_half")], 5)
    assert {m.index for m in (*result.before, *result.after)} == {move.index for move in result.moves}
    after = {move.index: move for move in result.moves}
    for match in result.after:
        move = after[match.index]
        assert move.rank[1] == match.rank and move.similarity[1] == pytest.approx(match.similarity, abs=1e-5)


@pytest.mark.parametrize("scoring", SCORINGS, ids=str)
def test_what_hiding_a_place_changes_is_what_a_search_says(tiny_engine, probe_image, scoring):
    probe = tiny_engine.describe(probe_image)
    places = tiny_engine.hide_places(probe_image, probe)
    changes = tiny_engine.place_changes(probe, places, 5, scoring)
    assert changes.shape == (len(places.boxes),)
    for box, change in list(zip(places.boxes, changes, strict=True))[:3]:
        hidden = occlude.apply(probe_image, [Occlusion("box", "mean_grey", tuple(map(float, box)))])
        both = [tiny_engine.gallery.scores(d, scoring)[5] for d in (tiny_engine.describe(hidden), probe)]
        assert change == pytest.approx(both[0] - both[1], abs=1e-4)


@pytest.mark.parametrize("scoring", [Scoring(), Scoring("adaptive"), Scoring("part_aware")])
def test_searching_and_ranking_at_once_is_searching_and_ranking(tiny_engine, probe_image, scoring):
    probe = tiny_engine.describe(probe_image)
    for top_k, left_out in ((1, None), (5, (2, 1)), (18, None), (30, (2, 1))):
        found, ranks = tiny_engine.search_and_rank(probe, top_k, scoring, left_out)
        alone = tiny_engine.search(probe, top_k, scoring, left_out)
        assert [(m.index, m.rank, m.similarity) for m in found] == [(m.index, m.rank, m.similarity) for m in alone]
        assert np.array_equal(ranks, tiny_engine.ranks(probe, scoring, left_out))
    with pytest.raises(GalleryError):
        tiny_engine.search_and_rank(probe, 0)
