"""The recognizer with a shadow."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

from rekadapter.errors import ConfigError, OutputError, RekadapterError
from rekadapter.imaging import Image
from rekadapter.recognizer import (
    Capabilities,
    FaceAnalysis,
    FaceSelection,
    QualityFilter,
    Recognizer,
    StoredVideo,
    UserGallery,
    analysis_of,
    stored_video_of,
    user_gallery_of,
)
from rekadapter.shadow.agreement import (
    Answered,
    AnyAnswer,
    FaceDecision,
    compare,
    decisions,
)
from rekadapter.shadow.budget import BudgetLimits, ShadowBudget, ShadowBudgetError
from rekadapter.shadow.log import (
    ShadowCounts,
    ShadowEnd,
    ShadowLog,
    ShadowPair,
    ShadowRecord,
    ShadowStart,
    ShadowWrite,
)
from rekadapter.shadow.queue import Job, JobQueue, Tally
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
    SubjectId,
    Verification,
)

logger = logging.getLogger(__name__)

FaceTranslation = Callable[[GalleryId, FaceId], FaceId | None]
"""The shadow's face made of the same photograph as a face of the primary; None: not known."""

LOG_FAILED: Final = "log_failed"
FACE_UNKNOWN: Final = "face_of_shadow_unknown"
INTERNAL: Final = "internal_error"

_WIRE_BYTES_A_CALL: Final = 2_000
_REMEMBERED_FACES: Final = 100_000


_Ask = Callable[[], AnyAnswer]
"""Asks the shadow what the primary was asked."""


@dataclass(frozen=True, slots=True)
class ShadowSettings:
    """How a shadow is kept.

    ``threshold`` is what the shadow decides by, on its own scale. None: the caller's, where both
    backends score on one scale, else the shadow's shipped default: a threshold means nothing on
    another scale. ``queue_calls`` and ``queue_bytes`` (memory for the images of waiting calls,
    decoded) bound what waits; ``workers`` calls are made at once. ``drain_seconds`` is how long
    ``close`` waits for calls under way. ``mirror_writes`` repeats changes of galleries on the
    shadow. The names are for the log; None: what the backends call themselves.
    """

    threshold: ComparisonScore | None = None
    queue_calls: int = 32
    queue_bytes: int = 128 * 1024 * 1024
    workers: int = 1
    drain_seconds: float = 5.0
    mirror_writes: bool = False
    primary_name: str | None = None
    shadow_name: str | None = None

    def __post_init__(self) -> None:
        if self.queue_calls < 1 or self.queue_bytes < 1 or self.workers < 1:
            raise ConfigError("a shadow needs room for at least one call, and one worker")
        if self.mirror_writes and self.workers > 1:
            raise ConfigError("changes of galleries are repeated in order: by one worker")


@dataclass(frozen=True, slots=True)
class _Call:
    """One call, and what the primary made of it."""

    operation: str
    gallery: GalleryId | None
    images: tuple[Image, ...]
    answer: AnyAnswer
    seconds: float
    threshold: ComparisonScore | None
    one_face: bool = False


@dataclass(frozen=True, slots=True)
class _EnrollOrder:
    """An enrollment as it was asked for."""

    gallery: GalleryId
    image: Image
    subject: SubjectId | None
    max_faces: int | None
    quality: QualityFilter

    def given_to(self, recognizer: FaceAnalysis) -> Enrollment:
        return recognizer.enroll(
            self.gallery,
            self.image,
            subject=self.subject,
            max_faces=self.max_faces,
            quality=self.quality,
        )


@dataclass(frozen=True, slots=True)
class _ShadowedAnalysis:
    """Detecting and enrolling by ``primary``; what came of it is told."""

    primary: FaceAnalysis
    detected: Callable[[Image, Detection, float], None]
    enrolled: Callable[[_EnrollOrder, Enrollment], None]

    def detect(self, image: Image) -> Detection:
        started = time.perf_counter()
        answer = self.primary.detect(image)
        self.detected(image, answer, time.perf_counter() - started)
        return answer

    def enroll(
        self,
        gallery: GalleryId,
        image: Image,
        *,
        subject: SubjectId | None,
        max_faces: int | None = None,
        quality: QualityFilter = QualityFilter.AUTO,
    ) -> Enrollment:
        order = _EnrollOrder(gallery, image, subject, max_faces, quality)
        enrollment = order.given_to(self.primary)
        self.enrolled(order, enrollment)
        return enrollment


