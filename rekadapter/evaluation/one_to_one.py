"""The section on comparisons (1:1): FMR and FNMR at chosen and shipped thresholds, DET, groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Final

import numpy as np

from rekadapter.evaluation.accuracy import default_thresholds, settings_of
from rekadapter.evaluation.answers import Stage
from rekadapter.evaluation.comparison_plan import photographs_by_digest
from rekadapter.evaluation.comparisons import ScoreSource, SystemComparisons
from rekadapter.evaluation.differences import holm
from rekadapter.evaluation.equal_fmr import (
    ComparisonPoint,
    EqualFmrRule,
    SplitTables,
    at_fmr_choice,
    compare_at_equal_fmr,
    point_at,
)
from rekadapter.evaluation.gallery_size import fpir_if_independent
from rekadapter.evaluation.metrics import comparison_det, comparison_table, failure_causes
from rekadapter.evaluation.one_to_one_groups import groups_compared
from rekadapter.evaluation.one_to_one_results import (
    ComparisonAccuracyResult,
    ComparisonCause,
    ComparisonDetResult,
    ComparisonFailureResult,
    ComparisonLatencyResult,
    FmrThresholdResult,
    ImpliedFpirResult,
    OneToOneResult,
    PairedComparisonResult,
    ScoreSourceResult,
)
from rekadapter.evaluation.outcomes import ComparisonOutcome
from rekadapter.evaluation.rates import percent
from rekadapter.evaluation.record import EvaluationRecord
from rekadapter.evaluation.result_base import EstimateResult
from rekadapter.evaluation.statistics import Settings, Trials, estimate_rate
from rekadapter.evaluation.summary import percentile
from rekadapter.evaluation.thresholds import ThresholdChoice, threshold_at_fmr

_DET_POINTS: Final = 200


def one_to_one_section(
    record: EvaluationRecord, systems: Sequence[SystemComparisons]
) -> OneToOneResult | None:
    """Every figure about comparisons; None where the record plans none."""
    plan = record.comparisons
    if plan is None or not systems:
        return None
    benches = [_Bench(record, one) for one in systems if one.source.kind != "none"]
    first = benches[0] if benches else None
    pairs = first.everything if first else ()
    tables = first.tables if first else None
    targets = _targets(record, benches)
    rows = tuple(row for bench in benches for row in bench.rows(targets))
    return OneToOneResult(
        only=plan.exact,
        target_fmr=record.rules.one_to_one.target_fmr,
        mated=sum(pair.mated for pair in pairs),
        nonmated=sum(not pair.mated for pair in pairs),
        test_mated=int(tables.test.mated.sum()) if tables else 0,
        test_nonmated=int((~tables.test.mated).sum()) if tables else 0,
        crossing=plan.crossing,
        calibration_people=len(tables.calibration.person_ids) if tables else 0,
        test_people=len(tables.test.person_ids) if tables else 0,
        missing=sum(one.source.planned - one.source.compared for one in systems),
        sources=tuple(_source(one) for one in systems),
        accuracy=rows,
        det=tuple(bench.det() for bench in benches),
        paired=_paired(record, benches, targets),
        failures=tuple(bench.failures() for bench in benches),
        implied_fpir=tuple(_implied(rows)),
        equity=tuple(
            row for bench in benches for row in groups_compared(record, bench.system, rows)
        ),
        latency=tuple(_latency(record, one) for one in systems if one.answers),
        notes=tuple(_notes(record, systems)),
    )


def _targets(record: EvaluationRecord, benches: Sequence[_Bench]) -> list[float]:
    rules = record.rules.one_to_one
    return [
        target
        for target in rules.all_targets
        if target == rules.target_fmr
        or any(bench.choice(target).threshold is not None for bench in benches)
    ]


class _Bench:
    """One system on its comparisons."""

    def __init__(self, record: EvaluationRecord, system: SystemComparisons) -> None:
        self.system = system
        self._record = record
        self._settings: Settings = settings_of(record)
        self.tables = SplitTables(
            self.name, comparison_table(system.calibration), comparison_table(system.test)
        )

    @property
    def name(self) -> str:
        return self.system.entry.name

    @property
    def everything(self) -> tuple[ComparisonOutcome, ...]:
        return self.system.calibration + self.system.test

    def choice(self, target: float) -> ThresholdChoice:
        return threshold_at_fmr(self.tables.calibration, target, self._settings.evidence)

    # --- operating points ---------------------------------------------------------------------

    def rows(self, targets: Sequence[float]) -> Iterator[ComparisonAccuracyResult]:
        for target in targets:
            choice = self.choice(target)
            point = at_fmr_choice(self.tables.test, choice, self._settings)
            yield self._row(point, f"FMR {percent(target)}").model_copy(
                update={
                    "basis": "equal_fmr",
                    "target_fmr": target,
                    "primary": target == self._record.rules.one_to_one.target_fmr,
                    "chosen": self._chosen(choice),
                }
            )
        for default in default_thresholds(self.system.entry):
            at = self.system.turned(default.threshold)
            point = point_at(self.tables.test, at, self._settings)
            yield self._row(point, f"{default.label} {default.threshold:g}")

    def _row(self, point: ComparisonPoint, label: str) -> ComparisonAccuracyResult:
        at = point.threshold
        return ComparisonAccuracyResult(
            system=self.name,
            basis="shipped_default",
            label=label,
            target_fmr=None,
            primary=False,
            threshold=None if at is None else self.system.turned(at),
            chosen=None,
            fmr=EstimateResult.of(point.fmr),
            fnmr=EstimateResult.of(point.fnmr),
        )

    def _chosen(self, choice: ThresholdChoice) -> FmrThresholdResult:
        at = choice.threshold
        return FmrThresholdResult(
            target_fmr=choice.target,
            threshold=None if at is None else self.system.turned(at),
            achieved=choice.achieved,
            comparisons=choice.trials,
            errors=choice.errors,
            ties=choice.ties,
            people=len(choice.calibration_people),
            sufficient=choice.sufficient,
            reason=choice.reason,
        )

    def det(self) -> ComparisonDetResult:
        curve = comparison_det(self.tables.test).thinned(_DET_POINTS)
        few = len(self.tables.test.person_ids) < self._settings.evidence.min_people
        rows = zip(curve.false_positive, curve.false_negative, curve.threshold, strict=True)
        points = tuple((float(fp), float(fn), self.system.turned(float(at))) for fp, fn, at in rows)
        cut = curve.cut_at
        return ComparisonDetResult(
            system=self.name,
            points=() if few else points,
            cut_at=None if cut is None else self.system.turned(cut),
        )

    # --- failures -----------------------------------------------------------------------------

    def failures(self) -> ComparisonFailureResult:
        """The rate is over mated pairs, each of one person; the causes are of all pairs."""
        mated = [one for one in self.everything if one.mated]
        trials = _trials([one.failure is not None for one in mated], [one.first for one in mated])
        return ComparisonFailureResult(
            system=self.name,
            failed=EstimateResult.of(estimate_rate(trials, self._settings)),
            causes=tuple(
                ComparisonCause(cause=one.cause, count=one.count)
                for one in failure_causes(self.everything)
            ),
        )


_GALLERIES: Final = (1_000, 10_000, 25_000)
"""Sizes of galleries for which an FMR is turned into a share of searches with a false alert."""


def _implied(rows: Sequence[ComparisonAccuracyResult]) -> Iterator[ImpliedFpirResult]:
    """What the FMR at each primary and shipped threshold would be among many people."""
    for row in rows:
        value, ci = row.fmr.value, row.fmr.ci
        if value is None or ci is None or not (row.primary or row.basis == "shipped_default"):
            continue
        for size in _GALLERIES:
            ends = [fpir_if_independent(rate, size) for rate in (value, ci.lo, ci.hi)]
            yield ImpliedFpirResult(
                system=row.system,
                label=row.label,
                gallery_size=size,
                fpir=ends[0],
                lo=ends[1],
                hi=ends[2],
            )


# --- one against the other --------------------------------------------------------------------


def _paired(
    record: EvaluationRecord, benches: Sequence[_Bench], targets: Sequence[float]
) -> tuple[PairedComparisonResult, ...]:
    """Each two systems at each target; Holm over all but the primary comparisons."""
    found = [
        _compared(record, a, b, target) for a, b in combinations(benches, 2) for target in targets
    ]
    others = [i for i, one in enumerate(found) if not one.primary and one.p_value is not None]
    adjusted = holm([found[i].p_value or 0.0 for i in others])
    for index, p in zip(others, adjusted, strict=True):
        found[index] = found[index].model_copy(update={"p_holm": p})
    return tuple(found)


def _compared(
    record: EvaluationRecord, a: _Bench, b: _Bench, target: float
) -> PairedComparisonResult:
    rules = record.rules
    rule = EqualFmrRule(target, rules.margin)
    compared = compare_at_equal_fmr(a.tables, b.tables, rule, settings_of(record))
    pair = compared.paired
    few = pair is None or pair.difference.value is None
    return PairedComparisonResult(
        a=a.name,
        b=b.name,
        target_fmr=target,
        primary=target == rules.one_to_one.target_fmr,
        diff=EstimateResult.of(pair.difference) if pair else None,
        discordant_people=pair.discordant_people if pair else None,
        p_value=None if pair is None or few else pair.p_value,
        p_holm=None,
        test=pair.test if pair else "",
        margin=rules.margin,
        verdict=str(pair.verdict) if pair else "not enough evidence",
        reason=compared.reason,
    )


# --- where scores come from, and how long they took -------------------------------------------


def _source(one: SystemComparisons) -> ScoreSourceResult:
    source = one.source
    operation = "CompareFaces" if one.entry.kind == "rekognition" else "verify"
    return ScoreSourceResult(
        system=one.entry.name,
        source=source.kind,
        operation=operation,
        planned=source.planned,
        compared=source.compared,
        checked=source.checked,
        differing=source.differing,
        largest_difference=source.largest_difference,
        tolerance=source.tolerance,
        sentence=_sentence(one, operation),
    )


def _sentence(one: SystemComparisons, operation: str) -> str:
    source = one.source
    if source.kind == "none":
        if source.planned:
            return f"none of its {source.planned} comparisons was answered"
        return f"{operation} is paid by the call and was not asked: give --pairs to compare"
    if source.kind == "search":
        return (
            f"scores of its searches: on {source.checked} pairs {operation} gave the same score "
            f"(largest difference {source.largest_difference or 0.0:.2g}, allowed "
            f"{source.tolerance:.2g})"
        )
    return f"{operation}, on {source.compared:,} pairs{_beside_searches(source)}"


def _beside_searches(source: ScoreSource) -> str:
    """Why a system's searches are not taken for comparisons."""
    if not source.checked:
        return ""
    if source.differing:
        return f"; its searches gave other scores on {source.differing} of {source.checked}"
    if not source.searches_agree:
        return f"; on {source.checked} its searches agree, too few to take them all for it"
    return f"; its searches agree on {source.checked}, but not every system's do"


