"""What a search or a comparison of a test gave: the raw material of every figure in a report.

Three laws hold here, so that no figure can break them later:

* **Failures are outcomes.** A probe without a face, a refused request or a dropped frame is an
  outcome with a cause. It stays in every denominator and counts as score minus infinity.
* **Higher is closer.** Scores arrive turned by ``turned``: a distance is negated, a similarity is
  left alone. Negation keeps inclusive thresholds inclusive (``d <= t`` is ``-d >= -t``).
* **What was cut is named.** A candidate list is either complete, or says at which score or length
  the system cut it. A figure that would need what was cut is refused, not guessed.

A person carries the same id as a probe and as a gallery subject. All ids may be pseudonyms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NewType, Self

import numpy as np

from rekadapter.evaluation.columns import CodeArray, Columns, Names
from rekadapter.evaluation.statistics import FloatArray
from rekadapter.types import ScoreScale

PersonId = NewType("PersonId", str)


def turned(value: float, scale: ScoreScale) -> float:
    """A score or a threshold on ``scale``, turned so that higher is closer.

    A distance is negated, a similarity comes back as it is. The same function serves scores and
    thresholds, and applied twice it gives the value back.
    """
    return value if scale.higher_is_closer else -value


@dataclass(frozen=True, slots=True)
class GroupLabel:
    """One group a person belongs to, from the user's own records (self-reported or on file).

    Never from a model's output: a model's guess at sex or age has errors of its own, and they
    differ between groups.
    """

    attribute: str
    value: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no score. ``cause`` is a short, stable word that reports count by: a
    ``rekadapter.types.Reason``, the name of an error class, or a cause of a dropped frame."""

    cause: str

    def __post_init__(self) -> None:
        if not self.cause:
            raise ValueError("a failure needs a cause, or a report cannot say what went wrong")


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a system cut its candidate lists.

    ``floor``: scores below it were not returned. ``max_candidates``: no longer list was returned.
    """

    floor: float | None = None
    max_candidates: int | None = None

    def __post_init__(self) -> None:
        if self.floor is None and self.max_candidates is None:
            raise ValueError("a cut needs a score floor, a length, or both; else there is no cut")
        if self.floor is not None and not math.isfinite(self.floor):
            raise ValueError("a score floor has to be a finite number")
        if self.max_candidates is not None and self.max_candidates < 1:
            raise ValueError("a candidate list is cut to at least one candidate")


@dataclass(frozen=True, slots=True)
class ScoredSubject:
    """A gallery subject and how close the probe is to it; higher is closer."""

    subject: PersonId
    score: float


class RankedSubjects(Columns[ScoredSubject]):
    """A list of scored subjects as columns; higher is closer."""

    __slots__ = ()

    def __init__(self, names: Names, codes: CodeArray, scores: FloatArray) -> None:
        self.names, self.codes, self.scores = names, codes, scores

    @classmethod
    def of(cls, subjects: Sequence[ScoredSubject]) -> RankedSubjects:
        """The same list as columns: the list itself where it is one of them."""
        if isinstance(subjects, RankedSubjects):
            return subjects
        names = Names()
        codes = names.codes([one.subject for one in subjects])
        return cls(names, codes, np.array([one.score for one in subjects], dtype=np.float64))

    @classmethod
    def joined(cls, lists: Sequence[RankedSubjects]) -> RankedSubjects:
        """Several lists, one after the other."""
        names = lists[0].names
        codes = [one.codes_among(names) for one in lists]
        return cls(names, np.concatenate(codes), np.concatenate([one.scores for one in lists]))

    def score_of(self, subject: str) -> float:
        """A subject's score, its first where it has several; minus infinity where it has none."""
        own = self.scores[self.is_of(subject)]
        return float(own[0]) if own.size else -math.inf

    def _at(self, index: int) -> ScoredSubject:
        name = self.names.all()[self.codes[index]]
        return ScoredSubject(PersonId(name), float(self.scores[index]))

    def _part(self, part: slice) -> Self:
        return type(self)(self.names, self.codes[part], self.scores[part])


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """What one search of a gallery gave (1:N).

    ``mated`` says that the protocol put this person into the gallery. A mate whose own enrollment
    failed stays mated: the search then misses, as it would on the street.

    ``candidates`` are best first and name each subject once, with its best score (see
    ``best_per_subject``). ``cut`` is None where the list holds every subject of the gallery that
    was compared. A ``failure`` leaves the list empty.

    Raises:
        ValueError: the record contradicts itself, for example a person said to be absent from the
            gallery who stands in the candidate list.
    """

    search_id: str
    person: PersonId
    mated: bool
    candidates: Sequence[ScoredSubject] = ()
    cut: Cut | None = None
    failure: Failure | None = None
    groups: tuple[GroupLabel, ...] = ()

    @property
    def ranked(self) -> RankedSubjects:
        """The candidates as columns."""
        return RankedSubjects.of(self.candidates)

    def __post_init__(self) -> None:
        ranked = self.ranked
        if self.failure is not None and self.candidates:
            raise ValueError(f"search '{self.search_id}' failed and yet has candidates")
        if np.unique(ranked.codes).size != len(ranked):
            raise ValueError(f"search '{self.search_id}' names a subject twice: keep the best")
        if not self.mated and ranked.is_of(self.person).any():
            raise ValueError(
                f"search '{self.search_id}' is non-mated, but its person is in the gallery: "
                "correct the protocol's list of who is enrolled"
            )
        _check_scores(self, ranked.scores)


