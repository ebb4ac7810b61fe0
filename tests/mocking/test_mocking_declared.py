"""Identities without a model: declared pictures mean what was declared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.errors import ConfigError
from rekadapter.imaging import Image, encode_jpeg, encode_png
from rekadapter.testing.declared import Declarations, DeclaredFinder, Named, declare
from rekadapter.testing.rekognition import (
    AgeRange,
    DeclaredFace,
    Gender,
    PerceivedGender,
    RekognitionMock,
    mocked_rekognition,
    picture_of,
)
from rekadapter.types import BoundingBox
from tests.mocking.clients import one_attempt

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient
    from mypy_boto3_rekognition.literals import AttributeType


def _plain(gray: int) -> bytes:
    """A picture on which nobody would see anything."""
    return encode_png(Image.from_pixels(np.full((80, 80, 3), gray, dtype=np.uint8)))


ALICE, ALICE_AGAIN, BOB, BOTH = (_plain(gray) for gray in (10, 20, 30, 40))


@pytest.fixture
def mock() -> Iterator[RekognitionMock]:
    with mocked_rekognition() as mock:
        yield mock


@pytest.fixture
def client(mock: RekognitionMock) -> RekognitionClient:
    mock.declare("alice", image=ALICE)
    mock.declare(DeclaredFace("alice", similarity=91.5), image=ALICE_AGAIN)
    mock.declare("bob", image=BOB)
    mock.declare(("bob", "alice"), image=BOTH)
    client = one_attempt()
    client.create_collection(CollectionId="staff")
    client.index_faces(CollectionId="staff", Image={"Bytes": ALICE}, ExternalImageId="A")
    return client


def _found(client: RekognitionClient, picture: bytes, threshold: float) -> list[float]:
    found = client.search_faces_by_image(
        CollectionId="staff", Image={"Bytes": picture}, FaceMatchThreshold=threshold
    )
    return [match["Similarity"] for match in found["FaceMatches"]]


def test_a_match_is_as_similar_as_declared(client: RekognitionClient) -> None:
    assert _found(client, ALICE_AGAIN, 91.5) == [91.5]


def test_a_match_below_the_threshold_is_none(client: RekognitionClient) -> None:
    assert _found(client, ALICE_AGAIN, 91.6) == []


def test_another_identity_is_not_similar_at_all(client: RekognitionClient) -> None:
    assert _found(client, BOB, 0) == [0.0]
    assert _found(client, BOB, 0.1) == []


def test_the_first_of_two_faces_is_the_one_searched(client: RekognitionClient) -> None:
    assert _found(client, BOTH, 50) == []


def test_both_of_two_faces_are_indexed(client: RekognitionClient) -> None:
    made = client.index_faces(CollectionId="staff", Image={"Bytes": BOTH}, MaxFaces=1)
    assert len(made["FaceRecords"]) == 1
    assert [face["Reasons"] for face in made["UnindexedFaces"]] == [["EXCEEDS_MAX_FACES"]]
    assert _found(client, BOB, 80) == [100.0]


def test_a_picture_declared_empty_has_no_face(
    client: RekognitionClient, mock: RekognitionMock
) -> None:
    mock.declare((), image=picture_of("alice"))
    with pytest.raises(client.exceptions.InvalidParameterException, match="no faces"):
        _found(client, picture_of("alice"), 80)


def test_what_nobody_declared_is_matched_as_a_picture(client: RekognitionClient) -> None:
    client.index_faces(CollectionId="staff", Image={"Bytes": picture_of("carl")})
    smaller = cv2.resize(Image.from_bytes(picture_of("carl")).pixels, (120, 120))
    again = encode_jpeg(Image.from_pixels(np.asarray(smaller, dtype=np.uint8)), 80)
    assert len(_found(client, again, 95)) == 1
    assert _found(client, ALICE, 1) == [100.0]


def test_declaring_again_replaces(client: RekognitionClient, mock: RekognitionMock) -> None:
    mock.declare("alice", image=BOB)
    assert _found(client, BOB, 80) == [100.0]


def test_a_file_is_declared_by_what_is_in_it(
    client: RekognitionClient, mock: RekognitionMock, tmp_path: Path
) -> None:
    path = tmp_path / "anyone.png"
    path.write_bytes(_plain(99))
    mock.declare("alice", image=path)
    assert _found(client, _plain(99), 80) == [100.0]


def test_an_external_image_id_says_who_is_indexed(
    client: RekognitionClient, mock: RekognitionMock
) -> None:
    mock.declare("bob", external_image_id="B")
    client.index_faces(CollectionId="staff", Image={"Bytes": _plain(77)}, ExternalImageId="B")
    assert _found(client, BOB, 80) == [100.0]


def test_an_object_is_declared_by_its_key(client: RekognitionClient, mock: RekognitionMock) -> None:
    mock.put_object("pictures", "new/door.png", _plain(88))
    mock.declare("alice", s3_key="new/door.png")
    found = client.search_faces_by_image(
        CollectionId="staff", Image={"S3Object": {"Bucket": "pictures", "Name": "new/door.png"}}
    )
    assert [match["Face"]["ExternalImageId"] for match in found["FaceMatches"]] == ["A"]


def test_a_declared_box_and_confidence_come_back(
    client: RekognitionClient, mock: RekognitionMock
) -> None:
    box = BoundingBox(0.25, 0.5, 0.125, 0.25)
    mock.declare(DeclaredFace("alice", confidence=98.5, box=box), image=BOB)
    face = client.detect_faces(Image={"Bytes": BOB})["FaceDetails"][0]
    assert face["Confidence"] == 98.5
    assert face["BoundingBox"] == {"Left": 0.25, "Top": 0.5, "Width": 0.125, "Height": 0.25}


@pytest.fixture
def aged(client: RekognitionClient, mock: RekognitionMock) -> RekognitionClient:
    """Alice has an age and a gender on this picture, bob beside her was declared without."""
    gender = PerceivedGender(Gender.FEMALE, 98.5)
    mock.declare((DeclaredFace("alice", age=AgeRange(30, 38), gender=gender), "bob"), image=BOB)
    return client


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        (["ALL"], {"AgeRange", "Gender"}),
        (["ALL", "DEFAULT"], {"AgeRange", "Gender"}),
        (["AGE_RANGE"], {"AgeRange"}),
        (["DEFAULT", "GENDER"], {"Gender"}),
        (["SMILE"], set()),
        (["DEFAULT"], set()),
        ([], set()),
    ],
    ids=lambda value: "+".join(sorted(value)) or "none",
)
def test_a_declared_age_and_gender_come_back_where_they_are_asked_for(
    aged: RekognitionClient, attributes: list[AttributeType], told: set[str]
) -> None:
    detected = aged.detect_faces(Image={"Bytes": BOB}, Attributes=attributes)["FaceDetails"]
    indexed = aged.index_faces(
        CollectionId="staff", Image={"Bytes": BOB}, DetectionAttributes=attributes, MaxFaces=1
    )
    alice, bob = detected
    assert alice == indexed["FaceRecords"][0]["FaceDetail"]
    assert bob == indexed["UnindexedFaces"][0]["FaceDetail"]
    assert set(alice) - {"BoundingBox", "Confidence"} == told
    assert set(bob) == {"BoundingBox", "Confidence"}
    assert alice.get("AgeRange", {"Low": 30, "High": 38}) == {"Low": 30, "High": 38}
    expected = {"Value": "Female", "Confidence": 98.5}
    assert alice.get("Gender", expected) == expected


def test_faces_that_are_compared_have_neither_age_nor_gender(aged: RekognitionClient) -> None:
    compared = aged.compare_faces(SourceImage={"Bytes": ALICE}, TargetImage={"Bytes": BOB})
    (match,) = compared["FaceMatches"]
    assert set(match["Face"]) == {"BoundingBox", "Confidence"}


def test_compare_faces_goes_by_identity(client: RekognitionClient) -> None:
    compared = client.compare_faces(SourceImage={"Bytes": ALICE_AGAIN}, TargetImage={"Bytes": BOTH})
    assert [match["Similarity"] for match in compared["FaceMatches"]] == [91.5]
    assert len(compared["UnmatchedFaces"]) == 1


def test_face_ids_are_the_same_in_every_run(client: RekognitionClient) -> None:
    ids = [face["FaceId"] for face in client.list_faces(CollectionId="staff")["Faces"]]
    with mocked_rekognition() as other:
        other.declare("alice", image=ALICE)
        again = one_attempt()
        again.create_collection(CollectionId="staff")
        again.index_faces(CollectionId="staff", Image={"Bytes": ALICE}, ExternalImageId="A")
        assert [face["FaceId"] for face in again.list_faces(CollectionId="staff")["Faces"]] == ids


@pytest.mark.parametrize(
    "named",
    [{}, {"image": b"a", "s3_key": "a"}],
    ids=["no way", "two ways"],
)
def test_a_picture_is_named_in_exactly_one_way(
    mock: RekognitionMock, named: dict[str, object]
) -> None:
    with pytest.raises(ConfigError, match="one of image, s3_key and external_image_id"):
        mock.declare("alice", **named)  # type: ignore[arg-type]  # a test's column


@pytest.mark.parametrize(
    "face",
    [{"identity": ""}, {"identity": "a", "similarity": 101}, {"identity": "a", "confidence": -1}],
)
def test_an_impossible_face_is_refused(face: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        DeclaredFace(**face)  # type: ignore[arg-type]  # a test's column


def test_a_real_recognizer_takes_no_declarations() -> None:
    with pytest.raises(ConfigError, match="looks at the pictures itself"):
        RekognitionMock(recognizer=MemoryRecognizer).declare("alice", image=ALICE)


def test_a_recognizer_of_ones_own_is_asked() -> None:
    own = RekognitionMock(recognizer=MemoryRecognizer)
    with mocked_rekognition(mock=own):
        found = one_attempt().detect_faces(Image={"Bytes": picture_of("alice", "bob")})
    assert len(found["FaceDetails"]) == 2


@pytest.mark.parametrize("count", [0, 1, 2, 11])
def test_a_drawn_picture_shows_as_many_as_were_asked(count: int, mock: RekognitionMock) -> None:
    del mock  # it only has to answer
    drawn = picture_of(*(f"person {number}" for number in range(count)))
    assert len(one_attempt().detect_faces(Image={"Bytes": drawn})["FaceDetails"]) == count


def test_a_drawn_picture_has_an_end() -> None:
    with pytest.raises(ConfigError, match="room for 11"):
        picture_of(*"abcdefghijkl")


@given(
    identities=st.lists(st.text(min_size=1, max_size=8), max_size=12),
    similarity=st.floats(0, 100),
)
def test_declared_faces_are_found_in_order_and_compare_alike_both_ways(
    identities: list[str], similarity: float
) -> None:
    declarations = Declarations()
    faces = [DeclaredFace(name, similarity) for name in identities]
    declare(declarations, faces, Named(image=ALICE), 0.0)
    seen = DeclaredFinder([declarations]).find(Image.from_bytes(ALICE), None)
    assert len(seen) == len(identities)
    areas = [face.face.box.area for face in seen]
    assert areas == sorted(areas, reverse=True)
    for one, first in zip(seen, identities, strict=True):
        for other, second in zip(seen, identities, strict=True):
            expected = similarity if first == second else 0.0
            assert one.template.similarity(other.template) == expected
            assert other.template.similarity(one.template) == expected
