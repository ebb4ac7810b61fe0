"""``rekadapter search-video``: a stored video searched where it lies, by the backend's service."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Final

import typer

from rekadapter.cli.options import (
    AcceptLargerGallery,
    AsJson,
    BackendName,
    GalleryName,
    Thresholds,
    ThresholdsFrom,
    ThresholdTarget,
    number,
)
from rekadapter.cli.output import print_json, print_table, remark, score_text, threshold_words
from rekadapter.cli.session import OpenBackend, Session
from rekadapter.cli.thresholds import ThresholdRequest
from rekadapter.errors import BackendError, StoppedError, UsageError
from rekadapter.recognizer import VIDEO_WAIT_SECONDS, StoredVideo, stored_video_of
from rekadapter.types import (
    Candidate,
    GalleryId,
    SubjectId,
    VideoJob,
    VideoJobId,
    VideoJobStatus,
    VideoObject,
    VideoSearch,
    VideoSighting,
)

NO_RESULT: Final = 1

_S3_URL: Final = re.compile(r"s3://([0-9A-Za-z._-]{3,255})/(.{1,1024})", re.DOTALL)
"""Bucket and key as Rekognition takes them (service model, ``S3Bucket`` and ``S3ObjectName``)."""


def search_video(
    context: typer.Context,
    video: Annotated[
        str | None, typer.Argument(help="s3://BUCKET/KEY, read by the service itself.")
    ] = None,
    job: Annotated[
        str | None, typer.Option("--job", help="A job started before, instead of a video.")
    ] = None,
    gallery: GalleryName = None,
    backend: BackendName = None,
    threshold: Thresholds = None,
    threshold_from: ThresholdsFrom = None,
    target_fpir: ThresholdTarget = None,
    accept_larger_gallery: AcceptLargerGallery = False,
    wait: Annotated[
        float,
        number("--wait", low=0, high=30 * 86_400, about="Seconds to wait; 0 asks once."),
    ] = VIDEO_WAIT_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Search a stored video for the people of a gallery (exit code 1: it failed, or goes on).

    The job runs at the service and goes on without this command: its id, printed at the start,
    brings the result later.
    """
    session: Session = context.obj
    if (video is None) == (job is None):
        raise UsageError("name a video, s3://BUCKET/KEY, or with --job a job started before")
    place = s3_object(video) if video is not None else None
    chosen = session.gallery(gallery) if place else None
    thresholds = ThresholdRequest.of(
        "video", threshold, threshold_from, target_fpir, accept_larger_gallery
    )
    asked = replace(thresholds, gallery=chosen) if place else None  # a job has its threshold
    with session.backend(backend, thresholds=asked) as opened:
        jobs = _jobs_of(opened)
        job_id = _start(opened, place, chosen) if place and chosen else VideoJobId(job or "")
        try:
            found = jobs.search_result(job_id, wait_seconds=wait)
        except (BackendError, StoppedError, KeyboardInterrupt):
            remark(f"the job goes on: rekadapter search-video --job {job_id} brings its result")
            raise
    if as_json:
        print_json(found)
    else:
        _show(found)
    _tell(found.job)
    if found.job.status is not VideoJobStatus.SUCCEEDED:
        raise typer.Exit(NO_RESULT)


def s3_object(url: str) -> VideoObject:
    """The video that ``s3://BUCKET/KEY`` names.

    Raises:
        UsageError: it has another form.
    """
    found = _S3_URL.fullmatch(url)
    if found is None:
        raise UsageError(f"{url!r} does not name a video in S3: write s3://BUCKET/KEY")
    return VideoObject(found[1], found[2])


def _jobs_of(opened: OpenBackend) -> StoredVideo:
    jobs = stored_video_of(opened.recognizer)
    if jobs is None:
        raise UsageError(
            f"backend '{opened.name}' takes no jobs on stored videos: use one of type rekognition, "
            "or `rekadapter run` for a file on this machine"
        )
    return jobs


def _start(opened: OpenBackend, video: VideoObject, gallery: GalleryId) -> VideoJobId:
    job_id = _jobs_of(opened).start_search(video, gallery, threshold=opened.threshold)
    limit = threshold_words(opened.threshold.value, opened.threshold_origin)
    remark(f"job {job_id}: {video} against gallery {gallery}, {limit}")
    return job_id


# --- showing it -------------------------------------------------------------------------------


def _show(found: VideoSearch) -> None:
    if found.job.status is not VideoJobStatus.SUCCEEDED:
        return
    people: dict[int | None, list[VideoSighting]] = {}
    for sighting in found.sightings:
        people.setdefault(sighting.person, []).append(sighting)
    rows = [_row(index, sightings) for index, sightings in people.items()]
    title = f"{len(people)} people, {len(found.sightings)} sightings (job {found.job.job_id})"
    print_table(title, ("person", "from", "to", "sightings", "who it may be", "compared"), rows)


def _row(index: int | None, sightings: list[VideoSighting]) -> tuple[object, ...]:
    compared = sum(1 for one in sightings if one.candidates is not None)
    return (
        "-" if index is None else index,
        f"{sightings[0].at_seconds:.1f} s",
        f"{sightings[-1].at_seconds:.1f} s",
        len(sightings),
        _who(sightings),
        compared,
    )


def _who(sightings: Iterable[VideoSighting]) -> str:
    """Every subject that was the best candidate of a sighting, the most frequent first."""
    best = [one.candidates[0] for one in sightings if one.candidates]
    named: dict[SubjectId | None, list[Candidate]] = {}
    for candidate in best:
        named.setdefault(candidate.subject, []).append(candidate)
    return "; ".join(_hint(named, subject) for subject in _by_frequency(named)) or "unknown"


def _by_frequency(named: Mapping[SubjectId | None, list[Candidate]]) -> list[SubjectId | None]:
    return sorted(named, key=lambda subject: len(named[subject]), reverse=True)


def _hint(named: Mapping[SubjectId | None, list[Candidate]], subject: SubjectId | None) -> str:
    candidates = named[subject]
    highest = max(candidates, key=lambda one: one.score.value)
    who = "(no subject)" if subject is None else subject
    return f"{who}: {len(candidates)} times, at best {score_text(highest.score)}"


def _tell(job: VideoJob) -> None:
    if job.status is VideoJobStatus.FAILED:
        remark(f"job {job.job_id} failed: {job.reason or 'the service gives no reason'}")
    elif job.status is VideoJobStatus.IN_PROGRESS:
        remark(f"job {job.job_id} is not over: --job {job.job_id} asks again")
    else:
        price = "unknown" if job.price_usd is None else f"${job.price_usd:.4f}"
        remark(f"price of the job by the price list: {price}")
        if job.reason:
            remark(f"the service remarks: {job.reason}")
