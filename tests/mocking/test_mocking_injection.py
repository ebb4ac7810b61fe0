"""Faults on order: which calls they hit, and what boto3 makes of them."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.errors import ConfigError
from rekadapter.recognizer import Recognizer
from rekadapter.rekognition_api.index_delay import DelayedIndex, IndexDelay
from rekadapter.testing.contract import RecognizerContract
from rekadapter.testing.material import ContractMaterial, drawn_material
from rekadapter.testing.rekognition import (
    Injection,
    RekognitionMock,
    fail,
    mocked_rekognition,
    picture_of,
    slow,
    throttle,
)
from tests.mocking.clients import one_attempt

ALICE, BOB = picture_of("alice"), picture_of("bob")


class _Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def mock(clock: _Clock) -> Iterator[RekognitionMock]:
    made = RekognitionMock(seed=7, sleep=clock.sleep)
    with mocked_rekognition(mock=made):
        yield made
    made.close()


def _codes(calls: int) -> list[str]:
    """What so many calls of ListCollections end in."""
    client = one_attempt()
    codes = []
    for _ in range(calls):
        try:
            client.list_collections()
            codes.append("")
        except ClientError as error:
            codes.append(error.response["Error"]["Code"])
    return codes


def _hits(calls: int) -> str:
    return "".join("x" if code else "." for code in _codes(calls))


class TestWhichCalls:
    def test_the_next_n(self, mock: RekognitionMock) -> None:
        mock.inject(throttle(2))
        assert _codes(3) == ["ProvisionedThroughputExceededException"] * 2 + [""]

    def test_every_kth(self, mock: RekognitionMock) -> None:
        mock.inject(throttle(every=3))
        assert _hits(7) == "..x..x."

    def test_every_kth_until_n_were_hit(self, mock: RekognitionMock) -> None:
        mock.inject(throttle(1, every=2))
        assert _hits(5) == ".x..."

    def test_only_the_operations_named(self, mock: RekognitionMock) -> None:
        mock.inject(throttle(operations=["CreateCollection", "IndexFaces"]))
        assert _hits(2) == ".."
        with pytest.raises(ClientError, match="Provisioned"):
            one_attempt().create_collection(CollectionId="staff")

    def test_chance_is_the_same_in_every_run(self, mock: RekognitionMock) -> None:
        mock.inject(throttle(chance=0.5))
        hits = _hits(40)
        assert 5 < hits.count("x") < 35
        with mocked_rekognition(mock=RekognitionMock(seed=7)) as again:
            again.inject(throttle(chance=0.5))
            assert _hits(40) == hits
        with mocked_rekognition(mock=RekognitionMock(seed=8)) as other:
            other.inject(throttle(chance=0.5))
            assert _hits(40) != hits

    def test_none_after_calm(self, mock: RekognitionMock) -> None:
        mock.inject(throttle())
        mock.calm()
        assert _hits(2) == ".."

    def test_the_first_of_two_errors_is_the_answer(self, mock: RekognitionMock) -> None:
        mock.inject(fail("AccessDeniedException", times=1))
        mock.inject(fail("InternalServerError", times=2))
        assert _codes(3) == ["AccessDeniedException", "InternalServerError", ""]


class TestWhatHappens:
    @pytest.mark.parametrize(
        ("code", "status"),
        [
            ("AccessDeniedException", 400),
            ("InternalServerError", 500),
            ("ExpiredTokenException", 400),
            ("ServiceUnavailable", 503),
            ("ThrottlingException", 400),
        ],
    )
    def test_an_error_comes_with_its_status(
        self, mock: RekognitionMock, code: str, status: int
    ) -> None:
        mock.inject(fail(code, message="as ordered"))
        with pytest.raises(ClientError, match="as ordered") as caught:
            one_attempt().list_collections()
        assert caught.value.response["Error"]["Code"] == code
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status

    def test_a_modeled_error_is_the_clients_own_class(self, mock: RekognitionMock) -> None:
        mock.inject(fail("ThrottlingException", status=500))
        client = one_attempt()
        with pytest.raises(client.exceptions.ThrottlingException):
            client.list_collections()

    def test_a_failed_call_changes_nothing(self, mock: RekognitionMock) -> None:
        mock.inject(throttle(1, operations="CreateCollection"))
        client = one_attempt()
        with pytest.raises(ClientError):
            client.create_collection(CollectionId="staff")
        assert client.list_collections()["CollectionIds"] == []

    def test_a_slow_call_answers_all_the_same(self, mock: RekognitionMock, clock: _Clock) -> None:
        mock.inject(slow(0.25, times=1))
        mock.inject(slow(0.5))
        assert _hits(2) == ".."
        assert clock.slept == [0.75, 0.5]

    def test_boto3_retries_through_throttling(self, mock: RekognitionMock) -> None:
        mock.inject(throttle(1))
        client = boto3.client(
            "rekognition",
            region_name="us-east-1",
            config=Config(retries={"mode": "standard", "max_attempts": 2}),
        )
        answer = client.list_collections()
        assert answer["ResponseMetadata"]["RetryAttempts"] == 1
        assert mock.calls("ListCollections") == 2

    def test_boto3_gives_up_after_its_attempts(self, mock: RekognitionMock) -> None:
        mock.inject(fail("InternalServerError"))
        client = boto3.client(
            "rekognition",
            region_name="us-east-1",
            config=Config(retries={"mode": "standard", "total_max_attempts": 3}),
        )
        with pytest.raises(ClientError, match="reached max retries: 2"):
            client.list_collections()
        assert mock.calls("ListCollections") == 3

    def test_the_retry_hint_is_sent(self, mock: RekognitionMock) -> None:
        mock.inject(throttle(retry_after_ms=1500))
        with pytest.raises(ClientError) as caught:
            one_attempt().list_collections()
        headers = caught.value.response["ResponseMetadata"]["HTTPHeaders"]
        assert headers["x-amz-retry-after"] == "1500"


class TestWhatIsRefused:
    def test_an_operation_rekognition_does_not_have(self, mock: RekognitionMock) -> None:
        with pytest.raises(ConfigError, match="SearchFace"):
            mock.inject(throttle(operations="SearchFace"))

    def test_an_error_rekognition_does_not_have(self, mock: RekognitionMock) -> None:
        with pytest.raises(ConfigError, match="Throttled"):
            mock.inject(fail("Throttled"))

    @pytest.mark.parametrize(
        "wrong",
        [
            {},
            {"code": "ThrottlingException", "every": 0},
            {"code": "ThrottlingException", "times": 0},
            {"code": "ThrottlingException", "chance": 1.1},
            {"latency_seconds": -1.0},
        ],
        ids=str,
    )
    def test_an_injection_that_means_nothing(self, wrong: dict[str, object]) -> None:
        with pytest.raises(ConfigError):
            Injection(**wrong)  # type: ignore[arg-type]  # a test's column


class TestIndexDelay:
    def _found(self) -> int:
        found = one_attempt().search_faces_by_image(CollectionId="staff", Image={"Bytes": ALICE})
        return len(found["FaceMatches"])

    def _index(self, picture: bytes = ALICE) -> str:
        made = one_attempt().index_faces(CollectionId="staff", Image={"Bytes": picture})
        return made["FaceRecords"][0]["Face"]["FaceId"]

    @pytest.fixture(autouse=True)
    def staff(self, mock: RekognitionMock) -> None:
        del mock  # it has to be in place first
        one_attempt().create_collection(CollectionId="staff")

    @pytest.mark.usefixtures("mock")
    def test_there_is_none_unless_asked_for(self) -> None:
        self._index()
        assert self._found() == 1

    def test_a_new_face_is_listed_but_not_found(self, mock: RekognitionMock, clock: _Clock) -> None:
        mock.index_delay(0.5, clock=clock)
        face = self._index()
        client = one_attempt()
        assert self._found() == 0
        assert len(client.list_faces(CollectionId="staff")["Faces"]) == 1
        with pytest.raises(client.exceptions.InvalidParameterException, match="was not found"):
            client.search_faces(CollectionId="staff", FaceId=face)
        clock.now = 0.5
        assert self._found() == 1
        assert client.search_faces(CollectionId="staff", FaceId=face)["FaceMatches"] == []

    def test_a_face_found_before_stays_found(self, mock: RekognitionMock, clock: _Clock) -> None:
        self._index()
        mock.index_delay(60, clock=clock)
        self._index()
        assert self._found() == 1

    def test_hidden_faces_take_no_place_of_others(
        self, mock: RekognitionMock, clock: _Clock
    ) -> None:
        for picture in (ALICE, BOB):
            mock.declare("alice", image=picture)
        self._index(BOB)
        mock.index_delay(60, clock=clock)
        self._index(ALICE)
        found = one_attempt().search_faces_by_image(
            CollectionId="staff", Image={"Bytes": ALICE}, MaxFaces=1
        )
        assert len(found["FaceMatches"]) == 1

    def test_less_than_no_time_is_refused(self, mock: RekognitionMock) -> None:
        for seconds in (-1.0, float("nan")):
            with pytest.raises(ConfigError, match="0 seconds or more"):
                mock.index_delay(seconds)


class TestDelayedIndexWithoutADelay(RecognizerContract):
    """It is a recognizer like any other."""

    @pytest.fixture
    def recognizer(self) -> Recognizer:
        return DelayedIndex(MemoryRecognizer(), IndexDelay())

    @pytest.fixture
    def material(self) -> ContractMaterial:
        return drawn_material()
