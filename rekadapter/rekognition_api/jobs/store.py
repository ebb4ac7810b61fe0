"""Jobs and their results in one SQLite file: they outlive the service, within bounds.

Results are kept as the JSON that answers carry, one row a face. What is dropped is overwritten.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from rekadapter.errors import ConfigError, OutputError
from rekadapter.rekognition_api.context import S3Location

FILE_NAME: Final = "jobs.sqlite3"
INTERRUPTED: Final = "The service stopped before the job was done: start the job again."

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS jobs (
  number INTEGER PRIMARY KEY,
  job_id TEXT NOT NULL UNIQUE,
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  api TEXT NOT NULL,
  bucket TEXT NOT NULL,
  name TEXT NOT NULL,
  version TEXT,
  tag TEXT,
  topic TEXT,
  token TEXT,
  digest TEXT NOT NULL,
  state TEXT NOT NULL,
  message TEXT,
  facts TEXT,
  created_at REAL NOT NULL,
  ended_at REAL,
  notice_due INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX IF NOT EXISTS jobs_by_token ON jobs (account, region, api, token)
  WHERE token IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobs_by_end ON jobs (ended_at, number);
CREATE TABLE IF NOT EXISTS results (
  job INTEGER NOT NULL,
  place INTEGER NOT NULL,
  person INTEGER NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (job, place)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS results_by_person ON results (job, person, place);
"""


class JobState(StrEnum):
    """In Rekognition's words; a job that waits for its turn is IN_PROGRESS too."""

    IN_PROGRESS = "IN_PROGRESS"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


class SortBy(StrEnum):
    """Order of results: by time, or person by person."""

    TIMESTAMP = "TIMESTAMP"
    INDEX = "INDEX"


@dataclass(frozen=True, slots=True)
class JobOrder:
    """What a Start operation asks for. ``api`` is that operation's name, ``digest`` stands for its
    whole input but the token."""

    api: str
    video: S3Location
    digest: str
    token: str | None = None
    tag: str | None = None
    topic: str | None = None


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What is known of a video: sides in pixels, upright; None where the file does not say."""

    codec: str
    container: str
    duration_ms: int | None
    frame_rate: float | None
    width: int
    height: int
    color_range: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands. Times are seconds since 1970; ``number`` is the store's own."""

    number: int
    job_id: str
    order: JobOrder
    state: JobState
    message: str | None
    facts: VideoFacts | None
    created_at: float
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class Result:
    """One face at one moment: JSON of the answer's member, and which person of the video it is."""

    person: int
    body: str


@dataclass(frozen=True, slots=True)
class Place:
    """After which result a page begins."""

    person: int
    place: int


@dataclass(frozen=True, slots=True)
class ResultPage:
    """Results in order; ``last`` is set where more follow."""

    bodies: tuple[str, ...]
    last: Place | None


@dataclass(frozen=True, slots=True)
class Retention:
    """How long and how much is kept: finished jobs beyond it go, the oldest first.

    ``max_bytes`` counts the results' JSON; the file takes about a third more. AWS keeps results and
    tokens 7 days.
    """

    seconds: float = 7 * 86_400.0
    max_jobs: int = 10_000
    max_bytes: int = 4 << 30

    def __post_init__(self) -> None:
        if not self.seconds > 0 or self.max_jobs < 1 or self.max_bytes < 1:
            raise ConfigError("jobs need to be kept for more than 0 seconds, jobs and bytes")


