"""Users of local galleries: tables beside the faces, and one vector for each user.

A user's vector is the mean of its faces' templates, brought back to their mean length: for
templates of length one that is the normalised mean. Scores are calibrated for templates of that
length; the bare mean lies nearer to everybody, strangers included. A user with one face has that
face's template.

Measured with the embedded pack on 67 labelled photographs of 10 people, each searched among users
made of other photographs: with 1, 2 and 4 faces to a user the own user lies at distance 0.346,
0.294 and 0.267 on average, strangers at 0.881, 0.871 and 0.867, the nearest at 0.645, 0.648 and
0.629 (threshold 0.6; so few people bound no error rate).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from rekadapter.backends.local.geometry import Floats
from rekadapter.backends.local.search import TemplateMatrix
from rekadapter.errors import QuotaExceededError, UserExistsError, UserNotFoundError
from rekadapter.names import user_id
from rekadapter.recognizer import MAX_FACES_PER_USER
from rekadapter.types import (
    ComparisonScore,
    FaceId,
    GalleryId,
    UnchangedFace,
    User,
    UserChange,
    UserId,
    UserReason,
    UserStatus,
)

USER_SCHEMA: Final = """
CREATE TABLE user (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection_id INTEGER NOT NULL REFERENCES collection (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    vector BLOB,
    UNIQUE (collection_id, name)
) STRICT;
ALTER TABLE face ADD COLUMN user_id INTEGER REFERENCES user (id) ON DELETE SET NULL;
CREATE INDEX face_of_user ON face (user_id) WHERE user_id IS NOT NULL;
ALTER TABLE collection ADD COLUMN user_generation INTEGER NOT NULL DEFAULT 0
"""
_CHUNK: Final = 500
"""Parameters per statement; SQLite's oldest limit is 999."""

TooUnlike = Callable[[Floats, Floats], ComparisonScore | None]
"""A user's vector and a face's template to their score, where that is too low; else to None."""


class Tables(Protocol):
    """The file that holds the galleries."""

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]: ...

    def snapshot(self) -> AbstractContextManager[sqlite3.Connection]: ...

    def collection_of(self, db: sqlite3.Connection, gallery: GalleryId) -> int:
        """The gallery's row.

        Raises:
            GalleryNotFoundError: there is none.
        """
        ...

    def forget_log(self) -> None:
        """What was removed leaves the write-ahead log."""
        ...


@dataclass(frozen=True, slots=True)
class UserIndex:
    """Users with a face, in memory: ``users[i]`` is the user of row ``i`` of the matrix."""

    users: tuple[User, ...]
    matrix: TemplateMatrix


@dataclass(frozen=True, slots=True)
class _CachedUsers:
    collection: int
    generation: int
    index: UserIndex


@dataclass(frozen=True, slots=True)
class _UserRow:
    collection: int
    row: int
    vector: Floats | None


@dataclass(frozen=True, slots=True)
class _FaceRow:
    owner: UserId | None
    template: Floats


