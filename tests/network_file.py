"""Write a network in OpenVINO's two files, as `osnet_lct` reads them."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from reid_demo.config import PIXEL_MEAN, PIXEL_STD
from reid_demo.model.osnet_lct import ContextGate, OSNetLCTBackbone


class Writer:
    """Write operations with one constant each, as OpenVINO does: Const, Convert, operation."""

    def __init__(self) -> None:
        self.layers, self.edges, self.data = ElementTree.Element("layers"), ElementTree.Element("edges"), b""

    def _layer(self, kind: str, name: str, **form: str) -> int:
        number = len(self.layers)
        layer = ElementTree.SubElement(self.layers, "layer", id=str(number), type=kind, name=name)
        ElementTree.SubElement(layer, "data", form)
        return number

    def _join(self, source: int, target: int, port: int) -> None:
        ends = {"from-layer": source, "from-port": 0, "to-layer": target, "to-port": port}
        ElementTree.SubElement(self.edges, "edge", {name: str(value) for name, value in ends.items()})

    def add(self, kind: str, value, shape: tuple[int, ...] | None = None) -> None:
        value = np.asarray(value, np.float16).reshape(shape or np.shape(value))
        form = dict(element_type="f16", shape=", ".join(map(str, value.shape)), offset=str(len(self.data)))
        constant = self._layer("Const", f"c{len(self.layers)}", size=str(value.nbytes), **form)
        convert = self._layer("Convert", f"v{len(self.layers)}")
        operation = self._layer(kind, f"op{len(self.layers)}")
        self._join(constant, convert, 0)
        self._join(convert, operation, 1)
        self.data += value.tobytes()

    def conv(self, layer) -> None:
        grouped = layer.groups > 1
        shape = (layer.weight.shape[0], 1, 1, *layer.weight.shape[2:]) if grouped else None
        self.add("GroupConvolution" if grouped else "Convolution", layer.weight, shape)
        if layer.bias is not None:
            self.add("Add", layer.bias, (1, -1, 1, 1))

    def scale(self, layer) -> None:
        self.add("Multiply", layer.weight, (1, -1, 1, 1))
        self.add("Add", layer.bias, (1, -1, 1, 1))

    def block(self, block) -> None:
        self.conv(block.reduce)
        for stream in block.streams:
            for light in stream:
                self.conv(light.across)
                self.conv(light.within)
            if isinstance(block.gate, ContextGate):
                self.scale(block.gate)
            else:
                self.conv(block.gate.fc1)
                self.conv(block.gate.fc2)
        self.conv(block.expand)
        if block.shortcut.__class__.__name__ != "Identity":
            self.conv(block.shortcut)

    def network(self, backbone: OSNetLCTBackbone) -> None:
        self.add("Subtract", [255 * v for v in PIXEL_MEAN], (1, 3, 1, 1))
        self.add("Multiply", [1 / 255 / v for v in PIXEL_STD], (1, 3, 1, 1))
        self.scale(backbone.input_norm)
        self.conv(backbone.stem)
        self.scale(backbone.stem_norm)
        for stage in (backbone.stage1, backbone.stage2, backbone.stage3):
            self.block(stage[0])
            self.block(stage[1])
            if len(stage) > 2:
                self.conv(stage[2].conv)
        self.conv(backbone.last)

    def head(self, head: dict[str, np.ndarray]) -> None:
        self.add("GroupConvolution", head["places"], (head["places"].shape[0], 1, 1, *head["places"].shape[1:]))
        self.add("Add", head["channels"], (1, -1, 1, 1))
        self.add("MatMul", head["linear"])
        self.add("Add", head["bias"], (1, -1))
        self.add("Multiply", head["scale"], (1, -1, 1))
        self.add("Add", head["shift"], (1, -1, 1))
        self.add("PReLU", [0.25], (1, 1))

    def write(self, xml: Path) -> None:
        net = ElementTree.Element("net")
        net.extend([self.layers, self.edges])
        xml.write_bytes(ElementTree.tostring(net))
        xml.with_suffix(".bin").write_bytes(self.data)
