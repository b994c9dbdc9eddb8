"""One run over several processes, as `torchrun` starts them: of `train`, or of `index`. A single one needs none of it.

In training, every process takes whole identities of a batch and runs the network on them; the objective then sees the
gathered outputs of the whole batch in every process. Triplets, the neck's batch norm and the loss are so those of one
process with the same batch. Batch norm inside the network is over the whole batch on GPUs (`SyncBatchNorm`), and over
each process's own share on CPUs, where PyTorch has no such layer.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather
from torch.nn.parallel import DistributedDataParallel

from reid_demo.data.loaders import Inputs
from reid_demo.errors import TrainingError
from reid_demo.model.checkpoint import choose_device
from reid_demo.model.describer import Describer
from reid_demo.model.dpti import DPTIOutput
from reid_demo.records import Descriptor
from reid_demo.search.gallery_views import VIEWS, describe_in_views
from reid_demo.training.losses import Objective
from reid_demo.training.teacher import blended, from_clear

PATIENCE = timedelta(days=7)  # the others wait while the first process reads what it knows


@dataclasses.dataclass(frozen=True)
class Team:
    """The processes of a run; `rank` 0 alone writes files."""

    device: torch.device
    rank: int = 0
    size: int = 1

    def agree(self, value: float) -> float:
        """Return the first process's value in all of them."""
        if self.size == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(shared, 0)
        return shared.item()

    def collect(self, value: Any) -> list[Any]:
        """Return the values of all processes, in the order of their ranks."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def gather(self, tensor: Tensor) -> Tensor:
        """Join `(B, ...)` of every process to `(size B, ...)`, in the order of ranks; gradients flow back to each."""
        if self.size == 1 or not tensor.numel():
            return tensor if self.size == 1 else tensor.repeat(self.size, *[1] * (tensor.ndim - 1))
        if tensor.requires_grad:
            return torch.cat(all_gather(tensor.contiguous()))
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)


@contextmanager
def team(device: str | None = None, *, objects: bool = False) -> Iterator[Team]:
    """Join the processes that `torchrun` started with this one; alone, it is a team of one.

    Args:
        device: as `checkpoint.choose_device`; a GPU becomes the one of this process's number on its machine.
        objects: they exchange Python objects alone, at any distance in time.

    Raises:
        TrainingError: more processes than GPUs on a machine, or they cannot find each other.
    """
    place = choose_device(device)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team(place)
        return
    if place.type == "cuda":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise TrainingError(
                f"There are {torch.cuda.device_count()} GPUs here; start torchrun with no more processes than that."
            )
        place = torch.device("cuda", local)
        torch.cuda.set_device(place)
    try:
        if objects:
            dist.init_process_group("gloo", timeout=PATIENCE)
        else:
            dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    except (ValueError, RuntimeError) as error:
        raise TrainingError(f"The processes cannot join; start them with torchrun ({error}).") from error
    try:
        yield Team(place, dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


class Helpers:
    """The processes of a team as they describe batches for the first of them, a batch each at a time."""

    def __init__(self, crew: Team, describer: Describer, views: Sequence[str] = VIEWS) -> None:
        """Take this process's own describer, and the views of a gallery; all have the same."""
        self.size, self._describer, self._views = crew.size, describer, views

    def describe(self, batches: Sequence[Sequence[np.ndarray]]) -> list[list[Descriptor]]:
        """Describe at most `size` batches of images, in the first process; the descriptors have no attention maps."""
        own = self._exchange([*batches, *[()] * (self.size - len(batches))])
        found = [None] * self.size
        dist.gather_object(self._describe(own), found)
        return found[: len(batches)]

    def serve(self) -> None:
        """Worker loop: describe batches from rank 0 until it sends None."""
        while (batch := self._exchange(None)) is not None:
            dist.gather_object(self._describe(batch))

    def dismiss(self) -> None:
        """Stop the other processes, from the first one."""
        with suppress(RuntimeError):  # one is gone already
            self._exchange([None] * self.size)

    @staticmethod
    def _exchange(batches: list | None) -> Sequence[np.ndarray] | None:
        own = [None]
        dist.scatter_object_list(own, batches)
        return own[0]

    def _describe(self, batch: Sequence[np.ndarray]) -> list[Descriptor]:
        found = describe_in_views(self._describer, batch, self._views)
        return [dataclasses.replace(d, template_attention=None, part_attention=None) for d in found]


class WholeBatch(nn.Module):
    """A network and its objective as one module, whose terms are those of the whole batch."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        crew: Team,
        teacher: Callable[[Tensor], Tensor] | None = None,
        held: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        """Join them.

        Args:
            model: the network.
            objective: its loss terms, always in float32. Its recipe says the network's precision and what to blend.
            crew: the processes.
            teacher: as `LiveTeacher`; needs batches with `before`.
            held: as `HeldParts`.
        """
        super().__init__()
        self.teacher, self.blend, self.held = teacher, objective.config.blend, held
        self.model, self.objective = model, objective
        self.bfloat16, self.crew = objective.config.precision == "bfloat16", crew

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return the objective's terms for this process's share of a batch."""
        people = inputs.labels
        if self.blend:
            inputs, people = blended(inputs, self.blend)
        labels, teacher, body = inputs.labels, inputs.teacher, inputs.body
        with torch.autocast(self.crew.device.type, torch.bfloat16, enabled=self.bfloat16):
            maps = inputs.maps
            if maps is None and self.held is not None:  # one pass through the backbone, which is frozen, serves both
                maps = self.model.backbone(inputs.pixels)
            output: DPTIOutput = self.model(inputs.pixels) if maps is None else self.model.from_maps(*maps)
            held = None if self.held is None else self.held(*maps).float()
        clear = None
        if self.teacher is not None:
            before, clear = inputs.before
            teacher = self.teacher(before)
        if self.crew.size > 1:
            tensors = (getattr(output, field.name).float() for field in dataclasses.fields(output))
            output = DPTIOutput(*map(self.crew.gather, tensors))
            labels, people = self.crew.gather(labels), self.crew.gather(people)
            alone = -1 - torch.arange(len(people), device=people.device)
            people = torch.where(people < 0, alone, people)  # each process has numbered its blended pictures alike
            teacher = None if teacher is None else self.crew.gather(teacher)
            clear = None if clear is None else self.crew.gather(clear)
            body = body and tuple(self.crew.gather(tensor) for tensor in body)
            held = None if held is None else self.crew.gather(held)
        if clear is not None:
            teacher = from_clear(teacher, people, clear)
        return self.objective(output, labels, teacher, body, held)


def spread(module: WholeBatch) -> nn.Module:
    """Wrap the module as the team trains it: itself alone, or within `DistributedDataParallel`.

    The parameters stay those of `module`. The gathered loss is the same in every process, so that the mean which
    `DistributedDataParallel` takes of the gradients is the gradient of that loss.
    """
    if module.crew.size == 1:
        return module
    gpu = module.crew.device.type == "cuda"
    return DistributedDataParallel(module, device_ids=[module.crew.device] if gpu else None)
