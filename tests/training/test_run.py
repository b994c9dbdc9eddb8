"""Training runs, learns, stops, resumes bit for bit, and refuses invalid options."""

import dataclasses
import json
import shlex
import shutil
import sys
import types

import numpy as np
import pytest
import torch
from figures import draw_person, write_people
from PIL import Image
from runs import SMALL

from reid_demo.__main__ import main
from reid_demo.config import ModelConfig, TrainConfig, read_train_config
from reid_demo.data.ground_truth import Truth, to_line, write_truth
from reid_demo.data.layouts import load_train
from reid_demo.errors import DatasetError, TrainingError, WeightsError
from reid_demo.model import checkpoint
from reid_demo.model.dpti import build_model
from reid_demo.training import teacher as distill
from reid_demo.training.distributed import Team
from reid_demo.training.losses import Objective
from reid_demo.training.run import Limits, Sources, _check_clocks, train
from reid_demo.training.state import Start
from reid_demo.training.step import build_optimizer, freeze, learning_rate_factor

TINY = dataclasses.replace(SMALL, small_height=32, small_width=16, warmup_epochs=1, decay_epochs=(3,))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("people"), range(1, 5))


def run(config, root, out, **options):
    """Train on the CPU; pass each option to the record that has this field."""

    def of(record):
        return {name: value for name, value in options.items() if name in record.__dataclass_fields__}

    roots = root if isinstance(root, list) else [root]
    assert {*of(Sources), *of(Start), *of(Limits)} == set(options)
    sources, start, limits = Sources("market1501", roots, **of(Sources)), Start(**of(Start)), Limits(**of(Limits))
    return train(config, sources, out, start=start, limits=limits, device="cpu")


