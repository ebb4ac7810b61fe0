"""``rekadapter serve`` killed while clients index: what it acknowledged is there afterwards."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import BotoCoreError

from rekadapter.backends.local.store import FILE_NAME
from rekadapter.errors import UsageError
from rekadapter.imaging import encode_jpeg
from rekadapter.testing.material import photo_material
from tests.rekognition_api.conftest import client_for

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient
    from mypy_boto3_rekognition.type_defs import FaceTypeDef

CLIENTS = 4
KILLS = 3
PATIENCE = 60


@pytest.fixture(scope="module")
def photo() -> bytes:
    try:
        ann = photo_material().ann
    except UsageError as error:
        pytest.skip(str(error))
    return encode_jpeg(ann, 85)


@contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command on the local backend with its data in ``folder``; it does not outlive the
    block."""
    command = [sys.executable, "-c", "from rekadapter.cli import main; main()", "serve"]
    command += ["--backend", "local", "--port", "0"]
    environment = {**os.environ, "REKADAPTER_DATA_DIR": str(folder), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(  # noqa: S603 - our own program
        command, cwd=folder, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if "AWS_ENDPOINT_URL_REKOGNITION=" in line:
                    yield process, line.strip().rpartition("=")[2]
                    break
            else:
                raise AssertionError("the service ended before it served")
        finally:
            process.kill()


@dataclass
class Indexing:
    """Several clients index the same photograph, each time of somebody else, until the service is
    gone. ``acknowledged`` has the id of each face that was answered for, and whose it is."""

    photo: bytes
    acknowledged: dict[str, str] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    _numbers: Iterator[int] = field(default_factory=count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def until_killed(self, process: subprocess.Popen[str], url: str, wait: float, more: int) -> int:
        """Kills the service ``wait`` seconds after ``more`` faces were acknowledged; gives back how
        many requests that left without an answer."""
        unanswered: list[str] = []
        enough = len(self.acknowledged) + more
        # boto3 makes clients one at a time, whatever uses them
        clients = [client_for(url) for _ in range(CLIENTS)]
        threads = [
            threading.Thread(target=self._index, args=(client, unanswered)) for client in clients
        ]
        for thread in threads:
            thread.start()
        end = time.monotonic() + PATIENCE
        while len(self.acknowledged) < enough and time.monotonic() < end:
            time.sleep(0.005)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        for thread in threads:
            thread.join(PATIENCE)
        assert len(self.acknowledged) >= enough
        return len(unanswered)

    def _index(self, client: RekognitionClient, unanswered: list[str]) -> None:
        with closing(client):
            while True:
                with self._lock:
                    who = f"person-{next(self._numbers)}"
                    self.sent.add(who)
                try:
                    answer = client.index_faces(
                        CollectionId="staff", Image={"Bytes": self.photo}, ExternalImageId=who
                    )
                except BotoCoreError:
                    answer = None
                # botocore takes an answer that was cut off after its head for one without members
                if answer is None or "FaceRecords" not in answer:
                    unanswered.append(who)
                    return
                (record,) = answer["FaceRecords"]
                with self._lock:
                    self.acknowledged[record["Face"]["FaceId"]] = who


def listed(client: RekognitionClient) -> list[FaceTypeDef]:
    pages = client.get_paginator("list_faces").paginate(
        CollectionId="staff", PaginationConfig={"PageSize": 7}
    )
    return [face for page in pages for face in page["Faces"]]


def everything_is_there(client: RekognitionClient, indexing: Indexing, unanswered: int) -> None:
    faces = listed(client)
    found = {face["FaceId"]: face["ExternalImageId"] for face in faces}
    assert len(found) == len(faces)
    assert indexing.acknowledged.items() <= found.items()
    assert set(found.values()) <= indexing.sent
    # what was being written when the service died may be there, whole
    assert len(found) <= len(indexing.acknowledged) + unanswered
    assert client.describe_collection(CollectionId="staff")["FaceCount"] == len(found)
    assert all(face["Confidence"] > 0 and face["BoundingBox"]["Width"] > 0 for face in faces)
    matches = client.search_faces_by_image(
        CollectionId="staff",
        Image={"Bytes": indexing.photo},
        FaceMatchThreshold=99,
        MaxFaces=4096,
    )["FaceMatches"]
    assert {match["Face"]["FaceId"] for match in matches} == set(found)
    probe = next(reversed(indexing.acknowledged))
    others = client.search_faces(CollectionId="staff", FaceId=probe, MaxFaces=4096)["FaceMatches"]
    assert {match["Face"]["FaceId"] for match in others} == set(found) - {probe}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_no_acknowledged_face_is_lost_however_often_the_service_is_killed(
    photo: bytes, tmp_path: Path
) -> None:
    chance = random.Random(3)  # noqa: S311 - moments, not secrets
    indexing = Indexing(photo)
    unanswered = 0
    for kill in range(KILLS):
        with serving(tmp_path) as (process, url), closing(client_for(url)) as client:
            if kill == 0:
                client.create_collection(CollectionId="staff")
            else:
                everything_is_there(client, indexing, unanswered)
            wait, more = chance.uniform(0, 0.1), chance.randint(3, 15)
            unanswered += indexing.until_killed(process, url, wait, more)
    with serving(tmp_path) as (_, url), closing(client_for(url)) as client:
        everything_is_there(client, indexing, unanswered)
    (database,) = tmp_path.rglob(FILE_NAME)
    rows_are_whole(database)


def rows_are_whole(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        rows, whole = database.execute(
            "SELECT count(*), sum(length(face.template) = 4 * collection.length) FROM face "
            "JOIN collection ON collection.id = face.collection_id"
        ).fetchone()
        assert rows == whole > 0
