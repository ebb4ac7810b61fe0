"""What a shadow may use: bytes and dollars, in any hour and in all."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from rekadapter.errors import ConfigError, StoppedError
from rekadapter.recognizer import RequestRecord

_HOUR: Final = 3600.0
_NANO: Final = 1_000_000_000
"""Dollars are counted in whole billionths, so that a thousand small prices add up exactly."""


class Spent(StrEnum):
    """Which budget is used up."""

    BYTES = "byte_budget"
    PRICE = "price_budget"


class ShadowBudgetError(StoppedError):
    """A request of the shadow would not fit into its budget; it was not sent."""

    def __init__(self, spent: Spent) -> None:
        super().__init__(f"the shadow's {spent.value.replace('_', ' ')} does not allow the request")
        self.spent = spent


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """Bytes sent and dollars billed; None: no limit. An hour is any 3600 seconds.

    Raises:
        ConfigError: a limit that is not a number above 0.
    """

    bytes_per_hour: float | None = None
    bytes_in_all: float | None = None
    usd_per_hour: float | None = None
    usd_in_all: float | None = None

    def __post_init__(self) -> None:
        for limit in (self.bytes_per_hour, self.bytes_in_all, self.usd_per_hour, self.usd_in_all):
            if limit is not None and not (math.isfinite(limit) and limit > 0):
                raise ConfigError(f"a limit of a shadow's budget is above 0, not {limit}")

    @property
    def any(self) -> bool:
        return self.bytes or self.usd

    @property
    def bytes(self) -> bool:
        return self.bytes_per_hour is not None or self.bytes_in_all is not None

    @property
    def usd(self) -> bool:
        return self.usd_per_hour is not None or self.usd_in_all is not None


class _Allowance:
    """An amount in any hour and in all; not thread-safe.

    What has been taken is spread: after an amount that is a tenth of the hour's, nothing new is
    begun for a tenth of an hour, so that a shadow sees the whole day and not each hour's first
    minutes.
    """

    def __init__(self, per_hour: int | None, in_all: int | None) -> None:
        self._per_hour = per_hour
        self._in_all = in_all
        self._taken: deque[tuple[float, int]] = deque()
        self._this_hour = 0
        self._total = 0
        self._next_at = -math.inf

    def ready(self, now: float) -> bool:
        """Whether something new may be begun."""
        return now >= self._next_at and (self._in_all is None or self._total < self._in_all)

    def permits(self, amount: int, now: float) -> bool:
        while self._taken and self._taken[0][0] <= now - _HOUR:
            self._this_hour -= self._taken.popleft()[1]
        in_hour = self._per_hour is None or self._this_hour + amount <= self._per_hour
        return in_hour and (self._in_all is None or self._total + amount <= self._in_all)

    def take(self, amount: int, now: float) -> None:
        self._total += amount
        if self._per_hour is None or not amount:
            return
        self._taken.append((now, amount))
        self._this_hour += amount
        self._next_at = max(self._next_at, now) + _HOUR * amount / self._per_hour


@dataclass(slots=True)
class _Reserved:
    """What the request under way on a thread was let through with."""

    size: int = 0
    nano_usd: int = 0


class _PerThread(threading.local):
    def __init__(self) -> None:
        self.now = _Reserved()


class ShadowBudget:
    """Keeps a shadow's backend within limits: its pacer and its request log in one.

    Open the shadow's backend with ``BackendContext(pacer=budget, request_log=budget)``. Each
    request is held against the limits with its own size, and with ``usd_per_request``, before it
    leaves; one that does not fit is not sent. When it is done, what it used beyond that (a TLS
    handshake) is added. Requests that turned out cheaper are not given back. Safe to use from any
    thread.

    Raises:
        ConfigError: a limit in dollars, and the price of a request is not known.
    """

    def __init__(
        self,
        limits: BudgetLimits,
        *,
        usd_per_request: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if limits.usd and usd_per_request is None:
            raise ConfigError(
                "the shadow's prices are not known, so a budget in dollars cannot be kept: give "
                "its backend a price file (prices), or a budget in bytes"
            )
        self.limits = limits
        self._price = _nano(usd_per_request) or 0
        self._clock = clock
        self._lock = threading.Lock()
        self._bytes = _Allowance(_whole(limits.bytes_per_hour), _whole(limits.bytes_in_all))
        self._usd = _Allowance(_nano(limits.usd_per_hour), _nano(limits.usd_in_all))
        self._thread = _PerThread()
        self._bytes_sent = 0
        self._billed = 0
        self._unpriced = 0
        self._requests = 0

    @property
    def bytes_sent(self) -> int:
        """By all requests that are done."""
        with self._lock:
            return self._bytes_sent

    @property
    def usd_billed(self) -> float:
        """The known prices of all requests that are done."""
        with self._lock:
            return self._billed / _NANO

    @property
    def requests_of_unknown_price(self) -> int:
        with self._lock:
            return self._unpriced

    def spent(self) -> Spent | None:
        """Which budget forbids to begin another call now, if one does."""
        with self._lock:
            now = self._clock()
            if not self._bytes.ready(now):
                return Spent.BYTES
            return None if self._usd.ready(now) else Spent.PRICE

    def wait_to_send(self, size_bytes: int) -> float:
        """Lets a request of ``size_bytes`` pass; never waits.

        Raises:
            ShadowBudgetError: it would not fit; it must not be sent.
        """
        with self._lock:
            self._requests += 1
            self._take(size_bytes, self._price)
        reserved = self._thread.now
        reserved.size += size_bytes
        reserved.nano_usd += self._price
        return 0.0

    def record(self, request: RequestRecord) -> None:
        """Settles the request that this thread has just made, with all its attempts."""
        reserved, self._thread.now = self._thread.now, _Reserved()
        with self._lock:
            self._bytes_sent += request.bytes_sent
            now = self._clock()
            self._bytes.take(max(0, request.bytes_sent - reserved.size), now)
            if request.price_usd is None:
                self._unpriced += 1
                return
            billed = _nano(request.price_usd) or 0
            self._billed += billed
            self._usd.take(max(0, billed - reserved.nano_usd), now)

    @property
    def has_seen_requests(self) -> bool:
        """Whether the backend uses this budget; one that does not has to be charged."""
        return self._requests > 0

    def charge(self, size_bytes: int) -> None:
        """Takes an estimate for a call to a backend that does not ask for its requests.

        Raises:
            ShadowBudgetError: it would not fit.
        """
        with self._lock:
            self._take(size_bytes, self._price)
            self._bytes_sent += size_bytes
            self._unpriced += 1

    def _take(self, size: int, price: int) -> None:
        now = self._clock()
        for allowance, amount, spent in (
            (self._bytes, size, Spent.BYTES),
            (self._usd, price, Spent.PRICE),
        ):
            if not allowance.permits(amount, now):
                raise ShadowBudgetError(spent)
        self._bytes.take(size, now)
        self._usd.take(price, now)


def _whole(limit: float | None) -> int | None:
    return None if limit is None else math.floor(limit)


def _nano(usd: float | None) -> int | None:
    return None if usd is None else round(usd * _NANO)
