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
from reid_demo.model.export import difference
from reid_demo.search.bundled import DEFAULT_GALLERY, DEFAULT_WEIGHTS
from reid_demo.search.gallery_views import describe_in_views
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


class Watched:
    """A network's output that notes what is read of it."""

    def __init__(self, output, read: list[str]) -> None:
        self._output, self._read = output, read

    def __getattr__(self, name: str):
        self._read.append(name)
        return getattr(self._output, name)


def test_only_what_is_asked_for_leaves_the_device(tiny_describer):
    describer, read = Describer(tiny_describer.model), []
    network = describer._network
    describer._network = lambda pixels: Watched(network(pixels), read)
    image, kept = draw_person(1, 1), ["global_embedding", "part_embeddings", "presence"]
    whole = describer.describe([image])[0]
    assert read == [*kept, "template_attention", "part_attention"]  # never the concatenated descriptor
    read.clear()
    bare = describer.describe([image], maps=False)[0]
    assert read == kept
    assert np.array_equal(bare.parts, whole.parts) and np.array_equal(bare.presence, whole.presence)
    parts = whole.presence.shape[0]
    assert bare.template_attention.shape == bare.part_attention.shape == (parts, 0, 0)


def test_a_gallery_is_described_without_maps(tiny_describer):
    (found,) = describe_in_views(tiny_describer, [draw_person(1, 1)])
    assert found.template_attention.size == found.part_attention.size == 0


def test_a_gpu_is_sent_bytes_and_normalises_them_as_a_cpu_does(tiny_describer):
    elsewhere = copy.copy(tiny_describer)
    elsewhere.device = torch.device("cuda")
    image = np.random.default_rng(0).integers(0, 256, (300, 140, 3), dtype=np.uint8)
    sent, numbers = elsewhere._prepared(image), tiny_describer._prepared(image)
    assert sent.dtype == np.uint8 and sent.shape == (256, 128, 3) and numbers.dtype == np.float32
    described, wanted = (tiny_describer._run_by_torch(torch.from_numpy(one[None])) for one in (sent, numbers))
    assert difference(wanted, described) < 1e-5
