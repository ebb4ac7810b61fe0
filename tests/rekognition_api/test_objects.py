"""Objects of buckets: a folder never leads out of itself, and S3's errors are told apart."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.errors import ConfigError, ConnectionFailedError, ThrottledError
from rekadapter.imaging import encode_jpeg
from rekadapter.rekognition_api.context import MAX_S3_IMAGE_BYTES, S3Location, S3ObjectError
from rekadapter.rekognition_api.objects import (
    CHUNK_BYTES,
    BotoObjects,
    DirectoryObjects,
    ObjectStore,
    open_s3,
)
from rekadapter.rekognition_api.server import ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.testing.drawn import portrait

SECRET = b"nobody's business"
BUCKET = "photos"


def at(key: str, bucket: str = BUCKET, version: str | None = None) -> S3Location:
    return S3Location(bucket, key, version, account="123456789012", region="eu-west-1")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """``buckets/photos`` with two objects, and a secret beside ``buckets``."""
    (tmp_path / "secret").write_bytes(SECRET)
    root = tmp_path / "buckets"
    (root / BUCKET / "2026").mkdir(parents=True)
    (root / BUCKET / "ann.jpg").write_bytes(b"ann")
    (root / BUCKET / "2026" / "bob.jpg").write_bytes(b"bob")
    return root


@pytest.fixture
def folder(root: Path) -> DirectoryObjects:
    return DirectoryObjects(root)


# --- a directory ------------------------------------------------------------------------------


def test_a_key_with_slashes_is_a_file_in_folders(folder: DirectoryObjects) -> None:
    assert folder.read(at("ann.jpg"), max_bytes=10) == b"ann"
    assert folder.read(at("2026/bob.jpg"), max_bytes=10) == b"bob"
    assert folder.size(at("2026/bob.jpg")) == 3


def test_no_more_is_read_than_shows_that_it_is_too_much(folder: DirectoryObjects) -> None:
    assert len(folder.read(at("ann.jpg"), max_bytes=1)) == 2


def test_a_large_object_comes_in_bounded_pieces(folder: DirectoryObjects, root: Path) -> None:
    data = os.urandom(2 * CHUNK_BYTES + 5)
    (root / BUCKET / "large").write_bytes(data)
    chunks = list(folder.chunks(at("large")))
    assert b"".join(chunks) == data
    assert max(map(len, chunks)) <= CHUNK_BYTES


@pytest.mark.parametrize(
    "key",
    [
        "../../secret",
        "../photos/ann.jpg",
        "2026/../ann.jpg",
        "./ann.jpg",
        "/ann.jpg",
        "2026//bob.jpg",
        "2026/",
        "2026",
        "",
        "none.jpg",
        "ann.jpg/more",
        "ann\0.jpg",
        "\ud800",
        "x" * 1024,
    ],
)
def test_a_key_that_names_no_file_of_the_bucket_is_unreadable(
    folder: DirectoryObjects, key: str
) -> None:
    with pytest.raises(S3ObjectError):
        folder.read(at(key), max_bytes=100)


@pytest.mark.parametrize("bucket", ["..", ".", "", "none", "photos/2026", "../buckets/photos"])
def test_a_bucket_is_one_folder_below_the_root(folder: DirectoryObjects, bucket: str) -> None:
    with pytest.raises(S3ObjectError):
        folder.size(at("bob.jpg", bucket=bucket))


def test_links_are_not_followed_wherever_they_stand(folder: DirectoryObjects, root: Path) -> None:
    (root / BUCKET / "link.jpg").symlink_to(root.parent / "secret")
    (root / BUCKET / "out").symlink_to(root.parent)
    (root / "linked-bucket").symlink_to(root.parent)
    for location in (at("link.jpg"), at("out/secret"), at("secret", bucket="linked-bucket")):
        with pytest.raises(S3ObjectError):
            folder.read(location, max_bytes=100)


def test_a_pipe_neither_blocks_nor_is_read(folder: DirectoryObjects, root: Path) -> None:
    os.mkfifo(root / BUCKET / "pipe")
    reader = threading.Thread(target=_refused, args=(folder, at("pipe")), daemon=True)
    reader.start()
    reader.join(10)
    assert not reader.is_alive()


def _refused(folder: DirectoryObjects, location: S3Location) -> None:
    with pytest.raises(S3ObjectError):
        folder.read(location, max_bytes=100)


def test_a_folder_has_no_versions(folder: DirectoryObjects) -> None:
    assert folder.read(at("ann.jpg", version="null"), max_bytes=10) == b"ann"
    with pytest.raises(S3ObjectError):
        folder.read(at("ann.jpg", version="3"), max_bytes=10)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(
        st.sampled_from(["..", ".", "", "secret", "photos", "buckets", "link", "ann.jpg"])
        | st.text(max_size=4),
        max_size=6,
    )
)
def test_no_key_reads_what_is_outside(root: Path, parts: list[str]) -> None:
    link = root / BUCKET / "link"
    if not link.is_symlink():
        link.symlink_to(root.parent)
    folder = DirectoryObjects(root)
    try:
        found = folder.read(at("/".join(parts)), max_bytes=100)
    except S3ObjectError:
        return
    assert found in {b"ann", b"bob"}


def test_a_root_that_is_no_directory_is_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match="no directory"):
        DirectoryObjects(root / BUCKET / "ann.jpg")


# --- S3 ---------------------------------------------------------------------------------------


@pytest.fixture
def s3() -> Iterator[BotoObjects]:
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key="ann.jpg", Body=b"ann")
        client.close()
        objects = open_s3(region="us-east-1")
        yield objects
        objects.close()


def test_an_object_of_s3_is_read_measured_and_streamed(s3: BotoObjects) -> None:
    assert s3.read(at("ann.jpg"), max_bytes=10) == b"ann"
    assert s3.size(at("ann.jpg")) == 3
    assert list(s3.chunks(at("ann.jpg"))) == [b"ann"]


@pytest.mark.parametrize(
    "location", [at("none.jpg"), at("ann.jpg", bucket="nobodys"), at("ann.jpg", version="17")]
)
def test_what_s3_does_not_hold_is_unreadable(s3: BotoObjects, location: S3Location) -> None:
    with pytest.raises(S3ObjectError):
        s3.read(location, max_bytes=10)
    with pytest.raises(S3ObjectError):
        s3.size(location)


def test_only_named_buckets_are_read_where_some_are_named() -> None:
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        for bucket in (BUCKET, "payroll"):
            client.create_bucket(Bucket=bucket)
            client.put_object(Bucket=bucket, Key="ann.jpg", Body=b"ann")
        objects = BotoObjects(client, buckets=frozenset({BUCKET}))
        assert objects.size(at("ann.jpg")) == 3
        with pytest.raises(S3ObjectError):
            objects.read(at("ann.jpg", bucket="payroll"), max_bytes=10)
        objects.close()


def test_an_endpoint_that_does_not_answer_is_no_missing_object() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        objects = open_s3(f"http://127.0.0.1:{taken.getsockname()[1]}", region="us-east-1")
        with pytest.raises(ConnectionFailedError, match="--s3-endpoint"):
            objects.size(at("ann.jpg"))
        objects.close()


def test_slow_down_is_throttling() -> None:
    with pytest.raises(ThrottledError):
        BotoObjects(_SlowS3()).size(at("ann.jpg"))


class _SlowS3:
    """Always asks to slow down."""

    def head_object(self, **members: str) -> dict[str, object]:
        del members
        raise ClientError({"Error": {"Code": "SlowDown"}}, "HeadObject")

    get_object = head_object

    def close(self) -> None:
        """Nothing is open."""


def test_both_stores_stream(folder: DirectoryObjects) -> None:
    assert isinstance(folder, ObjectStore)
    assert isinstance(BotoObjects(_SlowS3()), ObjectStore)


def test_an_endpoint_that_is_no_url_is_a_setting_gone_wrong() -> None:
    with pytest.raises(ConfigError, match="S3 client"):
        open_s3("not a url", region="us-east-1")


# --- through the service ----------------------------------------------------------------------


def test_images_come_out_of_the_directory_within_15_megabytes(root: Path) -> None:
    (root / BUCKET / "face.jpg").write_bytes(encode_jpeg(portrait("ann"), 95))
    (root / BUCKET / "large.jpg").write_bytes(b"\xff" * (MAX_S3_IMAGE_BYTES + 1))
    service = RekognitionService(MemoryRecognizer(), s3=DirectoryObjects(root))
    with ServiceServer(create_app(service)) as server:
        client = boto3.client("rekognition", endpoint_url=server.url, region_name="eu-west-1")
        found = client.detect_faces(Image={"S3Object": {"Bucket": BUCKET, "Name": "face.jpg"}})
        assert len(found["FaceDetails"]) == 1
        with pytest.raises(client.exceptions.ImageTooLargeException):
            client.detect_faces(Image={"S3Object": {"Bucket": BUCKET, "Name": "large.jpg"}})
        with pytest.raises(client.exceptions.InvalidS3ObjectException):
            client.detect_faces(Image={"S3Object": {"Bucket": BUCKET, "Name": "../../secret"}})
        client.close()
