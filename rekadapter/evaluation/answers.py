"""Every answer of every system, written down once and never paid for twice.

``answers.jsonl`` is append-only, one record a line, each under a key made of system, model,
gallery, and photograph: the same question finds its answer again. Where a key stands twice (a
failed request that was asked again), the last one counts. Scores keep their full precision, and no
name and no path stands in the file: people are pseudonyms.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Final

from pydantic import TypeAdapter, ValidationError

from rekadapter.closing import Closing
from rekadapter.errors import OutputError, UsageError
from rekadapter.sinks.audit import LineRef
from rekadapter.sinks.chain import sha256_of

ANSWERS_FILE: Final = "answers.jsonl"


class Kind(StrEnum):
    """What was asked."""

    ENROLL = "enroll"
    SEARCH = "search"
    COMPARE = "compare"


class Stage(StrEnum):
    """Where a failure happened: the picture's file, the face in it, or the request."""

    IMAGE = "image"
    ACQUIRE = "acquire"
    REQUEST = "request"


@dataclass(frozen=True, slots=True)
class Question:
    """What an answer belongs to; ``gallery`` and ``sample`` are SHA-256 digests. ``subject`` is
    the pseudonym a photograph is enrolled under, empty for a search. A comparison belongs to no
    gallery: ``sample`` is its first photograph, ``subject`` the digest of its second."""

    kind: Kind
    system: str
    model: str
    gallery: str
    sample: str
    subject: str = ""

    @property
    def key(self) -> str:
        """The question as a SHA-256 digest."""
        parts = (self.kind, self.system, self.model, self.gallery, self.sample, self.subject)
        return hashlib.sha256("\x00".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class StoredCandidate:
    """A candidate face: the pseudonym it was enrolled under, and its scores as they came."""

    subject: str
    score: float
    raw: float | None = None


@dataclass(frozen=True, slots=True)
class StoredFailure:
    """Why there is no score: a reason, or the name of an error class."""

    stage: Stage
    cause: str


@dataclass(frozen=True, slots=True)
class SearchedFace:
    """What the system said of the face it searched; None where it did not say."""

    eye_distance_px: float | None = None
    sharpness: float | None = None
    brightness: float | None = None
    yaw: float | None = None
    pitch: float | None = None


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """One answer. ``read_seconds``: file to pixels; ``answer_seconds``: the system's call.

    ``enrolled`` counts the faces an enrollment added; ``limit`` is the longest candidate list that
    was asked for. ``session`` names the sitting it came from.
    """

    question: Question
    answered_at: datetime
    read_seconds: float
    answer_seconds: float
    candidates: tuple[StoredCandidate, ...] = ()
    enrolled: int = 0
    limit: int = 0
    failure: StoredFailure | None = None
    face: SearchedFace | None = None
    request_ids: tuple[str, ...] = ()
    session: str = ""


_LINE: Final = TypeAdapter(StoredAnswer)
_QUESTION: Final = TypeAdapter(Question)

AnswerListener = Callable[[LineRef, StoredAnswer], None]


def line_of(answer: StoredAnswer) -> bytes:
    """An answer as it stands in the file, without the end of the line."""
    return _LINE.dump_json(answer)


def question_of(question: Question) -> bytes:
    """A question as it begins the line of its answer."""
    return _QUESTION.dump_json(question)


class AnswerStore(Closing):
    """The answers of one file; safe to use from several threads, by one process at a time.

    Raises:
        UsageError: another process is writing to it.
        OutputError: it cannot be read or written, or a line is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._found: dict[str, StoredAnswer] = {}
        self._lines = 0
        self._listener: AnswerListener | None = None
        self._file = _opened(path)
        os.ftruncate(self._file, self._take_in())

    def __len__(self) -> int:
        return len(self._found)

    def get(self, question: Question) -> StoredAnswer | None:
        """The answer that is there already, or None."""
        return self._found.get(question.key)

    def add(self, answer: StoredAnswer) -> None:
        """Writes an answer: a whole line, or at the end of a full disk none that counts."""
        text = line_of(answer)
        line = text + b"\n"
        with self._lock:
            try:
                written = os.write(self._file, line)
            except OSError as error:
                raise OutputError(f"{self._path} cannot be written: {error.strerror}") from error
            if written != len(line):
                raise OutputError(f"{self._path} took only part of a line: is the disk full?")
            self._found[answer.question.key] = answer
            self._lines += 1
            if self._listener is not None:
                self._listener(LineRef(self._path.name, self._lines, sha256_of(text)), answer)

    def listen(self, listener: AnswerListener | None) -> None:
        """From now on ``listener`` is told every answer once it is written, by one thread at a
        time; None: nobody is."""
        with self._lock:
            self._listener = listener

    def close(self) -> None:
        """Frees the file for others. May be called twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _take_in(self) -> int:
        """Reads all whole lines; returns where the last of them ends."""
        end = 0
        with self._path.open("rb") as file:
            for answer in _answers(self._path, file):
                self._found[answer.question.key] = answer
                self._lines += 1
                end = file.tell()
        return end


def read_answers(path: Path) -> tuple[StoredAnswer, ...]:
    """Every line of a file of answers, in the order written; none where there is no file.

    A last line that was cut off, as by a killed process, was never acknowledged and is left out.

    Raises:
        OutputError: it cannot be read, or a line is damaged.
    """
    try:
        if not path.exists():
            return ()
        with path.open("rb") as file:
            return tuple(_answers(path, file))
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}") from error


def latest(answers: Iterable[StoredAnswer]) -> dict[str, StoredAnswer]:
    """By key, the answer that counts: the last."""
    return {answer.question.key: answer for answer in answers}


def _answers(path: Path, file: BinaryIO) -> Iterator[StoredAnswer]:
    """Line by line: candidate lists of thousands of people make large files."""
    for number, line in enumerate(iter(file.readline, b""), 1):
        if not line.endswith(b"\n"):
            return
        try:
            yield _LINE.validate_json(line)
        except ValidationError as error:
            raise OutputError(
                f"{path}, line {number} is damaged: restore the file, or evaluate into a new folder"
            ) from error


def _opened(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise OutputError(f"{path} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        raise UsageError(f"{path} is in use by another evaluation: wait for it") from error
    return file
