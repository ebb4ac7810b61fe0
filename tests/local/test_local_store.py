"""Galleries survive kills, other processes, full disks and wrong models."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from rekadapter.backends.local.store import FILE_NAME, SqliteGalleryStore, StoredFace
from rekadapter.errors import (
    BackendClosedError,
    GalleryError,
    GalleryExistsError,
    GalleryNotFoundError,
    OutputError,
)
from rekadapter.types import BoundingBox, EnrolledFace, FaceId, GalleryId, ImageId, SubjectId
from tests.local.conftest import StoreAt

GALLERY = GalleryId("people")
LENGTH = 8


def _face(number: int, subject: str | None = "someone") -> StoredFace:
    face = EnrolledFace(
        face_id=FaceId(f"face-{number}"),
        image_id=ImageId(f"image-{number // 2}"),
        subject=None if subject is None else SubjectId(subject),
        box=BoundingBox(0.1, 0.2, 0.3, number / 1e6),
        confidence=99.5,
    )
    return StoredFace(face, np.full(LENGTH, number, np.float32))


@pytest.fixture
def store(store_at: StoreAt, tmp_path: Path) -> SqliteGalleryStore:
    made = store_at(tmp_path)
    made.create(GALLERY, model="model-1", length=LENGTH)
    return made


def _numbers(store: SqliteGalleryStore) -> list[int]:
    """What a search would see, by the number each template was made of."""
    return [int(value) for value in store.index(GALLERY).matrix.templates[:, 0]]


def test_faces_come_back_as_they_went_in(
    store: SqliteGalleryStore, store_at: StoreAt, tmp_path: Path
) -> None:
    faces = [_face(0), _face(1, "Zoë Šťastná"), _face(2, None)]
    store.add(GALLERY, faces)
    store.close()
    again = store_at(tmp_path)
    assert again.faces(GALLERY) == [stored.face for stored in faces]
    index = again.index(GALLERY)
    assert index.faces == tuple(stored.face for stored in faces)
    assert np.array_equal(index.matrix.templates, [stored.template for stored in faces])
    described = again.describe(GALLERY)
    assert (described.face_count, described.model) == (3, "model-1")


def test_faces_of_one_image_and_subject(store: SqliteGalleryStore) -> None:
    store.add(GALLERY, [_face(0, "a"), _face(1, "b"), _face(2, "a"), _face(3, None)])
    found = store.faces_of_image(GALLERY, ImageId("image-0"), SubjectId("a"))
    assert [face.face_id for face in found] == ["face-0"]
    nobody = store.faces_of_image(GALLERY, ImageId("image-1"), None)
    assert [face.face_id for face in nobody] == ["face-3"]


def test_a_face_id_is_stored_once(store: SqliteGalleryStore) -> None:
    store.add(GALLERY, [_face(1)])
    store.add(GALLERY, [_face(1), _face(2)])
    assert _numbers(store) == [1, 2]


def test_the_index_follows_additions_and_removals(store: SqliteGalleryStore) -> None:
    store.add(GALLERY, [_face(n) for n in range(5)])
    assert _numbers(store) == [0, 1, 2, 3, 4]
    store.add(GALLERY, [_face(7)])
    assert _numbers(store) == [0, 1, 2, 3, 4, 7]
    assert store.remove(GALLERY, [FaceId("face-1"), FaceId("face-7"), FaceId("nobody")]) == {
        "face-1",
        "face-7",
    }
    store.add(GALLERY, [_face(9)])
    assert _numbers(store) == [0, 2, 3, 4, 9]


def test_a_gallery_made_anew_under_an_old_name_is_empty(store: SqliteGalleryStore) -> None:
    store.add(GALLERY, [_face(1)])
    assert _numbers(store) == [1]
    store.delete(GALLERY)
    store.create(GALLERY, model="model-1", length=LENGTH)
    assert _numbers(store) == []


def test_many_removals_at_once(store: SqliteGalleryStore) -> None:
    store.add(GALLERY, [_face(n) for n in range(2500)])
    gone = store.remove(GALLERY, [FaceId(f"face-{n}") for n in range(1, 2500)])
    assert len(gone) == 2499
    assert _numbers(store) == [0]


def test_what_another_process_changes_is_seen(
    store: SqliteGalleryStore, store_at: StoreAt, tmp_path: Path
) -> None:
    other = store_at(tmp_path)
    assert _numbers(store) == []
    other.add(GALLERY, [_face(3)])
    assert _numbers(store) == [3]
    other.remove(GALLERY, [FaceId("face-3")])
    assert _numbers(store) == []
    other.delete(GALLERY)
    with pytest.raises(GalleryNotFoundError, match="people"):
        store.index(GALLERY)


def test_threads_and_stores_enrolling_together_lose_nothing(
    store: SqliteGalleryStore, store_at: StoreAt, tmp_path: Path
) -> None:
    other = store_at(tmp_path)

    def enroll(number: int) -> None:
        (store if number % 2 else other).add(GALLERY, [_face(number)])
        store.index(GALLERY)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(enroll, range(60)))
    assert sorted(_numbers(store)) == list(range(60))
    assert sorted(_numbers(other)) == list(range(60))


WRITER = """
import sys
from pathlib import Path
import numpy as np
from rekadapter.backends.local.store import SqliteGalleryStore, StoredFace
from rekadapter.types import BoundingBox, EnrolledFace, FaceId, GalleryId, ImageId

