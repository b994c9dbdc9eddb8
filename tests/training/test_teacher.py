"""The cache of a teacher's vectors."""

import numpy as np
import pytest

from reid_demo.errors import TrainingError
from reid_demo.records import ImageRecord
from reid_demo.training.teacher import describe_with_teacher, load_vectors, save_vectors

RECORDS = [ImageRecord("a.jpg", 1, 1), ImageRecord("b.jpg", 2, 1)]


def test_vectors_come_back_by_path_at_unit_length(tmp_path):
    save_vectors(tmp_path / "t.npz", RECORDS, np.array([[3.0, 4.0], [0.0, 2.0]]))
    vectors = load_vectors(tmp_path / "t.npz")
    assert vectors["a.jpg"] == pytest.approx([0.6, 0.8]) and vectors["b.jpg"] == pytest.approx([0, 1])


def test_damaged_caches_are_refused(tmp_path):
    with pytest.raises(TrainingError, match="cannot be read"):
        load_vectors(tmp_path / "absent.npz")
    save_vectors(tmp_path / "sound", RECORDS, np.eye(2))
    sound = (tmp_path / "sound").read_bytes()  # under the name that was asked for
    np.save(tmp_path / "one.npy", np.eye(2))
    for content in (b"no", b"", sound[:100], (tmp_path / "one.npy").read_bytes()):
        (tmp_path / "damaged.npz").write_bytes(content)
        with pytest.raises(TrainingError, match="cannot be read"):
            load_vectors(tmp_path / "damaged.npz")
    np.savez(tmp_path / "nan.npz", paths=np.array(["a"]), vectors=np.array([[np.nan]]))
    with pytest.raises(TrainingError, match="finite"):
        load_vectors(tmp_path / "nan.npz")


def test_a_missing_teacher_is_named(tmp_path):
    with pytest.raises(TrainingError, match="missing|openvino"):
        describe_with_teacher(tmp_path / "absent.xml", tmp_path, RECORDS)
