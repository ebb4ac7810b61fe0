"""DetectFaces and IndexFaces, with the attributes of each face that were asked for.

AWS takes longer for more attributes and charges the same. What it answers without having been
asked is left out: nobody shall come by a guess about a person by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from rekadapter.backends.rekognition import answers
from rekadapter.backends.rekognition.calls import Answer, understanding
from rekadapter.errors import ConfigError
from rekadapter.imaging import Image
from rekadapter.names import to_external_image_id
from rekadapter.recognizer import QualityFilter
from rekadapter.types import (
    DetectedFace,
    Detection,
    Enrollment,
    FaceAttribute,
    FailureToEnroll,
    GalleryId,
    Reason,
    SubjectId,
)

MAX_FACES_PER_IMAGE: Final = 100

_WORDS: Final = MappingProxyType({FaceAttribute.AGE: "AGE_RANGE", FaceAttribute.GENDER: "GENDER"})

ATTRIBUTES: Final = frozenset(_WORDS)
"""Those of AWS's attributes that rekadapter has a place for."""


@dataclass(frozen=True, slots=True)
class Calls:
    """What the requests need of the recognizer they belong to: a call, a call on a gallery, and an
    image as it is sent."""

    call: Callable[[str, Mapping[str, Any], str], Answer]
    on_gallery: Callable[[str, GalleryId, Mapping[str, Any]], Answer]
    sent_as: Callable[[Image], AbstractContextManager[Mapping[str, Any]]]


class RekognitionAnalysis:
    """See ``FaceAnalysis``."""

    def __init__(self, calls: Calls, attributes: frozenset[FaceAttribute] = frozenset()) -> None:
        self._calls = calls
        self._attributes = attributes

    def detect(self, image: Image) -> Detection:
        """DetectFaces: at most the 100 largest faces."""
        with self._calls.sent_as(image) as sent:
            answer = self._calls.call(
                "DetectFaces",
                {"Image": sent, "Attributes": self._words()},
                f"an image of {image.size}",
            )
        with understanding(answer) as data:
            faces = answers.detected_faces(data["FaceDetails"], image.size)
        return Detection(tuple(map(self._asked_for, faces)), (answer.original,))

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
        wanted = MAX_FACES_PER_IMAGE if max_faces is None else max_faces
        check_count("max_faces", wanted)
        parameters: dict[str, Any] = {
            "MaxFaces": int(wanted),
            "QualityFilter": quality.value,
            "DetectionAttributes": self._words(),
        }
        if subject is not None:
            parameters["ExternalImageId"] = to_external_image_id(subject)
        with self._calls.sent_as(image) as sent:
            answer = self._calls.on_gallery("IndexFaces", gallery, {"Image": sent, **parameters})
        with understanding(answer) as data:
            records = answers.face_records(data["FaceRecords"], image.size)
            failures = tuple(
                answers.failure_to_enroll(face, image.size)
                for face in data.get("UnindexedFaces") or ()
            )
        if not records and not failures:
            failures = (FailureToEnroll((Reason.NO_FACE,)),)
        made = Enrollment(records, failures, (answer.original,))
        return made.described(self._asked_for)

    def _words(self) -> list[str]:
        return ["DEFAULT", *sorted(_WORDS[attribute] for attribute in self._attributes)]

    def _asked_for(self, face: DetectedFace) -> DetectedFace:
        return face.with_only(self._attributes)


def check_count(name: str, count: int) -> None:
    """Raises ``ConfigError`` for a count that is not positive."""
    if count < 1:
        raise ConfigError(f"{name} has to be at least 1, not {count}")
