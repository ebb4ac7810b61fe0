"""Makes the threads that send wait for their turn on the uplink."""

from __future__ import annotations

import bisect
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rekadapter.errors import StoppedError
from rekadapter.uplink.bucket import BURST_SECONDS, TokenBucket
from rekadapter.uplink.link import LinkRate, Phase
from rekadapter.uplink.schedule import Schedule

_SLICE_SECONDS: Final = 0.05
_SLICE_BYTES: Final = (4_096, 65_536)
_LARGEST_SLICE_SECONDS: Final = 0.15
"""A slice is about 50 ms of the rate: small enough for the rate to change inside a body, large
enough to cost nothing."""
_LOOK_SECONDS: Final = 0.25
"""The longest sleep: a rate that has risen meanwhile is used by then."""
_HOUR_LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class UplinkState:
    """The uplink at a moment, for a live view: bytes a second allowed, their ceiling (infinite
    where there is none), what the control is doing, bytes on their way, and bytes let through since
    the start."""

    rate: float
    ceiling: float
    phase: Phase
    in_flight: int
    sent: int

    @property
    def reachable(self) -> bool:
        return self.phase is not Phase.OUTAGE


@dataclass(frozen=True, slots=True)
class Granted:
    """A slice that may be sent: its size, when it was granted, and how long that took."""

    size_bytes: int
    at: float
    waited_seconds: float


class UplinkPacer:
    """One budget for every request of every camera and backend that is given this pacer.

    The rate is the ceiling or what the link gives, whichever is less. Uploads go one after another
    in the order they began: an older one always gets the next slice, so a small request never
    overtakes a large one, and one whose connection is stuck does not hold up the others. ``stop``
    ends all waits. Safe to use from any thread.
    """

    def __init__(
        self,
        ceiling: float | Schedule,
        *,
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
        local_time: Callable[[], datetime] = datetime.now,
    ) -> None:
        """``ceiling`` in bytes a second, or by the hour. ``wait`` (by default ``stop.wait``) sleeps
        for seconds."""
        self._schedule = ceiling if isinstance(ceiling, Schedule) else Schedule(ceiling)
        self._stop = stop
        self._clock = clock
        self._wait = stop.wait if wait is None else wait
        self._local_time = local_time
        now = clock()
        self._ceiling = self._schedule.ceiling_at(local_time().time())
        self._link = LinkRate(self._ceiling, now=now)
        rate = self._link.rate
        self._bucket = TokenBucket(rate, rate * BURST_SECONDS, now=now)
        self._hour_seen = now
        self._sent = 0
        self._orders = itertools.count()
        self._changed = threading.Condition()
        self._queue: list[int] = []

    def begin(self, unacknowledged: Callable[[], int | None]) -> PacedUpload:
        """An upload that takes its turns after all that have begun before; see
        ``recognizer.BodyPacer``."""
        with self._changed:
            self._link.opened()
            return PacedUpload(self, next(self._orders), unacknowledged)

    def wait_to_send(self, size_bytes: int) -> float:
        """Blocks until a whole request of ``size_bytes`` may be sent at once and returns the
        seconds waited. For callers that cannot send in slices.

        Raises:
            StoppedError: the run ended first; the request must not be sent.
        """
        order, left, waited = next(self._orders), size_bytes, 0.0
        while left > 0:
            granted = self.grant(order, left)
            left -= granted.size_bytes
            waited += granted.waited_seconds
            with self._changed:
                # nobody tells what becomes of it, so it says nothing against the link
                self._link.arrived(granted.size_bytes, now=self._clock())
        if self._stop.is_set():
            raise _stopped()
        return waited

    def state(self) -> UplinkState:
        """The uplink now."""
        with self._changed:
            self._follow(self._clock())
            link = self._link
            return UplinkState(link.rate, self._ceiling, link.phase, link.in_flight, self._sent)

    # --- for PacedUpload --------------------------------------------------------------------

    def grant(
        self, order: int, left_bytes: int, look: Callable[[], None] = lambda: None
    ) -> Granted:
        """Waits until no upload that began before ``order`` waits and a slice may pass, and calls
        ``look`` now and then meanwhile.

        Raises:
            StoppedError: the run ended first.
        """
        with self._changed:
            began = self._clock()
            bisect.insort(self._queue, order)
            try:
                look()
                while (size := self._due(order, left_bytes)) == 0:
                    look()
            finally:
                self._queue.remove(order)
                self._changed.notify_all()
            now = self._clock()
            self._bucket.take(size, now=now)
            self._link.sent(size, now=now)
            self._sent += size
            return Granted(size, now, max(0.0, now - began))

    def tell_path(self, arrived_bytes: int, oldest_sent_at: float | None) -> None:
        """Bytes of an upload that have arrived since it was last looked at, and when the oldest of
        those that have not was sent."""
        with self._changed:
            now = self._clock()
            delay = 0.0 if oldest_sent_at is None else max(0.0, now - oldest_sent_at)
            self._link.path_delay(delay, now=now)
            self._link.arrived(arrived_bytes, now=now)

    def tell_answer(self, size_bytes: int, arrived_bytes: int, last_sent_at: float) -> None:
        """The answer to a request of ``size_bytes`` has begun: ``arrived_bytes``, the rest of it,
        have arrived."""
        with self._changed:
            now = self._clock()
            self._link.closed()
            self._link.answer_delay(max(0.0, now - last_sent_at), size_bytes, now=now)
            self._link.arrived(arrived_bytes, now=now)

    def tell_end(self, *, lost_bytes: int, more_bytes: int, failed: bool) -> None:
        """What an attempt leaves behind: bytes without news, and bytes on the wire beyond those
        let through (fewer than none: let through and not sent)."""
        with self._changed:
            now = self._clock()
            self._link.lost(lost_bytes, now=now)
            self._bucket.take(more_bytes, now=now)
            self._sent += more_bytes
            if failed:
                self._link.closed()
            if failed and not self._stop.is_set():
                self._link.failed(now=now)

    def _due(self, order: int, left_bytes: int) -> int:
        """Bytes that this upload may send now; 0 after having slept because it may not yet."""
        if self._stop.is_set():
            raise _stopped()
        now = self._clock()
        self._follow(now)
        size = min(left_bytes, self._slice_bytes)
        delay = self._bucket.delay(size, now=now)
        first = self._queue[0] == order
        if first and delay <= 0:
            return size
        self._sleep(delay, first=first)
        return 0

    def _sleep(self, seconds: float, *, first: bool) -> None:
        """The first in the queue sleeps by the clock and by ``stop``, and wakes the others, who
        sleep until something changes: so there is always one that notices the end."""
        if not first:
            self._changed.wait()
            return
        self._changed.release()
        try:
            self._wait(min(seconds, _LOOK_SECONDS))
        finally:
            self._changed.acquire()

    @property
    def _slice_bytes(self) -> int:
        rate = self._bucket.rate
        least, most = _SLICE_BYTES
        least = min(least, int(rate * _LARGEST_SLICE_SECONDS))
        return max(1, min(max(int(rate * _SLICE_SECONDS), least), most))

    def _follow(self, now: float) -> None:
        if now - self._hour_seen >= _HOUR_LOOK_SECONDS:
            self._hour_seen = now
            ceiling = self._schedule.ceiling_at(self._local_time().time())
            if ceiling != self._ceiling:
                self._ceiling = ceiling
                self._link.limit(ceiling, now=now)
        self._link.tick(now=now)
        rate = self._link.rate
        if rate != self._bucket.rate:
            self._bucket.change(rate, rate * BURST_SECONDS, now=now)


