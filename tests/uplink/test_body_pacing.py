"""The real boto3 backend asks the pacer for every slice of a body, and tells what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rekadapter.backends.rekognition import open_rekognition
from rekadapter.errors import RekadapterError, StoppedError
from rekadapter.imaging import Image
from rekadapter.recognizer import BackendContext, BodyPacer, Recognizer
from tests.rekognition.fake_aws import THROTTLED, FakeAws, Reply
from tests.rekognition.fake_s3 import BUCKET, FakeS3
from tests.rekognition.fakes import KeptLog, photo

DETECTED = Reply({"FaceDetails": []})
SLICE = 1_000


@dataclass
class KeptUpload:
    """Grants slices of 1000 bytes; stops at ``stop_at`` bytes."""

    unacknowledged: Callable[[], int | None]
    stop_at: float = float("inf")
    granted: list[int] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    wire_bytes: int | None = None
    waited_seconds: float = 0.0

    def turn(self, left_bytes: int) -> int:
        if sum(self.granted) >= self.stop_at:
            raise StoppedError("the run was stopped")
        self.granted.append(min(left_bytes, SLICE))
        self.waited_seconds += 1.0
        return self.granted[-1]

    def look(self) -> None:
        known = self.unacknowledged()
        self.told.append("look" if known is None else f"look {known <= sum(self.granted)}")

    def answered(self) -> None:
        self.told.append("answered")

    def end(self, wire_bytes: int) -> None:
        assert self.wire_bytes is None
        self.wire_bytes = wire_bytes


@dataclass
class SlicingPacer:
    """Keeps every upload that began."""

    stop_at: float = float("inf")
    uploads: list[KeptUpload] = field(default_factory=list)

    def wait_to_send(self, size_bytes: int) -> float:
        raise AssertionError(f"{size_bytes} bytes were held back as a whole")

    def begin(self, unacknowledged: Callable[[], int | None]) -> KeptUpload:
        self.uploads.append(KeptUpload(unacknowledged, self.stop_at))
        return self.uploads[-1]


@dataclass
class Rig:
    aws: FakeAws
    pacer: SlicingPacer
    log: KeptLog
    recognizer: Recognizer
    image: Image = field(default_factory=lambda: photo(640, 480))

    def detect(self) -> None:
        self.recognizer.detect(self.image)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    aws, pacer, log = FakeAws(), SlicingPacer(), KeptLog()
    context = BackendContext(tmp_path, tmp_path, pacer=pacer, request_log=log)
    recognizer = open_rekognition("cloud", {"endpoint_url": aws.url}, context)
    try:
        yield Rig(aws, pacer, log, recognizer)
    finally:
        recognizer.close()
        aws.close()


def test_it_is_a_pacer_of_bodies() -> None:
    assert isinstance(SlicingPacer(), BodyPacer)


def test_every_byte_is_granted_before_it_is_sent(rig: Rig) -> None:
    rig.aws.on("DetectFaces", DETECTED)
    rig.detect()
    (upload,) = rig.pacer.uploads
    assert sum(upload.granted) == rig.aws.requests[0].size
    assert len(upload.granted) >= rig.aws.requests[0].size // SLICE
    assert rig.aws.requests[0].image() == rig.image.encoded
    assert upload.wire_bytes == rig.log.records[0].bytes_sent == rig.aws.requests[0].size
    assert upload.told[-1] == "answered"
    assert "look False" not in upload.told


def test_waiting_inside_the_body_is_waiting_and_not_latency(rig: Rig) -> None:
    rig.aws.on("DetectFaces", DETECTED)
    rig.detect()
    (record,) = rig.log.records
    assert record.wait_seconds >= rig.pacer.uploads[0].waited_seconds
    assert record.latency_seconds < rig.pacer.uploads[0].waited_seconds


def test_each_attempt_is_an_upload_of_its_own(rig: Rig) -> None:
    rig.aws.on("DetectFaces", THROTTLED, DETECTED)
    rig.detect()
    assert len(rig.pacer.uploads) == 2
    sent = [upload.wire_bytes for upload in rig.pacer.uploads]
    assert sent == [request.size for request in rig.aws.requests]
    assert rig.log.records[0].bytes_sent == sum(size or 0 for size in sent)


def test_an_image_on_its_way_to_a_bucket_is_granted_byte_by_byte_too(
    rig: Rig, tmp_path: Path
) -> None:
    s3 = FakeS3()
    options = {"s3_bucket": BUCKET, "s3_endpoint_url": s3.url, "s3_from_bytes": 0}
    context = BackendContext(tmp_path, tmp_path, pacer=rig.pacer, request_log=rig.log)
    cloud = open_rekognition("cloud", {"endpoint_url": rig.aws.url, **options}, context)
    rig.aws.on("DetectFaces", DETECTED)
    cloud.detect(rig.image)
    put, named, deleted = rig.pacer.uploads
    body = s3.asked[0].body
    assert body == rig.image.encoded
    assert len(body) < sum(put.granted) < len(body) + 1_200
    assert len(put.granted) >= len(body) // SLICE
    sent = [record.bytes_sent for record in rig.log.records]
    assert [upload.wire_bytes for upload in (put, named, deleted)] == sent
    cloud.close()
    s3.close()


def test_a_stop_in_the_middle_of_a_body_is_a_stop_and_costs_nothing(rig: Rig) -> None:
    rig.pacer.stop_at = 3 * SLICE
    with pytest.raises(StoppedError):
        rig.detect()
    (upload,) = rig.pacer.uploads
    assert sum(upload.granted) == 3 * SLICE
    assert upload.wire_bytes is not None
    assert upload.wire_bytes <= 3 * SLICE
    assert rig.log.records[0].price_usd == 0.0
    assert rig.aws.requests == []


def test_an_upload_that_fails_is_ended_without_an_answer(rig: Rig) -> None:
    rig.aws.on("DetectFaces", Reply(drop=True))
    with pytest.raises(RekadapterError):
        rig.detect()
    assert rig.pacer.uploads
    assert all(upload.wire_bytes is not None for upload in rig.pacer.uploads)
    assert all("answered" not in upload.told for upload in rig.pacer.uploads)
