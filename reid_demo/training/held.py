"""The parts that a run must not lose: those of the weights that it starts from."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from reid_demo.model.dpti import DPTI


class HeldParts:
    """The layers on top of the backbone as they are at the start of a run, to hold the parts to (`hold_parts`)."""

    def __init__(self, model: DPTI) -> None:
        """Copy the layers of `model`, on its device."""
        self._layers = copy.deepcopy(model, {id(model.backbone): nn.Identity()}).eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, mid: Tensor, final: Tensor) -> Tensor:
        """Return the parts `(B, P, D)` of a batch by the backbone's maps, as `DPTI.from_maps` takes them."""
        return self._layers.from_maps(mid, final).part_embeddings

    def state_dict(self) -> dict[str, Any]:
        """Return the copied tensors, for a checkpoint."""
        return self._layers.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the tensors of a checkpoint.

        Raises:
            RuntimeError: they do not fit.
        """
        self._layers.load_state_dict(state)
