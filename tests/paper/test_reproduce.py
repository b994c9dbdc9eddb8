"""docs/REPRODUCE.md has a command for every own row of the paper's tables, and each command trains that row."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from figures import draw_person
from PIL import Image

from reid_demo.__main__ import _parser, main
from reid_demo.config import LossConfig, ModelConfig, TrainConfig, read_train_config, to_dict
from reid_demo.data.layouts import PROBES
from reid_demo.model.backbones import build_backbone
from reid_demo.paper import ablate, reproduce
from reid_demo.training.run import Limits, Sources, train
from reid_demo.training.state import Start

TEXT = (Path(__file__).parents[2] / "docs" / "REPRODUCE.md").read_text(encoding="utf-8")
SMALL = ["model.dim=16", "model.ffn_dim=16", "model.num_heads=2", "height=32", "width=16"]
SMALL += ["ids_per_batch=2", "imgs_per_id=2", "augmix=false", "model.backbone=osnet_x0_25"]

# By hand from the paper: templates, weighted, backbone.
MEANT = {(table, "ours"): ("dynamic", False, "resnet50") for table in (1, 2, 3)}
MEANT |= {
    (4, "G"): ("none", False, "resnet50"),
    (4, "G+P"): ("grid", False, "resnet50"),
    (4, "G+T"): ("static", False, "resnet50"),
    (4, "G+D"): ("dynamic", False, "resnet50"),
    (4, "G+D+W"): ("dynamic", True, "resnet50"),
}
MEANT |= {(5, name): ("dynamic", True, name) for name in ("resnet50", "resnet50_ibn", "osnet", "resnet18")}


def commands() -> list[list[str]]:
    """Return the arguments after `-m reid_demo` of every command in the document."""
    text = TEXT.replace("\\\n", " ")
    found = re.findall(r"-m reid_demo (.*?)[`\n]", text)
    return [shlex.split(line) for line in found]


def parsed(name):
    return [_parser().parse_args(words) for words in commands() if words[0] == name]


def test_there_is_one_command_for_every_row_and_it_means_that_row():
    rows = [reproduce.find_row(o.table, o.row) for o in parsed("reproduce")]
    assert {(row.table, row.name) for row in rows} == set(MEANT)
    assert {(row.table, row.name) for row in reproduce.ROWS} == set(MEANT)
    trained = set()
    for options, row in zip(parsed("reproduce"), rows, strict=True):
        for name, (config, datasets) in row.runs(options.set).items():
            model = config.model
            assert (model.templates, model.adaptive_weighting, model.backbone) == MEANT[row.table, row.name]
            assert (model.mid_stage, model.num_parts, model.dim, model.num_heads) == (3, 8, 256, 8)
            assert (model.ffn_dropout, model.attention_dropout, config.epochs) == (0.1, 0.2, 180)
            assert config.random_crop == (0.0 if datasets == ["market1501"] else 0.5)
            trained.add((name, ablate.Row("variant", row.variant, config).folder(options.seed)))
        assert row.backbone.removesuffix("_ibn") in Path(options.init).name  # the file of that backbone
    assert len(trained) == 13 and "13 runs" in TEXT


def test_the_numbers_beside_the_commands_are_those_the_command_prints():
    lines = [line for line in TEXT.splitlines() if line.startswith("|") and "reid_demo reproduce" in line]
    assert len(lines) == len(reproduce.ROWS)
    for line in lines:
        options = _parser().parse_args(shlex.split(re.search(r"-m reid_demo (.*?)`", line).group(1)))
        row = reproduce.find_row(options.table, options.row)
        shown = [float(number) for number in re.findall(r"\d+\.\d", line.split("|")[3])]
        assert shown == [value for numbers in row.reported.values() for value in numbers.values()]


def test_the_other_commands_of_the_document_are_real():
    (shared, alone) = parsed("train")
    row = reproduce.find_row(2)
    ((config, _),) = row.runs().values()
    assert read_train_config(shared.config, shared.variant, shared.set) == config
    assert shared.out == f"RUNS/occluded/{ablate.Row('variant', row.variant, config).folder(0)}"
    ((config, _),) = reproduce.find_row(1).runs().values()
    assert read_train_config(alone.config, alone.variant, alone.set) == config
    assert {o.dataset for o in [*parsed("train"), *parsed("evaluate")]} <= set(PROBES)
    assert len(parsed("evaluate")) == len(parsed("attention-sheet")) == 1
    for change in re.findall(r"`--set (.*?)`", TEXT):
        if change != "KEY=VALUE":
            read_train_config(None, None, change.split())
    assert sum(map(len, (parsed(n) for n in ("reproduce", "train", "evaluate", "attention-sheet")))) == len(commands())


def test_the_table_of_open_points_has_the_real_defaults_and_all_that_are_on():
    section = TEXT.split("## What the paper leaves open")[1].split("\n## ")[0]
    listed = {}
    for line in section.splitlines():
        if line.startswith("| `"):
            names, values = (cell.strip() for cell in line.split("|")[1:3])
            names = re.findall(r"`([\w.]+)`", names)
            values = json.loads(f"[{values}]")
            listed |= dict(zip(names, values if len(values) > 1 else values * len(names), strict=True))
    listed = {name: tuple(value) if isinstance(value, list) else value for name, value in listed.items()}
    default = to_dict(TrainConfig())
    for name, value in listed.items():
        group, _, key = name.rpartition(".")
        assert (default[group] if group else default)[key] == value, name
    given = {"backbone", "mid_stage", "templates", "adaptive_weighting", "num_parts", "dim", "num_heads"}
    given |= {"ffn_dropout", "attention_dropout"}
    model = set(to_dict(ModelConfig())) - given
    assert {f"model.{name}" for name in model} | {f"loss.{n}" for n in to_dict(LossConfig())} <= set(listed)
    paper = {"model", "loss", "height", "width", "epochs", "optimizer", "learning_rate", "decay_factor"}
    paper |= {"warmup_start", "warmup_epochs", "decay_epochs", "small_height", "small_width"}  # small_*: of what is off
    assert {name for name, value in default.items() if value} - paper <= set(listed)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Lay out the four data sets in drawn figures, and save complete weights for a ResNet-18."""
    root = tmp_path_factory.mktemp("data")
    for pid in (1, 2, 3):
        files = {f"market1501/bounding_box_train/{pid:04d}_c{c}s1_000001_00.jpg": c for c in (1, 2)}
        files[f"market1501/query/{pid:04d}_c1s1_000002_00.jpg"] = 1
        files[f"market1501/bounding_box_test/{pid:04d}_c2s1_000003_00.jpg"] = 2
        for camid, kind in ((1, "occluded"), (2, "whole")):
            files[f"occluded_reid/{kind}_body_images/{pid:03d}/{pid:03d}_01.tif"] = camid
        for camid, kind in ((1, "partial"), (2, "occluded"), (3, "whole")):
            files[f"partial_reid/{kind}_body_images/{pid:03d}_001.jpg"] = camid
        files |= {f"partial_ilids/Probe/{pid}.jpg": 1, f"partial_ilids/Gallery/{pid}.jpg": 2}
        for name, camid in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw_person(pid, camid, 64, 32)).save(root / name)
    torch.save(build_backbone(ModelConfig(backbone="osnet_x0_25")).state_dict(), root / "net.pth")
    return root


