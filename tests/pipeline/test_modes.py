"""Modes crop and track on drawn people: who is sent, how often, and where answers end up."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rekadapter.errors import ConfigError, ServiceUnavailableError
from rekadapter.gate import CropGate, DetectingFinder, GateRules, Probe, TrackGate
from rekadapter.gate.shots import eye_px
from rekadapter.imaging import Image
from rekadapter.observation import CameraRecord, TrackRecord
from rekadapter.pipeline import Lane, RunOptions, RunOutcome, run_feeds
from rekadapter.progress import LaneStatus
from rekadapter.testing.drawn import DrawnFace, picture
from rekadapter.types import CameraId, DetectedFace, Detection, Reason, Size

pytestmark = pytest.mark.timeout(30)

SIZE = Size(640, 360)
EVERY_FRAME = GateRules(looks_per_second=None)


class Finder:
    """Finds drawn faces, and counts how often it was asked."""

    def __init__(self, recognizer: Any) -> None:
        self._inner = DetectingFinder(recognizer.inner)
        self.asked = 0

    def find(self, image: Image) -> tuple[DetectedFace, ...]:
        self.asked += 1
        return self._inner.find(image)


class MeasuringFinder(Finder):
    """Also measures the eyes, as detectors with landmarks do."""

    def find(self, image: Image) -> tuple[DetectedFace, ...]:
        found = super().find(image)
        return tuple(replace(one, eye_distance_px=eye_px(one, image.size)) for one in found)


def closed(records: tuple[CameraRecord, ...]) -> bool:
    return all(
        record.captured == record.processed[backend] + sum(record.dropped[backend].values())
        for record in records
        for backend in record.processed
    )


def approaching(who: str, count: int, *, left: int = 40, first: int = 40) -> list[Image]:
    """A drawn face that comes closer: larger by 3 pixels a frame."""
    return [picture(DrawnFace(who, left + n, 40, first + 3 * n), size=SIZE) for n in range(count)]


def run(feeds: list[Any], lanes: list[Lane], sink: Any, **options: Any) -> RunOutcome:
    return run_feeds(feeds, lanes, sink, RunOptions(**options), stop=threading.Event())


def in_track_mode(
    kit: Any, feeds: list[Any], recognizer: Any, rules: GateRules = EVERY_FRAME
) -> tuple[Any, RunOutcome]:
    sink = kit.sink()
    gates = {"memory": TrackGate(Finder(recognizer), rules)}
    outcome = run(feeds, [kit.lane(recognizer, upload_bytes=50_000)], sink, gates=gates)
    assert closed(outcome.cameras)
    return sink, outcome


def sole(tracks: list[TrackRecord]) -> TrackRecord:
    (track,) = tracks
    return track


def test_a_walker_is_one_track_named_by_a_few_small_crops(kit: Any) -> None:
    recognizer = kit.recognizer("Ann")
    sink, outcome = in_track_mode(kit, [kit.feed("lobby", approaching("Ann", 30))], recognizer)
    track = sole(sink.tracks)
    assert (track.decision.subject, track.sightings) == ("Ann", 30)
    assert (track.first_seconds, round(track.last_seconds, 3)) == (0.0, 2.9)
    assert 1 <= len(recognizer.images) <= 3
    assert all(image.format == "JPEG" for image in recognizer.images)
    assert max(image.size.width for image in recognizer.images) < SIZE.width / 2
    (camera,) = outcome.cameras
    assert camera.processed == {"memory": len(recognizer.images)}
    assert camera.dropped == {"memory": {"not_a_better_shot": 30 - len(recognizer.images)}}


def test_faces_of_crops_are_placed_in_the_frame_under_the_right_track(kit: Any) -> None:
    recognizer = kit.recognizer("Ann", "Bob")
    frames = [
        picture(
            DrawnFace("Ann", 30 + 4 * n, 40, 60), DrawnFace("Bob", 500 - 4 * n, 200, 90), size=SIZE
        )
        for n in range(30)
    ]
    sink, _ = in_track_mode(kit, [kit.feed("lobby", frames)], recognizer)
    names = {track.track: track.decision.subject for track in sink.tracks}
    assert sorted(str(name) for name in names.values()) == ["Ann", "Bob"]
    for seen in sink.observations:
        who = DrawnFace("Ann", 30 + 4 * seen.frame, 40, 60)
        if names[seen.track] == "Bob":
            who = DrawnFace("Bob", 500 - 4 * seen.frame, 200, 90)
        assert seen.box.iou(who.box(SIZE)) > 0.85
        assert (seen.decision.subject == names[seen.track]) == bool(seen.candidates)
        if not seen.candidates:
            assert seen.decision.reason is Reason.NOT_ASKED


def test_a_better_picture_is_sent_as_a_stranger_comes_closer(kit: Any) -> None:
    recognizer = kit.recognizer("Ann")
    sink, _ = in_track_mode(kit, [kit.feed("lobby", approaching("Eve", 40))], recognizer)
    track = sole(sink.tracks)
    assert track.decision.subject is None
    assert track.decision.sightings == len(recognizer.images) >= 3
    eyes = [one.box.width for one in sink.observations]
    assert all(later >= 1.25 * earlier for earlier, later in itertools.pairwise(eyes))


def test_people_too_far_away_are_tracks_with_the_reason_and_cost_nothing(kit: Any) -> None:
    recognizer = kit.recognizer("Ann")
    frames = [picture(DrawnFace("Ann", 20 + 3 * n, 40, 24), size=SIZE) for n in range(12)]
    sink, outcome = in_track_mode(kit, [kit.feed("lobby", frames)], recognizer)
    assert recognizer.images == []
    assert sink.observations == []
    track = sole(sink.tracks)
    assert (track.decision.subject, track.decision.reason) == (None, Reason.FACE_TOO_SMALL)
    assert (track.sightings, track.decision.sightings) == (12, 0)
    assert outcome.cameras[0].dropped == {"memory": {"not_worth_sending": 12}}


@pytest.mark.parametrize("mode", [TrackGate, CropGate])
def test_the_eyes_of_faces_that_are_not_sent_are_measured_too(kit: Any, mode: Any) -> None:
    """A camera is judged by every face it showed: it does not get better by what was left out."""
    recognizer = kit.recognizer("Ann")
    far = [picture(DrawnFace("Ann", 20 + 3 * n, 40, 24), size=SIZE) for n in range(12)]
    gates = {"memory": mode(MeasuringFinder(recognizer), EVERY_FRAME)}
    feeds = [kit.feed("lobby", [*far, *approaching("Eve", 20, first=60)]), kit.feed("yard", far)]
    sink = kit.sink()
    outcome = run(feeds, [kit.lane(recognizer, upload_bytes=50_000)], sink, gates=gates)
    lobby, yard = (
        {eye.px: eye.faces for eye in one.eyes_seen["memory"]} for one in outcome.cameras
    )
    assert sum(lobby.values()) == 32 > len(sink.observations)
    assert sum(yard.values()) == 12
    assert max(yard) == min(lobby) < 16
    assert max(lobby) > 30


def test_a_backend_that_gets_every_frame_has_the_eyes_in_its_observations(kit: Any) -> None:
    frames = approaching("Ann", 5)
    outcome = run([kit.feed("lobby", frames)], [kit.lane(kit.recognizer("Ann"))], kit.sink())
    assert outcome.cameras[0].eyes_seen == {}


def test_every_frame_has_a_cause_whatever_is_in_it(kit: Any) -> None:
    recognizer = kit.recognizer("Ann")
    nobody = [picture(size=SIZE)] * 3
    frames = [*nobody, *approaching("Ann", 8), None, *nobody, *approaching("Ann", 8)]
    rules = GateRules(looks_per_second=5.0)
    feed = kit.feed("lobby", frames, fps=10.0)
    _, outcome = in_track_mode(kit, [feed], recognizer, rules)
    dropped = outcome.cameras[0].dropped["memory"]
    assert dropped["between_looks"] >= 10
    assert dropped["unreadable_image"] == 1
    assert dropped["no_face"] >= 1
    assert set(dropped) <= {
        "between_looks", "unreadable_image", "no_face", "no_motion", "not_a_better_shot"
    }  # fmt: skip


def test_a_picture_that_does_not_fit_is_counted_and_never_sent(kit: Any) -> None:
    recognizer = kit.recognizer("Ann")
    sink = kit.sink()
    gate = TrackGate(Finder(recognizer), EVERY_FRAME, budget=lambda: 300)
    outcome = run(
        [kit.feed("lobby", approaching("Ann", 10))],
        [kit.lane(recognizer, upload_bytes=50_000)],
        sink,
        gates={"memory": gate},
    )
    assert recognizer.images == []
    assert outcome.cameras[0].dropped["memory"]["over_budget"] >= 1
    assert closed(outcome.cameras)
    assert sole(sink.tracks).decision.reason is Reason.NOT_ASKED


def test_a_failed_request_is_replaced_by_a_later_picture_of_the_same_person(kit: Any) -> None:
    def fail_once(number: int) -> None:
        if number == 0:
            raise ServiceUnavailableError("the service is away")

    recognizer = kit.recognizer("Ann", before_each=fail_once)
    sink, outcome = in_track_mode(kit, [kit.feed("lobby", approaching("Ann", 40))], recognizer)
    assert outcome.cameras[0].dropped["memory"]["request_failed"] == 1
    assert sole(sink.tracks).decision.subject == "Ann"


def test_a_run_of_a_file_in_track_mode_repeats_itself(kit: Any) -> None:
    def once() -> tuple[Any, Any]:
        recognizer = kit.recognizer("Ann")
        frames = [
            picture(
                DrawnFace("Ann", 30 + 4 * n, 40, 40 + n), DrawnFace("Eve", 400, 60, 80), size=SIZE
            )
            for n in range(25)
        ]
        feeds = [kit.feed(name, frames) for name in ("a", "b")]
        sink, outcome = in_track_mode(kit, feeds, recognizer)
        seen = sorted((one.camera, one.frame, one.track) for one in sink.observations)
        return seen, [(one.captured, one.processed, one.dropped) for one in outcome.cameras]

    assert once() == once()


def test_the_order_of_the_cameras_has_no_effect(kit: Any) -> None:
    def tracks(order: list[str]) -> Any:
        recognizer = kit.recognizer("Ann", "Bob")
        films = {"a": approaching("Ann", 20), "b": approaching("Bob", 20, left=200)}
        feeds = [kit.feed(name, films[name]) for name in order]
        sink, outcome = in_track_mode(kit, feeds, recognizer)
        assert closed(outcome.cameras)
        return sorted(
            (one.camera, one.track, one.decision.subject, one.decision.sightings)
            for one in sink.tracks
        )

    assert tracks(["a", "b"]) == tracks(["b", "a"])


def test_crop_mode_asks_about_every_face_worth_it_of_every_frame(kit: Any) -> None:
    recognizer = kit.recognizer("Ann", "Bob")
    frames = [
        picture(
            DrawnFace("Ann", 30 + 4 * n, 40, 60),
            DrawnFace("Bob", 500 - 4 * n, 200, 90),
            DrawnFace("Zoe", 300, 40, 20),
            size=SIZE,
        )
        for n in range(10)
    ]
    sink = kit.sink()
    gate = CropGate(Finder(recognizer), EVERY_FRAME)
    outcome = run([kit.feed("lobby", frames)], [kit.lane(recognizer)], sink, gates={"memory": gate})
    assert outcome.cameras[0].processed == {"memory": 10}
    assert len(recognizer.images) == 20
    assert {one.decision.subject for one in sink.tracks} == {"Ann", "Bob"}
    for seen in sink.observations:
        who = DrawnFace("Ann", 30 + 4 * seen.frame, 40, 60)
        if seen.decision.subject == "Bob":
            who = DrawnFace("Bob", 500 - 4 * seen.frame, 200, 90)
        assert seen.box.iou(who.box(SIZE)) > 0.85


def test_two_lanes_in_track_mode_search_each_frame_for_faces_once(kit: Any) -> None:
    from rekadapter.gate import SharedFinder  # noqa: PLC0415 - shown where it matters

    one, other = kit.recognizer("Ann"), kit.recognizer("Ann")
    finder = Finder(one)
    shared = SharedFinder(finder)
    gates = {name: TrackGate(shared, EVERY_FRAME) for name in ("one", "other")}
    lanes = [kit.lane(one, name="one"), kit.lane(other, name="other")]
    sink = kit.sink()
    outcome = run([kit.feed("lobby", approaching("Ann", 20))], lanes, sink, gates=gates)
    assert closed(outcome.cameras)
    assert finder.asked <= 20
    assert {track.decision.subject for track in sink.tracks} == {"Ann"}


def test_a_gate_that_follows_people_serves_one_lane_only(kit: Any) -> None:
    recognizer = kit.recognizer("Ann")
    lanes = [kit.lane(recognizer, name="one"), kit.lane(recognizer, name="other")]
    with pytest.raises(ConfigError, match="give each its own"):
        run(
            [kit.feed("a", approaching("Ann", 3))],
            lanes,
            kit.sink(),
            gate=TrackGate(Finder(recognizer)),
        )


def test_a_live_camera_in_track_mode_closes_its_counts_and_its_tracks(kit: Any) -> None:
    recognizer = kit.recognizer("Ann")
    feed = kit.feed("lobby", approaching("Eve", 40), live=True)
    sink, outcome = in_track_mode(kit, [feed], recognizer)
    assert outcome.cameras[0].captured == 40
    assert sole(sink.tracks).sightings == 40


def test_the_backend_searches_the_wrong_face_and_its_candidates_are_set_aside(kit: Any) -> None:
    """A service that searched another face of the crop than the one meant names nobody."""

    class Elsewhere:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def find(self, image: Image) -> tuple[DetectedFace, ...]:
            found: Detection = self.inner.inner.detect(image)
            return tuple(
                DetectedFace(face.box.scaled(0.5), face.confidence) for face in found.faces
            )

    recognizer = kit.recognizer("Ann")
    sink = kit.sink()
    gate = TrackGate(Elsewhere(recognizer), EVERY_FRAME)
    frames = [picture(DrawnFace("Ann", 40 + n, 40, 120), size=SIZE) for n in range(12)]
    run([kit.feed("a", frames)], [kit.lane(recognizer)], sink, gates={"memory": gate})
    track = sole(sink.tracks)
    assert track.decision.subject is None
    assert track.decision.reason in {Reason.OTHER_FACE_SEARCHED, Reason.NO_FACE}


def test_a_probe_knows_its_bytes() -> None:
    image = approaching("Ann", 1)[0]
    whole = Probe(image, DrawnFace("Ann", 0, 0, 10).box(SIZE))
    assert whole.size_bytes is None


def test_a_run_can_be_watched_and_its_numbers_close_at_every_moment(kit: Any) -> None:
    class Watcher:
        def __init__(self) -> None:
            self.seen: list[LaneStatus] = []
            self.status: Callable[[], tuple[LaneStatus, ...]] = tuple

        def watch(self, status: Callable[[], tuple[LaneStatus, ...]]) -> None:
            self.status = status

        def started(self, camera: CameraId, frames_expected: int | None) -> None: ...

        def frame_done(self, camera: CameraId, backend: str) -> None:
            del camera, backend
            self.seen += self.status()

    recognizer, watcher = kit.recognizer("Ann"), Watcher()
    run_feeds(
        [kit.feed("lobby", approaching("Ann", 20))],
        [kit.lane(recognizer)],
        kit.sink(),
        RunOptions(gates={"memory": TrackGate(Finder(recognizer), EVERY_FRAME)}),
        stop=threading.Event(),
        progress=watcher,
    )
    assert len(watcher.seen) == 20
    assert all(0 <= one.under_way <= one.captured for one in watcher.seen)
    (last,) = watcher.status()
    assert (last.captured, last.under_way) == (20, 0)
    assert last.gated + last.processed == 20
