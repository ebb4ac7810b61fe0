"""Each error that AWS documents for an operation: class, status and text, as boto3 raises it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.errors import (
    AccessDeniedError,
    QuotaExceededError,
    RekadapterError,
    ServiceUnavailableError,
    ThrottledError,
)
from rekadapter.rekognition_api.in_process import answered_by
from rekadapter.rekognition_api.injections import fail
from rekadapter.rekognition_api.mocking import MockedRekognition
from rekadapter.testing.material import ContractMaterial
from tests.rekognition_api.botocore_cases import FACE_ID, operation_model
from tests.rekognition_api.test_conformance import CALLS

SYNCHRONOUS = sorted(CALLS)
STAFF_ARN = "arn:aws:rekognition:eu-west-1:123456789012:collection/staff"
NOWHERE_ARN = STAFF_ARN.replace("staff", "nowhere")
PICTURE = object()
"""Stands for a picture of Ann."""
NOBODY = object()
"""Stands for a picture of nobody."""

GOOD: Mapping[str, Mapping[str, object]] = {
    "CreateCollection": {"CollectionId": "new"},
    "DescribeCollection": {"CollectionId": "staff"},
    "ListCollections": {},
    "DeleteCollection": {"CollectionId": "staff"},
    "IndexFaces": {"CollectionId": "staff", "Image": PICTURE},
    "ListFaces": {"CollectionId": "staff"},
    "DeleteFaces": {"CollectionId": "staff", "FaceIds": [FACE_ID]},
    "SearchFaces": {"CollectionId": "staff", "FaceId": FACE_ID},
    "SearchFacesByImage": {"CollectionId": "staff", "Image": PICTURE},
    "CreateUser": {"CollectionId": "staff", "UserId": "new"},
    "DeleteUser": {"CollectionId": "staff", "UserId": "ann"},
    "ListUsers": {"CollectionId": "staff"},
    "AssociateFaces": {"CollectionId": "staff", "UserId": "ann", "FaceIds": [FACE_ID]},
    "DisassociateFaces": {"CollectionId": "staff", "UserId": "ann", "FaceIds": [FACE_ID]},
    "SearchUsers": {"CollectionId": "staff", "UserId": "ann"},
    "SearchUsersByImage": {"CollectionId": "staff", "Image": PICTURE},
    "TagResource": {"ResourceArn": STAFF_ARN, "Tags": {"a": "b"}},
    "UntagResource": {"ResourceArn": STAFF_ARN, "TagKeys": ["a"]},
    "ListTagsForResource": {"ResourceArn": STAFF_ARN},
    "DetectFaces": {"Image": PICTURE},
    "CompareFaces": {"SourceImage": PICTURE, "TargetImage": PICTURE},
}
"""A request that succeeds, for each operation."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong: members that differ from the good request, or what the backend raises."""

    text: str
    members: Mapping[str, object] = field(default_factory=dict)
    backend: RekadapterError | None = None
    status: int = 400
    before: Mapping[str, object] | None = None
    """Members of an earlier request of the same operation."""


RULES = "Request has invalid parameters: "
NO_COLLECTION = Trouble("Collection:nowhere not found!", {"CollectionId": "nowhere"})
NO_RESOURCE = Trouble("The resource was not found.", {"ResourceArn": NOWHERE_ARN})
BAD_ARN = Trouble(f"{RULES}ResourceArn is no resource's.", {"ResourceArn": "x" * 20})
BAD_TOKEN = Trouble("Invalid Pagination Token", {"NextToken": "made up"})
FULL = Trouble("A quota of the backend is used up.", backend=QuotaExceededError("full"))
NO_FACES = "There are no faces in the image. Should be at least 1."

ANY_OPERATION: Mapping[str, Trouble] = {
    "AccessDeniedException": Trouble(
        "The service's backend refused access.", backend=AccessDeniedError("no")
    ),
    "InternalServerError": Trouble(
        "Internal server error", backend=ServiceUnavailableError("down"), status=500
    ),
    "ProvisionedThroughputExceededException": Trouble(
        "Provisioned Rate exceeded.", backend=ThrottledError("slow down")
    ),
}
"""What a backend may answer whatever was asked."""

IMAGES: Mapping[str, tuple[str, object]] = {
    "InvalidS3ObjectException": (
        "Unable to get object metadata from S3. "
        "Check object key, region and/or access permissions.",
        {"S3Object": {"Bucket": "bucket", "Name": "no.jpg"}},
    ),
    "ImageTooLargeException": ("Image size is too large.", {"Bytes": b"\xff" * (5 * 2**20 + 1)}),
    "InvalidImageFormatException": ("Request has invalid image format.", {"Bytes": b"no image"}),
}


TWICE = [FACE_ID, FACE_ID]


def _token(name: str, other: object) -> Trouble:
    return Trouble(
        "The ClientRequestToken: t-1 you have supplied is already in use.",
        {"ClientRequestToken": "t-1", name: other},
        before={"ClientRequestToken": "t-1"},
    )


