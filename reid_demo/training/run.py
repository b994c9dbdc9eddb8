"""Training: one plain loop that steps, logs, saves and resumes. Knows no page and no gallery."""

import json
import math
import shlex
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import nn
from tqdm import tqdm

from reid_demo import occlude
from reid_demo.config import IMAGE_HEIGHT, IMAGE_WIDTH, TrainConfig, to_dict
from reid_demo.data.ground_truth import PARTS as BODY_PARTS
from reid_demo.data.layouts import load_benchmark
from reid_demo.data.loaders import BatchLoader, TrainingSet
from reid_demo.errors import TrainingError
from reid_demo.measuring.evaluate import Plan, evaluate, signed
from reid_demo.model import checkpoint
from reid_demo.model.checkpoint import WEIGHTS_FOLDER
from reid_demo.model.describer import Describer
from reid_demo.search.similarity import paper_scoring
from reid_demo.training.cached_maps import MAPS_FOLDER, CachedMaps
from reid_demo.training.distributed import Team, WholeBatch, spread, team
from reid_demo.training.state import STATE_FILE, Learner, Progress, Start, prepare, restore, save
from reid_demo.training.step import StepResult, learning_rate_factor, train_step
from reid_demo.training.teacher import LiveTeacher, load_vectors

LOG_FILE = "log.jsonl"
RECIPE_FILE = "recipe.json"
EVALUATION_FILE = "evaluation.json"
SHARES = (
    "flip",
    "random_erasing",
    "augmix_chance",
    "random_crop",
    "cut",
    "grey",
    "occlusion",
    "pasted",
    "recolour",
    "degrade",
    "hide_part",
    "small_fraction",
    "toward_person",
    "parts_gradient",
    "blend",
)  # between 0 and 1


@dataclass(frozen=True)
class Sources:
    """What a run reads besides its initial weights."""

    dataset: str  # layout of the roots: `market1501`, `synthetic` or `folder`
    roots: Sequence[Path]
    # needed by the distillation terms: vectors that `teacher.save_vectors` wrote, or the network itself (`.xml`) for a
    # recipe with `live_teacher`
    teacher: Path | None = None
    occluders: Path | None = None  # folder of cut-outs, `KIND_NN.png`; needed by the option `pasted`
    evaluate_on: tuple[str, Path] | None = None  # data set and root that a finished run's weights are measured on


@dataclass(frozen=True)
class Limits:
    """How long a run is. The recipe's schedule is in epochs; a shorter run shrinks it to fit."""

    max_steps: int | None = None  # optimiser steps in all; default: the recipe's epochs
    time_limit_s: float | None = None  # wall-clock length in all; the schedule then follows the clock
    save_every: int = 100  # steps between checkpoints
    stop_after: int | None = None  # stop early after this step, with a checkpoint, as an interruption would


