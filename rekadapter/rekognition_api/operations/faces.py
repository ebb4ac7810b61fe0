"""Faces of a collection: index, list, delete."""

from __future__ import annotations

from typing import Final

from rekadapter.names import from_external_image_id
from rekadapter.recognizer import QualityFilter, analysis_of
from rekadapter.rekognition_api.codec import WireObject
from rekadapter.rekognition_api.context import Context
from rekadapter.rekognition_api.images import read_image
from rekadapter.rekognition_api.operations import shapes
from rekadapter.rekognition_api.paging import page_of
from rekadapter.rekognition_api.request import Request
from rekadapter.types import (
    EnrolledFace,
    Enrollment,
    FaceAttribute,
    FaceId,
    FaceRecord,
    FailureToEnroll,
    GalleryId,
)

OF_A_USER: Final = "ASSOCIATED_TO_AN_EXISTING_USER"


def index_faces(context: Context, request: Request) -> WireObject:
    external = request.optional_text("ExternalImageId")
    most = context.settings.max_faces_per_image
    asked = shapes.attributes(request.texts("DetectionAttributes"))
    enrollment = analysis_of(context.recognizer, asked).enroll(
        GalleryId(request.text("CollectionId")),
        read_image(context, request.part("Image")),
        subject=None if external is None else from_external_image_id(external),
        max_faces=min(request.integer("MaxFaces", most), most),
        quality=QualityFilter(request.optional_text("QualityFilter") or QualityFilter.AUTO),
    )
    return {
        "FaceRecords": [
            _face_record(context, record, asked) for record in _largest_first(enrollment)
        ],
        "UnindexedFaces": _unindexed(enrollment, asked, most - len(enrollment.records)),
        "FaceModelVersion": context.model_version,
    }


def list_faces(context: Context, request: Request) -> WireObject:
    gallery = GalleryId(request.text("CollectionId"))
    wanted, user = frozenset(request.texts("FaceIds")), request.optional_text("UserId")
    page = page_of(
        (
            face
            for face in context.recognizer.faces(gallery)
            if (not wanted or face.face_id in wanted) and (user is None or face.user == user)
        ),
        key=_face_id,
        listing=("ListFaces", gallery, user or "", *sorted(wanted)),
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
    unknown: list[WireObject] = [
        {"FaceId": face_id, "Reasons": ["FACE_NOT_FOUND"]} for face_id in removal.not_found
    ]
    of_users: list[WireObject] = [
        {"FaceId": kept.face_id, "UserId": kept.user, "Reasons": [OF_A_USER]}
        for kept in removal.kept
    ]
    return {
        "DeletedFaces": list(removal.removed),
        "UnsuccessfulFaceDeletions": unknown + of_users,
    }


def _face_id(face: EnrolledFace) -> str:
    return face.face_id


def _largest_first(enrollment: Enrollment) -> list[FaceRecord]:
    return sorted(enrollment.records, key=lambda record: -record.enrolled.box.area)


def _face_record(
    context: Context, record: FaceRecord, asked: frozenset[FaceAttribute]
) -> WireObject:
    return {
        "Face": shapes.face(context, record.enrolled),
        "FaceDetail": shapes.face_detail(record.detected, asked),
    }


def _unindexed(
    enrollment: Enrollment, asked: frozenset[FaceAttribute], most: int
) -> list[WireObject]:
    """Faces found but left out; Rekognition never speaks of more than its 100 largest."""
    unindexed: list[WireObject] = [
        {
            "Reasons": _words_for(failure),
            "FaceDetail": shapes.face_detail(failure.detected, asked),
        }
        for failure in enrollment.failures
        if failure.detected is not None
    ]
    return unindexed[: max(0, most)]


def _words_for(failure: FailureToEnroll) -> list[str]:
    words = (shapes.REASONS[reason] for reason in failure.reasons if reason in shapes.REASONS)
    return list(dict.fromkeys(words))
