"""Ablations: equal budgets, no repeated runs, tables in the paper's form."""

import dataclasses
import json
import shutil

import pytest
import torch
from figures import draw_person
from PIL import Image

from reid_demo.__main__ import main
from reid_demo.config import ModelConfig, TrainConfig, to_dict
from reid_demo.errors import ConfigError, DatasetError, OcclusionError, TrainingError, WeightsError
from reid_demo.measuring.evaluate import Plan
from reid_demo.measuring.evaluate import evaluate as measure
from reid_demo.model import checkpoint
from reid_demo.model.describer import Describer
from reid_demo.paper import ablate as module
from reid_demo.paper.ablate import Condition, Trial, ablate, markdown, recipe_rows, rows_of
from reid_demo.records import Occlusion, Scoring

TINY = TrainConfig(
    model=ModelConfig(backbone="osnet_x0_25", dim=16, ffn_dim=16, num_heads=2),
    height=64,
    width=32,
    small_height=64,
    small_width=32,
    epochs=2,
    warmup_epochs=1,
    decay_epochs=(),
    ids_per_batch=2,
    imgs_per_id=2,
    augmix=False,
)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "people"
    for pid in range(1, 4):
        for split, camids in (("bounding_box_train", (1, 2)), ("query", (1,)), ("bounding_box_test", (2,))):
            (folder / split).mkdir(parents=True, exist_ok=True)
            for camid in camids:
                image = Image.fromarray(draw_person(pid, camid, 64, 32))
                image.save(folder / split / f"{pid:04d}_c{camid}s1_000001_00.jpg")
    return folder


@pytest.fixture
def faked(monkeypatch):
    """Replace training and measuring with a list of the calls."""
    asked = []

    def train(config, sources, out, *, start, limits, device):
        if config.recolour:  # the mark of the tests' own recipes
            asked.append(("recipe", config.recolour, len(sources.roots), sources.teacher and sources.teacher.name))
        steps = limits.max_steps
        asked.append(("train", config.model.templates, config.model.backbone, config.seed, steps, start.resume))
        return {"steps": steps, "loaded": {}}

    def evaluate(describer, plan, *, memory):
        asked.append(("evaluate", plan.dataset, plan.occlusion.kind if plan.occlusion else None))
        value = len([row for row in asked if row[0] == "train"]) / 10
        return dict.fromkeys(module.NUMBERS, value)

    monkeypatch.setattr(module, "train", train)
    monkeypatch.setattr(module, "evaluate", evaluate)
    monkeypatch.setattr(module.checkpoint, "load_weights", lambda folder: type("M", (), {"config": TINY.model}))
    monkeypatch.setattr(module, "Describer", lambda model, device: None)
    return asked


def go(root, out, rows, conditions=None, **changes):
    options = {"dataset": "market1501", "roots": [root], "max_steps": 5, "device": "cpu", **changes}
    seeds = options.pop("seeds", [0, 1])
    return ablate(TINY, rows, Trial(conditions=conditions or [Condition("market1501", root)], **options), out, seeds)


def test_every_row_has_the_same_budget_and_a_mean_with_its_spread(root, tmp_path, faked):
    rows = rows_of(TINY, ["G", "G+D"], ["osnet"])
    hidden = Condition("market1501", root, occlusion=Occlusion("lower_half"))
    summary = go(root, tmp_path / "out", rows, [Condition("market1501", root), hidden])
    trained = [row[1:] for row in faked if row[0] == "train"]
    wanted = [("none", "osnet_x0_25"), ("dynamic", "osnet_x0_25"), ("dynamic", "osnet")]
    assert trained == [(*row, seed, 5, False) for row in wanted for seed in (0, 1)]
    assert summary["conditions"] == ["market1501 whole", "market1501 whole, lower_half in mean_grey"]
    first = summary["rows"][0]
    assert first["mean"]["market1501 whole"]["rank1"] == pytest.approx(0.15)
    assert first["spread"]["market1501 whole"]["mAP"] == pytest.approx(0.0707, abs=1e-4)  # sample deviation of .1, .2
    assert json.loads((tmp_path / "out" / "ablation.json").read_text())["rows"][2]["name"] == "osnet"
    text = (tmp_path / "out" / "ablation.md").read_text()
    assert "| Variation | R-1 | R-5 | mAP | mINP |" in text and "| Backbone | R-1 | R-5 | R-10 | mAP | mINP |" in text
    assert "| G | 15.0 ± 7.1 | 15.0 ± 7.1 | 15.0 ± 7.1 | 15.0 ± 7.1 |" in text
    assert "5 steps of 4 images of market1501, one recipe, seeds 0, 1" in text


