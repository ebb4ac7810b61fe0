"""Video files: true timestamps, sampling by time, upright pixels, damage told and counted."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import numpy as np
import pytest

from rekadapter.errors import FeedError
from rekadapter.feeds import Feed, FeedSpec, Frame, LostFrame, Silence, open_feed
from rekadapter.imaging import Image
from rekadapter.testing.clips import ClipFrame, even, write_clip
from rekadapter.testing.drawn import DrawnFace, picture
from rekadapter.types import CameraId, Size

SIZE = Size(160, 120)


def shade(gray: int, size: Size = SIZE) -> Image:
    return picture(size=size, gray=gray)


def opened(path: Path, fps: float | None = None) -> Feed:
    return open_feed(FeedSpec(CameraId("lobby"), str(path), fps=fps))


def frames(feed: Feed) -> list[Frame]:
    found = []
    for item in feed.frames():
        assert isinstance(item, Frame), item
        found.append(item)
    return found


def seconds(taken: Sequence[Frame]) -> list[float]:
    return [round(frame.seconds, 3) for frame in taken]


def noise(count: int) -> list[Image]:
    random = np.random.default_rng(7)
    return [
        Image.from_pixels(random.integers(0, 255, (120, 160, 3), dtype=np.uint8))
        for _ in range(count)
    ]


def test_frames_carry_the_timestamps_of_the_file_even_where_its_rate_varies(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.1, 0.5, 0.52, 1.7, 1.701]
    clip = write_clip(tmp_path / "a.mp4", [ClipFrame(at, shade(90)) for at in times])
    taken = frames(opened(clip))
    assert seconds(taken) == times
    assert [frame.index for frame in taken] == list(range(7))


def test_the_first_frame_is_at_zero_wherever_the_file_starts(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "late.mkv", [ClipFrame(at, shade(90)) for at in (7.0, 7.25, 7.75)])
    assert seconds(frames(opened(clip))) == [0.0, 0.25, 0.75]


def test_sampling_goes_by_time_and_keeps_the_frame_numbers(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.1, 0.5, 0.52, 1.7, 1.9]
    clip = write_clip(tmp_path / "a.mp4", [ClipFrame(at, shade(90)) for at in times])
    taken = frames(opened(clip, fps=2))
    assert seconds(taken) == [0.0, 0.5, 1.7]
    assert [frame.index for frame in taken] == [0, 3, 5]


@pytest.mark.parametrize(("fps", "expected"), [(5, 10), (25, 50), (100, 50), (12.5, 25), (1.2, 3)])
def test_a_sampled_clip_gives_its_share_of_frames(
    tmp_path: Path, fps: float, expected: int
) -> None:
    clip = write_clip(tmp_path / "a.mp4", even([shade(90)] * 50, fps=25))
    feed = opened(clip, fps=fps)
    assert len(frames(feed)) == expected
    assert feed.expected_frames == expected


def test_pixels_are_the_pictures_in_order(tmp_path: Path) -> None:
    grays = [40, 90, 140, 190, 240]
    clip = write_clip(tmp_path / "a.mp4", even([shade(gray) for gray in grays], fps=5))
    for frame, gray in zip(frames(opened(clip)), grays, strict=True):
        assert frame.image.size == SIZE
        assert abs(float(frame.image.pixels.mean()) - gray) < 4


@pytest.mark.parametrize(
    ("degrees", "size", "corner"),
    [
        (0, Size(160, 120), (0.0, 0.0)),
        (90, Size(120, 160), (0.0, 1.0)),
        (180, Size(160, 120), (1.0, 1.0)),
        (-90, Size(120, 160), (1.0, 0.0)),
    ],
)
def test_a_rotated_recording_comes_out_upright(
    tmp_path: Path, degrees: int, size: Size, corner: tuple[float, float]
) -> None:
    """The mark is drawn top left; turned counterclockwise by 90 degrees it is bottom left."""
    marked = picture(DrawnFace("mark", 0, 0, 48), size=SIZE, gray=20)
    clip = write_clip(tmp_path / "a.mp4", even([marked] * 3, fps=5), rotated_degrees=degrees)
    image = frames(opened(clip))[0].image
    assert image.size == size
    height, width = image.pixels.shape[:2]
    x, y = round(corner[0] * (width - 48)), round(corner[1] * (height - 48))
    assert image.pixels[y : y + 48, x : x + 48].mean() > 60
    rest = image.pixels.astype(float).copy()
    rest[y : y + 48, x : x + 48] = 20
    assert abs(rest.mean() - 20) < 4


def test_frames_hold_their_pixels_after_the_feed_moved_on(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", even([shade(gray) for gray in (30, 230)], fps=5))
    first, second = frames(opened(clip))
    assert first.image.pixels.mean() < 60 < second.image.pixels.mean()
    assert not np.shares_memory(first.image.pixels, second.image.pixels)


def test_a_bare_stream_without_timestamps_goes_by_its_frame_rate(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "bare.h264", even([shade(90)] * 10, fps=25))
    taken = frames(opened(clip))
    assert len(taken) == 10
    steps = {round(b.seconds - a.seconds, 4) for a, b in itertools.pairwise(taken)}
    assert len(steps) == 1
    assert steps.pop() > 0


def test_a_feed_can_be_read_twice(tmp_path: Path) -> None:
    feed = opened(write_clip(tmp_path / "a.mp4", even([shade(90)] * 4, fps=5)))
    assert len(frames(feed)) == len(frames(feed)) == 4
    assert not feed.live
    assert feed.continuous


def test_a_title_in_an_unknown_encoding_is_no_reason_to_refuse_the_pictures(tmp_path: Path) -> None:
    path = tmp_path / "old.mp4"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "a title"
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = SIZE.width, SIZE.height, "yuv420p"
        pixels = np.full((SIZE.height, SIZE.width, 3), 90, dtype=np.uint8)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")))
        container.mux(stream.encode())
    written = path.read_bytes()
    path.write_bytes(written.replace(b"a title", b"\xff title"))
    assert path.read_bytes() != written
    assert len(frames(opened(path))) == 3


def test_a_file_that_is_no_video_is_named(tmp_path: Path) -> None:
    path = tmp_path / "fake.mp4"
    path.write_bytes(b"this is not a video" * 100)
    with pytest.raises(FeedError, match=r"fake\.mp4 is not a video"):
        opened(path)


def test_a_file_without_a_video_stream_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(
            np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono"
        )
        silence.rate = 8000
        container.mux(stream.encode(silence))
    with pytest.raises(FeedError, match="no video stream"):
        opened(path)


def recorded(feed: Feed) -> Iterator[Frame | LostFrame]:
    for item in feed.frames():
        assert not isinstance(item, Silence), "a file is never silent"
        yield item


def read_until_error(feed: Feed) -> tuple[list[Frame | LostFrame], FeedError]:
    items: list[Frame | LostFrame] = []
    with pytest.raises(FeedError) as caught:
        items.extend(recorded(feed))  # what came before the error is kept by ``extend``
    return items, caught.value


@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
def test_a_cut_file_delivers_what_it_has_and_then_says_so(tmp_path: Path, suffix: str) -> None:
    whole = write_clip(tmp_path / f"whole{suffix}", even(noise(100), fps=20))
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    if suffix == ".ts":  # a transport stream states no length: nobody can know that it was cut
        taken = [item for item in opened(cut).frames() if isinstance(item, Frame)]
        assert 40 <= len(taken) <= 60
        return
    items, error = read_until_error(opened(cut))
    assert 40 <= sum(isinstance(item, Frame) for item in items) <= 60
    assert "breaks off" in str(error)
    assert "cut" in str(error)


def test_damaged_packets_are_counted_and_the_rest_is_delivered(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mkv", even(noise(60), fps=20))
    data = bytearray(whole.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 30_000] = b"\x00" * 30_000
    damaged = tmp_path / "damaged.mkv"
    damaged.write_bytes(data)
    items: list[Frame | LostFrame] = []
    try:
        items.extend(recorded(opened(damaged)))
    except FeedError as error:
        assert "damaged.mkv" in str(error)  # noqa: PT017 - either ending is right, silence is not
    good = [item for item in items if isinstance(item, Frame)]
    assert 30 <= len(good) < 60
    assert [item.index for item in items] == sorted({item.index for item in items})


def test_an_mp4_cut_before_its_index_is_refused_at_once(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mp4", even(noise(30), fps=10))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(FeedError, match=r"cut\.mp4 is not a video that can be read"):
        opened(cut)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi"])
@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_damaged_only_a_feed_error_is_raised(
    tmp_path: Path, suffix: str, seed: int
) -> None:
    random = np.random.default_rng(seed)
    data = bytearray(write_clip(tmp_path / f"whole{suffix}", even(noise(12), fps=20)).read_bytes())
    for place in random.integers(0, len(data), 10 ** (seed % 3)):
        data[place] = int(random.integers(256))
    damaged = tmp_path / f"damaged{suffix}"
    damaged.write_bytes(data)
    items: list[Frame | LostFrame] = []
    with contextlib.suppress(FeedError):
        items.extend(recorded(opened(damaged)))
    assert [item.index for item in items] == list(range(len(items)))
    times = [item.seconds for item in items]
    assert times == sorted(times)


def test_a_title_in_an_unknown_encoding_does_not_matter(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mkv", even([shade(90)] * 3, fps=5))
    data = whole.read_bytes()
    assert data.count(b"DURATION") == 1
    odd = tmp_path / "odd.mkv"
    odd.write_bytes(data.replace(b"DURATION", b"DURAT\x96ON"))
    assert len(frames(opened(odd))) == 3


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_the_recording_time_a_file_states_is_believed(tmp_path: Path, suffix: str) -> None:
    stated = datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)
    shades = even([shade(90)] * 2, fps=1)
    clip = write_clip(tmp_path / f"a{suffix}", shades, recorded_at=stated)
    times = [frame.captured_at for frame in frames(opened(clip))]
    assert times == [stated, stated + timedelta(seconds=1)]


def test_otherwise_the_file_time_has_to_do(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.avi", even([shade(90)] * 2, fps=1))
    first, second = (frame.captured_at.timestamp() for frame in frames(opened(clip)))
    assert first == pytest.approx(clip.stat().st_mtime)
    assert second == pytest.approx(first + 1)
