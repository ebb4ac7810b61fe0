"""Images that go through a bucket: put as they are, named, and deleted whatever happens."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError

from rekadapter.backends.rekognition import open_rekognition
from rekadapter.backends.rekognition.errors import translate
from rekadapter.backends.rekognition.options import RekognitionOptions
from rekadapter.backends.rekognition.s3_errors import S3
from rekadapter.errors import (
    AccessDeniedError,
    ConfigError,
    ConnectionFailedError,
    CredentialsError,
    DeadlineExceededError,
    GalleryNotFoundError,
    ImageTooLargeError,
    InvalidRequestError,
    RekadapterError,
    ServiceUnavailableError,
    StoppedError,
    ThrottledError,
    UnexpectedAnswerError,
)
from rekadapter.imaging import Image, encode_png
from rekadapter.recognizer import (
    BackendContext,
    FaceSelection,
    Pacer,
    Recognizer,
    user_gallery_of,
)
from rekadapter.types import GalleryId, SubjectId
from tests.rekognition.fake_aws import (
    NO_FACE,
    THROTTLED,
    FakeAws,
    Reply,
    box,
    error,
    face_detail,
    searched,
)
from tests.rekognition.fake_s3 import BUCKET, DENIED, LOST, FakeS3, Fault
from tests.rekognition.fakes import KeptLog, KeptPacer, photo

LOBBY = GalleryId("lobby")
DETECTED = Reply({"FaceDetails": []})


@dataclass
class Site:
    """The backend with a bucket, on a fake AWS and a fake S3."""

    aws: FakeAws
    s3: FakeS3
    folder: Path
    log: KeptLog = field(default_factory=KeptLog)
    pacer: Pacer = field(default_factory=KeptPacer)
    stop: threading.Event = field(default_factory=threading.Event)
    opened: list[Recognizer] = field(default_factory=list)

    def open(self, **options: object) -> Recognizer:
        context = BackendContext(
            self.folder,
            self.folder,
            pacer=self.pacer,
            request_log=self.log,
            stop=self.stop,
        )
        given = {
            "endpoint_url": self.aws.url,
            "s3_endpoint_url": self.s3.url,
            "s3_bucket": BUCKET,
            "s3_from_bytes": 0,
            **options,
        }
        self.opened.append(open_rekognition("cloud", given, context))
        return self.opened[-1]

    def sizes(self) -> list[int]:
        """What the uplink was asked for, in bytes."""
        assert isinstance(self.pacer, KeptPacer)
        return self.pacer.sizes

    def operations(self) -> list[str]:
        """In order, as the ledger has them."""
        return [record.operation for record in self.log.records]


@pytest.fixture
def site(aws: FakeAws, tmp_path: Path) -> Iterator[Site]:
    s3 = FakeS3()
    made = Site(aws, s3, tmp_path)
    aws.on("DetectFaces", DETECTED)
    aws.on("SearchFacesByImage", searched())
    yield made
    for recognizer in made.opened:
        recognizer.close()
    s3.close()


def identify(cloud: Recognizer, image: Image | None = None) -> None:
    cloud.identify(
        LOBBY,
        image or photo(),
        threshold=cloud.capabilities.default_threshold,
        faces=FaceSelection.LARGEST,
    )


# -- the way of an image


def test_an_image_is_put_as_its_very_bytes_named_and_deleted(site: Site) -> None:
    image = photo()
    identify(site.open(), image)
    put, deleted = site.s3.asked
    assert put.body == image.encoded
    named = site.aws.of("SearchFacesByImage")[0].parameters["Image"]
    assert named == {"S3Object": {"Bucket": BUCKET, "Name": put.key}}
    assert deleted.key == put.key
    assert site.s3.objects == {}
    assert site.operations() == ["PutObject", "SearchFacesByImage", "DeleteObject"]


def test_what_is_smaller_than_the_option_says_stays_inside_the_request(site: Site) -> None:
    image = photo()
    assert image.encoded is not None
    cloud = site.open(s3_from_bytes=len(image.encoded) + 1)
    cloud.detect(image)
    assert site.aws.requests[0].image() == image.encoded
    assert site.s3.asked == []
    site.open(s3_from_bytes=len(image.encoded)).detect(image)
    assert site.s3.operations() == ["PutObject", "DeleteObject"]


def test_each_key_is_new_and_nobody_can_guess_it(site: Site) -> None:
    cloud, image = site.open(s3_prefix="cameras/"), photo()
    for _ in range(3):
        cloud.detect(image)
    keys = {one.key for one in site.s3.asked}
    assert len(keys) == 3
    # 128 random bits
    assert all(re.fullmatch(r"cameras/[0-9a-f]{32}", key) for key in keys)


def test_every_operation_with_an_image_goes_this_way(site: Site) -> None:
    aws, cloud = site.aws, site.open()
    someone = face_detail(box(0.2, 0.2, 0.5, 0.5))
    aws.on("IndexFaces", Reply({"FaceRecords": []}))
    aws.on("SearchUsersByImage", Reply({"UserMatches": []}))
    aws.on("CompareFaces", Reply({"SourceImageFace": someone, "FaceMatches": []}))
    cloud.enroll(LOBBY, photo(), subject=SubjectId("ann"))
    users = user_gallery_of(cloud)
    assert users is not None
    users.identify(LOBBY, photo(), threshold=cloud.capabilities.default_threshold)
    cloud.verify(photo(), photo(seed=2), threshold=cloud.capabilities.default_threshold)
    members = [
        member
        for request in aws.requests
        for name, member in request.parameters.items()
        if name in {"Image", "SourceImage", "TargetImage"}
    ]
    assert [list(member) for member in members] == [["S3Object"]] * 4
    assert len({member["S3Object"]["Name"] for member in members}) == 4
    assert site.s3.objects == {}


def test_an_image_of_up_to_15_mb_goes_whole(site: Site) -> None:
    noise = np.random.default_rng(3).integers(0, 255, (1500, 1300, 3), dtype=np.uint8)
    data = encode_png(Image.from_pixels(noise))
    assert len(data) > 5 * 1024 * 1024
    site.open().detect(Image.from_bytes(data))
    assert site.s3.asked[0].body == data


def test_the_ledger_holds_three_requests_with_their_bytes_and_prices(site: Site) -> None:
    image = photo()
    assert image.encoded is not None
    identify(site.open(), image)
    put, search, delete = site.log.records
    size = len(image.encoded)
    assert size < put.bytes_sent < size + 1200
    assert search.bytes_sent < 1500 > delete.bytes_sent
    assert put.price_usd == pytest.approx(0.000005)
    assert search.price_usd == pytest.approx(0.001)
    assert delete.price_usd == 0.0
    assert {record.backend for record in site.log.records} == {"cloud"}
    # each waited for the uplink with all its bytes
    asked = [record.bytes_sent for record in site.log.records]
    assert site.sizes() == pytest.approx(asked, abs=10)


def test_encryption_is_the_buckets_unless_the_options_say_it(site: Site) -> None:
    site.open().detect(photo())
    site.open(s3_encryption="aws:kms", s3_kms_key_id="alias/faces").detect(photo())
    default, chosen = (one.headers for one in site.s3.asked if one.operation == "PutObject")
    assert not [name for name in default if "encryption" in name]
    assert chosen["x-amz-server-side-encryption"] == "aws:kms"
    assert chosen["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/faces"


def test_the_report_is_told_how_images_travel(site: Site) -> None:
    details = site.open(s3_from_bytes=4000).capabilities.details
    assert details["images"].startswith(f"through s3://{BUCKET}/rekadapter/ from 4000 bytes on")


# -- deleted, whatever happens


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (NO_FACE, None),
        (error("ResourceNotFoundException", "none"), GalleryNotFoundError),
        (Reply(b"garbage"), RekadapterError),
    ],
)
def test_an_image_is_deleted_whatever_rekognition_says(
    site: Site, reply: Reply, kind: type[Exception] | None
) -> None:
    site.aws.on("SearchFacesByImage", reply)
    cloud = site.open()
    if kind is None:
        identify(cloud)
    else:
        with pytest.raises(kind):
            identify(cloud)
    assert site.s3.operations() == ["PutObject", "DeleteObject"]
    assert site.s3.objects == {}


def test_a_run_that_ends_deletes_without_waiting_for_the_uplink(site: Site) -> None:
    """The run is stopped while the image waits to be searched: nothing may be paced any more."""

    class Stopping(KeptPacer):
        def wait_to_send(self, size_bytes: int) -> float:
            if self.sizes:
                site.stop.set()
                raise StoppedError("the run was stopped")
            return super().wait_to_send(size_bytes)

    site.pacer = Stopping()
    with pytest.raises(StoppedError):
        identify(site.open())
    assert site.s3.objects == {}
    assert site.s3.operations() == ["PutObject", "DeleteObject"]


def test_a_run_that_ends_while_an_image_is_to_be_deleted_deletes_it(site: Site) -> None:
    class Stopping(KeptPacer):
        def wait_to_send(self, size_bytes: int) -> float:
            if len(self.sizes) == 2:
                raise StoppedError("the run was stopped")
            return super().wait_to_send(size_bytes)

    site.pacer = Stopping()
    identify(site.open())
    assert site.s3.objects == {}


# -- put once


def test_what_was_acknowledged_is_not_put_again(site: Site) -> None:
    site.aws.on("SearchFacesByImage", THROTTLED, THROTTLED, searched())
    identify(site.open())
    assert site.s3.operations() == ["PutObject", "DeleteObject"]
    assert len(site.aws.of("SearchFacesByImage")) == 3


def test_a_lost_acknowledgment_is_asked_for_again_under_the_same_key(site: Site) -> None:
    cloud = site.open()
    cloud.detect(photo())  # an endpoint that has answered is worth asking again
    site.s3.faults["PutObject"] = [LOST]
    cloud.detect(photo())
    puts = [one.key for one in site.s3.asked if one.operation == "PutObject"]
    assert len(puts) == 3
    assert len(set(puts)) == 2
    assert site.s3.objects == {}


def test_an_image_that_may_have_arrived_is_deleted(site: Site) -> None:
    site.s3.always["PutObject"] = LOST
    with pytest.raises(ConnectionFailedError):
        identify(site.open())
    assert site.s3.operations()[-1] == "DeleteObject"
    assert site.s3.objects == {}
    assert site.aws.requests == []


def test_an_image_that_was_refused_is_not_deleted(site: Site) -> None:
    site.s3.always["PutObject"] = Fault("NoSuchBucket", 404)
    with pytest.raises(ConfigError, match=rf"{BUCKET}.*s3_bucket has to name"):
        identify(site.open())
    assert site.s3.operations() == ["PutObject"]


# -- errors


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (Fault("NoSuchBucket", 404), ConfigError, "create it there"),
        (Fault("AccessDenied", 403), AccessDeniedError, "s3:DeleteObject"),
        (Fault("Strange", 403), AccessDeniedError, "s3:PutObject"),
        (Fault("InvalidAccessKeyId", 403), CredentialsError, "credentials"),
        (Fault("RequestTimeTooSkewed", 403), CredentialsError, "clock"),
        (Fault("KMS.DisabledException", 400), ConfigError, "s3_kms_key_id"),
        (Fault("EntityTooLarge", 400), ImageTooLargeError, "max_image_bytes"),
        (Fault("InvalidArgument", 400), InvalidRequestError, "s3_prefix"),
        (Fault("Strange", 418), UnexpectedAnswerError, "s3_endpoint_url"),
    ],
)
def test_an_error_of_s3_is_typed_and_names_the_next_step(
    fault: Fault, kind: type[RekadapterError], words: str
) -> None:
    answer: Any = {
        "Error": {"Code": fault.code, "Message": "said S3"},
        "ResponseMetadata": {"HTTPStatusCode": fault.status, "RequestId": "0A1B2C"},
    }
    made = translate(ClientError(answer, "PutObject"), "PutObject", "bucket 'pictures'", S3)
    assert type(made) is kind
    assert re.search(words, str(made))
    assert str(made).startswith(f"bucket 'pictures': PutObject was answered with {fault.code}, ")


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault("SlowDown", 503), ThrottledError),
        (Fault("InternalError", 500), ServiceUnavailableError),
        (Fault("RequestTimeout", 400), ConnectionFailedError),
    ],
)
def test_what_may_pass_is_tried_again_within_the_deadline(
    site: Site, fault: Fault, kind: type[RekadapterError]
) -> None:
    site.s3.always["PutObject"] = fault
    with pytest.raises(DeadlineExceededError) as raised:
        identify(site.open(deadline_seconds=0.001))
    assert isinstance(raised.value.__cause__, kind)
    site.s3.always.clear()
    site.s3.faults["PutObject"] = [fault]
    identify(site.open())
    assert site.s3.objects == {}


@pytest.mark.parametrize(
    "fault",
    [
        Fault("PermanentRedirect", 301, {"x-amz-bucket-region": "eu-west-1"}),
        Fault("AuthorizationHeaderMalformed", 400, {"x-amz-bucket-region": "eu-west-1"}),
        Fault("IllegalLocationConstraintException", 400, {"x-amz-bucket-region": "eu-west-1"}),
    ],
)
def test_a_bucket_of_another_region_is_an_error_and_not_followed_there(
    site: Site, fault: Fault
) -> None:
    site.s3.always["PutObject"] = fault
    with pytest.raises(ConfigError, match="its own region only"):
        identify(site.open())
    assert site.s3.operations() == ["PutObject"]


def test_a_bucket_that_rekognition_cannot_read_is_explained(site: Site) -> None:
    message = "Unable to get object metadata from S3."
    site.aws.on("SearchFacesByImage", error("InvalidS3ObjectException", message))
    with pytest.raises(InvalidRequestError, match=r"own region only.*s3:GetObject"):
        identify(site.open())
    assert site.s3.objects == {}


# -- left behind


def test_an_image_left_behind_is_told_counted_and_deleted_after_the_next(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.s3.faults["DeleteObject"] = [Fault("InvalidRequest", 400)]
    cloud = site.open()
    identify(cloud)
    (left,) = site.s3.objects
    assert f"left at s3://{BUCKET}/{left} (1 left so far)" in caplog.text
    assert site.log.outcomes()[-1] == "InvalidRequest"
    identify(cloud)
    assert site.s3.objects == {}
    caplog.clear()
    cloud.close()
    assert "left" not in caplog.text


def test_what_is_left_at_the_end_is_tried_once_more_and_told(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.s3.always["DeleteObject"] = Fault("InvalidRequest", 400)
    cloud = site.open()
    identify(cloud)
    identify(cloud)
    caplog.clear()
    with caplog.at_level(logging.ERROR):
        cloud.close()
        cloud.close()
    assert caplog.text.count("2 images of people are left in s3://pictures/rekadapter/") == 1
    assert "lifecycle" in caplog.text


def test_an_answer_does_not_wait_long_for_a_deletion(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.s3.always["DeleteObject"] = Fault("SlowDown", 503)
    identify(site.open(deadline_seconds=0.001))
    assert "1 left so far" in caplog.text
    assert site.log.records[-1].operation == "DeleteObject"


def test_where_deleting_is_denied_no_further_image_is_put(site: Site) -> None:
    site.s3.always["DeleteObject"] = DENIED
    cloud = site.open()
    identify(cloud)  # paid for, so its answer counts
    with pytest.raises(AccessDeniedError, match=r"could not be deleted.*s3:DeleteObject"):
        identify(cloud)
    assert site.s3.operations().count("PutObject") == 1


def test_in_a_bucket_with_versions_the_version_itself_is_deleted(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.s3.version = "v7"
    cloud = site.open()
    identify(cloud)
    identify(cloud)
    named = site.aws.of("SearchFacesByImage")[0].parameters["Image"]["S3Object"]
    assert named["Version"] == "v7"
    assert [one.version for one in site.s3.asked if one.operation == "DeleteObject"] == ["v7"] * 2
    assert caplog.text.count("keeps versions") == 1


# -- options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_image_bytes": 16_000_000}, "max_image_bytes"),
        ({"s3_bucket": "a"}, "s3_bucket"),
        ({"s3_bucket": "with space"}, "s3_bucket"),
        ({"s3_prefix": "what?"}, "s3_prefix"),
        ({"s3_from_bytes": 6_000_000}, "s3_from_bytes"),
        ({"s3_encryption": "rot13"}, "s3_encryption"),
        ({"s3_endpoint_url": "https://me:hunter2@proxy.example"}, "password"),
        ({"s3_endpoint_url": "not a url"}, "s3_bucket"),
    ],
)
def test_a_wrong_option_is_named(site: Site, options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        site.open(**options)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"s3_prefix": "x/"}, "s3_prefix without s3_bucket"),
        ({"max_image_bytes": 6_000_000}, "max_image_bytes.*needs s3_bucket"),
    ],
)
def test_an_option_that_needs_a_bucket_says_so(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RekognitionOptions.read("cloud", options)


def test_a_bucket_needs_credentials_although_rekognition_is_asked_unsigned(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CredentialsError, match="s3_bucket"):
        site.open(unsigned=True)
