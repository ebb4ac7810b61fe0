"""Where camera threads leave work and workers fetch it: bounded, fair over cameras, closable."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Taken(Generic[T]):
    """Work fetched. ``turn`` counts what was taken of this camera from 0, without a gap, so that
    answers that come back in another order can be put right."""

    camera: str
    turn: int
    item: T


@dataclass(slots=True)
class _Slot(Generic[T]):
    stride: float
    waiting: deque[T] = field(default_factory=deque)
    due: float = 0.0
    since: int = 0
    turns: int = 0
    settled: int = 0

    @property
    def place(self) -> tuple[float, int]:
        """The smallest is served next; who has waited longer goes first."""
        return (self.due, self.since)


class Outbox(Generic[T]):
    """A slot per camera. Workers serve the cameras that wait in turn, in proportion to their
    weights; with equal weights each is served once in a round.

    ``put`` waits for room (files lose nothing); ``replace`` never waits: the newest wins (live
    cameras). ``close`` lets workers finish what is there; ``abandon`` hands it back instead. Both
    wake everyone. Safe to use from any thread.
    """

    def __init__(
        self, weights: Mapping[str, float], *, capacity: int = 2, in_hand: float = math.inf
    ) -> None:
        """``weights`` above 0 for every camera; ``capacity`` items wait for each.

        A camera is passed over while ``in_hand`` of its items are taken and not settled: one slow
        request must not let answers to later frames pile up behind it.
        """
        if capacity < 1:
            raise ValueError("a slot has to hold at least one item")
        self._slots: dict[str, _Slot[T]] = {
            camera: _Slot(stride=1.0 / weight) for camera, weight in weights.items()
        }
        self._capacity = capacity
        self._in_hand = in_hand
        self._changed = threading.Condition()
        self._closed = False
        self._now = 0.0
        self._waits = 0

    def put(self, camera: str, item: T) -> bool:
        """Leaves ``item``, waiting for room; False, and it is not taken, once closed."""
        slot = self._slots[camera]
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(slot.waiting) < self._capacity)
            if not self._closed:
                self._leave(slot, item)
            return not self._closed

    def replace(self, camera: str, item: T) -> T | None:
        """Leaves ``item`` at once and returns what it displaced: the oldest of a full slot, or
        ``item`` itself once closed."""
        slot = self._slots[camera]
        with self._changed:
            if self._closed:
                return item
            self._leave(slot, item)
            # After leaving: a camera whose frame is renewed keeps its place in the queue.
            return slot.waiting.popleft() if len(slot.waiting) > self._capacity else None

    def take(self, timeout_seconds: float | None = None) -> Taken[T] | None:
        """The next item, waiting for one; None once closed and empty, or when time is up."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._ready(), timeout_seconds)
            cameras = self._ready()
            if not cameras:
                return None
            camera = min(cameras, key=lambda name: self._slots[name].place)
            slot = self._slots[camera]
            self._now = slot.due
            slot.turns += 1
            self._queue_up(slot)
            self._changed.notify_all()
            return Taken(camera, slot.turns - 1, slot.waiting.popleft())

    @property
    def exhausted(self) -> bool:
        """Closed, and everything taken: nothing will ever come."""
        with self._changed:
            return self._over

    def settle(self, camera: str) -> None:
        """One more of the items taken of ``camera`` is done with."""
        with self._changed:
            self._slots[camera].settled += 1
            self._changed.notify_all()

    def close(self) -> None:
        """No more work comes; what is there is still handed out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abandon(self) -> tuple[tuple[str, T], ...]:
        """Closes and returns what nobody has taken."""
        with self._changed:
            self._closed = True
            left = [(camera, item) for camera, slot in self._slots.items() for item in slot.waiting]
            for slot in self._slots.values():
                slot.waiting.clear()
            self._changed.notify_all()
            return tuple(left)

    def _leave(self, slot: _Slot[T], item: T) -> None:
        if not slot.waiting:
            self._queue_up(slot)
        slot.waiting.append(item)
        self._changed.notify_all()

    def _queue_up(self, slot: _Slot[T]) -> None:
        """Stride scheduling: the next turn is due 1 / weight later. It counts from now, so that a
        camera that was idle does not catch up on turns it had no use for."""
        self._waits += 1
        slot.due = self._now + slot.stride
        slot.since = self._waits

    @property
    def _over(self) -> bool:
        return self._closed and not any(slot.waiting for slot in self._slots.values())

    def _ready(self) -> list[str]:
        return [
            camera
            for camera, slot in self._slots.items()
            if slot.waiting and slot.turns - slot.settled < self._in_hand
        ]
