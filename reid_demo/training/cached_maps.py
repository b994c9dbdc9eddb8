"""A frozen backbone's maps, kept on disk, so that the layers on top of it train without running it again."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from reid_demo.data.loaders import Batch, BatchLoader
from reid_demo.errors import TrainingError
from reid_demo.training.distributed import Team

MAPS_FOLDER = "maps"  # of a run


class CachedMaps:
    """Batches by number, like those of `BatchLoader`; from batch `cached_batches` on they repeat the earlier ones.

    A batch of maps is a file. Maps are rounded to half precision before they are first used, so that a repeated batch
    equals the first one. Each further pass over the batches has an order of its own.
    """

    def __init__(self, loader: BatchLoader, backbone: nn.Module, crew: Team, folder: Path) -> None:
        """Keep what a frozen `backbone` makes of the pictures of `loader`; one file for each batch and process."""
        self.loader, self.backbone, self.crew, self.folder = loader, backbone, crew, folder
        self.count = loader.config.cached_batches

    def batches(self, start: int, size_now: Callable[[int], tuple[int, int]]) -> Iterator[Batch]:
        """Yield batch `start`, `start + 1`, ... without end, with maps in place of pictures.

        Args:
            start: number of the first batch.
            size_now: batch number to picture size `(h, w)`.

        Raises:
            TrainingError: the disk has no room for the maps.
        """
        if start < self.count:
            drawn = self.loader.batches(start, size_now)
            for number, batch in zip(range(start, self.count), drawn, strict=False):
                yield self._keep(number, batch, to_come=self.count - number)
            drawn.close()
        for number in itertools.count(max(start, self.count)):
            again = self.repeated(number)
            yield self._read(again) or self._keep(again, self._drawn_again(again, size_now), to_come=1)

    def repeated(self, number: int) -> int:
        """Return which of the first `cached_batches` batches batch `number` is."""
        turn, place = divmod(number, self.count)
        if not turn:
            return place
        rng = np.random.default_rng((self.loader.config.seed, turn))
        return int(rng.permutation(self.count)[place])

    def remove(self) -> None:
        """Delete the maps; they are made again if a run needs them."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number}_{self.crew.rank}_of_{self.crew.size}.safetensors"

    def _drawn_again(self, number: int, size_now: Callable[[int], tuple[int, int]]) -> Batch:
        return self.loader.load(number, next(self.loader.rows(number)), size_now(number))

    @torch.no_grad()
    def _keep(self, number: int, batch: Batch, to_come: int) -> Batch:
        bfloat16 = self.loader.config.precision == "bfloat16"
        self.backbone.eval()
        with torch.autocast(self.crew.device.type, torch.bfloat16, enabled=bfloat16):
            maps = self.backbone(batch.on(self.crew.device).pixels)
        mid, final = (each.half().cpu().contiguous() for each in maps)
        labels, visible = batch.body or (None, None)
        named = dict(mid=mid, final=final, labels=batch.labels, teacher=batch.teacher, body=labels, visible=visible)
        tensors = {name: tensor for name, tensor in named.items() if tensor is not None}
        self.folder.mkdir(parents=True, exist_ok=True)
        self._check_room(to_come, sum(tensor.nbytes for tensor in tensors.values()))
        path = self._path(number)
        temporary = path.with_suffix(".tmp")
        save_file(tensors, temporary)
        temporary.replace(path)
        return _batch(tensors)

    def _check_room(self, to_come: int, size: int) -> None:
        needed, free = to_come * size * self.crew.size, shutil.disk_usage(self.folder).free
        if needed > free:
            raise TrainingError(
                f"The maps of {to_come} batches need {needed / 1e9:.1f} GB in {self.folder}, which has "
                f"{free / 1e9:.1f} GB; lower cached_batches, or name an --out on another disk."
            )

    def _read(self, number: int) -> Batch | None:
        try:
            return _batch(load_file(self._path(number)))
        except (FileNotFoundError, SafetensorError, KeyError):  # lost or damaged, and soon made again
            return None


def _batch(tensors: dict[str, torch.Tensor]) -> Batch:
    body = (tensors["body"], tensors["visible"]) if "body" in tensors else None
    return Batch(None, tensors["labels"], tensors.get("teacher"), body, maps=(tensors["mid"], tensors["final"]))
