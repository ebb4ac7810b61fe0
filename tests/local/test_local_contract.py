"""The local backend with its real models keeps the contract."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from rekadapter.backends.local.recognizer import LocalRecognizer
from rekadapter.errors import UsageError
from rekadapter.imaging import Image
from rekadapter.recognizer import QualityFilter, Recognizer
from rekadapter.testing.contract import RecognizerContract, UserContract
from rekadapter.testing.material import ContractMaterial, photo_material
from rekadapter.types import Reason


@pytest.fixture(scope="module")
def photographs() -> ContractMaterial:
    try:
        return photo_material()
    except UsageError as error:
        pytest.skip(str(error))


class TestLocal(RecognizerContract):
    @pytest.fixture
    def recognizer(self, local: LocalRecognizer) -> Recognizer:
        return local

    @pytest.fixture
    def material(self, photographs: ContractMaterial) -> ContractMaterial:
        return photographs


class TestLocalUsers(UserContract):
    @pytest.fixture
    def recognizer(self, local: LocalRecognizer) -> Recognizer:
        return local

    @pytest.fixture
    def material(self, photographs: ContractMaterial) -> ContractMaterial:
        return photographs


def test_verify_leaves_out_faces_below_the_quality_asked_for(
    local: LocalRecognizer, photographs: ContractMaterial
) -> None:
    blurred = Image.from_pixels(
        np.asarray(cv2.GaussianBlur(photographs.ann.pixels, (0, 0), 4), dtype=np.uint8)
    )
    threshold = local.capabilities.match_all
    assert local.verify(photographs.ann, blurred, threshold=threshold).matched
    for source, target in ((photographs.ann, blurred), (blurred, photographs.ann)):
        found = local.verify(source, target, threshold=threshold, quality=QualityFilter.HIGH)
        assert found.comparisons == ()
        assert found.failure is not None
        assert found.failure.reason is Reason.LOW_SHARPNESS
