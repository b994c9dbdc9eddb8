"""The whole network of Fig. 1: backbone, encoders, part templates, part attention, descriptor."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reid_demo.config import IMAGE_HEIGHT, IMAGE_WIDTH, ModelConfig
from reid_demo.errors import ShapeError
from reid_demo.model.backbones import build_backbone
from reid_demo.model.encoder import SpatialEncoder
from reid_demo.model.parts import (
    DynamicTemplates,
    PartAttention,
    StaticTemplates,
    grid_templates,
    presence_from_scores,
)


@dataclass
class DPTIOutput:
    """All that the network says of a batch. `P` parts (0 for the variant G), `D` width."""

    global_embedding: Tensor  # (B, D), Sec. 3.4: average of the final encoder's tokens, or by `WeightedPooling`
    part_embeddings: Tensor  # (B, P, D), unweighted f_p,i
    presence: Tensor  # (B, P), rho of Sec. 3.5; uniform where templates are not dynamic
    template_attention: Tensor  # (B, P, h_l, w_l), rows sum to 1; uniform for static templates
    part_attention: Tensor  # (B, P, h, w), rows sum to 1
    descriptor: Tensor  # (B, (P+1) D), concatenated; weighted by Eq. 8 if the model says so; not normalised


class WeightedPooling(nn.Module):
    """Make the global descriptor of the final map itself, by a weight for each channel and place. Not in the paper."""

    def __init__(self, channels: int, dim: int, places: tuple[int, int]) -> None:
        """Start as the plain mean over places, `places` being the map's `(h, w)`, and a random linear layer."""
        super().__init__()
        height, width = places
        self.weight = nn.Parameter(torch.full((channels, height, width), 1 / (height * width)))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.linear = nn.Linear(channels, dim)

    def forward(self, feature_map: Tensor) -> Tensor:
        """Map `(B, C, h, w)` to `(B, D)`.

        Raises:
            ShapeError: a map of other places, so an image of another size.
        """
        if feature_map.shape[1:] != self.weight.shape:
            wanted, came = ((16 * h, 16 * w) for h, w in (self.weight.shape[1:], feature_map.shape[2:]))
            raise ShapeError(f"Weighted pooling knows images of {wanted} alone, not {came}; resize them.")
        return self.linear((feature_map * self.weight).sum(dim=(2, 3)) + self.bias)


class DPTI(nn.Module):
    """Dynamic part template initialisation for person re-identification (Sec. 3)."""

    def __init__(self, backbone: nn.Module, config: ModelConfig) -> None:
        """Assemble the network around a backbone that gives `(mid, final)` maps."""
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.parts_gradient = 1.0  # share of the parts' gradient that reaches the backbone; below 1 only in training
        if config.parts or config.global_pooling == "mean":
            self.final_encoder = SpatialEncoder(backbone.final_channels, config)
        if config.global_pooling == "weighted":
            self.global_pooling = WeightedPooling(
                backbone.final_channels, config.dim, (IMAGE_HEIGHT // 16, IMAGE_WIDTH // 16)
            )
        if config.templates in ("grid", "dynamic"):
            self.mid_encoder = SpatialEncoder(backbone.mid_channels, config)
        if config.templates == "dynamic":
            self.templates = DynamicTemplates(config)
        elif config.templates == "static":
            self.templates = StaticTemplates(config)
        if config.parts:
            self.part_attention = PartAttention(config)

    def forward(self, images: Tensor) -> DPTIOutput:
        """Describe a batch.

        Args:
            images: `(B, 3, H, W)` float, ImageNet-normalised; H and W multiples of 16, 256 x 128 by default.

        Raises:
            ShapeError: another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] % 16 or images.shape[3] % 16:
            raise ShapeError(f"Expected images (B, 3, H, W), H and W multiples of 16, got {tuple(images.shape)}.")
        return self.from_maps(*self.backbone(images))

    def from_maps(self, mid: Tensor, final: Tensor) -> DPTIOutput:
        """Describe a batch by the backbone's maps: mid `(B, C, h', w')` and final `(B, C', h, w)`."""
        batch, (mid_h, mid_w), (h, w) = mid.shape[0], mid.shape[2:], final.shape[2:]
        weighted_pooling = self.config.global_pooling == "weighted"
        parts_mid, parts_final = self._held_back(mid), self._held_back(final)
        tokens = self.final_encoder(parts_final) if self.config.parts or not weighted_pooling else final.new_empty(0)
        global_embedding = self.global_pooling(final) if weighted_pooling else tokens.mean(dim=1)
        if not self.config.parts:
            none = final.new_zeros
            return DPTIOutput(
                global_embedding,
                none(batch, 0, self.config.dim),
                none(batch, 0),
                none(batch, 0, mid_h, mid_w),
                none(batch, 0, h, w),
                global_embedding,
            )
        templates, template_attention, scores = self._make_templates(parts_mid, batch)
        parts, part_attention = self.part_attention(templates, tokens)
        num_parts = parts.shape[1]
        presence = parts.new_full((batch, num_parts), 1 / num_parts)
        if scores is not None:
            presence = presence_from_scores(scores)
        weighted = parts
        if self.config.adaptive_weighting:
            weighted = num_parts * presence[:, :, None] * parts  # Eq. 8
        return DPTIOutput(
            global_embedding,
            parts,
            presence,
            template_attention.reshape(batch, num_parts, mid_h, mid_w),
            part_attention.reshape(batch, num_parts, h, w),
            torch.cat([global_embedding, weighted.flatten(1)], dim=1),
        )

    def _held_back(self, feature_map: Tensor) -> Tensor:
        """Return the map itself, of which only the share `parts_gradient` of a gradient flows back."""
        if self.parts_gradient == 1:
            return feature_map
        return torch.lerp(feature_map.detach(), feature_map, self.parts_gradient)

    def _make_templates(self, mid: Tensor, batch: int) -> tuple[Tensor, Tensor, Tensor | None]:
        height, width = mid.shape[2:]
        if self.config.templates == "static":
            templates = self.templates(batch)
            uniform = mid.new_full((batch, self.config.num_parts, height * width), 1 / (height * width))
            return templates, uniform, None
        tokens = self.mid_encoder(mid)
        if self.config.templates == "grid":
            return *grid_templates(tokens, height, width), None
        return self.templates(tokens)


def build_model(config: ModelConfig) -> DPTI:
    """Build the network that `config` names, with random weights."""
    return DPTI(build_backbone(config), config)
