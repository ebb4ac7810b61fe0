"""Users of a collection on the wire: what each operation answers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.errors import ConfigError
from rekadapter.recognizer import UserGallery
from rekadapter.rekognition_api.codec import WireObject
from rekadapter.rekognition_api.faults import FaultError
from rekadapter.rekognition_api.idempotency import IdempotentAnswers, TokenKey
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.testing.material import ContractMaterial
from rekadapter.types import DetectedFace, GalleryId, Reason, UnsearchedFace, UserIdentification
from tests.rekognition_api.test_service import NEVER_ISSUED, SEEN, Caller, image_of

USER_OPERATIONS: list[tuple[str, dict[str, object]]] = [
    ("CreateUser", {"UserId": "ann"}),
    ("DeleteUser", {"UserId": "ann"}),
    ("ListUsers", {}),
    ("AssociateFaces", {"UserId": "ann", "FaceIds": [NEVER_ISSUED]}),
    ("DisassociateFaces", {"UserId": "ann", "FaceIds": [NEVER_ISSUED]}),
    ("SearchUsers", {"FaceId": NEVER_ISSUED}),
    ("SearchUsers", {"UserId": "ann"}),
    ("SearchUsersByImage", {"Image": True}),
]


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def call(recognizer: MemoryRecognizer, clock: Clock) -> Caller:
    answered = IdempotentAnswers(lifetime_seconds=60, clock=clock)
    return Caller(RekognitionService(recognizer, answered=answered))


@pytest.fixture
def faces(call: Caller, material: ContractMaterial) -> dict[str, str]:
    """Face ids in the collection "staff": ann twice, bob once; users ann and bob without faces."""
    call("CreateCollection", CollectionId="staff")
    ids = {}
    for name, image in (
        ("ann", material.ann),
        ("ann_again", material.ann_again),
        ("bob", material.bob),
    ):
        answered = call("IndexFaces", CollectionId="staff", Image=image_of(image), MaxFaces=1)
        ids[name] = answered.body["FaceRecords"][0]["Face"]["FaceId"]
    for user in ("ann", "bob"):
        call("CreateUser", CollectionId="staff", UserId=user)
    return ids


def associate(call: Caller, user: str, *face_ids: str, **members: object) -> dict[str, Any]:
    return call(
        "AssociateFaces", CollectionId="staff", UserId=user, FaceIds=face_ids, **members
    ).body


def test_a_user_is_created_active_and_gone(call: Caller, faces: dict[str, str]) -> None:
    listed = call("ListUsers", CollectionId="staff").body
    assert listed == {
        "Users": [
            {"UserId": "ann", "UserStatus": "CREATED"},
            {"UserId": "bob", "UserStatus": "CREATED"},
        ]
    }
    assert call("DescribeCollection", CollectionId="staff").body["UserCount"] == 2
    assert associate(call, "ann", faces["ann"]) == {
        "AssociatedFaces": [{"FaceId": faces["ann"]}],
        "UnsuccessfulFaceAssociations": [],
        "UserStatus": "ACTIVE",
    }
    assert call("DeleteUser", CollectionId="staff", UserId="ann").body == {}
    assert [user["UserId"] for user in call("ListUsers", CollectionId="staff").body["Users"]] == [
        "bob"
    ]


def test_a_second_user_of_one_id_is_a_conflict(call: Caller, faces: dict[str, str]) -> None:
    assert faces
    answered = call("CreateUser", CollectionId="staff", UserId="ann")
    assert (answered.status, answered.code) == (400, "ConflictException")


@pytest.mark.parametrize(("operation", "members"), USER_OPERATIONS)
def test_users_of_a_collection_that_is_not_there_are_not_found(
    call: Caller, material: ContractMaterial, operation: str, members: dict[str, object]
) -> None:
    if "Image" in members:
        members = {"Image": image_of(material.ann)}
    answered = call(operation, CollectionId="nowhere", **members)
    assert (answered.status, answered.code) == (400, "ResourceNotFoundException")
    assert answered.message == "Collection:nowhere not found!"


@pytest.mark.parametrize(
    ("operation", "members"),
    [row for row in USER_OPERATIONS if "UserId" in row[1] and row[0] != "CreateUser"],
)
def test_an_unknown_user_is_not_found(
    call: Caller, faces: dict[str, str], operation: str, members: dict[str, object]
) -> None:
    assert faces
    answered = call(operation, CollectionId="staff", **{**members, "UserId": "nobody"})
    assert (answered.status, answered.code) == (400, "ResourceNotFoundException")
    assert answered.message == "User not found in collection staff."


@pytest.mark.parametrize(("operation", "members"), USER_OPERATIONS)
def test_a_backend_without_users_does_not_know_the_operations(
    material: ContractMaterial, operation: str, members: dict[str, object]
) -> None:
    class WithoutUsers(MemoryRecognizer):
        @property
        def user_gallery(self) -> UserGallery | None:  # type: ignore[override]  # what it lacks
            return None

    call = Caller(RekognitionService(WithoutUsers()))
    call("CreateCollection", CollectionId="staff")
    if "Image" in members:
        members = {"Image": image_of(material.ann)}
    answered = call(operation, CollectionId="staff", **members)
    assert (answered.status, answered.code) == (400, "UnknownOperationException")


# --- faces of users -------------------------------------------------------------------------------


def test_associations_fail_in_part_with_200(call: Caller, faces: dict[str, str]) -> None:
    associate(call, "bob", faces["bob"])
    associate(call, "ann", faces["ann"])
    answered = associate(call, "ann", faces["ann_again"], faces["bob"], NEVER_ISSUED, faces["ann"])
    assert answered == {
        "AssociatedFaces": [{"FaceId": faces["ann_again"]}],
        "UnsuccessfulFaceAssociations": [
            {
                "FaceId": faces["bob"],
                "UserId": "bob",
                "Reasons": ["ASSOCIATED_TO_A_DIFFERENT_USER"],
            },
            {"FaceId": NEVER_ISSUED, "Reasons": ["FACE_NOT_FOUND"]},
        ],
        "UserStatus": "ACTIVE",
    }


def test_a_face_unlike_its_user_is_refused_with_the_confidence(
    call: Caller, faces: dict[str, str]
) -> None:
    associate(call, "ann", faces["ann"])
    refused = associate(call, "ann", faces["bob"])["UnsuccessfulFaceAssociations"][0]
    assert (refused["Reasons"], refused["UserId"]) == (["LOW_MATCH_CONFIDENCE"], "ann")
    assert 0 <= refused["Confidence"] < 75
    below = refused["Confidence"] - 0.1
    assert associate(call, "ann", faces["bob"], UserMatchThreshold=below)["AssociatedFaces"] == [
        {"FaceId": faces["bob"]}
    ]


def test_disassociations_fail_in_part_with_200(call: Caller, faces: dict[str, str]) -> None:
    associate(call, "ann", faces["ann"])
    associate(call, "bob", faces["bob"])
    asked = [faces["ann"], faces["bob"], faces["ann_again"], NEVER_ISSUED]
    answered = call("DisassociateFaces", CollectionId="staff", UserId="ann", FaceIds=asked)
    assert answered.body == {
        "DisassociatedFaces": [{"FaceId": faces["ann"]}],
        "UnsuccessfulFaceDisassociations": [
            {
                "FaceId": faces["bob"],
                "UserId": "bob",
                "Reasons": ["ASSOCIATED_TO_A_DIFFERENT_USER"],
            },
            {"FaceId": NEVER_ISSUED, "Reasons": ["FACE_NOT_FOUND"]},
        ],
        "UserStatus": "CREATED",
    }


@pytest.mark.parametrize("operation", ["AssociateFaces", "DisassociateFaces"])
def test_a_call_takes_1_to_100_faces(call: Caller, faces: dict[str, str], operation: str) -> None:
    assert faces
    for count, status in ((0, 400), (1, 200), (100, 200), (101, 400)):
        ids = [f"00000000-0000-4000-8000-{number:012x}" for number in range(count)]
        answered = call(operation, CollectionId="staff", UserId="ann", FaceIds=ids)
        assert answered.status == status, count
        if status == 400:
            assert answered.code == "InvalidParameterException"


def test_faces_say_whose_they_are_and_can_be_listed_by_it(
    call: Caller, faces: dict[str, str], material: ContractMaterial
) -> None:
    associate(call, "ann", faces["ann"], faces["ann_again"])
    listed = call("ListFaces", CollectionId="staff", UserId="ann").body["Faces"]
    assert {face["FaceId"] for face in listed} == {faces["ann"], faces["ann_again"]}
    assert {face["UserId"] for face in listed} == {"ann"}
    both = call("ListFaces", CollectionId="staff", UserId="ann", FaceIds=[faces["bob"]]).body
    assert both["Faces"] == []
    found = call("SearchFacesByImage", CollectionId="staff", Image=image_of(material.ann)).body
    assert {match["Face"].get("UserId") for match in found["FaceMatches"]} == {"ann"}
    everybody = call("ListFaces", CollectionId="staff").body["Faces"]
    assert sorted("UserId" in face for face in everybody) == [False, True, True]


def test_a_face_of_a_user_is_not_deleted(call: Caller, faces: dict[str, str]) -> None:
    associate(call, "ann", faces["ann"])
    asked = [faces["ann"], faces["bob"], NEVER_ISSUED]
    answered = call("DeleteFaces", CollectionId="staff", FaceIds=asked)
    assert answered.status == 200
    assert answered.body == {
        "DeletedFaces": [faces["bob"]],
        "UnsuccessfulFaceDeletions": [
            {"FaceId": NEVER_ISSUED, "Reasons": ["FACE_NOT_FOUND"]},
            {
                "FaceId": faces["ann"],
                "UserId": "ann",
                "Reasons": ["ASSOCIATED_TO_AN_EXISTING_USER"],
            },
        ],
    }


# --- searches -------------------------------------------------------------------------------------


def test_users_are_searched_by_face_and_by_user(call: Caller, faces: dict[str, str]) -> None:
    associate(call, "ann", faces["ann"])
    associate(call, "bob", faces["bob"])
    by_face = call("SearchUsers", CollectionId="staff", FaceId=faces["ann_again"]).body
    assert by_face["SearchedFace"] == {"FaceId": faces["ann_again"]}
    assert "SearchedUser" not in by_face
    assert [match["User"] for match in by_face["UserMatches"]] == [
        {"UserId": "ann", "UserStatus": "ACTIVE"}
    ]
    assert by_face["UserMatches"][0]["Similarity"] >= 80
    by_user = call("SearchUsers", CollectionId="staff", UserId="ann", UserMatchThreshold=0).body
    assert by_user["SearchedUser"] == {"UserId": "ann"}
    assert [match["User"]["UserId"] for match in by_user["UserMatches"]] == ["bob"]
    most = call(
        "SearchUsers", CollectionId="staff", FaceId=faces["bob"], UserMatchThreshold=0, MaxUsers=1
    ).body
    assert [match["User"]["UserId"] for match in most["UserMatches"]] == ["bob"]


def test_users_are_searched_by_one_of_face_and_user(call: Caller, faces: dict[str, str]) -> None:
    for members in ({}, {"FaceId": faces["ann"], "UserId": "ann"}):
        answered = call("SearchUsers", CollectionId="staff", **members)
        assert (answered.status, answered.code) == (400, "InvalidParameterException")


def test_searching_users_by_an_unknown_face_is_an_invalid_parameter(
    call: Caller, faces: dict[str, str]
) -> None:
    assert faces
    answered = call("SearchUsers", CollectionId="staff", FaceId=NEVER_ISSUED)
    assert (answered.code, answered.message) == (
        "InvalidParameterException",
        "faceId was not found in the collection.",
    )


def test_the_largest_face_of_an_image_finds_its_user(
    call: Caller, faces: dict[str, str], material: ContractMaterial
) -> None:
    associate(call, "ann", faces["ann"])
    associate(call, "bob", faces["bob"])
    found = call("SearchUsersByImage", CollectionId="staff", Image=image_of(material.group)).body
    assert [match["User"]["UserId"] for match in found["UserMatches"]] == ["ann"]
    assert found["SearchedFace"]["FaceDetail"]["BoundingBox"]["Width"] == pytest.approx(
        200 / 640, abs=0.01
    )
    assert [face["Reasons"] for face in found["UnsearchedFaces"]] == [["FACE_NOT_LARGEST"]]
    assert found["FaceModelVersion"] == "memory-1"


def test_an_image_without_a_face_matches_no_user_and_is_no_error(
    call: Caller, faces: dict[str, str], material: ContractMaterial
) -> None:
    assert faces
    answered = call("SearchUsersByImage", CollectionId="staff", Image=image_of(material.nobody))
    assert answered.status == 200
    assert answered.body == {
        "UserMatches": [],
        "UnsearchedFaces": [],
        "FaceModelVersion": "memory-1",
    }


def test_a_face_that_could_not_be_searched_has_its_reasons(material: ContractMaterial) -> None:
    class Choosy(MemoryRecognizer):
        @property
        def user_gallery(self) -> UserGallery:
            users = super().user_gallery
            users.identify = refuse  # type: ignore[method-assign]  # the answer under test
            return users

    def refuse(*_: object, **__: object) -> UserIdentification:
        reasons = (Reason.FACE_TOO_SMALL, Reason.SMALL_BOUNDING_BOX)
        return UserIdentification(None, (), (UnsearchedFace(SEEN, reasons),))

    call = Caller(RekognitionService(Choosy()))
    call("CreateCollection", CollectionId="c")
    body = call("SearchUsersByImage", CollectionId="c", Image=image_of(material.ann)).body
    assert "SearchedFace" not in body
    assert [face["Reasons"] for face in body["UnsearchedFaces"]] == [["SMALL_BOUNDING_BOX"]]


def test_at_most_a_hundred_faces_of_a_probe_are_spoken_of(material: ContractMaterial) -> None:
    class Crowd(MemoryRecognizer):
        @property
        def user_gallery(self) -> UserGallery:
            users = super().user_gallery
            users.identify = everybody  # type: ignore[method-assign]  # the answer under test
            return users

    def everybody(*_: object, **__: object) -> UserIdentification:
        others = tuple(
            UnsearchedFace(DetectedFace(SEEN.box, 99.0), (Reason.OTHER_FACE_SEARCHED,))
            for _ in range(150)
        )
        return UserIdentification(SEEN, (), others)

    call = Caller(RekognitionService(Crowd()))
    call("CreateCollection", CollectionId="c")
    body = call("SearchUsersByImage", CollectionId="c", Image=image_of(material.ann)).body
    assert len(body["UnsearchedFaces"]) == 99


# --- pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 500])
def test_pages_hold_each_user_once(call: Caller, size: int) -> None:
    call("CreateCollection", CollectionId="staff")
    names = sorted(["u" * 127 + end for end in "abc"] + ["b:1", "a.2"])
    for name in names:
        call("CreateUser", CollectionId="staff", UserId=name)
    seen: list[str] = []
    token: dict[str, object] = {}
    while True:
        body = call("ListUsers", CollectionId="staff", MaxResults=size, **token).body
        seen.extend(user["UserId"] for user in body["Users"])
        assert len(body["Users"]) <= size
        if "NextToken" not in body:
            break
        token = {"NextToken": body["NextToken"]}
    assert sorted(seen) == names


@pytest.mark.parametrize("size", [0, 501])
def test_a_page_of_users_has_1_to_500(call: Caller, size: int) -> None:
    call("CreateCollection", CollectionId="staff")
    assert call("ListUsers", CollectionId="staff", MaxResults=size).code == (
        "InvalidParameterException"
    )


def test_a_page_token_of_faces_is_none_of_users(call: Caller, faces: dict[str, str]) -> None:
    assert faces
    token = call("ListFaces", CollectionId="staff", MaxResults=1).body["NextToken"]
    assert call("ListUsers", CollectionId="staff", NextToken=token).code == (
        "InvalidPaginationTokenException"
    )


# --- idempotency ----------------------------------------------------------------------------------


def test_a_token_does_its_work_once(call: Caller, faces: dict[str, str]) -> None:
    asked: dict[str, object] = {
        "CollectionId": "staff",
        "UserId": "ann",
        "FaceIds": [faces["ann"]],
        "ClientRequestToken": "t-1",
    }
    first = call("AssociateFaces", **asked)
    assert call("AssociateFaces", **asked).body == first.body
    assert first.body["AssociatedFaces"] == [{"FaceId": faces["ann"]}]
    without = {name: value for name, value in asked.items() if name != "ClientRequestToken"}
    assert call("AssociateFaces", **without).body["AssociatedFaces"] == []


def test_a_created_user_is_no_conflict_for_its_own_token(call: Caller) -> None:
    call("CreateCollection", CollectionId="c")
    asked: dict[str, object] = {"CollectionId": "c", "UserId": "u", "ClientRequestToken": "t"}
    assert [call("CreateUser", **asked).status for _ in range(3)] == [200] * 3
    asked["ClientRequestToken"] = "other"
    assert call("CreateUser", **asked).code == "ConflictException"


def test_a_token_with_another_input_is_refused(call: Caller) -> None:
    call("CreateCollection", CollectionId="c")
    call("CreateUser", CollectionId="c", UserId="u", ClientRequestToken="t")
    answered = call("CreateUser", CollectionId="c", UserId="v", ClientRequestToken="t")
    assert (answered.status, answered.code, answered.message) == (
        400,
        "IdempotentParameterMismatchException",
        "The ClientRequestToken: t you have supplied is already in use.",
    )


def test_another_operation_may_have_the_same_token(call: Caller) -> None:
    call("CreateCollection", CollectionId="c")
    for operation in ("CreateUser", "DeleteUser"):
        answered = call(operation, CollectionId="c", UserId="u", ClientRequestToken="t")
        assert answered.status == 200


def test_a_token_ends(call: Caller, clock: Clock) -> None:
    call("CreateCollection", CollectionId="c")
    call("CreateUser", CollectionId="c", UserId="u", ClientRequestToken="t")
    clock.now = 59.9
    assert call("CreateUser", CollectionId="c", UserId="v", ClientRequestToken="t").status == 400
    clock.now = 60.0
    assert call("CreateUser", CollectionId="c", UserId="v", ClientRequestToken="t").status == 200


def test_what_failed_may_be_asked_again_with_its_token(call: Caller) -> None:
    asked: dict[str, object] = {"CollectionId": "c", "UserId": "u", "ClientRequestToken": "t"}
    assert call("CreateUser", **asked).code == "ResourceNotFoundException"
    call("CreateCollection", CollectionId="c")
    assert call("CreateUser", **asked).status == 200


def test_repetitions_at_the_same_time_work_once() -> None:
    answered = IdempotentAnswers()
    started = threading.Barrier(8)
    done: list[int] = []

    def work() -> WireObject:
        done.append(1)
        return {"n": len(done)}

    def ask(_: int) -> WireObject:
        started.wait()
        return answered.once(TokenKey("1", "r", "o", "t"), {"a": 1}, work)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [{"n": 1}] * 8


def test_only_so_many_tokens_are_remembered() -> None:
    answered = IdempotentAnswers(capacity=2)
    for number in range(3):
        answered.once(TokenKey("1", "r", "o", str(number)), {"a": number}, dict)
    answered.once(TokenKey("1", "r", "o", "0"), {"a": "other"}, dict)  # the oldest was forgotten
    with pytest.raises(FaultError, match="IdempotentParameterMismatch"):
        answered.once(TokenKey("1", "r", "o", "2"), {"a": "other"}, dict)


@pytest.mark.parametrize(("seconds", "capacity"), [(0.0, 1), (float("nan"), 1), (1.0, 0)])
def test_tokens_need_time_and_room(seconds: float, capacity: int) -> None:
    with pytest.raises(ConfigError):
        IdempotentAnswers(lifetime_seconds=seconds, capacity=capacity)


def test_users_are_the_recognizers_own(faces: dict[str, str], recognizer: MemoryRecognizer) -> None:
    assert faces
    users = recognizer.user_gallery.users(GalleryId("staff"))
    assert [user.user_id for user in users] == ["ann", "bob"]
