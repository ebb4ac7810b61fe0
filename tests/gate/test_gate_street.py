"""A real street with the embedded models: what the best shots keep of what whole frames tell."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rekadapter.backends.local import open_local
from rekadapter.feeds import Feed, Frame, LostFrame, Silence, load_feeds, open_feed
from rekadapter.gate import DetectingFinder, Gate, GateRules, TrackGate, WholeFrame
from rekadapter.imaging import crop
from rekadapter.observation import Run, RunRecord
from rekadapter.pipeline import Lane, RunOptions, run_feeds
from rekadapter.recognizer import BackendContext, Recognizer
from rekadapter.sinks import SCHEMA_VERSION, RunDirectory, read_run
from rekadapter.types import GalleryId, SubjectId

GALLERY = GalleryId("street")
LAST_PLAYED = 84
HELD_OUT = (97, 100, 104)

# Where they are around frame 100, seen in the clip itself (center of the face).
WALKERS = {"red-haired boy": (0.20, 0.62), "boy in a hood": (0.41, 0.65)}


class Beginning:
    """The clip up to a frame, five frames a second."""

    def __init__(self, inner: Feed) -> None:
        self._inner = inner
        self.spec, self.live, self.continuous = inner.spec, False, True
        self.expected_frames = None

    def frames(self) -> Iterator[Frame | LostFrame]:
        for frame in self._inner.frames():
            assert not isinstance(frame, Silence)
            if frame.index > LAST_PLAYED:
                return
            yield frame


def record() -> RunRecord:
    return RunRecord(
        schema_version=SCHEMA_VERSION,
        run_id="street",
        tool_version="0",
        command="a test",
        started_at=datetime.now(UTC),
        ended_at=None,
        state="running",
        gallery=GALLERY,
        backends=(),
        cameras=(),
        settings={},
        host={},
        versions={},
        input_hashes={},
    )


def enroll(recognizer: Recognizer, video: Path) -> None:
    """Both boys, from frames that are not played."""
    (spec,) = load_feeds([str(video)], fps=None)
    recognizer.create_gallery(GALLERY)
    for frame in open_feed(spec).frames():
        assert isinstance(frame, Frame)
        if frame.index not in HELD_OUT:
            continue
        for walker, (x, y) in WALKERS.items():
            faces = recognizer.detect(frame.image).faces
            boxes = [face.box for face in faces]
            nearest = min(boxes, key=lambda b: math.hypot(b.center.x - x, b.center.y - y))
            part = crop(frame.image, nearest.scaled(2.0)).image
            done = recognizer.enroll(GALLERY, part, subject=SubjectId(walker), max_faces=1)
            assert done.records, (walker, frame.index)


def ran(recognizer: Recognizer, video: Path, out: Path, gate: Gate) -> Run:
    (spec,) = load_feeds([str(video)], fps=5)
    threshold = recognizer.capabilities.default_threshold
    lane = Lane("local", recognizer, GALLERY, threshold, upload_bytes=250_000)
    directory = RunDirectory.create(out, record())
    options = RunOptions(gates={"local": gate})
    run_feeds([Beginning(open_feed(spec))], [lane], directory, options, stop=threading.Event())
    return read_run(out)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_best_shots_name_whom_whole_frames_name(shared_data: Path, tmp_path: Path) -> None:
    video = shared_data / "video" / "street.mp4"
    recognizer = open_local("local", {}, BackendContext(tmp_path / "data", tmp_path / "cache"))
    try:
        enroll(recognizer, video)
        whole = ran(recognizer, video, tmp_path / "whole", WholeFrame())
        gate = TrackGate(DetectingFinder(recognizer), GateRules())
        best = ran(recognizer, video, tmp_path / "best", gate)
    finally:
        recognizer.close()
    for run in (whole, best):
        named = sorted(str(t.decision.subject) for t in run.tracks if t.decision.subject)
        assert named == sorted(WALKERS)
        (camera,) = run.record.cameras
        assert camera.captured == 17
        assert camera.captured == camera.processed["local"] + sum(camera.dropped["local"].values())
    asked = [seen for seen in best.observations if seen.decision.reason != "NOT_ASKED"]
    searched = [seen for seen in whole.observations if seen.box is not None]
    assert len(asked) < len(searched) / 5
