"""The paper's three ideas side by side: dynamic part templates, part attention, adaptive part weights."""

import torch
from torch import Tensor, nn

from reid_demo.config import ModelConfig
from reid_demo.errors import ShapeError
from reid_demo.model.encoder import AttentionBlock, Dropout, draw_orthogonal, join_heads, split_heads

GRID_ROWS, GRID_COLUMNS = 4, 2  # the partition of the variant G+P (Sec. 4.4)


class DynamicTemplates(nn.Module):
    """Part templates made from the image itself (Sec. 3.3): learnt part queries gather the mid-level tokens."""

    def __init__(self, config: ModelConfig) -> None:
        """Make P learnt part queries `q_t` and the value projection `W_tv`."""
        super().__init__()
        self.num_heads = config.num_heads
        # Unit variance, as tokens have: Eq. 5 then tells positions apart from the first step on.
        self.queries = nn.Parameter(torch.randn(config.num_parts, config.dim))
        self.value = nn.Linear(config.dim, config.dim, bias=False)
        draw_orthogonal(self.value.weight)
        self.dropout = Dropout(config.attention_dropout)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Make the templates of each image (Eq. 5, 6).

        Args:
            tokens: `(B, N, D)` encoded mid-level tokens `A_l`.

        Returns:
            Templates `(B, P, D)`; attention `(B, P, N)` averaged over heads, rows sum to 1; and the signed
            scores gamma `(B, heads, P, N)` of Eq. 5 before their softmax.
        """
        keys = split_heads(tokens, self.num_heads)  # (B, heads, N, D/heads): A_l itself, no key projection
        queries = split_heads(self.queries[None], self.num_heads)  # (1, heads, P, D/heads)
        scores = queries @ keys.transpose(-2, -1)  # (B, heads, P, N), Eq. 5
        weights = torch.softmax(scores, dim=-1)
        values = split_heads(self.value(tokens), self.num_heads)
        templates = join_heads(self.dropout(weights) @ values)  # Eq. 6
        return templates, weights.mean(dim=1), scores


class StaticTemplates(nn.Module):
    """Templates that are the same for every image: the variant G+T of Sec. 4.4."""

    def __init__(self, config: ModelConfig) -> None:
        """Make P learnt vectors of width d."""
        super().__init__()
        self.templates = nn.Parameter(torch.randn(config.num_parts, config.dim))

    def forward(self, batch: int) -> Tensor:
        """Repeat the templates for each image: `(B, P, D)`."""
        return self.templates.expand(batch, -1, -1)


def grid_templates(tokens: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Average the mid-level tokens over a fixed grid of 4 rows by 2 columns: the variant G+P of Sec. 4.4.

    Args:
        tokens: `(B, h w, D)`.
        height: h, at least 4.
        width: w, at least 2.

    Returns:
        Templates `(B, 8, D)`, row-major, and the averaging weights as attention `(B, 8, h w)`.
    """
    if height < GRID_ROWS or width < GRID_COLUMNS:
        raise ShapeError(f"A map of {height} x {width} cannot be cut into {GRID_ROWS} x {GRID_COLUMNS} cells.")
    rows = torch.arange(height, device=tokens.device) * GRID_ROWS // height
    columns = torch.arange(width, device=tokens.device) * GRID_COLUMNS // width
    cell = (rows[:, None] * GRID_COLUMNS + columns).flatten()  # (h w,)
    member = torch.nn.functional.one_hot(cell, GRID_ROWS * GRID_COLUMNS).T.to(tokens.dtype)  # (8, h w)
    weights = (member / member.sum(dim=1, keepdim=True)).expand(tokens.shape[0], -1, -1)
    return weights @ tokens, weights


class PartAttention(nn.Module):
    """Cross-attention of templates to the final map's tokens (Sec. 3.4, Eq. 7 and 2-4)."""

    def __init__(self, config: ModelConfig) -> None:
        """Make the cross-attention block."""
        super().__init__()
        self.block = AttentionBlock(config)
        self.norm = nn.BatchNorm1d(config.dim) if config.template_norm else None

    def forward(self, templates: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Gather each part: templates `(B, P, D)`, tokens `(B, N, D)` to parts `(B, P, D)`, attention `(B, P, N)`."""
        if self.norm is not None:
            templates = self.norm(templates.flatten(0, 1)).view_as(templates)
        return self.block(templates, tokens)


def presence_from_scores(scores: Tensor) -> Tensor:
    """Return rho of Sec. 3.5: the softmax over parts of the mean raw score.

    The mean is taken before the softmax over positions; after it every mean is 1 / (h w) and rho is constant.

    Args:
        scores: `(B, heads, P, N)` gamma of Eq. 5.

    Returns:
        `(B, P)`, rows sum to 1.
    """
    return torch.softmax(scores.mean(dim=(1, 3)), dim=-1)
