"""Graphs of a few kilobytes with the signatures of InsightFace's models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from rekadapter.imaging import Pixels


def save_graph(
    path: Path,
    nodes: list[onnx.NodeProto],
    shapes: tuple[list[str | int | None], dict[str, list[str | int | None]]],
    weights: dict[str, np.ndarray],
) -> Path:
    taken, given = shapes
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, taken)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in given.items()],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save_model(model, str(path))
    return path


def _rows_of(tensor: str, name: str, width: int) -> list[onnx.NodeProto]:
    """(1, 2 * width, h, w) as SCRFD's (h * w * 2 anchors, width)."""
    return [
        helper.make_node("Transpose", [tensor], [f"{name}_t"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", [f"{name}_t", f"rows{width}"], [name]),
    ]


def scrfd_like(path: Path) -> Path:
    """A detector that sees a face of two strides around each bright cell.

    Nine outputs for strides 8, 16 and 32 with two anchors a cell: scores (n, 1), distances to the
    four sides (n, 4), five landmarks (n, 10), distances in units of the stride.
    """
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, np.ndarray] = {
        f"rows{width}": np.array([-1, width], np.int64) for width in (1, 4, 10)
    }
    weights["quarter"] = np.full((1,), 1.0, np.float32)
    outputs: dict[str, list[str | int | None]] = {}
    points = np.array([-0.6, -0.5, 0.6, -0.5, 0, 0, -0.5, 0.6, 0.5, 0.6], np.float32)
    for stride in (8, 16, 32):
        # only the middle stride answers, or one face would be found three times
        gain = 0.95 if stride == 16 else 0.0
        weights[f"score_w{stride}"] = np.full((2, 1, 1, 1), gain, np.float32)
        weights[f"box_w{stride}"] = np.zeros((8, 1, 1, 1), np.float32)
        weights[f"box_b{stride}"] = np.full(8, 1.5, np.float32)
        weights[f"kps_w{stride}"] = np.zeros((20, 1, 1, 1), np.float32)
        weights[f"kps_b{stride}"] = np.tile(points, 2)
        nodes += [
            helper.make_node(
                "AveragePool",
                ["input.1"],
                [f"pool{stride}"],
                kernel_shape=[stride, stride],
                strides=[stride, stride],
            ),
            helper.make_node("ReduceMean", [f"pool{stride}"], [f"gray{stride}"], axes=[1]),
            helper.make_node("Relu", [f"gray{stride}"], [f"bright{stride}"]),
            helper.make_node("Conv", [f"bright{stride}", f"score_w{stride}"], [f"score{stride}_m"]),
            helper.make_node(
                "Conv",
                [f"bright{stride}", f"box_w{stride}", f"box_b{stride}"],
                [f"box{stride}_m"],
            ),
            helper.make_node(
                "Conv",
                [f"bright{stride}", f"kps_w{stride}", f"kps_b{stride}"],
                [f"kps{stride}_m"],
            ),
        ]
    for kind, width in (("score", 1), ("box", 4), ("kps", 10)):
        for stride in (8, 16, 32):
            nodes += _rows_of(f"{kind}{stride}_m", f"{kind}{stride}", width)
            outputs[f"{kind}{stride}"] = [f"n{stride}", width]
    del weights["quarter"]
    return save_graph(path, nodes, ([1, 3, "height", "width"], outputs), weights)


def arcface_like(path: Path, length: int = 16) -> Path:
    """An embedder: the chip averaged over 28 x 28 cells, times a fixed matrix."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node(
            "AveragePool", ["input.1"], ["cells"], kernel_shape=[28, 28], strides=[28, 28]
        ),
        helper.make_node("Flatten", ["cells"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["683"]),
    ]
    weights = {"matrix": rng.normal(size=(48, length)).astype(np.float32)}
    return save_graph(path, nodes, (["batch", 3, 112, 112], {"683": ["batch", length]}), weights)


def gender_age_like(path: Path, *, side: int = 96, scales_itself: bool = False) -> Path:
    """A gender-age graph: the square averaged over 4 x 4 cells, times a fixed matrix.

    ``scales_itself`` gives its first two nodes the names by which InsightFace tells that a graph
    subtracts and divides on its own.
    """
    rng = np.random.default_rng(3)
    matrix = rng.normal(scale=0.4, size=(48, 3))
    matrix[:, 2] /= 10  # ages that people have
    cell = side // 4
    names = ("_minusscalar0", "_mulscalar0") if scales_itself else ("in0", "in1")
    nodes = [
        helper.make_node("Sub", ["input.1", "mean"], ["centered"], name=names[0]),
        helper.make_node("Mul", ["centered", "gain"], ["scaled"], name=names[1]),
        helper.make_node(
            "AveragePool", ["scaled"], ["cells"], kernel_shape=[cell, cell], strides=[cell, cell]
        ),
        helper.make_node("Flatten", ["cells"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["fc1"]),
    ]
    weights = {
        "mean": np.array(127.5 if scales_itself else 0.0, np.float32),
        "gain": np.array(1 / 128 if scales_itself else 1.0, np.float32),
        "matrix": matrix.astype(np.float32),
        "bias": np.array([0.0, 0.0, 0.6], np.float32),
    }
    shapes: tuple[list[str | int | None], dict[str, list[str | int | None]]] = (
        ["batch", 3, side, side],
        {"fc1": ["batch", 3]},
    )
    return save_graph(path, nodes, shapes, weights)


def square_picture(*, flip: bool = False) -> Pixels:
    """A dark picture of 640 x 640 with one bright square of one cell, stripes within it."""
    pixels = np.zeros((640, 640, 3), np.uint8)
    pixels[320:336, 160:176] = 255
    pixels[320:336, 160:168, 0 if flip else 2] = 240
    return pixels
