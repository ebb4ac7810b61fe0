"""Tests of code that uses Rekognition collections: no account, no network, no model.

Run it with ``pytest examples/test_with_collections.py``.
"""

import boto3
from moto import mock_aws

from rekadapter.testing.rekognition import install, picture_of

install()  # once; usually in conftest.py


@mock_aws
def test_the_door_opens_for_alice_only() -> None:
    client = boto3.client("rekognition", region_name="us-east-1")
    client.create_collection(CollectionId="staff")
    client.index_faces(
        CollectionId="staff", Image={"Bytes": picture_of("alice")}, ExternalImageId="alice"
    )
    at_the_door = {"Bytes": picture_of("alice")}
    found = client.search_faces_by_image(CollectionId="staff", Image=at_the_door)
    assert found["FaceMatches"][0]["Face"]["ExternalImageId"] == "alice"
    stranger = {"Bytes": picture_of("bob")}
    assert not client.search_faces_by_image(CollectionId="staff", Image=stranger)["FaceMatches"]
