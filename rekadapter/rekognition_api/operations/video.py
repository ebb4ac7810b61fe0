"""Stored video: jobs that are started, and asked about until they are over."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from typing import Final

from rekadapter.feeds import Frame
from rekadapter.recognizer import FaceSelection, analysis_of
from rekadapter.rekognition_api.codec import WireObject
from rekadapter.rekognition_api.context import Context, S3Location, S3ObjectError
from rekadapter.rekognition_api.faults import (
    FaultError,
    invalid_page_token,
    invalid_parameter,
    invalid_s3_object,
    not_found,
    unknown_operation,
)
from rekadapter.rekognition_api.jobs.settings import VideoSettings
from rekadapter.rekognition_api.jobs.store import (
    Job,
    JobOrder,
    JobState,
    Place,
    Result,
    ResultPage,
    SortBy,
    VideoFacts,
)
from rekadapter.rekognition_api.jobs.video import Analysis
from rekadapter.rekognition_api.jobs.worker import VideoJobs
from rekadapter.rekognition_api.operations import shapes
from rekadapter.rekognition_api.operations.remote_video import (
    NO_JOB,
    asked,
    remote_video,
    start_detection,
    start_search,
)
from rekadapter.rekognition_api.request import Request
from rekadapter.tracking import DecisionRules, Tracker, TrackingRules
from rekadapter.types import (
    ComparisonScore,
    FaceAttribute,
    FaceIdentification,
    GalleryId,
    Reason,
)

MAX_RESULTS: Final = 1000
DEFAULT_THRESHOLD: Final = 80.0
FACE_SEARCH: Final = "StartFaceSearch"
FACE_DETECTION: Final = "StartFaceDetection"

_TOKEN: Final = "ClientRequestToken"  # noqa: S105 - the name of a member
_PAGE: Final = re.compile(r"(\d{1,18})\.(\d{1,18})")
_TAG_BYTES: Final = 8


def start_face_search(context: Context, request: Request) -> WireObject:
    gallery = GalleryId(request.text("CollectionId"))
    value = request.number("FaceMatchThreshold", DEFAULT_THRESHOLD)
    threshold = context.recognizer.capabilities.threshold(value)
    remote = remote_video(context)
    if remote is not None:
        order = _order(context, request, FACE_SEARCH, tells_topics=False)
        return {"JobId": start_search(remote, order, gallery, threshold)}
    jobs = _jobs(context)

    def prepare() -> Analysis:
        context.recognizer.describe_gallery(gallery)  # raises where there is none
        return FaceSearch(context, gallery, threshold, jobs.settings)

    return _started(context, request, FACE_SEARCH, prepare)


def start_face_detection(context: Context, request: Request) -> WireObject:
    """Each face has all that was computed; age and gender only where ``FaceAttributes`` asks."""
    remote = remote_video(context)
    if remote is not None:
        order = _order(context, request, FACE_DETECTION, tells_topics=False)
        return {"JobId": start_detection(remote, order)}
    words = request.optional_text("FaceAttributes")
    asked = shapes.attributes([] if words is None else [words])

    def prepare() -> Analysis:
        return FaceDetection(context, asked)

    return _started(context, request, FACE_DETECTION, prepare)


def get_face_search(context: Context, request: Request) -> WireObject:
    sort = SortBy(request.optional_text("SortBy") or SortBy.TIMESTAMP)
    return _described(context, request, FACE_SEARCH, sort, "Persons")


def get_face_detection(context: Context, request: Request) -> WireObject:
    return _described(context, request, FACE_DETECTION, SortBy.TIMESTAMP, "Faces")


# --- starting ---------------------------------------------------------------------------------


def _jobs(context: Context) -> VideoJobs:
    if context.background is None or context.background.video is None:
        raise FaultError(unknown_operation("The service has no store of videos."))
    return context.background.video


def _started(
    context: Context, request: Request, api: str, prepare: Callable[[], Analysis]
) -> WireObject:
    jobs = _jobs(context)
    order = _order(context, request, api, tells_topics=jobs.tells_topics)
    try:
        return {"JobId": jobs.start(order, prepare)}
    except S3ObjectError as error:
        raise invalid_s3_object() from error


def _order(context: Context, request: Request, api: str, *, tells_topics: bool) -> JobOrder:
    topic = request.part("NotificationChannel").optional_text("SNSTopicArn")
    if topic is not None and not tells_topics:
        raise invalid_parameter(
            "Request has invalid parameters: the service cannot publish to the "
            "NotificationChannel; poll, or start it with an SNS endpoint and videos of its own."
        )
    return JobOrder(
        api=api,
        video=_location(context, request.part("Video").part("S3Object")),
        digest=_digest(request),
        token=request.optional_text(_TOKEN),
        tag=request.optional_text("JobTag"),
        topic=topic,
    )


def _location(context: Context, named: Request) -> S3Location:
    bucket, key = named.optional_text("Bucket"), named.optional_text("Name")
    if bucket is None or key is None:
        raise invalid_parameter(
            "Request has invalid parameters: a video is given by S3Object with Bucket and Name."
        )
    version = named.optional_text("Version")
    return S3Location(bucket, key, version, context.account, context.region)


def _digest(request: Request) -> str:
    given = {name: value for name, value in request.members.items() if name != _TOKEN}
    return hashlib.sha256(json.dumps(given, sort_keys=True, default=repr).encode()).hexdigest()


# --- asking -----------------------------------------------------------------------------------


def _described(
    context: Context, request: Request, api: str, sort: SortBy, member: str
) -> WireObject:
    remote = remote_video(context)
    jobs = _jobs(context) if remote is None else remote.jobs
    job = jobs.find(request.text("JobId"))
    if job is None or not _belongs(job, context, api):
        raise not_found(NO_JOB)
    if remote is not None:
        job = asked(remote, context, job, is_search=api == FACE_SEARCH)
    after = _after(request, job, sort)
    page = ResultPage((), None)
    if job.state is JobState.SUCCEEDED:
        most = min(request.integer("MaxResults", MAX_RESULTS), MAX_RESULTS)
        page = jobs.results(job, sort, after, most)
    return {
        "JobStatus": job.state,
        "StatusMessage": job.message,
        "VideoMetadata": None if job.facts is None else _metadata(job.facts),
        "NextToken": None if page.last is None else _token(job, sort, page.last),
        member: [json.loads(body) for body in page.bodies],
        "JobId": job.job_id,
        "Video": {"S3Object": _s3_object(job.order.video)},
        "JobTag": job.order.tag,
    }


def _belongs(job: Job, context: Context, api: str) -> bool:
    video = job.order.video
    owner = (video.account, video.region, job.order.api)
    return owner == (context.account, context.region, api)


def _metadata(facts: VideoFacts) -> WireObject:
    return {
        "Codec": facts.codec,
        "DurationMillis": facts.duration_ms,
        "Format": facts.container,
        "FrameRate": facts.frame_rate,
        "FrameHeight": facts.height,
        "FrameWidth": facts.width,
        "ColorRange": facts.color_range,
    }


def _s3_object(video: S3Location) -> WireObject:
    return {"Bucket": video.bucket, "Name": video.key, "Version": video.version}


def _tag(job: Job, sort: SortBy) -> bytes:
    return hashlib.sha256(f"{job.job_id}\n{sort}".encode()).digest()[:_TAG_BYTES]


def _token(job: Job, sort: SortBy, last: Place) -> str:
    text = f"{last.person}.{last.place}".encode()
    return base64.b64encode(_tag(job, sort) + text).decode()


def _after(request: Request, job: Job, sort: SortBy) -> Place | None:
    token = request.optional_text("NextToken")
    if not token:
        return None
    try:
        data = base64.b64decode(token.encode("ascii"), validate=True)
        found = _PAGE.fullmatch(data[_TAG_BYTES:].decode("ascii"))
    except ValueError as error:
        raise invalid_page_token() from error
    if found is None or data[:_TAG_BYTES] != _tag(job, sort):
        raise invalid_page_token()
    return Place(int(found[1]), int(found[2]))


# --- what is made of a frame ------------------------------------------------------------------


class FaceDetection:
    """Every face of every frame: ``FaceDetection`` structures."""

    collection = ""

    def __init__(self, context: Context, asked: frozenset[FaceAttribute]) -> None:
        self._context = context
        self._asked = asked
        self._analysis = analysis_of(context.recognizer, asked)

    def faces_of(self, frame: Frame) -> Sequence[Result]:
        """See ``Analysis``."""
        found = self._analysis.detect(frame.image).faces
        kept = found[: self._context.settings.max_faces_per_image]
        return [
            _result(
                0,
                {
                    "Timestamp": _milliseconds(frame),
                    "Face": shapes.face_detail(face, self._asked),
                },
            )
            for face in kept
        ]


class FaceSearch:
    """Every face of every frame with its candidates: ``PersonMatch`` structures.

    A person's index is that of the track: a person who leaves the view and comes back is another.
    """

    def __init__(
        self,
        context: Context,
        gallery: GalleryId,
        threshold: ComparisonScore,
        settings: VideoSettings,
    ) -> None:
        self._context = context
        self._gallery = gallery
        self.collection: str = gallery
        self._threshold = threshold
        self._limit = min(settings.max_matches, context.recognizer.capabilities.max_candidates)
        rules = TrackingRules.at(settings.frames_per_second)
        self._tracker = Tracker(DecisionRules(threshold), rules)

    def faces_of(self, frame: Frame) -> Sequence[Result]:
        """See ``Analysis``."""
        found = self._context.recognizer.identify(
            self._gallery,
            frame.image,
            threshold=self._threshold,
            limit=self._limit,
            faces=FaceSelection.ALL,
        )
        kept = found.faces[: self._context.settings.max_faces_per_image]
        tracks = self._tracker.update(frame.seconds, kept).tracks
        return [
            _result(track or 0, self._person(frame, track, face))
            for track, face in zip(tracks, kept, strict=True)
        ]

    def _person(self, frame: Frame, track: int | None, face: FaceIdentification) -> WireObject:
        index = None if track is None else track - 1  # tracks count from 1, persons from 0
        return {
            "Timestamp": _milliseconds(frame),
            "Person": {"Index": index, "Face": shapes.face_detail(face.face)},
            "FaceMatches": matches_of(self._context, face),
        }


def matches_of(context: Context, face: FaceIdentification) -> list[WireObject] | None:
    """``FaceMatches``; None for a face that was not compared with anybody, which is not the same as
    resembling nobody."""
    failure = face.not_searched
    if failure is not None and failure.reason is not Reason.EMPTY_GALLERY:
        return None
    return [shapes.face_match(context, candidate) for candidate in face.candidates]


def _milliseconds(frame: Frame) -> int:
    return round(frame.seconds * 1000)


def _result(person: int, members: WireObject) -> Result:
    return Result(person, json.dumps(members, allow_nan=False))
