"""Stream processors in the mocks: they search what is shown, within the call that shows it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from rekadapter.errors import InvalidImageError, OutputError
from rekadapter.rekognition_api.mock_works import Surroundings
from rekadapter.testing.rekognition import (
    RekognitionMock,
    installed,
    mocked_rekognition,
    picture_of,
)
from tests.mocking.clients import one_attempt
from tests.rekognition_api.model_check import held_to_the_model

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient
    from mypy_boto3_rekognition.type_defs import ImageTypeDef

ALICE = picture_of("alice")
ROLE = "arn:aws:iam::123456789012:role/streams"
ANY_CLIENT: Callable[..., Any] = boto3.client
"""Of a service whose stubs are not installed."""


def _enrolled(client: RekognitionClient) -> RekognitionClient:
    client.create_collection(CollectionId="staff")
    alice: ImageTypeDef = {"Bytes": ALICE}
    client.index_faces(CollectionId="staff", Image=alice, ExternalImageId="alice")
    return client


def _create(client: RekognitionClient, name: str = "door", stream: str = "lobby") -> str:
    region, account = client.meta.region_name, "123456789012"
    arn = f"arn:aws:kinesisvideo:{region}:{account}:stream/{stream}/1500000000000"
    made = client.create_stream_processor(
        Name=name,
        Input={"KinesisVideoStream": {"Arn": arn}},
        Output={"KinesisDataStream": {"Arn": f"arn:aws:kinesis:{region}:{account}:stream/faces"}},
        RoleArn=ROLE,
        Settings={"FaceSearch": {"CollectionId": "staff"}},
        Tags={"floor": "0"},
    )
    return made["StreamProcessorArn"]


@dataclass(frozen=True)
class Rig:
    mock: RekognitionMock
    client: RekognitionClient

    def named(self) -> list[list[str]]:
        """Who was named in each record."""
        return [
            [match["Face"]["ExternalImageId"] for match in face["MatchedFaces"]]
            for record in self.mock.records("faces")
            for face in json.loads(json.dumps(record))["FaceSearchResponse"]
        ]

    def status(self) -> str:
        return self.client.describe_stream_processor(Name="door")["Status"]


@pytest.fixture(params=["in process", "moto"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    mock = RekognitionMock()
    if request.param == "in process":
        with mocked_rekognition(mock=mock):
            yield Rig(mock, _enrolled(held_to_the_model(one_attempt())))
        mock.close()
    else:
        with installed(mock), mock_aws():
            yield Rig(mock, _enrolled(held_to_the_model(one_attempt())))


def test_a_life_cycle(rig: Rig) -> None:
    before = threading.active_count()
    arn = _create(rig.client)
    assert rig.status() == "STOPPED"
    assert rig.client.start_stream_processor(Name="door")["SessionId"]
    assert rig.status() == "RUNNING"
    rig.mock.show("lobby", ALICE, picture_of())
    rig.mock.show("lobby", picture_of("bob", "alice"))
    assert len(rig.mock.records("faces")) == 3
    assert rig.named() == [["alice"], [], ["alice"]]
    assert threading.active_count() == before
    rig.client.stop_stream_processor(Name="door")
    assert rig.status() == "STOPPED"
    assert rig.client.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"floor": "0"}
    listed = rig.client.list_stream_processors()["StreamProcessors"]
    assert listed == [{"Name": "door", "Status": "STOPPED"}]
    rig.client.delete_stream_processor(Name="door")
    assert rig.client.list_stream_processors()["StreamProcessors"] == []


def test_what_was_shown_before_is_searched_at_the_start_and_only_once(rig: Rig) -> None:
    rig.mock.show("lobby", ALICE)
    _create(rig.client)
    for expected in (1, 1):
        rig.client.start_stream_processor(Name="door")
        assert len(rig.mock.records("faces")) == expected
        rig.client.stop_stream_processor(Name="door")
    rig.mock.show("lobby", ALICE, ALICE)
    assert len(rig.mock.records("faces")) == 1
    rig.client.start_stream_processor(Name="door")
    assert len(rig.mock.records("faces")) == 3


def test_another_stream_is_nobodys_business(rig: Rig) -> None:
    _create(rig.client)
    rig.client.start_stream_processor(Name="door")
    rig.mock.show("yard", ALICE)
    assert rig.mock.records("faces") == ()


def test_records_are_numbered_as_if_the_pictures_came_a_second_apart(rig: Rig) -> None:
    _create(rig.client)
    rig.client.start_stream_processor(Name="door")
    rig.mock.show("lobby", *[ALICE] * 4)
    inputs: Any = [record["InputInformation"] for record in rig.mock.records("faces")]
    fragments = [int(found["KinesisVideo"]["FragmentNumber"]) for found in inputs]
    offsets = [found["KinesisVideo"]["FrameOffsetInSeconds"] for found in inputs]
    assert (fragments, offsets) == ([1, 1, 2, 2], [0.0, 1.0, 0.0, 1.0])


def test_declared_pictures_count_here_too(rig: Rig) -> None:
    rig.mock.declare("alice", image=picture_of("somebody"))
    rig.mock.declare((), image=picture_of("nobody"))
    rig.client.index_faces(CollectionId="staff", Image={"Bytes": picture_of("somebody")})
    _create(rig.client)
    rig.client.start_stream_processor(Name="door")
    rig.mock.show("lobby", picture_of("nobody"), picture_of("somebody"))
    faces: Any = [record["FaceSearchResponse"] for record in rig.mock.records("faces")]
    assert [len(found) for found in faces] == [0, 1]
    assert len(faces[1][0]["MatchedFaces"]) == 1


def test_a_collection_that_goes_has_the_processor_fail(rig: Rig) -> None:
    _create(rig.client)
    rig.client.start_stream_processor(Name="door")
    rig.client.delete_collection(CollectionId="staff")
    rig.mock.show("lobby", ALICE)
    described = rig.client.describe_stream_processor(Name="door")
    assert described["Status"] == "FAILED"
    assert "staff" in described["StatusMessage"]


def test_what_is_no_picture_is_not_shown(rig: Rig) -> None:
    with pytest.raises(InvalidImageError):
        rig.mock.show("lobby", ALICE, b"no picture")
    _create(rig.client)
    rig.client.start_stream_processor(Name="door")
    assert rig.mock.records("faces") == ()


def test_a_running_processor_is_neither_started_nor_deleted(rig: Rig) -> None:
    _create(rig.client)
    rig.client.start_stream_processor(Name="door")
    for refused in (rig.client.start_stream_processor, rig.client.delete_stream_processor):
        with pytest.raises(rig.client.exceptions.ResourceInUseException):
            refused(Name="door")


def test_regions_have_their_own(rig: Rig) -> None:
    _create(rig.client)
    elsewhere = _enrolled(one_attempt("eu-west-1"))
    assert elsewhere.list_stream_processors()["StreamProcessors"] == []
    _create(elsewhere)
    for client in (rig.client, elsewhere):
        client.start_stream_processor(Name="door")
    rig.mock.show("lobby", ALICE)
    assert len(rig.mock.records("faces")) == 2


def test_pictures_shown_at_once_are_searched_once() -> None:
    with mocked_rekognition() as mock:
        client = _enrolled(one_attempt())
        _create(client)
        client.start_stream_processor(Name="door")
        threads = [
            threading.Thread(target=mock.show, args=("lobby", *[ALICE] * 5)) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(mock.records("faces")) == 20


def test_motos_data_stream_gets_the_records() -> None:
    with installed() as mock, mock_aws():
        kinesis = ANY_CLIENT("kinesis", "us-east-1")
        kinesis.create_stream(StreamName="faces", ShardCount=1)
        client = _enrolled(one_attempt())
        _create(client)
        client.start_stream_processor(Name="door")
        mock.show("lobby", ALICE, picture_of())
        shard = kinesis.describe_stream(StreamName="faces")["StreamDescription"]["Shards"][0]
        iterator = kinesis.get_shard_iterator(
            StreamName="faces", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        got = [
            json.loads(one["Data"])
            for one in kinesis.get_records(ShardIterator=iterator)["Records"]
        ]
        assert got == list(mock.records("faces"))
        assert len(got) == 2


def test_a_reset_forgets_processors_pictures_and_records() -> None:
    with installed() as mock:
        for _ in range(2):
            with mock_aws():
                client = _enrolled(one_attempt())
                assert client.list_stream_processors()["StreamProcessors"] == []
                assert mock.records("faces") == ()
                _create(client)
                client.start_stream_processor(Name="door")
                assert mock.records("faces") == ()
                mock.show("lobby", ALICE)
                assert len(mock.records("faces")) == 1


def test_what_is_shown_outside_the_mock_stays() -> None:
    with installed() as mock:
        mock.show("lobby", ALICE)
        for _ in range(2):
            with mock_aws():
                client = _enrolled(one_attempt())
                _create(client)
                client.start_stream_processor(Name="door")
                assert len(mock.records("faces")) == 1


def test_a_data_stream_that_refuses_has_the_processor_fail() -> None:
    class Full:
        def put(self, stream: str, record: bytes) -> None:
            raise OutputError(f"{stream} has no room for {len(record)} bytes")

    mock = RekognitionMock()
    region = mock.open_region(Surroundings(data_streams=Full()))

    def ask(operation: str, **members: Any) -> Any:
        target, body = f"RekognitionService.{operation}", json.dumps(members).encode()
        answer = region.handle(target, body, account="123456789012", region="us-east-1")
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    ask("CreateCollection", CollectionId="staff")
    video = "arn:aws:kinesisvideo:us-east-1:123456789012:stream/lobby/1500000000000"
    data = "arn:aws:kinesis:us-east-1:123456789012:stream/faces"
    ask(
        "CreateStreamProcessor",
        Name="door",
        Input={"KinesisVideoStream": {"Arn": video}},
        Output={"KinesisDataStream": {"Arn": data}},
        RoleArn=ROLE,
        Settings={"FaceSearch": {"CollectionId": "staff"}},
    )
    mock.show("lobby", ALICE)
    ask("StartStreamProcessor", Name="door")
    assert ask("DescribeStreamProcessor", Name="door")["Status"] == "FAILED"
    region.close()
