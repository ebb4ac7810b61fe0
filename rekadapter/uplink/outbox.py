"""Where camera threads leave work and workers fetch it: bounded, fair over cameras, closable."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_MEMORY: Final = 0.25
"""How much the last answer's cost counts in what the next one is expected to cost."""


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms an item waits: the memory it holds, what goes first (the smallest), when it is
    not worth sending any more (on the outbox's clock), and what sending it will about come to; None
    where nobody can tell yet."""

    held_bytes: int = 0
    priority: int = 0
    expires_at: float = math.inf
    expected_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Taken(Generic[T]):
    """Work fetched. ``turn`` counts what was taken of this camera from 0, without a gap, so that
    answers that come back in another order can be put right. ``stale``: it waited too long, and is
    to be counted, not sent. ``expected_cost`` is what it was charged before anybody knew."""

    camera: str
    turn: int
    item: T
    stale: bool = False
    expected_cost: float = 0.0


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[T]):
    item: T
    terms: Terms
    number: int

    @property
    def place(self) -> tuple[int, int]:
        """The smallest is fetched first."""
        return (self.terms.priority, self.number)

    @property
    def worth(self) -> tuple[int, int]:
        """The smallest is given up first: of the least urgent the oldest."""
        return (-self.terms.priority, self.number)


@dataclass(slots=True)
class _Slot(Generic[T]):
    weight: float
    waiting: list[_Waiting[T]] = field(default_factory=list)
    due: float = 0.0
    since: int = 0
    cost: float | None = None
    turns: int = 0
    settled: int = 0

    @property
    def place(self) -> tuple[float, int]:
        """The smallest is served next; who has waited longer goes first."""
        return (self.due, self.since)

    @property
    def held_bytes(self) -> int:
        return sum(one.terms.held_bytes for one in self.waiting)


class Outbox(Generic[T]):
    """A slot per camera. Workers serve the cameras that wait in proportion to their weights.

    The share is one of what sending costs, in bytes, which is known only afterwards: an item is
    charged what is expected of it, else what the camera's last ones cost, and ``charge`` puts that
    right. So a camera whose
    items are large is served less often, and none gets more than its share while others wait
    (deficit round robin, Shreedhar and Varghese 1995, in the form of start-time fair queueing,
    Goyal et al. 1996). Where nothing is ever charged, each camera is served once in a round.

    ``put`` waits for room (files lose nothing); ``replace`` never waits: the newest wins (live
    cameras). ``close`` lets workers finish what is there; ``abandon`` hands it back instead. Both
    wake everyone. Safe to use from any thread.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        *,
        capacity: int = 2,
        held_bytes: float = math.inf,
        in_hand: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``weights`` above 0 for every camera; ``capacity`` items wait for each, as many of them
        as hold ``held_bytes`` together, but always one.

        A camera is passed over while ``in_hand`` of its items are taken and not settled: one slow
        request must not let answers to later frames pile up behind it.
        """
        if capacity < 1:
            raise ValueError("a slot has to hold at least one item")
        self._slots: dict[str, _Slot[T]] = {
            camera: _Slot(weight) for camera, weight in weights.items()
        }
        self._capacity = capacity
        self._held_bytes = held_bytes
        self._in_hand = in_hand
        self._clock = clock
        self._changed = threading.Condition()
        self._closed = False
        self._now = 0.0
        self._numbers = 0

    def put(self, camera: str, item: T, terms: Terms = Terms()) -> bool:
        """Leaves ``item``, waiting for room; False, and it is not taken, once closed."""
        slot = self._slots[camera]
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._has_room(slot, terms))
            if not self._closed:
                self._leave(slot, item, terms)
            return not self._closed

    def replace(
        self,
        camera: str,
        item: T,
        terms: Terms = Terms(),
    ) -> tuple[T, ...]:
        """Leaves ``item`` at once and returns what there was no room for: the oldest of the least
        urgent, which may be ``item`` itself, as it is once closed."""
        slot = self._slots[camera]
        with self._changed:
            if self._closed:
                return (item,)
            # After leaving: a camera whose frame is renewed keeps its place in the queue.
            self._leave(slot, item, terms)
            displaced = []
            while self._overfull(slot):
                worst = min(slot.waiting, key=lambda one: one.worth)
                slot.waiting.remove(worst)
                displaced.append(worst.item)
            return tuple(displaced)

    def take(self, timeout_seconds: float | None = None) -> Taken[T] | None:
        """The next item, waiting for one; None once closed and empty, or when time is up."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._ready(), timeout_seconds)
            cameras = self._ready()
            if not cameras:
                return None
            camera = min(cameras, key=lambda name: self._slots[name].place)
            slot = self._slots[camera]
            first = min(slot.waiting, key=lambda one: one.place)
            slot.waiting.remove(first)
            slot.turns += 1
            self._now = max(self._now, slot.due)
            stale = self._clock() > first.terms.expires_at
            cost = 0.0 if stale else self._expected_cost(slot, first.terms)
            slot.due += cost / slot.weight
            slot.since = self._next_number()
            self._changed.notify_all()
            return Taken(camera, slot.turns - 1, first.item, stale, cost)

    def waiting(self) -> dict[str, int]:
        """Items that wait, by camera."""
        with self._changed:
            return {camera: len(slot.waiting) for camera, slot in self._slots.items()}

    @property
    def exhausted(self) -> bool:
        """Closed, and everything taken: nothing will ever come."""
        with self._changed:
            return self._over

    def charge(self, taken: Taken[T], sent_bytes: int) -> None:
        """What sending ``taken`` came to; once an item, and not for items that cost no bytes."""
        with self._changed:
            slot = self._slots[taken.camera]
            slot.due += (sent_bytes - taken.expected_cost) / slot.weight
            known = sent_bytes if slot.cost is None else slot.cost
            slot.cost = known + _MEMORY * (sent_bytes - known)
            self._changed.notify_all()

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
            left = [
                (camera, one.item) for camera, slot in self._slots.items() for one in slot.waiting
            ]
            for slot in self._slots.values():
                slot.waiting.clear()
            self._changed.notify_all()
            return tuple(left)

    def _leave(self, slot: _Slot[T], item: T, terms: Terms) -> None:
        number = self._next_number()
        if not slot.waiting:
            # From now on: a camera that was idle does not catch up on turns it had no use for.
            slot.due = max(slot.due, self._now)
            slot.since = number
        slot.waiting.append(_Waiting(item, terms, number))
        self._changed.notify_all()

    def _next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _has_room(self, slot: _Slot[T], terms: Terms) -> bool:
        return not slot.waiting or (
            len(slot.waiting) < self._capacity
            and slot.held_bytes + terms.held_bytes <= self._held_bytes
        )

    def _overfull(self, slot: _Slot[T]) -> bool:
        return len(slot.waiting) > 1 and (
            len(slot.waiting) > self._capacity or slot.held_bytes > self._held_bytes
        )

    def _expected_cost(self, slot: _Slot[T], terms: Terms) -> float:
        """What the item's terms say, else what the camera's last items cost, else those of all; 1
        where nothing costs anything."""
        if terms.expected_bytes is not None:
            return terms.expected_bytes
        if slot.cost is not None:
            return slot.cost
        known = [one.cost for one in self._slots.values() if one.cost is not None]
        return sum(known) / len(known) if known else 1.0

    @property
    def _over(self) -> bool:
        return self._closed and not any(slot.waiting for slot in self._slots.values())

    def _ready(self) -> list[str]:
        return [
            camera
            for camera, slot in self._slots.items()
            if slot.waiting and slot.turns - slot.settled < self._in_hand
        ]
