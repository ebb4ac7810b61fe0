"""Stream processors over rekadapter's own feeds, as a real boto3 client sees them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.errors import ConfigError, InvalidRequestError, OutputError, ThrottledError
from rekadapter.feeds import Feed, FeedSpec, Frame, LostFrame, open_feed
from rekadapter.imaging import encode_jpeg
from rekadapter.rekognition_api.jobs.background import Background
from rekadapter.rekognition_api.jobs.opening import read_streams
from rekadapter.rekognition_api.jobs.plans import StreamSettings
from rekadapter.rekognition_api.jobs.processors import StreamProcessors
from rekadapter.rekognition_api.jobs.records import CallbackSink, JsonLinesSink, RecordSink
from rekadapter.rekognition_api.server import ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.testing.clips import even, write_clip
from rekadapter.testing.drawn import DrawnFace, picture, portrait
from rekadapter.types import CameraId, Size
from tests.rekognition_api.conftest import client_for
from tests.rekognition_api.model_check import held_to_the_model

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient

SIZE = Size(320, 240)
ANN = DrawnFace("ann", 20, 40, 80)
BOB = DrawnFace("bob", 200, 120, 80)
RECORDED = datetime(2026, 11, 23, 8, 30, tzinfo=UTC)
ROLE = "arn:aws:iam::123456789012:role/reader"


def video_arn(name: str = "lobby") -> str:
    return f"arn:aws:kinesisvideo:eu-west-1:123456789012:stream/{name}/1700000000000"


def data_arn(name: str = "faces") -> str:
    return f"arn:aws:kinesis:eu-west-1:123456789012:stream/{name}"


def asked(name: str = "door", *, video: str = "lobby", data: str = "faces") -> dict[str, Any]:
    """What CreateStreamProcessor needs for a face search."""
    return {
        "Name": name,
        "Input": {"KinesisVideoStream": {"Arn": video_arn(video)}},
        "Output": {"KinesisDataStream": {"Arn": data_arn(data)}},
        "Settings": {"FaceSearch": {"CollectionId": "staff"}},
        "RoleArn": ROLE,
    }


class EndlessFeed:
    """A camera that shows Ann for as long as anybody looks."""

    live = True
    continuous = True
    expected_frames = None

    def __init__(self, spec: FeedSpec) -> None:
        self.spec = spec

    def frames(self) -> Iterator[Frame | LostFrame]:
        shown = picture(ANN, size=SIZE)
        index = 0
        while True:
            yield Frame(self.spec.camera, index, index / 10, RECORDED, shown)
            index += 1
            time.sleep(0.001)  # as a camera: others get their turn


@dataclass
class Rig:
    client: RekognitionClient
    streams: StreamProcessors
    records: list[dict[str, Any]]

    def create(self, name: str = "door", **changed: Any) -> str:
        return self.client.create_stream_processor(**{**asked(name), **changed})[
            "StreamProcessorArn"
        ]

    def status(self, name: str = "door") -> str:
        return self.client.describe_stream_processor(Name=name)["Status"]

    def until(self, *states: str, name: str = "door") -> Any:
        """The description once the processor is in one of the states; the test's own timeout
        bounds it."""
        while self.status(name) not in states:
            time.sleep(0.01)
        return self.client.describe_stream_processor(Name=name)


@contextmanager
def rig(
    feeds: dict[str, FeedSpec],
    *,
    recognizer: MemoryRecognizer | None = None,
    sink: RecordSink | None = None,
    open_source: Callable[[FeedSpec], Feed] = open_feed,
    **settings: Any,
) -> Iterator[Rig]:
    recognizer = recognizer or MemoryRecognizer()
    records: list[dict[str, Any]] = []
    default = CallbackSink(lambda record: records.append(json.loads(record)))
    outputs: dict[str, RecordSink] = {"faces": sink or default, "more": default}
    streams = StreamProcessors(StreamSettings(feeds, outputs, **settings), open_source=open_source)
    background = Background(streams=streams)
    service = RekognitionService(recognizer, background=background)
    with background, ServiceServer(create_app(service)) as server:
        client = held_to_the_model(client_for(server.url))
        client.create_collection(CollectionId="staff")
        photo: Any = {"Bytes": encode_jpeg(portrait("ann"), 95)}
        client.index_faces(CollectionId="staff", Image=photo, ExternalImageId="ann")
        yield Rig(client, streams, records)
        client.close()


def feed(source: str | Path, fps: float | None = None) -> FeedSpec:
    return FeedSpec(CameraId("lobby"), str(source), fps=fps)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """3 s at 10 frames a second: Bob throughout, Ann in the first second, nobody in the last."""
    pictures = [
        *[picture(ANN, BOB, size=SIZE)] * 10,
        *[picture(BOB, size=SIZE)] * 10,
        *[picture(size=SIZE)] * 10,
    ]
    return write_clip(tmp_path / "lobby.mp4", even(pictures, fps=10), recorded_at=RECORDED)


@pytest.fixture
def run(clip: Path) -> Iterator[Rig]:
    with rig({"lobby": feed(clip)}) as made:
        yield made


@pytest.fixture
def camera() -> Iterator[Rig]:
    """Two cameras that never end."""
    feeds = {"lobby": feed("camera-1"), "yard": feed("camera-2")}
    with rig(feeds, open_source=EndlessFeed) as made:
        yield made


# --- records ----------------------------------------------------------------------------------


def test_each_frame_gives_a_record_in_rekognition_s_form(run: Rig, clip: Path) -> None:
    del clip
    run.create()
    session = run.client.start_stream_processor(Name="door")["SessionId"]
    assert session
    described = run.until("STOPPED")
    assert described["StatusMessage"] == "The feed has ended."
    assert len(run.records) == 15
    first = run.records[0]
    assert first.keys() == {
        "InputInformation",
        "StreamProcessorInformation",
        "FaceSearchResponse",
    }
    assert first["StreamProcessorInformation"] == {"Status": "RUNNING"}
    video = first["InputInformation"]["KinesisVideo"]
    assert video.keys() == {
        "StreamArn",
        "FragmentNumber",
        "ServerTimestamp",
        "ProducerTimestamp",
        "FrameOffsetInSeconds",
    }
    assert video["StreamArn"] == video_arn()
    assert video["FragmentNumber"].isdigit()
    assert len(first["FaceSearchResponse"]) == 2
    for face in first["FaceSearchResponse"]:
        assert face.keys() == {"DetectedFace", "MatchedFaces"}
        assert {"BoundingBox", "Confidence"} <= face["DetectedFace"].keys()
    [match] = [m for face in first["FaceSearchResponse"] for m in face["MatchedFaces"]]
    assert match.keys() == {"Similarity", "Face"}
    assert {"FaceId", "ImageId", "BoundingBox", "Confidence"} <= match["Face"].keys()
    assert match["Face"]["ExternalImageId"] == "ann"


def test_records_say_who_was_there_when(run: Rig) -> None:
    run.create()
    run.client.start_stream_processor(Name="door")
    run.until("STOPPED")
    seen = [
        (
            round(_captured(record) - RECORDED.timestamp(), 1),
            len(record["FaceSearchResponse"]),
            sum(len(face["MatchedFaces"]) for face in record["FaceSearchResponse"]),
        )
        for record in run.records
    ]
    assert seen == [
        *[(at / 10, 2, 1) for at in range(0, 10, 2)],
        *[(at / 10, 1, 0) for at in range(10, 20, 2)],
        *[(at / 10, 0, 0) for at in range(20, 30, 2)],
    ]


def _captured(record: dict[str, Any]) -> float:
    video = record["InputInformation"]["KinesisVideo"]
    return float(video["ProducerTimestamp"] + video["FrameOffsetInSeconds"])


def test_frames_of_one_fragment_share_its_number_and_times(run: Rig) -> None:
    run.create()
    run.client.start_stream_processor(Name="door")
    run.until("STOPPED")
    videos = [record["InputInformation"]["KinesisVideo"] for record in run.records]
    fragments = {video["FragmentNumber"] for video in videos}
    assert len(fragments) == 2  # 3 seconds in pieces of 2
    for fragment in fragments:
        of_it = [video for video in videos if video["FragmentNumber"] == fragment]
        assert len({round(video["ProducerTimestamp"], 3) for video in of_it}) == 1
        assert len({video["ServerTimestamp"] for video in of_it}) == 1
        assert all(0 <= video["FrameOffsetInSeconds"] < 2 for video in of_it)


@pytest.mark.parametrize(("fps", "count"), [(1.0, 3), (10.0, 30)])
def test_a_feed_s_own_rate_goes_first(clip: Path, fps: float, count: int) -> None:
    with rig({"lobby": feed(clip, fps)}) as run:
        run.create()
        run.client.start_stream_processor(Name="door")
        run.until("STOPPED")
        assert len(run.records) == count


def test_single_photographs_all_count(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.jpg").write_bytes(encode_jpeg(picture(ANN, size=SIZE), 95))
    with rig({"lobby": feed(folder)}, frames_per_second=0.1) as run:
        run.create()
        run.client.start_stream_processor(Name="door")
        run.until("STOPPED")
        offsets = [r["InputInformation"]["KinesisVideo"] for r in run.records]
        assert [o["FrameOffsetInSeconds"] for o in offsets] == [0, 1, 0, 1]


def test_a_stopped_processor_can_run_again(run: Rig) -> None:
    run.create()
    for runs in (1, 2):
        run.client.start_stream_processor(Name="door")
        run.until("STOPPED")
        assert len(run.records) == 15 * runs


# --- where records go -------------------------------------------------------------------------


def test_a_file_has_a_record_a_line(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "records" / "faces.jsonl"
    with rig({"lobby": feed(clip)}, sink=JsonLinesSink(out)) as run:
        run.create()
        run.client.start_stream_processor(Name="door")
        run.until("STOPPED")
    lines = out.read_text().splitlines()
    assert len(lines) == 15
    assert all(json.loads(line)["StreamProcessorInformation"] for line in lines)
    assert out.stat().st_mode & 0o077 == 0


def test_a_file_of_records_is_bounded_and_keeps_the_newest(tmp_path: Path) -> None:
    sink = JsonLinesSink(tmp_path / "faces.jsonl", max_bytes=100)
    for number in range(100):
        sink.put(f'{{"n": {number}}}'.encode())
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["faces.jsonl", "faces.jsonl.1"]
    assert all(file.stat().st_size <= 100 for file in files)
    assert json.loads(files[0].read_text().splitlines()[-1]) == {"n": 99}


class FullSink:
    """Has no room."""

    def put(self, record: bytes) -> None:
        raise OutputError(f"/srv/disk-1 is full: {len(record)} bytes too many")


def test_records_that_cannot_be_kept_fail_the_processor_and_tell_no_path(clip: Path) -> None:
    with rig({"lobby": feed(clip)}, sink=FullSink()) as run:
        run.create()
        run.client.start_stream_processor(Name="door")
        message = run.until("FAILED")["StatusMessage"]
        assert message == "The records of the data stream cannot be kept."


# --- creating and describing ------------------------------------------------------------------


def test_a_processor_is_described_as_it_was_created(run: Rig) -> None:
    arn = run.create()
    described = run.client.describe_stream_processor(Name="door")
    assert arn == described["StreamProcessorArn"]
    assert arn.startswith("arn:aws:rekognition:eu-west-1:")
    assert arn.endswith(":streamprocessor/door")
    for name, value in asked().items():
        if name != "Settings":
            assert described[name] == value  # type: ignore[literal-required]  # a table of names
    assert described["Status"] == "STOPPED"
    assert "StatusMessage" not in described
    assert described["CreationTimestamp"] == described["LastUpdateTimestamp"]


@pytest.mark.parametrize(("given", "kept"), [(None, 80), (10, 80), (80, 80), (99, 99)])
def test_a_threshold_under_80_is_raised_to_80(run: Rig, given: float | None, kept: float) -> None:
    search: dict[str, Any] = {"CollectionId": "staff"}
    if given is not None:
        search["FaceMatchThreshold"] = given
    run.create(Settings={"FaceSearch": search})
    described = run.client.describe_stream_processor(Name="door")
    assert described["Settings"]["FaceSearch"]["FaceMatchThreshold"] == kept


@pytest.mark.parametrize(
    "changed",
    [
        {"Settings": {}},
        {"Settings": {"FaceSearch": {}}},
        {"Settings": {"FaceSearch": {"CollectionId": "none"}}},
        {"Settings": {"ConnectedHome": {"Labels": ["PERSON"]}}},
        {"Input": {}},
        {"Input": {"KinesisVideoStream": {"Arn": video_arn("unknown")}}},
        {"Output": {}},
        {"Output": {"KinesisDataStream": {"Arn": data_arn("unknown")}}},
        {"Output": {"S3Destination": {"Bucket": "results"}}},
        {"RegionsOfInterest": [{"BoundingBox": {"Width": 1, "Height": 1}}]},
        {"KmsKeyId": "key"},
        {"DataSharingPreference": {"OptIn": False}},
        {"NotificationChannel": {"SNSTopicArn": "arn:aws:sns:eu-west-1:123456789012:t"}},
    ],
    ids=str,
)
def test_what_makes_no_face_search_is_refused(run: Rig, changed: dict[str, Any]) -> None:
    with pytest.raises(run.client.exceptions.InvalidParameterException):
        run.create(**changed)
    assert run.client.list_stream_processors()["StreamProcessors"] == []


def test_a_name_and_a_stream_have_one_processor(camera: Rig) -> None:
    camera.create()
    in_use = camera.client.exceptions.ResourceInUseException
    with pytest.raises(in_use, match="Stream processor name already in use"):
        camera.create(**{**asked(video="yard", data="more"), "Name": "door"})
    with pytest.raises(in_use, match="Specified resource is in use"):
        camera.create("gate", Output={"KinesisDataStream": {"Arn": data_arn("more")}})
    with pytest.raises(in_use, match="Specified resource is in use"):
        camera.create("gate", Input={"KinesisVideoStream": {"Arn": video_arn("yard")}})
    camera.client.delete_stream_processor(Name="door")
    camera.create("gate")


def test_lists_come_in_pages_by_name(camera: Rig) -> None:
    for name, video, data in (("b", "lobby", "faces"), ("a", "yard", "more")):
        camera.client.create_stream_processor(**asked(name, video=video, data=data))
    page = camera.client.list_stream_processors(MaxResults=1)
    assert page["StreamProcessors"] == [{"Name": "a", "Status": "STOPPED"}]
    rest = camera.client.list_stream_processors(MaxResults=5000, NextToken=page["NextToken"])
    assert [one["Name"] for one in rest["StreamProcessors"]] == ["b"]
    assert "NextToken" not in rest
    with pytest.raises(camera.client.exceptions.InvalidPaginationTokenException):
        camera.client.list_stream_processors(NextToken="nonsense")


def test_another_region_has_processors_of_its_own(run: Rig) -> None:
    run.create()
    url = run.client.meta.endpoint_url
    elsewhere = boto3.client("rekognition", endpoint_url=url, region_name="eu-central-1")
    assert elsewhere.list_stream_processors()["StreamProcessors"] == []
    with pytest.raises(elsewhere.exceptions.ResourceNotFoundException):
        elsewhere.describe_stream_processor(Name="door")
    elsewhere.close()


def test_tags_live_and_go_with_the_processor(run: Rig) -> None:
    arn = run.create(Tags={"floor": "1"})
    run.client.tag_resource(ResourceArn=arn, Tags={"side": "north"})
    tags = run.client.list_tags_for_resource(ResourceArn=arn)["Tags"]
    assert tags == {"floor": "1", "side": "north"}
    run.client.delete_stream_processor(Name="door")
    with pytest.raises(run.client.exceptions.ResourceNotFoundException):
        run.client.list_tags_for_resource(ResourceArn=arn)
    assert run.create() == arn
    assert run.client.list_tags_for_resource(ResourceArn=arn)["Tags"] == {}


def test_an_unknown_name_is_not_found(run: Rig) -> None:
    client = run.client
    for call in (
        client.describe_stream_processor,
        client.start_stream_processor,
        client.stop_stream_processor,
        client.update_stream_processor,
        client.delete_stream_processor,
    ):
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            call(Name="none")


def test_a_face_search_has_nothing_to_update(run: Rig) -> None:
    run.create()
    with pytest.raises(run.client.exceptions.InvalidParameterException, match="updated"):
        run.client.update_stream_processor(
            Name="door", SettingsForUpdate={"ConnectedHomeForUpdate": {"MinConfidence": 50}}
        )


@pytest.mark.parametrize(
    "selector",
    [
        {"StopSelector": {"MaxDurationInSeconds": 5}},
        {"StartSelector": {"KVSStreamStartSelector": {"FragmentNumber": "1"}}},
    ],
    ids=str,
)
def test_selectors_belong_to_label_detection(run: Rig, selector: dict[str, Any]) -> None:
    run.create()
    with pytest.raises(run.client.exceptions.InvalidParameterException):
        run.client.start_stream_processor(Name="door", **selector)
    assert run.status() == "STOPPED"


# --- running and stopping ---------------------------------------------------------------------


def test_a_camera_runs_until_it_is_stopped(camera: Rig) -> None:
    camera.create()
    camera.client.start_stream_processor(Name="door")
    camera.until("RUNNING")
    camera.client.stop_stream_processor(Name="door")
    described = camera.until("STOPPED")
    assert "StatusMessage" not in described
    assert described["LastUpdateTimestamp"] > described["CreationTimestamp"]


def test_what_a_running_processor_refuses(camera: Rig) -> None:
    camera.create()
    client = camera.client
    in_use = client.exceptions.ResourceInUseException
    with pytest.raises(in_use, match="not available for stopping"):
        client.stop_stream_processor(Name="door")
    client.start_stream_processor(Name="door")
    with pytest.raises(in_use, match="in use"):
        client.start_stream_processor(Name="door")
    with pytest.raises(in_use, match="transitional state"):
        client.delete_stream_processor(Name="door")
    client.stop_stream_processor(Name="door")
    camera.until("STOPPED")
    client.delete_stream_processor(Name="door")
    assert client.list_stream_processors()["StreamProcessors"] == []


class HeldFeed(EndlessFeed):
    """Shows nothing until it may."""

    may = threading.Event()

    def frames(self) -> Iterator[Frame | LostFrame]:
        assert self.may.wait(60)
        yield from super().frames()


def test_a_processor_is_stopping_until_its_feed_lets_go() -> None:
    HeldFeed.may.clear()
    with rig({"lobby": feed("camera")}, open_source=HeldFeed) as run:
        run.create()
        run.client.start_stream_processor(Name="door")
        run.until("RUNNING")
        run.client.stop_stream_processor(Name="door")
        assert run.status() == "STOPPING"
        with pytest.raises(run.client.exceptions.ResourceInUseException):
            run.client.start_stream_processor(Name="door")
        HeldFeed.may.set()
        run.until("STOPPED")
        assert run.records == []


def test_more_running_or_existing_than_allowed_are_refused() -> None:
    feeds = {"lobby": feed("camera-1"), "yard": feed("camera-2"), "roof": feed("camera-3")}
    with rig(feeds, open_source=EndlessFeed, max_running=1, max_processors=2) as run:
        run.create("a")
        run.client.create_stream_processor(**asked("b", video="yard", data="more"))
        exceeded = run.client.exceptions.LimitExceededException
        run.client.start_stream_processor(Name="a")
        with pytest.raises(exceeded, match="limit - 1"):
            run.client.start_stream_processor(Name="b")
        run.client.delete_stream_processor(Name="b")
        run.client.create_stream_processor(**asked("b", video="yard", data="more"))
    with rig(feeds, max_processors=1) as run:
        run.create("a")
        with pytest.raises(run.client.exceptions.LimitExceededException, match="limit - 1"):
            run.client.create_stream_processor(**asked("b", video="yard", data="more"))


def test_limits_are_aws_s_by_default() -> None:
    settings = StreamSettings({}, {})
    assert (settings.max_processors, settings.max_running) == (10_000, 10)


def test_closing_ends_every_thread(camera: Rig) -> None:
    before = {thread for thread in threading.enumerate() if thread.name == "stream-processor"}
    camera.create()
    camera.client.start_stream_processor(Name="door")
    camera.until("RUNNING")
    camera.streams.close()
    after = {thread for thread in threading.enumerate() if thread.name == "stream-processor"}
    assert after <= before
    with pytest.raises(camera.client.exceptions.InternalServerError):
        camera.client.start_stream_processor(Name="door")


# --- failures ---------------------------------------------------------------------------------


def test_a_feed_that_cannot_be_read_fails_the_processor_and_tells_no_path(tmp_path: Path) -> None:
    with rig({"lobby": feed(tmp_path / "none.mp4")}) as run:
        run.create()
        run.client.start_stream_processor(Name="door")
        message = run.until("FAILED")["StatusMessage"]
        assert message == "The feed of the video stream cannot be read."


def test_a_collection_that_goes_fails_the_processor_which_can_run_again(run: Rig) -> None:
    run.create()
    run.client.delete_collection(CollectionId="staff")
    run.client.start_stream_processor(Name="door")
    assert run.until("FAILED")["StatusMessage"] == "Collection:staff not found!"
    run.client.create_collection(CollectionId="staff")
    run.client.start_stream_processor(Name="door")
    run.until("STOPPED")
    assert len(run.records) == 15


class FlakyRecognizer(MemoryRecognizer):
    """Answers every other search."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
        self.calls = 0

    def identify(self, *arguments: Any, **named: Any) -> Any:
        self.calls += 1
        if self.calls % 2 == 0:
            raise self.error
        return super().identify(*arguments, **named)


