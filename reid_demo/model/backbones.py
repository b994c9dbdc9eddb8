"""Backbones with one contract: an image gives the map of stage l and the final map, last stride 1 (Sec. 3.2)."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from reid_demo.config import ModelConfig
from reid_demo.errors import ConfigError, WeightsError
from reid_demo.model.ibn import resnet50_ibn_a
from reid_demo.model.osnet import OSNetBackbone
from reid_demo.model.osnet_lct import OSNetLCTBackbone
from reid_demo.model.resnet import resnet18, resnet50

OSNET_WIDTHS = {"osnet": 1.0, "osnet_x0_25": 0.25}


class ResNetBackbone(nn.Module):
    """A torchvision-named ResNet without its classifier; the last stage keeps stride 1."""

    STEPS = (("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",))  # the stem, then the stages

    def __init__(self, resnet: nn.Module, mid_stage: int) -> None:
        """Take the stages of `resnet`, and set the last stage's stride to 1."""
        super().__init__()
        self.mid_stage = mid_stage
        self.conv1, self.bn1, self.relu, self.maxpool = resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4
        for module in self.layer4.modules():
            if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
                module.stride = (1, 1)
        self.mid_channels = _out_channels(getattr(self, f"layer{mid_stage}"))
        self.final_channels = _out_channels(self.layer4)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map `(B, 3, H, W)` to the mid map (stride 4, 8, 16 at l = 1, 2, 3) and final map `(B, C, H/16, W/16)`."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        mid = x
        for stage in (1, 2, 3):
            x = getattr(self, f"layer{stage}")(x)
            if stage == self.mid_stage:
                mid = x
        return mid, self.layer4(x)


def _out_channels(stage: nn.Sequential) -> int:
    return [m for m in stage[-1].modules() if isinstance(m, nn.Conv2d)][-1].out_channels


def build_backbone(config: ModelConfig) -> nn.Module:
    """Build the backbone that `config.backbone` names, with random weights."""
    resnets = {"resnet18": resnet18, "resnet50": resnet50, "resnet50_ibn": resnet50_ibn_a}
    if config.backbone in resnets:
        return ResNetBackbone(resnets[config.backbone](), config.mid_stage)
    if config.backbone in OSNET_WIDTHS:
        return OSNetBackbone(config.mid_stage, OSNET_WIDTHS[config.backbone])
    if config.backbone == "osnet_lct":
        return OSNetLCTBackbone(config.mid_stage)
    raise ConfigError(f"Unknown backbone {config.backbone!r}.")


def load_backbone_weights(backbone: nn.Module, path: str | Path, *, partial: bool = False) -> dict[str, list[str]]:
    """Load ImageNet weights by torchvision's names (for IBN and OSNet, by those of their published files).

    Args:
        backbone: as `build_backbone` returns it.
        path: A `.pt`/`.pth` state dict (read with `weights_only=True`) or `.safetensors`; from a `model.safetensors`
            of this project, the backbone alone is read.
        partial: Accept a file that lacks some tensors; they keep their random start.

    Returns:
        `{"loaded": [...], "missing": [...], "unused": [...]}`, sorted names.

    Raises:
        WeightsError: unreadable, a shape differs, or tensors are missing and `partial` is false.
    """
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(f"The backbone weights {path.name!r} cannot be read: {error}") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path.name!r} is not a state dict: expected tensors by name.")
    # As DataParallel and as a whole network of ours name them.
    state = {name.removeprefix("module.").removeprefix("backbone."): value for name, value in state.items()}
    own = backbone.state_dict()
    loaded = sorted(name for name in state if name in own)
    for name in loaded:
        if state[name].shape != own[name].shape:
            raise WeightsError(
                f"{path.name!r}: {name} has shape {tuple(state[name].shape)}, "
                f"this backbone needs {tuple(own[name].shape)}."
            )
    missing = sorted(n for n in own if n not in state and not n.endswith("num_batches_tracked"))
    if missing and not partial:
        raise WeightsError(
            f"{path.name!r} lacks {len(missing)} tensors (first: {missing[0]}). "
            "Use the whole file, or allow a partial load: --partial-init."
        )
    backbone.load_state_dict({**own, **{name: state[name] for name in loaded}})
    return {"loaded": loaded, "missing": missing, "unused": sorted(n for n in state if n not in own)}
