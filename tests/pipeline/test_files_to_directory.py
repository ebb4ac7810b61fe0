"""From video files to a run directory, nothing faked but the model."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rekadapter.errors import FeedError
from rekadapter.feeds import load_feeds, open_feed
from rekadapter.imaging import Image
from rekadapter.observation import RunRecord
from rekadapter.pipeline import RunOptions, run_feeds
from rekadapter.sinks import SCHEMA_VERSION, RunDirectory, read_run
from rekadapter.testing.clips import even, write_clip
from rekadapter.testing.drawn import DrawnFace, picture
from rekadapter.types import CameraId, Size

pytestmark = pytest.mark.timeout(30)

RECORD = RunRecord(
    schema_version=SCHEMA_VERSION,
    run_id="r",
    tool_version="0",
    command="a test",
    started_at=datetime(2026, 11, 1, tzinfo=UTC),
    ended_at=None,
    state="running",
    gallery="staff",
    backends=(),
    cameras=(),
    settings={},
    host={},
    versions={},
    input_hashes={},
)


def pair(n: int) -> Image:
    """Ann walks right, Eve walks left below her."""
    return picture(
        DrawnFace("Ann", 10 + 4 * n, 20, 48),
        DrawnFace("Eve", 250 - 4 * n, 150, 48),
        size=Size(320, 240),
    )


def clips(folder: Path, count: int, frames: int) -> list[str]:
    return [
        str(write_clip(folder / f"cam{n}.mp4", even(map(pair, range(frames)), fps=10)))
        for n in range(count)
    ]


class StopAfter:
    """A progress listener that asks the run to stop after some frames."""

    def __init__(self, frames: int, stop: threading.Event) -> None:
        self._left, self._stop = frames, stop

    def started(self, camera: CameraId, frames_expected: int | None) -> None:
        assert frames_expected == 50, camera

    def frame_done(self, camera: CameraId, backend: str) -> None:
        del camera, backend
        self._left -= 1
        if self._left <= 0:
            self._stop.set()


def test_two_cameras_two_backends_one_directory(kit: Any, tmp_path: Path) -> None:
    specs = load_feeds(clips(tmp_path, 2, 20), fps=5)
    lanes = [
        kit.lane(kit.recognizer("Ann"), name="local", workers=2),
        kit.lane(kit.recognizer("Ann"), name="cloud", workers=2, upload_bytes=20_000),
    ]
    directory = RunDirectory.create(tmp_path / "run", RECORD)
    run_feeds(
        [open_feed(spec) for spec in specs],
        lanes,
        directory,
        RunOptions(keep_faces=True),
        stop=threading.Event(),
    )
    run = read_run(tmp_path / "run")
    assert run.record.state == "finished"
    assert [camera.captured for camera in run.record.cameras] == [10, 10]
    for camera in ("cam0", "cam1"):
        for backend in ("local", "cloud"):
            mine = [t for t in run.tracks if (t.camera, t.backend) == (camera, backend)]
            who = {track.decision.subject: track.sightings for track in mine}
            assert who == {"Ann": 10, None: 10}
            assert {round(track.first_seconds, 3) for track in mine} == {0.0}
            assert {round(track.last_seconds, 3) for track in mine} == {1.8}
    thumbnails = [track.thumbnail for track in run.tracks]
    assert len(set(thumbnails)) == 8
    for name in thumbnails:
        size = Image.open(tmp_path / "run" / "faces" / str(name)).size
        assert 60 <= min(size.width, size.height) <= max(size.width, size.height) <= 80


def test_stopping_in_the_middle_leaves_a_valid_directory(kit: Any, tmp_path: Path) -> None:
    stop = threading.Event()
    feeds = [open_feed(spec) for spec in load_feeds(clips(tmp_path, 2, 50), fps=None)]
    run_feeds(
        feeds,
        [kit.lane(kit.recognizer("Ann"), workers=2)],
        RunDirectory.create(tmp_path / "run", RECORD),
        RunOptions(),
        stop=stop,
        progress=StopAfter(20, stop),
    )
    run = read_run(tmp_path / "run")
    assert run.record.state == "interrupted"
    assert run.record.ended_at is not None
    answered = sum(camera.processed["memory"] for camera in run.record.cameras)
    assert len({(seen.camera, seen.frame) for seen in run.observations}) == answered
    for camera in run.record.cameras:
        dropped = camera.dropped["memory"]
        assert camera.captured == camera.processed["memory"] + dropped.get("stopped", 0)
        assert set(dropped) <= {"stopped"}
    assert 20 <= answered < 100


def test_a_broken_file_is_told_after_everything_else_is_done(kit: Any, tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mkv", even(map(pair, range(50)), fps=10))
    data = whole.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    specs = load_feeds([str(tmp_path / "cut.mkv"), str(whole)], fps=None)
    with pytest.raises(FeedError, match=r"cut\.mkv breaks off after"):
        run_feeds(
            [open_feed(spec) for spec in specs],
            [kit.lane(kit.recognizer("Ann"))],
            RunDirectory.create(tmp_path / "run", RECORD),
            RunOptions(),
            stop=threading.Event(),
        )
    run = read_run(tmp_path / "run")
    assert run.record.state == "failed"
    assert "breaks off" in str(run.record.error)
    cut, rest = run.record.cameras
    assert 15 <= cut.captured <= 35
    assert rest.captured == rest.processed["memory"] == 50
    assert {track.decision.subject for track in run.tracks if track.camera == "whole"} == {
        "Ann",
        None,
    }
