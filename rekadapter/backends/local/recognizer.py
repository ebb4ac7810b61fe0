"""The local recognizer: detect, align, embed, search, on this machine.

Ids are made from content: the same image has the same ``image_id`` everywhere, and the same face of
it for the same subject the same ``face_id``. So one image enrolled twice for one subject is stored
once, as in Rekognition.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from rekadapter.backends.local.align import similarity_transform, transform_scale
from rekadapter.backends.local.gender_age import LocalAnalysis
from rekadapter.backends.local.geometry import FaceArrays, Floats, areas
from rekadapter.backends.local.models import FaceModels, raw_scores
from rekadapter.backends.local.quality import (
    estimate_pose,
    eye_distance,
    measure_quality,
    reasons_against,
)
from rekadapter.backends.local.scores import DEFAULT_SIMILARITY
from rekadapter.backends.local.store import GalleryIndex, GalleryStore, StoredFace
from rekadapter.backends.local.user_gallery import Access, LocalUserGallery, Probe
from rekadapter.errors import (
    BackendClosedError,
    FaceNotFoundError,
    GalleryModelMismatchError,
    ScaleMismatchError,
    SubjectIdError,
)
from rekadapter.imaging import Image, Pixels
from rekadapter.names import gallery_id
from rekadapter.recognizer import (
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
    Landmarks,
    Point,
    Reason,
    Removal,
    Size,
    SubjectId,
    Verification,
)

MAX_FACES: Final = 1000
MAX_CANDIDATES: Final = 4096
"""As many as Rekognition's MaxFaces allows."""

MIN_FACE_SIZE_PX: Final = 10.0
"""Below this size (see ``_Found.size_px``) a face is not searched. Measured with the embedded pack
on 67 labelled photographs scaled down: at 12 px between the eyes every face found lay within
distance 0.6 of another photograph of its subject, at 10 px 91 %, at 8 px 84 %, and below 12 px half
of the faces were not found at all. Rekognition documents a far higher floor; ours is low so that a
report shows what can be had, not what is wise."""

_NAMESPACE: Final = uuid.UUID("6a1f0d0e-6b0c-5f5e-9b55-1f2f0a4c7d11")
_MAP_ROUNDING: Final = 1e-6
"""More than the score map and its inverse differ by rounding."""

_SAME_FACE_IOU: Final = 0.7
"""The same face of the same image found by another build of ONNX Runtime differs by less."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A face with what only this backend needs of it.

    ``points`` (5, 2) in pixels. ``size_px`` is the eye distance a frontal face of this scale would
    have: unlike the measured eye distance it does not shrink when a head turns.
    """

    face: DetectedFace
    points: Floats
    size_px: float

    @property
    def too_small(self) -> FailureToAcquire | None:
        if self.size_px >= MIN_FACE_SIZE_PX:
            return None
        return FailureToAcquire(
            Reason.FACE_TOO_SMALL,
            f"{self.size_px:.1f} px between the eyes if frontal; {MIN_FACE_SIZE_PX:g} are needed",
        )


@dataclass(frozen=True, slots=True)
class _Search:
    """What is asked of a gallery, as it was at one moment, for each face."""

    index: GalleryIndex
    threshold: ComparisonScore
    limit: int


