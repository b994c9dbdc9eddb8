"""Training: one plain loop that steps, logs, saves and resumes. Knows no page and no gallery."""

import json
import math
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import nn
from tqdm import tqdm

from reid_demo import occlude
from reid_demo.config import TrainConfig, from_dict, to_dict
from reid_demo.data.ground_truth import PARTS as BODY_PARTS
from reid_demo.data.layouts import load_benchmark
from reid_demo.data.loaders import Batch, BatchLoader, TrainingSet
from reid_demo.errors import ConfigError, TrainingError
from reid_demo.measuring.evaluate import Plan, evaluate, signed
from reid_demo.model import checkpoint
from reid_demo.model.backbones import load_backbone_weights
from reid_demo.model.checkpoint import WEIGHTS_FOLDER
from reid_demo.model.describer import Describer
from reid_demo.model.dpti import DPTI, build_model
from reid_demo.search.similarity import paper_scoring
from reid_demo.training.distributed import Team, WholeBatch, spread, team
from reid_demo.training.losses import Objective
from reid_demo.training.teacher import load_vectors

STATE_FILE = "training.pt"
LOG_FILE = "log.jsonl"
RECIPE_FILE = "recipe.json"
EVALUATION_FILE = "evaluation.json"
STEM = ("conv1", "bn1")
SHARES = (
    "flip",
    "random_erasing",
    "augmix_chance",
    "random_crop",
    "occlusion",
    "recolour",
    "degrade",
    "small_fraction",
    "toward_person",
)  # between 0 and 1


def train(
    config: TrainConfig,
    *,
    dataset: str,
    root: Path | Sequence[Path],
    out: Path,
    init: Path | None = None,
    partial_init: bool = False,
    teacher: Path | None = None,
    occluders: Path | None = None,
    resume: bool = False,
    max_steps: int | None = None,
    time_limit_s: float | None = None,
    save_every: int = 100,
    stop_after: int | None = None,
    device: str | None = None,
    evaluate_on: tuple[str, Path] | None = None,
) -> dict:
    """Train a network and save its weights.

    Started by `torchrun`, the processes share every batch (`parallel`): a rank takes `ids_per_batch / ranks` whole
    identities, the loss is that of the whole batch, and rank 0 alone writes.

    Args:
        config: the recipe. Its schedule is in epochs; a shorter run (`max_steps`, `time_limit_s`) shrinks it to fit.
        dataset: layout of the roots: `market1501`, `synthetic` or `folder`.
        root: one folder or several.
        out: gets `recipe.json`, `training.pt` (to resume), `log.jsonl` (one row a step), `weights/`, and TensorBoard's
            event files where `tensorboard` is installed.
        init: ImageNet weights of the backbone (a file), a weights folder to go on from, or another run's `out` (its
            classifier too: its people must come first in `root`).
        partial_init: take a file that lacks tensors too; they start at random and are reported.
        teacher: cache of `distill`; needed by the distillation terms.
        occluders: folder of cut-outs, `KIND_NN.png`, as a synthetic data set and the shipped gallery have; needed by
            the option `pasted`.
        resume: go on from `training.pt`, bit for bit as if never stopped (on as many processes of the same device,
            without a time limit).
        max_steps: optimiser steps in all.
        time_limit_s: wall-clock length in all; the schedule then follows the clock, so no two runs are alike.
        save_every: steps between checkpoints.
        stop_after: stop early after this step, with a checkpoint, as an interruption would.
        device: as `checkpoint.choose_device`.
        evaluate_on: data set and root to measure the saved weights on at the end of a finished run; the record goes
            to `out/evaluation.json`.

    Returns:
        `steps, seconds, num_images, num_classes, loss, loaded, finished, fingerprint`, and `evaluation` if asked for;
        from ranks above 0 without the last two.

    Raises:
        TrainingError: the recipe does not fit the data, nothing to resume, a run in the way, or a loss is not finite
            (names the step).
        DatasetError: a root is not as its layout says.
    """
    out = Path(out)
    if not resume:
        _check_new(out)
    _check(config, teacher, max_steps, time_limit_s, save_every)
    if evaluate_on is not None and evaluate_on[0] != "gallery":
        load_benchmark(evaluate_on[0], Path(evaluate_on[1]))  # fails before the work, not after it
    roots = [root] if isinstance(root, (str, Path)) else list(root)
    body_parts = bool(config.body_attention or config.body_presence)
    vectors = load_vectors(teacher) if teacher else None
    data = TrainingSet(dataset, [Path(r) for r in roots], vectors, body_parts, config.toward_person)
    with team(device) as crew:
        result = _run(
            config,
            crew,
            data,
            occlude.read_cutouts(Path(occluders)) if occluders else None,
            out,
            init,
            partial_init,
            resume,
            max_steps,
            time_limit_s,
            save_every,
            math.inf if stop_after is None else stop_after,
        )
    if crew.rank == 0 and evaluate_on is not None and result["finished"]:
        result["evaluation"] = _evaluate(out, *evaluate_on, crew.device)
    return result


