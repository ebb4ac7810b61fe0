"""The service over HTTP, driven by real boto3 clients and by raw requests over loopback."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Literal

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from starlette.applications import Starlette
from starlette.types import Message, Scope

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.errors import BackendError, ConfigError, ServiceUnavailableError, ThrottledError
from rekadapter.imaging import Image
from rekadapter.rekognition_api.listening import BoundedListener
from rekadapter.rekognition_api.server import (
    ServerSettings,
    ServiceServer,
    create_app,
    is_loopback,
    serve_forever,
)
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.testing.material import ContractMaterial
from rekadapter.types import Detection

RetryMode = Literal["standard", "legacy", "adaptive"]

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_rekognition import RekognitionClient
    from mypy_boto3_rekognition.type_defs import ImageTypeDef

HEADERS = {
    "Content-Type": "application/x-amz-json-1.1",
    "X-Amz-Target": "RekognitionService.ListCollections",
}


def _bytes(image: Image) -> bytes:
    assert image.encoded is not None
    return image.encoded


def _image(image: Image) -> ImageTypeDef:
    return {"Bytes": _bytes(image)}


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url) as client:
        yield client


# --- boto3 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["client", "unsigned"])
def test_boto3_walks_through_every_operation(
    request: pytest.FixtureRequest, name: str, material: ContractMaterial
) -> None:
    client: RekognitionClient = request.getfixturevalue(name)
    ann, group = _image(material.ann), _image(material.group)
    arn = client.create_collection(CollectionId="c")["CollectionArn"]
    region = "eu-west-1" if name == "client" else "us-east-1"
    assert arn == f"arn:aws:rekognition:{region}:123456789012:collection/c"
    assert client.list_collections()["CollectionIds"] == ["c"]
    indexed = client.index_faces(CollectionId="c", Image=group, ExternalImageId="group")
    faces = [record["Face"]["FaceId"] for record in indexed["FaceRecords"]]
    described = client.describe_collection(CollectionId="c")
    assert described["FaceCount"] == 2
    assert described["CreationTimestamp"].year >= 2025
    found = client.search_faces_by_image(CollectionId="c", Image=ann, MaxFaces=1)
    assert found["FaceMatches"][0]["Face"]["FaceId"] == faces[0]
    searched = client.search_faces(CollectionId="c", FaceId=faces[0], FaceMatchThreshold=0)
    assert [match["Face"]["FaceId"] for match in searched["FaceMatches"]] == [faces[1]]
    pages = client.get_paginator("list_faces").paginate(
        CollectionId="c", PaginationConfig={"PageSize": 1}
    )
    assert sorted(face["FaceId"] for page in pages for face in page["Faces"]) == sorted(faces)
    assert len(client.detect_faces(Image=group)["FaceDetails"]) == 2
    assert len(client.compare_faces(SourceImage=ann, TargetImage=group)["FaceMatches"]) == 1
    assert client.delete_faces(CollectionId="c", FaceIds=faces)["DeletedFaces"] == faces
    deleted = client.delete_collection(CollectionId="c")
    assert deleted["StatusCode"] == 200
    assert deleted["ResponseMetadata"]["RequestId"]


def test_errors_arrive_as_boto3s_own_classes(
    client: RekognitionClient, material: ContractMaterial
) -> None:
    client.create_collection(CollectionId="c")
    nobody = _image(material.nobody)
    wrong: list[tuple[type[ClientError], Callable[[], object]]] = [
        (
            client.exceptions.ResourceAlreadyExistsException,
            lambda: client.create_collection(CollectionId="c"),
        ),
        (
            client.exceptions.ResourceNotFoundException,
            lambda: client.describe_collection(CollectionId="gone"),
        ),
        (
            client.exceptions.InvalidParameterException,
            lambda: client.search_faces_by_image(CollectionId="c", Image=nobody),
        ),
        (
            client.exceptions.InvalidPaginationTokenException,
            lambda: client.list_faces(CollectionId="c", NextToken="x"),
        ),
        (
            client.exceptions.InvalidImageFormatException,
            lambda: client.detect_faces(Image={"Bytes": b"no picture"}),
        ),
        (
            client.exceptions.ImageTooLargeException,
            lambda: client.detect_faces(Image={"Bytes": b"x" * (5 * 2**20 + 1)}),
        ),
    ]
    for kind, call in wrong:
        with pytest.raises(kind) as caught:
            call()
        metadata = caught.value.response["ResponseMetadata"]
        assert metadata["HTTPStatusCode"] == 400
        assert metadata["RequestId"]


def test_an_operation_not_served_is_a_client_error(client: RekognitionClient) -> None:
    with pytest.raises(ClientError, match="UnknownOperationException"):
        client.list_stream_processors()


class Recovering(MemoryRecognizer):
    """Fails once, then works."""

    def __init__(self, error: BackendError) -> None:
        super().__init__()
        self._error = error
        self.calls = 0

    def detect(self, image: Image) -> Detection:
        self.calls += 1
        if self.calls == 1:
            raise self._error
        return super().detect(image)


@pytest.mark.parametrize("mode", ["standard", "legacy", "adaptive"])
@pytest.mark.parametrize(
    "error", [ServiceUnavailableError("down"), ThrottledError("slow", retry_after_seconds=0.01)]
)
def test_boto3_retries_what_may_pass(
    material: ContractMaterial, mode: RetryMode, error: BackendError
) -> None:
    recovering = Recovering(error)
    with ServiceServer(create_app(RekognitionService(recovering))) as server:
        client = boto3.client(
            "rekognition",
            endpoint_url=server.url,
            config=Config(retries={"mode": mode, "total_max_attempts": 2}),
        )
        answer = client.detect_faces(Image=_image(material.ann))
        client.close()
    assert answer["ResponseMetadata"]["RetryAttempts"] == 1
    assert recovering.calls == 2


# --- raw requests ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/base/path", "/healthz", "/a%20b"])
def test_the_target_routes_whatever_the_path(http: httpx.Client, path: str) -> None:
    answer = http.post(path, headers=HEADERS, content=b"{}")
    assert answer.status_code == 200
    assert answer.json() == {"CollectionIds": [], "FaceModelVersions": []}
    assert answer.headers["content-type"] == "application/x-amz-json-1.1"


def test_health_is_told(http: httpx.Client) -> None:
    answer = http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "in_flight": 0})


@pytest.mark.parametrize(
    ("method", "headers", "body", "code"),
    [
        ("GET", HEADERS, b"", "UnknownOperationException"),
        ("PUT", HEADERS, b"{}", "UnknownOperationException"),
        ("POST", {"Content-Type": HEADERS["Content-Type"]}, b"{}", "UnknownOperationException"),
        ("POST", {**HEADERS, "X-Amz-Target": "Nonsense"}, b"{}", "UnknownOperationException"),
        ("POST", {**HEADERS, "Content-Type": "text/plain"}, b"{}", "SerializationException"),
        ("POST", {"X-Amz-Target": HEADERS["X-Amz-Target"]}, b"{}", "SerializationException"),
        ("POST", {**HEADERS, "Content-Encoding": "gzip"}, b"{}", "SerializationException"),
        ("POST", HEADERS, b"{", "SerializationException"),
        ("POST", HEADERS, b'{"MaxResults": NaN}', "SerializationException"),
        ("POST", HEADERS, b"[" * 100_000, "SerializationException"),
        ("POST", HEADERS, b'{"MaxResults": 5000}', "InvalidParameterException"),
        ("POST", HEADERS, b"x" * (16 * 2**20 + 1), "ImageTooLargeException"),
        ("POST", HEADERS, b"x" * (70 * 2**20), "ImageTooLargeException"),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else str(value)[-40:],
)
def test_a_bad_request_has_an_aws_body(
    http: httpx.Client, method: str, headers: dict[str, str], body: bytes, code: str
) -> None:
    try:
        answer = http.request(method, "/", headers=headers, content=body)
    except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
        # Beyond any excuse the server stops reading; the client may not live to see the answer.
        assert len(body) > 4 * 16 * 2**20
        return
    assert (answer.status_code, answer.json()["__type"]) == (400, code)
    assert answer.headers["x-amzn-requestid"] == answer.json()["Logref"]


def test_16_mib_of_anything_is_answered(http: httpx.Client) -> None:
    body = b'{"Image": {"Bytes": "' + b"A" * (16 * 2**20 - 24) + b'"}}'
    headers = {**HEADERS, "X-Amz-Target": "RekognitionService.DetectFaces"}
    answer = http.post("/", headers=headers, content=body)
    assert answer.json()["__type"] == "ImageTooLargeException"


def test_a_charset_in_the_content_type_is_fine(http: httpx.Client) -> None:
    headers = {**HEADERS, "Content-Type": "Application/X-AMZ-JSON-1.1; charset=utf-8"}
    assert http.post("/", headers=headers, content=b"").status_code == 200


@pytest.mark.parametrize(
    "host", ["example.org", "example.org:80", "127.0.0.1.example.org", "", "[::bad", "10.0.0.1"]
)
def test_a_foreign_host_name_is_refused(http: httpx.Client, host: str) -> None:
    answer = http.post("/", headers={**HEADERS, "Host": host}, content=b"{}")
    assert answer.status_code == 400
    if answer.content.startswith(b"{"):
        assert answer.json()["__type"] == "AccessDeniedException"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "[::1]:80", "rekognition.localhost"])
def test_a_loopback_name_is_served(http: httpx.Client, host: str) -> None:
    assert http.post("/", headers={**HEADERS, "Host": host}, content=b"{}").status_code == 200


@pytest.mark.parametrize(
    ("authorization", "region"),
    [
        (
            "AWS4-HMAC-SHA256 Credential=AK/20261123/il-central-1/rekognition/aws4_request, x",
            "il-central-1",
        ),
        ("AWS4-HMAC-SHA256 Credential=AK/20261123/<script>/rekognition/aws4_request", "us-east-1"),
        ("Bearer x", "us-east-1"),
    ],
)
def test_the_region_is_that_of_the_signature(
    http: httpx.Client, authorization: str, region: str
) -> None:
    headers = {
        **HEADERS,
        "X-Amz-Target": "RekognitionService.CreateCollection",
        "Authorization": authorization,
    }
    answer = http.post("/", headers=headers, content=json.dumps({"CollectionId": "c"}))
    assert answer.json()["CollectionArn"].split(":")[3] == region


# --- load and life --------------------------------------------------------------------------------


class Slow(MemoryRecognizer):
    """Holds every detection until the test lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Semaphore(0)
        self.go = threading.Event()

    def detect(self, image: Image) -> Detection:
        self.entered.release()
        assert self.go.wait(30)
        return super().detect(image)


