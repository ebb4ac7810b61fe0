"""The embedded pack, converted once for all tests of the local backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from rekadapter.backends.local.models import FaceModels
from rekadapter.backends.local.opening import LocalOptions, load_models
from rekadapter.backends.local.recognizer import LocalRecognizer, capabilities_of
from rekadapter.backends.local.store import SqliteGalleryStore

StoreAt = Callable[[Path], SqliteGalleryStore]


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory with the embedded pack converted into it on first use."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def embedded_models(model_cache: Path) -> FaceModels:
    """The embedded pack in memory, shared by every test: models keep no state."""
    return load_models(LocalOptions(), model_cache)


@pytest.fixture
def store_at() -> Iterator[StoreAt]:
    """Opens the galleries of a directory; what a test opened is closed after it."""
    with ExitStack() as after:

        def opened(directory: Path) -> SqliteGalleryStore:
            store = SqliteGalleryStore(directory)
            after.callback(store.close)
            return store

        yield opened


@pytest.fixture
def local(embedded_models: FaceModels, store_at: StoreAt, tmp_path: Path) -> LocalRecognizer:
    """A recognizer with the embedded pack and no galleries."""
    capabilities = capabilities_of("local", embedded_models, {})
    return LocalRecognizer(embedded_models, store_at(tmp_path / "galleries"), capabilities)
