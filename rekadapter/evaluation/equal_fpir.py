"""Two systems on the same searches, each at its own threshold for the same false positive rate.

Scores of two systems mean nothing to each other; the rate of false alerts does. So each system gets
the threshold that gives the target FPIR on the calibration people, and their misses are compared on
the test people, person by person. The interval resamples both sets of people and chooses the
thresholds anew each time, so that it holds the uncertainty of the thresholds too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rekadapter.errors import UsageError
from rekadapter.evaluation.differences import (
    PairedDifference,
    PairedTrials,
    paired_difference,
)
from rekadapter.evaluation.metrics import (
    ANY_RANK,
    NonmatedSearches,
    OperatingPoint,
    SearchTable,
    fnir,
    fnir_unknown,
    search_table,
)
from rekadapter.evaluation.outcomes import SearchOutcome
from rekadapter.evaluation.statistics import FloatArray, IntArray, Settings, batches
from rekadapter.evaluation.thresholds import ThresholdChoice, at_choice, threshold_at_fpir


@dataclass(frozen=True, slots=True)
class SystemSearches:
    """One system's searches of the calibration people and of the test people."""

    system: str
    calibration: tuple[SearchOutcome, ...]
    test: tuple[SearchOutcome, ...]


@dataclass(frozen=True, slots=True)
class EqualFpirRule:
    """What is compared, fixed before the run: target FPIR, margin for B over A, rank limit."""

    target_fpir: float
    margin: float
    rank: int = ANY_RANK


@dataclass(frozen=True, slots=True)
class EqualFpirComparison:
    """Both systems at the same target FPIR; ``paired`` is None where ``reason`` says why."""

    choice_a: ThresholdChoice
    choice_b: ThresholdChoice
    a: OperatingPoint
    b: OperatingPoint
    paired: PairedDifference | None
    reason: str


def compare_at_equal_fpir(
    a: SystemSearches, b: SystemSearches, rule: EqualFpirRule, settings: Settings | None = None
) -> EqualFpirComparison:
    """Compares the misses of two systems at one target FPIR on the same searches.

    Raises:
        UsageError: the two did not run the same searches, or someone is in both sets of people.
    """
    settings = settings or Settings()
    refuse_other_searches(a.calibration, b.calibration)
    refuse_other_searches(a.test, b.test)
    calibration = _table(a.calibration), _table(b.calibration)
    test = _table(a.test), _table(b.test)
    choices = [threshold_at_fpir(c, rule.target_fpir, settings.evidence) for c in calibration]
    points = [
        at_choice(table, choice, rule.rank, settings)
        for table, choice in zip(test, choices, strict=True)
    ]
    pair = _Pair(calibration, test, rule)
    reason = _why_none((a.system, b.system), pair, choices)
    return EqualFpirComparison(
        choice_a=choices[0],
        choice_b=choices[1],
        a=points[0],
        b=points[1],
        paired=None if reason else _paired(pair, choices, settings),
        reason=reason,
    )


def refuse_other_searches(a: tuple[SearchOutcome, ...], b: tuple[SearchOutcome, ...]) -> None:
    """Raises ``UsageError`` unless both ran the same searches of the same people."""
    keys = [{(o.search_id, o.person, o.mated) for o in outcomes} for outcomes in (a, b)]
    if keys[0] != keys[1] or not len(a) == len(b) == len(keys[0]):
        apart = len(keys[0] ^ keys[1])
        raise UsageError(
            f"the systems did not run the same searches ({apart} differ, {len(a)} against "
            f"{len(b)}): a search that failed is an outcome too, keep it"
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """Tables of A and B whose rows are the same searches in the same order."""

    calibration: tuple[SearchTable, SearchTable]
    test: tuple[SearchTable, SearchTable]
    rule: EqualFpirRule


def _table(outcomes: tuple[SearchOutcome, ...]) -> SearchTable:
    return search_table(sorted(outcomes, key=lambda outcome: outcome.search_id))


def _why_none(names: tuple[str, str], pair: _Pair, choices: list[ThresholdChoice]) -> str:
    for name, table, choice in zip(names, pair.test, choices, strict=True):
        if choice.threshold is None:
            return f"{name} has no threshold at this FPIR: {choice.reason}"
        unknown = fnir_unknown(table, choice.threshold, pair.rule.rank)
        if unknown:
            return f"{name}: {unknown}"
    return ""


def _paired(pair: _Pair, choices: list[ThresholdChoice], settings: Settings) -> PairedDifference:
    errors = [
        fnir(table, math.inf if choice.threshold is None else choice.threshold, pair.rule.rank)
        for table, choice in zip(pair.test, choices, strict=True)
    ]
    trials = PairedTrials(errors[0].errors, errors[1].errors, errors[0].people)
    if trials.people.size == 0:
        return paired_difference(trials, pair.rule.margin, settings)
    return paired_difference(trials, pair.rule.margin, settings, _resampled(pair, settings))


def _resampled(pair: _Pair, settings: Settings) -> FloatArray:
    """B's FNIR minus A's (resamples,), thresholds chosen anew in each."""
    rng = np.random.default_rng(settings.seed)
    chosen_on = [table.nonmated for table in pair.calibration]
    mates = [_ranked_scores(table, pair.rule.rank) for table in pair.test]
    tested = _dense(pair.test[0].mated.people)
    calibrated = _dense(chosen_on[0].people)
    width = max(tested.size, calibrated.size)
    gaps = []
    for size in batches(settings.resamples, width):
        weights = _weights(rng, calibrated, size)
        limits = [weighted_thresholds(c, weights, pair.rule.target_fpir) for c in chosen_on]
        misses = [mates[k] < limits[k][:, np.newaxis] for k in (0, 1)]
        drawn = _weights(rng, tested, size)
        gap = misses[1].astype(np.float64) - misses[0]
        gaps.append((gap * drawn).sum(axis=1) / drawn.sum(axis=1))
    return np.concatenate(gaps)


def _ranked_scores(table: SearchTable, rank: int) -> FloatArray:
    """Mates' scores (n,), minus infinity where the mate is not among the first ``rank``."""
    return np.where(table.mated.rank <= rank, table.mated.score, -math.inf)


def _dense(codes: IntArray) -> IntArray:
    """Codes of people as 0, 1, 2, ... without gaps."""
    return np.unique(codes, return_inverse=True)[1].astype(np.intp)


def _weights(rng: np.random.Generator, people: IntArray, size: int) -> FloatArray:
    """How often each trial's person was drawn (size, n)."""
    count = int(people.max()) + 1
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=size)
    return drawn[:, people].astype(np.float64)


def weighted_thresholds(
    searches: NonmatedSearches, weights: FloatArray, target: float
) -> FloatArray:
    """The threshold at the target FPIR for each row of weights (size,).

    Where ties put the target out of reach in a draw, nothing passes: the threshold lies above
    every score.
    """
    order = np.argsort(-searches.top, kind="stable")
    tops = searches.top[order]
    last_of_tie = np.append(tops[1:] != tops[:-1], True) & np.isfinite(tops)
    above = np.cumsum(weights[:, order], axis=1)[:, last_of_tie]
    allowed = target * weights.sum(axis=1, keepdims=True) * (1 + 1e-12)
    taken = (above <= allowed).sum(axis=1)
    values = np.append(np.nextafter(tops[0], math.inf), tops[last_of_tie])
    thresholds: FloatArray = values[taken]
    return thresholds