def _detect(http: httpx.Client, body: bytes) -> httpx.Response:
    headers = {**HEADERS, "X-Amz-Target": "RekognitionService.DetectFaces"}
    return http.post("/", headers=headers, content=body, timeout=30)


def _detect_body(material: ContractMaterial) -> bytes:
    data = base64.b64encode(_bytes(material.ann)).decode()
    return json.dumps({"Image": {"Bytes": data}}).encode()


def test_over_the_bound_a_client_is_told_when_to_come_back(material: ContractMaterial) -> None:
    slow = Slow()
    settings = ServerSettings(workers=1, max_in_flight=2, retry_after_ms=250)
    body = _detect_body(material)
    with (
        ServiceServer(create_app(RekognitionService(slow), settings)) as server,
        httpx.Client(base_url=server.url) as http,
        ThreadPoolExecutor(2) as pool,
    ):
        held = [pool.submit(_detect, http, body) for _ in range(2)]
        slow.entered.acquire()
        while http.get("/healthz").json()["in_flight"] < 2:
            pass
        turned_away = _detect(http, body)
        assert turned_away.status_code == 400
        assert turned_away.json()["__type"] == "ProvisionedThroughputExceededException"
        assert turned_away.headers["x-amz-retry-after"] == "250"
        slow.go.set()
        assert [answer.result().status_code for answer in held] == [200, 200]
        assert _detect(http, body).status_code == 200


