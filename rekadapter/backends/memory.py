"""A deterministic recognizer without a model: for tests, and for other people's CI.

What it sees is up to a ``FaceFinder``. The usual one knows two things. Faces drawn by
``rekadapter.testing.drawn`` are found wherever they stand. In any other picture that is not plain,
the whole picture counts as one face, so that the same photograph, also re-encoded or scaled, is
found again. It recognizes pictures, not people: never use it to judge anybody.

It estimates no age and no gender. A finder may tell either, where somebody has declared them.

Galleries live in the object and go with it. A user is as similar to a probe as the closest of its
faces: templates of this backend have no mean.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from rekadapter.errors import (
    BackendClosedError,
    ConfigError,
    FaceNotFoundError,
    GalleryExistsError,
    GalleryNotFoundError,
    QuotaExceededError,
    ScaleMismatchError,
    UserExistsError,
    UserNotFoundError,
)
from rekadapter.imaging import Image
from rekadapter.names import gallery_id, user_id
from rekadapter.recognizer import (
    MAX_FACES_PER_USER,
    BackendContext,
    Capabilities,
    FaceAnalysis,
    FaceSelection,
    QualityFilter,
    UserGallery,
)
from rekadapter.types import (
    BoundingBox,
    Candidate,
    ComparisonScore,
    DetectedFace,
    Detection,
    EnrolledFace,
    Enrollment,
    FaceAttribute,
    FaceComparison,
    FaceId,
    FaceIdentification,
    FaceRecord,
    FailureToAcquire,
    FailureToEnroll,
    GalleryDescription,
    GalleryId,
    Identification,
    ImageId,
    KeptFace,
    PixelBox,
    Reason,
    Removal,
    ScoreScale,
    SubjectId,
    UnchangedFace,
    UnsearchedFace,
    User,
    UserChange,
    UserId,
    UserIdentification,
    UserMatch,
    UserReason,
    UserSearch,
    UserStatus,
    Verification,
)

SIMILARITY: Final = ScoreScale("memory similarity", 0.0, 100.0)
"""50 x (1 + correlation) of two pictures' gray fields."""
CORRELATION: Final = ScoreScale("memory correlation", -1.0, 1.0)

_MODEL: Final = "memory-1"
_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "urn:rekadapter:memory")
FIELDS: Final = 8
"""Gray fields along a side of a drawn face."""
FRAME_SHARE: Final = 0.1
"""Thickness of its frame as a share of the side."""
_SMALLEST_SIDE_PX: Final = 16
_PLAIN_DEVIATION: Final = 6.0


class Template(Protocol):
    """What a face is recognized by."""

    def similarity(self, other: Template) -> float:
        """From 0 to 100, the same in both directions; templates of another kind are strangers."""
        ...


@dataclass(frozen=True, slots=True)
class SeenFace:
    """A face in an image, and its template."""

    face: DetectedFace
    template: Template


class FaceFinder(Protocol):
    """Finds the faces of an image. Safe to call from several threads, always with one answer.

    A face may carry an age and a gender; the recognizer passes on what it is asked for.
    """

    def find(self, image: Image, subject: SubjectId | None) -> Sequence[SeenFace]:
        """Every face, largest first; ``subject`` is whom the image is enrolled as, if it is."""
        ...


def open_memory(
    name: str, options: Mapping[str, object], context: BackendContext
) -> MemoryRecognizer:
    """Entry point of the ``memory`` backend; it takes no options."""
    del context
    if options:
        raise ConfigError(f"backend '{name}' (memory) takes no options, not {', '.join(options)}")
    return MemoryRecognizer()


@dataclass(slots=True)
class _Gallery:
    created_at: datetime
    faces: dict[FaceId, EnrolledFace] = field(default_factory=dict)
    templates: dict[FaceId, Template] = field(default_factory=dict)
    users: dict[UserId, set[FaceId]] = field(default_factory=dict)


