"""Stored video that the backend does itself: a service before another one, which stands for AWS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.backends.rekognition import open_rekognition
from rekadapter.backends.rekognition.limits import OPERATIONS
from rekadapter.errors import ConfigError
from rekadapter.recognizer import BackendContext, stored_video_of
from rekadapter.rekognition_api.context import ServiceSettings
from rekadapter.rekognition_api.jobs.background import Background
from rekadapter.rekognition_api.jobs.opening import BackgroundOptions, OpenedBackground
from rekadapter.rekognition_api.jobs.remote import RemoteJobs
from rekadapter.rekognition_api.jobs.settings import VideoSettings
from rekadapter.rekognition_api.jobs.store import JobState
from rekadapter.rekognition_api.jobs.worker import VideoJobs
from rekadapter.rekognition_api.namespaces import Home
from rekadapter.rekognition_api.objects import DirectoryObjects
from rekadapter.rekognition_api.server import ServerSettings, ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.testing.clips import even, write_clip
from rekadapter.testing.drawn import DrawnFace, picture
from rekadapter.testing.rekognition import picture_of
from rekadapter.types import Size
from tests.rekognition_api.conftest import client_for
from tests.rekognition_api.model_check import held_to_the_model

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient
    from mypy_boto3_rekognition.type_defs import VideoTypeDef

SIZE = Size(320, 240)
ANN, BOB = DrawnFace("ann", 20, 40, 80), DrawnFace("bob", 200, 120, 80)
LOBBY: VideoTypeDef = {"S3Object": {"Bucket": "videos", "Name": "lobby.mp4"}}
DAMAGED: VideoTypeDef = {"S3Object": {"Bucket": "videos", "Name": "damaged.mp4"}}


class Patience:
    """How many questions the service behind takes before it has done a job."""

    def __init__(self) -> None:
        self.questions = 0

    def __call__(self) -> int:
        return self.questions


@dataclass(frozen=True)
class Rig:
    """A client of the service in front, one of the service behind, and both services."""

    front: RekognitionClient
    behind: RekognitionClient
    service: RekognitionService
    jobs: VideoJobs
    patience: Patience

    def search(self, **members: Any) -> str:
        given = {"Video": LOBBY, "CollectionId": "staff", **members}
        return self.front.start_face_search(**given)["JobId"]


@pytest.fixture(scope="module")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In ``lobby.mp4`` (2 s) Bob is there throughout, and Ann in the first second."""
    root = tmp_path_factory.mktemp("buckets")
    (root / "videos").mkdir()
    pictures = [picture(ANN, BOB, size=SIZE)] * 5 + [picture(BOB, size=SIZE)] * 5
    write_clip(root / "videos" / "lobby.mp4", even(pictures, fps=5))
    (root / "videos" / "damaged.mp4").write_bytes(b"no video")
    return root


@contextmanager
def rig(
    buckets: Path,
    tmp_path: Path,
    *,
    directory: Path | None = None,
    settings: ServiceSettings | None = None,
    **limits: Any,
) -> Iterator[Rig]:
    patience = Patience()
    unsigned = ServerSettings(region="eu-west-1")
    with ExitStack() as stack:
        jobs = stack.enter_context(
            VideoJobs(
                DirectoryObjects(buckets), settings=VideoSettings(**limits), patience=patience
            )
        )
        behind = RekognitionService(MemoryRecognizer(), background=Background(video=jobs))
        far = stack.enter_context(ServiceServer(create_app(behind, unsigned)))
        options = {
            "endpoint_url": far.url,
            "unsigned": True,
            "region": "eu-west-1",
            "requests_per_second": dict.fromkeys(OPERATIONS, 1000.0),
        }
        recognizer = open_rekognition(
            "cloud", options, BackendContext(tmp_path / "data", tmp_path / "cache")
        )
        stack.callback(recognizer.close)
        remote = stack.enter_context(Background(remote=RemoteJobs(directory)))
        service = RekognitionService(recognizer, background=remote, settings=settings)
        near = stack.enter_context(ServiceServer(create_app(service)))
        front = held_to_the_model(client_for(near.url))
        yield Rig(front, client_for(far.url), service, jobs, patience)


@pytest.fixture
def made(buckets: Path, tmp_path: Path) -> Iterator[Rig]:
    with rig(buckets, tmp_path) as opened:
        opened.front.create_collection(CollectionId="staff")
        opened.front.index_faces(
            CollectionId="staff", Image={"Bytes": picture_of("ann")}, ExternalImageId="ann"
        )
        yield opened


