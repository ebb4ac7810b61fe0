"""Live cameras (RTSP, HTTP, a webcam): always the newest picture, and back again after a break.

A thread reads the camera, so that neither it nor the network waits for us, and keeps one picture:
the newest. A picture that nobody took in time is counted (``overtaken``), not queued, so what is
looked at is never old. When the camera goes away it is tried again, ever less often; meanwhile the
feed says so once a second (``Silence``).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from av.error import FFmpegError

from rekadapter.errors import FeedError
from rekadapter.feeds.camera import Picture, Pictures, RefusedError, connect_to
from rekadapter.feeds.frames import DAMAGED, FeedItem, FeedSpec, Frame, LostFrame, Sampler, Silence
from rekadapter.feeds.metering import Coded, Meter
from rekadapter.imaging import Image

logger = logging.getLogger(__name__)

OVERTAKEN: Final = "overtaken"
"""a live camera gave the next frame before this one could be looked at"""


@dataclass(frozen=True, slots=True)
class LiveRules:
    """Seconds: between signs of life, until a camera that gives nothing counts as gone, and between
    attempts to reach it again, doubled from the first to the longest."""

    sign_of_life: float = 1.0
    gone_after: float = 5.0
    first_wait: float = 1.0
    longest_wait: float = 30.0


@dataclass(frozen=True, slots=True)
class _Arrived:
    index: int
    seconds: float
    captured_at: datetime
    picture: Picture


@dataclass(frozen=True, slots=True)
class _News:
    """What came since the last look: the newest picture, if any, and the indexes of older ones."""

    overtaken: tuple[int, ...]
    newest: _Arrived | None
    silence: Silence


class LiveFeed:
    """A camera by its URL or number. Nothing is opened before ``frames`` is iterated over.

    ``index`` counts the frames that arrived, ``seconds`` goes on while the camera is away. A camera
    that refuses us at the first attempt (wrong password, no such stream) is a ``FeedError``; one
    that cannot be reached yet, or later, is tried again for as long as the feed is read.
    """

    live = True
    continuous = True
    expected_frames = None

    def __init__(
        self,
        spec: FeedSpec,
        *,
        connect: Callable[[], AbstractContextManager[Pictures]] | None = None,
        rules: LiveRules = LiveRules(),
    ) -> None:
        self.spec = spec
        self._connect = connect or (lambda: connect_to(spec.source))
        self._rules = rules
        self._meter = Meter()

    @property
    def coded(self) -> Coded | None:
        """See ``Metered``; None of a webcam."""
        return self._meter.coded

    def frames(self) -> Generator[FeedItem, None, None]:
        """Newest frames as they are asked for, without end.

        Raises:
            FeedError: the camera refused the first attempt.
        """
        self._meter = Meter()
        reader = _Reader(self.spec, self._connect, self._rules, self._meter)
        reader.start()
        try:
            while True:
                news = reader.news()
                for index in news.overtaken:
                    yield self._lost(index, news.silence.seconds, OVERTAKEN, "")
                yield news.silence if news.newest is None else self._frame(news.newest)
        finally:
            reader.close()

    def _frame(self, arrived: _Arrived) -> Frame | LostFrame:
        index, seconds = arrived.index, arrived.seconds
        if arrived.picture.damaged:
            return self._lost(index, seconds, DAMAGED, "the decoder calls the picture damaged")
        try:
            image = Image.from_pixels(arrived.picture.pixels())
        except (FFmpegError, ValueError, MemoryError) as error:
            return self._lost(index, seconds, DAMAGED, f"it cannot be converted: {error}")
        return Frame(self.spec.camera, index, seconds, arrived.captured_at, image)

    def _lost(self, index: int, seconds: float, cause: str, detail: str) -> LostFrame:
        return LostFrame(self.spec.camera, index, seconds, cause, detail)


class _Reader:
    """The thread that reads a camera, and the one picture it keeps."""

    def __init__(
        self,
        spec: FeedSpec,
        connect: Callable[[], AbstractContextManager[Pictures]],
        rules: LiveRules,
        meter: Meter,
    ) -> None:
        self._spec, self._connect, self._rules, self._meter = spec, connect, rules, meter
        self._sampler = Sampler(spec.fps)
        self._opened_at = time.monotonic()
        self._last_at = self._opened_at
        self._index = -1
        self._newest: _Arrived | None = None
        self._overtaken: list[int] = []
        self._away = ""
        self._refused: FeedError | None = None
        self._crashed: BaseException | None = None
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, name=f"camera {spec.camera} live")

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Lets go of the camera; waits for the thread, as long as the camera's timeout at most."""
        self._over.set()
        self._thread.join()

    def news(self) -> _News:
        """Waits for a picture, or for the time of a sign of life."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._newest or self._refused or self._crashed, self._rules.sign_of_life
            )
            for error in (self._refused, self._crashed):
                if error is not None:
                    raise error
            news = _News(tuple(self._overtaken), self._newest, self._silence())
            self._newest = None
            self._overtaken.clear()
            return news

    def _silence(self) -> Silence:
        now = time.monotonic()
        lasts, reason = now - self._last_at, self._away
        if not reason and lasts >= self._rules.gone_after:
            reason = f"no frame for {self._rules.gone_after:g} s"
        return Silence(self._spec.camera, now - self._opened_at, lasts, reason)

    # --- the thread ---------------------------------------------------------------------------

    def _read(self) -> None:
        wait = self._rules.first_wait
        while not self._over.is_set():
            before = self._index
            reason = self._attempt()
            if self._refused or self._crashed or self._over.is_set():
                return
            if self._index > before:
                wait = self._rules.first_wait
            pause = wait * random.uniform(0.8, 1.2)  # noqa: S311 - spreads attempts, hides nothing
            logger.warning("camera %s: %s; tried again in %.1f s", self._spec.camera, reason, pause)
            self._over.wait(pause)
            wait = min(2 * wait, self._rules.longest_wait)

    def _attempt(self) -> str:
        """Reads until the camera ends it; returns why it did."""
        try:
            with self._connect() as pictures:
                for picture in pictures:
                    if picture is not None:
                        self._arrived(picture)
                    if self._over.is_set():
                        return ""
            reason = "the camera ended the stream"
        except RefusedError as error:
            reason = str(error)
            if self._index < 0:
                self._end(refused=FeedError(f"camera '{self._spec.camera}': {reason}"))
        except (FFmpegError, OSError) as error:
            reason = f"it cannot be read: {error.strerror or error}"
        except BaseException as error:  # noqa: BLE001 - raised again where the frames are asked for
            self._end(crashed=error)
            return ""
        with self._changed:
            self._away = reason
        return reason

    def _arrived(self, picture: Picture) -> None:
        if picture.codec:
            self._meter.add(picture.codec, picture.payload_bytes, 1)
        with self._changed:
            self._last_at = time.monotonic()
            seconds = self._last_at - self._opened_at
            self._index += 1
            if self._away:
                logger.info("camera %s is back", self._spec.camera)
                self._away = ""
            if not self._sampler.wants(seconds):
                return
            if self._newest is not None:
                self._overtaken.append(self._newest.index)
            self._newest = _Arrived(self._index, seconds, datetime.now(UTC), picture)
            self._changed.notify_all()

    def _end(
        self, *, refused: FeedError | None = None, crashed: BaseException | None = None
    ) -> None:
        with self._changed:
            self._refused, self._crashed = refused, crashed
            self._changed.notify_all()
