"""What each camera sent, and how old its pictures were when they were answered, as bars.

The report's page draws them itself, as shares of a lane, so that names stand beside them and a
narrow page can put them below each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rekadapter.evaluation.summary import percentile
from rekadapter.evaluation.timeline import Tick, ticks_of
from rekadapter.observation import LedgerEntry, Observation, Run
from rekadapter.types import CameraId

_MOST_BARS: Final = 64
_LEAST_SECONDS: Final = 0.1

_Key = tuple[CameraId, str]


@dataclass(frozen=True, slots=True)
class CameraBytes:
    """What was sent for one camera to one backend; ``share`` of all, 0 to 1. ``width`` is that of
    its bar in percent, ``index`` the backend's place in the run. ``bytes_a_frame`` is None where no
    frame was answered."""

    camera: CameraId
    backend: str
    index: int
    bytes_sent: int
    share: float
    bytes_a_frame: float | None
    width: float


@dataclass(frozen=True, slots=True)
class CameraAge:
    """How old the pictures of one camera were when one backend answered. ``left`` is the median's
    place in percent of the lane, ``width`` goes from there to the 95th percentile."""

    camera: CameraId
    backend: str
    index: int
    frames: int
    p50_seconds: float
    p95_seconds: float
    left: float
    width: float


@dataclass(frozen=True, slots=True)
class CameraBars:
    """Both charts, cameras in the order of the run; ``hidden`` bars had no room."""

    bytes_sent: tuple[CameraBytes, ...]
    ages: tuple[CameraAge, ...]
    ticks: tuple[Tick, ...]
    hidden: int


def camera_bars(run: Run) -> CameraBars:
    """The charts of a run. Frames that waited on disk for the uplink are left out of the ages:
    they would hide those of all others."""
    names = [backend.name for backend in run.record.backends]
    cameras = [camera.camera for camera in run.record.cameras]
    ages = frame_ages([seen for seen in run.observations if not seen.late])
    sent = _sent(run.ledger)
    order = sorted(
        {*ages, *sent}, key=lambda key: (_place(key[0], cameras), _place(key[1], names), key)
    )
    sending = [_bytes_of(key, names, sent, ages) for key in order if key in sent]
    aging = _ages_of([key for key in order if key in ages], names, ages)
    return CameraBars(
        bytes_sent=tuple(sending[:_MOST_BARS]),
        ages=aging[:_MOST_BARS],
        ticks=ticks_of(_longest(aging)),
        hidden=max(0, len(sending) - _MOST_BARS) + max(0, len(aging) - _MOST_BARS),
    )


def frame_ages(observations: Sequence[Observation]) -> dict[_Key, tuple[float, ...]]:
    """Seconds by camera and backend, each answered frame once, in the order of the frames."""
    oldest: dict[tuple[_Key, int], float] = {}
    for seen in observations:
        if seen.age_seconds is not None and seen.error is None:
            key = ((seen.camera, seen.backend), seen.frame)
            oldest[key] = max(oldest.get(key, 0.0), seen.age_seconds)
    found: dict[_Key, list[float]] = {}
    for (pair, _), age in sorted(oldest.items()):
        found.setdefault(pair, []).append(age)
    return {key: tuple(ages) for key, ages in found.items()}


def _sent(ledger: Sequence[LedgerEntry]) -> dict[_Key, int]:
    sent: dict[_Key, int] = {}
    for entry in ledger:
        if entry.camera is not None:
            key = (entry.camera, entry.request.backend)
            sent[key] = sent.get(key, 0) + entry.request.bytes_sent
    return sent


def _bytes_of(
    key: _Key,
    names: Sequence[str],
    sent: Mapping[_Key, int],
    ages: Mapping[_Key, Sequence[float]],
) -> CameraBytes:
    camera, backend = key
    total, most = sum(sent.values()), max(sent.values())
    frames = len(ages.get(key, ()))
    return CameraBytes(
        camera=camera,
        backend=backend,
        index=_place(backend, names),
        bytes_sent=sent[key],
        share=sent[key] / total if total else 0.0,
        bytes_a_frame=sent[key] / frames if frames else None,
        width=round(100 * sent[key] / most, 2) if most else 0.0,
    )


def _ages_of(
    keys: Sequence[_Key], names: Sequence[str], ages: Mapping[_Key, Sequence[float]]
) -> tuple[CameraAge, ...]:
    found = [(key, percentile(ages[key], 50), percentile(ages[key], 95)) for key in keys]
    longest = max([_LEAST_SECONDS, *(slow for _, _, slow in found if slow is not None)])
    return tuple(
        CameraAge(
            camera=key[0],
            backend=key[1],
            index=_place(key[1], names),
            frames=len(ages[key]),
            p50_seconds=median,
            p95_seconds=slow,
            left=round(100 * median / longest, 2),
            width=round(100 * (slow - median) / longest, 2),
        )
        for key, median, slow in found
        if median is not None and slow is not None
    )


def _longest(ages: Sequence[CameraAge]) -> float:
    return max([_LEAST_SECONDS, *(one.p95_seconds for one in ages)])


def _place(name: str, names: Sequence[str]) -> int:
    """Its place in the run; what the run does not name comes last."""
    return names.index(name) if name in names else len(names)
