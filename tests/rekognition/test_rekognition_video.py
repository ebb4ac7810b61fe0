"""Jobs on stored video: what is asked of AWS, and what its answers become."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from rekadapter.backends.rekognition import open_rekognition
from rekadapter.backends.rekognition.calls import Answer
from rekadapter.backends.rekognition.video import (
    FIRST_INTERVAL_SECONDS,
    LONGEST_INTERVAL_SECONDS,
    RekognitionVideo,
)
from rekadapter.errors import (
    AccessDeniedError,
    BackendClosedError,
    ConfigError,
    GalleryNotFoundError,
    InvalidRequestError,
    QuotaExceededError,
    ScaleMismatchError,
    ServiceUnavailableError,
    StoppedError,
    UnexpectedAnswerError,
    VideoJobNotFoundError,
)
from rekadapter.recognizer import BackendContext, Recognizer, StoredVideo, stored_video_of
from rekadapter.types import (
    ComparisonScore,
    GalleryId,
    ScoreScale,
    Size,
    VendorAnswer,
    VideoDescription,
    VideoJobId,
    VideoJobStatus,
    VideoObject,
)
from tests.rekognition.fake_aws import (
    UNAVAILABLE,
    FakeAws,
    Json,
    Reply,
    box,
    error,
    face,
    face_detail,
)
from tests.rekognition.fakes import FakeClock, KeptLog

LOBBY = GalleryId("lobby")
VIDEO = VideoObject("videos", "2026/door 3.mp4")
JOB = VideoJobId("a1" * 32)
STARTED = Reply({"JobId": JOB})
IN_PROGRESS = Reply({"JobStatus": "IN_PROGRESS"})
METADATA = {
    "Codec": "h264",
    "Format": "QuickTime / MOV",
    "DurationMillis": 90_000,
    "FrameRate": 25.0,
    "FrameWidth": 1280,
    "FrameHeight": 720,
}


@pytest.fixture
def jobs(cloud: Recognizer) -> StoredVideo:
    return jobs_of(cloud)


def jobs_of(recognizer: Recognizer) -> StoredVideo:
    found = stored_video_of(recognizer)
    assert found is not None
    return found


def person(at: int, index: int, *matches: tuple[float, str], compared: bool = True) -> Json:
    seen: Json = {
        "Timestamp": at,
        "Person": {"Index": index, "Face": face_detail(box(0.1, 0.2, 0.3, 0.4))},
    }
    if compared:
        seen["FaceMatches"] = [
            {"Similarity": score, "Face": face(number, subject)}
            for number, (score, subject) in enumerate(matches)
        ]
    return seen


def succeeded(*persons: Json, **members: Any) -> Reply:
    body = {"JobStatus": "SUCCEEDED", "VideoMetadata": METADATA, "Persons": list(persons)}
    return Reply({**body, **members})


def eighty(recognizer: Recognizer) -> ComparisonScore:
    return recognizer.capabilities.threshold(80)


# --- starting ---------------------------------------------------------------------------------


def test_a_search_names_video_gallery_and_threshold(
    aws: FakeAws, cloud: Recognizer, jobs: StoredVideo
) -> None:
    aws.on("StartFaceSearch", STARTED)
    threshold = cloud.capabilities.threshold(97)
    assert jobs.start_search(VIDEO, LOBBY, threshold=threshold) == JOB
    (request,) = aws.requests
    assert request.parameters["Video"] == {
        "S3Object": {"Bucket": "videos", "Name": "2026/door 3.mp4"}
    }
    assert request.parameters["CollectionId"] == "lobby"
    assert request.parameters["FaceMatchThreshold"] == 97.0


@pytest.mark.parametrize("lost", [Reply(drop=True), Reply(STARTED.body, keep=5)])
def test_a_repetition_after_a_lost_answer_has_the_same_token(
    aws: FakeAws, cloud: Recognizer, jobs: StoredVideo, log: KeptLog, lost: Reply
) -> None:
    aws.on("StartFaceSearch", lost, STARTED)
    aws.on("DescribeCollection", Reply({"FaceCount": 1, "FaceModelVersion": "7.0"}))
    cloud.describe_gallery(LOBBY)
    assert jobs.start_search(VIDEO, LOBBY, threshold=eighty(cloud)) == JOB
    first, second = aws.of("StartFaceSearch")
    assert first.parameters == second.parameters
    token = first.parameters["ClientRequestToken"]
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", token)
    started = log.records[-1]
    assert (started.operation, started.attempts, started.outcome) == ("StartFaceSearch", 2, "ok")


def test_each_start_has_a_token_of_its_own_unless_one_is_given(
    aws: FakeAws, jobs: StoredVideo
) -> None:
    aws.on("StartFaceDetection", STARTED)
    for token in (None, None, "night-7"):
        jobs.start_detection(VideoObject("videos", "a.mp4", "v2"), token=token)
    tokens = [request.parameters["ClientRequestToken"] for request in aws.requests]
    assert len(set(tokens)) == 3
    assert tokens[2] == "night-7"
    assert aws.requests[0].parameters["Video"]["S3Object"]["Version"] == "v2"


@pytest.mark.parametrize(
    ("code", "wanted", "advice"),
    [
        ("ResourceNotFoundException", GalleryNotFoundError, "lobby"),
        ("InvalidS3ObjectException", InvalidRequestError, "bucket"),
        ("VideoTooLargeException", InvalidRequestError, "10 GB"),
        ("LimitExceededException", QuotaExceededError, "jobs under way"),
        ("IdempotentParameterMismatchException", InvalidRequestError, "StartFaceSearch"),
        ("AccessDeniedException", AccessDeniedError, "policy"),
    ],
)
def test_a_refused_start_is_an_error_that_says_what_to_do(
    aws: FakeAws,
    cloud: Recognizer,
    jobs: StoredVideo,
    code: str,
    wanted: type[Exception],
    advice: str,
) -> None:
    aws.on("StartFaceSearch", error(code, "no"))
    with pytest.raises(wanted, match=advice) as caught:
        jobs.start_search(VIDEO, LOBBY, threshold=eighty(cloud))
    assert "s3://videos/2026/door 3.mp4" in str(caught.value)
    assert len(aws.requests) == 1


def test_a_threshold_that_means_nothing_here_is_refused_before_anything_is_sent(
    aws: FakeAws, cloud: Recognizer, jobs: StoredVideo
) -> None:
    other = ComparisonScore(0.5, ScoreScale("cosine", -1, 1))
    with pytest.raises(ScaleMismatchError):
        jobs.start_search(VIDEO, LOBBY, threshold=other)
    with pytest.raises(ConfigError):
        jobs.start_search(VIDEO, LOBBY, threshold=cloud.capabilities.threshold(101))
    assert aws.requests == []


@pytest.mark.parametrize("body", [{}, {"JobId": "no id/at all"}])
def test_a_start_without_a_usable_job_id_is_not_taken_for_one(
    aws: FakeAws, jobs: StoredVideo, body: Json
) -> None:
    aws.on("StartFaceDetection", Reply(body))
    with pytest.raises(UnexpectedAnswerError, match="endpoint_url"):
        jobs.start_detection(VIDEO)


# --- results ----------------------------------------------------------------------------------


def test_every_page_of_a_result_is_read(aws: FakeAws, jobs: StoredVideo) -> None:
    aws.on(
        "GetFaceSearch",
        IN_PROGRESS,
        succeeded(person(0, 0, (99.5, "ann"), (81, "bob")), NextToken="t1"),
        succeeded(person(200, 1), person(200, 0, compared=False), NextToken="t2"),
        succeeded(person(400, 1)),
    )
    found = jobs.search_result(JOB)
    assert found.job.status is VideoJobStatus.SUCCEEDED
    assert found.job.video == VideoDescription("h264", "QuickTime / MOV", 90, 25, Size(1280, 720))
    assert [(one.at_seconds, one.person) for one in found.sightings] == [
        (0, 0),
        (0.2, 1),
        (0.2, 0),
        (0.4, 1),
    ]
    asked = [request.parameters for request in aws.requests]
    assert [one.get("NextToken") for one in asked] == [None, None, "t1", "t2"]
    assert {(one["JobId"], one["MaxResults"], one["SortBy"]) for one in asked} == {
        (JOB, 1000, "TIMESTAMP")
    }


def test_nobody_alike_is_told_from_not_compared(aws: FakeAws, jobs: StoredVideo) -> None:
    unseen = {"Timestamp": 400, "Person": {"BoundingBox": box(0, 0, 1, 1)}}
    aws.on(
        "GetFaceSearch",
        succeeded(
            person(0, 0, (81, "bob"), (99.5, "ann")),
            person(200, 0),
            person(200, 1, compared=False),
            unseen,
        ),
    )
    known, nobody, not_compared, faceless = jobs.search_result(JOB).sightings
    assert known.candidates is not None
    assert [(one.subject, one.score.value) for one in known.candidates] == [
        ("ann", 99.5),
        ("bob", 81),
    ]
    assert known.candidates[0].score.scale.name == "AWS Rekognition Similarity"
    assert nobody.candidates == ()
    assert not_compared.candidates is None
    assert (faceless.person, faceless.face, faceless.candidates) == (None, None, None)


def test_pixels_are_counted_only_where_the_frame_size_is_known(
    aws: FakeAws, jobs: StoredVideo
) -> None:
    found = {"Timestamp": 40, "Face": face_detail(box(0.1, 0.2, 0.5, 0.5))}
    known = {"JobStatus": "SUCCEEDED", "VideoMetadata": METADATA, "Faces": [found]}
    unknown = {"JobStatus": "SUCCEEDED", "Faces": [found]}
    aws.on("GetFaceDetection", Reply(known), Reply(unknown))
    (one,) = jobs.detection_result(JOB).faces
    assert one.at_seconds == 0.04
    assert one.face.eye_distance_px == pytest.approx(0.4 * 0.5 * 1280)
    (other,) = jobs.detection_result(JOB).faces
    assert other.face.eye_distance_px is None
    assert other.face.landmarks == one.face.landmarks


def test_a_failed_job_is_a_value_with_the_reason(aws: FakeAws, jobs: StoredVideo) -> None:
    failed = {"JobStatus": "FAILED", "StatusMessage": "Unsupported codec"}
    aws.on("GetFaceSearch", Reply(failed))
    found = jobs.search_result(JOB)
    assert (found.job.status, found.job.reason) == (VideoJobStatus.FAILED, "Unsupported codec")
    assert (found.sightings, found.job.price_usd) == ((), None)


def test_a_job_can_be_asked_for_once_without_waiting(aws: FakeAws, jobs: StoredVideo) -> None:
    aws.on("GetFaceSearch", IN_PROGRESS)
    found = jobs.search_result(JOB, wait_seconds=0)
    assert (found.job.job_id, found.job.status) == (JOB, VideoJobStatus.IN_PROGRESS)
    assert len(aws.requests) == 1


@pytest.mark.parametrize("job_id", [JOB, "no id/at all", ""])
def test_an_unknown_job_is_not_an_unknown_gallery(
    aws: FakeAws, jobs: StoredVideo, job_id: str
) -> None:
    aws.on("GetFaceSearch", error("ResourceNotFoundException", "Could not find JobId"))
    with pytest.raises(VideoJobNotFoundError, match="seven days"):
        jobs.search_result(VideoJobId(job_id))
    assert len(aws.requests) == (1 if job_id == JOB else 0)


def test_an_error_while_asking_names_the_job(
    aws: FakeAws, open_on: Callable[..., Recognizer]
) -> None:
    aws.on("GetFaceSearch", error("AccessDeniedException", "no"))
    with pytest.raises(AccessDeniedError, match=JOB):
        jobs_of(open_on()).search_result(JOB)


def test_a_hiccup_while_asking_is_repeated(aws: FakeAws, jobs: StoredVideo) -> None:
    aws.on("GetFaceSearch", UNAVAILABLE, succeeded(person(0, 0)))
    assert len(jobs.search_result(JOB).sightings) == 1


@pytest.mark.parametrize(
    "replies",
    [
        [Reply({})],
        [Reply({"JobStatus": "DONE"})],
        [Reply({"JobStatus": "SUCCEEDED"})],
        [succeeded({"Timestamp": 0})],
        [succeeded(NextToken="t"), IN_PROGRESS],
        [succeeded(NextToken="t")],
    ],
    ids=["nothing", "status", "no persons", "no person", "back in progress", "token twice"],
)
def test_an_answer_that_makes_no_sense_is_never_a_result(
    aws: FakeAws, jobs: StoredVideo, replies: list[Reply]
) -> None:
    aws.on("GetFaceSearch", *replies)
    with pytest.raises(UnexpectedAnswerError):
        jobs.search_result(JOB)


def test_a_closed_backend_takes_no_jobs(cloud: Recognizer, jobs: StoredVideo) -> None:
    cloud.close()
    with pytest.raises(BackendClosedError):
        jobs.start_detection(VIDEO)
    with pytest.raises(BackendClosedError):
        jobs.search_result(JOB)


def test_the_end_of_a_run_ends_the_wait(aws: FakeAws, tmp_path: Path) -> None:
    context = BackendContext(tmp_path, tmp_path)
    recognizer = open_rekognition("cloud", {"endpoint_url": aws.url}, context)

    def running(_: object) -> Reply:
        context.stop.set()
        return IN_PROGRESS

    aws.on("GetFaceSearch", running)
    with pytest.raises(StoppedError):
        jobs_of(recognizer).search_result(JOB)
    recognizer.close()


# --- prices -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("region", "metadata", "price"),
    [
        ("us-east-1", METADATA, 0.15),
        ("us-east-1", {"Codec": "h264"}, None),
        ("eu-south-2", METADATA, None),
    ],
    ids=["a minute and a half", "length unknown", "region without a price"],
)
def test_a_job_costs_its_minutes_where_both_are_known(
    aws: FakeAws,
    open_on: Callable[..., Recognizer],
    region: str,
    metadata: Json,
    price: float | None,
) -> None:
    aws.on("GetFaceSearch", succeeded(VideoMetadata=metadata))
    found = jobs_of(open_on(region=region)).search_result(JOB)
    assert found.job.price_usd == (None if price is None else pytest.approx(price))


def test_the_ledger_has_a_record_of_every_request_and_no_made_up_price(
    aws: FakeAws, cloud: Recognizer, jobs: StoredVideo, log: KeptLog
) -> None:
    aws.on("StartFaceSearch", STARTED)
    aws.on("GetFaceSearch", succeeded(NextToken="t"), succeeded())
    jobs.search_result(jobs.start_search(VIDEO, LOBBY, threshold=eighty(cloud)))
    assert [(record.operation, record.price_usd) for record in log.records] == [
        ("StartFaceSearch", None),
        ("GetFaceSearch", 0.0),
        ("GetFaceSearch", 0.0),
    ]


# --- the wait ---------------------------------------------------------------------------------


class Script:
    """Pages of a job that is over after so many seconds of the clock."""

    def __init__(self, clock: FakeClock, over_after: float) -> None:
        self._clock = clock
        self._over_at = clock.now + over_after
        self.asked_at: list[float] = []

    def pages(self, operation: str, parameters: Mapping[str, Any], about: str) -> Iterator[Answer]:
        del parameters, about
        self.asked_at.append(self._clock.now)
        over = self._clock.now >= self._over_at
        data = {"JobStatus": "SUCCEEDED", "Faces": []} if over else {"JobStatus": "IN_PROGRESS"}
        yield Answer(data, VendorAnswer(operation, None, "{}"))

    def call(self, operation: str, parameters: Mapping[str, Any], about: str) -> Answer:
        raise ServiceUnavailableError(f"{operation} of {about} with {parameters} is not for here")


def test_the_intervals_grow_up_to_a_bound() -> None:
    clock = FakeClock()
    script = Script(clock, over_after=600)
    video = RekognitionVideo(
        script.call, script.pages, minute_usd=None, sleep=clock.sleep, clock=clock
    )
    found = video.detection_result(JOB)
    assert found.job.status is VideoJobStatus.SUCCEEDED
    assert clock.slept[0] == FIRST_INTERVAL_SECONDS
    assert clock.slept == sorted(clock.slept)
    assert clock.slept[-1] == LONGEST_INTERVAL_SECONDS
    assert len(script.asked_at) == len(clock.slept) + 1


@pytest.mark.parametrize("patience", [0.1, 7.0, 100.0])
def test_the_wait_ends_with_one_last_look_at_the_deadline(patience: float) -> None:
    clock = FakeClock()
    script = Script(clock, over_after=1e9)
    video = RekognitionVideo(
        script.call, script.pages, minute_usd=None, sleep=clock.sleep, clock=clock
    )
    began = clock.now
    found = video.detection_result(JOB, wait_seconds=patience)
    assert found.job.status is VideoJobStatus.IN_PROGRESS
    assert script.asked_at[-1] == pytest.approx(began + patience)