def rows(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_a_run_logs_every_step_and_leaves_weights_that_load(root, tmp_path):
    result = run(TINY, root, tmp_path, max_steps=3)
    assert result["steps"] == 3 and result["finished"] and result["num_classes"] == 4
    assert [row["step"] for row in rows(tmp_path)] == [1, 2, 3]
    assert {"identity", "triplet", "diversity", "total", "learning_rate", "size"} <= set(rows(tmp_path)[0])
    assert checkpoint.load_weights(tmp_path / "weights").config == TINY.model
    for folder in (tmp_path, tmp_path / "weights"):
        assert read_train_config(folder / "recipe.json") == TINY


@pytest.mark.parametrize(
    "change", [{}, {"accumulate": 2, "num_workers": 2, "precision": "bfloat16", "augmix": True, "occlusion": 0.5}]
)
def test_stopping_and_resuming_changes_nothing(change, root, tmp_path):
    config = dataclasses.replace(TINY, **change)
    whole = run(config, root, tmp_path / "whole", max_steps=5)
    stopped = run(config, root, tmp_path / "halves", max_steps=5, stop_after=2)
    assert stopped["steps"] == 2 and not stopped["finished"]
    resumed = run(config, root, tmp_path / "halves", max_steps=5, resume=True)
    assert resumed["fingerprint"] == whole["fingerprint"] != stopped["fingerprint"]
    states = [torch.load(tmp_path / name / "training.pt", weights_only=True) for name in ("whole", "halves")]
    for name, tensor in states[0]["model"].items():
        assert torch.equal(tensor, states[1]["model"][name]), name
    for a, b in zip(rows(tmp_path / "whole"), rows(tmp_path / "halves"), strict=True):
        assert (a["total"], a["learning_rate"]) == (b["total"], b["learning_rate"])


def test_rows_past_the_checkpoint_are_dropped_and_a_run_is_not_started_over(root, tmp_path):
    run(TINY, root, tmp_path, max_steps=3, stop_after=2)
    with open(tmp_path / "log.jsonl", "a") as log:
        log.write('{"step": 3, "total": 9}\n{"step": 4, "tot')  # as a run leaves that is cut off after its checkpoint
    run(TINY, root, tmp_path, max_steps=3, resume=True)
    assert [row["step"] for row in rows(tmp_path)] == [1, 2, 3] and rows(tmp_path)[2]["total"] != 9
    held = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for words in ("Go on with it by --resume; to start over, delete it", "To start over, delete it"):
        with pytest.raises(TrainingError, match=rf"already holds a run\. {words} or name another --out"):
            run(TINY, root, tmp_path, max_steps=1)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == held
        held.pop(tmp_path / "training.pt", None)
        (tmp_path / "training.pt").unlink(missing_ok=True)  # finished weights alone are a run as well
    shutil.rmtree(tmp_path)
    run(TINY, root, tmp_path, max_steps=1)
    assert [row["step"] for row in rows(tmp_path)] == [1]


def test_a_checkpoint_of_an_earlier_release_resumes(root, tmp_path):
    run(TINY, root, tmp_path, max_steps=3, stop_after=2)
    state = torch.load(tmp_path / "training.pt", weights_only=True)
    recipe = json.loads(state["config"])
    del recipe["recolour"], recipe["model"]["bn_neck"]  # an option that did not exist yet
    del state["random_team"], state["random_device"]
    torch.save({**state, "config": json.dumps(recipe)}, tmp_path / "training.pt")
    assert run(TINY, root, tmp_path, max_steps=3, resume=True)["finished"]


@pytest.mark.parametrize("weighted", [False, True], ids=["G+D", "G+D+W"])
def test_a_finished_run_measures_itself(root, tmp_path, capsys, weighted):
    config = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, adaptive_weighting=weighted))
    place = tmp_path / "split"
    for pid in range(1, 5):
        for folder, camid in (("query", 1), ("bounding_box_test", 2)):
            (place / folder).mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(draw_person(pid, camid, 64, 32))
            image.save(place / folder / f"{pid:04d}_c{camid}s1_000001_00.jpg")
    options = {"evaluate_on": ("market1501", place), "max_steps": 2}
    assert "evaluation" not in run(config, root, tmp_path / "out", stop_after=1, **options)
    result = run(config, root, tmp_path / "out", resume=True, **options)
    assert result["evaluation"]["num_query"] == 4
    assert ("adaptive weights" in result["evaluation"]["protocol"]) == weighted, "the paper's own similarity"
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text()) == result["evaluation"]
    record = result["evaluation"]
    assert (record["weights"], record["fingerprint"]) == ("out", result["fingerprint"])
    assert main([*shlex.split(record["command"])[3:], "--device", "cpu", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert {**again, "command": record["command"]} == record
    with pytest.raises(DatasetError, match="nowhere"):
        run(TINY, root, tmp_path / "none", max_steps=1, evaluate_on=("market1501", tmp_path / "nowhere"))
    assert not (tmp_path / "none").exists()  # refused before the work


@pytest.mark.parametrize("installed", [True, False])
def test_events_for_tensorboard_where_it_is_installed(installed, root, tmp_path, monkeypatch):
    written = []

    class Writer:
        def __init__(self, folder, purge_step):
            written.append(("open", folder, purge_step))

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def close(self):
            written.append(("close",))

    fake = types.SimpleNamespace(SummaryWriter=Writer) if installed else None
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    run(TINY, root, tmp_path, max_steps=2)
    if not installed:
        return
    assert written[0] == ("open", str(tmp_path), 1) and written[-1] == ("close",)
    totals = [(value, step) for name, value, step in written[1:-1] if name == "total"]
    assert totals == [(row["total"], row["step"]) for row in rows(tmp_path)]


def test_bfloat16_learns_close_to_float32(root, tmp_path):
    for precision in ("float32", "bfloat16"):
        run(dataclasses.replace(TINY, precision=precision), root, tmp_path / precision, max_steps=2)
    full, half = (rows(tmp_path / name) for name in ("float32", "bfloat16"))
    assert half[0]["identity"] == pytest.approx(full[0]["identity"], rel=0.02) and half[1] != full[1]
    state = torch.load(tmp_path / "bfloat16" / "training.pt", weights_only=True)["model"]
    assert all(t.dtype == torch.float32 for t in state.values() if t.is_floating_point())


def test_resuming_needs_a_checkpoint_of_the_same_recipe(root, tmp_path):
    with pytest.raises(TrainingError, match=r"no .*training\.pt"):
        run(TINY, root, tmp_path, resume=True)
    run(TINY, root, tmp_path, max_steps=1)
    with pytest.raises(TrainingError, match="another recipe"):
        run(dataclasses.replace(TINY, seed=1), root, tmp_path, resume=True)
    state = torch.load(tmp_path / "training.pt", weights_only=True)
    older = json.dumps({**json.loads(state["config"]), "gone": 1})
    torch.save({**state, "config": older}, tmp_path / "training.pt")
    with pytest.raises(TrainingError, match="another release"):
        run(TINY, root, tmp_path / "next", init=tmp_path)
    torch.save({"state_dict": {}}, tmp_path / "training.pt")
    for out, change in ((tmp_path, {"resume": True}), (tmp_path / "next", {"init": tmp_path})):
        with pytest.raises(TrainingError, match="no checkpoint of a run"):
            run(TINY, root, out, **change)
    (tmp_path / "training.pt").write_bytes(b"broken")
    with pytest.raises(TrainingError, match="damaged"):
        run(TINY, root, tmp_path, resume=True)


def test_a_loss_that_is_not_finite_names_its_step(root, tmp_path):
    config = dataclasses.replace(TINY, learning_rate=1e30, warmup_start=1e30)
    with pytest.raises(TrainingError, match=r"not finite at step [23]"):
        run(config, root, tmp_path, max_steps=4)


def test_the_teacher_is_used_and_required(root, tmp_path):
    config = dataclasses.replace(TINY, distill_direct=1.0, distill_similarity=1.0)
    with pytest.raises(TrainingError, match="teacher"):
        run(config, root, tmp_path / "none", max_steps=1)
    records = load_train("market1501", root)
    distill.save_vectors(tmp_path / "t.npz", records, np.random.default_rng(0).normal(size=(len(records), 6)))
    run(config, root, tmp_path / "with", max_steps=1, teacher=tmp_path / "t.npz")
    assert {"distill_direct", "distill_similarity"} <= set(rows(tmp_path / "with")[0])


def test_attention_and_presence_learn_the_body_parts_of_rendered_pictures(root, tmp_path):
    """Label the upper eighth as head and the rest as a half-visible torso, with no other parts."""
    config = dataclasses.replace(
        TINY,
        model=ModelConfig(backbone="osnet_x0_25", dim=16, ffn_dim=16, num_heads=2),
        body_attention=1.0,
        body_presence=1.0,
        clip_norm=1.0,
    )
    rendered = tmp_path / "rendered"
    shutil.copytree(root, rendered)
    mask = np.zeros((64, 32), bool)
    mask[:8] = True
    names = sorted(path.relative_to(rendered).as_posix() for path in rendered.rglob("*.jpg"))
    seen = {"head": 1.0, "torso": 0.5}
    known = [
        Truth(n, 1, 1, 1, 1, "", "", 0.0, {}, (0, 0, 1, 1), (), seen, {"head": mask, "torso": ~mask}, 1.0)
        for n in names
    ]
    write_truth(rendered / "truth.jsonl.gz", map(to_line, known))
    run(dataclasses.replace(config, learning_rate=3e-3), rendered, tmp_path / "out", max_steps=80)
    log = rows(tmp_path / "out")
    for loss, share in (("body_presence", 0.5), ("body_attention", 0.8)):
        assert np.mean([row[loss] for row in log[-16:]]) < share * np.mean([row[loss] for row in log[:16]])
    with pytest.raises(TrainingError, match="synthesize"):
        run(config, root, tmp_path / "none", max_steps=1)


def test_cut_outs_for_training_come_from_a_folder(root, tmp_path):
    config = dataclasses.replace(TINY, occlusion=1.0, pasted=1.0)
    with pytest.raises(TrainingError, match="a suitcase"):
        run(config, root, tmp_path / "out", max_steps=1)
    for kind in ("person", "pole", "suitcase", "car"):
        Image.fromarray(np.full((20, 8, 4), 255, np.uint8)).save(tmp_path / f"{kind}_00.png")
    run(config, root, tmp_path / "with", max_steps=1, occluders=tmp_path)
    run(dataclasses.replace(config, pasted=0.0), root, tmp_path / "without", max_steps=1)
    assert rows(tmp_path / "with")[0]["total"] != rows(tmp_path / "without")[0]["total"]


def test_a_partial_start_reports_what_it_loaded(root, tmp_path):
    state = build_model(TINY.model).backbone.state_dict()
    torch.save({name: t for name, t in state.items() if not name.startswith("conv5")}, tmp_path / "part.pt")
    with pytest.raises(WeightsError, match=r"lacks \d+ tensors .* --partial-init"):
        run(TINY, root, tmp_path / "out", max_steps=1, init=tmp_path / "part.pt")
    loaded = run(TINY, root, tmp_path / "out", max_steps=1, init=tmp_path / "part.pt", partial_init=True)["loaded"]
    assert "conv1.conv.weight" in loaded["loaded"] and "conv5.conv.weight" in loaded["missing"]


def test_a_run_goes_on_from_another_with_its_classifier(root, tmp_path):
    run(TINY, root, tmp_path / "first", max_steps=3)
    first = torch.load(tmp_path / "first" / "training.pt", weights_only=True)
    still = dataclasses.replace(TINY, learning_rate=1e-30, warmup_start=1e-30, weight_decay=0.0)
    result = run(still, [root, root], tmp_path / "next", max_steps=1, init=tmp_path / "first")
    after = torch.load(tmp_path / "next" / "training.pt", weights_only=True)
    assert torch.equal(
        after["model"]["part_attention.block.query.weight"], first["model"]["part_attention.block.query.weight"]
    )
    known = len(first["objective"]["classifier.weight"])
    assert result["num_classes"] == 2 * known  # the same people under a second root are others
    assert torch.equal(after["objective"]["classifier.weight"][:known], first["objective"]["classifier.weight"])
    assert not torch.equal(after["objective"]["classifier.weight"][known:], first["objective"]["classifier.weight"])
    other = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, dim=64))
    with pytest.raises(TrainingError, match="another model"):
        run(other, root, tmp_path / "other", max_steps=1, init=tmp_path / "first")