def filled_in(words, data, out):
    """Replace the placeholders in a command of the document, and make its run small."""
    places = {"DATA": str(data), "RUNS": str(out), "resnet50-0676ba61.pth": str(data / "net.pth")}
    return [*(places.get(word, word) for word in words), "--max-steps", "1", "--device", "cpu", "--set", *SMALL]


def test_commands_of_the_document_are_carried_out_and_share_their_runs(data, tmp_path, capsys, monkeypatch):
    steps = []
    monkeypatch.setattr(ablate, "train", lambda config, *a, **more: steps.append(config) or train(config, *a, **more))
    of = {(o.table, o.row): words for o, words in zip(parsed("reproduce"), commands(), strict=False)}
    assert main(filled_in(of[4, "G+D"], data, tmp_path)) == 0
    shown = capsys.readouterr().out
    assert "| paper | 95.0 | 98.2 | 86.3 | 60.7 |" in shown and "| partial_reid | R-1 | R-5 | mAP | mINP |" in shown
    assert "1 steps" in shown and "height=32" in shown
    record = json.loads((tmp_path / "table4_G+D.json").read_text())
    assert [result["dataset"] for result in record["results"]] == ["market1501", "occluded_reid", "partial_reid"]
    whole, hidden, part = record["results"]
    assert whole["fingerprint"] != hidden["fingerprint"] == part["fingerprint"]
    assert whole["reported"]["rank1"] == 0.95 and whole["num_query"] == 3
    assert "occluded queries, whole gallery" in hidden["protocol"] and record["command"].startswith("python -m reid")
    assert [config.random_crop for config in steps] == [0.0, 0.5]
    assert main([*filled_in(of[3, None], data, tmp_path), "--json"]) == 0  # measures its data sets on the second run
    third = json.loads(capsys.readouterr().out)
    assert [r["fingerprint"] for r in third["results"]] == [hidden["fingerprint"]] * 2 and len(steps) == 2
    assert third["results"][1]["dataset"] == "partial_ilids"


