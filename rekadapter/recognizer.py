"""The one interface: what every backend promises, and what it is given.

A caller receives a ``Recognizer`` and never learns which backend it is. What a backend can do is
data (``Capabilities``), not a method that raises. The contract suite in
``rekadapter.testing.contract`` holds every backend to the promises below.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from rekadapter.imaging import Image
from rekadapter.types import (
    ComparisonScore,
    Detection,
    EnrolledFace,
    Enrollment,
    FaceAttribute,
    FaceId,
    GalleryDescription,
    GalleryId,
    Identification,
    Removal,
    ScoreScale,
    SubjectId,
    User,
    UserChange,
    UserId,
    UserIdentification,
    UserSearch,
    Verification,
    VideoDetection,
    VideoJobId,
    VideoObject,
    VideoSearch,
)


class FaceSelection(StrEnum):
    """Which faces of a probe are searched."""

    LARGEST = "largest"
    ALL = "all"


class QualityFilter(StrEnum):
    """How strictly poor faces are left out, in Rekognition's words; each backend documents its own
    bounds. NONE leaves nothing out."""

    NONE = "NONE"
    AUTO = "AUTO"
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend is and can do, as data.

    ``default_threshold`` is the shipped default, to be passed explicitly; ``match_all`` is the
    threshold that lets every candidate through. ``remote`` backends send images over the uplink.
    """

    backend: str
    model: str
    score_scale: ScoreScale
    default_threshold: ComparisonScore
    match_all: ComparisonScore
    remote: bool
    max_faces_per_image: int
    max_candidates: int
    min_image_side_px: int
    gives_raw_score: bool
    gives_landmarks: bool
    gives_pose: bool
    gives_quality: bool
    details: Mapping[str, str] = field(default_factory=dict)
    """For reports: versions, file hashes, region, endpoint, licence. Never a secret."""
    price_sources: tuple[str, ...] = ()
    """Where the prices in the ledger come from and of which day, a line each."""
    keeps_users: bool = False
    """Whether faces can be gathered under users: see ``user_gallery_of``."""
    attributes: frozenset[FaceAttribute] = frozenset()
    """What it can estimate of a face where it is asked to: see ``analysis_of``."""

    def threshold(self, value: float) -> ComparisonScore:
        """``value`` as a threshold on this backend's own scale."""
        return ComparisonScore(value, self.score_scale)


@runtime_checkable
class Recognizer(Protocol):
    """Detects, verifies, keeps galleries, and identifies. Safe to call from several threads.

    Every method raises ``BackendClosedError`` after ``close()`` and a ``BackendError`` where the
    backend cannot answer. Gallery methods raise ``GalleryNotFoundError`` for an unknown gallery and
    ``GalleryModelMismatchError`` for one that another model made.
    """

    @property
    def capabilities(self) -> Capabilities: ...

    def detect(self, image: Image) -> Detection:
        """Every face of an image, largest first."""
        ...

    def verify(
        self,
        source: Image,
        target: Image,
        *,
        threshold: ComparisonScore,
        quality: QualityFilter = QualityFilter.NONE,
    ) -> Verification:
        """1:1: the largest face of ``source`` against each face of ``target``.

        Faces that ``quality`` leaves out are not compared; where it leaves none of an image,
        ``failure`` says so.

        Raises:
            ScaleMismatchError: the threshold is on another scale.
        """
        ...

    def create_gallery(self, gallery: GalleryId) -> GalleryDescription:
        """A new, empty gallery.

        Raises:
            GalleryExistsError: there is one of that name.
            SubjectIdError: the name has characters a gallery cannot carry.
        """
        ...

    def delete_gallery(self, gallery: GalleryId) -> None:
        """The gallery and all it holds, gone."""
        ...

    def describe_gallery(self, gallery: GalleryId) -> GalleryDescription: ...

    def galleries(self) -> Iterator[GalleryId]:
        """Every gallery's name, sorted."""
        ...

    def enroll(
        self,
        gallery: GalleryId,
        image: Image,
        *,
        subject: SubjectId | None,
        max_faces: int | None = None,
        quality: QualityFilter = QualityFilter.AUTO,
    ) -> Enrollment:
        """The faces of an image into a gallery, under one subject.

        ``max_faces`` keeps the best and largest; 1 enrolls one face, None all. The same image for
        the same subject is stored once, however often it is enrolled. An image without a face is an
        ``Enrollment`` without records, not an error.
        """
        ...

    def faces(self, gallery: GalleryId) -> Iterator[EnrolledFace]:
        """Each enrolled face once, in a stable order."""
        ...

    def remove(self, gallery: GalleryId, face_ids: Iterable[FaceId]) -> Removal:
        """Faces out of a gallery; ids that are not there are named, not raised.

        Faces associated with a user stay, and are named too.
        """
        ...

    def identify(
        self,
        gallery: GalleryId,
        image: Image,
        *,
        threshold: ComparisonScore,
        limit: int = 5,
        faces: FaceSelection = FaceSelection.ALL,
        quality: QualityFilter = QualityFilter.NONE,
    ) -> Identification:
        """1:N: faces of an image against a gallery, each with its own candidate list.

        Raises:
            ScaleMismatchError: the threshold is on another scale.
        """
        ...

    def search(
        self, gallery: GalleryId, face_id: FaceId, *, threshold: ComparisonScore, limit: int = 5
    ) -> Identification:
        """1:N with an enrolled face as the probe; it never returns itself.

        The answer holds one ``FaceIdentification``.

        Raises:
            FaceNotFoundError: no face of that id in the gallery.
        """
        ...

    def close(self) -> None:
        """Free what the backend holds. May be called twice."""
        ...


