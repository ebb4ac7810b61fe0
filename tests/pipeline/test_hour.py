"""An hour of four cameras run fast, with outages: nothing that is held grows with the time."""

from __future__ import annotations

import gc
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.errors import ConnectionFailedError
from rekadapter.feeds import FeedSpec, Frame
from rekadapter.gate import Gate, GateRules, ShotRules, TrackGate, WholeFrame
from rekadapter.imaging import Image
from rekadapter.observation import Observation, TrackRecord
from rekadapter.pipeline import Lane, RunOptions, RunOutcome, run_feeds
from rekadapter.sinks import OriginalAnswer
from rekadapter.types import (
    BoundingBox,
    CameraId,
    DetectedFace,
    FaceIdentification,
    FailureToAcquire,
    GalleryId,
    Identification,
    Reason,
    VendorAnswer,
)
from rekadapter.uplink.link_watch import LinkWatch, Standby
from rekadapter.uplink.spool import Spool
from tests.pipeline.conftest import GALLERY, STARTED

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

CAMERAS = 4
FRAMES = 3600
OUTAGES = (range(600, 625), range(1800, 1825), range(3000, 3025))
WIDTH = 64
LIMIT = 40 * 4096
WORKERS = 3
HELD = CAMERAS * (2 + 16 + WORKERS) + 8 * WORKERS
"""frames that may be waiting, in hand, or answered and not yet written"""


class Told(VendorAnswer):
    """What an answer carries with it until it is written: it can be watched."""


@dataclass
class Watched:
    """What is alive, and the most of each kind that ever was."""

    alive: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def born(self, kind: str, one: object) -> None:
        with self.lock:
            self.alive[kind] += 1
            self.most[kind] = max(self.most[kind], self.alive[kind])
        weakref.finalize(one, self.died, kind)

    def died(self, kind: str) -> None:
        with self.lock:
            self.alive[kind] -= 1

    def look(self, spool: Spool) -> None:
        now = {
            "threads": threading.active_count(),
            "spooled": len(spool),
            "spooled bytes": spool.held_bytes,
        }
        with self.lock:
            for name, count in now.items():
                self.most[name] = max(self.most[name], count)


@dataclass
class HourFeed:
    """A frame a second; somebody else passes by every half minute."""

    name: str
    watched: Watched
    spool: Spool
    cut: threading.Event
    live: bool = False
    continuous: bool = True
    expected_frames: int | None = FRAMES

    @property
    def spec(self) -> FeedSpec:
        return FeedSpec(CameraId(self.name), f"{self.name}.mp4", fps=1.0)

    def frames(self) -> Iterator[Frame]:
        leads = self.name == "camera 0"
        for index in range(FRAMES):
            if leads:
                out = any(index in outage for outage in OUTAGES)
                (self.cut.set if out else self.cut.clear)()
            if leads and index % 30 == 0:
                self.watched.look(self.spool)
            pixels = np.full((48, WIDTH, 3), 40 + 150 * (index % 2), np.uint8)
            pixels[0, 0] = index % 30
            self.watched.born("images", pixels)
            image = Image.from_pixels(pixels)
            del pixels
            yield Frame(self.spec.camera, index, float(index), STARTED, image)


class PasserBy:
    """One face at a time, in a place told by the first pixel; then nobody for a while."""

    def find(self, image: Image) -> tuple[DetectedFace, ...]:
        place = int(image.pixels[0, 0, 0])
        box = BoundingBox(0.02 * place, 0.3, 0.3, 0.4)
        if place >= 24:
            return ()
        return (DetectedFace(box, 99.0, eye_distance_px=20.0),)


@dataclass
class Far:
    """Finds the face that it is asked about and knows nobody; cannot be reached while cut."""

    cut: threading.Event
    watched: Watched
    inner: MemoryRecognizer = field(default_factory=MemoryRecognizer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def identify(self, gallery: GalleryId, image: Image, **how: Any) -> Identification:
        del gallery, how
        if self.cut.is_set():
            raise ConnectionFailedError("the cable is out")
        told = Told("SearchFacesByImage", None, "{}")
        self.watched.born("answers", told)
        if image.size.width == WIDTH:
            return Identification((), FailureToAcquire(Reason.NO_FACE), (told,))
        face = DetectedFace(BoundingBox(0.25, 0.25, 0.5, 0.5), 99.0)
        return Identification((FaceIdentification(face, ()),), None, (told,))


@dataclass
class CountingSink:
    """Keeps numbers only."""

    counts: Counter[str] = field(default_factory=Counter)
    outcome: RunOutcome | None = None

    def attributed_to(
        self, camera: CameraId, frame: int, *, late: bool = False
    ) -> AbstractContextManager[None]:
        del camera, frame, late
        return nullcontext()

    def observe(self, observation: Observation) -> None:
        self.counts["late" if observation.late else "in time"] += 1

    def keep_answer(self, answer: OriginalAnswer) -> None: ...

    def keep_face(self, name: str, jpeg: bytes) -> None: ...

    def end_track(self, track: TrackRecord) -> None:
        del track
        self.counts["tracks"] += 1

    def finish(self, outcome: RunOutcome) -> None:
        self.outcome = outcome


def hour(folder: Path, gate: Gate) -> tuple[Watched, CountingSink]:
    watched, cut, sink = Watched(), threading.Event(), CountingSink()
    far = Far(cut, watched)
    far.inner.create_gallery(GALLERY)
    with Spool(folder / "spool", LIMIT) as spool:
        watch = LinkWatch(most=WORKERS - 1, pause_seconds=0.01)
        threshold = far.inner.capabilities.default_threshold
        lane = Lane("cloud", far, GALLERY, threshold, WORKERS, 50_000, Standby(spool, watch))
        feeds = [HourFeed(f"camera {n}", watched, spool, cut) for n in range(CAMERAS)]
        options = RunOptions(gates={"cloud": gate})
        run_feeds(feeds, [lane], sink, options, stop=threading.Event())
    return watched, sink


def whole_frames() -> Gate:
    return WholeFrame()


def best_pictures() -> Gate:
    rules = GateRules(shots=ShotRules(min_side_px=24), looks_per_second=None)
    return TrackGate(PasserBy(), rules)


@pytest.mark.parametrize("gate", [whole_frames, best_pictures])
def test_what_is_held_does_not_grow_with_the_time(tmp_path: Path, gate: Any) -> None:
    before = threading.active_count()
    watched, sink = hour(tmp_path, gate())
    assert sink.outcome is not None
    for camera in sink.outcome.cameras:
        dropped = camera.dropped["cloud"]
        assert camera.captured == FRAMES == camera.processed["cloud"] + sum(dropped.values())
        assert dropped.get("spooled", 0) == 0
    assert sink.counts["late"] > 0
    assert sink.counts["in time"] > 0
    assert watched.most["images"] <= HELD
    assert 0 < watched.most["answers"] <= HELD
    assert watched.most["spooled"] <= LIMIT // 4096
    assert 0 < watched.most["spooled bytes"] <= LIMIT
    assert watched.most["threads"] <= before + CAMERAS + WORKERS + 1
    assert threading.active_count() == before
    gc.collect()
    assert watched.alive.total() == 0
