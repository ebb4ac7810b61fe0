"""Faces of a collection: index, list, delete."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from rekadapter.names import from_external_image_id
from rekadapter.recognizer import QualityFilter
from rekadapter.rekognition_api.codec import WireObject
from rekadapter.rekognition_api.context import Context
from rekadapter.rekognition_api.faults import not_found
from rekadapter.rekognition_api.images import read_image
from rekadapter.rekognition_api.operations import shapes
from rekadapter.rekognition_api.paging import page_of
from rekadapter.rekognition_api.request import Request
from rekadapter.types import (
    EnrolledFace,
    Enrollment,
    FaceId,
    FaceRecord,
    FailureToEnroll,
    GalleryId,
    Reason,
)

_REASONS: Final = MappingProxyType(
    {
        Reason.EXCEEDS_MAX_FACES: "EXCEEDS_MAX_FACES",
        Reason.EXTREME_POSE: "EXTREME_POSE",
        Reason.LOW_BRIGHTNESS: "LOW_BRIGHTNESS",
        Reason.LOW_SHARPNESS: "LOW_SHARPNESS",
        Reason.LOW_CONFIDENCE: "LOW_CONFIDENCE",
        Reason.SMALL_BOUNDING_BOX: "SMALL_BOUNDING_BOX",
        Reason.FACE_TOO_SMALL: "SMALL_BOUNDING_BOX",
        Reason.LOW_FACE_QUALITY: "LOW_FACE_QUALITY",
    }
)
"""Rekognition's word for a reason; a reason it has no word for is left out."""


def index_faces(context: Context, request: Request) -> WireObject:
    external = request.optional_text("ExternalImageId")
    most = context.settings.max_faces_per_image
    enrollment = context.recognizer.enroll(
        GalleryId(request.text("CollectionId")),
        read_image(context, request.part("Image")),
        subject=None if external is None else from_external_image_id(external),
        max_faces=min(request.integer("MaxFaces", most), most),
        quality=QualityFilter(request.optional_text("QualityFilter") or QualityFilter.AUTO),
    )
    return {
        "FaceRecords": [_face_record(context, record) for record in _largest_first(enrollment)],
        "UnindexedFaces": _unindexed(enrollment, most - len(enrollment.records)),
        "FaceModelVersion": context.model_version,
    }


def list_faces(context: Context, request: Request) -> WireObject:
    gallery = GalleryId(request.text("CollectionId"))
    if request.has("UserId"):
        raise not_found("The user is not in the collection: users are not served yet.")
    wanted = frozenset(request.texts("FaceIds"))
    page = page_of(
        (
            face
            for face in context.recognizer.faces(gallery)
            if not wanted or face.face_id in wanted
        ),
        key=_face_id,
        listing=("ListFaces", gallery, *sorted(wanted)),
        request=request,
    )
    return {
        "Faces": [shapes.face(context, face) for face in page.items],
        "NextToken": page.next_token,
        "FaceModelVersion": context.model_version,
    }


def delete_faces(context: Context, request: Request) -> WireObject:
    asked = [FaceId(face_id) for face_id in dict.fromkeys(request.texts("FaceIds"))]
    removal = context.recognizer.remove(GalleryId(request.text("CollectionId")), asked)
    return {
        "DeletedFaces": list(removal.removed),
        "UnsuccessfulFaceDeletions": [
            {"FaceId": face_id, "Reasons": ["FACE_NOT_FOUND"]} for face_id in removal.not_found
        ],
    }


def _face_id(face: EnrolledFace) -> str:
    return face.face_id


def _largest_first(enrollment: Enrollment) -> list[FaceRecord]:
    return sorted(enrollment.records, key=lambda record: -record.enrolled.box.area)


def _face_record(context: Context, record: FaceRecord) -> WireObject:
    return {
        "Face": shapes.face(context, record.enrolled),
        "FaceDetail": shapes.face_detail(record.detected),
    }


def _unindexed(enrollment: Enrollment, most: int) -> list[WireObject]:
    """Faces found but left out; Rekognition never speaks of more than its 100 largest."""
    unindexed: list[WireObject] = [
        {
            "Reasons": _words_for(failure),
            "FaceDetail": shapes.face_detail(failure.detected),
        }
        for failure in enrollment.failures
        if failure.detected is not None
    ]
    return unindexed[: max(0, most)]


def _words_for(failure: FailureToEnroll) -> list[str]:
    words = (_REASONS[reason] for reason in failure.reasons if reason in _REASONS)
    return list(dict.fromkeys(words))
