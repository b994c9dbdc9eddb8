"""Training: one plain loop that steps, logs, saves and resumes. Knows no page and no gallery."""

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from reid_demo import checkpoint
from reid_demo.config import TrainConfig, to_dict
from reid_demo.data.loaders import BatchLoader, TrainingSet
from reid_demo.distill import load_vectors
from reid_demo.errors import TrainingError
from reid_demo.losses import Objective
from reid_demo.model import DPTI, build_model
from reid_demo.model.backbones import load_backbone_weights

STATE_FILE = "training.pt"
LOG_FILE = "log.jsonl"
WEIGHTS_FOLDER = "weights"
STEM = ("conv1", "bn1")


def train(
    config: TrainConfig,
    *,
    dataset: str,
    root: Path | Sequence[Path],
    out: Path,
    init: Path | None = None,
    teacher: Path | None = None,
    resume: bool = False,
    max_steps: int | None = None,
    time_limit_s: float | None = None,
    save_every: int = 100,
    stop_after: int | None = None,
    device: str | None = None,
) -> dict:
    """Train a network and save its weights.

    Args:
        config: the recipe. Its schedule is in epochs; a shorter run (`max_steps`, `time_limit_s`) shrinks it to fit.
        dataset: layout of the roots: `market1501`, `synthetic` or `folder`.
        root: one folder or several.
        out: gets `training.pt` (to resume), `log.jsonl` and `weights/`.
        init: ImageNet weights of the backbone (a file; what it lacks starts at random and is reported), or a weights
            folder to go on from.
        teacher: cache of `distill`; needed by the distillation terms.
        resume: go on from `training.pt`, bit for bit as if never stopped (on one device, without a time limit).
        max_steps: optimiser steps in all.
        time_limit_s: wall-clock length in all; the schedule then follows the clock, so no two runs are alike.
        save_every: steps between checkpoints.
        stop_after: stop early after this step, with a checkpoint, as an interruption would.
        device: as `checkpoint.choose_device`.

    Returns:
        `steps, seconds, num_images, num_classes, loss, loaded, finished, fingerprint`.

    Raises:
        TrainingError: the recipe does not fit the data, nothing to resume, or a loss is not finite (names the step).
    """
    _check(config, teacher, max_steps, time_limit_s)
    place = checkpoint.choose_device(device)
    roots = [root] if isinstance(root, (str, Path)) else list(root)
    data = TrainingSet(dataset, [Path(r) for r in roots], load_vectors(teacher) if teacher else None)
    loader = BatchLoader(data, config)
    total = max_steps or max(1, round(config.epochs * len(loader) / config.accumulate))

    torch.manual_seed(config.seed)
    model, loaded = _initial_model(config, init)
    objective = Objective(config, data.num_classes, 0 if data.teacher is None else data.teacher.shape[1])
    model, objective = model.to(place, memory_format=torch.channels_last), objective.to(place)
    _freeze(model, config.frozen_stages)
    optimizer = build_optimizer(config, model, objective)

    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    step, spent_s = 0, 0.0
    if resume:
        step, spent_s = _restore(out / STATE_FILE, config, model, objective, optimizer, place)
    start = time.monotonic() - spent_s

    def progress(at: int) -> float:
        clock = (time.monotonic() - start) / time_limit_s if time_limit_s else 0.0
        return max(at / total, clock)

    def size_now(number: int) -> tuple[int, int]:
        small = progress(number // config.accumulate) < config.small_fraction
        return (config.small_height, config.small_width) if small else (config.height, config.width)

    batches = loader.batches(step * config.accumulate, size_now)
    last: dict[str, float] = {}
    with open(out / LOG_FILE, "a", encoding="utf-8") as log, tqdm(total=total, initial=step, unit="step") as bar:
        while (done := progress(step)) < 1 and step != stop_after:
            began = time.monotonic()
            factor = learning_rate_factor(config, done)
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * factor
            last, images, size = _step(config, model, objective, optimizer, batches, place, step)
            step += 1
            row = {
                "step": step,
                "epoch": round(step * config.accumulate / len(loader), 4),
                "learning_rate": optimizer.param_groups[0]["lr"],
                "size": list(size),
                "images_per_s": round(images / (time.monotonic() - began), 1),
                "seconds": round(time.monotonic() - start, 1),
                **{name: round(value, 6) for name, value in last.items()},
            }
            log.write(json.dumps(row) + "\n")
            log.flush()
            bar.update()
            bar.set_postfix(loss=f"{last['total']:.3f}", rate=f"{row['images_per_s']:.0f}/s")
            if step % save_every == 0:
                _save(out / STATE_FILE, config, model, objective, optimizer, step, time.monotonic() - start)
    batches.close()
    _save(out / STATE_FILE, config, model, objective, optimizer, step, time.monotonic() - start)
    print_ = checkpoint.save_weights(model, out / WEIGHTS_FOLDER)
    return {
        "steps": step,
        "seconds": round(time.monotonic() - start, 1),
        "num_images": len(data),
        "num_classes": data.num_classes,
        "loss": last,
        "loaded": loaded,
        "finished": progress(step) >= 1,
        "fingerprint": print_,
    }


def learning_rate_factor(config: TrainConfig, progress: float) -> float:
    """Give the learning rate, as a multiple of the base rate, at `progress` in 0..1 of the schedule (Sec. 4.2)."""
    epoch = progress * config.epochs
    if epoch < config.warmup_epochs:
        first = config.warmup_start / config.learning_rate
        return first + (1 - first) * epoch / config.warmup_epochs
    if config.schedule == "cosine":
        left = (epoch - config.warmup_epochs) / max(config.epochs - config.warmup_epochs, 1e-9)
        return 0.01 + 0.99 * (1 + math.cos(math.pi * min(left, 1))) / 2
    return config.decay_factor ** sum(epoch >= at for at in config.decay_epochs)


def build_optimizer(config: TrainConfig, model: DPTI, objective: Objective) -> torch.optim.Optimizer:
    """Make Adam or AdamW over what is not frozen; the backbone and the new layers may have rates of their own."""
    backbone = [p for p in model.backbone.parameters() if p.requires_grad]
    known = {id(p) for p in model.backbone.parameters()}
    new = [p for p in (*model.parameters(), *objective.parameters()) if p.requires_grad and id(p) not in known]
    rates = (config.learning_rate, config.new_layers_learning_rate or config.learning_rate)
    groups = [
        {"params": params, "lr": rate, "base_lr": rate}
        for params, rate in zip((backbone, new), rates, strict=True)
        if params
    ]
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
    return kind(groups, weight_decay=config.weight_decay)


def _check(config: TrainConfig, teacher: Path | None, max_steps: int | None, time_limit_s: float | None) -> None:
    if config.optimizer not in ("adam", "adamw"):
        raise TrainingError(f"Unknown optimizer {config.optimizer!r}; choose adam or adamw.")
    if config.schedule not in ("step", "cosine"):
        raise TrainingError(f"Unknown schedule {config.schedule!r}; choose step or cosine.")
    if config.precision not in ("float32", "bfloat16"):
        raise TrainingError(f"Unknown precision {config.precision!r}; choose float32 or bfloat16.")
    if any(side % 16 or side < 16 for side in (config.height, config.width, config.small_height, config.small_width)):
        raise TrainingError("Heights and widths must be multiples of 16.")
    if config.accumulate < 1 or (max_steps is not None and max_steps < 1):
        raise TrainingError("accumulate and max_steps must be at least 1.")
    if time_limit_s is not None and time_limit_s <= 0:
        raise TrainingError("The time limit must be above 0 seconds.")
    if (config.distill_direct or config.distill_similarity) and teacher is None:
        raise TrainingError("The distillation terms need a teacher's vectors; name the cache with --teacher.")


def _initial_model(config: TrainConfig, init: Path | None) -> tuple[DPTI, dict[str, list[str]]]:
    if init is None:
        return build_model(config.model), {}
    if Path(init).is_dir():
        model = checkpoint.load_weights(init)
        if model.config != config.model:
            raise TrainingError(f"The weights {Path(init).name!r} are of another model than the recipe's.")
        return model.requires_grad_(True), {"loaded": sorted(model.state_dict()), "missing": [], "unused": []}
    model = build_model(config.model)
    return model, load_backbone_weights(model.backbone, init, partial=True)


def _frozen_modules(model: DPTI, stages: int) -> list[nn.Module]:
    names = (*STEM, *(f"layer{i}" for i in range(1, stages))) if stages else ()
    try:
        return [getattr(model.backbone, name) for name in names]
    except AttributeError as error:
        raise TrainingError(f"frozen_stages {stages} does not fit this backbone: {error}") from error


def _freeze(model: DPTI, stages: int) -> None:
    for module in _frozen_modules(model, stages):
        module.requires_grad_(False)


def _step(config, model, objective, optimizer, batches, place, step) -> tuple[dict[str, float], int, tuple[int, int]]:
    """Run one optimiser step over `accumulate` batches; give mean terms, the number of images and their size."""
    model.train()
    objective.train()
    for module in _frozen_modules(model, config.frozen_stages):
        module.eval()  # frozen layers keep their batch-norm statistics too
    optimizer.zero_grad(set_to_none=True)
    sums: dict[str, float] = {}
    images, size = 0, (0, 0)
    for _ in range(config.accumulate):
        batch = next(batches)
        pixels = batch.images.to(place, memory_format=torch.channels_last)
        with torch.autocast(place.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            output = model(pixels)
        teacher = None if batch.teacher is None else batch.teacher.to(place)
        terms = objective(output, batch.labels.to(place), teacher)
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach()) / config.accumulate
            if not math.isfinite(sums[name]):
                raise TrainingError(
                    f"The loss {name!r} is not finite at step {step + 1}. Lower the learning rate, or set clip_norm; "
                    "the last checkpoint is sound."
                )
        (terms["total"] / config.accumulate).backward()
        images, size = images + len(pixels), tuple(pixels.shape[2:])
    if config.clip_norm:
        nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], config.clip_norm)
    optimizer.step()
    return sums, images, size