# --- age and gender, for backends that estimate them ------------------------------------------


class FaceAnalysis(Protocol):
    """Detecting and enrolling, as a ``Recognizer`` does both."""

    def detect(self, image: Image) -> Detection:
        """Every face of an image, largest first."""
        ...

    def enroll(
        self,
        gallery: GalleryId,
        image: Image,
        *,
        subject: SubjectId | None,
        max_faces: int | None = None,
        quality: QualityFilter = QualityFilter.AUTO,
    ) -> Enrollment:
        """The faces of an image into a gallery; estimates are in the answer, never stored."""
        ...


@runtime_checkable
class EstimatesAttributes(Protocol):
    """What a recognizer has besides ``Recognizer`` where it can estimate age or gender."""

    def estimating(self, attributes: frozenset[FaceAttribute]) -> FaceAnalysis:
        """The recognizer's own ``detect`` and ``enroll``, with ``attributes`` of each face.

        Everything else that they promise and raise stays the same. An attribute that cannot be
        estimated, of one face or of any, is None.
        """
        ...


def analysis_of(recognizer: Recognizer, attributes: frozenset[FaceAttribute]) -> FaceAnalysis:
    """``recognizer``'s detecting and enrolling, with those of ``attributes`` that it can estimate.

    Where that is none, the recognizer itself: nothing is computed that nobody asked for.
    """
    able = attributes & recognizer.capabilities.attributes
    if able and isinstance(recognizer, EstimatesAttributes):
        return recognizer.estimating(able)
    return recognizer


# --- users, for backends that keep them -------------------------------------------------------

MAX_FACES_PER_USER: Final = 100
"""Rekognition's limit, of a user and of a call (its limits page); the same everywhere."""