def _run(
    config: TrainConfig,
    crew: Team,
    data: TrainingSet,
    cutouts: occlude.Cutouts | None,
    out: Path,
    init: Path | None,
    partial_init: bool,
    resume: bool,
    max_steps: int | None,
    time_limit_s: float | None,
    save_every: int,
    stop_after: float,
) -> dict:
    loader = BatchLoader(data, config, crew.rank, crew.size, cutouts)
    total = max_steps or max(1, round(config.epochs * len(loader) / config.accumulate))

    torch.manual_seed(config.seed)
    model, loaded = _initial_model(config, init, partial_init)
    objective = Objective(config, data.num_classes, 0 if data.teacher is None else data.teacher.shape[1])
    if init is not None and (Path(init) / STATE_FILE).is_file():
        _continue_objective(objective, _read_state(Path(init) / STATE_FILE, torch.device("cpu"))["objective"])
    if crew.size > 1 and crew.device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    model, objective = model.to(crew.device, memory_format=torch.channels_last), objective.to(crew.device)
    _freeze(model, config.frozen_stages)
    optimizer = build_optimizer(config, model, objective)
    if crew.rank:
        torch.manual_seed(config.seed + 7919 * crew.rank)  # other dropout in every process

    step, spent_s = 0, 0.0
    if resume:
        step, spent_s = _restore(out / STATE_FILE, config, model, objective, optimizer, crew)
    module = spread(WholeBatch(model, objective, config.precision, crew))
    writes = crew.rank == 0
    if writes:
        out.mkdir(parents=True, exist_ok=True)
        _write_json(out / RECIPE_FILE, to_dict(config))
    start = time.monotonic() - spent_s

    def progress(at: int) -> float:
        clock = (time.monotonic() - start) / time_limit_s if time_limit_s else 0.0
        return max(at / total, clock)

    def size_now(number: int) -> tuple[int, int]:
        small = progress(number // config.accumulate) < config.small_fraction
        return (config.small_height, config.small_width) if small else (config.height, config.width)

    def save() -> None:
        random = crew.collect((torch.get_rng_state(), _device_random(crew.device)))
        if writes:
            _save(out / STATE_FILE, config, model, objective, optimizer, step, time.monotonic() - start, random)

    batches = loader.batches(step * config.accumulate, size_now)
    last: dict[str, float] = {}
    events = _event_writer(out, step) if writes else None
    with (
        _open_log(out / LOG_FILE, step) if writes else nullcontext() as log,
        tqdm(total=total, initial=step, unit="step", disable=not writes) as bar,
    ):
        while step < stop_after:
            done = progress(step)
            if time_limit_s:
                done = crew.agree(done)  # the clocks of the processes differ
            if done >= 1:
                break
            began = time.monotonic()
            factor = learning_rate_factor(config, done)
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * factor
            last, images, size = train_step(config, module, optimizer, batches, step)
            step += 1
            row = {
                "step": step,
                "epoch": round(step * config.accumulate / len(loader), 4),
                "learning_rate": optimizer.param_groups[0]["lr"],
                "size": list(size),
                "images_per_s": round(images * crew.size / (time.monotonic() - began), 1),
                "seconds": round(time.monotonic() - start, 1),
                **{name: round(value, 6) for name, value in last.items()},
            }
            if writes:
                _log(log, events, row)
                bar.update()
                bar.set_postfix(loss=f"{last['total']:.3f}", rate=f"{row['images_per_s']:.0f}/s")
            if step % save_every == 0:
                save()
    batches.close()
    save()
    if events is not None:
        events.close()
    result = {
        "steps": step,
        "seconds": round(time.monotonic() - start, 1),
        "num_images": len(data),
        "num_classes": data.num_classes,
        "loss": last,
        "loaded": loaded,
        "finished": progress(step) >= 1,
    }
    if writes:
        result["fingerprint"] = checkpoint.save_weights(model, out / WEIGHTS_FOLDER)
        _write_json(out / WEIGHTS_FOLDER / RECIPE_FILE, to_dict(config))
    return result


def learning_rate_factor(config: TrainConfig, progress: float) -> float:
    """Give the learning rate, as a multiple of the base rate, at `progress` in 0..1 of the schedule (Sec. 4.2)."""
    epoch = progress * config.epochs
    if epoch < config.warmup_epochs:
        first = config.warmup_start / config.learning_rate if config.learning_rate else 0.0
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
    return kind(groups, weight_decay=config.weight_decay, fused=True)


def _check_new(out: Path) -> None:
    """Refuse to write over a run: hours of work."""
    unfinished = (out / STATE_FILE).is_file()
    if unfinished or (out / WEIGHTS_FOLDER / checkpoint.MODEL_FILE).is_file():
        ways = "Go on with it by --resume; to start over" if unfinished else "To start over"
        raise TrainingError(f"The folder {out} already holds a run. {ways}, delete it or name another --out.")


def _check(
    config: TrainConfig, teacher: Path | None, max_steps: int | None, time_limit_s: float | None, save_every: int
) -> None:
    if config.optimizer not in ("adam", "adamw"):
        raise TrainingError(f"Unknown optimizer {config.optimizer!r}; choose adam or adamw.")
    if config.schedule not in ("step", "cosine"):
        raise TrainingError(f"Unknown schedule {config.schedule!r}; choose step or cosine.")
    if config.precision not in ("float32", "bfloat16"):
        raise TrainingError(f"Unknown precision {config.precision!r}; choose float32 or bfloat16.")
    if any(side % 16 or side < 16 for side in (config.height, config.width, config.small_height, config.small_width)):
        raise TrainingError("Heights and widths must be multiples of 16.")
    for name in SHARES:
        if not 0 <= getattr(config, name) <= 1:
            raise TrainingError(f"The option {name} is a share: between 0 and 1, not {getattr(config, name)}.")
    if config.epoch not in ("images", "groups"):
        raise TrainingError(f"Unknown epoch {config.epoch!r}; choose images or groups.")
    _check_augmentation(config)
    if config.epochs < 1 or config.learning_rate < 0 or config.pad < 0 or config.num_workers < 0:
        raise TrainingError("epochs must be at least 1; learning_rate, pad and num_workers not below 0.")
    if config.accumulate < 1 or save_every < 1 or (max_steps is not None and max_steps < 1):
        raise TrainingError("accumulate, save_every and max_steps must be at least 1.")
    if time_limit_s is not None and time_limit_s <= 0:
        raise TrainingError("The time limit must be above 0 seconds.")
    if (config.distill_direct or config.distill_similarity or config.distill_presence) and teacher is None:
        raise TrainingError("The distillation terms need a teacher's vectors; name the cache with --teacher.")
    if config.body_attention or config.body_presence:
        if config.model.templates != "dynamic" or config.model.num_parts != len(BODY_PARTS):
            raise TrainingError(f"body_attention and body_presence need {len(BODY_PARTS)} dynamic part templates.")
        if config.augmix:
            raise TrainingError("body_attention and body_presence cannot follow AugMix; set augmix=false.")


def _check_augmentation(config: TrainConfig) -> None:
    least, most = config.erasing_area if len(config.erasing_area) == 2 else (1.0, 0.0)
    if not 0 < least <= most < 1 or not 0 < config.erasing_aspect <= 1:
        raise TrainingError("erasing_area is two shares, the smaller first; erasing_aspect is above 0 and at most 1.")
    if config.erasing_fill not in occlude.FILLS:
        raise TrainingError(f"Unknown erasing_fill {config.erasing_fill!r}; choose of {', '.join(occlude.FILLS)}.")
    if config.augmix_width < 1 or config.augmix_depth < 0 or config.augmix_concentration <= 0:
        raise TrainingError("augmix_width is at least 1, augmix_depth not below 0, augmix_concentration above 0.")
    if not 0.1 <= config.augmix_severity <= 10:
        raise TrainingError("augmix_severity is from 0.1 to 10.")


def _initial_model(config: TrainConfig, init: Path | None, partial: bool) -> tuple[DPTI, dict[str, list[str]]]:
    if init is None:
        return build_model(config.model), {}
    if (Path(init) / STATE_FILE).is_file():
        model = build_model(config.model)
        try:
            model.load_state_dict(_read_state(Path(init) / STATE_FILE, torch.device("cpu"))["model"])
        except RuntimeError as error:
            raise TrainingError(f"The run {Path(init).name!r} trained another model than the recipe's.") from error
        return model, {"loaded": sorted(model.state_dict()), "missing": [], "unused": []}
    if Path(init).is_dir():
        model = checkpoint.load_weights(init)
        if model.config != config.model:
            raise TrainingError(f"The weights {Path(init).name!r} are of another model than the recipe's.")
        return model.requires_grad_(True), {"loaded": sorted(model.state_dict()), "missing": [], "unused": []}
    model = build_model(config.model)
    return model, load_backbone_weights(model.backbone, init, partial=partial)


def _continue_objective(objective: Objective, state: dict[str, torch.Tensor]) -> None:
    """Take over another run's neck and teacher head where they fit, and the classifier's first rows."""
    own = objective.state_dict()
    for name, tensor in state.items():
        if name not in own or own[name].ndim != tensor.ndim or own[name].shape[1:] != tensor.shape[1:]:
            continue
        rows = slice(min(len(tensor), len(own[name]))) if tensor.ndim else ...
        own[name][rows] = tensor[rows]


def _frozen_modules(model: DPTI, stages: int) -> list[nn.Module]:
    names = (*STEM, *(f"layer{i}" for i in range(1, stages))) if stages else ()
    try:
        return [getattr(model.backbone, name) for name in names]
    except AttributeError as error:
        raise TrainingError(f"frozen_stages {stages} does not fit this backbone: {error}") from error


def _freeze(model: DPTI, stages: int) -> None:
    for module in _frozen_modules(model, stages):
        module.requires_grad_(False)


def train_step(
    config: TrainConfig, module: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterator[Batch], step: int
) -> tuple[dict[str, float], int, tuple[int, int]]:
    """Run one optimiser step over `accumulate` batches.

    Args:
        config: the recipe.
        module: `WholeBatch` as `spread` gives it.
        optimizer: of its parameters.
        batches: this process's shares.
        step: number of steps done, for the error's words.

    Returns:
        The mean terms, the number of images of this process, and their `(H, W)`.

    Raises:
        TrainingError: a term is not finite; the parameters are as before the step.
    """
    whole: WholeBatch = getattr(module, "module", module)
    module.train()
    for part in _frozen_modules(whole.model, config.frozen_stages):
        part.eval()  # frozen layers keep their batch-norm statistics too
    optimizer.zero_grad(set_to_none=True)
    place = whole.crew.device
    sums: dict[str, float] = {}
    images, size = 0, (0, 0)
    for left in reversed(range(config.accumulate)):
        inputs = next(batches).on(place)
        with module.no_sync() if left and module is not whole else nullcontext():  # gradients meet once a step
            terms = module(inputs)
            values = torch.stack([value.detach() for value in terms.values()]).tolist()  # one wait for the device
            for name, value in zip(terms, values, strict=True):
                sums[name] = sums.get(name, 0.0) + value / config.accumulate
                if not math.isfinite(sums[name]):
                    raise TrainingError(
                        f"The loss {name!r} is not finite at step {step + 1}. Lower the learning rate, or set "
                        "clip_norm; the last checkpoint is sound."
                    )
            (terms["total"] / config.accumulate).backward()
        images, size = images + len(inputs.pixels), tuple(inputs.pixels.shape[2:])
    if config.clip_norm:
        nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], config.clip_norm)
    optimizer.step()
    return sums, images, size


