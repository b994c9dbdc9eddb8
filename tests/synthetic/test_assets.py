"""Reading the MakeHuman assets."""

import numpy as np
import pytest

pytest.importorskip("scipy")


from reid_demo.errors import SyntheticError
from reid_demo.synthetic.assets import _read_target, load_assets


def test_a_wrong_folder_is_told(tmp_path):
    with pytest.raises(SyntheticError, match="base.obj is missing"):
        load_assets(tmp_path)


def test_unknown_clothes_are_told(body):
    with pytest.raises(SyntheticError, match="tuxedo"):
        body.assets.cloth("tuxedo")


def test_a_target_is_rows_of_a_vertex_and_its_shift(tmp_path):
    path = tmp_path / "small.target"
    path.write_text("# CC0\n#\n3 .5 -.25 0\n7 1e-3 0 2\n", encoding="utf-8")
    rows, shifts = _read_target(path)
    assert rows.tolist() == [3, 7]
    np.testing.assert_array_equal(shifts, np.float32([[0.5, -0.25, 0], [0.001, 0, 2]]))
    path.write_text("# CC0, and nothing to shift", encoding="utf-8")
    assert _read_target(path)[1].shape == (0, 3)
    for damaged in ("# CC0\n3 .5 -.25\n", "# CC0\n3 .5 x 0\n"):
        path.write_text(damaged, encoding="utf-8")
        with pytest.raises(SyntheticError, match="small.target"):
            _read_target(path)
