"""Users of a collection: several of its faces that are one person."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from rekadapter.recognizer import QualityFilter
from rekadapter.rekognition_api.codec import WireObject, WireValue
from rekadapter.rekognition_api.context import Context
from rekadapter.rekognition_api.faults import invalid_parameter
from rekadapter.rekognition_api.idempotency import TokenKey
from rekadapter.rekognition_api.images import read_image
from rekadapter.rekognition_api.operations import shapes
from rekadapter.rekognition_api.paging import page_of
from rekadapter.rekognition_api.request import Request
from rekadapter.types import (
    ComparisonScore,
    FaceId,
    GalleryId,
    Reason,
    UnchangedFace,
    UnsearchedFace,
    User,
    UserId,
    UserMatch,
)

MAX_USERS: Final = 500
"""Users of one page or answer (service model)."""
DEFAULT_SEARCH_THRESHOLD: Final = 80.0
DEFAULT_ASSOCIATE_THRESHOLD: Final = 75.0

_ONCE_BY: Final = "ClientRequestToken"
_UNSEARCHED: Final = MappingProxyType(
    {**shapes.REASONS, Reason.OTHER_FACE_SEARCHED: "FACE_NOT_LARGEST"}
)


def create_user(context: Context, request: Request) -> WireObject:
    def create() -> WireObject:
        context.users().create(_gallery(request), _user(request))
        return {}

    return _once(context, request, "CreateUser", create)


def delete_user(context: Context, request: Request) -> WireObject:
    def delete() -> WireObject:
        context.users().delete(_gallery(request), _user(request))
        return {}

    return _once(context, request, "DeleteUser", delete)


def list_users(context: Context, request: Request) -> WireObject:
    gallery = _gallery(request)
    page = page_of(
        context.users().users(gallery),
        key=_user_id,
        listing=("ListUsers", gallery),
        request=request,
        most=MAX_USERS,
    )
    return {"Users": [_listed(user) for user in page.items], "NextToken": page.next_token}


def associate_faces(context: Context, request: Request) -> WireObject:
    def associate() -> WireObject:
        threshold = _threshold(context, request, DEFAULT_ASSOCIATE_THRESHOLD)
        done = context.users().associate(
            _gallery(request), _user(request), _face_ids(request), threshold=threshold
        )
        return {
            "AssociatedFaces": [{"FaceId": face_id} for face_id in done.changed],
            "UnsuccessfulFaceAssociations": [_unassociated(one) for one in done.unchanged],
            "UserStatus": done.status,
        }

    return _once(context, request, "AssociateFaces", associate)


def disassociate_faces(context: Context, request: Request) -> WireObject:
    def disassociate() -> WireObject:
        done = context.users().disassociate(_gallery(request), _user(request), _face_ids(request))
        return {
            "DisassociatedFaces": [{"FaceId": face_id} for face_id in done.changed],
            "UnsuccessfulFaceDisassociations": [_unchanged(one) for one in done.unchanged],
            "UserStatus": done.status,
        }

    return _once(context, request, "DisassociateFaces", disassociate)


def search_users(context: Context, request: Request) -> WireObject:
    face_id, user = request.optional_text("FaceId"), request.optional_text("UserId")
    if (face_id is None) == (user is None):
        raise invalid_parameter(
            "Request has invalid parameters: users are searched by FaceId or by UserId, "
            "not by both and not by neither."
        )
    searched: WireObject
    threshold = _threshold(context, request, DEFAULT_SEARCH_THRESHOLD)
    if face_id is not None:
        found = context.users().search_by_face(
            _gallery(request), FaceId(face_id), threshold=threshold, limit=_limit(request)
        )
        searched = {"SearchedFace": {"FaceId": face_id}}
    else:
        found = context.users().search_by_user(
            _gallery(request), _user(request), threshold=threshold, limit=_limit(request)
        )
        searched = {"SearchedUser": {"UserId": user}}
    return {
        "UserMatches": [_match(match) for match in found.matches],
        "FaceModelVersion": context.model_version,
        **searched,
    }


def search_users_by_image(context: Context, request: Request) -> WireObject:
    """No face, or one that cannot be searched, is no error here: the answer has no
    ``SearchedFace``."""
    found = context.users().identify(
        _gallery(request),
        read_image(context, request.part("Image")),
        threshold=_threshold(context, request, DEFAULT_SEARCH_THRESHOLD),
        limit=_limit(request),
        quality=QualityFilter(request.optional_text("QualityFilter") or QualityFilter.NONE),
    )
    searched = found.searched
    detail = None if searched is None else {"FaceDetail": shapes.face_detail(searched)}
    most = context.settings.max_faces_per_image - (searched is not None)
    return {
        "UserMatches": [_match(match) for match in found.matches],
        "FaceModelVersion": context.model_version,
        "SearchedFace": detail,
        "UnsearchedFaces": [_unsearched(face) for face in found.unsearched[:most]],
    }


def _once(
    context: Context, request: Request, operation: str, work: Callable[[], WireObject]
) -> WireObject:
    token = request.optional_text(_ONCE_BY)
    if token is None:
        return work()
    key = TokenKey(context.account, context.region, operation, token)
    given = {name: value for name, value in request.members.items() if name != _ONCE_BY}
    return context.answered.once(key, given, work)


def _gallery(request: Request) -> GalleryId:
    return GalleryId(request.text("CollectionId"))


def _user(request: Request) -> UserId:
    return UserId(request.text("UserId"))


def _user_id(user: User) -> str:
    return user.user_id


def _face_ids(request: Request) -> list[FaceId]:
    return [FaceId(face_id) for face_id in request.texts("FaceIds")]


def _threshold(context: Context, request: Request, default: float) -> ComparisonScore:
    value = request.number("UserMatchThreshold", default)
    return context.recognizer.capabilities.threshold(value)


def _limit(request: Request) -> int:
    """What AWS returns without ``MaxUsers`` is not documented: here it is all it could."""
    return request.integer("MaxUsers", MAX_USERS)


def _listed(user: User) -> WireObject:
    return {"UserId": user.user_id, "UserStatus": user.status}


def _match(match: UserMatch) -> WireObject:
    return {"Similarity": match.score.value, "User": _listed(match.user)}


def _unassociated(face: UnchangedFace) -> WireObject:
    confidence = None if face.score is None else face.score.value
    return {**_unchanged(face), "Confidence": confidence}


def _unchanged(face: UnchangedFace) -> WireObject:
    reasons: list[WireValue] = list(face.reasons)
    return {"FaceId": face.face_id, "UserId": face.user, "Reasons": reasons}


def _unsearched(face: UnsearchedFace) -> WireObject:
    words = (_UNSEARCHED[reason] for reason in face.reasons if reason in _UNSEARCHED)
    return {
        "FaceDetails": shapes.face_detail(face.face),
        "Reasons": list(dict.fromkeys(words)),
    }
