"""ResNet-50-IBN-a (Pan et al., 2018): instance norm for half of the channels, against changes of light."""

import torch
from torch import Tensor, nn

from reid_demo.model.resnet import ResNet, resnet50


class InstanceBatchNorm(nn.Module):
    """Instance norm for the first half of the channels, batch norm for the rest."""

    def __init__(self, channels: int) -> None:
        """Make both norms; their names are those of the published weights."""
        super().__init__()
        self.half = channels // 2
        self.IN = nn.InstanceNorm2d(self.half, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.half)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C, h, w)` to the same shape."""
        return torch.cat([self.IN(x[:, : self.half]), self.BN(x[:, self.half :])], dim=1)


def resnet50_ibn_a() -> ResNet:
    """Build a ResNet-50 with random weights whose blocks in layer1 to layer3 begin with an instance-batch norm.

    Only the first norm of a block changes, and layer4 none: deep features keep what tells people apart.
    All other modules keep torchvision's names.
    """
    resnet = resnet50()
    for stage in (resnet.layer1, resnet.layer2, resnet.layer3):
        for block in stage:
            block.bn1 = InstanceBatchNorm(block.bn1.num_features)
    return resnet
