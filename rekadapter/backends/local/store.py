"""Galleries that survive: SQLite holds the truth, memory holds the matrix that is searched.

One file per gallery directory. A transaction is acknowledged once it is on disk (write-ahead log,
``synchronous=FULL``), so a process killed at any moment loses nothing it acknowledged. Several
processes may read while one writes. Each change raises its gallery's generation; a search compares
that number first, so what another process enrolled or removed is seen. Removed templates are
overwritten with zeros (``secure_delete``).
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from rekadapter.backends.local.geometry import Floats
from rekadapter.backends.local.search import TemplateMatrix
from rekadapter.backends.local.users import USER_SCHEMA, SqliteUsers
from rekadapter.databases import open_database
from rekadapter.errors import (
    BackendClosedError,
    BackendError,
    GalleryError,
    GalleryExistsError,
    GalleryNotFoundError,
    OutputError,
    RekadapterError,
)
from rekadapter.types import (
    BoundingBox,
    EnrolledFace,
    FaceId,
    GalleryDescription,
    GalleryId,
    ImageId,
    SubjectId,
    UserId,
)

FILE_NAME: Final = "galleries.sqlite3"
_SCHEMA_VERSION: Final = 2
_CHUNK: Final = 500
"""Parameters per statement; SQLite's oldest limit is 999."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS collection (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    length INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    generation INTEGER NOT NULL DEFAULT 0,
    removals INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS face (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection_id INTEGER NOT NULL REFERENCES collection (id) ON DELETE CASCADE,
    face_id TEXT NOT NULL,
    image_id TEXT NOT NULL,
    subject TEXT,
    box_left REAL NOT NULL,
    box_top REAL NOT NULL,
    box_width REAL NOT NULL,
    box_height REAL NOT NULL,
    confidence REAL NOT NULL,
    template BLOB NOT NULL,
    UNIQUE (collection_id, face_id)
) STRICT;
CREATE INDEX IF NOT EXISTS face_of_image ON face (collection_id, image_id);
"""
_STEPS: Final = (_SCHEMA, USER_SCHEMA)
"""From an empty file to version 1, and on from each version."""
_FACE_COLUMNS: Final = (
    "face_id, image_id, subject, box_left, box_top, box_width, box_height, confidence"
)
_USER_COLUMN: Final = "(SELECT name FROM user WHERE user.id = face.user_id)"


@dataclass(frozen=True, slots=True)
class StoredFace:
    """A face and its template, float32 of shape (length,)."""

    face: EnrolledFace
    template: Floats


@dataclass(frozen=True, slots=True)
class GalleryIndex:
    """A gallery in memory: ``faces[i]`` is the face of row ``i`` of the matrix."""

    faces: tuple[EnrolledFace, ...]
    matrix: TemplateMatrix


class GalleryStore(Protocol):
    """Keeps galleries and their users; safe to call from several threads.

    Every method but ``create`` and ``names`` raises ``GalleryNotFoundError`` for a gallery that is
    not there. A store that cannot be written raises ``OutputError``.
    """

    @property
    def users(self) -> SqliteUsers:
        """The users of the galleries."""
        ...

    def create(self, gallery: GalleryId, *, model: str, length: int) -> GalleryDescription:
        """A new gallery for templates of ``length`` made by ``model``.

        Raises:
            GalleryExistsError: the name is taken.
        """
        ...

    def delete(self, gallery: GalleryId) -> None: ...

    def describe(self, gallery: GalleryId) -> GalleryDescription: ...

    def model(self, gallery: GalleryId) -> str:
        """The model that the gallery's templates belong to."""
        ...

    def names(self) -> list[GalleryId]:
        """Every gallery's name, sorted."""
        ...

    def add(self, gallery: GalleryId, faces: Sequence[StoredFace]) -> None:
        """All faces or none; a face whose id is there already changes nothing."""
        ...

    def faces(self, gallery: GalleryId) -> list[EnrolledFace]:
        """Every face in the order of enrollment."""
        ...

    def faces_of_image(
        self, gallery: GalleryId, image: ImageId, subject: SubjectId | None
    ) -> list[EnrolledFace]:
        """The faces that came from one image for one subject."""
        ...

    def remove(self, gallery: GalleryId, face_ids: Iterable[FaceId]) -> set[FaceId]:
        """Removes faces and says which of the ids are gone; faces of users stay."""
        ...

    def index(self, gallery: GalleryId) -> GalleryIndex:
        """All templates of a gallery as they are now, ready to search; whose a face is, is not
        among them."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Version:
    """Which rows an index was read from."""

    collection: int
    generation: int
    removals: int
    length: int


@dataclass(frozen=True, slots=True)
class _CachedIndex:
    version: _Version
    last_row: int
    index: GalleryIndex


class SqliteGalleryStore:
    """Galleries in one SQLite file of a directory; opened on first use."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._indexes: dict[GalleryId, _CachedIndex] = {}
        self._users = SqliteUsers(self)

    @property
    def users(self) -> SqliteUsers:
        """See ``GalleryStore``."""
        return self._users

    def create(self, gallery: GalleryId, *, model: str, length: int) -> GalleryDescription:
        """See ``GalleryStore``."""
        now = datetime.now(UTC)
        with self.transaction() as db:
            try:
                db.execute(
                    "INSERT INTO collection (name, model, length, created_at) VALUES (?, ?, ?, ?)",
                    (gallery, model, length, now.isoformat()),
                )
            except sqlite3.IntegrityError as error:
                raise GalleryExistsError(
                    f"there is a gallery '{gallery}' already: use it, or choose another name"
                ) from error
        return GalleryDescription(gallery, 0, model, now)

    def delete(self, gallery: GalleryId) -> None:
        """See ``GalleryStore``."""
        with self.transaction() as db:
            version = _version(db, gallery)
            db.execute("DELETE FROM collection WHERE id = ?", (version.collection,))
            self._indexes.pop(gallery, None)
        self.forget_log()

    def describe(self, gallery: GalleryId) -> GalleryDescription:
        """See ``GalleryStore``."""
        with self._reading() as db:
            row = db.execute(
                "SELECT model, created_at, (SELECT count(*) FROM face WHERE collection_id = c.id), "
                "(SELECT count(*) FROM user WHERE collection_id = c.id) "
                "FROM collection c WHERE name = ?",
                (gallery,),
            ).fetchone()
        if row is None:
            raise _not_found(gallery)
        return GalleryDescription(gallery, row[2], row[0], datetime.fromisoformat(row[1]), row[3])

    def model(self, gallery: GalleryId) -> str:
        """See ``GalleryStore``."""
        with self._reading() as db:
            row = db.execute("SELECT model FROM collection WHERE name = ?", (gallery,)).fetchone()
        if row is None:
            raise _not_found(gallery)
        return str(row[0])

    def names(self) -> list[GalleryId]:
        """See ``GalleryStore``."""
        with self._reading() as db:
            rows = db.execute("SELECT name FROM collection ORDER BY name").fetchall()
        return [GalleryId(row[0]) for row in rows]

    def add(self, gallery: GalleryId, faces: Sequence[StoredFace]) -> None:
        """See ``GalleryStore``."""
        with self.transaction() as db:
            version = _version(db, gallery)
            _refuse_length(faces, version.length)
            before = db.total_changes
            db.executemany(
                f"INSERT OR IGNORE INTO face (collection_id, {_FACE_COLUMNS}, template) "  # noqa: S608 constants only
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [_face_row(version.collection, stored) for stored in faces],
            )
            if db.total_changes != before:
                _bump(db, version.collection, removed=False)

    def faces(self, gallery: GalleryId) -> list[EnrolledFace]:
        """See ``GalleryStore``."""
        with self.snapshot() as db:
            version = _version(db, gallery)
            rows = db.execute(
                f"SELECT {_FACE_COLUMNS}, {_USER_COLUMN} FROM face "  # noqa: S608 constants only
                "WHERE collection_id = ? ORDER BY id",
                (version.collection,),
            ).fetchall()
        return [_face_of(row, user=row[8]) for row in rows]

    def faces_of_image(
        self, gallery: GalleryId, image: ImageId, subject: SubjectId | None
    ) -> list[EnrolledFace]:
        """See ``GalleryStore``."""
        with self.snapshot() as db:
            version = _version(db, gallery)
            rows = db.execute(
                f"SELECT {_FACE_COLUMNS}, {_USER_COLUMN} FROM face "  # noqa: S608 constants only
                "WHERE collection_id = ? AND image_id = ? AND subject IS ? ORDER BY id",
                (version.collection, image, subject),
            ).fetchall()
        return [_face_of(row, user=row[8]) for row in rows]

    def remove(self, gallery: GalleryId, face_ids: Iterable[FaceId]) -> set[FaceId]:
        """See ``GalleryStore``."""
        wanted = list(dict.fromkeys(face_ids))
        removed: set[FaceId] = set()
        with self.transaction() as db:
            version = _version(db, gallery)
            for start in range(0, len(wanted), _CHUNK):
                chunk = wanted[start : start + _CHUNK]
                marks = ", ".join("?" * len(chunk))
                rows = db.execute(
                    "DELETE FROM face WHERE collection_id = ? AND user_id IS NULL "  # noqa: S608 marks only
                    f"AND face_id IN ({marks}) RETURNING face_id",
                    (version.collection, *chunk),
                ).fetchall()
                removed.update(FaceId(row[0]) for row in rows)
            if removed:
                _bump(db, version.collection, removed=True)
        if removed:
            self.forget_log()
        return removed

    def index(self, gallery: GalleryId) -> GalleryIndex:
        """See ``GalleryStore``. Only what was added since the last call is read."""
        with self.snapshot() as db:
            version = _version(db, gallery)
            cached = self._indexes.get(gallery)
            if cached is None or cached.version != version:
                cached = _read_index(db, version, _still_right(cached, version))
                self._indexes[gallery] = cached
        return cached.index

    def close(self) -> None:
        """Closes the file. May be called twice."""
        with self._lock:
            self._closed = True
            self._indexes.clear()
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def collection_of(self, db: sqlite3.Connection, gallery: GalleryId) -> int:
        """The gallery's row, for the tables beside it.

        Raises:
            GalleryNotFoundError: there is none.
        """
        return _version(db, gallery).collection

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _translated(self._path):
            yield self._open()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Several statements that see one state of the file."""
        with self._reading() as db:
            db.execute("BEGIN")
            try:
                yield db
            finally:
                db.execute("COMMIT")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All statements or none, on disk when it ends."""
        with self._reading() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def forget_log(self) -> None:
        """Empties the write-ahead log, where removed templates may still stand."""
        with self._reading() as db:
            # another process that reads holds the log back; the next removal tries again
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _open(self) -> sqlite3.Connection:
        if self._closed:
            raise BackendClosedError("the galleries were closed: open the backend again")
        if self._connection is None:
            self._connection = _connect(self._path)
        return self._connection


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    db = open_database(path, synchronous="FULL")
    try:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA secure_delete = ON")
        _prepare(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > _SCHEMA_VERSION:
        raise GalleryError(
            f"{path} was written by a newer rekadapter: upgrade, or choose another 'gallery_dir'"
        )
    if version < _SCHEMA_VERSION:
        _upgrade(db)


def _upgrade(db: sqlite3.Connection) -> None:
    """Each step once, whichever process comes first."""
    db.execute("BEGIN IMMEDIATE")
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        for script in _STEPS[version:]:
            for statement in filter(str.strip, script.split(";")):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """SQLite's and the system's errors as rekadapter's own."""
    try:
        yield
    except RekadapterError:
        raise
    except sqlite3.OperationalError as error:
        raise OutputError(
            f"the galleries in {path} cannot be used: {error}. Check the disk's space, the file's "
            "permissions, and that no other process holds it"
        ) from error
    except sqlite3.DatabaseError as error:
        raise GalleryError(
            f"{path} is not a gallery file, or is damaged ({error}): restore it from a copy, or "
            "choose another 'gallery_dir'"
        ) from error
    except sqlite3.Error as error:
        raise BackendError(f"the galleries in {path} failed: {error}") from error
    except OSError as error:
        raise OutputError(
            f"the galleries in {path} cannot be used: {error.strerror}. Choose another "
            "'gallery_dir'"
        ) from error


def _not_found(gallery: GalleryId) -> GalleryNotFoundError:
    return GalleryNotFoundError(
        f"there is no gallery '{gallery}': 'rekadapter gallery create {gallery}' makes one"
    )


def _version(db: sqlite3.Connection, gallery: GalleryId) -> _Version:
    row = db.execute(
        "SELECT id, generation, removals, length FROM collection WHERE name = ?", (gallery,)
    ).fetchone()
    if row is None:
        raise _not_found(gallery)
    return _Version(*row)


def _bump(db: sqlite3.Connection, collection: int, *, removed: bool) -> None:
    db.execute(
        "UPDATE collection SET generation = generation + 1, removals = removals + ? WHERE id = ?",
        (int(removed), collection),
    )


def _refuse_length(faces: Sequence[StoredFace], length: int) -> None:
    for stored in faces:
        if stored.template.shape != (length,) or stored.template.dtype != np.float32:
            raise ValueError(f"this gallery holds templates of {length} float32 values")


def _face_row(collection: int, stored: StoredFace) -> tuple[object, ...]:
    face = stored.face
    box = (face.box.left, face.box.top, face.box.width, face.box.height)
    template = stored.template.astype("<f4").tobytes()
    return (
        collection,
        face.face_id,
        face.image_id,
        face.subject,
        *box,
        face.confidence,
        template,
    )


def _face_of(row: Sequence[Any], user: str | None = None) -> EnrolledFace:
    """The table is STRICT: SQLite keeps texts and numbers apart itself."""
    face_id, image_id, subject, left, top, width, height, confidence = row[:8]
    return EnrolledFace(
        face_id=FaceId(face_id),
        image_id=ImageId(image_id),
        subject=None if subject is None else SubjectId(subject),
        box=BoundingBox(left, top, width, height),
        confidence=confidence,
        user=None if user is None else UserId(user),
    )


def _still_right(cached: _CachedIndex | None, version: _Version) -> _CachedIndex | None:
    """The cached rows, where nothing of them was removed since."""
    if cached is None:
        return None
    same = (cached.version.collection, cached.version.removals)
    return cached if same == (version.collection, version.removals) else None


def _read_index(
    db: sqlite3.Connection, version: _Version, known: _CachedIndex | None
) -> _CachedIndex:
    rows = db.execute(
        f"SELECT {_FACE_COLUMNS}, template, id FROM face "  # noqa: S608 constants only
        "WHERE collection_id = ? AND id > ? ORDER BY id",
        (version.collection, known.last_row if known else 0),
    )
    faces = list(known.index.faces) if known else []
    parts = [known.index.matrix.templates] if known else []
    last_row = known.last_row if known else 0
    while chunk := rows.fetchmany(_CHUNK):
        faces += map(_face_of, chunk)
        blob = b"".join(row[8] for row in chunk)
        parts.append(np.frombuffer(blob, dtype="<f4").reshape(len(chunk), version.length))
        last_row = chunk[-1][9]
    empty = np.empty((0, version.length), dtype=np.float32)
    matrix = np.concatenate([empty, *parts], dtype=np.float32)
    return _CachedIndex(version, last_row, GalleryIndex(tuple(faces), TemplateMatrix.of(matrix)))
