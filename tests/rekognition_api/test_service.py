"""What each operation answers, without a transport."""

from __future__ import annotations

import base64
import json
import logging
import re
import struct
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import cv2
import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rekadapter import errors
from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.errors import ConfigError, OutputError, RekadapterError, ThrottledError
from rekadapter.imaging import Image, encode_jpeg
from rekadapter.recognizer import Capabilities, FaceSelection, QualityFilter
from rekadapter.rekognition_api.context import S3Location, S3ObjectError, ServiceSettings
from rekadapter.rekognition_api.operations import OPERATIONS
from rekadapter.rekognition_api.service import RekognitionService, ServiceAnswer
from rekadapter.testing.drawn import DrawnFace, picture
from rekadapter.testing.material import ContractMaterial
from rekadapter.types import (
    BoundingBox,
    ComparisonScore,
    DetectedFace,
    Detection,
    Enrollment,
    FaceId,
    FaceIdentification,
    FaceQuality,
    FailureToAcquire,
    FailureToEnroll,
    GalleryDescription,
    GalleryId,
    Identification,
    Landmarks,
    Point,
    Pose,
    Reason,
    ScoreScale,
    Size,
    SubjectId,
    Verification,
)
from tests.telling import telling

ACCOUNT = "123456789012"
REGION = "eu-west-1"
NEVER_ISSUED = "00000000-0000-4000-8000-000000000000"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
BOTOCORE = ServiceModel(Loader().load_service_model("rekognition", "service-2"), "rekognition")


@dataclass(frozen=True, slots=True)
class Answered:
    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def code(self) -> str:
        return str(self.body["__type"])

    @property
    def message(self) -> str:
        return str(self.body["Message"])


class Caller:
    """Sends operations and holds every good answer against botocore's own output shape."""

    def __init__(self, service: RekognitionService) -> None:
        self._service = service

    def raw(self, operation: str, body: bytes) -> Answered:
        target = f"RekognitionService.{operation}"
        return parsed(self._service.handle(target, body, account=ACCOUNT, region=REGION))

    def __call__(self, operation: str, **members: object) -> Answered:
        answered = self.raw(operation, json.dumps(members).encode())
        if answered.status == 200:
            _check_against_botocore(operation, answered.body)
        return answered


def parsed(answer: ServiceAnswer) -> Answered:
    return Answered(answer.status, answer.headers, json.loads(answer.body))


def _check_against_botocore(operation: str, body: dict[str, Any]) -> None:
    # The one place where an answer departs from the model's minimum, see docs/service.md.
    checked = {name: value for name, value in body.items() if (name, value) != ("DeletedFaces", [])}
    shape = BOTOCORE.operation_model(operation).output_shape
    if shape is None or not shape.members:  # CreateUser, TagResource: an empty body
        assert body == {}
        return
    report = ParamValidator().validate(checked, shape)
    assert not report.has_errors(), report.generate_report()


def image_of(image: Image) -> dict[str, str]:
    assert image.encoded is not None
    return bytes_of(image.encoded)


def bytes_of(data: bytes) -> dict[str, str]:
    return {"Bytes": base64.b64encode(data).decode()}


@pytest.fixture
def call(service: RekognitionService) -> Caller:
    return Caller(service)


@pytest.fixture
def collection(call: Caller, material: ContractMaterial) -> str:
    """Ann and Bob, one face each."""
    call("CreateCollection", CollectionId="staff")
    for name, image in (("ann", material.ann), ("bob", material.bob)):
        call("IndexFaces", CollectionId="staff", Image=image_of(image), ExternalImageId=name)
    return "staff"


# --- collections ----------------------------------------------------------------------------------


def test_a_collection_lives_from_create_to_delete(call: Caller) -> None:
    made = call("CreateCollection", CollectionId="Staff.1-a_b")
    assert made.body == {
        "StatusCode": 200,
        "CollectionArn": f"arn:aws:rekognition:{REGION}:{ACCOUNT}:collection/Staff.1-a_b",
        "FaceModelVersion": "memory-1",
    }
    described = call("DescribeCollection", CollectionId="Staff.1-a_b").body
    assert described.pop("CreationTimestamp") == pytest.approx(1.8e9, rel=0.2)
    assert described == {
        "FaceCount": 0,
        "UserCount": 0,
        "FaceModelVersion": "memory-1",
        "CollectionARN": made.body["CollectionArn"],
    }
    assert call("DeleteCollection", CollectionId="Staff.1-a_b").body == {"StatusCode": 200}
    assert call("ListCollections").body == {"CollectionIds": [], "FaceModelVersions": []}


