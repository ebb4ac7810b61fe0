"""The accuracy sections of a report: operating points, DET, ranks, gallery size, pairs, policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

from rekadapter.evaluation.answers import StoredAnswer, StoredCandidates
from rekadapter.evaluation.consequences import consequences
from rekadapter.evaluation.differences import holm
from rekadapter.evaluation.equal_fpir import (
    EqualFpirRule,
    SystemSearches,
    compare_at_equal_fpir,
)
from rekadapter.evaluation.gallery_size import (
    GallerySizeEffect,
    GallerySizePoint,
    SizePlan,
    gallery_size_effect,
)
from rekadapter.evaluation.metrics import (
    ANY_RANK,
    NO_THRESHOLD,
    OperatingPoint,
    SearchTable,
    det_curve,
    failure_to_acquire,
    failure_to_enroll,
    fnir,
    fnir_unknown,
    known_rate,
    operating_point,
    search_table,
)
from rekadapter.evaluation.outcomes import PersonId, turned
from rekadapter.evaluation.rates import percent
from rekadapter.evaluation.record import EvaluationRecord, SystemEntry
from rekadapter.evaluation.results import (
    AccuracyResult,
    AlertTimeResult,
    CauseResult,
    ConsequenceResult,
    DefaultThreshold,
    DetResult,
    EstimateResult,
    FailureResult,
    GallerySizeResult,
    PairedResult,
    PolicyResult,
    RankResult,
    SizePoint,
    ThresholdResult,
)
from rekadapter.evaluation.searches import SystemOutcomes, scale_of
from rekadapter.evaluation.statistics import Settings, estimate_rate
from rekadapter.evaluation.summary import percentile
from rekadapter.evaluation.thresholds import ThresholdChoice, at_choice, threshold_at_fpir

RANKS: Final = (1, 10, 20)
_DET_POINTS: Final = 200
_AWS_ADVICE: Final = DefaultThreshold(
    label="AWS's advice for public safety",
    threshold=99.0,
    source="AWS developer guide, public safety use cases: 99 or more, with human review",
)


def settings_of(record: EvaluationRecord) -> Settings:
    """The statistics' settings by the rules."""
    rules = record.rules
    return Settings(resamples=rules.resamples, permutations=rules.permutations, seed=rules.seed)


def default_thresholds(entry: SystemEntry) -> tuple[DefaultThreshold, ...]:
    """What a system ships with, and what its vendor advises."""
    shipped = DefaultThreshold(
        label="shipped default",
        threshold=entry.default_threshold,
        source=entry.details.get("threshold_origin", "the backend's own default"),
    )
    return (shipped, _AWS_ADVICE) if entry.kind == "rekognition" else (shipped,)


def row_in_force(system: str, accuracy: Sequence[AccuracyResult]) -> AccuracyResult:
    """A system's primary row; where no threshold could be chosen, the threshold it ran with or its
    shipped default. It has a threshold."""
    own = [row for row in accuracy if row.system == system]
    chosen = [row for row in own if row.primary and row.threshold is not None]
    return (chosen or [row for row in own if row.basis != "equal_fpir"])[0]


@dataclass(frozen=True, slots=True)
class AccuracySections:
    """What this module adds to a report."""

    failures: tuple[FailureResult, ...]
    accuracy: tuple[AccuracyResult, ...]
    det: tuple[DetResult, ...]
    investigation: tuple[RankResult, ...]
    gallery_size: tuple[GallerySizeResult, ...]
    paired: tuple[PairedResult, ...]
    policy: tuple[PolicyResult, ...]
    time_to_alert: tuple[AlertTimeResult, ...]


