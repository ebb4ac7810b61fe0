"""The converted embedder gives dlib's own numbers."""

from __future__ import annotations

import numpy as np
import pytest

from rekadapter.backends.local.dlib_resnet import to_onnx
from rekadapter.backends.local.models import FaceModels
from rekadapter.errors import ModelCorruptError
from rekadapter.imaging import Pixels

# Every eighth value and the length of the descriptors that dlib 20.0.1 computes for the drawn chips
# below, with the same weights.
DLIB = {
    0: (
        [
            -0.0491059, 0.1037612, -0.1080717, -0.0990947, -0.0976628, -0.1219871, 0.0835731,
            0.0318117, 0.2185614, -0.0826339, -0.0855003, 0.201805, -0.1195011, -0.1347964,
            0.2494563, -0.0305158,
        ],
        1.3058758,
    ),
    5: (
        [
            -0.0857877, 0.1398898, -0.1145375, -0.1087041, -0.1072444, -0.1409355, 0.0933142,
            0.0269893, 0.2021603, -0.0962089, -0.0880611, 0.2171855, -0.0931891, -0.1107308,
            0.2110607, -0.0048355,
        ],
        1.3261837,
    ),
}  # fmt: skip


def _chip(kind: int) -> Pixels:
    y, x = np.mgrid[0:150, 0:150]
    planes = [(x * (3 + kind) + y) % 256, (x + y * (2 + kind)) % 256, (x * y // (8 + kind)) % 256]
    return np.stack(planes, axis=2).astype(np.uint8)


@pytest.mark.parametrize("kind", DLIB)
def test_templates_are_dlibs_descriptors(embedded_models: FaceModels, kind: int) -> None:
    values, length = DLIB[kind]
    template = embedded_models.embedder.embed(_chip(kind)[None])[0]
    assert np.abs(template[::8] - values).max() < 3e-6
    assert np.linalg.norm(template) == pytest.approx(length, abs=3e-6)


def test_a_face_has_the_same_template_alone_and_in_a_batch(embedded_models: FaceModels) -> None:
    chips = np.stack([_chip(kind) for kind in range(5)])
    together = embedded_models.embedder.embed(chips)
    alone = np.concatenate([embedded_models.embedder.embed(chip[None]) for chip in chips])
    assert np.abs(together - alone).max() < 3e-6


def test_another_file_is_refused() -> None:
    with pytest.raises(ModelCorruptError, match="face_recognition_models"):
        to_onnx(b"not a dlib network")


def test_a_file_that_ends_too_early_is_refused() -> None:
    # the header of the first tensor, 4736 values, and nothing behind it
    with pytest.raises(ModelCorruptError, match="too early"):
        to_onnx(b"\x01\x02\x02\x80\x12\x01\x01\x01\x01\x01\x01")
