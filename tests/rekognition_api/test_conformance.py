"""Every served operation against botocore's model and botocore's client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.validate import ParamValidator

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.imaging import Image
from rekadapter.rekognition_api.codec import decode_request
from rekadapter.rekognition_api.model import load_model
from rekadapter.rekognition_api.operations import OPERATIONS
from rekadapter.rekognition_api.server import ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.testing.material import ContractMaterial
from rekadapter.types import BoundingBox, EnrolledFace, FaceId, GalleryId, ImageId, UserId
from tests.rekognition_api.botocore_cases import (
    Case,
    broken_cases,
    fitting_cases,
    operation_model,
    service_model,
    whole_request,
)
from tests.rekognition_api.conftest import client_for
from tests.rekognition_api.test_service import ACCOUNT, REGION, Answered, parsed

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient
    from mypy_boto3_rekognition.type_defs import ImageTypeDef

SERVED = sorted(OPERATIONS)
BACKGROUND = frozenset(
    name for name in SERVED if "StreamProcessor" in name or name.startswith(("Start", "Get"))
)
"""Jobs and stream processors: their answers are held against the model where they are tested."""
MODEL = load_model(OPERATIONS)
FITTING = [case for name in SERVED for case in fitting_cases(name)]
BROKEN = [case for name in SERVED for case in broken_cases(name)]


@pytest.fixture(scope="module")
def refusing() -> RekognitionService:
    """Enough of a service to turn requests away."""
    return RekognitionService(MemoryRecognizer())


def asked(service: RekognitionService, operation: str, body: bytes) -> Answered:
    target = f"RekognitionService.{operation}"
    return parsed(service.handle(target, body, account=ACCOUNT, region=REGION))


# --- what is taken --------------------------------------------------------------------------------


def test_the_generated_requests_are_many() -> None:
    assert len(FITTING) > 150
    assert len(BROKEN) > 300
    assert {case.rule.split()[0] for case in BROKEN} == {
        "required",
        "minimum",
        "maximum",
        "pattern",
        "enum",
        "type",
    }


@pytest.mark.parametrize("operation", SERVED)
def test_a_whole_request_is_taken(operation: str) -> None:
    request = whole_request(operation)
    taken = decode_request(MODEL.operations[operation].takes, json.dumps(request).encode())
    assert taken.keys() == request.keys()


@pytest.mark.parametrize("case", FITTING, ids=str)
def test_a_value_at_its_limit_is_taken(case: Case) -> None:
    decode_request(MODEL.operations[case.operation].takes, case.body)


@pytest.mark.parametrize("case", BROKEN, ids=str)
def test_a_value_past_its_limit_has_the_documented_error(
    refusing: RekognitionService, case: Case
) -> None:
    answered = asked(refusing, case.operation, case.body)
    expected = "InvalidParameterException"
    if case.rule == "type":
        expected = "SerializationException"
    elif case.path.endswith("Image.Bytes") and case.rule == "maximum":
        expected = "ImageTooLargeException"
    assert (answered.status, answered.code) == (400, expected)
    if expected != "ImageTooLargeException":
        assert case.path in answered.message
    assert "\u2603" not in answered.message


@pytest.mark.parametrize("operation", sorted(set(service_model().operation_names) - set(SERVED)))
def test_an_operation_that_is_not_served_is_unknown(
    refusing: RekognitionService, operation: str
) -> None:
    body = json.dumps(whole_request(operation)).encode()
    answered = asked(refusing, operation, body)
    assert (answered.status, answered.code) == (400, "UnknownOperationException")


# --- what is given --------------------------------------------------------------------------------


@pytest.fixture
def collection(client: RekognitionClient, material: ContractMaterial) -> Iterator[str]:
    """Ann with a face and a user, Bob with a face, and a group nobody indexed."""
    client.create_collection(CollectionId="staff", Tags={"team": "doors"})
    for image, name in ((material.ann, "ann"), (material.bob, "bob")):
        assert image.encoded is not None
        client.index_faces(
            CollectionId="staff", Image={"Bytes": image.encoded}, ExternalImageId=name
        )
    client.create_user(CollectionId="staff", UserId="ann")
    client.associate_faces(CollectionId="staff", UserId="ann", FaceIds=[_ids(client)["ann"]])
    yield "staff"
    client.delete_collection(CollectionId="staff")


def _ids(client: RekognitionClient) -> dict[str, str]:
    faces = client.list_faces(CollectionId="staff")["Faces"]
    return {face["ExternalImageId"]: face["FaceId"] for face in faces}


Call = Callable[["RekognitionClient", ContractMaterial], Any]


def _bytes(image: Image) -> ImageTypeDef:
    assert image.encoded is not None
    return {"Bytes": image.encoded}


def _arn(client: RekognitionClient) -> str:
    return client.describe_collection(CollectionId="staff")["CollectionARN"]


def _made_and_deleted(client: RekognitionClient, _: ContractMaterial) -> Any:
    client.create_collection(CollectionId="short-lived")
    return client.delete_collection(CollectionId="short-lived")


def _created(client: RekognitionClient, _: ContractMaterial) -> Any:
    try:
        return client.create_collection(CollectionId="short-lived", Tags={"a": "b"})
    finally:
        client.delete_collection(CollectionId="short-lived")


CALLS: dict[str, Call] = {
    "CreateCollection": _created,
    "DescribeCollection": lambda c, _: c.describe_collection(CollectionId="staff"),
    "ListCollections": lambda c, _: c.list_collections(MaxResults=1),
    "DeleteCollection": _made_and_deleted,
    "IndexFaces": lambda c, m: c.index_faces(
        CollectionId="staff", Image=_bytes(m.group), MaxFaces=1, DetectionAttributes=["ALL"]
    ),
    "ListFaces": lambda c, _: c.list_faces(CollectionId="staff", MaxResults=1),
    "DeleteFaces": lambda c, _: c.delete_faces(
        CollectionId="staff", FaceIds=[*_ids(c).values(), "0" * 8 + "-0000-4000-8000-" + "0" * 12]
    ),
    "SearchFaces": lambda c, _: c.search_faces(
        CollectionId="staff", FaceId=_ids(c)["ann"], FaceMatchThreshold=0
    ),
    "SearchFacesByImage": lambda c, m: c.search_faces_by_image(
        CollectionId="staff", Image=_bytes(m.ann_again)
    ),
    "CreateUser": lambda c, _: c.create_user(CollectionId="staff", UserId="bob"),
    "DeleteUser": lambda c, _: c.delete_user(CollectionId="staff", UserId="ann"),
    "ListUsers": lambda c, _: c.list_users(CollectionId="staff", MaxResults=1),
    "AssociateFaces": lambda c, _: c.associate_faces(
        CollectionId="staff", UserId="ann", FaceIds=list(_ids(c).values())
    ),
    "DisassociateFaces": lambda c, _: c.disassociate_faces(
        CollectionId="staff",
        UserId="ann",
        FaceIds=[_ids(c)["ann"], "0" * 8 + "-0000-4000-8000-" + "0" * 12],
    ),
    "SearchUsers": lambda c, _: c.search_users(CollectionId="staff", FaceId=_ids(c)["ann"]),
    "SearchUsersByImage": lambda c, m: c.search_users_by_image(
        CollectionId="staff", Image=_bytes(m.group)
    ),
    "TagResource": lambda c, _: c.tag_resource(ResourceArn=_arn(c), Tags={"a": "b"}),
    "UntagResource": lambda c, _: c.untag_resource(ResourceArn=_arn(c), TagKeys=["team"]),
    "ListTagsForResource": lambda c, _: c.list_tags_for_resource(ResourceArn=_arn(c)),
    "DetectFaces": lambda c, m: c.detect_faces(Image=_bytes(m.group), Attributes=["ALL"]),
    "CompareFaces": lambda c, m: c.compare_faces(
        SourceImage=_bytes(m.bob), TargetImage=_bytes(m.group)
    ),
}
MAY_STAY_AWAY = {
    "ListCollections": {"NextToken"},
    "IndexFaces": {"OrientationCorrection"},
    "ListUsers": {"NextToken"},
    "SearchUsers": {"SearchedUser"},
    "DetectFaces": {"OrientationCorrection"},
    "CompareFaces": {"SourceImageOrientationCorrection", "TargetImageOrientationCorrection"},
}
"""Members of an answer that a call above does not bring."""


def test_every_operation_is_called() -> None:
    assert set(CALLS) == set(SERVED) - BACKGROUND


@pytest.mark.parametrize("operation", sorted(CALLS))
def test_an_answer_fits_the_model_and_reaches_the_client_whole(
    client: RekognitionClient, collection: str, material: ContractMaterial, operation: str
) -> None:
    assert collection
    answer = CALLS[operation](client, material)
    metadata = answer.pop("ResponseMetadata")
    assert metadata["HTTPStatusCode"] == 200
    shape = operation_model(operation).output_shape
    members = set(shape.members) if shape is not None else set()
    assert members - set(answer) == MAY_STAY_AWAY.get(operation, set())
    if shape is not None:
        report = ParamValidator().validate(answer, shape)
        assert not report.has_errors(), report.generate_report()


# --- pages ----------------------------------------------------------------------------------------


class Many(MemoryRecognizer):
    """A gallery that lists more faces than a page may hold."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._many = [_listed(number) for number in range(count)]
        self.create_gallery(GalleryId("staff"))

    def faces(self, gallery: GalleryId) -> Iterator[EnrolledFace]:
        self.describe_gallery(gallery)
        return iter(self._many)