def test_a_collection_is_made_once(call: Caller) -> None:
    call("CreateCollection", CollectionId="c")
    again = call("CreateCollection", CollectionId="c")
    assert (again.status, again.code) == (400, "ResourceAlreadyExistsException")
    assert again.message == "The collection id: c already exists."


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("DescribeCollection", {}),
        ("DeleteCollection", {}),
        ("ListFaces", {}),
        ("DeleteFaces", {"FaceIds": [NEVER_ISSUED]}),
        ("SearchFaces", {"FaceId": NEVER_ISSUED}),
        ("IndexFaces", {"Image": True}),
        ("SearchFacesByImage", {"Image": True}),
    ],
)
def test_a_collection_that_is_not_there_is_not_found(
    call: Caller, material: ContractMaterial, operation: str, members: dict[str, object]
) -> None:
    if "Image" in members:
        members = {"Image": image_of(material.ann)}
    answered = call(operation, CollectionId="nowhere", **members)
    assert (answered.status, answered.code) == (400, "ResourceNotFoundException")
    assert answered.message == "Collection:nowhere not found!"


# --- pages ----------------------------------------------------------------------------------------


def _pages(call: Caller, operation: str, member: str, **members: object) -> Iterator[list[str]]:
    token: dict[str, object] = {}
    while True:
        body = call(operation, **members, **token).body
        yield body[member]
        if "NextToken" not in body:
            return
        assert len(body["NextToken"]) <= 255
        token = {"NextToken": body["NextToken"]}


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_pages_hold_each_collection_once(call: Caller, size: int) -> None:
    # Names that agree in the first 250 characters do not lose each other either.
    names = sorted(["a", "b", *("c" * 250 + end for end in "xyz")])
    for name in names:
        call("CreateCollection", CollectionId=name)
    pages = list(_pages(call, "ListCollections", "CollectionIds", MaxResults=size))
    assert [len(page) for page in pages[:-1]] == [size] * (len(pages) - 1)
    assert sorted(name for page in pages for name in page) == names


def test_model_versions_stand_beside_their_collections(call: Caller) -> None:
    for name in "abc":
        call("CreateCollection", CollectionId=name)
    body = call("ListCollections", MaxResults=2).body
    assert len(body["CollectionIds"]) == len(body["FaceModelVersions"]) == 2


def test_deleting_while_listing_skips_nothing(call: Caller) -> None:
    for name in "abcdef":
        call("CreateCollection", CollectionId=name)
    seen = []
    for page in _pages(call, "ListCollections", "CollectionIds", MaxResults=2):
        for name in page:
            seen.append(name)
            call("DeleteCollection", CollectionId=name)
    assert seen == list("abcdef")


def test_zero_results_means_the_default(call: Caller, collection: str) -> None:
    assert len(call("ListFaces", CollectionId=collection, MaxResults=0).body["Faces"]) == 2


def test_an_empty_token_is_the_beginning(call: Caller, collection: str) -> None:
    assert len(call("ListFaces", CollectionId=collection, NextToken="").body["Faces"]) == 2


def test_a_token_works_only_where_it_was_given(call: Caller, collection: str) -> None:
    call("CreateCollection", CollectionId="other")
    token = call("ListFaces", CollectionId=collection, MaxResults=1).body["NextToken"]
    foreign = [
        call("ListFaces", CollectionId="other", NextToken=token),
        call("ListCollections", NextToken=token),
        call("ListFaces", CollectionId=collection, FaceIds=[NEVER_ISSUED], NextToken=token),
        call("ListFaces", CollectionId=collection, NextToken=token[:-1]),
        call("ListFaces", CollectionId=collection, NextToken="made up"),
        call("ListFaces", CollectionId=collection, NextToken="\ud800é"),
    ]
    assert {answered.code for answered in foreign} == {"InvalidPaginationTokenException"}


# --- faces ----------------------------------------------------------------------------------------


def test_every_face_of_an_image_is_indexed_largest_first(
    call: Caller, material: ContractMaterial
) -> None:
    call("CreateCollection", CollectionId="c")
    body = call(
        "IndexFaces", CollectionId="c", Image=image_of(material.group), ExternalImageId="group:1"
    ).body
    faces = [record["Face"] for record in body["FaceRecords"]]
    widths = [face["BoundingBox"]["Width"] for face in faces]
    assert widths == sorted(widths, reverse=True)
    assert len(widths) == 2
    assert body["UnindexedFaces"] == []
    assert {face["ExternalImageId"] for face in faces} == {"group:1"}
    assert len({face["ImageId"] for face in faces}) == 1
    for face in faces:
        assert UUID.fullmatch(face["FaceId"])
        assert UUID.fullmatch(face["ImageId"])
        assert re.fullmatch(r"[0-9.]+", face["IndexFacesModelVersion"])
        assert "UserId" not in face
    assert "OrientationCorrection" not in body


def test_max_faces_names_the_faces_left_out(call: Caller, material: ContractMaterial) -> None:
    call("CreateCollection", CollectionId="c")
    body = call("IndexFaces", CollectionId="c", Image=image_of(material.group), MaxFaces=1).body
    assert len(body["FaceRecords"]) == 1
    assert [left["Reasons"] for left in body["UnindexedFaces"]] == [["EXCEEDS_MAX_FACES"]]
    assert "ExternalImageId" not in body["FaceRecords"][0]["Face"]


