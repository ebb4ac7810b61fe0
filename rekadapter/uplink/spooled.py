"""What of a frame waits on disk for an uplink, and the file it is kept in."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Final

from pydantic import TypeAdapter

from rekadapter.gate import Followed
from rekadapter.types import BoundingBox, CameraId, DetectedFace

SUFFIX: Final = ".frame"
_MAGIC: Final = b"rekspool1"
_DIGEST_BYTES: Final = 32
_LENGTH: Final = struct.Struct(">I")
_START_BYTES: Final = len(_MAGIC) + _DIGEST_BYTES + _LENGTH.size
_KEY_HEX: Final = 32
_OLDEST_FIRST_DIGITS: Final = 20


def key_of(file_name: str) -> str:
    """The key that a ``SpooledFrame.file_name`` ends with."""
    return file_name.removesuffix(SUFFIX).rpartition("-")[2]


@dataclass(frozen=True, slots=True)
class Ticket:
    """Which frame of a spool: its key, what it is of, the gate's numbers of those asked about, and
    how many pictures of it wait."""

    key: str
    camera: CameraId
    frame: int
    seconds: float
    tracks: tuple[int, ...] = ()
    pictures: int = 1


@dataclass(frozen=True, slots=True)
class SpooledPicture:
    """A probe of the frame, encoded; the rest as in ``gate.Probe``."""

    region: BoundingBox
    encoded: bytes
    face: DetectedFace | None = None
    track: int | None = None


@dataclass(frozen=True, slots=True)
class SpooledFrame:
    """What ``backend`` is still to be asked about a frame.

    ``captured_at`` is the frame's own time, ``came_at`` when it came to us: the two are years apart
    for an old file. Both know their time zone. ``followed`` as in ``uploader.Job``.
    """

    backend: str
    camera: CameraId
    frame: int
    seconds: float
    captured_at: datetime
    came_at: datetime
    pictures: tuple[SpooledPicture, ...]
    followed: tuple[Followed, ...] | None = None

    def __post_init__(self) -> None:
        if self.captured_at.tzinfo is None or self.came_at.tzinfo is None:
            raise ValueError("captured_at and came_at need a time zone")

    @property
    def ticket(self) -> Ticket:
        tracks = (one.track for one in self.pictures)
        return Ticket(
            self.key,
            self.camera,
            self.frame,
            self.seconds,
            tuple(track for track in tracks if track is not None),
            len(self.pictures),
        )

    @property
    def key(self) -> str:
        """The same for the same frame and backend, however much of it still waits."""
        facts = (self.backend, self.camera, self.frame, self.captured_at.isoformat())
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:_KEY_HEX]

    @property
    def file_name(self) -> str:
        """Names sort by when the frame came."""
        moment = int(self.came_at.timestamp() * 1_000_000)
        return f"{moment:0{_OLDEST_FIRST_DIGITS}d}-{self.key}{SUFFIX}"

    def to_bytes(self) -> bytes:
        """The whole file: magic, digest of the rest, length of the header, header, pictures."""
        header = _HEADER.dump_json(_Header.of(self))
        pictures = b"".join(one.encoded for one in self.pictures)
        rest = _LENGTH.pack(len(header)) + header + pictures
        return _MAGIC + hashlib.sha256(rest).digest() + rest

    @classmethod
    def ticket_of(cls, file: BinaryIO) -> Ticket:
        """What a file is of, from its beginning alone: the rest may be damaged all the same.

        Raises:
            ValueError: it does not begin like one of ``to_bytes``.
        """
        start = file.read(_START_BYTES)
        if not start.startswith(_MAGIC) or len(start) < _START_BYTES:
            raise ValueError("damaged, or no spooled frame")
        (length,) = _LENGTH.unpack(start[-_LENGTH.size :])
        return _HEADER.validate_json(file.read(length)).with_pictures(b"").ticket

    @classmethod
    def from_bytes(cls, data: bytes) -> SpooledFrame:
        """The frame of a file.

        Raises:
            ValueError: ``to_bytes`` did not write it, or it is damaged.
        """
        rest_at = len(_MAGIC) + _DIGEST_BYTES
        rest = data[rest_at:]
        whole = hashlib.sha256(rest).digest() == data[len(_MAGIC) : rest_at]
        if not data.startswith(_MAGIC) or not whole or len(rest) < _LENGTH.size:
            raise ValueError("damaged, or no spooled frame")
        (length,) = _LENGTH.unpack_from(rest)
        body = _LENGTH.size + length
        return _HEADER.validate_json(rest[_LENGTH.size : body]).with_pictures(rest[body:])


@dataclass(frozen=True, slots=True)
class _PictureHeader:
    region: BoundingBox
    face: DetectedFace | None
    track: int | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Header:
    backend: str
    camera: CameraId
    frame: int
    seconds: float
    captured_at: datetime
    came_at: datetime
    pictures: tuple[_PictureHeader, ...]
    followed: tuple[Followed, ...] | None

    @classmethod
    def of(cls, frame: SpooledFrame) -> _Header:
        return cls(
            frame.backend,
            frame.camera,
            frame.frame,
            frame.seconds,
            frame.captured_at,
            frame.came_at,
            tuple(
                _PictureHeader(one.region, one.face, one.track, len(one.encoded))
                for one in frame.pictures
            ),
            frame.followed,
        )

    def with_pictures(self, data: bytes) -> SpooledFrame:
        pictures, place = [], 0
        for one in self.pictures:
            encoded = data[place : place + one.size_bytes]
            pictures.append(SpooledPicture(one.region, encoded, one.face, one.track))
            place += one.size_bytes
        return SpooledFrame(
            self.backend,
            self.camera,
            self.frame,
            self.seconds,
            self.captured_at,
            self.came_at,
            tuple(pictures),
            self.followed,
        )


_HEADER: Final = TypeAdapter(_Header)
