"""Users on the wire: what is asked of AWS, and what its answers become."""

from __future__ import annotations

import pytest

from rekadapter.errors import (
    ConfigError,
    FaceNotFoundError,
    GalleryNotFoundError,
    QuotaExceededError,
    SubjectIdError,
    UnexpectedAnswerError,
    UserExistsError,
    UserNotFoundError,
)
from rekadapter.recognizer import Recognizer, UserGallery, user_gallery_of
from rekadapter.types import FaceId, GalleryId, Reason, User, UserId, UserReason, UserStatus
from tests.rekognition.fake_aws import FakeAws, Json, Reply, box, error, face_detail, face_id
from tests.rekognition.fakes import KeptLog, photo

LOBBY = GalleryId("lobby")
ANN = UserId("ann")
NOT_FOUND = error("ResourceNotFoundException", "The resource was not found.")
DESCRIBED = Reply({"FaceCount": 1, "FaceModelVersion": "7.0", "UserCount": 3})


@pytest.fixture
def users(cloud: Recognizer) -> UserGallery:
    found = user_gallery_of(cloud)
    assert found is not None
    return found


def match(user: str, similarity: float, status: str = "ACTIVE") -> Json:
    return {"Similarity": similarity, "User": {"UserId": user, "UserStatus": status}}


def test_each_change_has_a_token_of_its_own(aws: FakeAws, users: UserGallery) -> None:
    aws.on("CreateUser", Reply())
    aws.on("DeleteUser", Reply(b""))
    users.create(LOBBY, ANN)
    users.create(LOBBY, UserId("bob"))
    users.delete(LOBBY, ANN)
    tokens = {request.parameters["ClientRequestToken"] for request in aws.requests}
    assert len(tokens) == 3
    assert aws.requests[0].parameters["UserId"] == "ann"


def test_a_repetition_after_a_failure_has_the_same_token(aws: FakeAws, users: UserGallery) -> None:
    aws.on("CreateUser", error("InternalServerError", "Internal server error", 500), Reply())
    users.create(LOBBY, ANN)
    first, second = aws.requests
    assert first.parameters["ClientRequestToken"] == second.parameters["ClientRequestToken"]


def test_a_conflict_is_a_user_that_exists(aws: FakeAws, users: UserGallery) -> None:
    aws.on("CreateUser", error("ConflictException", "User already exists."))
    with pytest.raises(UserExistsError, match="lobby"):
        users.create(LOBBY, ANN)


def test_an_unknown_user_is_told_from_an_unknown_gallery(aws: FakeAws, users: UserGallery) -> None:
    aws.on("DeleteUser", NOT_FOUND)
    aws.on("DescribeCollection", DESCRIBED)
    with pytest.raises(UserNotFoundError, match="ann"):
        users.delete(LOBBY, ANN)
    aws.on("DescribeCollection", NOT_FOUND)
    with pytest.raises(GalleryNotFoundError, match="lobby"):
        users.delete(LOBBY, ANN)


def test_every_page_of_users_is_read(aws: FakeAws, users: UserGallery) -> None:
    aws.on(
        "ListUsers",
        Reply({"Users": [{"UserId": "ann", "UserStatus": "ACTIVE"}], "NextToken": "t"}),
        Reply({"Users": [{"UserId": "bob", "UserStatus": "CREATED"}]}),
    )
    assert list(users.users(LOBBY)) == [
        User(ANN, UserStatus.ACTIVE),
        User(UserId("bob"), UserStatus.CREATED),
    ]


def test_faces_are_associated_a_hundred_at_a_time(
    aws: FakeAws, cloud: Recognizer, users: UserGallery
) -> None:
    unlike = {"FaceId": face_id(3), "Confidence": 12.5, "Reasons": ["LOW_MATCH_CONFIDENCE"]}
    other = {
        "FaceId": face_id(4),
        "UserId": "bob",
        "Reasons": ["ASSOCIATED_TO_A_DIFFERENT_USER"],
    }
    aws.on(
        "AssociateFaces",
        Reply(
            {
                "AssociatedFaces": [{"FaceId": face_id(1)}],
                "UnsuccessfulFaceAssociations": [unlike, other],
                "UserStatus": "UPDATING",
            }
        ),
        Reply({"AssociatedFaces": [{"FaceId": face_id(2)}], "UserStatus": "ACTIVE"}),
    )
    ids = [FaceId(face_id(number)) for number in range(150)]
    threshold = cloud.capabilities.threshold(70)
    done = users.associate(LOBBY, ANN, [*ids, ids[0], FaceId("no uuid")], threshold=threshold)
    assert [len(r.parameters["FaceIds"]) for r in aws.requests] == [100, 50]
    assert {r.parameters["UserMatchThreshold"] for r in aws.requests} == {70.0}
    assert (done.status, done.changed) == (UserStatus.ACTIVE, (face_id(1), face_id(2)))
    assert [(one.face_id, one.reasons, one.user) for one in done.unchanged] == [
        (face_id(3), (UserReason.LOW_MATCH_CONFIDENCE,), None),
        (face_id(4), (UserReason.ASSOCIATED_TO_A_DIFFERENT_USER,), "bob"),
        ("no uuid", (UserReason.FACE_NOT_FOUND,), None),
    ]
    assert done.unchanged[0].score == cloud.capabilities.threshold(12.5)
    assert len(done.original) == 2


