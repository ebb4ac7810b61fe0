"""Rekognition without moto: botocore's clients, answered before they send."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import boto3
import botocore.session
import pytest
from botocore import UNSIGNED
from botocore.exceptions import EndpointConnectionError, NoCredentialsError
from botocore.handlers import BUILTIN_HANDLERS
from moto import mock_aws

from rekadapter.errors import ConfigError
from rekadapter.testing.rekognition import (
    MockEndedError,
    MotoActiveError,
    RekognitionMock,
    mocked_rekognition,
    picture_of,
)
from tests.mocking.clients import one_attempt

NOBODY = "http://127.0.0.1:9"
"""Where no server listens."""


def test_a_client_made_before_is_answered_within_the_block_only() -> None:
    client = boto3.client("rekognition", endpoint_url=NOBODY)
    with mocked_rekognition(client):
        client.create_collection(CollectionId="staff")
        assert client.list_collections()["CollectionIds"] == ["staff"]
    with pytest.raises(EndpointConnectionError):
        client.list_collections()


def test_another_client_is_left_alone() -> None:
    client, other = one_attempt(), boto3.client("rekognition", endpoint_url=NOBODY)
    with mocked_rekognition(client), pytest.raises(EndpointConnectionError):
        other.list_collections()


def test_clients_with_one_mock_share_its_collections() -> None:
    one, other = one_attempt(), one_attempt()
    with mocked_rekognition(one) as mock, mocked_rekognition(other, mock=mock):
        one.create_collection(CollectionId="staff")
        assert other.list_collections()["CollectionIds"] == ["staff"]


def test_clients_with_a_mock_each_share_nothing() -> None:
    one, other = one_attempt(), one_attempt()
    with mocked_rekognition(one), mocked_rekognition(other):
        one.create_collection(CollectionId="staff")
        assert other.list_collections()["CollectionIds"] == []


def test_a_mock_of_ones_own_outlives_the_block() -> None:
    mock, client = RekognitionMock(), one_attempt()
    with mocked_rekognition(client, mock=mock):
        client.create_collection(CollectionId="staff")
    with mocked_rekognition(client, mock=mock):
        assert client.list_collections()["CollectionIds"] == ["staff"]


@pytest.mark.parametrize("kind", [boto3.Session, botocore.session.Session])
def test_a_sessions_new_clients_are_answered(kind: type) -> None:
    session = kind()
    make = cast("Any", session.client if kind is boto3.Session else session.create_client)
    with mocked_rekognition(session):
        client = make("rekognition", region_name="eu-west-1")
        made = client.create_collection(CollectionId="staff")
        assert (
            made["CollectionArn"] == "arn:aws:rekognition:eu-west-1:123456789012:collection/staff"
        )
        elsewhere = make("rekognition", region_name="us-east-1")
        assert elsewhere.list_collections()["CollectionIds"] == []
    with pytest.raises(MockEndedError, match="within the block"):
        client.list_collections()
    fresh = make("rekognition", region_name="us-east-1", endpoint_url=NOBODY)
    with pytest.raises(EndpointConnectionError):
        fresh.list_collections()


def test_without_a_target_every_new_client_is_answered() -> None:
    boto3.client("rekognition", region_name="us-east-1")  # makes boto3's default session
    default, handlers = boto3.DEFAULT_SESSION, list(BUILTIN_HANDLERS)
    with mocked_rekognition():
        one_attempt().create_collection(CollectionId="staff")
        own = boto3.Session().client("rekognition", region_name="us-east-1")
        assert own.list_collections()["CollectionIds"] == ["staff"]
    assert boto3.DEFAULT_SESSION is default
    assert handlers == BUILTIN_HANDLERS


def test_without_a_target_nothing_of_the_machine_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_") and "FILE" not in name:
            monkeypatch.delenv(name)
    with mocked_rekognition():
        client = boto3.client("rekognition")
        assert client.meta.region_name == "us-east-1"
        assert client.list_collections()["CollectionIds"] == []
    assert "AWS_ACCESS_KEY_ID" not in os.environ


@pytest.mark.parametrize("kind", ["client", "session"])
def test_a_client_without_credentials_signs_with_some_that_nobody_can_use(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    session = boto3.Session(region_name="eu-west-1")
    client = session.client("rekognition", endpoint_url=NOBODY)
    seen: list[Any] = []
    with mocked_rekognition(client if kind == "client" else session):
        used = client if kind == "client" else session.client("rekognition")
        used.meta.events.register_first("before-send.*", lambda request, **_: seen.append(request))
        made = used.create_collection(CollectionId="staff")
    assert ":eu-west-1:" in made["CollectionArn"]
    assert b"AWS4-HMAC-SHA256 Credential=AKIAMOCKED" in seen[0].headers["Authorization"]
    with pytest.raises(NoCredentialsError):
        client.list_collections()


def test_a_client_with_credentials_signs_with_its_own() -> None:
    client, seen = one_attempt(), []
    client.meta.events.register_first("before-send.*", lambda request, **_: seen.append(request))
    with mocked_rekognition(client):
        client.list_collections()
    assert b"Credential=AKIDEXAMPLE/" in seen[0].headers["Authorization"]


def test_requests_are_signed_and_answers_parsed() -> None:
    seen: list[Any] = []
    client = one_attempt()
    client.meta.events.register_first(
        "before-send.rekognition", lambda request, **_: seen.append(request)
    )
    with mocked_rekognition(client):
        client.create_collection(CollectionId="staff")
        described = client.describe_collection(CollectionId="staff")
    assert b"AWS4-HMAC-SHA256" in seen[0].headers["Authorization"]
    assert described["CreationTimestamp"].tzinfo is not None
    assert described["ResponseMetadata"]["RequestId"]


@pytest.mark.parametrize(
    "settings",
    [
        {"use_fips_endpoint": True},
        {"use_dualstack_endpoint": True},
        {"signature_version": UNSIGNED},
        {"signature_version": UNSIGNED, "use_dualstack_endpoint": True},
    ],
    ids=["FIPS", "dual stack", "unsigned", "unsigned dual stack"],
)
def test_every_endpoint_is_answered_in_its_region(settings: dict[str, object]) -> None:
    client = one_attempt("us-west-2", **settings)
    with mocked_rekognition(client):
        made = client.create_collection(CollectionId="staff")
    assert ":us-west-2:" in made["CollectionArn"]


def test_an_endpoint_of_ones_own_is_answered_too() -> None:
    client = boto3.client("rekognition", endpoint_url="http://127.0.0.1:9/base/path")
    with mocked_rekognition(client, account="111122223333"):
        assert ":111122223333:" in client.create_collection(CollectionId="a")["CollectionArn"]


def test_the_errors_are_the_clients_own() -> None:
    client = one_attempt()
    with mocked_rekognition(client):
        client.create_collection(CollectionId="staff")
        with pytest.raises(client.exceptions.ResourceAlreadyExistsException):
            client.create_collection(CollectionId="staff")
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.list_faces(CollectionId="other")
        with pytest.raises(client.exceptions.InvalidS3ObjectException):
            client.detect_faces(Image={"S3Object": {"Bucket": "none", "Name": "a"}})


def test_a_client_made_in_an_inner_block_is_the_inner_mocks() -> None:
    with mocked_rekognition() as outer:
        outers = one_attempt()
        with mocked_rekognition() as inner:
            one_attempt().list_collections()
            assert (outer.calls("ListCollections"), inner.calls("ListCollections")) == (0, 1)
            outers.list_collections()
            assert (outer.calls("ListCollections"), inner.calls("ListCollections")) == (1, 1)


def test_one_client_in_two_blocks_is_refused() -> None:
    client = one_attempt()
    with (
        mocked_rekognition(client),
        mocked_rekognition(client),
        pytest.raises(ConfigError, match="mocks this client already"),
    ):
        client.list_collections()


def test_within_motos_mock_it_points_to_the_extension() -> None:
    with mock_aws(), pytest.raises(MotoActiveError, match=r"install\(\)"), mocked_rekognition():
        pass


def test_motos_mock_within_it_is_refused_at_the_first_request() -> None:
    client = one_attempt()
    with mocked_rekognition(client), mock_aws(), pytest.raises(MotoActiveError):
        client.list_collections()


@pytest.mark.parametrize("target", [boto3.client("s3"), object()], ids=["S3", "nothing"])
def test_it_is_put_before_rekognition_only(target: Any) -> None:
    with pytest.raises(ConfigError), mocked_rekognition(target):
        pass


def test_s3_needs_no_moto() -> None:
    client = one_attempt()
    with mocked_rekognition(client) as mock:
        mock.put_object("pictures", "a", picture_of("alice"))
        found = client.detect_faces(Image={"S3Object": {"Bucket": "pictures", "Name": "a"}})
    assert len(found["FaceDetails"]) == 1


def test_threads_lose_nothing() -> None:
    client = one_attempt()

    def index(number: int) -> None:
        drawn = picture_of(f"person {number}")
        client.index_faces(CollectionId="staff", Image={"Bytes": drawn})

    with mocked_rekognition(client) as mock, ThreadPoolExecutor(8) as pool:
        client.create_collection(CollectionId="staff")
        list(pool.map(index, range(40)))
        assert client.describe_collection(CollectionId="staff")["FaceCount"] == 40
        assert mock.calls("IndexFaces") == 40
