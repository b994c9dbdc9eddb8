"""Augmentation keeps shapes and its input, draws from one random generator, and each switch has an effect."""

import dataclasses
import io

import cv2
import numpy as np
import pytest
from figures import draw_person
from PIL import Image

from reid_demo.config import MEAN_GREY, TrainConfig
from reid_demo.data.augmentation import OPERATIONS, Sample, augment, cut_window, random_occlusion
from reid_demo.data.body import Body
from reid_demo.images import resized, through_jpeg
from reid_demo.occlude import check

OFF = TrainConfig(flip=0, pad=0, random_erasing=0, augmix=False)
SIZE = (64, 32)


def picture_of(image, config, rng, size=SIZE, cutouts=None):
    return augment(Sample(image), config, rng, size, cutouts).image


def test_everything_off_is_the_evaluation_picture():
    image = draw_person(1, 1)
    got = picture_of(image, OFF, np.random.default_rng(0), SIZE)
    assert np.array_equal(got, resized(image, *SIZE))


@pytest.mark.parametrize(
    "change",
    [
        {"flip": 1.0},
        {"pad": 10},
        {"random_erasing": 1.0},
        {"augmix": True, "augmix_chance": 1.0, "augmix_severity": 5.0, "augmix_concentration": 10.0},
        {"occlusion": 1.0},
        {"recolour": 1.0},
        {"degrade": 1.0},
        {"cut": 1.0},
        {"grey": 1.0},
    ],
)
def test_each_switch_changes_the_image_and_follows_the_seed(change):
    image = draw_person(1, 1)
    before = image.copy()
    config = dataclasses.replace(OFF, **change)
    one, same, other = (picture_of(image, config, np.random.default_rng(seed), SIZE) for seed in (3, 3, 4))
    assert one.shape == (*SIZE, 3) and one.dtype == np.uint8
    assert np.array_equal(one, same)
    assert not np.array_equal(one, resized(image, *SIZE))
    assert "flip" in change or not np.array_equal(one, other)
    assert np.array_equal(image, before)


def test_a_flip_mirrors_the_input():
    image = draw_person(1, 1, *SIZE)
    flipped = picture_of(image, dataclasses.replace(OFF, flip=1.0), np.random.default_rng(0), SIZE)
    assert np.array_equal(flipped, image[:, ::-1])


def test_a_random_crop_keeps_the_size():
    config = dataclasses.replace(OFF, random_crop=1.0)
    image = draw_person(1, 1)
    results = [picture_of(image, config, np.random.default_rng(seed), SIZE) for seed in range(8)]
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
    pictures = [picture_of(image, config, np.random.default_rng(seed), SIZE, white) for seed in range(5)]
    assert all((picture == 255).all(2).any() for picture in pictures)


def test_drawn_occlusions_are_valid_recipes():
    rng = np.random.default_rng(0)
    kinds = set()
    for _ in range(200):
        occlusion = random_occlusion(rng)
        check(occlusion)
        kinds.add(occlusion.kind)
    assert {"lower_half", "upper_half", "random_block", "object"} <= kinds


def test_jpeg_loses_what_a_jpeg_of_the_rgb_picture_loses():
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, ::2] = (255, 0, 0)
    stored = io.BytesIO()
    Image.fromarray(image).save(stored, "JPEG", quality=40, subsampling="4:2:0")
    wanted = np.asarray(Image.open(stored)).astype(int)
    got = through_jpeg(image, 40).astype(int)
    swapped = through_jpeg(image[..., ::-1], 40)[..., ::-1].astype(int)  # the fault: red taken for blue
    assert np.abs(got - wanted).mean() < 0.25 * np.abs(swapped - wanted).mean()


def share_changed(change, chance, trials=400):
    image = np.arange(SIZE[0] * SIZE[1] * 3, dtype=np.uint32).reshape(*SIZE, 3).astype(np.uint8)
    config = dataclasses.replace(OFF, **change)
    changed = [not np.array_equal(picture_of(image, config, np.random.default_rng(s)), image) for s in range(trials)]
    assert np.mean(changed) == pytest.approx(chance, abs=4 * (0.25 / trials) ** 0.5)


@pytest.mark.parametrize("chance", [0.2, 0.8])
def test_chances_are_kept(chance):
    share_changed({"flip": chance}, chance)
    share_changed({"random_erasing": chance}, chance)


