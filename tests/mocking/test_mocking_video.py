"""Stored video in the mocks: jobs that are over at once, or after so many questions; no thread."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.errors import ConfigError
from rekadapter.imaging import Image
from rekadapter.rekognition_api.jobs.settings import VideoSettings
from rekadapter.rekognition_api.moto_ext import install as moto_install
from rekadapter.testing.rekognition import (
    EVERY_ANSWER,
    RekognitionMock,
    fail,
    installed,
    mocked_rekognition,
    picture_of,
    video_of,
)
from rekadapter.types import Detection
from tests.mocking.clients import one_attempt
from tests.rekognition_api.model_check import held_to_the_model

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient
    from mypy_boto3_rekognition.type_defs import ImageTypeDef, VideoTypeDef

LOBBY = video_of("alice", ("bob", "alice"), ())
"""A second of Alice, one of Bob and Alice, one of nobody."""
VIDEO: VideoTypeDef = {"S3Object": {"Bucket": "videos", "Name": "lobby.mp4"}}
ROLE = "arn:aws:iam::123456789012:role/publisher"


@dataclass(frozen=True)
class Rig:
    """A mock, a client of it, and a way to put objects where it reads them."""

    mock: RekognitionMock
    client: RekognitionClient
    put: Callable[[str, bytes], object]

    def start(self, **members: Any) -> str:
        given = {"Video": VIDEO, "CollectionId": "staff", **members}
        return self.client.start_face_search(**given)["JobId"]

    def seen(self, job_id: str) -> list[tuple[int, list[str]]]:
        """Each moment of a job that is over, and who was named."""
        found = self.client.get_face_search(JobId=job_id)
        assert found["JobStatus"] == "SUCCEEDED", found.get("StatusMessage")
        return [
            (seen["Timestamp"], [match["Face"]["ExternalImageId"] for match in seen["FaceMatches"]])
            for seen in found["Persons"]
        ]


@pytest.fixture(params=["in process", "moto"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    mock = RekognitionMock()
    if request.param == "in process":
        with mocked_rekognition(mock=mock):
            yield _rig(mock, lambda key, data: mock.put_object("videos", key, data))
        mock.close()
    else:
        with installed(mock, own_answers=EVERY_ANSWER), mock_aws():
            s3 = boto3.client("s3", "us-east-1")
            s3.create_bucket(Bucket="videos")
            yield _rig(mock, lambda key, data: s3.put_object(Bucket="videos", Key=key, Body=data))


def _rig(mock: RekognitionMock, put: Callable[[str, bytes], object]) -> Rig:
    client = held_to_the_model(one_attempt())
    client.create_collection(CollectionId="staff")
    alice: ImageTypeDef = {"Bytes": picture_of("alice")}
    client.index_faces(CollectionId="staff", Image=alice, ExternalImageId="alice")
    put("lobby.mp4", LOBBY)
    return Rig(mock, client, put)


# --- what a job finds -----------------------------------------------------------------------------


def test_a_search_is_over_when_it_is_first_asked_for(rig: Rig) -> None:
    found = rig.client.get_face_search(JobId=rig.start(JobTag="night"))
    assert (found["JobStatus"], found["JobTag"]) == ("SUCCEEDED", "night")
    assert found["VideoMetadata"]["Codec"] == "h264"
    named = [
        (seen["Timestamp"], len(seen["FaceMatches"]), seen["Person"]["Index"])
        for seen in found["Persons"]
        if seen["Timestamp"] in {0, 1000, 2000}
    ]
    assert named == [(0, 1, 0), (1000, 0, 0), (1000, 1, 1)]


def test_faces_of_a_video_are_detected(rig: Rig) -> None:
    job_id = rig.client.start_face_detection(Video=VIDEO)["JobId"]
    found = rig.client.get_face_detection(JobId=job_id)
    moments = [face["Timestamp"] for face in found["Faces"]]
    assert found["JobStatus"] == "SUCCEEDED"
    assert [moments.count(at) for at in (0, 1000, 2000)] == [1, 2, 0]


def test_pages_and_persons_in_order(rig: Rig) -> None:
    job_id = rig.start()
    page = rig.client.get_face_search(JobId=job_id, SortBy="INDEX", MaxResults=10)
    rest = rig.client.get_face_search(
        JobId=job_id, SortBy="INDEX", MaxResults=10, NextToken=page["NextToken"]
    )
    persons = [seen["Person"]["Index"] for seen in page["Persons"] + rest["Persons"]]
    assert persons == [0] * 10 + [1] * 5
    assert "NextToken" not in rest


def test_the_same_video_gives_the_same_answer_every_time(rig: Rig) -> None:
    assert rig.seen(rig.start()) == rig.seen(rig.start())


def test_one_token_is_one_job(rig: Rig) -> None:
    assert rig.start(ClientRequestToken="once") == rig.start(ClientRequestToken="once")
    with pytest.raises(rig.client.exceptions.IdempotentParameterMismatchException):
        rig.start(ClientRequestToken="once", JobTag="other")


# --- declared videos ------------------------------------------------------------------------------


def test_a_declared_video_shows_whom_it_was_said_to_show(rig: Rig) -> None:
    rig.mock.declare("alice", external_image_id="al")
    picture: ImageTypeDef = {"Bytes": picture_of("nobody in particular")}
    rig.client.index_faces(CollectionId="staff", Image=picture, ExternalImageId="al")
    rig.mock.declare((), s3_key="lobby.mp4")
    rig.mock.declare("alice", s3_key="lobby.mp4", from_seconds=1.0)
    rig.mock.declare(("bob", "alice"), s3_key="lobby.mp4", from_seconds=2.5)
    seen = rig.seen(rig.start())
    assert seen[:5] == [(at, ["al"]) for at in range(1000, 2000, 200)]
    assert [at for at, _ in seen].count(2600) == 2
    assert sorted(names for at, names in seen if at == 2600) == [[], ["al"]]


def test_a_video_is_declared_by_its_bytes_before_its_key(rig: Rig) -> None:
    rig.mock.declare("alice", s3_key="lobby.mp4")
    rig.mock.declare((), image=LOBBY)
    assert rig.seen(rig.start()) == []


def test_declaring_again_replaces_every_moment(rig: Rig) -> None:
    rig.mock.declare("alice", s3_key="lobby.mp4", from_seconds=1.0)
    rig.mock.declare((), s3_key="lobby.mp4")
    assert rig.seen(rig.start()) == []


def test_a_moment_belongs_to_videos() -> None:
    mock = RekognitionMock()
    with pytest.raises(ConfigError, match="moment of a video"):
        mock.declare("alice", external_image_id="a", from_seconds=1.0)
    with pytest.raises(ConfigError, match="moment of a video"):
        mock.declare("alice", s3_key="a.mp4", from_seconds=-1.0)


def test_a_video_needs_a_scene_and_room_for_its_faces() -> None:
    with pytest.raises(ConfigError, match="at least one scene"):
        video_of()
    with pytest.raises(ConfigError, match="room for 11"):
        video_of(tuple("abcdefghijkl"))


# --- under way, and failing -----------------------------------------------------------------------


def test_a_job_takes_as_many_questions_as_it_is_told_to(rig: Rig) -> None:
    rig.mock.video_polls(2)
    job_id = rig.start()
    states = [rig.client.get_face_search(JobId=job_id)["JobStatus"] for _ in range(4)]
    assert states == ["IN_PROGRESS", "IN_PROGRESS", "SUCCEEDED", "SUCCEEDED"]
    with pytest.raises(ConfigError, match="0 times or more"):
        rig.mock.video_polls(-1)


def test_what_is_no_video_fails_with_a_reason(rig: Rig) -> None:
    rig.put("lobby.mp4", b"no video at all")
    found = rig.client.get_face_search(JobId=rig.start())
    assert found["JobStatus"] == "FAILED"
    assert found["StatusMessage"] == "The video is no MP4 or MOV file."


def test_a_video_that_is_not_there_starts_no_job(rig: Rig) -> None:
    with pytest.raises(rig.client.exceptions.InvalidS3ObjectException):
        rig.start(Video={"S3Object": {"Bucket": "videos", "Name": "none.mp4"}})


def test_a_collection_that_is_not_there_starts_no_job(rig: Rig) -> None:
    with pytest.raises(rig.client.exceptions.ResourceNotFoundException):
        rig.start(CollectionId="none")


def test_a_fault_on_order_hits_jobs_too(rig: Rig) -> None:
    rig.mock.inject(fail("VideoTooLargeException", operations="StartFaceSearch", times=1))
    with pytest.raises(rig.client.exceptions.VideoTooLargeException):
        rig.start()
    assert rig.seen(rig.start())
    assert rig.mock.calls("StartFaceSearch") == 2


def test_the_topic_hears_of_the_end(rig: Rig) -> None:
    topic = "arn:aws:sns:us-east-1:123456789012:done"
    job_id = rig.start(NotificationChannel={"SNSTopicArn": topic, "RoleArn": ROLE})
    (notice,) = rig.mock.notices
    assert notice.topic_arn == topic
    assert (notice.message["JobId"], notice.message["Status"]) == (job_id, "SUCCEEDED")
    assert rig.client.get_face_search(JobId=job_id)["JobStatus"] == "SUCCEEDED"


def test_motos_topics_and_queues_hear_of_it() -> None:
    with installed(own_answers=EVERY_ANSWER) as mock, mock_aws():
        s3 = boto3.client("s3", "us-east-1")
        s3.create_bucket(Bucket="videos")
        s3.put_object(Bucket="videos", Key="lobby.mp4", Body=LOBBY)
        sns: Any = boto3.client("sns", "us-east-1")
        sqs: Any = boto3.client("sqs", "us-east-1")
        topic = sns.create_topic(Name="done")["TopicArn"]
        queue = sqs.create_queue(QueueName="done")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["Attributes"]["QueueArn"])
        mock.video_polls(1)
        client = one_attempt()
        job_id = client.start_face_detection(
            Video=VIDEO, NotificationChannel={"SNSTopicArn": topic, "RoleArn": ROLE}
        )["JobId"]
        assert "Messages" not in sqs.receive_message(QueueUrl=queue)
        for _ in range(2):
            client.get_face_detection(JobId=job_id)
        (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
        told = json.loads(json.loads(message["Body"])["Message"])
        assert (told["JobId"], told["API"]) == (job_id, "StartFaceDetection")


# --- nothing is left ------------------------------------------------------------------------------


def test_the_thread_that_asks_does_the_work() -> None:
    workers = []

    class Telling(MemoryRecognizer):
        def detect(self, image: Image) -> Detection:
            workers.append(threading.current_thread())
            return super().detect(image)

    before = set(threading.enumerate())
    with mocked_rekognition(mock=RekognitionMock(recognizer=Telling)) as mock:
        mock.put_object("videos", "lobby.mp4", LOBBY)
        one_attempt().start_face_detection(Video=VIDEO)
        assert set(threading.enumerate()) == before
    assert set(workers) == {threading.current_thread()}
    assert len(workers) == 15
    mock.close()


def test_regions_know_their_own_jobs_only(rig: Rig) -> None:
    job_id = rig.start()
    elsewhere = one_attempt("eu-west-1")
    with pytest.raises(elsewhere.exceptions.ResourceNotFoundException):
        elsewhere.get_face_search(JobId=job_id)


def test_accounts_know_their_own_jobs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with installed(own_answers=EVERY_ANSWER), mock_aws():
        s3 = boto3.client("s3", "us-east-1")
        s3.create_bucket(Bucket="videos")
        s3.put_object(Bucket="videos", Key="lobby.mp4", Body=LOBBY)
        client = one_attempt()
        job_id = client.start_face_detection(Video=VIDEO)["JobId"]
        monkeypatch.setenv("MOTO_ACCOUNT_ID", "111122223333")
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.get_face_detection(JobId=job_id)


def test_a_reset_forgets_jobs_notices_and_patience() -> None:
    with installed(own_answers=EVERY_ANSWER) as mock:
        job_ids: list[str] = []
        for _ in range(2):
            with mock_aws():
                s3 = boto3.client("s3", "us-east-1")
                s3.create_bucket(Bucket="videos")
                s3.put_object(Bucket="videos", Key="lobby.mp4", Body=LOBBY)
                client = one_attempt()
                assert mock.notices == ()
                for earlier in job_ids:
                    with pytest.raises(client.exceptions.ResourceNotFoundException):
                        client.get_face_detection(JobId=earlier)
                channel: Any = {
                    "SNSTopicArn": "arn:aws:sns:us-east-1:123456789012:none",
                    "RoleArn": ROLE,
                }
                job_ids.append(
                    client.start_face_detection(Video=VIDEO, NotificationChannel=channel)["JobId"]
                )
                answer = client.get_face_detection(JobId=job_ids[-1])
                assert answer["JobStatus"] == "SUCCEEDED"
                mock.video_polls(5)


def test_a_mock_that_nobody_closes_warns_of_nothing() -> None:
    mock = RekognitionMock()
    with mocked_rekognition(mock=mock):
        mock.put_object("videos", "lobby.mp4", LOBBY)
        one_attempt().start_face_detection(Video=VIDEO)
    del mock
    gc.collect()  # a ResourceWarning would be an error here


# --- settings -------------------------------------------------------------------------------------


def test_a_recognizer_of_ones_own_sees_every_frame() -> None:
    class Counting(MemoryRecognizer):
        sizes: list[int] = []  # noqa: RUF012 - of all that are opened

        def detect(self, image: Image) -> Detection:
            self.sizes.append(image.size.width)
            return super().detect(image)

    video = VideoSettings(frames_per_second=1.0)
    mock = RekognitionMock(recognizer=Counting, video=video)
    with mocked_rekognition(mock=mock):
        mock.put_object("videos", "lobby.mp4", LOBBY)
        client = one_attempt()
        job_id = client.start_face_detection(Video=VIDEO)["JobId"]
        assert len(client.get_face_detection(JobId=job_id)["Faces"]) == 3
    assert len(Counting.sizes) == 3
    mock.close()


def test_search_and_result_are_taken_from_moto_together() -> None:
    with (
        pytest.raises(ConfigError, match="go together"),
        installed(own_answers={"StartFaceSearch"}),
    ):
        pass
    assert moto_install.installed_mock() is None