def _without_metadata(answer: Any) -> Any:
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def test_a_search_is_done_behind_and_answered_as_there(made: Rig) -> None:
    job_id = made.search()
    found = _without_metadata(made.front.get_face_search(JobId=job_id))
    there = _without_metadata(made.behind.get_face_search(JobId=job_id))
    for answer in (found, there):
        for seen in answer["Persons"]:
            for match in seen["FaceMatches"]:
                del match["Face"]["IndexFacesModelVersion"]  # each names its own model
    assert found == there
    assert found["JobStatus"] == "SUCCEEDED"
    assert [len(seen["FaceMatches"]) for seen in found["Persons"]].count(1) == 5
    assert made.jobs.counts().succeeded == 1


def test_faces_are_detected_behind(made: Rig) -> None:
    job_id = made.front.start_face_detection(Video=LOBBY, JobTag="night")["JobId"]
    found = _without_metadata(made.front.get_face_detection(JobId=job_id))
    there = _without_metadata(made.behind.get_face_detection(JobId=job_id))
    assert found.pop("JobTag") == "night"  # kept in front
    assert found == there
    assert len(found["Faces"]) == 15


def test_a_job_is_under_way_until_it_is_over_behind(made: Rig) -> None:
    made.patience.questions = 1
    job_id = made.search()
    states = [made.front.get_face_search(JobId=job_id)["JobStatus"] for _ in range(3)]
    assert states == ["IN_PROGRESS", "SUCCEEDED", "SUCCEEDED"]


def test_what_is_over_is_not_asked_for_again(made: Rig) -> None:
    job_id = made.search()
    whole = made.front.get_face_search(JobId=job_id)["Persons"]
    made.jobs.close()  # whoever asks behind gets an error from now on
    paged: list[Any] = []
    page: Any = {"NextToken": ""}
    while "NextToken" in page:
        page = made.front.get_face_search(
            JobId=job_id, MaxResults=4, **{"NextToken": page["NextToken"]} if paged else {}
        )
        paged += page["Persons"]
    assert paged == whole
    by_person = made.front.get_face_search(JobId=job_id, SortBy="INDEX")["Persons"]
    persons = [seen["Person"]["Index"] for seen in by_person]
    assert persons == sorted(persons)


def test_a_job_that_fails_behind_fails_here_with_its_reason(made: Rig) -> None:
    found = made.front.get_face_search(JobId=made.search(Video=DAMAGED))
    assert found["JobStatus"] == "FAILED"
    assert found["StatusMessage"] == "The video is no MP4 or MOV file."
    assert found["Persons"] == []


def test_one_token_is_one_job_behind_too(made: Rig) -> None:
    first = made.search(ClientRequestToken="once")
    assert made.search(ClientRequestToken="once") == first
    with pytest.raises(made.front.exceptions.IdempotentParameterMismatchException):
        made.search(ClientRequestToken="once", JobTag="other")
    assert made.search() != first
    assert made.jobs.counts().succeeded == 2


def test_errors_of_the_start_keep_their_class(made: Rig) -> None:
    with pytest.raises(made.front.exceptions.InvalidS3ObjectException):
        made.search(Video={"S3Object": {"Bucket": "videos", "Name": "none.mp4"}})
    with pytest.raises(made.front.exceptions.ResourceNotFoundException):
        made.search(CollectionId="none")
    with pytest.raises(
        made.front.exceptions.InvalidParameterException, match="NotificationChannel"
    ):
        made.search(
            NotificationChannel={
                "SNSTopicArn": "arn:aws:sns:eu-west-1:123456789012:done",
                "RoleArn": "arn:aws:iam::123456789012:role/publisher",
            }
        )


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"max_video_bytes": 10}, "VideoTooLargeException"),
        ({"max_open_jobs": 1}, "LimitExceededException"),
    ],
)
def test_limits_behind_keep_their_class(
    buckets: Path, tmp_path: Path, limits: dict[str, Any], code: str
) -> None:
    with rig(buckets, tmp_path, **limits) as opened:
        opened.patience.questions = 9
        if "max_open_jobs" in limits:
            opened.front.start_face_detection(Video=LOBBY)
        with pytest.raises(ClientError) as caught:
            opened.front.start_face_detection(Video=LOBBY)
        assert caught.value.response["Error"]["Code"] == code
        assert "123456789012" not in str(caught.value)


