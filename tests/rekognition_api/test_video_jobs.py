"""Jobs on stored video, as a real boto3 client sees them."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import av
import boto3
import pytest
from moto import mock_aws
from moto.server import ThreadedMotoServer
from moto.sns.models import sns_backends

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.errors import ConfigError, ConnectionFailedError, OutputError, ThrottledError
from rekadapter.imaging import Image, encode_jpeg
from rekadapter.rekognition_api.context import S3Location
from rekadapter.rekognition_api.jobs.background import Background
from rekadapter.rekognition_api.jobs.notices import Notifier, open_sns
from rekadapter.rekognition_api.jobs.opening import BackgroundOptions, OpenedBackground
from rekadapter.rekognition_api.jobs.settings import VideoSettings
from rekadapter.rekognition_api.jobs.store import (
    FILE_NAME,
    Job,
    JobOrder,
    JobState,
    JobStore,
    Result,
    Retention,
    SortBy,
)
from rekadapter.rekognition_api.jobs.worker import VideoJobs
from rekadapter.rekognition_api.objects import DirectoryObjects
from rekadapter.rekognition_api.server import ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.testing.clips import even, write_clip
from rekadapter.testing.drawn import DrawnFace, picture, portrait
from rekadapter.types import Detection, GalleryId, Size
from tests.rekognition_api.conftest import client_for
from tests.rekognition_api.model_check import held_to_the_model
from tests.telling import telling

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient
    from mypy_boto3_rekognition.type_defs import (
        GetFaceSearchResponseTypeDef,
        NotificationChannelTypeDef,
        VideoTypeDef,
    )

SIZE = Size(320, 240)
BUCKET = "videos"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:done"
CHANNEL: NotificationChannelTypeDef = {
    "SNSTopicArn": TOPIC,
    "RoleArn": "arn:aws:iam::123456789012:role/publisher",
}
DAY = 86_400.0


def video(name: str = "lobby.mp4") -> VideoTypeDef:
    return {"S3Object": {"Bucket": BUCKET, "Name": name}}


ANN = DrawnFace("ann", 20, 40, 80)
BOB = DrawnFace("bob", 200, 120, 80)


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """A root with one bucket. In ``lobby.mp4`` (2 s, 10 frames a second) Bob is there throughout,
    and Ann in the first second."""
    folder = tmp_path / "buckets" / BUCKET
    folder.mkdir(parents=True)
    pictures = [picture(ANN, BOB, size=SIZE)] * 10 + [picture(BOB, size=SIZE)] * 10
    write_clip(folder / "lobby.mp4", even(pictures, fps=10))
    return folder


@pytest.fixture
def recognizer() -> MemoryRecognizer:
    return MemoryRecognizer()


@dataclass
class Clock:
    """Seconds since 1970 that only a test moves."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Topics:
    """A notifier that keeps what it is told, or fails."""

    fails: bool = False
    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def tell(self, topic_arn: str, message: str) -> None:
        if self.fails:
            raise ConnectionFailedError("nobody answers")
        self.told.append((topic_arn, json.loads(message)))


@dataclass
class Rig:
    """A service with jobs, and a client that talks to it."""

    client: RekognitionClient
    jobs: VideoJobs

    def search(self, **members: Any) -> str:
        members = {"Video": video(), "CollectionId": "staff", **members}
        return self.client.start_face_search(**members)["JobId"]

    def detect(self, **members: Any) -> str:
        return self.client.start_face_detection(**{"Video": video(), **members})["JobId"]

    def searched(self, job_id: str) -> GetFaceSearchResponseTypeDef:
        answer: GetFaceSearchResponseTypeDef = until(
            lambda: self.client.get_face_search(JobId=job_id),
            lambda answer: answer["JobStatus"] != "IN_PROGRESS",
        )
        return answer

    def detected(self, job_id: str) -> Any:
        return until(
            lambda: self.client.get_face_detection(JobId=job_id),
            lambda answer: answer["JobStatus"] != "IN_PROGRESS",
        )


