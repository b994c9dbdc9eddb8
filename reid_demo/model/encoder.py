"""Multi-head attention as data (Eq. 1-4, 7) and the spatial self-attention encoder. No fused kernel hides weights."""

import math

import torch
from torch import Tensor, nn

from reid_demo.config import ModelConfig


def split_heads(tokens: Tensor, num_heads: int) -> Tensor:
    """Split channels by head: `(B, N, D)` to `(B, heads, N, D / heads)`."""
    batch, count, dim = tokens.shape
    return tokens.view(batch, count, num_heads, dim // num_heads).transpose(1, 2)


def join_heads(heads: Tensor) -> Tensor:
    """Undo `split_heads`: `(B, heads, N, D / heads)` to `(B, N, D)`."""
    batch, num_heads, count, width = heads.shape
    return heads.transpose(1, 2).reshape(batch, count, num_heads * width)


def draw_orthogonal(weight: Tensor, gain: float = 1) -> None:
    """Draw an orthogonal matrix into a weight; leave one without storage (on `meta`) as it is."""
    if not weight.is_meta:
        nn.init.orthogonal_(weight, gain)


class Dropout(nn.Dropout):
    """PyTorch's dropout with its chance rounded to 1/65536; three times as fast on a CPU, a tenth of a training step.

    On a CPU, PyTorch draws each number by itself on one core; here one draw of 64 bits serves four values.
    """

    def forward(self, values: Tensor) -> Tensor:
        """Zero each value with the chance `p` and divide the others by what is kept; in evaluation change nothing."""
        if not self.training or self.p == 0 or values.device.type != "cpu":
            return super().forward(values)
        count = values.numel()
        draws = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
        kept = draws[:count].view(values.shape) >= round(self.p * 2**16) - 2**15
        return values * kept.to(values.dtype).mul_(1 / (1 - self.p))  # one product there, one on the way back


class FeedForward(nn.Module):
    """The FFN of Eq. 4, of equal input and output width, with dropout 0.1 (Sec. 4.2)."""

    def __init__(self, config: ModelConfig) -> None:
        """Make two linear layers with a ReLU between them."""
        super().__init__()
        self.expand = nn.Linear(config.dim, config.ffn_dim)
        self.dropout = Dropout(config.ffn_dropout)
        self.contract = nn.Linear(config.ffn_dim, config.dim)
        # Keep the scale of what passes: PyTorch's default shrinks it by three a layer, and with no layer norm
        # (Eq. 4 has none) the attention starts uniform, all parts alike, where Eq. 10 has no gradient.
        draw_orthogonal(self.expand.weight, gain=math.sqrt(2))
        draw_orthogonal(self.contract.weight)
        nn.init.zeros_(self.expand.bias)
        nn.init.zeros_(self.contract.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map `(B, N, D)` to `(B, N, D)`."""
        return self.contract(self.dropout(torch.relu(self.expand(tokens))))


class AttentionBlock(nn.Module):
    """Attention followed by `FFN(g + residual) + g` (Eq. 2-4), for self-attention and for cross-attention."""

    def __init__(self, config: ModelConfig) -> None:
        """Make the projections of Eq. 1 or 7, without bias as the paper writes them."""
        super().__init__()
        self.num_heads = config.num_heads
        self.query = nn.Linear(config.dim, config.dim, bias=False)
        self.key = nn.Linear(config.dim, config.dim, bias=False)
        self.value = nn.Linear(config.dim, config.dim, bias=False)
        self.output = nn.Linear(config.dim, config.dim, bias=False) if config.output_projection else nn.Identity()
        self.norm_in = nn.LayerNorm(config.dim) if config.layer_norm else nn.Identity()
        self.norm_out = nn.LayerNorm(config.dim) if config.layer_norm else nn.Identity()
        self.dropout = Dropout(config.attention_dropout)
        self.ffn = FeedForward(config)
        for layer in (self.query, self.key, self.value):
            draw_orthogonal(layer.weight)

    def forward(self, queries: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Attend from `queries` to `tokens`.

        Args:
            queries: `(B, Q, D)`; also the residual of Eq. 4.
            tokens: `(B, N, D)`, keys and values.

        Returns:
            `(B, Q, D)` outputs, and the attention `(B, Q, N)` averaged over heads, whose rows sum to 1.
        """
        q = split_heads(self.query(queries), self.num_heads)
        k = split_heads(self.key(tokens), self.num_heads)
        v = split_heads(self.value(tokens), self.num_heads)
        weights = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), dim=-1)  # (B, heads, Q, N), Eq. 2
        gathered = self.output(join_heads(self.dropout(weights) @ v))  # Eq. 3
        out = self.ffn(self.norm_in(gathered + queries)) + gathered  # Eq. 4
        return self.norm_out(out), weights.mean(dim=1)


class SpatialEncoder(nn.Module):
    """1x1 reduction to d channels, then one self-attention block over all positions (Sec. 3.3 and 3.4)."""

    def __init__(self, channels: int, config: ModelConfig) -> None:
        """Make the reduction for a map of `channels` channels."""
        super().__init__()
        self.reduce = nn.Conv2d(channels, config.dim, kernel_size=1)
        nn.init.kaiming_normal_(self.reduce.weight, nonlinearity="linear")
        self.norm = nn.BatchNorm2d(config.dim) if config.reduction_norm else nn.Identity()
        self.block = AttentionBlock(config)
        self.position_encoding = config.position_encoding

    def forward(self, feature_map: Tensor) -> Tensor:
        """Map `(B, C, h, w)` to encoded tokens `(B, h w, D)`, row-major."""
        reduced = self.norm(self.reduce(feature_map))
        if self.position_encoding:
            reduced = reduced + sine_positions(*reduced.shape[1:], device=reduced.device).to(reduced.dtype)
        tokens = reduced.flatten(2).transpose(1, 2)
        return self.block(tokens, tokens)[0]


def sine_positions(dim: int, height: int, width: int, device: torch.device) -> Tensor:
    """Return fixed 2-D sine positions `(D, h, w)`; not in the paper, off by default."""
    quarter = dim // 4
    rate = torch.exp(-math.log(10_000.0) * torch.arange(quarter, device=device) / quarter)
    rows = torch.arange(height, device=device)[:, None] * rate  # (h, D/4)
    columns = torch.arange(width, device=device)[:, None] * rate
    by_row = torch.cat([rows.sin(), rows.cos()], 1).T[:, :, None].expand(-1, height, width)
    by_column = torch.cat([columns.sin(), columns.cos()], 1).T[:, None, :].expand(-1, height, width)
    return torch.cat([by_row, by_column])
