"""How stored video is analyzed, and how much of it at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rekadapter.errors import ConfigError
from rekadapter.rekognition_api.jobs.store import Retention

MAX_VIDEO_BYTES: Final = 10 * 1024**3
"""10 GB, and the next two: Rekognition's limits page."""
MAX_VIDEO_SECONDS: Final = 6 * 3600.0
MAX_OPEN_JOBS: Final = 20
MAX_FRAME_PIXELS: Final = 139_264 * 256
"""The largest frame of H.264: level 6.2 in macroblocks of 16 x 16 (ITU-T H.264, table A-1). A small
file that declares more would take gigabytes to decode."""
H264: Final = "h264"


@dataclass(frozen=True, slots=True)
class VideoSettings:
    """Defaults are Rekognition's documented limits; where it documents none, a choice of ours.

    ``frames_per_second`` is how many frames of each second are analyzed, at most (AWS does not
    publish its own rate). ``max_matches`` bounds the candidates named for one face. So many jobs as
    ``workers`` run at once; others wait, and up to ``max_open_jobs`` of an account are taken on.
    ``directory`` keeps results and the videos being worked on, which take up to ``spool_bytes``;
    without one, results end with the service.
    """

    frames_per_second: float = 5.0
    max_matches: int = 20
    workers: int = 2
    max_open_jobs: int = MAX_OPEN_JOBS
    max_video_bytes: int = MAX_VIDEO_BYTES
    max_video_seconds: float = MAX_VIDEO_SECONDS
    max_frame_pixels: int = MAX_FRAME_PIXELS
    codecs: frozenset[str] = frozenset({H264})
    directory: Path | None = None
    spool_bytes: int = 20 * 1024**3
    retention: Retention = field(default_factory=Retention)

    def __post_init__(self) -> None:
        rates = (self.frames_per_second, self.max_video_seconds)
        if not all(math.isfinite(rate) and rate > 0 for rate in rates):
            raise ConfigError("frames_per_second and max_video_seconds have to be above 0")
        counts = (self.max_matches, self.workers, self.max_open_jobs, self.max_video_bytes)
        if min(counts) < 1:
            raise ConfigError(
                "max_matches, workers, max_open_jobs and max_video_bytes have to be at least 1"
            )