class LocalRecognizer:
    """Every promise of ``Recognizer``, with models in this process and galleries on this disk.

    ``describe_gallery``, ``faces``, ``remove`` and ``delete_gallery`` also serve a gallery of
    another model: who may not be searched must still be seen and erased.
    """

    def __init__(self, models: FaceModels, store: GalleryStore, capabilities: Capabilities) -> None:
        self._models = models
        self._store = store
        self._capabilities = capabilities
        self._closed = threading.Event()
        self._users = LocalUserGallery(
            models, store.users, Access(self._require_open, self._require_comparable, self._probe)
        )

    @property
    def user_gallery(self) -> UserGallery:
        """The users of this backend's galleries."""
        return self._users

    @property
    def capabilities(self) -> Capabilities:
        """What this backend is and can do."""
        return self._capabilities

    # --- images -----------------------------------------------------------------------------

    def detect(self, image: Image) -> Detection:
        """See ``Recognizer``."""
        self._require_open()
        return Detection(tuple(found.face for found in self._find(image)))

    def estimating(self, attributes: frozenset[FaceAttribute]) -> FaceAnalysis:
        """See ``EstimatesAttributes``; a pack without a gender-age graph estimates nothing."""
        model = self._models.gender_age
        return self if model is None else LocalAnalysis(self, model, attributes)

    def verify(
        self,
        source: Image,
        target: Image,
        *,
        threshold: ComparisonScore,
        quality: QualityFilter = QualityFilter.NONE,
    ) -> Verification:
        """See ``Recognizer``."""
        self._require_open()
        self._require_scale(threshold)
        sources, targets = self._find(source), self._find(target)
        compared = [one for one in targets if not _reasons(one, quality)]
        failure = _no_source(sources, quality) or _no_target(targets, compared, quality)
        if failure is not None:
            return Verification(sources[0].face if sources else None, (), failure)
        probe = self._embed(source.pixels, sources[:1])[0]
        comparisons = self._compare(probe, target.pixels, compared, threshold)
        return Verification(sources[0].face, comparisons)

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
        """See ``Recognizer``."""
        self._require_open()
        self._require_scale(threshold)
        self._require_own(gallery)
        found = self._find(image)
        if not found:
            return Identification((), FailureToAcquire(Reason.NO_FACE, "no face in the image"))
        if faces is FaceSelection.LARGEST:
            found = found[:1]
        refusals = [_refusal(one, quality) for one in found]
        searched = [one for one, refusal in zip(found, refusals, strict=True) if refusal is None]
        templates = iter(self._embed(image.pixels, searched))
        search = _Search(self._store.index(gallery), threshold, limit)
        identified = tuple(
            self._identified(search, one.face, next(templates))
            if refusal is None
            else FaceIdentification(one.face, (), refusal)
            for one, refusal in zip(found, refusals, strict=True)
        )
        return Identification(self._with_users(gallery, identified))

    # --- galleries --------------------------------------------------------------------------

    def create_gallery(self, gallery: GalleryId) -> GalleryDescription:
        """See ``Recognizer``."""
        self._require_open()
        return self._store.create(
            gallery_id(gallery), model=self._models.model, length=self._models.template_length
        )

    def delete_gallery(self, gallery: GalleryId) -> None:
        """See ``Recognizer``."""
        self._require_open()
        self._store.delete(gallery)

    def describe_gallery(self, gallery: GalleryId) -> GalleryDescription:
        """See ``Recognizer``."""
        self._require_open()
        return self._store.describe(gallery)

    def galleries(self) -> Iterator[GalleryId]:
        """See ``Recognizer``."""
        self._require_open()
        return iter(self._store.names())

    def enroll(
        self,
        gallery: GalleryId,
        image: Image,
        *,
        subject: SubjectId | None,
        max_faces: int | None = None,
        quality: QualityFilter = QualityFilter.AUTO,
    ) -> Enrollment:
        """See ``Recognizer``. Of too many faces the worst go first, then the smallest."""
        self._require_open()
        self._require_own(gallery)
        _require_subject(subject)
        found = self._find(image)
        if not found:
            return Enrollment((), (FailureToEnroll((Reason.NO_FACE,)),))
        good, failures = _filtered(found, quality)
        kept, dropped = _best(good, max_faces)
        failures += [FailureToEnroll((Reason.EXCEEDS_MAX_FACES,), one.face) for one in dropped]
        records = self._enroll_faces(gallery, image, kept, subject)
        return Enrollment(records, tuple(failures))

    def faces(self, gallery: GalleryId) -> Iterator[EnrolledFace]:
        """See ``Recognizer``."""
        self._require_open()
        return iter(self._store.faces(gallery))

    def remove(self, gallery: GalleryId, face_ids: Iterable[FaceId]) -> Removal:
        """See ``Recognizer``."""
        self._require_open()
        wanted = tuple(dict.fromkeys(face_ids))
        gone = self._store.remove(gallery, wanted)
        left = [face_id for face_id in wanted if face_id not in gone]
        owners = self._store.users.owners(gallery, left)
        return Removal(
            tuple(face_id for face_id in wanted if face_id in gone),
            tuple(face_id for face_id in left if face_id not in owners),
            tuple(KeptFace(face_id, owners[face_id]) for face_id in left if face_id in owners),
        )

    def search(
        self, gallery: GalleryId, face_id: FaceId, *, threshold: ComparisonScore, limit: int = 5
    ) -> Identification:
        """See ``Recognizer``."""
        self._require_open()
        self._require_scale(threshold)
        self._require_own(gallery)
        index = self._store.index(gallery)
        rows = [row for row, face in enumerate(index.faces) if face.face_id == face_id]
        if not rows:
            raise FaceNotFoundError(
                f"no face '{face_id}' in the gallery '{gallery}': "
                f"'rekadapter gallery faces {gallery}' lists those there are"
            )
        probe = index.faces[rows[0]]
        found = self._candidates(
            _Search(index, threshold, limit + 1), index.matrix.templates[rows[0]]
        )
        others = tuple(candidate for candidate in found if candidate.face.face_id != face_id)
        face = DetectedFace(probe.box, probe.confidence)
        identified = (FaceIdentification(face, others[:limit]),)
        return Identification(self._with_users(gallery, identified))

    def close(self) -> None:
        """See ``Recognizer``."""
        self._closed.set()
        self._store.close()

    # --- inside -----------------------------------------------------------------------------

    def _find(self, image: Image) -> list[_Found]:
        """Faces of an image, largest first."""
        pixels = image.pixels
        arrays = self._models.detector.detect(pixels)
        best = np.argsort(-arrays.scores, kind="stable")[:MAX_FACES]
        arrays = arrays.taken(best)
        arrays = arrays.taken(np.argsort(-areas(arrays.boxes), kind="stable"))
        template = self._models.template
        found: list[_Found] = []
        for index in range(len(arrays)):
            points = arrays.points[index]
            scale = transform_scale(similarity_transform(points, template.array()))
            face = _described(pixels, arrays, index)
            found.append(_Found(face, points, template.eye_distance / max(scale, 1e-6)))
        return found

    def _embed(self, pixels: Pixels, found: list[_Found]) -> Floats:
        points = np.array([one.points for one in found], dtype=np.float32).reshape(-1, 5, 2)
        return self._models.embed(pixels, points)

    def _identified(
        self, search: _Search, face: DetectedFace, template: Floats
    ) -> FaceIdentification:
        if not search.index.faces:
            return FaceIdentification(
                face, (), FailureToAcquire(Reason.EMPTY_GALLERY, "enroll somebody first")
            )
        return FaceIdentification(face, self._candidates(search, template))

    def _candidates(self, search: _Search, template: Floats) -> tuple[Candidate, ...]:
        scores = self._models.scores
        hits = search.index.matrix.nearest(
            template,
            limit=min(search.limit, MAX_CANDIDATES),
            worst=scores.raw_of(search.threshold.value) + scores.away * _MAP_ROUNDING,
            metric=self._models.metric,
        )
        candidates = (
            Candidate(
                search.index.faces[hit.row],
                scores.similarity_of(hit.raw),
                scores.raw_score(hit.raw),
            )
            for hit in hits
        )
        # the similarity decides, the raw bound only kept the list short
        return tuple(one for one in candidates if one.score.meets(search.threshold))

    def _with_users(
        self, gallery: GalleryId, identified: tuple[FaceIdentification, ...]
    ) -> tuple[FaceIdentification, ...]:
        """Each candidate with the user it belongs to."""
        ids = {one.face.face_id for face in identified for one in face.candidates}
        owners = self._store.users.owners(gallery, ids) if ids else {}
        if not owners:
            return identified
        return tuple(
            replace(
                face,
                candidates=tuple(
                    replace(one, face=replace(one.face, user=owners.get(one.face.face_id)))
                    for one in face.candidates
                ),
            )
            for face in identified
        )

    def _probe(self, image: Image, quality: QualityFilter) -> Probe:
        """The largest face of an image, to be searched among users."""
        found = self._find(image)
        faces = tuple(one.face for one in found)
        refusal = _refusal(found[0], quality) if found else None
        if not found or refusal is not None:
            return Probe(faces, refusal=None if refusal is None else refusal.reason)
        return Probe(faces, self._embed(image.pixels, found[:1])[0])

    def _compare(
        self, probe: Floats, pixels: Pixels, targets: list[_Found], threshold: ComparisonScore
    ) -> tuple[FaceComparison, ...]:
        searched = [one for one in targets if one.too_small is None]
        raw = raw_scores(self._embed(pixels, searched), probe, self._models.metric)
        comparisons = [
            self._comparison(one.face, float(value), threshold)
            for one, value in zip(searched, raw, strict=True)
        ]
        comparisons.sort(key=lambda one: -one.score.value if one.score else 0.0)
        unsearched = [FaceComparison(one.face, matched=False) for one in targets if one.too_small]
        return (*comparisons, *unsearched)

    def _comparison(
        self, face: DetectedFace, raw: float, threshold: ComparisonScore
    ) -> FaceComparison:
        score = self._models.scores.similarity_of(raw)
        return FaceComparison(
            face, score.meets(threshold), score, self._models.scores.raw_score(raw)
        )

    def _enroll_faces(
        self, gallery: GalleryId, image: Image, found: list[_Found], subject: SubjectId | None
    ) -> tuple[FaceRecord, ...]:
        image_id = ImageId(str(uuid.uuid5(_NAMESPACE, f"image {image.digest()}")))
        known = self._store.faces_of_image(gallery, image_id, subject)
        templates = self._embed(image.pixels, found)
        records: list[FaceRecord] = []
        new: list[StoredFace] = []
        for one, template in zip(found, templates, strict=True):
            enrolled = _already(known, one.face.box) or self._new_face(one.face, image_id, subject)
            records.append(FaceRecord(enrolled, one.face))
            if enrolled not in known:
                new.append(StoredFace(enrolled, template))
        self._store.add(gallery, new)
        return tuple(records)

    def _new_face(
        self, face: DetectedFace, image_id: ImageId, subject: SubjectId | None
    ) -> EnrolledFace:
        box = face.box
        # rounded, so that another processor's last digits give the same id
        place = ",".join(f"{side:.3f}" for side in (box.left, box.top, box.width, box.height))
        whose = "" if subject is None else f" of {subject}"
        name = f"face {self._models.model} {image_id} {place}{whose}"
        face_id = FaceId(str(uuid.uuid5(_NAMESPACE, name)))
        return EnrolledFace(face_id, image_id, subject, box, face.confidence)

    def _require_open(self) -> None:
        if self._closed.is_set():
            raise BackendClosedError("the local backend was closed: open it again")

    def _require_comparable(self, gallery: GalleryId, threshold: ComparisonScore) -> None:
        self._require_open()
        self._require_scale(threshold)
        self._require_own(gallery)

    def _require_scale(self, threshold: ComparisonScore) -> None:
        scale = self._models.scores.similarity
        if threshold.scale != scale:
            raise ScaleMismatchError(
                f"this backend's thresholds are on the scale '{scale.name}', not "
                f"'{threshold.scale.name}': use its capabilities.threshold(...)"
            )

    def _require_own(self, gallery: GalleryId) -> None:
        made_by = self._store.model(gallery)
        if made_by != self._models.model:
            raise GalleryModelMismatchError(
                f"the gallery '{gallery}' was made by '{made_by}', this is "
                f"'{self._models.model}': enroll into a new gallery, or use that pack"
            )


