"""The cameras of a run: pixels between the eyes of every face that was followed, and misses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rekadapter.evaluation.feed_sections import Watch, missed
from rekadapter.evaluation.operations import UNKNOWN_FITNESS
from rekadapter.evaluation.result_base import EstimateResult
from rekadapter.evaluation.results import CameraResult
from rekadapter.evaluation.statistics import Settings, estimate_rate
from rekadapter.evaluation.summary import CameraFitness, cameras_of, eyes_px, percentile
from rekadapter.evaluation.transits import SystemTransits
from rekadapter.evaluation.wording import EYES_APART_METERS
from rekadapter.observation import Observation, Run
from rekadapter.types import CameraId

_HOURS_A_DAY: Final = 24.0
_TURNED_AWAY_DEGREES: Final = 45.0
"""AWS's developer guide, recommendations for facial comparison: yaw below 45 degrees."""


def feed_cameras(
    run: Run, found: Sequence[SystemTransits], settings: Settings
) -> Iterator[CameraResult]:
    """Each camera as each system saw it, at the threshold in force."""
    watch = Watch.of(run)
    records = {record.camera: record for record in run.record.cameras}
    for camera in cameras_of(run):
        for backend in run.record.backends:
            own = next((one for one in found if one.backend.name == backend.name), None)
            seen = [
                one
                for one in run.observations
                if one.camera == camera and one.backend == backend.name and one.box is not None
            ]
            eyes = eyes_px(records.get(camera), backend.name, seen)
            view = _View(camera, backend.name, seen, eyes, watch.total(camera))
            yield _camera(view, own, settings)


@dataclass(frozen=True, slots=True)
class _View:
    """One camera as one system saw it; ``eyes`` in pixels, ``days`` watched."""

    camera: CameraId
    system: str
    seen: Sequence[Observation]
    eyes: Sequence[float]
    days: float | None


def _camera(view: _View, found: SystemTransits | None, settings: Settings) -> CameraResult:
    camera, eyes = view.camera, view.eyes
    median = percentile(eyes, 50)
    answers = [a for a in found.answers if a.crossing.entry.camera == camera] if found else []
    mated = [a for a in answers if a.crossing.enrolled]
    false = sum(one.track.camera == camera for one in found.false_alerts) if found else 0
    hours = None if view.days is None else view.days * _HOURS_A_DAY
    return CameraResult(
        id=camera,
        system=view.system,
        searches=len(answers),
        measured=len(eyes),
        eye_px_p10=percentile(eyes, 10),
        eye_px_p50=median,
        eye_px_p90=percentile(eyes, 90),
        px_per_meter=None if median is None else median / EYES_APART_METERS,
        fnir=EstimateResult.of(estimate_rate(missed(mated), settings)),
        false_alerts_per_hour=false / hours if false and hours and hours >= 1 else None,
        verdict=UNKNOWN_FITNESS if median is None else str(CameraFitness.of(median)),
        reasons=tuple(_reasons(view.seen)),
    )


def _reasons(seen: Sequence[Observation]) -> Iterator[str]:
    without = sum(one.eye_distance_px is None for one in seen)
    if without:
        yield f"{without} of {len(seen)} faces gave no eye distance"
    turned = sum(one.pose is not None and abs(one.pose.yaw) > _TURNED_AWAY_DEGREES for one in seen)
    if turned:
        yield f"{turned} of {len(seen)} faces were turned by more than 45 degrees"