def accuracy_sections(
    record: EvaluationRecord,
    systems: Sequence[SystemOutcomes],
    in_force: Mapping[str, OperatingPoint] | None = None,
) -> AccuracySections:
    """Every accuracy figure, in the order of the systems. ``in_force``: what a system really did at
    the threshold it ran with; it takes the place of the shipped default where that is the same."""
    benches = [_Bench(record, system) for system in systems]
    targets = [
        target
        for target in record.rules.all_targets
        if target == record.rules.target_fpir
        or any(bench.choice(target).threshold is not None for bench in benches)
    ]
    points = in_force or {}
    rows = [row for bench in benches for row in bench.rows(targets, points.get(bench.name))]
    return AccuracySections(
        failures=tuple(bench.failures() for bench in benches),
        accuracy=tuple(rows),
        det=tuple(bench.det() for bench in benches),
        investigation=tuple(row for bench in benches for row in bench.investigation()),
        gallery_size=tuple(bench.size_effect() for bench in benches),
        paired=_paired(record, benches, targets),
        policy=tuple(
            _policy(record, row) for row in rows if row.primary or row.threshold is not None
        ),
        time_to_alert=tuple(
            bench.time_to_alert(row)
            for bench in benches
            for row in rows
            if row.system == bench.name and (row.primary or not row.target_fpir)
        ),
    )