def test_a_training_made_by_other_means_is_found_and_only_measured(data, tmp_path):
    options = parsed("train")[0]
    config = read_train_config(None, options.variant, [*options.set, *SMALL])
    out = tmp_path / options.out.removeprefix("RUNS/").replace("resnet50", "osnet_x0_25")
    init = data / "net.pth"
    root = data / "market1501"
    sources = Sources("market1501", [root])
    made = train(config, sources, out, start=Start(init), limits=Limits(max_steps=1), device="cpu")
    log = (out / "log.jsonl").read_text()
    attempt = reproduce.Attempt(data, tmp_path, init, changes=SMALL, max_steps=1, device="cpu")
    found = reproduce.reproduce(reproduce.find_row(2), attempt)
    assert found["results"][0]["fingerprint"] == made["fingerprint"] and (out / "log.jsonl").read_text() == log


def test_a_row_measures_what_is_there_names_the_rest_and_takes_it_up_later(data, tmp_path, capsys):
    some = tmp_path / "some"
    some.mkdir()
    for name in ("market1501", "partial_ilids"):
        (some / name).symlink_to(data / name)
    words = ["reproduce", "--table", "3", "--data", str(some), "--init", str(data / "net.pth"), "--max-steps", "1"]
    words += ["--out", str(tmp_path / "out"), "--device", "cpu", "--set", *SMALL]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert "some/partial_reid is missing" in shown.err and "folders are missing: partial_reid." in shown.out
    record = json.loads((tmp_path / "out" / "table3_ours.json").read_text())
    assert (record["backbone"], record["variant"]) == ("osnet_x0_25", "G+D")  # what was trained, not the row's
    assert record["missing"] == ["partial_reid"] and [r["dataset"] for r in record["results"]] == ["partial_ilids"]
    log = next((tmp_path / "out").rglob("log.jsonl")).read_text()
    (some / "partial_reid").symlink_to(data / "partial_reid")
    assert main([*words, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert not record["missing"] and [r["dataset"] for r in record["results"]] == ["partial_reid", "partial_ilids"]
    assert next((tmp_path / "out").rglob("log.jsonl")).read_text() == log  # not trained again


def test_another_root_is_not_given_the_numbers_of_the_first(data, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(data / "market1501", other / "market1501")
    extra = other / "market1501" / "query" / "0001_c3s1_000009_00.jpg"
    shutil.copy(other / "market1501" / "query" / "0001_c1s1_000002_00.jpg", extra)

    def run(root):
        words = ["reproduce", "--table", "1", "--data", str(root), "--init", str(data / "net.pth"), "--max-steps", "1"]
        return main([*words, "--out", str(tmp_path / "out"), "--device", "cpu", "--set", *SMALL])

    assert run(data) == 0
    capsys.readouterr()
    assert run(other) == 1
    shown = capsys.readouterr()
    assert not shown.out and str(data / "market1501") in shown.err and str(other / "market1501") in shown.err


def test_ctrl_c_says_how_to_resume(data, tmp_path, capsys, monkeypatch):
    def stopped(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(ablate, "train", stopped)
    words = ["reproduce", "--table", "1", "--data", str(data), "--init", str(data / "net.pth"), "--set", *SMALL]
    assert main([*words, "--out", str(tmp_path / "out")]) == 130
    assert "Run the same command again to resume" in capsys.readouterr().err


def test_what_is_missing_is_said_before_training(data, tmp_path, capsys, monkeypatch):
    def run(*words, init=data / "net.pth", root=data):
        words += () if "speed=1" in words else ("--set", *SMALL)
        code = main(["reproduce", "--data", str(root), "--init", str(init), "--out", str(tmp_path / "out"), *words])
        assert code == 1 and not (tmp_path / "out").exists()
        return capsys.readouterr().err

    for path in ("market1501", "partial_reid"):  # to train on, then all that could be measured
        (tmp_path / "some").mkdir(exist_ok=True)
        assert f"some/{path} does not exist" in run("--table", "3", root=tmp_path / "some")
        (tmp_path / "some" / path).symlink_to(data / path)
    state = torch.load(data / "net.pth", weights_only=True)
    torch.save({n: t for n, t in state.items() if not n.startswith("conv5")}, tmp_path / "part.pth")
    assert "'part.pth' lacks 5 tensors" in run("--table", "1", init=tmp_path / "part.pth")
    assert "cannot be read" in run("--table", "1", init=tmp_path / "gone.pth")
    assert "Unknown option 'speed'" in run("--table", "1", "--set", "speed=1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "torchrun" in run("--table", "1")


def test_every_option_that_a_document_names_exists():
    """Compare only the names of commands and options, because the documents use placeholders as values."""
    root = Path(__file__).parents[2]
    known = next(a for a in _parser()._actions if a.choices).choices
    found = 0
    for path in (root / "README.md", *(root / "docs").glob("*.md")):
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"-m reid_demo ([^`\n]*)", text):
            name = line.split()[0]
            if name.startswith("-") or not name.replace("-", "").islower():
                continue  # `--help`, `COMMAND`
            options = {option for action in known[name]._actions for option in action.option_strings}
            assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", line)) <= options | {"--help"}, (path.name, line)
            found += 1
    assert found > 40
