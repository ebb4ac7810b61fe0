"""Live cameras: the newest picture, what was overtaken counted, and back again after a break."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.errors import FeedError
from rekadapter.feeds import FeedItem, FeedSpec, Frame, LostFrame, Silence, load_feeds, open_feed
from rekadapter.feeds.camera import Picture, Pictures
from rekadapter.feeds.frames import without_secrets
from rekadapter.feeds.live import OVERTAKEN, LiveFeed, LiveRules
from rekadapter.imaging import encode_jpeg
from rekadapter.testing.clips import even, write_clip
from rekadapter.testing.drawn import picture
from rekadapter.types import CameraId, Size
from tests.feeds.cameras import Camera, Scripted, served, still

QUICK = LiveRules(sign_of_life=0.05, gone_after=0.2, first_wait=0.02, longest_wait=0.1)
SIZE = Size(160, 120)


def jpegs(count: int = 10) -> list[bytes]:
    return [encode_jpeg(picture(size=SIZE, gray=20 * number), 90) for number in range(count)]


def spec(source: str, fps: float | None = None) -> FeedSpec:
    return FeedSpec(CameraId("door"), source, fps=fps)


def live(source: str, fps: float | None = None) -> LiveFeed:
    return LiveFeed(spec(source, fps), rules=QUICK)


def watched(feed: LiveFeed, count: int) -> list[Frame]:
    """The first frames; whatever else comes is passed over."""
    with closing(feed.frames()) as items:
        return list(itertools.islice((one for one in items if isinstance(one, Frame)), count))


def reader_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.endswith(" live")]


# --- real protocols -------------------------------------------------------------------------------


def test_an_http_camera_gives_its_pictures_as_they_come() -> None:
    camera = Camera(pictures=jpegs())
    with served(camera) as address:
        feed = live(f"http://{address}")
        frames = watched(feed, 5)
    assert feed.coded is not None
    assert feed.coded.codec == "mjpeg"
    each = feed.coded.payload_bytes / feed.coded.pictures
    assert min(map(len, camera.pictures)) <= each <= max(map(len, camera.pictures))
    assert all(frame.image.size == SIZE for frame in frames)
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})
    times = [frame.captured_at for frame in frames]
    assert times == sorted(times)
    assert not reader_threads()


def test_an_rtsp_camera_gives_its_pictures(tmp_path: Path) -> None:
    clip = write_clip(
        tmp_path / "a.ts", even([picture(size=SIZE, gray=gray) for gray in range(60)], fps=25)
    )
    camera = Camera(stream=clip.read_bytes(), fps=200)
    with served(camera, rtsp=True) as address:
        frames = watched(live(f"rtsp://{address}"), 3)
    assert all(frame.image.size == SIZE for frame in frames)
    assert not reader_threads()


@pytest.mark.parametrize("rtsp", [False, True])
def test_user_and_password_of_the_url_open_the_camera(tmp_path: Path, *, rtsp: bool) -> None:
    clip = write_clip(tmp_path / "a.ts", even([picture(size=SIZE)] * 60, fps=25))
    camera = Camera(
        pictures=jpegs(), stream=clip.read_bytes(), fps=200 if rtsp else 25, password="s3cret"
    )
    scheme = "rtsp" if rtsp else "http"
    with served(camera, rtsp=rtsp) as address:
        assert watched(live(f"{scheme}://viewer:s3cret@{address}"), 1)
        with pytest.raises(FeedError, match="refuses the user name or the password") as caught:
            watched(live(f"{scheme}://viewer:wr0ng@{address}"), 1)
    assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (404, "multipart/x-mixed-replace", "no stream of that name"),
        (403, "multipart/x-mixed-replace", "refuses access"),
        (200, "text/html", "not a video"),
    ],
)
def test_a_refusal_at_the_first_attempt_ends_the_feed_with_its_reason(
    status: int, kind: str, said: str
) -> None:
    page = b"<html>" * 100_000
    camera = Camera(pictures=[page], status=status, content_type=kind, fps=1000)
    with served(camera) as address, pytest.raises(FeedError, match=said):
        watched(live(f"http://{address}"), 1)
    assert not reader_threads()


def test_a_camera_that_ends_its_stream_is_visited_again() -> None:
    camera = Camera(pictures=jpegs(), pictures_a_visit=4, fps=100)
    with served(camera) as address:
        frames = watched(live(f"http://{address}"), 9)
    assert camera.visits >= 3
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})


def test_a_camera_that_is_not_there_yet_is_waited_for() -> None:
    camera = Camera(pictures=jpegs())
    with served(camera) as address:
        pass
    feed = live(f"http://{address}")
    with closing(feed.frames()) as items:
        reasons = {one.reason for one in itertools.islice(items, 6) if isinstance(one, Silence)}
    assert any("cannot be read" in reason for reason in reasons)
    assert not reader_threads()


def test_a_webcam_that_is_not_there_says_so() -> None:
    with pytest.raises(FeedError, match="webcam 63 cannot be opened"):
        watched(live("63"), 1)


# --- the newest picture, with cameras that follow a script --------------------------------------


def scripted(camera: Scripted, fps: float | None = None) -> LiveFeed:
    return LiveFeed(spec("rtsp://camera", fps), connect=camera, rules=QUICK)


def test_pictures_that_nobody_took_in_time_are_counted_and_only_the_newest_is_given() -> None:
    camera = Scripted(20)
    items = scripted(camera).frames()
    with closing(items):
        seen: list[FeedItem] = [next(items)]
        assert camera.given.wait(5)
        while not (isinstance(seen[-1], Frame) and seen[-1].index == 19):
            seen.append(next(items))
    lost = [one for one in seen if isinstance(one, LostFrame)]
    frames = [one for one in seen if isinstance(one, Frame)]
    assert {one.cause for one in lost} == {OVERTAKEN}
    assert sorted([one.index for one in lost] + [one.index for one in frames]) == list(range(20))


def test_a_break_is_reported_until_the_camera_is_back_and_the_count_goes_on() -> None:
    camera = Scripted(1, OSError("no route"), ConnectionError("refused"), 1)
    with closing(scripted(camera).frames()) as items:
        first, second = itertools.islice((one for one in items if isinstance(one, Frame)), 2)
    assert (first.index, second.index) == (0, 1)
    assert camera.let_go >= 4


def test_a_camera_that_holds_the_line_and_gives_nothing_counts_as_gone() -> None:
    camera = Scripted(1)
    camera.visits.append(0)
    holding = threading.Event()

    @contextmanager
    def connect() -> Iterator[Pictures]:
        def pictures() -> Pictures:
            yield still()
            holding.wait(5)

        yield pictures()

    feed = LiveFeed(spec("rtsp://camera"), connect=connect, rules=QUICK)
    items = feed.frames()
    silences = (one for one in items if isinstance(one, Silence) and one.reason)
    assert "no frame for" in next(silences).reason
    holding.set()
    items.close()
    assert not reader_threads()


def test_a_bug_in_reading_reaches_whoever_reads_the_feed() -> None:
    with pytest.raises(ZeroDivisionError):
        watched(scripted(Scripted(ZeroDivisionError("a bug"))), 1)
    assert not reader_threads()


def test_a_camera_that_sends_no_pictures_can_still_be_left() -> None:
    @contextmanager
    def connect() -> Iterator[Pictures]:
        yield itertools.repeat(None)

    items = LiveFeed(spec("rtsp://camera"), connect=connect, rules=QUICK).frames()
    assert isinstance(next(items), Silence)
    items.close()
    assert not reader_threads()


def test_a_damaged_picture_is_a_lost_frame() -> None:
    @contextmanager
    def connect() -> Iterator[Pictures]:
        yield iter([Picture(lambda: np.zeros((2, 2, 3), np.uint8), damaged=True)])

    feed = LiveFeed(spec("rtsp://camera"), connect=connect, rules=QUICK)
    with closing(feed.frames()) as items:
        lost = next(one for one in items if isinstance(one, LostFrame))
    assert lost.cause == "damaged_frame"


def test_a_rate_thins_a_live_camera_out() -> None:
    camera = Camera(pictures=jpegs(), fps=100)
    with served(camera) as address:
        started = time.monotonic()
        frames = watched(live(f"http://{address}", fps=10), 4)
        took = time.monotonic() - started
    gaps = [later.seconds - sooner.seconds for sooner, later in itertools.pairwise(frames)]
    assert all(gap > 0 for gap in gaps)
    assert len({int(frame.seconds * 10) for frame in frames}) == 4
    assert took >= 0.2  # 4 frames at 10 a second cannot come sooner, however slow the machine


# --- names and secrets ----------------------------------------------------------------------------


def test_live_sources_are_known_by_their_form_and_named_after_host_and_stream() -> None:
    sources = ["rtsp://u:p@10.0.0.5:554/Streaming/101?token=x", "http://cam.lan/", "0"]
    specs = load_feeds(sources, fps=None)
    assert [one.camera for one in specs] == ["10.0.0.5-101", "cam.lan", "webcam-0"]
    assert all(open_feed(one).live for one in specs)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsp://u:p@h:554/s", "rtsp://h:554/s"),
        ("http://h/s?user=u&pwd=p", "http://h/s?user=...&pwd=..."),
        ("a/lobby.mp4", "a/lobby.mp4"),
        ("rtsp://u:p@ss@h/s", "rtsp://h/s"),
        ("rtsp://h", "rtsp://h"),
    ],
)
def test_what_opens_a_camera_is_never_shown(source: str, shown: str) -> None:
    assert without_secrets(source) == shown


secret = st.text(st.characters(categories=("Lu", "Nd")), min_size=6, max_size=12)


@given(secret, secret)
def test_no_secret_is_left_in_what_is_shown(user: str, password: str) -> None:
    shown = without_secrets(f"rtsp://{user}:{password}@cam/x?auth={password}&u={user}")
    assert user not in shown
    assert password not in shown
