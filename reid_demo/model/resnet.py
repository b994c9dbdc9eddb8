"""ResNet-18 and ResNet-50 (He et al., 2016) with the names, shapes and random starts of torchvision's.

Written out because `import torchvision` also loads PyTorch's compiler: a second and 130 MB of every start. A test
compares the two.
"""

from torch import Tensor, nn


def _conv(channels: int, out: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, out, size, stride, padding=size // 2, bias=False)


class Block(nn.Module):
    """A residual block: two 3x3 convolutions, or as a bottleneck 1x1, 3x3 and 1x1."""

    def __init__(self, channels: int, width: int, stride: int, bottleneck: bool) -> None:
        """Map `channels` to `width`, four times that with a bottleneck; the first 3x3 convolution has the stride."""
        super().__init__()
        out = 4 * width if bottleneck else width
        shortcut = None
        if stride != 1 or channels != out:  # drawn before the block's own, as torchvision does
            shortcut = nn.Sequential(_conv(channels, out, 1, stride), nn.BatchNorm2d(out))
        sizes = (1, 3, 1) if bottleneck else (3, 3)
        strides = (1, stride, 1) if bottleneck else (stride, 1)
        widths = (channels, width, width, out) if bottleneck else (channels, width, out)
        self.depth = len(sizes)
        for i in range(self.depth):
            self.add_module(f"conv{i + 1}", _conv(widths[i], widths[i + 1], sizes[i], strides[i]))
            self.add_module(f"bn{i + 1}", nn.BatchNorm2d(widths[i + 1]))
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, channels, h, w)` to `(B, out, h / stride, w / stride)`."""
        y = x
        for i in range(1, self.depth + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            if i < self.depth:
                y = self.relu(y)
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """The stages, and the classifier of the published files, which nobody here calls."""

    def __init__(self, blocks: tuple[int, int, int, int], bottleneck: bool) -> None:
        """Build `blocks` blocks a stage, with random weights."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = 64
        for stage, count in enumerate(blocks):
            width, made = 64 << stage, []
            for i in range(count):
                made.append(Block(channels, width, 2 if stage and not i else 1, bottleneck))
                channels = 4 * width if bottleneck else width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*made))
        self.fc = nn.Linear(channels, 1000)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def resnet18() -> ResNet:
    """Build a ResNet-18 with random weights."""
    return ResNet((2, 2, 2, 2), bottleneck=False)


def resnet50() -> ResNet:
    """Build a ResNet-50 with random weights."""
    return ResNet((3, 4, 6, 3), bottleneck=True)
