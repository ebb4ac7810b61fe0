"""From stored answers to the outcomes that every figure is made of.

A search is one photograph, or one transit where the protocol names transits: then the candidate
lists of its photographs are joined, each subject with its best score, and it failed only where
every photograph of it did. Only searches that every system answered are compared.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rekadapter.evaluation.answers import (
    StoredAnswer,
    StoredCandidates,
    line_of,
    question_of,
)
from rekadapter.evaluation.outcomes import (
    Cut,
    EnrollmentOutcome,
    Failure,
    GroupLabel,
    PersonId,
    RankedSubjects,
    SearchOutcome,
    best_per_subject,
    turned,
)
from rekadapter.evaluation.record import EvaluationRecord, PersonEntry, Photograph, SystemEntry
from rekadapter.evaluation.runner import questions
from rekadapter.evaluation.statistics import FloatArray
from rekadapter.types import ScoreScale

Answers = Mapping[str, StoredAnswer]


@dataclass(frozen=True, slots=True)
class AnsweredPhotograph:
    """A searched photograph and what one system said of it."""

    photograph: Photograph
    answer: StoredAnswer


@dataclass(frozen=True, slots=True)
class SystemOutcomes:
    """What one system did. ``enrollments`` are by person, ``enroll_answers`` by photograph.

    ``calibration``: searches of the people who choose thresholds; ``test``: all others. ``members``
    are the answered photographs behind each search, by its id.
    """

    entry: SystemEntry
    enrollments: tuple[EnrollmentOutcome, ...]
    enroll_answers: tuple[StoredAnswer, ...]
    answered: tuple[AnsweredPhotograph, ...]
    calibration: tuple[SearchOutcome, ...]
    test: tuple[SearchOutcome, ...]
    members: Mapping[str, tuple[AnsweredPhotograph, ...]]
    missing: int

    @property
    def searches(self) -> tuple[SearchOutcome, ...]:
        """Every search, of either side."""
        return self.calibration + self.test

    @property
    def turned_default(self) -> float:
        """The shipped default threshold, turned so that higher is closer."""
        return self.turned(self.entry.default_threshold)

    def turned(self, value: float) -> float:
        """A score or threshold of this system, turned so that higher is closer, or back."""
        return turned(value, scale_of(self.entry))


def scale_of(entry: SystemEntry) -> ScoreScale:
    """The scale of a system's scores."""
    return ScoreScale(entry.scale, entry.scale_low, entry.scale_high, entry.higher_is_closer)


def outcomes_of(record: EvaluationRecord, answers: Answers) -> tuple[SystemOutcomes, ...]:
    """Every system's outcomes on the searches that all of them answered."""
    units = _units(record)
    readers = [_Reader(record, entry, answers) for entry in record.systems]
    common = {
        unit: photographs
        for unit, photographs in units.items()
        if all(reader.answered_all(photographs) for reader in readers)
    }
    return tuple(reader.outcomes(common, sum(map(len, units.values()))) for reader in readers)


class HasAnswers(Protocol):
    """One system's answers of another kind."""

    @property
    def answers(self) -> tuple[StoredAnswer, ...]: ...


def used_answers_sha256(
    systems: Iterable[SystemOutcomes], others: Iterable[HasAnswers] = ()
) -> str:
    """Digest of every answer that counted, whatever their order in the file.

    Lines are sorted without being held all at once: each begins with its question, and no two
    answers that counted have the same.
    """
    digest = hashlib.sha256()
    systems = tuple(systems)
    used = [one.answer for system in systems for one in system.answered]
    used += [answer for system in others for answer in system.answers]
    used += [answer for system in systems for answer in system.enroll_answers]
    for answer in sorted(used, key=lambda one: question_of(one.question)):
        digest.update(line_of(answer) + b"\n")
    return digest.hexdigest()


def _units(record: EvaluationRecord) -> dict[str, tuple[Photograph, ...]]:
    """Photographs by the search they belong to."""
    units: dict[str, list[Photograph]] = defaultdict(list)
    for photograph in record.probes:
        units[photograph.transit or photograph.sha256].append(photograph)
    return {unit: tuple(members) for unit, members in sorted(units.items())}


