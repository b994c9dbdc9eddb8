"""The probability that a body part can be seen: the fit, its calibration, and when nothing is said."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from rendered_gallery import with_truth

from reid_demo.data.ground_truth import PARTS
from reid_demo.engine import Engine
from reid_demo.errors import DatasetError, WeightsError
from reid_demo.images import read_image
from reid_demo.measuring import visibility as measuring
from reid_demo.measuring.metrics import auc
from reid_demo.measuring.rendered import rendered
from reid_demo.records import Occlusion
from reid_demo.whatif import confidence
from reid_demo.whatif.confidence import Bin, BodyPart, Seen, Visibility


def test_the_regression_finds_what_made_the_data():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(20000, 3))
    truth = rng.random(20000) < 1 / (1 + np.exp(-(values @ [2.0, -1.0, 0.0] + 0.5)))
    coefficients, bias = measuring.fit_logistic(values, truth)
    np.testing.assert_allclose([*coefficients, bias], [2, -1, 0, 0.5], atol=0.08)
    chance = 1 / (1 + np.exp(-(values @ coefficients + bias)))
    slope = values.T @ (truth - chance) - measuring.RIDGE * coefficients
    assert np.abs(slope).max() < 1e-4  # the gradient of the penalised likelihood is 0


def test_a_body_part_that_is_always_seen_does_not_break_the_fit():
    coefficients, bias = measuring.fit_logistic(np.random.default_rng(0).normal(size=(50, 2)), np.ones(50, bool))
    assert np.isfinite(coefficients).all() and bias > 3


def test_auc_by_counting_pairs():
    rng = np.random.default_rng(2)
    score, truth = rng.integers(0, 6, 60).astype(float), rng.random(60) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in score[truth] for b in score[~truth]]
    assert auc(score, truth) == pytest.approx(np.mean(pairs))
    assert auc(score, np.ones(60, bool)) == 0.5


def test_the_curve_counts_every_case_once():
    probability = np.array([0.01, 0.05, 0.55, 0.99, 1.0])
    curve = measuring.calibration_curve(probability, np.array([False, True, True, True, True]))
    assert curve == (Bin(2, 0.03, 0.5), Bin(1, 0.55, 1.0), Bin(2, 0.995, 1.0))


def test_what_is_hidden_is_known_pixel_by_pixel(probe_image):
    rng = np.random.default_rng(4)
    for _ in range(12):
        changed, hidden = measuring.hide_something(probe_image, rng, {})
        assert 0 < hidden.mean() <= 1
        assert (changed[~hidden] == probe_image[~hidden]).all()


def test_people_are_hidden_behind_things_as_well(probe_image):
    paint = np.array([250, 10, 240], np.uint8)
    cutout = np.full((60, 30, 4), 255, np.uint8)
    cutout[..., :3] = paint
    for cutouts in ({"car": [cutout]}, {"person": [cutout]}):
        rng = np.random.default_rng(1)
        drawn = [measuring.hide_something(probe_image, rng, cutouts)[0] for _ in range(30)]
        assert any((np.abs(image.astype(int) - paint).max(axis=2) < 9).mean() > 0.02 for image in drawn)


def test_shares_fall_by_what_is_hidden(tiny_engine, tmp_path):
    root = with_truth(tiny_engine.gallery.folder, tmp_path / "gallery", without="carried")
    picture = rendered(root, ("images",), 1)[0]
    hidden = np.zeros(picture.image.shape[:2], bool)
    hidden[: picture.image.shape[0] // 2] = True
    shares = measuring.visible_shares(picture, hidden)
    assert shares[0] == 0 and shares[6] == 1 and shares[PARTS.index("carried")] == 0
    assert measuring.visible_shares(picture, np.zeros_like(hidden))[0] == 1


def test_no_person_is_on_both_sides_and_the_file_is_read_back(tiny_engine, tmp_path):
    root = with_truth(tiny_engine.gallery.folder, tmp_path / "gallery")
    found = measuring.study(tiny_engine.describer, "abc", measuring.Sample(root, 18))
    assert found.num_people == (3, 3) and found.num_pictures == (18, 18)
    assert len(found.mean) == len(found.parts[0].coefficients) == 2 * 8 + 1
    (tmp_path / confidence.VISIBILITY_FILE).write_text(json.dumps(asdict(found)))
    assert confidence.read_visibility(tmp_path / confidence.VISIBILITY_FILE, "abc") == found
    assert confidence.read_visibility(tmp_path / confidence.VISIBILITY_FILE, "other weights") is None
    assert confidence.read_visibility(tmp_path / "none.json", "abc") is None
    assert measuring.table(found).count("\n") == 9 and measuring.curve_table(found)
    (tmp_path / confidence.VISIBILITY_FILE).write_text("{}")
    with pytest.raises(WeightsError, match="reid_demo visibility"):
        confidence.read_visibility(tmp_path / confidence.VISIBILITY_FILE, "abc")
    with pytest.raises(DatasetError, match="take pictures of at least two"):
        measuring.study(tiny_engine.describer, "abc", measuring.Sample(root, 1))


PART = BodyPart(
    name="left_leg",
    coefficients=(0.0,) * 17,
    bias=-2.2,
    num_seen=100,
    num_hidden=100,
    auc=0.9,
    ece=0.05,
    brier=0.1,
    curve=(),
)


def model_of(part: BodyPart, probe) -> Visibility:
    centre = tuple(float(v) for v in confidence.features(probe))
    return Visibility(
        num_people=(1, 1),
        num_pictures=(1, 1),
        mean=centre,
        scale=(1.0,) * len(centre),
        parts=(part,),
        fingerprint="abc",
    )


def test_it_is_said_in_words(tiny_engine, probe_image):
    probe = tiny_engine.describe(probe_image)
    for bias, words in ((-2.2, "probably hidden (0.9)"), (2.2, "probably visible (0.9)"), (0.1, "uncertain")):
        seen = confidence.visible_parts(model_of(replace(PART, bias=bias), probe), probe)
        assert seen[0].body_part == "left leg" and seen[0].words == words
    assert Seen("head", None).words == "cannot be told"


@pytest.mark.parametrize("change", [{"auc": 0.7}, {"ece": 0.2}, {"num_hidden": 5}])
def test_an_unreliable_body_part_is_refused(tiny_engine, probe_image, change):
    probe = tiny_engine.describe(probe_image)
    assert confidence.visible_parts(model_of(replace(PART, **change), probe), probe)[0].probability is None


def test_nothing_is_said_far_from_what_was_fitted(tiny_engine, probe_image):
    probe = tiny_engine.describe(probe_image)
    model = model_of(PART, probe)
    far = replace(model, mean=tuple(value + 9 for value in model.mean))
    assert confidence.visible_parts(far, probe)[0].probability is None
    assert confidence.visible_parts(None, probe) == ()


def test_the_shipped_weights_tell_what_is_hidden():
    engine = Engine.load()
    pictures = [read_image(example.path) for example in engine.examples if example.kind == "whole"]

    def words(*recipe):
        described = engine.describer.describe([engine.occlude(picture, recipe) for picture in pictures])
        told = [{seen.body_part: seen.words for seen in engine.visible_parts(probe)} for probe in described]
        assert len(told) > 2 and all(len(one) == 8 for one in told)
        return {part: [one[part].split(" (0.")[0] for one in told] for part in told[0]}

    whole, lower = words(), words(Occlusion("lower_half"))
    for said in (whole, lower):
        assert "probably hidden" not in said["head"] and said["head"].count("probably visible") > len(pictures) / 2
    for part in ("left leg", "right leg", "feet"):
        assert set(whole[part]) == {"probably visible"} and set(lower[part]) == {"probably hidden"}
    nothing = words(Occlusion("box", box=(0.0, 0.0, 1.0, 1.0)))
    assert all(set(said) == {"probably hidden"} for said in nothing.values())
