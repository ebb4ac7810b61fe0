"""A real street with the embedded models: who walks towards the camera stays one track."""

from __future__ import annotations

import statistics
import threading
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rekadapter.backends.local import open_local
from rekadapter.feeds import load_feeds, open_feed
from rekadapter.observation import Observation, Run, RunRecord
from rekadapter.pipeline import Lane, RunOptions, run_feeds
from rekadapter.recognizer import BackendContext
from rekadapter.sinks import SCHEMA_VERSION, RunDirectory, read_run
from rekadapter.types import BoundingBox, GalleryId

GALLERY = GalleryId("nobody")

# Where each face is in the first and in the last frame, seen in the clip itself.
TOWARDS_THE_CAMERA = {
    "the red-haired boy": ((0.37, 0.55), (0.20, 0.62)),
    "the boy in the hooded jacket": ((0.49, 0.63), (0.42, 0.65)),
    "the man in the black coat": ((0.58, 0.59), (0.59, 0.65)),
}


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


@pytest.fixture(scope="module")
def street(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The whole clip through the local backend; its gallery is empty, as nobody is enrolled."""
    here = tmp_path_factory.mktemp("street")
    recognizer = open_local("local", {}, BackendContext(here / "data", here / "cache"))
    try:
        recognizer.create_gallery(GALLERY)
        lane = Lane("local", recognizer, GALLERY, recognizer.capabilities.default_threshold)
        (spec,) = load_feeds([str(shared_data / "video" / "street.mp4")], fps=None)
        directory = RunDirectory.create(here / "run", record())
        options = RunOptions(keep_faces=True)
        run_feeds([open_feed(spec)], [lane], directory, options, stop=threading.Event())
    finally:
        recognizer.close()
    return read_run(here / "run")


def by_track(run: Run) -> dict[int, list[Observation]]:
    tracks: dict[int, list[Observation]] = defaultdict(list)
    for seen in run.observations:
        if seen.track is not None:
            tracks[seen.track].append(seen)
    return tracks


def box(seen: Observation) -> BoundingBox:
    assert seen.box is not None
    return seen.box


def is_at(seen: Observation, place: tuple[float, float]) -> bool:
    center = box(seen).center
    return abs(center.x - place[0]) < 0.02 and abs(center.y - place[1]) < 0.03


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_three_who_walk_towards_the_camera_stay_one_track_each_and_grow(street: Run) -> None:
    tracks = by_track(street)
    found = {}
    for who, (first, last) in TOWARDS_THE_CAMERA.items():
        matching = [
            number
            for number, seen in tracks.items()
            if is_at(seen[0], first) and is_at(seen[-1], last)
        ]
        assert len(matching) == 1, who
        found[who] = matching[0]
    assert len(set(found.values())) == 3
    for who, number in found.items():
        seen = tracks[number]
        assert seen[0].frame == 0, who
        assert seen[-1].frame == 104, who
        assert len(seen) >= 80, who
        quarter = len(seen) // 4
        early = statistics.median(box(one).height for one in seen[:quarter])
        late = statistics.median(box(one).height for one in seen[-quarter:])
        assert late > 1.05 * early, who


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_frame_of_the_street_is_accounted_for(street: Run) -> None:
    (camera,) = street.record.cameras
    assert (camera.captured, camera.processed, camera.dropped) == (
        105,
        {"local": 105},
        {"local": {}},
    )
    assert (camera.width, camera.height) == (1920, 1080)
    assert {seen.frame for seen in street.observations} == set(range(105))
    assert max(seen.seconds for seen in street.observations) == pytest.approx(104 / 25)
    assert all(track.thumbnail for track in street.tracks)