def _check_scores(outcome: SearchOutcome, scores: FloatArray) -> None:
    where = f"search '{outcome.search_id}'"
    if not np.isfinite(scores).all():
        raise ValueError(f"{where} has a score that is not a finite number")
    if (scores[:-1] < scores[1:]).any():
        raise ValueError(f"{where} does not list its candidates best first")
    if outcome.cut is None:
        return
    floor, length = outcome.cut.floor, outcome.cut.max_candidates
    if floor is not None and scores.size and scores[-1] < floor:
        raise ValueError(f"{where} has a candidate below the floor it names")
    if length is not None and scores.size > length:
        raise ValueError(f"{where} has more candidates than the length it names")


def best_per_subject(faces: Sequence[ScoredSubject]) -> RankedSubjects:
    """A candidate list of faces as one of subjects: each with its best score, best first.

    Equal scores keep the order they came in.
    """
    found = RankedSubjects.of(faces)
    codes, scores = found.codes, found.scores
    subjects, first, place = np.unique(codes, return_index=True, return_inverse=True)
    if subjects.size < codes.size:
        best = np.full(subjects.size, -math.inf)
        np.maximum.at(best, place, scores)
        came = np.argsort(first)
        codes, scores = subjects[came], best[came]
    if (scores[:-1] < scores[1:]).any():
        order = np.argsort(-scores, kind="stable")
        codes, scores = codes[order], scores[order]
    return RankedSubjects(found.names, codes, scores)


@dataclass(frozen=True, slots=True)
class ComparisonOutcome:
    """What one comparison of two images gave (1:1); mated when both show the same person.

    ``score`` is None where the comparison failed or where the system withheld it: then
    ``withheld_below`` names the score below which it withholds.
    """

    comparison_id: str
    first: PersonId
    second: PersonId
    score: float | None
    failure: Failure | None = None
    withheld_below: float | None = None
    first_groups: tuple[GroupLabel, ...] = ()
    second_groups: tuple[GroupLabel, ...] = ()

    def __post_init__(self) -> None:
        where = f"comparison '{self.comparison_id}'"
        if self.failure is not None and self.score is not None:
            raise ValueError(f"{where} failed and yet has a score")
        if self.score is None and self.failure is None and self.withheld_below is None:
            raise ValueError(f"{where} has no score: say why (failure) or where it was cut")
        if self.score is not None and not math.isfinite(self.score):
            raise ValueError(f"{where} has a score that is not a finite number")

    @property
    def mated(self) -> bool:
        return self.first == self.second


@dataclass(frozen=True, slots=True)
class EnrollmentOutcome:
    """What enrolling one person gave, over all the photographs there are of that person."""

    person: PersonId
    failure: Failure | None = None
    groups: tuple[GroupLabel, ...] = ()
