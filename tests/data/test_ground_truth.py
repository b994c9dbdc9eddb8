import gzip
import json

import numpy as np
import pytest

from reid_demo.data.ground_truth import GRID, Truth, decode, encode, read_truth, to_line, write_truth
from reid_demo.errors import SyntheticError


@pytest.mark.parametrize("fill", [0.0, 0.3, 1.0])
def test_masks_survive_run_lengths(fill):
    mask = np.random.default_rng(0).random(GRID) < fill
    runs = encode(mask)
    assert sum(runs) == mask.size
    np.testing.assert_array_equal(decode(runs), mask)


def test_runs_of_another_size_are_refused():
    with pytest.raises(SyntheticError, match="64 x 32"):
        decode([5, 5])


MASK = np.zeros(GRID, bool)
MASK[3:9, 4:7] = True
TRUTH = Truth(
    *("query/20001_c12s1_000451_00.jpg", 20001, 12, 1, 451, "park", "walk", -30.0, {"height_m": 2.0}),
    *((1.5, 2.0, 90.0, 250.0), ("car",), {"head": 1.0, "torso": 0.25}, {"torso": MASK}, 0.6),
)


def test_truth_survives_the_file(tmp_path):
    path = tmp_path / "truth.jsonl.gz"
    write_truth(path, [to_line(TRUTH)])
    (back,) = read_truth(path)
    np.testing.assert_array_equal(back.masks["torso"], MASK)
    for name, value in vars(TRUTH).items():
        assert name == "masks" or getattr(back, name) == value
    first = path.read_bytes()
    write_truth(path, [to_line(TRUTH)])
    assert path.read_bytes() == first


def test_missing_and_damaged_truth_are_told(tmp_path):
    path = tmp_path / "truth.jsonl.gz"
    with pytest.raises(SyntheticError, match="synthesize"):
        read_truth(path)
    packed = bytearray(gzip.compress(b"{" * 5000))
    packed[14] ^= 0xFF
    write_truth(path, [to_line(TRUTH)])
    (line,) = gzip.decompress(path.read_bytes()).splitlines()
    odd = gzip.compress(json.dumps({**json.loads(line), "masks": []}).encode())
    for content in (b"not packed", bytes(packed), odd):
        path.write_bytes(content)
        with pytest.raises(SyntheticError, match="damaged"):
            read_truth(path)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    def lines():
        yield to_line(TRUTH)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_truth(tmp_path / "truth.jsonl.gz", lines())
    assert not (tmp_path / "truth.jsonl.gz").exists()
