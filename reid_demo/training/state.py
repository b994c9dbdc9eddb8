"""What a run holds in memory and in its checkpoint: where it starts, what it saves, how it goes on."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reid_demo.config import TrainConfig, from_dict, to_dict
from reid_demo.errors import ConfigError, TrainingError
from reid_demo.model import checkpoint
from reid_demo.model.backbones import load_backbone_weights
from reid_demo.model.dpti import DPTI, build_model
from reid_demo.model.start import network_alone, start_from_global, start_from_ir, without_parts
from reid_demo.training.distributed import Team
from reid_demo.training.held import HeldParts
from reid_demo.training.losses import Objective
from reid_demo.training.step import build_optimizer, freeze

STATE_FILE = "training.pt"


@dataclass(frozen=True)
class Start:
    """Where a run begins."""

    # ImageNet weights of the backbone, a network in OpenVINO's format (`.xml`, for `osnet_lct`), a weights folder, or
    # another run's folder
    init: Path | None = None
    partial_init: bool = False  # take a file that lacks tensors; they start at random and are reported
    resume: bool = False  # go on from the checkpoint


@dataclass(frozen=True)
class Progress:
    """How far a checkpoint has come."""

    step: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Learner:
    """What learns, on the device of its team."""

    config: TrainConfig
    model: DPTI
    objective: Objective
    optimizer: torch.optim.Optimizer
    crew: Team
    loaded: dict[str, list[str]]  # names of tensors: `loaded`, `missing`, `unused`; empty for a random start
    held: HeldParts | None = None  # of a recipe with `hold_parts`


def prepare(config: TrainConfig, start: Start, crew: Team, num_classes: int, teacher_dim: int) -> Learner:
    """Build network, objective and optimiser on the team's device, from the seed and the initial weights.

    Raises:
        TrainingError: the initial weights are of another model.
        WeightsError: they cannot be read, or lack tensors.
    """
    torch.manual_seed(config.seed)
    model, loaded = _initial_model(config, start)
    objective = Objective(config, num_classes, teacher_dim)
    if start.init is not None and (start.init / STATE_FILE).is_file():
        _continue_objective(objective, _read_state(start.init / STATE_FILE, torch.device("cpu"))["objective"])
    if crew.size > 1 and crew.device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    model.parts_gradient = config.parts_gradient
    model, objective = model.to(crew.device, memory_format=torch.channels_last), objective.to(crew.device)
    freeze(model, config)
    optimizer = build_optimizer(config, model, objective)
    if crew.rank:
        torch.manual_seed(config.seed + 7919 * crew.rank)  # other dropout in every process
    return Learner(config, model, objective, optimizer, crew, loaded, HeldParts(model) if config.hold_parts else None)


def load_trained(folder: Path) -> DPTI:
    """Read the network of a run's checkpoint, in full precision, or that of a weights folder; on the CPU.

    Raises:
        TrainingError: the checkpoint is damaged, or of another release.
        WeightsError: the weights folder lacks a file or is damaged.
    """
    if not (folder / STATE_FILE).is_file():
        return checkpoint.load_weights(folder)
    state = _read_state(folder / STATE_FILE, torch.device("cpu"))
    try:
        model = build_model(from_dict(TrainConfig, json.loads(state["config"])).model)
    except ConfigError as error:
        raise TrainingError(f"The checkpoint {folder / STATE_FILE} was made by another release: {error}") from error
    model.load_state_dict(state["model"])
    return model


def _initial_model(config: TrainConfig, start: Start) -> tuple[DPTI, dict[str, list[str]]]:
    init = start.init
    if init is None:
        return build_model(config.model), {}
    if init.is_dir():
        source = load_trained(init)
        if source.config == config.model:
            return source.requires_grad_(True), {"loaded": sorted(source.state_dict()), "missing": [], "unused": []}
        wanted, its = network_alone(config.model), network_alone(source.config)
        model = build_model(config.model)
        if wanted in (its, without_parts(its)):
            return model, _copy(source, model)
        if its != without_parts(wanted):
            raise TrainingError(f"The weights {init.name!r} are of another model than the recipe's.")
        return model, start_from_global(model, source)
    model = build_model(config.model)
    if init.suffix == ".xml":
        return model, start_from_ir(model, init)
    return model, load_backbone_weights(model.backbone, init, partial=start.partial_init)


def _copy(source: DPTI, model: DPTI) -> dict[str, list[str]]:
    """Copy the tensors of the same network into it, or into the same one without parts, in place."""
    tensors = source.state_dict()
    names = model.state_dict().keys()
    model.load_state_dict({name: tensors[name] for name in names})
    return {"loaded": sorted(names), "missing": [], "unused": sorted(tensors.keys() - names)}


def _continue_objective(objective: Objective, state: dict[str, torch.Tensor]) -> None:
    """Copy another run's neck and teacher head where they fit, and the first rows of its classifier."""
    own = objective.state_dict()
    for name, tensor in state.items():
        if name not in own or own[name].ndim != tensor.ndim or own[name].shape[1:] != tensor.shape[1:]:
            continue
        rows = slice(min(len(tensor), len(own[name]))) if tensor.ndim else ...
        own[name][rows] = tensor[rows]


