"""Connections to cameras: streams by URL through FFmpeg (PyAV), webcams through OpenCV."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import cv2
import numpy as np
from av.container import InputContainer
from av.error import (
    HTTPForbiddenError,
    HTTPNotFoundError,
    HTTPUnauthorizedError,
    InvalidDataError,
)
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from rekadapter.feeds.container import open_container
from rekadapter.feeds.decoding import bgr_of
from rekadapter.imaging import MAX_PIXELS

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]

_OPEN_SECONDS: Final = 10.0
_READ_SECONDS: Final = 5.0
_PROTOCOLS: Final = "crypto,hls,http,https,httpproxy,rtmp,rtmps,rtp,rtsp,rtsps,srt,srtp,tcp,tls,udp"
"""What a stream may lead on to: a playlist of a camera must not have us read files."""

_OPTIONS: Final = {
    "rtsp_transport": "tcp",  # a lost UDP packet smears a face over seconds
    "fflags": "nobuffer",
    "flags": "low_delay",
    "analyzeduration": "2000000",
    "protocol_whitelist": _PROTOCOLS,
}
_REFUSALS: Final = {
    HTTPUnauthorizedError: "it refuses the user name or the password",
    HTTPForbiddenError: "it refuses access",
    HTTPNotFoundError: "it has no stream of that name",
    InvalidDataError: "what it sends is not a video that can be read",
}


class RefusedError(Exception):
    """The camera answered, and trying again will not change the answer."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded frame. ``pixels`` converts it, when asked, to upright BGR uint8 (height, width, 3):
    most frames of a live camera are never looked at. ``codec`` is empty where none coded it;
    ``payload_bytes`` came for it since the picture before."""

    pixels: Callable[[], Pixels]
    damaged: bool = False
    codec: str = ""
    payload_bytes: int = 0


Pictures = Iterator[Picture | None]
"""None now and then while there is no picture (sound, the first half of a frame): so a reader that
has to stop can, whatever the camera sends."""


@contextmanager
def connect_to(source: str) -> Iterator[Pictures]:
    """Opens the camera behind a URL, or the webcam of a number, and gives its pictures.

    Raises:
        RefusedError: it answered that it will not.
        FFmpegError, OSError: it cannot be reached, or went away; it may be back later.
    """
    with _webcam(int(source)) if source.isdigit() else _stream(source) as pictures:
        yield pictures


@contextmanager
def _stream(url: str) -> Iterator[Pictures]:
    try:
        container = open_container(url, options=_OPTIONS, timeout=(_OPEN_SECONDS, _READ_SECONDS))
    except tuple(_REFUSALS) as error:
        raise RefusedError(_REFUSALS[type(error)]) from error
    with container:
        if not container.streams.video:
            raise RefusedError("it sends no video")
        stream = container.streams.video[0]
        if stream.codec_context.width * stream.codec_context.height > MAX_PIXELS:
            raise RefusedError(f"its frames have more than {MAX_PIXELS} pixels: scale them down")
        stream.thread_type = "SLICE"  # threads over frames would hold several back
        yield _decoded(container, stream)


def _decoded(container: InputContainer, stream: VideoStream) -> Pictures:
    codec, came = stream.codec_context.name, 0
    for packet in container.demux():
        if packet.stream is not stream:
            yield None
            continue
        came += packet.size
        try:
            frames = packet.decode()
        except InvalidDataError:
            yield Picture(_nothing, damaged=True)
            continue
        if not frames:
            yield None
        for frame in frames:
            if isinstance(frame, VideoFrame):
                yield Picture(partial(bgr_of, frame), frame.is_corrupt, codec, came)
                came = 0


def _nothing() -> Pixels:
    raise ValueError("a damaged frame has no pixels")


@contextmanager
def _webcam(number: int) -> Iterator[Pictures]:
    capture = cv2.VideoCapture(number)
    try:
        if not capture.isOpened():
            raise RefusedError(
                f"webcam {number} cannot be opened: is it there, unused, and readable for you?"
            )
        yield _grabbed(capture)
    finally:
        capture.release()


def _grabbed(capture: cv2.VideoCapture) -> Pictures:
    while True:
        there, pixels = capture.read()
        if not there:
            return
        yield Picture(partial(np.asarray, pixels, np.uint8))
