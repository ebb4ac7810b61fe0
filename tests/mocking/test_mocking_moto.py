"""moto with face collections: its own answers, accounts, regions, resets and S3."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import boto3
import moto.backend_index
import moto.rekognition
import pytest
import requests
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core import set_initial_no_auth_action_count

from rekadapter.errors import ConfigError
from rekadapter.rekognition_api.moto_ext import install as moto_install
from rekadapter.rekognition_api.moto_ext.responses import MOTO_ANSWERS
from rekadapter.testing.rekognition import (
    RekognitionMock,
    fail,
    install,
    installed,
    picture_of,
    throttle,
    uninstall,
)
from tests.mocking.clients import one_attempt

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient

ALICE = picture_of("alice")
BOB = picture_of("bob")


def _enrolled(client: RekognitionClient, picture: bytes, who: str) -> str:
    made = client.index_faces(CollectionId="staff", Image={"Bytes": picture}, ExternalImageId=who)
    return made["FaceRecords"][0]["Face"]["FaceId"]


def _matches(client: RekognitionClient, picture: bytes) -> list[str]:
    found = client.search_faces_by_image(CollectionId="staff", Image={"Bytes": picture})
    return [match["Face"]["ExternalImageId"] for match in found["FaceMatches"]]


@pytest.mark.usefixtures("in_moto")
class TestCollections:
    @mock_aws
    def test_a_life_cycle(self) -> None:
        client = one_attempt()
        client.create_collection(CollectionId="staff")
        alice, bob = _enrolled(client, ALICE, "alice"), _enrolled(client, BOB, "bob")
        assert _matches(client, ALICE) == ["alice"]
        assert client.search_faces(CollectionId="staff", FaceId=alice)["FaceMatches"] == []
        assert client.delete_faces(CollectionId="staff", FaceIds=[alice])["DeletedFaces"] == [alice]
        listed = client.list_faces(CollectionId="staff")["Faces"]
        assert [face["FaceId"] for face in listed] == [bob]
        assert _matches(client, ALICE) == []
        client.delete_collection(CollectionId="staff")
        assert client.list_collections()["CollectionIds"] == []

    @mock_aws
    def test_two_clients_share_collections(self) -> None:
        one_attempt().create_collection(CollectionId="staff")
        assert one_attempt().list_collections()["CollectionIds"] == ["staff"]

    @mock_aws
    def test_regions_share_nothing(self) -> None:
        made = one_attempt("us-east-1").create_collection(CollectionId="staff")
        assert (
            made["CollectionArn"] == "arn:aws:rekognition:us-east-1:123456789012:collection/staff"
        )
        assert one_attempt("eu-west-1").list_collections()["CollectionIds"] == []

    @mock_aws
    def test_accounts_share_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        client = one_attempt()
        client.create_collection(CollectionId="staff")
        monkeypatch.setenv("MOTO_ACCOUNT_ID", "111122223333")
        assert client.list_collections()["CollectionIds"] == []
        assert ":111122223333:" in client.create_collection(CollectionId="staff")["CollectionArn"]

    def test_an_assumed_role_is_in_its_own_account(self) -> None:
        with mock_aws():
            one_attempt().create_collection(CollectionId="ours")
            role = "arn:aws:iam::444455556666:role/watcher"
            given = boto3.client("sts", "us-east-1").assume_role(
                RoleArn=role, RoleSessionName="test"
            )["Credentials"]
            theirs = boto3.client(
                "rekognition",
                "us-east-1",
                aws_access_key_id=given["AccessKeyId"],
                aws_secret_access_key=given["SecretAccessKey"],
                aws_session_token=given["SessionToken"],
            )
            assert theirs.list_collections()["CollectionIds"] == []

    def test_each_mock_begins_empty(self) -> None:
        for _ in range(2):
            with mock_aws():
                client = one_attempt()
                assert client.list_collections()["CollectionIds"] == []
                client.create_collection(CollectionId="staff")

    def test_a_nested_mock_keeps_the_collections(self) -> None:
        with mock_aws():
            client = one_attempt()
            client.create_collection(CollectionId="staff")
            with mock_aws():
                assert client.list_collections()["CollectionIds"] == ["staff"]
            assert client.list_collections()["CollectionIds"] == ["staff"]

    def test_a_users_moto_config_does_not_matter(self) -> None:
        with mock_aws(config={"core": {"reset_boto3_session": True}, "iam": {}}):
            one_attempt().create_collection(CollectionId="staff")
            assert one_attempt().list_collections()["CollectionIds"] == ["staff"]

    @mock_aws
    @pytest.mark.parametrize(
        "settings",
        [{"use_fips_endpoint": True}, {"use_dualstack_endpoint": True}, {}],
        ids=["FIPS", "dual stack", "plain"],
    )
    def test_every_endpoint_reaches_the_same_collections(self, settings: dict[str, bool]) -> None:
        one_attempt("us-west-2").create_collection(CollectionId="staff")
        client = one_attempt("us-west-2", **settings)
        assert client.list_collections()["CollectionIds"] == ["staff"]

    @mock_aws
    @pytest.mark.parametrize("dual", [False, True], ids=["plain", "dual stack"])
    def test_an_unsigned_request_belongs_to_its_hosts_region(self, dual: bool) -> None:  # noqa: FBT001 - a test's column
        config = Config(signature_version=UNSIGNED, use_dualstack_endpoint=dual)
        client = boto3.client("rekognition", region_name="eu-central-1", config=config)
        assert ":eu-central-1:" in client.create_collection(CollectionId="staff")["CollectionArn"]


@pytest.mark.usefixtures("in_moto")
class TestErrors:
    @pytest.fixture
    def client(self) -> Any:
        with mock_aws():
            client = one_attempt()
            client.create_collection(CollectionId="staff")
            yield client

    def test_an_unknown_collection(self, client: RekognitionClient) -> None:
        with pytest.raises(client.exceptions.ResourceNotFoundException, match="Collection:other"):
            client.describe_collection(CollectionId="other")

    def test_a_collection_that_exists(self, client: RekognitionClient) -> None:
        with pytest.raises(client.exceptions.ResourceAlreadyExistsException, match="staff"):
            client.create_collection(CollectionId="staff")

    def test_no_face_in_a_probe(self, client: RekognitionClient) -> None:
        with pytest.raises(client.exceptions.InvalidParameterException, match="no faces") as caught:
            _matches(client, picture_of())
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert caught.value.response["ResponseMetadata"]["RequestId"]

    def test_bytes_that_are_no_picture(self, client: RekognitionClient) -> None:
        with pytest.raises(client.exceptions.InvalidImageFormatException):
            _matches(client, b"no picture at all")

    def test_an_operation_nobody_serves(self, client: RekognitionClient) -> None:
        with pytest.raises(ClientError) as caught:
            client.recognize_celebrities(Image={"Bytes": ALICE})
        assert caught.value.response["Error"]["Code"] == "UnknownOperationException"

    def test_motos_access_control_refuses_in_rekognitions_words(
        self, client: RekognitionClient
    ) -> None:
        @set_initial_no_auth_action_count(0)
        def list_them() -> None:
            client.list_collections()

        with pytest.raises(ClientError) as caught:
            list_them()
        assert caught.value.response["Error"]["Code"] == "InvalidClientTokenId"


@pytest.mark.usefixtures("in_moto")
class TestRequestsThatNoSdkSends:
    @pytest.mark.parametrize(
        ("target", "body", "code"),
        [
            ("RekognitionService.ListCollections", b"\xff\xfe", "SerializationException"),
            (
                "RekognitionService.ListCollections",
                b"Action=DeleteCollection",
                "SerializationException",
            ),
            ("OtherService.DetectText", b"{}", "UnknownOperationException"),
            ("DetectText", b"{}", "UnknownOperationException"),
            ("", b"{}", "UnknownOperationException"),
        ],
    )
    def test_they_end_in_an_aws_error(self, target: str, body: bytes, code: str) -> None:
        headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}
        with mock_aws():
            url = "https://rekognition.us-east-1.amazonaws.com/"
            answer = requests.post(url, data=body, headers=headers, timeout=10)
        assert (answer.status_code, answer.json()["__type"]) == (400, code)


CANNED: dict[str, Callable[[Any], dict[str, Any]]] = {
    "CompareFaces": lambda client: client.compare_faces(
        SourceImage={"Bytes": b"a"}, TargetImage={"S3Object": {"Bucket": "none", "Name": "b"}}
    ),
    "DetectCustomLabels": lambda client: client.detect_custom_labels(
        Image={"Bytes": b"a"},
        ProjectVersionArn="arn:aws:rekognition:us-east-1:1:project/a/version/b/1",
    ),
    "DetectLabels": lambda client: client.detect_labels(Image={"Bytes": b"a"}),
    "DetectText": lambda client: client.detect_text(Image={"Bytes": b"a"}),
    "GetFaceSearch": lambda client: client.get_face_search(JobId="1"),
    "GetTextDetection": lambda client: client.get_text_detection(JobId="1"),
    "StartFaceSearch": lambda client: client.start_face_search(
        Video={"S3Object": {"Bucket": "none", "Name": "b"}}, CollectionId="none"
    ),
    "StartTextDetection": lambda client: client.start_text_detection(
        Video={"S3Object": {"Bucket": "none", "Name": "b"}}
    ),
}


def _answer(operation: str) -> dict[str, Any]:
    with mock_aws():
        answer = CANNED[operation](one_attempt())
    del answer["ResponseMetadata"]
    if "JobId" in answer:
        answer["JobId"] = len(answer["JobId"])  # it is random
    return answer


class TestMotosOwnAnswers:
    @pytest.mark.parametrize("operation", sorted(MOTO_ANSWERS))
    def test_they_stay_to_the_letter(self, operation: str) -> None:
        uninstall()
        before = _answer(operation)
        with installed():
            assert _answer(operation) == before

    def test_the_table_is_motos(self) -> None:
        from moto.rekognition.responses import RekognitionResponse  # noqa: PLC0415 - only this test needs it

        methods = {
            name
            for name, value in vars(RekognitionResponse).items()
            if callable(value) and not name.startswith("_")
        }
        assert {name.replace("_", "") for name in methods} == {
            name.lower() for name in MOTO_ANSWERS
        }

    def test_a_fault_hits_them_too(self, in_moto: RekognitionMock) -> None:
        with mock_aws():
            in_moto.inject(throttle(1, operations="DetectText"))
            client = one_attempt()
            with pytest.raises(client.exceptions.ProvisionedThroughputExceededException):
                client.detect_text(Image={"Bytes": b"a"})
            assert client.detect_text(Image={"Bytes": b"a"})["TextDetections"]

    def test_compare_faces_can_be_the_mocks(self) -> None:
        with installed(own_answers={"CompareFaces"}), mock_aws():
            compared = one_attempt().compare_faces(
                SourceImage={"Bytes": ALICE}, TargetImage={"Bytes": picture_of("bob", "alice")}
            )
        assert [match["Similarity"] > 99 for match in compared["FaceMatches"]] == [True]
        assert len(compared["UnmatchedFaces"]) == 1

    def test_another_operation_cannot_be_taken_from_moto(self) -> None:
        with pytest.raises(ConfigError, match="IndexFaces"), installed(own_answers={"IndexFaces"}):
            pass
        assert moto_install.installed_mock() is None


@pytest.mark.usefixtures("in_moto")
class TestMotosS3:
    @pytest.fixture
    def bucket(self, in_moto: RekognitionMock) -> Any:
        del in_moto  # it has to be installed first
        with mock_aws():
            s3 = boto3.client("s3", "us-east-1")
            s3.create_bucket(Bucket="pictures")
            one_attempt().create_collection(CollectionId="staff")
            yield s3

    def _index(self, key: str, **more: str) -> Any:
        where: Any = {"Bucket": "pictures", "Name": key, **more}
        return one_attempt().index_faces(CollectionId="staff", Image={"S3Object": where})

    def test_an_object_is_read(self, bucket: Any) -> None:
        bucket.put_object(Bucket="pictures", Key="a/alice.png", Body=ALICE)
        assert len(self._index("a/alice.png")["FaceRecords"]) == 1

    def test_a_version_is_read(self, bucket: Any) -> None:
        bucket.put_bucket_versioning(
            Bucket="pictures", VersioningConfiguration={"Status": "Enabled"}
        )
        first = bucket.put_object(Bucket="pictures", Key="a", Body=ALICE)["VersionId"]
        bucket.put_object(Bucket="pictures", Key="a", Body=picture_of())
        assert len(self._index("a", Version=first)["FaceRecords"]) == 1
        assert self._index("a")["FaceRecords"] == []

    def test_a_deleted_object_is_not(self, bucket: Any) -> None:
        bucket.put_bucket_versioning(
            Bucket="pictures", VersioningConfiguration={"Status": "Enabled"}
        )
        bucket.put_object(Bucket="pictures", Key="a", Body=ALICE)
        bucket.delete_object(Bucket="pictures", Key="a")
        with pytest.raises(ClientError, match="InvalidS3ObjectException"):
            self._index("a")

    @pytest.mark.usefixtures("bucket")
    def test_a_missing_key(self) -> None:
        with pytest.raises(ClientError, match="InvalidS3ObjectException"):
            self._index("none")

    @pytest.mark.usefixtures("bucket")
    def test_a_missing_bucket(self) -> None:
        with pytest.raises(ClientError, match="InvalidS3ObjectException"):
            one_attempt().detect_faces(Image={"S3Object": {"Bucket": "nobodys", "Name": "a"}})

    def test_a_bucket_of_another_region(self, bucket: Any) -> None:
        bucket.put_object(Bucket="pictures", Key="a", Body=ALICE)
        with pytest.raises(ClientError, match="InvalidS3ObjectException"):
            one_attempt("eu-west-1").detect_faces(
                Image={"S3Object": {"Bucket": "pictures", "Name": "a"}}
            )

    def test_two_keys_with_one_picture_are_told_apart(
        self, bucket: Any, in_moto: RekognitionMock
    ) -> None:
        in_moto.declare("alice", s3_key="alice.png")
        in_moto.declare(("bob", "carl"), s3_key="friends/bob.png")
        for key in ("alice.png", "friends/bob.png", "other/alice.png", "carl.png"):
            bucket.put_object(Bucket="pictures", Key=key, Body=picture_of())
        assert len(self._index("alice.png")["FaceRecords"]) == 1
        assert len(self._index("friends/bob.png")["FaceRecords"]) == 2
        assert len(self._index("other/alice.png")["FaceRecords"]) == 1
        assert self._index("carl.png")["FaceRecords"] == []


class TestInstallation:
    def test_without_it_moto_has_no_collections(self) -> None:
        uninstall()
        with mock_aws(), pytest.raises(NotImplementedError):
            one_attempt().create_collection(CollectionId="staff")

    def test_it_comes_off_without_a_trace(self) -> None:
        uninstall()
        backends = moto.rekognition.rekognition_backends  # type: ignore[attr-defined]  # as moto reads it
        patterns = list(moto.backend_index.backend_url_patterns)
        install()
        install()
        uninstall()
        uninstall()
        assert moto.rekognition.rekognition_backends is backends  # type: ignore[attr-defined]  # see above
        assert moto.backend_index.backend_url_patterns == patterns

    def test_twice_is_once(self, in_moto: RekognitionMock) -> None:
        with mock_aws():
            one_attempt().create_collection(CollectionId="staff")
            assert install() is in_moto
            assert install(in_moto) is in_moto
            assert one_attempt().list_collections()["CollectionIds"] == ["staff"]

    def test_another_mock_ends_the_first(self, in_moto: RekognitionMock) -> None:
        with mock_aws():
            one_attempt().create_collection(CollectionId="staff")
            assert install(RekognitionMock()) is not in_moto
            assert one_attempt().list_collections()["CollectionIds"] == []

    def test_a_block_gives_the_former_mock_back_as_it_was(self, in_moto: RekognitionMock) -> None:
        with mock_aws():
            one_attempt().create_collection(CollectionId="staff")
            with installed():
                assert one_attempt().list_collections()["CollectionIds"] == []
            assert moto_install.installed_mock() is in_moto
            assert one_attempt().list_collections()["CollectionIds"] == ["staff"]

    def test_what_is_set_up_within_a_mock_ends_with_it(self, in_moto: RekognitionMock) -> None:
        with mock_aws():
            in_moto.declare("alice", image=picture_of())
            in_moto.inject(fail("InternalServerError"))
            in_moto.index_delay(60)
        with mock_aws():
            client = one_attempt()
            assert client.detect_faces(Image={"Bytes": picture_of()})["FaceDetails"] == []
            client.create_collection(CollectionId="staff")
            _enrolled(client, ALICE, "alice")
            assert _matches(client, ALICE) == ["alice"]

    def test_what_is_set_up_before_stays(self, in_moto: RekognitionMock) -> None:
        in_moto.declare("alice", image=picture_of())
        in_moto.inject(throttle(1))
        for _ in range(2):
            with mock_aws():
                client = one_attempt()
                with pytest.raises(client.exceptions.ProvisionedThroughputExceededException):
                    client.list_collections()
                assert len(client.detect_faces(Image={"Bytes": picture_of()})["FaceDetails"]) == 1

    def test_fake_credentials_are_motos(self) -> None:
        with installed(), mock_aws():
            assert os.environ["AWS_ACCESS_KEY_ID"] == "FOOBARKEY"


class TestCanary:
    """The private parts of moto; when one of these fails, read moto's changes."""

    def test_moto_is_as_it_was_tested(self) -> None:
        moto_install.check_moto()

    @pytest.mark.parametrize(
        ("where", "name", "value"),
        [
            ("moto.backend_index", "backend_url_patterns", {}),
            ("moto.backends", "get_backend", lambda name: name),
            ("moto.core.models.MockAWS", "_mocks_active", None),
            ("moto.core.responses.BaseResponse", "call_action", None),
            ("moto.core.base_backend.BaseBackend", "url_bases", []),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_a_changed_moto_is_named_with_the_versions_that_work(
        self, monkeypatch: pytest.MonkeyPatch, where: str, name: str, value: object
    ) -> None:
        monkeypatch.setattr(f"{where}.{name}", value)
        with pytest.raises(
            ConfigError, match=rf"moto .* does not fit: .*{moto_install.TESTED_MOTO}"
        ):
            moto_install.check_moto()
