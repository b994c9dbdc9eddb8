"""`Describer`: images in, `Descriptor`s out, batched. Page, gallery, command line and evaluation all use it."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.fx.experimental.optimization import fuse

from reid_demo.errors import ConfigError
from reid_demo.images import read_image, to_model_input
from reid_demo.model import zerogpu
from reid_demo.model.dpti import DPTI, DPTIOutput
from reid_demo.records import Descriptor


class Describer:
    """A network on its device. Holds no request state; safe to share between threads."""

    def __init__(
        self, model: DPTI, device: str | torch.device = "cpu", batch_size: int = 32, precision: str = "float32"
    ) -> None:
        """Copy `model` to `device` in its fastest equal form; `model` itself is not changed.

        Args:
            model: the network.
            device: where it runs.
            batch_size: images at once.
            precision: `float32`, or `bfloat16` for the backbone alone: about three decimals, for many images at once.
        """
        self.device = torch.device(device)
        self.model = for_inference(model).to(self.device)
        if precision == "bfloat16":
            self.model.backbone = _InBfloat16(self.model.backbone)
        elif precision != "float32":
            raise ConfigError(f"The precision is float32 or bfloat16, not {precision!r}.")
        self.batch_size = batch_size
        self._batch = zerogpu.on_gpu(self._describe_batch)

    def describe(self, images: Sequence[np.ndarray]) -> list[Descriptor]:
        """Describe `(H, W, 3)` uint8 images of any sizes, in order."""
        return list(self.describe_stream(images))

    def describe_paths(self, paths: Iterable[str | Path]) -> Iterator[Descriptor]:
        """Describe image files one batch at a time, in order."""
        return self.describe_stream(read_image(path) for path in paths)

    def describe_stream(self, images: Iterable[np.ndarray]) -> Iterator[Descriptor]:
        """Describe a stream of images, holding one batch in memory."""
        images = iter(images)
        while batch := list(islice(images, self.batch_size)):
            pixels = torch.from_numpy(np.stack([to_model_input(image) for image in batch]))
            yield from self._batch(pixels)

    def _describe_batch(self, pixels: torch.Tensor) -> list[Descriptor]:
        return to_descriptors(self.forward(pixels))

    @torch.inference_mode()
    def forward(self, pixels: torch.Tensor) -> DPTIOutput:
        """Run the network on `(B, 3, 256, 128)` float32 normalised pixels."""
        return self.model(pixels.to(self.device, memory_format=torch.channels_last))


def for_inference(model: DPTI) -> DPTI:
    """Copy a network for evaluation: batch norm folded into the backbone's convolutions, channels last.

    The outputs are the same to 1e-5 of their size; on a CPU the backbone takes about two thirds of the time.
    """
    copied = copy.deepcopy(model).eval().requires_grad_(False)
    copied.backbone = fuse(copied.backbone)
    return copied.to(memory_format=torch.channels_last)


def bulk_precision(device: torch.device) -> str:
    """Name the precision that describes many images soonest: bfloat16 where a CPU has instructions for it."""
    able = getattr(torch.cpu, "get_capabilities", dict)()
    native = device.type == "cpu" and (able.get("avx512_bf16") or able.get("amx_bf16"))
    return "bfloat16" if native else "float32"


class _InBfloat16(nn.Module):
    """Runs a backbone in bfloat16 on float32 pixels, to float32 maps; what follows it stays float32."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone.to(torch.bfloat16)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(features.float() for features in self.backbone(pixels.bfloat16()))


def to_descriptors(output: DPTIOutput) -> list[Descriptor]:
    """Split a batch into records, on the CPU in float32."""
    parts = torch.cat([output.global_embedding[:, None], output.part_embeddings], dim=1)
    arrays = [
        tensor.float().cpu().numpy()
        for tensor in (parts, output.presence, output.template_attention, output.part_attention)
    ]
    return [Descriptor(*(array[i].copy() for array in arrays)) for i in range(len(arrays[0]))]
