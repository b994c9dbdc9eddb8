"""OSNet (Zhou et al., 2019): blocks of four parallel streams of growing reach, joined by one shared gate."""

import torch
from torch import Tensor, nn

CHANNELS = (64, 256, 384, 512)  # after conv1, conv2, conv3 and conv4, at width 1
BOTTLENECK = 4  # a block works on a quarter of its channels
GATE_REDUCTION = 16
STREAMS = 4  # stream t stacks t light convolutions: it sees (2 t + 1) x (2 t + 1) pixels


class ConvNorm(nn.Module):
    """Convolution and batch norm, then a ReLU unless `linear`."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, linear: bool = False) -> None:
        """Make the layers; padding keeps the size but for the stride."""
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, inputs, h, w)` to `(B, outputs, h / stride, w / stride)`."""
        x = self.bn(self.conv(x))
        return x if self.linear else torch.relu(x)


class LightConv(nn.Module):
    """A 3x3 convolution in two cheap steps: 1x1 across channels, then 3x3 within each."""

    def __init__(self, channels: int) -> None:
        """Make both steps, one batch norm after them."""
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C, h, w)` to the same shape."""
        return torch.relu(self.bn(self.conv2(self.conv1(x))))


class ChannelGate(nn.Module):
    """Weigh the channels of a stream by what the whole image shows in it."""

    def __init__(self, channels: int) -> None:
        """Make the two layers of the gate."""
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // GATE_REDUCTION, 1)
        self.fc2 = nn.Conv2d(channels // GATE_REDUCTION, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C, h, w)` to the same shape."""
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True)))))


class OmniScaleBlock(nn.Module):
    """The residual block: four streams of 1 to 4 light convolutions, summed through one shared gate."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Make the block; module names are those of the published weights."""
        super().__init__()
        width = outputs // BOTTLENECK
        self.conv1 = ConvNorm(inputs, width)
        self.conv2a = LightConv(width)
        for name, depth in zip("bcd", range(2, STREAMS + 1), strict=True):
            setattr(self, f"conv2{name}", nn.Sequential(*(LightConv(width) for _ in range(depth))))
        self.gate = ChannelGate(width)
        self.conv3 = ConvNorm(width, outputs, linear=True)
        self.downsample = ConvNorm(inputs, outputs, linear=True) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, inputs, h, w)` to `(B, outputs, h, w)`."""
        reduced = self.conv1(x)
        streams = (self.conv2a, self.conv2b, self.conv2c, self.conv2d)
        joined = sum(self.gate(stream(reduced)) for stream in streams)
        kept = x if self.downsample is None else self.downsample(x)
        return torch.relu(self.conv3(joined) + kept)


def _stage(inputs: int, outputs: int, *, halve: bool) -> nn.Sequential:
    blocks: list[nn.Module] = [OmniScaleBlock(inputs, outputs), OmniScaleBlock(outputs, outputs)]
    if halve:
        blocks.append(nn.Sequential(ConvNorm(outputs, outputs), nn.AvgPool2d(2)))
    return nn.Sequential(*blocks)


class OSNetBackbone(nn.Module):
    """OSNet without its head: conv2, conv3 and conv4 are the stages l = 1, 2, 3, conv5 gives the final map."""

    STEPS = (("conv1",), ("conv2",), ("conv3",), ("conv4",), ("conv5",))  # the stem, then the stages

    def __init__(self, mid_stage: int, width: float = 1.0) -> None:
        """Build with random weights.

        Args:
            mid_stage: l of Sec. 3.3; the mid map has stride 8 for l = 1 and 16 for l = 2 and 3.
            width: share of the channels, the beta of its paper's Table 4: 1 and 0.25 are built here.
        """
        super().__init__()
        self.mid_stage = mid_stage
        channels = [int(width * count) for count in CHANNELS]
        self.conv1 = ConvNorm(3, channels[0], kernel=7, stride=2)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.conv2 = _stage(channels[0], channels[1], halve=True)
        self.conv3 = _stage(channels[1], channels[2], halve=True)
        self.conv4 = _stage(channels[2], channels[3], halve=False)
        self.conv5 = ConvNorm(channels[3], channels[3])
        self.mid_channels = channels[mid_stage]
        self.final_channels = channels[3]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map `(B, 3, H, W)` to the mid map and the final map `(B, 512 width, H/16, W/16)`."""
        x = self.maxpool(self.conv1(images))
        mid = x
        for stage in (1, 2, 3):
            x = getattr(self, f"conv{stage + 1}")(x)
            if stage == self.mid_stage:
                mid = x
        return mid, self.conv5(x)