def test_stopping_lets_a_request_finish(material: ContractMaterial) -> None:
    slow = Slow()
    with (
        ThreadPoolExecutor(2) as pool,
        ServiceServer(create_app(RekognitionService(slow))) as server,
        httpx.Client(base_url=server.url) as http,
    ):
        held = pool.submit(_detect, http, _detect_body(material))
        slow.entered.acquire()
        stopping = pool.submit(server.stop)
        slow.go.set()
        stopping.result()
        assert held.result().status_code == 200
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.url)


def test_a_client_that_leaves_does_no_harm(url: str) -> None:
    port = httpx.URL(url).port
    assert port is not None
    with socket.create_connection(("127.0.0.1", port)) as rude:
        head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        request = f"POST / HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: 1000\r\n\r\nhalf"
        rude.sendall(request.encode())
    assert httpx.get(f"{url}/healthz").status_code == 200


def test_a_body_that_never_comes_is_given_up() -> None:
    settings = ServerSettings(body_timeout_seconds=0.05)
    with ServiceServer(create_app(RekognitionService(MemoryRecognizer()), settings)) as server:
        port = httpx.URL(server.url).port
        assert port is not None
        with socket.create_connection(("127.0.0.1", port)) as idle:
            head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
            request = f"POST / HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: 9\r\n\r\n"
            idle.sendall(request.encode())
            answer = b""
            while b"RequestTimeout" not in answer:
                received = idle.recv(4096)
                assert received, answer
                answer += received


