"""The folded network that describes images equals the trained one up to rounding."""

import copy

import numpy as np
import pytest
import torch
from figures import draw_person

from reid_demo.config import BACKBONES, variant
from reid_demo.errors import ConfigError
from reid_demo.images import read_image
from reid_demo.model.checkpoint import load_weights
from reid_demo.model.describer import Describer, bulk_precision, for_inference
from reid_demo.model.dpti import build_model
from reid_demo.search.bundled import DEFAULT_GALLERY, DEFAULT_WEIGHTS
from reid_demo.search.similarity import unit_vectors


@pytest.mark.parametrize("backbone", BACKBONES)
def test_folding_changes_nothing(backbone):
    torch.manual_seed(0)
    model = build_model(variant("G+D+W", backbone=backbone))
    for module in model.modules():  # statistics as training leaves them, not the fresh 0 and 1
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.BatchNorm1d)):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    images = torch.randn(2, 3, 128, 64)
    before = copy.deepcopy(model.state_dict())
    fast = for_inference(model)
    with torch.inference_mode():
        # The maps, not the descriptor: with random weights the softmaxes after them magnify rounding.
        for wanted, got in zip(model.eval().backbone(images), fast.backbone(images), strict=True):
            assert torch.allclose(got, wanted, atol=1e-5 * float(wanted.abs().max()))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in fast.backbone.modules()) or backbone == "resnet50_ibn"


def test_a_stream_is_described_in_order_whatever_the_batch(tiny_describer):
    images = [draw_person(pid, 1) for pid in range(5)]
    by_two = Describer(tiny_describer.model, batch_size=2).describe(images)
    for image, described in zip(images, by_two, strict=True):
        alone = tiny_describer.describe([image])[0]
        assert np.allclose(alone.parts, described.parts, atol=1e-4 * np.abs(alone.parts).max())
        assert described.parts.dtype == described.presence.dtype == np.float32
        assert described.presence.sum() == pytest.approx(1, abs=1e-5)
        assert np.allclose(described.template_attention.sum((1, 2)), 1, atol=1e-4)
        assert np.allclose(described.part_attention.sum((1, 2)), 1, atol=1e-4)


def test_bfloat16_describes_almost_the_same_in_float32_numbers():
    model = load_weights(DEFAULT_WEIGHTS)
    images = [read_image(path) for path in sorted((DEFAULT_GALLERY / "images").glob("*.jpg"))[:100:25]]
    exact, rough = (Describer(model, precision=name).describe(images) for name in ("float32", "bfloat16"))
    assert any(not np.array_equal(a.parts, b.parts) for a, b in zip(exact, rough, strict=True))
    for a, b in zip(exact, rough, strict=True):
        assert b.parts.dtype == np.float32
        one, other = (unit_vectors(d.parts[None], d.presence[None])[0] for d in (a, b))
        assert one @ other > 0.999
        assert np.allclose(a.presence, b.presence, atol=0.01)
    with pytest.raises(ConfigError, match="float32 or bfloat16, not 'half'"):
        Describer(model, precision="half")


def test_many_images_are_described_in_bfloat16_where_the_processor_has_it(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert bulk_precision(cpu) == "bfloat16"
    assert bulk_precision(torch.device("cuda")) == "float32"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False, "avx2": True}, raising=False)
    assert bulk_precision(cpu) == "float32"
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # an older torch
    assert bulk_precision(cpu) == "float32"