def capabilities_of(name: str, models: FaceModels, details: dict[str, str]) -> Capabilities:
    """What a local backend called ``name`` with these models can do."""
    scale = models.scores.similarity
    return Capabilities(
        backend=name,
        model=models.model,
        score_scale=scale,
        default_threshold=ComparisonScore(DEFAULT_SIMILARITY, scale),
        match_all=ComparisonScore(0, scale),
        remote=False,
        max_faces_per_image=MAX_FACES,
        max_candidates=MAX_CANDIDATES,
        min_image_side_px=1,
        gives_raw_score=True,
        gives_landmarks=True,
        gives_pose=True,
        gives_quality=True,
        details=details,
        keeps_users=True,
        attributes=frozenset() if models.gender_age is None else frozenset(FaceAttribute),
    )


def _described(pixels: Pixels, arrays: FaceArrays, index: int) -> DetectedFace:
    size = Size(pixels.shape[1], pixels.shape[0])
    left, top, right, bottom = (float(side) for side in arrays.boxes[index])
    box = BoundingBox(
        left / size.width,
        top / size.height,
        max(0.0, right - left) / size.width,
        max(0.0, bottom - top) / size.height,
    )
    points = arrays.points[index]
    return DetectedFace(
        box=box,
        confidence=100 * min(1.0, float(arrays.scores[index])),
        landmarks=Landmarks(
            *(Point(float(x) / size.width, float(y) / size.height) for x, y in points)
        ),
        pose=estimate_pose(points),
        quality=measure_quality(pixels, box.pixels(size)),
        eye_distance_px=eye_distance(points),
    )


