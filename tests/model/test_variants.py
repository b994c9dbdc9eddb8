"""Every row of Table 4 has the right shapes, gradients everywhere, and differs from its neighbours."""

import pytest
import torch

from reid_demo.config import BACKBONES, VARIANTS, ModelConfig, variant
from reid_demo.errors import ConfigError, ShapeError
from reid_demo.model.dpti import build_model
from reid_demo.model.osnet import ChannelGate

SMALL = {"dim": 32, "ffn_dim": 32}


def open_gates(model) -> None:
    """Switch on all hidden units of OSNet's gates: a narrow gate has one, which random weights may switch off."""
    for gate in model.modules():
        if isinstance(gate, ChannelGate):
            torch.nn.init.constant_(gate.fc1.bias, 10.0)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("name", VARIANTS)
def test_shapes_and_gradients(name, backbone):
    torch.manual_seed(0)
    model = build_model(variant(name, backbone=backbone, **SMALL)).train()
    open_gates(model)
    output = model(torch.randn(3, 3, 64, 32))
    parts = 0 if name == "G" else 8
    assert output.global_embedding.shape == (3, 32)
    assert output.part_embeddings.shape == (3, parts, 32)
    assert output.descriptor.shape == (3, (parts + 1) * 32) == (3, model.config.descriptor_dim)
    assert output.template_attention.shape == (3, parts, 4, 2) and output.part_attention.shape == (3, parts, 4, 2)
    if parts:
        torch.testing.assert_close(output.presence.sum(1), torch.ones(3))
        torch.testing.assert_close(output.template_attention.sum((2, 3)), torch.ones(3, 8))
    (output.descriptor * torch.randn_like(output.descriptor)).sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_mid_stage_teaches_all_parameters(backbone, stage):
    torch.manual_seed(0)
    model = build_model(variant("G+D+W", backbone=backbone, mid_stage=stage, **SMALL)).train()
    open_gates(model)
    output = model(torch.randn(2, 3, 64, 32))
    stride = ((8, 16, 16) if backbone.startswith("osnet") else (4, 8, 16))[stage - 1]
    assert output.template_attention.shape == (2, 8, 64 // stride, 32 // stride)
    (output.descriptor * torch.randn_like(output.descriptor)).sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_neighbouring_variants_differ():
    outputs = {}
    for name in VARIANTS:
        torch.manual_seed(0)
        model = build_model(variant(name, **SMALL)).eval()
        torch.manual_seed(1)
        outputs[name] = model(torch.randn(2, 3, 64, 32)).descriptor
    names = list(VARIANTS)
    for one, other in zip(names, names[1:], strict=False):
        assert outputs[one].shape != outputs[other].shape or not torch.allclose(outputs[one], outputs[other])


@pytest.mark.parametrize("name", VARIANTS)
def test_only_grid_and_dynamic_templates_come_from_the_mid_map(name):
    """G and G+T do not use it; the templates of G+P are the means of the mid encoder's output over 4 x 2 cells."""
    torch.manual_seed(0)
    model = build_model(variant(name, **SMALL)).eval()
    images, asked = torch.randn(2, 3, 64, 32), []
    if model.config.parts:
        model.part_attention.register_forward_pre_hook(lambda module, given: asked.append(given[0]))
    before = model(images).descriptor
    mid, final = model.backbone(images)
    model.backbone.forward = lambda images: (mid.flip(0, 2), final)  # another person's mid map, upside down
    assert torch.allclose(model(images).descriptor, before) == (name in ("G", "G+T"))
    if name == "G+P":
        tokens = model.mid_encoder(mid).unflatten(1, mid.shape[2:])  # (B, 4, 2, D): a token a cell
        torch.testing.assert_close(asked[0], tokens.flatten(1, 2))


def test_wrong_input_is_a_clear_error():
    model = build_model(variant("G", **SMALL))
    with pytest.raises(ShapeError, match="multiples of 16"):
        model(torch.randn(1, 3, 60, 32))


@pytest.mark.parametrize(
    "options",
    [
        {"backbone": "vgg"},
        {"templates": "static", "adaptive_weighting": True},
        {"mid_stage": 4},
        {"dim": 30},
        {"num_parts": 0},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError):
        ModelConfig(**options)


def test_parts_do_not_start_alike():
    """At cosine 1 the diversity loss of Eq. 10 has no gradient: parts that start alike stay alike."""
    torch.manual_seed(0)
    model = build_model(ModelConfig()).train()
    with torch.no_grad():
        parts = torch.nn.functional.normalize(model(torch.randn(8, 3, 128, 64)).part_embeddings, dim=-1)
    squared = (parts @ parts.transpose(1, 2)).square()
    assert (squared.sum() - 64) / (8 * 56) < 0.9
