"""What a worker does with a frame: make its image ready for the lane, ask, and answer for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

from rekadapter.errors import (
    AccessDeniedError,
    BackendClosedError,
    BackendError,
    CredentialsError,
    ImageError,
    PriceCapError,
    QuotaExceededError,
    StoppedError,
)
from rekadapter.feeds.frames import Frame
from rekadapter.gate import Followed, Probe, gathered
from rekadapter.imaging import Image, crop, encode_jpeg, encode_within, scaled_down
from rekadapter.observation import Spent
from rekadapter.recognizer import FaceSelection, Recognizer
from rekadapter.types import (
    CameraId,
    ComparisonScore,
    FaceIdentification,
    FailureToAcquire,
    GalleryId,
    Identification,
    Reason,
    VendorAnswer,
)
from rekadapter.uplink.link_watch import Standby
from rekadapter.uplink.spooled import SpooledFrame

STOPPED: Final = "stopped"
PRICE_CAP: Final = "price_cap"
"""what may be spent in an hour or a month was used up"""
STALE: Final = "stale"
"""a live camera's picture waited so long that it was not worth sending any more"""
REQUEST_FAILED: Final = "request_failed"

_SENDABLE: Final = frozenset({"JPEG", "PNG"})
"""What Rekognition takes."""

_EVERY_FRAME_FAILS: Final = (
    CredentialsError,
    AccessDeniedError,
    QuotaExceededError,
    BackendClosedError,
)
"""Answers of a backend that the next frame would get as well."""

_HEAD_BYTES: Final = 700
"""About the rest of a signed request in AWS's JSON: its image is base64, 4 bytes for 3."""

_THUMBNAIL_MARGIN: Final = 1.6
_THUMBNAIL_SIDE_PX: Final = 160


@dataclass(frozen=True, slots=True)
class Lane:
    """One backend on all feeds.

    ``name`` is what its answers are filed under; ``threshold`` is on the backend's own scale.
    ``workers`` frames are asked about at a time. ``upload_bytes`` is the largest image sent; None
    for a lane that sends nothing, whose images are then never encoded. ``standby`` is where frames
    wait while the uplink is gone; None: they are lost then.
    """

    name: str
    recognizer: Recognizer
    gallery: GalleryId
    threshold: ComparisonScore
    workers: int = 1
    upload_bytes: int | None = None
    standby: Standby | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A frame and what of it is to be asked about.

    ``followed`` is everybody in it, where the lane's gate follows people. ``made_at`` is when the
    frame came, on the clock of ``time.perf_counter``, ``came_at`` the same as a date. Where the
    frame is not ``whole`` its image is not there any more, only those of its probes
    (``frame.image`` is the first of them).
    """

    frame: Frame
    probes: tuple[Probe, ...]
    followed: tuple[Followed, ...] | None = None
    made_at: float | None = None
    came_at: datetime | None = None
    whole: bool = True

    @property
    def asked(self) -> tuple[int, ...]:
        """The gate's numbers of those asked about."""
        return tuple(probe.track for probe in self.probes if probe.track is not None)


@dataclass(frozen=True, slots=True)
class Late:
    """What makes an answer a late one: its frame had to wait for the uplink, and the frame's turn
    was given away. ``key`` is the frame's in the spool, None where nothing of it is there;
    ``rest`` is what of it still waits."""

    captured_at: datetime | None
    key: str | None = None
    rest: SpooledFrame | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one frame in one lane.

    ``faces`` are in coordinates of the frame, ``thumbnails`` beside them where they are kept;
    without faces ``failure`` says why. ``tracks`` are the gate's numbers beside the faces, None
    where the lane follows faces itself; ``asked`` those it was asked about. ``age_seconds`` is how
    old the frame was when it was answered. ``latency_seconds`` runs from the moment a worker took
    the frame: preparing the image, waiting for the uplink, and the recognizer. ``dropped`` is the
    cause that a frame without an answer is counted under, ``error`` what was raised; ``fatal`` if
    asking on would be in vain. Where a lane has a standby, ``unanswered`` are then the probes that
    got no answer; what those before them got is there. ``sent_bytes`` went over the wire for it.
    ``late`` is set for a late answer, which has no turn.
    """

    backend: str
    camera: CameraId
    turn: int
    frame: int
    seconds: float
    latency_seconds: float
    faces: tuple[FaceIdentification, ...] = ()
    failure: FailureToAcquire | None = None
    original: tuple[VendorAnswer, ...] = ()
    thumbnails: tuple[bytes, ...] = ()
    tracks: tuple[int, ...] | None = None
    asked: tuple[int, ...] = ()
    age_seconds: float | None = None
    sent_bytes: int = 0
    dropped: str | None = None
    error: Exception | None = None
    fatal: bool = False
    unanswered: tuple[Probe, ...] = ()
    late: Late | None = None


@dataclass(frozen=True, slots=True)
class AskOptions:
    """How a lane's recognizer is asked: candidates a face, which faces, thumbnails or not."""

    limit: int
    faces: FaceSelection
    keep_faces: bool


class Attributes(Protocol):
    """See ``Sink.attributed_to``."""

    def __call__(
        self, camera: CameraId, frame: int, *, late: bool = False
    ) -> AbstractContextManager[Spent | None]: ...


