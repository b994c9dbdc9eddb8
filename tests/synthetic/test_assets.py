"""Reading the MakeHuman assets."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy")


from reid_demo.errors import SyntheticError
from reid_demo.synthetic.assets import NEEDED, _read_target, load_assets


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


def test_damaged_assets_are_told(assets_folder, tmp_path):
    for name in ("3dobjs", "rigs"):
        shutil.copytree(assets_folder / "data" / name, tmp_path / "data" / name)
    for needed in NEEDED:  # what is asked for first
        if not (tmp_path / needed).exists():
            (tmp_path / needed).mkdir(parents=True)
    load_assets(tmp_path)
    rig = tmp_path / "data" / "rigs" / "default.mhskel"
    whole = json.loads(rig.read_text(encoding="utf-8"))
    no_root = {**whole, "bones": {name: bone for name, bone in whole["bones"].items() if name != "root"}}
    for wrong in ({}, [], {**whole, "joints": {}}, no_root):
        rig.write_text(json.dumps(wrong), encoding="utf-8")
        with pytest.raises(SyntheticError, match="are damaged"):
            load_assets(tmp_path)
    rig.write_text(json.dumps(whole), encoding="utf-8")
    mesh = tmp_path / "data" / "3dobjs" / "base.obj"
    for cut in (b"v 1 x 2\n", b"f 1 2\n"):
        mesh.write_bytes(cut)
        with pytest.raises(SyntheticError, match="are damaged"):
            load_assets(tmp_path)


def test_a_damaged_garment_is_told(body, tmp_path):
    folder = tmp_path / "base" / "clothes" / "coat"
    folder.mkdir(parents=True)
    for content in ("verts 0\n1 2\n", "obj_file\n", "obj_file coat.obj\n"):
        (folder / "coat.mhclo").write_text(content)
        with pytest.raises(SyntheticError, match="'coat.mhclo' is damaged"):
            replace(body.assets, folder=tmp_path, _cloths={}).cloth("coat")