def erased_boxes(**changes):
    """Erase black pictures; return the erased rectangles as (height, width)."""
    config = dataclasses.replace(OFF, random_erasing=1.0, **changes)
    black = np.zeros((128, 64, 3), np.uint8)
    found = []
    for seed in range(200):
        hidden = (picture_of(black, config, np.random.default_rng(seed), (128, 64)) != 0).any(2)
        rows, columns = np.flatnonzero(hidden.any(1)), np.flatnonzero(hidden.any(0))
        if len(rows):
            box = (int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1)
            assert hidden.sum() == box[0] * box[1]
            found.append(box)
    return np.array(found)


def test_erasing_keeps_to_its_area_and_aspect():
    for low, high in ((0.02, 0.33), (0.1, 0.12)):
        boxes = erased_boxes(erasing_area=(low, high))
        areas, aspects = boxes.prod(1) / (128 * 64), boxes[:, 0] / boxes[:, 1]
        assert low * 0.9 < areas.min() < low + 0.1 * (high - low) + 0.01 and high * 0.85 < areas.max() < high * 1.1
        assert 0.25 < aspects.min() < 0.5 and 2 < aspects.max() < 3.9
    aspects = np.divide(*erased_boxes(erasing_aspect=0.9).T)
    assert 0.75 < aspects.min() and aspects.max() < 1.3


def test_erasing_fills_with_the_mean_as_the_option_says():
    config = dataclasses.replace(OFF, random_erasing=1.0)
    black = np.zeros((*SIZE, 3), np.uint8)
    erased = picture_of(black, config, np.random.default_rng(1))
    assert set(map(tuple, erased.reshape(-1, 3).tolist())) == {(0, 0, 0), MEAN_GREY}
    noisy = picture_of(black, dataclasses.replace(config, erasing_fill="noise"), np.random.default_rng(1))
    assert len(set(map(tuple, noisy.reshape(-1, 3).tolist()))) > 20


