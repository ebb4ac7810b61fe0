"""From stored answers to outcomes of comparisons (1:1), and where their scores come from.

A system's own compare operation gives a score for a pair. A search gives one too, for the searched
photograph against each enrolled one; whether that is the same comparison is checked and not
assumed: on the pairs that have both, the two scores have to agree, or to fail together. Where they
do for every system that was asked, the searches' scores count, of which there are many more; if
not, only the pairs compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, Literal

from rekadapter.evaluation.answers import StoredAnswer, StoredCandidates
from rekadapter.evaluation.compare_runner import planned_pairs
from rekadapter.evaluation.comparison_plan import PhotographPairs, photographs_by_digest
from rekadapter.evaluation.outcomes import (
    ComparisonOutcome,
    Failure,
    GroupLabel,
    PersonId,
    turned,
)
from rekadapter.evaluation.record import EvaluationRecord, PairEntry, SystemEntry
from rekadapter.evaluation.runner import questions
from rekadapter.evaluation.searches import Answers, scale_of
from rekadapter.evaluation.statistics import FloatArray

TOLERANCE: Final = 1e-4
"""Of the scale's range, what two scores of one comparison may differ by: rounding, not more."""
MIN_CHECKED: Final = 10
"""Pairs that have to agree before searches are taken for comparisons."""
MOST_NONMATED: Final = 200_000
"""Non-mated pairs taken from searches: a bound on memory and time, by the order of the draw."""

Kind = Literal["compare", "search", "none"]


@dataclass(frozen=True, slots=True)
class ScoreSource:
    """Where one system's comparison scores come from.

    ``compared`` of ``planned`` pairs were answered by its compare operation; ``checked`` of them
    also stand in a search. ``differing`` of those disagree by more than ``tolerance``, or only one
    of the two failed; ``largest_difference`` is on the system's own scale.
    """

    kind: Kind
    planned: int
    compared: int
    checked: int
    differing: int
    largest_difference: float | None
    tolerance: float

    @property
    def searches_agree(self) -> bool:
        """Whether searches were shown to make the same comparison."""
        return self.checked >= MIN_CHECKED and not self.differing


@dataclass(frozen=True, slots=True)
class SystemComparisons:
    """One system's comparisons, by the people of both sides; the same pairs in the same order for
    every system that has any. ``answers`` are those of its compare operation, for timing."""

    entry: SystemEntry
    source: ScoreSource
    calibration: tuple[ComparisonOutcome, ...]
    test: tuple[ComparisonOutcome, ...]
    answers: tuple[StoredAnswer, ...]

    def turned(self, value: float) -> float:
        """A score or threshold of this system, turned so that higher is closer, or back."""
        return turned(value, scale_of(self.entry))


def comparisons_of(record: EvaluationRecord, answers: Answers) -> tuple[SystemComparisons, ...]:
    """Every system's comparisons, on the pairs that all systems with scores have."""
    plan = record.comparisons
    if plan is None:
        return ()
    readers = [_Reader(record, entry, answers) for entry in record.systems]
    asked = [reader for reader in readers if reader.compared]
    agree = bool(asked) and all(reader.source.searches_agree for reader in asked)
    kind: Kind = "search" if agree and not plan.exact else "compare"
    pairs = _common(record, asked, kind) if asked else []
    return tuple(
        reader.comparisons(kind, pairs) if reader in asked else reader.comparisons("none", [])
        for reader in readers
    )


def _common(
    record: EvaluationRecord, asked: Sequence[_Reader], kind: Kind
) -> list[tuple[PairEntry, bool]]:
    """Pairs that every system answered, and whether both people choose thresholds."""
    assert record.comparisons is not None  # noqa: S101  the caller has a plan
    calibration = frozenset(record.comparisons.calibration)
    pairs: Iterable[PairEntry] = record.comparisons.pairs
    if kind == "search":
        drawn = PhotographPairs(record, calibration)
        pairs = (*drawn.mated(), *islice(drawn.nonmated(), MOST_NONMATED))
    people = {sha: one.person for sha, one in photographs_by_digest(record).items()}
    common = [pair for pair in pairs if all(reader.has(pair, kind) for reader in asked)]
    choosing = [people[pair.first] in calibration for pair in common]
    return [
        (pair, first)
        for pair, first in zip(common, choosing, strict=True)
        if first == (people[pair.second] in calibration)
    ]


@dataclass(frozen=True, slots=True)
class _PairScore:
    """What one system said of a pair: a turned score, a failure, or the score below which it said
    nothing."""

    score: float | None = None
    failure: str | None = None
    withheld_below: float | None = None