def test_an_image_without_a_face_indexes_nothing(call: Caller, material: ContractMaterial) -> None:
    call("CreateCollection", CollectionId="c")
    answered = call("IndexFaces", CollectionId="c", Image=image_of(material.nobody))
    assert answered.status == 200
    assert (answered.body["FaceRecords"], answered.body["UnindexedFaces"]) == ([], [])


def test_the_same_image_of_the_same_subject_is_kept_once(
    call: Caller, material: ContractMaterial
) -> None:
    call("CreateCollection", CollectionId="c")
    ids = [
        call(
            "IndexFaces", CollectionId="c", Image=image_of(material.ann), ExternalImageId=name
        ).body["FaceRecords"][0]["Face"]["FaceId"]
        for name in ("ann", "ann", "anne")
    ]
    assert ids[0] == ids[1] != ids[2]
    assert call("DescribeCollection", CollectionId="c").body["FaceCount"] == 2


def test_at_most_a_hundred_faces_of_an_image_are_spoken_of(call: Caller) -> None:
    crowd = [
        DrawnFace(f"{row}.{column}", column * 50, row * 50, 40)
        for row in range(11)
        for column in range(11)
    ]
    image = Image.from_bytes(encode_jpeg(picture(*crowd, size=Size(560, 560)), 95))
    call("CreateCollection", CollectionId="c")
    indexed = call("IndexFaces", CollectionId="c", Image=image_of(image)).body
    assert len(indexed["FaceRecords"]) == 100
    assert indexed["UnindexedFaces"] == []
    assert len(call("DetectFaces", Image=image_of(image)).body["FaceDetails"]) == 100
    compared = call("CompareFaces", SourceImage=image_of(image), TargetImage=image_of(image)).body
    assert len(compared["FaceMatches"]) + len(compared["UnmatchedFaces"]) == 100


def test_listed_faces_can_be_filtered(call: Caller, collection: str) -> None:
    faces = call("ListFaces", CollectionId=collection).body["Faces"]
    assert sorted(face["ExternalImageId"] for face in faces) == ["ann", "bob"]
    wanted = [faces[1]["FaceId"], NEVER_ISSUED]
    assert call("ListFaces", CollectionId=collection, FaceIds=wanted).body["Faces"] == [faces[1]]


def test_deleting_faces_succeeds_in_part(call: Caller, collection: str) -> None:
    known = call("ListFaces", CollectionId=collection).body["Faces"][0]["FaceId"]
    asked = [known, NEVER_ISSUED, known]
    answered = call("DeleteFaces", CollectionId=collection, FaceIds=asked)
    assert answered.status == 200
    assert answered.body == {
        "DeletedFaces": [known],
        "UnsuccessfulFaceDeletions": [{"FaceId": NEVER_ISSUED, "Reasons": ["FACE_NOT_FOUND"]}],
    }
    again = call("DeleteFaces", CollectionId=collection, FaceIds=[known]).body
    assert again["DeletedFaces"] == []
    assert call("DescribeCollection", CollectionId=collection).body["FaceCount"] == 1


@pytest.mark.parametrize(
    "external", ["ann", "a:b", "rk:61", "rk:rk:3A61", "rk:FF", "rk:", "rk:O:27Neil", "-"]
)
def test_an_external_image_id_comes_back_as_it_went_in(
    call: Caller, material: ContractMaterial, external: str
) -> None:
    call("CreateCollection", CollectionId="c")
    call("IndexFaces", CollectionId="c", Image=image_of(material.ann), ExternalImageId=external)
    faces = call("ListFaces", CollectionId="c").body["Faces"]
    assert [face["ExternalImageId"] for face in faces] == [external]


def test_an_encoded_subject_id_reaches_the_recognizer_decoded(
    call: Caller, recognizer: MemoryRecognizer, material: ContractMaterial
) -> None:
    call("CreateCollection", CollectionId="c")
    external = "rk:O:27Neil"
    call("IndexFaces", CollectionId="c", Image=image_of(material.ann), ExternalImageId=external)
    assert [face.subject for face in recognizer.faces(GalleryId("c"))] == ["O'Neil"]


def test_a_subject_id_too_long_for_aws_leaves_its_face_without(
    call: Caller,
    recognizer: MemoryRecognizer,
    material: ContractMaterial,
    caplog: pytest.LogCaptureFixture,
) -> None:
    recognizer.create_gallery(GalleryId("c"))
    recognizer.enroll(GalleryId("c"), material.ann, subject=SubjectId("é" * 200))
    faces = call("ListFaces", CollectionId="c").body["Faces"]
    assert len(faces) == 1
    assert "ExternalImageId" not in faces[0]
    assert "does not fit" in caplog.text


# --- searches -------------------------------------------------------------------------------------


