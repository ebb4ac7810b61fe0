"""AWS Rekognition behind the ``Recognizer`` interface.

Rekognition searches the largest face of an image and no other. Identifying every face is therefore
one DetectFaces on the whole image and one SearchFacesByImage on a crop of each face; the box that
AWS says it searched has to be the face that was meant. Threshold, number of faces and quality
filter go with every request: AWS's own defaults never decide.

Collections become consistent a moment after IndexFaces answers (up to about two seconds have been
reported): a face just enrolled may be missing from a list or a search made at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from rekadapter.backends.rekognition import answers
from rekadapter.backends.rekognition.analysis import (
    ATTRIBUTES,
    MAX_FACES_PER_IMAGE,
    Calls,
    RekognitionAnalysis,
    check_count,
)
from rekadapter.backends.rekognition.answers import SIMILARITY
from rekadapter.backends.rekognition.calls import Answer, Caller, NoFace, Request, understanding
from rekadapter.backends.rekognition.errors import says_unknown_face
from rekadapter.backends.rekognition.images import (
    CROP_FACTORS,
    crop_around,
    is_the_face_meant,
    shorter_side_px,
)
from rekadapter.backends.rekognition.options import ADVISED_FACE_PX, MIN_IMAGE_SIDE_PX
from rekadapter.backends.rekognition.transport import ImageTransport
from rekadapter.backends.rekognition.users import FACE_ID, Access, RekognitionUsers
from rekadapter.backends.rekognition.video import RekognitionVideo
from rekadapter.errors import (
    BackendClosedError,
    FaceNotFoundError,
    InvalidRequestError,
    UnexpectedAnswerError,
)
from rekadapter.imaging import Crop, Image
from rekadapter.names import gallery_id
from rekadapter.recognizer import (
    Capabilities,
    FaceAnalysis,
    FaceSelection,
    QualityFilter,
    StoredVideo,
    UserGallery,
)
from rekadapter.types import (
    ComparisonScore,
    DetectedFace,
    Detection,
    EnrolledFace,
    Enrollment,
    FaceAttribute,
    FaceId,
    FaceIdentification,
    FailureToAcquire,
    GalleryDescription,
    GalleryId,
    Identification,
    KeptFace,
    Reason,
    Removal,
    SubjectId,
    UserId,
    VendorAnswer,
    Verification,
)

DEFAULT_THRESHOLD: Final = ComparisonScore(80.0, SIMILARITY)
"""AWS's own default for FaceMatchThreshold and SimilarityThreshold (service model)."""

MATCH_ALL: Final = ComparisonScore(0.0, SIMILARITY)
MAX_CANDIDATES: Final = 4096
MAX_FACES_PER_REQUEST: Final = 4096
"""FaceIds of one DeleteFaces, faces of one page of ListFaces (service model)."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What the recognizer was opened with."""

    backend: str
    region: str
    endpoint: str
    botocore_version: str
    min_face_px: int
    price_sources: tuple[str, ...] = ()
    video_minute_usd: float | None = None


@dataclass(frozen=True, slots=True)
class _Query:
    """What is asked of each searched face."""

    gallery: GalleryId
    threshold: ComparisonScore
    limit: int
    quality: QualityFilter