class MemoryRecognizer:
    """See the module's text. Every promise of ``Recognizer`` holds; nothing outlives the object."""

    def __init__(
        self,
        finder: FaceFinder | None = None,
        *,
        attributes: frozenset[FaceAttribute] = frozenset(),
    ) -> None:
        """``attributes`` are those that the finder may tell."""
        self._attributes = attributes
        self._all_told = finder or PictureFinder()
        self._finder: FaceFinder = _Reticent(self._all_told, frozenset())
        self._lock = threading.RLock()
        self._galleries: dict[GalleryId, _Gallery] = {}
        self._closed = False
        self._users = _MemoryUsers(self._finder, self._lock, self._gallery, self._check)

    @property
    def user_gallery(self) -> UserGallery:
        return self._users

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            backend="memory",
            model=_MODEL,
            score_scale=SIMILARITY,
            default_threshold=ComparisonScore(80.0, SIMILARITY),
            match_all=ComparisonScore(0.0, SIMILARITY),
            remote=False,
            max_faces_per_image=1000,
            max_candidates=4096,
            min_image_side_px=1,
            gives_raw_score=True,
            gives_landmarks=False,
            gives_pose=False,
            gives_quality=False,
            details={"note": "recognizes pictures, not people"},
            keeps_users=True,
            attributes=self._attributes,
        )

    def estimating(self, attributes: frozenset[FaceAttribute]) -> FaceAnalysis:
        return _MemoryAnalysis(self, _Reticent(self._all_told, attributes & self._attributes))

    def detect(self, image: Image) -> Detection:
        return self._detected(image, self._finder)

    def _detected(self, image: Image, finder: FaceFinder) -> Detection:
        self._check_open()
        return Detection(tuple(seen.face for seen in finder.find(image, None)))

    def verify(
        self,
        source: Image,
        target: Image,
        *,
        threshold: ComparisonScore,
        quality: QualityFilter = QualityFilter.NONE,
    ) -> Verification:
        del quality  # a drawn face is never poor
        self._check(threshold)
        sources, targets = self._finder.find(source, None), self._finder.find(target, None)
        if not sources or not targets:
            which = "source" if not sources else "target"
            failure = FailureToAcquire(Reason.NO_FACE, f"no face in the {which} image")
            return Verification(source=None, failure=failure)
        probe = sources[0]
        compared = [_comparison(seen, probe.template, threshold) for seen in targets]
        compared.sort(key=lambda found: -(found.score.value if found.score else 0.0))
        return Verification(source=probe.face, comparisons=tuple(compared))

    def create_gallery(self, gallery: GalleryId) -> GalleryDescription:
        self._check_open()
        with self._lock:
            if gallery_id(gallery) in self._galleries:
                raise GalleryExistsError(f"gallery '{gallery}' is there already")
            self._galleries[gallery] = _Gallery(created_at=datetime.now(UTC))
            return self.describe_gallery(gallery)

    def delete_gallery(self, gallery: GalleryId) -> None:
        with self._lock:
            self._gallery(gallery)
            del self._galleries[gallery]

    def describe_gallery(self, gallery: GalleryId) -> GalleryDescription:
        with self._lock:
            held = self._gallery(gallery)
            return GalleryDescription(
                gallery, len(held.faces), _MODEL, held.created_at, len(held.users)
            )

    def galleries(self) -> Iterator[GalleryId]:
        self._check_open()
        with self._lock:
            return iter(sorted(self._galleries))

    def enroll(
        self,
        gallery: GalleryId,
        image: Image,
        *,
        subject: SubjectId | None,
        max_faces: int | None = None,
        quality: QualityFilter = QualityFilter.AUTO,
    ) -> Enrollment:
        del quality  # a drawn face is never poor
        found = self._finder.find(image, subject)
        return self._enrolled(gallery, image, subject, found, max_faces)

    def _enrolled(
        self,
        gallery: GalleryId,
        image: Image,
        subject: SubjectId | None,
        found: Sequence[SeenFace],
        max_faces: int | None,
    ) -> Enrollment:
        kept = found if max_faces is None else found[:max_faces]
        image_id = ImageId(str(uuid.uuid5(_NAMESPACE, image.digest())))
        records = tuple(
            FaceRecord(_enrolled(image_id, seen.face, subject), seen.face) for seen in kept
        )
        failures = tuple(
            FailureToEnroll((Reason.EXCEEDS_MAX_FACES,), seen.face) for seen in found[len(kept) :]
        )
        with self._lock:
            held = self._gallery(gallery)
            for record, seen in zip(records, kept, strict=True):
                held.faces.setdefault(record.enrolled.face_id, record.enrolled)
                held.templates.setdefault(record.enrolled.face_id, seen.template)
            records = tuple(
                replace(record, enrolled=held.faces[record.enrolled.face_id]) for record in records
            )
        return Enrollment(records, failures or _no_face(found))

    def faces(self, gallery: GalleryId) -> Iterator[EnrolledFace]:
        with self._lock:
            held = self._gallery(gallery)
            return iter(sorted(held.faces.values(), key=lambda face: face.face_id))

    def remove(self, gallery: GalleryId, face_ids: Iterable[FaceId]) -> Removal:
        with self._lock:
            held = self._gallery(gallery)
            asked = list(dict.fromkeys(face_ids))
            known = [held.faces[face_id] for face_id in asked if face_id in held.faces]
            removed = tuple(face.face_id for face in known if face.user is None)
            for face_id in removed:
                del held.faces[face_id], held.templates[face_id]
            there = {face.face_id for face in known}
        return Removal(
            removed,
            tuple(face_id for face_id in asked if face_id not in there),
            tuple(KeptFace(face.face_id, face.user) for face in known if face.user is not None),
        )

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
        del quality
        self._check(threshold)
        with self._lock:
            held = self._gallery(gallery)
            found = self._finder.find(image, None)
            if not found:
                return Identification((), FailureToAcquire(Reason.NO_FACE))
            chosen = found[:1] if faces is FaceSelection.LARGEST else found
            return Identification(tuple(_searched(seen, held, threshold, limit) for seen in chosen))

    def search(
        self, gallery: GalleryId, face_id: FaceId, *, threshold: ComparisonScore, limit: int = 5
    ) -> Identification:
        self._check(threshold)
        with self._lock:
            held = self._gallery(gallery)
            probe = held.faces.get(face_id)
            if probe is None:
                raise FaceNotFoundError(f"gallery '{gallery}' has no face '{face_id}'")
            others = _Gallery(
                held.created_at,
                {key: face for key, face in held.faces.items() if key != face_id},
                held.templates,
            )
            seen = SeenFace(DetectedFace(probe.box, probe.confidence), held.templates[face_id])
            return Identification((_searched(seen, others, threshold, limit),))

    def close(self) -> None:
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise BackendClosedError("the memory backend was closed: open it again")

    def _check(self, threshold: ComparisonScore) -> None:
        self._check_open()
        if threshold.scale != SIMILARITY:
            raise ScaleMismatchError(
                f"the memory backend takes thresholds on '{SIMILARITY.name}', "
                f"not on '{threshold.scale.name}'"
            )

    def _gallery(self, gallery: GalleryId) -> _Gallery:
        self._check_open()
        held = self._galleries.get(gallery)
        if held is None:
            raise GalleryNotFoundError(
                f"no gallery '{gallery}': create it with `rekadapter gallery create {gallery}`"
            )
        return held


