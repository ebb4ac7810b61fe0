"""Four cameras of weights 1, 1, 2 and 4 on one link, one of them with a crowd, through the whole
pipeline: gate, outbox, workers, uploader, pacer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
from rig import MEGABIT, SEARCHED, Log, OpenLink, Rig, jpeg_of, rig

from rekadapter.feeds import FeedSpec, Frame
from rekadapter.gate import WHOLE, Look, Probe
from rekadapter.imaging import Image
from rekadapter.observation import Observation, Spent, TrackRecord
from rekadapter.pipeline import Lane, RunOptions, run_feeds
from rekadapter.sinks.sink import OriginalAnswer, RunOutcome
from rekadapter.types import BoundingBox, CameraId, DetectedFace, GalleryId

RATE = MEGABIT
CROP_BYTES = 3_000
WORKERS = 8
SETTLE_SECONDS = 10.0
FRAMES_PER_SECOND = 10.0
CROWD = CameraId("crowd")
FACE = DetectedFace(BoundingBox(*SEARCHED.values()), 99.0)


@dataclass(frozen=True, slots=True)
class Camera:
    """Every frame of it has so many people to be asked about."""

    name: CameraId
    weight: float
    people: int
    frames_per_second: float = FRAMES_PER_SECOND


BUSY = (
    Camera(CROWD, 1.0, 12),
    Camera(CameraId("one"), 1.0, 2),
    Camera(CameraId("two"), 2.0, 2),
    Camera(CameraId("four"), 4.0, 2),
)
QUIET = (Camera(CROWD, 1.0, 12), *(Camera(one.name, one.weight, 1, 0.5) for one in BUSY[1:]))


@dataclass(frozen=True)
class LiveFeed:
    """The same picture again and again, in real time, for so many seconds."""

    camera: Camera
    picture: Image
    seconds: float

    live = True
    continuous = True
    expected_frames = None

    @property
    def spec(self) -> FeedSpec:
        return FeedSpec(self.camera.name, "a picture", weight=self.camera.weight)

    def frames(self) -> Iterator[Frame]:
        began, day = time.monotonic(), datetime.now(UTC)
        for number in range(int(self.seconds * self.camera.frames_per_second)):
            due = number / self.camera.frames_per_second
            time.sleep(max(0.0, began + due - time.monotonic()))
            moment = day + timedelta(seconds=due)
            yield Frame(self.camera.name, number, due, moment, self.picture)


class Everybody:
    """A gate that asks about everybody in the frame: a picture each."""

    def __init__(self, cameras: Sequence[Camera]) -> None:
        self._people = {one.name: one.people for one in cameras}

    def look(self, frame: Frame) -> Look:
        return Look((Probe(frame.image, WHOLE, FACE),) * self._people[frame.camera])


@dataclass
class Answers:
    """A sink that keeps how old frames were when they were answered."""

    log: Log
    ages: dict[CameraId, dict[int, float]] = field(default_factory=dict)
    outcome: RunOutcome | None = None

    def attributed_to(
        self, camera: CameraId, frame: int, *, late: bool = False
    ) -> AbstractContextManager[Spent | None]:
        return self.log.ledger.attributed_to(camera, frame, late=late)

    def observe(self, observation: Observation) -> None:
        if observation.age_seconds is not None:
            ages = self.ages.setdefault(observation.camera, {})
            ages[observation.frame] = observation.age_seconds

    def keep_answer(self, answer: OriginalAnswer) -> None: ...

    def keep_face(self, name: str, jpeg: bytes) -> None: ...

    def end_track(self, track: TrackRecord) -> None: ...

    def finish(self, outcome: RunOutcome) -> None:
        self.outcome = outcome


def report_shares(seconds: float, over: OpenLink) -> None:
    print(f"\nshares: {RATE / MEGABIT:g} Mbit/s, crops of {CROP_BYTES // 1000} kB, {seconds:g} s")
    print("everybody has more than fits; bytes of all requests, the first 10 s left out")
    print(
        " camera  weight  offered/s  of the bytes   its share  off by   frame's age, median / p90"
    )
    with rig(over, RATE) as at:
        answers = play(at, BUSY, seconds)
        sent = {one.name: sent_for(at, one.name) for one in BUSY}
        weights = sum(one.weight for one in BUSY)
        for one in BUSY:
            got, due = sent[one.name] / sum(sent.values()), one.weight / weights
            print(
                f"{one.name:>7}  {one.weight:6g}  {one.people * one.frames_per_second:9g}"
                f"  {got:12.2%}  {due:10.2%}  {got / due - 1:+6.1%}   {age(answers, one.name)}"
            )
    print("the others have little: what they ask for is sent, and the crowd has the rest")
    print(" camera  weight  offered/s  of the bytes   frames answered   frame's age, median / p90")
    with rig(over, RATE) as at:
        answers = play(at, QUIET, seconds)
        total = sum(sent_for(at, one.name) for one in QUIET)
        assert answers.outcome is not None
        for one, counts in zip(QUIET, answers.outcome.cameras, strict=True):
            print(
                f"{one.name:>7}  {one.weight:6g}  {one.people * one.frames_per_second:9g}"
                f"  {sent_for(at, one.name) / total:12.2%}"
                f"   {counts.processed['bench']:5} of {counts.captured:5}  "
                f"   {age(answers, one.name)}"
            )


def play(at: Rig, cameras: Sequence[Camera], seconds: float) -> Answers:
    recognizer = at.recognizer
    threshold = recognizer.capabilities.default_threshold
    lane = Lane("bench", recognizer, GalleryId("bench"), threshold, WORKERS, 1_000_000)
    feeds = [LiveFeed(one, jpeg_of(CROP_BYTES), seconds) for one in cameras]
    answers = Answers(at.log)
    stopper = threading.Timer(seconds, at.stop.set)
    stopper.start()
    try:
        gates = RunOptions(gate=Everybody(cameras))
        run_feeds(feeds, [lane], answers, gates, stop=at.stop)
    finally:
        stopper.cancel()
        stopper.join()
    return answers


def sent_for(at: Rig, camera: CameraId) -> int:
    """Bytes of a camera's requests, without those of the first seconds."""
    mine = [one.request for one in at.log.entries if one.camera == camera]
    first = min(one.request.started_at for one in at.log.entries)
    settled = first + timedelta(seconds=SETTLE_SECONDS)
    return sum(one.bytes_sent for one in mine if one.started_at >= settled)


def age(answers: Answers, camera: CameraId) -> str:
    ages = list(answers.ages.get(camera, {}).values())
    if not ages:
        return "none answered"
    median, p90 = np.percentile(ages, [50, 90])
    return f"{median:.1f} / {p90:.1f} s"
