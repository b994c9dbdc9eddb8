"""Where training starts from a published Re-ID network: its vectors stay, and the parts begin near them.

The global descriptor is the network's own head. A part begins as a mean of the final map's tokens in the head's own
space, wherever its template looks, and as a small share of the whole descriptor: what is compared at the first step is
what the network is known for, and the parts earn their share in training.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from reid_demo.config import ModelConfig, variant
from reid_demo.errors import WeightsError
from reid_demo.model.dpti import DPTI, build_model
from reid_demo.model.encoder import FeedForward
from reid_demo.model.openvino_ir import Head, load_ir
from reid_demo.model.osnet_lct import OSNetLCTBackbone

PART_SHARE = 0.01  # length of a part's values against those of the tokens; eight parts then weigh about as the global
QUIET = 0.1  # what is left of a feed-forward layer that is to learn from almost nothing


def start_from_ir(model: DPTI, xml: Path) -> dict[str, list[str]]:
    """Load a network in OpenVINO's format into a model with the backbone `osnet_lct`, in place.

    Returns:
        `{"loaded": [...], "missing": [...], "unused": [...]}`, sorted names, as `load_backbone_weights`.

    Raises:
        WeightsError: another backbone or width, or the file is not as `load_ir` wants it.
    """
    if not isinstance(model.backbone, OSNetLCTBackbone):
        raise WeightsError(f"{xml.name!r} fits the backbone osnet_lct alone; the recipe's is {model.config.backbone}.")
    head = load_ir(model.backbone, xml)
    if head.linear.shape[0] != model.config.dim:
        raise WeightsError(f"{xml.name!r} has vectors of {head.linear.shape[0]} numbers; dim is {model.config.dim}.")
    loaded = sorted(f"backbone.{name}" for name in model.backbone.state_dict())
    if model.config.global_pooling == "weighted":
        _take_head(model, head)
        loaded += ["global_pooling"]
    if model.config.parts:
        _start_parts(model, head)
    return {"loaded": loaded, "missing": [], "unused": []}


def published_network(xml: Path) -> DPTI:
    """Return a network in OpenVINO's format by itself, in evaluation mode: the variant G with its own vectors.

    Raises:
        WeightsError: the file is not as `load_ir` wants it.
    """
    model = build_model(variant("G", backbone="osnet_lct", global_pooling="weighted"))
    start_from_ir(model, xml)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def _take_head(model: DPTI, head: Head) -> None:
    pooling = model.global_pooling
    if pooling.weight.shape != head.place_weight.shape:
        raise WeightsError(f"The head weighs {tuple(head.place_weight.shape)}, not {tuple(pooling.weight.shape)}.")
    pooling.weight.copy_(head.place_weight)
    pooling.bias.copy_(head.channel_bias)
    pooling.linear.weight.copy_(head.linear)
    pooling.linear.bias.copy_(head.linear_bias)


@torch.no_grad()
def _start_parts(model: DPTI, head: Head) -> None:
    """Let the final encoder's tokens be the head's linear layer at each place, and parts their mean by attention."""
    encoder = model.final_encoder
    everywhere = head.place_weight.sum(dim=(1, 2))  # (C,): the weight of a channel, whatever the place
    encoder.reduce.weight.copy_((head.linear * everywhere)[:, :, None, None])
    nn.init.zeros_(encoder.reduce.bias)
    nn.init.eye_(encoder.block.value.weight)
    _pass_through(encoder.block.ffn)
    block = model.part_attention.block
    block.value.weight.copy_(PART_SHARE * torch.eye(model.config.dim))
    block.ffn.contract.weight.mul_(QUIET * PART_SHARE)


def start_from_global(model: DPTI, source: DPTI) -> dict[str, list[str]]:
    """Take backbone and global descriptor of a network without parts, in place; the parts start near its descriptor.

    Returns:
        As `start_from_ir`.

    Raises:
        WeightsError: the two are different models beside their parts, or the global descriptor is a plain mean.
    """
    if without_parts(model.config) != network_alone(source.config) or source.config.global_pooling != "weighted":
        raise WeightsError("Parts can start from the variant G of the same model with weighted pooling alone.")
    tensors = source.state_dict()
    model.load_state_dict(tensors, strict=False)
    pooling = source.global_pooling
    _start_parts(model, Head(pooling.weight, pooling.bias, pooling.linear.weight, pooling.linear.bias))
    return {"loaded": sorted(tensors), "missing": [], "unused": []}


def without_parts(config: ModelConfig) -> ModelConfig:
    """Return the configuration of the same backbone and global descriptor alone, the variant G of Table 4."""
    return replace(network_alone(config), templates="none", adaptive_weighting=False)


def network_alone(config: ModelConfig) -> ModelConfig:
    """Return the configuration without `one_view`, which says how a gallery is made and shapes no tensor."""
    return replace(config, one_view=False)


def _pass_through(ffn: FeedForward) -> None:
    """Make a feed-forward layer pass its input through in its first rows; the others stay random and nearly silent."""
    width = ffn.contract.out_features
    if ffn.expand.out_features < 2 * width:
        raise WeightsError(f"ffn_dim must be at least {2 * width} to begin by passing tokens through.")
    identity: Tensor = torch.eye(width)
    ffn.expand.weight[: 2 * width] = torch.cat([identity, -identity])
    ffn.contract.weight.mul_(QUIET)
    ffn.contract.weight[:, : 2 * width] = torch.cat([identity, -identity], 1)
