"""``UserGallery`` over Rekognition's own users.

AWS makes a user's vector of its faces, in its own time: a user just changed may not be found yet,
and its status says UPDATING. Each change carries a ``ClientRequestToken`` of its own, so that a
repetition after a lost answer is done once.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from botocore.exceptions import ClientError

from rekadapter.backends.rekognition import answers
from rekadapter.backends.rekognition.answers import SIMILARITY, Json
from rekadapter.backends.rekognition.calls import Answer, understanding
from rekadapter.backends.rekognition.errors import code_of, says_unknown_face
from rekadapter.errors import (
    ConfigError,
    FaceNotFoundError,
    GalleryNotFoundError,
    InvalidRequestError,
    RekadapterError,
    UserExistsError,
    UserNotFoundError,
)
from rekadapter.imaging import Image
from rekadapter.names import user_id
from rekadapter.recognizer import MAX_FACES_PER_USER, QualityFilter
from rekadapter.types import (
    ComparisonScore,
    FaceId,
    GalleryId,
    Reason,
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
)

MAX_USERS: Final = 500
"""Users of one answer (service model)."""

FACE_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Access:
    """What users need of the recognizer they belong to: a call on a gallery, a listing of it, an
    image as it is sent, and a look whether the gallery is there."""

    call: Callable[[str, GalleryId, Mapping[str, Any]], Answer]
    pages: Callable[[str, GalleryId], Iterator[Answer]]
    sent_as: Callable[[Image], AbstractContextManager[Mapping[str, Any]]]
    look_at: Callable[[GalleryId], object]


class RekognitionUsers:
    """See ``UserGallery``. Answers of AWS are checked as the recognizer's are."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def create(self, gallery: GalleryId, user: UserId) -> None:
        """CreateUser."""
        try:
            self._access.call("CreateUser", gallery, _once({"UserId": user_id(user)}))
        except InvalidRequestError as error:
            if _code(error) == "ConflictException":
                raise UserExistsError(
                    f"gallery '{gallery}' has a user '{user}' already: choose another id"
                ) from error.__cause__
            raise

    def delete(self, gallery: GalleryId, user: UserId) -> None:
        """DeleteUser."""
        self._of_user("DeleteUser", gallery, user, _once({}))

    def users(self, gallery: GalleryId) -> Iterator[User]:
        """ListUsers, page by page, in AWS's order; the first page is read at once."""
        pages = self._access.pages("ListUsers", gallery)
        first = next(pages)
        return _listed(first, pages)

    def associate(
        self,
        gallery: GalleryId,
        user: UserId,
        face_ids: Iterable[FaceId],
        *,
        threshold: ComparisonScore,
    ) -> UserChange:
        """AssociateFaces, at most 100 at a time. Where a later hundred fails, the ones before it
        stay associated."""
        _check(threshold)
        possible, impossible = _split(face_ids)
        changes = [
            self._changed("AssociateFaces", gallery, user, chunk, threshold)
            for chunk in _chunks(possible)
        ]
        return self._together(gallery, user, changes, impossible)

    def disassociate(
        self, gallery: GalleryId, user: UserId, face_ids: Iterable[FaceId]
    ) -> UserChange:
        """DisassociateFaces, at most 100 at a time."""
        possible, impossible = _split(face_ids)
        changes = [
            self._changed("DisassociateFaces", gallery, user, chunk, None)
            for chunk in _chunks(possible)
        ]
        return self._together(gallery, user, changes, impossible)

    def search_by_face(
        self, gallery: GalleryId, face_id: FaceId, *, threshold: ComparisonScore, limit: int = 5
    ) -> UserSearch:
        """SearchUsers with a FaceId."""
        _check(threshold, limit)
        if not FACE_ID.fullmatch(face_id):
            self._access.look_at(gallery)
            raise _face_not_found(gallery, face_id)
        try:
            answer = self._access.call(
                "SearchUsers", gallery, {"FaceId": face_id, **_asked(threshold, limit)}
            )
        except InvalidRequestError as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and says_unknown_face(cause):
                raise _face_not_found(gallery, face_id) from cause
            raise
        return UserSearch(_matches(answer, threshold, limit), (answer.original,))

    def search_by_user(
        self, gallery: GalleryId, user: UserId, *, threshold: ComparisonScore, limit: int = 5
    ) -> UserSearch:
        """SearchUsers with a UserId."""
        _check(threshold, limit)
        answer = self._of_user("SearchUsers", gallery, user, _asked(threshold, limit))
        found = _matches(answer, threshold, MAX_USERS)
        others = tuple(match for match in found if match.user.user_id != user)
        return UserSearch(others[:limit], (answer.original,))

    def identify(
        self,
        gallery: GalleryId,
        image: Image,
        *,
        threshold: ComparisonScore,
        limit: int = 5,
        quality: QualityFilter = QualityFilter.NONE,
    ) -> UserIdentification:
        """SearchUsersByImage."""
        _check(threshold, limit)
        with self._access.sent_as(image) as sent:
            answer = self._access.call(
                "SearchUsersByImage",
                gallery,
                {"Image": sent, "QualityFilter": quality.value, **_asked(threshold, limit)},
            )
        matches = _matches(answer, threshold, limit)
        with understanding(answer) as data:
            searched = data.get("SearchedFace")
            face = answers.detected_face(searched["FaceDetail"], image.size) if searched else None
            unsearched = tuple(
                UnsearchedFace(
                    answers.detected_face(one["FaceDetails"], image.size), _why(one["Reasons"])
                )
                for one in data.get("UnsearchedFaces") or ()
            )
        return UserIdentification(face, matches, unsearched, (answer.original,))

    def _changed(
        self,
        operation: str,
        gallery: GalleryId,
        user: UserId,
        face_ids: Sequence[FaceId],
        threshold: ComparisonScore | None,
    ) -> UserChange:
        parameters: dict[str, Any] = {"FaceIds": list(face_ids)}
        if threshold is not None:
            parameters["UserMatchThreshold"] = float(threshold.value)
        answer = self._of_user(operation, gallery, user, _once(parameters))
        done, left = (
            ("AssociatedFaces", "UnsuccessfulFaceAssociations")
            if operation == "AssociateFaces"
            else ("DisassociatedFaces", "UnsuccessfulFaceDisassociations")
        )
        with understanding(answer) as data:
            return UserChange(
                UserStatus(data["UserStatus"]),
                tuple(FaceId(str(face["FaceId"])) for face in data.get(done) or ()),
                tuple(_unchanged(face) for face in data.get(left) or ()),
                (answer.original,),
            )

    def _together(
        self,
        gallery: GalleryId,
        user: UserId,
        changes: Sequence[UserChange],
        impossible: Sequence[FaceId],
    ) -> UserChange:
        """Several requests as one; the last one's status counts."""
        status = changes[-1].status if changes else self._status(gallery, user)
        unknown = [UnchangedFace(face, (UserReason.FACE_NOT_FOUND,)) for face in impossible]
        return UserChange(
            status,
            tuple(face for change in changes for face in change.changed),
            (*(face for change in changes for face in change.unchanged), *unknown),
            tuple(original for change in changes for original in change.original),
        )

    def _status(self, gallery: GalleryId, user: UserId) -> UserStatus:
        for found in self.users(gallery):
            if found.user_id == user:
                return found.status
        raise _user_not_found(gallery, user)

    def _of_user(
        self, operation: str, gallery: GalleryId, user: UserId, parameters: Mapping[str, Any]
    ) -> Answer:
        """AWS says of an unknown user and of an unknown collection the same."""
        try:
            return self._access.call(operation, gallery, {"UserId": user_id(user), **parameters})
        except GalleryNotFoundError as error:
            self._gallery_or_user(gallery, user, error)

    def _gallery_or_user(
        self, gallery: GalleryId, user: UserId, error: GalleryNotFoundError
    ) -> NoReturn:
        try:
            self._access.look_at(gallery)
        except GalleryNotFoundError:
            raise error from error.__cause__
        raise _user_not_found(gallery, user) from error.__cause__


