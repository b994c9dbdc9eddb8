"""Occlusions leave the input and everything outside the mask unchanged, and recipes can be replayed."""

import cv2
import numpy as np
import pytest
from PIL import Image

from reid_demo import occlude
from reid_demo.errors import OcclusionError
from reid_demo.records import Occlusion

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
CUTOUTS = {"person": [np.full((40, 16, 4), 200, np.uint8)]}
MASKED = [k for k in occlude.KINDS if k not in ("brush", "box", "crop", "person", "object")]


@pytest.mark.parametrize("fill", occlude.FILLS)
@pytest.mark.parametrize("kind", MASKED)
def test_only_the_mask_changes(kind, fill):
    occlusion = Occlusion(kind, fill, seed=3)
    before = IMAGE.copy()
    out = occlude.apply(IMAGE, [occlusion])
    hidden = occlude.mask(occlusion, 64, 32)
    assert np.array_equal(IMAGE, before) and hidden.any()
    assert np.array_equal(out[~hidden], IMAGE[~hidden]) and not np.array_equal(out[hidden], IMAGE[hidden])


def test_an_empty_list_changes_nothing():
    out = occlude.apply(IMAGE, [])
    assert np.array_equal(out, IMAGE) and out is not IMAGE


def test_halves_are_exact():
    assert occlude.mask(Occlusion("lower_half"), 64, 32)[32:].all()
    assert not occlude.mask(Occlusion("lower_half"), 64, 32)[:32].any()
    assert (occlude.apply(IMAGE, [Occlusion("left_half")])[:, :16] == (124, 116, 104)).all()


@pytest.mark.parametrize("shape", [(256, 128), (700, 400), (90, 16)])
def test_the_blur_is_a_gaussian_of_a_sixteenth_of_the_longer_side(shape):
    rng = np.random.default_rng(3)
    picture = cv2.resize(rng.integers(0, 256, (12, 6, 3), dtype=np.uint8), shape[::-1], interpolation=cv2.INTER_CUBIC)
    blurred = occlude.apply(picture, [Occlusion("box", "blur", box=(0, 0, 1, 1))])
    plain = cv2.GaussianBlur(picture, (0, 0), max(shape) / 16)
    gap = np.abs(blurred.astype(int) - plain)
    assert gap.mean() < 2.5 and np.abs(picture.astype(int) - plain).mean() > 10


@pytest.mark.parametrize("coverage", [0.1, 0.25, 0.6, 1.0])
def test_a_random_block_covers_what_it_says(coverage):
    for seed in range(5):
        covered = occlude.mask(Occlusion("random_block", coverage=coverage, seed=seed), 200, 100).mean()
        assert covered == pytest.approx(coverage, abs=0.03)


def test_crop_person_object_and_brush():
    cropped = occlude.apply(IMAGE, [Occlusion("crop", box=(0, 0.25, 1, 0.75))])
    assert np.array_equal(cropped, IMAGE[16:48])
    for kind in ("person", "object"):
        assert not np.array_equal(occlude.apply(IMAGE, [Occlusion(kind)], CUTOUTS), IMAGE)
    painted = np.zeros((64, 32), bool)
    painted[10:20, 5:9] = True
    stroke = occlude.brush(painted)
    assert np.array_equal(occlude.mask(stroke, 64, 32), painted)