def test_nothing_is_made_twice(root, tmp_path, faked):
    out, rows = tmp_path / "out", rows_of(TINY, ["G+D"], ["osnet_x0_25"])  # one model in both tables
    first = go(root, out, rows)
    assert len([row for row in faked if row[0] == "train"]) == 2
    faked.clear()
    assert json.dumps(go(root, out, rows)) == json.dumps(first) and faked == []
    more = [Condition("market1501", root), Condition("market1501", root, occlusion=Occlusion("upper_half"))]
    go(root, out, rows, more)
    assert faked == [("evaluate", "market1501", "upper_half")] * 2
    path = out / "osnet_x0_25_G+D_seed0" / "budget.json"
    held = json.loads(path.read_text())
    del held["recipe"]["recolour"], held["recipe"]["model"]["bn_neck"]  # as an earlier release wrote it
    path.write_text(json.dumps(held))
    go(root, out, rows)
    (tmp_path / "net.pt").write_bytes(b"weights")
    for changes in ({"max_steps": 6}, {"dataset": "synthetic"}, {"init": {"osnet_x0_25": tmp_path / "net.pt"}}):
        with pytest.raises(ConfigError, match="another recipe, data set or budget"):
            go(root, out, rows, **changes)
    with pytest.raises(ConfigError, match="another recipe"):
        go(root, out, rows_of(dataclasses.replace(TINY, learning_rate=1.0), ["G+D"], []))


