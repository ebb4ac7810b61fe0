"""The table that a run shows in a terminal while it goes on."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, Self, runtime_checkable

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from rekadapter.cli.meter import WINDOW_SECONDS, Meter, Rate
from rekadapter.progress import LaneStatus
from rekadapter.types import CameraId
from rekadapter.uplink.pacer import UplinkState

_REFRESH_PER_SECOND: Final = 4
_NARROW_BELOW: Final = 118
"""Characters; in a narrower terminal columns are left out rather than folded."""

_SHORTEST_NAME: Final = 6


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    number: bool = True
    always: bool = True
    """also shown in a narrow terminal"""


_COLUMNS: Final = (
    _Column("camera", number=False),
    _Column("backend", number=False),
    _Column("seen"),
    _Column("gated"),
    _Column("queued"),
    _Column("asked", always=False),
    _Column("answered", always=False),
    _Column("dropped"),
    _Column("calls", always=False),
    _Column("sent kB"),
    _Column("kbit/s"),
    _Column("trip ms"),
)


@runtime_checkable
class HasState(Protocol):
    """A pacer that tells what it does."""

    def state(self) -> UplinkState: ...


class LiveTable:
    """A row for each camera and backend on stderr, redrawn four times a second; a
    ``ProgressListener`` that watches the run. It is gone when the run is over."""

    def __init__(
        self,
        meter: Meter,
        pacer: object,
        *,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._meter = meter
        self._clock = clock
        self._let_through: deque[tuple[float, int]] = deque()
        self._pacer = pacer
        self._status: Callable[[], tuple[LaneStatus, ...]] = tuple
        self._expected: dict[CameraId, int | None] = {}
        self._console = console or Console(stderr=True)
        self._live = Live(
            get_renderable=self.table,
            console=self._console,
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
        """The table as of now. In a narrow terminal it is shorter, and a single backend has no
        column of its own."""
        rows = self._status()
        table = Table(
            box=None,
            pad_edge=False,
            caption=escape("\n".join(filter(None, [self._budget(), *_lost(rows)]))) or None,
            caption_justify="left",
        )
        shown = self._columns(rows)
        cells = [dict(zip(_COLUMNS, self._row(row), strict=True)) for row in rows]
        rooms = [max(len(one.name), *(len(row[one]) for row in cells), 0) for one in shown]
        # numbers keep their room; names are cut
        names = sum(not column.number for column in shown)
        taken = sum(room for one, room in zip(shown, rooms, strict=True) if one.number)
        left = (self._console.width - taken - 2 * (len(shown) - 1)) // names
        for column, room in zip(shown, rooms, strict=True):
            width = room if column.number else max(_SHORTEST_NAME, min(room, left))
            justify: Literal["left", "right"] = "right" if column.number else "left"
            table.add_column(column.name, justify=justify, width=width, no_wrap=True)
        for row in cells:
            table.add_row(*(escape(row[column]) for column in shown))
        return table

    def _columns(self, rows: Sequence[LaneStatus]) -> tuple[_Column, ...]:
        if self._console.width >= _NARROW_BELOW:
            return _COLUMNS
        several = len({row.backend for row in rows}) > 1
        return tuple(
            column for column in _COLUMNS if column.always and (several or column.name != "backend")
        )

    def _row(self, status: LaneStatus) -> tuple[str, ...]:
        rate = self._meter.rate(status.camera, status.backend)
        expected = self._expected.get(status.camera)
        sent = ("-", "-", "-", "-") if not rate.calls else _sent(rate)
        return (
            status.camera,
            status.backend,
            f"{status.captured}" + (f"/{expected}" if expected else ""),
            str(status.gated),
            str(status.queued),
            str(status.asked),
            str(status.processed),
            str(sum(status.dropped.values())),
            *sent,
        )

    def _budget(self) -> str | None:
        if not isinstance(self._pacer, HasState):
            return None
        state = self._pacer.state()
        limit = "no ceiling" if math.isinf(state.ceiling) else f"ceiling {_kbit(state.ceiling)}"
        sent = f"{8 * self._sending(state.sent) / 1000:,.0f} of {_kbit(state.rate)} allowed now"
        return f"uplink: {sent}, {limit}, {state.phase.value}"

    def _sending(self, sent: int) -> float:
        """Bytes a second of late, by what the table itself has seen of the uplink."""
        now = self._clock()
        self._let_through.append((now, sent))
        while self._let_through[0][0] < now - WINDOW_SECONDS:
            self._let_through.popleft()
        since, before = self._let_through[0]
        return max(0, sent - before) / max(now - since, 1.0)


def _sent(rate: Rate) -> tuple[str, str, str, str]:
    trip = "-" if rate.round_trip_seconds is None else f"{1000 * rate.round_trip_seconds:,.0f}"
    return (
        str(rate.calls),
        f"{rate.sent_bytes / 1000:,.0f}",
        f"{rate.bits_per_second / 1000:,.0f}",
        trip,
    )


def _lost(rows: Sequence[LaneStatus]) -> Iterator[str]:
    """What was dropped, by cause, in a line for each camera and backend that lost something."""
    for row in rows:
        if row.dropped:
            causes = (f"{count} {cause.replace('_', ' ')}" for cause, count in row.dropped.items())
            yield f"{row.camera}, {row.backend}: dropped {', '.join(causes)}"


def _kbit(bytes_per_second: float) -> str:
    return f"{8 * bytes_per_second / 1000:,.0f} kbit/s"
