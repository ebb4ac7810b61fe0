"""What people decided about a run, as its audit log holds it: added one by one, read whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rekadapter.errors import BrokenChainError
from rekadapter.sinks.audit import (
    AUDIT_FILE,
    AuditLog,
    Began,
    Head,
    Reviewed,
    Said,
    parse_record,
)
from rekadapter.sinks.chain import Verified, read_chain


class ReviewLog:
    """Adds decisions to the log of a run. It is open for moments only, so that several people can
    review one run at a time, and a decision is on disk when ``add`` returns."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: Verified | None = None

    def add(self, decisions: Iterable[Reviewed]) -> Head:
        """Adds decisions and gives the head of the log.

        Raises:
            BrokenChainError: what others added meanwhile does not fit.
            OutputError: it cannot be written.
        """
        log = AuditLog(self._directory, after=self._known)
        try:
            for one in decisions:
                log.add(one)
            self._known = log.verified
            return log.head
        finally:
            log.close()


@dataclass(frozen=True, slots=True)
class LoggedReview:
    """A decision, and the number and hash of its record."""

    n: int
    sha256: str
    decision: Reviewed


@dataclass(frozen=True, slots=True)
class RunLog:
    """What of a run's audit log a report is made of, besides the files beside it: the reviews in
    order, and when the run began, first decided on a track, and first said a name."""

    reviews: tuple[LoggedReview, ...] = ()
    began: datetime | None = None
    first_said: datetime | None = None
    first_name: datetime | None = None


def read_run_log(directory: Path) -> RunLog | None:
    """The log of a run; None where there is none, or its chain is broken.

    Raises:
        OutputError: it cannot be read.
    """
    path = directory / AUDIT_FILE
    if not path.is_file():
        return None
    reviews: list[LoggedReview] = []
    times: dict[str, datetime] = {}
    try:
        for read in read_chain(path):
            link = read.link
            if link.kind == _REVIEWED:
                decision = parse_record(link.n, link.kind, link.record)
                if isinstance(decision, Reviewed):
                    reviews.append(LoggedReview(link.n, read.sha256, decision))
            elif link.kind in _TIMED:
                times.setdefault(link.kind, link.at)
                if link.kind == _SAID and link.record.get("subject") is not None:
                    times.setdefault(_NAME, link.at)
    except BrokenChainError:
        return None
    return RunLog(tuple(reviews), times.get(_BEGAN), times.get(_SAID), times.get(_NAME))


_BEGAN, _SAID, _REVIEWED = (kind.__name__.lower() for kind in (Began, Said, Reviewed))
_TIMED = frozenset({_BEGAN, _SAID})
_NAME = "name"