def _evaluate(out: Path, dataset: str, root: Path, device: torch.device) -> dict:
    """Measure the saved weights, as the command `evaluate` would."""
    weights = out / WEIGHTS_FOLDER
    model = checkpoint.load_weights(weights)
    scoring = paper_scoring(model.config)
    record = evaluate(Describer(model, device), Plan(dataset, Path(root), scoring=scoring))
    words = ["evaluate", "--dataset", dataset, "--root", str(root), "--weights", str(weights)]
    command = f"python -m reid_demo {shlex.join(words)}"  # which gives the same
    record = signed(record, checkpoint.name_of(weights), checkpoint.fingerprint(weights), command)
    _write_json(out / EVALUATION_FILE, record)
    return record


def _write_json(path: Path, values: dict) -> None:
    path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def _open_log(path: Path, step: int) -> TextIO:
    """Open the log to go on after `step`: later rows, of a run that was cut off, are dropped."""
    kept = []
    if step and path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError):
                continue  # a row that was cut off
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text("".join(kept), encoding="utf-8")
    temporary.replace(path)
    return open(path, "a", encoding="utf-8")


def _event_writer(folder: Path, step: int) -> Any:
    """Give a writer of TensorBoard's event files, or `None` where `tensorboard` is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)


def _log(log: TextIO, events: Any, row: dict) -> None:
    log.write(json.dumps(row) + "\n")
    log.flush()
    if events is not None:
        for name, value in row.items():
            if name not in ("step", "size"):
                events.add_scalar(name, value, row["step"])


def _device_random(device: torch.device) -> torch.Tensor | None:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def _save(path: Path, config: TrainConfig, model, objective, optimizer, step: int, seconds: float, random) -> None:
    """Write a checkpoint under a temporary name, then rename it; `random` has the states of every process."""
    state = {
        "config": json.dumps(to_dict(config)),
        "model": model.state_dict(),
        "objective": objective.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": random[0][0],
        "random_team": [host for host, _ in random],
        "random_device": [own for _, own in random],
        "step": step,
        "seconds": seconds,
    }
    temporary = path.with_name(path.name + ".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def _read_state(path: Path, place: torch.device) -> dict[str, Any]:
    """Load a checkpoint without unpickling code."""
    if not path.is_file():
        raise TrainingError(f"There is no {path} to resume from; start without --resume.")
    try:
        return torch.load(path, map_location=place, weights_only=True)
    except Exception as error:
        raise TrainingError(f"The checkpoint {path} is damaged: {error}") from error


def _restore(path: Path, config: TrainConfig, model, objective, optimizer, crew: Team) -> tuple[int, float]:
    """Go back to a checkpoint of the same recipe; give its step and the seconds spent."""
    state = _read_state(path, crew.device)
    try:
        same = from_dict(TrainConfig, json.loads(state["config"])) == config
    except ConfigError:
        same = False
    if not same:
        raise TrainingError(
            f"The checkpoint {path} was made by another recipe; resume with the same one, or use another --out."
        )
    try:
        model.load_state_dict(state["model"])
        objective.load_state_dict(state["objective"])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"The checkpoint {path} does not fit this data set: {error}") from error
    team_states, device_states = state.get("random_team", [state["random"]]), state.get("random_device", [])
    if len(team_states) == crew.size:
        torch.set_rng_state(team_states[crew.rank].cpu())
    if len(device_states) == crew.size and device_states[crew.rank] is not None and crew.device.type == "cuda":
        torch.cuda.set_rng_state(device_states[crew.rank].cpu(), crew.device)
    return state["step"], state["seconds"]
