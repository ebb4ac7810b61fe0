"""What a camera's stream leaves of a picture: coded as video at the camera's codec and bitrate.

The whole picture of the camera is coded, because an encoder gives its bits to what moves and takes
them from what stands still. The photograph, scaled to the camera's size, stands still behind; its
head-and-shoulders cut crosses the view at walking pace and is taken out of one decoded frame, three
quarters into the second group of pictures, when the rate control has settled. It errs to the kind
side: one person moves and nothing else, without motion blur, noise or changing light.

Measured with H.264 at 1920x1080, 25 frames a second: the second group of pictures took 88 to 106 %
of the bits asked for at 300, 1,000 and 4,000 kbit/s. Walking pace is 1.4 m/s, eyes are 63 mm apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import av
import cv2
import numpy as np
from av.codec.codec import UnknownCodecError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from rekadapter.errors import ImageError, UsageError
from rekadapter.evaluation.rules import SweepStream
from rekadapter.evaluation.wording import EYES_APART_METERS
from rekadapter.imaging import Image, Pixels

WALKING_METERS_PER_SECOND: Final = 1.4
"""Usual pace of adults on a pavement (Bohannon, Age and Ageing 26 (1997): 1.27 to 1.46 m/s)."""
_KEY_SECONDS: Final = 1.0
"""Between two key frames."""
_TAKEN_AT_SECONDS: Final = 1.75 * _KEY_SECONDS
_ENCODERS: Final = {"h264": "libx264", "hevc": "libx265", "mjpeg": "mjpeg"}


@dataclass(frozen=True, slots=True)
class Streamed:
    """A cut as the stream left it; ``kbps`` is what its group of pictures really took."""

    image: Image
    kbps: float


def refuse_unknown_codecs(streams: Iterable[SweepStream]) -> None:
    """Says before anything is spent which codec cannot be written here.

    Raises:
        UsageError: the codec is not in this build of the video library.
    """
    for stream in streams:
        try:
            av.Codec(_ENCODERS[stream.codec], "w")
        except UnknownCodecError as error:
            raise UsageError(
                f"{stream.codec} cannot be written on this machine: name another codec in "
                "[[sweep.streams]]"
            ) from error


def streamed(whole: Image, cut: Image, eye_px: float, stream: SweepStream) -> Streamed:
    """A cut with ``eye_px`` between the eyes, as it comes out of a camera's stream; of one larger
    than the camera's picture the middle.

    Args:
        whole: the photograph, which stands still behind.
        cut: head and shoulders, already at the camera's size.
        eye_px: pixels between the eyes of the cut, which give the scale of the scene.
        stream: codec, bitrate, and the camera's picture.

    Raises:
        ImageError: nothing came out of the coder.
    """
    inside = _middle(cut.pixels, stream.width, stream.height)
    high, wide = inside.shape[:2]
    left, top = (stream.width - wide) // 2, (stream.height - high) // 2
    count = round(2 * _KEY_SECONDS * stream.fps)
    taken = min(count - 1, round(_TAKEN_AT_SECONDS * stream.fps))
    moves = WALKING_METERS_PER_SECOND * eye_px / EYES_APART_METERS / stream.fps
    behind = _covering(whole.pixels, stream.width, stream.height)
    frames = (
        _pasted(behind, inside, left + round((number - taken) * moves), top)
        for number in range(count)
    )
    decoded, kbps = _through(frames, stream, taken)
    shown = decoded[top : top + high, left : left + wide]
    return Streamed(Image.from_pixels(np.ascontiguousarray(shown)), kbps)


def _covering(pixels: Pixels, width: int, height: int) -> Pixels:
    """The middle of a picture, scaled to cover so many pixels."""
    factor = max(width / pixels.shape[1], height / pixels.shape[0])
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    size = (
        max(width, round(factor * pixels.shape[1])),
        max(height, round(factor * pixels.shape[0])),
    )
    scaled = cv2.resize(pixels, size, interpolation=how)
    return _middle(np.asarray(scaled, dtype=np.uint8), width, height)


def _middle(pixels: Pixels, width: int, height: int) -> Pixels:
    """The middle of a picture, of so many pixels at most."""
    high, wide = pixels.shape[:2]
    top, left = max(0, high - height) // 2, max(0, wide - width) // 2
    return pixels[top : top + height, left : left + width]


def _pasted(behind: Pixels, cut: Pixels, left: int, top: int) -> Pixels:
    """The cut over what is behind, as far as it is inside."""
    frame = behind.copy()
    start, end = max(0, left), min(behind.shape[1], left + cut.shape[1])
    if end > start:
        frame[top : top + cut.shape[0], start:end] = cut[:, start - left : end - left]
    return frame


# --- the coder --------------------------------------------------------------------------------


def _through(frames: Iterable[Pixels], stream: SweepStream, taken: int) -> tuple[Pixels, float]:
    """The frame numbered ``taken`` after coding and decoding, and kbit/s of its group."""
    encoder = _encoder(stream)
    packets = list(_packets(encoder, frames))
    half = len(packets) // 2
    kbps = 8 * sum(packet.size for packet in packets[half:]) / 1000 / _KEY_SECONDS
    decoder = av.CodecContext.create(stream.codec, "r")
    assert isinstance(decoder, VideoCodecContext)  # noqa: S101  each of the codecs is of video
    decoder.thread_count = 1
    for number, frame in enumerate(_frames(decoder, packets)):
        if number == taken:
            return np.asarray(frame.to_ndarray(format="bgr24"), dtype=np.uint8), kbps
    raise ImageError(f"{stream.codec} gave back fewer frames than it was given")


def _encoder(stream: SweepStream) -> VideoCodecContext:
    """One thread and no frames out of order, so that a build always gives the same bytes."""
    encoder = av.CodecContext.create(_ENCODERS[stream.codec], "w")
    assert isinstance(encoder, VideoCodecContext)  # noqa: S101  each of the codecs is of video
    rate = Fraction(stream.fps).limit_denominator(1000)
    encoder.width, encoder.height = stream.width, stream.height
    encoder.pix_fmt = "yuvj420p" if stream.codec == "mjpeg" else "yuv420p"
    encoder.framerate, encoder.time_base = rate, 1 / rate
    encoder.bit_rate = round(1000 * stream.kbps)
    encoder.gop_size = round(_KEY_SECONDS * stream.fps)
    encoder.thread_count = 1
    limits = {"maxrate": f"{stream.kbps:g}k", "bufsize": f"{stream.kbps:g}k"}
    own = {
        "h264": {"preset": "veryfast", "bf": "0", "x264-params": _X264},
        "hevc": {"preset": "veryfast", "x265-params": _X265},
        "mjpeg": {},
    }
    encoder.options = {**limits, **own[stream.codec]}
    return encoder


_X264: Final = "rc-lookahead=0:sync-lookahead=0:scenecut=0:mbtree=0"
_X265: Final = "bframes=0:rc-lookahead=0:scenecut=0:pools=1:frame-threads=1:log-level=none"


def _packets(encoder: VideoCodecContext, frames: Iterable[Pixels]) -> Iterator[Packet[VideoStream]]:
    for number, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(pixels, format="bgr24")
        frame.pts = number
        yield from encoder.encode(frame)
    yield from encoder.encode()


def _frames(
    decoder: VideoCodecContext, packets: Iterable[Packet[VideoStream]]
) -> Iterator[av.VideoFrame]:
    for packet in packets:
        yield from decoder.decode(packet)
    yield from decoder.decode()
