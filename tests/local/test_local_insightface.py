"""InsightFace's loaders on small graphs that have SCRFD's and ArcFace's signatures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rekadapter.backends.local import open_local
from rekadapter.backends.local.sessions import SessionSettings
from rekadapter.errors import ModelCorruptError, ModelNotAvailableError
from rekadapter.evaluation.record import identifying
from rekadapter.imaging import Image
from rekadapter.recognizer import BackendContext, Recognizer
from rekadapter.types import GalleryId, SubjectId
from tests.local.tiny_graphs import arcface_like, scrfd_like, square_picture

pytest.importorskip("insightface", reason="the optional package 'insightface' is not installed")

from rekadapter.backends.local.insightface_pack import (
    load_detector,
    load_embedder,
)

GALLERY = GalleryId("custom")
SETTINGS = SessionSettings(threads=1)


@pytest.fixture
def detector_file(tmp_path: Path) -> Path:
    return scrfd_like(tmp_path / "det.onnx")


@pytest.fixture
def embedder_file(tmp_path: Path) -> Path:
    return arcface_like(tmp_path / "rec.onnx")


def test_an_scrfd_shaped_graph_gives_boxes_and_landmarks(detector_file: Path) -> None:
    faces = load_detector(detector_file, SETTINGS, 0.5).detect(square_picture())
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
def recognizer(tmp_path: Path, detector_file: Path, embedder_file: Path) -> Iterator[Recognizer]:
    context = BackendContext(data_dir=tmp_path / "data", cache_dir=tmp_path / "cache")
    options: dict[str, object] = {
        "pack": "custom",
        "detector_file": str(detector_file),
        "embedder_file": str(embedder_file),
        "cosine_threshold": 0.9,
        "threads": 1,
    }
    opened = open_local("local", options, context)
    yield opened
    opened.close()


def test_the_users_own_models_serve_a_whole_gallery(recognizer: Recognizer) -> None:
    recognizer.create_gallery(GALLERY)
    image = Image.from_pixels(square_picture())
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
    assert "cosine_threshold" in identifying(recognizer.capabilities.details)
