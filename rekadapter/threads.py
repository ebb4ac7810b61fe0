"""What the threads of a run share to end in order."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Countdown:
    """Calls ``then`` when the last of ``count`` threads has ended."""

    def __init__(self, count: int, then: Callable[[], None]) -> None:
        self._left = count
        self._then = then
        self._lock = threading.Lock()

    def one_less(self) -> None:
        """One of the threads has ended."""
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            self._then()


class FirstError:
    """The first error of several threads; the later ones usually follow from it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.held: BaseException | None = None

    def keep(self, error: BaseException) -> None:
        """``error`` is ``held`` unless another came before it."""
        with self._lock:
            self.held = self.held or error
