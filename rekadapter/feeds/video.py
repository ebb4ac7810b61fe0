"""Video files, decoded with PyAV: true timestamps, upright BGR pixels, damage told and counted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from rekadapter.errors import FeedError
from rekadapter.feeds.container import open_container
from rekadapter.feeds.decoding import bgr_of
from rekadapter.feeds.frames import DAMAGED, FeedSpec, Frame, LostFrame, Sampler
from rekadapter.feeds.metering import Coded, Meter
from rekadapter.imaging import MAX_PIXELS, Image


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the header says; None where it is silent."""

    starts_at: datetime
    seconds: float | None
    average_fps: float | None


class VideoFeed:
    """A video file. ``seconds`` is each frame's own timestamp, less the first one's.

    Frames that are not sampled are decoded, as later ones build on them, but never converted. A
    frame the decoder calls damaged is a ``LostFrame``; a file that ends before the length it states
    delivers what there is and then raises ``FeedError``.
    """

    live = False
    continuous = True

    def __init__(self, spec: FeedSpec) -> None:
        self.spec = spec
        self._path = Path(spec.source)
        self._meter = Meter()
        with _opened(self._path) as (container, stream):
            self._facts = _facts(container, stream, self._path)

    @property
    def coded(self) -> Coded | None:
        """See ``Metered``."""
        return self._meter.coded

    @property
    def expected_frames(self) -> int | None:
        facts = self._facts
        rates = [rate for rate in (facts.average_fps, self.spec.fps) if rate]
        if facts.seconds is None or not rates:
            return None
        # one at 0 s and one at the beginning of each interval after it; a clip of 2 s whose times
        # are a microsecond long has no third second
        return max(1, math.ceil(facts.seconds * min(rates) - 0.01))

    def frames(self) -> Iterator[Frame | LostFrame]:
        """Every sampled frame in order of time.

        Raises:
            FeedError: the file cannot be read, has no frame, or broke off.
        """
        with _opened(self._path) as (container, stream):
            stream.thread_type = "AUTO"
            self._meter = Meter()
            yield from _Reading(self.spec, self._facts, self._meter).frames(container, stream)


class _Reading:
    """One pass over a video: what was seen so far, and the frames made of it."""

    def __init__(self, spec: FeedSpec, facts: _Facts, meter: Meter) -> None:
        self._spec = spec
        self._facts = facts
        self._meter = meter
        self._sampler = Sampler(spec.fps)
        self._index = -1
        self._first: float | None = None
        self._seconds = 0.0

    def frames(self, container: InputContainer, stream: VideoStream) -> Iterator[Frame | LostFrame]:
        try:
            for packet in container.demux(stream):
                yield from self._of_packet(packet)
        except FFmpegError as error:
            raise FeedError(f"{self._broke_off()} ({error.strerror})") from error
        if self._first is None:
            raise FeedError(f"{self._spec.source} holds no frame that can be decoded")
        self._refuse_early_end()

    def _of_packet(self, packet: Packet[VideoStream]) -> Iterator[Frame | LostFrame]:
        try:
            decoded = packet.decode()
        except FFmpegError as error:
            self._index += 1
            yield self._lost(f"a packet cannot be decoded: {error.strerror}")
            return
        self._meter.add(packet.stream.codec_context.name, packet.size, len(decoded))
        for picture in decoded:
            if isinstance(picture, VideoFrame):
                yield from self._of_picture(picture)

    def _of_picture(self, picture: VideoFrame) -> Iterator[Frame | LostFrame]:
        self._index += 1
        self._seconds = self._media_time(picture)
        if not self._sampler.wants(self._seconds):
            return
        if picture.is_corrupt:
            yield self._lost("the decoder calls the picture damaged")
            return
        try:
            captured_at = self._facts.starts_at + timedelta(seconds=self._seconds)
        except OverflowError:
            yield self._lost("its timestamp is beyond any calendar")
            return
        image = Image.from_pixels(bgr_of(picture))
        yield Frame(self._spec.camera, self._index, self._seconds, captured_at, image)

    def _media_time(self, picture: VideoFrame) -> float:
        ticks = picture.pts if picture.pts is not None else picture.dts
        if ticks is None or picture.time_base is None:
            # A bare stream without timestamps: its frame rate is all there is to go by.
            self._first = 0.0
            return self._index / (self._facts.average_fps or 25.0)
        seconds = float(ticks * picture.time_base)
        if self._first is None:
            self._first = seconds
        return max(self._seconds, seconds - self._first)

    def _lost(self, detail: str) -> LostFrame:
        return LostFrame(self._spec.camera, self._index, self._seconds, DAMAGED, detail)

    def _refuse_early_end(self) -> None:
        """Some containers end without a word where the file was cut."""
        stated = self._facts.seconds
        # Some formats state the length from 0, others from the first frame: either may be reached.
        reached = self._seconds + max(0.0, self._first or 0.0)
        if stated is not None and reached < stated * 0.9 - 1.0:
            raise FeedError(self._broke_off())

    def _broke_off(self) -> str:
        stated = self._facts.seconds
        length = "" if stated is None else f" of {stated:.1f} s"
        return (
            f"{self._spec.source} breaks off after {self._index + 1} frames "
            f"({self._seconds:.1f} s{length}): copy the file again"
        )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    try:
        container = open_container(str(path))
    except (FFmpegError, OSError) as error:
        raise FeedError(
            f"{path} is not a video that can be read: {error.strerror or error}"
        ) from error
    with container:
        if not container.streams.video:
            raise FeedError(f"{path} has no video stream: give a file that has one")
        stream = container.streams.video[0]
        if stream.codec_context.width * stream.codec_context.height > MAX_PIXELS:
            raise FeedError(f"{path} has frames of more than {MAX_PIXELS} pixels: scale it down")
        yield container, stream


def _facts(container: InputContainer, stream: VideoStream, path: Path) -> _Facts:
    seconds: float | None = None
    if stream.duration is not None and stream.time_base is not None:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration is not None and len(container.streams) == 1:
        seconds = container.duration / av.time_base
    rate = stream.average_rate
    return _Facts(_starts_at(container, path), seconds, float(rate) if rate else None)


def _starts_at(container: InputContainer, path: Path) -> datetime:
    try:
        stated = datetime.fromisoformat(container.metadata.get("creation_time", ""))
    except ValueError:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return stated if stated.tzinfo else stated.replace(tzinfo=UTC)
