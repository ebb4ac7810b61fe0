"""Asks each system what is not answered yet, and writes every answer down.

Scores are uncensored: the threshold lets everything through, no quality filter leaves a face out,
and candidate lists are as long as the system gives them. A picture without a face, an unreadable
file and a refused request are answers too. What stops a whole system (no credentials, an account
limit, a closed backend) is raised instead: it says nothing about a face.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rekadapter.evaluation.answers import (
    AnswerStore,
    KeptAnswer,
    Kind,
    Question,
    Stage,
    StoredAnswer,
    StoredCandidate,
)
from rekadapter.evaluation.asking import (
    Asking,
    Given,
    Progress,
    acquire_failure,
    request_ids,
    searched_face,
)
from rekadapter.evaluation.dataset import CheckedDataset, CheckedSample
from rekadapter.evaluation.record import (
    EvaluationRecord,
    PairEntry,
    Photograph,
    SystemEntry,
)
from rekadapter.imaging import Image
from rekadapter.names import gallery_id
from rekadapter.recognizer import Capabilities, FaceSelection, QualityFilter, Recognizer
from rekadapter.types import Enrollment, GalleryId, Identification, SubjectId

logger = logging.getLogger(__name__)

_VISIBLE_WITHIN_SECONDS: Final = 30.0
"""AWS's collections become consistent within seconds; after this the run says so and goes on."""


