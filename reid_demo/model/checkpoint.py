"""Weights on disk: safetensors and a plain JSON configuration, loaded strictly; nothing is unpickled."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from reid_demo.config import ModelConfig, from_dict, to_dict
from reid_demo.errors import ConfigError, WeightsError
from reid_demo.model.dpti import DPTI, build_model

MODEL_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
WEIGHTS_FOLDER = "weights"  # in the folder of a run


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
        config = from_dict(ModelConfig, json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["model"])
        state = load_file(folder / MODEL_FILE)
    except (ValueError, KeyError, TypeError, ConfigError, SafetensorError) as error:
        raise WeightsError(f"The weights {folder.name!r} are damaged: {error}") from error
    with _float32_by_default():
        model = build_model(config)
    try:
        model.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in state.items()})
    except RuntimeError as error:
        raise WeightsError(f"The weights {folder.name!r} do not fit their own configuration: {error}") from error
    return model.eval().requires_grad_(False)


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
    folder = Path(folder)
    digest = hashlib.sha256()
    for name in (MODEL_FILE, CONFIG_FILE):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:16]


def name_of(folder: str | Path) -> str:
    """Return the name of weights: their folder's, or that of the run for RUN/weights, where `train` leaves them."""
    folder = Path(folder).resolve()
    return folder.parent.name or folder.name if folder.name == WEIGHTS_FOLDER else folder.name


def choose_device(name: str | None = None) -> torch.device:
    """Return the device to run on: the one named, else a GPU where there is one, else the CPU."""
    if name in (None, "", "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise WeightsError(f"Unknown device {name!r}; use cpu, cuda or cuda:0.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise WeightsError("No GPU is visible to PyTorch here; use --device cpu.")
    return device