class UserGallery(Protocol):
    """Users of galleries: several faces that are one person, compared as one.

    Every method raises what ``Recognizer``'s gallery methods do. Scores are on the backend's own
    similarity scale, but of a probe against a whole user: each backend says how it makes one of
    the user's faces. A user can be found once it has a face. A user's faces stay in the gallery
    when the user goes; a gallery takes its users with it.
    """

    def create(self, gallery: GalleryId, user: UserId) -> None:
        """A new user, without faces.

        Raises:
            UserExistsError: there is one of that id.
            SubjectIdError: the id has characters a user id cannot carry.
        """
        ...

    def delete(self, gallery: GalleryId, user: UserId) -> None:
        """The user is gone, its faces are nobody's.

        Raises:
            UserNotFoundError: no user of that id.
        """
        ...

    def users(self, gallery: GalleryId) -> Iterator[User]:
        """Each user once, in a stable order."""
        ...

    def associate(
        self,
        gallery: GalleryId,
        user: UserId,
        face_ids: Iterable[FaceId],
        *,
        threshold: ComparisonScore,
    ) -> UserChange:
        """Faces of the gallery become the user's.

        Where the user has a face already, a new one has to meet ``threshold`` against the user. A
        face belongs to at most one user.

        Raises:
            UserNotFoundError: no user of that id.
            QuotaExceededError: the user would have over ``MAX_FACES_PER_USER`` faces; no face was
                associated.
            ScaleMismatchError: the threshold is on another scale.
        """
        ...

    def disassociate(
        self, gallery: GalleryId, user: UserId, face_ids: Iterable[FaceId]
    ) -> UserChange:
        """Faces are the user's no more; they stay in the gallery.

        Raises:
            UserNotFoundError: no user of that id.
        """
        ...

    def search_by_face(
        self, gallery: GalleryId, face_id: FaceId, *, threshold: ComparisonScore, limit: int = 5
    ) -> UserSearch:
        """Users like an enrolled face, the user it belongs to included.

        Raises:
            FaceNotFoundError: no face of that id in the gallery.
            ScaleMismatchError: the threshold is on another scale.
        """
        ...

    def search_by_user(
        self, gallery: GalleryId, user: UserId, *, threshold: ComparisonScore, limit: int = 5
    ) -> UserSearch:
        """Users like a user, itself left out; nobody, where it has no face.

        Raises:
            UserNotFoundError: no user of that id.
            ScaleMismatchError: the threshold is on another scale.
        """
        ...

    def identify(
        self,
        gallery: GalleryId,
        image: Image,
        *,
        threshold: ComparisonScore,
        limit: int = 5,
        quality: QualityFilter = QualityFilter.NONE,
    ) -> UserIdentification:
        """Users like the largest face of an image; no face is a value.

        Raises:
            ScaleMismatchError: the threshold is on another scale.
        """
        ...


@runtime_checkable
class KeepsUsers(Protocol):
    """What a recognizer has besides ``Recognizer`` where its galleries have users."""

    @property
    def user_gallery(self) -> UserGallery | None: ...


def user_gallery_of(recognizer: Recognizer) -> UserGallery | None:
    """The users of a recognizer's galleries; None for a backend that keeps none."""
    return recognizer.user_gallery if isinstance(recognizer, KeepsUsers) else None


# --- stored video, for backends that search it ------------------------------------------------

VIDEO_WAIT_SECONDS: Final = 3600.0
"""How long a job on a stored video is waited for, unless told otherwise."""


class StoredVideo(Protocol):
    """Jobs on videos that lie where the backend's service reads them itself.

    ``start_...`` returns as soon as the service has taken the job; ``..._result`` waits until the
    job is over, at most ``wait_seconds`` (0 asks once), and gives everything found. A job that is
    still IN_PROGRESS by then, and one that FAILED, are values. Whoever keeps the job id can ask
    from anywhere, any number of times, also after an error.

    Every method raises ``BackendClosedError`` after ``close()``, also one that is waiting, and a
    ``BackendError`` where the service cannot answer.
    """

    def start_search(
        self,
        video: VideoObject,
        gallery: GalleryId,
        *,
        threshold: ComparisonScore,
        token: str | None = None,
    ) -> VideoJobId:
        """Every face of the video against the gallery.

        Two calls with the same ``token`` and the same rest start one job. Without one each call
        starts a job of its own, and exactly one, however often the request has to be repeated.

        Raises:
            GalleryNotFoundError: no gallery of that name.
            ScaleMismatchError: the threshold is on another scale.
        """
        ...

    def search_result(
        self, job_id: VideoJobId, *, wait_seconds: float = VIDEO_WAIT_SECONDS
    ) -> VideoSearch:
        """What ``start_search`` found.

        Raises:
            VideoJobNotFoundError: no such job.
            StoppedError: the run ended first; the job goes on.
        """
        ...

    def start_detection(self, video: VideoObject, *, token: str | None = None) -> VideoJobId:
        """Every face of the video; ``token`` as for ``start_search``."""
        ...

    def detection_result(
        self, job_id: VideoJobId, *, wait_seconds: float = VIDEO_WAIT_SECONDS
    ) -> VideoDetection:
        """What ``start_detection`` found.

        Raises:
            VideoJobNotFoundError: no such job.
            StoppedError: the run ended first; the job goes on.
        """
        ...


@runtime_checkable
class SearchesStoredVideo(Protocol):
    """What a recognizer has besides ``Recognizer`` where it takes jobs on stored videos."""

    @property
    def stored_video(self) -> StoredVideo | None: ...


