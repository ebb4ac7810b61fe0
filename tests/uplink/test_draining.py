"""A spool drained by a run of its own: it counts what was there, and decides about people by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rekadapter.draining import SpooledPeople, drain, feeds_of
from rekadapter.errors import UsageError
from rekadapter.gate import DetectingFinder, Fate, GateRules, TrackGate
from rekadapter.pipeline import RunOptions, RunOutcome
from rekadapter.testing.drawn import DrawnFace, picture
from rekadapter.tracking import Span
from rekadapter.types import CameraId, Size
from rekadapter.uplink.spooled import Ticket
from tests.pipeline.conftest import FakeFeed, ListSink, walking
from tests.uplink.spooling_rig import Rig, closed, spooling_rig

pytestmark = pytest.mark.timeout(60)
LOBBY, DOOR = CameraId("lobby"), CameraId("door")


def left_behind(folder: Path, *feeds: FakeFeed, track: bool = False) -> int:
    """A run that could reach nobody from its beginning; how many frames it left."""
    with spooling_rig(folder) as rig:
        rig.cloud.cut.set()
        finder = DetectingFinder(rig.cloud.inner)
        gates = {"cloud": TrackGate(finder, GateRules(looks_per_second=None))} if track else {}
        rig.run(*feeds, gates=gates)
        return len(rig.spool)


def drained(rig: Rig, workers: int = 1) -> RunOutcome:
    outcome = drain(rig.lane(workers), rig.sink, RunOptions(), stop=rig.stop)
    assert all(closed(record) for record in outcome.cameras)
    return outcome


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A later process, once the uplink is back."""
    left_behind(tmp_path, FakeFeed("lobby", walking("Ann", 8)), FakeFeed("door", walking("Eve", 3)))
    with spooling_rig(tmp_path) as rig:
        yield rig


def test_another_process_asks_about_what_was_left_newest_first(rig: Rig, tmp_path: Path) -> None:
    assert [(feed.spec.camera, feed.expected_frames) for feed in feeds_of(rig.spool)] == [
        ("door", 3),
        ("lobby", 8),
    ]
    outcome = drained(rig)
    assert outcome.state == "finished"
    counts = {camera.camera: (camera.captured, camera.processed) for camera in outcome.cameras}
    assert counts == {"door": (3, {"cloud": 3}), "lobby": (8, {"cloud": 8})}
    lobby = [seen.frame for seen in rig.sink.observations if seen.camera == LOBBY]
    assert lobby == sorted(lobby, reverse=True) == [7, 6, 5, 4, 3, 2, 1, 0]
    assert all(seen.late for seen in rig.sink.observations)
    rig.spool.close()
    assert not (tmp_path / "spool").exists()


def test_nothing_is_asked_twice_however_often_it_is_drained(rig: Rig) -> None:
    drained(rig, workers=3)
    assert len(rig.cloud.answered) == 11
    with pytest.raises(UsageError, match="nothing waits"):
        drained(rig)
    assert len(rig.cloud.answered) == 11


def test_an_uplink_that_is_gone_again_leaves_the_rest_and_counts_it(rig: Rig) -> None:
    def before_each(number: int) -> None:
        if number == 4:
            rig.cloud.cut.set()

    rig.cloud.before_each = before_each
    outcome = drained(rig)
    answered = sum(camera.processed["cloud"] for camera in outcome.cameras)
    waiting = sum(camera.dropped["cloud"].get("spooled", 0) for camera in outcome.cameras)
    assert (answered, waiting) == (5, 6)
    assert len(rig.spool) == 6


def test_people_are_decided_about_by_the_pictures_that_waited(tmp_path: Path) -> None:
    size = Size(640, 360)
    frames = [picture(DrawnFace("Ann", 40 + n, 40, 40 + 3 * n), size=size) for n in range(30)]
    count = left_behind(tmp_path, FakeFeed("lobby", frames), track=True)
    assert 1 <= count <= 6
    with spooling_rig(tmp_path) as rig:
        drained(rig)
        (track,) = rig.sink.tracks
        assert (track.decision.subject, track.sightings) == ("Ann", count)
        assert {seen.track for seen in rig.sink.observations} == {track.track}


# --- who the spooled pictures are of ----------------------------------------------------------


def ticket(frame: int, *tracks: int, camera: CameraId = LOBBY) -> Ticket:
    return Ticket(f"key {frame}", camera, frame, frame / 10, tracks)


def test_a_track_is_over_once_all_its_pictures_are_settled() -> None:
    people = SpooledPeople([ticket(1, 7), ticket(4, 7, 9), ticket(2, 7, camera=DOOR)])
    assert (people.under_way(LOBBY), people.under_way(DOOR)) == (3, 1)
    people.settle(LOBBY, 7, 4, Fate.CLEAR)
    assert people.settled(LOBBY) == ()
    people.settle(LOBBY, 7, 1, Fate.LOST)
    (one,) = people.settled(LOBBY)
    assert (one.span, one.unasked) == (Span(7, 0.1, 0.4, 2), None)
    assert people.settled(LOBBY) == ()
    assert people.under_way(LOBBY) == 1


def test_a_track_about_which_nobody_was_asked_is_left_to_the_run_that_followed_it() -> None:
    people = SpooledPeople([ticket(1, 7)])
    people.settle(LOBBY, 7, 1, Fate.LOST)
    assert people.settled(LOBBY) == ()
    assert people.under_way(LOBBY) == 0


def test_a_drain_of_nothing_is_refused(tmp_path: Path) -> None:
    with spooling_rig(tmp_path) as rig, pytest.raises(UsageError, match="nothing waits"):
        drain(rig.lane(), ListSink(), RunOptions(), stop=rig.stop)
