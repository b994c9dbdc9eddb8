"""The meaning of a template, on maps and masks with a known answer."""

from dataclasses import replace

import numpy as np
import pytest
from figures import draw_person
from PIL import Image

from reid_demo.config import MEAN_GREY
from reid_demo.data.ground_truth import GRID, Truth, to_line, write_truth
from reid_demo.errors import DatasetError, ShapeError, SyntheticError
from reid_demo.measuring import part_meanings as anatomy

NAMES = ("head", "left_arm", "background")


def two_masks():
    masks = np.zeros((2, 64, 32), bool)
    masks[0, :16] = True  # head: the upper quarter
    masks[1, 16:32, :8] = True  # left arm
    return masks


def test_cover_shares_every_cell():
    cells = anatomy.cover(two_masks(), (8, 4))
    assert cells.shape == (3, 8, 4)
    assert np.allclose(cells.sum(axis=0), 1)
    assert cells[0, :2].min() == 1 and cells[0, 2:].max() == 0
    assert np.allclose(cells.mean(axis=(1, 2)), [0.25, 1 / 16, 1 - 0.25 - 1 / 16])


def test_share_entropy_and_overlap_by_hand():
    maps = np.zeros((1, 2, 8, 4), np.float32)
    maps[0, 0, 0, 0] = 1  # one cell of the head
    maps[0, 1] = 1 / 32  # everywhere
    share = anatomy.attention_share(maps, anatomy.cover(two_masks(), (8, 4))[None])
    assert np.allclose(share[0], [1, 0, 0]) and np.allclose(share[1], [0.25, 1 / 16, 0.6875])
    assert np.allclose(anatomy.entropy(maps), [0, 1], atol=1e-6)
    assert anatomy.overlap(maps) == pytest.approx(1 / 32)
    assert anatomy.overlap(maps[:, :1]) == 0
    assert anatomy.overlap(np.repeat(maps[:, :1], 3, axis=1)) == pytest.approx(1)
    with pytest.raises(ShapeError):
        anatomy.attention_share(maps, np.ones((1, 3, 4, 4)))


@pytest.mark.parametrize(
    ("share", "name"),
    [
        ([0.6, 0.1, 0.3], "mostly head"),
        ([0.1, 0.3, 0.6], "leans to left arm"),
        ([0.25, 0.15, 0.6], "mostly background"),
        ([0.25, 0.3, 0.45], "leans to left arm"),
        ([0.25, 0.0625, 0.46], "spread out"),
        ([0.3, 0.08, 0.46], "spread out"),
    ],
)
def test_names_follow_from_the_numbers(share, name):
    assert anatomy.name_of(np.array(share), np.array([0.25, 0.0625, 0.6875]), NAMES) == name


@pytest.mark.parametrize(
    ("share", "name"),
    [
        ([0.1, 0.2, 0.18, 0.52], "leans to arms"),
        ([0.1, 0.08, 0.07, 0.75], "mostly background"),
        ([0.1, 0.2, 0.18, 0.45], "leans to arms"),
        ([0.1, 0.3, 0.25, 0.35], "mostly arms"),
        ([0.1, 0.3, 0.12, 0.48], "leans to left arm"),
        ([0.4, 0.08, 0.08, 0.44], "leans to torso"),
    ],
)
def test_two_sides_that_are_looked_at_alike_are_named_together(share, name):
    names = ("torso", "left_arm", "right_arm", "background")
    assert anatomy.name_of(np.array(share), np.array([0.2, 0.05, 0.05, 0.7]), names) == name


def test_what_is_carried_is_named_in_words():
    share, area = np.array([0.1, 0.6, 0.3]), np.array([0.2, 0.1, 0.7])
    assert anatomy.name_of(share, area, ("torso", "carried", "background")) == "mostly carried items"


def test_hiding_fills_the_part_and_its_rim_only():
    image = draw_person(1, 1)
    mask = np.zeros(image.shape[:2], bool)
    mask[20:40, 30:50] = True
    before = image.copy()
    hidden = anatomy.hide(image, mask)
    assert np.array_equal(image, before) and (hidden[mask] == MEAN_GREY).all()
    changed = (hidden != image).any(axis=2)
    rim = round(0.03 * image.shape[1])
    assert not changed[: 20 - rim].any() and not changed[:, 50 + rim :].any()


def test_a_study_of_a_real_network(tiny_describer):
    samples = []
    for pid in range(3):
        image = draw_person(pid, 1)
        masks = np.zeros((2, *image.shape[:2]), bool)
        masks[0, : len(image) // 4] = True
        masks[1, len(image) // 2 :] = True
        samples.append(anatomy.Labelled(image, masks))
    found = anatomy.study(tiny_describer, samples, ("head", "legs"))
    parts = tiny_describer.model.config.parts
    assert len(found["names"]) == len(found["presence_auc"]) == parts and found["num_images"] == 3
    for kind in ("template_attention", "part_attention"):
        assert np.allclose(np.sum(found[kind]["share"], axis=1), 1, atol=1e-3)
        assert all(0 <= value <= 1 for value in (*found[kind]["entropy"], found[kind]["overlap"]))
    assert all(0 <= value <= 1 for value in found["presence_auc"])
    with pytest.raises(DatasetError, match="No image"):
        anatomy.study(tiny_describer, [], ("head",))


@pytest.mark.parametrize("folder", ["bounding_box_test", "images"])
def test_images_of_a_data_set_or_a_gallery_come_with_their_masks(tmp_path, folder):
    (tmp_path / folder).mkdir()
    Image.fromarray(draw_person(1, 1)).save(tmp_path / folder / "20001_c1s1_000001_00.png")
    mask = np.zeros(GRID, bool)
    mask[:16] = True
    row = Truth(
        f"{folder}/20001_c1s1_000001_00.png", 20001, 1, 1, 1, "street", "walk", 0.0, {"height_m": 3.0},
        (0.0, 0.0, 64.0, 128.0), (), {"torso": 1.0}, {"torso": mask}, 1.0,
    )  # fmt: skip
    write_truth(tmp_path / "truth.jsonl.gz", [to_line(row)])
    (sample,) = anatomy.labelled(tmp_path)
    torso = sample.masks[anatomy.BODY_PARTS.index("torso")]
    height = len(sample.image)
    assert torso[: height // 4].all() and not torso[height // 4 :].any()
    assert sample.masks.sum() == torso.sum() and sample.masks.shape[1:] == sample.image.shape[:2]
    with pytest.raises(SyntheticError, match="synthesize"):
        list(anatomy.labelled(tmp_path / "absent"))
    names = [f"{folder}/{pid}_c1s1_000001_00.png" for pid in range(20001, 20011)]
    for number, name in enumerate(names):
        Image.new("RGB", (64, 128), (number, 0, 0)).save(tmp_path / name)
    write_truth(tmp_path / "truth.jsonl.gz", [to_line(replace(row, image=name)) for name in names])
    for limit, wanted in ((4, [0, 3, 6, 9]), (7, [0, 2, 3, 4, 6, 8, 9]), (10, list(range(10))), (99, list(range(10)))):
        assert [int(sample.image[0, 0, 0]) for sample in anatomy.labelled(tmp_path, limit)] == wanted
