"""Two systems on the same comparisons (1:1), each at its own threshold for the same FMR.

The mirror of ``equal_fpir`` for comparisons: thresholds from the calibration people's non-mated
pairs, FNMR and FMR from the test people's pairs. A non-mated pair belongs to two people, so a
resample weighs it by how often both were drawn (w_i w_j, the pigeonhole bootstrap of
``statistics``), also where thresholds are chosen anew in each resample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rekadapter.errors import UsageError
from rekadapter.evaluation.differences import PairedDifference, PairedTrials, paired_difference
from rekadapter.evaluation.metrics import (
    ComparisonTable,
    comparison_unknown,
    fmr,
    fnmr,
    known_rate,
)
from rekadapter.evaluation.statistics import (
    Estimate,
    FloatArray,
    IntArray,
    Settings,
    batches,
    estimate_pair_rate,
    pair_counts,
    refused,
)
from rekadapter.evaluation.thresholds import (
    ThresholdChoice,
    refuse_shared_people,
    threshold_at_fmr,
)

_SCORES_KEPT = 5.0
"""Times the target share: the highest non-mated scores among which a resample's threshold lies. A
resample that would need more takes the lowest of them, so a stricter threshold."""
_FEWEST_KEPT = 500


@dataclass(frozen=True, slots=True)
class ComparisonPoint:
    """FMR and FNMR of one system at one threshold, both refused where it is None."""

    threshold: float | None
    fmr: Estimate
    fnmr: Estimate


def point_at(
    table: ComparisonTable, threshold: float, settings: Settings | None = None
) -> ComparisonPoint:
    """What a system gets wrong at a threshold, such as its shipped default."""
    unknown = comparison_unknown(table, threshold)
    wrong = fmr(table, threshold)
    return ComparisonPoint(
        threshold,
        fmr=refused(int(wrong.errors.size), None, len(table.person_ids), unknown)
        if unknown
        else estimate_pair_rate(wrong, settings),
        fnmr=known_rate(fnmr(table, threshold), unknown, settings),
    )


def at_fmr_choice(
    test: ComparisonTable, choice: ThresholdChoice, settings: Settings | None = None
) -> ComparisonPoint:
    """What a system gets wrong on the test people at a threshold chosen on others.

    Raises:
        UsageError: someone is in both sets.
    """
    refuse_shared_people(choice.calibration_people, test.people)
    if choice.threshold is not None:
        return point_at(test, choice.threshold, settings)
    reason = f"no threshold could be chosen: {choice.reason}"
    people = len(test.person_ids)
    mated = int(test.mated.sum())
    return ComparisonPoint(
        None,
        fmr=refused(int(test.mated.size) - mated, None, people, reason),
        fnmr=refused(mated, None, people, reason),
    )


# --- one system against another ---------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class SplitTables:
    """One system's comparisons of the calibration people and of the test people. Rows of two
    systems are the same pairs in the same order."""

    system: str
    calibration: ComparisonTable
    test: ComparisonTable


@dataclass(frozen=True, slots=True)
class EqualFmrRule:
    """What is compared, fixed before the run: target FMR, and the margin for B over A."""

    target_fmr: float
    margin: float


@dataclass(frozen=True, slots=True)
class EqualFmrComparison:
    """B's FNMR minus A's at the same target FMR; ``paired`` is None where ``reason`` says why."""

    paired: PairedDifference | None
    reason: str


def compare_at_equal_fmr(
    a: SplitTables, b: SplitTables, rule: EqualFmrRule, settings: Settings | None = None
) -> EqualFmrComparison:
    """Compares the misses of two systems at one target FMR on the same mated comparisons.

    Raises:
        UsageError: the two did not compare the same pairs.
    """
    settings = settings or Settings()
    for one, other in ((a.calibration, b.calibration), (a.test, b.test)):
        _refuse_other_pairs(one, other)
    choices = [threshold_at_fmr(x.calibration, rule.target_fmr, settings.evidence) for x in (a, b)]
    reason = _why_none(a, b, choices)
    if reason:
        return EqualFmrComparison(None, reason)
    limits = [math.inf if one.threshold is None else one.threshold for one in choices]
    missed = [fnmr(x.test, limit) for x, limit in zip((a, b), limits, strict=True)]
    trials = PairedTrials(missed[0].errors, missed[1].errors, missed[0].people)
    resampled = _resampled(a, b, rule, settings) if trials.people.size else None
    return EqualFmrComparison(paired_difference(trials, rule.margin, settings, resampled), "")


def _refuse_other_pairs(a: ComparisonTable, b: ComparisonTable) -> None:
    same = a.person_ids == b.person_ids and all(
        np.array_equal(x, y)
        for x, y in ((a.first, b.first), (a.second, b.second), (a.mated, b.mated))
    )
    if not same:
        raise UsageError(
            "the systems did not compare the same pairs: a comparison that failed is an outcome "
            "too, keep it"
        )


def _why_none(a: SplitTables, b: SplitTables, choices: list[ThresholdChoice]) -> str:
    for tables, choice in zip((a, b), choices, strict=True):
        if choice.threshold is None:
            return f"{tables.system} has no threshold at this FMR: {choice.reason}"
        unknown = comparison_unknown(tables.test, choice.threshold)
        if unknown:
            return f"{tables.system}: {unknown}"
    return ""


def _resampled(a: SplitTables, b: SplitTables, rule: EqualFmrRule, s: Settings) -> FloatArray:
    """B's FNMR minus A's (resamples,), thresholds chosen anew in each."""
    rng = np.random.default_rng(s.seed)
    thresholds = [_Thresholds(x.calibration, rule.target_fmr) for x in (a, b)]
    mated = a.test.mated
    scores = [x.test.score[x.test.mated] for x in (a, b)]
    tested = np.unique(a.test.first[mated], return_inverse=True)[1]
    people = int(tested.max()) + 1
    width = max(tested.size, *(one.kept for one in thresholds))
    gaps = []
    for size in batches(s.resamples, width):
        weights = thresholds[0].draws(rng, size)
        limits = [one.of(weights) for one in thresholds]
        misses = [scores[k] < limits[k][:, np.newaxis] for k in (0, 1)]
        drawn = rng.multinomial(people, np.full(people, 1 / people), size=size)[:, tested]
        gap = misses[1].astype(np.float64) - misses[0]
        gaps.append((gap * drawn).sum(axis=1) / drawn.sum(axis=1))
    return np.concatenate(gaps)


class _Thresholds:
    """Thresholds at a target FMR for people drawn anew."""

    def __init__(self, table: ComparisonTable, target: float) -> None:
        other = ~table.mated
        score, first, second = table.score[other], table.first[other], table.second[other]
        self._target = target
        self._people = len(table.person_ids)
        self._every = pair_counts(first, second, self._people)
        order = np.argsort(-score, kind="stable")
        most = min(score.size, max(_FEWEST_KEPT, math.ceil(_SCORES_KEPT * target * score.size)))
        lowest = score[order[most - 1]] if most else math.inf
        order = order[np.isfinite(score[order]) & (score[order] >= lowest)]  # ties stay whole
        self.kept = max(1, int(order.size))
        self._tops = score[order]
        self._first: IntArray = first[order]
        self._second: IntArray = second[order]
        self._last_of_tie = np.append(self._tops[1:] != self._tops[:-1], [True] * bool(order.size))

    def draws(self, rng: np.random.Generator, size: int) -> FloatArray:
        """How often each person was drawn (size, people)."""
        share = np.full(self._people, 1 / self._people)
        return rng.multinomial(self._people, share, size=size).astype(np.float64)

    def of(self, weights: FloatArray) -> FloatArray:
        """The threshold for each draw (size,); above every score where the target is out of
        reach."""
        total = ((weights @ self._every) * weights).sum(axis=1)
        drawn = weights[:, self._first] * weights[:, self._second]
        above = np.cumsum(drawn, axis=1)[:, self._last_of_tie]
        taken = (above <= self._target * total[:, np.newaxis] * (1 + 1e-12)).sum(axis=1)
        highest = self._tops[0] if self._tops.size else 0.0
        values = np.append(np.nextafter(highest, math.inf), self._tops[self._last_of_tie])
        thresholds: FloatArray = values[taken]
        return thresholds
