"""Error rates by group, and the few ratios that compare them.

Per-group rates with intervals come first, NIST's ratios second, single-number scores last: a score
such as FDR calls a 333-fold difference in FMR fair (see the worked example in the tests).

Labels come from the user's own records, never from a model's output. A cell of few people is
suppressed: with a handful of people a rate says nothing about the group and something about them.
(A reader may still subtract published cells from a published total; suppress a second cell by hand
where that matters.)

What is measured here is matching. Gender Shades and Actionable Auditing measured the classification
of gender, another task; their figures do not carry over.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from rekadapter.evaluation.metrics import (
    ANY_RANK,
    comparison_table,
    comparison_unknown,
    fmr,
    fnir,
    fnir_unknown,
    fnmr,
    fpir,
    fpir_unknown,
    known_rate,
    search_table,
)
from rekadapter.evaluation.outcomes import ComparisonOutcome, GroupLabel, SearchOutcome
from rekadapter.evaluation.statistics import (
    Estimate,
    FloatArray,
    IntArray,
    Settings,
    estimate_pair_rate,
    refused,
)

UNLABELED = "not labeled"
"""The row of people whose records carry no label for the attribute."""

_Outcome = TypeVar("_Outcome", SearchOutcome, ComparisonOutcome)


@dataclass(frozen=True, slots=True)
class GroupPoint:
    """Where group rates are taken: attribute, threshold, rank limit.

    A cell of fewer than ``suppress_below`` people is not shown at all.
    """

    attribute: str
    threshold: float
    rank: int = ANY_RANK
    suppress_below: int = 10


@dataclass(frozen=True, slots=True)
class GroupRate:
    """One group's rate. A ``suppressed`` cell carries no figure, not even its size."""

    group: str
    estimate: Estimate | None
    suppressed: bool = False


def joined(labels: Sequence[GroupLabel], attributes: Sequence[str]) -> GroupLabel | None:
    """The label of an intersection such as ``sex x age``, or None where one of them is missing."""
    values = {label.attribute: label.value for label in labels}
    if not all(attribute in values for attribute in attributes):
        return None
    return GroupLabel(" x ".join(attributes), " x ".join(values[a] for a in attributes))


def group_fnir(
    outcomes: Iterable[SearchOutcome], point: GroupPoint, settings: Settings | None = None
) -> tuple[GroupRate, ...]:
    """FNIR by the group of the person searched, groups in alphabetical order."""

    def rate(searches: list[SearchOutcome]) -> Estimate:
        table = search_table(searches)
        unknown = fnir_unknown(table, point.threshold, point.rank)
        return known_rate(fnir(table, point.threshold, point.rank), unknown, settings)

    return _by_group((o for o in outcomes if o.mated), point, _search_group, rate)


def group_fpir(
    outcomes: Iterable[SearchOutcome], point: GroupPoint, settings: Settings | None = None
) -> tuple[GroupRate, ...]:
    """FPIR by the group of the person searched.

    It depends on who is in the gallery: read it beside the gallery's composition.
    """

    def rate(searches: list[SearchOutcome]) -> Estimate:
        table = search_table(searches)
        unknown = fpir_unknown(table, point.threshold)
        return known_rate(fpir(table, point.threshold), unknown, settings)

    return _by_group((o for o in outcomes if not o.mated), point, _search_group, rate)


def group_fnmr(
    outcomes: Iterable[ComparisonOutcome], point: GroupPoint, settings: Settings | None = None
) -> tuple[GroupRate, ...]:
    """FNMR by the group of the person compared."""

    def rate(compared: list[ComparisonOutcome]) -> Estimate:
        table = comparison_table(compared)
        unknown = comparison_unknown(table, point.threshold)
        return known_rate(fnmr(table, point.threshold), unknown, settings)

    return _by_group((o for o in outcomes if o.mated), point, _comparison_group, rate)


def group_fmr(
    outcomes: Iterable[ComparisonOutcome], point: GroupPoint, settings: Settings | None = None
) -> tuple[GroupRate, ...]:
    """FMR among pairs of different people of the same group; pairs across groups are left out.

    NIST measures differentials on such pairs, where false matches are most frequent.
    """

    def rate(compared: list[ComparisonOutcome]) -> Estimate:
        table = comparison_table(compared)
        unknown = comparison_unknown(table, point.threshold)
        trials = fmr(table, point.threshold)
        if unknown:
            return refused(int(trials.errors.size), None, len(table.person_ids), unknown)
        return estimate_pair_rate(trials, settings)

    within = (
        o
        for o in outcomes
        if not o.mated and _comparison_group(o, point) == _value(o.second_groups, point)
    )
    return _by_group(within, point, _comparison_group, rate)


