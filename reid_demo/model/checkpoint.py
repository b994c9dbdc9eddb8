"""Weights on disk: safetensors and a plain JSON configuration, loaded strictly; nothing is unpickled."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from reid_demo.config import ModelConfig, from_dict, to_dict
from reid_demo.data.files import read_json
from reid_demo.errors import ReidError, WeightsError
from reid_demo.model.dpti import DPTI, build_model

MODEL_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
MEND = "Copy the folder again, or name another."
WEIGHTS_FOLDER = "weights"  # in the folder of a run
DRAWS = {Tensor.normal_, Tensor.uniform_}  # what initial values come from


def save_weights(model: DPTI, folder: str | Path, *, half: bool = True) -> str:
    """Write `model.safetensors` and `config.json`, and return the fingerprint.

    Args:
        model: any DPTI; its state is not changed.
        folder: made if missing.
        half: store floating-point tensors in half precision; batch-norm statistics stay float32.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {}
    for name, tensor in model.state_dict().items():
        tensor = tensor.detach().cpu()
        keep = not half or not tensor.is_floating_point() or "running_" in name
        state[name] = (tensor if keep else tensor.half()).contiguous()
    temporary = folder / (MODEL_FILE + ".tmp")
    save_file(state, temporary)
    temporary.replace(folder / MODEL_FILE)
    (folder / CONFIG_FILE).write_text(json.dumps({"model": to_dict(model.config)}, indent=2) + "\n", encoding="utf-8")
    return fingerprint(folder)


def load_weights(folder: str | Path) -> DPTI:
    """Read the network of a weights folder: in evaluation mode, float32, on the CPU.

    Raises:
        WeightsError: the folder lacks a file, or tensors do not fit the configuration exactly.
    """
    folder = Path(folder)
    for name in (MODEL_FILE, CONFIG_FILE):
        if not (folder / name).is_file():
            inside = folder / WEIGHTS_FOLDER
            hint = f"Name {inside}" if (inside / name).is_file() else "Use `train`, or name another"
            raise WeightsError(f"The weights folder {folder.name!r} has no {name}. {hint}.")
    try:
        said = read_json(_ConfigFile, folder / CONFIG_FILE, WeightsError, "")
        config = from_dict(ModelConfig, said.model)
        state = load_file(folder / MODEL_FILE)
    except (ValueError, OSError, ReidError, SafetensorError) as error:
        raise WeightsError(f"The weights {folder.name!r} are damaged: {str(error).strip()} {MEND}") from error
    _check_fit(folder.name, config, state)
    with _float32_by_default():
        model = build_model(config)
    model.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in state.items()})
    return model.eval().requires_grad_(False)


class _ConfigFile(BaseModel):
    """`config.json`."""

    model: dict[str, Any]


def _check_fit(name: str, config: ModelConfig, state: dict[str, Tensor]) -> None:
    """Compare tensors with what the configuration asks for, before a network of its size is made.

    Raises:
        WeightsError: another size, other tensors, or numbers that are not finite.
    """
    try:
        with torch.device("meta"), _Undrawn():  # shapes alone: a configuration may name any size
            wanted = build_model(config).state_dict()
    except (RuntimeError, TypeError, OverflowError, MemoryError) as error:
        raise WeightsError(f"The weights {name!r} name a network that cannot be made. {MEND}") from error
    fault = ""
    if lacking := sorted(wanted.keys() - state.keys()):
        fault = f"{lacking[0]} is missing"
    elif unknown := sorted(state.keys() - wanted.keys()):
        fault = f"{unknown[0]} belongs to no such network"
    for key in wanted.keys() & state.keys():
        if wanted[key].shape != state[key].shape:
            fault = f"{key} is {tuple(state[key].shape)}, not {tuple(wanted[key].shape)}"
        elif wanted[key].is_floating_point() != state[key].is_floating_point():
            fault = f"{key} holds {state[key].dtype}, not {wanted[key].dtype}".replace("torch.", "")
        elif not torch.isfinite(state[key]).all():
            fault = f"{key} holds numbers that are not finite"
    if fault:
        raise WeightsError(f"The weights {name!r} do not fit their own configuration: {fault}. {MEND}")


class _Undrawn(TorchFunctionMode):
    """Draws no initial values: for tensors without storage, PyTorch would load its compiler to do that, in a second."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in DRAWS:
            return args[0]
        return (torch.empty if func is torch.randn else func)(*args, **(kwargs or {}))


@contextmanager
def _float32_by_default() -> Iterator[None]:
    """Undo another default type of the calling program: some initial values cannot be drawn in half precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def fingerprint(folder: str | Path) -> str:
    """Return 16 hex digits that change whenever the weights or their configuration do."""
    return fingerprint_of(Path(folder) / name for name in (MODEL_FILE, CONFIG_FILE))


def fingerprint_of(files: Iterable[Path]) -> str:
    """Return 16 hex digits that change whenever one of the files does."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def name_of(folder: str | Path) -> str:
    """Return the name of weights: their folder's, or that of the run for RUN/weights, where `train` leaves them."""
    folder = Path(folder).resolve()
    return folder.parent.name or folder.name if folder.name == WEIGHTS_FOLDER else folder.name


def choose_device(name: str | None = None) -> torch.device:
    """Return the device to run on: the one named, else a GPU where there is one, else the CPU.

    Raises:
        WeightsError: there is no such device.
    """
    if name in (None, "", "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise WeightsError(f"Unknown device {name!r}; use cpu, cuda or cuda:0.") from error
    if device.type not in ("cpu", "cuda"):
        raise WeightsError(f"This program does not run on {name!r}; use cpu, cuda or cuda:0.")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise WeightsError("No GPU is visible to PyTorch here; use --device cpu.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise WeightsError(f"There is no {name!r} here; the last GPU is cuda:{torch.cuda.device_count() - 1}.")
    return device