def test_the_largest_face_is_searched(
    call: Caller, collection: str, material: ContractMaterial
) -> None:
    body = call("SearchFacesByImage", CollectionId=collection, Image=image_of(material.group)).body
    assert [match["Face"]["ExternalImageId"] for match in body["FaceMatches"]] == ["ann"]
    assert body["FaceMatches"][0]["Similarity"] >= 80
    assert body["SearchedFaceBoundingBox"]["Width"] == pytest.approx(200 / 640, abs=0.01)
    assert body["SearchedFaceConfidence"] == 100
    assert body["FaceModelVersion"] == "memory-1"


def test_matches_are_best_first_down_to_the_threshold(
    call: Caller, collection: str, material: ContractMaterial
) -> None:
    body = call(
        "SearchFacesByImage",
        CollectionId=collection,
        Image=image_of(material.ann),
        FaceMatchThreshold=0,
    ).body
    scores = [match["Similarity"] for match in body["FaceMatches"]]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)
    best = call(
        "SearchFacesByImage",
        CollectionId=collection,
        Image=image_of(material.ann),
        FaceMatchThreshold=0,
        MaxFaces=1,
    ).body["FaceMatches"]
    assert [match["Similarity"] for match in best] == scores[:1]


def test_an_empty_collection_matches_nobody(call: Caller, material: ContractMaterial) -> None:
    call("CreateCollection", CollectionId="c")
    answered = call("SearchFacesByImage", CollectionId="c", Image=image_of(material.ann))
    assert answered.status == 200
    assert answered.body["FaceMatches"] == []
    assert answered.body["SearchedFaceConfidence"] == 100


def test_searching_an_image_without_a_face_is_an_invalid_parameter(
    call: Caller, collection: str, material: ContractMaterial
) -> None:
    answered = call("SearchFacesByImage", CollectionId=collection, Image=image_of(material.nobody))
    assert (answered.status, answered.code) == (400, "InvalidParameterException")
    assert answered.message == "There are no faces in the image. Should be at least 1."


def test_an_enrolled_face_never_finds_itself(
    call: Caller, collection: str, material: ContractMaterial
) -> None:
    again = call(
        "IndexFaces",
        CollectionId=collection,
        Image=image_of(material.ann_again),
        ExternalImageId="ann",
    ).body["FaceRecords"][0]["Face"]["FaceId"]
    body = call("SearchFaces", CollectionId=collection, FaceId=again).body
    assert body["SearchedFaceId"] == again
    found = [match["Face"] for match in body["FaceMatches"]]
    assert [face["ExternalImageId"] for face in found] == ["ann"]
    assert again not in {face["FaceId"] for face in found}


def test_searching_a_face_that_is_not_there_is_an_invalid_parameter(
    call: Caller, collection: str
) -> None:
    answered = call("SearchFaces", CollectionId=collection, FaceId=NEVER_ISSUED)
    assert (answered.status, answered.code) == (400, "InvalidParameterException")
    assert answered.message == "faceId was not found in the collection."


# --- without a collection -------------------------------------------------------------------------


def test_compared_faces_are_matched_or_not(call: Caller, material: ContractMaterial) -> None:
    body = call(
        "CompareFaces", SourceImage=image_of(material.bob), TargetImage=image_of(material.group)
    ).body
    assert len(body["FaceMatches"]) == 1
    assert body["FaceMatches"][0]["Similarity"] >= 80
    assert len(body["UnmatchedFaces"]) == 1
    assert "Similarity" not in body["UnmatchedFaces"][0]
    assert body["SourceImageFace"]["Confidence"] == 100


@pytest.mark.parametrize("source_is_empty", [True, False])
def test_comparing_without_a_face_on_either_side_is_an_invalid_parameter(
    call: Caller, material: ContractMaterial, *, source_is_empty: bool
) -> None:
    images = [image_of(material.nobody), image_of(material.ann)]
    if not source_is_empty:
        images.reverse()
    answered = call("CompareFaces", SourceImage=images[0], TargetImage=images[1])
    assert (answered.status, answered.code) == (400, "InvalidParameterException")
    assert "no faces" in answered.message


def test_an_image_without_a_face_detects_nothing(call: Caller, material: ContractMaterial) -> None:
    assert call("DetectFaces", Image=image_of(material.nobody)).body == {"FaceDetails": []}


def test_details_that_were_not_computed_are_left_out(
    call: Caller, material: ContractMaterial
) -> None:
    body = call("DetectFaces", Image=image_of(material.ann), Attributes=["ALL"]).body
    assert [sorted(face) for face in body["FaceDetails"]] == [["BoundingBox", "Confidence"]]


def test_age_and_gender_have_rekognitions_form(material: ContractMaterial) -> None:
    call = Caller(RekognitionService(telling()))  # holds every answer against botocore's model
    call("CreateCollection", CollectionId="staff")
    image = image_of(material.ann)
    detected = call("DetectFaces", Image=image, Attributes=["GENDER", "AGE_RANGE"]).body
    indexed = call(
        "IndexFaces", CollectionId="staff", Image=image, DetectionAttributes=["ALL"]
    ).body
    for face in (detected["FaceDetails"][0], indexed["FaceRecords"][0]["FaceDetail"]):
        assert face["AgeRange"] == {"Low": 31, "High": 37}
        assert face["Gender"] == {"Value": "Female", "Confidence": 91.5}
    listed = call("ListFaces", CollectionId="staff").body
    assert "AgeRange" not in json.dumps(listed)


