"""A link that drops, stalls, resets, throttles or lies: every frame is counted, every thread ends.

The whole path runs: feeds, pipeline, the boto3 backend, a relay that misbehaves on command, and
rekadapter's own service before the memory recognizer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.backends.rekognition import open_rekognition
from rekadapter.observation import CameraRecord
from rekadapter.pipeline import Lane, RunOptions, RunOutcome, run_feeds
from rekadapter.recognizer import BackendContext, Recognizer
from rekadapter.rekognition_api.server import ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.testing.drawn import portrait
from rekadapter.testing.link_relay import Fault, LinkRelay
from rekadapter.types import SubjectId
from rekadapter.uplink import UplinkPacer
from tests.pipeline.conftest import GALLERY, FakeFeed, ListSink, walking
from tests.rekognition.fakes import KeptLog

pytestmark = pytest.mark.timeout(60)

FRAMES = 12
WIDE = 12_500_000.0


@dataclass
class Rig:
    """A recognizer behind a relay, what it logged, and the pacer that it sends through."""

    relay: LinkRelay
    recognizer: Recognizer
    log: KeptLog
    stop: threading.Event
    pacer: UplinkPacer

    def run(self, *feeds: FakeFeed, workers: int = 2) -> tuple[RunOutcome, ListSink]:
        sink = ListSink()
        threshold = self.recognizer.capabilities.default_threshold
        lane = Lane("cloud", self.recognizer, GALLERY, threshold, workers, 100_000)
        return run_feeds(feeds, [lane], sink, RunOptions(), stop=self.stop), sink


@pytest.fixture(autouse=True)
def every_thread_ends() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = [thread.name for thread in threading.enumerate() if thread not in before]
    assert left == []


@contextmanager
def rig_at(folder: Path, *, rate: float = WIDE, link: float = float("inf")) -> Iterator[Rig]:
    served, stop, log = MemoryRecognizer(), threading.Event(), KeptLog()
    served.create_gallery(GALLERY)
    served.enroll(GALLERY, portrait("Ann"), subject=SubjectId("Ann"))
    with ServiceServer(create_app(RekognitionService(served))) as server:
        port = urlsplit(server.url).port
        assert port is not None
        with LinkRelay(("127.0.0.1", port), rate=link, queue_bytes=16_384) as relay:
            pacer = UplinkPacer(rate, stop=stop)
            context = BackendContext(folder, folder, pacer=pacer, request_log=log, stop=stop)
            options = {
                "endpoint_url": relay.url,
                "unsigned": True,
                "region": "us-east-1",
                "connect_timeout": 0.5,
                "read_timeout": 0.5,
                "deadline_seconds": 0.6,
            }
            recognizer = open_rekognition("cloud", options, context)
            try:
                yield Rig(relay, recognizer, log, stop, pacer)
            finally:
                recognizer.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with rig_at(tmp_path) as rig:
        yield rig


def closed(camera: CameraRecord) -> bool:
    return camera.captured == camera.processed["cloud"] + sum(camera.dropped["cloud"].values())


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(2000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never happened")


def faulty_feed(rig: Rig, fault: Fault, *, first: int = 3, last: int = 6) -> FakeFeed:
    """A feed during which the link has ``fault`` from one frame, once a search was answered, to
    another, once a request has met it."""

    def answered() -> bool:
        return any(one.operation == "SearchFacesByImage" for one in list(rig.log.records))

    def met() -> bool:
        return any(one.attempts > 1 or one.outcome != "ok" for one in list(rig.log.records))

    def before_each(index: int) -> None:
        if index == first:
            wait_until(answered)
            rig.relay.set_fault(fault)
        elif index == last:
            wait_until(met)
            rig.relay.set_fault(Fault.NONE)

    return FakeFeed("lobby", walking("Ann", FRAMES), before_each=before_each)


def test_a_healthy_link_answers_for_every_frame(rig: Rig) -> None:
    outcome, sink = rig.run(FakeFeed("lobby", walking("Ann", FRAMES)))
    (camera,) = outcome.cameras
    assert (camera.captured, camera.processed["cloud"]) == (FRAMES, FRAMES)
    assert {seen.decision.subject for seen in sink.observations} == {"Ann"}


@pytest.mark.parametrize(
    "fault", [Fault.STALL, Fault.DROP, Fault.RESET, Fault.GARBAGE, Fault.THROTTLE]
)
def test_what_a_fault_costs_is_counted_and_the_run_goes_on(rig: Rig, fault: Fault) -> None:
    outcome, sink = rig.run(faulty_feed(rig, fault))
    (camera,) = outcome.cameras
    assert outcome.state == "finished"
    assert camera.captured == FRAMES
    assert closed(camera)
    assert set(camera.dropped["cloud"]) <= {"request_failed"}
    failed = [seen for seen in sink.observations if seen.error is not None]
    assert len(failed) == camera.dropped["cloud"].get("request_failed", 0)
    # a frame before the fault and one after it were answered
    answered = {seen.frame for seen in sink.observations if seen.box is not None}
    assert answered & {0, 1, 2}
    assert answered & {FRAMES - 2, FRAMES - 1}


@pytest.mark.parametrize("fault", [Fault.STALL, Fault.DROP, Fault.GARBAGE, Fault.THROTTLE])
def test_a_fault_that_stays_drops_the_rest_and_ends_in_order(rig: Rig, fault: Fault) -> None:
    outcome, _ = rig.run(faulty_feed(rig, fault, first=9, last=FRAMES))
    (camera,) = outcome.cameras
    assert closed(camera)
    assert camera.dropped["cloud"]["request_failed"] >= 1
    assert camera.processed["cloud"] >= 1


def test_a_stall_inside_a_body_fails_that_request_only(tmp_path: Path) -> None:
    """The link is so narrow that the frame at which it stalls is in the middle of its body."""
    with rig_at(tmp_path, rate=WIDE, link=60_000.0) as rig:
        outcome, _ = rig.run(faulty_feed(rig, Fault.STALL, first=4, last=6))
        (camera,) = outcome.cameras
        assert closed(camera)
        assert camera.processed["cloud"] >= 1


def test_stopping_in_the_middle_of_a_body_ends_the_run_and_counts_the_rest(tmp_path: Path) -> None:
    with rig_at(tmp_path, rate=4_000.0) as rig:

        def before_each(index: int) -> None:
            if index == 3:
                rig.stop.set()

        feed = FakeFeed("lobby", walking("Ann", FRAMES), before_each=before_each)
        outcome, _ = rig.run(feed)
        (camera,) = outcome.cameras
        assert outcome.state == "interrupted"
        assert closed(camera)
        assert camera.dropped["cloud"]["stopped"] >= 1


def test_two_cameras_share_a_link_that_fails_and_both_are_counted(rig: Rig) -> None:
    outcome, _ = rig.run(
        faulty_feed(rig, Fault.RESET), FakeFeed("door", walking("Eve", FRAMES), live=True)
    )
    assert [camera.captured for camera in outcome.cameras] == [FRAMES, FRAMES]
    assert all(closed(camera) for camera in outcome.cameras)
