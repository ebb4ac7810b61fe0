"""What every conversion to ONNX shares: one way to build and to check a graph.

Graphs take pixels as OpenCV has them (uint8, BGR, height x width x channel, batched), so that no
copy of an image in another layout is made in Python.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from rekadapter.errors import ModelCorruptError

OPSET: Final = 17
IR_VERSION: Final = 8
"""ONNX Runtime 1.14 and newer read it."""

Weights = NDArray[np.float32]


class GraphBuilder:
    """Collects nodes and weights under names it makes up itself."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def weights(self, values: NDArray[np.float32] | NDArray[np.int64]) -> str:
        """A constant of the graph."""
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: int | list[int]) -> str:
        """One operator over tensors named before; the answer is its output's name."""
        name = f"t{len(self._nodes)}"
        node = helper.make_node(operator, list(inputs), [name])
        node.attribute.extend(helper.make_attribute(key, attributes[key]) for key in attributes)
        self._nodes.append(node)
        return name

    def pixels_to_planes(self, pixels: str) -> str:
        """uint8 (batch, height, width, 3) as float32 (batch, 3, height, width)."""
        floats = self.add("Cast", pixels, to=TensorProto.FLOAT)
        return self.add("Transpose", floats, perm=[0, 3, 1, 2])

    def model(
        self, name: str, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
    ) -> bytes:
        """The graph as the bytes of a checked ONNX file.

        The tensors that make up ``outputs`` have to be named by the caller's own nodes.
        """
        graph = helper.make_graph(self._nodes, name, inputs, outputs, self._weights)
        return serialized(
            helper.make_model(
                graph,
                opset_imports=[helper.make_opsetid("", OPSET)],
                ir_version=IR_VERSION,
                producer_name="rekadapter",
            )
        )

    def name_output(self, tensor: str, name: str) -> None:
        """Gives a tensor the name under which the graph returns it."""
        self._nodes.append(helper.make_node("Identity", [tensor], [name]))


def serialized(model: onnx.ModelProto) -> bytes:
    """The bytes of a model that ONNX's own checker accepts.

    Raises:
        ModelCorruptError: the checker refuses it.
    """
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ModelCorruptError("the converted model is not valid ONNX") from error
    return bytes(model.SerializeToString(deterministic=True))
