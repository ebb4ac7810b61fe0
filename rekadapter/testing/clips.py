"""Small video files written at test time, frame by frame, each with a timestamp of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np

from rekadapter.imaging import Image

TICKS_PER_SECOND: Final = 1000


@dataclass(frozen=True, slots=True)
class ClipFrame:
    """A picture and when it is shown, in seconds (kept to the millisecond)."""

    seconds: float
    image: Image


def even(images: Iterable[Image], *, fps: float) -> tuple[ClipFrame, ...]:
    """Pictures at an even rate, from 0 on."""
    return tuple(ClipFrame(index / fps, image) for index, image in enumerate(images))


def write_clip(
    path: Path,
    frames: Iterable[ClipFrame],
    *,
    rotated_degrees: int = 0,
    recorded_at: datetime | None = None,
) -> Path:
    """Writes an H.264 file that keeps each frame's own timestamp; all of one size, sides even.

    ``rotated_degrees`` (counterclockwise, multiples of 90) asks players to turn the picture;
    ``recorded_at`` is stated as the time of recording.
    """
    with av.open(str(path), "w") as container:
        if recorded_at is not None:
            container.metadata["creation_time"] = recorded_at.isoformat()
        stream = None
        for frame in frames:
            if stream is None:
                stream = container.add_stream("libx264", rate=25, options={"crf": "12", "g": "5"})
                stream.width, stream.height = frame.image.size.width, frame.image.size.height
                stream.pix_fmt = "yuv420p"
                stream.codec_context.time_base = Fraction(1, TICKS_PER_SECOND)
                stream.time_base = Fraction(1, TICKS_PER_SECOND)
                if rotated_degrees:
                    stream.set_display_rotation(rotated_degrees)
            picture = av.VideoFrame.from_ndarray(np.array(frame.image.pixels), format="bgr24")
            picture.pts = round(frame.seconds * TICKS_PER_SECOND)
            picture.time_base = Fraction(1, TICKS_PER_SECOND)
            container.mux(stream.encode(picture))
        if stream is not None:
            container.mux(stream.encode(None))
    return path
