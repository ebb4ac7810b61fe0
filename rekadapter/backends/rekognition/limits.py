"""Requests per second, one limit for each operation, so that AWS does not have to throttle.

AWS's default quotas per account and region (General Reference, "Amazon Rekognition endpoints and
quotas", read in 2026). An account with raised quotas says so in ``requests_per_second``.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

OPERATIONS: Final = frozenset(
    {
        "AssociateFaces",
        "CompareFaces",
        "CreateCollection",
        "CreateUser",
        "DeleteCollection",
        "DeleteFaces",
        "DeleteUser",
        "DescribeCollection",
        "DetectFaces",
        "DisassociateFaces",
        "GetFaceDetection",
        "GetFaceSearch",
        "IndexFaces",
        "ListCollections",
        "ListFaces",
        "ListUsers",
        "SearchFaces",
        "SearchFacesByImage",
        "SearchUsers",
        "SearchUsersByImage",
        "StartFaceDetection",
        "StartFaceSearch",
    }
)
"""Every operation this backend calls."""

_LARGE_REGIONS: Final = frozenset({"us-east-1", "us-west-2", "eu-west-1"})
_SEARCHES: Final = frozenset(
    {
        "IndexFaces",
        "ListFaces",
        "SearchFaces",
        "SearchFacesByImage",
        "SearchUsers",
        "SearchUsersByImage",
    }
)
_VIDEO_RESULTS: Final = frozenset({"GetFaceDetection", "GetFaceSearch"})
_STATELESS: Final = frozenset({"CompareFaces", "DetectFaces"})


def default_requests_per_second(operation: str, region: str) -> float:
    """AWS's default quota of ``operation`` in ``region``."""
    large = region in _LARGE_REGIONS
    if operation in _SEARCHES:
        return 50.0 if large else 5.0
    if operation in _STATELESS:
        return 100.0 if large else 25.0
    if operation in _VIDEO_RESULTS:
        return 20.0 if large else 5.0
    return 5.0


class RequestLimiter:
    """Holds requests back so that no second sees more of an operation than its rate.

    The law, for a rate r and n = max(1, floor(r)): any n + 1 requests span at least n / r seconds.
    Requests are let through in the order they came, from any thread.
    """

    def __init__(
        self,
        rates: Mapping[str, float],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._windows = {operation: _Window(rate) for operation, rate in rates.items()}
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()

    def wait(self, operation: str) -> float:
        """Blocks until ``operation`` may be requested and returns the seconds waited."""
        window = self._windows.get(operation)
        if window is None:
            return 0.0
        with self._lock:
            wait = window.reserve(self._clock())
        if wait > 0:
            self._sleep(wait)
        return wait


class _Window:
    """The last n starts of one operation, reserved ones included, oldest first."""

    def __init__(self, rate: float) -> None:
        if not rate > 0:
            raise ValueError(f"a rate has to be above zero, not {rate}")
        count = max(1, int(rate))
        self._seconds = count / rate
        self._starts: deque[float] = deque(maxlen=count)

    def reserve(self, now: float) -> float:
        """Takes the next free start and returns how many seconds away it is."""
        start = now
        if len(self._starts) == self._starts.maxlen:
            start = max(now, self._starts[0] + self._seconds)
        self._starts.append(start)
        return start - now