class RekognitionRecognizer:
    """AWS Rekognition as a ``Recognizer``; safe to call from several threads.

    Every error of AWS arrives as one of ``rekadapter.errors`` with AWS's as its cause. "No face" is
    a value. An image that is larger than ``images`` sends is encoded again to fit; one of another
    format than JPEG or PNG is sent as a JPEG.
    """

    def __init__(
        self,
        caller: Caller,
        setup: Setup,
        images: ImageTransport,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._caller = caller
        self._setup = setup
        self._images = images
        self._closed = False
        self._capabilities = _capabilities(setup, images.described)
        self._requests = Calls(self._call, self._on_gallery, self._sent_as)
        self._plain = RekognitionAnalysis(self._requests)
        self._users = RekognitionUsers(
            Access(self._on_gallery, self._pages_of, self._sent_as, self.describe_gallery)
        )
        self._video = RekognitionVideo(
            self._call, self._pages, minute_usd=setup.video_minute_usd, sleep=sleep
        )

    @property
    def user_gallery(self) -> UserGallery:
        return self._users

    @property
    def stored_video(self) -> StoredVideo:
        return self._video

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._images.close()
            self._caller.close()

    # -- detecting and verifying

    def detect(self, image: Image) -> Detection:
        """DetectFaces: at most the 100 largest faces."""
        return self._plain.detect(image)

    def estimating(self, attributes: frozenset[FaceAttribute]) -> FaceAnalysis:
        return RekognitionAnalysis(self._requests, attributes)

    def verify(
        self,
        source: Image,
        target: Image,
        *,
        threshold: ComparisonScore,
        quality: QualityFilter = QualityFilter.NONE,
    ) -> Verification:
        """CompareFaces, asked for every similarity; ``threshold`` is applied here.

        Where AWS refuses the pair, DetectFaces on each image tells which one has no face.
        """
        answers.check_threshold(threshold)
        try:
            answer = self._compared(source, target, quality)
        except InvalidRequestError:
            failure = self._image_without_face(source, target)
            if failure is None:
                raise
            return failure
        if isinstance(answer, NoFace):
            return self._image_without_face(source, target) or Verification(
                source=None,
                failure=FailureToAcquire(Reason.NO_FACE, "AWS found none in one of the images"),
                original=(answer.original,),
            )
        with understanding(answer) as data:
            return Verification(
                source=answers.detected_face(data["SourceImageFace"], source.size),
                comparisons=answers.comparisons(data, threshold, target.size),
                original=(answer.original,),
            )

    def _compared(self, source: Image, target: Image, quality: QualityFilter) -> Answer | NoFace:
        with self._sent_as(source) as source_sent, self._sent_as(target) as target_sent:
            return self._caller.ask(
                self._request(
                    "CompareFaces",
                    {
                        "SourceImage": source_sent,
                        "TargetImage": target_sent,
                        "SimilarityThreshold": MATCH_ALL.value,
                        "QualityFilter": quality.value,
                    },
                    f"a pair of images of {source.size} and {target.size}",
                )
            )

    def _image_without_face(self, source: Image, target: Image) -> Verification | None:
        for name, image in (("source", source), ("target", target)):
            detection = self.detect(image)
            if not detection.faces:
                return Verification(
                    source=None,
                    failure=FailureToAcquire(Reason.NO_FACE, f"no face in the {name} image"),
                    original=detection.original,
                )
        return None

    # -- galleries

    def create_gallery(self, gallery: GalleryId) -> GalleryDescription:
        """CreateCollection, pinned by AWS to its newest face model for good."""
        answer = self._on_gallery("CreateCollection", gallery, {})
        with understanding(answer) as data:
            return GalleryDescription(gallery, 0, str(data["FaceModelVersion"]))

    def delete_gallery(self, gallery: GalleryId) -> None:
        answer = self._on_gallery("DeleteCollection", gallery, {})
        with understanding(answer) as data:
            if int(data["StatusCode"]) != 200:
                raise ValueError(f"StatusCode {data['StatusCode']}")

    def describe_gallery(self, gallery: GalleryId) -> GalleryDescription:
        answer = self._on_gallery("DescribeCollection", gallery, {})
        with understanding(answer) as data:
            return GalleryDescription(
                gallery=gallery,
                face_count=int(data["FaceCount"]),
                model=str(data["FaceModelVersion"]),
                created_at=data.get("CreationTimestamp"),
                user_count=int(data.get("UserCount", 0)),
            )

    def galleries(self) -> Iterator[GalleryId]:
        found: list[GalleryId] = []
        for answer in self._pages("ListCollections", {}, "the galleries"):
            with understanding(answer) as data:
                found.extend(GalleryId(str(name)) for name in data["CollectionIds"])
        return iter(sorted(found))

    # -- enrolling

    def enroll(
        self,
        gallery: GalleryId,
        image: Image,
        *,
        subject: SubjectId | None,
        max_faces: int | None = None,
        quality: QualityFilter = QualityFilter.AUTO,
    ) -> Enrollment:
        """IndexFaces. Without ``max_faces`` the 100 largest faces are enrolled, AWS's own bound."""
        return self._plain.enroll(
            gallery, image, subject=subject, max_faces=max_faces, quality=quality
        )

    def faces(self, gallery: GalleryId) -> Iterator[EnrolledFace]:
        """ListFaces, page by page, in AWS's order; the first page is read at once."""
        pages = self._pages("ListFaces", _in_collection(gallery), f"gallery '{gallery}'")
        first = next(pages)
        return self._enrolled(first, pages)

    def _enrolled(self, first: Answer, pages: Iterator[Answer]) -> Iterator[EnrolledFace]:
        yield from _faces_of(first)
        for page in pages:
            yield from _faces_of(page)

    def remove(self, gallery: GalleryId, face_ids: Iterable[FaceId]) -> Removal:
        """DeleteFaces, at most 4096 at a time; without an id, nothing but a look at the gallery."""
        wanted = list(dict.fromkeys(face_ids))
        possible = [face_id for face_id in wanted if FACE_ID.fullmatch(face_id)]
        if not possible:
            self.describe_gallery(gallery)
        removed: list[FaceId] = []
        kept: list[KeptFace] = []
        for start in range(0, len(possible), MAX_FACES_PER_REQUEST):
            chunk = possible[start : start + MAX_FACES_PER_REQUEST]
            answer = self._on_gallery("DeleteFaces", gallery, {"FaceIds": chunk})
            with understanding(answer) as data:
                removed.extend(FaceId(str(face_id)) for face_id in data["DeletedFaces"])
                kept.extend(_faces_of_users(data.get("UnsuccessfulFaceDeletions") or ()))
        accounted = {*removed, *(face.face_id for face in kept)}
        not_found = tuple(face for face in wanted if face not in accounted)
        return Removal(tuple(removed), not_found, tuple(kept))

    # -- identifying

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
        """SearchFacesByImage, for the largest face or for a crop of every face.

        At most 4096 candidates come back, whatever ``limit`` says. With ``FaceSelection.LARGEST``
        AWS gives the face's box without landmarks.
        """
        answers.check_threshold(threshold)
        check_count("limit", limit)
        query = _Query(gallery_id(gallery), threshold, min(limit, MAX_CANDIDATES), quality)
        if faces is FaceSelection.LARGEST:
            return self._identify_largest(image, query)
        return self._identify_all(image, query)

    def _identify_largest(self, image: Image, query: _Query) -> Identification:
        answer = self._search_image(image, query)
        if isinstance(answer, NoFace):
            failure = FailureToAcquire(Reason.NO_FACE)
            return Identification((), failure, (answer.original,))
        with understanding(answer) as data:
            if _was_filtered(data, query):
                failure = FailureToAcquire(Reason.LOW_FACE_QUALITY, f"filter {query.quality}")
                return Identification((), failure, (answer.original,))
            face = DetectedFace(
                box=answers.box_of(data["SearchedFaceBoundingBox"]),
                confidence=float(data["SearchedFaceConfidence"]),
            )
            found = answers.candidates(data["FaceMatches"], query.threshold, query.limit)
        return Identification((FaceIdentification(face, found),), None, (answer.original,))

    def _identify_all(self, image: Image, query: _Query) -> Identification:
        detection = self.detect(image)
        if not detection.faces:
            return Identification((), FailureToAcquire(Reason.NO_FACE), detection.original)
        results: list[FaceIdentification] = []
        original = list(detection.original)
        for face in detection.faces:
            result, vendor_answers = self._identify_one(image, face, detection.faces, query)
            results.append(result)
            original.extend(vendor_answers)
        return Identification(tuple(results), None, tuple(original))

    def _identify_one(
        self, image: Image, face: DetectedFace, everyone: Sequence[DetectedFace], query: _Query
    ) -> tuple[FaceIdentification, tuple[VendorAnswer, ...]]:
        side = shorter_side_px(face, image)
        if side < self._setup.min_face_px:
            detail = f"{side:.0f} px on the shorter side, {self._setup.min_face_px} are needed"
            return _not_searched(face, Reason.FACE_TOO_SMALL, detail), ()
        cut = crop_around(image, face, everyone)
        answer = self._search_image(cut.image, query)
        if isinstance(answer, NoFace):
            return _not_searched(face, Reason.NO_FACE, "none in the crop of this face"), (
                answer.original,
            )
        with understanding(answer) as data:
            result = _judged(data, query, cut, face, everyone)
        return result, (answer.original,)

    def _search_image(self, image: Image, query: _Query) -> Answer | NoFace:
        parameters = {
            **_in_collection(query.gallery),
            "FaceMatchThreshold": float(query.threshold.value),
            "MaxFaces": int(query.limit),
            "QualityFilter": query.quality.value,
        }
        with self._sent_as(image) as sent:
            return self._caller.ask(
                self._request(
                    "SearchFacesByImage",
                    {"Image": sent, **parameters},
                    f"gallery '{query.gallery}'",
                )
            )

    def search(
        self, gallery: GalleryId, face_id: FaceId, *, threshold: ComparisonScore, limit: int = 5
    ) -> Identification:
        """SearchFaces. The probe's box comes from ListFaces, as AWS does not repeat it.

        A face enrolled less than about two seconds ago may not be found yet.
        """
        answers.check_threshold(threshold)
        check_count("limit", limit)
        probe, listed = self._enrolled_face(gallery, face_id)
        request = {
            "FaceId": face_id,
            "FaceMatchThreshold": float(threshold.value),
            "MaxFaces": int(min(limit, MAX_CANDIDATES)),
        }
        try:
            answer = self._on_gallery("SearchFaces", gallery, request)
        except InvalidRequestError as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and says_unknown_face(cause):
                raise _face_not_found(gallery, face_id) from cause
            raise
        with understanding(answer) as data:
            matches = [match for match in data["FaceMatches"] if match["Face"]["FaceId"] != face_id]
            found = answers.candidates(matches, threshold, limit)
        face = DetectedFace(box=probe.box, confidence=probe.confidence)
        return Identification((FaceIdentification(face, found),), None, (*listed, answer.original))

    def _enrolled_face(
        self, gallery: GalleryId, face_id: FaceId
    ) -> tuple[EnrolledFace, tuple[VendorAnswer, ...]]:
        if not FACE_ID.fullmatch(face_id):
            self.describe_gallery(gallery)
            raise _face_not_found(gallery, face_id)
        parameters = {**_in_collection(gallery), "FaceIds": [face_id]}
        for page in self._pages("ListFaces", parameters, f"gallery '{gallery}'"):
            for face in _faces_of(page):
                if face.face_id == face_id:
                    return face, (page.original,)
        raise _face_not_found(gallery, face_id)

    # -- calls

    def _sent_as(self, image: Image) -> AbstractContextManager[Mapping[str, Any]]:
        self._refuse_if_closed()
        return self._images.sent(image)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise BackendClosedError(
                f"backend '{self._setup.backend}' was closed: open it again to use it"
            )

    def _request(self, operation: str, parameters: Mapping[str, Any], about: str) -> Request:
        self._refuse_if_closed()
        return Request(operation, parameters, about)

    def _call(self, operation: str, parameters: Mapping[str, Any], about: str) -> Answer:
        return self._caller.call(self._request(operation, parameters, about))

    def _on_gallery(
        self, operation: str, gallery: GalleryId, parameters: Mapping[str, Any]
    ) -> Answer:
        return self._call(
            operation, {**_in_collection(gallery), **parameters}, f"gallery '{gallery}'"
        )

    def _pages_of(self, operation: str, gallery: GalleryId) -> Iterator[Answer]:
        return self._pages(operation, _in_collection(gallery), f"gallery '{gallery}'")

    def _pages(self, operation: str, parameters: Mapping[str, Any], about: str) -> Iterator[Answer]:
        """Every page of a listing; a token that comes twice would never end."""
        seen: set[str] = set()
        page = dict(parameters)
        while True:
            answer = self._call(operation, page, about)
            yield answer
            token = answer.data.get("NextToken")
            if not token:
                return
            if token in seen:
                raise UnexpectedAnswerError(
                    f"{about}: {operation} gave the same page token twice and would never end"
                )
            seen.add(token)
            page["NextToken"] = token


def _in_collection(gallery: GalleryId) -> dict[str, Any]:
    return {"CollectionId": gallery_id(gallery)}


def _faces_of(page: Answer) -> list[EnrolledFace]:
    with understanding(page) as data:
        return [answers.enrolled_face(face) for face in data["Faces"]]


def _faces_of_users(failures: Sequence[Mapping[str, Any]]) -> list[KeptFace]:
    """A reason other than that the face is not there keeps it."""
    return [
        KeptFace(
            FaceId(str(failure["FaceId"])),
            UserId(str(failure["UserId"])) if failure.get("UserId") else None,
        )
        for failure in failures
        if "FACE_NOT_FOUND" not in (failure.get("Reasons") or ())
    ]


def _face_not_found(gallery: GalleryId, face_id: FaceId) -> FaceNotFoundError:
    return FaceNotFoundError(
        f"gallery '{gallery}' has no face '{face_id}'; one enrolled in the last two seconds may "
        "not be there yet"
    )


def _not_searched(face: DetectedFace, reason: Reason, detail: str) -> FaceIdentification:
    return FaceIdentification(face, not_searched=FailureToAcquire(reason, detail))


def _was_filtered(data: Mapping[str, Any], query: _Query) -> bool:
    """AWS does not document its answer for a face that the quality filter left out; without a
    filter the face has to be there."""
    return query.quality is not QualityFilter.NONE and "SearchedFaceBoundingBox" not in data


def _judged(
    data: Mapping[str, Any],
    query: _Query,
    cut: Crop,
    face: DetectedFace,
    everyone: Sequence[DetectedFace],
) -> FaceIdentification:
    if _was_filtered(data, query):
        return _not_searched(face, Reason.LOW_FACE_QUALITY, f"filter {query.quality}")
    searched = answers.box_of(data["SearchedFaceBoundingBox"]).within(cut.region)
    found = answers.candidates(data["FaceMatches"], query.threshold, query.limit)
    if not is_the_face_meant(searched, face, everyone):
        detail = "AWS searched another face of the crop; its candidates were set aside"
        return _not_searched(face, Reason.OTHER_FACE_SEARCHED, detail)
    return FaceIdentification(face, found)


def _capabilities(setup: Setup, images: str) -> Capabilities:
    return Capabilities(
        backend=setup.backend,
        model="AWS Rekognition (each collection keeps the face model it was made with)",
        score_scale=SIMILARITY,
        default_threshold=DEFAULT_THRESHOLD,
        match_all=MATCH_ALL,
        remote=True,
        max_faces_per_image=MAX_FACES_PER_IMAGE,
        max_candidates=MAX_CANDIDATES,
        min_image_side_px=MIN_IMAGE_SIDE_PX,
        gives_raw_score=False,
        gives_landmarks=True,
        gives_pose=True,
        gives_quality=True,
        keeps_users=True,
        attributes=ATTRIBUTES,
        price_sources=setup.price_sources,
        details={
            "region": setup.region,
            "endpoint": setup.endpoint,
            "botocore": setup.botocore_version,
            "images": images,
            "threshold": (
                "80 is the default AWS ships; AWS advises 99 or more, with trained human review, "
                "where civil rights, law enforcement or access to a building are at stake"
            ),
            "face size": (
                f"faces under {setup.min_face_px} px are not searched; AWS recommends "
                f"{ADVISED_FACE_PX} px or more at 1080p"
            ),
            "crop": f"a face's box times {CROP_FACTORS[0]:g}, less in crowds, never enlarged",
            "terms": (
                "AWS's Service Terms restrict police use of face comparison in criminal "
                "investigations"
            ),
        },
    )