def test_frozen_stages_do_not_move(root, tmp_path):
    config = dataclasses.replace(TINY, frozen_stages=2, model=dataclasses.replace(TINY.model, backbone="resnet18"))
    torch.save(build_model(config.model).backbone.state_dict(), tmp_path / "start.pt")
    run(config, root, tmp_path / "out", max_steps=2, init=tmp_path / "start.pt")
    before = torch.load(tmp_path / "start.pt", weights_only=True)
    after = torch.load(tmp_path / "out" / "training.pt", weights_only=True)["model"]
    moved = {name: not torch.equal(t, after[f"backbone.{name}"]) for name, t in before.items()}
    assert not any(m for name, m in moved.items() if name.startswith(("conv1", "bn1", "layer1")))
    assert moved["layer2.0.conv1.weight"]


@pytest.mark.parametrize("backbone", ["resnet18", "osnet_x0_25", "osnet_lct"])
def test_stages_of_every_backbone_freeze_in_their_order(backbone):
    config = dataclasses.replace(TINY, frozen_stages=5, model=dataclasses.replace(TINY.model, backbone=backbone))
    model = build_model(config.model)
    freeze(model, config)
    assert not any(parameter.requires_grad for parameter in model.backbone.parameters())
    for stages in range(5):
        learns = build_model(config.model)
        freeze(learns, dataclasses.replace(config, frozen_stages=stages))
        mid, final = learns.backbone(torch.randn(2, 3, 256, 128))
        assert mid.requires_grad == (stages <= config.model.mid_stage) and final.requires_grad
    with pytest.raises(TrainingError, match=f"frozen_stages is 6; {backbone} has a stem and 4 stages"):
        freeze(model, dataclasses.replace(config, frozen_stages=6))