@dataclass(frozen=True, slots=True)
class _Reticent:
    """A finder that tells no more of its faces than ``attributes``."""

    inner: FaceFinder
    attributes: frozenset[FaceAttribute]

    def find(self, image: Image, subject: SubjectId | None) -> Sequence[SeenFace]:
        return [
            replace(seen, face=seen.face.with_only(self.attributes))
            for seen in self.inner.find(image, subject)
        ]


@dataclass(frozen=True, slots=True)
class _MemoryAnalysis:
    """The recognizer's detecting and enrolling, with the faces as ``finder`` tells them."""

    recognizer: MemoryRecognizer
    finder: FaceFinder

    def detect(self, image: Image) -> Detection:
        return self.recognizer._detected(image, self.finder)

    def enroll(
        self,
        gallery: GalleryId,
        image: Image,
        *,
        subject: SubjectId | None,
        max_faces: int | None = None,
        quality: QualityFilter = QualityFilter.AUTO,
    ) -> Enrollment:
        del quality  # a drawn face is never poor
        found = self.finder.find(image, subject)
        return self.recognizer._enrolled(gallery, image, subject, found, max_faces)


class _MemoryUsers:
    """Users of a ``MemoryRecognizer``'s galleries; see ``UserGallery``."""

    def __init__(
        self,
        finder: FaceFinder,
        lock: threading.RLock,
        gallery: Callable[[GalleryId], _Gallery],
        check: Callable[[ComparisonScore], None],
    ) -> None:
        self._finder = finder
        self._lock = lock
        self._gallery = gallery
        self._check = check

    def create(self, gallery: GalleryId, user: UserId) -> None:
        with self._lock:
            held = self._gallery(gallery)
            if user_id(user) in held.users:
                raise UserExistsError(f"gallery '{gallery}' has a user '{user}' already")
            held.users[user] = set()

    def delete(self, gallery: GalleryId, user: UserId) -> None:
        with self._lock:
            held = self._gallery(gallery)
            for face_id in _faces_of(held, gallery, user):
                held.faces[face_id] = replace(held.faces[face_id], user=None)
            del held.users[user]

    def users(self, gallery: GalleryId) -> Iterator[User]:
        with self._lock:
            held = self._gallery(gallery)
            return iter([_user(held, user) for user in sorted(held.users)])

    def associate(
        self,
        gallery: GalleryId,
        user: UserId,
        face_ids: Iterable[FaceId],
        *,
        threshold: ComparisonScore,
    ) -> UserChange:
        self._check(threshold)
        with self._lock:
            held = self._gallery(gallery)
            own = _faces_of(held, gallery, user)
            wanted = [face_id for face_id in dict.fromkeys(face_ids) if face_id not in own]
            refused = {
                face_id: reason
                for face_id in wanted
                if (reason := _refusal(held, user, face_id, threshold)) is not None
            }
            new = tuple(face_id for face_id in wanted if face_id not in refused)
            if len(own) + len(new) > MAX_FACES_PER_USER:
                raise QuotaExceededError(
                    f"user '{user}' of gallery '{gallery}' would have over {MAX_FACES_PER_USER} "
                    "faces: disassociate some first"
                )
            for face_id in new:
                held.faces[face_id] = replace(held.faces[face_id], user=user)
            own.update(new)
            return UserChange(_user(held, user).status, new, tuple(refused.values()))

    def disassociate(
        self, gallery: GalleryId, user: UserId, face_ids: Iterable[FaceId]
    ) -> UserChange:
        with self._lock:
            held = self._gallery(gallery)
            own = _faces_of(held, gallery, user)
            wanted = list(dict.fromkeys(face_ids))
            gone = tuple(face_id for face_id in wanted if face_id in own)
            for face_id in gone:
                held.faces[face_id] = replace(held.faces[face_id], user=None)
            own.difference_update(gone)
            unchanged = (_not_the_users(held, user, face_id) for face_id in wanted)
            refused = tuple(one for one in unchanged if one is not None)
            return UserChange(_user(held, user).status, gone, refused)

    def search_by_face(
        self, gallery: GalleryId, face_id: FaceId, *, threshold: ComparisonScore, limit: int = 5
    ) -> UserSearch:
        self._check(threshold)
        with self._lock:
            held = self._gallery(gallery)
            if face_id not in held.faces:
                raise FaceNotFoundError(f"gallery '{gallery}' has no face '{face_id}'")
            return UserSearch(_alike(held, [held.templates[face_id]], threshold)[:limit])

    def search_by_user(
        self, gallery: GalleryId, user: UserId, *, threshold: ComparisonScore, limit: int = 5
    ) -> UserSearch:
        self._check(threshold)
        with self._lock:
            held = self._gallery(gallery)
            own = _faces_of(held, gallery, user)
            found = _alike(held, [held.templates[face_id] for face_id in own], threshold)
            others = tuple(match for match in found if match.user.user_id != user)
            return UserSearch(others[:limit])

    def identify(
        self,
        gallery: GalleryId,
        image: Image,
        *,
        threshold: ComparisonScore,
        limit: int = 5,
        quality: QualityFilter = QualityFilter.NONE,
    ) -> UserIdentification:
        del quality
        self._check(threshold)
        with self._lock:
            held = self._gallery(gallery)
            found = self._finder.find(image, None)
            if not found:
                return UserIdentification(searched=None)
            return UserIdentification(
                found[0].face,
                _alike(held, [found[0].template], threshold)[:limit],
                tuple(UnsearchedFace(one.face, (Reason.OTHER_FACE_SEARCHED,)) for one in found[1:]),
            )


