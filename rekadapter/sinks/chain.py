"""An append-only log whose every line carries the hash of the line before.

A line is JSON; its hash is SHA-256 over its bytes without the line's end, so that anybody can check
the chain with a few lines of any language. Whoever changes, adds or takes out a line has to write
every later one anew, and the hash of the last line, the *head*, becomes another. The chain alone
proves nothing against somebody who does all of that: a head that was noted elsewhere does.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from rekadapter.errors import BrokenChainError, OutputError

ORIGIN: Final = "0" * 64
"""What the first record carries in place of the hash of one before it."""

_WAIT_SECONDS: Final = 5.0
"""for another writer: a report or a decision takes moments, and a run is not worth waiting for"""

_TRY_AGAIN_SECONDS: Final = 0.05

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Link:
    """The form of a line: its number from 0, when it was written, the hash of the line before, and
    a record of some kind."""

    n: int
    at: datetime
    previous: str
    kind: str
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReadLink:
    """A link as read back, with the hash of its line."""

    link: Link
    sha256: str


@dataclass(frozen=True, slots=True)
class Verified:
    """The beginning of a log that somebody has read and found whole: its bytes, how many records
    they hold, and the hash of the last."""

    size: int = 0
    records: int = 0
    head: str = ORIGIN


_LINK: Final = TypeAdapter(Link)


def sha256_of(data: bytes) -> str:
    """SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def read_chain(path: Path, after: Verified | None = None) -> Iterator[ReadLink]:
    """Every record of a log (those behind ``after``), in order; a last line that was cut off is
    left out.

    Raises:
        OutputError: the file cannot be read.
        BrokenChainError: the first record that does not fit; those before it were given.
    """
    known = after or Verified()
    previous = known.head
    for n, line in enumerate(_whole_lines(path, known.size), known.records):
        link = _parsed(line, n)
        if link.n != n:
            raise BrokenChainError(n, f"it is numbered {link.n}")
        if link.previous != previous:
            before = f"of record {n - 1}" if n else "of a beginning"
            raise BrokenChainError(n, f"it does not carry the hash {before}")
        previous = sha256_of(line)
        yield ReadLink(link, previous)


def _parsed(line: bytes, n: int) -> Link:
    try:
        return _LINK.validate_json(line)
    except ValidationError as error:
        raise BrokenChainError(n, "it is not a record") from error


def _whole_lines(path: Path, start: int) -> list[bytes]:
    try:
        with path.open("rb") as file:
            file.seek(start)
            data = file.read()
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}") from error
    # not splitlines(): a line of ours ends with a line feed and with nothing else
    return data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]


class ChainedLog:
    """A log opened to be added to; what a killed writer left half written is taken off first.

    One thread at a time, and one process: while it is open nobody else can open it, or two would
    hang their records on the same one. Nothing is forced to disk line by line: ``close`` does it
    once. ``found`` holds, of each kind, the last record that was there when it was opened; with
    ``after``, of those behind it.

    Raises:
        OutputError: the file cannot be read or written, is damaged, or another process adds to it.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock = lambda: datetime.now(UTC),
        *,
        after: Verified | None = None,
        wait_seconds: float = _WAIT_SECONDS,
    ) -> None:
        self._path = path
        self._clock = clock
        known = after or Verified()
        self.records, self.head = known.records, known.head
        self.found: dict[str, Link] = {}
        try:
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise self._cannot_write(error) from error
        try:
            self._lock(wait_seconds)
            for read in read_chain(path, known):
                self.records, self.head = read.link.n + 1, read.sha256
                self.found[read.link.kind] = read.link
            self._size = self._cut_half_line()
        except OSError as error:
            self._file.close()
            raise self._cannot_write(error) from error
        except OutputError:
            self._file.close()
            raise

    @property
    def verified(self) -> Verified:
        """All of it: what another opening need not read again."""
        return Verified(self._size, self.records, self.head)

    def append(self, kind: str, record: bytes) -> None:
        """Adds a record: a JSON object as bytes, without a line feed.

        Raises:
            OutputError: it cannot be written.
        """
        at = self._clock().isoformat().replace("+00:00", "Z")
        opening = {"n": self.records, "at": at, "previous": self.head, "kind": kind}
        line = json.dumps(opening, separators=(",", ":"))[:-1].encode() + b',"record":%b}' % record
        try:
            written = self._file.write(line + b"\n")
        except OSError as error:
            raise self._cannot_write(error) from error
        if written != len(line) + 1:
            raise OutputError(f"{self._path} took only part of a line: is the disk full?")
        self.records += 1
        self._size += written
        self.head = sha256_of(line)

    def close(self) -> None:
        """Forces the log to disk and closes it. May be called twice.

        Raises:
            OutputError: it did not get there.
        """
        if self._file.closed:
            return
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._cannot_write(error) from error
        finally:
            self._file.close()

    def _lock(self, wait_seconds: float) -> None:
        until = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() >= until:
                    raise OutputError(
                        f"{self._path} is being added to by another process: wait until that ended"
                    ) from error
                time.sleep(_TRY_AGAIN_SECONDS)
            else:
                return

    def _cut_half_line(self) -> int:
        """Bytes of the whole lines."""
        data = self._path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            self._file.truncate(whole)
        return whole

    def _cannot_write(self, error: OSError) -> OutputError:
        return OutputError(f"{self._path} cannot be written: {error.strerror}")