def _listed(number: int) -> EnrolledFace:
    face_id = f"00000000-0000-4000-8000-{number:012x}"
    face = EnrolledFace(
        FaceId(face_id), ImageId(face_id), None, BoundingBox(0, 0, 1, 1), confidence=99.0
    )
    return replace(face, user=UserId("even") if number % 2 == 0 else None)


@pytest.mark.parametrize(
    ("count", "size", "pages"), [(30, 1, 30), (4096, 4096, 1), (4097, 4096, 2), (4097, None, 2)]
)
def test_pages_of_faces_at_1_and_4096(count: int, size: int | None, pages: int) -> None:
    with ServiceServer(create_app(RekognitionService(Many(count)))) as server:
        client = client_for(server.url)
        paginator = client.get_paginator("list_faces")
        sizes = {"PageSize": size} if size else {}
        found = list(paginator.paginate(CollectionId="staff", PaginationConfig=sizes))  # type: ignore[arg-type]  # one key or none
        assert len(found) == pages
        ids = [face["FaceId"] for page in found for face in page["Faces"]]
        assert ids == [_listed(number).face_id for number in range(count)]
        of_user = client.list_faces(CollectionId="staff", UserId="even")["Faces"]
        assert len(of_user) == (count + 1) // 2
        client.close()


