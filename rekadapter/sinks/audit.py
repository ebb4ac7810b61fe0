"""What the audit log of a directory records: what was asked, under which rules, what was said, and
who looked at it. No pictures, no templates.

Every record names what it speaks of by hash: a line of another file, a whole file, an input. The
chain (``chain.py``) holds the records together, and ``audit_check.py`` holds files against them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic import TypeAdapter

from rekadapter.errors import BrokenChainError, OutputError
from rekadapter.sinks.chain import ChainedLog, Verified, sha256_of

AUDIT_FILE: Final = "audit.jsonl"
FEW: Final = 5
"""Candidates that a record repeats."""
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class FileState:
    """A file at a moment: its bytes, its lines, and their SHA-256."""

    size: int
    lines: int
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> FileState:
        """The state of a file that holds this."""
        return cls(len(data), data.count(b"\n"), sha256_of(data))


@dataclass(frozen=True, slots=True)
class SystemInForce:
    """A backend as it was used: ``threshold`` on its own ``scale``, where that number comes from,
    and what of its use was not measured."""

    name: str
    model: str
    threshold: float
    scale: str
    details: Mapping[str, str]
    threshold_origin: str = ""
    threshold_warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Began:
    """Work began: its settings and inputs by hash, the thresholds in force, and the directory's
    files as they were found. ``what`` is a run or an evaluation, ``about`` the id of the run or of
    the sitting."""

    what: Literal["run", "evaluation"]
    about: str
    tool_version: str
    systems: tuple[SystemInForce, ...]
    settings: Mapping[str, str | int | float | bool | None]
    inputs: Mapping[str, str]
    files: Mapping[str, FileState]


@dataclass(frozen=True, slots=True)
class Given:
    """Files that a user gave for the report: at the beginning, or afterwards, which then shows."""

    files: Mapping[str, FileState]


@dataclass(frozen=True, slots=True)
class LineRef:
    """A line of a file beside the log, counted from 1, and its SHA-256 without the line's end."""

    file: str
    line: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A candidate of a search: the face or pseudonym, whose it is, and the score as it came."""

    face: str
    subject: str | None
    score: float


@dataclass(frozen=True, slots=True)
class Search:
    """One question to a system and what came back. ``probe`` names the frame, or the photograph by
    hash; ``subject`` is who was named (or, of an enrollment, enrolled), ``reason`` why nobody was.
    Of the candidates the first ``FEW`` stand here, all of them in the line."""

    written: LineRef
    system: str
    asked: str
    probe: str
    track: int | None
    subject: str | None
    reason: str | None
    threshold: float | None
    candidates: tuple[Seen, ...]


@dataclass(frozen=True, slots=True)
class Said:
    """A decision over a whole track: a name or the reason for none, and what it rests on.
    ``picture`` is the SHA-256 of the face kept for the report, where one was."""

    written: LineRef
    system: str
    camera: str
    track: int
    seconds: tuple[float, float]
    subject: str | None
    reason: str | None
    threshold: float | None
    best: Seen | None
    supporting: int
    searched: int
    picture: str | None


class Verdict(StrEnum):
    """What a person makes of a system's answer about a track."""

    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What a person decided about a track that the system had decided on. ``seconds``: how long
    that took, from showing to answer; None where nobody measured it (and in older logs)."""

    system: str
    camera: str
    track: int
    verdict: str
    by: str
    note: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """Work ended; from here on the files may not change. ``error`` says what went wrong."""

    about: str
    state: str
    error: str | None
    files: Mapping[str, FileState]


@dataclass(frozen=True, slots=True)
class Reported:
    """A report was written: from which files, and which."""

    tool_version: str
    made_from: Mapping[str, FileState]
    written: Mapping[str, FileState]


T = TypeVar("T")
Record = Began | Given | Search | Said | Reviewed | Ended | Reported

KINDS: Final[Mapping[str, type[Any]]] = {
    kind.__name__.lower(): kind for kind in (Began, Given, Search, Said, Reviewed, Ended, Reported)
}
_ADAPTERS: Final[Mapping[type[Any], TypeAdapter[Any]]] = {
    kind: TypeAdapter(kind) for kind in KINDS.values()
}


@dataclass(frozen=True, slots=True)
class Head:
    """How many records a log holds, and the hash of the last: what to note elsewhere."""

    records: int
    sha256: str


class AuditLog:
    """The audit log of a directory, opened to be added to. One thread at a time, and nobody else
    until it is closed. ``after``: what of it was read before.

    Raises:
        BrokenChainError: what is there is damaged.
        OutputError: it cannot be read or written, or another process adds to it.
    """

    def __init__(self, directory: Path, *, after: Verified | None = None) -> None:
        self._chain = ChainedLog(directory / AUDIT_FILE, after=after)

    @property
    def head(self) -> Head:
        return Head(self._chain.records, self._chain.head)

    @property
    def verified(self) -> Verified:
        """All of it: what another opening need not read again."""
        return self._chain.verified

    def found(self, kind: type[T]) -> tuple[int, T] | None:
        """The last record of a kind that was there when the log was opened, and its number."""
        last = self._chain.found.get(kind.__name__.lower())
        if last is None:
            return None
        record = parse_record(last.n, last.kind, last.record)
        return (last.n, record) if isinstance(record, kind) else None

    def add(self, record: Record) -> None:
        """Adds a record.

        Raises:
            OutputError: it cannot be written.
        """
        kind = type(record)
        self._chain.append(kind.__name__.lower(), _ADAPTERS[kind].dump_json(record))

    def close(self) -> None:
        """Forces the log to disk and closes it."""
        self._chain.close()


def parse_record(n: int, kind: str, record: Mapping[str, Any]) -> Record:
    """A record from its parsed JSON.

    Raises:
        BrokenChainError: it has no such form.
    """
    known = KINDS.get(kind)
    if known is None:
        raise BrokenChainError(n, f"rekadapter knows no record '{kind}': was a newer one used?")
    try:
        parsed: Record = _ADAPTERS[known].validate_python(record)
    except ValueError as error:
        raise BrokenChainError(n, f"it is no '{kind}'") from error
    return parsed


@dataclass(slots=True)
class Tally:
    """The state of a file that is only added to, kept while it is written."""

    size: int = 0
    lines: int = 0
    _digest: Any = field(default_factory=hashlib.sha256)

    def add(self, data: bytes) -> None:
        self.size += len(data)
        self.lines += data.count(b"\n")
        self._digest.update(data)

    @property
    def state(self) -> FileState:
        return FileState(self.size, self.lines, self._digest.hexdigest())


def states_of(directory: Path, names: Sequence[str]) -> dict[str, FileState]:
    """The states of those of the named files that are there.

    Raises:
        OutputError: one cannot be read.
    """
    return {name: state_of(directory / name) for name in names if (directory / name).is_file()}


def state_of(file: Path, size: int | None = None) -> FileState:
    """The state of a file, or of its first ``size`` bytes.

    Raises:
        OutputError: it cannot be read.
    """
    tally = Tally()
    left = size
    try:
        with file.open("rb") as opened:
            while part := opened.read(_CHUNK if left is None else min(_CHUNK, left)):
                tally.add(part)
                left = None if left is None else left - len(part)
    except OSError as error:
        raise OutputError(f"{file} cannot be read: {error.strerror}") from error
    return tally.state
