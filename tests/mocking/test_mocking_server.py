"""moto's server with collections, for clients that run elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from rekadapter.rekognition_api.moto_ext import install as moto_install
from rekadapter.rekognition_api.moto_ext.models import CollectionsBackends, backends_in_place
from rekadapter.testing import moto_server
from rekadapter.testing.rekognition import EVERY_ANSWER, RekognitionMock, picture_of

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient


class TestInAThread:
    @pytest.fixture
    def make(self, in_moto: RekognitionMock) -> Iterator[Callable[..., Any]]:
        pytest.importorskip("flask", reason="moto's server needs moto[server]")
        from moto.server import ThreadedMotoServer  # noqa: PLC0415 - optional

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})

        any_client: Any = boto3.client  # of a service whose name is not written here

        def client(service: str, region: str = "us-east-1") -> Any:
            return any_client(
                service,
                region_name=region,
                endpoint_url=f"http://{host}:{port}",
                config=config,
            )

        yield client
        server.stop()
        assert in_moto.calls("CreateCollection") == 1

    def test_a_life_cycle_with_s3_and_regions(self, make: Callable[..., Any]) -> None:
        client: RekognitionClient = make("rekognition")
        client.create_collection(CollectionId="staff")
        s3 = make("s3")
        s3.create_bucket(Bucket="pictures")
        s3.put_object(Bucket="pictures", Key="alice.png", Body=picture_of("alice"))
        made = client.index_faces(
            CollectionId="staff",
            Image={"S3Object": {"Bucket": "pictures", "Name": "alice.png"}},
            ExternalImageId="alice",
        )
        assert len(made["FaceRecords"]) == 1
        found = client.search_faces_by_image(
            CollectionId="staff", Image={"Bytes": picture_of("alice")}
        )
        assert found["FaceMatches"][0]["Face"].get("ExternalImageId") == "alice"
        assert make("rekognition", "eu-west-1").list_collections()["CollectionIds"] == []
        assert client.detect_text(Image={"Bytes": b"a"})["TextDetections"]
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.describe_collection(CollectionId="none")
        with pytest.raises(ClientError, match="UnknownOperationException"):
            client.recognize_celebrities(Image={"Bytes": b"a"})


class TestCommand:
    @pytest.fixture
    def served(self, monkeypatch: pytest.MonkeyPatch, in_moto: RekognitionMock) -> list[list[str]]:
        """A moto.server that notes its options, so that nothing listens."""
        del in_moto  # it takes the installation away afterwards
        calls: list[list[str]] = []
        fake = type(sys)("moto.server")
        vars(fake)["main"] = calls.append
        monkeypatch.setitem(sys.modules, "moto.server", fake)
        return calls

    def test_motos_options_are_passed_on(self, served: list[list[str]]) -> None:
        moto_server.main(["-p", "5005", "--compare-faces", "-H", "0.0.0.0"])  # noqa: S104 - nothing listens
        assert served == [["-p", "5005", "-H", "0.0.0.0"]]  # noqa: S104 - see above
        assert moto_install.installed_mock() is not None

    @pytest.mark.parametrize(
        ("options", "taken"),
        [
            (["--compare-faces"], {"CompareFaces"}),
            (["--search-videos"], {"StartFaceSearch", "GetFaceSearch"}),
            (["--compare-faces", "--search-videos"], set(EVERY_ANSWER)),
            ([], set()),
        ],
    )
    @pytest.mark.usefixtures("served")
    def test_the_mock_takes_motos_place_where_asked(
        self, options: list[str], taken: set[str]
    ) -> None:
        moto_server.main(options)
        backends = backends_in_place()
        assert isinstance(backends, CollectionsBackends)
        assert backends.own_answers == taken

    def test_without_options_it_is_motos_default(self, served: list[list[str]]) -> None:
        moto_server.main([])
        assert served == [["-H", "127.0.0.1"]]

    def test_a_missing_server_is_named(
        self, monkeypatch: pytest.MonkeyPatch, in_moto: RekognitionMock
    ) -> None:
        del in_moto  # it takes the installation away afterwards
        monkeypatch.setitem(sys.modules, "moto.server", None)
        with pytest.raises(SystemExit, match=r"moto\[server\]"):
            moto_server.main([])
