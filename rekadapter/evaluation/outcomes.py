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
from dataclasses import dataclass
from itertools import pairwise
from typing import NewType

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
    candidates: tuple[ScoredSubject, ...] = ()
    cut: Cut | None = None
    failure: Failure | None = None
    groups: tuple[GroupLabel, ...] = ()

    def __post_init__(self) -> None:
        subjects = {candidate.subject for candidate in self.candidates}
        if self.failure is not None and self.candidates:
            raise ValueError(f"search '{self.search_id}' failed and yet has candidates")
        if len(subjects) != len(self.candidates):
            raise ValueError(f"search '{self.search_id}' names a subject twice: keep the best")
        if not self.mated and self.person in subjects:
            raise ValueError(
                f"search '{self.search_id}' is non-mated, but its person is in the gallery: "
                "correct the protocol's list of who is enrolled"
            )
        _check_scores(self)


def _check_scores(outcome: SearchOutcome) -> None:
    scores = [candidate.score for candidate in outcome.candidates]
    where = f"search '{outcome.search_id}'"
    if not all(map(math.isfinite, scores)):
        raise ValueError(f"{where} has a score that is not a finite number")
    if any(better < worse for better, worse in pairwise(scores)):
        raise ValueError(f"{where} does not list its candidates best first")
    if outcome.cut is None:
        return
    floor, length = outcome.cut.floor, outcome.cut.max_candidates
    if floor is not None and scores and scores[-1] < floor:
        raise ValueError(f"{where} has a candidate below the floor it names")
    if length is not None and len(scores) > length:
        raise ValueError(f"{where} has more candidates than the length it names")


def best_per_subject(faces: tuple[ScoredSubject, ...]) -> tuple[ScoredSubject, ...]:
    """A candidate list of faces as one of subjects: each with its best score, best first.

    Equal scores keep the order they came in.
    """
    best: dict[PersonId, float] = {}
    for face in faces:
        best[face.subject] = max(face.score, best.get(face.subject, -math.inf))
    ranked = sorted(best.items(), key=lambda item: -item[1])
    return tuple(ScoredSubject(subject, score) for subject, score in ranked)


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
