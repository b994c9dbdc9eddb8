"""The network as a graph that other programs run: ONNX, with any batch size, checked against PyTorch."""

import copy
import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from reid_demo.config import IMAGE_HEIGHT, IMAGE_WIDTH
from reid_demo.errors import ConfigError, WeightsError
from reid_demo.model.dpti import DPTI, DPTIOutput

OUTPUTS = ("global_embedding", "part_embeddings", "presence", "template_attention", "part_attention")
MAPS = 2  # the last outputs, which only somebody who looks at them needs
INPUT, BATCH = "images", "batch"  # the graph's input, and its first dimension
OPSET = 17
TOLERANCE = 1e-4  # of an output's largest value, or of 1 where that is smaller


@dataclass(frozen=True, eq=False)
class DescribedBatch:
    """What is kept of a batch, float32 on the CPU; the fields are the graph's outputs, `OUTPUTS`, in order."""

    global_embedding: np.ndarray  # (B, D)
    part_embeddings: np.ndarray  # (B, P, D), unweighted
    presence: np.ndarray  # (B, P), rows sum to 1
    template_attention: np.ndarray  # (B, P, h_l, w_l), each map sums to 1
    part_attention: np.ndarray  # (B, P, h, w), each map sums to 1

    @classmethod
    def of(cls, output: DPTIOutput, maps: bool = True) -> "DescribedBatch":
        """Copy what is asked for of the network's output from its device."""
        return cls.read(lambda name: getattr(output, name).float().cpu().numpy(), maps)

    @classmethod
    def read(cls, get: Callable[[str], np.ndarray], maps: bool) -> "DescribedBatch":
        """Get each of `outputs(maps)` by its name; maps that were not asked for are `(B, P, 0, 0)`."""
        found = [get(name) for name in outputs(maps)]
        none = np.zeros((*found[2].shape, 0, 0), np.float32)
        return cls(*found, *[none] * (len(OUTPUTS) - len(found)))


def outputs(maps: bool) -> tuple[str, ...]:
    """Return the names of the outputs to ask a network for, with the attention maps or without."""
    return OUTPUTS if maps else OUTPUTS[:-MAPS]


class Shown(nn.Module):
    """The network with `OUTPUTS` alone, as tensors."""

    def __init__(self, model: DPTI) -> None:
        """Wrap a network in evaluation mode."""
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map `(B, 3, 256, 128)` normalised pixels to `OUTPUTS`."""
        output = self.model(images)
        return tuple(getattr(output, name) for name in OUTPUTS)


def sample(batch: int, seed: int = 0) -> Tensor:
    """Draw `(batch, 3, 256, 128)` float32 pixels: smooth shapes with noise, as pictures have both."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(batch, 3, IMAGE_HEIGHT // 32, IMAGE_WIDTH // 32, generator=generator)
    smooth = nn.functional.interpolate(coarse, size=(IMAGE_HEIGHT, IMAGE_WIDTH), mode="bilinear")
    return smooth + 0.1 * torch.randn(smooth.shape, generator=generator)


def to_onnx(model: DPTI, path: Path) -> None:
    """Write the network to an ONNX file: input `images` `(batch, 3, 256, 128)` float32, outputs `OUTPUTS`.

    Args:
        model: on the CPU, in evaluation mode, in float32.
        path: written over.

    Raises:
        ConfigError: PyTorch's exporter lacks the package `onnx`.
    """
    if importlib.util.find_spec("onnx") is None:
        raise ConfigError("An ONNX file needs the package onnx: pip install onnx.")
    shown = copy.deepcopy(Shown(model)).to(memory_format=torch.contiguous_format).eval()  # `model` stays channels last
    batches = {name: {0: BATCH} for name in (INPUT, *OUTPUTS)}
    with warnings.catch_warnings(), torch.inference_mode():
        # The tracer warns about the shape check. The newer exporter needs one more package.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            shown,
            (sample(2),),
            str(path),
            dynamo=False,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_axes=batches,
            opset_version=OPSET,
        )


def difference(wanted: DescribedBatch, found: DescribedBatch) -> float:
    """Return the largest difference of any output, as a fraction of that output's largest value (of 1 if smaller).

    It is infinite where shapes differ or a value is not a number.
    """
    worst = 0.0
    for name in OUTPUTS:
        a, b = getattr(wanted, name), getattr(found, name)
        if a.shape != b.shape or not np.isfinite(b).all():
            return float("inf")
        if a.size:
            worst = max(worst, float(np.abs(a - b).max()) / max(1.0, float(np.abs(a).max())))
    return worst


def export(model: DPTI, path: Path) -> tuple[str, float]:
    """Write an ONNX file and check it, run by another program, against PyTorch at batches of 1, 3 and 8.

    Args:
        model: as `checkpoint.load_weights` returns it.
        path: of the file; nothing is left there if the check fails.

    Returns:
        The runtime that checked, and the largest `difference`.

    Raises:
        ConfigError: neither ONNX Runtime nor OpenVINO is installed to check with, or `onnx` is missing.
        WeightsError: the graph's answers differ by more than `TOLERANCE`.
    """
    from reid_demo.model import runtimes

    checker = next((name for name in ("onnxruntime", "openvino") if runtimes.is_installed(name)), None)
    if checker is None:
        raise ConfigError("The check of the ONNX file needs OpenVINO or ONNX Runtime: pip install openvino.")
    path.parent.mkdir(parents=True, exist_ok=True)
    unchecked = path.with_name(path.name + ".tmp")
    try:
        to_onnx(model, unchecked)
        run = runtimes.open_onnx(checker, unchecked)
        worst = 0.0
        for batch in (1, 3, 8):
            pixels = sample(batch, seed=batch)
            with torch.inference_mode():
                wanted = DescribedBatch.of(model(pixels))
            worst = max(worst, difference(wanted, run(pixels)))
        if worst > TOLERANCE:
            raise WeightsError(
                f"The graph differs from PyTorch by {worst:.1e}, more than {TOLERANCE:.0e}; nothing was written. "
                f"Try another version of {checker}."
            )
        unchecked.replace(path)
    finally:
        unchecked.unlink(missing_ok=True)
    return checker, worst
