"""Tags of collections: the service's own, beside whatever keeps the faces.

A tag belongs to an ARN. When a collection goes, its tags go for every account and region that could
see it, as its faces do. Behind ``SqliteTags`` they outlive the process.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

from rekadapter.databases import open_database
from rekadapter.errors import BackendClosedError, OutputError, QuotaExceededError

MAX_TAGS: Final = 200
"""Of one resource (service model); AWS's general limit is 50, which no Rekognition page repeats."""
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS tag (
    arn TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (arn, name)
) STRICT, WITHOUT ROWID
"""


class Tags(Protocol):
    """Keeps tags. Safe to call from several threads."""

    def of(self, arn: str) -> Mapping[str, str]:
        """The tags of a resource, by name; none for one that has none."""
        ...

    def put(self, arn: str, tags: Mapping[str, str]) -> None:
        """Adds tags or replaces their values.

        Raises:
            QuotaExceededError: the resource would have over ``MAX_TAGS``; nothing is changed.
        """
        ...

    def drop(self, arn: str, names: Iterable[str]) -> None:
        """Takes tags away; names that are not there change nothing."""
        ...

    def forget(self, resource: str) -> None:
        """Drops all tags of a resource, given as an ARN ends (``collection/lobby``), wherever."""
        ...


class MemoryTags:
    """Tags that go with the object."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, dict[str, str]] = {}

    def of(self, arn: str) -> Mapping[str, str]:
        """See ``Tags``."""
        with self._lock:
            return dict(sorted(self._held.get(arn, {}).items()))

    def put(self, arn: str, tags: Mapping[str, str]) -> None:
        """See ``Tags``."""
        with self._lock:
            together = {**self._held.get(arn, {}), **tags}
            _refuse_too_many(len(together))
            self._held[arn] = together

    def drop(self, arn: str, names: Iterable[str]) -> None:
        """See ``Tags``."""
        with self._lock:
            for name in names:
                self._held.get(arn, {}).pop(name, None)

    def forget(self, resource: str) -> None:
        """See ``Tags``."""
        with self._lock:
            gone = [arn for arn in self._held if arn.endswith(f":{resource}")]
            for arn in gone:
                del self._held[arn]


class SqliteTags:
    """Tags in a SQLite file, which is made on first use and may be shared by processes.

    Every method raises ``OutputError`` where the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    def of(self, arn: str) -> Mapping[str, str]:
        """See ``Tags``."""
        with self._transaction() as db:
            rows = db.execute("SELECT name, value FROM tag WHERE arn = ? ORDER BY name", (arn,))
            return dict(rows.fetchall())

    def put(self, arn: str, tags: Mapping[str, str]) -> None:
        """See ``Tags``."""
        with self._transaction() as db:
            db.executemany(
                "INSERT INTO tag (arn, name, value) VALUES (?, ?, ?) "
                "ON CONFLICT (arn, name) DO UPDATE SET value = excluded.value",
                [(arn, name, value) for name, value in tags.items()],
            )
            count = db.execute("SELECT count(*) FROM tag WHERE arn = ?", (arn,)).fetchone()[0]
            _refuse_too_many(count)

    def drop(self, arn: str, names: Iterable[str]) -> None:
        """See ``Tags``."""
        with self._transaction() as db:
            db.executemany(
                "DELETE FROM tag WHERE arn = ? AND name = ?", [(arn, name) for name in names]
            )

    def forget(self, resource: str) -> None:
        """See ``Tags``."""
        end = f":{resource}"
        with self._transaction() as db:
            db.execute("DELETE FROM tag WHERE substr(arn, -?) = ?", (len(end), end))

    def close(self) -> None:
        """Closes the file. May be called twice."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._closed:
                raise BackendClosedError("the tags were closed: open them again")
            try:
                db = self._connection = self._connection or self._connect()
                with _all_or_nothing(db):
                    yield db
            except (sqlite3.Error, OSError) as error:
                raise OutputError(
                    f"the tags in {self._path} cannot be used: {error}. Check the disk's space "
                    "and the file's permissions"
                ) from error

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        db = open_database(self._path, synchronous="FULL")
        try:
            db.execute(_SCHEMA)
        except BaseException:
            db.close()
            raise
        return db


@contextlib.contextmanager
def _all_or_nothing(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _refuse_too_many(count: int) -> None:
    if count > MAX_TAGS:
        raise QuotaExceededError(f"a resource may have {MAX_TAGS} tags, not {count}")