class _Bench:
    """One system on its searches."""

    def __init__(self, record: EvaluationRecord, system: SystemOutcomes) -> None:
        self.system = system
        self._record = record
        self._rules = record.rules
        self._settings = settings_of(record)
        self._calibration: SearchTable = search_table(system.calibration)
        self._test: SearchTable = search_table(system.test)
        self._rank = self._rules.rank or ANY_RANK
        self._gallery = sorted({PersonId(one.person) for one in record.gallery})

    @property
    def name(self) -> str:
        return self.system.entry.name

    def searches(self) -> SystemSearches:
        return SystemSearches(self.name, self.system.calibration, self.system.test)

    def choice(self, target: float) -> ThresholdChoice:
        return threshold_at_fpir(self._calibration, target, self._settings.evidence)

    # --- operating points ---------------------------------------------------------------------

    def rows(
        self, targets: Sequence[float], in_force: OperatingPoint | None = None
    ) -> Iterator[AccuracyResult]:
        for target in targets:
            choice = self.choice(target)
            point = at_choice(self._test, choice, self._rank, self._settings)
            row = self._row(point, f"FPIR {percent(target)}")
            yield row.model_copy(
                update={
                    "basis": "equal_fpir",
                    "target_fpir": target,
                    "primary": target == self._rules.target_fpir,
                    "chosen": self._chosen(choice),
                }
            )
        ran_with = None
        if in_force is not None and in_force.threshold is not None:
            ran_with = in_force.threshold
            turned_point = replace(in_force, threshold=self.system.turned(ran_with))
            row = self._row(turned_point, f"{in_force.basis} {ran_with:g}")
            yield row.model_copy(update={"basis": "in_force"})
        for default in default_thresholds(self.system.entry):
            if default.threshold == ran_with:
                continue
            at = self.system.turned(default.threshold)
            label = f"{default.label} {default.threshold:g}"
            yield self._row(
                operating_point(self._test, label, at, self._rank, self._settings), label
            )

    def _row(self, point: OperatingPoint, label: str) -> AccuracyResult:
        at = point.threshold
        return AccuracyResult(
            system=self.name,
            gallery_size=len(self._gallery),
            rank=self._rules.rank,
            basis="shipped_default",
            label=label,
            target_fpir=None,
            primary=False,
            threshold=None if at is None else self.system.turned(at),
            chosen=None,
            fpir=EstimateResult.of(point.fpir),
            fnir=EstimateResult.of(point.fnir),
            selectivity=EstimateResult.of(point.selectivity),
        )

    def _chosen(self, choice: ThresholdChoice) -> ThresholdResult:
        at = choice.threshold
        return ThresholdResult(
            target_fpir=choice.target,
            threshold=None if at is None else self.system.turned(at),
            achieved=choice.achieved,
            searches=choice.trials,
            errors=choice.errors,
            ties=choice.ties,
            people=len(choice.calibration_people),
            sufficient=choice.sufficient,
            reason=choice.reason,
        )

    # --- curves -------------------------------------------------------------------------------

    def det(self) -> DetResult:
        curve = det_curve(self._test, self._rank).thinned(_DET_POINTS)
        few = len(self._test.people) < self._settings.evidence.min_people
        rows = zip(curve.false_positive, curve.false_negative, curve.threshold, strict=True)
        points = tuple((float(fp), float(fn), self.system.turned(float(at))) for fp, fn, at in rows)
        cut = curve.cut_at
        return DetResult(
            system=self.name,
            points=() if few else points,
            cut_at=None if cut is None else self.system.turned(cut),
        )

    def investigation(self) -> Iterator[RankResult]:
        for rank in RANKS:
            if rank > 1 and rank >= len(self._gallery):
                continue
            unknown = fnir_unknown(self._test, NO_THRESHOLD, rank)
            trials = fnir(self._test, NO_THRESHOLD, rank)
            miss = known_rate(trials, unknown, self._settings)
            yield RankResult(system=self.name, rank=rank, miss=EstimateResult.of(miss))

    def size_effect(self) -> GallerySizeResult:
        chosen = self.choice(self._rules.target_fpir).threshold
        at = self.system.turned_default if chosen is None else chosen
        label = "shipped default" if chosen is None else f"FPIR {percent(self._rules.target_fpir)}"
        few = len(self._test.people) < self._settings.evidence.min_people
        plan = SizePlan(rank=self._rank, seed=self._rules.seed)
        effect = GallerySizeEffect(at, (), f"{len(self._test.people)} people are too few")
        if not few:
            effect = gallery_size_effect(self.system.test, self._gallery, at, plan)
        return GallerySizeResult(
            system=self.name,
            label=label,
            threshold=self.system.turned(at),
            points=tuple(map(_size_point, effect.points)),
            reason=effect.reason,
        )

    # --- failures -----------------------------------------------------------------------------

    def failures(self) -> FailureResult:
        fte = estimate_rate(failure_to_enroll(self.system.enrollments), self._settings)
        ftx = estimate_rate(failure_to_acquire(self.system.searches), self._settings)
        return FailureResult(
            system=self.name,
            fte=EstimateResult.of(fte),
            ftx=EstimateResult.of(ftx),
            causes=tuple(_causes(self.system)),
        )

    # --- transits -----------------------------------------------------------------------------

    def time_to_alert(self, row: AccuracyResult) -> AlertTimeResult:
        at = None if row.threshold is None else self.system.turned(row.threshold)
        mated = [o for o in self.system.test if o.mated]
        timed = [
            self.system.members[o.search_id]
            for o in mated
            if all(one.photograph.seconds is not None for one in self.system.members[o.search_id])
        ]
        waits = [
            wait
            for members in timed
            if at is not None
            for wait in [
                _first_alert(
                    [(one.photograph.seconds or 0.0, one.answer) for one in members],
                    members[0].photograph.person,
                    self.system,
                    at,
                )
            ]
            if wait is not None
        ]
        reason = "" if timed else "the protocol gives no times within transits"
        return AlertTimeResult(
            system=self.name,
            label=row.label,
            transits=len(timed),
            alerted=len(waits),
            p50_seconds=percentile(waits, 50),
            p95_seconds=percentile(waits, 95),
            reason=reason if at is not None else "no threshold could be chosen",
        )


def _first_alert(
    frames: Sequence[tuple[float, StoredAnswer]], person: str, system: SystemOutcomes, at: float
) -> float | None:
    """Seconds from the first frame to the first right alert; None where there was none."""
    scale = scale_of(system.entry)
    start = min(seconds for seconds, _ in frames)
    alerts = [
        seconds
        for seconds, answer in frames
        if any(turned(score, scale) >= at for score in _scores_of(person, answer))
    ]
    return min(alerts) - start if alerts else None


