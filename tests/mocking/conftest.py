"""The plugin's fixtures, whether or not the plugin is installed; and moto left as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rekadapter.testing.pytest_plugin import rekognition_mock
from rekadapter.testing.rekognition import RekognitionMock, install, uninstall

__all__ = ["rekognition_mock"]


@pytest.fixture
def in_moto() -> Iterator[RekognitionMock]:
    """The extension is installed, and gone afterwards."""
    yield install(RekognitionMock())
    uninstall()