def test_too_many_faces_are_a_quota(aws: FakeAws, cloud: Recognizer, users: UserGallery) -> None:
    aws.on("AssociateFaces", error("ServiceQuotaExceededException", "100 faces"))
    with pytest.raises(QuotaExceededError):
        users.associate(LOBBY, ANN, [FaceId(face_id(1))], threshold=cloud.capabilities.match_all)


def test_matches_are_checked_and_sorted(
    aws: FakeAws, cloud: Recognizer, users: UserGallery
) -> None:
    aws.on(
        "SearchUsers",
        Reply({"UserMatches": [match("far", 81.0), match("low", 40.0), match("ann", 99.0)]}),
    )
    threshold = cloud.capabilities.threshold(80)
    found = users.search_by_face(LOBBY, FaceId(face_id(1)), threshold=threshold, limit=900)
    assert [(one.user.user_id, one.score.value) for one in found.matches] == [
        ("ann", 99.0),
        ("far", 81.0),
    ]
    assert aws.requests[0].parameters["MaxUsers"] == 500
    assert aws.requests[0].parameters["UserMatchThreshold"] == 80.0
    others = users.search_by_user(LOBBY, ANN, threshold=threshold)
    assert [one.user.user_id for one in others.matches] == ["far"]


def test_an_unknown_face_is_named(aws: FakeAws, cloud: Recognizer, users: UserGallery) -> None:
    aws.on(
        "SearchUsers",
        error("InvalidParameterException", "faceId was not found in the collection."),
    )
    aws.on("DescribeCollection", DESCRIBED)
    for unknown in (face_id(1), "no uuid"):
        with pytest.raises(FaceNotFoundError, match=unknown):
            users.search_by_face(LOBBY, FaceId(unknown), threshold=cloud.capabilities.match_all)
    assert aws.operations() == ["SearchUsers", "DescribeCollection"]


def test_the_largest_face_and_those_left_out(
    aws: FakeAws, cloud: Recognizer, users: UserGallery
) -> None:
    aws.on(
        "SearchUsersByImage",
        Reply(
            {
                "UserMatches": [match("ann", 97.0)],
                "SearchedFace": {"FaceDetail": face_detail(box(0.1, 0.1, 0.4, 0.6))},
                "UnsearchedFaces": [
                    {
                        "FaceDetails": face_detail(box(0.6, 0.1, 0.1, 0.1)),
                        "Reasons": ["FACE_NOT_LARGEST", "LOW_SHARPNESS", "NEWER_THAN_THIS"],
                    }
                ],
            }
        ),
    )
    found = users.identify(LOBBY, photo(), threshold=cloud.capabilities.threshold(80))
    assert [one.user.user_id for one in found.matches] == ["ann"]
    assert found.searched is not None
    assert [one.reasons for one in found.unsearched] == [
        (Reason.OTHER_FACE_SEARCHED, Reason.LOW_SHARPNESS)
    ]
    assert aws.requests[0].parameters["QualityFilter"] == "NONE"


def test_an_answer_without_matches_is_not_nobody(
    aws: FakeAws, cloud: Recognizer, users: UserGallery
) -> None:
    aws.on("SearchUsersByImage", Reply({}))
    with pytest.raises(UnexpectedAnswerError):
        users.identify(LOBBY, photo(), threshold=cloud.capabilities.match_all)


def test_a_face_says_whose_it_is_and_a_gallery_how_many_users(
    aws: FakeAws, cloud: Recognizer
) -> None:
    listed = {
        "FaceId": face_id(1),
        "ImageId": face_id(2),
        "BoundingBox": box(0.1, 0.1, 0.2, 0.2),
        "Confidence": 99.0,
        "UserId": "ann",
    }
    aws.on("ListFaces", Reply({"Faces": [listed]}))
    aws.on("DescribeCollection", DESCRIBED)
    assert [face.user for face in cloud.faces(LOBBY)] == ["ann"]
    assert cloud.describe_gallery(LOBBY).user_count == 3


@pytest.mark.parametrize("name", ["two words", "", "x" * 129])
def test_an_id_aws_would_refuse_is_not_sent(aws: FakeAws, users: UserGallery, name: str) -> None:
    with pytest.raises(SubjectIdError):
        users.create(LOBBY, UserId(name))
    assert aws.requests == []


def test_a_threshold_or_limit_without_meaning_is_not_sent(
    aws: FakeAws, cloud: Recognizer, users: UserGallery
) -> None:
    for value, limit in ((101.0, 1), (50.0, 0)):
        with pytest.raises(ConfigError):
            users.identify(
                LOBBY, photo(), threshold=cloud.capabilities.threshold(value), limit=limit
            )
    assert aws.requests == []


def test_the_price_of_a_user_search_is_unknown(
    aws: FakeAws, cloud: Recognizer, users: UserGallery, log: KeptLog
) -> None:
    aws.on("SearchUsersByImage", Reply({"UserMatches": []}))
    users.identify(LOBBY, photo(), threshold=cloud.capabilities.match_all)
    assert [record.price_usd for record in log.records] == [None]