# --- recognizers with other answers ---------------------------------------------------------------

SEEN = DetectedFace(
    BoundingBox(-0.01, 0.2, 0.3, 1.01),
    confidence=99.5,
    landmarks=Landmarks(
        Point(0.1, 0.2), Point(0.2, 0.2), Point(0.15, 0.3), Point(0.1, 0.4), Point(0.2, 0.4)
    ),
    pose=Pose(roll=-3.0, yaw=12.5, pitch=4.0),
    quality=FaceQuality(sharpness=80.0, brightness=60.0),
    eye_distance_px=42.0,
)


class Answering(MemoryRecognizer):
    """A memory recognizer whose answers can be set."""

    detection = Detection((SEEN,))
    enrollment = Enrollment(())
    identification = Identification((FaceIdentification(SEEN),))
    error: RekadapterError | None = None

    def __init__(self) -> None:
        super().__init__()
        self.asked_quality: list[QualityFilter] = []
        self.asked_threshold: list[float] = []

    def detect(self, image: Image) -> Detection:
        del image
        if self.error:
            raise self.error
        return self.detection

    def enroll(
        self,
        gallery: GalleryId,
        image: Image,
        *,
        subject: SubjectId | None,
        max_faces: int | None = None,
        quality: QualityFilter = QualityFilter.AUTO,
    ) -> Enrollment:
        del gallery, image, subject, max_faces
        self.asked_quality.append(quality)
        return self.enrollment

    def identify(
        self,
        gallery: GalleryId,
        image: Image,
        *,
        threshold: ComparisonScore,
        limit: int = 5,
        faces: FaceSelection = FaceSelection.ALL,
        quality: QualityFilter = QualityFilter.NONE,
    ) -> Identification:
        del gallery, image, limit, faces
        self.asked_quality.append(quality)
        self.asked_threshold.append(threshold.value)
        return self.identification


@pytest.fixture
def answering() -> Answering:
    return Answering()


@pytest.fixture
def ask(answering: Answering) -> Caller:
    return Caller(RekognitionService(answering))


def test_every_detail_computed_is_given(ask: Caller, material: ContractMaterial) -> None:
    face = ask("DetectFaces", Image=image_of(material.ann)).body["FaceDetails"][0]
    assert face["BoundingBox"] == {"Width": 0.3, "Height": 1.01, "Left": -0.01, "Top": 0.2}
    assert [landmark["Type"] for landmark in face["Landmarks"]] == [
        "eyeLeft",
        "eyeRight",
        "mouthLeft",
        "mouthRight",
        "nose",
    ]
    assert face["Landmarks"][4] == {"Type": "nose", "X": 0.15, "Y": 0.3}
    assert face["Pose"] == {"Roll": -3.0, "Yaw": 12.5, "Pitch": 4.0}
    assert face["Quality"] == {"Brightness": 60.0, "Sharpness": 80.0}


def test_defaults_are_rekognitions(
    ask: Caller, answering: Answering, material: ContractMaterial
) -> None:
    ask("IndexFaces", CollectionId="c", Image=image_of(material.ann))
    ask("SearchFacesByImage", CollectionId="c", Image=image_of(material.ann))
    assert answering.asked_quality == [QualityFilter.AUTO, QualityFilter.NONE]
    assert answering.asked_threshold == [80]


def test_reasons_are_rekognitions_words(
    ask: Caller, answering: Answering, material: ContractMaterial
) -> None:
    answering.enrollment = Enrollment(
        (),
        (
            FailureToEnroll((Reason.FACE_TOO_SMALL, Reason.SMALL_BOUNDING_BOX), SEEN),
            FailureToEnroll((Reason.EXTREME_POSE, Reason.LOW_SHARPNESS), SEEN),
            FailureToEnroll((Reason.NO_FACE,)),
        ),
    )
    body = ask("IndexFaces", CollectionId="c", Image=image_of(material.ann)).body
    assert [left["Reasons"] for left in body["UnindexedFaces"]] == [
        ["SMALL_BOUNDING_BOX"],
        ["EXTREME_POSE", "LOW_SHARPNESS"],
    ]


def test_a_face_that_could_not_be_searched_is_not_an_empty_match_list(
    ask: Caller, answering: Answering, material: ContractMaterial
) -> None:
    small = FailureToAcquire(Reason.FACE_TOO_SMALL)
    answering.identification = Identification((FaceIdentification(SEEN, not_searched=small),))
    answered = ask("SearchFacesByImage", CollectionId="c", Image=image_of(material.ann))
    assert (answered.code, "no faces" in answered.message) == ("InvalidParameterException", True)