class SqliteUsers:
    """Users in the file of the galleries; see ``UserGallery`` for what each method promises.

    Safe to call from several threads and processes, as the file is.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._indexes: dict[GalleryId, _CachedUsers] = {}

    def create(self, gallery: GalleryId, user: UserId) -> None:
        with self._tables.transaction() as db:
            collection = self._tables.collection_of(db, gallery)
            try:
                db.execute(
                    "INSERT INTO user (collection_id, name) VALUES (?, ?)",
                    (collection, user_id(user)),
                )
            except sqlite3.IntegrityError as error:
                raise UserExistsError(
                    f"the gallery '{gallery}' has a user '{user}' already: choose another id"
                ) from error

    def delete(self, gallery: GalleryId, user: UserId) -> None:
        with self._tables.transaction() as db:
            found = self._user(db, gallery, user)
            db.execute("DELETE FROM user WHERE id = ?", (found.row,))
            _bump(db, found.collection)
        self._tables.forget_log()

    def users(self, gallery: GalleryId) -> list[User]:
        """Every user, sorted by id."""
        with self._tables.snapshot() as db:
            rows = db.execute(
                "SELECT name, vector IS NOT NULL FROM user WHERE collection_id = ? ORDER BY name",
                (self._tables.collection_of(db, gallery),),
            ).fetchall()
        return [User(UserId(name), _status(has_faces=bool(has))) for name, has in rows]

    def associate(
        self, gallery: GalleryId, user: UserId, face_ids: Iterable[FaceId], too_unlike: TooUnlike
    ) -> UserChange:
        with self._tables.transaction() as db:
            found = self._user(db, gallery, user)
            asked = list(dict.fromkeys(face_ids))
            faces = _faces(db, found.collection, asked)
            refusals = _others(asked, faces, user)
            if found.vector is not None:
                refusals |= _unlike(faces, found.vector, user, too_unlike)
            free = [one for one in asked if one in faces and faces[one].owner is None]
            new = tuple(one for one in free if one not in refusals)
            _refuse_too_many(db, found.row, user, len(new))
            _give(db, found.collection, new, found.row)
            _refresh(db, found)
            unchanged = tuple(refusals[one] for one in asked if one in refusals)
            has_faces = found.vector is not None or bool(new)
            return UserChange(_status(has_faces=has_faces), new, unchanged)

    def disassociate(
        self, gallery: GalleryId, user: UserId, face_ids: Iterable[FaceId]
    ) -> UserChange:
        with self._tables.transaction() as db:
            found = self._user(db, gallery, user)
            asked = list(dict.fromkeys(face_ids))
            faces = _faces(db, found.collection, asked)
            gone = tuple(one for one in asked if one in faces and faces[one].owner == user)
            _give(db, found.collection, gone, None)
            has_faces = _refresh(db, found)
            unchanged = tuple(_others(asked, faces, user).values())
        self._tables.forget_log()
        return UserChange(_status(has_faces=has_faces), gone, unchanged)

    def owners(self, gallery: GalleryId, face_ids: Iterable[FaceId]) -> Mapping[FaceId, UserId]:
        """Whose each of the faces is; a face of nobody is left out."""
        with self._tables.snapshot() as db:
            collection = self._tables.collection_of(db, gallery)
            if not _has_users(db, collection):
                return {}
            faces = _faces(db, collection, list(dict.fromkeys(face_ids)))
        return {one: face.owner for one, face in faces.items() if face.owner is not None}

    def template_of(self, gallery: GalleryId, face_id: FaceId) -> Floats | None:
        """A face's template, or None where the gallery has no such face."""
        with self._tables.snapshot() as db:
            faces = _faces(db, self._tables.collection_of(db, gallery), [face_id])
        return faces[face_id].template if face_id in faces else None

    def vector_of(self, gallery: GalleryId, user: UserId) -> Floats | None:
        """A user's vector, or None where it has no face."""
        with self._tables.snapshot() as db:
            return self._user(db, gallery, user).vector

    def index(self, gallery: GalleryId) -> UserIndex:
        """Every user with a face as it is now, ready to search."""
        with self._tables.snapshot() as db:
            collection = self._tables.collection_of(db, gallery)
            generation = db.execute(
                "SELECT user_generation FROM collection WHERE id = ?", (collection,)
            ).fetchone()[0]
            cached = self._indexes.get(gallery)
            if cached is None or (cached.collection, cached.generation) != (collection, generation):
                cached = _CachedUsers(collection, generation, _read_index(db, collection))
                self._indexes[gallery] = cached
        return cached.index

    def _user(self, db: sqlite3.Connection, gallery: GalleryId, user: UserId) -> _UserRow:
        collection = self._tables.collection_of(db, gallery)
        row = db.execute(
            "SELECT id, vector FROM user WHERE collection_id = ? AND name = ?", (collection, user)
        ).fetchone()
        if row is None:
            raise UserNotFoundError(f"the gallery '{gallery}' has no user '{user}'")
        return _UserRow(collection, row[0], None if row[1] is None else _floats(row[1]))


def user_vector(templates: Floats) -> Floats:
    """One vector, float32 (d,), for the templates (n, d) of at least one face."""
    if len(templates) == 1:
        return np.asarray(templates[0], dtype=np.float32)
    mean = templates.mean(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(mean))
    usual = float(np.linalg.norm(templates, axis=1).mean())
    # opposite templates cancel out: their mean points nowhere
    scaled = mean * (usual / length) if length > 0 else mean
    return np.asarray(scaled, dtype=np.float32)


def _status(*, has_faces: bool) -> UserStatus:
    return UserStatus.ACTIVE if has_faces else UserStatus.CREATED


def _has_users(db: sqlite3.Connection, collection: int) -> bool:
    row = db.execute("SELECT 1 FROM user WHERE collection_id = ? LIMIT 1", (collection,)).fetchone()
    return row is not None