def _no_face(found: list[_Found], which: str) -> FailureToAcquire | None:
    if found:
        return None
    return FailureToAcquire(Reason.NO_FACE, f"no face in the {which} image")


def _no_source(sources: list[_Found], quality: QualityFilter) -> FailureToAcquire | None:
    """Why the largest face of the source image is not compared."""
    missing = _no_face(sources, "source")
    refusal = missing or _refusal(sources[0], quality)
    if missing is not None or refusal is None:
        return missing
    return FailureToAcquire(refusal.reason, f"the source's largest face: {refusal.detail}")


def _no_target(
    targets: list[_Found], compared: list[_Found], quality: QualityFilter
) -> FailureToAcquire | None:
    """Why no face of the target image is compared."""
    missing = _no_face(targets, "target")
    if missing is not None or compared:
        return missing
    refusal = _refusal(targets[0], quality)
    detail = "" if refusal is None else refusal.detail
    reason = Reason.LOW_FACE_QUALITY if refusal is None else refusal.reason
    return FailureToAcquire(reason, f"every face of the target image; the largest: {detail}")


def _reasons(found: _Found, quality: QualityFilter) -> tuple[Reason, ...]:
    return tuple(reasons_against(found.face, found.size_px, quality))


def _refusal(found: _Found, quality: QualityFilter) -> FailureToAcquire | None:
    """Why a face of a probe is not searched."""
    reasons = reasons_against(found.face, found.size_px, quality)
    if reasons:
        detail = ", ".join(reasons)
        return FailureToAcquire(reasons[0], f"the quality filter {quality} refuses it: {detail}")
    return found.too_small


