"""Body parts follow a rendered picture through augmentation."""

import dataclasses

import numpy as np
import pytest
from figures import draw_person
from PIL import Image

from reid_demo.config import MEAN_GREY, TrainConfig
from reid_demo.data import augmentation as transforms
from reid_demo.data.augmentation import Sample, augment
from reid_demo.data.body import Body, body_of, read_bodies
from reid_demo.data.ground_truth import GRID, PARTS, Truth, to_line, write_truth
from reid_demo.data.loaders import BatchLoader, TrainingSet
from reid_demo.errors import TrainingError
from reid_demo.images import resized

SIZE = (64, 32)
OFF = TrainConfig(flip=0, pad=0, random_erasing=0, augmix=False)
EVERYTHING = TrainConfig(
    height=64, width=32, pad=6, augmix=False, random_crop=0.7, occlusion=0.7, recolour=0.5, random_erasing=0.5
)


def painted_body() -> tuple[np.ndarray, Body]:
    """Return a picture whose colours encode the body parts, so that the labels can be read back from it."""
    labels = np.zeros(SIZE, np.uint8)
    for part in range(8):
        labels[8 * part : 8 * part + 8, 4 + 2 * part : 14 + 2 * part] = part + 1
    return np.stack([labels * 28] * 3, axis=2), Body(labels, np.linspace(0.3, 1, 8, dtype=np.float32))


def truth_of(name: str) -> Truth:
    masks = {"head": np.zeros(GRID, bool), "left_leg": np.zeros(GRID, bool)}
    masks["head"][:10, 10:20] = masks["left_leg"][40:60, 5:15] = True
    seen = {"head": 0.9, "left_leg": 0.5, "right_leg": 0.0}
    return Truth(name, 1, 1, 1, 1, "street", "walk", 0.0, {}, (0, 0, 1, 1), (), seen, masks, 0.8)


def test_the_ground_truth_gives_labels_and_visible_shares():
    body = body_of(truth_of("a.jpg"))
    assert body.labels.shape == GRID and body.labels.dtype == np.uint8 and body.visible.dtype == np.float32
    assert (body.labels[:10, 10:20] == PARTS.index("head") + 1).all()
    assert (body.labels == PARTS.index("left_leg") + 1).sum() == 200
    assert body.visible.tolist() == pytest.approx([0.9, 0, 0, 0, 0.5, 0, 0, 0])


def test_a_mirrored_left_arm_is_a_right_arm():
    _, body = painted_body()
    left, right = PARTS.index("left_arm"), PARTS.index("right_arm")
    flipped = body.flipped()
    assert np.array_equal(flipped.labels == right + 1, (body.labels == left + 1)[:, ::-1])
    assert flipped.visible[right] == body.visible[left] and flipped.visible[0] == body.visible[0]
    assert np.array_equal(flipped.flipped().labels, body.labels)


def test_what_is_cut_away_is_no_longer_seen():
    _, body = painted_body()
    half = body.kept(body.labels[:60])  # half of the eighth part, four of eight rows
    assert half.visible[7] == pytest.approx(body.visible[7] / 2) and half.visible[6] == body.visible[6]
    assert body.kept(np.zeros_like(body.labels)).visible.tolist() == [0] * 8


def test_the_picture_is_the_same_with_and_without_its_body():
    image, body = painted_body()
    for seed in range(12):
        alone = augment(Sample(image), EVERYTHING, np.random.default_rng(seed), SIZE)
        beside = augment(Sample(image, body), EVERYTHING, np.random.default_rng(seed), SIZE)
        assert np.array_equal(alone.image, beside.image) and beside.body.labels.shape == SIZE
        assert alone.body is None and (beside.body.visible <= body.visible.max() + 1e-6).all()


def test_labels_move_as_the_picture_does():
    image, body = painted_body()
    config = dataclasses.replace(EVERYTHING, recolour=0, random_erasing=0, occlusion=0)
    for seed in range(20):
        sample = augment(Sample(image, body), config, np.random.default_rng(seed), SIZE)
        picture, moved = sample.image, sample.body
        colours = np.stack([[28 * i] * 3 for i in range(9)] + [list(MEAN_GREY)])  # the padding is background
        nearest = np.abs(picture[None].astype(int) - colours[:, None, None]).sum(3).argmin(0) % 9
        same = max((moved.labels == each).mean() for each in (nearest, _sides_swapped(nearest)))
        assert same > 0.8, seed  # edges are blended when a piece is stretched


def _sides_swapped(labels: np.ndarray) -> np.ndarray:
    return np.array([0, 1, 2, 4, 3, 6, 5, 7, 8])[labels]


@pytest.mark.parametrize("kind", ["lower_half", "object"])
def test_a_hidden_part_is_no_longer_labelled(kind, monkeypatch):
    image, body = painted_body()
    monkeypatch.setattr(
        transforms, "random_occlusion", lambda rng, pasted: transforms.Occlusion(kind, coverage=0.5, seed=3)
    )
    config = dataclasses.replace(OFF, occlusion=1.0)
    sample = augment(Sample(image, body), config, np.random.default_rng(0), SIZE)
    picture, moved = sample.image, sample.body
    hidden = (picture != resized(image, *SIZE)).any(2)
    assert hidden.any() and not moved.labels[hidden].any()
    assert np.array_equal(moved.labels[~hidden], body.labels[~hidden])
    if kind == "lower_half":
        assert moved.visible[4:].tolist() == [0] * 4 and np.array_equal(moved.visible[:4], body.visible[:4])


def test_batches_carry_the_bodies_of_rendered_pictures_alone(tmp_path):
    photographs, rendered = tmp_path / "photographs", tmp_path / "rendered"
    for folder in (photographs, rendered):
        (folder / "bounding_box_train").mkdir(parents=True)
        for pid in (1, 2):
            for camid in (1, 2):
                name = f"bounding_box_train/{pid:04d}_c{camid}s1_000001_00.jpg"
                Image.fromarray(draw_person(pid, camid)).save(folder / name)
    with pytest.raises(TrainingError, match="truth.jsonl.gz"):
        TrainingSet("market1501", [photographs], body_parts=True)
    names = sorted(path.relative_to(rendered).as_posix() for path in rendered.rglob("*.jpg"))
    write_truth(rendered / "truth.jsonl.gz", [to_line(truth_of(name)) for name in names])
    assert list(read_bodies(rendered)) == names
    data = TrainingSet("market1501", [photographs, rendered], body_parts=True)
    config = dataclasses.replace(OFF, ids_per_batch=4, imgs_per_id=2)
    labels, visible = BatchLoader(data, config).load(0, range(8), SIZE).body
    assert labels.shape == (8, 16, 8) and visible.shape == (8, 8)
    assert visible[:4].isnan().all() and not labels[:4].any()
    assert visible[4:, 0].tolist() == pytest.approx([0.9] * 4) and set(labels[4:].unique().tolist()) == {0, 1, 5}
    config = dataclasses.replace(config, ids_per_batch=2)
    assert BatchLoader(TrainingSet("market1501", [rendered]), config).load(0, range(4), SIZE).body is None