def train(
    config: TrainConfig,
    sources: Sources,
    out: Path,
    *,
    start: Start | None = None,
    limits: Limits | None = None,
    device: str | None = None,
) -> dict:
    """Train a network and save its weights.

    Started by `torchrun`, the processes share every batch (`distributed`): a rank takes `ids_per_batch / ranks` whole
    identities, the loss is that of the whole batch, and rank 0 alone writes.

    Args:
        config: the recipe.
        sources: data, teacher and cut-outs.
        out: gets `recipe.json`, `training.pt` (to resume), `log.jsonl` (one row a step), `weights/`, TensorBoard's
            event files where `tensorboard` is installed, and `evaluation.json` if `sources.evaluate_on` is set.
        start: initial weights; or go on from `training.pt`, bit for bit as if never stopped (on as many processes of
            the same device, without a time limit). Another run's folder as `init` brings its classifier too: its
            people must come first in the roots.
        limits: length of the run; with a time limit no two runs are alike.
        device: as `checkpoint.choose_device`.

    Returns:
        `steps, seconds, num_images, num_classes, loss, loaded, finished, fingerprint`, and `evaluation` if asked for;
        from ranks above 0 without the last two.

    Raises:
        TrainingError: the recipe does not fit the data, nothing to resume, a run in the way, or a loss is not finite
            (names the step).
        DatasetError: a root is not as its layout says.
        WeightsError, SyntheticError, OcclusionError: damaged initial weights, ground truth or cut-outs.
    """
    out, start, limits = Path(out), start or Start(), limits or Limits()
    if not start.resume:
        _check_new(out)
    check(config, sources, limits)
    if config.hold_parts and start.init is None and not start.resume:
        raise TrainingError("hold_parts holds the parts of the weights that --init names; name a weights folder.")
    if sources.evaluate_on is not None and sources.evaluate_on[0] != "gallery":
        load_benchmark(sources.evaluate_on[0], Path(sources.evaluate_on[1]))  # fails before the work, not after it
    body_parts = bool(config.body_attention or config.body_presence)
    vectors = load_vectors(sources.teacher) if sources.teacher and not config.live_teacher else None
    roots = [Path(root) for root in sources.roots]
    data = TrainingSet(sources.dataset, roots, vectors, body_parts, config.toward_person)
    cutouts = occlude.read_cutouts(Path(sources.occluders)) if sources.occluders else None
    with team(device) as crew:
        _check_clocks(config, limits, crew)
        loader = BatchLoader(data, config, crew.rank, crew.size, cutouts)
        live = LiveTeacher(sources.teacher, crew.device) if config.live_teacher else None
        teacher_dim = live.dim if live else 0 if data.teacher is None else data.teacher.shape[1]
        learner = prepare(config, start, crew, data.num_classes, teacher_dim)
        progress = restore(out / STATE_FILE, learner) if start.resume else Progress()
        network = WholeBatch(learner.model, learner.objective, crew, live, learner.held)
        result = _run(learner, network, loader, out, limits, progress)
    if crew.rank == 0 and sources.evaluate_on is not None and result["finished"]:
        result["evaluation"] = _evaluate(out, *sources.evaluate_on, crew.device)
    return result


