"""The memory backend keeps the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from rekadapter.backends.memory import MemoryRecognizer, open_memory
from rekadapter.errors import ConfigError
from rekadapter.recognizer import BackendContext, Recognizer
from rekadapter.testing.contract import RecognizerContract, UserContract
from rekadapter.testing.material import ContractMaterial, drawn_material


class TestMemory(RecognizerContract):
    @pytest.fixture
    def recognizer(self) -> Recognizer:
        return MemoryRecognizer()

    @pytest.fixture
    def material(self) -> ContractMaterial:
        return drawn_material()


class TestMemoryUsers(UserContract):
    @pytest.fixture
    def recognizer(self) -> Recognizer:
        return MemoryRecognizer()

    @pytest.fixture
    def material(self) -> ContractMaterial:
        return drawn_material()


def test_an_option_is_refused(tmp_path: Path) -> None:
    context = BackendContext(data_dir=tmp_path, cache_dir=tmp_path)
    with pytest.raises(ConfigError, match="speed"):
        open_memory("fast", {"speed": 11}, context)
