"""The run directory: written line by line, so that a run killed at any moment can still be read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from rekadapter.errors import OutputError, UsageError
from rekadapter.observation import (
    LedgerEntry,
    Observation,
    Run,
    RunRecord,
    Spent,
    TrackRecord,
)
from rekadapter.sinks.audit import FileState, LineRef, Tally, states_of
from rekadapter.sinks.audit_check import check_log
from rekadapter.sinks.chain import sha256_of
from rekadapter.sinks.ledger import Ledger
from rekadapter.sinks.run_audit import RECORD_FILE, RunAudit
from rekadapter.sinks.sink import OriginalAnswer, RunOutcome
from rekadapter.sinks.whole_files import cannot_write, release_room, reserve_room, write_whole
from rekadapter.types import CameraId

SCHEMA_VERSION: Final = 1
"""Of the files below; it rises when a reader of the old ones could misread the new."""

RUN_FILE: Final = RECORD_FILE
OBSERVATIONS_FILE: Final = "observations.jsonl"
TRACKS_FILE: Final = "tracks.jsonl"
LEDGER_FILE: Final = "ledger.jsonl"
ANSWERS_FILE: Final = "answers.jsonl"
FACES_FOLDER: Final = "faces"

T = TypeVar("T")


class _Lines(Generic[T]):
    """A file of one JSON record a line. A line goes out in one write: whole, or cut at the end.
    ``tally`` is what was written, whatever becomes of the file."""

    def __init__(self, path: Path, record: type[T]) -> None:
        self._path = path
        self.tally = Tally()
        self._adapter: TypeAdapter[T] = TypeAdapter(record)
        try:
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise cannot_write(path, error) from error

    def append(self, record: T) -> LineRef:
        text = self._adapter.dump_json(record)
        line = text + b"\n"
        try:
            written = self._file.write(line)
        except OSError as error:
            raise cannot_write(self._path, error) from error
        if written != len(line):
            raise OutputError(f"{self._path} took only part of a line: is the disk full?")
        self.tally.add(line)
        return LineRef(self._path.name, self.tally.lines, sha256_of(text))

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True, slots=True)
class _Files:
    observations: _Lines[Observation]
    tracks: _Lines[TrackRecord]
    ledger: _Lines[LedgerEntry]
    answers: _Lines[OriginalAnswer]

    @classmethod
    def opened(cls, path: Path) -> _Files:
        return cls(
            _Lines(path / OBSERVATIONS_FILE, Observation),
            _Lines(path / TRACKS_FILE, TrackRecord),
            _Lines(path / LEDGER_FILE, LedgerEntry),
            _Lines(path / ANSWERS_FILE, OriginalAnswer),
        )

    @property
    def states(self) -> dict[str, FileState]:
        return {
            OBSERVATIONS_FILE: self.observations.tally.state,
            TRACKS_FILE: self.tracks.tally.state,
            LEDGER_FILE: self.ledger.tally.state,
            ANSWERS_FILE: self.answers.tally.state,
        }

    def close(self) -> None:
        self.observations.close()
        self.tracks.close()
        self.ledger.close()
        self.answers.close()


class RunDirectory:
    """A ``Sink`` that writes a directory; ``read_run`` reads it back. Make it with ``create``."""

    def __init__(self, path: Path, record: RunRecord, ledger: Ledger, files: _Files) -> None:
        self.path = path
        self.ledger = ledger
        self._record = record
        self._files = files
        self._faces: dict[str, FileState] = {}
        self._audit = RunAudit(path, record)

    @classmethod
    def create(cls, path: Path, record: RunRecord, ledger: Ledger | None = None) -> RunDirectory:
        """A new run directory at ``path``, which must be missing or empty; ``run.json`` says
        ``running`` until ``finish``. What ``ledger`` holds already is written first.

        Raises:
            UsageError: there is something at ``path`` already.
            OutputError: it cannot be written.
        """
        _refuse_occupied(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from error
        reserve_room(path)
        write_whole(path / RUN_FILE, _json_of(record))
        files = _Files.opened(path)
        kept = ledger or Ledger()
        directory = cls(path, record, kept, files)
        kept.write_to(directory._keep_request)
        return directory

    def attributed_to(
        self, camera: CameraId, frame: int, *, late: bool = False
    ) -> AbstractContextManager[Spent]:
        return self.ledger.attributed_to(camera, frame, late=late)

    def given(self, *names: str) -> None:
        """Files of the directory that the user gave for the report; they go into the audit log."""
        self._audit.given(states_of(self.path, names))

    def observe(self, observation: Observation) -> None:
        self._audit.searched(self._files.observations.append(observation), observation)

    def keep_answer(self, answer: OriginalAnswer) -> None:
        self._files.answers.append(answer)

    def keep_face(self, name: str, jpeg: bytes) -> None:
        folder = self.path / FACES_FOLDER
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from error
        write_whole(folder / name, jpeg)
        self._faces[name] = FileState.of(jpeg)

    def end_track(self, track: TrackRecord) -> None:
        picture = self._faces.get(track.thumbnail or "")
        line = self._files.tracks.append(track)
        self._audit.decided(line, track, picture.sha256 if picture else None)

    def finish(self, outcome: RunOutcome) -> None:
        """Writes how it ended and closes the files; later requests stay in the ledger's memory.
        A disk that ran full has room for that."""
        self.ledger.write_to(None)
        self._files.close()
        release_room(self.path)
        self._record = replace(
            self._record,
            state=outcome.state,
            ended_at=outcome.ended_at,
            cameras=outcome.cameras,
            error=outcome.error,
        )
        text = _json_of(self._record)
        faces = {f"{FACES_FOLDER}/{name}": state for name, state in self._faces.items()}
        try:
            write_whole(self.path / RUN_FILE, text)
            files = {RUN_FILE: FileState.of(text), **self._files.states, **faces}
            self._audit.ended(outcome, files)
        finally:
            self._audit.close()

    def close(self) -> None:
        """Closes the files and says nothing of how the run ended, as one that is killed."""
        self.ledger.write_to(None)
        self._files.close()
        self._audit.close()
        release_room(self.path)

    def _keep_request(self, entry: LedgerEntry) -> None:
        self._files.ledger.append(entry)


def read_run(path: Path) -> Run:
    """The run that ``path`` holds, finished or not. A last line that was cut off is left out.

    Raises:
        UsageError: no run directory, or one of another version of rekadapter.
        OutputError: a file is damaged elsewhere than at its end, or cannot be read.
    """
    record = read_record(path)
    return Run(
        record=record,
        observations=_read_lines(path / OBSERVATIONS_FILE, Observation),
        tracks=_read_lines(path / TRACKS_FILE, TrackRecord),
        ledger=_read_lines(path / LEDGER_FILE, LedgerEntry),
        damage=tuple(dict.fromkeys(_damage(path, record.state))),
    )


def read_record(path: Path) -> RunRecord:
    """What a run says of itself.

    Raises:
        UsageError: no run directory, or one of another version of rekadapter.
        OutputError: it cannot be read.
    """
    file = path / RUN_FILE
    if not file.is_file():
        raise UsageError(
            f"{path} is no run directory (it holds no {RUN_FILE}): give what --out named"
        )
    try:
        data = file.read_bytes()
        found: Any = TypeAdapter(dict[str, Any]).validate_json(data)
        version = found.get("schema_version")
        if isinstance(version, int) and version != SCHEMA_VERSION:
            raise UsageError(
                f"{path} was written in version {version} of the format and this rekadapter reads "
                f"version {SCHEMA_VERSION}: use the rekadapter that wrote it"
            )
        return TypeAdapter(RunRecord).validate_json(data)
    except ValidationError as error:
        raise UsageError(f"{file} was not written by rekadapter: {_first(error)}") from error
    except OSError as error:
        raise OutputError(f"{file} cannot be read: {error.strerror}") from error


def _damage(path: Path, state: str) -> Iterator[str]:
    """Of any run: its files are what the audit log says. Of one that ended in order: they are all
    there, and whole to their last line."""
    if state != "running":
        yield from _missing(path)
    yield from check_log(path).sources_in_words()


def _missing(path: Path) -> Iterator[str]:
    for name in (OBSERVATIONS_FILE, TRACKS_FILE, LEDGER_FILE, ANSWERS_FILE):
        file = path / name
        if not file.is_file():
            yield f"{name} is missing"
        elif not _ends_whole(file):
            yield f"the last line of {name} is cut off"


def _ends_whole(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            size = opened.seek(0, os.SEEK_END)
            opened.seek(max(0, size - 1))
            return opened.read() in {b"", b"\n"}
    except OSError as error:
        raise OutputError(f"{file} cannot be read: {error.strerror}") from error


def _read_lines(path: Path, record: type[T]) -> tuple[T, ...]:
    try:
        whole, _, _ = path.read_bytes().rpartition(b"\n")
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}") from error
    adapter: TypeAdapter[T] = TypeAdapter(record)
    records = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            records.append(adapter.validate_json(line))
        except ValidationError as error:
            raise OutputError(f"line {number} of {path} is damaged: {_first(error)}") from error
    return tuple(records)


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(key) for key in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]


def _refuse_occupied(path: Path) -> None:
    try:
        held = {entry.name for entry in path.iterdir()}
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        raise UsageError(f"{path} is a file: name another directory with --out") from error
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}") from error
    if RUN_FILE in held:
        raise UsageError(f"{path} holds a run already: name another directory with --out")
    if held:
        raise UsageError(f"{path} holds other files: name an empty or new directory with --out")


def _json_of(record: RunRecord) -> bytes:
    return TypeAdapter(RunRecord).dump_json(record, indent=2) + b"\n"
