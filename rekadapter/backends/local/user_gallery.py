"""``UserGallery`` of the local backend: the recognizer's models over the users' vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from rekadapter.backends.local.geometry import Floats
from rekadapter.backends.local.models import FaceModels, raw_scores
from rekadapter.backends.local.users import SqliteUsers
from rekadapter.errors import FaceNotFoundError
from rekadapter.imaging import Image
from rekadapter.recognizer import QualityFilter
from rekadapter.types import (
    ComparisonScore,
    DetectedFace,
    FaceId,
    GalleryId,
    Reason,
    UnsearchedFace,
    User,
    UserChange,
    UserId,
    UserIdentification,
    UserMatch,
    UserSearch,
)

MAX_USERS: Final = 500
"""As many as Rekognition's MaxUsers allows."""
_MAP_ROUNDING: Final = 1e-6
"""More than the score map and its inverse differ by rounding."""


@dataclass(frozen=True, slots=True)
class Probe:
    """The faces of an image, largest first; of the largest the template, float32 (d,), or the
    reason why it is not searched."""

    faces: tuple[DetectedFace, ...]
    template: Floats | None = None
    refusal: Reason | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """What users need of the recognizer they belong to.

    ``open`` raises where it is closed; ``comparable`` also where a gallery or a threshold is not
    the models' own.
    """

    open: Callable[[], None]
    comparable: Callable[[GalleryId, ComparisonScore], None]
    probe: Callable[[Image, QualityFilter], Probe]


class LocalUserGallery:
    """See ``UserGallery``; ``users`` says what a user's vector is.

    Users of a gallery that another model made can be listed, deleted and lose faces.
    """

    def __init__(self, models: FaceModels, users: SqliteUsers, access: Access) -> None:
        self._models = models
        self._users = users
        self._access = access

    def create(self, gallery: GalleryId, user: UserId) -> None:
        """See ``UserGallery``."""
        self._access.open()
        self._users.create(gallery, user)

    def delete(self, gallery: GalleryId, user: UserId) -> None:
        """See ``UserGallery``."""
        self._access.open()
        self._users.delete(gallery, user)

    def users(self, gallery: GalleryId) -> Iterator[User]:
        """See ``UserGallery``; sorted by id."""
        self._access.open()
        return iter(self._users.users(gallery))

    def associate(
        self,
        gallery: GalleryId,
        user: UserId,
        face_ids: Iterable[FaceId],
        *,
        threshold: ComparisonScore,
    ) -> UserChange:
        """See ``UserGallery``. All faces of a call are held against the user as it was before."""
        self._access.comparable(gallery, threshold)

        def too_unlike(vector: Floats, template: Floats) -> ComparisonScore | None:
            raw = raw_scores(template[None, :], vector, self._models.metric)
            score = self._models.scores.similarity_of(float(raw[0]))
            return None if score.meets(threshold) else score

        return self._users.associate(gallery, user, face_ids, too_unlike)

    def disassociate(
        self, gallery: GalleryId, user: UserId, face_ids: Iterable[FaceId]
    ) -> UserChange:
        """See ``UserGallery``."""
        self._access.open()
        return self._users.disassociate(gallery, user, face_ids)

    def search_by_face(
        self, gallery: GalleryId, face_id: FaceId, *, threshold: ComparisonScore, limit: int = 5
    ) -> UserSearch:
        """See ``UserGallery``."""
        self._access.comparable(gallery, threshold)
        template = self._users.template_of(gallery, face_id)
        if template is None:
            raise FaceNotFoundError(
                f"no face '{face_id}' in the gallery '{gallery}': "
                f"'rekadapter gallery faces {gallery}' lists those there are"
            )
        return UserSearch(self._matches(gallery, template, threshold, limit))

    def search_by_user(
        self, gallery: GalleryId, user: UserId, *, threshold: ComparisonScore, limit: int = 5
    ) -> UserSearch:
        """See ``UserGallery``."""
        self._access.comparable(gallery, threshold)
        vector = self._users.vector_of(gallery, user)
        if vector is None:
            return UserSearch(())
        found = self._matches(gallery, vector, threshold, limit + 1)
        return UserSearch(tuple(one for one in found if one.user.user_id != user)[:limit])

    def identify(
        self,
        gallery: GalleryId,
        image: Image,
        *,
        threshold: ComparisonScore,
        limit: int = 5,
        quality: QualityFilter = QualityFilter.NONE,
    ) -> UserIdentification:
        """See ``UserGallery``."""
        self._access.comparable(gallery, threshold)
        probe = self._access.probe(image, quality)
        others = tuple(
            UnsearchedFace(face, (Reason.OTHER_FACE_SEARCHED,)) for face in probe.faces[1:]
        )
        if probe.template is None:
            refused = [
                UnsearchedFace(face, (probe.refusal,) if probe.refusal else ())
                for face in probe.faces[:1]
            ]
            return UserIdentification(None, (), (*refused, *others))
        matches = self._matches(gallery, probe.template, threshold, limit)
        return UserIdentification(probe.faces[0], matches, others)

    def _matches(
        self, gallery: GalleryId, probe: Floats, threshold: ComparisonScore, limit: int
    ) -> tuple[UserMatch, ...]:
        index = self._users.index(gallery)
        scores = self._models.scores
        hits = index.matrix.nearest(
            probe,
            limit=min(limit, MAX_USERS + 1),
            worst=scores.raw_of(threshold.value) + scores.away * _MAP_ROUNDING,
            metric=self._models.metric,
        )
        found = (UserMatch(index.users[hit.row], scores.similarity_of(hit.raw)) for hit in hits)
        # the similarity decides, the raw bound only kept the list short
        return tuple(match for match in found if match.score.meets(threshold))