def _save(path: Path, config: TrainConfig, model, objective, optimizer, step: int, seconds: float) -> None:
    """Write a checkpoint under a temporary name, then rename it."""
    state = {
        "config": json.dumps(to_dict(config)),
        "model": model.state_dict(),
        "objective": objective.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "step": step,
        "seconds": seconds,
    }
    temporary = path.with_name(path.name + ".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def _restore(path: Path, config: TrainConfig, model, objective, optimizer, place) -> tuple[int, float]:
    """Load a checkpoint without unpickling code; give its step and the seconds spent."""
    if not path.is_file():
        raise TrainingError(f"There is no {path.name} in {path.parent.name!r} to resume from; start without --resume.")
    try:
        state = torch.load(path, map_location=place, weights_only=True)
    except Exception as error:
        raise TrainingError(f"The checkpoint {path.name!r} is damaged: {error}") from error
    if json.loads(state["config"]) != json.loads(json.dumps(to_dict(config))):
        raise TrainingError(
            "The checkpoint was made by another recipe; resume with the same one, or use another --out."
        )
    try:
        model.load_state_dict(state["model"])
        objective.load_state_dict(state["objective"])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"The checkpoint does not fit this data set: {error}") from error
    torch.set_rng_state(state["random"].cpu())
    return state["step"], state["seconds"]
