"""What gates look at and what they say: shared by the gates of searches and of comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from rekadapter.evaluation.one_to_one_results import FmrThresholdResult, OneToOneResult
from rekadapter.evaluation.rates import share
from rekadapter.evaluation.record import EvaluationRecord, SystemEntry
from rekadapter.evaluation.result_base import IntervalResult
from rekadapter.evaluation.results import (
    AccuracyResult,
    CameraResult,
    CostResult,
    DataResult,
    EquityResult,
    EstimateResult,
    GovernanceField,
    OpsResult,
    Outcome,
    RankResult,
    ThresholdResult,
)
from rekadapter.evaluation.statistics import Evidence, Verdict, verdict_at_most
from rekadapter.evaluation.survey_results import SurveyResult
from rekadapter.evaluation.sweep_results import SweepResult

PASS: Final[Outcome] = "pass"  # noqa: S105 - a verdict, not a password
FAIL: Final[Outcome] = "fail"
UNKNOWN: Final[Outcome] = "not enough evidence"

MADE_UP: Final = "the scores are made up"


@dataclass(frozen=True, slots=True)
class Evidences:
    """What the gates look at."""

    record: EvaluationRecord
    data: DataResult
    accuracy: Sequence[AccuracyResult]
    equity: Sequence[EquityResult]
    cameras: Sequence[CameraResult]
    ops: Sequence[OpsResult]
    cost: CostResult
    governance: Sequence[GovernanceField]
    one_to_one: OneToOneResult | None = None
    survey: SurveyResult | None = None
    sweep: SweepResult | None = None
    investigation: Sequence[RankResult] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What a gate found, by which rule, and where in the report the evidence stands."""

    result: Outcome
    rule: str
    why: str
    keys: tuple[str, ...]


class Gate(Protocol):
    """Judges one system."""

    def __call__(self, entry: SystemEntry, seen: Evidences) -> Finding: ...


def at_most(estimate: EstimateResult, limit: float) -> Outcome:
    """Whether a rate is at most ``limit``, by its whole interval."""
    verdict = verdict_at_most(estimate.estimate(), limit, Evidence())
    return {Verdict.PASS: PASS, Verdict.FAIL: FAIL, Verdict.INSUFFICIENT: UNKNOWN}[verdict]


def proposal(seen: Evidences, *names: str) -> str:
    """Words for a rule whose limits nobody stated; ``names`` are dotted keys of the rules."""
    stated = all(name in seen.record.stated for name in names)
    return "" if stated else " (limit: a proposal, nobody stated one)"


def thin(
    threshold: float | None,
    chosen: ThresholdResult | FmrThresholdResult | None,
    false_alarms: tuple[str, EstimateResult],
    misses: tuple[str, EstimateResult],
) -> Iterator[str]:
    """Why figures do not rest on enough: the threshold first, then the two rates by their names, of
    which the threshold was chosen for the first."""
    if threshold is None:
        yield f"no threshold at this {false_alarms[0]}: {chosen.reason if chosen else ''}"
    elif chosen and not chosen.sufficient:
        yield f"the threshold: {chosen.reason}"
    for name, estimate in (false_alarms, misses):
        if estimate.ci is None or estimate.people < Evidence().min_people:
            yield f"{name}: {estimate.reason}"


# --- groups -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GroupRate:
    """A rate of one group that rests on enough people, and its interval."""

    group: str
    rate: EstimateResult
    ci: IntervalResult


@dataclass(frozen=True, slots=True)
class FarApart:
    """Two groups whose rates differ too much."""

    high: GroupRate
    low: GroupRate


def group_rates(rates: Iterable[tuple[str, EstimateResult | None]]) -> Iterator[GroupRate]:
    """Those of the groups' rates that have an interval and rest on enough people."""
    for group, rate in rates:
        if rate is not None and rate.ci is not None and rate.people >= Evidence().min_people:
            yield GroupRate(group, rate, rate.ci)


def farthest_apart(rates: Sequence[GroupRate], limit: float) -> FarApart | None:
    """Two groups of which even the near ends of the intervals differ more than ``limit`` times."""
    if not rates:
        return None
    high = max(rates, key=lambda one: one.ci.lo)
    low = min(rates, key=lambda one: one.ci.hi)
    return FarApart(high, low) if high is not low and high.ci.lo > limit * low.ci.hi else None


def all_alike(rates: Sequence[GroupRate], limit: float) -> bool:
    """Whether even the far ends of no two groups' intervals differ more than ``limit`` times."""
    return all(high is low or high.ci.hi <= limit * low.ci.lo for high in rates for low in rates)


_HAPPENED: Final[Mapping[str, str]] = {
    "fnir": "misses in searches",
    "fpir": "false alerts in searches",
    "fnmr": "misses in pairs",
    "fmr": "false matches in pairs",
}


def too_unlike(attribute: str, metric: str, apart: FarApart, limit: float) -> str:
    """What is said of two groups that are too far apart."""
    high, low = (f"'{one.group}': {share(one.rate)}" for one in (apart.high, apart.low))
    return (
        f"by {attribute}, {_HAPPENED[metric]} of {high}; of {low}; more than {limit:g} times apart"
    )
