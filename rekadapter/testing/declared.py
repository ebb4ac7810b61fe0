"""Who is on a picture because a test says so: identities without a model.

A declared picture or video shows exactly the faces it was declared to show. Two declared faces of
one identity are as similar as the less certain of the two was declared, faces of two identities not
at all (similarity 0). A picture nobody declared is left to the memory backend's picture matching.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from rekadapter.backends.memory import SIMILARITY, FaceFinder, PictureFinder, SeenFace, Template
from rekadapter.errors import ConfigError
from rekadapter.feeds import Frame
from rekadapter.imaging import Image
from rekadapter.names import from_external_image_id
from rekadapter.rekognition_api.context import S3Location, S3ObjectError
from rekadapter.rekognition_api.jobs.store import Result
from rekadapter.rekognition_api.jobs.video import Analysis
from rekadapter.rekognition_api.objects import ObjectStore, in_chunks
from rekadapter.types import AgeRange, BoundingBox, DetectedFace, PerceivedGender, SubjectId

_MARK: Final = b"\0rekadapter-s3-key\0"
_SIDE: Final = 0.8
_STEP: Final = 0.001


@dataclass(frozen=True, slots=True)
class DeclaredFace:
    """A face on a declared picture.

    ``similarity`` (0 to 100) is the most that any comparison with this face gives; ``confidence``
    (0 to 100) says that it is a face. Without a ``box`` the faces of a picture stand side by side,
    the first one largest. ``age`` and ``gender`` come back where they are asked for; a face that
    was declared without them has none.
    """

    identity: str
    similarity: float = 100.0
    confidence: float = 99.9
    box: BoundingBox | None = None
    age: AgeRange | None = None
    gender: PerceivedGender | None = None

    def __post_init__(self) -> None:
        if not self.identity:
            raise ConfigError("a declared face needs an identity")
        if not (0.0 <= self.similarity <= 100.0 and 0.0 <= self.confidence <= 100.0):
            raise ConfigError("similarity and confidence go from 0 to 100")


Faces = str | DeclaredFace | Iterable[str | DeclaredFace]
"""One identity or face, or several, or none (``()``: nobody is on the picture)."""


@dataclass(slots=True)
class Shown:
    """Who is seen from which second on; a picture has its first moment only."""

    since: dict[float, tuple[DeclaredFace, ...]] = field(default_factory=dict)

    def at(self, seconds: float) -> tuple[DeclaredFace, ...]:
        begun = [moment for moment in self.since if moment <= seconds]
        return self.since[max(begun)] if begun else ()


@dataclass(slots=True)
class Declarations:
    """What was declared, by each way of naming a picture or a video."""

    by_digest: dict[str, Shown] = field(default_factory=dict)
    by_key: dict[str, Shown] = field(default_factory=dict)
    by_subject: dict[SubjectId, Shown] = field(default_factory=dict)

    def clear(self) -> None:
        self.by_digest.clear()
        self.by_key.clear()
        self.by_subject.clear()

    def knows_key(self, key: str) -> bool:
        return self.of_key(key) is not None

    def of_key(self, key: str) -> Shown | None:
        return self.by_key.get(key, self.by_key.get(_base_name(key)))

    def of(self, image: Image, subject: SubjectId | None) -> tuple[DeclaredFace, ...] | None:
        """The picture itself counts before its file name, that before its ExternalImageId."""
        data, _, key = (image.encoded or b"").partition(_MARK)
        name = key.decode(errors="replace")
        found = self.by_digest.get(hashlib.sha256(data).hexdigest()) if data else None
        if found is None and name:
            found = self.of_key(name)
        if found is None and subject is not None:
            found = self.by_subject.get(subject)
        return None if found is None else found.at(0.0)


class DeclaredFinder:
    """A face finder that asks layers of declarations, the last one first, and then the pictures."""

    def __init__(self, layers: Sequence[Declarations], fallback: FaceFinder | None = None) -> None:
        self._layers = tuple(reversed(layers))
        self._fallback = fallback or PictureFinder()

    def find(self, image: Image, subject: SubjectId | None) -> Sequence[SeenFace]:
        if isinstance(image, _DeclaredFrame):
            return _seen(image.shown)
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
        """See ``S3Reader``."""
        del max_bytes  # it is in memory already: the caller refuses what is too large
        return self._found(location)

    def size(self, location: S3Location) -> int:
        """See ``ObjectStore``."""
        return len(self._found(location))

    def chunks(self, location: S3Location) -> Iterator[bytes]:
        """See ``ObjectStore``."""
        return in_chunks(self._found(location))

    def _found(self, location: S3Location) -> bytes:
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

    def __init__(self, inner: ObjectStore, layers: Sequence[Declarations]) -> None:
        self._inner = inner
        self._layers = tuple(layers)

    def read(self, location: S3Location, *, max_bytes: int) -> bytes:
        data = self._inner.read(location, max_bytes=max_bytes)
        if any(layer.knows_key(location.key) for layer in self._layers):
            return data + _MARK + location.key.encode()
        return data

    def size(self, location: S3Location) -> int:
        """See ``ObjectStore``."""
        return self._inner.size(location)

    def chunks(self, location: S3Location) -> Iterator[bytes]:
        """See ``ObjectStore``; videos carry no mark."""
        return self._inner.chunks(location)


class DeclaredVideo:
    """A video's analysis that is shown who was declared to be on each frame; see ``Analysis``."""

    def __init__(self, inner: Analysis, shown: Shown) -> None:
        self._inner = inner
        self._shown = shown

    @property
    def collection(self) -> str:
        return self._inner.collection

    def faces_of(self, frame: Frame) -> Sequence[Result]:
        image = _DeclaredFrame.from_pixels(frame.image.pixels)
        image.shown = self._shown.at(frame.seconds)
        return self._inner.faces_of(replace(frame, image=image))