class PacedUpload:
    """One attempt of a request on its way; used by one thread. See ``recognizer.Upload``."""

    def __init__(
        self, pacer: UplinkPacer, order: int, unacknowledged: Callable[[], int | None]
    ) -> None:
        self._pacer = pacer
        self._order = order
        self._unacknowledged = unacknowledged
        self._on_their_way: deque[tuple[int, float]] = deque()
        self._sent = 0
        self._arrived = 0
        self._last_sent_at = 0.0
        self._answered = False
        self.waited_seconds = 0.0

    def turn(self, left_bytes: int) -> int:
        """Waits for the next slice of the ``left_bytes`` still to be sent and returns its size.

        Raises:
            StoppedError: the run ended first; nothing more may be sent.
        """
        granted = self._pacer.grant(self._order, left_bytes, self.look)
        self.waited_seconds += granted.waited_seconds
        self._sent += granted.size_bytes
        self._last_sent_at = granted.at
        self._on_their_way.append((self._sent, granted.at))
        return granted.size_bytes

    def look(self) -> None:
        """Tells the pacer what has arrived since the last look and how long the rest is on its
        way."""
        unacknowledged = self._unacknowledged() if self._sent else None
        if unacknowledged is None:
            return
        arrived = max(self._arrived, self._sent - unacknowledged)
        while self._on_their_way and self._on_their_way[0][0] <= arrived:
            self._on_their_way.popleft()
        oldest = self._on_their_way[0][1] if self._on_their_way else None
        self._pacer.tell_path(arrived - self._arrived, oldest)
        self._arrived = arrived

    def answered(self) -> None:
        """The answer has begun: everything has arrived. Only the first call counts."""
        if not self._answered:
            self._answered = True
            self._pacer.tell_answer(self._sent, self._sent - self._arrived, self._last_sent_at)
            self._arrived = self._sent

    def end(self, wire_bytes: int) -> None:
        """The attempt is over and ``wire_bytes`` were sent for it, encryption and all."""
        self._pacer.tell_end(
            lost_bytes=self._sent - self._arrived,
            more_bytes=wire_bytes - self._sent,
            failed=not self._answered,
        )


def _stopped() -> StoppedError:
    return StoppedError("the run was stopped while a request waited for the uplink")
