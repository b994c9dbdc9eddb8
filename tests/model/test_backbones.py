"""Every backbone fulfils one contract; ImageNet files load strictly, or with a list of missing tensors."""

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from reid_demo.config import BACKBONES, ModelConfig
from reid_demo.errors import WeightsError
from reid_demo.model import resnet
from reid_demo.model.backbones import build_backbone, load_backbone_weights
from reid_demo.model.ibn import InstanceBatchNorm
from reid_demo.model.osnet import OmniScaleBlock

STRIDES = dict.fromkeys(("osnet", "osnet_x0_25", "osnet_lct"), (8, 16, 16))  # of l = 1, 2, 3; ResNets have 4, 8, 16
MID_CHANNELS = {
    "resnet18": (64, 128, 256),
    "resnet50": (256, 512, 1024),
    "resnet50_ibn": (256, 512, 1024),
    "osnet": (256, 384, 512),
    "osnet_x0_25": (64, 96, 128),
    "osnet_lct": (256, 384, 512),
}
FINAL_CHANNELS = {"resnet18": 512, "resnet50": 2048, "resnet50_ibn": 2048}
FINAL_CHANNELS |= {"osnet": 512, "osnet_x0_25": 128, "osnet_lct": 512}


@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("name", BACKBONES)
def test_contract(name, stage):
    backbone = build_backbone(ModelConfig(backbone=name, mid_stage=stage)).eval()
    with torch.inference_mode():
        mid, final = backbone(torch.randn(2, 3, 64, 32))
    stride = STRIDES.get(name, (4, 8, 16))[stage - 1]
    assert mid.shape == (2, MID_CHANNELS[name][stage - 1], 64 // stride, 32 // stride)
    assert final.shape == (2, FINAL_CHANNELS[name], 4, 2)
    assert (backbone.mid_channels, backbone.final_channels) == (mid.shape[1], final.shape[1])


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet50_ibn"])
def test_last_stride_is_one(name):
    backbone = build_backbone(ModelConfig(backbone=name))
    assert all(m.stride == (1, 1) for m in backbone.layer4.modules() if isinstance(m, nn.Conv2d))
    assert any(m.stride == (2, 2) for m in backbone.layer3.modules() if isinstance(m, nn.Conv2d))


def test_instance_norm_sees_each_image_alone():
    norm = InstanceBatchNorm(6).eval()
    x = torch.randn(2, 6, 5, 4) * 3 + 7
    out = norm(x)
    for image in range(2):
        for channel in range(3):
            values = x[image, channel]
            wanted = (values - values.mean()) / (values.var(unbiased=False) + 1e-5).sqrt()
            torch.testing.assert_close(out[image, channel], wanted)
    torch.testing.assert_close(out[:, 3:], x[:, 3:] / (1 + 1e-5) ** 0.5)  # fresh running statistics: mean 0, variance 1


def test_ibn_blocks_begin_layers_one_to_three_only():
    backbone = build_backbone(ModelConfig(backbone="resnet50_ibn"))
    for stage, wanted in (("layer1", True), ("layer2", True), ("layer3", True), ("layer4", False)):
        for block in getattr(backbone, stage):
            assert isinstance(block.bn1, InstanceBatchNorm) == wanted
            assert not isinstance(block.bn2, InstanceBatchNorm)


@pytest.mark.parametrize(("name", "published"), [("osnet", 2_193_616), ("osnet_x0_25", 203_568)])
def test_osnet_has_the_published_size(name, published):
    backbone = build_backbone(ModelConfig(backbone=name))
    head = backbone.final_channels * 512 + 512 + 2 * 512  # the published fc and its batch norm
    gates = [m for m in backbone.modules() if type(m).__name__ == "ChannelGate"]
    counted_again = 3 * sum(p.numel() for gate in gates for p in gate.parameters())
    # The paper's repository counts a block's shared gate once for each of its four streams.
    assert sum(p.numel() for p in backbone.parameters()) + head + counted_again == published


def test_an_osnet_block_by_hand():
    torch.manual_seed(0)
    block = OmniScaleBlock(16, 64).eval()
    x = torch.randn(1, 16, 6, 4)
    reduced, total = block.conv1(x), 0
    for depth, stream in enumerate((block.conv2a, block.conv2b, block.conv2c, block.conv2d), start=1):
        layers = [stream] if depth == 1 else list(stream)
        assert len(layers) == depth
        y = reduced
        for layer in layers:
            y = layer.bn(layer.conv2(layer.conv1(y))).clamp(min=0)
        pooled = y.mean((2, 3))
        hidden = (pooled @ block.gate.fc1.weight[:, :, 0, 0].T + block.gate.fc1.bias).clamp(min=0)
        gate = 1 / (1 + torch.exp(-(hidden @ block.gate.fc2.weight[:, :, 0, 0].T + block.gate.fc2.bias)))
        total = total + y * gate[:, :, None, None]
    wanted = (block.conv3.bn(block.conv3.conv(total)) + block.downsample(x)).clamp(min=0)
    torch.testing.assert_close(block(x), wanted)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_torchvision_files_load_strictly(tmp_path, name):
    torch.manual_seed(2)
    published = getattr(torchvision.models, name)().state_dict()  # the names and shapes of its ImageNet files
    torch.save(published, path := tmp_path / f"{name}.pth")
    backbone = build_backbone(ModelConfig(backbone=name))
    done = load_backbone_weights(backbone, path)
    assert done["missing"] == [] and done["unused"] == ["fc.bias", "fc.weight"]
    assert done["loaded"] == sorted(set(published) - {"fc.bias", "fc.weight"})
    assert all(torch.equal(tensor, published[n]) for n, tensor in backbone.state_dict().items())


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_our_resnets_are_torchvisions(name):
    networks = []
    for source in (torchvision.models, resnet):
        torch.manual_seed(3)
        networks.append(getattr(source, name)().eval())
    theirs, ours = (network.state_dict() for network in networks)
    assert list(theirs) == list(ours) and all(torch.equal(theirs[n], ours[n]) for n in ours)
    pictures = torch.randn(2, 3, 64, 32)
    assert torch.equal(networks[0](pictures), _classified(networks[1], pictures))


def _classified(network, x):
    x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        x = stage(x)
    return network.fc(x.mean((2, 3)))


def test_ibn_and_osnet_have_the_names_of_their_published_files():
    ibn = build_backbone(ModelConfig(backbone="resnet50_ibn")).state_dict()
    assert {"layer1.0.bn1.IN.weight", "layer1.0.bn1.BN.running_mean", "layer4.0.bn1.weight"} <= set(ibn)
    wide, narrow = (build_backbone(ModelConfig(backbone=name)).state_dict() for name in ("osnet", "osnet_x0_25"))
    names = {"conv1.conv.weight", "conv2.0.conv2a.conv1.weight", "conv2.0.conv2d.3.bn.weight", "conv2.0.gate.fc1.bias"}
    names |= {"conv2.0.downsample.conv.weight", "conv2.2.0.conv.weight", "conv4.1.conv3.bn.bias", "conv5.bn.weight"}
    assert names <= set(wide) == set(narrow)


def resnet18():
    return build_backbone(ModelConfig(backbone="resnet18"))


@pytest.mark.parametrize("form", ["pth", "safetensors", "data parallel", "whole network"])
def test_a_whole_file_loads(tmp_path, form):
    torch.manual_seed(1)
    state = {**resnet18().state_dict(), "fc.weight": torch.zeros(1000, 512)}
    if form == "safetensors":
        save_file(state, path := tmp_path / "r18.safetensors")
    else:
        prefix = {"data parallel": "module.", "whole network": "backbone."}.get(form, "")
        torch.save({"state_dict": {prefix + n: t for n, t in state.items()}}, path := tmp_path / "r18.pth")
    backbone = resnet18()
    assert not torch.equal(backbone.conv1.weight, state["conv1.weight"])
    done = load_backbone_weights(backbone, path)
    assert done["missing"] == [] and done["unused"] == ["fc.weight"] and len(done["loaded"]) == len(state) - 1
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, state[name])


