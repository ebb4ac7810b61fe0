"""Two systems on the same searches: the paired difference, person by person.

Sources: sign-flip permutation, Pitman, Supplement to the JRSS 4 (1937); McNemar, Psychometrika 12
(1947), its special case; a discordant observation added each way, after Agresti and Min, Statistics
in Medicine 24 (2005); Holm, Scandinavian Journal of Statistics 6 (1979).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

import numpy as np
import scipy.stats  # type: ignore[import-untyped]  # scipy ships no annotations

from rekadapter.evaluation.statistics import (
    BoolArray,
    Estimate,
    FloatArray,
    IntArray,
    Interval,
    Settings,
    Tally,
    refused,
    resampled_rates,
    too_few_people,
)

_FINEST = 2**30  # people with so many different counts of trials that no common one is smaller
_SIGNS_AT_ONCE = 4_000_000  # flipped signs held in memory at once: 32 MB


@dataclass(frozen=True, slots=True, eq=False)
class PairedTrials:
    """What systems A and B got wrong on the same trials: bool (n,) each; people as codes (n,)."""

    errors_a: BoolArray
    errors_b: BoolArray
    people: IntArray

    def __post_init__(self) -> None:
        if not self.errors_a.shape == self.errors_b.shape == self.people.shape:
            raise ValueError("paired trials need both systems' errors on the same trials")


class MarginVerdict(StrEnum):
    """Whether B is worse than A by more than the margin that was agreed beforehand."""

    NOT_WORSE = "B is not worse than A by more than the margin"
    WORSE = "B is worse than A by more than the margin"
    INSUFFICIENT = "not enough evidence"


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """B's error rate minus A's on the same trials: negative where B errs less.

    ``difference.errors`` counts the people on whom the systems differ (``discordant_people``).
    ``p_value`` (two-sided) tests that the systems are equal; None where nothing was measured.
    """

    difference: Estimate
    discordant_people: int
    p_value: float | None
    test: str
    margin: float
    verdict: MarginVerdict


def paired_difference(
    trials: PairedTrials,
    margin: float,
    settings: Settings | None = None,
    resampled: FloatArray | None = None,
) -> PairedDifference:
    """Compares two systems on the same trials, person by person.

    The p-value flips the sign of each person's mean difference at random: were the systems equal,
    A and B could change names on any person. (With one search per person this is McNemar's exact
    test.) The interval is the difference of the two rates plus or minus z standard errors over
    resampled people; one more person differing each way, as much as those who do, is added to the
    variance, so that data with no or few differences do not look certain (with none it gives
    2.8 / people, about the rule of 3).

    Args:
        trials: what each system got wrong.
        margin: the largest excess of B's rate over A's that is acceptable, fixed beforehand.
        settings: level, seed, evidence.
        resampled: differences (resamples,) that a caller resampled with more in them than the
            trials, such as the choice of thresholds; None to resample the trials' people.
    """
    if margin <= 0:
        raise ValueError("a non-inferiority margin is above 0, for example 0.02 for two points")
    settings = settings or Settings()
    gaps = _person_gaps(trials)
    discordant = int(np.count_nonzero(gaps.errors))
    difference = _difference(gaps, discordant, settings, resampled)
    tested = _sign_flip(_whole_gaps(gaps), settings) if gaps.people else None
    return PairedDifference(
        difference=difference,
        discordant_people=discordant,
        p_value=tested,
        test="sign-flip permutation of each person's mean difference",
        margin=margin,
        verdict=_margin_verdict(difference, margin),
    )


def _person_gaps(trials: PairedTrials) -> Tally:
    """Per person: B's errors minus A's, and trials."""
    _, person = np.unique(trials.people, return_inverse=True)
    gap = trials.errors_b.astype(np.float64) - trials.errors_a
    return Tally(
        np.bincount(person, weights=gap).astype(np.float64), np.bincount(person).astype(np.float64)
    )


def _difference(
    gaps: Tally, discordant: int, settings: Settings, resampled: FloatArray | None
) -> Estimate:
    n, people = int(gaps.trials.sum()), gaps.people
    if people < settings.evidence.min_people:
        reason = too_few_people(people, settings.evidence) if n else "nothing was measured"
        return refused(n, discordant, people, reason)
    value = float(gaps.errors.sum() / n)
    spread = resampled_rates(gaps, settings) if resampled is None else resampled
    error = math.sqrt(float(spread.var()) + 2 * _typical_gap(gaps) ** 2 / people**2)
    reach = NormalDist().inv_cdf(0.5 + settings.level / 2) * error
    enough = discordant >= settings.evidence.min_errors
    few = f"the systems differ on {discordant} people only"
    low, high = max(-1.0, value - reach), min(1.0, value + reach)
    return Estimate(
        value=value,
        n=n,
        errors=discordant,
        people=people,
        ci=Interval(low, high, settings.level, "resampled people, normal"),
        sufficient=enough,
        reason="" if enough else few,
    )


def _typical_gap(gaps: Tally) -> float:
    """Root mean square of the differing people's mean differences; 1 where nobody differs."""
    means = gaps.errors / gaps.trials
    moved = means[means != 0]
    return math.sqrt(float((moved**2).mean())) if moved.size else 1.0


def _whole_gaps(gaps: Tally) -> FloatArray:
    """Each person's mean difference times one factor, as whole numbers.

    Sums of them are exact in any order, so that no last bit decides whether a flipped sum ties with
    the one observed.
    """
    common = math.lcm(*{int(trials) for trials in gaps.trials})
    return np.rint(gaps.errors / gaps.trials * min(common, _FINEST))


def _sign_flip(differences: FloatArray, settings: Settings) -> float:
    moved = differences[differences != 0]  # a sign flip leaves a zero where it is
    if moved.size < 2:
        return 1.0  # one person's sign is as likely either way
    # sorted and turned, so that neither the order of people nor which system is A moves the draw
    moved = np.sort(moved if moved.sum() >= 0 else -moved)
    tested = scipy.stats.permutation_test(
        (moved,),
        lambda x, axis: np.sum(x, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=settings.permutations,
        batch=max(1, _SIGNS_AT_ONCE // moved.size),
        rng=np.random.default_rng(settings.seed),
    )
    return float(min(1.0, tested.pvalue))


def _margin_verdict(difference: Estimate, margin: float) -> MarginVerdict:
    if difference.ci is None:
        return MarginVerdict.INSUFFICIENT
    if difference.ci.high < margin:
        return MarginVerdict.NOT_WORSE
    if difference.ci.low > margin:
        return MarginVerdict.WORSE
    return MarginVerdict.INSUFFICIENT


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's adjusted p-values, in the order given: each may be held against the level itself,
    and the chance of any false finding among all of them stays at that level."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)
