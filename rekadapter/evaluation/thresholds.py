"""Thresholds chosen on one set of people and applied to another.

A ``ThresholdChoice`` remembers whom it was chosen on, and ``at_choice`` refuses to report it on any
of them: a threshold cannot leak into its own test by mistake.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rekadapter.errors import UsageError
from rekadapter.evaluation.metrics import (
    ANY_RANK,
    ComparisonTable,
    OperatingPoint,
    SearchTable,
    operating_point,
)
from rekadapter.evaluation.outcomes import PersonId
from rekadapter.evaluation.statistics import (
    Evidence,
    FloatArray,
    IntArray,
    Settings,
    refused,
    too_few_people,
)


@dataclass(frozen=True, slots=True)
class ThresholdChoice:
    """The lowest score that occurred whose false positive rate is at most ``target``.

    ``threshold`` is None where the calibration data cannot reach the target; ``reason`` says why,
    and it also explains a choice that is not ``sufficient``. ``achieved`` is the rate on the
    calibration people: at most the target, and less where ``ties`` searches share the next lower
    score and would all have to be let in together.
    """

    metric: str
    target: float
    threshold: float | None
    achieved: float | None
    trials: int
    errors: int
    ties: int
    sufficient: bool
    reason: str
    calibration_people: frozenset[PersonId]

    @property
    def basis(self) -> str:
        """Where the threshold comes from, in words."""
        return f"{self.metric} {self.target:g} on {len(self.calibration_people)} calibration people"


def threshold_at_fpir(
    calibration: SearchTable, target: float, evidence: Evidence | None = None
) -> ThresholdChoice:
    """The threshold that keeps FPIR at or below ``target`` among the calibration people.

    Refused without at least one error allowed (``target`` times searches below 1), with too few
    people, or where ties at the highest score leave the target out of reach.
    """
    searches = calibration.nonmated
    floor = float(searches.floor.max()) if searches.floor.size else -math.inf
    false_scores = _FalseScores("FPIR", searches.top, _distinct(searches.people), floor)
    return _choose(false_scores, target, calibration.people, evidence or Evidence())


def threshold_at_fmr(
    calibration: ComparisonTable, target: float, evidence: Evidence | None = None
) -> ThresholdChoice:
    """The threshold that keeps FMR at or below ``target`` among the calibration people."""
    other = ~calibration.mated
    people = _distinct(np.concatenate([calibration.first[other], calibration.second[other]]))
    scores = _FalseScores("FMR", calibration.score[other], people, calibration.withheld_below)
    return _choose(scores, target, calibration.people, evidence or Evidence())


def at_choice(
    test: SearchTable,
    choice: ThresholdChoice,
    rank: int = ANY_RANK,
    settings: Settings | None = None,
) -> OperatingPoint:
    """What the system does on the test people at a threshold chosen on others.

    Raises:
        UsageError: someone is in both sets.
    """
    refuse_shared_people(choice.calibration_people, test.people)
    if choice.threshold is not None:
        return operating_point(test, choice.basis, choice.threshold, rank, settings)
    reason = f"no threshold could be chosen: {choice.reason}"
    mated, nonmated = test.mated.people, test.nonmated.people
    none = refused(int(nonmated.size), None, _distinct(nonmated), reason)
    return OperatingPoint(
        basis=choice.basis,
        threshold=None,
        rank=None if rank == ANY_RANK else rank,
        fnir=refused(int(mated.size), None, _distinct(mated), reason),
        fpir=none,
        selectivity=none,
    )


def refuse_shared_people(calibration: frozenset[PersonId], test: frozenset[PersonId]) -> None:
    """Raises ``UsageError`` where a person is in both sets."""
    shared = calibration & test
    if shared:
        raise UsageError(
            f"{len(shared)} people are in both the calibration and the test set: split the people "
            "first (split_people), then their searches"
        )


@dataclass(frozen=True, slots=True, eq=False)
class _FalseScores:
    """Scores of trials that should not match (n,), minus infinity where there is none."""

    metric: str
    scores: FloatArray
    people: int
    floor: float


def _choose(
    false: _FalseScores, target: float, people: frozenset[PersonId], evidence: Evidence
) -> ThresholdChoice:
    if not 0 < target < 1:
        raise ValueError("a target rate lies between 0 and 1, for example 0.003")
    trials = int(false.scores.size)
    values, counts = np.unique(false.scores[np.isfinite(false.scores)], return_counts=True)
    above = np.cumsum(counts[::-1])  # trials at or above each value, from the highest down
    taken = int(np.searchsorted(above, target * trials * (1 + 1e-12), side="right"))
    errors = int(above[taken - 1]) if taken else 0
    ties = int(counts[::-1][taken]) if taken < values.size else 0
    why = _why_none(false, target, taken, evidence)
    weak = why or _why_weak(false, errors, taken, evidence)
    return ThresholdChoice(
        metric=false.metric,
        target=target,
        threshold=None if why else float(values[::-1][taken - 1]),
        achieved=None if why else errors / trials,
        trials=trials,
        errors=errors,
        ties=ties,
        sufficient=not weak,
        reason=weak,
        calibration_people=people,
    )


def _why_none(false: _FalseScores, target: float, taken: int, evidence: Evidence) -> str:
    trials = false.scores.size
    if false.people < evidence.min_people:
        return too_few_people(false.people, evidence)
    if target * trials * (1 + 1e-12) < 1:
        needed = math.ceil(1 / target - 1e-9)
        return f"{trials} trials cannot show {false.metric} {target:g}: it takes {needed} at least"
    if taken:
        return ""
    highest = float(false.scores.max())
    if math.isinf(highest):
        return f"no trial gave a score, so every threshold keeps {false.metric} at 0"
    shared = int((false.scores == highest).sum())
    return (
        f"{shared} of {trials} trials share the highest score {highest:g}: the lowest "
        f"{false.metric} that can be reached is {shared / trials:.2g}"
    )


def _why_weak(false: _FalseScores, errors: int, taken: int, evidence: Evidence) -> str:
    if taken == np.unique(false.scores[np.isfinite(false.scores)]).size and false.floor > -math.inf:
        return f"scores below {false.floor:g} were not returned: a lower threshold may also do"
    if errors < evidence.min_errors:
        return f"the threshold rests on {errors} errors; {evidence.min_errors} are needed"
    return ""


def _distinct(codes: IntArray) -> int:
    return int(np.unique(codes).size)
