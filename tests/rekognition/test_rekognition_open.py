"""Opening: AWS's own settings, strict options, one clear error for each mistake."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rekadapter.backends.rekognition import open_rekognition
from rekadapter.errors import ConfigError, ConnectionFailedError, CredentialsError, StoppedError
from rekadapter.recognizer import BackendContext, Recognizer
from tests.rekognition.fake_aws import FakeAws, Reply, error
from tests.rekognition.fakes import KeptLog, photo

Opened = Callable[..., Recognizer]


@pytest.fixture
def context(tmp_path: Path) -> BackendContext:
    return BackendContext(tmp_path, tmp_path)


def test_it_is_a_recognizer_and_says_what_it_is(cloud: Recognizer, aws: FakeAws) -> None:
    assert isinstance(cloud, Recognizer)
    told = cloud.capabilities
    assert told.remote
    assert not told.gives_raw_score
    assert (told.default_threshold.value, told.match_all.value) == (80.0, 0.0)
    assert told.score_scale.name == "AWS Rekognition Similarity"
    assert told.details["region"] == "us-east-1"
    assert told.details["endpoint"] == aws.url
    assert "99" in told.details["threshold"]
    assert "AKIDEXAMPLE" not in str(told)


def test_nothing_is_sent_by_opening(cloud: Recognizer, aws: FakeAws) -> None:
    assert cloud.capabilities
    assert aws.requests == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"regoin": "us-east-1"}, "regoin"),
        ({"aws_secret_access_key": "hunter2"}, "AWS's own settings"),
        ({"requests_per_second": {"SearchFace": 5}}, "SearchFace"),
        ({"requests_per_second": {"SearchFaces": 0}}, "requests_per_second.SearchFaces"),
        ({"max_image_bytes": 6_000_000}, "max_image_bytes"),
        ({"read_timeout": 0}, "read_timeout"),
        ({"deadline_seconds": float("nan")}, "deadline_seconds"),
        ({"endpoint_url": "not a url"}, "endpoint_url"),
        ({"endpoint_url": "https://me:hunter2@proxy.example"}, "password"),
        ({"region": "us east"}, "region"),
        ({"region": "eu-nowhere-1"}, "eu-nowhere-1.*us-east-1"),
        ({"profile": "nobody"}, "nobody"),
        ({"prices": "/no/such/file.toml"}, "file.toml"),
    ],
)
def test_a_wrong_option_is_named_and_its_secret_is_not(
    context: BackendContext, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        open_rekognition("cloud", options, context)
    assert "hunter2" not in str(raised.value)
    assert "cloud" in str(raised.value) or "prices" in options


def test_a_password_in_awss_own_endpoint_setting_is_refused_and_not_repeated(
    context: BackendContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_REKOGNITION", "https://me:hunter2@127.0.0.1")
    with pytest.raises(ConfigError, match="password") as raised:
        open_rekognition("cloud", {}, context)
    assert "hunter2" not in str(raised.value)


def test_no_region_says_where_to_name_one(
    context: BackendContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION", raising=False)
    with pytest.raises(ConfigError, match="AWS_REGION"):
        open_rekognition("cloud", {}, context)


def test_no_credentials_says_what_to_do(
    context: BackendContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CredentialsError, match="aws configure"):
        open_rekognition("cloud", {}, context)


def test_half_a_pair_of_credentials_says_so(
    context: BackendContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CredentialsError, match="Partial credentials"):
        open_rekognition("cloud", {}, context)


def test_profile_region_and_endpoint_come_from_awss_own_files(
    aws: FakeAws, context: BackendContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "aws-config").write_text("[profile city]\nregion = eu-west-1\n")
    (tmp_path / "aws-credentials").write_text(
        "[city]\naws_access_key_id = AKIDCITY\naws_secret_access_key = s\naws_session_token = tok\n"
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL_REKOGNITION", aws.url)
    aws.on("DetectFaces", Reply({"FaceDetails": []}))
    cloud = open_rekognition("cloud", {"profile": "city"}, context)
    cloud.detect(photo())
    cloud.close()
    headers = aws.requests[0].headers
    assert "AKIDCITY" in headers["authorization"]
    assert "/eu-west-1/rekognition/" in headers["authorization"]
    assert headers["x-amz-security-token"] == "tok"


def test_a_compatible_service_may_be_asked_without_signature_or_credentials(
    aws: FakeAws, open_on: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    aws.on("DetectFaces", Reply({"FaceDetails": []}))
    open_on(unsigned=True).detect(photo())
    assert "authorization" not in aws.requests[0].headers


def test_aws_itself_is_never_asked_without_a_signature(context: BackendContext) -> None:
    with pytest.raises(ConfigError, match="endpoint_url"):
        open_rekognition("cloud", {"unsigned": True}, context)


def test_an_endpoint_that_was_never_there_is_reported_after_few_attempts(
    context: BackendContext,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    log = KeptLog()
    context = BackendContext(context.data_dir, context.cache_dir, request_log=log)
    cloud = open_rekognition("cloud", {"endpoint_url": f"http://127.0.0.1:{port}"}, context)
    with pytest.raises(ConnectionFailedError, match="endpoint"):
        cloud.detect(photo())
    cloud.close()
    record = log.records[0]
    assert (record.outcome, record.attempts) == ("ConnectionFailedError", 3)
    assert (record.bytes_sent, record.bytes_received, record.price_usd) == (0, 0, 0.0)


def test_refused_credentials_are_named(aws: FakeAws, cloud: Recognizer) -> None:
    aws.on("DetectFaces", error("UnrecognizedClientException", "The security token is invalid"))
    with pytest.raises(CredentialsError, match="get-caller-identity"):
        cloud.detect(photo())
    assert len(aws.requests) == 1


def test_nothing_secret_and_no_image_is_logged(
    aws: FakeAws, cloud: Recognizer, caplog: pytest.LogCaptureFixture
) -> None:
    aws.on("DetectFaces", Reply({"FaceDetails": []}))
    with caplog.at_level(logging.DEBUG, logger="rekadapter"):
        cloud.detect(photo())
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("rekadapter")]
    assert not any("secret-for-tests-only" in line or "/9j/" in line for line in ours)


def test_the_end_of_a_run_cuts_the_wait_between_attempts_short(
    aws: FakeAws, tmp_path: Path
) -> None:
    stop = threading.Event()
    stop.set()
    context = BackendContext(data_dir=tmp_path, cache_dir=tmp_path, stop=stop)
    aws.on("ListCollections", error("ThrottlingException", "Slow down"))
    with pytest.raises(StoppedError):
        list(open_rekognition("cloud", {"endpoint_url": aws.url}, context).galleries())