class _Reader:
    """Reads one system's answers."""

    def __init__(self, record: EvaluationRecord, entry: SystemEntry, answers: Answers) -> None:
        self._record = record
        self._entry = entry
        self._answers = answers
        self._questions = questions(record, entry)
        self._scale = scale_of(entry)
        self._people = {person.id: person for person in record.people}
        self._enrollments = self._enroll_answers()
        self._faces = sum(answer.enrolled for answer in self._enrollments)
        self._lowest = self._lowest_score()

    def answered_all(self, photographs: Sequence[Photograph]) -> bool:
        return all(self._search_answer(one) is not None for one in photographs)

    def outcomes(self, units: Mapping[str, tuple[Photograph, ...]], asked: int) -> SystemOutcomes:
        members = {unit: self._answered(photographs) for unit, photographs in units.items()}
        searches = [self._search(unit, own) for unit, own in members.items()]
        everything = self._answered(self._record.probes)
        sides = {person.id: person.side for person in self._record.people}
        return SystemOutcomes(
            entry=self._entry,
            enrollments=tuple(self._people_enrolled()),
            enroll_answers=self._enrollments,
            answered=everything,
            calibration=tuple(o for o in searches if sides[o.person] == "calibration"),
            test=tuple(o for o in searches if sides[o.person] == "test"),
            members=members,
            missing=asked - len(everything),
        )

    def _search_answer(self, photograph: Photograph) -> StoredAnswer | None:
        return self._answers.get(self._questions.search(photograph).key)

    def _answered(self, photographs: Iterable[Photograph]) -> tuple[AnsweredPhotograph, ...]:
        found = ((one, self._search_answer(one)) for one in photographs)
        return tuple(AnsweredPhotograph(one, answer) for one, answer in found if answer)

    # --- enrollment ---------------------------------------------------------------------------

    def _enroll_answers(self) -> tuple[StoredAnswer, ...]:
        asked = (self._questions.enroll(one) for one in self._record.gallery)
        found = (self._answers.get(question.key) for question in asked)
        return tuple(answer for answer in found if answer)

    def _people_enrolled(self) -> Iterable[EnrollmentOutcome]:
        by_person: dict[str, list[StoredAnswer]] = defaultdict(list)
        for answer in self._enrollments:
            by_person[answer.question.subject].append(answer)
        for person, own in sorted(by_person.items()):
            failures = [answer.failure.cause for answer in own if answer.failure]
            enrolled = any(answer.enrolled for answer in own)
            failure = None if enrolled else Failure(failures[0] if failures else "NO_FACE")
            yield EnrollmentOutcome(PersonId(person), failure, self._groups(person))

    # --- searches -----------------------------------------------------------------------------

    def _search(self, unit: str, members: Sequence[AnsweredPhotograph]) -> SearchOutcome:
        person: PersonEntry = self._people[members[0].photograph.person]
        good = [one.answer for one in members if one.answer.failure is None]
        failures = [one.answer.failure.cause for one in members if one.answer.failure]
        lists = [self._candidates(answer) for answer in good]
        cuts = [self._cut(a, own) for a, own in zip(good, lists, strict=True)]
        candidates, cut = lists[0] if lists else (), cuts[0] if cuts else None
        if len(lists) > 1:
            candidates, cut = _joined(lists, cuts)
        return SearchOutcome(
            search_id=unit,
            person=PersonId(person.id),
            mated=person.enrolled,
            candidates=candidates,
            cut=cut,
            failure=None if good else Failure(failures[0]),
            groups=self._groups(person.id),
        )

    def _candidates(self, answer: StoredAnswer) -> RankedSubjects:
        own = StoredCandidates.of(answer.candidates)
        return best_per_subject(RankedSubjects(own.names, own.codes, self._turned(own)))

    def _turned(self, own: StoredCandidates) -> FloatArray:
        return own.scores if self._scale.higher_is_closer else -own.scores

    def _cut(self, answer: StoredAnswer, subjects: RankedSubjects) -> Cut | None:
        """A list of fewer faces than were enrolled is cut: by its length, or by a floor that the
        system keeps to itself. Then its own lowest score is the floor, or of an empty list the
        lowest that the system ever gave."""
        returned = len(answer.candidates)
        if returned >= self._faces:
            return None
        if returned and returned >= answer.limit:
            return Cut(max_candidates=len(subjects))
        return Cut(floor=subjects[-1].score if subjects else self._lowest)

    def _lowest_score(self) -> float:
        lowest = [
            float(self._turned(StoredCandidates.of(one.answer.candidates)).min())
            for one in self._answered(self._record.probes)
            if one.answer.candidates
        ]
        ends = turned(self._scale.low, self._scale), turned(self._scale.high, self._scale)
        return min(lowest, default=max(ends))

    def _groups(self, person: str) -> tuple[GroupLabel, ...]:
        return tuple(GroupLabel(g.attribute, g.value) for g in self._people[person].groups)


def _joined(
    lists: Sequence[RankedSubjects], cuts: Sequence[Cut | None]
) -> tuple[RankedSubjects, Cut | None]:
    """The lists of a transit as one. Nothing is known below the highest place where one was cut."""
    best = best_per_subject(RankedSubjects.joined(lists))
    floors = [_cut_at(own, cut) for own, cut in zip(lists, cuts, strict=True) if cut]
    if not floors:
        return best, None
    floor = max(floors)
    return best[: np.count_nonzero(best.scores >= floor)], Cut(floor=floor)


def _cut_at(candidates: RankedSubjects, cut: Cut) -> float:
    if cut.floor is not None:
        return cut.floor
    return math.nextafter(candidates.scores[-1], math.inf)