def test_other_data_or_other_initial_weights_are_refused_by_name(root, tmp_path, faked):
    rows, out, other = rows_of(TINY, ["G"], []), tmp_path / "out", tmp_path / "other"
    for name in ("net.pt", "new/net.pt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    kept = {"init": {"osnet_x0_25": tmp_path / "net.pt"}, "seeds": [0]}
    go(root, out, rows, **kept)
    shutil.copytree(root, other)
    go(other, out, rows, [Condition("market1501", other)], **kept)  # the same images elsewhere
    for split in ("query", "bounding_box_train"):
        extra = other / split / "0003_c1s1_000009_00.jpg"
        shutil.copy(next((other / split).glob("0003*.jpg")), extra)
        roots = {"query": (root, other), "bounding_box_train": (other, other)}[split]
        with pytest.raises(ConfigError, match=rf"on {root}, not on {other}"):
            go(roots[0], out, rows, [Condition("market1501", roots[1])], **kept)
        extra.unlink()
    with pytest.raises(ConfigError, match=r"started from net.pt \(sha256 \w{12}\), not from net.pt \(sha256 \w{12}\)"):
        go(root, out, rows, init={"osnet_x0_25": tmp_path / "new" / "net.pt"}, seeds=[0])
    assert len([row for row in faked if row[0] == "train"]) == 1


def test_runs_of_an_earlier_release_are_kept_and_measured_again(root, tmp_path, faked):
    rows, out = rows_of(TINY, ["G"], []), tmp_path / "out"
    (tmp_path / "net.pt").write_bytes(b"weights")
    kept = {"init": {"osnet_x0_25": tmp_path / "net.pt"}, "seeds": [0]}
    go(root, out, rows, **kept)
    folder = out / "osnet_x0_25_G_seed0"
    held, measures = (json.loads((folder / name).read_text()) for name in ("budget.json", "measures.json"))
    (folder / "budget.json").write_text(json.dumps({**held, "init": "net.pt", "data": None}))
    del measures["market1501 whole"]["data"]  # of which images it was, nobody can say
    (folder / "measures.json").write_text(json.dumps(measures))
    faked.clear()
    go(root, out, rows, **kept)
    assert faked == [("evaluate", "market1501", None)]
    (folder / "budget.json").write_text(json.dumps({**held, "init": "r50.pt"}))
    with pytest.raises(ConfigError, match="started from r50.pt"):
        go(root, out, rows, **kept)


@pytest.mark.parametrize(("variant", "weighing"), [("G+D", "cosine"), ("G+D+W", "adaptive")])
def test_a_variant_is_measured_with_its_own_weights(variant, weighing, root, tmp_path):
    out = tmp_path / "out"
    summary = go(root, out, rows_of(TINY, [variant], []), seeds=[0], max_steps=1)
    record = dict(summary["rows"][0]["runs"][0]["market1501 whole"])
    weights = checkpoint.load_weights(out / f"osnet_x0_25_{variant}_seed0" / "weights")
    with torch.no_grad():  # one part alone is present, so that weights change every similarity
        weights.templates.queries.mul_(0)
        weights.templates.queries[0] += 3
    checkpoint.save_weights(weights, out / f"osnet_x0_25_{variant}_seed0" / "weights")
    (out / f"osnet_x0_25_{variant}_seed0" / "measures.json").unlink()
    summary = go(root, out, rows_of(TINY, [variant], []), seeds=[0], max_steps=1)
    again = dict(summary["rows"][0]["runs"][0]["market1501 whole"])
    describer = Describer(weights, "cpu")
    wanted = {w: measure(describer, Plan("market1501", root, scoring=Scoring(w))) for w in ("cosine", "adaptive")}
    again.pop("data")
    assert again == wanted[weighing] != wanted[{"cosine": "adaptive", "adaptive": "cosine"}[weighing]]
    assert record["protocol"] == again["protocol"]


def test_a_run_that_was_cut_off_is_taken_up(root, tmp_path, faked):
    rows = rows_of(TINY, ["G"], [])
    go(root, tmp_path / "out", rows, seeds=[3])
    folder = tmp_path / "out" / "osnet_x0_25_G_seed3"
    (folder / "result.json").unlink()
    (folder / "training.pt").touch()
    faked.clear()
    go(root, tmp_path / "out", rows, seeds=[3])
    assert faked == [("train", "none", "osnet_x0_25", 3, 5, True)]


def test_one_seed_has_no_spread_and_what_is_missing_is_a_dash():
    row = {"kind": "variant", "name": "G", "mean": {"a": dict.fromkeys(module.NUMBERS, 0.5)}, "spread": {}}
    other = {"kind": "variant", "name": "G+D", "mean": {}, "spread": {}}
    text = markdown(
        {"rows": [row, other], "conditions": ["a"], "seeds": [0], "max_steps": 1, "dataset": "synthetic"}, TINY
    )
    assert "| G | 50.0 | 50.0 | 50.0 | 50.0 |" in text and "| G+D | - | - | - | - |" in text


def test_what_cannot_be_compared_is_refused_before_training(root, tmp_path, faked):
    for names in ((["G+X"], []), ([], ["vgg"]), (["G", "G"], [])):
        with pytest.raises(ConfigError):
            rows_of(TINY, *names)
    with pytest.raises(ConfigError, match="at least one"):
        go(root, tmp_path / "out", rows_of(TINY, [], []))
    rows = rows_of(TINY, ["G"], [])
    faulty = rows_of(dataclasses.replace(TINY, height=50), ["G"], [])  # by which the first row would not be trained
    with pytest.raises(TrainingError, match="multiples of 16"):
        go(root, tmp_path / "out", [*rows, *(dataclasses.replace(row, kind="recipe") for row in faulty)])
    for changes in ({"seeds": []}, {"seeds": [0, 0]}, {"max_steps": 0}, {"init": {"vgg": root}}):
        with pytest.raises(ConfigError):
            go(root, tmp_path / "out", rows, **changes)
    with pytest.raises(ConfigError, match="are both called 'market1501 whole'"):
        go(root, tmp_path / "out", rows, [Condition("market1501", root)] * 2)
    with pytest.raises(DatasetError, match="nowhere"):
        go(root, tmp_path / "out", rows, [Condition("market1501", tmp_path / "nowhere")])
    with pytest.raises(DatasetError, match="Unknown data set 'gallery'"):
        go(root, tmp_path / "out", rows, [Condition("gallery", root)])
    with pytest.raises(OcclusionError):
        go(root, tmp_path / "out", rows, [Condition("market1501", root, occlusion=Occlusion("hat"))])
    assert faked == []


def test_rows_of_ones_own_change_the_recipe_the_data_and_the_teacher(root, tmp_path, faked):
    (tmp_path / "shared.json").write_text(json.dumps({**to_dict(TINY), "distill_direct": 1.0}))
    rows = [
        {"name": "paper's losses", "set": ["recolour=0.2", "distill_direct=0"], "roots": 1},
        {"name": "+ teacher", "set": ["recolour=0.3"]},
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    found = recipe_rows(tmp_path / "rows.json", tmp_path / "shared.json", ["flip=0.25"])
    assert [row.config.flip for row in found] == [0.25, 0.25] and found[0].folder(1) == "paper-s-losses_seed1"
    (tmp_path / "t.npz").write_bytes(b"vectors")
    options = {"roots": [root, root], "teacher": tmp_path / "t.npz", "seeds": [0]}
    aware = [Condition("market1501", root), Condition("market1501", root, part_aware=True)]
    summary = go(root, tmp_path / "out", found, aware, **options)
    assert [row[1:] for row in faked if row[0] == "recipe"] == [(0.2, 1, None), (0.3, 2, "t.npz")]
    assert summary["conditions"] == ["market1501 whole", "market1501 whole, part-aware"]
    assert "| Recipe | R-1 |" in (tmp_path / "out" / "ablation.md").read_text()
    with pytest.raises(ConfigError, match="more roots"):
        go(root, tmp_path / "other", [dataclasses.replace(found[0], num_roots=2)])


@pytest.mark.parametrize(
    "text",
    ["{", "{}", "[1]", '[{"set": []}]', '[{"name": "a", "steps": 3}]', '[{"name": "a", "roots": 0}]']
    + ['[{"name": "a"}, {"name": "A"}]', '[{"name": "a", "set": ["nothing=1"]}]', '[{"name": "a", "set": "flip=1"}]'],
)
def test_bad_rows_are_refused(text, tmp_path):
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(ConfigError):
        recipe_rows(tmp_path / "rows.json")


def test_the_command_trains_and_prints_a_table(root, tmp_path, capsys):
    (tmp_path / "recipe.json").write_text(json.dumps(to_dict(TINY)))
    options = ["--root", str(root), "--out", str(tmp_path / "out"), "--config", str(tmp_path / "recipe.json")]
    options += ["--variants", "G", "--seeds", "0", "--max-steps", "1", "--device", "cpu"]
    assert main(["ablate", "--dataset", "market1501", *options, "--occlude", "lower_half"]) == 0
    assert capsys.readouterr().out.count("| G |") == 2
    summary = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert summary["rows"][0]["runs"]["0"]["market1501 whole"]["num_query"] == 3
    (tmp_path / "rows.json").write_text('[{"name": "mine", "set": ["model.num_parts=3"]}]')
    mine = ["--rows", str(tmp_path / "rows.json"), "--part-aware"]
    assert main(["ablate", "--dataset", "market1501", *options[:6], "--max-steps", "1", "--device", "cpu", *mine]) == 0
    assert capsys.readouterr().out.count("| mine |") == 2


def test_ctrl_c_says_how_to_resume(root, tmp_path, capsys, monkeypatch):
    def stopped(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "train", stopped)
    (tmp_path / "recipe.json").write_text(json.dumps(to_dict(TINY)))
    options = ["--root", str(root), "--out", str(tmp_path / "out"), "--config", str(tmp_path / "recipe.json")]
    options += ["--variants", "G", "--seeds", "0", "--max-steps", "1"]
    assert main(["ablate", "--dataset", "market1501", *options]) == 130
    assert "Run the same command again to resume" in capsys.readouterr().err


def test_a_recipe_that_was_refused_leaves_its_folder_to_the_corrected_one(root, tmp_path, faked, monkeypatch):
    out, train = tmp_path / "out", module.train
    wrong = rows_of(dataclasses.replace(TINY, ids_per_batch=16), ["G"], [])

    def refuse(*given, **named):
        raise TrainingError("There are fewer people than a batch holds.")

    monkeypatch.setattr(module, "train", refuse)
    with pytest.raises(TrainingError):
        go(root, out, wrong, seeds=[0])
    monkeypatch.setattr(module, "train", train)
    assert go(root, out, rows_of(TINY, ["G"], []), seeds=[0])["rows"][0]["mean"]
    with pytest.raises(ConfigError, match="another recipe"):  # trained by now
        go(root, out, wrong, seeds=[0])


def test_another_teacher_is_another_run(root, tmp_path, faked):
    out, rows = tmp_path / "out", rows_of(dataclasses.replace(TINY, distill_similarity=1.0), ["G"], [])
    for name in ("a.npz", "b.npz"):
        (tmp_path / name).write_bytes(name.encode())
    go(root, out, rows, seeds=[0], teacher=tmp_path / "a.npz")
    with pytest.raises(ConfigError, match="another teacher"):
        go(root, out, rows, seeds=[0], teacher=tmp_path / "b.npz")
    path = out / rows[0].folder(0) / "budget.json"
    held = json.loads(path.read_text())
    del held["teacher"]  # as an earlier release wrote it
    path.write_text(json.dumps(held))
    go(root, out, rows, seeds=[0], teacher=tmp_path / "b.npz")


def test_a_recipe_that_pastes_gets_the_cut_outs_that_ship(root, tmp_path, faked, monkeypatch):
    train, given = module.train, []
    monkeypatch.setattr(
        module, "train", lambda c, sources, *a, **k: given.append(sources) or train(c, sources, *a, **k)
    )
    for pasted in (0.0, 0.25):
        go(root, tmp_path / str(pasted), rows_of(dataclasses.replace(TINY, pasted=pasted), ["G"], []), seeds=[0])
    assert given[0].occluders is None and list(given[1].occluders.glob("person_*.png"))


def test_what_would_be_ignored_or_mixed_up_is_refused(root, tmp_path, faked):
    rows = rows_of(TINY, ["G"], [])
    with pytest.raises(ConfigError, match="No row has the backbone 'osnet' that --init names"):
        go(root, tmp_path / "out", rows, init={"osnet": tmp_path / "net.pt"})
    shutil.copytree(root, tmp_path / "twin")
    twice = [Condition("market1501", root), Condition("market1501", tmp_path / "twin")]
    with pytest.raises(ConfigError, match="both called 'market1501 whole'"):
        go(root, tmp_path / "out", rows, twice)
    with pytest.raises(ConfigError, match="at least one thing to measure"):
        ablate(TINY, rows, Trial("market1501", [root], [], max_steps=5), tmp_path / "out", [0])
    go(root, tmp_path / "out", rows, seeds=[0])
    (tmp_path / "out" / rows[0].folder(0) / "measures.json").write_text("{")
    with pytest.raises(ConfigError, match="measures.json cannot be read"):
        go(root, tmp_path / "out", rows, seeds=[0])


@pytest.mark.parametrize("names", [["a b", "a-b"], ["+", "-"]])
def test_rows_that_share_a_folder_are_refused(names, tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps([{"name": name} for name in names]))
    with pytest.raises(ConfigError, match="share a folder"):
        recipe_rows(tmp_path / "rows.json")


def test_a_table_of_several_recipes_does_not_speak_of_one(root, tmp_path, faked):
    (tmp_path / "rows.json").write_text(json.dumps([{"name": "plain"}, {"name": "fast", "set": ["learning_rate=1"]}]))
    go(root, tmp_path / "out", recipe_rows(tmp_path / "rows.json"), seeds=[0])
    text = (tmp_path / "out" / "ablation.md").read_text()
    assert "one recipe" not in text and "if a row does not say otherwise" in text


def test_both_files_of_a_network_are_recorded(tmp_path):
    """The numbers of OpenVINO weights lie beside the named file."""
    network, kept = tmp_path / "net.xml", []
    network.write_bytes(b"<net/>")
    with pytest.raises(WeightsError, match="net.bin cannot be read"):
        module._init_key(network)
    for numbers in (b"one", b"two", b"one"):
        network.with_suffix(".bin").write_bytes(numbers)
        kept.append(module._init_key(network))
    assert kept[0] == kept[2] != kept[1] and kept[0]["name"] == "net.xml"
