"""OSNet x1.0 with Linear Context Transforms, as Open Model Zoo's `person-reidentification-retail-0277` has it.

It differs from `osnet` in four ways: an InstanceNorm before the first convolution and one after it, in place of batch
norm; every other batch norm folded into its convolution; and in the second block of a stage a gate that compares the
channels within groups (Ruan et al., 2019, "Linear Context Transform Block"), in place of two 1x1 convolutions. So it
has no batch statistics at all: training and evaluation mode agree. `openvino_ir` reads its published weights.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid_demo.model.osnet import BOTTLENECK, CHANNELS, STREAMS, ChannelGate

CONTEXT_GROUPS = 16  # groups of channels that a context gate normalises
EPSILON = 1e-5


class FoldedConv(nn.Conv2d):
    """A convolution whose bias holds what a batch norm would add; padding keeps the size."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, groups: int = 1) -> None:
        """Make the layer with random weights."""
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, groups=groups)
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.bias)


class LightConv(nn.Module):
    """A 3x3 convolution in two cheap steps: 1x1 across channels, then 3x3 within each, then a ReLU."""

    def __init__(self, channels: int) -> None:
        """Make both steps; the first has no bias, as no norm follows it."""
        super().__init__()
        self.across = nn.Conv2d(channels, channels, 1, bias=False)
        self.within = FoldedConv(channels, channels, 3, groups=channels)
        nn.init.kaiming_normal_(self.across.weight, mode="fan_out", nonlinearity="linear")

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C, h, w)` to the same shape."""
        return torch.relu(self.within(self.across(x)))


class ContextGate(nn.Module):
    """Weigh the channels of a stream by how each stands out among the channels of its group."""

    def __init__(self, channels: int) -> None:
        """Make a weight and a bias for each channel; they start as a gate that is open by half."""
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C, h, w)` to the same shape."""
        # a group norm; OpenVINO has none for maps without places
        groups = x.mean(dim=(2, 3)).unflatten(1, (CONTEXT_GROUPS, -1))
        context = functional.layer_norm(groups, groups.shape[2:], eps=EPSILON).flatten(1)
        return x * torch.sigmoid(context * self.weight + self.bias)[:, :, None, None]


class OmniScaleBlock(nn.Module):
    """The residual block: stream t of 1 to 4 stacks t light convolutions; all are summed through one shared gate."""

    def __init__(self, inputs: int, outputs: int, gate: type[nn.Module]) -> None:
        """Make the block; `gate` is `ChannelGate` or `ContextGate`."""
        super().__init__()
        width = outputs // BOTTLENECK
        self.reduce = FoldedConv(inputs, width)
        self.streams = nn.ModuleList(
            nn.Sequential(*(LightConv(width) for _ in range(depth))) for depth in range(1, STREAMS + 1)
        )
        self.gate = gate(width)
        self.expand = FoldedConv(width, outputs)
        self.shortcut = FoldedConv(inputs, outputs) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, inputs, h, w)` to `(B, outputs, h, w)`."""
        reduced = torch.relu(self.reduce(x))
        joined = sum(self.gate(stream(reduced)) for stream in self.streams)
        return torch.relu(self.expand(joined) + self.shortcut(x))


class Transition(nn.Module):
    """A 1x1 convolution with ReLU, then the mean of 2x2 places."""

    def __init__(self, channels: int) -> None:
        """Make the layer."""
        super().__init__()
        self.conv = FoldedConv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C, h, w)` to `(B, C, h / 2, w / 2)`."""
        return functional.avg_pool2d(torch.relu(self.conv(x)), 2)


class OSNetLCTBackbone(nn.Module):
    """The network without its head: `stage1` to `stage3` are l = 1, 2, 3, `last` gives the final map."""

    STEPS = (("input_norm", "stem", "stem_norm"), ("stage1",), ("stage2",), ("stage3",), ("last",))

    def __init__(self, mid_stage: int) -> None:
        """Build with random weights.

        Args:
            mid_stage: l of Sec. 3.3; the mid map has stride 8 for l = 1 and 16 for l = 2 and 3.
        """
        super().__init__()
        self.mid_stage = mid_stage
        self.input_norm = nn.InstanceNorm2d(3, eps=EPSILON, affine=True)
        self.stem = nn.Conv2d(3, CHANNELS[0], 7, stride=2, padding=3, bias=False)
        self.stem_norm = nn.InstanceNorm2d(CHANNELS[0], eps=EPSILON, affine=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stage1 = _stage(CHANNELS[0], CHANNELS[1], halve=True)
        self.stage2 = _stage(CHANNELS[1], CHANNELS[2], halve=True)
        self.stage3 = _stage(CHANNELS[2], CHANNELS[3], halve=False)
        self.last = FoldedConv(CHANNELS[3], CHANNELS[3])
        self.mid_channels, self.final_channels = CHANNELS[mid_stage], CHANNELS[3]
        nn.init.kaiming_normal_(self.stem.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map `(B, 3, H, W)` to the mid map and the final map `(B, 512, H/16, W/16)`."""
        x = self.maxpool(torch.relu(self.stem_norm(self.stem(self.input_norm(images)))))
        mid = x
        for number, stage in enumerate((self.stage1, self.stage2, self.stage3), 1):
            x = stage(x)
            if number == self.mid_stage:
                mid = x
        return mid, torch.relu(self.last(x))


def _stage(inputs: int, outputs: int, *, halve: bool) -> nn.Sequential:
    blocks = [OmniScaleBlock(inputs, outputs, ChannelGate), OmniScaleBlock(outputs, outputs, ContextGate)]
    return nn.Sequential(*blocks, *([Transition(outputs)] if halve else []))
