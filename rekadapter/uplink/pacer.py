"""Makes the threads that send wait for their turn on the uplink."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from rekadapter.errors import StoppedError
from rekadapter.uplink.bucket import BURST_SECONDS, TokenBucket


class UplinkPacer:
    """One cap for every request of every camera and backend that is given this pacer.

    First come, first served: a small request never overtakes a large one. ``stop`` ends all waits.
    """

    def __init__(
        self,
        bytes_per_second: float,
        *,
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        """``wait`` (by default ``stop.wait``) sleeps for seconds and says whether to stop."""
        self._stop = stop
        self._clock = clock
        self._wait = stop.wait if wait is None else wait
        self._lock = threading.Lock()
        burst = bytes_per_second * BURST_SECONDS
        self._bucket = TokenBucket(bytes_per_second, burst, now=clock())

    def wait_to_send(self, size_bytes: int) -> float:
        """Blocks until ``size_bytes`` may be sent and returns the seconds waited.

        Raises:
            StoppedError: the run ended first; the request must not be sent.
        """
        with self._lock:
            now = self._clock()
            seconds = self._bucket.reserve(size_bytes, now=now)
        # A wait may end a little early, and an early request is one over the cap.
        while (left := now + seconds - self._clock()) > 0:
            if self._wait(left):
                break
        if self._stop.is_set():
            raise StoppedError("the run was stopped while a request waited for the uplink")
        return seconds
