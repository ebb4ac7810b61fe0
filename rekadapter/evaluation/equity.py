"""The section on groups: rates per group first, ratios second, single numbers last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Final, Literal

import numpy as np

from rekadapter.evaluation.accuracy import row_in_force, settings_of
from rekadapter.evaluation.demographics import (
    UNLABELED,
    GroupErrors,
    GroupPoint,
    GroupRate,
    PeopleByGroup,
    chance_of_spread,
    fairness_discrepancy_rate,
    garbe,
    group_fnir,
    group_fpir,
    inequity_rate,
    joined,
    over_reference,
    ratio_set_of,
)
from rekadapter.evaluation.metrics import ANY_RANK, fnir, fpir, search_table
from rekadapter.evaluation.outcomes import SearchOutcome
from rekadapter.evaluation.record import EvaluationRecord
from rekadapter.evaluation.results import (
    AccuracyResult,
    EquityResult,
    EstimateResult,
    GroupCount,
    GroupCurvePoint,
    GroupResult,
    RatioResult,
    ScoresResult,
)
from rekadapter.evaluation.searches import SystemOutcomes
from rekadapter.evaluation.statistics import Settings, tally_people
from rekadapter.evaluation.summary import percentile

SUPPRESS_BELOW: Final = 10
"""People; a cell of fewer says more about them than about their group."""
_CURVE_POINTS: Final = 15


def equity_sections(
    record: EvaluationRecord,
    systems: Sequence[SystemOutcomes],
    accuracy: Sequence[AccuracyResult],
) -> Iterator[EquityResult]:
    """Each system by each attribute, and by each two attributes together."""
    attributes = sorted({label.attribute for one in record.people for label in one.groups})
    for system in systems:
        row = row_in_force(system.entry.name, accuracy)
        for attribute in attributes:
            yield _Cells(record, system, row, (attribute,)).result()
        for pair in combinations(attributes, 2):
            yield _Cells(record, system, row, pair).result()


def group_counts(record: EvaluationRecord) -> Iterator[GroupCount]:
    """The composition of gallery and of the people absent from it, small cells suppressed."""
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for person in record.people:
        for label in person.groups:
            counts[label.attribute, label.value][0 if person.enrolled else 1] += 1
    for (attribute, value), (enrolled, absent) in sorted(counts.items()):
        yield GroupCount(
            attribute=attribute, value=value, enrolled=_shown(enrolled), absent=_shown(absent)
        )


def _shown(count: int) -> int | None:
    return None if 0 < count < SUPPRESS_BELOW else count


class _Cells:
    """One system's groups by one attribute, or by several together."""

    def __init__(
        self,
        record: EvaluationRecord,
        system: SystemOutcomes,
        row: AccuracyResult,
        attributes: tuple[str, ...],
    ) -> None:
        self._settings: Settings = settings_of(record)
        self._rank = record.rules.rank or ANY_RANK
        self._system = system
        self._row = row
        self._attribute = " x ".join(attributes)
        self._searches = [_relabeled(one, attributes) for one in system.test]
        at = row.threshold
        assert at is not None  # noqa: S101  the row in force has a threshold
        self._at = system.turned(at)
        self._reference = record.rules.reference_groups.get(self._attribute)

    def result(self) -> EquityResult:
        point = GroupPoint(self._attribute, self._at, self._rank, SUPPRESS_BELOW)
        positive = group_fpir(self._searches, point, self._settings)
        negative = group_fnir(self._searches, point, self._settings)
        return EquityResult(
            system=self._system.entry.name,
            basis=self._row.label,
            attribute=self._attribute,
            threshold=self._row.threshold,
            per_group=tuple(self._with_quality(row) for row in _rows(positive, negative)),
            ratios=(self._ratio("fpir", positive), self._ratio("fnir", negative)),
            scores=_scores(positive, negative),
            fpir_by_threshold=tuple(self._curve(positive)),
            reason="",
        )

    def _with_quality(self, row: GroupResult) -> GroupResult:
        """Misses are mostly photographic: few pixels or little light stand beside them."""
        if row.suppressed:
            return row
        faces = [
            one.answer.face
            for search in self._searches
            if self._group(search) == row.group
            for one in self._system.members[search.search_id]
            if one.answer.face is not None
        ]
        return row.model_copy(
            update={
                "eye_px_p50": _median(face.eye_distance_px for face in faces),
                "brightness_p50": _median(face.brightness for face in faces),
                "sharpness_p50": _median(face.sharpness for face in faces),
            }
        )

    def _ratio(self, metric: Literal["fpir", "fnir"], rates: Sequence[GroupRate]) -> RatioResult:
        labeled = [rate for rate in rates if rate.group != UNLABELED]
        ratios = ratio_set_of(labeled)
        return RatioResult(
            metric=metric,
            groups=ratios.groups,
            min=ratios.min,
            max=ratios.max,
            max_over_min=ratios.max_over_min,
            max_over_mean=ratios.max_over_mean,
            max_over_geomean=ratios.max_over_geomean,
            mean_abs_log10=ratios.mean_abs_log10,
            gini=ratios.gini,
            over_reference=over_reference(labeled, self._reference),
            chance_p=self._chance(metric, labeled),
            left_out=ratios.left_out,
            reason=ratios.reason,
        )

    def _chance(self, metric: str, rates: Sequence[GroupRate]) -> float | None:
        """The permutation p-value over groups that are shown with a figure."""
        shown = {r.group for r in rates if r.estimate and r.estimate.value is not None}
        mated = metric == "fnir"
        own = [o for o in self._searches if o.mated == mated and self._group(o) in shown]
        if len(shown) < 2 or not own:
            return None
        table = search_table(own)
        trials = fnir(table, self._at, self._rank) if mated else fpir(table, self._at)
        tally = tally_people(trials)
        groups = {o.person: self._group(o) for o in own}
        codes = {group: code for code, group in enumerate(sorted(shown))}
        people = [table.person_ids[code] for code in np.unique(trials.people)]
        group = np.array([codes[groups[person]] for person in people], dtype=np.intp)
        return chance_of_spread(PeopleByGroup(tally.errors, tally.trials, group), self._settings)

    def _curve(self, rates: Sequence[GroupRate]) -> Iterator[GroupCurvePoint]:
        """FPIR by group over thresholds: equity is a function of the threshold."""
        shown = [
            rate.group
            for rate in rates
            if rate.estimate and rate.estimate.people >= self._settings.evidence.min_people
        ]
        everybody = search_table([o for o in self._searches if not o.mated])
        tops = everybody.nonmated.top
        tops = np.unique(tops[np.isfinite(tops)])
        if len(shown) < 2 or tops.size < 2:
            return
        own = {
            group: search_table(
                [o for o in self._searches if not o.mated and self._group(o) == group]
            )
            for group in shown
        }
        places = np.linspace(0.2, 1, _CURVE_POINTS) * (tops.size - 1)
        for at in (float(tops[place]) for place in np.unique(places.astype(int))):
            yield GroupCurvePoint(
                threshold=self._system.turned(at),
                overall=fpir(everybody, at).rate,
                groups={group: fpir(table, at).rate for group, table in own.items()},
            )

    def _group(self, outcome: SearchOutcome) -> str:
        values = (g.value for g in outcome.groups if g.attribute == self._attribute)
        return next(values, UNLABELED)


