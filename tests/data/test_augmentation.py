"""Augmentation: right shape, one source of chance, the input untouched, each switch does something."""

import dataclasses

import numpy as np
import pytest
from figures import draw_person

from reid_demo.config import TrainConfig
from reid_demo.data.augmentation import augment, random_occlusion
from reid_demo.images import resized
from reid_demo.occlude import check

OFF = TrainConfig(flip=0, pad=0, random_erasing=0, augmix=False)
SIZE = (64, 32)


def test_everything_off_is_the_evaluation_picture():
    image = draw_person(1, 1)
    got = augment(image, OFF, np.random.default_rng(0), SIZE)
    assert np.array_equal(got, resized(image, *SIZE))


@pytest.mark.parametrize(
    "change",
    [
        {"flip": 1.0},
        {"pad": 10},
        {"random_erasing": 1.0},
        {"augmix": True},
        {"occlusion": 1.0},
        {"recolour": 1.0},
        {"degrade": 1.0},
    ],
)
def test_each_switch_changes_the_image_and_follows_the_seed(change):
    image = draw_person(1, 1)
    before = image.copy()
    config = dataclasses.replace(OFF, **change)
    one, same, other = (augment(image, config, np.random.default_rng(seed), SIZE) for seed in (3, 3, 4))
    assert one.shape == (*SIZE, 3) and one.dtype == np.uint8
    assert np.array_equal(one, same)
    assert not np.array_equal(one, resized(image, *SIZE))
    assert "flip" in change or not np.array_equal(one, other)
    assert np.array_equal(image, before)


def test_a_flip_mirrors_the_input():
    image = draw_person(1, 1, *SIZE)
    flipped = augment(image, dataclasses.replace(OFF, flip=1.0), np.random.default_rng(0), SIZE)
    assert np.array_equal(flipped, image[:, ::-1])


def test_a_random_crop_keeps_the_size():
    config = dataclasses.replace(OFF, random_crop=1.0)
    image = draw_person(1, 1)
    results = [augment(image, config, np.random.default_rng(seed), SIZE) for seed in range(8)]
    assert {r.shape for r in results} == {(*SIZE, 3)}
    assert any(not np.array_equal(r, results[0]) for r in results)


def test_cut_outs_are_put_in_front_when_asked_for():
    rng = np.random.default_rng(0)
    kinds = [random_occlusion(rng, 0.8).kind for _ in range(300)]
    assert 190 < sum(kind in ("person", "object") for kind in kinds) < 280 and {"person", "object"} < set(kinds)
    plain = [random_occlusion(np.random.default_rng(5)) for _ in range(2)]
    assert plain[0] == random_occlusion(np.random.default_rng(5), 0.0) and plain[0].kind != "person"
    white = {kind: [np.full((30, 12, 4), 255, np.uint8)] for kind in ("person", "pole", "suitcase", "car")}
    config = dataclasses.replace(OFF, occlusion=1.0, pasted=1.0)
    image = np.zeros((*SIZE, 3), np.uint8)
    pictures = [augment(image, config, np.random.default_rng(seed), SIZE, white) for seed in range(5)]
    assert all((picture == 255).all(2).any() for picture in pictures)


def test_drawn_occlusions_are_valid_recipes():
    rng = np.random.default_rng(0)
    kinds = set()
    for _ in range(200):
        occlusion = random_occlusion(rng)
        check(occlusion)
        kinds.add(occlusion.kind)
    assert {"lower_half", "upper_half", "random_block", "object"} <= kinds
