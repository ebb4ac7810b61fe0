"""Opening a SQLite file that several processes write to."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final, Literal

import tenacity

_BUSY_SECONDS: Final = 30.0
_PRIMARY: Final = 0xFF
"""of a code of SQLite's, what it is in general"""


def open_database(path: Path, *, synchronous: Literal["FULL", "NORMAL"]) -> sqlite3.Connection:
    """A connection with a write-ahead log, for any thread; whoever writes waits for others, up to
    30 s. Transactions are begun and ended by hand. ``synchronous``: FULL keeps every transaction
    through a power cut, NORMAL only through the end of a process.

    Raises:
        sqlite3.Error: it cannot be opened, is none, or was held for all that time.
    """
    db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _keep_a_log(db)
        db.execute(f"PRAGMA synchronous = {synchronous}")
    except BaseException:
        db.close()
        raise
    return db


def _is_busy(error: BaseException) -> bool:
    if not isinstance(error, sqlite3.OperationalError):
        return False
    return error.sqlite_errorcode & _PRIMARY in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


@tenacity.retry(
    retry=tenacity.retry_if_exception(_is_busy),
    stop=tenacity.stop_after_delay(_BUSY_SECONDS),
    wait=tenacity.wait_random(0.005, 0.05),
    reraise=True,
)
def _keep_a_log(db: sqlite3.Connection) -> None:
    """While another connection turns the log on, SQLite says "busy" at once, whatever the timeout:
    waiting there could lock up both."""
    db.execute("PRAGMA journal_mode = WAL")