def _latency(record: EvaluationRecord, one: SystemComparisons) -> ComparisonLatencyResult:
    asked = [a for a in one.answers if not (a.failure and a.failure.stage is Stage.IMAGE)]
    refused = [a.failure is not None and a.failure.stage is Stage.REQUEST for a in asked]
    times = [
        1000 * answer.answer_seconds
        for answer, failed in zip(asked, refused, strict=True)
        if not failed
    ]
    owners = {sha: photo.person for sha, photo in photographs_by_digest(record).items()}
    failures = _trials(refused, [owners[answer.question.sample] for answer in asked])
    return ComparisonLatencyResult(
        system=one.entry.name,
        n=len(times),
        failed_requests=EstimateResult.of(estimate_rate(failures, settings_of(record))),
        p50_ms=percentile(times, 50),
        p95_ms=percentile(times, 95),
        p99_ms=percentile(times, 99),
    )


def _trials(failed: Sequence[bool], people: Sequence[str]) -> Trials:
    codes = np.unique(np.array(people, dtype=np.str_), return_inverse=True)[1]
    return Trials(np.array(failed, dtype=np.bool_), codes.astype(np.intp))


def _notes(record: EvaluationRecord, systems: Sequence[SystemComparisons]) -> Iterator[str]:
    plan = record.comparisons
    if plan is not None and plan.exact:
        yield (
            "Public lists of pairs are a poor guide to a purchase: models were trained and chosen "
            "on them, and on LFW nearly all claim over 99 %. Use people and cameras of your own."
        )
    if plan is not None and plan.crossing:
        yield (
            f"{plan.crossing:,} pairs join somebody who chooses thresholds with somebody who tests "
            "them. They were compared and stand in no figure."
        )
    if any(one.source.kind == "search" for one in systems):
        yield (
            "Pairs are a searched and an enrolled photograph. Photographs of people with several "
            "enrolled ones are left out: a candidate list does not say which of them was meant."
        )
    yield (
        "Pairs of two people were not chosen for likeness. Impostors who choose whom they "
        "resemble, and people of one family, are matched more often than this."
    )
