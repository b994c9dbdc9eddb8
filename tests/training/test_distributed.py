"""Two processes train one network: equal parameters in both, and the loss of the whole batch."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from figures import draw_person
from PIL import Image

from reid_demo.config import ModelConfig, TrainConfig, to_dict
from reid_demo.data.loaders import BatchLoader, TrainingSet
from reid_demo.errors import TrainingError
from reid_demo.model.dpti import DPTIOutput, build_model
from reid_demo.training.distributed import team
from reid_demo.training.losses import Objective
from reid_demo.training.step import build_optimizer, learning_rate_factor

STEPS = 2
CONFIG = TrainConfig(
    model=ModelConfig(
        backbone="resnet18", dim=16, ffn_dim=16, num_parts=2, num_heads=2, ffn_dropout=0.0, attention_dropout=0.0
    ),
    height=32,
    width=16,
    small_height=32,
    small_width=16,
    epochs=4,
    warmup_epochs=1,
    decay_epochs=(3,),
    ids_per_batch=4,
    imgs_per_id=2,
    accumulate=2,
    learning_rate=1e-6,  # Adam's step is the sign of a gradient that may be rounding alone: keep such steps small
    warmup_start=1e-6,
    augmix=False,
    attention_overlap=0.5,  # a term of other outputs than the descriptor
)

WORKER = """
import json, sys
import torch
from reid_demo.config import read_train_config
from reid_demo.training import run

root, out, recipe = sys.argv[1:4]
kept = []
spread = run.spread
run.spread = lambda module: kept.append(module) or spread(module)  # a handle on what this process trains
sources, limits = run.Sources("market1501", [root]), run.Limits(max_steps=int(sys.argv[4]))
sys.setswitchinterval(100)  # a thread that needs Python's lock at the end gets it only if it is let go
result = run.train(read_train_config(recipe), sources, out, limits=limits, device="cpu")
names = dict(kept[0].named_parameters())
kept = {n: (p.detach(), p.grad) for n, p in names.items()}  # the last step's gradients are still there
torch.save(kept, f"{out}-rank{result.get('fingerprint') is None:d}.pt")
"""

RESUMER = """
import sys
from reid_demo.config import read_train_config
from reid_demo.training.run import Limits, Sources, Start, train

root, out, recipe, steps, stop, resume = sys.argv[1:7]
sources, limits = Sources("market1501", [root]), Limits(max_steps=int(steps), stop_after=int(stop))
train(read_train_config(recipe), sources, out, start=Start(resume=bool(int(resume))), limits=limits, device="cpu")
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    (folder / "bounding_box_train").mkdir()
    for pid in range(1, 9):
        for camid in (1, 2):
            image = Image.fromarray(draw_person(pid, camid, 64, 32))
            image.save(folder / "bounding_box_train" / f"{pid:04d}_c{camid}s1_000001_00.jpg")
    return folder


def two_processes(tmp_path, root, config, worker=WORKER, out="out", more=()):
    (tmp_path / "worker.py").write_text(worker)
    (tmp_path / "recipe.json").write_text(json.dumps(to_dict(config)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [
        str(tmp_path / "worker.py"),
        str(root),
        str(tmp_path / out),
        str(tmp_path / "recipe.json"),
        str(STEPS),
        *more,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]


def reference(root, config):
    """Train in one process: the network sees each half of a batch separately, the objective sees all of it.

    On CPUs, only the batch norms inside the network depend on the split.
    """
    data = TrainingSet("market1501", [root])
    loader = BatchLoader(data, config)
    torch.manual_seed(config.seed)
    model, objective = build_model(config.model).train(), Objective(config, data.num_classes).train()
    optimizer = build_optimizer(config, model, objective)
    batches = loader.batches(0, lambda number: (config.height, config.width))
    totals = []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * learning_rate_factor(config, step / STEPS)
        optimizer.zero_grad()
        totals.append(0.0)
        for _ in range(config.accumulate):
            batch = next(batches)
            inputs = batch.on(torch.device("cpu"))
            pixels, labels = inputs.pixels, inputs.labels
            halves = [model(half) for half in pixels.chunk(2)]
            fields = [field.name for field in dataclasses.fields(halves[0])]
            output = DPTIOutput(*(torch.cat([getattr(half, name) for half in halves]) for name in fields))
            total = objective(output, labels)["total"] / config.accumulate
            total.backward()
            totals[-1] += total.item()
        optimizer.step()
    batches.close()
    names = {f"model.{n}": p for n, p in model.named_parameters()}
    return totals, {**names, **{f"objective.{n}": p for n, p in objective.named_parameters()}}


def test_two_processes_equal_the_reference(root, tmp_path):
    two_processes(tmp_path, root, CONFIG)
    first, second = (torch.load(tmp_path / f"out-rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(parameter, second[name][0]) for name, (parameter, _) in first.items())
    log = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log] == list(range(1, STEPS + 1))  # one process writes
    totals, wanted = reference(root, CONFIG)
    assert [row["total"] for row in log] == pytest.approx(totals, rel=1e-4)
    assert set(first) == set(wanted)
    for name, (_, gradient) in first.items():
        if wanted[name].grad is None:
            assert gradient is None, name
        elif wanted[name].grad.norm() > 1e-3:  # a bias before a batch norm has a gradient of rounding alone
            assert (gradient - wanted[name].grad).norm() < 5e-3 * wanted[name].grad.norm(), name
    state = torch.load(tmp_path / "out" / "training.pt", weights_only=True)
    assert len(state["random_team"]) == 2 and not torch.equal(*state["random_team"])
    assert torch.equal(state["model"]["final_encoder.reduce.weight"], first["model.final_encoder.reduce.weight"][0])


def test_two_processes_resume_as_if_never_stopped(root, tmp_path):
    model = dataclasses.replace(CONFIG.model, ffn_dropout=0.1, attention_dropout=0.2)  # each has its own random state
    config = dataclasses.replace(CONFIG, model=model, learning_rate=1e-3, accumulate=1)
    for out, *more in (("whole", "9", "0"), ("halves", "1", "0"), ("halves", "9", "1")):  # stop after, resume
        two_processes(tmp_path, root, config, RESUMER, out, more)
    whole, halves = (torch.load(tmp_path / name / "training.pt", weights_only=True) for name in ("whole", "halves"))
    for part in ("model", "objective"):
        assert all(torch.equal(tensor, halves[part][name]) for name, tensor in whole[part].items())
    assert all(torch.equal(a, b) for a, b in zip(whole["random_team"], halves["random_team"], strict=True))
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("whole", "halves")]
    assert len(logs[0]) == len(logs[1]) == STEPS
    for one, other in zip(*(map(json.loads, log) for log in logs), strict=True):
        assert (one["total"], one["learning_rate"]) == (other["total"], other["learning_rate"])


def test_one_process_needs_no_launcher(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with team("cpu") as crew:
        assert (crew.rank, crew.size, crew.agree(0.5), crew.collect("a")) == (0, 1, 0.5, ["a"])
        assert torch.equal(crew.gather(torch.ones(2)), torch.ones(2))


def test_processes_that_no_launcher_started_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(TrainingError, match="torchrun"), team("cpu"):
        pass
