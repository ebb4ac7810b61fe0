"""Frames that wait on disk for an uplink that is gone: bounded, whole or not there, newest first.

Each frame, or what of it is still to be asked about, is one file, written beside its final name,
synced, and renamed: after a crash it is there with every byte or not at all. Once a frame is
answered and its answer is written down, it is acknowledged: its file is gone for good. Between
sending and acknowledging a crash leaves it waiting: it may then be sent again, because nobody knows
whether its answer was kept.
"""

from __future__ import annotations

import bisect
import fcntl
import logging
import os
import re
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from rekadapter.closing import Closing
from rekadapter.errors import ConfigError, OutputError
from rekadapter.uplink.spooled import SUFFIX, SpooledFrame, Ticket, key_of

logger = logging.getLogger(__name__)

SPOOLED: Final = "spooled"
"""the uplink was gone: the frame waits on disk, and nobody has answered for it yet"""
SPOOL_FULL: Final = "spool_full"
"""the frame waited for an uplink and was given up for newer ones"""
SPOOL_DAMAGED: Final = "spool_damaged"
"""the frame waited for an uplink and could not be read again"""
NOT_SPOOLED: Final = "not_spooled"
"""the uplink was gone and the frame could not be written to the spool either"""
WAITED: Final = frozenset({SPOOLED, SPOOL_FULL, SPOOL_DAMAGED})
"""causes of frames that were in a spool: a part of one may have been answered"""

_UNFINISHED: Final = ".unfinished"
_LOCK_FILE: Final = "lock"
_BLOCK_BYTES: Final = 4096
"""What a file takes on disk comes in steps of this on the usual file systems."""


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    size: int
    ticket: Ticket | None


