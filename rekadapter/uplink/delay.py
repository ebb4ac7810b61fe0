"""Whether a queue stands somewhere on the way: a delay against the smallest of its kind; and the
rate at which something comes in now and then."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

_BASE_SECONDS: Final = 60.0
_KNOWN_SECONDS: Final = 1.5
_RATE_SECONDS: Final = 1.5
_RATE_EVENTS: Final = 3


@dataclass(frozen=True, slots=True)
class Queue:
    """How many times what is tolerated a delay lies above its base: above 1 it is a queue.
    ``fresh`` if it was measured in this round; else it is what was known before."""

    size: float
    fresh: bool


class Delay:
    """The smallest delay of a round against the smallest of the last minute.

    A round without a sample says nothing new: what was known is believed for another 1.5 s.
    """

    def __init__(self, tolerance_seconds: float) -> None:
        """Up to ``tolerance_seconds`` above the base, or as much as the base where that is more,
        is no queue."""
        self._tolerance = tolerance_seconds
        self._smallest: deque[tuple[float, float]] = deque()
        self._latest: float | None = None
        self._known: tuple[float, float] | None = None

    @property
    def known(self) -> bool:
        """Whether there ever was a sample."""
        return bool(self._smallest)

    def sample(self, seconds: float, *, now: float) -> None:
        """A delay measured in this round."""
        self._latest = seconds if self._latest is None else min(self._latest, seconds)
        while self._smallest and self._smallest[-1][1] >= seconds:
            self._smallest.pop()
        self._smallest.append((now, seconds))

    def start_round(self, *, now: float) -> None:
        """What is measured from now on belongs to the next round."""
        if self._latest is not None:
            self._known = (now, self._latest)
        self._latest = None

    def queue(self, *, now: float) -> Queue | None:
        """This round's queue, else the last one's; None where nothing is known."""
        while len(self._smallest) > 1 and self._smallest[0][0] < now - _BASE_SECONDS:
            self._smallest.popleft()
        delay = self._present(now)
        if delay is None:
            return None
        return Queue(self._above_base(delay, self._tolerance), self._latest is not None)

    def queue_of(self, delay: float, *, tolerance_seconds: float) -> Queue | None:
        """A delay of this round that was computed in another way, against the same base."""
        if not self._smallest:
            return None
        return Queue(self._above_base(delay, tolerance_seconds), fresh=True)

    def accept(self, *, now: float) -> None:
        """From now on the present delay is the base: the queue is somebody else's to empty."""
        delay = self._present(now)
        if delay is not None:
            self._smallest.clear()
            self._smallest.append((now, delay))

    def forget_present(self) -> None:
        """What is known of the present is true no more; the base stands."""
        self._latest = self._known = None

    def _above_base(self, delay: float, tolerance: float) -> float:
        base = self._smallest[0][1]
        return (delay - base) / max(tolerance, base)

    def _present(self, now: float) -> float | None:
        if self._latest is not None or self._known is None:
            return self._latest
        at, delay = self._known
        return delay if now - at <= _KNOWN_SECONDS else None


class Throughput:
    """Bytes a second of something that comes in lumps; unknown while there are few of them."""

    def __init__(self) -> None:
        self._lumps: deque[tuple[float, int]] = deque()

    def add(self, size_bytes: int, *, now: float) -> None:
        self._lumps.append((now, size_bytes))

    def rate(self, *, now: float) -> float | None:
        """Over the last 1.5 s, from the first lump to the last; None for fewer than three."""
        while self._lumps and self._lumps[0][0] < now - _RATE_SECONDS:
            self._lumps.popleft()
        if len(self._lumps) < _RATE_EVENTS:
            return None
        seconds = self._lumps[-1][0] - self._lumps[0][0]
        # the first lump came in before its own time
        size = sum(size for _, size in self._lumps) - self._lumps[0][1]
        return size / seconds if seconds > 0 else None
