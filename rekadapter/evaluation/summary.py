"""What a run came to, counted: the numbers behind the table, ``summary.json`` and the report.

Nothing here is estimated. Where there was nothing to measure, the value is None. Percentiles are
nearest-rank: the smallest measured value that at least so many percent of the values do not exceed,
so every figure printed was measured once.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from rekadapter.evaluation.integrity import doubts
from rekadapter.observation import (
    BackendRecord,
    CameraRecord,
    LedgerEntry,
    Observation,
    Run,
    ThresholdOrigin,
    TrackRecord,
)
from rekadapter.recognizer import RequestRecord
from rekadapter.sinks.run_directory import read_run
from rekadapter.sinks.whole_files import write_whole
from rekadapter.types import CameraId, Reason, SubjectId

SUMMARY_FILE: Final = "summary.json"
ANSWERED: Final = frozenset({"ok", "no_face"})
"""the ledger's words for a request that was answered; "no face here" is an answer"""

EYE_LINES_PX: Final = (16.0, 32.0, 60.0)
"""Proposed bounds of a camera's median eye distance: below 16 unfit, to 32 for investigation only,
to 60 usable with verification, above good. A proposal after the pixel densities of IEC 62676-4
(250, 500 and about 950 pixels a meter at 63 mm between the eyes), not a standard's own words."""


class CameraFitness(StrEnum):
    """What a camera's median eye distance allows; a proposal (see ``EYE_LINES_PX``)."""

    UNFIT = "unfit"
    INVESTIGATION_ONLY = "investigation only"
    USABLE_VERIFY = "usable, verify"
    GOOD = "good"

    @classmethod
    def of(cls, median_eye_distance_px: float) -> CameraFitness:
        unfit, investigation, usable = EYE_LINES_PX
        if median_eye_distance_px < unfit:
            return cls.UNFIT
        if median_eye_distance_px < investigation:
            return cls.INVESTIGATION_ONLY
        return cls.USABLE_VERIFY if median_eye_distance_px <= usable else cls.GOOD


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from handing a frame to the backend to its answer, over answered frames.

    A frame answered in several parts counts once, with its slowest part. Frames whose request
    failed are not in it; they are counted as failed.
    """

    frames: int
    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests to a remote backend, from the ledger. Retried attempts are within one request.

    ``price_usd`` sums the known prices and is None where no price is known at all;
    ``unpriced_requests`` counts the requests it leaves out. ``left_in_bucket`` is how many more
    images were put into a bucket than deleted there, each time as far as the answer was heard.
    """

    requests: int
    failed_requests: int
    bytes_sent: int
    bytes_received: int
    calls: Mapping[str, int]
    price_usd: float | None
    unpriced_requests: int
    left_in_bucket: int = 0


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """``captured == processed + sum(dropped.values()) + unaccounted``; the last has to be 0.

    These four are None for a run that was killed before it could write its counts. ``answered`` and
    ``failed`` are counted from the observations: frames with an answer, and frames whose request
    gave an error. ``late`` of those answered waited on disk for the uplink.
    """

    captured: int | None
    processed: int | None
    dropped: Mapping[str, int] | None
    unaccounted: int | None
    answered: int
    failed: int
    late: int = 0