def _idle(url: str) -> socket.socket:
    port = httpx.URL(url).port
    assert port is not None
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def test_clients_that_never_ask_are_displaced_by_those_who_do() -> None:
    settings = ServerSettings(workers=1, max_in_flight=1, max_connections=4)
    app = create_app(RekognitionService(MemoryRecognizer()), settings)
    with ServiceServer(app) as server, ExitStack() as stack:
        silent = [stack.enter_context(_idle(server.url)) for _ in range(12)]
        for one in silent[::2]:
            with suppress(OSError):  # displaced already
                one.sendall(b"POST / HT")
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        assert [_left(one) for one in silent[:8]] == [b""] * 8


def _left(one: socket.socket) -> bytes:
    """What comes until the other side closes."""
    try:
        return one.recv(1)
    except ConnectionError:
        return b""


def test_a_request_under_way_is_not_displaced(material: ContractMaterial) -> None:
    slow = Slow()
    settings = ServerSettings(workers=1, max_in_flight=1, max_connections=1)
    with (
        ServiceServer(create_app(RekognitionService(slow), settings)) as server,
        httpx.Client(base_url=server.url) as http,
        ThreadPoolExecutor(1) as pool,
        ExitStack() as stack,
    ):
        held = pool.submit(_detect, http, _detect_body(material))
        slow.entered.acquire()
        others = [stack.enter_context(_idle(server.url)) for _ in range(3)]
        assert [_left(one) for one in others] == [b""] * 3
        slow.go.set()
        assert held.result().status_code == 200


def test_many_clients_at_once_lose_nothing(url: str, material: ContractMaterial) -> None:
    body = _detect_body(material)
    with httpx.Client(base_url=url) as http, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: _detect(http, body), range(48)))
    assert {answer.status_code for answer in answers} == {200}


def _scope(operation: str) -> Scope:
    head = {**HEADERS, "X-Amz-Target": f"RekognitionService.{operation}"}
    return {
        "type": "http",
        "method": "POST",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in head.items()],
    }


