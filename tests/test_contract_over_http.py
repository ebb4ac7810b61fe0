"""The boto3 backend keeps the contract against our own service, over loopback HTTP.

A disagreement is a bug in the adapter, in the service, or in our reading of AWS.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rekadapter.backends.local import open_local
from rekadapter.backends.rekognition import open_rekognition
from rekadapter.backends.rekognition.limits import OPERATIONS
from rekadapter.errors import UsageError
from rekadapter.recognizer import BackendContext, Recognizer
from rekadapter.rekognition_api.server import ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.testing.contract import RecognizerContract, UserContract
from rekadapter.testing.material import ContractMaterial, photo_material


def _over_http(served: Recognizer, folder: Path) -> Iterator[Recognizer]:
    context = BackendContext(data_dir=folder, cache_dir=folder)
    options = {
        "endpoint_url": "",
        "unsigned": True,
        "region": "us-east-1",
        "requests_per_second": dict.fromkeys(OPERATIONS, 1000.0),
    }
    with ServiceServer(create_app(RekognitionService(served))) as server:
        recognizer = open_rekognition("cloud", {**options, "endpoint_url": server.url}, context)
        yield recognizer
        recognizer.close()
    for gallery in list(served.galleries()):
        served.delete_gallery(gallery)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recognizer]:
    folder = tmp_path_factory.mktemp("local")
    recognizer = open_local("local", {}, BackendContext(data_dir=folder, cache_dir=folder))
    yield recognizer
    recognizer.close()


@pytest.fixture(scope="module")
def photos() -> ContractMaterial:
    try:
        return photo_material()
    except UsageError as error:
        pytest.skip(str(error))


class TestRekognitionOverServiceOverLocal(RecognizerContract):
    @pytest.fixture
    def recognizer(self, served: Recognizer, tmp_path: Path) -> Iterator[Recognizer]:
        yield from _over_http(served, tmp_path)

    @pytest.fixture
    def material(self, photos: ContractMaterial) -> ContractMaterial:
        return photos


class TestRekognitionUsersOverServiceOverLocal(UserContract):
    @pytest.fixture
    def recognizer(self, served: Recognizer, tmp_path: Path) -> Iterator[Recognizer]:
        yield from _over_http(served, tmp_path)

    @pytest.fixture
    def material(self, photos: ContractMaterial) -> ContractMaterial:
        return photos
