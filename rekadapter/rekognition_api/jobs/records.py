"""Where a stream processor's records go: what Rekognition puts into a Kinesis data stream."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rekadapter.errors import ConfigError, OutputError


class RecordSink(Protocol):
    """Takes the records of one data stream. Called from one thread at a time."""

    def put(self, record: bytes) -> None:
        """One record: a JSON object in UTF-8, without a line break.

        Raises:
            OutputError: it cannot be kept; the processor fails.
        """
        ...


@dataclass(frozen=True, slots=True)
class CallbackSink:
    """Hands each record to a function of the caller's."""

    callback: Callable[[bytes], object]

    def put(self, record: bytes) -> None:
        """See ``RecordSink``."""
        self.callback(record)


class JsonLinesSink:
    """A file with a record a line, on disk as soon as it is put.

    A file that has reached ``max_bytes`` is renamed to ``NAME.1`` in place of the one before it, so
    at most about twice as much is kept, and the newest always is.
    """

    def __init__(self, path: Path, *, max_bytes: int = 256 << 20) -> None:
        if max_bytes < 1:
            raise ConfigError("a file of records needs room for at least one byte")
        self._path = path
        self._max_bytes = max_bytes
        self._lock = threading.Lock()

    def put(self, record: bytes) -> None:
        """See ``RecordSink``."""
        try:
            with self._lock:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._make_room(len(record) + 1)
                self._path.touch(mode=0o600)
                with self._path.open("ab") as file:
                    file.write(record + b"\n")
        except OSError as error:
            raise OutputError(f"{self._path} cannot be written: {error.strerror}") from error

    def _make_room(self, added: int) -> None:
        try:
            held = self._path.stat().st_size
        except FileNotFoundError:
            return
        if held and held + added > self._max_bytes:
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