class _Schedule:
    """How far a run is in 0..1, by its steps or by the clock, and the picture size that goes with it."""

    def __init__(self, config: TrainConfig, total: int, limits: Limits, done: Progress) -> None:
        self.config, self.total, self.time_limit_s = config, total, limits.time_limit_s
        self.start = time.monotonic() - done.seconds

    def seconds(self) -> float:
        """Return the seconds spent, those before a stop included."""
        return time.monotonic() - self.start

    def progress(self, step: int) -> float:
        """Return the share of the run that is done after `step` steps."""
        return max(step / self.total, self.seconds() / self.time_limit_s if self.time_limit_s else 0.0)

    def agreed(self, step: int, crew: Team) -> float:
        """Return the first process's progress in all of them; their clocks differ."""
        return crew.agree(self.progress(step)) if self.time_limit_s else self.progress(step)

    def size(self, batch: int) -> tuple[int, int]:
        """Return the size `(h, w)` of the pictures of a batch."""
        config = self.config
        small = self.progress(batch // config.accumulate) < config.small_fraction
        return (config.small_height, config.small_width) if small else (config.height, config.width)


def _run(learner: Learner, network: nn.Module, loader: BatchLoader, out: Path, limits: Limits, done: Progress) -> dict:
    # The wrapped network must not outlive its team. Deleted later, it would close the processes' connection, which
    # waits for a thread that needs Python's lock while it holds that lock.
    module = spread(network)
    config, crew, step = learner.config, learner.crew, done.step
    schedule = _Schedule(config, _steps(config, loader, limits), limits, done)
    if crew.rank == 0:
        out.mkdir(parents=True, exist_ok=True)
        _write_json(out / RECIPE_FILE, to_dict(config))
    cache = CachedMaps(loader, learner.model.backbone, crew, out / MAPS_FOLDER) if config.cached_batches else None
    batches = (cache or loader).batches(step * config.accumulate, schedule.size)
    last: dict[str, float] = {}
    with _Log(out, step, schedule.total) if crew.rank == 0 else nullcontext() as log:
        while step < (math.inf if limits.stop_after is None else limits.stop_after):
            progress = schedule.agreed(step, crew)
            if progress >= 1:
                break
            began = time.monotonic()
            _set_learning_rates(learner, progress)
            result = train_step(config, module, learner.optimizer, batches, step)
            step, last = step + 1, result.terms
            if log is not None:
                rate = result.num_images * crew.size / (time.monotonic() - began)
                log.add(_row(learner, loader, step, result) | _pace(rate, schedule) | _rounded(last))
            if step % limits.save_every == 0:
                save(out / STATE_FILE, learner, Progress(step, schedule.seconds()))
        batches.close()
        save(out / STATE_FILE, learner, Progress(step, schedule.seconds()))
    finished = schedule.progress(step) >= 1
    if cache is not None and finished:
        cache.remove()
    result = {
        "steps": step,
        "seconds": round(schedule.seconds(), 1),
        "num_images": len(loader.data),
        "num_classes": loader.data.num_classes,
        "loss": last,
        "loaded": learner.loaded,
        "finished": finished,
    }
    if crew.rank == 0:
        result["fingerprint"] = checkpoint.save_weights(learner.model, out / WEIGHTS_FOLDER)
        _write_json(out / WEIGHTS_FOLDER / RECIPE_FILE, to_dict(config))
    return result


def _steps(config: TrainConfig, loader: BatchLoader, limits: Limits) -> int:
    return limits.max_steps or max(1, round(config.epochs * len(loader) / config.accumulate))


def _set_learning_rates(learner: Learner, progress: float) -> None:
    factor = learning_rate_factor(learner.config, progress)
    for group in learner.optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor


def _row(learner: Learner, loader: BatchLoader, step: int, result: StepResult) -> dict:
    return {
        "step": step,
        "epoch": round(step * learner.config.accumulate / len(loader), 4),
        "learning_rate": learner.optimizer.param_groups[0]["lr"],
        "size": list(result.size),
    }


def _pace(images_per_s: float, schedule: _Schedule) -> dict:
    return {"images_per_s": round(images_per_s, 1), "seconds": round(schedule.seconds(), 1)}


def _rounded(terms: dict[str, float]) -> dict:
    return {name: round(value, 6) for name, value in terms.items()}


def _check_new(out: Path) -> None:
    """Refuse to write over a run: hours of work."""
    unfinished = (out / STATE_FILE).is_file()
    if unfinished or (out / WEIGHTS_FOLDER / checkpoint.MODEL_FILE).is_file():
        ways = "Go on with it by --resume; to start over" if unfinished else "To start over"
        raise TrainingError(f"The folder {out} already holds a run. {ways}, delete it or name another --out.")


def check(config: TrainConfig, sources: Sources, limits: Limits) -> None:
    """Check what `train` is given, without a look at any file.

    Raises:
        TrainingError: options that do not exist, or contradict each other.
    """
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
    if config.epochs < 1:
        raise TrainingError("epochs must be at least 1.")
    for name in ("seed", "learning_rate", "pad", "num_workers", "frozen_stages", "cached_batches"):
        if getattr(config, name) < 0:
            raise TrainingError(f"The option {name} must not be below 0.")
    if config.accumulate < 1 or limits.save_every < 1 or (limits.max_steps is not None and limits.max_steps < 1):
        raise TrainingError("accumulate, save_every and max_steps must be at least 1.")
    if limits.time_limit_s is not None and limits.time_limit_s <= 0:
        raise TrainingError("The time limit must be above 0 seconds.")
    _check_network(config, sources)


def _check_network(config: TrainConfig, sources: Sources) -> None:
    if config.taught and sources.teacher is None:
        raise TrainingError("The distillation terms need a teacher's vectors; name the cache with --teacher.")
    if config.live_teacher:
        if not config.taught or sources.teacher is None or sources.teacher.suffix != ".xml":
            raise TrainingError("live_teacher needs a distillation term, and --teacher with the teacher's .xml.")
        if config.toward_person:
            raise TrainingError("toward_person needs vectors of all pictures beforehand; set live_teacher=false.")
    elif config.blend:
        raise TrainingError("blend needs live_teacher=true: cached vectors are those of single pictures.")
    elif sources.teacher is not None and sources.teacher.suffix == ".xml":
        raise TrainingError("--teacher names a network: set live_teacher=true, or cache its vectors with `teach`.")
    if config.parts_gradient != 1 and config.model.global_pooling != "weighted":
        raise TrainingError("parts_gradient needs global_pooling=weighted: else the global descriptor shares a layer.")
    if config.model.global_pooling == "weighted":
        sizes = {(config.height, config.width)}
        if config.small_fraction:
            sizes.add((config.small_height, config.small_width))
        if sizes != {(IMAGE_HEIGHT, IMAGE_WIDTH)}:
            raise TrainingError(f"Weighted pooling trains at {IMAGE_HEIGHT} x {IMAGE_WIDTH} alone, not at other sizes.")
    if config.hold_parts and (config.model.templates != "dynamic" or not config.frozen_backbone):
        raise TrainingError("hold_parts needs dynamic part templates and frozen_backbone=true.")
    if config.cached_batches and (config.live_teacher or not config.frozen_backbone):
        raise TrainingError("cached_batches needs frozen_backbone=true and, as it keeps no pictures, no live_teacher.")
    if config.cached_batches and config.small_fraction:
        raise TrainingError("cached_batches repeats pictures at the size they were drawn in; set small_fraction=0.")
    if config.hide_part and not (config.body_attention or config.body_presence):
        raise TrainingError("hide_part needs body parts: set body_attention or body_presence, or hide_part=0.")
    if config.body_attention or config.body_presence:
        if config.model.templates != "dynamic" or config.model.num_parts != len(BODY_PARTS):
            raise TrainingError(f"body_attention and body_presence need {len(BODY_PARTS)} dynamic part templates.")
        if config.augmix:
            raise TrainingError("body_attention and body_presence cannot follow AugMix; set augmix=false.")


def _check_clocks(config: TrainConfig, limits: Limits, crew: Team) -> None:
    if crew.size > 1 and limits.time_limit_s and config.small_fraction:
        raise TrainingError(
            "Under a time limit, processes may leave the small size at different batches; use --max-steps."
        )


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


def _evaluate(out: Path, dataset: str, root: Path, device: torch.device) -> dict:
    """Measure the saved weights, as the command `evaluate` would."""
    weights = out / WEIGHTS_FOLDER
    model = checkpoint.load_weights(weights)
    plan = Plan(dataset, Path(root), scoring=paper_scoring(model.config))
    record = evaluate(Describer(model, device), plan)
    words = ["evaluate", "--dataset", dataset, "--root", str(root), "--weights", str(weights)]
    command = f"python -m reid_demo {shlex.join(words)}"  # prints the same record
    record = signed(record, checkpoint.name_of(weights), checkpoint.fingerprint(weights), command)
    _write_json(out / EVALUATION_FILE, record)
    return record


def _write_json(path: Path, values: dict) -> None:
    path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


class _Log:
    """The run's progress: a row a step in `log.jsonl`, TensorBoard's event files where it is installed, and a bar."""

    def __init__(self, out: Path, step: int, total: int) -> None:
        self.out, self.step, self.total = out, step, total

    def __enter__(self) -> "_Log":
        self.events = _event_writer(self.out, self.step)
        self.file = _open_log(self.out / LOG_FILE, self.step)
        self.bar = tqdm(total=self.total, initial=self.step, unit="step")
        return self

    def __exit__(self, *error) -> None:
        self.bar.close()
        self.file.close()
        if self.events is not None:
            self.events.close()

    def add(self, row: dict) -> None:
        """Write the row of one step."""
        self.file.write(json.dumps(row) + "\n")
        self.file.flush()
        if self.events is not None:
            for name, value in row.items():
                if name not in ("step", "size"):
                    self.events.add_scalar(name, value, row["step"])
        self.bar.update()
        self.bar.set_postfix(loss=f"{row['total']:.3f}", rate=f"{row['images_per_s']:.0f}/s")


def _open_log(path: Path, step: int) -> TextIO:
    """Open the log to go on after `step`; drop later rows, which a run that was cut off left."""
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
    """Return a writer of TensorBoard's event files, or `None` where `tensorboard` is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
