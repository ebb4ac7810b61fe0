"""Groups in comparisons (1:1): FMR within each group and FNMR, with intervals and ratios."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Literal

from rekadapter.evaluation.accuracy import settings_of
from rekadapter.evaluation.comparisons import SystemComparisons
from rekadapter.evaluation.demographics import (
    UNLABELED,
    GroupPoint,
    GroupRate,
    group_fmr,
    group_fnmr,
    joined,
    over_reference,
    ratio_set_of,
)
from rekadapter.evaluation.equity import SUPPRESS_BELOW
from rekadapter.evaluation.one_to_one_results import (
    ComparisonAccuracyResult,
    ComparisonEquityResult,
    ComparisonGroupResult,
    ComparisonRatioResult,
)
from rekadapter.evaluation.outcomes import ComparisonOutcome, GroupLabel
from rekadapter.evaluation.record import EvaluationRecord
from rekadapter.evaluation.result_base import EstimateResult


def groups_compared(
    record: EvaluationRecord,
    system: SystemComparisons,
    rows: Sequence[ComparisonAccuracyResult],
) -> Iterator[ComparisonEquityResult]:
    """By each attribute, and by each two together, at the threshold in force."""
    attributes = sorted({group.attribute for one in record.people for group in one.groups})
    row = _in_force(system.entry.name, rows)
    for wanted in [(one,) for one in attributes] + list(combinations(attributes, 2)):
        yield _by(record, system, wanted, row)


def _by(
    record: EvaluationRecord,
    system: SystemComparisons,
    attributes: tuple[str, ...],
    row: ComparisonAccuracyResult,
) -> ComparisonEquityResult:
    assert row.threshold is not None  # noqa: S101  the row in force has a threshold
    name = " x ".join(attributes)
    point = GroupPoint(name, system.turned(row.threshold), suppress_below=SUPPRESS_BELOW)
    test = [_relabeled(one, attributes) for one in system.test]
    reference = record.rules.reference_groups.get(name)
    wrong = group_fmr(test, point, settings_of(record))
    missed = group_fnmr(test, point, settings_of(record))
    return ComparisonEquityResult(
        system=system.entry.name,
        basis=row.label,
        attribute=name,
        threshold=row.threshold,
        per_group=tuple(_group_rows(wrong, missed)),
        ratios=(_ratio("fmr", wrong, reference), _ratio("fnmr", missed, reference)),
    )


def _in_force(system: str, rows: Sequence[ComparisonAccuracyResult]) -> ComparisonAccuracyResult:
    """The primary row, or the shipped default where no threshold could be chosen."""
    own = [row for row in rows if row.system == system]
    chosen = [row for row in own if row.primary and row.threshold is not None]
    return (chosen or [row for row in own if row.basis == "shipped_default"])[0]


def _relabeled(outcome: ComparisonOutcome, attributes: tuple[str, ...]) -> ComparisonOutcome:
    if len(attributes) == 1:
        return outcome
    return replace(
        outcome,
        first_groups=_joined(outcome.first_groups, attributes),
        second_groups=_joined(outcome.second_groups, attributes),
    )


def _joined(groups: tuple[GroupLabel, ...], attributes: tuple[str, ...]) -> tuple[GroupLabel, ...]:
    label = joined(groups, attributes)
    return (label,) if label else ()


def _group_rows(
    wrong: Sequence[GroupRate], missed: Sequence[GroupRate]
) -> Iterator[ComparisonGroupResult]:
    fmrs, fnmrs = ({rate.group: rate for rate in rates} for rates in (wrong, missed))
    for group in sorted(fmrs.keys() | fnmrs.keys()):
        found = [rates.get(group) for rates in (fmrs, fnmrs)]
        shown = [EstimateResult.of(r.estimate) if r and r.estimate else None for r in found]
        yield ComparisonGroupResult(
            group=group,
            fmr=shown[0],
            fnmr=shown[1],
            suppressed=any(rate.suppressed for rate in found if rate),
        )


def _ratio(
    metric: Literal["fmr", "fnmr"], rates: Sequence[GroupRate], reference: str | None
) -> ComparisonRatioResult:
    labeled = [rate for rate in rates if rate.group != UNLABELED]
    ratios = ratio_set_of(labeled)
    return ComparisonRatioResult(
        metric=metric,
        groups=ratios.groups,
        min=ratios.min,
        max=ratios.max,
        max_over_min=ratios.max_over_min,
        max_over_mean=ratios.max_over_mean,
        max_over_geomean=ratios.max_over_geomean,
        mean_abs_log10=ratios.mean_abs_log10,
        gini=ratios.gini,
        over_reference=over_reference(labeled, reference),
        left_out=ratios.left_out,
        reason=ratios.reason,
    )