def stored_video_of(recognizer: Recognizer) -> StoredVideo | None:
    """A recognizer's jobs on stored videos; None for a backend that takes none."""
    return recognizer.stored_video if isinstance(recognizer, SearchesStoredVideo) else None


# --- what a backend is given ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One attempt-counted request to a remote backend, for the ledger.

    Bytes are bytes on the wire as far as they can be measured on this machine (``wire_measure``
    says how). ``latency_seconds`` spans all attempts without waiting for the budget;
    ``wait_seconds`` is the wait for byte and request budgets and between attempts. ``price_usd`` is
    None where the price is not known.
    """

    backend: str
    operation: str
    started_at: datetime
    bytes_sent: int
    bytes_received: int
    wire_measure: str
    wait_seconds: float
    latency_seconds: float
    attempts: int
    outcome: str
    request_id: str | None = None
    price_usd: float | None = None


class RequestLog(Protocol):
    """Takes a record for every request, from any thread."""

    def record(self, request: RequestRecord) -> None: ...


class Pacer(Protocol):
    """Holds a request back until the uplink may carry its bytes."""

    def wait_to_send(self, size_bytes: int) -> float:
        """Blocks until ``size_bytes`` may be sent and returns the seconds waited."""
        ...


class Upload(Protocol):
    """One attempt of a request on its way over the uplink; used by one thread."""

    @property
    def waited_seconds(self) -> float:
        """Spent in ``turn`` so far."""
        ...

    def turn(self, left_bytes: int) -> int:
        """Blocks until a slice of the ``left_bytes`` still to be sent may go; returns its size, 1
        to ``left_bytes``.

        Raises:
            StoppedError: the run ended first; nothing more may be sent.
        """
        ...

    def look(self) -> None:
        """Looks how far the bytes have come; to be called now and then after the last turn."""
        ...

    def answered(self) -> None:
        """The answer has begun to come."""
        ...

    def end(self, wire_bytes: int) -> None:
        """The attempt is over, however it went; ``wire_bytes`` were sent for it in all."""
        ...


@runtime_checkable
class BodyPacer(Pacer, Protocol):
    """A pacer that also paces inside a request, and learns from what becomes of it."""

    def begin(self, unacknowledged: Callable[[], int | None]) -> Upload:
        """An upload whose turns come after those of all that have begun before.

        ``unacknowledged`` gives the bytes handed to its connection that the far end has not
        acknowledged, None while that is not known; it is called by the upload's own thread.
        """
        ...


class NoLimit:
    """A pacer for an uplink without a budget."""

    def wait_to_send(self, size_bytes: int) -> float:
        """Never waits."""
        del size_bytes
        return 0.0


class NoLog:
    """A request log for callers that keep none."""

    def record(self, request: RequestRecord) -> None:
        """Forgets the record."""


class PriceTaken(Protocol):
    """The price of one attempt, taken from a budget before it is sent."""

    def settle(self, billed_usd: float | None) -> None:
        """What the attempt was billed, once it is over; None: nobody knows."""
        ...


class PriceBudget(Protocol):
    """Decides whether a request may be paid for."""

    def reserve(self, usd: float | None) -> PriceTaken:
        """Takes the price of an attempt; None: it is not known.

        Raises:
            PriceCapError: it does not fit; the request must not be sent.
            ConfigError: its price is not known, and there is a cap.
        """
        ...


class NoPriceCap:
    """A budget without end."""

    def reserve(self, usd: float | None) -> PriceTaken:
        """Everything fits."""
        del usd
        return self

    def settle(self, billed_usd: float | None) -> None:
        """Nothing is kept."""


@dataclass(frozen=True, slots=True)
class BackendContext:
    """What every backend may use: where to keep files, how to send, where to log requests.

    ``stop``, once set, ends every wait between attempts with a ``StoppedError``.
    """

    data_dir: Path
    cache_dir: Path
    pacer: Pacer = field(default_factory=NoLimit)
    request_log: RequestLog = field(default_factory=NoLog)
    stop: threading.Event = field(default_factory=threading.Event)
    price_budget: PriceBudget = field(default_factory=NoPriceCap)


BackendFactory = Callable[[str, Mapping[str, object], BackendContext], Recognizer]
"""What the entry-point group ``rekadapter.backends`` names: ``(name, options, context)``.

``name`` is the name the user chose, ``options`` the ``[backends.NAME]`` table without ``type``; a
factory raises ``ConfigError`` for an option it does not know.
"""