def _faces(
    db: sqlite3.Connection, collection: int, face_ids: Sequence[FaceId]
) -> dict[FaceId, _FaceRow]:
    """Those of the faces that the gallery has."""
    found: dict[FaceId, _FaceRow] = {}
    for chunk in _chunks(face_ids):
        marks = ", ".join("?" * len(chunk))
        rows = db.execute(
            "SELECT face_id, user.name, template FROM face LEFT JOIN user ON user.id = user_id "  # noqa: S608 marks only
            f"WHERE face.collection_id = ? AND face_id IN ({marks})",
            (collection, *chunk),
        )
        for face_id, owner, template in rows:
            whose = None if owner is None else UserId(owner)
            found[FaceId(face_id)] = _FaceRow(whose, _floats(template))
    return found


def _others(
    asked: Sequence[FaceId], faces: Mapping[FaceId, _FaceRow], user: UserId
) -> dict[FaceId, UnchangedFace]:
    """Faces that cannot be the user's: not there, or somebody else's."""
    others: dict[FaceId, UnchangedFace] = {}
    for one in asked:
        if one not in faces:
            others[one] = UnchangedFace(one, (UserReason.FACE_NOT_FOUND,))
        elif faces[one].owner not in {None, user}:
            reasons = (UserReason.ASSOCIATED_TO_A_DIFFERENT_USER,)
            others[one] = UnchangedFace(one, reasons, faces[one].owner)
    return others


def _unlike(
    faces: Mapping[FaceId, _FaceRow], vector: Floats, user: UserId, too_unlike: TooUnlike
) -> dict[FaceId, UnchangedFace]:
    """Faces of nobody that resemble the user too little."""
    unlike: dict[FaceId, UnchangedFace] = {}
    for one, face in faces.items():
        score = too_unlike(vector, face.template) if face.owner is None else None
        if score is not None:
            reasons = (UserReason.LOW_MATCH_CONFIDENCE,)
            unlike[one] = UnchangedFace(one, reasons, user, score)
    return unlike


def _refuse_too_many(db: sqlite3.Connection, row: int, user: UserId, new: int) -> None:
    own = db.execute("SELECT count(*) FROM face WHERE user_id = ?", (row,)).fetchone()[0]
    if own + new > MAX_FACES_PER_USER:
        raise QuotaExceededError(
            f"user '{user}' has {own} faces and may have {MAX_FACES_PER_USER}: {new} more are too "
            "many, disassociate some first"
        )


def _give(
    db: sqlite3.Connection, collection: int, face_ids: Sequence[FaceId], owner: int | None
) -> None:
    for chunk in _chunks(face_ids):
        marks = ", ".join("?" * len(chunk))
        db.execute(
            f"UPDATE face SET user_id = ? WHERE collection_id = ? AND face_id IN ({marks})",  # noqa: S608 marks only
            (owner, collection, *chunk),
        )


def _refresh(db: sqlite3.Connection, user: _UserRow) -> bool:
    """The user's vector as its faces are now; tells whether it has one."""
    rows = db.execute("SELECT template FROM face WHERE user_id = ? ORDER BY id", (user.row,))
    templates = [_floats(row[0]) for row in rows]
    blob = user_vector(np.stack(templates)).astype("<f4").tobytes() if templates else None
    db.execute("UPDATE user SET vector = ? WHERE id = ?", (blob, user.row))
    _bump(db, user.collection)
    return blob is not None


def _bump(db: sqlite3.Connection, collection: int) -> None:
    db.execute(
        "UPDATE collection SET user_generation = user_generation + 1 WHERE id = ?", (collection,)
    )


def _read_index(db: sqlite3.Connection, collection: int) -> UserIndex:
    rows = db.execute(
        "SELECT name, vector FROM user WHERE collection_id = ? AND vector IS NOT NULL "
        "ORDER BY name",
        (collection,),
    ).fetchall()
    users = tuple(User(UserId(row[0]), UserStatus.ACTIVE) for row in rows)
    matrix = np.stack([_floats(row[1]) for row in rows]) if rows else np.empty((0, 0), np.float32)
    return UserIndex(users, TemplateMatrix.of(np.asarray(matrix, dtype=np.float32)))


def _floats(blob: bytes) -> Floats:
    return np.frombuffer(blob, dtype="<f4").astype(np.float32)


def _chunks(face_ids: Sequence[FaceId]) -> Iterator[Sequence[FaceId]]:
    for start in range(0, len(face_ids), _CHUNK):
        yield face_ids[start : start + _CHUNK]