def _broken_name(name: str) -> Trouble:
    return Trouble(f"{RULES}{name} has to match [a-zA-Z0-9_.\\-]+", {name: "two words"})


OWN: Mapping[tuple[str, str], Trouble] = {
    ("CreateCollection", "InvalidParameterException"): _broken_name("CollectionId"),
    ("CreateCollection", "ResourceAlreadyExistsException"): Trouble(
        "The collection id: staff already exists.", {"CollectionId": "staff"}
    ),
    ("CreateCollection", "ServiceQuotaExceededException"): FULL,
    ("DescribeCollection", "InvalidParameterException"): _broken_name("CollectionId"),
    ("ListCollections", "InvalidParameterException"): Trouble(
        f"{RULES}MaxResults may be at most 4096", {"MaxResults": 4097}
    ),
    ("DeleteCollection", "InvalidParameterException"): _broken_name("CollectionId"),
    ("IndexFaces", "InvalidParameterException"): Trouble(
        f"{RULES}ExternalImageId has to match [a-zA-Z0-9_.\\-:]+", {"ExternalImageId": "a b"}
    ),
    ("IndexFaces", "ServiceQuotaExceededException"): FULL,
    ("ListFaces", "InvalidParameterException"): _broken_name("CollectionId"),
    ("DeleteFaces", "InvalidParameterException"): Trouble(
        f"{RULES}FaceIds[0] has to match", {"FaceIds": ["no uuid"]}
    ),
    ("SearchFaces", "InvalidParameterException"): Trouble(
        "faceId was not found in the collection.", {}
    ),
    ("SearchFacesByImage", "InvalidParameterException"): Trouble(NO_FACES, {"Image": NOBODY}),
    ("CreateUser", "InvalidParameterException"): _broken_name("CollectionId"),
    ("CreateUser", "ConflictException"): Trouble(
        "A user of this id is in collection staff already.", {"UserId": "ann"}
    ),
    ("CreateUser", "ServiceQuotaExceededException"): FULL,
    ("CreateUser", "IdempotentParameterMismatchException"): _token("UserId", "other"),
    ("DeleteUser", "InvalidParameterException"): _broken_name("CollectionId"),
    ("DeleteUser", "IdempotentParameterMismatchException"): _token("UserId", "other"),
    ("ListUsers", "InvalidParameterException"): Trouble(
        f"{RULES}MaxResults may be at most 500", {"MaxResults": 501}
    ),
    ("AssociateFaces", "InvalidParameterException"): Trouble(
        f"{RULES}UserMatchThreshold may be at most 100", {"UserMatchThreshold": 101.0}
    ),
    ("AssociateFaces", "ServiceQuotaExceededException"): FULL,
    ("AssociateFaces", "IdempotentParameterMismatchException"): _token(
        "FaceIds", [FACE_ID, FACE_ID]
    ),
    ("DisassociateFaces", "InvalidParameterException"): Trouble(
        f"{RULES}FaceIds may have at most 100 items", {"FaceIds": [FACE_ID] * 101}
    ),
    ("DisassociateFaces", "IdempotentParameterMismatchException"): _token(
        "FaceIds", [FACE_ID, FACE_ID]
    ),
    ("SearchUsers", "InvalidParameterException"): Trouble(
        f"{RULES}users are searched by FaceId or by UserId", {"FaceId": FACE_ID}
    ),
    ("SearchUsersByImage", "InvalidParameterException"): Trouble(
        f"{RULES}MaxUsers may be at most 500", {"MaxUsers": 501}
    ),
    ("TagResource", "InvalidParameterException"): BAD_ARN,
    ("TagResource", "ServiceQuotaExceededException"): Trouble(
        "A quota of the backend is used up.",
        {"Tags": {f"k{number}": "v" for number in range(200)}},
        before={"Tags": {"one": "v"}},
    ),
    ("UntagResource", "InvalidParameterException"): BAD_ARN,
    ("ListTagsForResource", "InvalidParameterException"): BAD_ARN,
    ("DetectFaces", "InvalidParameterException"): Trouble(
        f"{RULES}an image is given by Bytes or by S3Object", {"Image": {}}
    ),
    ("CompareFaces", "InvalidParameterException"): Trouble(NO_FACES, {"TargetImage": NOBODY}),
}

NOT_PROVOKED: Mapping[tuple[str, str], str] = {
    ("ListCollections", "ResourceNotFoundException"): "a listing names no resource",
    ("DeleteUser", "ConflictException"): "a change is one transaction: it leaves no conflict",
    ("AssociateFaces", "ConflictException"): "a change is one transaction: it leaves no conflict",
    ("DisassociateFaces", "ConflictException"): "a change is one transaction: no conflict",
    **{
        (operation, "ThrottlingException"): "the service says that it is busy in one way only"
        for operation in SYNCHRONOUS
    },
}
"""What no request brings about, and why; a mock sends it on demand."""