class ShadowRecognizer:
    """Answers from ``primary``; read calls (detect, verify, identify, search) go to ``shadow`` too.

    The caller never waits for the shadow and never sees its errors: calls are repeated on threads
    of their own, from a bounded queue whose oldest calls are dropped and counted. Calls that the
    primary could not answer are not repeated. Users of galleries are the primary's alone.

    Changes of galleries go to the primary alone unless ``mirror_writes``. They are then repeated in
    the background, in order and before later reads; one that fails, or finds the queue full of
    changes, is in the log, and the galleries differ until they are synchronized again. A removal is
    repeated for faces whose counterpart is known: from ``translate``, or mirrored by this object.

    The shadow's backend has to be opened with ``budget`` as its pacer and its request log; one that
    uses neither is charged an estimate for each call. ``log`` is closed with the recognizer, and so
    are both backends. Once the log cannot be written, nothing is sent to the shadow any more.
    """

    def __init__(
        self,
        primary: Recognizer,
        shadow: Recognizer,
        *,
        log: ShadowLog,
        settings: ShadowSettings | None = None,
        budget: ShadowBudget | None = None,
        translate: FaceTranslation | None = None,
    ) -> None:
        self._primary = primary
        self._shadow = shadow
        self._log = log
        self._settings = settings or ShadowSettings()
        self._budget = budget or ShadowBudget(BudgetLimits())
        self._translate = translate or _knows_none
        self._mirrored: dict[tuple[GalleryId, FaceId], FaceId] = {}
        self._plain = self._shadowed(primary)
        self._tally = Tally()
        self._queue = JobQueue(
            self._tally, max_jobs=self._settings.queue_calls, max_bytes=self._settings.queue_bytes
        )
        self._log_failed = threading.Event()
        self._asked = False
        self._closing = threading.Lock()
        self._closed = False
        self._check_threshold()
        log.write(self._start())
        self._workers = [
            threading.Thread(target=self._work, name=f"shadow-{number}", daemon=True)
            for number in range(self._settings.workers)
        ]
        for worker in self._workers:
            worker.start()

    @property
    def capabilities(self) -> Capabilities:
        """The primary's."""
        return self._primary.capabilities

    @property
    def user_gallery(self) -> UserGallery | None:
        """The primary's."""
        return user_gallery_of(self._primary)

    @property
    def stored_video(self) -> StoredVideo | None:
        """The primary's; jobs are not copied to the shadow."""
        return stored_video_of(self._primary)

    def counts(self) -> ShadowCounts:
        """What has become of the calls so far."""
        return self._tally.counts(
            bytes_sent=self._budget.bytes_sent,
            usd_billed=self._budget.usd_billed,
            unpriced=self._budget.requests_of_unknown_price,
        )

    # -- reading: answered here, repeated there

    def detect(self, image: Image) -> Detection:
        return self._plain.detect(image)

    def estimating(self, attributes: frozenset[FaceAttribute]) -> FaceAnalysis:
        """The primary's estimates; the shadow is asked for none."""
        return self._shadowed(analysis_of(self._primary, attributes))

    def verify(
        self,
        source: Image,
        target: Image,
        *,
        threshold: ComparisonScore,
        quality: QualityFilter = QualityFilter.NONE,
    ) -> Verification:
        started = time.perf_counter()
        answer = self._primary.verify(source, target, threshold=threshold, quality=quality)
        seconds = time.perf_counter() - started
        theirs = self._threshold_for(threshold)
        self._offer(
            _Call("verify", None, (source, target), answer, seconds, threshold),
            lambda: self._shadow.verify(source, target, threshold=theirs, quality=quality),
        )
        return answer

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
        started = time.perf_counter()
        answer = self._primary.identify(
            gallery, image, threshold=threshold, limit=limit, faces=faces, quality=quality
        )
        seconds = time.perf_counter() - started
        theirs = self._threshold_for(threshold)
        self._offer(
            _Call("identify", gallery, (image,), answer, seconds, threshold),
            lambda: self._shadow.identify(
                gallery, image, threshold=theirs, limit=limit, faces=faces, quality=quality
            ),
        )
        return answer

    def search(
        self, gallery: GalleryId, face_id: FaceId, *, threshold: ComparisonScore, limit: int = 5
    ) -> Identification:
        """The shadow is asked about its own face of the same photograph, where that is known."""
        started = time.perf_counter()
        answer = self._primary.search(gallery, face_id, threshold=threshold, limit=limit)
        seconds = time.perf_counter() - started
        theirs = self._threshold_for(threshold)

        def ask() -> Identification:
            known = self._counterpart(gallery, face_id)
            if known is None:
                raise _NoCounterpartError("which face of the shadow is meant is not known")
            return self._shadow.search(gallery, known, threshold=theirs, limit=limit)

        call = _Call("search", gallery, (), answer, seconds, threshold, one_face=True)
        self._offer(call, ask)
        return answer

    # -- galleries: the primary's, repeated where asked

    def create_gallery(self, gallery: GalleryId) -> GalleryDescription:
        made = self._primary.create_gallery(gallery)
        self._mirror("create_gallery", gallery, lambda: self._repeat_creation(gallery))
        return made

    def delete_gallery(self, gallery: GalleryId) -> None:
        self._primary.delete_gallery(gallery)
        self._mirror("delete_gallery", gallery, lambda: self._repeat_deletion(gallery))

    def describe_gallery(self, gallery: GalleryId) -> GalleryDescription:
        return self._primary.describe_gallery(gallery)

    def galleries(self) -> Iterator[GalleryId]:
        return self._primary.galleries()

    def enroll(
        self,
        gallery: GalleryId,
        image: Image,
        *,
        subject: SubjectId | None,
        max_faces: int | None = None,
        quality: QualityFilter = QualityFilter.AUTO,
    ) -> Enrollment:
        return self._plain.enroll(
            gallery, image, subject=subject, max_faces=max_faces, quality=quality
        )

    def faces(self, gallery: GalleryId) -> Iterator[EnrolledFace]:
        return self._primary.faces(gallery)

    def remove(self, gallery: GalleryId, face_ids: Iterable[FaceId]) -> Removal:
        removal = self._primary.remove(gallery, list(face_ids))
        self._mirror("remove", gallery, lambda: self._repeat_removal(gallery, removal.removed))
        return removal

    def close(self) -> None:
        """Waits ``drain_seconds`` for calls under way, drops the rest, and closes both backends."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._queue.close(self._settings.drain_seconds)
            self._write(ShadowEnd(datetime.now(UTC), self.counts()))
            self._log.close()
            try:
                self._shadow.close()
            except Exception:  # the caller's own backend has to be closed, whatever the shadow does
                logger.exception("the shadow could not be closed")
            self._primary.close()

    # -- detecting and enrolling

    def _shadowed(self, primary: FaceAnalysis) -> FaceAnalysis:
        return _ShadowedAnalysis(primary, self._offer_detection, self._mirror_enrollment)

    def _offer_detection(self, image: Image, answer: Detection, seconds: float) -> None:
        call = _Call("detect", None, (image,), answer, seconds, None)
        self._offer(call, lambda: self._shadow.detect(image))

    def _mirror_enrollment(self, order: _EnrollOrder, enrollment: Enrollment) -> None:
        def repeat() -> int:
            self._remember(order.gallery, enrollment, order.given_to(self._shadow))
            return 0

        self._mirror("enroll", order.gallery, repeat, order.image)

    # -- offering a call

    def _offer(self, call: _Call, ask: _Ask) -> None:
        """Never blocks and never raises: the caller has its answer already."""
        try:
            self._tally.offered()
            refused = self._refused()
            if refused is not None:
                self._tally.dropped(refused)
                return
            run = partial(self._compare, call, ask)
            self._queue.put(Job(run, _memory_of(call.images)))
        except Exception:
            self._tally.dropped(INTERNAL)
            logger.warning("a call could not be offered to the shadow", exc_info=True)

    def _mirror(
        self, operation: str, gallery: GalleryId, repeat: Callable[[], int], *images: Image
    ) -> None:
        if not self._settings.mirror_writes:
            return
        self._tally.offered()
        run = partial(self._repeat, operation, gallery, repeat)
        self._queue.put(Job(run, _memory_of(images), lasting=True))

    def _refused(self) -> str | None:
        if self._log_failed.is_set():
            return LOG_FAILED
        return self._budget.spent()

    # -- on the workers

    def _work(self) -> None:
        while (job := self._queue.take()) is not None:
            try:
                job.run(job)
            except Exception:
                logger.exception("the shadow's worker failed on a call")
                if self._queue.done(job):
                    self._tally.dropped(INTERNAL)

    def _compare(self, call: _Call, ask: _Ask, job: Job) -> None:
        refused = self._refused()
        if refused is None:
            refused = self._compared(call, ask, job)
        if refused is not None and self._queue.done(job):
            self._tally.dropped(refused)

    def _compared(self, call: _Call, ask: _Ask, job: Job) -> str | None:
        """The cause for which the call was dropped after all; None: it was compared."""
        started = time.perf_counter()
        error = None
        found: tuple[FaceDecision, ...] = ()
        failure = None
        try:
            found, failure = decisions(self._charged(ask, call.images))
        except ShadowBudgetError as refusal:
            return refusal.spent
        except _NoCounterpartError:
            return FACE_UNKNOWN
        except Exception as fault:  # noqa: BLE001 - whatever the shadow does is part of the record
            error = _text_of(fault)
        theirs = self._threshold_for(call.threshold) if call.threshold else None
        shadow = Answered(
            backend=self._shadow_name(),
            latency_seconds=time.perf_counter() - started,
            threshold=theirs.value if theirs else None,
            scale=self._shadow.capabilities.score_scale.name,
            faces=found,
            failure=failure,
            error=error,
        )
        pair = self._pair(call, shadow)
        if self._queue.done(job):
            self._tally.compared(pair.agreement)
            self._write(pair)
        return None

    def _pair(self, call: _Call, shadow: Answered) -> ShadowPair:
        faces, failure = decisions(call.answer)
        primary = Answered(
            backend=self._primary_name(),
            latency_seconds=call.seconds,
            threshold=call.threshold.value if call.threshold else None,
            scale=self._primary.capabilities.score_scale.name,
            faces=faces,
            failure=failure,
        )
        agreement, pairs = compare(
            primary, shadow, names=call.gallery is not None, one_face=call.one_face
        )
        return ShadowPair(
            at=datetime.now(UTC),
            operation=call.operation,
            gallery=call.gallery,
            images=tuple(image.digest() for image in call.images),
            agreement=agreement,
            primary=primary,
            shadow=shadow,
            faces=pairs,
        )

    def _charged(self, ask: _Ask, images: tuple[Image, ...]) -> AnyAnswer:
        """The shadow's answer. A remote backend that has never used the budget as its pacer is
        charged an estimate: before the call, but for the first one, which tells."""
        if not self._shadow.capabilities.remote or self._budget.has_seen_requests:
            return ask()
        if self._asked:
            self._budget.charge(_wire_bytes(images))
            return ask()
        self._asked = True
        answer = ask()
        if not self._budget.has_seen_requests:
            self._budget.charge(_wire_bytes(images))
        return answer

    def _repeat(
        self, operation: str, gallery: GalleryId, repeat: Callable[[], int], job: Job
    ) -> None:
        error, untranslated = None, 0
        try:
            untranslated = repeat()
        except Exception as fault:  # noqa: BLE001 - as for a read
            error = _text_of(fault)
            logger.warning("the shadow did not follow %s of gallery %s", operation, gallery)
        if self._queue.done(job):
            self._tally.written(well=error is None and not untranslated)
            self._write(ShadowWrite(datetime.now(UTC), operation, gallery, error, untranslated))

    def _repeat_creation(self, gallery: GalleryId) -> int:
        self._shadow.create_gallery(gallery)
        return 0

    def _repeat_deletion(self, gallery: GalleryId) -> int:
        self._shadow.delete_gallery(gallery)
        self._mirrored = {key: face for key, face in self._mirrored.items() if key[0] != gallery}
        return 0

    def _repeat_removal(self, gallery: GalleryId, removed: tuple[FaceId, ...]) -> int:
        """How many of the faces have no known counterpart."""
        theirs = [self._counterpart(gallery, face_id) for face_id in removed]
        known = [face_id for face_id in theirs if face_id is not None]
        if known:
            self._shadow.remove(gallery, known)
        for face_id in removed:
            self._mirrored.pop((gallery, face_id), None)
        return len(removed) - len(known)

    def _remember(self, gallery: GalleryId, mine: Enrollment, theirs: Enrollment) -> None:
        """Of a photograph that gave one face on each side; which is which of several is unknown."""
        if len(mine.records) == len(theirs.records) == 1:
            if len(self._mirrored) >= _REMEMBERED_FACES:
                del self._mirrored[next(iter(self._mirrored))]
            key = (gallery, mine.records[0].enrolled.face_id)
            self._mirrored[key] = theirs.records[0].enrolled.face_id

    def _counterpart(self, gallery: GalleryId, face_id: FaceId) -> FaceId | None:
        mirrored = self._mirrored.get((gallery, face_id))
        return mirrored if mirrored is not None else self._translate(gallery, face_id)

    def _write(self, record: ShadowRecord) -> None:
        if self._log_failed.is_set():
            return
        try:
            self._log.write(record)
        except OutputError as error:
            self._log_failed.set()
            logger.warning("nothing is sent to the shadow any more: %s", error)

    # -- names and thresholds

    def _threshold_for(self, asked: ComparisonScore) -> ComparisonScore:
        if self._settings.threshold is not None:
            return self._settings.threshold
        theirs = self._shadow.capabilities
        return asked if asked.scale == theirs.score_scale else theirs.default_threshold

    def _check_threshold(self) -> None:
        """Raises ``ScaleMismatchError`` at once, not on the first call."""
        if self._settings.threshold is not None:
            self._settings.threshold.meets(self._shadow.capabilities.default_threshold)

    def _primary_name(self) -> str:
        return self._settings.primary_name or self._primary.capabilities.backend

    def _shadow_name(self) -> str:
        return self._settings.shadow_name or self._shadow.capabilities.backend

    def _start(self) -> ShadowStart:
        mine, theirs = self._primary.capabilities, self._shadow.capabilities
        threshold = self._settings.threshold
        return ShadowStart(
            at=datetime.now(UTC),
            primary=self._primary_name(),
            primary_model=mine.model,
            primary_scale=mine.score_scale.name,
            shadow=self._shadow_name(),
            shadow_model=theirs.model,
            shadow_scale=theirs.score_scale.name,
            shadow_threshold=threshold.value if threshold else None,
            mirrors_writes=self._settings.mirror_writes,
        )


class _NoCounterpartError(RekadapterError):
    """The face that a search names is another one on the shadow, and not known."""


def _knows_none(gallery: GalleryId, face_id: FaceId) -> None:
    del gallery, face_id


def _memory_of(images: Iterable[Image]) -> int:
    """What images take while they wait, once they are decoded."""
    return sum(
        len(image.encoded or b"") + 3 * image.size.width * image.size.height for image in images
    )


def _wire_bytes(images: Iterable[Image]) -> int:
    """An estimate: a file travels as base64, pixels as a file of about a byte each."""
    sizes = (len(image.encoded or b"") or image.size.width * image.size.height for image in images)
    return _WIRE_BYTES_A_CALL + sum(4 * size // 3 for size in sizes)


def _text_of(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
