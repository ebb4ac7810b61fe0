"""Stream processors that outlive the service: what they are, not that they run."""

from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Protocol

from rekadapter.errors import ConfigError, OutputError
from rekadapter.rekognition_api.jobs.plans import ProcessorKey, ProcessorPlan
from rekadapter.types import GalleryId

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS processor (
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  name TEXT NOT NULL,
  settings TEXT NOT NULL,
  created_at REAL NOT NULL,
  PRIMARY KEY (account, region, name)
) STRICT, WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class Definition:
    """A processor and when it was made, in seconds since 1970."""

    plan: ProcessorPlan
    created_at: float


class Definitions(Protocol):
    """Keeps definitions. Safe to call from several threads.

    Every method raises ``OutputError`` where they cannot be kept.
    """

    def every(self) -> tuple[Definition, ...]: ...

    def put(self, definition: Definition) -> None:
        """A new one; there is none of its key."""
        ...

    def drop(self, key: ProcessorKey) -> None: ...

    def close(self) -> None: ...


class NoDefinitions:
    """For processors that go with the service."""

    def every(self) -> tuple[Definition, ...]:
        return ()

    def put(self, definition: Definition) -> None: ...

    def drop(self, key: ProcessorKey) -> None: ...

    def close(self) -> None: ...


class SqliteDefinitions:
    """Definitions in a SQLite file, which is made where there is none and is one service's at a
    time.

    Raises:
        ConfigError: another service uses the file, or it cannot be used at all.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._database = _opened(path)
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(
                f"stream processors cannot be kept in {path} ({error}): "
                "does another service use this data directory? Give each its own"
            ) from error

    def every(self) -> tuple[Definition, ...]:
        """See ``Definitions``."""
        rows = self._run("SELECT account, region, name, settings, created_at FROM processor")
        return tuple(
            Definition(_plan(ProcessorKey(account, region, name), settings), created_at)
            for account, region, name, settings, created_at in rows
        )

    def put(self, definition: Definition) -> None:
        """See ``Definitions``."""
        plan = definition.plan
        settings = {name: value for name, value in asdict(plan).items() if name != "key"}
        self._run(
            "INSERT INTO processor VALUES (?, ?, ?, ?, ?)",
            *(plan.key.account, plan.key.region, plan.key.name),
            *(json.dumps(settings), definition.created_at),
        )

    def drop(self, key: ProcessorKey) -> None:
        """See ``Definitions``."""
        self._run(
            "DELETE FROM processor WHERE account = ? AND region = ? AND name = ?",
            *(key.account, key.region, key.name),
        )

    def close(self) -> None:
        """Lets the file go. May be called twice."""
        with self._lock:
            self._database.close()

    def _run(self, statement: str, *values: str | float) -> list[tuple[str, str, str, str, float]]:
        try:
            with self._lock, self._database:
                return self._database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise OutputError(
                f"stream processors cannot be kept in {self._path}: {error}. "
                "Check the disk's space and the file's permissions"
            ) from error


def _opened(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)  # whose camera is watched for whom is nobody else's to read
    database = sqlite3.connect(path, check_same_thread=False, timeout=0.2)
    try:
        # the lock goes with the process, however it ends
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(_SCHEMA)
        with database:
            database.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error:
        database.close()
        raise
    return database


def _plan(key: ProcessorKey, settings: str) -> ProcessorPlan:
    held = json.loads(settings)
    return ProcessorPlan(
        key=key,
        video_arn=held["video_arn"],
        data_arn=held["data_arn"],
        role_arn=held["role_arn"],
        gallery=GalleryId(held["gallery"]),
        threshold=held["threshold"],
    )