def test_a_failure_that_may_pass_costs_a_frame_which_is_counted(clip: Path) -> None:
    recognizer = FlakyRecognizer(ThrottledError("later"))
    with rig({"lobby": feed(clip)}, recognizer=recognizer) as run:
        run.create()
        run.client.start_stream_processor(Name="door")
        run.until("STOPPED")
        assert len(run.records) == 8
        [processor] = run.streams.every()
        assert (processor.searched, processor.missed) == (8, 7)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InvalidRequestError("no"), "Request has invalid parameters"),
        (RuntimeError("the cable at /srv/rack-3 burns"), "Internal server error"),
    ],
)
def test_a_failure_that_stays_fails_the_processor(
    clip: Path, error: Exception, message: str
) -> None:
    with rig({"lobby": feed(clip)}, recognizer=FlakyRecognizer(error)) as run:
        run.create()
        run.client.start_stream_processor(Name="door")
        assert run.until("FAILED")["StatusMessage"] == message


def test_without_streams_the_operations_are_unknown() -> None:
    service = RekognitionService(MemoryRecognizer())
    answer = service.handle(
        "RekognitionService.ListStreamProcessors", b"{}", account="1" * 12, region="eu-west-1"
    )
    assert json.loads(answer.body)["__type"] == "UnknownOperationException"


