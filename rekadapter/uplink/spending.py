"""A hard cap on what remote backends may cost in an hour and in a month, over all runs.

What was spent stands in a file of the data directory, so that another run, also one at the same
time, goes on from there. The price of a request is taken before it is sent: what it might cost has
to fit. What turned out not to be billed is given back.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rekadapter.closing import Closing
from rekadapter.databases import open_database
from rekadapter.errors import ConfigError, OutputError, PriceCapError

FILE_NAME: Final = "spending.sqlite3"
_NANO: Final = 1_000_000_000
_HOUR_MINUTES: Final = 60
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS minutes (minute INTEGER PRIMARY KEY, nano_usd INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS months (month TEXT PRIMARY KEY, nano_usd INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class PriceCaps:
    """US dollars that may be spent in any 60 minutes and in a calendar month (UTC, as AWS bills);
    None: no cap."""

    usd_per_hour: float | None = None
    usd_per_month: float | None = None

    def __post_init__(self) -> None:
        for cap in (self.usd_per_hour, self.usd_per_month):
            if cap is not None and not 0 <= cap < 1e9:
                raise ConfigError(f"a price cap is 0 or more US dollars, not {cap}")


@dataclass(frozen=True, slots=True)
class SpentSoFar:
    """US dollars of the last 60 minutes and of this month."""

    hour_usd: float
    month_usd: float


@dataclass(frozen=True, slots=True)
class Reservation:
    """The price of one attempt, taken before it is sent."""

    spending: Spending
    minute: int
    month: str
    nano_usd: int

    def settle(self, billed_usd: float | None) -> None:
        """What the attempt was billed; once. None: nobody knows, so what was taken stays."""
        if billed_usd is not None:
            self.spending.correct(self, _nano(billed_usd) - self.nano_usd)


class Spending(Closing):
    """Keeps every request of every process with this data directory within ``caps``.

    Safe to use from any thread and by several processes. The sums are whole nano-dollars: adding up
    loses nothing.
    """

    def __init__(
        self,
        folder: Path,
        caps: PriceCaps,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Opens or makes the file in ``folder``.

        Raises:
            OutputError: it cannot be made or is not one of these.
        """
        self._caps = caps
        self._clock = clock
        self._lock = threading.Lock()
        self._file = folder / FILE_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._store = _opened(self._file)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        with self._lock:
            self._store.close()

    def reserve(self, usd: float | None) -> Reservation:
        """Takes the price of a request that is about to be sent.

        Raises:
            PriceCapError: it does not fit; the request must not be sent.
            ConfigError: its price is not known, so no cap can be kept.
            OutputError: the file cannot be used.
        """
        if usd is None:
            raise ConfigError(
                "a price cap is set and the price of this request is not known in this region: "
                "give the backend a price file (prices), or leave the caps out"
            )
        now, nano = self._clock(), _nano(usd)
        taken = Reservation(self, _minute(now), now.strftime("%Y-%m"), nano)
        if not nano:
            return taken  # what is free is always allowed
        with self._changing() as store:
            hour, month = self._sums(store, taken.minute, taken.month)
            self._check("an hour", self._caps.usd_per_hour, hour + nano)
            self._check("a month", self._caps.usd_per_month, month + nano)
            self._add(store, taken, nano)
        return taken

    def correct(self, taken: Reservation, nano_usd: int) -> None:
        """Adds to a reservation what it came to beyond what was taken."""
        if nano_usd:
            with self._changing() as store:
                self._add(store, taken, nano_usd)

    def spent(self) -> SpentSoFar:
        """What counts against the caps now."""
        now = self._clock()
        with self._changing() as store:
            hour, month = self._sums(store, _minute(now), now.strftime("%Y-%m"))
        return SpentSoFar(hour / _NANO, month / _NANO)

    def _check(self, name: str, cap: float | None, nano_usd: int) -> None:
        if cap is not None and nano_usd > _nano(cap):
            raise PriceCapError(
                f"{cap:g} US dollars {name} are used up: the request was not sent; raise "
                f"--max-usd-per-{name.split()[1]} or wait"
            )

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, of one thread and one process at a time."""
        with self._lock:
            try:
                self._store.execute("BEGIN IMMEDIATE")
                try:
                    yield self._store
                except BaseException:
                    self._store.execute("ROLLBACK")
                    raise
                self._store.execute("COMMIT")
            except sqlite3.Error as error:
                raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> OutputError:
        return OutputError(
            f"what was spent cannot be kept in {self._file}: {error}. Put it right or move it away "
            "(then it counts from zero)"
        )

    @staticmethod
    def _sums(store: sqlite3.Connection, minute: int, month: str) -> tuple[int, int]:
        hour = store.execute(
            "SELECT COALESCE(SUM(nano_usd), 0) FROM minutes WHERE minute > ?",
            (minute - _HOUR_MINUTES,),
        ).fetchone()[0]
        whole = store.execute(
            "SELECT COALESCE(SUM(nano_usd), 0) FROM months WHERE month = ?", (month,)
        ).fetchone()[0]
        return int(hour), int(whole)

    @staticmethod
    def _add(store: sqlite3.Connection, taken: Reservation, nano_usd: int) -> None:
        for table, key, value in (
            ("minutes", "minute", taken.minute),
            ("months", "month", taken.month),
        ):
            store.execute(
                f"INSERT INTO {table} VALUES (?, ?) "  # noqa: S608 - names of the two tables above
                f"ON CONFLICT ({key}) DO UPDATE SET nano_usd = nano_usd + excluded.nano_usd",
                (value, nano_usd),
            )
        store.execute("DELETE FROM minutes WHERE minute < ?", (taken.minute - 2 * _HOUR_MINUTES,))


def _nano(usd: float) -> int:
    return round(usd * _NANO)


def _minute(now: datetime) -> int:
    return int(now.timestamp()) // 60


def _opened(file: Path) -> sqlite3.Connection:
    # survives the end of a process at any time; a power cut may forget the last cents
    store = open_database(file, synchronous="NORMAL")
    try:
        store.executescript(_SCHEMA)
    except sqlite3.Error:
        store.close()
        raise
    return store
