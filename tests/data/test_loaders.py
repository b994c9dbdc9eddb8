"""Labels, teacher vectors and batches by number."""

import shutil

import numpy as np
import pytest
import torch
from figures import draw_person
from PIL import Image

from reid_demo.config import TrainConfig
from reid_demo.data.loaders import BatchLoader, TrainingSet, drawn_together
from reid_demo.errors import DatasetError, TrainingError


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    folders = []
    for name, pids in (("a", (3, 7, 0)), ("b", (3, 9))):
        folder = tmp_path_factory.mktemp(name)
        (folder / "bounding_box_train").mkdir()
        for pid in pids:
            for camid in (1, 2):
                image = Image.fromarray(draw_person(pid, camid))
                image.save(folder / "bounding_box_train" / f"{pid:04d}_c{camid}s1_000001_00.jpg")
        folders.append(folder)
    return folders


def config(**changes) -> TrainConfig:
    return TrainConfig(ids_per_batch=2, imgs_per_id=2, **changes)


def test_labels_are_contiguous_and_a_pid_of_another_root_is_another_person(roots):
    assert TrainingSet("market1501", roots[:1]).labels == [0, 0, 1, 1]  # the distractor is not trained on
    both = TrainingSet("market1501", roots)
    assert both.labels == [0, 0, 1, 1, 2, 2, 3, 3] and both.num_classes == 4


def test_every_image_needs_a_teacher_vector(roots):
    names = [path.relative_to(roots[0]).as_posix() for path in TrainingSet("market1501", roots[:1]).paths]
    vectors = {name: np.full(3, i, np.float32) for i, name in enumerate(names)}
    data = TrainingSet("market1501", roots[:1], vectors)
    loader = BatchLoader(data, config())
    batch = loader.load(0, [2, 0], (32, 16))
    assert batch.teacher[:, 0].tolist() == [2, 0] and batch.labels.tolist() == [1, 0]
    apart = {name: np.eye(4, dtype=np.float32)[i] for i, name in enumerate(names)}
    together = TrainingSet("market1501", roots[:1], apart, toward_person=1.0).teacher
    assert together[0] == pytest.approx([0.5**0.5, 0.5**0.5, 0, 0]) and np.array_equal(together[2], together[3])
    del vectors[names[0]]
    with pytest.raises(TrainingError, match="1 images have no teacher vector"):
        TrainingSet("market1501", roots[:1], vectors)


def test_a_target_moves_toward_its_person_alone():
    vectors = np.array([[1, 0], [0, 1], [0, 1], [1, 0]], np.float32)
    labels = np.array([0, 0, 1, 0])
    assert drawn_together(vectors, labels, 0) is vectors
    mean = np.array([2, 1]) / np.sqrt(5)
    assert drawn_together(vectors, labels, 1)[[0, 1, 3]] == pytest.approx(np.stack([mean] * 3))
    half = drawn_together(vectors, labels, 0.5)
    wanted = 0.5 * vectors[1] + 0.5 * mean
    assert half[1] == pytest.approx(wanted / np.linalg.norm(wanted)) and half[2] == pytest.approx(vectors[2])
    assert half.dtype == np.float32


def test_batch_by_number_is_the_same_from_any_start_and_with_threads(roots):
    data = TrainingSet("market1501", roots)
    streams = []
    for start, workers in ((0, 0), (3, 0), (0, 2)):
        stream = BatchLoader(data, config(num_workers=workers)).batches(start, lambda number: (32, 16))
        streams.append([next(stream).images for _ in range(6 - start)])
        stream.close()
    assert all(torch.equal(a, b) for a, b in zip(streams[0][3:], streams[1], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(streams[0], streams[2], strict=True))
    assert not torch.equal(streams[0][0], streams[0][1])


def test_no_root_is_refused():
    with pytest.raises(DatasetError):
        TrainingSet("market1501", [])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_is_named(workers, roots, tmp_path):
    shutil.copytree(roots[0], tmp_path / "root")
    path = sorted((tmp_path / "root" / "bounding_box_train").glob("0003*"))[0]
    path.write_bytes(path.read_bytes()[:300])
    data = TrainingSet("market1501", [tmp_path / "root"])
    stream = BatchLoader(data, config(num_workers=workers)).batches(0, lambda number: (32, 16))
    with pytest.raises(DatasetError, match=f"The image {path} cannot be used"):
        next(stream)


def test_the_shares_of_the_processes_are_the_batch_of_one(roots):
    data = TrainingSet("market1501", roots)

    def first(rank, ranks):
        stream = BatchLoader(data, config(), rank, ranks).batches(0, lambda number: (32, 16))
        batch = next(stream)
        stream.close()
        return batch

    whole, shares = first(0, 1), [first(rank, 2) for rank in (0, 1)]
    assert torch.equal(torch.cat([b.images for b in shares]), whole.images)
    assert torch.equal(torch.cat([b.labels for b in shares]), whole.labels)
    for share in shares:
        assert len(share.labels) == 2 and len(set(share.labels.tolist())) == 1  # whole identities
    with pytest.raises(TrainingError, match="2 cannot be shared by 3"):
        BatchLoader(data, config(), 0, 3)


def test_what_stands_in_front_is_no_target_and_does_not_count_in_a_persons_mean():
    vectors = np.eye(4, dtype=np.float32)
    labels, clear = np.array([0, 0, 0, 1]), np.array([True, True, False, False])
    moved = drawn_together(vectors, labels, 0.0, clear)
    np.testing.assert_array_equal(moved[:2], vectors[:2])
    np.testing.assert_allclose(moved[2], np.array([1, 1, 0, 0]) / 2**0.5, rtol=1e-6)  # the mean of the clear ones
    np.testing.assert_array_equal(moved[3], vectors[3])  # nobody clear: nothing better is known
    half = drawn_together(vectors, labels, 0.5, clear)
    wanted = np.array([0.5 + 0.5 / 2**0.5, 0.5 / 2**0.5, 0, 0])
    np.testing.assert_allclose(half[0], wanted / np.linalg.norm(wanted), rtol=1e-6)
    np.testing.assert_array_equal(drawn_together(vectors, labels, 0.0), vectors)


def test_vectors_of_one_root_do_not_serve_another(roots, tmp_path):
    """Roots hold the same names of files; a cache tells them apart by the names of their folders."""
    vectors = {path.relative_to(roots[0]).as_posix(): np.ones(3) for path in TrainingSet("market1501", roots[:1]).paths}
    with pytest.raises(TrainingError, match=f"no teacher vector .first: {roots[0].name}/bounding_box_train"):
        TrainingSet("market1501", roots, vectors)
    named = {"/".join(path.parts[-3:]): np.ones(3) for path in TrainingSet("market1501", roots).paths}
    assert len(TrainingSet("market1501", roots, named).teacher) == 8
    twin = shutil.copytree(roots[0], tmp_path / roots[0].name)
    with pytest.raises(TrainingError, match=f"Two roots are called {roots[0].name!r}"):
        TrainingSet("market1501", [roots[0], twin], named)
    assert len(TrainingSet("market1501", [roots[0], twin])) == 8