@dataclass(frozen=True, slots=True)
class SystemUnderTest:
    """A backend by the name the user gave it, and how many requests it may have open at a time."""

    name: str
    recognizer: Recognizer
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is asked: the record, and the photographs behind its digests, in the same order."""

    record: EvaluationRecord
    gallery: tuple[CheckedSample, ...]
    probes: tuple[CheckedSample, ...]

    @classmethod
    def of(cls, record: EvaluationRecord, checked: CheckedDataset) -> Inputs:
        return cls(record, checked.gallery, checked.probes)


@dataclass(frozen=True, slots=True)
class Options:
    """``session`` names this sitting in the answers; ``retry_failed`` asks again where a request
    failed; ``keep_gallery`` leaves the enrolled faces in the backend when all is answered."""

    session: str
    retry_failed: bool = False
    keep_gallery: bool = False


@dataclass(frozen=True, slots=True)
class Pending:
    """Questions of one system that have no answer yet."""

    enroll: int
    search: int


def pending(inputs: Inputs, name: str, store: AnswerStore, options: Options) -> Pending:
    """How many questions one system has to be asked: the base of every estimate.

    Enrollments count again where searches are pending and the gallery may be gone.
    """
    asker = _asker(inputs.record, name)
    search = _unanswered((asker.search(one) for one in inputs.record.probes), store, options)
    enroll = _unanswered((asker.enroll(one) for one in inputs.record.gallery), store, options)
    return Pending(len(enroll), len(search))


def collect(
    system: SystemUnderTest,
    inputs: Inputs,
    store: AnswerStore,
    options: Options,
    stop: threading.Event,
    progress: Progress,
) -> str | None:
    """Asks one system everything that has no answer; returns early, in order, once ``stop`` is set.

    Returns the model that the system says its gallery belongs to, or None where nothing had to be
    asked.

    Raises:
        BackendError: nothing can be asked of this system now; what was answered is kept.
        OutputError: an answer cannot be written.
    """
    return _Collector(system, inputs, store, options, stop, progress).run()


@dataclass(frozen=True, slots=True)
class Questions:
    """The questions of one system."""

    record: EvaluationRecord
    entry: SystemEntry
    gallery: str

    def search(self, photograph: Photograph) -> Question:
        return self._question(Kind.SEARCH, photograph)

    def enroll(self, photograph: Photograph) -> Question:
        return self._question(Kind.ENROLL, photograph, photograph.person)

    def compare(self, pair: PairEntry) -> Question:
        entry = self.entry
        return Question(Kind.COMPARE, entry.name, entry.identity, "", pair.first, pair.second)

    def _question(self, kind: Kind, photograph: Photograph, subject: str = "") -> Question:
        entry = self.entry
        return Question(kind, entry.name, entry.identity, self.gallery, photograph.sha256, subject)


def questions(record: EvaluationRecord, entry: SystemEntry) -> Questions:
    """The questions of one system, as the runner asks them."""
    return Questions(record, entry, record.gallery_sha256)


def _asker(record: EvaluationRecord, system: str) -> Questions:
    return questions(record, next(one for one in record.systems if one.name == system))


def evaluation_gallery(record: EvaluationRecord) -> GalleryId:
    """The gallery an evaluation enrolls into, named by what it holds."""
    return gallery_id(f"evaluation-{record.gallery_sha256[:16]}")


def _unanswered(
    questions: Iterable[Question], store: AnswerStore, options: Options
) -> list[Question]:
    return [question for question in questions if still_open(store.get(question), options)]


def still_open(answer: KeptAnswer | None, options: Options) -> bool:
    """Whether a question has to be asked: it has no answer, or one that is not to stay."""
    if answer is None:
        return True
    failed = answer.failure is not None and answer.failure.stage is Stage.REQUEST
    return failed and options.retry_failed


@dataclass(frozen=True, slots=True)
class _Task:
    question: Question
    sample: CheckedSample

    def pixels(self) -> Image:
        """The photograph, decoded."""
        image = self.sample.sample.image()
        _ = image.pixels
        return image


class _Collector:
    def __init__(
        self,
        system: SystemUnderTest,
        inputs: Inputs,
        store: AnswerStore,
        options: Options,
        stop: threading.Event,
        progress: Progress,
    ) -> None:
        self._system = system
        self._recognizer = system.recognizer
        self._inputs = inputs
        self._store = store
        self._options = options
        self._stop = stop
        self._asking = Asking(system.name, system.workers, store, options.session, stop, progress)
        self._gallery = evaluation_gallery(inputs.record)
        self._asker = _asker(inputs.record, system.name)

    @property
    def _capabilities(self) -> Capabilities:
        return self._recognizer.capabilities

    def run(self) -> str | None:
        record = self._inputs.record
        enrollments = self._tasks(record.gallery, self._inputs.gallery, self._asker.enroll)
        searches = self._tasks(record.probes, self._inputs.probes, self._asker.search)
        waiting = self._waiting(searches)
        model = None
        if waiting or self._waiting(enrollments):
            self._prepare_gallery(enrollments, searches=len(waiting))
            model = self._recognizer.describe_gallery(self._gallery).model
            self._asking.each(waiting, self._search)
        self._tidy(searches)
        return model

    def _tasks(
        self,
        photographs: Sequence[Photograph],
        samples: Sequence[CheckedSample],
        ask: Callable[[Photograph], Question],
    ) -> list[_Task]:
        pairs = zip(photographs, samples, strict=True)
        return [_Task(ask(photograph), sample) for photograph, sample in pairs]

    def _waiting(self, tasks: Iterable[_Task]) -> list[_Task]:
        return [task for task in tasks if still_open(self._store.get(task.question), self._options)]

    # --- gallery ------------------------------------------------------------------------------

    def _prepare_gallery(self, enrollments: list[_Task], searches: int) -> None:
        """Enrolls what is missing; all of it where the gallery is gone or not whole."""
        if self._gallery not in set(self._recognizer.galleries()):
            self._recognizer.create_gallery(self._gallery)
            waiting = enrollments
        else:
            waiting = self._waiting(enrollments)
            if not waiting and self._held() < self._enrolled(enrollments):
                waiting = enrollments
        self._asking.progress.started(self._system.name, len(waiting) + searches)
        self._asking.each(waiting, self._enroll)
        if waiting and self._capabilities.remote and not self._stop.is_set():
            self._wait_until_visible(self._enrolled(enrollments))

    def _held(self) -> int:
        return self._recognizer.describe_gallery(self._gallery).face_count

    def _enrolled(self, enrollments: Iterable[_Task]) -> int:
        found = (self._store.get(task.question) for task in enrollments)
        return sum(answer.enrolled for answer in found if answer)

    def _wait_until_visible(self, faces: int) -> None:
        until = time.monotonic() + _VISIBLE_WITHIN_SECONDS
        while sum(1 for _ in self._recognizer.faces(self._gallery)) < faces:
            if time.monotonic() > until or self._stop.wait(1.0):
                logger.warning("%s does not list every enrolled face yet", self._system.name)
                return

    def _tidy(self, searches: Sequence[_Task]) -> None:
        """Templates do not stay in a backend longer than they are needed."""
        done = not self._waiting(searches) and not self._stop.is_set()
        if not done or self._options.keep_gallery:
            return
        if self._gallery in set(self._recognizer.galleries()):
            self._recognizer.delete_gallery(self._gallery)

    # --- asking -------------------------------------------------------------------------------

    def _enroll(self, task: _Task) -> StoredAnswer:
        def ask(image: Image) -> Given:
            answer = self._recognizer.enroll(
                self._gallery,
                image,
                subject=SubjectId(task.question.subject),
                max_faces=1,
                quality=QualityFilter.NONE,
            )
            return _enrollment_given(answer)

        return self._asking.answered(task.question, task.pixels, ask)

    def _search(self, task: _Task) -> StoredAnswer:
        limit = self._limit()

        def ask(image: Image) -> Given:
            answer = self._recognizer.identify(
                self._gallery,
                image,
                threshold=self._capabilities.match_all,
                limit=limit,
                faces=FaceSelection.LARGEST,
                quality=QualityFilter.NONE,
            )
            return _search_given(answer)

        return self._asking.answered(task.question, task.pixels, ask, limit)

    def _limit(self) -> int:
        enough = max(1, len(self._inputs.record.gallery))
        wanted = self._inputs.record.rules.max_candidates or enough
        return min(wanted, enough, self._capabilities.max_candidates)


# --- from the recognizer's answers to stored ones ---------------------------------------------


def _enrollment_given(answer: Enrollment) -> Given:
    ids = request_ids(answer.original)
    if answer.records:
        return Given(enrolled=len(answer.records), request_ids=ids)
    reasons = [str(reason) for failure in answer.failures for reason in failure.reasons]
    return Given(failure=acquire_failure(reasons[0] if reasons else "NO_FACE"), request_ids=ids)


def _search_given(answer: Identification) -> Given:
    ids = request_ids(answer.original)
    if answer.failure is not None or not answer.faces:
        cause = str(answer.failure.reason) if answer.failure else "NO_FACE"
        return Given(failure=acquire_failure(cause), request_ids=ids)
    searched = answer.faces[0]
    if searched.not_searched is not None:
        failure = acquire_failure(str(searched.not_searched.reason))
        return Given(failure=failure, face=searched_face(searched.face), request_ids=ids)
    candidates = tuple(
        StoredCandidate(
            subject=candidate.subject or "",
            score=candidate.score.value,
            raw=candidate.raw_score.value if candidate.raw_score else None,
        )
        for candidate in searched.candidates
    )
    return Given(candidates=candidates, face=searched_face(searched.face), request_ids=ids)
