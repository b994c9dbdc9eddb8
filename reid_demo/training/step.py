"""One optimiser step: the schedule, the optimiser, frozen layers, gradients. Knows no files and no clock."""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reid_demo.config import TrainConfig
from reid_demo.data.loaders import Batch
from reid_demo.errors import TrainingError
from reid_demo.model.dpti import DPTI
from reid_demo.training.distributed import WholeBatch
from reid_demo.training.losses import Objective

MOVED = ("mid_encoder", "templates", "part_attention")  # what learns while the parts are held


@dataclass(frozen=True)
class StepResult:
    """What one step measured."""

    terms: dict[str, float]  # means over the batches of the step
    num_images: int  # of this process
    size: tuple[int, int]  # (H, W) of the pictures, model px


def learning_rate_factor(config: TrainConfig, progress: float) -> float:
    """Return the learning rate, as a multiple of the base rate, at `progress` in 0..1 of the schedule (Sec. 4.2)."""
    epoch = progress * config.epochs
    if epoch < config.warmup_epochs:
        first = config.warmup_start / config.learning_rate if config.learning_rate else 0.0
        return first + (1 - first) * epoch / config.warmup_epochs
    if config.schedule == "cosine":
        left = (epoch - config.warmup_epochs) / max(config.epochs - config.warmup_epochs, 1e-9)
        return 0.01 + 0.99 * (1 + math.cos(math.pi * min(left, 1))) / 2
    return config.decay_factor ** sum(epoch >= at for at in config.decay_epochs)


def build_optimizer(config: TrainConfig, model: DPTI, objective: Objective) -> torch.optim.Optimizer:
    """Make Adam or AdamW over what is not frozen; backbone and new layers may have rates of their own."""
    backbone = [p for p in model.backbone.parameters() if p.requires_grad]
    known = {id(p) for p in model.backbone.parameters()}
    new = [p for p in (*model.parameters(), *objective.parameters()) if p.requires_grad and id(p) not in known]
    new_rate = config.new_layers_learning_rate
    rates = (config.learning_rate, config.learning_rate if new_rate is None else new_rate)
    groups = [
        {"params": params, "lr": rate, "base_lr": rate}
        for params, rate in zip((backbone, new), rates, strict=True)
        if params
    ]
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
    return kind(groups, weight_decay=config.weight_decay, fused=True)


def frozen_modules(model: DPTI, config: TrainConfig) -> list[nn.Module]:
    """Return what does not learn: the backbone, or its stem and first `frozen_stages - 1` stages; nothing for 0.

    With `hold_parts` it is all but `MOVED`.

    Raises:
        TrainingError: the backbone has fewer stages.
    """
    if config.hold_parts:
        return [module for name, module in model.named_children() if name not in MOVED]
    if config.frozen_backbone:
        return [model.backbone]
    steps, stages = model.backbone.STEPS, config.frozen_stages
    if stages > len(steps):
        raise TrainingError(
            f"frozen_stages is {stages}; {config.model.backbone} has a stem and {len(steps) - 1} stages."
        )
    return [getattr(model.backbone, name) for step in steps[:stages] for name in step]


def freeze(model: DPTI, config: TrainConfig) -> None:
    """Keep the parameters of `frozen_modules` from learning."""
    for module in frozen_modules(model, config):
        module.requires_grad_(False)


def train_step(
    config: TrainConfig, module: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterator[Batch], step: int
) -> StepResult:
    """Run one optimiser step over `accumulate` batches.

    Args:
        config: the recipe.
        module: `WholeBatch` as `distributed.spread` returns it.
        optimizer: of its parameters.
        batches: this process's shares.
        step: number of steps done, for the error's words.

    Raises:
        TrainingError: a term is not finite; the parameters are as before the step.
    """
    whole: WholeBatch = getattr(module, "module", module)
    module.train()
    # Frozen layers keep their batch-norm statistics too. Held parts were made by those, and without dropout.
    for part in [whole.model] if config.hold_parts else frozen_modules(whole.model, config):
        part.eval()
    optimizer.zero_grad(set_to_none=True)
    sums: dict[str, float] = {}
    num_images, size = 0, (0, 0)
    for left in reversed(range(config.accumulate)):
        inputs = next(batches).on(whole.crew.device)
        with module.no_sync() if left and module is not whole else nullcontext():  # gradients meet once a step
            terms = module(inputs)
            _add(sums, terms, config.accumulate, step)
            (terms["total"] / config.accumulate).backward()
        num_images, size = num_images + len(inputs.labels), inputs.size
    if config.clip_norm:
        nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], config.clip_norm)
    optimizer.step()
    return StepResult(sums, num_images, size)


def _add(sums: dict[str, float], terms: dict[str, Tensor], accumulate: int, step: int) -> None:
    values = torch.stack([value.detach() for value in terms.values()]).tolist()  # one wait for the device
    for name, value in zip(terms, values, strict=True):
        sums[name] = sums.get(name, 0.0) + value / accumulate
        if not math.isfinite(sums[name]):
            raise TrainingError(
                f"The loss {name!r} is not finite at step {step + 1}. Lower the learning rate, or set clip_norm; the "
                "last checkpoint is sound."
            )
