"""Two processes train one network: equal parameters in both, and the loss of the whole batch."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from figures import write_people

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
RANDOM = dataclasses.replace(  # with dropout, for which each process has a random state of its own
    CONFIG,
    model=dataclasses.replace(CONFIG.model, backbone="osnet_x0_25", ffn_dropout=0.1, attention_dropout=0.2),
    learning_rate=1e-3,
    accumulate=1,
)

WORKER = """
import json, os, sys
import torch
from reid_demo.config import from_dict, TrainConfig
from reid_demo.training import run

sources = run.Sources("market1501", [sys.argv[1]])
sys.setswitchinterval(100)  # a thread that needs Python's lock at the end gets it only if it is let go
kept = []
spread = run.spread
run.spread = lambda module: kept.append(module) or spread(module)  # a handle on what this process trains
for job in json.load(open(sys.argv[2])):
    out, start, limits = job["out"], run.Start(resume=job["resume"]), run.Limits(job["steps"], stop_after=job["stop"])
    kept.clear()
    # The launcher's store still knows the last job's addresses, and a new group would wait for them.
    os.environ |= {"TORCHELASTIC_USE_AGENT_STORE": "False", "MASTER_PORT": str(job["port"])}
    result = run.train(from_dict(TrainConfig, job["config"]), sources, out, start=start, limits=limits, device="cpu")
    # The last step's gradients are still there.
    found = {n: (p.detach(), p.grad) for n, p in kept[0].named_parameters()}
    torch.save(found, f"{out}-rank{result.get('fingerprint') is None:d}.pt")
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("people"), range(1, 9))


def two_processes(folder, root, jobs):
    """Train by two processes, one job after another; what they trained lies in the jobs' folders."""
    (folder / "worker.py").write_text(WORKER)
    (folder / "jobs.json").write_text(json.dumps([{**job, "config": to_dict(job["config"])} for job in jobs]))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [str(folder / "worker.py"), str(root), str(folder / "jobs.json")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def job(folder, config, *, stop=None, resume=False) -> dict:
    limits = {"steps": STEPS, "stop": stop}
    return {"out": str(folder), "config": config, **limits, "resume": resume, "port": free_port()}


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    """Train three times in one pair of processes, as starting them takes longer; return where the runs lie."""
    folder = tmp_path_factory.mktemp("trained")
    two_processes(
        folder,
        root,
        [job(folder / "out", CONFIG), job(folder / "whole", RANDOM), job(folder / "halves", RANDOM, stop=1)],
    )
    return folder


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


def test_two_processes_equal_the_reference(root, trained):
    first, second = (torch.load(trained / f"out-rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(parameter, second[name][0]) for name, (parameter, _) in first.items())
    log = [json.loads(line) for line in (trained / "out" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log] == list(range(1, STEPS + 1))  # one process writes
    totals, wanted = reference(root, CONFIG)
    assert [row["total"] for row in log] == pytest.approx(totals, rel=1e-4)
    assert set(first) == set(wanted)
    for name, (_, gradient) in first.items():
        if wanted[name].grad is None:
            assert gradient is None, name
        elif wanted[name].grad.norm() > 1e-3:  # a bias before a batch norm has a gradient of rounding alone
            assert (gradient - wanted[name].grad).norm() < 5e-3 * wanted[name].grad.norm(), name
    state = torch.load(trained / "out" / "training.pt", weights_only=True)
    assert len(state["random_team"]) == 2 and not torch.equal(*state["random_team"])
    assert torch.equal(state["model"]["final_encoder.reduce.weight"], first["model.final_encoder.reduce.weight"][0])


def test_two_processes_resume_as_if_never_stopped(root, trained):
    log = trained / "halves" / "log.jsonl"
    assert len(log.read_text().splitlines()) == 1, "stopped after one step"
    two_processes(trained, root, [job(trained / "halves", RANDOM, resume=True)])
    whole, halves = (torch.load(trained / name / "training.pt", weights_only=True) for name in ("whole", "halves"))
    for part in ("model", "objective"):
        assert all(torch.equal(tensor, halves[part][name]) for name, tensor in whole[part].items())
    assert all(torch.equal(a, b) for a, b in zip(whole["random_team"], halves["random_team"], strict=True))
    logs = [(trained / name / "log.jsonl").read_text().splitlines() for name in ("whole", "halves")]
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
