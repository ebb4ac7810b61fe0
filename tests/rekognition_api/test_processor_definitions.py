"""Stream processors outlive the service: what they are, not that they run."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.errors import ConfigError, OutputError
from rekadapter.feeds import FeedSpec, Frame
from rekadapter.rekognition_api.jobs.definitions import Definition, SqliteDefinitions
from rekadapter.rekognition_api.jobs.opening import BackgroundOptions, OpenedBackground
from rekadapter.rekognition_api.jobs.plans import ProcessorKey, ProcessorPlan, StreamSettings
from rekadapter.rekognition_api.jobs.processors import StreamProcessors
from rekadapter.rekognition_api.jobs.records import CallbackSink
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.rekognition_api.tags import SqliteTags
from rekadapter.testing.clips import even, write_clip
from rekadapter.testing.drawn import picture
from rekadapter.types import CameraId, GalleryId, Size

ACCOUNT, REGION = "123456789012", "eu-west-1"
ARN = f"arn:aws:rekognition:{REGION}:{ACCOUNT}:streamprocessor/door"
DOOR = {
    "Name": "door",
    "Input": {
        "KinesisVideoStream": {
            "Arn": f"arn:aws:kinesisvideo:{REGION}:{ACCOUNT}:stream/lobby/1500000000000"
        }
    },
    "Output": {"KinesisDataStream": {"Arn": f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/faces"}},
    "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/streams",
    "Settings": {"FaceSearch": {"CollectionId": "staff", "FaceMatchThreshold": 91.5}},
    "Tags": {"floor": "0"},
}


class Served:
    """A service that was started on a folder."""

    def __init__(self, service: RekognitionService, streams: StreamProcessors) -> None:
        self._service = service
        self.streams = streams

    def ask(self, operation: str, **members: Any) -> Any:
        answer = self._service.handle(
            f"RekognitionService.{operation}",
            json.dumps(members).encode(),
            account=ACCOUNT,
            region=REGION,
        )
        return json.loads(answer.body)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_clip(tmp_path / "lobby.mp4", even([picture(size=Size(320, 240))] * 5, fps=5))
    (tmp_path / "streams.toml").write_text(
        '[[video]]\nname = "lobby"\nsource = "lobby.mp4"\n'
        '[[data]]\nname = "faces"\nfile = "faces.jsonl"\n'
    )
    return tmp_path


@contextmanager
def served(folder: Path, *, keeps: bool = True) -> Iterator[Served]:
    recognizer = MemoryRecognizer()
    recognizer.create_gallery(GalleryId("staff"))
    options = BackgroundOptions(
        streams_file=folder / "streams.toml",
        processors_file=folder / "data" / "processors.sqlite3" if keeps else None,
    )
    tags = SqliteTags(folder / "tags.sqlite3")
    with OpenedBackground(options) as opened:
        assert opened.background is not None
        assert opened.background.streams is not None
        service = RekognitionService(recognizer, background=opened.background, tags=tags)
        yield Served(service, opened.background.streams)
    tags.close()


def test_a_processor_is_there_stopped_after_a_restart(folder: Path) -> None:
    with served(folder) as first:
        assert first.ask("CreateStreamProcessor", **DOOR) == {"StreamProcessorArn": ARN}
        before = first.ask("DescribeStreamProcessor", Name="door")
        first.ask("StartStreamProcessor", Name="door")
    with served(folder) as second:
        listed = second.ask("ListStreamProcessors")["StreamProcessors"]
        assert listed == [{"Name": "door", "Status": "STOPPED"}]
        assert second.ask("DescribeStreamProcessor", Name="door") == before
        assert second.ask("ListTagsForResource", ResourceArn=ARN)["Tags"] == {"floor": "0"}
        assert second.ask("CreateStreamProcessor", **DOOR)["__type"] == "ResourceInUseException"
        assert second.ask("StartStreamProcessor", Name="door")["SessionId"]


def test_a_deleted_processor_stays_deleted(folder: Path) -> None:
    with served(folder) as first:
        first.ask("CreateStreamProcessor", **DOOR)
        assert first.ask("DeleteStreamProcessor", Name="door") == {}
    with served(folder) as second:
        assert second.ask("ListStreamProcessors")["StreamProcessors"] == []
        assert second.ask("CreateStreamProcessor", **DOOR) == {"StreamProcessorArn": ARN}


def test_without_a_file_processors_go_with_the_service(folder: Path) -> None:
    with served(folder, keeps=False) as first:
        first.ask("CreateStreamProcessor", **DOOR)
    with served(folder, keeps=False) as second:
        assert second.ask("ListStreamProcessors")["StreamProcessors"] == []


def test_a_processor_whose_feed_is_gone_is_listed_and_fails_with_the_reason(folder: Path) -> None:
    with served(folder) as first:
        first.ask("CreateStreamProcessor", **DOOR)
    plan = ProcessorKey(ACCOUNT, REGION, "door")
    definitions = SqliteDefinitions(folder / "data" / "processors.sqlite3")
    with StreamProcessors(StreamSettings({}, {}), definitions=definitions, threads=False) as kept:
        kept.start(plan, lambda _: Idle())
        described = kept.describe(plan)
    assert described.state == "FAILED"
    assert described.message is not None
    assert "no feed stands for" in described.message


def test_one_service_at_a_time(folder: Path) -> None:
    with (
        served(folder),
        pytest.raises(ConfigError, match="another service use this data directory"),
        served(folder),
    ):
        pass
    with served(folder):
        pass


def test_the_file_is_its_owners_alone(folder: Path) -> None:
    with served(folder) as first:
        first.ask("CreateStreamProcessor", **DOOR)
    mode = (folder / "data" / "processors.sqlite3").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_what_is_no_database_is_named(folder: Path) -> None:
    file = folder / "data" / "processors.sqlite3"
    file.parent.mkdir()
    file.write_bytes(b"no database, but long enough to be looked at" * 50)
    with pytest.raises(ConfigError, match=r"processors\.sqlite3"), served(folder):
        pass


def test_what_cannot_be_kept_is_not_created(tmp_path: Path) -> None:
    file = tmp_path / "processors.sqlite3"
    definitions = SqliteDefinitions(file)
    settings = StreamSettings(
        {"lobby": FeedSpec(CameraId("lobby"), "lobby.mp4")}, {"faces": CallbackSink(len)}
    )
    streams = StreamProcessors(settings, definitions=definitions)
    service = RekognitionService(_with_staff(), background=_Only(streams))
    definitions.close()
    found = Served(service, streams)
    assert found.ask("CreateStreamProcessor", **DOOR)["__type"] == "InternalServerError"
    assert found.ask("ListStreamProcessors")["StreamProcessors"] == []
    streams.close()


def test_numbers_and_names_come_back_as_they_were(tmp_path: Path) -> None:
    key = ProcessorKey(ACCOUNT, REGION, "door")
    plan = ProcessorPlan(key, "video", "data", "role", GalleryId("staff"), 91.25)
    kept = SqliteDefinitions(tmp_path / "kept.sqlite3")
    kept.put(Definition(plan, 1_800_000_000.5))
    kept.close()
    again = SqliteDefinitions(tmp_path / "kept.sqlite3")
    assert again.every() == (Definition(plan, 1_800_000_000.5),)
    again.drop(key)
    assert again.every() == ()
    again.close()
    with pytest.raises(OutputError, match="kept"):
        again.every()


class Idle:
    """A searcher of no frame."""

    def record_of(self, frame: Frame) -> bytes:
        return pytest.fail(f"{frame.camera} was searched")


class _Only:
    """Background work that is streams and nothing else."""

    video = None
    remote = None

    def __init__(self, streams: StreamProcessors) -> None:
        self.streams: StreamProcessors | None = streams


def _with_staff() -> MemoryRecognizer:
    recognizer = MemoryRecognizer()
    recognizer.create_gallery(GalleryId("staff"))
    return recognizer
