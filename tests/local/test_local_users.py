"""Users survive restarts, older files and other processes; what a user's vector is."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rekadapter.backends.local.geometry import Floats
from rekadapter.backends.local.store import (
    _SCHEMA,  # a file of the version before users
    FILE_NAME,
    SqliteGalleryStore,
    StoredFace,
)
from rekadapter.backends.local.users import SqliteUsers, user_vector
from rekadapter.types import (
    BoundingBox,
    ComparisonScore,
    EnrolledFace,
    FaceId,
    GalleryId,
    ImageId,
    User,
    UserId,
    UserStatus,
)
from tests.local.conftest import StoreAt

GALLERY = GalleryId("people")
LENGTH = 4
ANN, BOB = UserId("ann"), UserId("bob")


def _face(number: int, values: list[float] | None = None) -> StoredFace:
    face = EnrolledFace(
        FaceId(f"face-{number}"), ImageId("image"), None, BoundingBox(0.1, 0.2, 0.3, 0.4), 99.0
    )
    template = np.eye(LENGTH, dtype=np.float32)[number % LENGTH] if values is None else values
    return StoredFace(face, np.asarray(template, dtype=np.float32))


def _any(vector: Floats, template: Floats) -> ComparisonScore | None:
    """Every face is like enough."""
    assert vector.shape == template.shape == (LENGTH,)
    return None


@pytest.fixture
def store(store_at: StoreAt, tmp_path: Path) -> SqliteGalleryStore:
    made = store_at(tmp_path)
    made.create(GALLERY, model="model-1", length=LENGTH)
    made.add(GALLERY, [_face(number) for number in range(4)])
    for user in (ANN, BOB):
        made.users.create(GALLERY, user)
    return made


@pytest.fixture
def users(store: SqliteGalleryStore) -> SqliteUsers:
    return store.users


def test_users_survive_a_restart(
    store: SqliteGalleryStore, users: SqliteUsers, store_at: StoreAt, tmp_path: Path
) -> None:
    users.associate(GALLERY, ANN, [FaceId("face-0"), FaceId("face-1")], _any)
    store.close()
    again = store_at(tmp_path)
    assert again.users.users(GALLERY) == [
        User(ANN, UserStatus.ACTIVE),
        User(BOB, UserStatus.CREATED),
    ]
    assert {face.face_id: face.user for face in again.faces(GALLERY)} == {
        "face-0": ANN,
        "face-1": ANN,
        "face-2": None,
        "face-3": None,
    }


def test_another_process_sees_every_change(
    store: SqliteGalleryStore, users: SqliteUsers, store_at: StoreAt, tmp_path: Path
) -> None:
    other = store_at(tmp_path)
    assert other.users.index(GALLERY).users == ()
    users.associate(GALLERY, ANN, [FaceId("face-0")], _any)
    assert [user.user_id for user in other.users.index(GALLERY).users] == [ANN]
    users.delete(GALLERY, ANN)
    assert other.users.index(GALLERY).users == ()
    store.delete(GALLERY)
    store.create(GALLERY, model="model-1", length=LENGTH)
    assert other.users.users(GALLERY) == []


def test_a_file_from_before_users_is_brought_up_to_date(store_at: StoreAt, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        db.executescript(_SCHEMA)
        db.execute(
            "INSERT INTO collection (name, model, length, created_at) "
            "VALUES ('people', 'model-1', 4, '2026-01-01T00:00:00+00:00')"
        )
        db.execute(
            "INSERT INTO face (collection_id, face_id, image_id, box_left, box_top, box_width, "
            "box_height, confidence, template) VALUES (1, 'face-0', 'i', 0, 0, 1, 1, 99, ?)",
            (np.ones(LENGTH, "<f4").tobytes(),),
        )
        db.execute("PRAGMA user_version = 1")
    db.close()
    with ThreadPoolExecutor(4) as pool:
        stores = [store_at(tmp_path) for _ in range(4)]
        described = list(pool.map(lambda store: store.describe(GALLERY), stores))
    assert {(found.face_count, found.user_count) for found in described} == {(1, 0)}
    stores[0].users.create(GALLERY, ANN)
    stores[1].users.associate(GALLERY, ANN, [FaceId("face-0")], _any)
    assert [face.user for face in stores[2].faces(GALLERY)] == [ANN]


def test_the_vector_follows_the_faces(store: SqliteGalleryStore, users: SqliteUsers) -> None:
    assert users.vector_of(GALLERY, ANN) is None
    users.associate(GALLERY, ANN, [FaceId("face-0")], _any)
    assert np.array_equal(_vector(users), [1, 0, 0, 0])
    users.associate(GALLERY, ANN, [FaceId("face-1")], _any)
    assert _vector(users) == pytest.approx([0.5**0.5, 0.5**0.5, 0, 0])
    users.disassociate(GALLERY, ANN, [FaceId("face-0")])
    assert np.array_equal(_vector(users), [0, 1, 0, 0])
    assert store.remove(GALLERY, [FaceId("face-0"), FaceId("face-1")]) == {"face-0"}
    users.disassociate(GALLERY, ANN, [FaceId("face-1")])
    assert users.vector_of(GALLERY, ANN) is None


def test_a_deleted_users_vector_is_not_left_in_the_files(
    store: SqliteGalleryStore, users: SqliteUsers, tmp_path: Path
) -> None:
    marked = np.array([0.123456, -0.654321, 0.271828, 0.314159], np.float32)
    store.add(GALLERY, [_face(10, marked.tolist()), _face(11, (marked * 3).tolist())])
    users.associate(GALLERY, ANN, [FaceId("face-10"), FaceId("face-11")], _any)
    vector = _vector(users).astype("<f4").tobytes()
    assert _anywhere(vector, tmp_path)
    users.delete(GALLERY, ANN)
    assert not _anywhere(vector, tmp_path)


def test_threads_associating_together_lose_nothing(
    store: SqliteGalleryStore, users: SqliteUsers
) -> None:
    store.add(GALLERY, [_face(number) for number in range(20, 60)])
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda number: users.associate(GALLERY, ANN, [FaceId(f"face-{number}")], _any),
                range(20, 60),
            )
        )
    owners = users.owners(GALLERY, [FaceId(f"face-{number}") for number in range(60)])
    assert set(owners) == {f"face-{number}" for number in range(20, 60)}


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 6), st.just(LENGTH)),
        elements=st.floats(0.0625, 1, width=32),
    )
)
def test_a_users_vector_is_as_long_as_its_templates_are(templates: Floats) -> None:
    vector = user_vector(templates)
    assert vector.dtype == np.float32
    usual = np.linalg.norm(templates, axis=1).mean()
    assert float(np.linalg.norm(vector)) == pytest.approx(float(usual), rel=1e-5)
    mean = templates.mean(axis=0)
    assert float(vector @ mean) == pytest.approx(
        float(np.linalg.norm(vector) * np.linalg.norm(mean)), rel=1e-5
    )


def test_opposite_templates_make_no_vector_of_nan() -> None:
    templates = np.array([[1, 0], [-1, 0]], dtype=np.float32)
    assert np.array_equal(user_vector(templates), [0, 0])


def _vector(users: SqliteUsers) -> Floats:
    vector = users.vector_of(GALLERY, ANN)
    assert vector is not None
    return vector


def _anywhere(data: bytes, folder: Path) -> bool:
    return any(data in file.read_bytes() for file in folder.iterdir())
