"""Every spelling of a scoring is read; unknown people and cameras equal nothing."""

import numpy as np
import pytest

from reid_demo.errors import ConfigError, DatasetError
from reid_demo.records import WEIGHINGS, Identities, Scoring, same_camera, same_person, weighing_named


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("cosine", "cosine"),
        ("plain", "cosine"),
        ("adaptive", "adaptive"),
        ("part_aware", "part_aware"),
        ("part-aware", "part_aware"),
    ],
)
def test_every_spelling_of_a_weighing_is_read(spelling, name):
    assert weighing_named(spelling) == name and name in WEIGHINGS
    for key in ("weighing", "similarity", "scoring"):
        assert Scoring.read({key: spelling}) == Scoring(name)


@pytest.mark.parametrize(
    ("values", "scoring"),
    [
        ({}, Scoring("cosine")),
        ({"adaptive": False, "part_aware": False}, Scoring("cosine")),
        ({"adaptive": True}, Scoring("adaptive")),
        ({"adaptive": True, "part_aware": False}, Scoring("adaptive")),
        ({"adaptive": False, "part_aware": True}, Scoring("part_aware")),
        ({"adaptive": False, "part_aware": True, "terms": None}, Scoring("part_aware")),
        ({"adaptive": True, "terms": [True, False]}, Scoring("adaptive", (True, False))),
        ({"adaptive": True, "enabled": [True, False]}, Scoring("adaptive", (True, False))),
        ({"weighing": "plain", "parts": (False, True)}, Scoring("cosine", (False, True))),
        ({"similarity": "part-aware", "format_version": 3}, Scoring("part_aware")),
        ({"similarity": None, "adaptive": True}, Scoring("adaptive")),
    ],
    ids=str,
)
def test_every_form_of_a_scoring_is_read(values, scoring):
    assert Scoring.read(values) == scoring


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"weighing": "heavy"}, "weighing must be one of cosine, adaptive, part_aware, not 'heavy'"),
        ({"weighing": ["cosine"]}, "weighing must be"),
        ({"adaptive": "yes"}, "adaptive must be true or false"),
        ({"part_aware": 1}, "part_aware must be true or false"),
        ({"adaptive": True, "part_aware": True}, "exclude each other"),
        ({"weighing": "cosine", "parts": "10"}, "parts must be a list"),
        ({"weighing": "cosine", "terms": [1, 0]}, "parts must be a list"),
    ],
    ids=str,
)
def test_what_no_release_wrote_is_refused_by_its_field(values, field):
    with pytest.raises(ConfigError, match=field):
        Scoring.read(values)


def test_a_scoring_cannot_be_made_of_an_unknown_weighing():
    with pytest.raises(ConfigError, match="Unknown weighing 'plain'"):
        Scoring("plain")


@pytest.mark.parametrize(
    ("pid", "other", "same"),
    [(1, 1, True), (1, 2, False), (1, None, False), (None, None, False), (0, 0, False), (-1, -1, False)],
)
def test_only_known_people_are_the_same_person(pid, other, same):
    assert same_person(pid, other) == same == same_person(other, pid)
    marks = Identities.of([other, 7], [None, None])
    assert marks.show(pid).tolist() == [same, pid == 7]


@pytest.mark.parametrize(
    ("camid", "other", "same"), [(1, 1, True), (0, 0, True), (1, 2, False), (1, None, False), (None, None, False)]
)
def test_only_known_cameras_are_the_same_camera(camid, other, same):
    assert same_camera(camid, other) == same == same_camera(other, camid)
    marks = Identities.of([5, 6, 5], [other, other, 9])
    assert marks.taken_with(5, camid).tolist() == [same, False, False]


def test_junk_and_distractors_are_no_people():
    assert Identities.of([3, 3, 0, -1, None, 8], [None] * 6).num_people == 2


def test_large_numbers_stay_apart_or_are_refused():
    large = 2**63 - 1
    marks = Identities.of([large, large - 1, None], [None] * 3)
    assert marks.pids.dtype == np.int64 and marks.show(large).tolist() == [True, False, False]
    with pytest.raises(DatasetError, match="64 bits"):
        Identities.of([large + 1], [None])