def test_sizes_and_limits(root, tmp_path):
    config = dataclasses.replace(TINY, small_fraction=0.5, height=64, width=32)
    run(config, root, tmp_path / "sizes", max_steps=4)
    assert [row["size"] for row in rows(tmp_path / "sizes")] == [[32, 16], [32, 16], [64, 32], [64, 32]]
    result = run(TINY, root, tmp_path / "clock", max_steps=10**6, time_limit_s=0.3)
    assert result["finished"] and 1 <= result["steps"] < 1000


def test_accumulation_averages_over_its_batches(root, tmp_path):
    run(dataclasses.replace(TINY, accumulate=2), root, tmp_path, max_steps=1)
    assert len(rows(tmp_path)) == 1 and rows(tmp_path)[0]["epoch"] == 1.0  # 2 batches of 4 are the 8 images


def test_the_paper_schedule():
    config = TrainConfig()
    rates = {epoch: 3.5e-4 * learning_rate_factor(config, epoch / 180) for epoch in (0, 5, 10, 39, 41, 91, 151)}
    wanted = {0: 3.5e-5, 5: 1.925e-4, 10: 3.5e-4, 39: 3.5e-4, 41: 3.5e-5, 91: 3.5e-6, 151: 3.5e-7}
    assert rates == pytest.approx(wanted)
    cosine = dataclasses.replace(config, schedule="cosine")
    assert learning_rate_factor(cosine, 10 / 180) == pytest.approx(1)
    assert learning_rate_factor(cosine, 95 / 180) == pytest.approx(0.505)
    assert learning_rate_factor(cosine, 1) == pytest.approx(0.01)