def until(ask: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
    """Asks until the answer is good; the test's own timeout bounds it."""
    while not good(answer := ask()):
        time.sleep(0.01)
    return answer


@contextmanager
def rig(
    bucket: Path,
    recognizer: MemoryRecognizer,
    settings: VideoSettings | None = None,
    *,
    notifier: Notifier | None = None,
    clock: Callable[[], float] = time.time,
) -> Iterator[Rig]:
    objects = DirectoryObjects(bucket.parent)
    jobs = VideoJobs(objects, settings=settings, notifier=notifier, clock=clock)
    service = RekognitionService(recognizer, background=Background(video=jobs))
    with Background(video=jobs), ServiceServer(create_app(service)) as server:
        client = held_to_the_model(client_for(server.url))
        if GalleryId("staff") not in set(recognizer.galleries()):
            client.create_collection(CollectionId="staff")
            photo = {"Bytes": encode_jpeg(portrait("ann"), 95)}
            client.index_faces(CollectionId="staff", Image=photo, ExternalImageId="ann")  # type: ignore[arg-type]  # a plain dict does
        yield Rig(client, jobs)
        client.close()


@pytest.fixture
def run(bucket: Path, recognizer: MemoryRecognizer) -> Iterator[Rig]:
    with rig(bucket, recognizer) as made:
        yield made


def subjects(person: Any) -> list[str]:
    return [match["Face"]["ExternalImageId"] for match in person["FaceMatches"]]


# --- what a job finds -------------------------------------------------------------------------


def test_a_search_names_whom_it_knows_and_when_and_nobody_else(run: Rig) -> None:
    answer = run.searched(run.search(JobTag="door-3"))
    assert (answer["JobStatus"], answer["JobTag"]) == ("SUCCEEDED", "door-3")
    assert answer["Video"] == video()
    named = [p for p in answer["Persons"] if subjects(p)]
    nobody = [p for p in answer["Persons"] if not subjects(p)]
    assert [p["Timestamp"] for p in named] == [0, 200, 400, 600, 800]
    assert {subject for p in named for subject in subjects(p)} == {"ann"}
    assert [p["Timestamp"] for p in nobody] == list(range(0, 2000, 200))


def test_a_person_keeps_an_index_and_two_have_two(run: Rig) -> None:
    persons = run.searched(run.search())["Persons"]
    known = {p["Person"]["Index"] for p in persons if subjects(p)}
    unknown = {p["Person"]["Index"] for p in persons if not subjects(p)}
    assert (len(known), len(unknown)) == (1, 1)
    assert known | unknown == {0, 1}


def test_a_face_is_where_it_was_drawn(run: Rig) -> None:
    persons = run.searched(run.search())["Persons"]
    face = next(p for p in persons if subjects(p))["Person"]["Face"]
    drawn = ANN.box(SIZE)
    assert face["BoundingBox"]["Left"] == pytest.approx(drawn.left, abs=0.02)
    assert face["BoundingBox"]["Width"] == pytest.approx(drawn.width, abs=0.02)


def test_the_threshold_is_80_unless_told_otherwise(run: Rig) -> None:
    similarities = [
        match["Similarity"]
        for p in run.searched(run.search())["Persons"]
        for match in p["FaceMatches"]
    ]
    assert min(similarities) >= 80
    everything = run.searched(run.search(FaceMatchThreshold=0))["Persons"]
    assert all(subjects(p) == ["ann"] for p in everything)


def test_metadata_is_the_file_s_own(run: Rig) -> None:
    metadata = run.searched(run.search())["VideoMetadata"]
    assert (metadata["Codec"], metadata["Format"]) == ("h264", "QuickTime / MOV")
    assert (metadata["FrameWidth"], metadata["FrameHeight"]) == (320, 240)
    assert metadata["DurationMillis"] == pytest.approx(2000, abs=100)
    assert metadata["FrameRate"] == pytest.approx(10, rel=0.1)


def test_sides_are_those_of_the_upright_picture(bucket: Path, run: Rig) -> None:
    pictures = [picture(ANN, size=SIZE)] * 5
    write_clip(bucket / "turned.mp4", even(pictures, fps=10), rotated_degrees=90)
    metadata = run.detected(run.detect(Video=video("turned.mp4")))["VideoMetadata"]
    assert (metadata["FrameWidth"], metadata["FrameHeight"]) == (240, 320)


def test_a_detection_lists_each_face_of_each_frame(run: Rig) -> None:
    answer = run.detected(run.detect(FaceAttributes="ALL"))
    assert answer["JobStatus"] == "SUCCEEDED"
    at = [face["Timestamp"] for face in answer["Faces"]]
    assert at == sorted([*range(0, 1000, 200), *range(0, 2000, 200)])


@pytest.mark.parametrize("words", ["ALL", "DEFAULT"])
def test_faces_of_a_video_have_age_and_gender_only_where_they_are_asked_for(
    bucket: Path, words: Literal["ALL", "DEFAULT"]
) -> None:
    with rig(bucket, telling()) as run:
        faces = [one["Face"] for one in run.detected(run.detect(FaceAttributes=words))["Faces"]]
    told = {"Low": 31, "High": 37} if words == "ALL" else None
    assert faces
    assert all(face.get("AgeRange") == told for face in faces)
    assert all(("Gender" in face) is (words == "ALL") for face in faces)


def test_as_many_frames_a_second_are_analyzed_as_set(
    bucket: Path, recognizer: MemoryRecognizer
) -> None:
    with rig(bucket, recognizer, VideoSettings(frames_per_second=2)) as run:
        faces = run.detected(run.detect())["Faces"]
        assert sorted({face["Timestamp"] for face in faces}) == [0, 500, 1000, 1500]


def test_a_video_of_nobody_succeeds_without_persons(bucket: Path, run: Rig) -> None:
    write_clip(bucket / "empty.mp4", even([picture(size=SIZE)] * 5, fps=5))
    answer = run.searched(run.search(Video=video("empty.mp4")))
    assert (answer["JobStatus"], answer["Persons"]) == ("SUCCEEDED", [])


def test_an_empty_collection_matches_nobody(run: Rig) -> None:
    run.client.create_collection(CollectionId="nobody")
    persons = run.searched(run.search(CollectionId="nobody"))["Persons"]
    assert persons
    assert all(p["FaceMatches"] == [] for p in persons)


# --- pages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort", ["TIMESTAMP", "INDEX"])
def test_pages_give_each_person_once_in_order(run: Rig, sort: Any) -> None:
    job_id = run.search()
    run.searched(job_id)
    whole = run.client.get_face_search(JobId=job_id, SortBy=sort)["Persons"]
    found, token = [], ""
    while True:
        page = run.client.get_face_search(
            JobId=job_id, SortBy=sort, MaxResults=4, **({"NextToken": token} if token else {})
        )
        assert len(page["Persons"]) <= 4
        found += page["Persons"]
        token = page.get("NextToken", "")
        if not token:
            break
    assert found == whole
    keys = [(p["Person"]["Index"], p["Timestamp"]) for p in whole]
    wanted = sorted(keys) if sort == "INDEX" else sorted(keys, key=lambda key: key[1])
    assert keys == wanted


def test_a_token_of_another_job_or_order_is_refused(run: Rig) -> None:
    first, second = run.search(), run.search()
    run.searched(first)
    run.searched(second)
    token = run.client.get_face_search(JobId=first, MaxResults=1)["NextToken"]
    refused = run.client.exceptions.InvalidPaginationTokenException
    for members in (
        {"JobId": second, "NextToken": token},
        {"JobId": first, "NextToken": token, "SortBy": "INDEX"},
        {"JobId": first, "NextToken": "nonsense"},
        {"JobId": first, "NextToken": token[:-4]},
        {"JobId": first, "NextToken": "\u00e9"},
    ):
        with pytest.raises(refused):
            run.client.get_face_search(**members)  # type: ignore[arg-type]  # one table for all


def test_more_results_than_1000_come_in_pages(
    bucket: Path, recognizer: MemoryRecognizer, tmp_path: Path
) -> None:
    body = json.dumps({"Timestamp": 1, "Face": {"Confidence": 99.0}})
    job_id = finished_before(tmp_path / "jobs", [Result(0, body)] * 1500)
    with rig(bucket, recognizer, VideoSettings(directory=tmp_path / "jobs")) as run:
        page = run.client.get_face_detection(JobId=job_id, MaxResults=4000)
        assert len(page["Faces"]) == 1000
        rest = run.client.get_face_detection(JobId=job_id, NextToken=page["NextToken"])
        assert len(rest["Faces"]) == 500
        assert "NextToken" not in rest


def finished_before(directory: Path, results: list[Result]) -> str:
    """A job that an earlier service ended well."""
    store = JobStore(directory, retention=Retention(), now=time.time())
    job = store.add("1" * 64, order_of("StartFaceDetection"), time.time())
    store.add_results(job, results)
    store.end(job, JobState.SUCCEEDED, None, time.time())
    store.close()
    return job.job_id


def order_of(api: str, *, token: str | None = None, topic: str | None = None) -> JobOrder:
    location = S3Location(BUCKET, "lobby.mp4", None, account=account(), region="eu-west-1")
    return JobOrder(api, location, digest="d", token=token, topic=topic)


def account() -> str:
    """What the server takes for the account of a client whose signature it does not check."""
    service = RekognitionService(MemoryRecognizer())
    with ServiceServer(create_app(service)) as server:
        client = boto3.client("rekognition", endpoint_url=server.url, region_name="eu-west-1")
        arn = client.create_collection(CollectionId="any")["CollectionArn"]
        client.close()
    return arn.split(":")[4]


# --- starting ---------------------------------------------------------------------------------


def test_the_same_token_and_input_are_one_job(run: Rig) -> None:
    first = run.search(ClientRequestToken="t-1", JobTag="a")
    assert run.search(ClientRequestToken="t-1", JobTag="a") == first
    assert run.search(JobTag="a") != first
    assert run.detect(ClientRequestToken="t-1") != first


def test_the_same_token_with_another_input_is_refused(run: Rig) -> None:
    run.search(ClientRequestToken="t-1")
    with pytest.raises(
        run.client.exceptions.IdempotentParameterMismatchException, match="ClientRequestToken: t-1"
    ):
        run.search(ClientRequestToken="t-1", FaceMatchThreshold=90)


def test_many_at_once_with_one_token_are_one_job(run: Rig) -> None:
    found: set[str] = set()
    threads = [
        threading.Thread(target=lambda: found.add(run.search(ClientRequestToken="t-1")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1


@pytest.mark.parametrize("name", ["none.mp4", "../../secret", "lobby.mp4/more"])
def test_a_video_that_is_not_there_is_refused_at_the_start(run: Rig, name: str) -> None:
    with pytest.raises(run.client.exceptions.InvalidS3ObjectException):
        run.search(Video=video(name))


def test_a_collection_that_is_not_there_is_refused_at_the_start(run: Rig) -> None:
    with pytest.raises(run.client.exceptions.ResourceNotFoundException, match="Collection:none"):
        run.search(CollectionId="none")


def test_a_video_has_to_be_named(run: Rig) -> None:
    with pytest.raises(run.client.exceptions.InvalidParameterException, match="S3Object"):
        run.search(Video={})


def test_a_video_over_the_limit_is_refused_with_both_sizes(
    bucket: Path, recognizer: MemoryRecognizer
) -> None:
    size = (bucket / "lobby.mp4").stat().st_size
    with rig(bucket, recognizer, VideoSettings(max_video_bytes=100)) as run:
        too_large = run.client.exceptions.VideoTooLargeException
        with pytest.raises(too_large, match=f"bytes: {size} .* limit of: 100 bytes"):
            run.search()


class HeldRecognizer(MemoryRecognizer):
    """Does not detect anything until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.may = threading.Event()

    def detect(self, image: Image) -> Detection:
        self.asked.set()
        assert self.may.wait(60)
        return super().detect(image)


def test_more_open_jobs_than_allowed_are_refused_until_one_is_over(bucket: Path) -> None:
    recognizer = HeldRecognizer()
    with rig(bucket, recognizer, VideoSettings(max_open_jobs=3)) as run:
        open_jobs = [run.detect() for _ in range(3)]
        with pytest.raises(run.client.exceptions.LimitExceededException, match="3 open Jobs"):
            run.detect()
        recognizer.may.set()
        for job_id in open_jobs:
            assert run.detected(job_id)["JobStatus"] == "SUCCEEDED"
        until(run.jobs.counts, lambda counts: counts.open == 0)
        assert run.detected(run.detect())["JobStatus"] == "SUCCEEDED"


def test_twenty_jobs_may_be_open_by_default() -> None:
    assert VideoSettings().max_open_jobs == 20


def test_a_job_under_way_tells_only_that(bucket: Path) -> None:
    recognizer = HeldRecognizer()
    with rig(bucket, recognizer) as run:
        answer = run.client.get_face_detection(JobId=run.detect())
        assert (answer["JobStatus"], answer["Faces"]) == ("IN_PROGRESS", [])
        recognizer.may.set()


def test_a_job_is_asked_about_by_its_own_operation_account_and_region(run: Rig) -> None:
    job_id = run.search()
    refused = run.client.exceptions.ResourceNotFoundException
    with pytest.raises(refused):
        run.client.get_face_detection(JobId=job_id)
    with pytest.raises(refused):
        run.client.get_face_search(JobId="0" * 64)
    url = run.client.meta.endpoint_url
    elsewhere = boto3.client("rekognition", endpoint_url=url, region_name="eu-central-1")
    with pytest.raises(elsewhere.exceptions.ResourceNotFoundException):
        elsewhere.get_face_search(JobId=job_id)
    elsewhere.close()


def test_without_a_store_of_videos_the_operations_are_unknown(
    recognizer: MemoryRecognizer,
) -> None:
    service = RekognitionService(recognizer)
    body = json.dumps({"Video": video()}).encode()
    answer = service.handle(
        "RekognitionService.StartFaceDetection", body, account="1" * 12, region="eu-west-1"
    )
    assert json.loads(answer.body)["__type"] == "UnknownOperationException"


# --- videos that fail -------------------------------------------------------------------------


def failed(run: Rig, name: str) -> str:
    """The message of a job on a video that has to fail."""
    answer = run.searched(run.search(Video=video(name)))
    assert (answer["JobStatus"], answer["Persons"]) == ("FAILED", [])
    return answer["StatusMessage"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no video at all",
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"\x1a\x45\xdf\xa3 matroska",
    ],
)
def test_anything_but_mp4_and_mov_fails_without_being_opened(
    bucket: Path, run: Rig, content: bytes
) -> None:
    (bucket / "bad.mp4").write_bytes(content)
    assert failed(run, "bad.mp4") == "The video is no MP4 or MOV file."


def test_a_damaged_video_fails_and_tells_no_path(bucket: Path, run: Rig) -> None:
    data = (bucket / "lobby.mp4").read_bytes()
    (bucket / "cut.mp4").write_bytes(data[: len(data) // 2])
    (bucket / "head.mp4").write_bytes(data[:8] + b"\xff" * 500)
    for name in ("cut.mp4", "head.mp4"):
        message = failed(run, name)
        assert message.startswith("The video cannot be")
        assert "/" not in message


def test_a_codec_that_aws_does_not_take_fails_by_its_name(bucket: Path, run: Rig) -> None:
    with av.open(str(bucket / "old.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode(None))
    assert "mpeg4" in failed(run, "old.mp4")


def test_frames_too_large_for_h264_fail_before_they_are_decoded(
    bucket: Path, recognizer: MemoryRecognizer
) -> None:
    with rig(bucket, recognizer, VideoSettings(max_frame_pixels=320 * 240 - 1)) as run:
        assert "320x240" in failed(run, "lobby.mp4")


def test_frames_that_cannot_be_decoded_are_counted_in_the_message(bucket: Path, run: Rig) -> None:
    data = bytearray((bucket / "lobby.mp4").read_bytes())
    begin = len(data) * 3 // 10  # in the middle of the pictures
    data[begin : begin + 300] = b"\xff" * 300
    (bucket / "damaged.mp4").write_bytes(data)
    answer = run.searched(run.search(Video=video("damaged.mp4")))
    assert answer["JobStatus"] == "SUCCEEDED"
    assert re.match(r"[1-9]\d* frames of the video could not be decoded", answer["StatusMessage"])
    assert 0 < len({person["Timestamp"] for person in answer["Persons"]}) < 10


def test_a_success_that_cannot_be_recorded_is_a_failure(
    bucket: Path, recognizer: MemoryRecognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_end = JobStore.end

    def end(store: JobStore, job: Job, state: JobState, message: str | None, now: float) -> None:
        if state is JobState.SUCCEEDED:
            raise sqlite3.OperationalError("database or disk is full")
        real_end(store, job, state, message, now)

    monkeypatch.setattr(JobStore, "end", end)
    with rig(bucket, recognizer) as run:
        assert failed(run, "lobby.mp4") == "Internal server error"


def test_a_full_disk_is_named_and_keeps_no_job(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs", retention=Retention(), now=0.0)
    order = JobOrder("StartFaceDetection", S3Location(BUCKET, "a.mp4", None, "1", "r"), "d")
    with closing(store):
        with full(store), pytest.raises(OutputError, match="disk is full") as caught:
            deque((store.add(str(number), order, 0.0) for number in range(1000)), maxlen=0)
        assert str(tmp_path) not in str(caught.value)
        assert store.add("later", order, 0.0).job_id == "later"


@contextmanager
def full(store: JobStore) -> Iterator[None]:
    """SQLite says at its own bound what it says on a full disk."""
    database = store._database
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    yield
    database.execute(f"PRAGMA max_page_count = {1000 * pages}")


def test_a_video_over_the_longest_fails(bucket: Path, recognizer: MemoryRecognizer) -> None:
    with rig(bucket, recognizer, VideoSettings(max_video_seconds=1)) as run:
        assert "limit is 1" in failed(run, "lobby.mp4")


def test_a_video_that_never_fits_on_disk_fails(bucket: Path, recognizer: MemoryRecognizer) -> None:
    with rig(bucket, recognizer, VideoSettings(spool_bytes=100)) as run:
        assert "does not fit" in failed(run, "lobby.mp4")


def test_videos_wait_for_room_and_all_get_it(bucket: Path, recognizer: MemoryRecognizer) -> None:
    size = (bucket / "lobby.mp4").stat().st_size
    settings = VideoSettings(spool_bytes=size + 10, workers=4)
    with rig(bucket, recognizer, settings) as run:
        jobs = [run.detect() for _ in range(6)]
        assert [run.detected(job)["JobStatus"] for job in jobs] == ["SUCCEEDED"] * 6


class VanishingRecognizer(HeldRecognizer):
    """Its gallery goes while a search is under way."""

    def identify(self, *arguments: Any, **named: Any) -> Any:
        if arguments[0] in set(self.galleries()):
            self.delete_gallery(arguments[0])
        return super().identify(*arguments, **named)


def test_a_collection_that_goes_meanwhile_fails_the_job(bucket: Path) -> None:
    with rig(bucket, VanishingRecognizer()) as run:
        assert failed(run, "lobby.mp4") == "Collection:staff not found!"


class BrokenRecognizer(MemoryRecognizer):
    """Has a fault of its own, or is asked for too much."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def identify(self, *_: Any, **__: Any) -> Any:
        raise self.error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("the cable at /srv/rack-3 burns"), "Internal server error"),
        (ThrottledError("later"), "Provisioned Rate exceeded."),
    ],
)
def test_a_recognizer_that_fails_fails_the_job_and_spares_the_next(
    bucket: Path, error: Exception, message: str
) -> None:
    with rig(bucket, BrokenRecognizer(error), VideoSettings(workers=1)) as run:
        assert failed(run, "lobby.mp4") == message
        assert run.detected(run.detect())["JobStatus"] == "SUCCEEDED"
        counts = run.jobs.counts()
        assert (counts.failed, counts.succeeded) == (1, 1)


# --- being kept -------------------------------------------------------------------------------


def test_results_and_tokens_outlive_the_service(
    bucket: Path, recognizer: MemoryRecognizer, tmp_path: Path
) -> None:
    settings = VideoSettings(directory=tmp_path / "jobs")
    with rig(bucket, recognizer, settings) as run:
        job_id = run.search(ClientRequestToken="t-1")
        before = run.searched(job_id)
    with rig(bucket, recognizer, settings) as run:
        after = run.client.get_face_search(JobId=job_id)
        assert after["Persons"] == before["Persons"]
        assert after["VideoMetadata"] == before["VideoMetadata"]
        assert run.search(ClientRequestToken="t-1") == job_id


KILLED = """
import os, signal, sys, time
from pathlib import Path
from rekadapter.rekognition_api.context import S3Location
from rekadapter.rekognition_api.jobs.store import JobOrder, JobStore, Result, Retention
store = JobStore(Path(sys.argv[1]), retention=Retention(), now=time.time())
video = S3Location("videos", "lobby.mp4", None, sys.argv[2], "eu-west-1")
job = store.add("2" * 64, JobOrder("StartFaceDetection", video, "d"), time.time())
store.add_results(job, [Result(0, "{}")])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_job_that_ran_at_a_kill_is_failed_with_the_reason(
    bucket: Path, recognizer: MemoryRecognizer, tmp_path: Path
) -> None:
    directory = tmp_path / "jobs"
    command = [sys.executable, "-c", KILLED, str(directory), account()]
    assert subprocess.run(command, check=False).returncode < 0  # noqa: S603 - our own program
    with rig(bucket, recognizer, VideoSettings(directory=directory)) as run:
        answer = run.client.get_face_detection(JobId="2" * 64)
        assert (answer["JobStatus"], answer["Faces"]) == ("FAILED", [])
        assert "start the job again" in answer["StatusMessage"]


def test_a_directory_serves_one_service_at_a_time(tmp_path: Path) -> None:
    store = JobStore(tmp_path, retention=Retention(), now=0)
    with pytest.raises(ConfigError, match="another service"):
        JobStore(tmp_path, retention=Retention(), now=0)
    store.close()
    JobStore(tmp_path, retention=Retention(), now=0).close()


def test_results_are_nobody_else_s_to_read(tmp_path: Path) -> None:
    JobStore(tmp_path / "jobs", retention=Retention(), now=0).close()
    assert (tmp_path / "jobs").stat().st_mode & 0o077 == 0
    assert (tmp_path / "jobs" / FILE_NAME).stat().st_mode & 0o077 == 0


def test_results_are_kept_seven_days(bucket: Path, recognizer: MemoryRecognizer) -> None:
    clock = Clock()
    with rig(bucket, recognizer, clock=clock) as run:
        job_id = run.search(ClientRequestToken="t-1")
        run.searched(job_id)
        clock.now += 7 * DAY - 1
        run.client.get_face_search(JobId=job_id)
        clock.now += 2
        with pytest.raises(run.client.exceptions.ResourceNotFoundException):
            run.client.get_face_search(JobId=job_id)
        assert run.search(ClientRequestToken="t-1") != job_id


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    made = JobStore(tmp_path, retention=Retention(max_jobs=3, max_bytes=100), now=0)
    yield made
    made.close()


def ended(store: JobStore, number: int, size: int = 2) -> Job:
    order = JobOrder("StartFaceSearch", S3Location("b", "k", None, "1", "r"), "d")
    job = store.add(str(number), order, now=number)
    store.add_results(job, [Result(0, "x" * size)])
    store.end(job, JobState.SUCCEEDED, None, now=number)
    return job


def test_the_oldest_finished_job_goes_where_there_are_too_many(store: JobStore) -> None:
    for number in range(5):
        ended(store, number)
    kept = [number for number in range(5) if store.find(str(number), now=5)]
    assert kept == [2, 3, 4]


def test_the_oldest_finished_results_go_where_they_are_too_large(store: JobStore) -> None:
    ended(store, 1, 60)
    kept = ended(store, 2, 60)
    assert store.find("1", now=3) is None
    assert len(store.results(kept, SortBy.TIMESTAMP, None, 10).bodies) == 1


def test_a_job_with_too_large_results_fails_and_leaves_nothing(store: JobStore) -> None:
    order = JobOrder("StartFaceSearch", S3Location("b", "k", None, "1", "r"), "d")
    job = store.add("big", order, now=1)
    store.add_results(job, [Result(0, "x" * 60)])
    with pytest.raises(OutputError, match="cannot be kept"):
        store.add_results(job, [Result(0, "x" * 60)])
    store.end(job, JobState.FAILED, "too much", now=2)
    assert store.results(job, SortBy.TIMESTAMP, None, 10).bodies == ()
    ended(store, 2, 90)  # the room is free again
    assert store.find("big", now=3) is not None


# --- telling ----------------------------------------------------------------------------------


def test_a_topic_is_told_in_the_documented_form(bucket: Path, recognizer: MemoryRecognizer) -> None:
    topics, clock = Topics(), Clock()
    with rig(bucket, recognizer, notifier=topics, clock=clock) as run:
        job_id = run.search(NotificationChannel=CHANNEL, JobTag="door-3")
        until(run.jobs.counts, lambda counts: counts.notices_sent == 1)
    assert topics.told == [
        (
            TOPIC,
            {
                "JobId": job_id,
                "Status": "SUCCEEDED",
                "API": "StartFaceSearch",
                "JobTag": "door-3",
                "Timestamp": round(clock.now * 1000),
                "Video": {"S3ObjectName": "lobby.mp4", "S3Bucket": BUCKET},
            },
        )
    ]


def test_a_topic_hears_of_failures_too(bucket: Path, recognizer: MemoryRecognizer) -> None:
    topics = Topics()
    (bucket / "bad.mp4").write_bytes(b"nothing")
    with rig(bucket, recognizer, notifier=topics) as run:
        run.search(Video=video("bad.mp4"), NotificationChannel=CHANNEL)
        until(run.jobs.counts, lambda counts: counts.notices_sent == 1)
    assert topics.told[0][1]["Status"] == "FAILED"


def test_a_topic_that_cannot_be_told_is_counted_and_loses_no_job(
    bucket: Path, recognizer: MemoryRecognizer
) -> None:
    with rig(bucket, recognizer, notifier=Topics(fails=True)) as run:
        job_id = run.search(NotificationChannel=CHANNEL)
        until(run.jobs.counts, lambda counts: counts.notices_failed == 1)
        assert run.searched(job_id)["JobStatus"] == "SUCCEEDED"


def test_a_notice_that_was_due_at_a_kill_goes_out_later(
    bucket: Path, recognizer: MemoryRecognizer, tmp_path: Path
) -> None:
    directory, topics = tmp_path / "jobs", Topics()
    store = JobStore(directory, retention=Retention(), now=time.time())
    store.add("3" * 64, order_of("StartFaceDetection", topic=TOPIC), time.time())
    store.close()
    settings = VideoSettings(directory=directory)
    for _ in range(2):
        with rig(bucket, recognizer, settings, notifier=topics) as run:
            until(run.jobs.counts, lambda _: len(topics.told) == 1)
    assert [told["Status"] for _, told in topics.told] == ["FAILED"]


def test_a_channel_that_nobody_could_tell_is_refused_at_the_start(run: Rig) -> None:
    with pytest.raises(run.client.exceptions.InvalidParameterException, match="poll"):
        run.search(NotificationChannel=CHANNEL)


def test_sns_gets_the_message() -> None:
    with mock_aws():
        client = boto3.client("sns", region_name="eu-west-1")
        arn = client.create_topic(Name="done")["TopicArn"]
        client.close()
        notifier = open_sns(region="eu-west-1")
        notifier.tell(arn, "over")
        topic = sns_backends["123456789012"]["eu-west-1"].topics[arn]
        assert [message for _, message, *_ in topic.sent_notifications] == ["over"]
        with pytest.raises(Exception, match="SNS did not take"):
            notifier.tell(arn + "-not", "over")
        notifier.close()


@pytest.fixture
def cloud() -> Iterator[str]:
    """moto's S3, SNS and SQS over HTTP."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


def test_video_from_an_s3_endpoint_and_word_by_sns_and_sqs(
    cloud: str, bucket: Path, recognizer: MemoryRecognizer
) -> None:
    s3, sns, sqs = (
        boto3.client(name, endpoint_url=cloud, region_name="us-east-1")
        for name in ("s3", "sns", "sqs")
    )
    s3.create_bucket(Bucket=BUCKET)
    s3.upload_file(str(bucket / "lobby.mp4"), BUCKET, "lobby.mp4")
    topic = sns.create_topic(Name="done")["TopicArn"]
    queue = sqs.create_queue(QueueName="done")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["QueueArn"])
    options = BackgroundOptions(s3_endpoint=cloud, sns_endpoint=cloud, region="us-east-1")
    with OpenedBackground(options) as opened:
        service = RekognitionService(recognizer, s3=opened.objects, background=opened.background)
        with ServiceServer(create_app(service)) as server:
            client = held_to_the_model(client_for(server.url))
            channel: NotificationChannelTypeDef = {**CHANNEL, "SNSTopicArn": topic}
            job_id = client.start_face_detection(Video=video(), NotificationChannel=channel)[
                "JobId"
            ]
            told = until(
                lambda: sqs.receive_message(QueueUrl=queue).get("Messages"),
                lambda messages: messages is not None,
            )
            notice = json.loads(json.loads(told[0]["Body"])["Message"])
            assert (notice["JobId"], notice["Status"]) == (job_id, "SUCCEEDED")
            assert len(client.get_face_detection(JobId=job_id)["Faces"]) == 15
            client.close()
    for used in (s3, sns, sqs):
        used.close()


