"""Which searches and enrollments failed, one by one: what stands behind the counts of a report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rekadapter.evaluation.answers import StoredAnswer
from rekadapter.evaluation.evaluate import StoredEvaluation
from rekadapter.evaluation.outcomes import PersonId, SearchOutcome
from rekadapter.evaluation.results import AccuracyResult, EvaluationReport
from rekadapter.evaluation.searches import SystemOutcomes, outcomes_of


class FailureKind(StrEnum):
    """What went wrong, in the order shown."""

    FALSE_ALERT = "false alert"
    SOMEBODY_ELSE = "named as somebody else"
    MISSED = "missed"
    NOT_SEARCHED = "nothing to search with"
    NOT_ENROLLED = "could not be enrolled"


@dataclass(frozen=True, slots=True)
class FailedTrial:
    """One failure. ``probe`` and ``other`` are photographs by digest, the one searched and, where
    there is one, the enrolled one of whoever was named, or should have been. Scores are on the
    system's own scale; people are pseudonyms."""

    kind: FailureKind
    probe: str
    person: PersonId
    other: str | None
    named: PersonId | None
    score: float | None
    cause: str
    eye_distance_px: float | None = None
    photographs: int = 1


@dataclass(frozen=True, slots=True)
class SystemFailures:
    """A system's failures at one threshold, worst first within each kind."""

    system: str
    label: str
    threshold: float | None
    trials: tuple[FailedTrial, ...]


def failures_of(stored: StoredEvaluation, report: EvaluationReport) -> tuple[SystemFailures, ...]:
    """Every failure on the test people, at the primary operating point of each system, or at its
    shipped default where no threshold could be chosen."""
    return tuple(
        _Reader(stored, system, _operating_point(report.accuracy, system.entry.name)).failures()
        for system in outcomes_of(stored.record, stored.answers)
    )


def _operating_point(rows: Iterable[AccuracyResult], system: str) -> AccuracyResult | None:
    own = [row for row in rows if row.system == system and row.threshold is not None]
    return next((row for row in own if row.primary), next(iter(own), None))


class _Reader:
    def __init__(
        self, stored: StoredEvaluation, system: SystemOutcomes, row: AccuracyResult | None
    ) -> None:
        self._system = system
        self._label = row.label if row else "no threshold"
        self._threshold = row.threshold if row else None
        self._turned = None if self._threshold is None else system.turned(self._threshold)
        self._enrolled = {one.person: one.sha256 for one in reversed(stored.record.gallery)}

    def failures(self) -> SystemFailures:
        found = [*self._searches(), *self._enrollments()]
        order = list(FailureKind)
        found.sort(key=lambda one: order.index(one.kind))
        return SystemFailures(self._system.entry.name, self._label, self._threshold, tuple(found))

    def _searches(self) -> Iterator[FailedTrial]:
        for outcome in sorted(self._system.test, key=_worst_first):
            trial = self._failed(outcome)
            if trial is not None:
                yield trial

    def _failed(self, outcome: SearchOutcome) -> FailedTrial | None:
        if outcome.failure is not None:
            return self._trial(FailureKind.NOT_SEARCHED, outcome, None, outcome.failure.cause)
        if self._turned is None:
            return None
        top = outcome.candidates[0] if outcome.candidates else None
        over = top is not None and top.score >= self._turned
        if not outcome.mated:
            named = top.subject if top and over else None
            return self._trial(FailureKind.FALSE_ALERT, outcome, named) if named else None
        if top and over and top.subject != outcome.person:
            return self._trial(FailureKind.SOMEBODY_ELSE, outcome, top.subject)
        found = over and top is not None and top.subject == outcome.person
        return None if found else self._trial(FailureKind.MISSED, outcome, outcome.person)

    def _trial(
        self, kind: FailureKind, outcome: SearchOutcome, named: PersonId | None, cause: str = ""
    ) -> FailedTrial:
        members = self._system.members[outcome.search_id]
        shown = next((one for one in members if one.answer.failure is None), members[0])
        score = outcome.ranked.score_of(named) if named else -math.inf
        face = shown.answer.face
        return FailedTrial(
            kind=kind,
            probe=shown.photograph.sha256,
            person=outcome.person,
            other=self._enrolled.get(named) if named else None,
            named=named,
            score=self._system.turned(score) if math.isfinite(score) else None,
            cause=cause,
            eye_distance_px=face.eye_distance_px if face else None,
            photographs=len(members),
        )

    def _enrollments(self) -> Iterator[FailedTrial]:
        for answer in sorted(self._system.enroll_answers, key=_sample):
            if answer.failure is not None:
                yield FailedTrial(
                    kind=FailureKind.NOT_ENROLLED,
                    probe=answer.question.sample,
                    person=PersonId(answer.question.subject),
                    other=None,
                    named=None,
                    score=None,
                    cause=answer.failure.cause,
                )


def _sample(answer: StoredAnswer) -> str:
    return answer.question.sample


def _worst_first(outcome: SearchOutcome) -> tuple[float, str]:
    """A false alert is the worse the higher its score, a miss the lower the right person's."""
    if not outcome.mated:
        top = outcome.candidates[0].score if outcome.candidates else float("-inf")
        return -top, outcome.search_id
    return outcome.ranked.score_of(outcome.person), outcome.search_id


def photographs_of(failures: Sequence[SystemFailures]) -> frozenset[str]:
    """Digests of every photograph that the failures are about."""
    trials = [one for system in failures for one in system.trials]
    shown = [digest for one in trials for digest in (one.probe, one.other)]
    return frozenset(digest for digest in shown if digest)
