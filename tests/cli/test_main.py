"""The command line returns what the engine returns, and fails with one sentence and a non-zero exit code."""

import json

import pytest

from reid_demo.__main__ import main
from reid_demo.images import read_image


def test_search_equals_the_engine(tiny_engine, tiny_weights, tiny_gallery_folder, capsys):
    probe = tiny_engine.examples[0].path
    code = main(
        ["search", str(probe), "--weights", str(tiny_weights), "--gallery", str(tiny_gallery_folder)]
        + ["--device", "cpu", "--top-k", "5", "--json"]
    )
    assert code == 0
    answer = json.loads(capsys.readouterr().out)
    matches = tiny_engine.search(tiny_engine.describe(read_image(probe)), 5)
    assert [m["path"] for m in answer[0]["matches"]] == [m.record.path for m in matches]
    for row, match in zip(answer[0]["matches"], matches, strict=True):
        assert row["similarity"] == pytest.approx(match.similarity, abs=1e-5)
        assert sum(row["contributions"]) == pytest.approx(row["similarity"], abs=1e-5)


def test_a_bad_probe_is_one_sentence(tmp_path, tiny_weights, tiny_gallery_folder, capsys):
    bad = tmp_path / "bad.jpg"
    bad.write_text("hello")
    code = main(["search", str(bad), "--weights", str(tiny_weights), "--gallery", str(tiny_gallery_folder)])
    captured = capsys.readouterr()
    assert code == 1 and captured.out == "" and captured.err.startswith("error: ") and captured.err.count("\n") == 1


def test_index_then_info(tmp_path, tiny_weights, tiny_gallery_folder, capsys):
    out = tmp_path / "mine"
    assert main(["index", str(tiny_gallery_folder / "images"), "--out", str(out), "--weights", str(tiny_weights)]) == 0
    assert "18 images" in capsys.readouterr().out
    assert main(["info", "--json", "--weights", str(tiny_weights), "--gallery", str(out)]) == 0
    assert json.loads(capsys.readouterr().out)["gallery_images"] == 18


def test_a_gallery_of_other_weights_is_refused(tmp_path, tiny_gallery_folder, tiny_config, capsys):
    from reid_demo.model import checkpoint
    from reid_demo.model.dpti import build_model

    checkpoint.save_weights(build_model(tiny_config), tmp_path / "other")
    assert main(["info", "--weights", str(tmp_path / "other"), "--gallery", str(tiny_gallery_folder)]) == 1
    assert "index" in capsys.readouterr().err