ERRORS: list[tuple[RekadapterError, int, str]] = [
    (errors.InvalidImageError("x"), 400, "InvalidImageFormatException"),
    (errors.ImageTooLargeError("x"), 400, "ImageTooLargeException"),
    (errors.ImageTooSmallError("x"), 400, "InvalidParameterException"),
    (errors.GalleryNotFoundError("x"), 400, "ResourceNotFoundException"),
    (errors.GalleryExistsError("x"), 400, "ResourceAlreadyExistsException"),
    (errors.GalleryModelMismatchError("x"), 400, "InvalidParameterException"),
    (errors.FaceNotFoundError("x"), 400, "InvalidParameterException"),
    (errors.SubjectIdError("x"), 400, "InvalidParameterException"),
    (errors.InvalidRequestError("x"), 400, "InvalidParameterException"),
    (errors.AccessDeniedError("x"), 400, "AccessDeniedException"),
    (errors.CredentialsError("x"), 400, "AccessDeniedException"),
    (errors.QuotaExceededError("x"), 400, "ServiceQuotaExceededException"),
    (errors.ThrottledError("x"), 400, "ProvisionedThroughputExceededException"),
    (errors.ServiceUnavailableError("x"), 500, "InternalServerError"),
    (errors.ConnectionFailedError("x"), 500, "InternalServerError"),
    (errors.DeadlineExceededError("x"), 500, "InternalServerError"),
    (errors.UnexpectedAnswerError("x"), 500, "InternalServerError"),
    (errors.BackendClosedError("x"), 500, "InternalServerError"),
    (errors.ScaleMismatchError("x"), 500, "InternalServerError"),
    (errors.ModelNotAvailableError("x"), 500, "InternalServerError"),
]


@pytest.mark.parametrize(
    ("error", "status", "code"), ERRORS, ids=lambda value: type(value).__name__
)
def test_each_error_has_its_aws_name(
    ask: Caller,
    answering: Answering,
    material: ContractMaterial,
    error: RekadapterError,
    status: int,
    code: str,
) -> None:
    answering.error = error
    answered = ask("DetectFaces", Image=image_of(material.ann))
    assert (answered.status, answered.code) == (status, code)
    assert sorted(answered.body) == ["Code", "Logref", "Message", "__type"]
    assert answered.body["Code"] == code
    assert answered.body["Logref"] == answered.headers["x-amzn-RequestId"]
    assert UUID.fullmatch(answered.body["Logref"])
    assert answered.headers["Content-Type"] == "application/x-amz-json-1.1"
    known = {shape.name for shape in BOTOCORE.error_shapes}
    assert code in known


def test_a_hint_to_wait_is_passed_on_in_milliseconds(
    ask: Caller, answering: Answering, material: ContractMaterial
) -> None:
    answering.error = ThrottledError("slow down", retry_after_seconds=1.5)
    answered = ask("DetectFaces", Image=image_of(material.ann))
    assert answered.headers["x-amz-retry-after"] == "1500"


def test_a_failure_that_has_words_is_logged_without_a_traceback(
    ask: Caller, answering: Answering, material: ContractMaterial, caplog: pytest.LogCaptureFixture
) -> None:
    answering.error = OutputError("the gallery's disk is full")
    answered = ask("DetectFaces", Image=image_of(material.ann))
    assert (answered.status, answered.code) == (500, "InternalServerError")
    (told,) = caplog.records
    assert told.getMessage() == "DetectFaces failed: the gallery's disk is full"
    assert told.exc_info is None


def test_an_unforeseen_exception_is_logged_and_answered(
    material: ContractMaterial, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Answering):
        def detect(self, image: Image) -> Detection:
            raise ZeroDivisionError(f"inside {image.size}")

    ask = Caller(RekognitionService(Broken()))
    answered = ask("DetectFaces", Image=image_of(material.ann))
    assert (answered.status, answered.code) == (500, "InternalServerError")
    assert answered.message == "Internal server error"
    assert "ZeroDivisionError" in caplog.text
    assert answered.body["Logref"] in caplog.text


def test_an_answer_rekognition_cannot_give_is_not_sent(
    ask: Caller, answering: Answering, material: ContractMaterial
) -> None:
    answering.detection = Detection((replace(SEEN, confidence=250.0),))
    answered = ask("DetectFaces", Image=image_of(material.ann))
    assert (answered.status, answered.code) == (500, "InternalServerError")


@pytest.mark.parametrize(
    "scale",
    [
        ScoreScale("cosine", -1.0, 1.0),
        ScoreScale("distance", 0.0, 100.0, higher_is_closer=False),
    ],
    ids=lambda scale: scale.name,
)
def test_a_recognizer_on_another_scale_is_refused(scale: ScoreScale) -> None:
    class Other(MemoryRecognizer):
        @property
        def capabilities(self) -> Capabilities:
            return replace(super().capabilities, score_scale=scale)

    with pytest.raises(ConfigError, match=scale.name):
        RekognitionService(Other())