def _user(held: _Gallery, user: UserId) -> User:
    return User(user, UserStatus.ACTIVE if held.users[user] else UserStatus.CREATED)


def _faces_of(held: _Gallery, gallery: GalleryId, user: UserId) -> set[FaceId]:
    own = held.users.get(user)
    if own is None:
        raise UserNotFoundError(f"gallery '{gallery}' has no user '{user}'")
    return own


def _not_the_users(held: _Gallery, user: UserId, face_id: FaceId) -> UnchangedFace | None:
    """Why a face cannot be the user's: it is not there, or another's."""
    face = held.faces.get(face_id)
    if face is None:
        return UnchangedFace(face_id, (UserReason.FACE_NOT_FOUND,))
    if face.user is not None and face.user != user:
        reasons = (UserReason.ASSOCIATED_TO_A_DIFFERENT_USER,)
        return UnchangedFace(face_id, reasons, face.user)
    return None


def _refusal(
    held: _Gallery, user: UserId, face_id: FaceId, threshold: ComparisonScore
) -> UnchangedFace | None:
    refusal = _not_the_users(held, user, face_id)
    if refusal is not None or not held.users[user]:
        return refusal
    score = _closest(held, user, [held.templates[face_id]])
    if score.meets(threshold):
        return None
    return UnchangedFace(face_id, (UserReason.LOW_MATCH_CONFIDENCE,), user, score)


