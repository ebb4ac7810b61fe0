"""How far a run is: what a listener is told, and what it may ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from rekadapter.gate import GATED
from rekadapter.observation import CameraRecord
from rekadapter.types import CameraId


class ProgressListener(Protocol):
    """Told how far a run is, from several threads: it has to be quick and must not raise."""

    def started(self, camera: CameraId, frames_expected: int | None) -> None:
        """Once a camera, before the first frame; None where nobody knows how many will come."""
        ...

    def frame_done(self, camera: CameraId, backend: str) -> None:
        """A frame is through for one backend, answered or dropped."""
        ...


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """One camera and backend so far. ``captured`` is ``gated`` (looked at, nothing to ask), lost by
    cause (``dropped``), ``processed``, and for the rest ``under_way``: ``queued`` or, as far as
    that can be told while it changes, being ``asked``."""

    camera: CameraId
    backend: str
    captured: int
    gated: int
    dropped: Mapping[str, int]
    processed: int
    queued: int = 0

    @property
    def under_way(self) -> int:
        return self.captured - self.gated - sum(self.dropped.values()) - self.processed

    @property
    def asked(self) -> int:
        return max(0, self.under_way - self.queued)


@runtime_checkable
class WatchesRun(Protocol):
    """What a ``ProgressListener`` has besides where it wants to look at a run while it goes on."""

    def watch(self, status: Callable[[], tuple[LaneStatus, ...]]) -> None:
        """Called once, before the first frame; ``status`` may be called from any thread."""
        ...


class NoProgress:
    """For callers that do not watch."""

    def started(self, camera: CameraId, frames_expected: int | None) -> None: ...

    def frame_done(self, camera: CameraId, backend: str) -> None: ...


def status_of(record: CameraRecord, backend: str, queued: int) -> LaneStatus:
    """What a camera's counts say of one lane, ``queued`` of whose frames wait."""
    causes = record.dropped[backend]
    return LaneStatus(
        camera=record.camera,
        backend=backend,
        captured=record.captured,
        gated=sum(count for cause, count in causes.items() if cause in GATED),
        dropped={cause: count for cause, count in causes.items() if cause not in GATED},
        processed=record.processed[backend],
        queued=queued,
    )
