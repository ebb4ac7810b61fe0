"""The boto3 backend keeps the contract against our own service, over loopback HTTP.

A disagreement is a bug in the adapter, in the service, or in our reading of AWS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from rekadapter.backends.local import open_local
from rekadapter.backends.rekognition import open_rekognition
from rekadapter.backends.rekognition.limits import OPERATIONS
from rekadapter.errors import UsageError
from rekadapter.recognizer import BackendContext, Recognizer
from rekadapter.rekognition_api.objects import BotoObjects
from rekadapter.rekognition_api.server import ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.testing.contract import RecognizerContract, UserContract
from rekadapter.testing.material import ContractMaterial, photo_material


def _over_http(served: Recognizer, folder: Path) -> Iterator[Recognizer]:
    with ServiceServer(create_app(RekognitionService(served))) as server:
        recognizer = _opened(server.url, folder, {})
        yield recognizer
        recognizer.close()
    _empty(served)


def _opened(url: str, folder: Path, more: Mapping[str, object]) -> Recognizer:
    options = {
        "endpoint_url": url,
        "unsigned": True,
        "region": "us-east-1",
        "requests_per_second": dict.fromkeys(OPERATIONS, 1000.0),
        **more,
    }
    return open_rekognition("cloud", options, BackendContext(data_dir=folder, cache_dir=folder))


def _empty(served: Recognizer) -> None:
    for gallery in list(served.galleries()):
        served.delete_gallery(gallery)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recognizer]:
    folder = tmp_path_factory.mktemp("local")
    recognizer = open_local("local", {}, BackendContext(data_dir=folder, cache_dir=folder))
    yield recognizer
    recognizer.close()


@dataclass(frozen=True)
class Bucket:
    """A bucket of moto's S3, and a service that reads there."""

    name: str
    url: str
    service_url: str
    served: Recognizer
    client: Any

    def keys(self) -> list[str]:
        listed = self.client.list_objects_v2(Bucket=self.name)
        return [one["Key"] for one in listed.get("Contents", [])]


@pytest.fixture(scope="module")
def bucket(served: Recognizer) -> Iterator[Bucket]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    url = f"http://127.0.0.1:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret-for-tests-only",
    )
    client.create_bucket(Bucket="pictures")
    objects = BotoObjects(client)
    with ServiceServer(create_app(RekognitionService(served, s3=objects))) as service:
        yield Bucket("pictures", url, service.url, served, client)
    objects.close()
    server.stop()


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


class TestRekognitionThroughABucket(RecognizerContract):
    """Every image goes through S3, here moto's; none may be left there."""

    @pytest.fixture
    def recognizer(self, bucket: Bucket, tmp_path: Path) -> Iterator[Recognizer]:
        options = {"s3_bucket": bucket.name, "s3_endpoint_url": bucket.url, "s3_from_bytes": 0}
        recognizer = _opened(bucket.service_url, tmp_path, options)
        yield recognizer
        recognizer.close()
        _empty(bucket.served)
        assert bucket.keys() == []

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
