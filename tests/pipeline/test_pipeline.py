"""The path of a frame: nothing is lost, everything is counted, every failure ends in order."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from rekadapter.errors import (
    AccessDeniedError,
    ConfigError,
    CredentialsError,
    FeedError,
    GalleryModelMismatchError,
    GalleryNotFoundError,
    OutputError,
    RekadapterError,
    ScaleMismatchError,
    ServiceUnavailableError,
    StoppedError,
)
from rekadapter.gate import Look, Probe
from rekadapter.imaging import Image, crop, encode_jpeg
from rekadapter.observation import CameraRecord
from rekadapter.pipeline import Lane, RunOptions, RunOutcome, run_feeds
from rekadapter.recognizer import FaceSelection
from rekadapter.testing.drawn import DrawnFace, picture
from rekadapter.types import BoundingBox, CameraId, ComparisonScore, GalleryId, Reason, Size

pytestmark = pytest.mark.timeout(20)


def closed(records: tuple[CameraRecord, ...]) -> bool:
    """Captured = processed + dropped, for every camera and backend, without a remainder."""
    return all(
        record.captured == record.processed[backend] + sum(record.dropped[backend].values())
        for record in records
        for backend in record.processed
    )


def run(feeds: list[Any], lanes: list[Lane], sink: Any, **options: Any) -> RunOutcome:
    return run_feeds(feeds, lanes, sink, RunOptions(**options), stop=threading.Event())


def test_a_known_walker_is_one_named_track_and_every_frame_counts(kit: Any) -> None:
    sink = kit.sink()
    outcome = run(
        [kit.feed("lobby", kit.walking("Ann", 12))], [kit.lane(kit.recognizer("Ann"))], sink
    )
    assert outcome.state == "finished"
    assert outcome.error is None
    (camera,) = outcome.cameras
    assert (camera.captured, camera.processed, camera.dropped) == (
        12,
        {"memory": 12},
        {"memory": {}},
    )
    assert (camera.width, camera.height) == (320, 240)
    assert [(seen.frame, seen.track) for seen in sink.observations] == [(n, 1) for n in range(12)]
    assert {seen.decision.subject for seen in sink.observations} == {"Ann"}
    (track,) = sink.tracks
    assert (track.decision.subject, track.sightings) == ("Ann", 12)
    assert sink.outcomes == [outcome]


def test_a_stranger_is_unknown_with_the_runner_up(kit: Any) -> None:
    sink = kit.sink()
    run([kit.feed("lobby", kit.walking("Eve", 4))], [kit.lane(kit.recognizer("Ann"))], sink)
    (track,) = sink.tracks
    assert track.decision.subject is None
    assert track.decision.reason is Reason.BELOW_THRESHOLD
    assert track.decision.best is not None
    assert track.decision.best.subject == "Ann"
    assert all(seen.candidates for seen in sink.observations)


def test_a_frame_of_nobody_is_an_observation_with_the_reason(kit: Any) -> None:
    sink = kit.sink()
    run([kit.feed("lobby", [picture()])], [kit.lane(kit.recognizer("Ann"))], sink)
    (seen,) = sink.observations
    assert (seen.box, seen.track, seen.decision.reason) == (None, None, Reason.NO_FACE)


def test_an_empty_gallery_is_said_to_be_one(kit: Any) -> None:
    sink = kit.sink()
    run([kit.feed("lobby", kit.walking("Ann", 3))], [kit.lane(kit.recognizer())], sink)
    assert {seen.decision.reason for seen in sink.observations} == {Reason.EMPTY_GALLERY}
    assert sink.tracks[0].decision.reason is Reason.EMPTY_GALLERY


def test_two_lanes_see_the_same_frames(kit: Any) -> None:
    sink = kit.sink()
    one, other = kit.recognizer("Ann"), kit.recognizer("Ann")
    feeds = [kit.feed("a", kit.walking("Ann", 9)), kit.feed("b", kit.walking("Eve", 7))]
    outcome = run(
        feeds, [kit.lane(one, name="one", workers=2), kit.lane(other, name="other")], sink
    )
    seen = {
        backend: sorted((s.camera, s.frame) for s in sink.observations if s.backend == backend)
        for backend in ("one", "other")
    }
    assert seen["one"] == seen["other"]
    assert len(seen["one"]) == 16
    # One decode for both: they are given the very same image objects.
    assert {id(image) for image in one.images} == {id(image) for image in other.images}
    assert closed(outcome.cameras)


def test_answers_out_of_order_are_written_in_order(kit: Any) -> None:
    """Of four workers, those with an even frame answer only after the next one has."""
    released = [threading.Event() for _ in range(40)]

    def uneven(number: int) -> None:
        if number % 2 == 0 and number < 38:
            assert released[number + 1].wait(10)
        released[number].set()

    sink = kit.sink()
    recognizer = kit.recognizer("Ann", before_each=uneven)
    run([kit.feed("lobby", kit.walking("Ann", 40))], [kit.lane(recognizer, workers=4)], sink)
    assert [seen.frame for seen in sink.observations] == list(range(40))
    assert len(sink.tracks) == 1


def test_duration_ends_a_feed_at_that_media_time(kit: Any) -> None:
    sink = kit.sink()
    outcome = run(
        [kit.feed("lobby", kit.walking("Ann", 30), fps=10.0)],
        [kit.lane(kit.recognizer("Ann"))],
        sink,
        duration_seconds=0.5,
    )
    assert [seen.seconds for seen in sink.observations] == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert outcome.state == "finished"
    assert outcome.cameras[0].captured == 5


def test_lost_frames_are_counted_for_every_backend(kit: Any) -> None:
    images = kit.walking("Ann", 3)
    outcome = run(
        [kit.feed("folder", [images[0], None, images[1], None])],
        [kit.lane(kit.recognizer(), name="one"), kit.lane(kit.recognizer(), name="two")],
        kit.sink(),
    )
    (camera,) = outcome.cameras
    assert camera.captured == 4
    assert camera.dropped == {"one": {"unreadable_image": 2}, "two": {"unreadable_image": 2}}
    assert closed(outcome.cameras)


def test_one_photograph_is_enough_where_there_is_only_one(kit: Any) -> None:
    for continuous, who in ((False, "Ann"), (True, None)):
        sink = kit.sink()
        feed = kit.feed("door", kit.walking("Ann", 1), continuous=continuous)
        run([feed], [kit.lane(kit.recognizer("Ann"))], sink)
        assert sink.tracks[0].decision.subject == who
    assert sink.tracks[0].decision.reason is Reason.TOO_FEW_SIGHTINGS


def test_faces_and_candidates_are_asked_for_as_wanted(kit: Any) -> None:
    two = picture(DrawnFace("Ann", 10, 10, 60), DrawnFace("Bob", 200, 100, 40))
    sink = kit.sink()
    run(
        [kit.feed("a", [two])],
        [kit.lane(kit.recognizer("Ann", "Bob", "Cy"))],
        sink,
        faces=FaceSelection.LARGEST,
        limit=2,
    )
    (seen,) = sink.observations
    assert seen.decision.subject == "Ann"
    assert len(seen.candidates) == 2


def test_a_thumbnail_is_kept_for_each_track_only_if_wanted(kit: Any) -> None:
    sink = kit.sink()
    feeds = [kit.feed("a", kit.walking("Ann", 3))]
    run(feeds, [kit.lane(kit.recognizer("Ann"))], sink)
    assert sink.faces == {}
    assert sink.tracks[0].thumbnail is None
    run(feeds, [kit.lane(kit.recognizer("Ann"))], sink, keep_faces=True)
    (name,) = sink.faces
    assert sink.tracks[1].thumbnail == name
    size = Image.from_bytes(sink.faces[name]).size
    assert max(size.width, size.height) == 64  # 40 px and its margin, at native size


# --- the uplink -------------------------------------------------------------------------------


def test_a_lane_that_sends_nothing_is_given_native_pixels_only(kit: Any) -> None:
    recognizer = kit.recognizer("Ann")
    run([kit.feed("a", kit.walking("Ann", 2))], [kit.lane(recognizer)], kit.sink())
    assert [image.encoded for image in recognizer.images] == [None, None]


def test_a_remote_lane_is_given_a_small_file_beside_the_native_pixels(kit: Any) -> None:
    recognizer = kit.recognizer("Ann")
    image = kit.walking("Ann", 1)[0]
    run([kit.feed("a", [image])], [kit.lane(recognizer, upload_bytes=6000)], kit.sink())
    (sent,) = recognizer.images
    assert sent.encoded is not None
    assert len(sent.encoded) <= 6000
    assert (sent.pixels == image.pixels).all()


def test_a_photograph_that_fits_is_sent_exactly_as_it_came(kit: Any) -> None:
    recognizer = kit.recognizer("Ann")
    photo = Image.from_bytes(encode_jpeg(kit.walking("Ann", 1)[0], 90))
    run([kit.feed("a", [photo])], [kit.lane(recognizer, upload_bytes=1_000_000)], kit.sink())
    assert recognizer.images == [photo]


def test_an_image_that_cannot_be_made_small_enough_is_dropped_and_counted(kit: Any) -> None:
    sink = kit.sink()
    outcome = run(
        [kit.feed("a", kit.walking("Ann", 2))],
        [kit.lane(kit.recognizer("Ann"), upload_bytes=10)],
        sink,
    )
    assert outcome.cameras[0].dropped == {"memory": {"request_failed": 2}}
    assert {seen.decision.reason for seen in sink.observations} == {Reason.REQUEST_FAILED}
    assert "does not fit in 10 bytes" in str(sink.observations[0].error)


class LeftHalf:
    """A gate that lets the left half of every second frame pass."""

    def look(self, frame: Any) -> Look:
        if frame.index % 2:
            return Look()
        part = crop(frame.image, BoundingBox(0.0, 0.0, 0.5, 1.0))
        return Look((Probe(part.image, part.region),))


def test_faces_of_a_crop_are_placed_back_into_the_frame(kit: Any) -> None:
    face = DrawnFace("Ann", 40, 60, 40)
    size = Size(320, 240)
    sink = kit.sink()
    outcome = run(
        [kit.feed("a", [picture(face, size=size)] * 2)],
        [kit.lane(kit.recognizer("Ann"))],
        sink,
        gate=LeftHalf(),
    )
    (seen,) = sink.observations
    assert seen.box is not None
    assert seen.box.iou(face.box(size)) > 0.95
    assert outcome.cameras[0].dropped == {"memory": {"nothing_to_ask": 1}}


# --- bounded ----------------------------------------------------------------------------------


def test_a_slow_lane_holds_the_file_back_instead_of_hoarding_frames(kit: Any) -> None:
    feed = kit.feed("a", kit.walking("Ann", 40))
    ahead: list[int] = []

    def note(number: int) -> None:
        ahead.append(feed.given - number)

    slow = kit.recognizer("Ann", before_each=note)
    outcome = run([feed], [kit.lane(slow, name="slow"), kit.lane(kit.recognizer())], kit.sink())
    assert max(ahead) <= 4  # one asked about, two in the slot, one in the reader's hand
    assert outcome.cameras[0].processed == {"slow": 40, "memory": 40}


def test_a_slow_sink_holds_the_workers_back(kit: Any) -> None:
    recognizer = kit.recognizer("Ann")
    ahead: list[int] = []
    sink = kit.sink(lambda written: ahead.append(len(recognizer.images) - written))
    run([kit.feed("a", kit.walking("Ann", 160))], [kit.lane(recognizer, workers=2)], sink)
    assert max(ahead) <= 16 + 2
    assert len(sink.observations) == 160


def test_one_slow_request_does_not_let_later_answers_pile_up(kit: Any) -> None:
    others_wait = threading.Event()
    recognizer = kit.recognizer("Ann")
    feed = kit.feed("a", kit.walking("Ann", 160))

    def stick(number: int) -> None:
        if number == 0:
            others_wait.wait(0.5)  # longer than the other worker would take for all the rest

    recognizer.before_each = stick
    sink = kit.sink()
    ahead: list[int] = []
    sink.before_each = lambda written: ahead.append(len(recognizer.images) - written)
    run([feed], [kit.lane(recognizer, workers=2)], sink)
    assert ahead[0] <= 16 + 2
    assert [seen.frame for seen in sink.observations] == list(range(160))


def test_a_live_camera_is_never_held_back_and_what_it_drops_is_counted(kit: Any) -> None:
    all_given = threading.Event()
    feed = kit.feed("a", [*kit.walking("Ann", 30)], live=True)
    feed.before_each = lambda index: all_given.set() if index == 29 else None
    recognizer = kit.recognizer("Ann", before_each=lambda _: all_given.wait(10) and None)
    outcome = run([feed], [kit.lane(recognizer)], kit.sink())
    (camera,) = outcome.cameras
    assert camera.captured == 30
    assert camera.dropped["memory"]["replaced_by_newer"] >= 20
    assert closed(outcome.cameras)


# --- failures ---------------------------------------------------------------------------------


def failing_at(count: int, error: BaseException) -> Any:
    def fail(number: int) -> None:
        if number == count:
            raise error

    return fail


def test_a_failed_request_costs_one_frame_and_the_run_goes_on(kit: Any) -> None:
    sink = kit.sink()
    recognizer = kit.recognizer(
        "Ann", before_each=failing_at(3, ServiceUnavailableError("the service is away"))
    )
    outcome = run([kit.feed("a", kit.walking("Ann", 8))], [kit.lane(recognizer)], sink)
    assert outcome.state == "finished"
    assert outcome.cameras[0].processed == {"memory": 7}
    assert outcome.cameras[0].dropped == {"memory": {"request_failed": 1}}
    failed = sink.observations[3]
    assert (failed.decision.reason, failed.error) == (Reason.REQUEST_FAILED, "the service is away")
    assert len(sink.tracks) == 1


@pytest.mark.parametrize(
    "error",
    [
        CredentialsError("no credentials"),
        AccessDeniedError("not allowed"),
        GalleryNotFoundError("deleted meanwhile"),
        GalleryModelMismatchError("of another model"),
        ValueError("a bug"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_every_frame_would_meet_ends_the_run(kit: Any, error: Exception) -> None:
    sink = kit.sink()
    recognizer = kit.recognizer("Ann", before_each=failing_at(3, error))
    feeds = [kit.feed("a", kit.walking("Ann", 500)), kit.feed("b", kit.walking("Ann", 500))]
    with pytest.raises(type(error)) as caught:
        run(feeds, [kit.lane(recognizer), kit.lane(kit.recognizer(), name="other")], sink)
    assert caught.value is error
    (outcome,) = sink.outcomes
    assert (outcome.state, outcome.error) == ("failed", str(error))
    assert closed(outcome.cameras)
    assert sum(feed.given for feed in feeds) < 1000


def test_a_bug_in_a_feed_ends_the_run(kit: Any) -> None:
    sink = kit.sink()
    feeds = [kit.feed("a", [*kit.walking("Ann", 4), ValueError("a bug")])]
    feeds.append(kit.feed("b", kit.walking("Ann", 500)))
    with pytest.raises(ValueError, match="a bug"):
        run(feeds, [kit.lane(kit.recognizer())], sink)
    assert sink.outcomes[0].state == "failed"
    assert closed(sink.outcomes[0].cameras)


def test_a_camera_that_breaks_off_ends_alone_and_is_told(kit: Any) -> None:
    sink = kit.sink()
    broken = FeedError("a.mp4 breaks off")
    feeds = [
        kit.feed("a", [*kit.walking("Ann", 4), broken]),
        kit.feed("b", kit.walking("Ann", 60)),
    ]
    with pytest.raises(FeedError) as caught:
        run(feeds, [kit.lane(kit.recognizer("Ann"))], sink)
    assert caught.value is broken
    (outcome,) = sink.outcomes
    assert outcome.state == "failed"
    first, second = outcome.cameras
    assert (first.captured, first.processed, first.error) == (
        4,
        {"memory": 4},
        "a.mp4 breaks off",
    )
    assert (second.captured, second.processed, second.error) == (60, {"memory": 60}, None)
    assert len(sink.tracks) == 2


@pytest.mark.parametrize("error", [OutputError("disk full"), ValueError("a bug")])
def test_a_sink_that_fails_ends_the_run(kit: Any, error: Exception) -> None:
    sink = kit.sink(failing_at(5, error))
    feeds = [kit.feed("a", kit.walking("Ann", 500)), kit.feed("b", kit.walking("Bob", 500))]
    with pytest.raises(type(error)) as caught:
        run(feeds, [kit.lane(kit.recognizer("Ann"), workers=3)], sink)
    assert caught.value is error
    (outcome,) = sink.outcomes
    assert outcome.state == "failed"
    assert closed(outcome.cameras)
    assert sum(camera.processed["memory"] for camera in outcome.cameras) == 5
    assert any(camera.dropped["memory"].get("not_written") for camera in outcome.cameras)


def test_a_sink_that_cannot_even_finish_tells_the_first_error(kit: Any) -> None:
    last = OutputError("still full")
    feeds = [kit.feed("a", kit.walking("Ann", 9))]
    sink = kit.sink(failing_at(2, OutputError("disk full")), finish_error=last)
    with pytest.raises(OutputError, match="disk full"):
        run(feeds, [kit.lane(kit.recognizer())], sink)
    with pytest.raises(OutputError, match="still full"):
        run(feeds, [kit.lane(kit.recognizer())], kit.sink(finish_error=last))


def test_an_interrupt_while_writing_still_leaves_a_finished_directory(kit: Any) -> None:
    sink = kit.sink(failing_at(5, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        run([kit.feed("a", kit.walking("Ann", 300))], [kit.lane(kit.recognizer())], sink)
    (outcome,) = sink.outcomes
    assert outcome.state == "interrupted"
    assert closed(outcome.cameras)


# --- stopping ---------------------------------------------------------------------------------


def test_stopping_writes_what_was_answered_and_counts_the_rest(kit: Any) -> None:
    stop = threading.Event()
    sink = kit.sink(lambda written: stop.set() if written == 10 else None)
    feeds = [kit.feed("a", kit.walking("Ann", 500)), kit.feed("b", kit.walking("Bob", 500))]
    outcome = run_feeds(
        feeds,
        [kit.lane(kit.recognizer("Ann"), workers=2), kit.lane(kit.recognizer(), name="other")],
        sink,
        RunOptions(),
        stop=stop,
    )
    assert outcome.state == "interrupted"
    assert outcome.error is None
    assert closed(outcome.cameras)
    assert len(sink.observations) == sum(sum(c.processed.values()) for c in outcome.cameras)
    assert len(sink.observations) < 1000
    assert sink.tracks


def test_a_request_that_waits_for_the_uplink_is_let_go_when_stopped(kit: Any) -> None:
    stop = threading.Event()

    def wait_for_uplink(number: int) -> None:
        if number == 2:
            stop.set()
            raise StoppedError("stopped while waiting")

    sink = kit.sink()
    outcome = run_feeds(
        [kit.feed("a", kit.walking("Ann", 50))],
        [kit.lane(kit.recognizer(before_each=wait_for_uplink))],
        sink,
        RunOptions(),
        stop=stop,
    )
    assert outcome.state == "interrupted"
    assert closed(outcome.cameras)
    assert Reason.REQUEST_FAILED not in {seen.decision.reason for seen in sink.observations}


def test_a_run_stopped_before_it_began_ends_at_once(kit: Any) -> None:
    stop = threading.Event()
    stop.set()
    sink = kit.sink()
    outcome = run_feeds(
        [kit.feed("a", kit.walking("Ann", 500))],
        [kit.lane(kit.recognizer())],
        sink,
        RunOptions(),
        stop=stop,
    )
    assert outcome.cameras[0].captured <= 4
    assert closed(outcome.cameras)


# --- before the first frame -------------------------------------------------------------------


def bad_runs(kit: Any) -> dict[str, tuple[list[Any], list[Lane], type[RekadapterError]]]:
    feed, lane = kit.feed("a", kit.walking("Ann", 3)), kit.lane(kit.recognizer())
    other_scale = kit.recognizer().capabilities.score_scale
    wrong = ComparisonScore(0.5, type(other_scale)("cosine", -1.0, 1.0))
    return {
        "no feed": ([], [lane], ConfigError),
        "no lane": ([feed], [], ConfigError),
        "two cameras of one name": ([feed, feed], [lane], ConfigError),
        "two lanes of one name": ([feed], [lane, lane], ConfigError),
        "no such gallery": (
            [feed],
            [Lane("m", lane.recognizer, GalleryId("nobody"), lane.threshold)],
            GalleryNotFoundError,
        ),
        "wrong scale": (
            [feed],
            [Lane("m", lane.recognizer, lane.gallery, wrong)],
            ScaleMismatchError,
        ),
    }


@pytest.mark.parametrize(
    "case",
    [
        "no feed",
        "no lane",
        "two cameras of one name",
        "two lanes of one name",
        "no such gallery",
        "wrong scale",
    ],
)
def test_what_cannot_work_is_told_before_a_frame_is_read(kit: Any, case: str) -> None:
    feeds, lanes, error = bad_runs(kit)[case]
    sink = kit.sink()
    with pytest.raises(error):
        run(feeds, lanes, sink)
    assert all(feed.given == 0 for feed in feeds)
    assert [outcome.state for outcome in sink.outcomes] == ["failed"]


def test_progress_tells_every_frame_of_every_lane_once(kit: Any) -> None:
    class Listener:
        def __init__(self) -> None:
            self.expected: dict[str, int | None] = {}
            self.done: list[tuple[CameraId, str]] = []

        def started(self, camera: CameraId, frames_expected: int | None) -> None:
            self.expected[camera] = frames_expected

        def frame_done(self, camera: CameraId, backend: str) -> None:
            self.done.append((camera, backend))

    listener = Listener()
    run_feeds(
        [kit.feed("a", [*kit.walking("Ann", 5), None])],
        [kit.lane(kit.recognizer(), name="one"), kit.lane(kit.recognizer(), name="two")],
        kit.sink(),
        RunOptions(),
        stop=threading.Event(),
        progress=listener,
    )
    assert listener.expected == {"a": 6}
    assert sorted(listener.done) == [("a", "one")] * 6 + [("a", "two")] * 6
