"""Every call: retried by one policy, counted at the socket, paced, and logged exactly once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from rekadapter.backends.rekognition.calls import Account, Answer, Caller, NoFace, Request
from rekadapter.backends.rekognition.limits import RequestLimiter
from rekadapter.backends.rekognition.prices import PriceList
from rekadapter.backends.rekognition.retry import RetryPolicy
from rekadapter.backends.rekognition.wire import Stopping, Wire
from rekadapter.errors import (
    ConnectionFailedError,
    DeadlineExceededError,
    InvalidRequestError,
    RekadapterError,
    ServiceUnavailableError,
    StoppedError,
    ThrottledError,
    UnexpectedAnswerError,
)
from rekadapter.recognizer import FaceSelection, Recognizer
from rekadapter.types import GalleryId
from tests.rekognition.fake_aws import (
    NO_FACE,
    THROTTLED,
    UNAVAILABLE,
    FakeAws,
    Reply,
    error,
    searched,
)
from tests.rekognition.fakes import FakeClock, KeptLog, KeptPacer, photo

Opened = Callable[..., Recognizer]
LOBBY = GalleryId("lobby")
DETECTED = Reply({"FaceDetails": []})


class Rig:
    """A Caller on the fake AWS whose clock only sleeping moves."""

    def __init__(self, aws: FakeAws, *, read_timeout: float = 5.0) -> None:
        self.clock = FakeClock()
        self.log = KeptLog()
        self.pacer = KeptPacer()
        self.stop = threading.Event()
        self.client: Any = boto3.client(
            "rekognition",
            endpoint_url=aws.url,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=read_timeout),
        )
        wire = Wire(self.pacer, Stopping(self.stop, seconds=0.3))
        wire.attach(self.client)
        self.caller = Caller(
            self.client,
            Account("cloud", "us-east-1", PriceList.load(), self.log),
            wire=wire,
            limiter=RequestLimiter({}),
            retry=RetryPolicy(60.0, clock=self.clock, sleep=self.clock.sleep),
        )

    def ask(self, operation: str = "DetectFaces", **parameters: object) -> Answer | NoFace:
        given = parameters or {"Image": {"Bytes": photo().encoded}}
        return self.caller.ask(Request(operation, given, "an image"))


@pytest.fixture
def rig(aws: FakeAws) -> Iterator[Rig]:
    made = Rig(aws)
    yield made
    made.caller.close()


# -- logged once


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (DETECTED, "ok"),
        (NO_FACE, "no_face"),
        (error("AccessDeniedException", "no"), "AccessDeniedException"),
        (error("ServiceQuotaExceededException", "full"), "ServiceQuotaExceededException"),
        (Reply(b"\xff"), "UnexpectedAnswerError"),
        (Reply(b"<html>"), "UnexpectedAnswerError"),
        (Reply(b""), "UnexpectedAnswerError"),
    ],
    ids=["ok", "no-face", "denied", "quota", "binary", "html", "empty"],
)
def test_every_call_is_logged_once_whatever_became_of_it(
    aws: FakeAws, rig: Rig, reply: Reply, outcome: str
) -> None:
    aws.on("DetectFaces", reply)
    with suppress(RekadapterError):
        rig.ask()
    record = rig.log.records[0]
    assert rig.log.outcomes() == [outcome]
    assert (record.backend, record.operation, record.attempts) == ("cloud", "DetectFaces", 1)
    assert record.started_at.tzinfo is not None
    assert record.latency_seconds > 0
    assert record.bytes_sent == aws.bytes_received
    assert record.bytes_received == aws.bytes_sent


# -- bytes


def test_bytes_are_those_on_the_socket_over_all_attempts(aws: FakeAws, rig: Rig) -> None:
    aws.on("DetectFaces", THROTTLED, UNAVAILABLE, DETECTED)
    rig.ask()
    record = rig.log.records[0]
    assert record.attempts == 3
    assert record.bytes_sent == aws.bytes_received
    assert record.bytes_received == aws.bytes_sent
    assert record.wire_measure in {"tcp_info", "socket"}
    assert rig.pacer.sizes == [request.size for request in aws.requests]


def test_the_pacer_is_asked_for_the_size_on_the_wire_before_each_attempt(
    aws: FakeAws, open_on: Opened, pacer: KeptPacer, log: KeptLog
) -> None:
    cloud = open_on()
    aws.on("DetectFaces", DETECTED)
    aws.on("SearchFacesByImage", searched())
    cloud.detect(photo(400, 300))
    cloud.identify(
        LOBBY, photo(), threshold=cloud.capabilities.match_all, faces=FaceSelection.LARGEST
    )
    assert pacer.sizes == [request.size for request in aws.requests]
    assert [record.bytes_sent for record in log.records] == pacer.sizes


def test_waits_for_the_uplink_count_as_waiting_and_not_as_latency(aws: FakeAws, rig: Rig) -> None:
    aws.on("DetectFaces", DETECTED)
    rig.pacer.waits = [7.5]
    rig.ask()
    record = rig.log.records[0]
    assert record.wait_seconds == 7.5
    # the pacer only says that it waited, so that the attempt itself took less than nothing
    assert record.latency_seconds == 0


def test_after_a_long_wait_the_request_is_signed_anew_and_paced_once(
    aws: FakeAws, rig: Rig
) -> None:
    aws.on("DetectFaces", DETECTED)
    rig.pacer.waits = [241.0]
    rig.ask()
    assert len(rig.pacer.sizes) == 1
    assert len(aws.requests) == 1
    assert rig.log.records[0].attempts == 1


def test_without_botocores_inside_sizes_are_computed_and_the_same(
    aws: FakeAws, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr("botocore.awsrequest.AWSHTTPSConnection")
    rig = Rig(aws)
    aws.on("DetectFaces", DETECTED)
    rig.ask()
    rig.caller.close()
    record = rig.log.records[0]
    assert record.wire_measure == "computed"
    assert "computed" in caplog.text
    assert record.bytes_sent == aws.bytes_received
    assert record.bytes_received == aws.bytes_sent


def test_where_the_kernel_keeps_no_count_the_socket_is_counted(
    aws: FakeAws, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("socket.TCP_INFO", raising=False)
    aws.on("DetectFaces", DETECTED)
    rig.ask()
    rig.ask()
    records = rig.log.records
    assert [record.wire_measure for record in records] == ["socket", "socket"]
    assert sum(record.bytes_sent for record in records) == aws.bytes_received
    assert sum(record.bytes_received for record in records) == aws.bytes_sent


def test_one_connection_serves_call_after_call(aws: FakeAws, rig: Rig) -> None:
    aws.on("DetectFaces", DETECTED)
    for _ in range(5):
        rig.ask()
    assert {request.connection for request in aws.requests} == {1}


# -- retries


def test_throttling_is_retried_and_the_hint_is_kept(aws: FakeAws, rig: Rig) -> None:
    slow = error("ProvisionedThroughputExceededException", "slow", x_amz_retry_after="1500")
    aws.on("DetectFaces", slow, DETECTED)
    rig.ask()
    assert 1.5 <= rig.clock.slept[0] <= 1.7
    record = rig.log.records[0]
    assert (record.outcome, record.attempts) == ("ok", 2)
    assert record.wait_seconds == pytest.approx(rig.clock.slept[0])


def test_the_deadline_ends_throttling(aws: FakeAws, rig: Rig) -> None:
    aws.on("DetectFaces", THROTTLED)
    with pytest.raises(DeadlineExceededError, match="Provisioned Rate") as raised:
        rig.ask()
    assert isinstance(raised.value.__cause__, ThrottledError)
    record = rig.log.records[0]
    assert record.outcome == "DeadlineExceededError"
    assert record.attempts == len(aws.requests) > 5
    assert sum(rig.clock.slept) <= 60


@pytest.mark.parametrize(
    "fault",
    [
        UNAVAILABLE,
        error("InternalServerError", "oh", 500),
        Reply(b"<html>502 Bad Gateway</html>", 502),
        Reply(drop=True),
        Reply(DETECTED.body, keep=5),
        Reply(searched().body, keep=40),
    ],
    ids=["throttle-500", "internal", "gateway", "dropped", "cut-early", "cut-late"],
)
def test_faults_of_the_service_and_the_network_pass(aws: FakeAws, rig: Rig, fault: Reply) -> None:
    aws.on("DetectFaces", DETECTED, fault, DETECTED)
    rig.ask()
    rig.ask()
    assert rig.log.outcomes() == ["ok", "ok"]
    assert rig.log.records[1].attempts == 2
    assert sum(record.bytes_sent for record in rig.log.records) == aws.bytes_received


def test_an_answer_that_takes_too_long_is_asked_for_again(aws: FakeAws) -> None:
    rig = Rig(aws, read_timeout=0.2)
    aws.on("DetectFaces", DETECTED, Reply(DETECTED.body, delay=0.8), DETECTED)
    rig.ask()
    rig.ask()
    rig.caller.close()
    assert rig.log.records[1].attempts == 2


def test_an_answer_that_does_not_come_holds_a_stopped_run_up_for_a_moment_only(
    aws: FakeAws, rig: Rig
) -> None:
    aws.on("DetectFaces", Reply(DETECTED.body, delay=0.8))
    rig.stop.set()
    with pytest.raises(StoppedError, match="before the answer came"):
        rig.ask()
    record = rig.log.records[0]
    # it was sent, so it is counted, and may be billed
    assert (record.outcome, record.attempts) == ("StoppedError", 1)
    assert record.bytes_sent == aws.bytes_received > 0
    assert record.price_usd == 0.001


def test_an_answer_that_comes_soon_after_the_stop_is_taken(aws: FakeAws, rig: Rig) -> None:
    aws.on("DetectFaces", Reply(DETECTED.body, delay=0.05))
    rig.stop.set()
    rig.ask()
    assert rig.log.outcomes() == ["ok"]


def test_what_has_to_be_done_after_a_stop_waits_for_its_answer(aws: FakeAws, rig: Rig) -> None:
    aws.on("DetectFaces", Reply(DETECTED.body, delay=0.6))
    rig.stop.set()
    request = Request("DetectFaces", {"Image": {"Bytes": photo().encoded}}, "an image")
    rig.caller.call(request, paced=False)
    assert rig.log.outcomes() == ["ok"]


@pytest.mark.parametrize(
    "refusal",
    [
        error("LimitExceededException", "limit"),
        error("InvalidParameterException", "bad"),
        error("AccessDeniedException", "no"),
        error("ExpiredTokenException", "old"),
        error("ANewException", "?"),
        NO_FACE,
    ],
    ids=lambda reply: str(reply.body["Code"]),
)
def test_what_waiting_cannot_change_is_tried_once(aws: FakeAws, rig: Rig, refusal: Reply) -> None:
    aws.on("DetectFaces", refusal)
    with suppress(RekadapterError):
        rig.ask()
    assert len(aws.requests) == 1
    assert rig.clock.slept == []


@pytest.mark.parametrize("operation", ["CreateCollection", "DeleteCollection"])
def test_a_gallery_is_not_made_or_deleted_again_after_a_lost_answer(
    aws: FakeAws, rig: Rig, operation: str
) -> None:
    aws.on(operation, THROTTLED, UNAVAILABLE)
    with pytest.raises(ServiceUnavailableError):
        rig.ask(operation, CollectionId="lobby")
    assert len(aws.requests) == 2


def test_a_request_botocore_refuses_is_not_sent(aws: FakeAws, rig: Rig) -> None:
    with pytest.raises(InvalidRequestError, match="Image"):
        rig.ask("DetectFaces", Attributes=["ALL"])
    assert aws.requests == []
    assert rig.log.outcomes() == ["InvalidRequestError"]
    assert rig.log.records[0].bytes_sent == 0


# -- prices


@pytest.mark.parametrize(
    ("replies", "usd"),
    [
        ([DETECTED], 0.001),
        ([NO_FACE], 0.001),
        ([THROTTLED, UNAVAILABLE, DETECTED], 0.001),
        ([Reply(drop=True), DETECTED], 0.002),
        ([error("InvalidImageFormatException", "no")], 0.0),
    ],
    ids=["answered", "no-face", "after-throttling", "lost-answer", "refused"],
)
def test_a_call_costs_what_aws_may_charge_for_its_attempts(
    aws: FakeAws, rig: Rig, replies: list[Reply], usd: float
) -> None:
    aws.on("DetectFaces", DETECTED, *replies)
    rig.ask()
    with suppress(RekadapterError):
        rig.ask()
    assert rig.log.records[-1].price_usd == pytest.approx(usd)


def test_where_the_price_is_not_known_there_is_none(
    aws: FakeAws, open_on: Opened, log: KeptLog
) -> None:
    aws.on("DetectFaces", DETECTED)
    open_on(region="eu-south-2").detect(photo())
    assert log.records[0].price_usd is None


# -- shapes by botocore's own model


def test_answers_that_botocores_model_accepts_are_understood() -> None:
    client = boto3.client("rekognition")
    log = KeptLog()
    caller = Caller(
        client,
        Account("cloud", "us-east-1", PriceList.load(), log),
        wire=Wire(KeptPacer()),
        limiter=RequestLimiter({}),
        retry=RetryPolicy(1.0),
    )
    parameters = {"CollectionId": "lobby", "Image": {"Bytes": b"x"}, "FaceMatchThreshold": 80.0}
    body = searched().body
    assert isinstance(body, dict)
    with Stubber(client) as stub:
        stub.add_response("search_faces_by_image", body, parameters)
        answer = caller.call(Request("SearchFacesByImage", parameters, "gallery 'lobby'"))
    assert json.loads(answer.original.json) == body
    assert log.records[0].wire_measure == "computed"
    caller.close()


def test_no_face_where_no_image_was_sent_is_an_answer_not_understood(
    aws: FakeAws, rig: Rig
) -> None:
    aws.on("ListFaces", NO_FACE)
    with pytest.raises(UnexpectedAnswerError, match="ListFaces"):
        rig.caller.call(Request("ListFaces", {"CollectionId": "lobby"}, "gallery 'lobby'"))


def test_a_run_that_stops_while_a_request_waits_sends_and_charges_nothing(
    aws: FakeAws, rig: Rig
) -> None:
    rig.pacer.failure = StoppedError("the run was stopped")
    with pytest.raises(StoppedError):
        rig.ask()
    record = rig.log.records[0]
    assert (record.outcome, record.bytes_sent, record.price_usd) == ("StoppedError", 0, 0.0)
    assert aws.requests == []


def test_an_interrupted_call_is_logged_too(aws: FakeAws, rig: Rig) -> None:
    rig.pacer.failure = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        rig.ask()
    assert rig.log.outcomes() == ["interrupted"]
    assert (rig.log.records[0].bytes_sent, aws.requests) == (0, [])


def test_a_lost_answer_without_success_names_the_network(aws: FakeAws, rig: Rig) -> None:
    aws.on("DetectFaces", Reply(drop=True))
    with pytest.raises(ConnectionFailedError, match="network"):
        rig.ask()
    assert rig.log.records[0].attempts == 3
