"""dlib's face recognition ResNet v1 as an ONNX graph, read from dlib's own weight file.

The file (``dlib_face_recognition_resnet_model_v1.dat``, Davis King, CC0) is a dlib network written
by its ``serialize``: text and layer settings with the weights between them, each tensor as a
header, its four dimensions and its values in little-endian float32. Integers are one byte that
counts the bytes that follow, then those bytes, little-endian. The network and its input (150 x 150
RGB) are described in dlib's example ``dnn_face_recognition_ex.cpp``: a 29-layer ResNet whose batch
normalization has become a scale and a shift per channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from rekadapter.backends.local.graphs import GraphBuilder, Weights
from rekadapter.errors import ModelCorruptError

CHIP_SIDE: Final = 150
TEMPLATE_LENGTH: Final = 128

_TENSOR_HEADER: Final = b"\x01\x02"
_MEAN_RGB: Final = np.array([122.782, 117.001, 104.298])
"""dlib's ``input_rgb_image_sized<150>``: what is subtracted before dividing by 256."""

_STEM_SIDE: Final = 35
"""150 -> 7x7 stride 2 without padding -> 72 -> 3x3 maximum, stride 2 -> 35."""


@dataclass(frozen=True, slots=True)
class _Block:
    """A residual block; a ``down`` block halves the map."""

    channels: int
    down: bool = False


_BLOCKS: Final = (
    *(_Block(32),) * 3,
    _Block(64, down=True),
    *(_Block(64),) * 3,
    _Block(128, down=True),
    *(_Block(128),) * 2,
    _Block(256, down=True),
    *(_Block(256),) * 2,
    _Block(256, down=True),
)


@dataclass(frozen=True, slots=True)
class _Convolution:
    """A convolution with the scale and shift behind it folded in.

    ``kernel`` has shape (out, in, side, side), ``bias`` (out,).
    """

    kernel: Weights
    bias: Weights


