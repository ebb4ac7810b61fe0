"""What a sync remembers between runs: which photograph became which faces, or none and why.

The truth is in the galleries, and their duplicate rule (the same image for the same subject is
stored once) makes a repeated enrollment harmless. But a gallery does not say which photograph a
face came from, and on AWS a repetition is billed. So each answer is noted, one line of JSON in a
file per gallery. A note only saves money: a face it names counts as long as the gallery lists it,
and without the file everything is enrolled once more, to the same result.

The file names subjects and faces: it is made readable by its owner only.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pydantic import TypeAdapter, ValidationError

from rekadapter.errors import OutputError
from rekadapter.recognizer import QualityFilter
from rekadapter.types import FaceId, GalleryId, SubjectId

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Note:
    """What one backend made of one photograph of one subject.

    ``photo`` is the file's SHA-256. Without ``face_ids`` the backend enrolled nobody, for
    ``reasons``, with the ``model`` and the options given.
    """

    backend: str
    subject: SubjectId
    photo: str
    model: str
    max_faces: int | None
    quality: QualityFilter
    face_ids: tuple[FaceId, ...]
    reasons: tuple[str, ...]
    noted_at: datetime


_LINE: Final[TypeAdapter[Note]] = TypeAdapter(Note)

Key = tuple[str, SubjectId, str]


class Notes:
    """Notes on one gallery: the latest for each backend, subject and photograph."""

    def __init__(self, notes: Iterable[Note] = ()) -> None:
        self._latest: dict[Key, Note] = {}
        for note in notes:
            self.add(note)

    def add(self, note: Note) -> None:
        self._latest[note.backend, note.subject, note.photo] = note

    def of(self, backend: str, subject: SubjectId, photo: str) -> Note | None:
        """The latest note, if there is one."""
        return self._latest.get((backend, subject, photo))

    def faces_across(self, origin: str, target: str) -> Mapping[FaceId, FaceId]:
        """For faces of backend ``origin`` the face of ``target`` made of the same photograph.

        Photographs that gave several faces are left out: which is which is not known.
        """
        pairs = (
            (note, self._latest.get((target, note.subject, note.photo)))
            for note in self._latest.values()
            if note.backend == origin
        )
        return {
            here.face_ids[0]: there.face_ids[0]
            for here, there in pairs
            if there is not None and len(here.face_ids) == len(there.face_ids) == 1
        }


def notes_file(data_dir: Path, gallery: GalleryId) -> Path:
    """Where the notes on a gallery are kept."""
    return data_dir / "sync" / f"{gallery}.jsonl"


def read_notes(path: Path) -> Notes:
    """The notes in a file; none where there is no file.

    A line that cannot be read (a run was killed while it wrote) counts as never written.

    Raises:
        OutputError: the file is there and cannot be read.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return Notes()
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}") from error
    found = [note for line in lines if (note := _parsed(line)) is not None]
    if len(found) < len(lines):
        logger.warning("%d lines of %s were left out", len(lines) - len(found), path)
    return Notes(found)


def _parsed(line: bytes) -> Note | None:
    try:
        return _LINE.validate_json(line)
    except ValidationError:
        return None


class NoteBook:
    """Writes notes while the ``with`` block runs; each is on disk before the next call is made.

    Raises (on entering and from ``write``):
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
            self._descriptor = os.open(self._path, flags, 0o600)
            self._end_torn_line(self._descriptor)
        except OSError as error:
            raise self._cannot_write(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def write(self, note: Note) -> None:
        """Appends one note; it is on disk on return."""
        if self._descriptor is None:
            raise ValueError("a note book is written to inside its with block")
        try:
            _write_all(self._descriptor, _LINE.dump_json(note) + b"\n")
            os.fsync(self._descriptor)
        except OSError as error:
            raise self._cannot_write(error) from error

    def _end_torn_line(self, descriptor: int) -> None:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            _write_all(descriptor, b"\n")

    def _cannot_write(self, error: OSError) -> OutputError:
        return OutputError(
            f"the notes of the sync cannot be written to {self._path} ({error.strerror}): "
            "without them every photograph would be paid for again"
        )


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
