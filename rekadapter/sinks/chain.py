"""An append-only log whose every line carries the hash of the line before.

A line is JSON; its hash is SHA-256 over its bytes without the line's end, so that anybody can check
the chain with a few lines of any language. Whoever changes, adds or takes out a line has to write
every later one anew, and the hash of the last line, the *head*, becomes another. The chain alone
proves nothing against somebody who does all of that: a head that was noted elsewhere does.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from rekadapter.errors import BrokenChainError, OutputError

ORIGIN: Final = "0" * 64
"""What the first record carries in place of the hash of one before it."""

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


_LINK: Final = TypeAdapter(Link)


def sha256_of(data: bytes) -> str:
    """SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def read_chain(path: Path) -> Iterator[ReadLink]:
    """Every record of a log, in order; a last line that was cut off is left out.

    Raises:
        OutputError: the file cannot be read.
        BrokenChainError: the first record that does not fit; those before it were given.
    """
    previous = ORIGIN
    for n, line in enumerate(_whole_lines(path)):
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


def _whole_lines(path: Path) -> list[bytes]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}") from error
    # not splitlines(): a line of ours ends with a line feed and with nothing else
    return data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]


class ChainedLog:
    """A log opened to be added to; what a killed writer left half written is taken off first.

    One thread at a time. Nothing is forced to disk line by line: ``close`` does it once. ``found``
    holds, of each kind, the last record that was there when it was opened.

    Raises:
        OutputError: the file cannot be read or written, or is damaged.
    """

    def __init__(self, path: Path, clock: Clock = lambda: datetime.now(UTC)) -> None:
        self._path = path
        self._clock = clock
        self.records, self.head = 0, ORIGIN
        self.found: dict[str, Link] = {}
        if path.exists():
            for read in read_chain(path):
                self.records, self.head = read.link.n + 1, read.sha256
                self.found[read.link.kind] = read.link
        try:
            self._file = path.open("ab", buffering=0)
            self._cut_half_line()
        except OSError as error:
            raise self._cannot_write(error) from error

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

    def _cut_half_line(self) -> None:
        data = self._path.read_bytes()
        self._file.truncate(data.rfind(b"\n") + 1)

    def _cannot_write(self, error: OSError) -> OutputError:
        return OutputError(f"{self._path} cannot be written: {error.strerror}")