def test_a_partial_load_lists_what_it_did(tmp_path):
    state = {n: t for n, t in resnet18().state_dict().items() if not n.startswith("layer4")}
    torch.save({**state, "extra": torch.zeros(2)}, path := tmp_path / "part.pth")
    backbone = resnet18()
    before = backbone.layer4[0].conv1.weight.clone()
    with pytest.raises(WeightsError, match=r"lacks \d+ tensors \(first: layer4"):
        load_backbone_weights(backbone, path)
    done = load_backbone_weights(backbone, path, partial=True)
    assert done["loaded"] == sorted(state) and done["unused"] == ["extra"]
    assert done["missing"] and all(n.startswith("layer4") for n in done["missing"])
    assert torch.equal(backbone.layer4[0].conv1.weight, before)
    assert torch.equal(backbone.conv1.weight, state["conv1.weight"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"conv1.weight": torch.zeros(3, 3)}, r"conv1.weight has shape \(3, 3\)"),
        ([1, 2], "not a state dict"),
        ({"conv1.weight": "text"}, "not a state dict"),
    ],
    ids=["shape", "list", "text"],
)
def test_unfit_files_are_refused(tmp_path, content, words):
    torch.save(content, path := tmp_path / "bad.pth")
    with pytest.raises(WeightsError, match=words):
        load_backbone_weights(resnet18(), path, partial=True)


def test_unreadable_files_are_refused(tmp_path):
    (path := tmp_path / "bad.pth").write_bytes(b"oops")
    for wrong in (path, tmp_path / "none.pth"):
        with pytest.raises(WeightsError, match="cannot be read"):
            load_backbone_weights(resnet18(), wrong)