def test_a_gallery_of_another_model_is_listed_without_its_version() -> None:
    class Mixed(MemoryRecognizer):
        def describe_gallery(self, gallery: GalleryId) -> GalleryDescription:
            if gallery == "old":
                raise errors.GalleryModelMismatchError("made by another model")
            if gallery == "gone":
                raise errors.GalleryNotFoundError("deleted meanwhile")
            return super().describe_gallery(gallery)

        def galleries(self) -> Iterator[GalleryId]:
            return iter([GalleryId("gone"), GalleryId("new"), GalleryId("old")])

    mixed = Mixed()
    mixed.create_gallery(GalleryId("new"))
    assert Caller(RekognitionService(mixed))("ListCollections").body == {
        "CollectionIds": ["new", "old"],
        "FaceModelVersions": ["memory-1", "unavailable"],
    }


# --- bad requests ---------------------------------------------------------------------------------


def _png_declaring(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    end = b"\0\0\0\0IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", len(header))
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + end
    )


def _truncated(material: ContractMaterial) -> bytes:
    assert material.ann.encoded is not None
    return material.ann.encoded[: len(material.ann.encoded) // 2]


def _gif(material: ContractMaterial) -> bytes:
    del material
    return b"GIF89a\x64\0\x64\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x64\0\x64\0\0\x02\x02D\x01\0;"


def _bmp(material: ContractMaterial) -> bytes:
    done, data = cv2.imencode(".bmp", material.ann.pixels)
    assert done
    return data.tobytes()


IMAGES: list[tuple[str, Callable[[ContractMaterial], bytes], str]] = [
    ("text", lambda _: b"no picture at all", "InvalidImageFormatException"),
    ("truncated", _truncated, "InvalidImageFormatException"),
    ("gif", _gif, "InvalidImageFormatException"),
    ("bmp", _bmp, "InvalidImageFormatException"),
    ("bomb", lambda _: _png_declaring(60_000, 60_000), "ImageTooLargeException"),
    ("empty PNG", lambda _: _png_declaring(100, 100), "InvalidImageFormatException"),
    ("5 MiB and a byte", lambda _: b"\xff" * (5 * 2**20 + 1), "ImageTooLargeException"),
    (
        "79 pixels",
        lambda _: encode_jpeg(picture(size=Size(79, 300)), 90),
        "InvalidParameterException",
    ),
]


@pytest.mark.parametrize("operation", ["DetectFaces", "SearchFacesByImage", "CompareFaces"])
@pytest.mark.parametrize(("name", "make", "code"), IMAGES, ids=lambda value: str(value)[:20])
def test_a_bad_image_has_its_documented_error(
    call: Caller,
    collection: str,
    material: ContractMaterial,
    operation: str,
    name: str,
    make: Callable[[ContractMaterial], bytes],
    code: str,
) -> None:
    bad = bytes_of(make(material))
    members: dict[str, dict[str, object]] = {
        "DetectFaces": {"Image": bad},
        "SearchFacesByImage": {"CollectionId": collection, "Image": bad},
        "CompareFaces": {"SourceImage": image_of(material.ann), "TargetImage": bad},
    }
    answered = call(operation, **members[operation])
    assert (answered.status, answered.code) == (400, code), name


def test_an_image_has_exactly_one_source(call: Caller, material: ContractMaterial) -> None:
    stored = {"S3Object": {"Bucket": "bucket", "Name": "ann.jpg"}}
    for image in ({}, {**image_of(material.ann), **stored}):
        answered = call("DetectFaces", Image=image)
        assert (answered.status, answered.code) == (400, "InvalidParameterException")


def test_an_object_nobody_can_read_is_an_invalid_s3_object(call: Caller) -> None:
    answered = call("DetectFaces", Image={"S3Object": {"Bucket": "bucket", "Name": "ann.jpg"}})
    assert (answered.status, answered.code) == (400, "InvalidS3ObjectException")
    assert answered.message.startswith("Unable to get object metadata from S3.")


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket of objects."""

    objects: Mapping[str, bytes]

    def read(self, location: S3Location, *, max_bytes: int) -> bytes:
        del max_bytes
        if location.key not in self.objects:
            raise S3ObjectError(f"no {location.key}")
        return self.objects[location.key]


def test_an_object_of_s3_may_have_15_mib(
    recognizer: MemoryRecognizer, material: ContractMaterial
) -> None:
    assert material.ann.encoded is not None
    padded = material.ann.encoded[:-2] + b"\0" * (6 * 2**20) + b"\xff\xd9"
    bucket = Bucket({"ann.jpg": padded, "huge.jpg": padded + b"\0" * (10 * 2**20)})
    call = Caller(RekognitionService(recognizer, s3=bucket))

    def detect(key: str) -> Answered:
        return call("DetectFaces", Image={"S3Object": {"Bucket": "bucket", "Name": key}})

    assert len(detect("ann.jpg").body["FaceDetails"]) == 1
    assert detect("huge.jpg").code == "ImageTooLargeException"
    assert detect("none.jpg").code == "InvalidS3ObjectException"


@pytest.mark.parametrize(
    "target",
    [
        "",
        "RekognitionService",
        "RekognitionService.",
        "RekognitionService.Nonsense",
        "RekognitionService.DetectLabels",
        "Other.DetectFaces",
        "rekognitionservice.DetectFaces",
        "DetectFaces",
        "RekognitionService.__init__",
    ],
)
def test_an_operation_that_is_not_served_is_unknown(
    service: RekognitionService, target: str
) -> None:
    answered = parsed(service.handle(target, b"{}", account=ACCOUNT, region=REGION))
    assert (answered.status, answered.code) == (400, "UnknownOperationException")


def test_the_code_of_a_broken_rule_can_be_set(recognizer: MemoryRecognizer) -> None:
    settings = ServiceSettings(violation_code="ValidationException")
    call = Caller(RekognitionService(recognizer, settings=settings))
    answered = call("CreateCollection", CollectionId="a b")
    assert answered.code == "ValidationException"
    assert answered.message.startswith("1 validation error detected: CollectionId")
    with pytest.raises(ConfigError):
        ServiceSettings(violation_code="Whatever")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
members_of_the_model = st.dictionaries(
    st.sampled_from(
        [
            "CollectionId",
            "Image",
            "SourceImage",
            "TargetImage",
            "FaceId",
            "FaceIds",
            "MaxFaces",
            "MaxResults",
            "NextToken",
            "FaceMatchThreshold",
            "QualityFilter",
            "Tags",
            "UserId",
        ]
    ),
    json_values
    | st.sampled_from(["staff", "NONE", "AUTO", NEVER_ISSUED])
    | st.just([NEVER_ISSUED])
    | st.fixed_dictionaries({"Bytes": st.binary(max_size=40).map(lambda b: bytes_of(b)["Bytes"])}),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(operation=st.sampled_from(sorted(OPERATIONS)), body=json_values | members_of_the_model)
def test_no_json_makes_the_service_fail(call: Caller, operation: str, body: object) -> None:
    answered = call.raw(operation, json.dumps(body).encode())
    assert answered.status in {200, 400}
    if answered.status == 400:
        assert answered.code
        assert answered.message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operation=st.sampled_from(sorted(OPERATIONS)), body=st.binary(max_size=200))
def test_no_bytes_make_the_service_fail(call: Caller, operation: str, body: bytes) -> None:
    assert call.raw(operation, body).status in {200, 400}


# --- the whole ------------------------------------------------------------------------------------


def test_every_request_id_is_new(call: Caller) -> None:
    ids = {call("ListCollections").headers["x-amzn-RequestId"] for _ in range(5)}
    assert len(ids) == 5
    assert all(uuid.UUID(found) for found in ids)


def test_requests_from_many_threads_lose_nothing(call: Caller, collection: str) -> None:
    def index(number: int) -> str:
        image = Image.from_bytes(
            encode_jpeg(picture(DrawnFace(f"person {number}", 100, 100, 200)), 92)
        )
        body = call(
            "IndexFaces",
            CollectionId=collection,
            Image=image_of(image),
            ExternalImageId=f"person-{number}",
        ).body
        return str(body["FaceRecords"][0]["Face"]["FaceId"])

    with ThreadPoolExecutor(8) as pool:
        issued = set(pool.map(index, range(24)))
    listed = call("ListFaces", CollectionId=collection).body["Faces"]
    assert issued <= {face["FaceId"] for face in listed}
    assert len(listed) == 26


def test_no_picture_and_no_name_reaches_the_log(
    call: Caller, collection: str, material: ContractMaterial, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    call("IndexFaces", CollectionId=collection, Image=image_of(material.ann), ExternalImageId="x y")
    call("SearchFacesByImage", CollectionId="gone", Image=image_of(material.ann))
    assert image_of(material.ann)["Bytes"][:40] not in caplog.text
    assert "x y" not in caplog.text


def test_face_ids_are_the_recognizers_own(
    call: Caller, collection: str, recognizer: MemoryRecognizer
) -> None:
    kept = {face.face_id for face in recognizer.faces(GalleryId(collection))}
    listed = call("ListFaces", CollectionId=collection).body["Faces"]
    assert {FaceId(face["FaceId"]) for face in listed} == kept


def test_compared_faces_pass_the_quality_filter_asked_for(material: ContractMaterial) -> None:
    asked: list[QualityFilter] = []

    class Noting(MemoryRecognizer):
        def verify(
            self,
            source: Image,
            target: Image,
            *,
            threshold: ComparisonScore,
            quality: QualityFilter = QualityFilter.NONE,
        ) -> Verification:
            asked.append(quality)
            return super().verify(source, target, threshold=threshold, quality=quality)

    call = Caller(RekognitionService(Noting()))
    image = image_of(material.ann)
    call("CompareFaces", SourceImage=image, TargetImage=image)
    call("CompareFaces", SourceImage=image, TargetImage=image, QualityFilter="HIGH")
    assert asked == [QualityFilter.NONE, QualityFilter.HIGH]
