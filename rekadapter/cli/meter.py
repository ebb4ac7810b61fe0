"""What a run has asked of its remote backends so far, counted as it happens."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from rekadapter.observation import LedgerEntry
from rekadapter.types import CameraId

WINDOW_SECONDS: Final = 10.0
"""What a rate is an average over; the byte budget is held over the same time."""
_NEWEST_SHARE: Final = 0.2
"""How much the newest round trip counts in the average."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests of one camera and backend: how many, bytes sent in all, bits a second of late, and
    the average round trip; None before the first answer."""

    calls: int
    sent_bytes: int
    bits_per_second: float
    round_trip_seconds: float | None


@dataclass(frozen=True, slots=True)
class Flow:
    """All requests of one camera (None: galleries and set-up) and backend so far.

    ``requests`` are counted by operation and outcome. ``price_usd`` sums the known prices,
    ``unpriced`` counts the requests it leaves out.
    """

    camera: CameraId | None
    backend: str
    requests: Mapping[tuple[str, str], int]
    sent_bytes: int
    received_bytes: int
    price_usd: float
    unpriced: int
    round_trip_seconds: float | None


@dataclass(slots=True)
class _Flow:
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    sent: int = 0
    received: int = 0
    price: float = 0.0
    unpriced: int = 0
    round_trip: float | None = None
    recent: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, entry: LedgerEntry, now: float) -> None:
        request = entry.request
        self.requests[request.operation, request.outcome] += 1
        self.sent += request.bytes_sent
        self.received += request.bytes_received
        if request.price_usd is None:
            self.unpriced += 1
        else:
            self.price += request.price_usd
        self.recent.append((now, request.bytes_sent))
        self.forget(now)
        new = request.latency_seconds / max(1, request.attempts)
        held = self.round_trip
        self.round_trip = new if held is None else held + _NEWEST_SHARE * (new - held)

    def forget(self, now: float) -> None:
        """Lets go of what is older than the window."""
        while self.recent and self.recent[0][0] < now - WINDOW_SECONDS:
            self.recent.popleft()

    def bits_per_second(self, now: float) -> float:
        self.forget(now)
        return 8 * sum(size for _, size in self.recent) / WINDOW_SECONDS


class Meter:
    """Counts requests as they are made; safe to use from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._flows: dict[tuple[CameraId | None, str], _Flow] = {}

    def record(self, entry: LedgerEntry) -> None:
        """One more request, now."""
        with self._lock:
            key = (entry.camera, entry.request.backend)
            self._flows.setdefault(key, _Flow()).add(entry, self._clock())

    def rate(self, camera: CameraId, backend: str) -> Rate:
        """Of one camera and backend, so far."""
        with self._lock:
            flow = self._flows.get((camera, backend), _Flow())
            late = flow.bits_per_second(self._clock())
            return Rate(flow.requests.total(), flow.sent, late, flow.round_trip)

    def flows(self) -> tuple[Flow, ...]:
        """Everything so far, those of cameras first, by name."""
        with self._lock:
            keys = sorted(self._flows, key=lambda key: (key[0] is None, key[0] or "", key[1]))
            return tuple(_shown(*key, self._flows[key]) for key in keys)


def _shown(camera: CameraId | None, backend: str, flow: _Flow) -> Flow:
    return Flow(
        camera=camera,
        backend=backend,
        requests=dict(flow.requests),
        sent_bytes=flow.sent,
        received_bytes=flow.received,
        price_usd=flow.price,
        unpriced=flow.unpriced,
        round_trip_seconds=flow.round_trip,
    )
