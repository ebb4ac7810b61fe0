"""What a run writes into its audit log."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rekadapter.observation import (
    BackendRecord,
    CandidateRecord,
    Observation,
    RunRecord,
    TrackRecord,
)
from rekadapter.sinks.audit import (
    FEW,
    AuditLog,
    Began,
    Ended,
    FileState,
    Given,
    LineRef,
    Said,
    Search,
    Seen,
    SystemInForce,
    states_of,
)
from rekadapter.sinks.sink import RunOutcome

RECORD_FILE: Final = "run.json"
"""``RUN_FILE`` of the run directory, which is built upon this module"""


class RunAudit:
    """The audit log of one run: it begins with the settings and ends with the state of the files.

    Every method may raise ``OutputError``. One thread calls them.
    """

    def __init__(self, directory: Path, record: RunRecord) -> None:
        self._run_id = record.run_id
        self._thresholds = {backend.name: backend.threshold for backend in record.backends}
        self._log = AuditLog(directory)
        self._log.add(
            Began(
                what="run",
                about=record.run_id,
                tool_version=record.tool_version,
                systems=tuple(map(_in_force, record.backends)),
                settings={"gallery": record.gallery, **record.settings},
                inputs=record.input_hashes,
                files=states_of(directory, (RECORD_FILE,)),
            )
        )

    def searched(self, line: LineRef, seen: Observation) -> None:
        """A line of ``observations.jsonl``."""
        self._log.add(
            Search(
                written=line,
                system=seen.backend,
                asked="identify",
                probe=f"{seen.camera}/{seen.frame}",
                track=seen.track,
                subject=seen.decision.subject,
                reason=seen.decision.reason,
                threshold=self._thresholds.get(seen.backend),
                candidates=tuple(map(_seen, seen.candidates[:FEW])),
            )
        )

    def decided(self, line: LineRef, track: TrackRecord, picture: str | None) -> None:
        """A line of ``tracks.jsonl``; ``picture`` is the SHA-256 of the face kept."""
        decision = track.decision
        self._log.add(
            Said(
                written=line,
                system=track.backend,
                camera=track.camera,
                track=track.track,
                seconds=(track.first_seconds, track.last_seconds),
                subject=decision.subject,
                reason=decision.reason,
                threshold=self._thresholds.get(track.backend),
                best=_seen(decision.best) if decision.best else None,
                supporting=decision.supporting,
                searched=decision.sightings,
                picture=picture,
            )
        )

    def given(self, files: Mapping[str, FileState]) -> None:
        """What the user gave for the report."""
        self._log.add(Given(files))

    def ended(self, outcome: RunOutcome, files: Mapping[str, FileState]) -> None:
        """The run is over, and these are its files."""
        self._log.add(Ended(self._run_id, outcome.state, outcome.error, files))

    def close(self) -> None:
        """Forces the log to disk and closes it. May be called twice."""
        self._log.close()


def _in_force(backend: BackendRecord) -> SystemInForce:
    origin = backend.threshold_origin
    return SystemInForce(
        backend.name,
        backend.model,
        backend.threshold,
        backend.scale.name,
        backend.details,
        threshold_origin=origin.words if origin else "",
        threshold_warnings=origin.warnings if origin else (),
    )


def _seen(candidate: CandidateRecord) -> Seen:
    return Seen(candidate.face_id, candidate.subject, candidate.score)