@dataclass(frozen=True, slots=True)
class PeopleCounts:
    """Faces in frames, and tracks by decision; ``subjects`` are sorted. ``late_matches``: pictures
    by the subject that each, on its own, met the threshold for, of those answered late. They count
    for a track's decision only where the track still waited for them."""

    faces: int
    tracks: int
    identified_tracks: int
    subjects: tuple[SubjectId, ...]
    unknown_tracks: int
    unknown_by_reason: Mapping[Reason, int]
    late_matches: Mapping[SubjectId, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One camera as one backend saw it."""

    camera: CameraId
    backend: str
    frames: FrameCounts
    people: PeopleCounts
    latency: Latency
    traffic: Traffic


@dataclass(frozen=True, slots=True)
class BackendTotal:
    """One backend over all cameras; ``housekeeping`` is its traffic for no camera (enrollment).
    ``threshold`` is the one in force, on the backend's own scale."""

    backend: str
    frames: FrameCounts
    people: PeopleCounts
    latency: Latency
    traffic: Traffic
    housekeeping: Traffic
    threshold: float
    threshold_origin: ThresholdOrigin | None


@dataclass(frozen=True, slots=True)
class EyeDistances:
    """Pixels between the eyes over the faces in which they could be measured for one backend (see
    ``eyes_px``)."""

    backend: str
    faces: int
    p10_px: float
    median_px: float
    p90_px: float
    share_under_16_px: float
    fitness: CameraFitness


@dataclass(frozen=True, slots=True)
class CameraFacts:
    """A camera's picture and what it gives of a face; a backend that measured no eyes is absent.

    Width and height are None where no frame could be decoded. A live camera was away
    ``interruptions`` times, ``away_seconds`` together.
    """

    camera: CameraId
    width: int | None
    height: int | None
    eye_distances: tuple[EyeDistances, ...]
    error: str | None
    interruptions: int = 0
    away_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Summary:
    """``summary.json``: one row per camera and backend, totals per backend, facts per camera.

    ``doubts`` says why these numbers may be wrong: what of the run directory is missing or does not
    add up. Where there is one, do not rely on any of them.
    """

    run_id: str
    state: str
    doubts: tuple[str, ...]
    rows: tuple[SummaryRow, ...]
    totals: tuple[BackendTotal, ...]
    cameras: tuple[CameraFacts, ...]


def write_summary(directory: Path, run: Run | None = None) -> Summary:
    """Counts the run in ``directory`` and writes ``summary.json`` beside it; ``run`` where it was
    read already.

    Raises:
        UsageError: no run directory, or one that cannot be read.
        OutputError: the file cannot be written.
    """
    summary = summarize(run or read_run(directory))
    data = TypeAdapter(Summary).dump_json(summary, indent=2) + b"\n"
    write_whole(directory / SUMMARY_FILE, data)
    return summary


def summarize(run: Run) -> Summary:
    """The run counted. Cameras and backends come in the order of ``run.json``."""
    books = _Books.of(run)
    backends = [backend.name for backend in run.record.backends]
    cameras = cameras_of(run)
    return Summary(
        run_id=run.record.run_id,
        state=run.record.state,
        doubts=doubts(run),
        rows=tuple(books.row(camera, name) for camera in cameras for name in backends),
        totals=tuple(books.total(record, cameras) for record in run.record.backends),
        cameras=tuple(_facts(books, camera, backends) for camera in cameras),
    )


def cameras_of(run: Run) -> tuple[CameraId, ...]:
    """Every camera of a run: those of ``run.json`` in its order, then any that only left lines."""
    known = [camera.camera for camera in run.record.cameras]
    lines = {one.camera for one in run.observations} | {one.camera for one in run.tracks}
    entries = {entry.camera for entry in run.ledger if entry.camera is not None}
    return (*known, *sorted((lines | entries) - set(known)))


def percentile(values: Iterable[float], percent: float) -> float | None:
    """The nearest-rank percentile, or None of no values.

    The smallest value that at least ``percent`` percent of the values do not exceed; ``percent`` in
    (0, 100].
    """
    if not 0 < percent <= 100:
        raise ValueError(f"a percentage in (0, 100] is needed, not {percent}")
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[math.ceil(percent / 100 * len(ordered)) - 1]


def frame_latencies_ms(observations: Iterable[Observation]) -> tuple[float, ...]:
    """Milliseconds of each answered frame of one backend, in the order of camera and frame."""
    slowest: dict[tuple[CameraId, int], float] = {}
    failed: set[tuple[CameraId, int]] = set()
    for seen in observations:
        frame = (seen.camera, seen.frame)
        slowest[frame] = max(slowest.get(frame, 0.0), seen.latency_seconds * 1000)
        if failed_observation(seen):
            failed.add(frame)
    return tuple(slowest[frame] for frame in sorted(slowest) if frame not in failed)


def failed_observation(seen: Observation) -> bool:
    """Whether it stands for a request that gave an error instead of an answer."""
    return seen.error is not None or seen.decision.reason is Reason.REQUEST_FAILED


# --- counting ---------------------------------------------------------------------------------

_Key = tuple[CameraId, str]


@dataclass(frozen=True, slots=True)
class _Books:
    """The run's lines, sorted by camera and backend."""

    cameras: Mapping[CameraId, CameraRecord]
    counted: bool
    observations: Mapping[_Key, Sequence[Observation]]
    tracks: Mapping[_Key, Sequence[TrackRecord]]
    ledger: Mapping[tuple[CameraId | None, str], Sequence[LedgerEntry]]

    @classmethod
    def of(cls, run: Run) -> _Books:
        observations: defaultdict[_Key, list[Observation]] = defaultdict(list)
        tracks: defaultdict[_Key, list[TrackRecord]] = defaultdict(list)
        ledger: defaultdict[tuple[CameraId | None, str], list[LedgerEntry]] = defaultdict(list)
        for seen in run.observations:
            observations[seen.camera, seen.backend].append(seen)
        for track in run.tracks:
            tracks[track.camera, track.backend].append(track)
        for entry in run.ledger:
            ledger[entry.camera, entry.request.backend].append(entry)
        return cls(
            cameras={camera.camera: camera for camera in run.record.cameras},
            counted=run.record.state != "running",
            observations=dict(observations),
            tracks=dict(tracks),
            ledger=dict(ledger),
        )

    def row(self, camera: CameraId, backend: str) -> SummaryRow:
        key = (camera, backend)
        seen = self.observations.get(key, ())
        return SummaryRow(
            camera=camera,
            backend=backend,
            frames=self._frames([camera], backend, seen),
            people=_people(seen, self.tracks.get(key, ())),
            latency=_latency(seen),
            traffic=_traffic(self.ledger.get(key, ())),
        )

    def total(self, record: BackendRecord, cameras: Sequence[CameraId]) -> BackendTotal:
        backend = record.name
        keys = [(camera, backend) for camera in cameras]
        seen = [one for key in keys for one in self.observations.get(key, ())]
        tracks = [one for key in keys for one in self.tracks.get(key, ())]
        entries = [one for key in keys for one in self.ledger.get(key, ())]
        return BackendTotal(
            backend=backend,
            frames=self._frames(cameras, backend, seen),
            people=_people(seen, tracks),
            latency=_latency(seen),
            traffic=_traffic(entries),
            housekeeping=_traffic(self.ledger.get((None, backend), ())),
            threshold=record.threshold,
            threshold_origin=record.threshold_origin,
        )

    def _frames(
        self, names: Sequence[CameraId], backend: str, seen: Sequence[Observation]
    ) -> FrameCounts:
        frames = {(one.camera, one.frame) for one in seen}
        failed = {(one.camera, one.frame) for one in seen if failed_observation(one)}
        answered = len(frames - failed)
        late = len({(one.camera, one.frame) for one in seen if one.late} - failed)
        cameras = [self.cameras[name] for name in names if name in self.cameras]
        if not self.counted or len(cameras) < len(names):
            return FrameCounts(None, None, None, None, answered, len(failed), late)
        dropped: Counter[str] = Counter()
        for camera in cameras:
            dropped.update(camera.dropped.get(backend, {}))
        captured = sum(camera.captured for camera in cameras)
        processed = sum(camera.processed.get(backend, 0) for camera in cameras)
        return FrameCounts(
            captured=captured,
            processed=processed,
            dropped=dict(sorted(dropped.items())),
            unaccounted=captured - processed - dropped.total(),
            answered=answered,
            failed=len(failed),
            late=late,
        )


def _people(seen: Sequence[Observation], tracks: Sequence[TrackRecord]) -> PeopleCounts:
    subjects = [track.decision.subject for track in tracks if track.decision.subject is not None]
    late = Counter(
        one.decision.subject for one in seen if one.late and one.decision.subject is not None
    )
    reasons = Counter(track.decision.reason for track in tracks if track.decision.reason)
    return PeopleCounts(
        faces=sum(one.box is not None for one in seen),
        tracks=len(tracks),
        identified_tracks=len(subjects),
        subjects=tuple(sorted(set(subjects))),
        unknown_tracks=reasons.total(),
        unknown_by_reason=dict(sorted(reasons.items())),
        late_matches=dict(sorted(late.items())),
    )


def _latency(seen: Iterable[Observation]) -> Latency:
    values = frame_latencies_ms(seen)
    return Latency(len(values), percentile(values, 50), percentile(values, 95))


def _traffic(entries: Sequence[LedgerEntry]) -> Traffic:
    requests = [entry.request for entry in entries]
    prices = [one.price_usd for one in requests if one.price_usd is not None]
    return Traffic(
        requests=len(requests),
        failed_requests=sum(one.outcome not in ANSWERED for one in requests),
        bytes_sent=sum(one.bytes_sent for one in requests),
        bytes_received=sum(one.bytes_received for one in requests),
        calls=dict(sorted(Counter(one.operation for one in requests).items())),
        price_usd=math.fsum(prices) if prices else None,
        unpriced_requests=len(requests) - len(prices),
        left_in_bucket=_left_in_bucket(requests),
    )


def _left_in_bucket(requests: Sequence[RequestRecord]) -> int:
    done = Counter(one.operation for one in requests if one.outcome == "ok")
    return max(0, done["PutObject"] - done["DeleteObject"])


def _facts(books: _Books, camera: CameraId, backends: Sequence[str]) -> CameraFacts:
    record = books.cameras.get(camera)
    seen = {name: books.observations.get((camera, name), ()) for name in backends}
    measured = (_eye_distances(name, eyes_px(record, name, seen[name])) for name in backends)
    return CameraFacts(
        camera=camera,
        width=(record.width or None) if record else None,
        height=(record.height or None) if record else None,
        eye_distances=tuple(one for one in measured if one is not None),
        error=record.error if record else None,
        interruptions=record.interruptions if record else 0,
        away_seconds=record.away_seconds if record else 0.0,
    )


def eyes_px(
    record: CameraRecord | None, backend: str, seen: Iterable[Observation]
) -> tuple[float, ...]:
    """Pixels between the eyes of every face that a camera showed in the frames looked at for one
    backend: where pictures were chosen for it, of all they were chosen from, or else of ``seen``,
    the backend's observations on that camera. A camera does not get better by what was not sent."""
    if record is not None and backend in record.eyes_seen:
        return tuple(one.px for one in record.eyes_seen[backend] for _ in range(one.faces))
    return tuple(one.eye_distance_px for one in seen if one.eye_distance_px is not None)


def _eye_distances(backend: str, values: Sequence[float]) -> EyeDistances | None:
    p10, median, p90 = (percentile(values, percent) for percent in (10, 50, 90))
    if p10 is None or median is None or p90 is None:
        return None
    under = sum(value < EYE_LINES_PX[0] for value in values)
    return EyeDistances(
        backend=backend,
        faces=len(values),
        p10_px=p10,
        median_px=median,
        p90_px=p90,
        share_under_16_px=under / len(values),
        fitness=CameraFitness.of(median),
    )
