"""Holds a directory against its audit log, and names the first record that does not fit.

What this proves: the log is one unbroken chain, and the files are what it says they were. What it
does not: that nobody wrote all of it anew, or took records off its end. Against that helps only a
head that was noted elsewhere when the work ended: give it as ``noted``.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Final

from rekadapter.errors import BrokenChainError
from rekadapter.sinks.audit import (
    AUDIT_FILE,
    Began,
    Ended,
    FileState,
    Given,
    Head,
    LineRef,
    Record,
    Reported,
    Said,
    Search,
    parse_record,
    state_of,
)
from rekadapter.sinks.chain import ORIGIN, read_chain, sha256_of
from rekadapter.sinks.run_audit import RECORD_FILE

_GROWING: Final = frozenset({"answers.jsonl", "requests.jsonl", "sessions.jsonl"})
"""of an evaluation, which goes on in several sittings; the files of a run end with it"""


@dataclass(frozen=True, slots=True)
class Misfit:
    """Something that does not fit; ``record`` is the number of the record, None where one is
    missing. ``report``: it is only about a page or figures made from what the log protects."""

    record: int | None
    why: str
    report: bool = False


@dataclass(frozen=True, slots=True)
class AuditFindings:
    """``misfits`` come in the order of the log, the first one first; none: everything fits."""

    head: Head
    misfits: tuple[Misfit, ...]

    @property
    def intact(self) -> bool:
        return not self.misfits

    def sources_in_words(self, most: int = 5) -> tuple[str, ...]:
        """What does not fit of that which reports are made from, the first few of it."""
        found = [one.why for one in self.misfits if not one.report]
        more = len(found) - most
        return (*found[:most], *([f"and {more:,} more things do not fit"] if more > 0 else []))


def check_log(directory: Path, *, noted: str | None = None) -> AuditFindings:
    """Checks the chain, then every line and file that its records name.

    ``noted`` is a head that was written down elsewhere: the log has to hold that record still.

    Raises:
        OutputError: a file cannot be read.
    """
    log = _Log.read(directory)
    if log is None:
        return AuditFindings(Head(0, ORIGIN), (Misfit(None, f"there is no {AUDIT_FILE}"),))
    misfits = [*_lines(directory, log)]
    if log.broken is not None:
        misfits.append(log.broken)  # what the files became after it is not known
    elif not log.records:
        misfits.append(Misfit(None, f"{AUDIT_FILE} holds no record"))
    elif _cut_short(directory, log):
        misfits.append(Misfit(None, "the run ended, and the log does not say so: its end is gone"))
    else:
        misfits += [*_sources(directory, log), *_pages(directory, log)]
    misfits.sort(key=lambda one: one.record if one.record is not None else log.head.records)
    if noted is not None and noted not in log.hashes:
        misfits.append(Misfit(None, "no record has the noted hash: the log was written anew"))
    return AuditFindings(log.head, tuple(misfits))


def last_report(directory: Path) -> Reported | None:
    """The last record of a report in a directory's log, as far as its chain holds.

    Raises:
        OutputError: the log cannot be read.
    """
    log = _Log.read(directory)
    reports = [one for _, one in log.records if isinstance(one, Reported)] if log else []
    return reports[-1] if reports else None


@dataclass(slots=True)
class _Log:
    """A log as far as its chain holds."""

    records: list[tuple[int, Record]] = field(default_factory=list)
    hashes: set[str] = field(default_factory=set)
    head: Head = field(default_factory=lambda: Head(0, ORIGIN))
    broken: Misfit | None = None

    @classmethod
    def read(cls, directory: Path) -> _Log | None:
        path = directory / AUDIT_FILE
        if not path.is_file():
            return None
        log = cls()
        try:
            for read in read_chain(path):
                record = parse_record(read.link.n, read.link.kind, read.link.record)
                log.records.append((read.link.n, record))
                log.hashes.add(read.sha256)
                log.head = Head(read.link.n + 1, read.sha256)
        except BrokenChainError as error:
            log.broken = Misfit(error.record, str(error))
        return log

    @property
    def is_run(self) -> bool:
        return any(isinstance(one, Began) and one.what == "run" for _, one in self.records)


# --- lines ------------------------------------------------------------------------------------


def _lines(directory: Path, log: _Log) -> Iterator[Misfit]:
    """Each line that a record names is there as it was written, and there is no other."""
    named: dict[str, dict[int, tuple[int, LineRef]]] = defaultdict(dict)
    for n, record in log.records:
        if isinstance(record, Search | Said):
            named[record.written.file][record.written.line] = (n, record.written)
    for name, refs in named.items():
        found = _hashed_lines(directory / name) if _inside(name) else []
        for line, (n, ref) in refs.items():
            if line > len(found):
                yield Misfit(n, f"{name} ends before its line {line}")
                break  # and so before all that come after it
            if found[line - 1] != ref.sha256:
                yield Misfit(n, f"line {line} of {name} is not what was written")
        yield from _unnamed(name, len(found), set(refs), log)


def _unnamed(name: str, count: int, refs: set[int], log: _Log) -> Iterator[Misfit]:
    """A writer that was killed between a line and its record leaves one line without: the last of
    its sitting."""
    if log.broken is not None:
        return
    last = {count} | {
        record.files[name].lines
        for _, record in log.records
        if isinstance(record, Began) and name in record.files
    }
    extra = [line for line in range(1, count + 1) if line not in refs and line not in last]
    if extra:
        yield Misfit(None, f"{len(extra)} lines of {name} have no record, line {extra[0]} first")


def _hashed_lines(file: Path) -> list[str]:
    """Digests of the whole lines, read one by one: a file of answers may be large."""
    try:
        with file.open("rb") as lines:
            return [sha256_of(line[:-1]) for line in lines if line.endswith(b"\n")]
    except FileNotFoundError:
        return []


# --- files ------------------------------------------------------------------------------------


def _sources(directory: Path, log: _Log) -> Iterator[Misfit]:
    """Each file is what the last record that names it says it was; one that grows still begins
    with what every record says, and stopped growing with the last sitting."""
    growing = frozenset[str]() if log.is_run else _GROWING
    began = max((n for n, record in log.records if isinstance(record, Began)), default=-1)
    last: dict[str, tuple[int, FileState]] = {}
    for n, record in log.records:
        for name, state in _sources_named(record).items():
            if name in growing:
                over = isinstance(record, Ended) and n > began
                yield from _compared(n, directory, name, state, growing=not over)
            elif isinstance(record, Reported) and last.get(name, (n, state))[1] != state:
                yield Misfit(n, f"a report was made from another {name}")
            elif name not in last or not isinstance(record, Reported):
                last[name] = (n, state)
    for name, (n, state) in last.items():
        yield from _compared(n, directory, name, state)


def _pages(directory: Path, log: _Log) -> Iterator[Misfit]:
    """What the last report wrote is there as it was written."""
    reports = [(n, record) for n, record in log.records if isinstance(record, Reported)]
    for n, record in reports[-1:]:
        for name, state in record.written.items():
            for misfit in _compared(n, directory, name, state):
                yield replace(misfit, report=True)


def _sources_named(record: Record) -> Mapping[str, FileState]:
    match record:
        case Began() | Given() | Ended():
            return record.files
        case Reported():
            return record.made_from
        case _:
            return {}


def _compared(
    n: int, directory: Path, name: str, state: FileState, *, growing: bool = False
) -> Iterator[Misfit]:
    file = directory / name
    if not _inside(name) or not file.is_file():
        yield Misfit(n, f"{name} is missing")
    elif state_of(file, state.size if growing else None) != state:
        yield Misfit(n, f"{name} is not as it was")


def _inside(name: str) -> bool:
    """A log may come from anybody: a name in it that leads out of the directory is none of ours."""
    parts = PurePosixPath(name).parts
    return bool(parts) and ".." not in parts and not PurePosixPath(name).is_absolute()


def _cut_short(directory: Path, log: _Log) -> bool:
    """A run that ended has a record that says so."""
    try:
        state = json.loads((directory / RECORD_FILE).read_bytes()).get("state")
    except (OSError, ValueError, AttributeError):
        return False
    return state != "running" and not any(isinstance(one, Ended) for _, one in log.records)
