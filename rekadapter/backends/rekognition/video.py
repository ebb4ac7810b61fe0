"""``StoredVideo`` over Rekognition's jobs on videos in S3.

A job is started with a ``ClientRequestToken``: where the answer gets lost and the request is sent
again, it is still one job, and one bill. Its result is asked for at growing intervals, since AWS
throttles these requests.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

from rekadapter.backends.rekognition import answers
from rekadapter.backends.rekognition.answers import SIMILARITY, Json
from rekadapter.backends.rekognition.calls import Answer, understanding
from rekadapter.errors import GalleryNotFoundError, UnexpectedAnswerError, VideoJobNotFoundError
from rekadapter.names import gallery_id
from rekadapter.recognizer import VIDEO_WAIT_SECONDS
from rekadapter.types import (
    ComparisonScore,
    DetectedFace,
    GalleryId,
    Size,
    VideoDescription,
    VideoDetection,
    VideoFace,
    VideoJob,
    VideoJobId,
    VideoJobStatus,
    VideoObject,
    VideoSearch,
    VideoSighting,
)

FIRST_INTERVAL_SECONDS: Final = 0.5
INTERVAL_GROWTH: Final = 1.5
LONGEST_INTERVAL_SECONDS: Final = 15.0
RESULTS_PER_PAGE: Final = 1000
"""Most results of one answer (service model)."""

_JOB_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_EVERYTHING: Final = ComparisonScore(SIMILARITY.low, SIMILARITY)
_MAX_CANDIDATES: Final = 4096
_UNKNOWN_SIZE: Final = Size(1, 1)

Call = Callable[[str, Mapping[str, Any], str], Answer]
Pages = Callable[[str, Mapping[str, Any], str], Iterator[Answer]]


@dataclass(frozen=True, slots=True)
class _Result:
    """A job as it was last seen, and its pages, the first of them read already."""

    job: VideoJob
    pages: Iterator[Answer]


class RekognitionVideo:
    """See ``StoredVideo``. The service decides by the threshold that a job was started with."""

    def __init__(
        self,
        call: Call,
        pages: Pages,
        *,
        minute_usd: float | None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._call = call
        self._pages = pages
        self._minute_usd = minute_usd
        self._sleep = sleep
        self._clock = clock

    def start_search(
        self,
        video: VideoObject,
        gallery: GalleryId,
        *,
        threshold: ComparisonScore,
        token: str | None = None,
    ) -> VideoJobId:
        """StartFaceSearch."""
        answers.check_threshold(threshold)
        parameters = {
            **_started(video, token),
            "CollectionId": gallery_id(gallery),
            "FaceMatchThreshold": float(threshold.value),
        }
        return self._job_of("StartFaceSearch", parameters, f"{video} and gallery '{gallery}'")

    def search_result(
        self, job_id: VideoJobId, *, wait_seconds: float = VIDEO_WAIT_SECONDS
    ) -> VideoSearch:
        """GetFaceSearch until the job is over, and then every page of it."""
        parameters = {"SortBy": "TIMESTAMP"}
        result = self._waited_for("GetFaceSearch", job_id, parameters, wait_seconds)
        size = _frame_size(result.job)
        return VideoSearch(
            result.job, tuple(chain.from_iterable(_sightings(page, size) for page in result.pages))
        )

    def start_detection(self, video: VideoObject, *, token: str | None = None) -> VideoJobId:
        """StartFaceDetection."""
        parameters = {**_started(video, token), "FaceAttributes": "DEFAULT"}
        return self._job_of("StartFaceDetection", parameters, str(video))

    def detection_result(
        self, job_id: VideoJobId, *, wait_seconds: float = VIDEO_WAIT_SECONDS
    ) -> VideoDetection:
        """GetFaceDetection until the job is over, and then every page of it."""
        result = self._waited_for("GetFaceDetection", job_id, {}, wait_seconds)
        size = _frame_size(result.job)
        return VideoDetection(
            result.job, tuple(chain.from_iterable(_faces(page, size) for page in result.pages))
        )

    def _job_of(self, operation: str, parameters: Mapping[str, Any], about: str) -> VideoJobId:
        answer = self._call(operation, parameters, about)
        job_id = str(answer.data["JobId"])
        if not _JOB_ID.fullmatch(job_id):
            raise UnexpectedAnswerError(
                f"{about}: {operation} gave a job id that is none: is endpoint_url Rekognition's?"
            )
        return VideoJobId(job_id)

    def _waited_for(
        self,
        operation: str,
        job_id: VideoJobId,
        parameters: Mapping[str, Any],
        wait_seconds: float,
    ) -> _Result:
        if not _JOB_ID.fullmatch(job_id):
            raise _job_not_found(job_id)
        end = self._clock() + wait_seconds
        interval = FIRST_INTERVAL_SECONDS
        while True:
            result = self._asked(operation, job_id, parameters)
            left = end - self._clock()
            if result.job.status is not VideoJobStatus.IN_PROGRESS or left <= 0:
                return result
            self._sleep(min(interval, left))
            interval = min(interval * INTERVAL_GROWTH, LONGEST_INTERVAL_SECONDS)

    def _asked(self, operation: str, job_id: VideoJobId, parameters: Mapping[str, Any]) -> _Result:
        """The job as it is now. Where it succeeded, its pages; they have to say so too."""
        asked = {**parameters, "JobId": job_id, "MaxResults": RESULTS_PER_PAGE}
        pages = self._pages(operation, asked, f"video job '{job_id}'")
        try:
            first = next(pages)
        except GalleryNotFoundError as error:
            raise _job_not_found(job_id) from error.__cause__
        job = self._described(job_id, first)
        if job.status is not VideoJobStatus.SUCCEEDED:
            return _Result(job, iter(()))
        return _Result(job, chain([first], map(_of_success, pages)))

    def _described(self, job_id: VideoJobId, answer: Answer) -> VideoJob:
        with understanding(answer) as data:
            status = VideoJobStatus(data["JobStatus"])
            metadata = data.get("VideoMetadata")
            video = _description(metadata) if metadata else None
            reason = data.get("StatusMessage")
        price = self._price_usd(video) if status is VideoJobStatus.SUCCEEDED else None
        return VideoJob(job_id, status, str(reason) if reason else None, video, price)

    def _price_usd(self, video: VideoDescription | None) -> float | None:
        if self._minute_usd is None or video is None or video.duration_seconds is None:
            return None
        return self._minute_usd * video.duration_seconds / 60


def _started(video: VideoObject, token: str | None) -> dict[str, Any]:
    place = {"Bucket": video.bucket, "Name": video.key}
    if video.version is not None:
        place["Version"] = video.version
    return {"Video": {"S3Object": place}, "ClientRequestToken": token or str(uuid.uuid4())}


def _of_success(page: Answer) -> Answer:
    with understanding(page) as data:
        status = VideoJobStatus(data["JobStatus"])
    if status is not VideoJobStatus.SUCCEEDED:
        raise UnexpectedAnswerError(
            f"{page.original.operation}: a job that had succeeded is {status} on a later page: "
            "ask for it again"
        )
    return page


def _description(metadata: Json) -> VideoDescription:
    width, height = metadata.get("FrameWidth"), metadata.get("FrameHeight")
    milliseconds, rate = metadata.get("DurationMillis"), metadata.get("FrameRate")
    codec, container = metadata.get("Codec"), metadata.get("Format")
    return VideoDescription(
        codec=str(codec) if codec else None,
        container=str(container) if container else None,
        duration_seconds=None if milliseconds is None else int(milliseconds) / 1000,
        frames_per_second=None if rate is None else float(rate),
        frame_size=Size(int(width), int(height)) if width and height else None,
    )


def _frame_size(job: VideoJob) -> Size | None:
    return None if job.video is None else job.video.frame_size


def _sightings(page: Answer, size: Size | None) -> list[VideoSighting]:
    with understanding(page) as data:
        return [_sighting(person, size) for person in data["Persons"]]


def _sighting(seen: Json, size: Size | None) -> VideoSighting:
    person, matches = seen["Person"], seen.get("FaceMatches")
    index, face = person.get("Index"), person.get("Face")
    return VideoSighting(
        at_seconds=_seconds(seen),
        person=None if index is None else int(index),
        face=_face(face, size) if face else None,
        candidates=None
        if matches is None
        else answers.candidates(matches, _EVERYTHING, _MAX_CANDIDATES),
    )


def _faces(page: Answer, size: Size | None) -> list[VideoFace]:
    with understanding(page) as data:
        return [VideoFace(_seconds(found), _face(found["Face"], size)) for found in data["Faces"]]


def _seconds(found: Json) -> float:
    return int(found["Timestamp"]) / 1000


def _face(detail: Json, size: Size | None) -> DetectedFace:
    """Without the frames' size there is no distance in pixels."""
    face = answers.detected_face(detail, size or _UNKNOWN_SIZE)
    return face if size else replace(face, eye_distance_px=None)


def _job_not_found(job_id: VideoJobId) -> VideoJobNotFoundError:
    return VideoJobNotFoundError(
        f"there is no video job '{job_id}' of this kind in this account and region; results are "
        "kept for seven days"
    )