def _closest(held: _Gallery, user: UserId, probes: Sequence[Template]) -> ComparisonScore:
    own = [held.templates[face_id] for face_id in held.users[user]]
    best = max(probe.similarity(template) for probe in probes for template in own)
    return ComparisonScore(best, SIMILARITY)


def _alike(
    held: _Gallery, probes: Sequence[Template], threshold: ComparisonScore
) -> tuple[UserMatch, ...]:
    """Every user with a face who meets the threshold, best first."""
    if not probes:
        return ()
    scored = [
        UserMatch(_user(held, user), _closest(held, user, probes))
        for user, own in held.users.items()
        if own
    ]
    kept = [match for match in scored if match.score.meets(threshold)]
    return tuple(sorted(kept, key=lambda match: (-match.score.value, match.user.user_id)))


class PictureFinder:
    """Drawn faces, and pictures as a whole; see the module's text."""

    def find(self, image: Image, subject: SubjectId | None) -> Sequence[SeenFace]:
        del subject  # a picture shows the same, whoever is said to be on it
        return [SeenFace(face, _template(image, face.box)) for face in _found_faces(image)]


@dataclass(frozen=True, slots=True, eq=False)
class _GrayFields:
    """The gray fields inside the frame, shape (64,), zero mean and unit length."""

    values: NDArray[np.float64]

    def similarity(self, other: Template) -> float:
        if not isinstance(other, _GrayFields):
            return SIMILARITY.low
        return 50.0 * (1.0 + min(1.0, max(-1.0, float(self.values @ other.values))))


