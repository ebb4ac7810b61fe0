"""Rates in words, as every table and sentence of an evaluation prints them."""

from __future__ import annotations

from rekadapter.evaluation.results import EstimateResult


def percent(rate: float) -> str:
    """A rate as a percentage with two significant digits: ``0.034 %``, ``2.4 %``, ``100 %``."""
    value = 100 * rate
    return f"{value:.0f} %" if value >= 9.95 else f"{value:.2g} %"


def share(estimate: EstimateResult) -> str:
    """A rate in words: the value with its interval, a bound, or that it is not known."""
    ci = estimate.ci
    if estimate.value is not None and ci is not None:
        few = "" if estimate.sufficient else "; few errors"
        return f"{percent(estimate.value)} ({percent(ci.lo)} to {percent(ci.hi)}{few})"
    if estimate.errors == 0 and ci is not None:
        units = "people" if estimate.unit == "person" else estimate.unit
        return f"none of {estimate.n:,} (at most {percent(ci.hi)}: {estimate.people} {units})"
    return f"not known ({estimate.reason})"


def counted(estimate: EstimateResult, trials: str) -> str:
    """A rate with what it was counted from, for a sentence: ``55 of 600 searches of 300 enrolled
    people, 9.2 % (6.8 % to 12 %)``. ``trials`` holds ``{n}`` and ``{people}``."""
    ci = estimate.ci
    known = estimate.value is not None or estimate.errors == 0
    if ci is None or not known:
        return f"not known ({estimate.reason})"
    of = trials.format(n=f"{estimate.n:,}", people=f"{estimate.people:,}")
    if estimate.value is None:
        return f"none of {of}, at most {percent(ci.hi)}"
    few = "; few errors" if not estimate.sufficient else ""
    between = f"{percent(ci.lo)} to {percent(ci.hi)}{few}"
    return f"{estimate.errors:,} of {of}, {percent(estimate.value)} ({between})"
