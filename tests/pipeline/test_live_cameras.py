"""Runs on live cameras: an end in any case, every frame counted, every absence told."""

from __future__ import annotations

import threading
from typing import Any

from rekadapter.feeds import FeedSpec
from rekadapter.feeds.live import LiveFeed, LiveRules
from rekadapter.observation import CameraRecord
from rekadapter.pipeline import RunOptions, RunOutcome, run_feeds
from rekadapter.types import CameraId
from tests.feeds.cameras import Scripted

QUICK = LiveRules(sign_of_life=0.02, gone_after=0.1, first_wait=0.1, longest_wait=0.1)


def live(camera: Scripted) -> LiveFeed:
    return LiveFeed(FeedSpec(CameraId("door"), "rtsp://u:p@door"), connect=camera, rules=QUICK)


def run(feed: LiveFeed, kit: Any, stop: threading.Event, seconds: float | None) -> RunOutcome:
    options = RunOptions(duration_seconds=seconds)
    lanes = [kit.lane(kit.recognizer("Ann"))]
    return run_feeds([feed], lanes, kit.sink(), options, stop=stop)


def closes(camera: CameraRecord) -> bool:
    return camera.captured == camera.processed["memory"] + sum(camera.dropped["memory"].values())


def test_a_run_on_a_camera_that_comes_and_goes_ends_in_time_and_tells_its_absences(
    kit: Any,
) -> None:
    camera = Scripted(3, OSError("no route"), 2, 1)
    outcome = run(live(camera), kit, threading.Event(), 1.5)
    (record,) = outcome.cameras
    assert outcome.state == "finished"
    assert record.captured == 6
    assert closes(record)
    assert record.interruptions == 3
    assert 0 < record.away_seconds <= 1.6
    assert record.source == "rtsp://door"
    assert not [one for one in threading.enumerate() if one.name.startswith("camera")]


def test_a_run_on_a_camera_that_never_comes_can_be_stopped(kit: Any) -> None:
    stop = threading.Event()
    timer = threading.Timer(0.3, stop.set)
    timer.start()
    outcome = run(live(Scripted(*[OSError("no route")] * 99)), kit, stop, None)
    timer.join()
    (record,) = outcome.cameras
    assert outcome.state == "interrupted"
    assert (record.captured, record.interruptions) == (0, 1)
    assert not [one for one in threading.enumerate() if one.name.startswith("camera")]
