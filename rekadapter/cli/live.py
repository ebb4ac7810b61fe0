"""The table that a run shows in a terminal while it goes on."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, Self, runtime_checkable

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from rekadapter.observation import LedgerEntry
from rekadapter.pipeline import LaneStatus
from rekadapter.types import CameraId
from rekadapter.uplink.pacer import UplinkState

_WINDOW_SECONDS: Final = 10.0
"""What kbit/s is an average over; the byte budget is held over the same time."""
_NEWEST_SHARE: Final = 0.2
"""How much the newest round trip counts in the average shown."""
_REFRESH_PER_SECOND: Final = 4
_COLUMNS: Final = (
    "camera", "backend", "seen", "gated", "under way", "answered", "dropped",
    "calls", "sent kB", "kbit/s", "round trip",
)  # fmt: skip


@dataclass(slots=True)
class _Flow:
    calls: int = 0
    sent: int = 0
    round_trip: float | None = None
    recent: deque[tuple[float, int]] = field(default_factory=deque)


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests of one camera and backend: how many, bytes sent in all, bits a second of late, and
    the average round trip; None before the first answer."""

    calls: int
    sent_bytes: int
    bits_per_second: float
    round_trip_seconds: float | None


class Meter:
    """Counts requests as they are made; safe to use from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._flows: dict[tuple[CameraId | None, str], _Flow] = {}

    def record(self, entry: LedgerEntry) -> None:
        """One more request, now."""
        request = entry.request
        with self._lock:
            flow = self._flows.setdefault((entry.camera, request.backend), _Flow())
            flow.calls += 1
            flow.sent += request.bytes_sent
            flow.recent.append((self._clock(), request.bytes_sent))
            held = flow.round_trip
            new = request.latency_seconds / max(1, request.attempts)
            flow.round_trip = new if held is None else held + _NEWEST_SHARE * (new - held)

    def rate(self, camera: CameraId, backend: str) -> Rate:
        """Of one camera and backend, so far."""
        with self._lock:
            flow = self._flows.setdefault((camera, backend), _Flow())
            since = self._clock() - _WINDOW_SECONDS
            while flow.recent and flow.recent[0][0] < since:
                flow.recent.popleft()
            late = sum(size for _, size in flow.recent)
            return Rate(flow.calls, flow.sent, 8 * late / _WINDOW_SECONDS, flow.round_trip)


@runtime_checkable
class HasState(Protocol):
    """A pacer that tells what it does."""

    def state(self) -> UplinkState: ...


class LiveTable:
    """A row for each camera and backend on stderr, redrawn four times a second; a
    ``ProgressListener`` that watches the run. It is gone when the run is over."""

    def __init__(self, meter: Meter, pacer: object, *, console: Console | None = None) -> None:
        self._meter = meter
        self._pacer = pacer
        self._status: Callable[[], tuple[LaneStatus, ...]] = tuple
        self._expected: dict[CameraId, int | None] = {}
        self._live = Live(
            get_renderable=self.table,
            console=console or Console(stderr=True),
            refresh_per_second=_REFRESH_PER_SECOND,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def watch(self, status: Callable[[], tuple[LaneStatus, ...]]) -> None:
        self._status = status

    def started(self, camera: CameraId, frames_expected: int | None) -> None:
        self._expected[camera] = frames_expected

    def frame_done(self, camera: CameraId, backend: str) -> None: ...

    def table(self) -> Table:
        """The table as of now."""
        table = Table(
            show_edge=False, pad_edge=False, caption=self._budget(), caption_justify="left"
        )
        for column in _COLUMNS:
            number = column not in {"camera", "backend", "dropped"}
            table.add_column(column, justify="right" if number else "left", overflow="fold")
        for status in self._status():
            table.add_row(*(escape(cell) for cell in self._row(status)))
        return table

    def _row(self, status: LaneStatus) -> tuple[str, ...]:
        rate = self._meter.rate(status.camera, status.backend)
        expected = self._expected.get(status.camera)
        sent = ("-", "-", "-", "-") if not rate.calls else _sent(rate)
        return (
            status.camera,
            status.backend,
            f"{status.captured}" + (f" of {expected}" if expected else ""),
            str(status.gated),
            str(status.under_way),
            str(status.processed),
            _causes(status.dropped),
            *sent,
        )

    def _budget(self) -> str | None:
        if not isinstance(self._pacer, HasState):
            return None
        state = self._pacer.state()
        limit = "no ceiling" if math.isinf(state.ceiling) else f"ceiling {_kbit(state.ceiling)}"
        return f"uplink: {_kbit(state.rate)} allowed now, {limit}, {state.phase.value}"


def _sent(rate: Rate) -> tuple[str, str, str, str]:
    trip = "-" if rate.round_trip_seconds is None else f"{1000 * rate.round_trip_seconds:.0f} ms"
    return (
        str(rate.calls),
        f"{rate.sent_bytes / 1000:,.0f}",
        f"{rate.bits_per_second / 1000:,.0f}",
        trip,
    )


def _causes(dropped: Mapping[str, int]) -> str:
    return (
        ", ".join(f"{count} {cause.replace('_', ' ')}" for cause, count in dropped.items()) or "-"
    )


def _kbit(bytes_per_second: float) -> str:
    return f"{8 * bytes_per_second / 1000:,.0f} kbit/s"
