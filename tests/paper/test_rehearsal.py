"""A newcomer's journey by commands: train, stop, resume, measure, draw; and the messages when it goes wrong."""

import importlib
import json
import shlex

import pytest
from figures import draw_person
from PIL import Image

from reid_demo.__main__ import main

SMALL = ["model.dim=16", "model.ffn_dim=16", "model.num_heads=2", "height=32", "width=16", "epochs=1"]
BATCH = ["ids_per_batch=2", "imgs_per_id=2", "augmix=false"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Create a synthetic set of drawn figures in a folder whose name needs quoting."""
    folder = tmp_path_factory.mktemp("drawn people") / "the set"
    for pid in range(1, 5):
        for split, camids in (("bounding_box_train", (1, 2)), ("query_occluded", (1,)), ("bounding_box_test", (2,))):
            (folder / split).mkdir(parents=True, exist_ok=True)
            for camid in camids:
                image = Image.fromarray(draw_person(pid, camid, 64, 32))
                image.save(folder / split / f"{pid:04d}_c{camid}s1_000001_00.jpg")
    return folder


def command(root, out, *words):
    said = ["train", "--dataset", "synthetic", "--root", str(root), "--out", str(out), "--device", "cpu"]
    return main([*said, "--set", *SMALL, "--set", *BATCH, *words])  # both groups count


def test_train_one_epoch_stop_go_on_measure_and_draw(root, tmp_path, capsys, monkeypatch):
    training = importlib.import_module("reid_demo.training.run")
    real = training.train_step

    def interrupted(config, module, optimizer, batches, step):
        if step == 1:
            raise KeyboardInterrupt  # as Ctrl-C does
        return real(config, module, optimizer, batches, step)

    out = tmp_path / "run"
    monkeypatch.setattr(training, "train_step", interrupted)
    assert command(root, out) == 130
    assert "No checkpoint yet: " in capsys.readouterr().err
    assert command(root, out, "--save-every", "1") == 130
    assert "with --resume to continue from the last checkpoint" in capsys.readouterr().err
    monkeypatch.setattr(training, "train_step", real)
    assert command(root, out, "--resume") == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert "2/2" in captured.err and "loss=" in captured.err  # the progress bar
    assert result["steps"] == 2 and result["finished"]  # one epoch of four images a batch is the eight images
    assert [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()] == [1, 2]

    words = shlex.split(captured.err.split("Measure: python -m reid_demo ")[1].splitlines()[0])
    places = {"NAME": "synthetic", "DIR": str(root)}
    words = [places.get(word, word) for word in words] + ["--probes", "occluded", "--device", "cpu", "--json"]
    monkeypatch.setattr("sys.argv", ["reid_demo", *words])
    assert main(words) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["num_query"], record["fingerprint"]) == (4, result["fingerprint"])
    assert shlex.split(record["command"]) == ["python", "-m", "reid_demo", *words]  # can be typed again

    sheet = tmp_path / "sheet.png"
    picture = str(root / "query_occluded" / "0001_c1s1_000001_00.jpg")
    assert main(["attention-sheet", picture, "--weights", str(out / "weights"), "--out", str(sheet)]) == 0
    assert Image.open(sheet).size == (944, 268)
    assert main(["attention-sheet", picture, "--weights", str(out), "--out", str(sheet)]) == 1
    assert f"Name {out / 'weights'}." in capsys.readouterr().err  # the run's folder for its weights


def test_what_a_newcomer_gets_wrong_is_said(root, tmp_path, capsys):
    assert command(root, tmp_path, "--set", "ids_per_batch=16") == 1
    assert "4 identities cannot fill batches of 16; set ids_per_batch lower." in capsys.readouterr().err
    assert command(root, tmp_path / "run", "--resume") == 1
    assert "start without --resume" in capsys.readouterr().err
    assert command(root, tmp_path / "run", "--evaluate", "synthetc", str(root)) == 1
    assert "Unknown data set 'synthetc'" in capsys.readouterr().err and not (tmp_path / "run").exists()
    for name, more in (("train", []), ("ablate", ["--max-steps", "1"]), ("teach", ["--network", "n.xml"])):
        with pytest.raises(SystemExit):  # they would ignore it
            main([name, "--dataset", "synthetic", "--root", str(root), "--out", "y", *more, "--weights", "x"])
        assert "unrecognized arguments: --weights x" in capsys.readouterr().err