def _relabeled(outcome: SearchOutcome, attributes: tuple[str, ...]) -> SearchOutcome:
    if len(attributes) == 1:
        return outcome
    label = joined(outcome.groups, attributes)
    return replace(outcome, groups=(label,) if label else ())


def _median(values: Iterable[float | None]) -> float | None:
    return percentile([value for value in values if value is not None], 50)


def _rows(positive: Sequence[GroupRate], negative: Sequence[GroupRate]) -> Iterator[GroupResult]:
    fpirs = {rate.group: rate for rate in positive}
    fnirs = {rate.group: rate for rate in negative}
    for group in sorted(fpirs.keys() | fnirs.keys()):
        yield GroupResult(
            group=group,
            fpir=_estimate(fpirs.get(group)),
            fnir=_estimate(fnirs.get(group)),
            eye_px_p50=None,
            brightness_p50=None,
            sharpness_p50=None,
            suppressed=any(r.suppressed for r in (fpirs.get(group), fnirs.get(group)) if r),
        )


def _estimate(rate: GroupRate | None) -> EstimateResult | None:
    return EstimateResult.of(rate.estimate) if rate and rate.estimate else None


def _scores(positive: Sequence[GroupRate], negative: Sequence[GroupRate]) -> ScoresResult:
    """FDR, IR and GARBE of the groups with enough evidence for both rates."""
    fpirs = {r.group: r.estimate.value for r in positive if r.estimate and r.estimate.sufficient}
    fnirs = {r.group: r.estimate.value for r in negative if r.estimate and r.estimate.sufficient}
    both = sorted((fpirs.keys() & fnirs.keys()) - {UNLABELED})
    pairs = [(fpirs[group], fnirs[group]) for group in both]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    if len(known) < 2:
        return ScoresResult(fdr=None, ir=None, garbe=None)
    errors = GroupErrors(tuple(a for a, _ in known), tuple(b for _, b in known))
    return ScoresResult(
        fdr=fairness_discrepancy_rate(errors), ir=inequity_rate(errors), garbe=garbe(errors)
    )
