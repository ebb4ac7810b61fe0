"""Probes that wait on disk for an uplink that is gone: bounded, whole or not there, newest first.

Each probe is one file, written beside its final name, synced, and renamed: after a crash it is
there with every byte or not at all. Its key says what it is a probe of, so that the same probe put
twice is one, and one that was acknowledged is gone for good. Between sending a probe and
acknowledging it a crash leaves it waiting: it may then be sent again, because nobody knows whether
it arrived.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import struct
import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from rekadapter.errors import OutputError
from rekadapter.types import BoundingBox, CameraId

logger = logging.getLogger(__name__)

_MAGIC: Final = b"rekspool1"
_LENGTH: Final = struct.Struct(">I")
_SUFFIX: Final = ".probe"
_UNFINISHED: Final = ".unfinished"
_KEY_HEX: Final = 32
_OLDEST_FIRST_DIGITS: Final = 20


@dataclass(frozen=True, slots=True)
class SpooledProbe:
    """An encoded picture to ask ``backend`` about, and where in which frame it was cut from.
    ``captured_at`` knows its time zone."""

    backend: str
    camera: CameraId
    frame: int
    seconds: float
    captured_at: datetime
    region: BoundingBox
    encoded: bytes

    def __post_init__(self) -> None:
        if self.captured_at.tzinfo is None:
            raise ValueError("captured_at needs a time zone")

    @property
    def key(self) -> str:
        """The same for the same picture of the same frame for the same backend."""
        return hashlib.sha256(self._header() + self.encoded).hexdigest()[:_KEY_HEX]

    def _header(self) -> bytes:
        region = self.region
        facts = {
            "backend": self.backend,
            "camera": self.camera,
            "frame": self.frame,
            "seconds": self.seconds,
            "captured_at": self.captured_at.isoformat(),
            "region": [region.left, region.top, region.width, region.height],
        }
        return json.dumps(facts, sort_keys=True).encode()

    def to_bytes(self) -> bytes:
        """The whole file: magic, digest of the rest, length of the header, header, picture."""
        header = self._header()
        rest = _LENGTH.pack(len(header)) + header + self.encoded
        return _MAGIC + hashlib.sha256(rest).digest() + rest

    @classmethod
    def from_bytes(cls, data: bytes) -> SpooledProbe:
        """Raises ValueError for anything that ``to_bytes`` did not write."""
        digest_at, rest_at = len(_MAGIC), len(_MAGIC) + hashlib.sha256().digest_size
        rest = data[rest_at:]
        whole = hashlib.sha256(rest).digest() == data[digest_at:rest_at]
        if not data.startswith(_MAGIC) or not whole:
            raise ValueError("damaged, or no spooled probe")
        (length,) = _LENGTH.unpack_from(rest)
        header, picture = rest[_LENGTH.size : _LENGTH.size + length], rest[_LENGTH.size + length :]
        facts = json.loads(header)
        return cls(
            backend=facts["backend"],
            camera=CameraId(facts["camera"]),
            frame=facts["frame"],
            seconds=facts["seconds"],
            captured_at=datetime.fromisoformat(facts["captured_at"]),
            region=BoundingBox(*facts["region"]),
            encoded=picture,
        )


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    size: int

    @property
    def key(self) -> str:
        return self.path.stem.rpartition("-")[2]


class Spool:
    """A folder of probes, at most ``limit_bytes`` of them: a full one gives up its oldest.

    Every probe put is in the end acknowledged, given up, or still there: ``put`` and ``newest``
    tell which. Safe to use from any thread; one process at a time.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """Opens or makes ``folder`` and finds what a former run has left.

        Raises:
            OutputError: it cannot be used.
        """
        self._folder = folder
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._out: set[str] = set()
        self._gone: set[str] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in folder.glob(f"*{_UNFINISHED}"):
                path.unlink()
            found = sorted(folder.glob(f"*{_SUFFIX}"))
            self._entries = {
                entry.key: entry for entry in (_Entry(path, path.stat().st_size) for path in found)
            }
        except OSError as error:
            raise self._unusable(error) from error

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    @property
    def held_bytes(self) -> int:
        with self._lock:
            return sum(entry.size for entry in self._entries.values())

    def put(self, probe: SpooledProbe) -> int:
        """Keeps a probe; returns how many were given up for it, itself included where it is larger
        than the spool. One that is there already, or was acknowledged, changes nothing.

        Raises:
            OutputError: it cannot be written; it is not there then.
        """
        data, key = probe.to_bytes(), probe.key
        with self._lock:
            if key in self._entries or key in self._gone:
                return 0
            if len(data) > self._limit:
                return 1
            try:
                given_up = self._make_room(len(data))
                self._entries[key] = self._written(probe, key, data)
            except OSError as error:
                raise self._unusable(error) from error
        return given_up

    def newest(self) -> SpooledProbe | None:
        """The newest probe that is not out already; None where there is none. It is out until it is
        acknowledged or given back. A damaged one is removed on the way.

        Raises:
            OutputError: the folder cannot be read.
        """
        with self._lock:
            while True:
                waiting = [key for key in self._entries if key not in self._out]
                if not waiting:
                    return None
                key = max(waiting, key=lambda one: self._entries[one].path.name)
                probe = self._read(key)
                if probe is not None:
                    self._out.add(key)
                    return probe

    def acknowledge(self, key: str) -> None:
        """The probe was answered: it is removed and never comes back.

        Raises:
            OutputError: it cannot be removed.
        """
        with self._lock:
            self._gone.add(key)
            self._remove(key)

    def give_back(self, key: str) -> None:
        """The probe was not answered: it waits again."""
        with self._lock:
            self._out.discard(key)

    def _make_room(self, size: int) -> int:
        given_up = 0
        waiting = sorted(
            (entry for entry in self._entries.values() if entry.key not in self._out),
            key=lambda entry: entry.path.name,
        )
        held = sum(entry.size for entry in self._entries.values())
        for entry in waiting:
            if held + size <= self._limit:
                break
            self._remove(entry.key)
            held -= entry.size
            given_up += 1
        return given_up

    def _written(self, probe: SpooledProbe, key: str, data: bytes) -> _Entry:
        moment = int(probe.captured_at.timestamp() * 1_000_000)
        path = self._folder / f"{moment:0{_OLDEST_FIRST_DIGITS}d}-{key}{_SUFFIX}"
        unfinished = path.with_suffix(_UNFINISHED)
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        self._sync()
        return _Entry(path, len(data))

    def _read(self, key: str) -> SpooledProbe | None:
        try:
            return SpooledProbe.from_bytes(self._entries[key].path.read_bytes())
        except OSError as error:
            raise self._unusable(error) from error
        except (ValueError, KeyError, TypeError, struct.error):
            logger.warning("a spooled probe was damaged and is removed: %s", key)
            self._remove(key)
            return None

    def _remove(self, key: str) -> None:
        self._out.discard(key)
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        try:
            entry.path.unlink(missing_ok=True)
            self._sync()
        except OSError as error:
            raise self._unusable(error) from error

    def _sync(self) -> None:
        """A name that is new or gone is so after a crash only once its folder is synced."""
        if not hasattr(os, "O_DIRECTORY"):
            return
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _unusable(self, error: OSError) -> OutputError:
        return OutputError(f"the spool {self._folder} cannot be used: {error.strerror or error}")
