"""Read the published weights of `osnet_lct` from the two files of OpenVINO's format, without OpenVINO.

`NAME.xml` lists the operations in the order in which they run, `NAME.bin` holds their constants. The reader takes
every floating-point constant with the operation that uses it, and expects the operations of `OSNetLCTBackbone` and of
its head, in their order and with their shapes: another network is refused with the first operation that differs.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from reid_demo.config import PIXEL_MEAN, PIXEL_STD
from reid_demo.errors import WeightsError
from reid_demo.model.osnet import ChannelGate
from reid_demo.model.osnet_lct import FoldedConv, OmniScaleBlock, OSNetLCTBackbone

FLOATS = {"f16": np.float16, "f32": np.float32}
INPUT_TOLERANCE = 0.01  # relative; half precision and another rounding of the same constants


@dataclass(frozen=True, eq=False)
class Weighted:
    """One operation of the file that has a floating-point constant."""

    kind: str  # "Convolution", "Add", ...
    name: str  # as the file names it
    value: np.ndarray  # float32


@dataclass(frozen=True, eq=False)
class Head:
    """How the network makes one vector of its final map `(B, C, h, w)`."""

    place_weight: Tensor  # (C, h, w)
    channel_bias: Tensor  # (C,), added after the sum over places
    linear: Tensor  # (T, C), with the batch norm that follows folded in
    linear_bias: Tensor  # (T,)


@dataclass(frozen=True)
class Wanted:
    """An operation that the network needs: what it is called here, what the file must hold."""

    name: str
    kind: str
    shape: tuple[int, ...]


def read_operations(xml: Path) -> list[Weighted]:
    """Read the operations that have a floating-point constant, in the order of the file.

    Raises:
        WeightsError: a file is missing, is not of this format, or is cut short.
    """
    binary = xml.with_suffix(".bin")
    for path in (xml, binary):
        if not path.is_file():
            raise WeightsError(f"The network {xml.name!r} needs the file {path.name!r} beside it, which is missing.")
    try:
        root = ElementTree.fromstring(xml.read_bytes())
        layers = root.find("layers")
        edges = {(int(e.get("to-layer")), int(e.get("to-port"))): int(e.get("from-layer")) for e in root.find("edges")}
        return list(_weighted(layers, edges, binary.read_bytes(), binary.name))
    except (ElementTree.ParseError, TypeError, AttributeError, KeyError, ValueError) as error:
        raise WeightsError(f"{xml.name!r} is not a network in OpenVINO's format: {error}") from error


def _weighted(layers, edges: dict[tuple[int, int], int], data: bytes, name: str) -> Iterator[Weighted]:
    constants: dict[int, np.ndarray] = {}  # by layer; a Convert passes its constant on
    sources: dict[int, list[int]] = {}
    for (layer, _), source in sorted(edges.items()):
        sources.setdefault(layer, []).append(source)
    for layer in layers:
        number, kind = int(layer.get("id")), layer.get("type")
        inputs = [constants[source] for source in sources.get(number, ()) if source in constants]
        if kind == "Const":
            if layer.find("data").get("element_type") in FLOATS:
                constants[number] = _constant(layer, data, name)
        elif kind == "Convert" and inputs:
            constants[number] = inputs[0]
        else:
            yield from (Weighted(kind, layer.get("name"), value) for value in inputs)


def _constant(layer, data: bytes, name: str) -> np.ndarray:
    form = layer.find("data")
    kind, start, size = FLOATS[form.get("element_type")], int(form.get("offset")), int(form.get("size"))
    shape = tuple(int(side) for side in form.get("shape").split(",") if side.strip())
    if start + size > len(data) or size != np.dtype(kind).itemsize * int(np.prod(shape)):
        raise WeightsError(f"{name!r} is cut short or belongs to another network: {layer.get('name')} is not in it.")
    return np.frombuffer(data, kind, count=int(np.prod(shape)), offset=start).reshape(shape).astype(np.float32)


def load_ir(backbone: OSNetLCTBackbone, xml: str | Path) -> Head:
    """Load the weights of a network into `backbone`, all of them, and return its head.

    Raises:
        WeightsError: a file is missing or damaged; or it is of another network, told by the first operation that is
            not as wanted.
    """
    xml = Path(xml)
    found = read_operations(xml)
    wanted = [*_wanted_backbone(backbone), *_wanted_head(found)]
    values: dict[str, np.ndarray] = {}
    for number, want in enumerate(wanted):
        if number >= len(found):
            raise WeightsError(f"{xml.name!r} ends before {want.name}: it has {len(found)} of {len(wanted)} weights.")
        have = found[number]
        if have.kind != want.kind or have.value.size != np.prod(want.shape):
            raise WeightsError(
                f"{xml.name!r} is another network: {want.name} needs {want.kind} with {want.shape}, "
                f"but {have.name!r} is {have.kind} with {have.value.shape}."
            )
        value = have.value.reshape(want.shape)
        if want.name in values and not np.array_equal(values[want.name], value):
            raise WeightsError(f"{xml.name!r} is another network: its streams have different gates ({have.name!r}).")
        values[want.name] = value
    if len(found) > len(wanted):
        raise WeightsError(f"{xml.name!r} is another network: it goes on after the head, with {found[-1].name!r}.")
    _check_input(values.pop("input.mean"), values.pop("input.scale"), xml.name)
    state = {name: torch.from_numpy(value.copy()) for name, value in values.items()}
    head = {name: state.pop(name) for name in list(state) if name.startswith("head.")}
    backbone.load_state_dict(state)
    return _fold(head)


def _wanted_backbone(backbone: OSNetLCTBackbone) -> Iterator[Wanted]:
    yield Wanted("input.mean", "Subtract", (3,))
    yield Wanted("input.scale", "Multiply", (3,))
    yield from _wanted_norm("input_norm", backbone.input_norm)
    yield Wanted("stem.weight", "Convolution", tuple(backbone.stem.weight.shape))
    yield from _wanted_norm("stem_norm", backbone.stem_norm)
    for name in ("stage1", "stage2", "stage3"):
        for number, module in enumerate(getattr(backbone, name)):
            if isinstance(module, OmniScaleBlock):
                yield from _wanted_block(f"{name}.{number}", module)
            else:
                yield from _wanted_conv(f"{name}.{number}.conv", module.conv)
    yield from _wanted_conv("last", backbone.last)


def _wanted_norm(name: str, norm: nn.Module) -> Iterator[Wanted]:
    yield Wanted(f"{name}.weight", "Multiply", tuple(norm.weight.shape))
    yield Wanted(f"{name}.bias", "Add", tuple(norm.bias.shape))


def _wanted_conv(name: str, conv: nn.Conv2d) -> Iterator[Wanted]:
    kind = "GroupConvolution" if conv.groups > 1 else "Convolution"
    yield Wanted(f"{name}.weight", kind, tuple(conv.weight.shape))
    if conv.bias is not None:
        yield Wanted(f"{name}.bias", "Add", tuple(conv.bias.shape))


def _wanted_block(name: str, block: OmniScaleBlock) -> Iterator[Wanted]:
    yield from _wanted_conv(f"{name}.reduce", block.reduce)
    for number, stream in enumerate(block.streams):
        for step, light in enumerate(stream):
            yield from _wanted_conv(f"{name}.streams.{number}.{step}.across", light.across)
            yield from _wanted_conv(f"{name}.streams.{number}.{step}.within", light.within)
        if isinstance(block.gate, ChannelGate):  # the file repeats a block's gate for each stream
            yield from _wanted_conv(f"{name}.gate.fc1", block.gate.fc1)
            yield from _wanted_conv(f"{name}.gate.fc2", block.gate.fc2)
        else:
            yield from _wanted_norm(f"{name}.gate", block.gate)
    yield from _wanted_conv(f"{name}.expand", block.expand)
    if isinstance(block.shortcut, FoldedConv):
        yield from _wanted_conv(f"{name}.shortcut", block.shortcut)


def _wanted_head(found: list[Weighted]) -> Iterator[Wanted]:
    """Yield the seven weights of the head; its sizes are those of the file."""
    sizes = [weight.value.shape for weight in found[-7:]]
    places = next((shape[-2:] for shape in sizes if len(shape) == 5), (16, 8))
    width = next((shape[0] for shape in sizes if len(shape) == 2 and shape[0] > 1), 256)
    channels = next((shape[1] for shape in sizes if len(shape) == 2 and shape[0] > 1), 512)
    yield Wanted("head.place_weight", "GroupConvolution", (channels, *places))
    yield Wanted("head.channel_bias", "Add", (channels,))
    yield Wanted("head.linear", "MatMul", (width, channels))
    yield Wanted("head.linear_bias", "Add", (width,))
    yield Wanted("head.norm_weight", "Multiply", (width,))
    yield Wanted("head.norm_bias", "Add", (width,))
    yield Wanted("head.slope", "PReLU", (1,))  # left out: without it R-1 and mAP of photographs are the same


def _fold(head: dict[str, Tensor]) -> Head:
    scale = head["head.norm_weight"]
    return Head(
        head["head.place_weight"],
        head["head.channel_bias"],
        scale[:, None] * head["head.linear"],
        scale * head["head.linear_bias"] + head["head.norm_bias"],
    )


def _check_input(mean: np.ndarray, scale: np.ndarray, name: str) -> None:
    """Refuse a network whose pixels are not normalised as this project's are."""
    ours = np.array([255 * value for value in PIXEL_MEAN]), np.array([1 / (255 * value) for value in PIXEL_STD])
    for what, theirs, wanted in zip(("mean", "scale"), (mean, scale), ours, strict=True):
        if not np.allclose(theirs, wanted, rtol=INPUT_TOLERANCE):
            raise WeightsError(f"{name!r} normalises pixels by the {what} {theirs.tolist()}, not by ImageNet's.")
