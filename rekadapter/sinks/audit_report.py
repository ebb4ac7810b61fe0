"""A report that was written stands in the audit log of its directory, with its hash."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rekadapter.errors import BrokenChainError
from rekadapter.sinks.audit import AUDIT_FILE, AuditLog, Given, Head, Reported, states_of
from rekadapter.sinks.chain import read_chain


def note_report(directory: Path, reported: Reported, doubts: Sequence[str]) -> Head | None:
    """Records that a report was written, unless the last one recorded was the same.

    None where the directory keeps no log, or where the report itself has ``doubts`` about what it
    was made from: nothing is added then.

    Raises:
        OutputError: the log cannot be read or written.
    """
    if doubts or not (directory / AUDIT_FILE).is_file():
        return None
    log = AuditLog(directory)
    try:
        last = log.found(Reported)
        if last is None or last[0] != log.head.records - 1 or last[1] != reported:
            log.add(reported)
        return log.head
    finally:
        log.close()


def note_given(directory: Path, names: Sequence[str]) -> None:
    """Records that a user gave files for the report afterwards; nothing is added to a log of which
    something does not fit.

    Raises:
        OutputError: the log cannot be read or written.
    """
    if not names or head_of(directory) is None:
        return
    log = AuditLog(directory)
    try:
        log.add(Given(states_of(directory, names)))
    finally:
        log.close()


def head_of(directory: Path) -> Head | None:
    """The head of a directory's log; None where there is none, or one whose chain is broken.

    Raises:
        OutputError: it cannot be read.
    """
    head = None
    if not (directory / AUDIT_FILE).is_file():
        return None
    try:
        for read in read_chain(directory / AUDIT_FILE):
            head = Head(read.link.n + 1, read.sha256)
    except BrokenChainError:
        return None
    return head
