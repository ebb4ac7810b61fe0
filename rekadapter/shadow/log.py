"""A shadow's log: a JSON record a line; images stand in it by their SHA-256 only.

The records name subjects: the file is made readable by its owner only.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from rekadapter.closing import Closing
from rekadapter.errors import OutputError
from rekadapter.shadow.agreement import Agreement, Answered, FacePair


@dataclass(frozen=True, slots=True)
class ShadowStart:
    """The first record of a run: who is compared with whom.

    ``shadow_threshold`` is on the shadow's scale; None: the caller's, where the scale is the same,
    else the shadow's shipped default.
    """

    at: datetime
    primary: str
    primary_model: str
    primary_scale: str
    shadow: str
    shadow_model: str
    shadow_scale: str
    shadow_threshold: float | None
    mirrors_writes: bool
    record: str = "start"


@dataclass(frozen=True, slots=True)
class ShadowPair:
    """One call as both sides answered it. ``images`` are SHA-256 digests."""

    at: datetime
    operation: str
    gallery: str | None
    images: tuple[str, ...]
    agreement: Agreement
    primary: Answered
    shadow: Answered
    faces: tuple[FacePair, ...]
    record: str = "pair"


@dataclass(frozen=True, slots=True)
class ShadowWrite:
    """A change of a gallery repeated on the shadow; ``error``: it is not there, and why.

    ``untranslated`` faces should have been removed and could not be: which face of the shadow they
    are is not known.
    """

    at: datetime
    operation: str
    gallery: str
    error: str | None = None
    untranslated: int = 0
    record: str = "write"


@dataclass(frozen=True, slots=True)
class ShadowCounts:
    """What became of every call: ``offered == sum(compared) + sum(dropped) + written +
    write_failures + waiting``; nothing waits once the shadow is closed."""

    offered: int
    compared: Mapping[str, int]
    dropped: Mapping[str, int]
    written: int
    write_failures: int
    waiting: int
    bytes_sent: int
    usd_billed: float
    requests_of_unknown_price: int


@dataclass(frozen=True, slots=True)
class ShadowEnd:
    """The last record of a run that was closed."""

    at: datetime
    counts: ShadowCounts
    record: str = "end"


ShadowRecord = ShadowStart | ShadowPair | ShadowWrite | ShadowEnd

_ADAPTERS: Final[Mapping[type, TypeAdapter[ShadowRecord]]] = {
    kind: TypeAdapter(kind) for kind in (ShadowStart, ShadowPair, ShadowWrite, ShadowEnd)
}


class ShadowLog(Closing):
    """Appends records to a file. Safe to use from any thread.

    Raises (on opening and from ``write``):
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._file = os.fdopen(os.open(path, flags, 0o600), "ab", buffering=0)
        except OSError as error:
            raise self._cannot_write(error.strerror) from error

    def write(self, record: ShadowRecord) -> None:
        """Appends one record, in one write."""
        line = _ADAPTERS[type(record)].dump_json(record) + b"\n"
        with self._lock:
            try:
                written = self._file.write(line)
            except (OSError, ValueError) as error:  # ValueError: it was closed
                raise self._cannot_write(str(error)) from error
        if written != len(line):
            raise self._cannot_write("it took only part of a line: is the disk full?")

    def close(self) -> None:
        """May be called twice."""
        with self._lock:
            self._file.close()

    def _cannot_write(self, why: str | None) -> OutputError:
        return OutputError(f"the shadow's log {self._path} cannot be written: {why}")
