"""1:N searches: with an enrolled face, or with the largest face of an image."""

from __future__ import annotations

from rekadapter.recognizer import FaceSelection, QualityFilter
from rekadapter.rekognition_api.codec import WireObject
from rekadapter.rekognition_api.context import Context
from rekadapter.rekognition_api.faults import no_faces
from rekadapter.rekognition_api.images import read_image
from rekadapter.rekognition_api.operations import shapes
from rekadapter.rekognition_api.request import Request
from rekadapter.types import (
    Candidate,
    ComparisonScore,
    FaceId,
    FaceIdentification,
    GalleryId,
    Identification,
    Reason,
)

DEFAULT_THRESHOLD = 80.0


def search_faces(context: Context, request: Request) -> WireObject:
    face_id = request.text("FaceId")
    found = context.recognizer.search(
        GalleryId(request.text("CollectionId")),
        FaceId(face_id),
        threshold=_threshold(context, request),
        limit=_limit(context, request),
    )
    candidates = [candidate for searched in found.faces for candidate in searched.candidates]
    return {
        "SearchedFaceId": face_id,
        "FaceMatches": _matches(context, candidates),
        "FaceModelVersion": context.model_version,
    }


def search_faces_by_image(context: Context, request: Request) -> WireObject:
    found = context.recognizer.identify(
        GalleryId(request.text("CollectionId")),
        read_image(context, request.part("Image")),
        threshold=_threshold(context, request),
        limit=_limit(context, request),
        faces=FaceSelection.LARGEST,
        quality=QualityFilter(request.optional_text("QualityFilter") or QualityFilter.NONE),
    )
    searched = _searched_face(found)
    return {
        "SearchedFaceBoundingBox": shapes.bounding_box(searched.face.box),
        "SearchedFaceConfidence": searched.face.confidence,
        "FaceMatches": _matches(context, searched.candidates),
        "FaceModelVersion": context.model_version,
    }


def _searched_face(found: Identification) -> FaceIdentification:
    """The one face searched. A face that could not be searched (too small, filtered out) answers
    like no face at all: an empty list would claim that it was compared with everybody."""
    if not found.faces:
        raise no_faces()
    searched = found.faces[0]
    failure = searched.not_searched
    if failure is not None and failure.reason is not Reason.EMPTY_GALLERY:
        raise no_faces()
    return searched


def _threshold(context: Context, request: Request) -> ComparisonScore:
    value = request.number("FaceMatchThreshold", DEFAULT_THRESHOLD)
    return context.recognizer.capabilities.threshold(value)


def _limit(context: Context, request: Request) -> int:
    """What AWS returns without ``MaxFaces`` is not documented: here it is all there are."""
    most = context.recognizer.capabilities.max_candidates
    return min(request.integer("MaxFaces", most), most)


def _matches(
    context: Context, candidates: tuple[Candidate, ...] | list[Candidate]
) -> list[WireObject]:
    return [shapes.face_match(context, candidate) for candidate in candidates]