def test_random_crops_begin_at_any_height_and_at_any_side():
    image = np.zeros((*SIZE, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(64)[:, None] * 4, np.arange(32) * 8
    config = dataclasses.replace(OFF, random_crop=1.0)
    corners = np.array([picture_of(image, config, np.random.default_rng(seed))[0, 0, :2] for seed in range(100)])
    assert corners.min() < 8 and (corners.max(0) > (100, 60)).all()


def centre_of_augmix(seed, **changes):
    """Mix a picture of a white block on black; return a pixel that only posterising and solarising change."""
    image = np.zeros((96, 96, 3), np.uint8)
    image[24:72, 24:72] = 255
    config = dataclasses.replace(OFF, augmix=True, augmix_chance=1.0, **changes)
    return int(picture_of(image, config, np.random.default_rng(seed), (96, 96))[48, 48, 0])


def test_augmix_keeps_a_share_of_the_original():
    seen = {centre_of_augmix(s, augmix_width=1, augmix_concentration=1e7, augmix_severity=3.0) for s in range(80)}
    # half the original, half of one chain: untouched, posterised to 4 or 3 bits, solarised
    assert seen <= {255, 247, 248, 239, 240, 127, 128} and seen & {247, 248} and seen & {127, 128}


def test_augmix_weighs_its_chains():
    seen = [centre_of_augmix(s, augmix_concentration=1e-3, augmix_severity=3.0) for s in range(150)]
    alone = {255, 240, 224, 0}  # a low concentration leaves one chain, or the original, alone
    assert sum(min(abs(value - one) for one in alone) <= 1 for value in seen) > 145 and {240, 0} <= set(seen)
    level = [centre_of_augmix(s, augmix_concentration=1e7, augmix_severity=3.0) for s in range(150)]
    assert len({value for value in level if all(abs(value - one) > 3 for one in alone)}) > 2  # three chains, blended


def test_augmix_has_its_nine_operations():
    dull = np.linspace(100, 140, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    seen = [np.asarray(operation(Image.fromarray(dull), 0.9)) for operation in OPERATIONS]
    assert len({made.tobytes() for made in seen}) == len(OPERATIONS) == 9
    assert sum(made.max() - made.min() > 200 for made in seen[:2]) == 2, "autocontrast and equalize"


def test_augmix_is_as_rare_as_its_chance():
    for chance in (0.2, 0.7):
        image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        config = dataclasses.replace(OFF, augmix=True, augmix_chance=chance, augmix_concentration=10.0)
        changed = [not np.array_equal(picture_of(image, config, np.random.default_rng(s)), image) for s in range(300)]
        assert chance - 0.15 < np.mean(changed) < chance + 0.1


def test_cuts_leave_every_kind_of_piece_at_every_scale():
    rng = np.random.default_rng(0)
    pieces = [cut_window(256, 128, rng) for _ in range(600)]
    shapes = {"upper": [], "lower": [], "side": []}
    for rows, columns in pieces:
        assert 0 <= rows.start < rows.stop <= 256
        assert 0 <= columns.start < columns.stop <= 128
        kind = "side" if rows == slice(0, 256) else "upper" if rows.start == 0 else "lower"
        size = columns if kind == "side" else rows
        shapes[kind].append((size.stop - size.start) / (128 if kind == "side" else 256))
    for kind, low, high in (("upper", 0.35, 0.85), ("lower", 0.35, 0.85), ("side", 0.5, 0.85)):
        assert len(shapes[kind]) > 80
        assert low - 0.01 <= min(shapes[kind]) < low + 0.08
        assert high - 0.08 < max(shapes[kind]) <= high + 0.01


def test_a_cut_enlarges_what_is_left_and_takes_the_rest_from_the_body():
    image = np.zeros((256, 128, 3), np.uint8)
    image[:128] = 200
    body = Body(np.repeat(np.repeat([[1], [2]], 32, 0), 32, 1).astype(np.uint8), np.ones(8, np.float32))
    config = dataclasses.replace(OFF, cut=1.0)
    seen = set()
    for seed in range(40):
        out = augment(Sample(image, body), config, np.random.default_rng(seed), (256, 128))
        cut = out.body
        assert out.image.shape == image.shape
        assert cut.visible.max() <= 1
        seen.add((round(float(cut.visible[0]), 1), round(float(cut.visible[1]), 1)))
        # the labels follow the picture: part 1 is where it is light
        light = cv2.resize(out.image[:, :, 0], (128, 256)) > 100
        labels = cv2.resize(cut.labels, (128, 256), interpolation=cv2.INTER_NEAREST)
        assert ((labels == 1) == light).mean() > 0.97
    assert any(upper > 2 * lower for upper, lower in seen)
    assert any(lower > 2 * upper for upper, lower in seen)


def test_grey_pictures_have_no_colour_and_keep_their_shapes():
    image = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    config = dataclasses.replace(OFF, grey=1.0)
    seen = [picture_of(image, config, np.random.default_rng(seed)) for seed in range(6)]
    for out in seen:
        assert (out == out[:, :, :1]).all()
        assert np.corrcoef(out[:, :, 0].ravel(), image.mean(2).ravel())[0, 1] > 0.8
    assert any((a != b).any() for a, b in zip(seen, seen[1:], strict=False))


def test_one_body_part_is_hidden_in_its_shape_with_a_rim_and_counts_as_hidden():
    image = draw_person(1, 1)
    labels = np.zeros(image.shape[:2], np.uint8)
    height, width = labels.shape
    labels[: height // 4, width // 4 : width // 2] = 1
    labels[height // 2 : 3 * height // 4, width // 4 : width // 2] = 2
    labels[-1, -1] = 3  # too small to be chosen
    body = Body(labels, np.array([1, 0.5, 1, 0, 0, 0, 0, 0], np.float32))
    config = dataclasses.replace(OFF, hide_part=1.0)
    chosen = set()
    for seed in range(12):
        out = augment(Sample(image, body), config, np.random.default_rng(seed), (height, width))
        (part,) = (p for p in range(8) if out.body.visible[p] < body.visible[p])
        changed = (out.image != image).any(axis=2)
        own = labels == part + 1
        assert out.body.visible[part] == 0 and not (out.body.labels == part + 1).any()
        assert np.array_equal(np.delete(out.body.visible, part), np.delete(body.visible, part))
        assert changed[own].mean() > 0.9  # noise may draw what was there
        rim = round(0.05 * width)
        assert not changed[~cv2.dilate(own.astype(np.uint8), np.ones((2 * rim + 1,) * 2, np.uint8)).astype(bool)].any()
        chosen.add(part)
    assert chosen == {0, 1}


def test_no_body_part_is_hidden_where_none_is_known_or_large_enough():
    image = draw_person(1, 1)
    config = dataclasses.replace(OFF, hide_part=1.0)
    nobody = Body(np.zeros(image.shape[:2], np.uint8), np.full(8, np.nan, np.float32))
    for body in (None, nobody):
        out = augment(Sample(image, body), config, np.random.default_rng(0), image.shape[:2])
        assert np.array_equal(out.image, image)
