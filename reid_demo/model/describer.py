"""`Describer`: images in, `Descriptor`s out, batched. Page, gallery, command line and evaluation all use it."""

import copy
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import fx, nn
from torch.fx.experimental.optimization import fuse

from reid_demo.config import IMAGE_HEIGHT, IMAGE_WIDTH
from reid_demo.errors import ConfigError
from reid_demo.images import normalised, resized, to_model_input
from reid_demo.model import runtimes, zerogpu
from reid_demo.model.dpti import DPTI
from reid_demo.model.export import DescribedBatch
from reid_demo.model.turns import Turns
from reid_demo.records import Descriptor

PRECISIONS = ("float32", "bfloat16")
_tracing = threading.Lock()  # two tracers would put back each other's changes to PyTorch's modules
STEP = 8  # images a turn where visitors share a CPU: about a quarter of a second


class Describer:
    """A network on its device. Holds no request state; safe to share between threads."""

    def __init__(
        self,
        model: DPTI,
        device: str | torch.device = "cpu",
        batch_size: int = 32,
        precision: str = "float32",
        runtime: str = runtimes.TORCH,
    ) -> None:
        """Copy `model` to `device` in its fastest equal form; `model` itself is not changed.

        Args:
            model: the network.
            device: where it runs.
            batch_size: images at once.
            precision: `float32`, or `bfloat16` for the backbone (by OpenVINO for all): about three decimals, for
                many images at once.
            runtime: what runs it on a CPU, of `runtimes.RUNTIMES`; `auto` for the fastest one here.

        Raises:
            ConfigError: no such precision or runtime, or the runtime is not installed or lacks that precision.
        """
        if precision not in PRECISIONS:
            raise ConfigError(f"The precision is float32 or bfloat16, not {precision!r}.")
        self.device = torch.device(device)
        self.model = for_inference(model).to(self.device)
        self.batch_size, self.precision = batch_size, precision
        asked = self._asked_runtime = runtimes.named(runtime, self.device)
        self._network = self.model
        if precision == "bfloat16" and asked in (runtimes.TORCH, runtimes.AUTO):
            self._network = copy.deepcopy(self.model)
            self._network.backbone = _InBfloat16(self._network.backbone)
        self.runtime, self._run = runtimes.prepare(asked, self.model, self._run_by_torch, precision)
        self._batch = zerogpu.on_gpu(self._describe_batch)
        self.turns = Turns()

    @property
    def runs_by(self) -> str:
        """What runs the network, for people: runtime, version and precision."""
        return f"{self.runtime} {runtimes.version(self.runtime)}, {self.precision}"

    def describe(self, images: Sequence[np.ndarray], *, maps: bool = True) -> list[Descriptor]:
        """Describe `(H, W, 3)` uint8 images of any sizes, in order; arguments as for `describe_stream`."""
        return list(self.describe_stream(images, maps=maps))

    def describe_stream(self, images: Iterable[np.ndarray], *, maps: bool = True) -> Iterator[Descriptor]:
        """Describe a stream of images, holding one batch in memory; others have their turn after each batch.

        Args:
            images: `(H, W, 3)` uint8, of any sizes.
            maps: whether attention maps are wanted. Without, they are not copied from where the network runs, and
                are `(P, 0, 0)` unless the batch was shared with somebody who wants them.
        """
        images = iter(images)
        while batch := list(islice(images, self.batch_size)):
            yield from self.turns.ask(self._describe_inputs, [_Input(self._prepared(image), maps) for image in batch])

    def for_many(self) -> "Describer":
        """Return a describer for many images, as `index` uses: same network and runtime, at `bulk_precision`."""
        precision = bulk_precision(self.device, self._asked_runtime)
        return Describer(self.model, self.device, precision=precision, runtime=self._asked_runtime)

    def share(self) -> None:
        """Serve several visitors from now on: batches on a CPU become small, so that nobody waits long for a turn."""
        if self.device.type == "cpu":
            self.batch_size = min(self.batch_size, STEP)

    def _prepared(self, image: np.ndarray) -> np.ndarray:
        """Resize an image; normalise it here for a CPU. A GPU is sent the bytes, a quarter of the numbers' size."""
        return to_model_input(image) if self.device.type == "cpu" else resized(image, IMAGE_HEIGHT, IMAGE_WIDTH)

    def _describe_inputs(self, inputs: "list[_Input]") -> list[Descriptor]:
        pixels = torch.from_numpy(np.stack([one.pixels for one in inputs]))
        return self._batch(pixels, any(one.maps for one in inputs))

    def _describe_batch(self, pixels: torch.Tensor, maps: bool) -> list[Descriptor]:
        return to_descriptors(self._run(pixels, maps))

    @torch.inference_mode()
    def _run_by_torch(self, pixels: torch.Tensor, maps: bool = True) -> DescribedBatch:
        pixels = pixels.to(self.device)
        pixels = normalised(pixels) if pixels.dtype == torch.uint8 else pixels
        return DescribedBatch.of(self._network(pixels.to(memory_format=torch.channels_last)), maps)


@dataclass(frozen=True, eq=False)
class _Input:
    """One image that waits for the network."""

    pixels: np.ndarray  # (3, 256, 128) float32, normalised, or (256, 128, 3) uint8
    maps: bool  # whether attention maps are wanted


def for_inference(model: DPTI) -> DPTI:
    """Copy a network for evaluation: batch norm folded into the backbone's convolutions, channels last.

    The outputs are the same to 1e-5 of their size; on a CPU the backbone takes about two thirds of the time.
    """
    copied = copy.deepcopy(model).eval().requires_grad_(False)
    copied.backbone = fuse(_traced(copied.backbone), no_trace=True)
    return copied.to(memory_format=torch.channels_last)


def _traced(model: nn.Module) -> fx.GraphModule:
    with _tracing:
        return fx.GraphModule(model, _OwnTracer().trace(model))


class _OwnTracer(fx.Tracer):
    """Follows the modules that its own thread calls. PyTorch's would follow those that run in other threads as well."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(self, m: nn.Module, forward: Callable, args: tuple, kwargs: dict) -> object:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)


def bulk_precision(device: torch.device, runtime: str | None = None) -> str:
    """Return the precision for many images: bfloat16 where a CPU has instructions for it and the runtime uses them.

    Args:
        device: where the network runs.
        runtime: as an option names it; None: `REID_DEMO_RUNTIME`, or the fastest.
    """
    if runtimes.named(runtime, device) == runtimes.ONNXRUNTIME:
        return "float32"
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


def to_descriptors(batch: DescribedBatch) -> list[Descriptor]:
    """Split a batch of `B` images into `B` records that share no memory."""
    parts = np.concatenate([batch.global_embedding[:, None], batch.part_embeddings], axis=1)
    arrays = (parts, batch.presence, batch.template_attention, batch.part_attention)
    return [Descriptor(*(array[i].copy() for array in arrays)) for i in range(len(parts))]
