"""Whether people who judge the same things say the same: Krippendorff's alpha.

1 is perfect agreement, 0 is what chance gives, below 0 is worse than chance. It takes any number of
judges, not all of whom judge everything, which Cohen's kappa does not. Source: Krippendorff,
"Content Analysis" (2nd ed. 2004), chapter 11, for nominal data: ``1 - (n - 1) * D / E`` with D the
coincidences of unlike values, E the products of unlike values' totals, n the values that can be
paired.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rekadapter.evaluation.statistics import (
    Estimate,
    FloatArray,
    IntArray,
    Interval,
    Settings,
    batches,
    refused,
    too_few_people,
)
from rekadapter.evaluation.wording import many


def nominal_alpha(counts: NDArray[np.integer]) -> float | None:
    """Alpha of what was said: ``counts`` (units, values) holds how many judges gave each unit each
    value. None where nothing can be compared, or everybody always said the same."""
    found = _alphas(_coincidences(counts).sum(axis=0)[np.newaxis])
    return float(found[0]) if found.size else None


def estimate_alpha(counts: NDArray[np.integer], people: IntArray, settings: Settings) -> Estimate:
    """Alpha with the interval that resampled people give; ``people`` (units,) are whom the units
    are about. Refused where too few people were judged by two judges or more."""
    several = counts.sum(axis=1) > 1
    counts = counts[several]
    codes, person = np.unique(people[several], return_inverse=True)
    if not counts.size:
        return refused(0, None, 0, "no two people decided on the same")
    evidence = settings.evidence
    totals = counts.sum(axis=0)
    value = nominal_alpha(counts)
    if value is None:
        return refused(
            len(counts), None, codes.size, "everybody always said the same: nothing to measure by"
        )
    if codes.size < evidence.min_people:
        return refused(len(counts), None, codes.size, too_few_people(codes.size, evidence))
    rarer = int(totals.sum() - totals.max())
    enough = rarer >= evidence.min_errors
    return Estimate(
        value=value,
        n=len(counts),
        errors=None,
        people=codes.size,
        ci=_interval(_coincidences(counts), person.astype(np.intp), settings),
        sufficient=enough,
        reason=""
        if enough
        else f"{many(rarer, 'decision')} differed from the commonest; {evidence.min_errors} are "
        "needed to rely on it",
    )


def _coincidences(counts: NDArray[np.integer]) -> FloatArray:
    """Pairs of values within each unit (units, values, values), each unit weighted by its judges
    less one; a unit with one judge pairs nothing."""
    given = counts.astype(np.float64)
    judges = given.sum(axis=1)
    pairs = given[:, :, np.newaxis] * given[:, np.newaxis, :]
    places = np.arange(given.shape[1])
    pairs[:, places, places] -= given
    weights = np.where(judges > 1, 1 / np.maximum(judges - 1, 1), 0.0)
    found: FloatArray = pairs * weights[:, np.newaxis, np.newaxis]
    return found


def _alphas(tables: FloatArray) -> FloatArray:
    """Alpha of each table of coincidences (tables, values, values) that holds two values."""
    totals = tables.sum(axis=2)
    n = totals.sum(axis=1)
    unlike = n - np.trace(tables, axis1=1, axis2=2)
    expected = n**2 - (totals**2).sum(axis=1)
    known = expected > 1e-9
    found: FloatArray = 1 - (n[known] - 1) * unlike[known] / expected[known]
    return found


def _interval(pairs: FloatArray, person: IntArray, settings: Settings) -> Interval:
    people, values = int(person.max()) + 1, pairs.shape[1]
    own = np.zeros((people, values, values))
    np.add.at(own, person, pairs)
    rng = np.random.default_rng(settings.seed)
    drawn = []
    for size in batches(settings.resamples, people):
        weights = rng.multinomial(people, np.full(people, 1 / people), size=size)
        drawn.append(_alphas(np.tensordot(weights.astype(np.float64), own, axes=1)))
    tail = (1 - settings.level) / 2
    low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail])
    return Interval(float(low), float(high), settings.level, "resampled people, percentile")