def test_an_object_is_a_cut_out_thing_where_there_are_any():
    """Each object has one colour, so that the picture shows which it is and where."""
    shapes = {"pole": (90, 20), "suitcase": (30, 20), "car": (30, 80)}
    things = {kind: [np.full((*shape, 4), 40 * i + 55, np.uint8)] for i, (kind, shape) in enumerate(shapes.items(), 1)}
    for thing in things.values():
        thing[0][..., 3] = 255
    seen = set()
    for seed in range(30):
        occlusion = Occlusion("object", coverage=0.4, seed=seed)
        out = occlude.apply(IMAGE, [occlusion], {**CUTOUTS, **things})
        hidden = occlude.hidden_by(occlusion, IMAGE, out)
        (colour,) = {tuple(pixel) for pixel in out[hidden]}
        kind = list(things)[colour[0] // 40 - 2]
        seen.add(kind)
        assert hidden.mean() == pytest.approx(0.4, abs=0.03) and hidden[-1].any()
        assert hidden[0].any() == (kind == "pole")
        assert np.array_equal(out, occlude.apply(IMAGE, [occlusion], things))
    assert seen == set(things)
    assert not np.array_equal(out, occlude.apply(IMAGE, [occlusion]))  # without cut-outs, a drawn post


def test_what_an_occlusion_hid():
    for kind in (*MASKED, "person", "object"):
        occlusion = Occlusion(kind, seed=1)
        out = occlude.apply(IMAGE, [occlusion], CUTOUTS)
        hidden = occlude.hidden_by(occlusion, IMAGE, out)
        assert hidden.any() and np.array_equal(out[~hidden], IMAGE[~hidden])
    assert np.array_equal(hidden, (out != IMAGE).any(2))


def test_cut_outs_are_read_by_kind_and_need_alpha(tmp_path):
    assert occlude.read_cutouts(tmp_path) == {}
    rgba = np.random.default_rng(0).integers(0, 256, (6, 4, 4), dtype=np.uint8)
    Image.fromarray(rgba).save(tmp_path / "car_00.png")
    read = occlude.read_cutouts(tmp_path)
    assert list(read) == ["car"] and np.array_equal(read["car"][0], rgba)
    Image.fromarray(rgba[..., :3]).save(tmp_path / "car_01.png")
    with pytest.raises(OcclusionError, match="car_01.png"):
        occlude.read_cutouts(tmp_path)


def test_a_recipe_survives_json():
    for occlusion in (Occlusion("box", "noise", (0.1, 0.2, 0.5, 0.6), seed=4), Occlusion("centre", "inpaint")):
        assert occlude.from_dict(occlude.to_dict(occlusion)) == occlusion


@pytest.mark.parametrize(
    "occlusion",
    [
        Occlusion("hat"),
        Occlusion("centre", "pink"),
        Occlusion("box"),
        Occlusion("box", box=(0.5, 0, 0.5, 1)),
        Occlusion("box", box=(0, 0, 2, 1)),
        Occlusion("random_block", coverage=0),
        Occlusion("brush"),
        Occlusion("brush", mask_png="!!"),
        Occlusion("person"),
        Occlusion("crop", box=(0, 0, 0.1, 0.1)),
    ],
    ids=str,
)
def test_senseless_recipes_are_refused(occlusion):
    with pytest.raises(OcclusionError):
        occlude.apply(IMAGE, [occlusion])


def test_a_list_of_recipes_survives_text():
    painted = np.zeros((64, 32), bool)
    painted[3:40, 5:20] = True
    recipe = [Occlusion("random_block", "blur", coverage=0.4, seed=9), occlude.brush(painted), Occlusion("upper_third")]
    assert occlude.read_recipe(occlude.write_recipe(recipe)) == recipe
    assert occlude.read_recipe("[]") == []


@pytest.mark.parametrize("source", ["", "{}", "[1]", '["centre"]', '[{"kind": "centre", "coverage": "x"}]', "[{}]"])
def test_what_is_no_recipe_is_refused(source):
    with pytest.raises(OcclusionError):
        occlude.read_recipe(source)


def test_a_recipe_has_an_end():
    with pytest.raises(OcclusionError, match="at most"):
        occlude.read_recipe('[{"kind": "centre"}' + ', {"kind": "centre"}' * occlude.MAX_RECIPE + "]")


def test_unknown_keys_are_refused():
    with pytest.raises(OcclusionError, match="^colour: "):
        occlude.from_dict({"kind": "centre", "colour": "red"})


def test_named_cuts_keep_their_share_of_the_picture_and_grey_its_size():
    image = np.random.default_rng(0).integers(0, 256, (200, 50, 3), dtype=np.uint8)
    for name, rows in (("upper_40", slice(0, 80)), ("lower_40", slice(120, 200)), ("upper_80", slice(0, 160))):
        recipe = occlude.named(name)
        np.testing.assert_array_equal(occlude.apply(image, [recipe]), image[rows])
        assert occlude.words(recipe) == f"every query cut to {name}"
    grey = occlude.apply(image, [occlude.named("grey")])
    assert grey.shape == image.shape
    assert (grey == grey[:, :, :1]).all()
    luma = image @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey[:, :, 0] - luma).max() < 1
    assert not occlude.mask(occlude.named("grey"), 200, 50).any()


def test_every_measured_name_is_a_recipe_and_says_what_it_does():
    for name in occlude.MEASURED:
        recipe = occlude.named(name, "black")
        occlude.check(recipe)
        assert name in occlude.words(recipe)
        assert ("black" in occlude.words(recipe)) == (name in occlude.NAMED)