class Uploader:
    """Asks one lane's recognizer about frames. Safe to use from several threads.

    It asks for every candidate (``match_all``), so that a report knows the runners-up; the lane's
    threshold decides later.
    """

    def __init__(
        self,
        lane: Lane,
        options: AskOptions,
        *,
        attributed_to: Attributes,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._lane = lane
        self._options = options
        self._attributed_to = attributed_to
        self._clock = clock
        self._match_all = lane.recognizer.capabilities.match_all
        self._limit = min(options.limit, lane.recognizer.capabilities.max_candidates)

    def ask(self, job: Job, turn: int, *, late: Late | None = None) -> Answer:
        """The answer about one frame; whatever is raised inside is part of it."""
        frame, started = job.frame, self._clock()
        answer, spent = replace(self.unasked(job, turn), late=late), None
        found: list[tuple[Probe, Identification]] = []
        try:
            with self._attributed_to(frame.camera, frame.index, late=late is not None) as spent:
                for probe in job.probes:
                    found.append((probe, self._identified(probe)))  # noqa: PERF401 - may raise
                answer = self._told(answer, job, found)
        except StoppedError:
            answer = replace(answer, dropped=STOPPED)
        except PriceCapError:
            answer = replace(answer, dropped=PRICE_CAP)
        except Exception as error:  # noqa: BLE001 - it travels to the thread that owns the run
            answer = replace(answer, dropped=REQUEST_FAILED, error=error, fatal=_is_fatal(error))
        if answer.dropped is not None and self._lane.standby is not None:
            answer = self._partial(answer, job, found)
        ended = self._clock()
        age = None if job.made_at is None else ended - job.made_at
        return replace(
            answer,
            latency_seconds=ended - started,
            age_seconds=age,
            sent_bytes=spent.sent_bytes if spent else 0,
        )

    def unasked(self, job: Job, turn: int, cause: str | None = None) -> Answer:
        """The answer about a frame that nobody was asked about, for ``cause``."""
        frame = job.frame
        answer = Answer(self._lane.name, frame.camera, turn, frame.index, frame.seconds, 0.0)
        return replace(answer, asked=job.asked, dropped=cause)

    def _told(
        self, answer: Answer, job: Job, found: Sequence[tuple[Probe, Identification]]
    ) -> Answer:
        seen = gathered(found, job.followed)
        failures = [identification.failure for _, identification in found]
        return replace(
            answer,
            faces=seen.faces,
            tracks=seen.tracks,
            failure=None if seen.faces else next((one for one in failures if one), None),
            original=tuple(one for _, identification in found for one in identification.original),
            thumbnails=tuple(_thumbnail(job, face) for face in seen.faces)
            if self._options.keep_faces
            else (),
        )

    def _partial(
        self, answer: Answer, job: Job, found: Sequence[tuple[Probe, Identification]]
    ) -> Answer:
        """What was answered before something failed need not be asked again."""
        answer = replace(answer, unanswered=job.probes[len(found) :])
        return self._told(answer, job, found) if found else answer

    def _identified(self, probe: Probe) -> Identification:
        return self._lane.recognizer.identify(
            self._lane.gallery,
            prepared(probe.image, self._lane.upload_bytes),
            threshold=self._match_all,
            limit=self._limit,
            faces=self._options.faces if probe.face is None else FaceSelection.LARGEST,
        )


def prepared(image: Image, upload_bytes: int | None) -> Image:
    """``image`` with at most ``upload_bytes`` to send for it; None sends nothing, so nothing is
    encoded.

    A file that fits goes exactly as it came. The pixels stay the native ones: crops are cut from
    them, not from what was squeezed to fit.

    Raises:
        ImageTooLargeError: it cannot be made that small.
    """
    if upload_bytes is None:
        return image
    fits = image.encoded is not None and len(image.encoded) <= upload_bytes
    if fits and image.format in _SENDABLE:
        return image
    return Image.from_pixels(image.pixels, jpeg=encode_within(image, upload_bytes))


def expected_bytes(images: Sequence[Image], upload_bytes: int | None) -> int | None:
    """What sending ``images`` will about come to on the wire; None for a lane that sends nothing,
    and where it is not known because they are still to be encoded."""
    sizes = [len(image.encoded) for image in images if image.encoded is not None]
    if upload_bytes is None or len(sizes) < len(images):
        return None
    return sum(_HEAD_BYTES + 4 * min(size, upload_bytes) // 3 for size in sizes)


def _is_fatal(error: Exception) -> bool:
    if isinstance(error, _EVERY_FRAME_FAILS):
        return True
    return not isinstance(error, BackendError | ImageError)


def _thumbnail(job: Job, face: FaceIdentification) -> bytes:
    """The face with some margin as a small JPEG, never enlarged; nothing of one not asked about."""
    if face.not_searched is not None and face.not_searched.reason is Reason.NOT_ASKED:
        return b""
    box = face.face.box
    if job.whole:
        image = job.frame.image
    else:
        probe = max(job.probes, key=lambda one: one.region.intersection(box))
        image, box = probe.image, box.seen_from(probe.region)
    cut = crop(image, box.scaled(_THUMBNAIL_MARGIN)).image
    side = max(cut.size.width, cut.size.height)
    return encode_jpeg(scaled_down(cut, min(1.0, _THUMBNAIL_SIDE_PX / side)), 90)
