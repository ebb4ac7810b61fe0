"""The sections on cameras and on running: eye distances, latency, bytes, failed calls."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from rekadapter.evaluation.accuracy import row_in_force, settings_of
from rekadapter.evaluation.answers import Stage, StoredFailure
from rekadapter.evaluation.metrics import ANY_RANK, fnir, fnir_unknown, known_rate, search_table
from rekadapter.evaluation.outcomes import SearchOutcome
from rekadapter.evaluation.record import EvaluationRecord
from rekadapter.evaluation.results import (
    AccuracyResult,
    CameraResult,
    EstimateResult,
    LatencyResult,
    OpsResult,
)
from rekadapter.evaluation.searches import AnsweredPhotograph, SystemOutcomes
from rekadapter.evaluation.statistics import Estimate, Trials, estimate_rate
from rekadapter.evaluation.summary import CameraFitness, percentile
from rekadapter.evaluation.wording import EYES_APART_METERS
from rekadapter.observation import LedgerEntry
from rekadapter.recognizer import RequestRecord

UNKNOWN_FITNESS: Final = "not known"
_GOOD: Final = frozenset({"ok", "no_face"})
"""outcomes of the ledger that are answers"""


# --- cameras ----------------------------------------------------------------------------------


def camera_sections(
    record: EvaluationRecord,
    systems: Sequence[SystemOutcomes],
    accuracy: Sequence[AccuracyResult],
) -> Iterator[CameraResult]:
    """Each camera that the protocol names, as each system saw it."""
    cameras = sorted({one.camera for one in record.probes if one.camera})
    for camera in cameras:
        for system in systems:
            at = row_in_force(system.entry.name, accuracy).threshold
            assert at is not None  # noqa: S101  the row in force has one
            yield _camera(record, system, camera, system.turned(at))


def _camera(
    record: EvaluationRecord, system: SystemOutcomes, camera: str, at: float
) -> CameraResult:
    seen = [one for one in system.answered if one.photograph.camera == camera]
    eyes = [e for e in (one.answer.face and one.answer.face.eye_distance_px for one in seen) if e]
    median = percentile(eyes, 50)
    own = [o for o in system.test if _on(camera, system.members[o.search_id])]
    table = search_table(own)
    rank = record.rules.rank or ANY_RANK
    missed = known_rate(fnir(table, at, rank), fnir_unknown(table, at, rank), settings_of(record))
    return CameraResult(
        id=camera,
        system=system.entry.name,
        searches=len(own),
        measured=len(eyes),
        eye_px_p10=percentile(eyes, 10),
        eye_px_p50=median,
        eye_px_p90=percentile(eyes, 90),
        px_per_meter=None if median is None else median / EYES_APART_METERS,
        fnir=EstimateResult.of(missed),
        false_alerts_per_hour=_false_alerts_per_hour(record, own, camera, at),
        verdict=UNKNOWN_FITNESS if median is None else str(CameraFitness.of(median)),
        reasons=tuple(_camera_reasons(seen, eyes)),
    )


def _on(camera: str, members: Sequence[AnsweredPhotograph]) -> bool:
    return members[0].photograph.camera == camera


def _false_alerts_per_hour(
    record: EvaluationRecord, own: Sequence[SearchOutcome], camera: str, at: float
) -> float | None:
    hours = record.rules.camera_hours.get(camera)
    if not hours:
        return None
    nonmated = search_table(own).nonmated
    return float(np.count_nonzero(nonmated.top >= at)) / hours


def _camera_reasons(seen: Sequence[AnsweredPhotograph], eyes: Sequence[float]) -> Iterator[str]:
    without = len(seen) - len(eyes)
    if without:
        yield f"{without} of {len(seen)} photographs gave no eye distance"
    yaws = [abs(y) for y in (one.answer.face and one.answer.face.yaw for one in seen) if y]
    turned_away = sum(yaw > 45 for yaw in yaws)
    if turned_away:
        yield f"{turned_away} faces were turned by more than 45 degrees"


# --- operations -------------------------------------------------------------------------------


def operations_sections(
    record: EvaluationRecord,
    systems: Sequence[SystemOutcomes],
    ledger: Sequence[LedgerEntry],
    apart: Collection[str] = (),
) -> Iterator[OpsResult]:
    """How each system ran, from the stored answers and the ledger of requests.

    Requests whose ids are in ``apart`` were calls like others, but no searches of the pictures as
    they are: they count among the calls, and not in bytes and time of a search.
    """
    by_system: dict[str, list[LedgerEntry]] = defaultdict(list)
    for entry in ledger:
        by_system[entry.request.backend].append(entry)
    for system in systems:
        own = by_system[system.entry.name]
        searching = [e for e in own if e.request.operation.startswith("Search")]
        searching = [e for e in searching if e.request.request_id not in apart]
        yield _operations(record, system, own, [entry.request for entry in searching])


def _operations(
    record: EvaluationRecord,
    system: SystemOutcomes,
    requests: Sequence[LedgerEntry],
    searching: Sequence[RequestRecord],
) -> OpsResult:
    answers = [one.answer for one in system.answered]
    asked = [a for a in answers if not (a.failure and a.failure.stage is Stage.IMAGE)]
    answered = [a.answer_seconds for a in asked if not _request_failed(a.failure)]
    sent = sum(request.bytes_sent for request in searching)
    return OpsResult(
        system=system.entry.name,
        latencies=tuple(
            _latency(stage, seconds)
            for stage, seconds in (
                ("reading the picture", [a.read_seconds for a in asked]),
                ("answer, all stages", answered),
                ("service and network", [r.latency_seconds for r in searching]),
                ("waiting for the uplink or a retry", [r.wait_seconds for r in searching]),
            )
            if seconds
        ),
        searches_per_second_one_at_a_time=len(answered) / sum(answered) if answered else None,
        calls=len(requests),
        failed_calls=sum(e.request.outcome not in _GOOD for e in requests),
        attempts=sum(e.request.attempts for e in requests),
        bytes_sent=sum(e.request.bytes_sent for e in requests),
        bytes_received=sum(e.request.bytes_received for e in requests),
        bytes_per_search=sent / len(searching) if searching else None,
        failed_requests=EstimateResult.of(_failed_requests(record, system)),
        errors=dict(sorted(Counter(a.failure.cause for a in answers if a.failure).items())),
    )


def _request_failed(failure: StoredFailure | None) -> bool:
    return failure is not None and failure.stage is Stage.REQUEST


def _failed_requests(record: EvaluationRecord, system: SystemOutcomes) -> Estimate:
    failed = [_request_failed(one.answer.failure) for one in system.answered]
    people = [one.photograph.person for one in system.answered]
    codes = np.unique(np.array(people, dtype=np.str_), return_inverse=True)[1].astype(np.intp)
    return estimate_rate(Trials(np.array(failed, dtype=np.bool_), codes), settings_of(record))


def _latency(stage: str, seconds: Iterable[float]) -> LatencyResult:
    values = [1000 * value for value in seconds]
    return LatencyResult(
        stage=stage,
        n=len(values),
        p50_ms=percentile(values, 50),
        p95_ms=percentile(values, 95),
        p99_ms=percentile(values, 99),
    )
