"""How a run went: latency by stage, throughput, drops, outages, bytes, and what is to review."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Final

import numpy as np

from rekadapter.evaluation.cost import ReviewTime
from rekadapter.evaluation.feed_results import (
    AlertsResult,
    OutagesResult,
    ReviewResult,
    RunningResult,
)
from rekadapter.evaluation.result_base import EstimateResult
from rekadapter.evaluation.results import LatencyResult, OpsResult
from rekadapter.evaluation.statistics import Estimate, Settings, Trials, estimate_rate
from rekadapter.evaluation.summary import (
    ANSWERED,
    BackendTotal,
    failed_observation,
    frame_latencies_ms,
    percentile,
)
from rekadapter.evaluation.transits import SystemTransits
from rekadapter.evaluation.uplink import ceiling_of, rate_over_time
from rekadapter.observation import LedgerEntry, Observation, Run
from rekadapter.types import CameraId

_WINDOW_SECONDS: Final = 300.0
"""Requests of five minutes fail together, so that many minutes are one trial (proposal)."""
_STRETCHES: Final = "stretches of five minutes"
_IN_A_ROW: Final = 2


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A request (or a frame of a system without requests) in seconds since the first."""

    start: float
    end: float
    good: bool


@dataclass(frozen=True, slots=True)
class _Own:
    """One backend's part of a run."""

    name: str
    run: Run
    observations: tuple[Observation, ...]
    ledger: tuple[LedgerEntry, ...]
    total: BackendTotal

    @classmethod
    def of(cls, run: Run, total: BackendTotal) -> _Own:
        return cls(
            total.backend,
            run,
            tuple(one for one in run.observations if one.backend == total.backend),
            tuple(
                one
                for one in run.ledger
                if one.request.backend == total.backend and one.camera is not None
            ),
            total,
        )

    def attempts(self) -> tuple[_Attempt, ...]:
        """In order of time."""
        found = _requests(self.ledger) if self.ledger else _frames(self.observations)
        return tuple(sorted(found, key=lambda one: (one.start, one.end)))


def _requests(ledger: Sequence[LedgerEntry]) -> Iterator[_Attempt]:
    first: datetime = min(one.request.started_at for one in ledger)
    for one in ledger:
        start = (one.request.started_at - first).total_seconds()
        took = one.request.wait_seconds + one.request.latency_seconds
        yield _Attempt(start, start + took, one.request.outcome in ANSWERED)


def _frames(observations: Sequence[Observation]) -> Iterator[_Attempt]:
    """Frames by media time: what a system of this machine was asked about."""
    ends: dict[tuple[CameraId, int], _Attempt] = {}
    for one in observations:
        good = not failed_observation(one)
        held = ends.get((one.camera, one.frame))
        end = one.seconds + one.latency_seconds
        if held is not None:
            good, end = good and held.good, max(end, held.end)
        ends[one.camera, one.frame] = _Attempt(one.seconds, end, good)
    yield from ends.values()


# --- the section all reports have -----------------------------------------------------------------


def feed_ops(run: Run, totals: Sequence[BackendTotal], settings: Settings) -> tuple[OpsResult, ...]:
    """Latency, calls and failures of each system."""
    return tuple(_ops(_Own.of(run, total), settings) for total in totals)


def _ops(own: _Own, settings: Settings) -> OpsResult:
    requests = [one.request for one in own.ledger]
    searching = [one for one in requests if one.operation.startswith("Search")]
    sent = sum(one.bytes_sent for one in searching)
    answers = frame_latencies_ms(own.observations)
    stages = (
        ("whole frame, from the camera to the answer", _ages_ms(own.observations)),
        ("waiting for a turn", _queued_ms(own.observations)),
        ("answer, all stages", answers),
        ("service and network", [1000 * one.latency_seconds for one in searching]),
        ("waiting for the uplink or a retry", [1000 * one.wait_seconds for one in searching]),
    )
    failed = Counter(one.outcome for one in requests if one.outcome not in ANSWERED)
    return OpsResult(
        system=own.name,
        latencies=tuple(_latency(stage, values) for stage, values in stages if values),
        searches_per_second_one_at_a_time=1000 * len(answers) / sum(answers)
        if sum(answers)
        else None,
        calls=len(requests),
        failed_calls=failed.total(),
        attempts=sum(one.attempts for one in requests),
        bytes_sent=sum(one.bytes_sent for one in requests),
        bytes_received=sum(one.bytes_received for one in requests),
        bytes_per_search=sent / len(searching) if searching else None,
        failed_requests=EstimateResult.of(_unanswered(own.attempts(), settings)),
        errors=dict(sorted(failed.items())),
    )


def _ages_ms(observations: Sequence[Observation]) -> list[float]:
    return [1000 * age for age, _ in _by_frame(observations)]


def _queued_ms(observations: Sequence[Observation]) -> list[float]:
    return [1000 * max(0.0, age - latency) for age, latency in _by_frame(observations)]