def _value(groups: Sequence[GroupLabel], point: GroupPoint) -> str:
    values = (label.value for label in groups if label.attribute == point.attribute)
    return next(values, UNLABELED)


def _search_group(outcome: SearchOutcome, point: GroupPoint) -> str:
    return _value(outcome.groups, point)


def _comparison_group(outcome: ComparisonOutcome, point: GroupPoint) -> str:
    return _value(outcome.first_groups, point)


def _by_group(
    outcomes: Iterable[_Outcome],
    point: GroupPoint,
    group_of: Callable[[_Outcome, GroupPoint], str],
    rate: Callable[[list[_Outcome]], Estimate],
) -> tuple[GroupRate, ...]:
    cells: dict[str, list[_Outcome]] = defaultdict(list)
    for outcome in outcomes:
        cells[group_of(outcome, point)].append(outcome)
    rates = []
    for group, members in sorted(cells.items()):
        estimate = rate(members)
        hidden = estimate.people < point.suppress_below
        rates.append(GroupRate(group, None if hidden else estimate, suppressed=hidden))
    return tuple(rates)


# --- NIST's ratio set -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RatioSet:
    """How far the rates of groups lie apart; every field None, with a reason, where undefined.

    The columns of NIST's FRTE demographics page (read 2024-09-20) and NISTIR 8429 (2022), sections
    on summary measures. ``gini`` is the Gini coefficient with the small-sample factor n / (n - 1):
    0 for equal rates, 1 where one group has all errors. ``left_out`` names groups without enough
    evidence.
    """

    groups: int
    min: float | None = None
    max: float | None = None
    max_over_min: float | None = None
    max_over_mean: float | None = None
    max_over_geomean: float | None = None
    mean_abs_log10: float | None = None
    gini: float | None = None
    left_out: tuple[str, ...] = ()
    reason: str = ""


def ratio_set(rates: Sequence[float]) -> RatioSet:
    """The ratio set of raw rates, one per group. Refused below two groups or where one is 0: no
    ratio to nothing is finite, and a zero is a bound, not a rate."""
    x = np.asarray(rates, dtype=np.float64)
    if x.size < 2:
        return RatioSet(int(x.size), reason="ratios need at least two groups with a rate")
    if not np.all(np.isfinite(x)) or x.min() < 0:
        raise ValueError("rates are finite and not negative")
    if x.min() == 0:
        return RatioSet(int(x.size), reason="a group without any error has no ratio to the others")
    logs = np.log10(x)
    geomean = 10 ** logs.mean()
    return RatioSet(
        groups=int(x.size),
        min=float(x.min()),
        max=float(x.max()),
        max_over_min=float(x.max() / x.min()),
        max_over_mean=float(x.max() / x.mean()),
        max_over_geomean=float(x.max() / geomean),
        mean_abs_log10=float(np.abs(logs - logs.mean()).mean()),
        gini=gini(rates),
    )


def ratio_set_of(groups: Sequence[GroupRate]) -> RatioSet:
    """The ratio set of the groups with enough evidence; the others are named, not guessed."""
    enough = [g.estimate for g in groups if g.estimate is not None and g.estimate.sufficient]
    found = ratio_set([e.value for e in enough if e.value is not None])
    left_out = tuple(g.group for g in groups if g.estimate is None or not g.estimate.sufficient)
    return RatioSet(
        groups=found.groups,
        min=found.min,
        max=found.max,
        max_over_min=found.max_over_min,
        max_over_mean=found.max_over_mean,
        max_over_geomean=found.max_over_geomean,
        mean_abs_log10=found.mean_abs_log10,
        gini=found.gini,
        left_out=left_out,
        reason=found.reason,
    )