def _once(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {**parameters, "ClientRequestToken": str(uuid.uuid4())}


def _asked(threshold: ComparisonScore, limit: int) -> dict[str, Any]:
    return {
        "UserMatchThreshold": float(threshold.value),
        "MaxUsers": int(min(limit, MAX_USERS)),
    }


def _split(face_ids: Iterable[FaceId]) -> tuple[list[FaceId], list[FaceId]]:
    """Ids that AWS could have given, and those it would refuse the whole request for."""
    asked = list(dict.fromkeys(face_ids))
    return (
        [face_id for face_id in asked if FACE_ID.fullmatch(face_id)],
        [face_id for face_id in asked if not FACE_ID.fullmatch(face_id)],
    )


def _chunks(face_ids: Sequence[FaceId]) -> Iterator[Sequence[FaceId]]:
    for start in range(0, len(face_ids), MAX_FACES_PER_USER):
        yield face_ids[start : start + MAX_FACES_PER_USER]


def _listed(first: Answer, pages: Iterator[Answer]) -> Iterator[User]:
    yield from _users_of(first)
    for page in pages:
        yield from _users_of(page)


def _users_of(page: Answer) -> list[User]:
    with understanding(page) as data:
        return [_user(user) for user in data["Users"]]


def _user(data: Json) -> User:
    return User(UserId(str(data["UserId"])), UserStatus(data["UserStatus"]))


def _matches(answer: Answer, threshold: ComparisonScore, limit: int) -> tuple[UserMatch, ...]:
    """Best first, all meeting ``threshold``: AWS promises as much, it is checked all the same."""
    with understanding(answer) as data:
        found = [
            UserMatch(_user(match["User"]), answers.similarity_of(match))
            for match in data["UserMatches"]
        ]
    kept = [match for match in found if match.score.meets(threshold)]
    kept.sort(key=lambda match: match.score.value, reverse=True)
    return tuple(kept[:limit])


def _unchanged(face: Json) -> UnchangedFace:
    user, confidence = face.get("UserId"), face.get("Confidence")
    return UnchangedFace(
        FaceId(str(face["FaceId"])),
        tuple(UserReason(word) for word in face["Reasons"]),
        UserId(str(user)) if user else None,
        None if confidence is None else ComparisonScore(float(confidence), SIMILARITY),
    )


def _why(words: Sequence[str]) -> tuple[Reason, ...]:
    """A reason that is newer than this version is left out: the vendor's own answer keeps it."""
    named = {"FACE_NOT_LARGEST": Reason.OTHER_FACE_SEARCHED, **{str(one): one for one in Reason}}
    return tuple(named[word] for word in words if word in named)


def _check(threshold: ComparisonScore, limit: int = 1) -> None:
    answers.check_threshold(threshold)
    if limit < 1:
        raise ConfigError(f"limit has to be at least 1, not {limit}")


def _code(error: RekadapterError) -> str:
    return code_of(error.__cause__) if isinstance(error.__cause__, ClientError) else ""


def _face_not_found(gallery: GalleryId, face_id: FaceId) -> FaceNotFoundError:
    return FaceNotFoundError(
        f"gallery '{gallery}' has no face '{face_id}'; one enrolled in the last two seconds may "
        "not be there yet"
    )


def _user_not_found(gallery: GalleryId, user: UserId) -> UserNotFoundError:
    return UserNotFoundError(f"gallery '{gallery}' has no user '{user}'")
