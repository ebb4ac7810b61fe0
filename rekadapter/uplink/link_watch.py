"""Whether a lane's uplink is there, and whose turn it is to find out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from rekadapter.errors import ConnectionFailedError, DeadlineExceededError
from rekadapter.uplink.spool import Spool

PAUSE_SECONDS: Final = 2.0
"""Between two tries of an uplink that is gone; each try has its own retries besides."""
SILENCE_SECONDS: Final = 15.0
"""Pictures are made to take a second of the link each: so long without an answer to any is none."""


class LinkWatch:
    """An uplink is lost once a request could not be delivered whatever its retries, while the rate
    control sees nothing arrive, and while requests are under way and none is answered: a gateway
    may acknowledge what never arrives. It is back with the first answer. Safe to use from any
    thread.

    What waits is asked about between ``begin`` and ``end``: by one caller at a time while the
    uplink is lost, which tells whether it is back, and by ``most`` while it is there.
    """

    def __init__(
        self,
        *,
        reachable: Callable[[], bool] = lambda: True,
        most: int = 1,
        pause_seconds: float = PAUSE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``reachable`` is what the rate control says; it is called from any thread."""
        self._reachable = reachable
        self._most = most
        self._pause = pause_seconds
        self._clock = clock
        self._mutex = threading.Lock()
        self._lost = False
        self._trying = 0
        self._under_way = 0
        self._quiet_since = clock()
        self._not_before = clock()

    @property
    def lost(self) -> bool:
        """Whether a request would only wait for its timeout."""
        return self._lost or self._silent or not self._reachable()

    @property
    def _silent(self) -> bool:
        with self._mutex:
            return self._under_way > 0 and self._clock() - self._quiet_since > SILENCE_SECONDS

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While a frame is being asked about."""
        with self._mutex:
            if not self._under_way:
                self._quiet_since = self._clock()
            self._under_way += 1
        try:
            yield
        finally:
            with self._mutex:
                self._under_way -= 1

    def reached(self) -> None:
        """A request was answered."""
        with self._mutex:
            self._lost = False
            self._not_before = self._quiet_since = self._clock()

    def failed(self) -> None:
        """A request could not be delivered, whatever its retries."""
        with self._mutex:
            self._lost = True
            self._not_before = self._clock() + self._pause

    def refused(self) -> None:
        """The uplink is there, but what waits cannot be asked about now."""
        with self._mutex:
            self._not_before = self._clock() + self._pause

    def begin(self) -> bool:
        """Whether the caller may ask about what waits; then it has to call ``end``."""
        lost = self.lost
        with self._mutex:
            if self._clock() < self._not_before or self._trying >= (1 if lost else self._most):
                return False
            self._trying += 1
            return True

    def end(self) -> None:
        """The caller has its answer, or none."""
        with self._mutex:
            self._trying -= 1


@dataclass(frozen=True, slots=True)
class Standby:
    """Where a lane's frames wait while its uplink is gone, and who says that it is."""

    spool: Spool
    watch: LinkWatch


def undelivered(error: Exception | None) -> bool:
    """Whether a request failed because nobody could be reached, after all its retries."""
    if isinstance(error, DeadlineExceededError):
        return isinstance(error.__cause__, ConnectionFailedError)
    return isinstance(error, ConnectionFailedError)