def _scores_of(person: str, answer: StoredAnswer) -> list[float]:
    own = StoredCandidates.of(answer.candidates)
    scores: list[float] = own.scores[own.is_of(person)].tolist()
    return scores


def _size_point(point: GallerySizePoint) -> SizePoint:
    return SizePoint(
        gallery_size=point.size,
        draws=point.draws,
        fpir=(point.fpir.mean, point.fpir.low, point.fpir.high),
        fnir=(point.fnir.mean, point.fnir.low, point.fnir.high),
        fpir_if_independent=point.fpir_if_independent,
    )


def _causes(system: SystemOutcomes) -> Iterator[CauseResult]:
    counts: dict[tuple[str, str], int] = {}
    failures = [("enroll", a.failure) for a in system.enroll_answers]
    failures += [
        (str(one.answer.failure and one.answer.failure.stage), one.answer.failure)
        for one in system.answered
    ]
    for stage, failure in failures:
        if failure is not None:
            counts[stage, failure.cause] = counts.get((stage, failure.cause), 0) + 1
    for (stage, cause), count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        yield CauseResult.model_validate({"stage": stage, "cause": cause, "count": count})


# --- pairs ------------------------------------------------------------------------------------


def _paired(
    record: EvaluationRecord, benches: Sequence[_Bench], targets: Sequence[float]
) -> tuple[PairedResult, ...]:
    """Each pair at each target; Holm over all but the primary comparisons."""
    found = [
        _compared(record, a, b, target) for a, b in combinations(benches, 2) for target in targets
    ]
    others = [i for i, one in enumerate(found) if not one.primary and one.p_value is not None]
    adjusted = holm([found[i].p_value or 0.0 for i in others])
    for index, p in zip(others, adjusted, strict=True):
        found[index] = found[index].model_copy(update={"p_holm": p})
    return tuple(found)


def _compared(record: EvaluationRecord, a: _Bench, b: _Bench, target: float) -> PairedResult:
    rules = record.rules
    rule = EqualFpirRule(target, rules.margin, rules.rank or ANY_RANK)
    compared = compare_at_equal_fpir(a.searches(), b.searches(), rule, settings_of(record))
    pair = compared.paired
    few = pair is None or pair.difference.value is None
    return PairedResult(
        a=a.name,
        b=b.name,
        gallery_size=len({one.person for one in record.gallery}),
        target_fpir=target,
        primary=target == rules.target_fpir,
        diff=EstimateResult.of(pair.difference) if pair else None,
        discordant_people=pair.discordant_people if pair else None,
        p_value=None if pair is None or few else pair.p_value,
        p_holm=None,
        test=pair.test if pair else "",
        margin=rules.margin,
        verdict=str(pair.verdict) if pair else "not enough evidence",
        reason=compared.reason,
    )


# --- policy -----------------------------------------------------------------------------------


def _policy(record: EvaluationRecord, row: AccuracyResult) -> PolicyResult:
    street = record.rules.street
    fpir, missed = row.fpir.value, row.fnir.value
    reason = row.fpir.reason if fpir is None else row.fnir.reason if missed is None else ""
    table: tuple[ConsequenceResult, ...] = ()
    if fpir is not None and missed is not None:
        found = consequences(street.faces_per_day, fpir, 1 - missed, street.prevalences)
        table = tuple(
            ConsequenceResult(
                prevalence=one.prevalence,
                true_alerts_per_day=one.true_alerts_per_day,
                false_alerts_per_day=one.false_alerts_per_day,
                precision=one.precision,
            )
            for one in found
        )
    return PolicyResult(
        system=row.system,
        basis=row.basis,
        label=row.label,
        threshold=row.threshold,
        faces_per_day=street.faces_per_day,
        consequences=table,
        reason=reason,
    )
