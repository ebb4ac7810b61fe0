"""The local backend with its real models keeps the contract."""

from __future__ import annotations

import pytest

from rekadapter.backends.local.recognizer import LocalRecognizer
from rekadapter.errors import UsageError
from rekadapter.recognizer import Recognizer
from rekadapter.testing.contract import RecognizerContract, UserContract
from rekadapter.testing.material import ContractMaterial, photo_material


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
