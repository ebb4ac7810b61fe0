"""Counts what becomes of every frame: captured = processed + dropped, without a remainder."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rekadapter.feeds.frames import FeedSpec
from rekadapter.observation import CameraRecord, EyeCount
from rekadapter.types import CameraId, DetectedFace, Size


@dataclass(slots=True)
class _Counts:
    size: Size | None = None
    captured: int = 0
    processed: Counter[str] = field(default_factory=Counter)
    dropped: dict[str, Counter[str]] = field(default_factory=dict)
    eyes: dict[str, Counter[float]] = field(default_factory=dict)
    error: str | None = None
    interruptions: int = 0
    away_before: float = 0.0
    away_now: float = 0.0
    first_seconds: float | None = None
    last_seconds: float = 0.0

    def away(self, lasts: float) -> None:
        self.interruptions += not self.away_now
        self.away_now = lasts

    def back(self) -> None:
        self.away_before += self.away_now
        self.away_now = 0.0


class FrameCount:
    """Frames by camera and backend; safe to use from any thread."""

    def __init__(self, specs: Sequence[FeedSpec], backends: Sequence[str]) -> None:
        self._specs = tuple(specs)
        self._backends = tuple(backends)
        self._lock = threading.Lock()
        self._counts = {
            spec.camera: _Counts(dropped={backend: Counter() for backend in backends})
            for spec in specs
        }

    def captured(self, camera: CameraId, seconds: float, size: Size | None = None) -> None:
        """A frame came, at ``seconds`` by the feed's clock; ``size`` where it could be decoded."""
        with self._lock:
            counts = self._counts[camera]
            counts.captured += 1
            counts.back()
            counts.size = counts.size or size
            counts.first_seconds = seconds if counts.first_seconds is None else counts.first_seconds
            counts.last_seconds = max(counts.last_seconds, seconds)

    def seen(self, camera: CameraId, backend: str, faces: Iterable[DetectedFace]) -> None:
        """The faces found in a frame in choosing what to send to a backend."""
        found = [face.eye_distance_px for face in faces if face.eye_distance_px is not None]
        with self._lock:
            eyes = self._counts[camera].eyes.setdefault(backend, Counter())
            eyes.update(math.floor(2 * px) / 2 for px in found)

    def processed(self, camera: CameraId, backend: str) -> None:
        """A backend's answer about a frame was written."""
        with self._lock:
            self._counts[camera].processed[backend] += 1

    def dropped(self, camera: CameraId, backend: str, cause: str) -> None:
        """A frame came to no answer from a backend."""
        with self._lock:
            self._counts[camera].dropped[backend][cause] += 1

    def moved(self, camera: CameraId, backend: str, cause: str, to: str | None) -> None:
        """A frame that was counted under ``cause`` came to something else after all: another cause,
        or an answer (None)."""
        with self._lock:
            counts = self._counts[camera]
            causes = counts.dropped[backend]
            causes[cause] -= 1
            if not causes[cause]:
                del causes[cause]
            if to is None:
                counts.processed[backend] += 1
            else:
                causes[to] += 1

    def away(self, camera: CameraId, lasts: float) -> None:
        """A live camera is away and has been for so many seconds; said again while that lasts."""
        with self._lock:
            self._counts[camera].away(lasts)

    def broke(self, camera: CameraId, error: str) -> None:
        """The feed ended before its end."""
        with self._lock:
            self._counts[camera].error = error

    def records(self) -> tuple[CameraRecord, ...]:
        """The counts so far, cameras in the order given."""
        with self._lock:
            return tuple(self._record(spec) for spec in self._specs)

    def _record(self, spec: FeedSpec) -> CameraRecord:
        counts = self._counts[spec.camera]
        first = counts.first_seconds
        return CameraRecord(
            camera=spec.camera,
            # A path that is not UTF-8 has to be written down all the same.
            source=spec.shown_source.encode("utf-8", "replace").decode(),
            width=counts.size.width if counts.size else 0,
            height=counts.size.height if counts.size else 0,
            captured=counts.captured,
            processed={backend: counts.processed[backend] for backend in self._backends},
            dropped={backend: dict(counts.dropped[backend]) for backend in self._backends},
            error=counts.error,
            interruptions=counts.interruptions,
            away_seconds=round(counts.away_before + counts.away_now, 1),
            seconds=None
            if first is None
            else max(0.0, counts.last_seconds - first - counts.away_before),
            eyes_seen={
                backend: tuple(EyeCount(px, faces) for px, faces in sorted(eyes.items()))
                for backend, eyes in counts.eyes.items()
            },
        )