# --- ending -----------------------------------------------------------------------------------


def test_closing_ends_every_thread_and_fails_what_was_open(bucket: Path, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    recognizer, settings = HeldRecognizer(), VideoSettings(directory=tmp_path / "jobs", workers=1)
    with rig(bucket, recognizer, settings) as run:
        running = run.detect()
        waiting = run.detect()
        assert recognizer.asked.wait(60)
        closing = threading.Thread(target=run.jobs.close)
        closing.start()
        recognizer.may.set()
        closing.join()
    assert not [t for t in set(threading.enumerate()) - before if t.name.startswith("video")]
    assert not list((tmp_path / "jobs" / "spool").iterdir())
    with rig(bucket, recognizer, settings) as run:
        for job_id in (running, waiting):
            answer = run.client.get_face_detection(JobId=job_id)
            assert answer["JobStatus"] == "FAILED"


def test_videos_left_by_a_kill_are_removed(bucket: Path, tmp_path: Path) -> None:
    left = tmp_path / "jobs" / "spool" / "video-left"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"somebody")
    with rig(bucket, MemoryRecognizer(), VideoSettings(directory=tmp_path / "jobs")):
        assert not left.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"frames_per_second": 0},
        {"frames_per_second": float("nan")},
        {"workers": 0},
        {"max_open_jobs": 0},
        {"max_video_seconds": -1},
    ],
)
def test_settings_without_meaning_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        VideoSettings(**wrong)


