"""A service over drawn faces, and a real boto3 client talking to it over loopback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.rekognition_api.server import ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.testing.material import ContractMaterial, drawn_material

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient


@pytest.fixture(scope="session")
def material() -> ContractMaterial:
    return drawn_material()


@pytest.fixture
def recognizer() -> MemoryRecognizer:
    return MemoryRecognizer()


@pytest.fixture
def service(recognizer: MemoryRecognizer) -> RekognitionService:
    return RekognitionService(recognizer)


@pytest.fixture
def url(service: RekognitionService) -> Iterator[str]:
    with ServiceServer(create_app(service)) as server:
        yield server.url


@pytest.fixture
def client(url: str) -> Iterator[RekognitionClient]:
    client = client_for(url)
    yield client
    client.close()


@pytest.fixture
def unsigned(url: str) -> Iterator[RekognitionClient]:
    client = client_for(url, signed=False)
    yield client
    client.close()


def client_for(url: str, *, signed: bool = True, **settings: object) -> RekognitionClient:
    """boto3 without retries, so that a test sees each answer."""
    config = Config(retries={"total_max_attempts": 1}, **settings)  # type: ignore[arg-type]  # a test's own settings
    if not signed:
        config = config.merge(Config(signature_version=UNSIGNED))
    return boto3.client("rekognition", endpoint_url=url, region_name="eu-west-1", config=config)