def _filtered(
    found: list[_Found], quality: QualityFilter
) -> tuple[list[_Found], list[FailureToEnroll]]:
    good: list[_Found] = []
    failures: list[FailureToEnroll] = []
    for one in found:
        reasons = reasons_against(one.face, one.size_px, quality)
        if not reasons and one.too_small:
            reasons = (Reason.FACE_TOO_SMALL,)
        if reasons:
            failures.append(FailureToEnroll(reasons, one.face))
        else:
            good.append(one)
    return good, failures


def _best(found: list[_Found], max_faces: int | None) -> tuple[list[_Found], list[_Found]]:
    """The faces to keep, largest first, and those over ``max_faces``.

    The order in which they go is Rekognition's: lowest quality first, then the smallest boxes. The
    detector's confidence stands for quality, in steps of ten percent so that size decides between
    faces about as good.
    """
    if max_faces is None or len(found) <= max_faces:
        return found, []
    ranked = sorted(found, key=lambda one: (-(one.face.confidence // 10), -one.face.box.area))
    kept = {id(one) for one in ranked[:max_faces]}
    return (
        [one for one in found if id(one) in kept],
        [one for one in found if id(one) not in kept],
    )


def _already(known: list[EnrolledFace], box: BoundingBox) -> EnrolledFace | None:
    for face in known:
        if face.box.iou(box) >= _SAME_FACE_IOU:
            return face
    return None


def _require_subject(subject: SubjectId | None) -> None:
    if subject is None:
        return
    try:
        subject.encode()
    except UnicodeEncodeError as error:
        raise SubjectIdError(f"the subject id {subject!r} is not valid Unicode text") from error
    if not subject:
        raise SubjectIdError("a subject id may not be empty: leave it out, or give one")
