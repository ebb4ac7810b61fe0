"""The resolution sweep: misses, false alerts and failures against pixels between the eyes.

Each system keeps the threshold it has for full-size photographs: on the street nobody changes it
for a small face. The same photographs are searched at every size (see ``sweep_plan``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rekadapter.evaluation.accuracy import row_in_force, settings_of
from rekadapter.evaluation.answers import StoredAnswer
from rekadapter.evaluation.metrics import (
    ANY_RANK,
    failure_to_acquire,
    fnir,
    fnir_unknown,
    fpir,
    fpir_unknown,
    known_rate,
    search_table,
)
from rekadapter.evaluation.rates import percent
from rekadapter.evaluation.record import EvaluationRecord, SweepPlan
from rekadapter.evaluation.result_base import EstimateResult
from rekadapter.evaluation.results import AccuracyResult, CameraResult
from rekadapter.evaluation.rules import SweepStream
from rekadapter.evaluation.searches import Answers, SystemOutcomes, outcomes_of
from rekadapter.evaluation.statistics import (
    Evidence,
    Verdict,
    estimate_rate,
    verdict_at_most,
)
from rekadapter.evaluation.survey_results import SurveyCamera, SurveyResult
from rekadapter.evaluation.sweep_plan import SweepStep, at_step, cohort, levels, steps
from rekadapter.evaluation.sweep_results import (
    SweepCamera,
    SweepPoint,
    SweepResult,
    SweepSystemResult,
)


@dataclass(frozen=True, slots=True)
class SweptSearches:
    """Every system's searches at one step (None: as the photographs are); ``answers`` are those of
    the smaller photographs."""

    step: SweepStep | None
    systems: tuple[SystemOutcomes, ...]

    @property
    def answers(self) -> tuple[StoredAnswer, ...]:
        if self.step is None:
            return ()  # the photographs as they are count with the other searches
        return tuple(one.answer for system in self.systems for one in system.answered)


def swept_searches(record: EvaluationRecord, answers: Answers) -> tuple[SweptSearches, ...]:
    """The searches of a sweep, as they are first, then by stream and size; empty where none is
    planned."""
    if record.sweep is None:
        return ()
    return tuple(
        SweptSearches(step, outcomes_of(at_step(record, step), answers))
        for step in (None, *steps(record.sweep))
    )


def sweep_section(
    record: EvaluationRecord,
    swept: Sequence[SweptSearches],
    accuracy: Sequence[AccuracyResult],
    cameras: Sequence[CameraResult],
    survey: SurveyResult | None = None,
) -> SweepResult | None:
    """The section; None where no sweep is planned."""
    plan = record.sweep
    if plan is None:
        return None
    photographs = cohort(record)
    rows = [row_in_force(entry.name, accuracy) for entry in record.systems]
    curves = tuple(
        _curve(record, swept, row, stream) for row in rows for stream in (None, *plan.streams)
    )
    return SweepResult(
        max_fnir=_limit(record),
        limit_stated=bool({"sweep.max_fnir", "requirements.max_fnir"} & {*record.stated}),
        quality=plan.quality,
        finder=plan.finder,
        photographs=len(photographs),
        people=len({one.person for one in photographs}),
        missing=sum(system.missing for one in swept for system in one.systems),
        left_out=tuple(_left_out(plan, len(photographs))),
        systems=curves,
        cameras=(*_expected(curves, cameras), *_surveyed(curves, survey)),
        notes=(*_NOTES, *([_STREAM_NOTE] if plan.streams else [])),
    )


_NOTES = (
    "Good photographs made smaller are kinder than a camera: no motion blur, no night, no steep "
    "angle. Expect more misses on the street than these.",
    "Sizes are pixels between the eyes in the picture searched; hold a camera's own against them "
    "(rekadapter survey, or the cameras above).",
)


_STREAM_NOTE = (
    "Behind a stream one person crosses a scene that stands still, which leaves most of the bits "
    "for the face: a busy scene leaves fewer."
)


def _limit(record: EvaluationRecord) -> float:
    own = record.rules.sweep.max_fnir
    return record.rules.requirements.max_fnir if own is None else own


def _curve(
    record: EvaluationRecord,
    swept: Sequence[SweptSearches],
    row: AccuracyResult,
    stream: SweepStream | None,
) -> SweepSystemResult:
    assert row.threshold is not None  # noqa: S101  the row in force has one
    own = [one for one in swept if one.step is None or one.step.stream == stream]
    points = tuple(_point(record, one, row) for one in own)
    name = row.system if stream is None else f"{row.system} behind {stream.words}"
    limit = _limit(record)
    sizes = [point for point in points if point.eye_px is not None]
    enough = _reach(sizes, limit, Verdict.PASS)
    too_few = _reach(sizes[::-1], limit, Verdict.FAIL)
    return SweepSystemResult(
        system=row.system,
        stream=None if stream is None else stream.words,
        label=row.label,
        threshold=row.threshold,
        points=points,
        enough_px=enough,
        too_few_px=too_few,
        sentence=_sentence(name, limit, enough, too_few),
    )


def _point(record: EvaluationRecord, one: SweptSearches, row: AccuracyResult) -> SweepPoint:
    system = next(s for s in one.systems if s.entry.name == row.system)
    settings, rank = settings_of(record), record.rules.rank or ANY_RANK
    at = system.turned(row.threshold or 0.0)
    table = search_table(system.test)
    missed = known_rate(fnir(table, at, rank), fnir_unknown(table, at, rank), settings)
    alarmed = known_rate(fpir(table, at), fpir_unknown(table, at), settings)
    return SweepPoint(
        eye_px=None if one.step is None else one.step.eye_px,
        searches=len(system.test),
        fnir=EstimateResult.of(missed),
        fpir=EstimateResult.of(alarmed),
        ftx=EstimateResult.of(estimate_rate(failure_to_acquire(system.test), settings)),
    )


def _reach(points: Sequence[SweepPoint], limit: float, wanted: Verdict) -> float | None:
    """How far from the first point on all have the verdict wanted: the last such size."""
    reached = None
    for point in points:
        if verdict_at_most(point.fnir.estimate(), limit, Evidence()) is not wanted:
            break
        reached = point.eye_px
    return reached


def _sentence(system: str, limit: float, enough: float | None, too_few: float | None) -> str:
    within = f"misses within {percent(limit)}"
    if enough is None and too_few is None:
        return f"{system}: not enough evidence for a size at which it keeps {within} or does not"
    kept = (
        f"{within} from {enough:g} px between the eyes on"
        if enough is not None
        else f"no size was shown to keep {within}"
    )
    passed = (
        f"more than that at {too_few:g} px and fewer"
        if too_few is not None
        else "no size was shown to be too small"
    )
    return f"{system}: {kept}; {passed}"


def _left_out(plan: SweepPlan, taken: int) -> Iterator[str]:
    unseen = sum(one.eye_px is None for one in plan.measured)
    fewer = len(plan.measured) - unseen - taken
    if unseen:
        yield f"{unseen} photographs in which no face was found to be measured"
    if fewer:
        yield f"{fewer} photographs with fewer pixels between the eyes than the largest size"
    dropped = [f"{px:g}" for px in plan.eye_px if px not in levels(plan)]
    if dropped:
        yield f"sizes that fewer than half of the photographs have: {', '.join(dropped)} px"
    searched = steps(plan)
    for stream in plan.streams:
        larger = [f"{px:g}" for px in levels(plan) if SweepStep(px, stream) not in searched]
        if larger:
            sizes = ", ".join(larger)
            yield f"sizes too large for a picture of {stream.width}x{stream.height}: {sizes} px"


def _expected(
    curves: Sequence[SweepSystemResult], cameras: Sequence[CameraResult]
) -> Iterator[SweepCamera]:
    """Cameras of the protocol, each as its system measured it."""
    for camera in cameras:
        if camera.eye_px_p50 is not None:
            for curve in (one for one in curves if one.system == camera.system):
                yield _camera(curve, camera, camera.eye_px_p50, "protocol")


def _surveyed(
    curves: Sequence[SweepSystemResult], survey: SurveyResult | None
) -> Iterator[SweepCamera]:
    for camera in survey.cameras if survey else ():
        if camera.eye_px_p50 is not None:
            for curve in curves:
                yield _camera(curve, camera, camera.eye_px_p50, "survey")


def _camera(
    curve: SweepSystemResult,
    camera: CameraResult | SurveyCamera,
    median: float,
    source: Literal["protocol", "survey"],
) -> SweepCamera:
    below = [p for p in curve.points if p.eye_px is not None and p.eye_px <= median]
    found = max(below, key=lambda point: point.eye_px or 0.0, default=None)
    return SweepCamera(
        id=camera.id,
        source=source,
        system=curve.system,
        stream=curve.stream,
        eye_px_p10=camera.eye_px_p10,
        eye_px_p50=median,
        eye_px_p90=camera.eye_px_p90,
        level_px=found.eye_px if found else None,
        fnir=found.fnir if found else None,
    )
