"""Metrics: complete, well formed, and without a word that a client chose."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.errors import ConnectionFailedError
from rekadapter.feeds import FeedSpec
from rekadapter.rekognition_api.jobs.background import Background
from rekadapter.rekognition_api.jobs.plans import (
    ProcessorKey,
    ProcessorPlan,
    ProcessorState,
    StreamSettings,
)
from rekadapter.rekognition_api.jobs.processors import StreamProcessors
from rekadapter.rekognition_api.jobs.records import CallbackSink
from rekadapter.rekognition_api.jobs.worker import VideoJobs
from rekadapter.rekognition_api.metrics import Exchange, Metrics
from rekadapter.rekognition_api.objects import DirectoryObjects
from rekadapter.rekognition_api.server import ServerSettings, ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.testing.clips import even, write_clip
from rekadapter.testing.drawn import portrait
from rekadapter.types import CameraId, GalleryId
from tests.rekognition_api.signing import NOW, Signed, keyring, sent

SAMPLE = re.compile(
    r"(?P<name>[a-z_]+)(?:\{(?P<labels>(?:[a-z_]+=\"[\w+.]+\",?)*)\})? (?P<value>[0-9.e+-]+)"
)


def _samples(text: str) -> dict[str, float]:
    """Samples by name and labels; every line has to be one, or a comment of the format."""
    found = {}
    for line in text.splitlines():
        if re.fullmatch(r"# (HELP|TYPE) rekadapter_service_[a-z_]+ .+", line):
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        assert line.rpartition(" ")[0] not in found
        found[line.rpartition(" ")[0]] = float(sample["value"])
    return found


@pytest.fixture
def url() -> Iterator[str]:
    settings = ServerSettings(keys=keyring(), metrics=True)
    app = create_app(RekognitionService(MemoryRecognizer()), settings, clock=lambda: NOW)
    with ServiceServer(app) as server:
        yield server.url


def test_each_request_is_counted_by_operation_and_code(url: str) -> None:
    create = Signed("CreateCollection", b'{"CollectionId": "secret-gallery"}')
    answers = [
        sent(url, one)
        for one in (
            create,
            create,
            Signed("CreateCollection", b"{}", secret="wrong"),
            Signed("ListStreamProcessors"),
            Signed("EvilOperation"),
        )
    ]
    scraped = httpx.get(f"{url}/metrics")
    assert scraped.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = _samples(scraped.text)
    prefix = "rekadapter_service_"
    counted = {
        (operation, code): found.get(
            f'{prefix}requests_total{{operation="{operation}",code="{code}"}}'
        )
        for operation, code in (
            ("CreateCollection", "OK"),
            ("CreateCollection", "ResourceAlreadyExistsException"),
            ("CreateCollection", "InvalidSignatureException"),
            ("ListStreamProcessors", "UnknownOperationException"),
            ("other", "UnknownOperationException"),
        )
    }
    assert set(counted.values()) == {1.0}
    assert sum(value for name, value in found.items() if "requests_total" in name) == len(answers)
    assert found[f'{prefix}refused_total{{code="InvalidSignatureException"}}'] == 1
    assert found[f'{prefix}request_seconds_count{{operation="CreateCollection"}}'] == 3
    assert found[f"{prefix}in_flight"] == 0
    assert found[f"{prefix}received_bytes_total"] == 34 * 2 + 2 * 3
    assert found[f"{prefix}sent_bytes_total"] == sum(len(answer.body) for answer in answers)
    assert "secret-gallery" not in scraped.text
    assert "Evil" not in scraped.text


def test_a_scrape_does_not_count_itself(url: str) -> None:
    httpx.get(f"{url}/metrics")
    assert "requests_total{" not in httpx.get(f"{url}/metrics").text


def test_metrics_are_served_only_where_asked_for() -> None:
    with ServiceServer(create_app(RekognitionService(MemoryRecognizer()))) as server:
        answer = httpx.get(f"{server.url}/metrics")
    assert answer.json()["__type"] == "UnknownOperationException"


class _Topics:
    """Takes the first notice and no other."""

    def __init__(self) -> None:
        self.told = 0

    def tell(self, topic_arn: str, message: str) -> None:
        self.told += 1
        if self.told > 1:
            raise ConnectionFailedError(f"{topic_arn} does not take {len(message)} bytes")


def _start_detection(service: RekognitionService, name: str) -> None:
    body = {
        "Video": {"S3Object": {"Bucket": "secret", "Name": name}},
        "NotificationChannel": {
            "SNSTopicArn": "arn:aws:sns:eu-west-1:123456789012:secret",
            "RoleArn": "arn:aws:iam::123456789012:role/secret",
        },
    }
    answer = service.handle(
        "RekognitionService.StartFaceDetection",
        json.dumps(body).encode(),
        account="123456789012",
        region="eu-west-1",
    )
    assert answer.status == 200


def test_jobs_and_processors_are_counted_by_state(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    write_clip(tmp_path / "secret" / "good.mp4", even([portrait("ann")], fps=1))
    (tmp_path / "secret" / "bad.mp4").write_bytes(b"no video")
    patience = iter((0, 0, 9, 9, 9))
    streams = StreamProcessors(
        StreamSettings(
            {"secret": FeedSpec(CameraId("secret"), str(tmp_path / "none.mp4"))},
            {"secret": CallbackSink(len)},
        ),
        threads=False,
    )
    key = ProcessorKey("123456789012", "eu-west-1", "secret")
    video_arn = "arn:aws:kinesisvideo:eu-west-1:123456789012:stream/secret/1"
    data_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/secret"
    streams.create(ProcessorPlan(key, video_arn, data_arn, "role", GalleryId("secret"), 80.0))
    with (
        VideoJobs(
            DirectoryObjects(tmp_path), notifier=_Topics(), patience=lambda: next(patience)
        ) as video,
        streams,
    ):
        background = Background(video=video, streams=streams)
        service = RekognitionService(MemoryRecognizer(), background=background)
        for name in ("good.mp4", "bad.mp4", "good.mp4", "good.mp4", "good.mp4"):
            _start_detection(service, name)
        with ServiceServer(create_app(service, ServerSettings(metrics=True))) as server:
            text = httpx.get(f"{server.url}/metrics").text
    found = {
        name.removeprefix("rekadapter_service_"): count for name, count in _samples(text).items()
    }
    assert "secret" not in text
    assert found['video_jobs{state="IN_PROGRESS"}'] == 3
    assert found['video_jobs{state="SUCCEEDED"}'] == 1
    assert found['video_jobs{state="FAILED"}'] == 1
    assert found['video_jobs_ended_total{state="SUCCEEDED"}'] == 1
    assert found['video_jobs_ended_total{state="FAILED"}'] == 1
    assert found['video_notices_total{outcome="sent"}'] == 1
    assert found['video_notices_total{outcome="failed"}'] == 1
    states = {state: found[f'stream_processors{{state="{state}"}}'] for state in ProcessorState}
    assert states.pop(ProcessorState.STOPPED) == 1
    assert set(states.values()) == {0}


def test_without_jobs_and_streams_there_is_no_word_of_them(url: str) -> None:
    text = httpx.get(f"{url}/metrics").text
    assert "video" not in text
    assert "stream_processors" not in text


def test_buckets_add_up_from_the_smallest() -> None:
    metrics = Metrics(["DetectFaces"])
    for seconds in (0.001, 0.005, 0.3, 99.0):
        metrics.add(Exchange(operation="DetectFaces", seconds=seconds))
    found = _samples(metrics.text(in_flight=3))
    name = 'rekadapter_service_request_seconds_bucket{operation="DetectFaces",le="%s"}'
    assert [found[name % bound] for bound in ("0.005", "0.01", "0.25", "0.5", "30.0", "+Inf")] == [
        2,
        2,
        2,
        3,
        3,
        4,
    ]
    assert found['rekadapter_service_request_seconds_sum{operation="DetectFaces"}'] == 99.306
    assert found["rekadapter_service_in_flight"] == 3
