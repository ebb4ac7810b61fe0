"""A lane with a spool: what an outage takes away is answered later, given up, or still there."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rekadapter.errors import (
    ConfigError,
    ConnectionFailedError,
    CredentialsError,
    InvalidRequestError,
    PriceCapError,
    ThrottledError,
)
from rekadapter.gate import CropGate, DetectingFinder, GateRules, TrackGate
from rekadapter.imaging import Image
from rekadapter.pipeline import Lane, RunOptions, run_feeds
from rekadapter.testing.drawn import DrawnFace, picture, portrait
from rekadapter.types import GalleryId, Identification, Reason, Size, SubjectId
from tests.pipeline.conftest import GALLERY, Asked, FakeFeed, walking
from tests.uplink.spooling_rig import BLOCK, Cloud, Rig, spooling_rig, wait_until

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with spooling_rig(tmp_path) as rig:
        yield rig


def camera_of(
    items: list[Any], before_each: Callable[[int], None], name: str = "lobby"
) -> FakeFeed:
    return FakeFeed(name, items, before_each=before_each)


def sent(images: list[Image]) -> list[bytes]:
    return [image.encoded or b"" for image in images]


# --- frames -----------------------------------------------------------------------------------


def test_frames_of_an_outage_are_answered_afterwards_newest_first(rig: Rig) -> None:
    items = [*walking("Ann", 9), None]
    outcome = rig.run(camera_of(items, rig.outage(3, 9, spooled=6)))
    (camera,) = outcome.cameras
    assert outcome.state == "finished"
    assert camera.processed == {"cloud": 9}
    assert camera.dropped == {"cloud": {"unreadable_image": 1}}
    late = [seen for seen in rig.sink.observations if seen.late]
    assert [seen.frame for seen in late] == [8, 7, 6, 5, 4, 3]
    assert [seen.seconds for seen in late] == [pytest.approx(n / 10) for n in range(8, 2, -1)]
    assert {seen.decision.subject for seen in late} == {"Ann"}
    assert all(seen.captured_at is not None for seen in late)
    assert not any(seen.late or seen.captured_at for seen in rig.sink.observations[:3])
    # the last of them waited longer than the one that came after it
    ages = [seen.age_seconds or 0.0 for seen in late]
    assert ages == sorted(ages)
    assert len(rig.spool) == 0


def test_what_nobody_could_be_asked_about_stays_and_is_counted(rig: Rig) -> None:
    def before_each(index: int) -> None:
        if index == 3:
            wait_until(lambda: len(rig.sink.observations) == 3)
            rig.cloud.cut.set()

    outcome = rig.run(camera_of(walking("Ann", 9), before_each))
    assert outcome.state == "finished"
    (camera,) = outcome.cameras
    assert camera.processed == {"cloud": 3}
    assert camera.dropped == {"cloud": {"spooled": 6}}
    assert sorted(ticket.frame for ticket in rig.spool.tickets()) == [3, 4, 5, 6, 7, 8]
    assert len(rig.sink.observations) == 3


def test_a_full_spool_gives_up_the_oldest_and_counts_them(tmp_path: Path) -> None:
    # no try of the link meanwhile: what is being tried is not given up, and another would be
    with spooling_rig(tmp_path, limit=3 * BLOCK, pause_seconds=60) as rig:
        small = [picture(DrawnFace("Ann", 5 + n, 5, 40), size=Size(80, 60)) for n in range(9)]

        def before_each(index: int) -> None:
            if index == 0:
                rig.cloud.cut.set()
            elif index == 9:
                wait_until(lambda: {one.frame for one in rig.spool.tickets()} == {6, 7, 8})
                wait_until(lambda: rig.spool.waiting == 3)
                rig.cloud.cut.clear()
                rig.watch.reached()

        outcome = rig.run(camera_of([*small, None], before_each))
        (camera,) = outcome.cameras
        assert camera.processed == {"cloud": 3}
        assert camera.dropped == {"cloud": {"spool_full": 6, "unreadable_image": 1}}
        assert [seen.frame for seen in rig.sink.observations] == [8, 7, 6]


def test_a_full_disk_loses_those_frames_and_the_run_goes_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    def before_each(index: int) -> None:
        if index == 2:
            wait_until(lambda: len(rig.sink.observations) == 2)
            monkeypatch.setattr(os, "fsync", full)
            rig.cloud.cut.set()
        elif index == 6:
            wait_until(lambda: len(rig.cloud.images) >= 2 and rig.watch.lost)
            rig.cloud.cut.clear()
            rig.watch.reached()

    outcome = rig.run(camera_of(walking("Ann", 9), before_each))
    (camera,) = outcome.cameras
    assert outcome.state == "finished"
    assert set(camera.dropped["cloud"]) == {"not_spooled"}
    assert camera.processed["cloud"] >= 2
    assert len([record for record in caplog.records if "No space left" in record.message]) == 1


def test_two_cameras_and_several_workers_lose_nothing(tmp_path: Path) -> None:
    with spooling_rig(tmp_path, most=3) as rig:

        def before_each(index: int) -> None:
            if index == 5:
                rig.cloud.cut.set()
            elif index == 25:
                wait_until(lambda: len(rig.spool) >= 10)
                rig.cloud.cut.clear()

        outcome = rig.run(
            camera_of(walking("Ann", 30), before_each),
            camera_of(walking("Eve", 30, top=90), lambda _: None, "door"),
            workers=4,
        )
        assert [camera.processed["cloud"] for camera in outcome.cameras] == [30, 30]
        frames = [(seen.camera, seen.frame) for seen in rig.sink.observations]
        assert len(frames) == len(set(frames)) == 60


@given(link=st.lists(st.booleans(), min_size=12, max_size=12), workers=st.integers(1, 3))
@settings(max_examples=12, deadline=None)
def test_whatever_the_link_does_the_counts_close_and_nobody_is_asked_twice(
    tmp_path_factory: pytest.TempPathFactory, link: list[bool], workers: int
) -> None:
    with spooling_rig(tmp_path_factory.mktemp("run"), limit=6 * 4 * BLOCK, most=2) as rig:

        def before_each(index: int) -> None:
            (rig.cloud.cut.set if link[index] else rig.cloud.cut.clear)()

        outcome = rig.run(camera_of(walking("Ann", 12), before_each), workers=workers)
        (camera,) = outcome.cameras
        assert set(camera.dropped["cloud"]) <= {"spooled", "spool_full"}
        assert camera.dropped["cloud"].get("spooled", 0) == len(rig.spool)
        answered = [seen.frame for seen in rig.sink.observations]
        assert len(answered) == len(set(answered)) == camera.processed["cloud"]
        assert len(rig.cloud.answered) == camera.processed["cloud"]


# --- what else may fail -----------------------------------------------------------------------


def fails_late(rig: Rig, error: Exception) -> None:
    """From now on the cloud answers late requests with ``error``."""

    def before_each(_: int) -> None:
        if len(rig.spool):
            raise error

    rig.cloud.before_each = before_each


def test_a_late_request_that_is_refused_is_given_up_with_its_cause(rig: Rig) -> None:
    fails_late(rig, InvalidRequestError("not like this"))
    outcome = rig.run(camera_of([*walking("Ann", 6), None], rig.outage(2, 6, spooled=4)))
    (camera,) = outcome.cameras
    assert camera.processed == {"cloud": 2}
    assert camera.dropped == {"cloud": {"unreadable_image": 1, "request_failed": 4}}
    failed = [seen for seen in rig.sink.observations if seen.error]
    assert [(seen.frame, seen.late) for seen in failed] == [(n, True) for n in (5, 4, 3, 2)]
    assert len(rig.spool) == 0


@pytest.mark.parametrize("error", [ThrottledError("slower"), PriceCapError("enough spent")])
def test_what_may_succeed_later_stays_in_the_spool(rig: Rig, error: Exception) -> None:
    fails_late(rig, error)
    outcome = rig.run(camera_of([*walking("Ann", 6), None], rig.outage(2, 6, spooled=4)))
    (camera,) = outcome.cameras
    assert outcome.state == "finished"
    assert camera.dropped == {"cloud": {"unreadable_image": 1, "spooled": 4}}
    assert len(rig.spool) == 4


def test_what_every_frame_would_meet_ends_the_run_and_nothing_is_lost(rig: Rig) -> None:
    fails_late(rig, CredentialsError("expired"))
    with pytest.raises(CredentialsError):
        rig.run(camera_of([*walking("Ann", 6), None], rig.outage(2, 6, spooled=4)))
    (outcome,) = rig.sink.outcomes
    assert outcome.state == "failed"
    assert outcome.cameras[0].dropped["cloud"]["spooled"] == 4
    assert len(rig.spool) == 4


def test_a_damaged_frame_of_the_spool_is_counted(rig: Rig, tmp_path: Path) -> None:
    def before_each(index: int) -> None:
        rig.outage(2, 6, spooled=4)(index)
        if index == 6:
            oldest = min((tmp_path / "spool").glob("*.frame"))
            oldest.write_bytes(b"something else")

    outcome = rig.run(camera_of([*walking("Ann", 6), None], before_each))
    (camera,) = outcome.cameras
    assert camera.dropped == {"cloud": {"unreadable_image": 1, "spool_damaged": 1}}
    assert camera.processed == {"cloud": 5}


def test_stopping_leaves_the_spool_as_it_is(rig: Rig) -> None:
    def before_each(index: int) -> None:
        if index == 2:
            wait_until(lambda: len(rig.sink.observations) == 2)
            rig.cloud.cut.set()
        elif index == 7:
            wait_until(lambda: rig.spool.waiting == 5)
            rig.stop.set()

    outcome = rig.run(camera_of(walking("Ann", 9), before_each))
    (camera,) = outcome.cameras
    assert outcome.state == "interrupted"
    assert camera.dropped["cloud"]["spooled"] == 5 == len(rig.spool)
    assert camera.processed == {"cloud": 2}


def test_a_sink_that_fails_leaves_unwritten_answers_in_the_spool(rig: Rig) -> None:
    def before_each(written: int) -> None:
        if written == 4:
            raise OSError("the sink is full")

    rig.sink.before_each = before_each
    with pytest.raises(OSError, match="the sink is full"):
        rig.run(camera_of([*walking("Ann", 6), None], rig.outage(2, 6, spooled=4)))
    (outcome,) = rig.sink.outcomes
    (camera,) = outcome.cameras
    assert camera.processed["cloud"] == 4
    assert camera.captured == 4 + sum(camera.dropped["cloud"].values())
    # two of the four were written down, two were not: those wait
    assert camera.dropped["cloud"]["spooled"] == 2 == len(rig.spool)


def test_a_lane_that_sends_nothing_has_no_use_for_a_spool(rig: Rig) -> None:
    with pytest.raises(ConfigError, match="spool"):
        run_feeds(
            [camera_of(walking("Ann", 1), lambda _: None)],
            [replace(rig.lane(), upload_bytes=None)],
            rig.sink,
            RunOptions(),
            stop=rig.stop,
        )


# --- another lane beside it -------------------------------------------------------------------


@dataclass
class Stuck(Cloud):
    """Nobody can be reached, and it takes until ``over`` is set to find out."""

    over: threading.Event = field(default_factory=threading.Event)

    def identify(self, gallery: GalleryId, image: Image, **how: Any) -> Identification:
        self.over.wait(30)
        return super().identify(gallery, image, **how)


def test_the_other_lane_of_a_comparison_goes_on_while_one_is_cut_off(tmp_path: Path) -> None:
    gone = threading.Event()
    with spooling_rig(tmp_path, reachable=lambda: not gone.is_set()) as rig:
        local = Asked(inner=rig.cloud.inner)
        rig.cloud = stuck = Stuck(inner=rig.cloud.inner)
        stuck.cut.set()
        here = Lane("local", local, GALLERY, local.capabilities.default_threshold)

        def before_each(index: int) -> None:
            if index == 1:
                gone.set()  # the rate control notices long before the request's retries are over
            elif index == 40:
                # requests of the other lane are stuck all the time
                wait_until(lambda: len(local.images) == 40)
                stuck.over.set()

        items = [*walking("Ann", 40), None]
        outcome = rig.run(camera_of(items, before_each), more=(here,))
        (camera,) = outcome.cameras
        assert camera.processed == {"cloud": 0, "local": 40}
        assert camera.dropped["cloud"] == {"unreadable_image": 1, "spooled": 40}


# --- probes -----------------------------------------------------------------------------------

WIDE = Size(640, 360)
EVERY_FRAME = GateRules(looks_per_second=None)


def two_people(n: int) -> tuple[DrawnFace, DrawnFace]:
    """Ann and a stranger come closer: no two pictures of them are the same."""
    ann = DrawnFace("Ann", 30 + 12 * n, 40, 60 + 2 * n)
    return ann, DrawnFace("Eve", 400 - 12 * n, 200, 90 + 2 * n)


def test_what_was_answered_of_a_frame_is_not_asked_again(rig: Rig) -> None:
    """The link goes between the two faces of a frame."""

    def before_each(number: int) -> None:
        if number == 3:  # the second face of the second frame
            rig.cloud.cut.set()
            raise ConnectionFailedError("the cable was pulled")

    def mend(index: int) -> None:
        if index == 4:
            wait_until(lambda: rig.spool.waiting == 3)
            rig.cloud.cut.clear()

    rig.cloud.before_each = before_each
    frames = [picture(*two_people(n), size=WIDE) for n in range(4)]
    gates = {"cloud": CropGate(DetectingFinder(rig.cloud.inner), EVERY_FRAME)}
    outcome = rig.run(camera_of([*frames, None], mend), gates=gates)
    (camera,) = outcome.cameras
    assert camera.processed == {"cloud": 4}
    answered = sent(rig.cloud.answered)
    assert len(answered) == len(set(answered)) == 8
    faces = [seen for seen in rig.sink.observations if seen.box is not None]
    assert sorted(seen.frame for seen in faces) == [0, 0, 1, 1, 2, 2, 3, 3]
    # faces of late answers stand where they were in the frame
    for seen in faces:
        assert seen.box is not None
        people = two_people(seen.frame)
        assert max(seen.box.iou(who.box(WIDE)) for who in people) > 0.85


def test_a_person_of_the_outage_is_one_track_named_by_late_pictures(rig: Rig) -> None:
    rig.cloud.cut.set()

    def mend(index: int) -> None:
        if index == 30:
            wait_until(lambda: rig.spool.waiting >= 1)
            rig.cloud.cut.clear()

    approaching = [picture(DrawnFace("Ann", 40 + n, 40, 40 + 3 * n), size=WIDE) for n in range(30)]
    gates = {"cloud": TrackGate(DetectingFinder(rig.cloud.inner), EVERY_FRAME)}
    outcome = rig.run(camera_of([*approaching, None], mend), gates=gates, keep_faces=True)
    (camera,) = outcome.cameras
    assert set(camera.dropped["cloud"]) == {"not_a_better_shot", "unreadable_image"}
    (track,) = rig.sink.tracks
    assert (track.decision.subject, track.sightings) == ("Ann", 30)
    assert track.thumbnail in rig.sink.faces
    # what waits is as good as sent: only a clearly better picture joins it
    assert 1 <= len(rig.cloud.answered) <= 6
    assert {seen.track for seen in rig.sink.observations} == {track.track}
    # the last picture may not have been spooled yet when the link was mended
    assert sum(not seen.late for seen in rig.sink.observations) <= 1
    assert any(seen.late for seen in rig.sink.observations)


def test_a_person_whose_pictures_still_wait_is_unknown_and_not_asked(rig: Rig) -> None:
    rig.cloud.cut.set()
    frames = [picture(DrawnFace("Ann", 40 + n, 40, 60 + n), size=WIDE) for n in range(12)]
    gates = {"cloud": TrackGate(DetectingFinder(rig.cloud.inner), EVERY_FRAME)}
    rig.run(camera_of(frames, lambda _: None), gates=gates)
    (track,) = rig.sink.tracks
    assert (track.decision.subject, track.decision.reason) == (None, Reason.NOT_ASKED)
    assert len(rig.spool) >= 1
    assert rig.sink.observations == []


def test_two_people_of_one_frame_are_never_given_one_name_late(rig: Rig) -> None:
    """Both look like Ann: whoever resembles her less is unknown, as if the link had been there."""
    rig.cloud.inner.enroll(GALLERY, portrait("Ann"), subject=SubjectId("Ann"))
    rig.cloud.cut.set()

    def mend(index: int) -> None:
        if index == 12:
            wait_until(lambda: rig.spool.waiting >= 1)
            rig.cloud.cut.clear()

    twins = [
        picture(DrawnFace("Ann", 30 + n, 40, 60), DrawnFace("Ann", 400 - n, 200, 90), size=WIDE)
        for n in range(12)
    ]
    gates = {"cloud": TrackGate(DetectingFinder(rig.cloud.inner), EVERY_FRAME)}
    rig.run(camera_of([*twins, None], mend), gates=gates)
    names = [track.decision.subject for track in rig.sink.tracks]
    assert len(names) == 2
    assert names.count(SubjectId("Ann")) <= 1
    assert Reason.CONFLICTING_CANDIDATES in {track.decision.reason for track in rig.sink.tracks}


def test_late_answers_of_an_unordered_crowd_of_frames_keep_their_own_frame(rig: Rig) -> None:
    outcome = rig.run(camera_of([*walking("Ann", 20), None], rig.outage(4, 20, spooled=16)))
    assert outcome.cameras[0].processed == {"cloud": 20}
    by_frame = sorted(rig.sink.observations, key=lambda seen: seen.frame)
    lefts = [seen.box.left for seen in by_frame if seen.box]
    assert all(later > earlier for earlier, later in itertools.pairwise(lefts))
