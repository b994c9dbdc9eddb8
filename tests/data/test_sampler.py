"""Batches hold the right identities, are reproducible from the seed, and can resume anywhere."""

from collections import Counter

import pytest

from reid_demo.data.sampler import IdentitySampler
from reid_demo.errors import TrainingError

LABELS = [label for label, count in enumerate((1, 2, 3, 4, 8, 8, 2, 4)) for _ in range(count)]


def test_every_batch_is_identities_by_images():
    for batch in IdentitySampler(LABELS, 3, 2).epoch(0):
        assert sorted(Counter(LABELS[row] for row in batch).values()) == [2, 2, 2]


def test_the_same_seed_and_epoch_give_the_same_batches_and_others_do_not():
    first = list(IdentitySampler(LABELS, 3, 2, seed=1).epoch(2))
    assert first == list(IdentitySampler(LABELS, 3, 2, seed=1).epoch(2))
    assert first != list(IdentitySampler(LABELS, 3, 2, seed=1).epoch(3))
    assert first != list(IdentitySampler(LABELS, 3, 2, seed=2).epoch(2))


def test_an_epoch_can_start_at_any_batch():
    sampler = IdentitySampler(LABELS, 3, 2)
    whole = list(sampler.epoch(0))
    assert len(whole) == len(sampler)
    for start in range(len(whole) + 1):
        assert list(sampler.epoch(0, start)) == whole[start:]


def test_an_epoch_shows_nearly_every_image():
    sampler = IdentitySampler([i // 4 for i in range(400)], 10, 2)
    seen = {row for batch in sampler.epoch(0) for row in batch}
    assert len(sampler) == 20 and len(seen) > 380


def test_an_identity_with_one_image_repeats_it():
    batch = next(IdentitySampler([0, 1], 2, 3).epoch(0))
    assert Counter(batch) == {0: 3, 1: 3}


@pytest.mark.parametrize(("ids", "imgs"), [(9, 1), (0, 1), (1, 0)])
def test_impossible_batches_are_refused(ids, imgs):
    with pytest.raises(TrainingError):
        IdentitySampler(LABELS, ids, imgs)
