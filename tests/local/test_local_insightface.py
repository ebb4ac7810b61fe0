"""InsightFace's loaders on small graphs that have SCRFD's and ArcFace's signatures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rekadapter.backends.local import open_local
from rekadapter.backends.local.sessions import SessionSettings
from rekadapter.errors import ModelCorruptError, ModelNotAvailableError
from rekadapter.imaging import Image, Pixels
from rekadapter.recognizer import BackendContext, Recognizer
from rekadapter.types import GalleryId, SubjectId

pytest.importorskip("insightface", reason="the optional package 'insightface' is not installed")

from rekadapter.backends.local.insightface_pack import (
    load_detector,
    load_embedder,
)

GALLERY = GalleryId("custom")
SETTINGS = SessionSettings(threads=1)


def _save(
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
    return _save(path, nodes, ([1, 3, "height", "width"], outputs), weights)


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
    return _save(path, nodes, (["batch", 3, 112, 112], {"683": ["batch", length]}), weights)


def _picture(*, flip: bool = False) -> Pixels:
    """A dark picture of 640 x 640 with one bright square of one cell, stripes within it."""
    pixels = np.zeros((640, 640, 3), np.uint8)
    pixels[320:336, 160:176] = 255
    pixels[320:336, 160:168, 0 if flip else 2] = 240
    return pixels


@pytest.fixture
def detector_file(tmp_path: Path) -> Path:
    return scrfd_like(tmp_path / "det.onnx")


@pytest.fixture
def embedder_file(tmp_path: Path) -> Path:
    return arcface_like(tmp_path / "rec.onnx")


def test_an_scrfd_shaped_graph_gives_boxes_and_landmarks(detector_file: Path) -> None:
    faces = load_detector(detector_file, SETTINGS, 0.5).detect(_picture())
    assert len(faces) == 1
    assert faces.boxes[0].tolist() == pytest.approx([136, 296, 184, 344], abs=1)
    assert faces.points[0, 2].tolist() == pytest.approx([160, 320], abs=1)
    assert 0.5 < faces.scores[0] <= 1


def test_a_picture_without_a_face_gives_none(detector_file: Path) -> None:
    dark = np.zeros((480, 640, 3), np.uint8)
    assert len(load_detector(detector_file, SETTINGS, 0.5).detect(dark)) == 0


def test_an_arcface_shaped_graph_embeds_a_batch(embedder_file: Path) -> None:
    embedder = load_embedder(embedder_file, SETTINGS)
    assert embedder.template_length == 16
    assert embedder.template.side == 112
    chips = np.random.default_rng(1).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    together = embedder.embed(chips)
    assert together.shape == (3, 16)
    assert together.dtype == np.float32
    alone = np.concatenate([embedder.embed(chip[None]) for chip in chips])
    assert np.abs(together - alone).max() < 1e-5


def test_files_that_swap_roles_are_refused(detector_file: Path, embedder_file: Path) -> None:
    with pytest.raises(ModelCorruptError, match=r"rec\.onnx is not an SCRFD"):
        load_detector(embedder_file, SETTINGS, 0.5)
    with pytest.raises(ModelCorruptError, match=r"det\.onnx is not an ArcFace"):
        load_embedder(detector_file, SETTINGS)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a graph")
    with pytest.raises(ModelCorruptError, match=r"broken\.onnx"):
        load_detector(broken, SETTINGS, 0.5)
    with pytest.raises(ModelNotAvailableError, match=r"absent\.onnx"):
        load_embedder(tmp_path / "absent.onnx", SETTINGS)


@pytest.fixture
def recognizer(tmp_path: Path, detector_file: Path, embedder_file: Path) -> Recognizer:
    context = BackendContext(data_dir=tmp_path / "data", cache_dir=tmp_path / "cache")
    options: dict[str, object] = {
        "pack": "custom",
        "detector_file": str(detector_file),
        "embedder_file": str(embedder_file),
        "cosine_threshold": 0.9,
        "threads": 1,
    }
    return open_local("local", options, context)


def test_the_users_own_models_serve_a_whole_gallery(recognizer: Recognizer) -> None:
    recognizer.create_gallery(GALLERY)
    image = Image.from_pixels(_picture())
    done = recognizer.enroll(GALLERY, image, subject=SubjectId("square"))
    assert len(done.records) == 1
    answer = recognizer.identify(
        GALLERY, image, threshold=recognizer.capabilities.default_threshold
    )
    best = answer.faces[0].candidates[0]
    assert best.subject == "square"
    assert best.score.value == pytest.approx(100)
    assert best.raw_score is not None
    assert best.raw_score.value == pytest.approx(1)
    assert best.raw_score.scale.higher_is_closer
    assert recognizer.capabilities.model.startswith("custom ")