@pytest.mark.parametrize(
    "wrong", [{"frames_per_second": 0}, {"max_running": 0}, {"max_processors": 0}], ids=str
)
def test_settings_without_meaning_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        StreamSettings({}, {}, **wrong)


# --- the file of streams ----------------------------------------------------------------------

STREAMS = """
[[video]]
name = "lobby"
source = "lobby.mp4"
fps = 2.5

[[video]]
name = "yard"
source = "rtsp://camera.example/1"

[[data]]
name = "faces"
file = "records/faces.jsonl"
"""


def test_a_file_of_streams_names_feeds_and_files_beside_it(clip: Path) -> None:
    file = clip.with_name("streams.toml")
    file.write_text(STREAMS)
    settings = read_streams(file)
    assert settings.feeds == {
        "lobby": FeedSpec(CameraId("lobby"), str(clip), fps=2.5),
        "yard": FeedSpec(CameraId("yard"), "rtsp://camera.example/1"),
    }
    settings.outputs["faces"].put(b"{}")
    assert (clip.parent / "records" / "faces.jsonl").read_bytes() == b"{}\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "video"),
        ("video = 3", "video"),
        ("[[video", "not TOML"),
        (STREAMS.replace("fps = 2.5", "fps = 0"), "fps"),
        (STREAMS.replace("fps = 2.5", "rate = 1"), "rate"),
        (STREAMS.replace('"yard"', '"lobby"'), "'lobby' is there twice"),
        (STREAMS + '[[data]]\nname = "x"\nfile = "records/faces.jsonl"', "is there twice"),
    ],
)
def test_a_file_of_streams_gone_wrong_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "streams.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=complaint) as raised:
        read_streams(file)
    assert "streams.toml" in str(raised.value)