# --- as the command line opens them -----------------------------------------------------------


def test_a_directory_gives_images_and_jobs(bucket: Path) -> None:
    with OpenedBackground(BackgroundOptions(s3_directory=bucket.parent)) as opened:
        assert opened.objects is not None
        assert opened.background is not None
        assert opened.background.video is not None
        assert not opened.background.video.tells_topics
        assert opened.background.streams is None


def test_an_endpoint_gives_jobs_and_a_topic(bucket: Path) -> None:
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        client.upload_file(str(bucket / "lobby.mp4"), BUCKET, "lobby.mp4")
        client.close()
        options = BackgroundOptions(s3_endpoint="aws", sns_endpoint="aws", region="us-east-1")
        with OpenedBackground(options) as opened:
            assert opened.objects is not None
            assert opened.objects.size(_location()) == (bucket / "lobby.mp4").stat().st_size
            assert opened.background is not None
            assert opened.background.video is not None
            assert opened.background.video.tells_topics


def _location() -> S3Location:
    return S3Location(BUCKET, "lobby.mp4", None, account="1" * 12, region="us-east-1")


def test_without_a_source_of_objects_there_are_no_jobs() -> None:
    with OpenedBackground(BackgroundOptions()) as opened:
        assert opened.objects is None
        assert opened.background == Background()


def test_a_directory_and_an_endpoint_contradict_each_other(bucket: Path) -> None:
    options = BackgroundOptions(s3_directory=bucket.parent, s3_endpoint="aws")
    with pytest.raises(ConfigError, match="not both"), OpenedBackground(options):
        pass


def test_nothing_stays_open_where_opening_fails(bucket: Path, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    options = BackgroundOptions(
        s3_directory=bucket.parent,
        streams_file=tmp_path / "none.toml",
        video=VideoSettings(directory=tmp_path / "jobs"),
    )
    with pytest.raises(ConfigError, match=r"none\.toml"), OpenedBackground(options):
        pass
    assert set(threading.enumerate()) <= before
    JobStore(tmp_path / "jobs", retention=Retention(), now=0).close()
