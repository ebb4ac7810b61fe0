"""A bottleneck in simulated time: a queue that empties at a given rate, seen by the real control.

Requests of one size are sent by a number of workers, in slices through the real bucket at the rate
of the real ``LinkRate``; each is answered a round trip after its last byte came through. Everything
goes in steps of 10 ms, so that each run is the same to the last byte.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from rekadapter.uplink.bucket import BURST_SECONDS, TokenBucket
from rekadapter.uplink.link import LinkRate, Phase

STEP_SECONDS = 0.01


@dataclass
class Piece:
    """Bytes in the queue: of a worker's request, or somebody else's (None)."""

    worker: int | None
    size: float
    sent_at: float
    last: bool = False


@dataclass
class Worker:
    left: int = 0
    answer_at: float | None = None
    last_sent_at: float = 0.0
    waiting: bool = False


@dataclass
class Simulation:
    """``gives(t)`` is the link's rate at a time, ``others(t)`` what other traffic puts into its
    queue, ``busy(t)`` whether there is work, ``queue_bytes`` what the queue holds at most."""

    gives: Callable[[float], float]
    ceiling: float
    request_bytes: int = 20_000
    workers: int = 4
    round_trip: float = 0.05
    service_seconds: float = 0.15
    acknowledged: bool = True
    busy: Callable[[float], bool] = lambda _: True
    others: Callable[[float], float] = lambda _: 0.0
    queue_bytes: float = 256_000.0
    now: float = 0.0
    sent: list[float] = field(default_factory=list)
    through: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    queued: list[float] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.link = LinkRate(self.ceiling, now=0.0)
        self.bucket = TokenBucket(self.link.rate, self.link.rate * BURST_SECONDS, now=0.0)
        self._queue: deque[Piece] = deque()
        self._acks: deque[tuple[float, int, float]] = deque()
        self._crew = [Worker() for _ in range(self.workers)]
        self._unacked: dict[int, deque[tuple[float, float]]] = {
            n: deque() for n in range(self.workers)
        }
        self._arrived_part = 0.0

    def run(self, seconds: float) -> Simulation:
        for _ in range(round(seconds / STEP_SECONDS)):
            self._step()
        return self

    def carried(self, start: float, end: float) -> float:
        """Bytes of ours that came through from ``start`` to ``end``."""
        return sum(self.through[round(start / STEP_SECONDS) : round(end / STEP_SECONDS)])

    def first_time(self, after: float, holds: Callable[[float], bool]) -> float:
        """Seconds after ``after`` until the rate first is as asked for."""
        first = round(after / STEP_SECONDS)
        for index in range(first, len(self.rates)):
            if holds(self.rates[index]):
                return (index - first) * STEP_SECONDS
        return float("inf")

    # --- a step -----------------------------------------------------------------------------

    def _step(self) -> None:
        self.now += STEP_SECONDS
        self._serve()
        self._acknowledge()
        self._answer()
        self.link.tick(now=self.now)
        if self.link.rate != self.bucket.rate:
            self.bucket.change(self.link.rate, self.link.rate * BURST_SECONDS, now=self.now)
        self.sent.append(self._send())
        other = self.others(self.now) * STEP_SECONDS
        if other and self._held() < self.queue_bytes:
            self._queue.append(Piece(None, other, self.now))
        self.rates.append(self.link.rate)
        self.phases.append(self.link.phase)
        self.queued.append(self._held())

    def _held(self) -> float:
        return sum(piece.size for piece in self._queue)

    def _serve(self) -> None:
        room, ours = self.gives(self.now) * STEP_SECONDS, 0.0
        while room > 0 and self._queue:
            piece = self._queue[0]
            part = min(room, piece.size)
            room -= part
            piece.size -= part
            if piece.worker is not None:
                ours += part
            if piece.size <= 1e-9:
                self._queue.popleft()
                self._came_through(piece)
        self.through.append(ours)

    def _came_through(self, piece: Piece) -> None:
        if piece.worker is None:
            return
        marks = self._unacked[piece.worker]
        size, sent_at = marks.popleft()
        self._acks.append((self.now + self.round_trip, int(size), sent_at))
        if piece.last:
            worker = self._crew[piece.worker]
            worker.answer_at = self.now + self.round_trip + self.service_seconds

    def _acknowledge(self) -> None:
        while self._acks and self._acks[0][0] <= self.now:
            _, size, sent_at = self._acks.popleft()
            if self.acknowledged:
                self.link.path_delay(self.now - sent_at, now=self.now)
                self.link.arrived(size, now=self.now)

    def _answer(self) -> None:
        for worker in self._crew:
            if worker.answer_at is not None and worker.answer_at <= self.now:
                worker.answer_at, worker.waiting = None, False
                delay = self.now - worker.last_sent_at
                self.link.answer_delay(delay, self.request_bytes, now=self.now)
                if not self.acknowledged:
                    self.link.arrived(self.request_bytes, now=self.now)

    def _send(self) -> float:
        sent = 0.0
        for number, worker in enumerate(self._crew):
            if not worker.left and not worker.waiting and self.busy(self.now):
                worker.left = self.request_bytes
            while worker.left and self._held() < self.queue_bytes:
                size = min(worker.left, max(512, int(self.bucket.rate * 0.05)))
                if self.bucket.delay(size, now=self.now) > 0:
                    return sent
                self.bucket.take(size, now=self.now)
                self.link.sent(size, now=self.now)
                sent += size
                worker.left -= size
                last = worker.left == 0
                self._unacked[number].append((size, self.now))
                self._queue.append(Piece(number, size, self.now, last))
                if last:
                    worker.waiting, worker.last_sent_at = True, self.now
        return sent