def test_the_rate_falls_at_the_epoch_and_not_after_it():
    config = TrainConfig()
    for epoch, before, after in ((40, 1, 0.1), (90, 0.1, 0.01), (150, 0.01, 0.001)):
        assert learning_rate_factor(config, (epoch - 1e-6) / 180) == pytest.approx(before)
        assert learning_rate_factor(config, epoch / 180) == pytest.approx(after)


def test_the_schedule_sets_the_rate_that_the_step_takes(root, tmp_path):
    """Adam's first step moves each parameter by the learning rate, so the weights show which rate was used."""
    config = dataclasses.replace(TINY, learning_rate=1e-2, warmup_start=1e-5, weight_decay=0.0)
    run(config, root, tmp_path / "out", max_steps=40, stop_after=1)
    after = torch.load(tmp_path / "out" / "training.pt", weights_only=True)["model"]
    torch.manual_seed(config.seed)
    before = build_model(config.model).state_dict()
    name = "backbone.conv2.0.conv1.conv.weight"
    assert (after[name] - before[name]).abs().max() == pytest.approx(1e-5, rel=0.05)
    run(config, root, tmp_path / "out", max_steps=40, resume=True)
    rates = {row["step"]: row["learning_rate"] for row in rows(tmp_path / "out")}  # 4 epochs: 10 steps each
    assert rates[1] == pytest.approx(1e-5) and rates[6] == pytest.approx((1e-5 + 1e-2) / 2)
    assert rates[30] == pytest.approx(1e-2) and rates[31] == pytest.approx(1e-3)


def test_backbone_and_new_layers_have_their_own_rates():
    config = dataclasses.replace(TINY, learning_rate=1.0, new_layers_learning_rate=2.0)
    model = build_model(config.model)
    groups = build_optimizer(config, model, Objective(config, 3)).param_groups
    assert [g["base_lr"] for g in groups] == [1.0, 2.0]
    for given, rate in ((None, 1.0), (0.0, 0.0)):  # only where none is given it is that of all
        other = dataclasses.replace(config, new_layers_learning_rate=given)
        assert build_optimizer(other, model, Objective(other, 3)).param_groups[1]["base_lr"] == rate
    assert len(groups[0]["params"]) == len(list(model.backbone.parameters()))


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": "sgd"},
        {"schedule": "none"},
        {"precision": "int8"},
        {"height": 100},
        {"accumulate": 0},
        {"flip": 2.0},
        {"seed": -1},
        {"pasted": 1.5},
        {"epochs": 0},
        {"frozen_stages": -1},
        {"epoch": "steps"},
        {"erasing_area": (0.3, 0.02)},
        {"erasing_fill": "lace"},
        {"augmix_severity": 11.0},
        {"body_presence": 1.0},  # of two parts
        {"hide_part": 0.5},  # of bodies that nothing reads
        {"body_attention": 1.0, "model": ModelConfig(backbone="osnet_x0_25", dim=16, num_heads=2), "augmix": True},
    ],
)
def test_recipes_that_do_not_exist_are_refused(change, root, tmp_path):
    with pytest.raises(TrainingError):
        run(dataclasses.replace(TINY, **change), root, tmp_path)


