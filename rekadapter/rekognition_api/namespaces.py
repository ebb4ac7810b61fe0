"""Accounts and regions apart, as on AWS, over a recognizer that knows of neither.

A gallery of an account and region is called ``ACCOUNT.REGION.NAME`` in the backend. One of them is
at home: its galleries have plain names there, as they have for the command line. Names of the first
form are nobody's at home, so that nobody reaches another's galleries by spelling them out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Self

from rekadapter.errors import ConfigError, GalleryNotFoundError, SubjectIdError
from rekadapter.imaging import Image
from rekadapter.names import gallery_id
from rekadapter.recognizer import (
    VIDEO_WAIT_SECONDS,
    Capabilities,
    FaceAnalysis,
    FaceSelection,
    QualityFilter,
    Recognizer,
    StoredVideo,
    UserGallery,
    analysis_of,
    stored_video_of,
    user_gallery_of,
)
from rekadapter.types import (
    ComparisonScore,
    Detection,
    EnrolledFace,
    Enrollment,
    FaceAttribute,
    FaceId,
    GalleryDescription,
    GalleryId,
    Identification,
    Removal,
    SubjectId,
    User,
    UserChange,
    UserId,
    UserIdentification,
    UserSearch,
    Verification,
    VideoDetection,
    VideoJobId,
    VideoObject,
    VideoSearch,
)

_HOME: Final = re.compile(r"(\d{12})/([a-z0-9-]{1,32})")
_OWNED: Final = re.compile(r"\d{12}\.[a-z0-9-]{1,32}\..+")


@dataclass(frozen=True, slots=True)
class Home:
    """The account and region whose galleries have plain names in the backend."""

    account: str
    region: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``123456789012/eu-west-1``.

        Raises:
            ConfigError: it is of another form.
        """
        found = _HOME.fullmatch(text)
        if found is None:
            raise ConfigError(f"{text!r} is no account and region: write 123456789012/eu-west-1")
        return cls(found[1], found[2])

    def __str__(self) -> str:
        return f"{self.account}/{self.region}"

    def names_for(self, account: str, region: str) -> Names:
        """How the galleries of an account and region are called in the backend."""
        return Names("" if (account, region) == (self.account, self.region) else account, region)


@dataclass(frozen=True, slots=True)
class Names:
    """Names of galleries as a caller and as the backend has them; at home without ``account``."""

    account: str
    region: str

    @property
    def _prefix(self) -> str:
        return f"{self.account}.{self.region}." if self.account else ""

    def new(self, gallery: GalleryId) -> GalleryId:
        """In the backend, of a gallery that is to be made.

        Raises:
            SubjectIdError: the name would be another's, or is too long with its owner's.
        """
        if not self.account and _OWNED.fullmatch(gallery):
            raise SubjectIdError(
                f"'{gallery}' would be a gallery of another account or region: choose another name"
            )
        return gallery_id(f"{self._prefix}{gallery}")

    def of(self, gallery: GalleryId) -> GalleryId:
        """In the backend, of a gallery that should be there.

        Raises:
            GalleryNotFoundError: none of that name can be.
        """
        try:
            return self.new(gallery)
        except SubjectIdError as error:
            raise GalleryNotFoundError(f"no gallery '{gallery}': {error}") from error

    def own(self, held: Iterable[GalleryId]) -> Iterator[GalleryId]:
        """Those of the backend's galleries that are the caller's, as the caller has them."""
        for gallery in held:
            mine = gallery.startswith(self._prefix) if self.account else not _is_owned(gallery)
            if mine:
                yield GalleryId(gallery[len(self._prefix) :])


def _is_owned(gallery: GalleryId) -> bool:
    return _OWNED.fullmatch(gallery) is not None


class NamedRecognizer:
    """A recognizer as one account and region sees it. Whoever opened ``inner`` closes it."""

    def __init__(self, inner: Recognizer, names: Names) -> None:
        self._inner = inner
        self._names = names

    @property
    def capabilities(self) -> Capabilities:
        return self._inner.capabilities

    @property
    def user_gallery(self) -> UserGallery | None:
        users = user_gallery_of(self._inner)
        return None if users is None else _NamedUsers(users, self._names)

    @property
    def stored_video(self) -> StoredVideo | None:
        video = stored_video_of(self._inner)
        return None if video is None else _NamedVideo(video, self._names)

    def estimating(self, attributes: frozenset[FaceAttribute]) -> FaceAnalysis:
        return _NamedAnalysis(analysis_of(self._inner, attributes), self._names)

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
        return replace(self._inner.create_gallery(self._names.new(gallery)), gallery=gallery)

    def delete_gallery(self, gallery: GalleryId) -> None:
        self._inner.delete_gallery(self._names.of(gallery))

    def describe_gallery(self, gallery: GalleryId) -> GalleryDescription:
        return replace(self._inner.describe_gallery(self._names.of(gallery)), gallery=gallery)

    def galleries(self) -> Iterator[GalleryId]:
        return self._names.own(self._inner.galleries())

    def enroll(
        self,
        gallery: GalleryId,
        image: Image,
        *,
        subject: SubjectId | None,
        max_faces: int | None = None,
        quality: QualityFilter = QualityFilter.AUTO,
    ) -> Enrollment:
        return self._inner.enroll(
            self._names.of(gallery), image, subject=subject, max_faces=max_faces, quality=quality
        )

    def faces(self, gallery: GalleryId) -> Iterator[EnrolledFace]:
        return self._inner.faces(self._names.of(gallery))

    def remove(self, gallery: GalleryId, face_ids: Iterable[FaceId]) -> Removal:
        return self._inner.remove(self._names.of(gallery), face_ids)

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
        return self._inner.identify(
            self._names.of(gallery),
            image,
            threshold=threshold,
            limit=limit,
            faces=faces,
            quality=quality,
        )

    def search(
        self, gallery: GalleryId, face_id: FaceId, *, threshold: ComparisonScore, limit: int = 5
    ) -> Identification:
        return self._inner.search(
            self._names.of(gallery), face_id, threshold=threshold, limit=limit
        )

    def close(self) -> None:
        """Nothing: it is not the caller's to close."""


@dataclass(frozen=True, slots=True)
class _NamedAnalysis:
    inner: FaceAnalysis
    names: Names

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
        return self.inner.enroll(
            self.names.of(gallery), image, subject=subject, max_faces=max_faces, quality=quality
        )


@dataclass(frozen=True, slots=True)
class _NamedUsers:
    inner: UserGallery
    names: Names

    def create(self, gallery: GalleryId, user: UserId) -> None:
        self.inner.create(self.names.of(gallery), user)

    def delete(self, gallery: GalleryId, user: UserId) -> None:
        self.inner.delete(self.names.of(gallery), user)

    def users(self, gallery: GalleryId) -> Iterator[User]:
        return self.inner.users(self.names.of(gallery))

    def associate(
        self,
        gallery: GalleryId,
        user: UserId,
        face_ids: Iterable[FaceId],
        *,
        threshold: ComparisonScore,
    ) -> UserChange:
        return self.inner.associate(self.names.of(gallery), user, face_ids, threshold=threshold)

    def disassociate(
        self, gallery: GalleryId, user: UserId, face_ids: Iterable[FaceId]
    ) -> UserChange:
        return self.inner.disassociate(self.names.of(gallery), user, face_ids)

    def search_by_face(
        self, gallery: GalleryId, face_id: FaceId, *, threshold: ComparisonScore, limit: int = 5
    ) -> UserSearch:
        held = self.names.of(gallery)
        return self.inner.search_by_face(held, face_id, threshold=threshold, limit=limit)

    def search_by_user(
        self, gallery: GalleryId, user: UserId, *, threshold: ComparisonScore, limit: int = 5
    ) -> UserSearch:
        held = self.names.of(gallery)
        return self.inner.search_by_user(held, user, threshold=threshold, limit=limit)

    def identify(
        self,
        gallery: GalleryId,
        image: Image,
        *,
        threshold: ComparisonScore,
        limit: int = 5,
        quality: QualityFilter = QualityFilter.NONE,
    ) -> UserIdentification:
        held = self.names.of(gallery)
        return self.inner.identify(held, image, threshold=threshold, limit=limit, quality=quality)


@dataclass(frozen=True, slots=True)
class _NamedVideo:
    """Job ids are the backend's: whoever knows one may ask for it."""

    inner: StoredVideo
    names: Names

    def start_search(
        self,
        video: VideoObject,
        gallery: GalleryId,
        *,
        threshold: ComparisonScore,
        token: str | None = None,
    ) -> VideoJobId:
        held = self.names.of(gallery)
        return self.inner.start_search(video, held, threshold=threshold, token=token)

    def search_result(
        self, job_id: VideoJobId, *, wait_seconds: float = VIDEO_WAIT_SECONDS
    ) -> VideoSearch:
        return self.inner.search_result(job_id, wait_seconds=wait_seconds)

    def start_detection(self, video: VideoObject, *, token: str | None = None) -> VideoJobId:
        return self.inner.start_detection(video, token=token)

    def detection_result(
        self, job_id: VideoJobId, *, wait_seconds: float = VIDEO_WAIT_SECONDS
    ) -> VideoDetection:
        return self.inner.detection_result(job_id, wait_seconds=wait_seconds)