def _trouble(operation: str, code: str) -> Trouble | None:
    if (operation, code) in OWN:
        return OWN[operation, code]
    if code in ANY_OPERATION:
        return ANY_OPERATION[code]
    if code in IMAGES:
        text, image = IMAGES[code]
        member = "TargetImage" if operation == "CompareFaces" else "Image"
        return Trouble(text, {member: image})
    if (operation, code) in NOT_PROVOKED:
        return None
    if code == "ResourceNotFoundException":
        return NO_RESOURCE if "Resource" in operation else NO_COLLECTION
    return BAD_TOKEN


PAIRS = [
    (operation, shape.name)
    for operation in SYNCHRONOUS
    for shape in operation_model(operation).error_shapes
]
PROVOKED = [pair for pair in PAIRS if _trouble(*pair) is not None]


class Failing(MemoryRecognizer):
    """Raises what it is told to, whatever is asked of it."""

    error: RekadapterError | None = None

    def _check_open(self) -> None:
        super()._check_open()
        if self.error is not None:
            raise self.error


@pytest.fixture
def recognizer() -> Failing:
    return Failing()


@pytest.fixture
def mock(recognizer: Failing) -> MockedRekognition:
    return MockedRekognition(lambda: recognizer)


@pytest.fixture
def mocked(mock: MockedRekognition) -> Iterator[BaseClient]:
    """boto3 without its checks and retries, with a collection "staff" that has a user "ann"."""
    config = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
    made = boto3.client("rekognition", region_name="eu-west-1", config=config)
    with answered_by(mock, made):
        made.create_collection(CollectionId="staff")
        made.create_user(CollectionId="staff", UserId="ann")
        yield made


def _send(client: BaseClient, operation: str, members: Mapping[str, object]) -> Any:
    method = next(
        name for name, api in client.meta.method_to_api_mapping.items() if api == operation
    )
    return getattr(client, method)(**members)


def _filled(members: Mapping[str, object], material: ContractMaterial) -> dict[str, object]:
    pictures = {PICTURE: material.ann.encoded, NOBODY: material.nobody.encoded}
    return {
        name: {"Bytes": pictures[value]} if value in (PICTURE, NOBODY) else value
        for name, value in members.items()
    }


@contextmanager
def _failing(recognizer: Failing, error: RekadapterError | None) -> Iterator[None]:
    recognizer.error = error
    try:
        yield
    finally:
        recognizer.error = None


def test_every_documented_error_is_provoked_or_has_a_reason() -> None:
    assert len(PAIRS) > 150
    assert set(PAIRS) == set(PROVOKED) | (NOT_PROVOKED.keys() & set(PAIRS))
    assert OWN.keys() <= set(PAIRS)
    assert not OWN.keys() & NOT_PROVOKED.keys()


@pytest.mark.parametrize(("operation", "code"), PROVOKED)
def test_a_documented_error_has_its_class_status_and_text(
    mocked: BaseClient,
    recognizer: Failing,
    material: ContractMaterial,
    operation: str,
    code: str,
) -> None:
    trouble = _trouble(operation, code)
    assert trouble is not None
    if trouble.before is not None:
        _send(mocked, operation, _filled({**GOOD[operation], **trouble.before}, material))
    request = _filled({**GOOD[operation], **trouble.members}, material)
    kind: type[ClientError] = getattr(mocked.exceptions, code)
    with _failing(recognizer, trouble.backend), pytest.raises(kind) as caught:
        _send(mocked, operation, request)
    answer = caught.value.response
    assert answer["Error"]["Code"] == code
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == trouble.status
    assert trouble.text in answer["Error"]["Message"]
    start = f"An error occurred ({code}) when calling the {operation} operation"
    assert str(caught.value).startswith(start)


@pytest.mark.parametrize("operation", SYNCHRONOUS)
def test_throttling_comes_on_demand(
    mocked: BaseClient, mock: MockedRekognition, material: ContractMaterial, operation: str
) -> None:
    kind: type[ClientError] = getattr(mocked.exceptions, "ThrottlingException")  # noqa: B009 made at run time
    for status in (400, 500):
        mock.inject(fail("ThrottlingException", status=status, times=1))
        with pytest.raises(kind) as caught:
            _send(mocked, operation, _filled(GOOD[operation], material))
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


@pytest.mark.parametrize("operation", SYNCHRONOUS)
def test_the_good_request_is_good(
    mocked: BaseClient, material: ContractMaterial, operation: str
) -> None:
    request = _filled(GOOD[operation], material)
    if operation == "SearchFaces":  # needs a face id of this collection: none is known beforehand
        with pytest.raises(ClientError, match="faceId was not found"):
            _send(mocked, operation, request)
        return
    answer = _send(mocked, operation, request)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
