"""The compatible service in front of Rekognition itself, alone and with a shadow.

The far end is our own service over the memory backend, so each call makes two hops:
boto3 -> service -> boto3 -> service -> memory.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from rekadapter import errors
from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.backends.rekognition import open_rekognition
from rekadapter.backends.rekognition.limits import OPERATIONS
from rekadapter.cli.session import Session
from rekadapter.cli.shadowing import ShadowOptions, parse_bytes, shadowed
from rekadapter.errors import ConfigError, UsageError
from rekadapter.gallery_sync import (
    NoteBook,
    Side,
    SyncOptions,
    carry_out,
    notes_file,
    plan_sync,
    read_notes,
    read_sync_roster,
)
from rekadapter.imaging import Image, encode_jpeg
from rekadapter.recognizer import BackendContext, Recognizer
from rekadapter.rekognition_api.server import ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.testing.contract import NEVER_ISSUED, RecognizerContract
from rekadapter.testing.drawn import picture, portrait
from rekadapter.testing.material import ContractMaterial, drawn_material
from rekadapter.types import GalleryId, SubjectId

G = GalleryId("G")
NOBODY = encode_jpeg(picture(), 90)


def photo(identity: str) -> bytes:
    return encode_jpeg(portrait(identity), 90)


def client_of(url: str) -> Any:
    config = Config(retries={"total_max_attempts": 1})
    return boto3.client("rekognition", endpoint_url=url, region_name="us-east-1", config=config)


def cloud_at(url: str, folder: Path) -> Recognizer:
    options = {
        "endpoint_url": url,
        "unsigned": True,
        "region": "us-east-1",
        "requests_per_second": dict.fromkeys(OPERATIONS, 1000.0),
        "deadline_seconds": 0.2,
    }
    return open_rekognition("cloud", options, BackendContext(folder, folder))


@dataclass(slots=True)
class Failing:
    """The memory backend, or a failure in place of every answer."""

    inner: MemoryRecognizer = field(default_factory=MemoryRecognizer)
    error: errors.RekadapterError | None = None

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.inner, name)
        if not callable(member):
            return member

        def call(*args: Any, **kwargs: Any) -> Any:
            if self.error is not None:
                raise self.error
            return member(*args, **kwargs)

        return call


@dataclass(frozen=True, slots=True)
class Hops:
    """Where the far service and the near one, in front of it, are reached."""

    far: str
    near: str
    backend: Failing


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hops]:
    backend = Failing()
    with ExitStack() as stack:
        far = stack.enter_context(ServiceServer(create_app(RekognitionService(backend))))
        cloud = cloud_at(far.url, tmp_path_factory.mktemp("cloud"))
        stack.callback(cloud.close)
        near = stack.enter_context(ServiceServer(create_app(RekognitionService(cloud))))
        yield Hops(far.url, near.url, backend)


@pytest.fixture
def hops(standing: Hops) -> Iterator[Hops]:
    """Without a gallery or a failure at the far end, before and after."""
    yield standing
    standing.backend.error = None
    for gallery in list(standing.backend.inner.galleries()):
        standing.backend.inner.delete_gallery(gallery)


class TestRekognitionOverServiceOverRekognition(RecognizerContract):
    """Two services on the way break no promise."""

    @pytest.fixture
    def recognizer(self, hops: Hops, tmp_path: Path) -> Iterator[Recognizer]:
        recognizer = cloud_at(hops.near, tmp_path)
        yield recognizer
        recognizer.close()

    @pytest.fixture
    def material(self) -> ContractMaterial:
        return drawn_material()


def test_a_collection_lives_its_life_over_two_hops(hops: Hops) -> None:
    client = client_of(hops.near)
    client.create_collection(CollectionId=G)
    image = {"Bytes": photo("ann")}
    indexed = client.index_faces(CollectionId=G, Image=image, ExternalImageId="ann")
    face_id = indexed["FaceRecords"][0]["Face"]["FaceId"]
    client.index_faces(CollectionId=G, Image={"Bytes": photo("bob")}, ExternalImageId="bob")
    found = client.search_faces_by_image(CollectionId=G, Image=image, FaceMatchThreshold=90)
    assert [m["Face"]["ExternalImageId"] for m in found["FaceMatches"]] == ["ann"]
    assert client.search_faces(CollectionId=G, FaceId=face_id)["SearchedFaceId"] == face_id
    assert client.compare_faces(SourceImage=image, TargetImage=image)["FaceMatches"]
    assert len(client.list_faces(CollectionId=G, MaxResults=1)["Faces"]) == 1
    assert client.delete_faces(CollectionId=G, FaceIds=[face_id])["DeletedFaces"] == [face_id]
    assert client.describe_collection(CollectionId=G)["FaceCount"] == 1
    client.delete_collection(CollectionId=G)
    assert client.list_collections()["CollectionIds"] == []


def code_and_hint(url: str) -> tuple[str, int, str | None]:
    with pytest.raises(ClientError) as raised:
        client_of(url).detect_faces(Image={"Bytes": photo("ann")})
    response = raised.value.response
    metadata = response["ResponseMetadata"]
    hint = metadata["HTTPHeaders"].get("x-amz-retry-after")
    return response["Error"]["Code"], metadata["HTTPStatusCode"], hint


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidImageError("x"),
        errors.ImageTooLargeError("x"),
        errors.ImageTooSmallError("x"),
        errors.GalleryNotFoundError("x"),
        errors.GalleryExistsError("x"),
        errors.InvalidRequestError("x"),
        errors.AccessDeniedError("x"),
        errors.QuotaExceededError("x"),
        errors.ThrottledError("x"),
        errors.ThrottledError("x", retry_after_seconds=0.5),
        errors.ServiceUnavailableError("x"),
        errors.RekadapterError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_code_passes_unchanged(hops: Hops, error: errors.RekadapterError) -> None:
    hops.backend.error = error
    assert code_and_hint(hops.near) == code_and_hint(hops.far)


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("search_faces", {"CollectionId": G, "FaceId": str(NEVER_ISSUED)}),
        ("describe_collection", {"CollectionId": "nowhere"}),
        ("search_faces_by_image", {"CollectionId": G, "Image": {"Bytes": NOBODY}}),
        ("create_collection", {"CollectionId": G}),
        ("detect_faces", {"Image": {"Bytes": b"no image"}}),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_wrong_is_said_in_the_same_words(
    hops: Hops, operation: str, parameters: dict[str, Any]
) -> None:
    client_of(hops.far).create_collection(CollectionId=G)

    def said(url: str) -> tuple[str, str]:
        call = getattr(client_of(url), operation)
        with pytest.raises(ClientError) as raised:
            call(**parameters)
        error = raised.value.response["Error"]
        return error["Code"], error["Message"]

    assert said(hops.near) == said(hops.far)


# --- with a shadow ----------------------------------------------------------------------------


@pytest.fixture
def session(tmp_path: Path, hops: Hops) -> Session:
    """The near memory backend, and the far service as ``cloud``; in ``moon`` no price is known."""
    table = f'type = "rekognition"\nendpoint_url = "{hops.far}"\nunsigned = true\n'
    config = tmp_path / "rekadapter.toml"
    config.write_text(
        f'data_dir = "{tmp_path}/data"\n'
        f'[backends.cloud]\nregion = "us-east-1"\n{table}'
        f'[backends.moon]\nregion = "eu-west-1"\n{table}'
        '[backends.other]\ntype = "memory"\n'
    )
    return Session.start(config)


def pairs(path: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [record for record in found if record["record"] == "pair"]


def test_a_price_budget_bounds_what_a_remote_shadow_is_asked(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "shadow.jsonl"
    options = ShadowOptions("cloud", log, usd_in_all=0.003)
    image = Image.from_bytes(photo("ann"))
    with session.backend("memory") as primary, shadowed(session, primary, options) as recognizer:
        for _ in range(8):
            assert recognizer.detect(image).faces
    assert len(pairs(log)) == 3
    said = capsys.readouterr().err
    assert "3 same" in said
    assert "5 price_budget" in said
    assert "$0.0030 billed" in said


def test_a_byte_budget_bounds_what_a_remote_shadow_is_sent(
    session: Session, tmp_path: Path
) -> None:
    log = tmp_path / "shadow.jsonl"
    image = Image.from_bytes(photo("ann"))
    size = 4 * len(image.encoded or b"") // 3
    options = ShadowOptions("moon", log, bytes_in_all=str(3 * size))
    with session.backend("memory") as primary, shadowed(session, primary, options) as recognizer:
        for _ in range(8):
            recognizer.detect(image)
    end = json.loads(log.read_text().splitlines()[-1])["counts"]
    assert end["compared"] == {"same": 2}
    assert end["dropped"] == {"byte_budget": 6}
    assert 2 * size < end["bytes_sent"] <= 3 * size


def test_a_search_by_face_reaches_the_shadows_face_of_the_same_photograph(
    session: Session, tmp_path: Path
) -> None:
    folder = tmp_path / "roster" / "ann"
    folder.mkdir(parents=True)
    (folder / "1.jpg").write_bytes(photo("ann"))
    log, notes = tmp_path / "log", notes_file(session.settings.data_dir, G)
    options = ShadowOptions("cloud", log, usd_per_hour=1)
    with session.backend("memory") as primary, session.backend("cloud") as cloud:
        sides = (
            Side("memory", primary.recognizer, lambda _: 0.0),
            Side("cloud", cloud.recognizer, lambda _: None),
        )
        plan = plan_sync(
            sides, G, read_sync_roster(folder.parent), read_notes(notes), SyncOptions()
        )
        with NoteBook(notes) as book:
            carry_out(plan, sides, book, SyncOptions())
        (face,) = primary.recognizer.faces(G)
        assert face.subject == SubjectId("ann")
        with shadowed(session, primary, options) as recognizer:
            threshold = recognizer.capabilities.default_threshold
            recognizer.search(G, face.face_id, threshold=threshold)
    (record,) = pairs(log)
    assert record["agreement"] == "same"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (ShadowOptions("cloud", Path("log")), "--shadow-usd-per-hour"),
        (ShadowOptions("cloud", usd_per_hour=1), "--shadow-log"),
        (ShadowOptions("moon", Path("log"), usd_per_hour=1), "price"),
        (ShadowOptions("memory", Path("log")), "own shadow"),
        (ShadowOptions(log=Path("log")), "--shadow NAME"),
        (ShadowOptions("other", Path("log"), bytes_per_hour="much"), "'much'"),
        (ShadowOptions("other", Path("log"), usd_in_all=0.0), "above 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_shadow_that_could_not_be_kept_is_refused(
    session: Session,
    options: ShadowOptions,
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        session.backend("memory") as primary,
        pytest.raises(UsageError, match=complaint),
        shadowed(session, primary, options),
    ):
        pass


def test_without_a_shadow_the_backend_is_served_as_it_is(session: Session) -> None:
    with (
        session.backend("memory") as primary,
        shadowed(session, primary, ShadowOptions()) as recognizer,
    ):
        assert recognizer is primary.recognizer


@pytest.mark.parametrize(
    ("text", "count"), [("50MB", 5e7), ("1.5 kB", 1500), ("2G", 2e9), ("700", 700), ("0", 0)]
)
def test_bytes_are_written_with_a_unit_or_without(text: str, count: float) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "MB", "-5MB", "5 mb", "1e3", "nan"])
def test_other_text_is_no_number_of_bytes(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_bytes(text)


@pytest.mark.slow
def test_serve_answers_from_one_backend_and_logs_both(tmp_path: Path) -> None:
    (tmp_path / "rekadapter.toml").write_text('[backends.other]\ntype = "memory"\n')
    command = [sys.executable, "-c", "from rekadapter.cli import main; main()", "serve"]
    command += ["--backend", "memory", "--port", "0", "--shadow", "other", "--shadow-mirror"]
    command += ["--shadow-log", "shadow.jsonl"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(  # noqa: S603 - our own program
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            client = client_of(_announced(process))
            client.create_collection(CollectionId=G)
            image = {"Bytes": photo("ann")}
            client.index_faces(CollectionId=G, Image=image, ExternalImageId="ann")
            assert client.search_faces_by_image(CollectionId=G, Image=image)["FaceMatches"]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
            assert process.stderr is not None
            said = process.stderr.read()
    assert "1 same" in said
    assert [record["operation"] for record in pairs(tmp_path / "shadow.jsonl")] == ["identify"]


def _announced(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    until = time.monotonic() + 60
    while time.monotonic() < until:
        line = process.stderr.readline()
        if "AWS_ENDPOINT_URL_REKOGNITION=" in line:
            return line.strip().rpartition("=")[2]
        assert line, "the service ended before it served"
    raise AssertionError("the service did not say where it is")
