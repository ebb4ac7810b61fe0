"""Every request to a remote backend, with the frame it was made for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rekadapter.observation import LedgerEntry, Spent
from rekadapter.recognizer import RequestRecord
from rekadapter.types import CameraId

_NOBODYS: Final = (None, None, False)


class Ledger:
    """A ``RequestLog``: give it to the backends when they are opened, then to the run directory.

    Entries that come before there is somewhere to write them wait in memory. Safe to use from any
    thread; a request counts for the frame that its own thread named in ``attributed_to``, so a
    backend has to record on the thread that called it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread = threading.local()
        self._waiting: list[LedgerEntry] = []
        self._write: Callable[[LedgerEntry], None] | None = None
        self._listener: Callable[[LedgerEntry], None] | None = None

    @contextmanager
    def attributed_to(self, camera: CameraId, frame: int, *, late: bool = False) -> Iterator[Spent]:
        """Requests of this thread inside the context were made for this frame, ``late`` if it
        waited for the uplink; what they come to is added up in the value given."""
        spent = Spent()
        self._thread.frame, self._thread.spent = (camera, frame, late), spent
        try:
            yield spent
        finally:
            self._thread.frame, self._thread.spent = _NOBODYS, None

    def record(self, request: RequestRecord) -> None:
        """Writes one entry, or keeps it until there is somewhere to write.

        Raises:
            OutputError: it cannot be written.
        """
        camera, frame, late = getattr(self._thread, "frame", _NOBODYS)
        spent = getattr(self._thread, "spent", None)
        if spent is not None:
            spent.sent_bytes += request.bytes_sent
        entry = LedgerEntry(request, camera, frame, late)
        with self._lock:
            if self._listener is not None:
                self._listener(entry)
            if self._write is None:
                self._waiting.append(entry)
            else:
                self._write(entry)

    def listen(self, listener: Callable[[LedgerEntry], None] | None) -> None:
        """From now on ``listener`` is told every entry too, from any thread and never two at once;
        it has to be quick and must not raise. None: nobody is."""
        with self._lock:
            self._listener = listener

    def write_to(self, write: Callable[[LedgerEntry], None] | None) -> None:
        """From now on entries go to ``write``, those that waited first; None: they wait again.

        ``write`` is never called by two threads at once.
        """
        with self._lock:
            self._write = write
            if write is not None:
                for entry in self._waiting:
                    write(entry)
                self._waiting.clear()