class _WeightFile:
    """Takes the tensors out of a dlib file one after the other, by the size each must have."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, *shape: int) -> NDArray[np.float64]:
        """The next tensor whose header announces exactly ``prod(shape)`` values."""
        count = int(np.prod(shape))
        start = self._find(count, 1, 1, 1)
        return self._values(start, count).reshape(shape)

    def take_matrix(self, rows: int, columns: int) -> NDArray[np.float64]:
        """The next tensor of ``rows`` x ``columns``."""
        start = self._find(rows, columns, 1, 1)
        return self._values(start, rows * columns).reshape(rows, columns)

    def _find(self, *dimensions: int) -> int:
        header = _TENSOR_HEADER + b"".join(map(_dlib_integer, dimensions))
        found = self._data.find(header, self._at)
        if found < 0:
            raise ModelCorruptError(
                "the dlib weight file lacks a tensor of the face recognition ResNet: "
                "reinstall the package 'face_recognition_models'"
            )
        return found + len(header)

    def _values(self, start: int, count: int) -> NDArray[np.float64]:
        end = start + 4 * count
        if end > len(self._data):
            raise ModelCorruptError(
                "the dlib weight file ends too early: "
                "reinstall the package 'face_recognition_models'"
            )
        self._at = end
        return np.frombuffer(self._data[start:end], dtype="<f4").astype(np.float64)


def _dlib_integer(value: int) -> bytes:
    body = value.to_bytes(max(1, (value.bit_length() + 7) // 8), "little")
    return bytes([len(body)]) + body


def _take_convolution(file: _WeightFile, shape: tuple[int, int, int, int]) -> _Convolution:
    out = shape[0]
    flat = file.take(int(np.prod(shape)) + out)
    kernel, bias = flat[:-out].reshape(shape), flat[-out:]
    affine = file.take(2 * out)
    scale, shift = affine[:out], affine[out:]
    return _Convolution(
        (kernel * scale[:, None, None, None]).astype(np.float32),
        (bias * scale + shift).astype(np.float32),
    )


def _stem_for_pixels(stem: _Convolution) -> _Convolution:
    """The first convolution with dlib's input normalization folded in, for BGR from 0 to 255.

    Exact because this convolution pads nothing.
    """
    kernel = stem.kernel.astype(np.float64) / 256
    bias = stem.bias - np.einsum("oihw,i->o", kernel, _MEAN_RGB)
    return _Convolution(kernel[:, ::-1].astype(np.float32), bias.astype(np.float32))


def to_onnx(weight_file: bytes) -> bytes:
    """The network as an ONNX file.

    Its input ``chips`` is uint8 BGR of shape (batch, 150, 150, 3); its output ``templates`` is
    float32 of shape (batch, 128), as dlib gives it (not normalized to length 1).

    Raises:
        ModelCorruptError: ``weight_file`` is not dlib's face recognition ResNet v1.
    """
    file = _WeightFile(weight_file)
    graph = GraphBuilder()
    stem = _stem_for_pixels(_take_convolution(file, (32, 3, 7, 7)))
    tensor = _convolve(graph, graph.pixels_to_planes("chips"), stem, stride=2)
    tensor = graph.add("Relu", tensor)
    tensor = graph.add("MaxPool", tensor, kernel_shape=[3, 3], strides=[2, 2])
    side = _STEM_SIDE
    for before, block in pairwise((_Block(32), *_BLOCKS)):
        tensor = _residual(graph, tensor, file, (before, block), side)
        side = side // 2 if block.down else side
    pooled = graph.add("Flatten", graph.add("GlobalAveragePool", tensor))
    matrix = file.take_matrix(256, TEMPLATE_LENGTH).astype(np.float32)
    graph.name_output(graph.add("MatMul", pooled, graph.weights(matrix)), "templates")
    chips: list[str | int | None] = ["batch", CHIP_SIDE, CHIP_SIDE, 3]
    return graph.model(
        "dlib_face_recognition_resnet_v1",
        [helper.make_tensor_value_info("chips", TensorProto.UINT8, chips)],
        [helper.make_tensor_value_info("templates", TensorProto.FLOAT, ["batch", TEMPLATE_LENGTH])],
    )


def _convolve(graph: GraphBuilder, tensor: str, conv: _Convolution, *, stride: int = 1) -> str:
    side = conv.kernel.shape[-1]
    # dlib pads only where the stride is 1
    pad = side // 2 if stride == 1 else 0
    return graph.add(
        "Conv",
        tensor,
        graph.weights(conv.kernel),
        graph.weights(conv.bias),
        kernel_shape=[side, side],
        strides=[stride, stride],
        pads=[pad] * 4,
    )


def _residual(
    graph: GraphBuilder, tensor: str, file: _WeightFile, blocks: tuple[_Block, _Block], side: int
) -> str:
    before, block = blocks
    out = block.channels
    first = _take_convolution(file, (out, before.channels, 3, 3))
    second = _take_convolution(file, (out, out, 3, 3))
    inner = graph.add("Relu", _convolve(graph, tensor, first, stride=2 if block.down else 1))
    inner = _convolve(graph, inner, second)
    if block.down:
        # dlib's ``add_prev`` fills the smaller of two maps with zeros at the right and the bottom
        inner = _zero_pad(graph, inner, (0, side // 2 - ((side - 3) // 2 + 1)))
        tensor = graph.add("AveragePool", tensor, kernel_shape=[2, 2], strides=[2, 2])
        tensor = _zero_pad(graph, tensor, (out - before.channels, 0))
    return graph.add("Relu", graph.add("Add", inner, tensor))


def _zero_pad(graph: GraphBuilder, tensor: str, extra: tuple[int, int]) -> str:
    channels, side = extra
    if not channels and not side:
        return tensor
    pads = np.array([0, 0, 0, 0, 0, channels, side, side], dtype=np.int64)
    return graph.add("Pad", tensor, graph.weights(pads))
