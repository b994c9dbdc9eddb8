"""The commands that measure explanations: what they print, write, and put into a document."""

import json
import shutil

import pytest
from rendered_gallery import with_truth

from reid_demo.__main__ import main


@pytest.fixture(scope="module")
def where(tmp_path_factory, tiny_weights, tiny_engine):
    """Copy the tiny weights and gallery, which the commands write to."""
    folder = tmp_path_factory.mktemp("explaining")
    shutil.copytree(tiny_weights, folder / "weights")
    root = with_truth(tiny_engine.gallery.folder, folder / "gallery")
    rows = [{"path": e.path.name, "pid": e.pid, "camid": e.camid, "kind": e.kind} for e in tiny_engine.probes]
    (root / "probes" / "probes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    names = ("visibility", "visibility_curve", "meaning", "faithfulness", "sanity", "mark", "alarms")
    places = "".join(f"<!-- {name} -->\n<!-- end of {name} -->\n" for name in names)
    (folder / "numbers.md").write_text(places)
    return folder


def options(where, *more):
    return ["--weights", str(where / "weights"), "--device", "cpu", "--into", str(where / "numbers.md"), *more]


def test_visibility_is_written_beside_the_weights_and_told_by_explain(where, tiny_engine, capsys):
    root = ["--root", str(where / "gallery"), "--limit", "18"]
    assert main(["visibility", *options(where), *root, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert json.loads((where / "weights" / "visibility.json").read_text()) == printed
    assert "| left leg |" in (where / "numbers.md").read_text()
    probe = str(tiny_engine.examples[0].path)
    here = ["--weights", str(where / "weights"), "--gallery", str(where / "gallery"), "--device", "cpu"]
    assert main(["explain", probe, *here, "--out", str(where / "why")]) == 0
    assert "left leg: cannot be told" in capsys.readouterr().out  # of 18 pictures nothing is reliable
    explained = json.loads((where / "why" / "explanation.json").read_text())
    assert [row["probability"] for row in explained["visible_probe"]] == [None] * 8
    assert len(explained["visible_match"]) == 8


@pytest.mark.parametrize(
    ("command", "row"),
    [
        (["meaning", "--root", "GALLERY", "--limit", "8"], "| carried items | 8 |"),
        (["faithfulness", "--limit", "1"], "| map of what matters | 8 |"),
        (["sanity", "--limit", "1"], "| probe mirrored, map mirrored back | high |"),
    ],
)
def test_a_table_is_printed_and_put_into_the_document(where, command, row, capsys):
    command = [str(where / "gallery") if word == "GALLERY" else word for word in command]
    assert main([*command, *options(where, "--gallery", str(where / "gallery"))]) == 0
    assert row in capsys.readouterr().out and row in (where / "numbers.md").read_text()


def test_a_gallery_of_few_people_has_no_mark_of_its_own(where, capsys):
    assert main(["calibrate", *options(where), "--gallery", str(where / "gallery"), "--stored"]) == 1
    assert "a threshold needs 20" in capsys.readouterr().err
    assert not (where / "gallery" / "calibration.json").exists()


def test_fairness_asks_for_a_threshold_first(where, capsys):
    assert main(["fairness", *options(where, "--gallery", str(where / "gallery"))]) == 1
    assert "run `calibrate` first" in capsys.readouterr().err
    assert main(["calibrate", *options(where), "--gallery", str(where / "gallery")]) == 0
    capsys.readouterr()
    assert main(["fairness", *options(where, "--gallery", str(where / "gallery"))]) == 1
    assert "people.jsonl.gz" in capsys.readouterr().err