class Spool(Closing):
    """A folder of frames that takes at most ``limit_bytes`` on disk: a full one gives up its
    oldest.

    Every frame put is in the end acknowledged, given up, damaged, or still there: ``put``,
    ``damaged`` and ``tickets`` tell which. Safe to use from any thread; only one process at a time
    may have it open. To be closed; a folder with nothing left in it is removed then.
    """

    def __init__(self, folder: Path, limit_bytes: float) -> None:
        """Opens or makes ``folder`` and finds what a former run has left.

        Raises:
            OutputError: it cannot be used, or another process uses it.
        """
        self._folder = folder
        self._limit = limit_bytes
        self._mutex = threading.Lock()
        self._damaged: list[Ticket | None] = []
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds faces
            self._lock_file = self._locked()
            for path in folder.glob(f"*{_UNFINISHED}"):
                path.unlink()
            names = sorted(path.name for path in folder.glob(f"*{SUFFIX}"))
            sizes = {name: (folder / name).stat().st_size for name in names}
        except OSError as error:
            raise self._unusable(error) from error
        found = (_Entry(name, _on_disk(sizes[name]), None) for name in names)
        self._entries = {key_of(entry.name): entry for entry in found}
        self._waiting = names
        """names of those that are not out, oldest first"""
        self._held = sum(entry.size for entry in self._entries.values())

    def close(self) -> None:
        """Lets other processes use it. May be called twice."""
        with self._mutex:
            if self._lock_file.closed:
                return
            try:
                if not self._entries:
                    (self._folder / _LOCK_FILE).unlink(missing_ok=True)
                    self._folder.rmdir()
            except OSError as error:
                logger.warning("%s", self._unusable(error))
            self._lock_file.close()

    def __len__(self) -> int:
        """Frames that wait, and those that are out."""
        with self._mutex:
            return len(self._entries)

    @property
    def folder(self) -> Path:
        return self._folder

    @property
    def waiting(self) -> int:
        """Frames that ``newest`` could give."""
        with self._mutex:
            return len(self._waiting)

    @property
    def held_bytes(self) -> int:
        """What all its frames take on disk."""
        with self._mutex:
            return self._held

    def survey(self) -> tuple[Ticket, ...]:
        """Every frame that is there, also those that a former run has left; what cannot be told
        apart any more is left out.

        Raises:
            OutputError: the folder cannot be read.
        """
        with self._mutex:
            for key, entry in self._entries.items():
                if entry.ticket is None:
                    self._entries[key] = replace(entry, ticket=self._look_into(entry.name))
        return self.tickets()

    def tickets(self) -> tuple[Ticket, ...]:
        """Frames put, surveyed or read by this object that are still there."""
        with self._mutex:
            return tuple(one.ticket for one in self._entries.values() if one.ticket is not None)

    def put(self, frame: SpooledFrame, *, out: bool = False) -> tuple[Ticket, ...]:
        """Keeps a frame; returns those given up for it, itself included where there is no room for
        it at all. One that is there already changes nothing. ``out``: nobody gets it until it is
        given back.

        Raises:
            OutputError: it cannot be written; it is not there then.
        """
        data, ticket = frame.to_bytes(), frame.ticket
        size = _on_disk(len(data))
        with self._mutex:
            if ticket.key in self._entries:
                return ()
            if size > self._limit:
                return (ticket,)
            unfinished = self._write(frame.file_name, data)
            given_up = self._make_room(size)
            if self._held + size > self._limit:  # all the others are out
                unfinished.unlink(missing_ok=True)
                return (*given_up, ticket)
            self._finish(unfinished, frame.file_name)
            self._entries[ticket.key] = _Entry(frame.file_name, size, ticket)
            self._held += size
            if not out:
                bisect.insort(self._waiting, frame.file_name)
        return given_up

    def newest(self) -> SpooledFrame | None:
        """The frame that came last of those that are not out; None where there is none. It is out
        until it is acknowledged, shortened or given back. Damaged ones are removed on the way.

        Raises:
            OutputError: the folder cannot be read.
        """
        with self._mutex:
            while self._waiting:
                name = self._waiting[-1]
                frame = self._read(name)
                self._waiting.pop()
                if frame is not None:
                    held = self._entries[key_of(name)]
                    self._entries[key_of(name)] = _Entry(name, held.size, frame.ticket)
                    return frame
                self._damaged.append(self._entries[key_of(name)].ticket)
                self._remove(key_of(name))
        return None

    def damaged(self) -> tuple[Ticket | None, ...]:
        """Those found damaged since this was last asked; None where nobody knows what it was."""
        with self._mutex:
            found, self._damaged = tuple(self._damaged), []
            return found

    def acknowledge(self, key: str) -> None:
        """The frame's answer is written down: it is removed and never comes back.

        Raises:
            OutputError: it cannot be removed.
        """
        with self._mutex:
            self._remove(key)

    def shorten(self, rest: SpooledFrame) -> None:
        """A part of the frame was answered, and the answer written down: only ``rest`` waits.

        Raises:
            OutputError: it cannot be written.
        """
        data = rest.to_bytes()
        with self._mutex:
            held = self._entries.get(rest.key)
            if held is None:
                return
            self._finish(self._write(held.name, data), held.name)
            size = _on_disk(len(data))
            self._held += size - held.size
            self._entries[rest.key] = _Entry(held.name, size, rest.ticket)
            bisect.insort(self._waiting, held.name)

    def settle(self, key: str | None, rest: SpooledFrame | None) -> None:
        """A late answer is written down: shortens the frame to its ``rest``, or acknowledges it.

        Raises:
            OutputError: that cannot be kept.
        """
        if rest is not None:
            self.shorten(rest)
        elif key is not None:
            self.acknowledge(key)

    def give_back(self, key: str) -> None:
        """The frame was not answered: it waits again."""
        with self._mutex:
            entry = self._entries.get(key)
            if entry is not None and not self._waits(entry.name):
                bisect.insort(self._waiting, entry.name)

    # --- with the mutex held ------------------------------------------------------------------

    def _make_room(self, size: int) -> tuple[Ticket, ...]:
        given_up = []
        while self._waiting and self._held + size > self._limit:
            name = self._waiting[0]
            ticket = self._entries[key_of(name)].ticket
            if ticket is None:  # of a former run
                frame = self._read(name)
                ticket = None if frame is None else frame.ticket
            self._remove(key_of(name))
            if ticket is None:
                self._damaged.append(None)
            else:
                given_up.append(ticket)
        return tuple(given_up)

    def _waits(self, name: str) -> bool:
        place = bisect.bisect_left(self._waiting, name)
        return place < len(self._waiting) and self._waiting[place] == name

    def _write(self, name: str, data: bytes) -> Path:
        """Everything on disk under another name; nothing is left behind where that fails."""
        unfinished = (self._folder / name).with_suffix(_UNFINISHED)
        try:
            with unfinished.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise self._unusable(error) from error
        return unfinished

    def _finish(self, unfinished: Path, name: str) -> None:
        try:
            unfinished.replace(self._folder / name)
            self._sync()
        except OSError as error:
            raise self._unusable(error) from error

    def _look_into(self, name: str) -> Ticket | None:
        try:
            with (self._folder / name).open("rb") as file:
                return SpooledFrame.ticket_of(file)
        except (ValueError, FileNotFoundError):
            logger.warning("a spooled frame is damaged: %s", name)
            return None
        except OSError as error:
            raise self._unusable(error) from error

    def _read(self, name: str) -> SpooledFrame | None:
        try:
            return SpooledFrame.from_bytes((self._folder / name).read_bytes())
        except (ValueError, FileNotFoundError):
            logger.warning("a spooled frame was damaged and is removed: %s", name)
            return None
        except OSError as error:
            raise self._unusable(error) from error

    def _remove(self, key: str) -> None:
        entry = self._entries.get(key)
        if entry is None:
            return
        try:
            (self._folder / entry.name).unlink(missing_ok=True)
            self._sync()
        except OSError as error:
            raise self._unusable(error) from error
        del self._entries[key]
        self._held -= entry.size
        if self._waits(entry.name):
            self._waiting.remove(entry.name)

    def _locked(self) -> BinaryIO:
        file = (self._folder / _LOCK_FILE).open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise OutputError(
                f"the spool {self._folder} is in use: wait for the run or the command that uses it"
            ) from error
        return file

    def _sync(self) -> None:
        """A name that is new or gone is so after a crash only once its folder is synced."""
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _unusable(self, error: OSError) -> OutputError:
        return OutputError(
            f"the spool {self._folder} cannot be used ({error.strerror or error}): free space "
            "there or check its permissions"
        )


_SIZE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]?B)\s*")
_UNITS: Final = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_size(text: str) -> int:
    """Bytes from text such as ``500MB`` or ``1.5 GB`` (SI: k = 1000).

    Raises:
        ConfigError: no number above 0, or a unit not named here.
    """
    found = _SIZE.fullmatch(text)
    size = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if size <= 0:
        raise ConfigError(
            f"'{text}' is not a size: write a number and kB, MB, GB or TB, such as 500MB"
        )
    return size


def _on_disk(size: int) -> int:
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES
