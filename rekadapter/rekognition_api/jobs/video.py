"""From a video file to the faces of its frames: the work of a job, without its housekeeping."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

import av
from av.error import FFmpegError
from av.video.stream import VideoStream

from rekadapter.errors import FeedError, StoppedError
from rekadapter.feeds import FeedSpec, Frame, LostFrame
from rekadapter.feeds.container import open_container
from rekadapter.feeds.video import VideoFeed
from rekadapter.rekognition_api.jobs.settings import VideoSettings
from rekadapter.rekognition_api.jobs.store import Result, VideoFacts
from rekadapter.types import CameraId, Size

_BRANDED: Final = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"})
"""First boxes of MP4 and QuickTime files (ISO/IEC 14496-12; QuickTime File Format)."""
_COLOR_RANGES: Final = MappingProxyType({1: "LIMITED", 2: "FULL"})
"""FFmpeg's AVColorRange (ITU-T H.273, VideoFullRangeFlag); 0 says that the file is silent."""
_VIDEO: Final = CameraId("video")


class VideoRefusedError(FeedError):
    """A video that is not analyzed; the text is for the job's StatusMessage."""


class Analysis(Protocol):
    """What is made of a frame. Belongs to one job and one thread."""

    @property
    def collection(self) -> str:
        """Whose faces are looked for; empty where none are."""
        ...

    def faces_of(self, frame: Frame) -> Sequence[Result]:
        """The results of one frame; frames come in order of time."""
        ...


@dataclass(frozen=True, slots=True)
class Sampled:
    """What became of the frames: analyzed, or lost (also such as would not have been sampled)."""

    analyzed: int
    lost: int


def analyze(
    path: Path,
    analysis: Analysis,
    settings: VideoSettings,
    stop: threading.Event,
) -> Iterator[Sequence[Result] | VideoFacts | Sampled]:
    """What a video shows, as it is found: its facts once known, results frame by frame, and in the
    end what became of the frames.

    Raises:
        VideoRefusedError: no MP4 or QuickTime file, another codec than allowed, too long, damaged,
            or without a frame that can be decoded.
        StoppedError: ``stop`` was set.
    """
    facts = facts_of(path)
    _check_form(facts, settings)
    _check_length((facts.duration_ms or 0) / 1000, settings)
    spec = FeedSpec(_VIDEO, str(path), fps=settings.frames_per_second)
    analyzed = lost = 0
    for frame in _frames(spec, path):
        if stop.is_set():
            raise StoppedError("the service stops")
        _check_length(frame.seconds, settings)
        if isinstance(frame, LostFrame):
            lost += 1
            continue
        if not analyzed:
            yield _with_sides(facts, frame.image.size)
        analyzed += 1
        yield analysis.faces_of(frame)
    if not analyzed:
        raise VideoRefusedError("No frame of the video can be decoded.")
    yield Sampled(analyzed, lost)


def facts_of(path: Path) -> VideoFacts:
    """What a video's header says.

    Raises:
        VideoRefusedError: not MP4 or QuickTime. Other containers are never opened: playlists and
            the like would have the decoder fetch what they name.
    """
    with path.open("rb") as file:
        if file.read(8)[4:] not in _BRANDED:
            raise VideoRefusedError("The video is no MP4 or MOV file.")
    try:
        with open_container(str(path)) as container:
            if not container.streams.video:
                raise VideoRefusedError("The file has no video stream.")
            stream = container.streams.video[0]
            return _facts(stream, container.format.long_name, container.duration)
    except (FFmpegError, OSError) as error:
        raise VideoRefusedError("The video cannot be read: the file is damaged.") from error


def _facts(stream: VideoStream, container: str, duration: int | None) -> VideoFacts:
    codec = stream.codec_context
    milliseconds: int | None = None
    if stream.duration is not None and stream.time_base is not None:
        milliseconds = round(float(stream.duration * stream.time_base) * 1000)
    elif duration is not None:
        milliseconds = round(duration / av.time_base * 1000)
    rate = stream.average_rate
    return VideoFacts(
        codec=codec.name,
        container=container,
        duration_ms=None if milliseconds is None else max(0, milliseconds),
        frame_rate=float(rate) if rate else None,
        width=codec.width,
        height=codec.height,
        color_range=_COLOR_RANGES.get(codec.color_range),
    )


def _with_sides(facts: VideoFacts, size: Size) -> VideoFacts:
    """The sides as seen upright, which boxes are fractions of."""
    return replace(facts, width=size.width, height=size.height)


def _check_form(facts: VideoFacts, settings: VideoSettings) -> None:
    if facts.codec not in settings.codecs:
        wanted = " or ".join(sorted(settings.codecs))
        raise VideoRefusedError(f"The video's codec is {facts.codec}; {wanted} is analyzed.")
    if facts.width * facts.height > settings.max_frame_pixels:
        raise VideoRefusedError(
            f"The video has frames of {facts.width}x{facts.height}; "
            f"the limit is {settings.max_frame_pixels} pixels."
        )


def _check_length(seconds: float, settings: VideoSettings) -> None:
    """Stated by the header, and seen: a header may be wrong."""
    longest = settings.max_video_seconds
    if seconds > longest:
        raise VideoRefusedError(
            f"The video takes {seconds:.0f} seconds or more; the limit is {longest:.0f}."
        )


def _frames(spec: FeedSpec, path: Path) -> Iterator[Frame | LostFrame]:
    try:
        yield from VideoFeed(spec).frames()
    except FeedError as error:
        told = str(error).replace(str(path), "the video")
        raise VideoRefusedError(f"The video cannot be analyzed: {told}.") from error