class _Reader:
    """Reads one system's answers to comparisons."""

    def __init__(self, record: EvaluationRecord, entry: SystemEntry, answers: Answers) -> None:
        self._entry = entry
        self._scale = scale_of(entry)
        self._photographs = photographs_by_digest(record)
        self._groups = {
            person.id: tuple(GroupLabel(g.attribute, g.value) for g in person.groups)
            for person in record.people
        }
        planned = planned_pairs(record, entry)
        asker = questions(record, entry)
        found = ((pair, answers.get(asker.compare(pair).key)) for pair in planned)
        self.compared: Mapping[PairEntry, StoredAnswer] = {p: a for p, a in found if a}
        self._searches = _SearchScores(record, entry, answers)
        self.source = self._checked(len(planned))

    def has(self, pair: PairEntry, kind: Kind) -> bool:
        return self._searches.answered(pair) if kind == "search" else pair in self.compared

    def comparisons(self, kind: Kind, pairs: Sequence[tuple[PairEntry, bool]]) -> SystemComparisons:
        outcomes = [(self._outcome(pair, kind), choosing) for pair, choosing in pairs]
        return SystemComparisons(
            entry=self._entry,
            source=replace(self.source, kind=kind),
            calibration=tuple(outcome for outcome, choosing in outcomes if choosing),
            test=tuple(outcome for outcome, choosing in outcomes if not choosing),
            answers=tuple(self.compared.values()),
        )

    def _checked(self, planned: int) -> ScoreSource:
        allowed = TOLERANCE * (self._scale.high - self._scale.low)
        both = [
            (self._score(pair, "compare"), self._score(pair, "search"))
            for pair in self.compared
            if self._searches.answered(pair)
        ]
        gaps = [_gap(a, b) for a, b in both if b.withheld_below is None]
        return ScoreSource(
            kind="none",
            planned=planned,
            compared=len(self.compared),
            checked=len(gaps),
            differing=sum(gap > allowed for gap in gaps),
            largest_difference=max(filter(math.isfinite, gaps), default=None),
            tolerance=allowed,
        )

    def _score(self, pair: PairEntry, kind: Kind) -> _PairScore:
        if kind == "search":
            return self._searches.of(pair)
        answer = self.compared[pair]
        if answer.failure is not None:
            return _PairScore(failure=answer.failure.cause)
        return _PairScore(score=turned(answer.candidates[0].score, self._scale))

    def _outcome(self, pair: PairEntry, kind: Kind) -> ComparisonOutcome:
        found = self._score(pair, kind)
        first, second = (self._photographs[sha].person for sha in (pair.first, pair.second))
        return ComparisonOutcome(
            comparison_id=pair.first,
            first=PersonId(first),
            second=PersonId(second),
            score=found.score,
            failure=Failure(found.failure) if found.failure else None,
            withheld_below=found.withheld_below,
            first_groups=self._groups[first],
            second_groups=self._groups[second],
        )


def _gap(a: _PairScore, b: _PairScore) -> float:
    """How far two scores of one pair lie apart; infinite where only one of them failed."""
    if a.score is None or b.score is None:
        return 0.0 if a.score is b.score else math.inf
    return abs(a.score - b.score)


class _SearchScores:
    """Scores of pairs as the searches gave them: searched photograph first, enrolled second."""

    def __init__(self, record: EvaluationRecord, entry: SystemEntry, answers: Answers) -> None:
        asker = questions(record, entry)
        self._scale = scale_of(entry)
        enrollments = {one.sha256: answers.get(asker.enroll(one).key) for one in record.gallery}
        searches = {one.sha256: answers.get(asker.search(one).key) for one in record.probes}
        self._people = {one.sha256: one.person for one in record.gallery}
        self._enrollments = {sha: answer for sha, answer in enrollments.items() if answer}
        self._searches = {sha: answer for sha, answer in searches.items() if answer}
        self._faces = sum(answer.enrolled for answer in self._enrollments.values())
        self._lists = {
            sha: StoredCandidates.of(answer.candidates) for sha, answer in self._searches.items()
        }
        every = (self._turned(own.scores).min() for own in self._lists.values() if len(own))
        ends = turned(self._scale.low, self._scale), turned(self._scale.high, self._scale)
        self._lowest = float(min(every, default=max(ends)))

    def answered(self, pair: PairEntry) -> bool:
        return pair.first in self._searches and pair.second in self._enrollments

    def of(self, pair: PairEntry) -> _PairScore:
        search, enrollment = self._searches[pair.first], self._enrollments[pair.second]
        for failure in (search.failure, enrollment.failure):
            if failure is not None:
                return _PairScore(failure=failure.cause)
        own = self._lists[pair.first]
        scores = own.scores[own.is_of(self._people[pair.second])]
        if scores.size:
            return _PairScore(score=float(self._turned(scores).max()))
        return _PairScore(withheld_below=self._cut(pair.first))

    def _turned(self, scores: FloatArray) -> FloatArray:
        return scores if self._scale.higher_is_closer else -scores

    def _cut(self, sha: str) -> float:
        """Below which score nothing is known of who is not in this photograph's list."""
        own = self._lists[sha]
        returned = len(own)
        lowest = float(self._turned(own.scores).min()) if returned else self._lowest
        full = returned >= self._searches[sha].limit or returned >= self._faces
        return math.nextafter(lowest, math.inf) if full else lowest
