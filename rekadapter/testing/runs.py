"""Runs made by hand, for tests of what reads a run: the summary, the pairing, the report.

``RunBuilder`` writes the lines a pipeline would write, from the few facts a test cares about.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Final

from rekadapter.observation import (
    BackendRecord,
    CameraRecord,
    CandidateRecord,
    Decision,
    LedgerEntry,
    Observation,
    Run,
    RunRecord,
    TrackRecord,
)
from rekadapter.recognizer import RequestRecord
from rekadapter.sinks.run_directory import SCHEMA_VERSION, RunDirectory
from rekadapter.sinks.sink import RunOutcome
from rekadapter.types import BoundingBox, CameraId, FaceId, Reason, ScoreScale, SubjectId
from rekadapter.uplink.uploader import REQUEST_FAILED

START: Final = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
FRAMES_PER_SECOND: Final = 10.0
LOCAL_SCALE: Final = ScoreScale("test similarity", 0.0, 100.0)
REMOTE_SCALE: Final = ScoreScale("Rekognition Similarity", 0.0, 100.0)


def local_backend(name: str = "local") -> BackendRecord:
    """A backend on this machine."""
    return BackendRecord(
        name=name,
        kind="local",
        model="test-net v1",
        threshold=60.0,
        scale=LOCAL_SCALE,
        remote=False,
        details={"licence": "CC0", "sha256": "0" * 64},
    )


def remote_backend(name: str = "rekognition") -> BackendRecord:
    """A backend that images are sent to."""
    return BackendRecord(
        name=name,
        kind="rekognition",
        model="AWS Rekognition",
        threshold=80.0,
        scale=REMOTE_SCALE,
        remote=True,
        details={"region": "us-east-1", "endpoint": "http://127.0.0.1:9"},
    )


@dataclass(frozen=True, slots=True)
class Transit:
    """One person crossing a view: when, where (left edge of the face), and how large.

    ``subject`` is who the backend says it is; None is unknown for ``reason``. ``listed``: every
    sighting carries the candidate; its name for an unknown is ``runner_up``.
    """

    camera: str
    first_frame: int
    last_frame: int
    subject: str | None = None
    reason: Reason = Reason.BELOW_THRESHOLD
    left: float = 0.4
    eyes_px: float = 30.0
    score: float | None = 91.0
    thumbnail: str | None = None
    listed: bool = False
    runner_up: str = "the runner-up"

    def frames(self) -> range:
        return range(self.first_frame, self.last_frame + 1)


@dataclass(slots=True)
class RunBuilder:
    """Collects lines and gives a ``Run``; every frame of a camera is answered unless told else."""

    backends: tuple[BackendRecord, ...] = (local_backend(), remote_backend())
    cameras: Mapping[str, int] = field(default_factory=lambda: {"lobby": 100, "gate": 50})
    notes: tuple[str, ...] = ()
    state: str = "finished"
    _tracks: list[TrackRecord] = field(default_factory=list)
    _seen: defaultdict[tuple[str, str, int], list[Observation]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _dropped: dict[tuple[str, str], dict[int, str]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    _failed: set[tuple[str, str, int]] = field(default_factory=set)
    _ledger: list[LedgerEntry] = field(default_factory=list)

    def transit(self, backend: str, transit: Transit) -> TrackRecord:
        """A track, and its face in each of its frames."""
        number = len(self._tracks) + 1
        scale = next(one.scale.name for one in self.backends if one.name == backend)
        decision = _decision(transit, scale)
        track = TrackRecord(
            backend=backend,
            camera=CameraId(transit.camera),
            track=number,
            first_seconds=transit.first_frame / FRAMES_PER_SECOND,
            last_seconds=transit.last_frame / FRAMES_PER_SECOND,
            sightings=len(transit.frames()),
            decision=decision,
            median_eye_distance_px=transit.eyes_px,
            thumbnail=transit.thumbnail,
        )
        self._tracks.append(track)
        for frame in transit.frames():
            face = replace(
                _empty(backend, transit.camera, frame),
                decision=decision,
                box=BoundingBox(transit.left, 0.3, 0.1, 0.2),
                confidence=99.0,
                eye_distance_px=transit.eyes_px,
                track=number,
                candidates=(decision.best,) if transit.listed and decision.best else (),
            )
            self._seen[backend, transit.camera, frame].append(face)
        return track

    def drop(self, backend: str, camera: str, frames: range, cause: str) -> None:
        """Frames that the backend never got."""
        self._dropped[backend, camera].update(dict.fromkeys(frames, cause))

    def fail(self, backend: str, camera: str, frames: range) -> None:
        """Frames whose request gave an error; the pipeline counts them as dropped for that."""
        self.drop(backend, camera, frames, REQUEST_FAILED)
        self._failed.update((backend, camera, frame) for frame in frames)

    def request(  # noqa: PLR0913 - a test states only what it cares about
        self,
        backend: str,
        camera: str | None,
        *,
        operation: str = "SearchFacesByImage",
        outcome: str = "ok",
        price_usd: float | None = 0.001,
        bytes_sent: int = 20_000,
        at_seconds: float = 0.0,
        wait_seconds: float = 0.0,
    ) -> None:
        """One line of the ledger, ``at_seconds`` after the run began."""
        request = RequestRecord(
            backend=backend,
            operation=operation,
            started_at=START + timedelta(seconds=at_seconds),
            bytes_sent=bytes_sent,
            bytes_received=900,
            wire_measure="http",
            wait_seconds=wait_seconds,
            latency_seconds=0.05,
            attempts=1,
            outcome=outcome,
            price_usd=price_usd,
        )
        self._ledger.append(LedgerEntry(request, None if camera is None else CameraId(camera), 0))

    def build(self) -> Run:
        """The run so far."""
        observations = tuple(
            one
            for camera, count in self.cameras.items()
            for frame in range(count)
            for backend in self.backends
            for one in self._answer(backend.name, camera, frame)
        )
        return Run(self._record(), observations, tuple(self._tracks), tuple(self._ledger))

    def write(self, directory: Path) -> Run:
        """The run as a run directory, as a pipeline leaves it."""
        run = self.build()
        sink = RunDirectory.create(directory, replace(run.record, state="running", cameras=()))
        for entry in run.ledger:
            if entry.camera is None:
                sink.ledger.record(entry.request)
                continue
            with sink.attributed_to(entry.camera, entry.frame or 0):
                sink.ledger.record(entry.request)
        for one in run.observations:
            sink.observe(one)
        for track in run.tracks:
            sink.end_track(track)
        ended = START + timedelta(seconds=30)
        if self.state == "running":  # killed: nobody was left to write how it ended
            sink.close()
        else:
            sink.finish(RunOutcome(self.state, ended, run.record.cameras, run.record.error))
        return run

    def _answer(self, backend: str, camera: str, frame: int) -> list[Observation]:
        if (backend, camera, frame) in self._failed:
            failed = Decision(None, Reason.REQUEST_FAILED, None)
            return [replace(_empty(backend, camera, frame), decision=failed, error="no route")]
        if frame in self._dropped.get((backend, camera), {}):
            return []
        return self._seen.get((backend, camera, frame)) or [_empty(backend, camera, frame)]

    def _record(self) -> RunRecord:
        return RunRecord(
            schema_version=SCHEMA_VERSION,
            run_id="run-1",
            tool_version="0.1.0",
            command="rekadapter compare feeds.toml --gallery staff",
            started_at=START,
            ended_at=None if self.state == "running" else START + timedelta(seconds=30),
            state=self.state,
            gallery="staff",
            backends=self.backends,
            cameras=tuple(self._camera(name, count) for name, count in self.cameras.items()),
            settings={"uplink": "2Mbit/s", "fps": 10},
            host={"cpu": "test", "python": "3.11"},
            versions={"numpy": "2.0"},
            input_hashes={f"{name}.mp4": "1" * 64 for name in self.cameras},
            price_sources=("https://aws.amazon.com/rekognition/pricing/ as of 2026-10-01",),
            notes=self.notes,
            error="the disk is full" if self.state == "failed" else None,
        )

    def _camera(self, name: str, count: int) -> CameraRecord:
        causes = {
            backend.name: Counter(self._dropped.get((backend.name, name), {}).values())
            for backend in self.backends
        }
        return CameraRecord(
            camera=CameraId(name),
            source=f"{name}.mp4",
            width=1920,
            height=1080,
            captured=count,
            processed={backend: count - lost.total() for backend, lost in causes.items()},
            dropped={backend: dict(lost) for backend, lost in causes.items()},
            seconds=(count - 1) / FRAMES_PER_SECOND,
        )


def _decision(transit: Transit, scale: str) -> Decision:
    best = None
    if transit.score is not None:
        name = SubjectId(transit.subject or transit.runner_up)
        best = CandidateRecord(FaceId("face-1"), name, transit.score, scale)
    sightings = len(transit.frames())
    if transit.subject is None:
        return Decision(None, transit.reason, best, sightings)
    return Decision(SubjectId(transit.subject), None, best, sightings, sightings)


def _empty(backend: str, camera: str, frame: int) -> Observation:
    return Observation(
        backend=backend,
        camera=CameraId(camera),
        frame=frame,
        seconds=frame / FRAMES_PER_SECOND,
        decision=Decision(None, Reason.NO_FACE, None),
        latency_seconds=median((0.02, 0.03 + frame / 10_000, 0.5)),
    )
