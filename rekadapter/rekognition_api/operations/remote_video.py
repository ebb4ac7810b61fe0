"""Stored video that the backend's own service analyzes: AWS itself, or another service like it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from rekadapter.errors import RekadapterError, VideoJobNotFoundError
from rekadapter.recognizer import StoredVideo, stored_video_of
from rekadapter.rekognition_api.codec import WireObject
from rekadapter.rekognition_api.context import Context
from rekadapter.rekognition_api.faults import Fault, FaultError, invalid_s3_object, not_found
from rekadapter.rekognition_api.jobs.remote import RemoteJobs, RemoteResult
from rekadapter.rekognition_api.jobs.store import Job, JobOrder, JobState, Result, VideoFacts
from rekadapter.rekognition_api.operations import shapes
from rekadapter.types import (
    ComparisonScore,
    GalleryId,
    VideoDescription,
    VideoFace,
    VideoJob,
    VideoJobId,
    VideoObject,
    VideoSighting,
)

NO_JOB: Final = "Could not find JobId"
_PASSED_ON: Final = {
    "VideoTooLargeException": "The video is larger than the backend takes.",
    "LimitExceededException": "Too many jobs of the backend are open.",
}
"""Errors of the backend's service that clients know; the words are ours: its own may name the
account behind this service."""
_INVALID_S3_OBJECT: Final = "InvalidS3ObjectException"


@dataclass(frozen=True, slots=True)
class RemoteVideo:
    """The backend's jobs and the record of them."""

    backend: StoredVideo
    jobs: RemoteJobs


def remote_video(context: Context) -> RemoteVideo | None:
    """None where this service analyzes videos itself, or nobody does."""
    jobs = None if context.background is None else context.background.remote
    backend = None if jobs is None else stored_video_of(context.recognizer)
    return None if jobs is None or backend is None else RemoteVideo(backend, jobs)


def start_search(
    remote: RemoteVideo, order: JobOrder, gallery: GalleryId, threshold: ComparisonScore
) -> str:
    """Starts a job at the backend's service and returns its id there."""
    with _clients_errors():
        return remote.jobs.start(
            order,
            lambda: remote.backend.start_search(
                _object(order), gallery, threshold=threshold, token=_token(order)
            ),
        )


def start_detection(remote: RemoteVideo, order: JobOrder) -> str:
    """Starts a job at the backend's service and returns its id there."""
    with _clients_errors():
        return remote.jobs.start(
            order, lambda: remote.backend.start_detection(_object(order), token=_token(order))
        )


def asked(remote: RemoteVideo, context: Context, job: Job, *, is_search: bool) -> Job:
    """The job as it is now; once it is over, the backend's service is asked no more.

    Raises:
        FaultError: the backend's service knows it no more.
    """
    if job.state is not JobState.IN_PROGRESS:
        return job
    ask = _search if is_search else _detection
    try:
        return remote.jobs.settle(job, ask(remote.backend, context, job))
    except VideoJobNotFoundError as error:
        raise not_found(NO_JOB) from error


# --- to the backend's service -----------------------------------------------------------------


def _object(order: JobOrder) -> VideoObject:
    return VideoObject(order.video.bucket, order.video.key, order.video.version)


def _token(order: JobOrder) -> str | None:
    """One that no other account, region or operation has; behind this service they are one."""
    if order.token is None:
        return None
    owner = (order.video.account, order.video.region, order.api, order.token)
    return hashlib.sha256("\n".join(owner).encode()).hexdigest()


@contextmanager
def _clients_errors() -> Iterator[None]:
    """Errors of starting that Rekognition's clients know by class."""
    try:
        yield
    except FaultError:
        raise
    except RekadapterError as error:
        code = _original_code(error)
        if code == _INVALID_S3_OBJECT:
            raise invalid_s3_object() from error
        if code in _PASSED_ON:
            raise FaultError(Fault(code, _PASSED_ON[code])) from error
        raise


def _original_code(error: RekadapterError) -> str:
    """The vendor's own, where it is the error's cause."""
    response = getattr(error.__cause__, "response", None)
    if not isinstance(response, dict):
        return ""
    return str(response.get("Error", {}).get("Code", ""))


# --- from the backend's service ---------------------------------------------------------------


def _search(backend: StoredVideo, context: Context, job: Job) -> RemoteResult:
    found = backend.search_result(VideoJobId(job.job_id), wait_seconds=0.0)
    return _result(found.job, [_sighting(context, seen) for seen in found.sightings])


def _detection(backend: StoredVideo, context: Context, job: Job) -> RemoteResult:
    del context  # faces of a video name nobody
    found = backend.detection_result(VideoJobId(job.job_id), wait_seconds=0.0)
    return _result(found.job, [_face(seen) for seen in found.faces])


def _result(job: VideoJob, results: list[Result]) -> RemoteResult:
    state = JobState(job.status)
    facts = None if job.video is None else _facts(job.video)
    return RemoteResult(state, job.reason, facts, results)


def _facts(video: VideoDescription) -> VideoFacts | None:
    """None where it is not said whole: no member of ``VideoMetadata`` is made up."""
    if video.codec is None or video.container is None or video.frame_size is None:
        return None
    length = video.duration_seconds
    return VideoFacts(
        codec=video.codec,
        container=video.container,
        duration_ms=None if length is None else round(length * 1000),
        frame_rate=video.frames_per_second,
        width=video.frame_size.width,
        height=video.frame_size.height,
    )


def _sighting(context: Context, seen: VideoSighting) -> Result:
    matches = seen.candidates
    members: WireObject = {
        "Timestamp": round(seen.at_seconds * 1000),
        "Person": {
            "Index": seen.person,
            "Face": None if seen.face is None else shapes.face_detail(seen.face),
        },
        "FaceMatches": None
        if matches is None
        else [shapes.face_match(context, candidate) for candidate in matches],
    }
    return Result(seen.person or 0, json.dumps(members, allow_nan=False))


def _face(seen: VideoFace) -> Result:
    members = {"Timestamp": round(seen.at_seconds * 1000), "Face": shapes.face_detail(seen.face)}
    return Result(0, json.dumps(members, allow_nan=False))