@pytest.mark.parametrize(
    ("count", "size", "pages"), [(30, 1, 30), (4096, 4096, 1), (4097, 4096, 2), (4097, None, 2)]
)
def test_pages_of_collections_at_1_and_4096(count: int, size: int | None, pages: int) -> None:
    recognizer = MemoryRecognizer()
    for number in range(count):
        recognizer.create_gallery(GalleryId(f"gallery-{number:05}"))
    with ServiceServer(create_app(RekognitionService(recognizer))) as server:
        client = client_for(server.url)
        paginator = client.get_paginator("list_collections")
        sizes = {"PageSize": size} if size else {}
        found = list(paginator.paginate(PaginationConfig=sizes))  # type: ignore[arg-type]  # one key or none
        assert len(found) == pages
        names = [name for page in found for name in page["CollectionIds"]]
        assert names == [f"gallery-{number:05}" for number in range(count)]
        assert all(len(page["CollectionIds"]) == len(page["FaceModelVersions"]) for page in found)
        client.close()


@pytest.mark.parametrize(("count", "size", "pages"), [(30, 1, 30), (501, 500, 2), (501, None, 2)])
def test_pages_of_users_at_1_and_500(count: int, size: int | None, pages: int) -> None:
    recognizer = MemoryRecognizer()
    recognizer.create_gallery(GalleryId("staff"))
    for number in range(count):
        recognizer.user_gallery.create(GalleryId("staff"), UserId(f"u{number:05}"))
    with ServiceServer(create_app(RekognitionService(recognizer))) as server:
        client = client_for(server.url)
        paginator = client.get_paginator("list_users")
        sizes = {"PageSize": size} if size else {}
        found = list(paginator.paginate(CollectionId="staff", PaginationConfig=sizes))  # type: ignore[arg-type]  # one key or none
        assert len(found) == pages
        names = [user["UserId"] for page in found for user in page["Users"]]
        assert names == [f"u{number:05}" for number in range(count)]
        client.close()
