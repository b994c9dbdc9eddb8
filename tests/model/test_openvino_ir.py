"""The backbone osnet_lct, and reading its weights from OpenVINO's two files; the test writes a small pair."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from network_file import Writer

from reid_demo.config import PIXEL_MEAN, ModelConfig, variant
from reid_demo.errors import ConfigError, ShapeError, WeightsError
from reid_demo.images import read_image, to_model_input
from reid_demo.model import checkpoint, osnet_lct, runtimes
from reid_demo.model.dpti import build_model
from reid_demo.model.openvino_ir import load_ir
from reid_demo.model.osnet import ChannelGate
from reid_demo.model.osnet_lct import ContextGate, OSNetLCTBackbone
from reid_demo.model.start import start_from_ir
from reid_demo.search import bundled
from reid_demo.training.average import average

SMALL = (16, 128, 192, 256)  # channels; as many layers as the real network, and groups of two at least
DIM, PLACES = 32, (16, 8)


@pytest.fixture(autouse=True)
def small_network(request, monkeypatch):
    if "full" not in request.fixturenames:
        monkeypatch.setattr(osnet_lct, "CHANNELS", SMALL)


@pytest.fixture
def full():
    """Keep the network at its real size."""


@pytest.fixture
def source(small_network):
    """Return a backbone whose weights, gates and norms included, are random and exact in half precision."""
    torch.manual_seed(3)
    backbone = OSNetLCTBackbone(3).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter)).copy_(parameter.half().float())
    return backbone.requires_grad_(False)


@pytest.fixture
def head():
    rng = np.random.default_rng(4)
    sizes = {"places": (SMALL[3], *PLACES), "channels": SMALL[3], "linear": (DIM, SMALL[3]), "bias": DIM}
    sizes |= {"scale": DIM, "shift": DIM}
    return {name: (rng.normal(size=size) / 8).astype(np.float16).astype(np.float32) for name, size in sizes.items()}


@pytest.fixture
def network(source, head, tmp_path):
    writer = Writer()
    writer.network(source)
    writer.head(head)
    writer.write(tmp_path / "net.xml")
    return tmp_path / "net.xml"


def test_the_weights_of_a_written_network_come_back_and_give_its_vectors(source, head, network):
    read = OSNetLCTBackbone(3).eval()
    own = load_ir(read, network)
    for name, value in source.state_dict().items():
        torch.testing.assert_close(read.state_dict()[name], value, rtol=0, atol=0, msg=name)
    images = torch.randn(2, 3, 256, 128)
    with torch.inference_mode():
        for ours, theirs in zip(read(images), source(images), strict=True):
            torch.testing.assert_close(ours, theirs)
        final = source(images)[1].numpy()
    # the head by another road: as the file's operations do it, batch norm apart
    sums = np.einsum("bchw,chw->bc", final, head["places"]) + head["channels"]
    wanted = (sums @ head["linear"].T + head["bias"]) * head["scale"] + head["shift"]
    got = np.einsum("bchw,chw->bc", final, own.place_weight.numpy()) + own.channel_bias.numpy()
    np.testing.assert_allclose(got @ own.linear.numpy().T + own.linear_bias.numpy(), wanted, rtol=1e-3, atol=1e-4)


def test_a_model_starts_with_the_vectors_of_the_network(source, head, network):
    config = variant("G+D", backbone="osnet_lct", global_pooling="weighted", dim=DIM, num_heads=4, ffn_dim=128)
    model = build_model(config).eval()
    report = start_from_ir(model, network)
    assert report["missing"] == [] and "global_pooling" in report["loaded"]
    images = torch.randn(2, 3, 256, 128)
    with torch.inference_mode():
        vectors, final = model(images).global_embedding, source(images)[1]
        sums = (final * torch.from_numpy(head["places"])).sum((2, 3)) + torch.from_numpy(head["channels"])
        linear = sums @ torch.from_numpy(head["linear"]).T + torch.from_numpy(head["bias"])
        wanted = linear * torch.from_numpy(head["scale"]) + torch.from_numpy(head["shift"])
    torch.testing.assert_close(vectors, wanted, rtol=1e-3, atol=1e-4)


def test_trained_weights_are_averaged_with_the_network_of_a_file(network, tmp_path):
    config = variant("G+D", backbone="osnet_lct", global_pooling="weighted", dim=DIM, num_heads=4, ffn_dim=128)
    trained = build_model(config)
    checkpoint.save_weights(trained, tmp_path / "trained", half=False)
    start = build_model(config)
    start_from_ir(start, network)
    average(tmp_path / "trained", network, 0.25, tmp_path / "mean")
    before, after = start.state_dict(), trained.state_dict()
    for name, tensor in checkpoint.load_weights(tmp_path / "mean").state_dict().items():
        mixed = name.startswith(("backbone.", "global_pooling."))
        wanted = before[name] + (after[name] - before[name]) / 4 if mixed else after[name]
        torch.testing.assert_close(tensor, wanted, rtol=2e-3, atol=1e-6, msg=name)


def test_other_files_are_refused_by_what_is_wrong_with_them(source, head, network, tmp_path):
    binary = network.with_suffix(".bin")
    data = binary.read_bytes()
    binary.write_bytes(data[:-10])
    with pytest.raises(WeightsError, match=r"net\.bin.*cut short"):
        load_ir(OSNetLCTBackbone(3), network)
    binary.unlink()
    with pytest.raises(WeightsError, match=r"net\.bin.*missing"):
        load_ir(OSNetLCTBackbone(3), network)
    (tmp_path / "text.xml").write_text("no network")
    (tmp_path / "text.bin").write_bytes(b"")
    with pytest.raises(WeightsError, match="not a network"):
        load_ir(OSNetLCTBackbone(3), tmp_path / "text.xml")
    writer = Writer()
    writer.network(source)
    writer.write(tmp_path / "headless.xml")
    with pytest.raises(WeightsError, match="ends before|another network"):
        load_ir(OSNetLCTBackbone(3), tmp_path / "headless.xml")
    writer = Writer()
    writer.add("Subtract", [255 * v for v in PIXEL_MEAN], (1, 3, 1, 1))
    writer.add("Convolution", np.zeros((4, 3, 1, 1)))
    writer.write(tmp_path / "other.xml")
    with pytest.raises(WeightsError, match=r"input\.scale needs Multiply"):
        load_ir(OSNetLCTBackbone(3), tmp_path / "other.xml")


def test_pixels_normalised_otherwise_and_streams_with_gates_of_their_own_are_refused(source, head, tmp_path):
    writer = Writer()
    writer.network(source)
    writer.head(head)
    first, second = writer.data[:6], writer.data[6:]
    writer.data = np.float16([0, 0, 0]).tobytes() + second
    writer.write(tmp_path / "pixels.xml")
    with pytest.raises(WeightsError, match="mean"):
        load_ir(OSNetLCTBackbone(3), tmp_path / "pixels.xml")
    writer.data = first + second
    again = source.stage1[0].gate.fc1.weight.numpy().astype(np.float16).tobytes()
    at = writer.data.rindex(again)
    writer.data = writer.data[:at] + bytes(len(again)) + writer.data[at + len(again) :]
    writer.write(tmp_path / "gates.xml")
    with pytest.raises(WeightsError, match="different gates"):
        load_ir(OSNetLCTBackbone(3), tmp_path / "gates.xml")


def test_a_context_gate_by_hand():
    gate = ContextGate(32)
    with torch.no_grad():
        gate.weight.normal_()
        gate.bias.normal_()
    x = torch.randn(2, 32, 3, 2)
    for image in range(2):
        means = [x[image, channel].mean().item() for channel in range(32)]
        for group in range(16):
            a, b = means[2 * group], means[2 * group + 1]
            middle = (a + b) / 2
            spread = (((a - middle) ** 2 + (b - middle) ** 2) / 2 + 1e-5) ** 0.5
            for channel, value in ((2 * group, a), (2 * group + 1, b)):
                open_by = (value - middle) / spread * gate.weight[channel] + gate.bias[channel]
                wanted = x[image, channel] * torch.sigmoid(open_by)
                torch.testing.assert_close(gate(x)[image, channel], wanted, rtol=1e-4, atol=1e-5)


def test_weighted_pooling_begins_as_the_mean_and_refuses_other_sizes():
    config = variant("G", backbone="osnet_lct", global_pooling="weighted", dim=DIM, num_heads=4)
    model = build_model(config).eval()
    images = torch.randn(2, 3, 256, 128)
    with torch.inference_mode():
        final = model.backbone(images)[1]
        wanted = model.global_pooling.linear(final.mean(dim=(2, 3)))
        torch.testing.assert_close(model(images).global_embedding, wanted, rtol=1e-4, atol=1e-5)
        with pytest.raises(ShapeError, match=r"\(256, 128\) alone, not \(128, 64\)"):
            model(images[:, :, :128, :64])
    with pytest.raises(ConfigError, match="Unknown pooling"):
        ModelConfig(global_pooling="largest")


def test_openvino_gives_the_same_vectors(full):
    named = os.environ.get("REID_DEMO_IR")
    if not named:
        pytest.skip("REID_DEMO_IR does not name the file person-reidentification-retail-0277.xml")
    pytest.importorskip("openvino", reason="openvino is not installed")
    model = build_model(variant("G", backbone="osnet_lct", global_pooling="weighted")).eval()
    start_from_ir(model, Path(named))
    theirs = runtimes.openvino_core().compile_model(named, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for path in sorted((bundled.DEFAULT_GALLERY / "images").glob("*.jpg"))[:6]:
        image = read_image(path)
        pixels = image[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32)
        wanted = theirs(pixels)[0].ravel()
        with torch.inference_mode():
            vector = model(torch.from_numpy(to_model_input(image))[None]).global_embedding[0].numpy()
        assert vector @ wanted / np.linalg.norm(vector) / np.linalg.norm(wanted) > 0.999


@pytest.mark.parametrize("name", ["G", "G+D"])
def test_every_parameter_learns_with_weighted_pooling(name):
    config = variant(name, backbone="osnet_lct", global_pooling="weighted", dim=DIM, num_heads=4, ffn_dim=64)
    model = build_model(config).train()
    for gate in model.modules():
        if isinstance(gate, ChannelGate):  # random weights may switch all of its few hidden units off
            torch.nn.init.constant_(gate.fc1.bias, 10.0)
    output = model(torch.randn(2, 3, 256, 128))
    weights = torch.randn_like(output.descriptor)
    loss = (output.descriptor * weights).sum() + output.presence[:, :1].pow(2).sum()
    loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []
