"""What an operation works with besides its request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from rekadapter.errors import ConfigError, UsageError
from rekadapter.recognizer import Recognizer, UserGallery, user_gallery_of
from rekadapter.rekognition_api.faults import (
    INVALID_PARAMETER,
    VALIDATION,
    FaultError,
    unknown_operation,
)
from rekadapter.rekognition_api.idempotency import IdempotentAnswers
from rekadapter.rekognition_api.namespaces import Home
from rekadapter.rekognition_api.tags import MemoryTags, Tags
from rekadapter.types import GalleryId

if TYPE_CHECKING:  # jobs import this module
    from rekadapter.rekognition_api.jobs.background import Works

MAX_FACES_PER_IMAGE: Final = 100
"""Rekognition looks at the 100 largest faces of an image (its limits page)."""
MIN_IMAGE_SIDE_PX: Final = 80
MAX_S3_IMAGE_BYTES: Final = 15 * 1024 * 1024


class S3ObjectError(UsageError):
    """The object is missing or the reader may not read it."""


@dataclass(frozen=True, slots=True)
class S3Location:
    """An object named by a request, on behalf of whom."""

    bucket: str
    key: str
    version: str | None
    account: str
    region: str


class S3Reader(Protocol):
    """Gets the images that requests name by bucket and key. Safe to call from several threads."""

    def read(self, location: S3Location, *, max_bytes: int) -> bytes:
        """The object, of which more than ``max_bytes`` need not be read: the caller refuses it.

        Raises:
            S3ObjectError: missing, unreadable, or in another region.
        """
        ...


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """How the service differs from its defaults, which are Rekognition's documented ones.

    ``violation_code`` is the error for a value that breaks a rule of the model; real AWS is
    reported to answer ``ValidationException``, which its model does not have.
    ``max_faces_per_image`` may be raised for local models that find more. With ``home`` every
    account and region has galleries of its own, as on AWS; without, all see the same ones.
    """

    violation_code: str = INVALID_PARAMETER
    max_faces_per_image: int = MAX_FACES_PER_IMAGE
    min_image_side_px: int = MIN_IMAGE_SIDE_PX
    home: Home | None = None

    def __post_init__(self) -> None:
        if self.violation_code not in {INVALID_PARAMETER, VALIDATION}:
            raise ConfigError(
                f"violation_code is {INVALID_PARAMETER} or {VALIDATION}, "
                f"not {self.violation_code!r}"
            )
        if self.max_faces_per_image < 1 or self.min_image_side_px < 1:
            raise ConfigError("max_faces_per_image and min_image_side_px have to be at least 1")


@dataclass(frozen=True, slots=True)
class Context:
    """One request's surroundings.

    ``recognizer`` has the galleries that the request's account and region may see.
    ``model_version`` is ``FaceModelVersion``: the recognizer's own name of its model.
    """

    recognizer: Recognizer
    model_version: str
    settings: ServiceSettings
    account: str
    region: str
    s3: S3Reader | None = None
    answered: IdempotentAnswers = field(default_factory=IdempotentAnswers)
    background: Works | None = None
    tags: Tags = field(default_factory=MemoryTags)

    def users(self) -> UserGallery:
        """The users of the recognizer's galleries.

        Raises:
            FaultError: it keeps none; the operation is then unknown, as where AWS has none.
        """
        users = user_gallery_of(self.recognizer)
        if users is None:
            raise FaultError(unknown_operation("The service's backend keeps no users."))
        return users

    def collection_arn(self, gallery: GalleryId) -> str:
        return f"arn:aws:rekognition:{self.region}:{self.account}:collection/{gallery}"

    def forget_tags(self, gallery: GalleryId) -> None:
        """Those of a gallery that is gone, or not yet made: of everybody who could see it."""
        owner = f"{self.region}:{self.account}:" if self.is_separate else ""
        self.tags.forget(f"{owner}collection/{gallery}")

    @property
    def is_separate(self) -> bool:
        """Whether other accounts and regions see something else."""
        return self.settings.home is not None
