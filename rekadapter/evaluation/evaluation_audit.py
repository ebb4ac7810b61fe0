"""What an evaluation writes into its audit log: each sitting, each answer, each report."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Self

from rekadapter.errors import BrokenChainError, OutputError
from rekadapter.evaluation.answers import ANSWERS_FILE, StoredAnswer
from rekadapter.evaluation.evaluate import REQUESTS_FILE, SESSIONS_FILE
from rekadapter.evaluation.record import EVALUATION_FILE, EvaluationRecord, SystemEntry
from rekadapter.evaluation.survey_results import SURVEY_FILE
from rekadapter.sinks.audit import (
    FEW,
    AuditLog,
    Began,
    Ended,
    LineRef,
    Search,
    Seen,
    SystemInForce,
    states_of,
)

SOURCES: Final = (EVALUATION_FILE, ANSWERS_FILE, REQUESTS_FILE, SESSIONS_FILE, SURVEY_FILE)
"""The files of an evaluation that its report is made of."""


class EvaluationAudit:
    """The audit log of an evaluation's directory, for one sitting.

    A sitting that asks nothing and changes no file leaves no record; one that ``asks`` is in the
    log before its first request, so that a killed one is told from lines added afterwards.
    ``answered`` is called by one thread at a time.

    Raises:
        OutputError: the log is damaged, or cannot be read or written.
    """

    def __init__(
        self, directory: Path, record: EvaluationRecord, session: str, *, asks: bool
    ) -> None:
        self._asks = asks
        self._directory = directory
        self._record = record
        self._session = session
        self._began = False

    def __enter__(self) -> Self:
        try:
            self._log = AuditLog(self._directory)
        except BrokenChainError as error:
            raise OutputError(
                f"{self._directory} cannot be added to: {error}; evaluate into another --out"
            ) from error
        self._found = states_of(self._directory, SOURCES)
        last = self._log.found(Began)
        before = last[1].files.get(EVALUATION_FILE) if last else None
        if self._asks or last is None or before != self._found.get(EVALUATION_FILE):
            self._begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            files = states_of(self._directory, SOURCES)
            if files != self._found and not self._began:
                self._begin()
            if self._began:
                state = "finished" if kind is None else "stopped"
                error = None if kind is None else kind.__name__
                self._log.add(Ended(self._session, state, error, files))
        finally:
            self._log.close()

    def answered(self, line: LineRef, answer: StoredAnswer) -> None:
        """A line of ``answers.jsonl``. No threshold is in force: it is uncensored."""
        if not self._began:
            self._begin()
        asked = answer.question
        self._log.add(
            Search(
                written=line,
                system=asked.system,
                asked=str(asked.kind),
                probe=asked.sample,
                track=None,
                subject=asked.subject or None,
                reason=answer.failure.cause if answer.failure else None,
                threshold=None,
                candidates=tuple(
                    Seen(one.subject, one.subject, one.score) for one in answer.candidates[:FEW]
                ),
            )
        )

    def _begin(self) -> None:
        """Something is asked, or was changed: the settings, the inputs, and the files as found."""
        record = self._record
        self._began = True
        self._log.add(
            Began(
                what="evaluation",
                about=self._session,
                tool_version=record.tool_version,
                systems=tuple(map(_in_force, record.systems)),
                settings={
                    "target_fpir": record.rules.target_fpir,
                    "margin": record.rules.margin,
                    "seed": record.rules.seed,
                    "held_out": record.held_out,
                },
                inputs={
                    "photographs": record.input_sha256,
                    "gallery": record.gallery_sha256,
                    "split": record.split_sha256,
                    "protocol": record.protocol_sha256,
                },
                files=self._found,
            )
        )


def _in_force(entry: SystemEntry) -> SystemInForce:
    return SystemInForce(
        entry.name, entry.identity, entry.default_threshold, entry.scale, entry.details
    )