store = SqliteGalleryStore(Path(sys.argv[1]))
for number in range(1_000_000):
    face = EnrolledFace(
        FaceId(f"face-{number}"), ImageId("image"), None, BoundingBox(0, 0, 1, 1), 99.0
    )
    store.add(GalleryId("people"), [StoredFace(face, np.full(8, number, np.float32))])
    print(number, flush=True)
"""


@pytest.mark.parametrize("after", [3, 40, 200])
def test_a_killed_process_loses_nothing_it_acknowledged(
    store: SqliteGalleryStore, store_at: StoreAt, tmp_path: Path, after: int
) -> None:
    with subprocess.Popen(  # noqa: S603 our own code
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            # this process reads while that one writes
            assert int(line) in _numbers(store)
            if int(line) >= after:
                break
        writer.send_signal(signal.SIGKILL)
        acknowledged = [int(line) for line in writer.stdout if line.endswith("\n")]
    last = max([after, *acknowledged])
    found = _numbers(store_at(tmp_path))
    assert found[: last + 1] == list(range(last + 1))
    # at most the one that was being written
    assert len(found) <= last + 2
    store.add(GALLERY, [_face(2_000_000)])
    assert _numbers(store)[-1] == 2_000_000


def test_a_removed_template_is_gone_from_the_disk(
    store: SqliteGalleryStore, tmp_path: Path
) -> None:
    secret = np.arange(1, LENGTH + 1, dtype=np.float32) * np.float32(1.2345)
    store.add(GALLERY, [_face(0), StoredFace(_face(1).face, secret)])
    store.remove(GALLERY, [FaceId("face-1")])
    on_disk = b"".join(path.read_bytes() for path in tmp_path.glob(f"{FILE_NAME}*"))
    assert secret.tobytes() not in on_disk
    assert _numbers(store) == [0]


def test_creating_twice_and_unknown_names_are_typed(store: SqliteGalleryStore) -> None:
    with pytest.raises(GalleryExistsError, match="people"):
        store.create(GALLERY, model="model-2", length=4)
    with pytest.raises(GalleryNotFoundError, match="gallery create elsewhere"):
        store.describe(GalleryId("elsewhere"))


def test_a_template_of_another_length_is_a_programming_error_and_changes_nothing(
    store: SqliteGalleryStore,
) -> None:
    wrong = StoredFace(_face(1).face, np.zeros(LENGTH + 1, np.float32))
    with pytest.raises(ValueError, match="8 float32"):
        store.add(GALLERY, [_face(0), wrong])
    assert _numbers(store) == []


def test_a_closed_store_refuses(store: SqliteGalleryStore) -> None:
    store.close()
    store.close()
    with pytest.raises(BackendClosedError):
        store.names()


def test_a_file_that_is_no_gallery_is_named(store_at: StoreAt, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"this is not a database, whatever its name says" * 100)
    with pytest.raises(GalleryError, match=FILE_NAME):
        store_at(tmp_path).names()


def test_a_gallery_of_a_newer_version_is_left_alone(
    store: SqliteGalleryStore, store_at: StoreAt, tmp_path: Path
) -> None:
    store.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(GalleryError, match="newer"):
        store_at(tmp_path).names()


def test_a_directory_that_cannot_be_made_is_an_output_error(
    store_at: StoreAt, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="gallery_dir"):
        store_at(tmp_path / "file").names()


def test_a_full_disk_is_an_output_error_and_the_gallery_stays_whole(
    store: SqliteGalleryStore, store_at: StoreAt, tmp_path: Path
) -> None:
    store.add(GALLERY, [_face(0)])
    store.close()
    full = store_at(tmp_path)
    full.names()
    # SQLite's own bound stands for the disk's: the same error, SQLITE_FULL
    connection = full._connection
    assert connection is not None
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OutputError, match="full"):
        full.add(GALLERY, [_face(n) for n in range(1, 2000)])
    assert _numbers(full) == [0]
    full.close()
    assert _numbers(store_at(tmp_path)) == [0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes wherever it likes")
def test_a_read_only_gallery_is_an_output_error(
    store: SqliteGalleryStore, store_at: StoreAt, tmp_path: Path
) -> None:
    store.close()
    (tmp_path / FILE_NAME).chmod(0o400)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="permissions"):
            store_at(tmp_path).add(GALLERY, [_face(0)])
    finally:
        tmp_path.chmod(0o700)
