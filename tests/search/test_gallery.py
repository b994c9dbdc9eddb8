"""Which images of a gallery show a person or come from a camera, and which rank they have."""

from pathlib import Path

import numpy as np
import pytest

from reid_demo.records import UNKNOWN, ImageRecord
from reid_demo.search.gallery import Gallery, Ranking, _first


def gallery_of(marks) -> Gallery:
    """Return a gallery of (pid, camid) without vectors; these tests use only its records."""
    records = [ImageRecord(f"images/{i}.png", pid, camid) for i, (pid, camid) in enumerate(marks)]
    count = len(records)
    parts, presence = np.zeros((count, 1, 2), np.float16), np.zeros((count, 0), np.float32)
    return Gallery(Path("unwritten"), records, parts, presence, {"fingerprint": "x"}, None)


@pytest.fixture(scope="module")
def mixed() -> Gallery:
    """Return 300 images of people, distractors, junk and strangers, some of no known camera."""
    rng = np.random.default_rng(0)
    pids, camids = [None, -1, 0, 1, 2, 7], [None, 1, 2, 5]
    return gallery_of([(pids[a], camids[b]) for a, b in rng.integers((0, 0), (6, 4), (300, 2))])


@pytest.mark.parametrize("pid", [None, UNKNOWN, -1, 0, 7, 99])
@pytest.mark.parametrize("camid", [None, UNKNOWN, 5, 99])
def test_rows_of_a_person_and_a_camera_are_those_of_a_slow_loop(mixed, pid, camid):
    def fits(wanted: int | None, number: int | None) -> bool:
        return wanted is None or number == (None if wanted == UNKNOWN else wanted)

    slow = [i for i, r in enumerate(mixed.records) if fits(pid, r.pid) and fits(camid, r.camid)]
    found = mixed.rows_of(pid, camid)
    assert list(found) == slow and list(found[2:5]) == slow[2:5]


def test_asking_for_all_makes_no_list(mixed):
    assert mixed.rows_of() == range(300)


def test_people_and_cameras_are_counted_once(mixed):
    assert mixed.people.tolist() == [UNKNOWN, -1, 0, 1, 2, 7] and mixed.cameras.tolist() == [UNKNOWN, 1, 2, 5]
    assert mixed.num_pids == 3  # junk and distractors are no people
    nameless = gallery_of([(None, None)] * 2)
    assert nameless.num_pids == 0 and nameless.people.tolist() == nameless.cameras.tolist() == [UNKNOWN]


@pytest.mark.parametrize("count", [0, 1, 7, 1020, 40_000])
def test_ranks_are_those_of_a_stable_sort_with_ties_in_gallery_order(count):
    rng = np.random.default_rng(count)
    values = np.round(rng.normal(0, 0.3, count), 2).astype(np.float32)  # many ties
    values[::5] = rng.choice(np.array([0.0, -0.0, 1.0, -1.0, 1e-30, -1e-42], np.float32), len(values[::5]))
    out = rng.random(count) < 0.1
    for exclude in (None, out):
        scores = values if exclude is None else np.where(exclude, -np.inf, values)
        slow = sorted(range(count), key=lambda row: -scores[row])  # a stable sort
        ranks = Ranking.of(values, exclude).ranks
        assert ranks.dtype == np.int64 and ranks[slow].tolist() == list(range(1, count + 1))


def test_of_more_equal_images_than_are_listed_the_first_ones_are():
    values = np.zeros(500, np.float32)
    values[[400, 3]] = 1
    assert sorted(_first(values, 6, None).tolist()) == [0, 1, 2, 3, 4, 400]
    exclude = np.isin(np.arange(500), (0, 3))
    assert sorted(_first(values, 4, exclude).tolist()) == [1, 2, 4, 400]
