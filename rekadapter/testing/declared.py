"""Who is on a picture because a test says so: identities without a model.

A declared picture shows exactly the faces it was declared to show. Two declared faces of one
identity are as similar as the less certain of the two was declared, faces of two identities not at
all (similarity 0). A picture nobody declared is left to the memory backend's picture matching.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rekadapter.backends.memory import SIMILARITY, FaceFinder, PictureFinder, SeenFace, Template
from rekadapter.errors import ConfigError
from rekadapter.imaging import Image
from rekadapter.names import from_external_image_id
from rekadapter.rekognition_api.context import S3Location, S3ObjectError, S3Reader
from rekadapter.types import BoundingBox, DetectedFace, SubjectId

_MARK: Final = b"\0rekadapter-s3-key\0"
_SIDE: Final = 0.8
_STEP: Final = 0.001


@dataclass(frozen=True, slots=True)
class DeclaredFace:
    """A face on a declared picture.

    ``similarity`` (0 to 100) is the most that any comparison with this face gives; ``confidence``
    (0 to 100) says that it is a face. Without a ``box`` the faces of a picture stand side by side,
    the first one largest.
    """

    identity: str
    similarity: float = 100.0
    confidence: float = 99.9
    box: BoundingBox | None = None

    def __post_init__(self) -> None:
        if not self.identity:
            raise ConfigError("a declared face needs an identity")
        if not (0.0 <= self.similarity <= 100.0 and 0.0 <= self.confidence <= 100.0):
            raise ConfigError("similarity and confidence go from 0 to 100")


Faces = str | DeclaredFace | Iterable[str | DeclaredFace]
"""One identity or face, or several, or none (``()``: nobody is on the picture)."""


@dataclass(slots=True)
class Declarations:
    """What was declared, by each way of naming a picture."""

    by_digest: dict[str, tuple[DeclaredFace, ...]] = field(default_factory=dict)
    by_key: dict[str, tuple[DeclaredFace, ...]] = field(default_factory=dict)
    by_subject: dict[SubjectId, tuple[DeclaredFace, ...]] = field(default_factory=dict)

    def clear(self) -> None:
        self.by_digest.clear()
        self.by_key.clear()
        self.by_subject.clear()

    def knows_key(self, key: str) -> bool:
        return key in self.by_key or _base_name(key) in self.by_key

    def of(self, image: Image, subject: SubjectId | None) -> tuple[DeclaredFace, ...] | None:
        """The picture itself counts before its file name, that before its ExternalImageId."""
        data, _, key = (image.encoded or b"").partition(_MARK)
        name = key.decode(errors="replace")
        found = self.by_digest.get(hashlib.sha256(data).hexdigest()) if data else None
        if found is None and name:
            found = self.by_key.get(name, self.by_key.get(_base_name(name)))
        return found if found is not None or subject is None else self.by_subject.get(subject)


class DeclaredFinder:
    """A face finder that asks layers of declarations, the last one first, and then the pictures."""

    def __init__(self, layers: Sequence[Declarations], fallback: FaceFinder | None = None) -> None:
        self._layers = tuple(reversed(layers))
        self._fallback = fallback or PictureFinder()

    def find(self, image: Image, subject: SubjectId | None) -> Sequence[SeenFace]:
        for layer in self._layers:
            declared = layer.of(image, subject)
            if declared is not None:
                return _seen(declared)
        return self._fallback.find(image, subject)


class Objects:
    """Objects put for a mock that has no S3 beside it. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[tuple[str, str], bytes] = {}

    def put(self, bucket: str, key: str, data: bytes) -> None:
        with self._lock:
            self._held[bucket, key] = data

    def clear(self) -> None:
        with self._lock:
            self._held.clear()

    def read(self, location: S3Location, *, max_bytes: int) -> bytes:
        del max_bytes  # it is in memory already: the caller refuses what is too large
        with self._lock:
            data = self._held.get((location.bucket, location.key))
        if data is None or location.version is not None:
            raise S3ObjectError(f"no s3://{location.bucket}/{location.key} was put into the mock")
        return data


class KeyMarkingReader:
    """Reads objects for the service; what was declared by its key carries the key behind the image.

    JPEG and PNG end where their last marker says, so that the pixels stay the same, and two keys
    with the same bytes stay two pictures.
    """

    def __init__(self, inner: S3Reader, layers: Sequence[Declarations]) -> None:
        self._inner = inner
        self._layers = tuple(layers)

    def read(self, location: S3Location, *, max_bytes: int) -> bytes:
        data = self._inner.read(location, max_bytes=max_bytes)
        if any(layer.knows_key(location.key) for layer in self._layers):
            return data + _MARK + location.key.encode()
        return data


def declare(
    into: Declarations,
    faces: Faces,
    *,
    image: bytes | Path | None = None,
    s3_key: str | None = None,
    external_image_id: str | None = None,
) -> None:
    """Writes down one declaration; see ``RekognitionMock.declare``."""
    shown = _faces(faces)
    given = [name for name in (image, s3_key, external_image_id) if name is not None]
    if len(given) != 1:
        raise ConfigError(
            "a picture is declared by one of image, s3_key and external_image_id, "
            f"not by {len(given)} of them"
        )
    if image is not None:
        data = image.read_bytes() if isinstance(image, Path) else image
        into.by_digest[hashlib.sha256(data).hexdigest()] = shown
    elif s3_key is not None:
        into.by_key[s3_key] = shown
    elif external_image_id is not None:
        into.by_subject[from_external_image_id(external_image_id)] = shown


@dataclass(frozen=True, slots=True)
class _Identity:
    """The template of a declared face."""

    name: str
    certainty: float

    def similarity(self, other: Template) -> float:
        if not isinstance(other, _Identity) or other.name != self.name:
            return SIMILARITY.low
        return min(self.certainty, other.certainty)


def _faces(faces: Faces) -> tuple[DeclaredFace, ...]:
    several = (faces,) if isinstance(faces, str | DeclaredFace) else tuple(faces)
    shown = tuple(DeclaredFace(face) if isinstance(face, str) else face for face in several)
    count = len(shown)
    return tuple(_placed(face, place, count) for place, face in enumerate(shown))


def _placed(face: DeclaredFace, place: int, count: int) -> DeclaredFace:
    if face.box is not None:
        return face
    width = _SIDE / count * (1 - _STEP * place)
    box = BoundingBox((place + 0.1) / count, 0.1, width, _SIDE)
    return DeclaredFace(face.identity, face.similarity, face.confidence, box)


def _seen(declared: Iterable[DeclaredFace]) -> Sequence[SeenFace]:
    seen = [
        SeenFace(DetectedFace(face.box, face.confidence), _Identity(face.identity, face.similarity))
        for face in declared
        if face.box is not None
    ]
    return sorted(seen, key=lambda found: -found.face.box.area)


def _base_name(key: str) -> str:
    return key.rpartition("/")[2]