class _DeclaredFrame(Image):
    """A frame that shows whom it was declared to show, whatever its pixels are."""

    __slots__ = ("shown",)

    shown: tuple[DeclaredFace, ...]


def shown_on_video(
    layers: Sequence[Declarations], objects: ObjectStore, video: S3Location
) -> Shown | None:
    """What was declared of a video, in the last layer that has it; by its bytes before its key."""
    digest = hashlib.sha256()
    if any(layer.by_digest for layer in layers):
        for chunk in objects.chunks(video):
            digest.update(chunk)
    for layer in reversed(layers):
        found = layer.by_digest.get(digest.hexdigest()) or layer.of_key(video.key)
        if found is not None:
            return found
    return None


@dataclass(frozen=True, slots=True)
class Named:
    """How a picture or video is named in a declaration: in one of these ways.

    Raises:
        ConfigError: not in exactly one.
    """

    image: bytes | Path | None = None
    s3_key: str | None = None
    external_image_id: str | None = None

    def __post_init__(self) -> None:
        given = (self.image, self.s3_key, self.external_image_id)
        count = sum(way is not None for way in given)
        if count != 1:
            raise ConfigError(
                "a picture is declared by one of image, s3_key and external_image_id, "
                f"not by {count} of them"
            )


def declare(into: Declarations, faces: Faces, named: Named, from_seconds: float) -> None:
    """Writes down one declaration; see ``RekognitionMock.declare``."""
    if not from_seconds >= 0.0 or (from_seconds and named.external_image_id is not None):
        raise ConfigError("from_seconds is a moment of a video, 0 or more seconds from its start")
    shown = _declared(into, named)
    if from_seconds == 0.0:
        shown.since.clear()
    shown.since[from_seconds] = _faces(faces)


def _declared(into: Declarations, named: Named) -> Shown:
    """What stands in a declaration already, or a new entry."""
    if named.image is not None:
        data = named.image.read_bytes() if isinstance(named.image, Path) else named.image
        return into.by_digest.setdefault(hashlib.sha256(data).hexdigest(), Shown())
    if named.s3_key is not None:
        return into.by_key.setdefault(named.s3_key, Shown())
    subject = from_external_image_id(named.external_image_id or "")
    return into.by_subject.setdefault(subject, Shown())


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
    return replace(face, box=box)


def _seen(declared: Iterable[DeclaredFace]) -> Sequence[SeenFace]:
    seen = [
        SeenFace(
            DetectedFace(
                face.box,
                face.confidence,
                estimated_age=face.age,
                perceived_gender=face.gender,
            ),
            _Identity(face.identity, face.similarity),
        )
        for face in declared
        if face.box is not None
    ]
    return sorted(seen, key=lambda found: -found.face.box.area)


def _base_name(key: str) -> str:
    return key.rpartition("/")[2]