def _by_frame(observations: Sequence[Observation]) -> list[tuple[float, float]]:
    """Age and latency of each answered frame: of its last part."""
    found: dict[tuple[CameraId, int], tuple[float, float]] = {}
    for one in observations:
        if one.age_seconds is not None and not failed_observation(one):
            key = (one.camera, one.frame)
            found[key] = max(found.get(key, (0.0, 0.0)), (one.age_seconds, one.latency_seconds))
    return [found[key] for key in sorted(found)]


def _latency(stage: str, values: Sequence[float]) -> LatencyResult:
    return LatencyResult(
        stage=stage,
        n=len(values),
        p50_ms=percentile(values, 50),
        p95_ms=percentile(values, 95),
        p99_ms=percentile(values, 99),
    )


def _unanswered(attempts: Sequence[_Attempt], settings: Settings) -> Estimate:
    """Share of requests that failed. What fails together counts together: the unit is five minutes,
    not a person."""
    failed = np.array([not one.good for one in attempts], dtype=np.bool_)
    windows = np.array([int(one.start // _WINDOW_SECONDS) for one in attempts], dtype=np.intp)
    found = estimate_rate(Trials(failed, windows), settings)
    return replace(
        found,
        unit=_STRETCHES,
        reason=found.reason.replace("people", _STRETCHES),
    )


# --- what only feeds have -------------------------------------------------------------------------


def running_rows(
    run: Run, totals: Sequence[BackendTotal], settings: Settings
) -> Iterator[RunningResult]:
    """How each system kept up."""
    for total in totals:
        yield _running(_Own.of(run, total), settings)


def _running(own: _Own, settings: Settings) -> RunningResult:
    frames, record = own.total.frames, own.run.record
    ended = record.ended_at
    seconds = None if ended is None else (ended - record.started_at).total_seconds()
    attempts = own.attempts()
    rate = rate_over_time(own.ledger, None) if own.ledger else None
    sent = sum(one.request.bytes_sent for one in own.ledger)
    return RunningResult(
        system=own.name,
        captured=frames.captured,
        processed=frames.processed,
        failed_frames=frames.failed,
        unaccounted=frames.unaccounted,
        dropped=dict(frames.dropped or {}),
        run_seconds=seconds,
        frames_per_second=_by(frames.answered, seconds),
        faces_per_second=_by(own.total.people.faces, seconds),
        unanswered=EstimateResult.of(_unanswered(attempts, settings)),
        outages=_outages(attempts),
        bits_per_second=_by(8 * sent, seconds) if own.ledger else None,
        highest_10_s_bits_per_second=rate.highest_window if rate else None,
        ceiling_bits_per_second=ceiling_of(own.run) if own.ledger else None,
    )


def _by(count: float, seconds: float | None) -> float | None:
    return count / seconds if seconds else None


def _outages(attempts: Sequence[_Attempt]) -> OutagesResult:
    lengths = []
    for good, same in groupby(attempts, key=lambda one: one.good):
        run = list(same)
        if not good and len(run) >= _IN_A_ROW:
            lengths.append(max(one.end for one in run) - run[0].start)
    return OutagesResult(count=len(lengths), longest_seconds=max(lengths, default=None))


def review_rows(
    days: float | None,
    totals: Sequence[BackendTotal],
    alerts: Sequence[AlertsResult],
    found: Sequence[SystemTransits],
    cost: Mapping[str, ReviewTime],
    settings: Settings,
) -> Iterator[ReviewResult]:
    """Names to look at a camera-day, of which ``days`` were watched, and how many were wrong;
    ``cost`` is what one takes, by system, where that is known."""
    for total in totals:
        row = next((a for a in alerts if a.system == total.backend and a.camera is None), None)
        own = next((one for one in found if one.backend.name == total.backend), None)
        names = total.people.identified_tracks if row is None else row.names_said
        by_day = names / days if days and days >= 1 / 24 else None
        time = cost.get(total.backend)
        yield ReviewResult(
            system=total.backend,
            names_per_camera_day=by_day,
            wrong=EstimateResult.of(_wrong(own, settings)),
            hours_per_camera_day=None
            if by_day is None or time is None
            else by_day * time.seconds / 3600,
            reason="" if by_day is not None else "watched for less than an hour, or not recorded",
            seconds_per_alert=time.seconds if time else None,
            seconds_basis=time.basis if time else "",
        )


def _wrong(found: SystemTransits | None, settings: Settings) -> Estimate:
    """Names that were wrong; names of one subject are counted together."""
    if found is None:
        return estimate_rate(Trials(np.zeros(0, np.bool_), np.zeros(0, np.intp)), settings)
    false = [one.track for one in found.false_alerts]
    tracks = [*found.right_names, *false]
    names = np.array([str(one.decision.subject) for one in tracks], dtype=np.str_)
    codes = np.unique(names, return_inverse=True)[1].astype(np.intp)
    wrong = np.arange(len(tracks)) >= len(found.right_names)
    return estimate_rate(Trials(wrong, codes), settings)
