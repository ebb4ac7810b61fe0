"""Fakes with rules for the path of a frame: feeds, recognizers and sinks that fail on demand."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.feeds import FeedSpec, Frame, LostFrame
from rekadapter.imaging import Image
from rekadapter.observation import Observation, TrackRecord
from rekadapter.pipeline import Lane, RunOutcome
from rekadapter.sinks import OriginalAnswer
from rekadapter.testing.drawn import DrawnFace, picture, portrait
from rekadapter.types import CameraId, GalleryId, Identification, Size, SubjectId

GALLERY = GalleryId("staff")
STARTED = datetime(2026, 5, 1, tzinfo=UTC)


def walking(who: str, count: int, *, top: int = 40) -> list[Image]:
    """A drawn face that walks to and fro."""
    there = [picture(DrawnFace(who, 10 + 3 * n, top, 40), size=Size(320, 240)) for n in range(80)]
    return list(itertools.islice(itertools.cycle(there + there[::-1]), count))


@dataclass
class FakeFeed:
    """Gives its images at an even rate; an exception among them is raised in its place."""

    name: str
    items: list[Any]
    fps: float = 10.0
    live: bool = False
    continuous: bool = True
    weight: float = 1.0
    given: int = 0
    before_each: Callable[[int], None] = lambda _: None

    @property
    def spec(self) -> FeedSpec:
        return FeedSpec(CameraId(self.name), f"{self.name}.mp4", self.weight)

    @property
    def expected_frames(self) -> int | None:
        return len(self.items)

    def frames(self) -> Iterator[Frame | LostFrame]:
        for index, item in enumerate(self.items):
            self.before_each(index)
            if isinstance(item, Exception):
                raise item
            self.given += 1
            seconds = index / self.fps
            if item is None:
                yield LostFrame(self.spec.camera, index, seconds, "unreadable_image", "broken")
            else:
                yield Frame(self.spec.camera, index, seconds, STARTED, item)


@dataclass
class Asked:
    """A memory recognizer that notes every image it was asked about, and does as it is told."""

    before_each: Callable[[int], None] = lambda _: None
    images: list[Image] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    inner: MemoryRecognizer = field(default_factory=MemoryRecognizer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def identify(self, gallery: GalleryId, image: Image, **how: Any) -> Identification:
        with self.lock:
            number = len(self.images)
            self.images.append(image)
        self.before_each(number)
        return self.inner.identify(gallery, image, **how)


@dataclass
class ListSink:
    """Keeps everything; ``before_each`` may raise, with the count of observations so far."""

    before_each: Callable[[int], None] = lambda _: None
    observations: list[Observation] = field(default_factory=list)
    tracks: list[TrackRecord] = field(default_factory=list)
    answers: list[OriginalAnswer] = field(default_factory=list)
    faces: dict[str, bytes] = field(default_factory=dict)
    outcomes: list[RunOutcome] = field(default_factory=list)
    finish_error: Exception | None = None

    def attributed_to(
        self, camera: CameraId, frame: int, *, late: bool = False
    ) -> AbstractContextManager[None]:
        del camera, frame, late
        return nullcontext()

    def observe(self, observation: Observation) -> None:
        self.before_each(len(self.observations))
        self.observations.append(observation)

    def keep_answer(self, answer: OriginalAnswer) -> None:
        self.answers.append(answer)

    def keep_face(self, name: str, jpeg: bytes) -> None:
        self.faces[name] = jpeg

    def end_track(self, track: TrackRecord) -> None:
        self.tracks.append(track)

    def finish(self, outcome: RunOutcome) -> None:
        self.outcomes.append(outcome)
        if self.finish_error is not None:
            raise self.finish_error


@dataclass(frozen=True)
class Kit:
    """What a test of the pipeline needs, in one fixture."""

    feed: type[FakeFeed] = FakeFeed
    sink: type[ListSink] = ListSink

    def walking(self, who: str, count: int, *, top: int = 40) -> list[Image]:
        return walking(who, count, top=top)

    def recognizer(self, *enrolled: str, before_each: Callable[[int], None] | None = None) -> Asked:
        asked = Asked() if before_each is None else Asked(before_each)
        asked.inner.create_gallery(GALLERY)
        for who in enrolled:
            asked.inner.enroll(GALLERY, portrait(who), subject=SubjectId(who))
        return asked

    def lane(
        self,
        recognizer: Any,
        *,
        name: str = "memory",
        workers: int = 1,
        upload_bytes: int | None = None,
    ) -> Lane:
        threshold = recognizer.capabilities.default_threshold
        return Lane(name, recognizer, GALLERY, threshold, workers, upload_bytes)

    def no_threads_left(self) -> bool:
        return threading.active_count() == 1


@pytest.fixture
def kit() -> Kit:
    return Kit()


@pytest.fixture(autouse=True)
def every_thread_ends() -> Iterator[None]:
    """However a run ends, it leaves no thread behind."""
    before = set(threading.enumerate())
    yield
    left = [thread.name for thread in threading.enumerate() if thread not in before]
    assert left == []