def _found_faces(image: Image) -> list[DetectedFace]:
    """Drawn faces, largest first; else the whole picture, unless it is plain."""
    boxes = _drawn_boxes(image)
    if not boxes and float(image.pixels.std()) > _PLAIN_DEVIATION:
        return [DetectedFace(BoundingBox(0.0, 0.0, 1.0, 1.0), confidence=50.0)]
    found = [
        DetectedFace(BoundingBox.from_pixels(box, image.size), confidence=100.0) for box in boxes
    ]
    return sorted(found, key=lambda face: (-face.box.area, face.box.left, face.box.top))


def _drawn_boxes(image: Image) -> list[PixelBox]:
    blue, green, red = cv2.split(image.pixels)
    mask = ((blue > 150) & (green < 110) & (red > 150)).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    boxes = []
    for left, top, width, height, area in stats[1:].tolist():
        square = max(width, height) <= 1.25 * min(width, height)
        hollow = 0.15 <= area / (width * height) <= 0.75
        if square and hollow and width >= _SMALLEST_SIDE_PX:
            boxes.append(PixelBox(left, top, left + width, top + height))
    return boxes


def _template(image: Image, box: BoundingBox) -> Template:
    inner = box.scaled(1 - 2 * FRAME_SHARE) if box.area < 1 else box
    area = inner.pixels(image.size)
    part = image.pixels[area.top : area.bottom, area.left : area.right]
    gray = cv2.cvtColor(part, cv2.COLOR_BGR2GRAY)
    fields = cv2.resize(gray, (FIELDS, FIELDS), interpolation=cv2.INTER_AREA)
    flat = fields.astype(np.float64).ravel()
    flat -= flat.mean()
    length = float(np.linalg.norm(flat))
    return _GrayFields(flat / length if length > 0 else flat)


def _score(probe: Template, other: Template) -> ComparisonScore:
    return ComparisonScore(probe.similarity(other), SIMILARITY)


def _raw(score: ComparisonScore) -> ComparisonScore:
    return ComparisonScore(score.value / 50.0 - 1.0, CORRELATION)


def _comparison(seen: SeenFace, probe: Template, threshold: ComparisonScore) -> FaceComparison:
    score = _score(probe, seen.template)
    return FaceComparison(
        seen.face, matched=score.meets(threshold), score=score, raw_score=_raw(score)
    )


def _enrolled(image_id: ImageId, face: DetectedFace, subject: SubjectId | None) -> EnrolledFace:
    face_id = uuid.uuid5(_NAMESPACE, f"{_MODEL}|{image_id}|{face.box}|{subject}")
    return EnrolledFace(FaceId(str(face_id)), image_id, subject, face.box, face.confidence)


def _no_face(found: Sequence[SeenFace]) -> tuple[FailureToEnroll, ...]:
    return () if found else (FailureToEnroll((Reason.NO_FACE,)),)


def _searched(
    seen: SeenFace, held: _Gallery, threshold: ComparisonScore, limit: int
) -> FaceIdentification:
    if not held.faces:
        return FaceIdentification(seen.face, not_searched=FailureToAcquire(Reason.EMPTY_GALLERY))
    found = []
    for face_id, enrolled in held.faces.items():
        score = _score(seen.template, held.templates[face_id])
        if score.meets(threshold):
            found.append(Candidate(enrolled, score, _raw(score)))
    found.sort(key=lambda candidate: (-candidate.score.value, candidate.face.face_id))
    return FaceIdentification(seen.face, tuple(found[:limit]))