def save(path: Path, learner: Learner, progress: Progress) -> None:
    """Write a checkpoint under a temporary name, then rename it; every process of the team must call this."""
    random = learner.crew.collect((torch.get_rng_state(), _device_random(learner.crew.device)))
    if learner.crew.rank:
        return
    state = {
        "config": json.dumps(to_dict(learner.config)),
        "model": learner.model.state_dict(),
        "objective": learner.objective.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "random": random[0][0],
        "random_team": [host for host, _ in random],
        "random_device": [own for _, own in random],
        "step": progress.step,
        "seconds": progress.seconds,
    }
    if learner.held is not None:
        state["held"] = learner.held.state_dict()
    temporary = path.with_name(path.name + ".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def _device_random(device: torch.device) -> torch.Tensor | None:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def restore(path: Path, learner: Learner) -> Progress:
    """Load a checkpoint of the same recipe into the learner; return how far it had come.

    Raises:
        TrainingError: there is none, it is damaged, or it is of another recipe or data set.
    """
    crew = learner.crew
    state = _read_state(path, crew.device)
    try:
        same = from_dict(TrainConfig, json.loads(state["config"])) == learner.config
    except ConfigError:
        same = False
    if not same:
        raise TrainingError(
            f"The checkpoint {path} was made by another recipe; resume with the same one, or use another --out."
        )
    try:
        learner.model.load_state_dict(state["model"])
        learner.objective.load_state_dict(state["objective"])
        learner.optimizer.load_state_dict(state["optimizer"])
        if learner.held is not None:
            learner.held.load_state_dict(state["held"])
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"The checkpoint {path} does not fit this data set: {error}") from error
    team_states, device_states = state.get("random_team", [state["random"]]), state.get("random_device", [])
    if len(team_states) == crew.size:
        torch.set_rng_state(team_states[crew.rank].cpu())
    if len(device_states) == crew.size and device_states[crew.rank] is not None and crew.device.type == "cuda":
        torch.cuda.set_rng_state(device_states[crew.rank].cpu(), crew.device)
    return Progress(state["step"], state["seconds"])


def _read_state(path: Path, place: torch.device) -> dict[str, Any]:
    """Load a checkpoint without unpickling code."""
    if not path.is_file():
        raise TrainingError(f"There is no {path} to resume from; start without --resume.")
    try:
        state = torch.load(path, map_location=place, weights_only=True)
    except Exception as error:  # torch raises nearly anything for a damaged file
        raise TrainingError(f"The checkpoint {path} is damaged: {error}") from error
    if not isinstance(state, dict) or not {"config", "model", "objective"} <= state.keys():
        raise TrainingError(f"{path} is no checkpoint of a run; name the --out of `train`.")
    return state
