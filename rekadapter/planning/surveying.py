"""What a gate would send of a feed: everything up to the uplink, and nothing beyond it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from rekadapter.errors import ImageError
from rekadapter.feeds.frames import UNREADABLE, Feed, Frame, Silence
from rekadapter.feeds.metering import Coded, Metered
from rekadapter.gate import Fate, Look, TrackGate
from rekadapter.types import CameraId, Reason


@dataclass(frozen=True, slots=True)
class SurveyedCamera:
    """One feed through a gate that follows people. ``asked`` of ``tracks`` would have been asked
    about, in ``shots`` pictures of ``shot_bytes`` in all; ``unasked`` says why not the others.
    ``look_seconds`` is the gate's own time on this machine, detection included. ``coded``: what the
    feed took as it came; None where it is no stream."""

    camera: CameraId
    seconds: float
    frames: int
    dropped: Mapping[str, int]
    tracks: int
    asked: int
    unasked: Mapping[Reason, int]
    shots: int
    shot_bytes: int
    seconds_in_view: float
    looks: int
    look_seconds: float
    coded: Coded | None = None

    @property
    def people_per_hour(self) -> float:
        return 3600 * self.asked / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class _Tally:
    dropped: Counter[str] = field(default_factory=Counter)
    unasked: Counter[Reason] = field(default_factory=Counter)
    frames: int = 0
    tracks: int = 0
    shots: int = 0
    shot_bytes: int = 0
    in_view: float = 0.0
    looks: int = 0
    look_seconds: float = 0.0
    first: float | None = None
    last: float = 0.0


Watcher = Callable[[Frame, Look], None]


def _nobody_watches(frame: Frame, look: Look) -> None:
    del frame, look


def survey(
    feeds: Sequence[Feed],
    gate: TrackGate,
    *,
    fate: Fate = Fate.NOBODY,
    duration_seconds: float | None = None,
    stop: threading.Event | None = None,
    watch: Watcher = _nobody_watches,
) -> tuple[SurveyedCamera, ...]:
    """Runs feeds through ``gate``, one after the other, and sends nothing. ``watch`` is told of
    every frame that was looked at.

    Every shot is taken to be answered at once with ``fate``: NOBODY, the default, is a public place
    where almost everybody is a stranger and is asked about most often.

    Raises:
        FeedError: a feed cannot be read.
    """
    how = _How(fate, duration_seconds, stop or threading.Event(), watch)
    return tuple(_surveyed(feed, gate, how) for feed in feeds)


@dataclass(frozen=True, slots=True)
class _How:
    fate: Fate
    duration: float | None
    stop: threading.Event
    watch: Watcher


def _surveyed(feed: Feed, gate: TrackGate, how: _How) -> SurveyedCamera:
    tally, camera = _Tally(), feed.spec.camera
    gate.open(feed)
    for item in feed.frames():
        if how.stop.is_set() or (how.duration is not None and item.seconds >= how.duration):
            break
        if isinstance(item, Silence):
            continue
        tally.frames += 1
        tally.first = item.seconds if tally.first is None else tally.first
        tally.last = item.seconds
        if not isinstance(item, Frame):
            tally.dropped[item.cause] += 1
            continue
        look = _timed(gate, item, tally)
        how.watch(item, look)
        for probe in look.probes:
            tally.shots += 1
            tally.shot_bytes += probe.size_bytes or 0
            if probe.track is not None:
                gate.settle(camera, probe.track, item.index, how.fate)
        if not look.probes:
            tally.dropped[look.cause] += 1
        _end(gate, camera, tally)
    gate.close(camera)
    _end(gate, camera, tally)
    asked = tally.tracks - tally.unasked.total()
    return SurveyedCamera(
        camera=camera,
        seconds=tally.last - (tally.first or 0.0),
        frames=tally.frames,
        dropped=dict(sorted(tally.dropped.items())),
        tracks=tally.tracks,
        asked=asked,
        unasked=dict(sorted(tally.unasked.items())),
        shots=tally.shots,
        shot_bytes=tally.shot_bytes,
        seconds_in_view=tally.in_view / asked if asked else 0.0,
        looks=tally.looks,
        look_seconds=tally.look_seconds,
        coded=feed.coded if isinstance(feed, Metered) else None,
    )


def _timed(gate: TrackGate, frame: Frame, tally: _Tally) -> Look:
    started = time.perf_counter()
    try:
        look = gate.look(frame)
    except ImageError:
        return Look(cause=UNREADABLE)
    if look.cause not in {"between_looks", "no_motion"} or look.probes:
        tally.looks += 1
        tally.look_seconds += time.perf_counter() - started
    return look


def _end(gate: TrackGate, camera: CameraId, tally: _Tally) -> None:
    for settled in gate.settled(camera):
        tally.tracks += 1
        if settled.unasked is not None:
            tally.unasked[settled.unasked] += 1
        else:
            tally.in_view += settled.span.last_seconds - settled.span.first_seconds
