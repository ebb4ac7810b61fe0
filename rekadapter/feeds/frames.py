"""What every feed gives: frames with true times, and a word about each frame that was lost."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from rekadapter.errors import ConfigError
from rekadapter.imaging import Image
from rekadapter.types import CameraId

MIN_FPS: Final = 1e-4
MAX_FPS: Final = 1000.0
"""A frame in three hours, and more than any camera gives: beyond is a slip of the keyboard."""

DAMAGED: Final = "damaged_frame"
"""a frame of a video or a live camera that cannot be decoded"""

UNREADABLE: Final = "unreadable_image"
"""a photograph that cannot be read"""

LIVE_SCHEMES: Final = (
    "rtsp://", "rtsps://", "rtmp://", "rtmps://", "http://", "https://", "srt://", "udp://", "rtp://",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FeedSpec:
    """One camera as the user describes it.

    ``weight`` is its share of the uplink when cameras compete for it. ``fps`` takes that many
    frames of each second, at most; None takes every frame.
    """

    camera: CameraId
    source: str
    weight: float = 1.0
    fps: float | None = None

    def __post_init__(self) -> None:
        if not self.camera.strip():
            raise ConfigError("a camera needs a name that is not empty")
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise ConfigError(
                f"camera '{self.camera}': weight has to be above 0, not {self.weight}"
            )
        if self.fps is not None and not MIN_FPS <= self.fps <= MAX_FPS:
            raise ConfigError(
                f"camera '{self.camera}': fps lies between {MIN_FPS:g} and {MAX_FPS:g}, "
                f"not {self.fps:g}"
            )

    @property
    def is_live(self) -> bool:
        """A camera, by its address or number, and not a file."""
        return self.source.isdigit() or self.source.lower().startswith(LIVE_SCHEMES)

    @property
    def shown_source(self) -> str:
        """The source without what opens it: user, password, and the values of a query."""
        return without_secrets(self.source)


def without_secrets(source: str) -> str:
    """A path as it is; a URL without user, password, and the values of its query, for messages and
    records. Cameras take passwords in either place."""
    scheme, separator, rest = source.partition("://")
    if not separator:
        return source
    place, question, query = rest.partition("?")
    authority, slash, path = place.partition("/")
    names = "&".join(f"{part.partition('=')[0]}=..." for part in query.split("&"))
    shown = f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
    return f"{shown}?{names}" if question else shown


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of a camera.

    ``index`` counts the frames of the source from 0, sampled or not, so that it is the same however
    the feed is sampled. ``seconds`` is media time since the first frame. ``captured_at`` (UTC) is
    as true as the source: for files, the recording time they state or else their modification time;
    for live cameras the time of arrival, and ``seconds`` counts from when the feed was opened.
    """

    camera: CameraId
    index: int
    seconds: float
    captured_at: datetime
    image: Image


@dataclass(frozen=True, slots=True)
class LostFrame:
    """A frame that was there but cannot be used; ``cause`` is what it is counted under. ``detail``
    is empty where there is nothing to add."""

    camera: CameraId
    index: int
    seconds: float
    cause: str
    detail: str


@dataclass(frozen=True, slots=True)
class Silence:
    """A live camera gives no frame just now; said about once a second, so that whoever waits for it
    can also stop. ``lasts`` are the seconds since its last frame, or since the feed was opened;
    ``reason`` is empty while that is nothing unusual."""

    camera: CameraId
    seconds: float
    lasts: float
    reason: str


FeedItem = Frame | LostFrame | Silence


class Feed(Protocol):
    """A camera, opened.

    ``live`` feeds go on without us: a frame not taken is gone. ``continuous`` feeds show a person
    in several frames; a folder of single photographs does not. ``expected_frames`` is an estimate
    for progress bars, None where nobody knows.
    """

    @property
    def spec(self) -> FeedSpec: ...
    @property
    def live(self) -> bool: ...
    @property
    def continuous(self) -> bool: ...
    @property
    def expected_frames(self) -> int | None: ...

    def frames(self) -> Iterator[FeedItem]:
        """Every frame in order of time, decoded as it is asked for. A live feed has no end: close
        the iterator to let go of the camera.

        Raises:
            FeedError: the source cannot be read, or broke off; what came before was delivered.
        """
        ...


class Sampler:
    """Picks at most ``fps`` frames of each second by their timestamps: the first of each 1/fps."""

    def __init__(self, fps: float | None) -> None:
        self._fps = fps
        self._last_slot = -1

    def wants(self, seconds: float) -> bool:
        """Whether the frame at ``seconds`` is picked; to be asked in order of time."""
        if self._fps is None:
            return True
        # A frame at 0.04 s x 25 must fall into slot 1 whatever its last binary digit says.
        slot = math.floor(seconds * self._fps + 1e-6)
        if slot <= self._last_slot:
            return False
        self._last_slot = slot
        return True


@contextmanager
def let_go(items: Iterator[FeedItem]) -> Iterator[Iterator[FeedItem]]:
    """Has a feed leave its source at once, where it can: a live camera goes on otherwise."""
    try:
        yield items
    finally:
        if isinstance(items, Generator):
            items.close()
