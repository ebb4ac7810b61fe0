"""From a decoded frame of FFmpeg's to pixels."""

from __future__ import annotations

from typing import Final

import numpy as np
from av.video.frame import VideoFrame

from rekadapter.imaging import upright

_EXIF_ORIENTATION: Final = {0: 1, 90: 8, 180: 3, -180: 3, -90: 6}
"""FFmpeg's display rotation (degrees counterclockwise) as the EXIF orientation that undoes it."""


def bgr_of(picture: VideoFrame) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The picture's pixels, upright, BGR uint8 of shape (height, width, 3)."""
    # One thread: on a 1080p frame, starting others costs more than they save (3.0 against 0.8 ms).
    converted = picture.reformat(format="bgr24", threads=1).to_ndarray()
    pixels = np.asarray(converted, dtype=np.uint8)
    turned = upright(pixels, _EXIF_ORIENTATION.get(picture.rotation, 1))
    return np.ascontiguousarray(turned)