def test_a_job_behind_that_nobody_started_here_is_none(made: Rig) -> None:
    theirs = made.behind.start_face_detection(Video=LOBBY)["JobId"]
    with pytest.raises(made.front.exceptions.ResourceNotFoundException):
        made.front.get_face_detection(JobId=theirs)
    ours = made.search()
    with pytest.raises(made.front.exceptions.ResourceNotFoundException):
        made.front.get_face_detection(JobId=ours)


def test_accounts_are_apart_though_they_are_one_behind(buckets: Path, tmp_path: Path) -> None:
    settings = ServiceSettings(home=Home("123456789012", "eu-west-1"))
    with rig(buckets, tmp_path, settings=settings) as opened:

        def ask(region: str, operation: str, body: str) -> tuple[int, bytes]:
            answer = opened.service.handle(
                f"RekognitionService.{operation}",
                body.encode(),
                account="123456789012",
                region=region,
            )
            return answer.status, answer.body

        for region in ("eu-west-1", "us-east-1"):
            ask(region, "CreateCollection", '{"CollectionId": "staff"}')
        assert opened.behind.list_collections()["CollectionIds"] == [
            "123456789012.us-east-1.staff",
            "staff",
        ]
        start = (
            '{"CollectionId": "staff", "ClientRequestToken": "once", "JobTag": "%s", '
            '"Video": {"S3Object": {"Bucket": "videos", "Name": "lobby.mp4"}}}'
        )
        assert ask("eu-west-1", "StartFaceSearch", start % "one")[0] == 200
        status, body = ask("us-east-1", "StartFaceSearch", start % "two")
        assert status == 200
        assert ask("us-east-1", "GetFaceSearch", body.decode())[0] == 200
        assert b"ResourceNotFound" in ask("eu-west-1", "GetFaceSearch", body.decode())[1]


def test_a_job_under_way_outlives_the_service_in_front(buckets: Path, tmp_path: Path) -> None:
    with rig(buckets, tmp_path) as opened:
        opened.patience.questions = 1
        recognizer = opened.service._recognizer
        kept = tmp_path / "kept"
        for number in range(2):
            with Background(remote=RemoteJobs(kept)) as remote:
                service = RekognitionService(recognizer, background=remote)
                with ServiceServer(create_app(service)) as server:
                    client = client_for(server.url)
                    if number == 0:
                        job_id = client.start_face_detection(Video=LOBBY)["JobId"]
                    answer = client.get_face_detection(JobId=job_id)
                    client.close()
        assert answer["JobStatus"] == "SUCCEEDED"


def test_a_directory_is_one_services(tmp_path: Path) -> None:
    with closing(RemoteJobs(tmp_path)), pytest.raises(ConfigError, match="another service"):
        RemoteJobs(tmp_path)


# --- whose jobs they are --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "passed_on"),
    [
        ({"backend_takes_jobs": True}, True),
        ({"backend_takes_jobs": True, "s3_endpoint": "aws"}, True),
        ({"backend_takes_jobs": True, "s3_endpoint": "http://127.0.0.1:9"}, False),
        ({"backend_takes_jobs": True, "s3_directory": Path("/")}, False),
        ({}, False),
        ({"s3_endpoint": "aws"}, False),
    ],
)
def test_jobs_go_to_the_backend_unless_videos_lie_here(
    options: dict[str, Any],
    passed_on: bool,  # noqa: FBT001 - a test's column
) -> None:
    with OpenedBackground(BackgroundOptions(**options, region="us-east-1")) as opened:
        assert opened.background is not None
        assert (opened.background.remote is not None) == passed_on
        own = not passed_on and opened.objects is not None
        assert (opened.background.video is not None) == own


def test_a_backend_without_jobs_leaves_them_unknown() -> None:
    memory = MemoryRecognizer()
    assert stored_video_of(memory) is None
    with Background(remote=RemoteJobs()) as remote:
        service = RekognitionService(memory, background=remote)
        answer = service.handle(
            "RekognitionService.GetFaceSearch",
            b'{"JobId": "a"}',
            account="123456789012",
            region="eu-west-1",
        )
    assert b"UnknownOperationException" in answer.body


def test_states_are_counted(made: Rig) -> None:
    works = made.service.works
    assert works is not None
    assert works.remote is not None
    made.search()
    assert works.remote.states()[JobState.IN_PROGRESS] == 1
    job_id = made.search(Video=DAMAGED)
    made.front.get_face_search(JobId=job_id)
    assert works.remote.states()[JobState.FAILED] == 1
