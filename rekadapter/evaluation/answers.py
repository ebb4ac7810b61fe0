"""Every answer of every system, written down once and never paid for twice.

``answers.jsonl`` is append-only, one record a line, each under a key made of system, model,
gallery, and photograph: the same question finds its answer again. Where a key stands twice (a
failed request that was asked again), the last one counts. Scores keep their full precision, and no
name and no path stands in the file: people are pseudonyms. Candidates are held as columns (see
``columns``) and written and read by the column; a line is what pydantic makes of its answer.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import numpy as np
from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from rekadapter.closing import Closing
from rekadapter.errors import OutputError, UsageError
from rekadapter.evaluation.columns import CodeArray, Columns, Names
from rekadapter.evaluation.statistics import FloatArray
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


class StoredCandidates(Columns[StoredCandidate]):
    """A list of stored candidates as columns; ``raws`` (n,) is nan where there is no raw score,
    None where there is none at all."""

    __slots__ = ("raws",)

    def __init__(
        self, names: Names, codes: CodeArray, scores: FloatArray, raws: FloatArray | None
    ) -> None:
        self.names, self.codes, self.scores, self.raws = names, codes, scores, raws

    @classmethod
    def of(
        cls, candidates: Sequence[StoredCandidate], names: Names | None = None
    ) -> StoredCandidates:
        """The same list as columns: the list itself where it is one of them."""
        if isinstance(candidates, StoredCandidates):
            return candidates
        names = Names() if names is None else names
        return cls(
            names,
            names.codes([one.subject for one in candidates]),
            np.array([one.score for one in candidates], dtype=np.float64),
            _raw_column([one.raw for one in candidates]),
        )

    @classmethod
    def parsed(cls, rows: Sequence[Mapping[str, Any]], names: Names) -> StoredCandidates:
        """From parsed JSON.

        Raises:
            KeyError, TypeError, OverflowError: it has another form than lines are written in.
        """
        if not isinstance(rows, list | tuple):
            raise TypeError
        subjects = _typed([row["subject"] for row in rows], _TEXT)
        scores = _typed([row["score"] for row in rows], _NUMBERS)
        raws = _typed([row.get("raw") for row in rows], _RAW)
        codes = names.codes(subjects)
        return cls(names, codes, np.array(scores, dtype=np.float64), _raw_column(raws))

    def rows(self) -> bytes:
        """The candidates as they stand in a line."""
        every = self.names.all()
        tokens = {code: to_json(every[code]) for code in set(self.codes.tolist())}
        raws = [b"null"] * len(self) if self.raws is None else _numbers(self.raws)
        columns = (map(tokens.__getitem__, self.codes.tolist()), _numbers(self.scores), raws)
        return b",".join(map(_ROW.__mod__, zip(*columns, strict=True)))

    def _at(self, index: int) -> StoredCandidate:
        raw = None if self.raws is None or np.isnan(self.raws[index]) else float(self.raws[index])
        name = self.names.all()[self.codes[index]]
        return StoredCandidate(name, float(self.scores[index]), raw)

    def _part(self, part: slice) -> Self:
        raws = None if self.raws is None else self.raws[part]
        return type(self)(self.names, self.codes[part], self.scores[part], raws)


_ROW: Final = b'{"subject":%b,"score":%b,"raw":%b}'
_TEXT: Final = frozenset({str})
_NUMBERS: Final = frozenset({float, int})
_RAW: Final = _NUMBERS | {type(None)}


def _typed(column: list[Any], allowed: Set[type]) -> list[Any]:
    if not set(map(type, column)) <= allowed:
        raise TypeError
    return column


def _raw_column(raws: list[float | None]) -> FloatArray | None:
    return None if raws.count(None) == len(raws) else np.array(raws, dtype=np.float64)


def _numbers(column: FloatArray) -> list[bytes]:
    """Numbers as pydantic writes them."""
    return to_json(column.tolist(), inf_nan_mode="null")[1:-1].split(b",")


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
    was asked for. ``session`` names the sitting it came from. ``candidates`` are ``columns`` where
    they were read from a file.
    """

    question: Question
    answered_at: datetime
    read_seconds: float
    answer_seconds: float
    candidates: Sequence[StoredCandidate] = ()
    enrolled: int = 0
    limit: int = 0
    failure: StoredFailure | None = None
    face: SearchedFace | None = None
    request_ids: tuple[str, ...] = ()
    session: str = ""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What a store remembers of an answer: why it failed, or how many faces were enrolled."""

    failure: StoredFailure | None
    enrolled: int


_LINE: Final = TypeAdapter(StoredAnswer)
_QUESTION: Final = TypeAdapter(Question)

AnswerListener = Callable[[LineRef, StoredAnswer], None]


def line_of(answer: StoredAnswer) -> bytes:
    """An answer as it stands in the file, without the end of the line."""
    bare = _LINE.dump_json(replace(answer, candidates=()))
    if not answer.candidates:
        return bare
    rows = StoredCandidates.of(answer.candidates).rows()
    # within a text of the line a quotation mark is escaped: these bytes stand in it once
    return bare.replace(b'"candidates":[]', b'"candidates":[%b]' % rows, 1)


def question_of(question: Question) -> bytes:
    """A question as it begins the line of its answer."""
    return _QUESTION.dump_json(question)


class AnswerStore(Closing):
    """The answers of one file; safe to use from several threads, by one process at a time.

    Candidates stay in the file: what is remembered of an answer is a ``KeptAnswer``.

    Raises:
        UsageError: another process is writing to it.
        OutputError: it cannot be read or written, or a line is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._found: dict[str, KeptAnswer] = {}
        self._lines = 0
        self._listener: AnswerListener | None = None
        self._file = _opened(path)
        os.ftruncate(self._file, self._take_in())

    def __len__(self) -> int:
        return len(self._found)

    def get(self, question: Question) -> KeptAnswer | None:
        """What the answer that is there already came to, or None."""
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
            self._keep(answer)
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

    def _keep(self, answer: StoredAnswer) -> None:
        self._found[answer.question.key] = KeptAnswer(answer.failure, answer.enrolled)

    def _take_in(self) -> int:
        """Reads all whole lines; returns where the last of them ends."""
        end = 0
        with self._path.open("rb") as file:
            for answer in _answers(self._path, file):
                self._keep(answer)
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
    names = Names()
    for number, line in enumerate(iter(file.readline, b""), 1):
        if not line.endswith(b"\n"):
            return
        try:
            yield _answer(line, names)
        except ValueError as error:
            raise OutputError(
                f"{path}, line {number} is damaged: restore the file, or evaluate into a new folder"
            ) from error


def _answer(line: bytes, names: Names) -> StoredAnswer:
    """One line. Its candidates are read by the column where they have the form they are written in,
    else as pydantic reads them: lines of other programs may have another.

    Raises:
        ValueError: it is damaged.
    """
    try:
        fields = from_json(line)
        candidates = StoredCandidates.parsed(fields.pop("candidates", ()), names)
    except (AttributeError, KeyError, TypeError, OverflowError):
        answer = _LINE.validate_json(line)
        return replace(answer, candidates=StoredCandidates.of(answer.candidates, names))
    return replace(_LINE.validate_python(fields), candidates=candidates)


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
