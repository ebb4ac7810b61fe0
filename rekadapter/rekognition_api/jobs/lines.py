"""Who does the work of jobs, and when: threads beside the service, or the calls themselves."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

_IDLE_SECONDS: Final = 3600.0

Work = Callable[[], None]
"""Done once; it deals with its own errors."""


class Line(Protocol):
    """Work that waits for its turn. Safe to use from several threads."""

    def put(self, name: str, work: Work) -> None:
        """Takes work on; it is not done within this call."""
        ...

    def proceed(self) -> None:
        """Whoever took work on has time now: to be called without any lock held."""
        ...

    def asked(self, name: str) -> None:
        """Somebody wants to know how far the work of that name is."""
        ...

    def close(self) -> None:
        """Ends what does the work; nothing may be put any more."""
        ...


class ThreadLine:
    """Threads do the work as it comes, and what waits at the close too: it has to look for itself
    whether it shall still be done. ``idle`` is called when there was nothing to do for an hour."""

    def __init__(self, threads: int, name: str, *, idle: Work | None = None) -> None:
        self._waiting: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._idle = idle
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, name: str, work: Work) -> None:
        """See ``Line``."""
        del name
        self._waiting.put(work)

    def proceed(self) -> None:
        """The threads proceed by themselves."""

    def asked(self, name: str) -> None:
        """The threads proceed by themselves."""

    def close(self) -> None:
        """Waits until everything is done. May be called twice."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            try:
                work = self._waiting.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                if self._idle is not None:
                    self._idle()
                continue
            if work is None:
                return
            work()


@dataclass(slots=True)
class _Waiting:
    work: Work
    questions: int


class AskedLine:
    """No thread at all: work is done by the call that brought it, or, where ``patience`` is above
    0, by the first question after so many that find it under way. The same in every run."""

    def __init__(self, patience: Callable[[], int]) -> None:
        self._patience = patience
        self._lock = threading.Lock()
        self._waiting: dict[str, _Waiting] = {}

    def put(self, name: str, work: Work) -> None:
        """See ``Line``."""
        with self._lock:
            self._waiting[name] = _Waiting(work, self._patience())

    def proceed(self) -> None:
        """Does what nobody has to ask for."""
        with self._lock:
            due = [name for name, waiting in self._waiting.items() if not waiting.questions]
            works = [self._waiting.pop(name).work for name in due]
        for work in works:
            work()

    def asked(self, name: str) -> None:
        """See ``Line``."""
        self.proceed()
        with self._lock:
            waiting = self._waiting.get(name)
            if waiting is not None:
                waiting.questions -= 1

    def close(self) -> None:
        """What was not asked for often enough is never done. May be called twice."""
        with self._lock:
            self._waiting.clear()