def test_several_processes_do_not_end_the_small_size_by_their_clocks():
    """Each would load a batch by its own; two at the switch could differ in size."""
    crew = Team(torch.device("cpu"), 0, 2)
    with pytest.raises(TrainingError, match="use --max-steps"):
        _check_clocks(dataclasses.replace(TINY, small_fraction=0.5), Limits(time_limit_s=9), crew)
    for config, limits, whole in (
        (TINY, Limits(time_limit_s=9), crew),
        (dataclasses.replace(TINY, small_fraction=0.5), Limits(max_steps=9), crew),
        (dataclasses.replace(TINY, small_fraction=0.5), Limits(time_limit_s=9), Team(crew.device)),
    ):
        _check_clocks(config, limits, whole)


def test_weighted_pooling_trains_at_its_own_size_alone(root, tmp_path):
    config = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, global_pooling="weighted"))
    with pytest.raises(TrainingError, match="256 x 128 alone"):
        run(config, root, tmp_path / "run")


def test_a_frozen_backbone_stays_as_it_was_while_the_rest_learns(root, tmp_path):
    config = dataclasses.replace(TINY, frozen_backbone=True)
    torch.manual_seed(config.seed)
    before = build_model(config.model).state_dict()
    run(config, root, tmp_path / "run", max_steps=2)
    after = torch.load(tmp_path / "run" / "training.pt", weights_only=True)["model"]
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not any(name.startswith("backbone.") for name in changed)


def test_a_networks_file_fits_its_own_backbone_alone(root, tmp_path):
    with pytest.raises(WeightsError, match="osnet_lct alone"):
        run(TINY, root, tmp_path / "run", init=tmp_path / "net.xml")


def test_a_run_goes_on_without_the_parts_and_whatever_views_its_start_wanted(root, tmp_path):
    run(TINY, root, tmp_path / "first", max_steps=1)
    before = torch.load(tmp_path / "first" / "training.pt", weights_only=True)["model"]
    alone = dataclasses.replace(TINY.model, templates="none")
    for name, model in (("alone", alone), ("views", dataclasses.replace(TINY.model, one_view=True))):
        still = dataclasses.replace(TINY, model=model, learning_rate=1e-30, warmup_start=1e-30, weight_decay=0.0)
        loaded = run(still, root, tmp_path / name, max_steps=1, init=tmp_path / "first")["loaded"]
        assert checkpoint.load_weights(tmp_path / name / "weights").config == model
        after = torch.load(tmp_path / name / "training.pt", weights_only=True)["model"]
        assert sorted(after) == loaded["loaded"] and not loaded["missing"]
        assert sorted(before.keys() - after.keys()) == loaded["unused"]
        assert ("part_attention.block.query.weight" in loaded["unused"]) == (name == "alone")
        assert torch.equal(after["backbone.conv1.conv.weight"], before["backbone.conv1.conv.weight"])


def test_parts_start_from_a_network_without_them(root, tmp_path):
    whole = ModelConfig(backbone="osnet_x0_25", dim=16, ffn_dim=32, num_parts=2, num_heads=2, global_pooling="weighted")
    config = dataclasses.replace(TINY, model=whole, height=256, width=128, small_height=256, small_width=128)
    alone = dataclasses.replace(config, model=dataclasses.replace(whole, templates="none"))
    run(alone, root, tmp_path / "global", max_steps=1)
    source = checkpoint.load_weights(tmp_path / "global" / "weights")
    for init in (tmp_path / "global", tmp_path / "global" / "weights"):
        still = dataclasses.replace(config, learning_rate=0.0)
        run(still, root, tmp_path / f"parts of {init.name}", max_steps=1, init=init)
        model = checkpoint.load_weights(tmp_path / f"parts of {init.name}" / "weights")
        tensors = model.state_dict()
        for name, value in source.state_dict().items():
            if "running" not in name and "tracked" not in name:
                torch.testing.assert_close(tensors[name], value, rtol=1e-3, atol=1e-4, msg=name)
        with torch.no_grad():
            # the tokens are the global descriptor's own linear layer at each place, its weights summed over places
            reduce = (source.global_pooling.linear.weight * source.global_pooling.weight.sum((1, 2)))[:, :, None, None]
            torch.testing.assert_close(model.final_encoder.reduce.weight, reduce, rtol=2e-3, atol=1e-4)
    mean = dataclasses.replace(config, model=dataclasses.replace(whole, global_pooling="mean"))
    with pytest.raises(TrainingError, match="another model"):
        run(mean, root, tmp_path / "other", max_steps=1, init=tmp_path / "global")
