"""Short training runs for tests: a small recipe, and what a run left in its folder."""

import json
from pathlib import Path

import torch

from reid_demo.config import ModelConfig, TrainConfig

SMALL = TrainConfig(
    model=ModelConfig(backbone="osnet_x0_25", dim=16, ffn_dim=16, num_parts=2, num_heads=2),
    height=32,
    width=16,
    epochs=4,
    warmup_epochs=0,
    ids_per_batch=2,
    imgs_per_id=2,
    augmix=False,
)


def state(out: Path) -> dict:
    """Read the checkpoint of a run."""
    return torch.load(out / "training.pt", weights_only=True)


def rows(out: Path, name: str) -> list:
    """Read one value of every step of a run's log."""
    return [json.loads(line)[name] for line in (out / "log.jsonl").read_text().splitlines()]
