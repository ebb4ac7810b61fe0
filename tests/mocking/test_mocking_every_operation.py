"""Every served operation in every mock, held to botocore's model; and each documented error of jobs
and stream processors, by class, status and text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator
from moto import mock_aws

from rekadapter.rekognition_api.jobs.settings import VideoSettings
from rekadapter.testing.material import ContractMaterial, drawn_material
from rekadapter.testing.rekognition import (
    EVERY_ANSWER,
    RekognitionMock,
    fail,
    installed,
    mocked_rekognition,
    picture_of,
    video_of,
)
from tests.rekognition_api.botocore_cases import operation_model
from tests.rekognition_api.test_conformance import BACKGROUND, CALLS, MAY_STAY_AWAY, Call

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient

CLIP = video_of("ann", ("ann", "bob"))
TOO_LARGE = CLIP + bytes(50_000)
ACCOUNT = "us-east-1:123456789012"
VIDEO: Any = {"S3Object": {"Bucket": "videos", "Name": "lobby.mp4"}}
VERSION: Any = {"S3Object": {"Bucket": "videos", "Name": "lobby.mp4", "Version": "1"}}
DOOR: Mapping[str, Any] = {
    "Name": "door",
    "Input": {"KinesisVideoStream": {"Arn": f"arn:aws:kinesisvideo:{ACCOUNT}:stream/lobby/1"}},
    "Output": {"KinesisDataStream": {"Arn": f"arn:aws:kinesis:{ACCOUNT}:stream/faces"}},
    "RoleArn": "arn:aws:iam::123456789012:role/streams",
    "Settings": {"FaceSearch": {"CollectionId": "staff"}},
}


@pytest.fixture(scope="module")
def material() -> ContractMaterial:
    return drawn_material()


# --- answers --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3() -> Any:
    """Made once: it takes longer than the rest of a test."""
    return boto3.client("s3", "us-east-1", aws_access_key_id="a", aws_secret_access_key="b")


@pytest.fixture(scope="module")
def plain() -> RekognitionClient:
    """Without retries, and also made once."""
    return boto3.client(
        "rekognition",
        "us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture(params=["in process", "moto"])
def client(
    request: pytest.FixtureRequest, material: ContractMaterial, s3: Any, plain: RekognitionClient
) -> Iterator[Any]:
    """With a collection as the calls expect it, a video, and a stream processor that runs."""
    mock = RekognitionMock()
    if request.param == "in process":
        mock.put_object("videos", "lobby.mp4", CLIP)
        with mocked_rekognition(plain, mock=mock):
            yield _furnished(plain, material)
        mock.close()
    else:
        with installed(mock, own_answers=EVERY_ANSWER), mock_aws():
            s3.create_bucket(Bucket="videos")
            s3.put_object(Bucket="videos", Key="lobby.mp4", Body=CLIP)
            yield _furnished(plain, material)


def _furnished(client: RekognitionClient, material: ContractMaterial) -> RekognitionClient:
    client.create_collection(CollectionId="staff", Tags={"team": "doors"})
    for image, name in ((material.ann, "ann"), (material.bob, "bob")):
        assert image.encoded is not None
        client.index_faces(
            CollectionId="staff", Image={"Bytes": image.encoded}, ExternalImageId=name
        )
    client.create_user(CollectionId="staff", UserId="ann")
    ann = next(
        face["FaceId"]
        for face in client.list_faces(CollectionId="staff")["Faces"]
        if face["ExternalImageId"] == "ann"
    )
    client.associate_faces(CollectionId="staff", UserId="ann", FaceIds=[ann])
    client.create_stream_processor(**DOOR)
    client.start_stream_processor(Name="door")
    return client


def _searched(client: RekognitionClient, _: ContractMaterial) -> Any:
    started = client.start_face_search(Video=VIDEO, CollectionId="staff", JobTag="night")
    return client.get_face_search(JobId=started["JobId"], MaxResults=1)


def _detected(client: RekognitionClient, _: ContractMaterial) -> Any:
    started = client.start_face_detection(Video=VIDEO, JobTag="night")
    return client.get_face_detection(JobId=started["JobId"], MaxResults=1)


def _stopped(client: RekognitionClient, _: ContractMaterial) -> Any:
    return client.stop_stream_processor(Name="door")


def _deleted(client: RekognitionClient, material: ContractMaterial) -> Any:
    _stopped(client, material)
    return client.delete_stream_processor(Name="door")


def _restarted(client: RekognitionClient, material: ContractMaterial) -> Any:
    _stopped(client, material)
    return client.start_stream_processor(Name="door")


def _created(client: RekognitionClient, material: ContractMaterial) -> Any:
    _deleted(client, material)
    return client.create_stream_processor(**DOOR)


JOBS: Mapping[str, Call] = {
    "StartFaceSearch": lambda c, _: c.start_face_search(Video=VIDEO, CollectionId="staff"),
    "GetFaceSearch": _searched,
    "StartFaceDetection": lambda c, _: c.start_face_detection(Video=VIDEO),
    "GetFaceDetection": _detected,
    "CreateStreamProcessor": _created,
    "DescribeStreamProcessor": lambda c, _: c.describe_stream_processor(Name="door"),
    "ListStreamProcessors": lambda c, _: c.list_stream_processors(),
    "StartStreamProcessor": _restarted,
    "StopStreamProcessor": _stopped,
    "DeleteStreamProcessor": _deleted,
}
LABELS_ONLY = {"NotificationChannel", "KmsKeyId", "RegionsOfInterest", "DataSharingPreference"}
NOT_BROUGHT = {
    **MAY_STAY_AWAY,
    "GetFaceSearch": {"StatusMessage"},
    "GetFaceDetection": {"StatusMessage"},
    "DescribeStreamProcessor": {"StatusMessage", *LABELS_ONLY},
    "ListStreamProcessors": {"NextToken"},
}


def test_every_operation_is_called() -> None:
    assert set(JOBS) == BACKGROUND - {"UpdateStreamProcessor"}  # which has nothing to update


@pytest.mark.parametrize("operation", sorted({**CALLS, **JOBS}))
def test_an_answer_fits_the_model_in_every_mock(
    client: RekognitionClient, material: ContractMaterial, operation: str
) -> None:
    answer = {**CALLS, **JOBS}[operation](client, material)
    assert answer.pop("ResponseMetadata")["HTTPStatusCode"] == 200
    shape = operation_model(operation).output_shape
    members = set(shape.members) if shape is not None else set()
    assert members - set(answer) == NOT_BROUGHT.get(operation, set())
    if shape is not None:
        report = ParamValidator().validate(answer, shape)
        assert not report.has_errors(), report.generate_report()


# --- errors ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rig:
    """boto3 without its checks, with a collection, a video, and a processor that does not run."""

    mock: RekognitionMock
    client: BaseClient

    def send(self, operation: str, **members: object) -> Any:
        names = self.client.meta.method_to_api_mapping
        method = next(name for name, api in names.items() if api == operation)
        return getattr(self.client, method)(**members)

    def start(self, api: str, **members: object) -> Any:
        collection = {"CollectionId": "staff"} if api == "StartFaceSearch" else {}
        return self.send(api, **{"Video": VIDEO, **collection, **members})


@pytest.fixture(scope="module")
def unchecked() -> BaseClient:
    config = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
    made: BaseClient = boto3.client(
        "rekognition",
        "us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=config,
    )
    return made


@pytest.fixture
def rig(unchecked: BaseClient) -> Iterator[Rig]:
    mock = RekognitionMock(video=VideoSettings(max_open_jobs=1, max_video_bytes=50_000))
    mock.put_object("videos", "lobby.mp4", CLIP)
    mock.put_object("videos", "large.mp4", TOO_LARGE)
    with mocked_rekognition(unchecked, mock=mock):
        opened = Rig(mock, unchecked)
        opened.send("CreateCollection", CollectionId="staff")
        opened.send("CreateStreamProcessor", **DOOR)
        yield opened
    mock.close()


def _object(name: str) -> Any:
    return {"S3Object": {"Bucket": "videos", "Name": name}}


def _sending(operation: str, **members: object) -> Callable[[Rig], Any]:
    return lambda rig: rig.send(operation, **members)


def _starting(api: str, **members: object) -> Callable[[Rig], Any]:
    return lambda rig: rig.start(api, **members)


def _mismatch(api: str) -> Callable[[Rig], Any]:
    def provoke(rig: Rig) -> Any:
        rig.start(api, ClientRequestToken="t-1")
        return rig.start(api, ClientRequestToken="t-1", JobTag="other")

    return provoke


def _too_many(api: str) -> Callable[[Rig], Any]:
    def provoke(rig: Rig) -> Any:
        rig.mock.video_polls(9)
        rig.start(api)
        return rig.start(api)

    return provoke


def _bad_page(api: str) -> Callable[[Rig], Any]:
    def provoke(rig: Rig) -> Any:
        job_id = rig.start(api.replace("Get", "Start"))["JobId"]
        return rig.send(api, JobId=job_id, NextToken="made up")

    return provoke


def _running(operation: str) -> Callable[[Rig], Any]:
    def provoke(rig: Rig) -> Any:
        rig.send("StartStreamProcessor", Name="door")
        return rig.send(operation, Name="door")

    return provoke


RULES = "Request has invalid parameters: "
NO_PROCESSOR = "Stream processor none not found."
BAD_NAME = f"{RULES}Name has to match"
Provoked = tuple[str, Callable[[Rig], Any]]
PROVOKED: Mapping[tuple[str, str], Provoked] = {
    **{
        pair: row
        for api in ("StartFaceSearch", "StartFaceDetection")
        for pair, row in {
            (api, "IdempotentParameterMismatchException"): (
                "The ClientRequestToken: t-1 you have supplied is already in use.",
                _mismatch(api),
            ),
            (api, "InvalidParameterException"): (
                f"{RULES}a video is given by S3Object",
                _starting(api, Video={}),
            ),
            (api, "InvalidS3ObjectException"): (
                "Unable to get object metadata from S3.",
                _starting(api, Video=_object("none.mp4")),
            ),
            (api, "VideoTooLargeException"): (
                f"Video size in bytes: {len(TOO_LARGE)} is more than the maximum limit of: 50000",
                _starting(api, Video=_object("large.mp4")),
            ),
            (api, "LimitExceededException"): (
                "1 open Jobs for User arn:aws:iam::123456789012:root Maximum limit: 1",
                _too_many(api),
            ),
        }.items()
    },
    ("StartFaceSearch", "ResourceNotFoundException"): (
        "Collection:none not found!",
        _starting("StartFaceSearch", CollectionId="none"),
    ),
    **{
        pair: row
        for api in ("GetFaceSearch", "GetFaceDetection")
        for pair, row in {
            (api, "InvalidParameterException"): (
                f"{RULES}MaxResults",
                _sending(api, JobId="none", MaxResults=0),
            ),
            (api, "InvalidPaginationTokenException"): ("Invalid Pagination Token", _bad_page(api)),
            (api, "ResourceNotFoundException"): (
                "Could not find JobId",
                _sending(api, JobId="none"),
            ),
        }.items()
    },
    ("CreateStreamProcessor", "InvalidParameterException"): (
        f"{RULES}the collection of FaceSearch does not exist.",
        _sending(
            "CreateStreamProcessor",
            **{**DOOR, "Settings": {"FaceSearch": {"CollectionId": "none"}}},
        ),
    ),
    ("CreateStreamProcessor", "ResourceInUseException"): (
        "Stream processor name already in use.",
        _sending("CreateStreamProcessor", **DOOR),
    ),
    ("ListStreamProcessors", "InvalidParameterException"): (
        f"{RULES}MaxResults",
        _sending("ListStreamProcessors", MaxResults=0),
    ),
    ("ListStreamProcessors", "InvalidPaginationTokenException"): (
        "Invalid Pagination Token",
        _sending("ListStreamProcessors", NextToken="made up"),
    ),
    ("StartStreamProcessor", "ResourceInUseException"): (
        "Specified resource is in use.",
        _running("StartStreamProcessor"),
    ),
    ("DeleteStreamProcessor", "ResourceInUseException"): (
        "Cannot delete stream processor in transitional state.",
        _running("DeleteStreamProcessor"),
    ),
    ("StopStreamProcessor", "ResourceInUseException"): (
        "Processor not available for stopping stream.",
        _sending("StopStreamProcessor", Name="door"),
    ),
    **{
        pair: row
        for api in ("Delete", "Describe", "Start", "Stop", "Update")
        for pair, row in {
            (f"{api}StreamProcessor", "InvalidParameterException"): (
                BAD_NAME,
                _sending(f"{api}StreamProcessor", Name="two words"),
            ),
            (f"{api}StreamProcessor", "ResourceNotFoundException"): (
                NO_PROCESSOR,
                _sending(f"{api}StreamProcessor", Name="none"),
            ),
        }.items()
    },
}
ON_DEMAND: Mapping[str, str] = {
    "AccessDeniedException": "a mock has nobody to deny anything to",
    "InternalServerError": "a mock does not fail by itself",
    "ProvisionedThroughputExceededException": "a mock is never busy",
    "ThrottlingException": "a mock is never busy",
    "ServiceQuotaExceededException": "the limit is ten thousand processors",
    "LimitExceededException": "the limit is ten thousand processors",
    "ResourceInUseException": "a face search has nothing that could be updated while in use",
}
"""What a mock sends only when it is told to, and why."""

PAIRS = [
    (operation, shape.name)
    for operation in sorted(BACKGROUND)
    for shape in operation_model(operation).error_shapes
]


def test_every_documented_error_is_provoked_or_sent_on_demand() -> None:
    assert len(PAIRS) > 80
    assert set(PROVOKED) <= set(PAIRS)
    assert {code for _, code in set(PAIRS) - set(PROVOKED)} == set(ON_DEMAND)


@pytest.mark.parametrize(("operation", "code"), sorted(PROVOKED))
def test_an_error_of_a_job_has_its_class_status_and_text(
    rig: Rig, operation: str, code: str
) -> None:
    text, provoke = PROVOKED[operation, code]
    kind: type[ClientError] = getattr(rig.client.exceptions, code)
    with pytest.raises(kind) as caught:
        provoke(rig)
    answer = caught.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert text in answer["Error"]["Message"]


@pytest.mark.parametrize(("operation", "code"), sorted(set(PAIRS) - set(PROVOKED)))
def test_any_other_error_comes_on_demand(rig: Rig, operation: str, code: str) -> None:
    rig.mock.inject(fail(code, operations=operation, times=1))
    kind: type[ClientError] = getattr(rig.client.exceptions, code)
    with pytest.raises(kind) as caught:
        rig.send(operation)
    status = caught.value.response["ResponseMetadata"]["HTTPStatusCode"]
    assert status == (500 if code == "InternalServerError" else 400)


def test_a_version_that_is_not_there_starts_no_job(rig: Rig) -> None:
    with pytest.raises(ClientError, match="InvalidS3Object"):
        rig.start("StartFaceDetection", Video=VERSION)
    assert rig.send("DetectFaces", Image={"Bytes": picture_of("ann")})["FaceDetails"]