def test_a_stop_that_waited_long_enough_answers_with_awss_error(material: ContractMaterial) -> None:
    slow = Slow()
    app = create_app(RekognitionService(slow))
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": _detect_body(material), "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    async def stopped() -> None:
        asked = asyncio.create_task(_as_coroutine(app(_scope("DetectFaces"), receive, send)))
        await asyncio.to_thread(slow.entered.acquire)
        asked.cancel()
        await asked
        slow.go.set()

    asyncio.run(stopped())
    assert sent[0]["status"] == 500
    assert json.loads(sent[1]["body"])["__type"] == "InternalServerError"


def test_a_client_that_does_not_read_its_answer_is_given_up() -> None:
    settings = ServerSettings(body_timeout_seconds=0.05, metrics=True)
    app = create_app(RekognitionService(MemoryRecognizer()), settings)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(_: Message) -> None:
        await asyncio.Event().wait()

    asyncio.run(_as_coroutine(app(_scope("ListCollections"), receive, send)))
    with ServiceServer(app) as server:
        assert 'code="ClientDisconnect"} 1' in httpx.get(f"{server.url}/metrics").text


async def _as_coroutine(answered: Awaitable[None]) -> None:
    await answered


def test_servers_run_side_by_side() -> None:
    with (
        ServiceServer(create_app(RekognitionService(MemoryRecognizer()))) as one,
        ServiceServer(create_app(RekognitionService(MemoryRecognizer()))) as other,
    ):
        assert one.url != other.url
        for server in (one, other):
            assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_an_app_that_cannot_start_is_named() -> None:
    @asynccontextmanager
    async def failing(_: Starlette) -> AsyncIterator[None]:
        raise RuntimeError("no disk")
        yield

    with (
        pytest.raises(BackendError, match="did not start"),
        ServiceServer(Starlette(lifespan=failing)),
    ):
        pass


SERVE = """
import sys
from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.rekognition_api.server import create_app, serve_forever
from rekadapter.rekognition_api.service import RekognitionService

serve_forever(create_app(RekognitionService(MemoryRecognizer())), "127.0.0.1", int(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_serving_refuses_foreign_names_and_ends_with_the_signal() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with subprocess.Popen([sys.executable, "-c", SERVE, str(port)]) as process:  # noqa: S603  # our own text
        try:
            _wait_until_served(port)
            foreign = httpx.get(f"http://127.0.0.1:{port}", headers={"Host": "example.org"})
            assert foreign.json()["__type"] == "AccessDeniedException"
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) in {0, -signal.SIGTERM}
        finally:
            process.kill()


def _wait_until_served(port: int) -> None:
    for _ in range(300):
        try:
            assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
        except httpx.ConnectError:
            threading.Event().wait(0.1)
        else:
            return
    raise AssertionError("the server never answered")


def test_answers_are_sent_at_once() -> None:
    # Headers and body are two writes: with Nagle's algorithm each answer would take 40 ms longer.
    with BoundedListener("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


# --- where it may listen --------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "::", "example.org"])  # noqa: S104  # refused
def test_only_loopback_is_served_unless_allowed(service: RekognitionService, host: str) -> None:
    with pytest.raises(ConfigError, match="signatures"):
        serve_forever(create_app(service), host, 0)


def test_a_port_in_use_is_named(service: RekognitionService, url: str) -> None:
    port = httpx.URL(url).port
    assert port is not None
    with pytest.raises(ConfigError, match=str(port)):
        serve_forever(create_app(service), "127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("a.localhost", True),
        ("localhost.example.org", False),
        ("192.168.0.1", False),
        ("", False),
    ],
)
def test_loopback_is_told_from_the_rest(host: str, *, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    "make",
    [
        lambda: ServerSettings(workers=0),
        lambda: ServerSettings(workers=8, max_in_flight=4),
        lambda: ServerSettings(account="me"),
        lambda: ServerSettings(retry_after_ms=-1),
        lambda: ServerSettings(max_body_bytes=0),
    ],
)
def test_settings_without_a_meaning_are_refused(make: Callable[[], ServerSettings]) -> None:
    with pytest.raises(ConfigError):
        make()
