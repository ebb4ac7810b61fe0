"""Calls that wait for the shadow: bounded in number and in memory, the newest win."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rekadapter.shadow.log import ShadowCounts

QUEUE_FULL = "queue_full"
TOO_LARGE = "too_large"
CLOSED = "closed"
UNFINISHED = "unfinished_at_close"


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A call to repeat; ``held_bytes`` is the memory it may take while it waits.

    A ``lasting`` job (a change of a gallery) is not pushed out by newer ones.
    """

    run: Callable[[Job], None]
    held_bytes: int
    lasting: bool = False


class Tally:
    """Counts what became of each job. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offered = 0
        self._compared: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._writes: Counter[bool] = Counter()

    def offered(self) -> None:
        with self._lock:
            self._offered += 1

    def compared(self, agreement: str) -> None:
        with self._lock:
            self._compared[agreement] += 1

    def dropped(self, cause: str, count: int = 1) -> None:
        with self._lock:
            self._dropped[cause] += count

    def written(self, *, well: bool) -> None:
        with self._lock:
            self._writes[well] += 1

    def counts(self, *, bytes_sent: int, usd_billed: float, unpriced: int) -> ShadowCounts:
        with self._lock:
            compared: Mapping[str, int] = {k: n for k, n in self._compared.items() if n}
            dropped: Mapping[str, int] = {k: n for k, n in self._dropped.items() if n}
            done = sum(compared.values()) + sum(dropped.values()) + self._writes.total()
            return ShadowCounts(
                offered=self._offered,
                compared=compared,
                dropped=dropped,
                written=self._writes[True],
                write_failures=self._writes[False],
                waiting=self._offered - done,
                bytes_sent=bytes_sent,
                usd_billed=usd_billed,
                requests_of_unknown_price=unpriced,
            )


class JobQueue:
    """First in, first out; a full queue drops its oldest. ``put`` never blocks.

    Every job that is put is taken, or counted as dropped.
    """

    def __init__(self, tally: Tally, *, max_jobs: int, max_bytes: int) -> None:
        self._tally = tally
        self._max_jobs = max_jobs
        self._max_bytes = max_bytes
        self._jobs: deque[Job] = deque()
        self._held = 0
        self._running: set[Job] = set()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, job: Job) -> None:
        with self._changed:
            if self._closed:
                self._tally.dropped(CLOSED)
            elif job.held_bytes > self._max_bytes:
                self._tally.dropped(TOO_LARGE)
            elif self._make_room(job):
                self._jobs.append(job)
                self._held += job.held_bytes
                self._changed.notify()
            else:
                self._tally.dropped(QUEUE_FULL)

    def take(self) -> Job | None:
        """The oldest job, once there is one; None once closed and empty."""
        with self._changed:
            while not self._jobs:
                if self._closed:
                    return None
                self._changed.wait()
            job = self._jobs.popleft()
            self._running.add(job)
            return job

    def done(self, job: Job) -> bool:
        """Ends a job that was taken; False: it was given up meanwhile and has been counted."""
        with self._changed:
            if job not in self._running:
                return False
            self._running.remove(job)
            self._held -= job.held_bytes
            self._changed.notify_all()
            return True

    def close(self, seconds: float) -> None:
        """Takes no more, waits up to ``seconds`` for what is there, and drops the rest."""
        until = time.monotonic() + seconds
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            while self._jobs or self._running:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            self._tally.dropped(CLOSED, len(self._jobs))
            self._tally.dropped(UNFINISHED, len(self._running))
            self._jobs.clear()
            self._running.clear()
            self._held = 0
            self._changed.notify_all()

    def _make_room(self, job: Job) -> bool:
        """Drops the oldest jobs that are not lasting until ``job`` fits."""
        while len(self._jobs) >= self._max_jobs or self._held + job.held_bytes > self._max_bytes:
            oldest = next((waiting for waiting in self._jobs if not waiting.lasting), None)
            if oldest is None:
                return False
            self._jobs.remove(oldest)
            self._held -= oldest.held_bytes
            self._tally.dropped(QUEUE_FULL)
        return True
