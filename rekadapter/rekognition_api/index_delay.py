"""AWS's read-after-index delay over any recognizer: a new face is listed, but not found yet.

Field reports put it at 0.2 to 2 seconds; clients are written around it, so their tests need it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from rekadapter.errors import ConfigError, FaceNotFoundError
from rekadapter.imaging import Image
from rekadapter.recognizer import (
    Capabilities,
    FaceAnalysis,
    FaceSelection,
    QualityFilter,
    Recognizer,
    UserGallery,
    analysis_of,
    user_gallery_of,
)
from rekadapter.types import (
    ComparisonScore,
    Detection,
    EnrolledFace,
    Enrollment,
    FaceAttribute,
    FaceId,
    FaceIdentification,
    GalleryDescription,
    GalleryId,
    Identification,
    Removal,
    SubjectId,
    Verification,
)


class IndexDelay:
    """How long a new face stays hidden, and by which clock; no time at all at first."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._clock: Callable[[], float] = time.monotonic

    def set(self, seconds: float, clock: Callable[[], float]) -> None:
        """Faces enrolled from now on are hidden for ``seconds``; those hidden stay so.

        Raises:
            ConfigError: less than no time.
        """
        if not seconds >= 0.0:
            raise ConfigError(f"an index delay is 0 seconds or more, not {seconds}")
        self._seconds, self._clock = seconds, clock

    def hide(self) -> Callable[[], bool] | None:
        """For a face enrolled now: tells whether it is still hidden. None without a delay."""
        if self._seconds == 0.0:
            return None
        clock, until = self._clock, self._clock() + self._seconds
        return lambda: clock() < until


@dataclass(frozen=True, slots=True)
class _DelayedAnalysis:
    """Detecting and enrolling by ``inner``; ``hiding`` enrolls and hides what is new."""

    inner: FaceAnalysis
    hiding: Callable[[GalleryId, Callable[[], Enrollment]], Enrollment]

    def detect(self, image: Image) -> Detection:
        return self.inner.detect(image)

    def enroll(
        self,
        gallery: GalleryId,
        image: Image,
        *,
        subject: SubjectId | None,
        max_faces: int | None = None,
        quality: QualityFilter = QualityFilter.AUTO,
    ) -> Enrollment:
        return self.hiding(
            gallery,
            lambda: self.inner.enroll(
                gallery, image, subject=subject, max_faces=max_faces, quality=quality
            ),
        )


class DelayedIndex:
    """A recognizer whose searches miss a face for a while after it was first enrolled."""

    def __init__(self, inner: Recognizer, delay: IndexDelay) -> None:
        self._inner = inner
        self._delay = delay
        self._lock = threading.Lock()
        self._hidden: dict[tuple[GalleryId, FaceId], Callable[[], bool]] = {}

    @property
    def capabilities(self) -> Capabilities:
        return self._inner.capabilities

    @property
    def user_gallery(self) -> UserGallery | None:
        """The recognizer's own: users know a face at once."""
        return user_gallery_of(self._inner)

    def estimating(self, attributes: frozenset[FaceAttribute]) -> FaceAnalysis:
        """The recognizer's own estimates."""
        return self._delayed(analysis_of(self._inner, attributes))

    def detect(self, image: Image) -> Detection:
        return self._inner.detect(image)

    def verify(
        self,
        source: Image,
        target: Image,
        *,
        threshold: ComparisonScore,
        quality: QualityFilter = QualityFilter.NONE,
    ) -> Verification:
        return self._inner.verify(source, target, threshold=threshold, quality=quality)

    def create_gallery(self, gallery: GalleryId) -> GalleryDescription:
        return self._inner.create_gallery(gallery)

    def delete_gallery(self, gallery: GalleryId) -> None:
        self._inner.delete_gallery(gallery)

    def describe_gallery(self, gallery: GalleryId) -> GalleryDescription:
        return self._inner.describe_gallery(gallery)

    def galleries(self) -> Iterator[GalleryId]:
        return self._inner.galleries()

    def enroll(
        self,
        gallery: GalleryId,
        image: Image,
        *,
        subject: SubjectId | None,
        max_faces: int | None = None,
        quality: QualityFilter = QualityFilter.AUTO,
    ) -> Enrollment:
        return self._delayed(self._inner).enroll(
            gallery, image, subject=subject, max_faces=max_faces, quality=quality
        )

    def faces(self, gallery: GalleryId) -> Iterator[EnrolledFace]:
        return self._inner.faces(gallery)

    def remove(self, gallery: GalleryId, face_ids: Iterable[FaceId]) -> Removal:
        return self._inner.remove(gallery, face_ids)

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
        hidden = self._hidden_in(gallery)
        found = self._inner.identify(
            gallery,
            image,
            threshold=threshold,
            limit=limit + len(hidden),
            faces=faces,
            quality=quality,
        )
        return _without(found, hidden, limit)

    def search(
        self, gallery: GalleryId, face_id: FaceId, *, threshold: ComparisonScore, limit: int = 5
    ) -> Identification:
        hidden = self._hidden_in(gallery)
        found = self._inner.search(gallery, face_id, threshold=threshold, limit=limit + len(hidden))
        if face_id in hidden:
            raise FaceNotFoundError(f"face '{face_id}' of gallery '{gallery}' is not searched yet")
        return _without(found, hidden, limit)

    def close(self) -> None:
        self._inner.close()

    def _delayed(self, inner: FaceAnalysis) -> FaceAnalysis:
        return _DelayedAnalysis(inner, self._hiding)

    def _hiding(self, gallery: GalleryId, enroll: Callable[[], Enrollment]) -> Enrollment:
        still_hidden = self._delay.hide()
        known = {face.face_id for face in self._inner.faces(gallery)} if still_hidden else set()
        made = enroll()
        if still_hidden is not None:
            new = {record.enrolled.face_id for record in made.records} - known
            with self._lock:
                self._hidden |= {(gallery, face_id): still_hidden for face_id in new}
        return made

    def _hidden_in(self, gallery: GalleryId) -> frozenset[FaceId]:
        with self._lock:
            self._hidden = {face: hidden for face, hidden in self._hidden.items() if hidden()}
            return frozenset(face_id for held, face_id in self._hidden if held == gallery)


def _without(found: Identification, hidden: frozenset[FaceId], limit: int) -> Identification:
    return replace(found, faces=tuple(_seen(face, hidden, limit) for face in found.faces))


def _seen(face: FaceIdentification, hidden: frozenset[FaceId], limit: int) -> FaceIdentification:
    left = [candidate for candidate in face.candidates if candidate.face.face_id not in hidden]
    return replace(face, candidates=tuple(left[:limit]))