class JobStore:
    """The jobs of a directory, or of this service alone where none is given. Safe to use
    from several threads.

    Jobs that an earlier service left unfinished are FAILED once it is opened, if they were
    ``interrupted`` by its end.

    Raises:
        ConfigError: another service uses the directory, or it cannot be written.
    """

    def __init__(
        self,
        directory: Path | None,
        *,
        retention: Retention,
        now: float,
        interrupted: bool = True,
    ) -> None:
        self._retention = retention
        self._lock = threading.Lock()
        try:
            self._database = _opened(directory)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"the jobs in {directory} cannot be kept ({error}): "
                "is another service using the directory?"
            ) from error
        weakref.finalize(self, self._database.close)  # whoever forgets to close it
        if interrupted:
            self.fail_open(INTERRUPTED, now)

    @contextmanager
    def _changes(self) -> Iterator[None]:
        """A transaction, of one thread at a time."""
        try:
            with self._lock, self._database:
                yield
        except sqlite3.OperationalError as error:  # a client may be told: without the path
            raise OutputError(
                f"the results of video jobs cannot be kept: {error}. Check the disk's space"
            ) from error

    # --- jobs -------------------------------------------------------------------------------

    def add(self, job_id: str, order: JobOrder, now: float) -> Job:
        """A new job, or the one that the order's token stands for already."""
        with self._changes():
            self._drop_old(now)
            known = self._by_token(order)
            if known is not None:
                return known
            video = order.video
            self._database.execute(
                "INSERT INTO jobs (job_id, account, region, api, bucket, name, version, tag, topic,"
                " token, digest, state, created_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
                (
                    *(job_id, video.account, video.region, order.api, video.bucket, video.key),
                    *(video.version, order.tag, order.topic, order.token, order.digest),
                    *(JobState.IN_PROGRESS, now),
                ),
            )
            return _job(self._one("job_id = ?", job_id))

    def of_token(self, order: JobOrder, now: float) -> Job | None:
        """The job that the order's token stands for, if any."""
        with self._changes():
            self._drop_old(now)
            return self._by_token(order)

    def find(self, job_id: str, now: float) -> Job | None:
        with self._changes():
            self._drop_old(now)
            rows = self._rows("job_id = ?", job_id)
            return _job(rows[0]) if rows else None

    def end(self, job: Job, state: JobState, message: str | None, now: float) -> None:
        """The job is over; a failed one keeps no results. A notice is due where it has a topic."""
        with self._changes():
            if state is JobState.FAILED:
                self._drop_results([job.number])
            self._database.execute(
                "UPDATE jobs SET state = ?, message = ?, ended_at = ?, "
                "notice_due = (topic IS NOT NULL) WHERE number = ?",
                (state, message, now, job.number),
            )

    def fail_open(self, message: str, now: float) -> None:
        """Every job that is not over fails."""
        with self._changes():
            rows = self._database.execute(
                "SELECT number FROM jobs WHERE state = ?", (JobState.IN_PROGRESS,)
            ).fetchall()
            self._drop_results([number for (number,) in rows])
            self._database.execute(
                "UPDATE jobs SET state = ?, message = ?, ended_at = ?, "
                "notice_due = (topic IS NOT NULL) WHERE state = ?",
                (JobState.FAILED, message, now, JobState.IN_PROGRESS),
            )

    def states(self) -> Mapping[JobState, int]:
        """How many jobs are kept, by state; every state has a number."""
        with self._lock:
            rows = self._database.execute("SELECT state, count(*) FROM jobs GROUP BY state")
            found = {JobState(state): int(count) for state, count in rows}
        return {state: found.get(state, 0) for state in JobState}

    def set_facts(self, job: Job, facts: VideoFacts) -> None:
        with self._changes():
            self._database.execute(
                "UPDATE jobs SET facts = ? WHERE number = ?",
                (json.dumps(asdict(facts)), job.number),
            )

    def notices_due(self) -> tuple[Job, ...]:
        """Jobs that are over and whose topic has not heard of it."""
        with self._lock:
            return tuple(map(_job, self._rows("notice_due = ?", 1)))

    def notice_done(self, job: Job) -> None:
        with self._changes():
            self._database.execute("UPDATE jobs SET notice_due = 0 WHERE number = ?", (job.number,))

    # --- results ----------------------------------------------------------------------------

    def add_results(self, job: Job, results: Sequence[Result]) -> None:
        """Appends results, which have to come in order of time.

        Raises:
            OutputError: they do not fit in what may be kept, whatever else is dropped.
        """
        added = sum(len(result.body.encode()) for result in results)
        with self._changes():
            self._make_room(added)
            (begin,) = self._database.execute(
                "SELECT coalesce(max(place) + 1, 0) FROM results WHERE job = ?", (job.number,)
            ).fetchone()
            self._database.executemany(
                "INSERT INTO results VALUES (?, ?, ?, ?)",
                (
                    (job.number, place, result.person, result.body)
                    for place, result in enumerate(results, begin)
                ),
            )
            self._database.execute(
                "UPDATE jobs SET bytes = bytes + ? WHERE number = ?", (added, job.number)
            )

    def results(self, job: Job, sort: SortBy, after: Place | None, most: int) -> ResultPage:
        """At most ``most`` results beyond ``after``."""
        order = "person, place" if sort is SortBy.INDEX else "place"
        start = after or Place(-1, -1)
        key = (start.person, start.place) if sort is SortBy.INDEX else (start.place,)
        marks = ", ".join("?" * len(key))
        with self._lock:
            rows = self._database.execute(
                f"SELECT person, place, body FROM results WHERE job = ? AND ({order}) > ({marks}) "  # noqa: S608 - from two constants
                f"ORDER BY {order} LIMIT ?",
                (job.number, *key, most + 1),
            ).fetchall()
        kept = rows[:most]
        last = Place(kept[-1][0], kept[-1][1]) if len(rows) > most else None
        return ResultPage(tuple(body for _, _, body in kept), last)

    def tidy(self, now: float) -> None:
        """Lets go what has been kept long enough."""
        with self._changes():
            self._drop_old(now)

    def close(self) -> None:
        """Lets the file go. May be called twice."""
        with self._lock:
            self._database.close()

    # --- within a transaction ---------------------------------------------------------------

    def _by_token(self, order: JobOrder) -> Job | None:
        if order.token is None:
            return None
        video = order.video
        rows = self._rows(
            "account = ? AND region = ? AND api = ? AND token = ?",
            *(video.account, video.region, order.api, order.token),
        )
        return _job(rows[0]) if rows else None

    def _rows(self, where: str, *values: str | int) -> list[sqlite3.Row]:
        query = f"SELECT * FROM jobs WHERE {where}"  # noqa: S608 - constants of this file
        rows: list[sqlite3.Row] = self._database.execute(query, values).fetchall()
        return rows

    def _one(self, where: str, *values: str) -> sqlite3.Row:
        return self._rows(where, *values)[0]

    def _drop_old(self, now: float) -> None:
        """By age from the end of a job, as its results are; a token lives as long as its job."""
        old = self._database.execute(
            "SELECT number FROM jobs WHERE ended_at <= ?", (now - self._retention.seconds,)
        ).fetchall()
        beyond = self._database.execute(
            "SELECT number FROM jobs WHERE ended_at IS NOT NULL ORDER BY ended_at DESC, number DESC"
            " LIMIT -1 OFFSET ?",
            (self._retention.max_jobs,),
        ).fetchall()
        self._drop(number for (number,) in {*old, *beyond})

    def _make_room(self, added: int) -> None:
        (held,) = self._database.execute("SELECT coalesce(sum(bytes), 0) FROM jobs").fetchone()
        finished = self._database.execute(
            "SELECT number, bytes FROM jobs WHERE ended_at IS NOT NULL AND bytes > 0"
            " ORDER BY ended_at, number"
        ).fetchall()
        for number, size in finished:
            if held + added <= self._retention.max_bytes:
                return
            self._drop([number])
            held -= size
        if held + added > self._retention.max_bytes:
            raise OutputError(
                f"results of over {self._retention.max_bytes} bytes cannot be kept: "
                "raise what may be kept, or analyze fewer frames a second"
            )

    def _drop(self, numbers: Iterable[int]) -> None:
        gone = list(numbers)
        self._drop_results(gone)
        self._database.executemany("DELETE FROM jobs WHERE number = ?", ((n,) for n in gone))

    def _drop_results(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._database.execute("DELETE FROM results WHERE job = ?", (number,))
            self._database.execute("UPDATE jobs SET bytes = 0 WHERE number = ?", (number,))


def _opened(directory: Path | None) -> sqlite3.Connection:
    if directory is not None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / FILE_NAME).touch(mode=0o600)  # faces and names are nobody else's to read
    # Without a name SQLite makes a file of its own that goes with the connection.
    where = "" if directory is None else directory / FILE_NAME
    database = sqlite3.connect(where, check_same_thread=False, timeout=0.2)
    database.row_factory = sqlite3.Row
    try:
        # One service to a directory: the lock goes with the process, however it ends.
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA secure_delete = ON")
        database.executescript(_SCHEMA)
        with database:
            database.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error:
        database.close()
        raise
    return database


def _job(row: sqlite3.Row) -> Job:
    video = S3Location(row["bucket"], row["name"], row["version"], row["account"], row["region"])
    return Job(
        number=row["number"],
        job_id=row["job_id"],
        order=JobOrder(
            api=row["api"],
            video=video,
            digest=row["digest"],
            token=row["token"],
            tag=row["tag"],
            topic=row["topic"],
        ),
        state=JobState(row["state"]),
        message=row["message"],
        facts=VideoFacts(**json.loads(row["facts"])) if row["facts"] else None,
        created_at=row["created_at"],
        ended_at=row["ended_at"],
    )
