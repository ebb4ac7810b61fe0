"""Whoever watches a run: the live table in a terminal, and ``GET /metrics``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol

from rekadapter.cli.live import HasState, LiveTable
from rekadapter.cli.meter import Meter
from rekadapter.cli.output import remark
from rekadapter.cli.run_metrics import MetricsAddress, RunMetrics, served
from rekadapter.progress import LaneStatus, ProgressListener
from rekadapter.sinks.ledger import Ledger
from rekadapter.types import CameraId

Status = Callable[[], tuple[LaneStatus, ...]]


class _Watcher(Protocol):
    def watch(self, status: Status) -> None: ...


class _Together:
    """A ``ProgressListener`` that lets several look at the run."""

    def __init__(self, watchers: Sequence[_Watcher], table: LiveTable | None) -> None:
        self._watchers = watchers
        self._table = table

    def watch(self, status: Status) -> None:
        for watcher in self._watchers:
            watcher.watch(status)

    def started(self, camera: CameraId, frames_expected: int | None) -> None:
        if self._table is not None:
            self._table.started(camera, frames_expected)

    def frame_done(self, camera: CameraId, backend: str) -> None: ...


@contextmanager
def watched(
    ledger: Ledger, pacer: object, metrics: MetricsAddress | None = None
) -> Iterator[ProgressListener | None]:
    """The live table, where somebody sits in front of a terminal, and metrics, where asked for.

    Both end with the block, as do their threads.

    Raises:
        ConfigError: metrics cannot be served there.
    """
    terminal = sys.stderr.isatty()
    if metrics is None and not terminal:
        yield None
        return
    meter, watchers = Meter(), list[_Watcher]()
    table = LiveTable(meter, pacer) if terminal else None
    with ExitStack() as stack:
        if metrics is not None:
            told = RunMetrics(meter, pacer.state if isinstance(pacer, HasState) else None)
            remark(f"metrics: {stack.enter_context(served(told, metrics))}")
            watchers.append(told)
        ledger.listen(meter.record)
        stack.callback(ledger.listen, None)
        if table is not None:
            watchers.append(stack.enter_context(table))
        yield _Together(watchers, table)
