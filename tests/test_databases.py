"""SQLite files that several open at the same moment."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rekadapter.databases import open_database


def test_many_open_a_new_file_at_once(tmp_path: Path) -> None:
    """SQLite refuses one of two that turn the log on together, and does not wait by itself."""
    openers = 8

    def opened(path: Path, together: threading.Barrier) -> str:
        together.wait()
        db = open_database(path, synchronous="NORMAL")
        mode: str = db.execute("PRAGMA journal_mode").fetchone()[0]
        db.close()
        return mode

    for number in range(40):
        path, together = tmp_path / f"{number}.sqlite3", threading.Barrier(openers)
        with ThreadPoolExecutor(openers) as pool:
            modes = list(pool.map(lambda _: opened(path, together), range(openers)))  # noqa: B023
        assert set(modes) == {"wal"}


def test_what_is_no_database_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"not a database, and long enough not to be taken for an empty one" * 20)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        open_database(path, synchronous="FULL")


@pytest.mark.parametrize(("synchronous", "number"), [("NORMAL", 1), ("FULL", 2)])
def test_it_is_as_lasting_as_asked(tmp_path: Path, synchronous: str, number: int) -> None:
    db = open_database(tmp_path / "a", synchronous=synchronous)  # type: ignore[arg-type]
    assert db.execute("PRAGMA synchronous").fetchone()[0] == number
    db.close()