def over_reference(groups: Sequence[GroupRate], reference: str | None) -> dict[str, float]:
    """Each other group's rate over that of the reference group, groups in alphabetical order;
    empty without a reference, and only groups with enough evidence.

    NIST's page gives the same as differences of logarithms.
    """
    enough = {
        g.group: g.estimate.value
        for g in groups
        if g.estimate is not None and g.estimate.sufficient and g.estimate.value
    }
    base = enough.pop(reference, None) if reference is not None else None
    return {} if base is None else {group: rate / base for group, rate in sorted(enough.items())}


# --- could it be chance -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class PeopleByGroup:
    """Per person: errors, trials, and the group as a code; arrays (people,)."""

    errors: FloatArray
    trials: FloatArray
    group: IntArray


def chance_of_spread(people: PeopleByGroup, settings: Settings | None = None) -> float | None:
    """How often groups drawn at random would lie as far apart as these: a permutation p-value.

    The largest of several rates always exceeds the smallest, so a ratio above 1 is no finding by
    itself. People, with all their trials, are dealt to the groups anew; the distance is the
    trial-weighted variance between the groups' rates. None below two groups or without an error.
    """
    settings = settings or Settings()
    _, group = np.unique(people.group, return_inverse=True)
    if group.size == 0 or group.max() == 0 or people.errors.sum() == 0:
        return None
    observed = _between(people, group)
    rng = np.random.default_rng(settings.seed)
    beyond = sum(
        _between(people, rng.permutation(group)) >= observed * (1 - 1e-12)
        for _ in range(settings.permutations)
    )
    return (1 + beyond) / (1 + settings.permutations)


def _between(people: PeopleByGroup, group: IntArray) -> float:
    errors = np.bincount(group, weights=people.errors)
    trials = np.bincount(group, weights=people.trials)
    overall = errors.sum() / trials.sum()
    return float((trials * (errors / trials - overall) ** 2).sum())


# --- single-number scores, for an appendix ----------------------------------------------------


def gini(values: Sequence[float]) -> float:
    """Gini coefficient ``n / (n - 1) * sum_ij |x_i - x_j| / (2 n^2 mean)``; 0 for all zeros.

    The factor makes it reach 1 for any number of groups. Source: Howard et al., "Evaluating
    Proposed Fairness Models for Face Recognition Algorithms" (2022); formula not checked against
    the primary text.
    """
    x = np.asarray(values, dtype=np.float64)
    n = x.size
    if n < 2:
        raise ValueError("a Gini coefficient needs at least two groups")
    apart = float(np.abs(x[:, np.newaxis] - x[np.newaxis, :]).sum())
    return n / (n - 1) * apart / (2 * n * n * float(x.mean())) if apart else 0.0


@dataclass(frozen=True, slots=True)
class GroupErrors:
    """FMR and FNMR of the same groups, in the same order (FPIR and FNIR for searches)."""

    false_match: tuple[float, ...]
    false_non_match: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.false_match) != len(self.false_non_match) or len(self.false_match) < 2:
            raise ValueError("the scores need both rates of at least two groups")


def fairness_discrepancy_rate(errors: GroupErrors, alpha: float = 0.5) -> float:
    """FDR: 1 minus the weighted largest differences between groups; 1 is called fair.

    Blind at the scale of a good FMR, where differences are tiny whatever their ratio. Source: de
    Freitas Pereira and Marcel, "Fairness in Biometrics", IEEE T-BIOM 4 (2022).
    """
    a = max(errors.false_match) - min(errors.false_match)
    b = max(errors.false_non_match) - min(errors.false_non_match)
    return 1 - (alpha * a + (1 - alpha) * b)


def inequity_rate(errors: GroupErrors, alpha: float = 0.5) -> float | None:
    """IR: weighted product of the max/min ratios; 1 is equal. None where a group has no errors.

    Source: Grother, NISTIR 8429 (2022); formula not checked against the primary text.
    """
    if min(errors.false_match) <= 0 or min(errors.false_non_match) <= 0:
        return None
    a = max(errors.false_match) / min(errors.false_match)
    b = max(errors.false_non_match) / min(errors.false_non_match)
    return math.pow(a, alpha) * math.pow(b, 1 - alpha)


def garbe(errors: GroupErrors, alpha: float = 0.5) -> float:
    """GARBE: weighted Gini coefficients of both rates; 0 is equal.

    Source: Howard et al. (2022), as for ``gini``; formula not checked against the primary text.
    """
    return alpha * gini(errors.false_match) + (1 - alpha) * gini(errors.false_non_match)
