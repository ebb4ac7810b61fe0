"""What a run tells the world, and how it ended."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from rekadapter.observation import CameraRecord, Observation, Spent, TrackRecord
from rekadapter.types import CameraId


@dataclass(frozen=True, slots=True)
class OriginalAnswer:
    """A vendor's own answer about a frame, as JSON text: what ours can be held against."""

    backend: str
    camera: CameraId
    frame: int
    operation: str
    request_id: str | None
    json: str


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended: ``finished``, ``interrupted``, or ``failed`` (then ``error`` says why), and
    what became of every frame."""

    state: str
    ended_at: datetime
    cameras: tuple[CameraRecord, ...]
    error: str | None = None


class Sink(Protocol):
    """Takes what a run finds out. One thread calls it, but for ``attributed_to``, which the threads
    that ask the recognizers call. ``finish`` comes last, once, however the run ended.

    Every method but ``attributed_to`` may raise ``OutputError``.
    """

    def attributed_to(
        self, camera: CameraId, frame: int, *, late: bool = False
    ) -> AbstractContextManager[Spent | None]:
        """Requests made by this thread inside the context are made for this frame, ``late`` if it
        waited for the uplink; gives what they come to, None where nobody adds it up."""
        ...

    def observe(self, observation: Observation) -> None: ...

    def keep_answer(self, answer: OriginalAnswer) -> None: ...

    def keep_face(self, name: str, jpeg: bytes) -> None:
        """A face's thumbnail under a file name; a later one of that name replaces it."""
        ...

    def end_track(self, track: TrackRecord) -> None: ...

    def finish(self, outcome: RunOutcome) -> None: ...
