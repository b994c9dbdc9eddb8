"""The training rows compare the real step with a bare one of the same backbone, size and precision."""

import dataclasses
import json

import pytest
import torch
from runs import SMALL

from reid_demo.__main__ import main
from reid_demo.config import TrainConfig
from reid_demo.serving.bench import training as bench
from reid_demo.serving.bench.rows import Row

TINY = TrainConfig(
    model=SMALL.model,
    height=SMALL.height,
    width=SMALL.width,
    ids_per_batch=SMALL.ids_per_batch,
    imgs_per_id=SMALL.imgs_per_id,
    accumulate=2,
    precision="bfloat16",
)


def test_both_steps_see_the_same_pictures(monkeypatch):
    seen = {}
    build = bench.build_backbone
    for name in ("build_model", "build_backbone"):

        def watched(config, name=name, make=getattr(bench, name)):
            made = make(config)
            target = made.backbone if name == "build_model" else made

            def note(module, arguments):
                context = torch.is_autocast_enabled("cpu")
                seen.setdefault(name, []).append((type(module), *arguments[0].shape, module.training, context))

            target.register_forward_pre_hook(note)
            return made

        monkeypatch.setattr(bench, name, watched)
    rows = bench.bench_training(TINY, device="cpu", repeats=1)
    assert seen["build_model"] == seen["build_backbone"]
    wanted = (type(build(TINY.model)), 4, 3, 32, 16, True, True)
    assert seen["build_model"] == [wanted] * 4  # two accumulated batches, one warm-up and one timed step
    step, load = rows
    assert step.what == "train G+D osnet_x0_25, 4 x 32x16 bfloat16"
    assert step.ratio == pytest.approx(step.value / step.reference, rel=0.05)
    assert load.reference == step.value and load.ratio == pytest.approx(load.value / load.reference, rel=0.05)


def test_images_are_read_as_training_reads_them():
    assert bench._loader_rate(dataclasses.replace(TINY, num_workers=2)) > 0


def test_the_command_prints_the_training_rows(capsys):
    options = ["model.dim=16", "model.num_heads=2", "height=32", "width=16", "ids_per_batch=2", "imgs_per_id=2"]
    assert main(["bench", "--train", "--device", "cpu", "--json", "--set", *options]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [set(row) for row in rows] == [set(Row.__dataclass_fields__)] * 2
