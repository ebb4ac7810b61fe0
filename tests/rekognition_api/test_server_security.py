"""The server with keys and TLS, driven by the clients people have: boto3, the AWS CLI, the AWS SDK
for JavaScript; and what keeps it from being opened by accident."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from rekadapter import cli
from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.errors import ConfigError
from rekadapter.rekognition_api.server import (
    ServerSettings,
    ServiceApp,
    ServiceServer,
    TlsFiles,
    create_app,
    serve_forever,
)
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.testing.material import ContractMaterial
from tests.rekognition_api.signing import (
    ACCOUNT,
    GATE,
    LONG_LIVED,
    SECRET,
    TEMPORARY,
    TOKEN,
    Signed,
    keyring,
)

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient
    from mypy_boto3_rekognition.type_defs import ImageTypeDef

CLIENTS = Path(__file__).parents[1] / "clients"
ORIGIN = "https://app.example.org"


@dataclass(frozen=True, slots=True)
class Served:
    """Where a server is, and the certificate to trust, if any."""

    url: str
    certificate: Path | None = None


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """A certificate for 127.0.0.1 that signs itself; made for this run only."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("making a certificate needs the openssl command")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "1", "-subj", "/CN=127.0.0.1", "-keyout", str(key)]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own arguments
    return TlsFiles(certificate, key)


@pytest.fixture
def plain() -> Iterator[Served]:
    with ServiceServer(_app()) as server:
        yield Served(server.url)


@pytest.fixture
def encrypted(tls: TlsFiles) -> Iterator[Served]:
    with ServiceServer(_app(), tls=tls) as server:
        yield Served(server.url, tls.certificate)


@pytest.fixture(params=["plain", "encrypted"])
def served(request: pytest.FixtureRequest) -> Served:
    found: Served = request.getfixturevalue(request.param)
    return found


def _app(cors_origins: tuple[str, ...] = ()) -> ServiceApp:
    settings = ServerSettings(keys=keyring(), cors_origins=cors_origins)
    return create_app(RekognitionService(MemoryRecognizer()), settings)


def _client(
    served: Served, key: str = LONG_LIVED, secret: str = SECRET, token: str | None = None
) -> RekognitionClient:
    return boto3.client(
        "rekognition",
        endpoint_url=served.url,
        region_name="eu-west-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        verify=str(served.certificate) if served.certificate else None,
        config=Config(retries={"total_max_attempts": 1}),
    )


# --- boto3 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "token"), [(LONG_LIVED, None), (TEMPORARY, TOKEN)])
def test_boto3_lives_a_life_signed(
    served: Served, material: ContractMaterial, key: str, token: str | None
) -> None:
    client = _client(served, key, token=token)
    arn = client.create_collection(CollectionId="c")["CollectionArn"]
    assert arn == f"arn:aws:rekognition:eu-west-1:{ACCOUNT}:collection/c"
    group: ImageTypeDef = {"Bytes": material.group.encoded or b""}
    indexed = client.index_faces(CollectionId="c", Image=group)["FaceRecords"]
    faces = [face["FaceId"] for face in client.list_faces(CollectionId="c")["Faces"]]
    assert sorted(record["Face"]["FaceId"] for record in indexed) == sorted(faces)
    ann: ImageTypeDef = {"Bytes": material.ann.encoded or b""}
    found = client.search_faces_by_image(CollectionId="c", Image=ann)["FaceMatches"]
    assert found[0]["Face"]["FaceId"] in faces
    assert client.delete_faces(CollectionId="c", FaceIds=faces)["DeletedFaces"] == faces
    assert client.delete_collection(CollectionId="c")["StatusCode"] == 200
    client.close()


@pytest.mark.parametrize(
    ("key", "secret", "token", "code"),
    [
        (LONG_LIVED, "wrong", None, "InvalidSignatureException"),
        ("AKIDNOBODY", SECRET, None, "UnrecognizedClientException"),
        (TEMPORARY, SECRET, None, "UnrecognizedClientException"),
        (TEMPORARY, SECRET, "wrong", "UnrecognizedClientException"),
        (LONG_LIVED, SECRET, TOKEN, "UnrecognizedClientException"),
    ],
)
def test_boto3_with_wrong_credentials_gets_aws_error(
    plain: Served, key: str, secret: str, token: str | None, code: str
) -> None:
    client = _client(plain, key, secret, token)
    with pytest.raises(ClientError) as caught:
        client.create_collection(CollectionId="c")
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert caught.value.response["ResponseMetadata"]["RequestId"]
    assert _client(plain).list_collections()["CollectionIds"] == []


def test_boto3_without_a_signature_is_refused(served: Served) -> None:
    client = boto3.client(
        "rekognition",
        endpoint_url=served.url,
        region_name="eu-west-1",
        verify=str(served.certificate) if served.certificate else None,
        config=Config(signature_version=UNSIGNED),
    )
    with pytest.raises(ClientError, match="MissingAuthenticationTokenException"):
        client.list_collections()
    client.close()


def test_a_denial_is_boto3s_own_exception(plain: Served) -> None:
    client = _client(plain, GATE)
    with pytest.raises(client.exceptions.AccessDeniedException, match="collection/staff because"):
        client.delete_collection(CollectionId="staff")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_collection(CollectionId="staff")
    client.close()


def test_boto3_at_a_base_path_is_served(plain: Served) -> None:
    client = _client(Served(f"{plain.url}/base/a%20b"))
    assert client.list_collections()["CollectionIds"] == []
    client.close()


def test_a_stranger_who_dawdles_takes_no_room_from_others() -> None:
    settings = ServerSettings(keys=keyring(), workers=1, max_in_flight=1)
    app = create_app(RekognitionService(MemoryRecognizer()), settings)
    with ServiceServer(app) as server:
        address = httpx.URL(server.url)
        with socket.create_connection((address.host, address.port or 0), timeout=10) as stranger:
            stranger.sendall(
                b"POST / HTTP/1.1\r\nHost: localhost\r\n"
                b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n"
            )
            assert b"100" in stranger.recv(64)  # its body is being waited for
            assert _client(Served(server.url)).list_collections()["CollectionIds"] == []
            stranger.sendall(b"x" * 9)
            answer = b""
            while b"MissingAuthenticationTokenException" not in answer:
                received = stranger.recv(4096)
                assert received, answer
                answer += received


def test_a_large_body_is_verified(plain: Served) -> None:
    client = _client(plain)
    with pytest.raises(client.exceptions.InvalidImageFormatException):
        client.detect_faces(Image={"Bytes": b"x" * (5 * 2**20)})
    client.close()


# --- the AWS CLI and the SDK for JavaScript -------------------------------------------------------


@pytest.fixture
def images(material: ContractMaterial, tmp_path: Path) -> Mapping[str, Path]:
    files = {"ANN": tmp_path / "ann.png", "GROUP": tmp_path / "group.png"}
    for name, image in (("ANN", material.ann), ("GROUP", material.group)):
        files[name].write_bytes(image.encoded or b"")
    return files


def _environment(served: Served, key: str, secret: str, token: str | None) -> dict[str, str]:
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL_REKOGNITION": served.url,
        "AWS_PAGER": "",
    }
    environment.pop("AWS_SESSION_TOKEN", None)
    if token:
        environment["AWS_SESSION_TOKEN"] = token
    if served.certificate:
        environment["AWS_CA_BUNDLE"] = str(served.certificate)
        environment["NODE_EXTRA_CA_CERTS"] = str(served.certificate)
    return environment


def _aws(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    aws = shutil.which("aws")
    if aws is None:
        pytest.skip("the AWS CLI is not installed (command aws)")
    command = [aws, "rekognition", *arguments, "--output", "json"]
    return subprocess.run(  # noqa: S603 - our own arguments
        command, env=environment, capture_output=True, text=True, check=False, timeout=100
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("served", "key", "token"),
    [("plain", LONG_LIVED, None), ("encrypted", TEMPORARY, TOKEN)],
    indirect=["served"],
)
def test_the_aws_cli_lives_a_life_signed(
    served: Served, images: Mapping[str, Path], key: str, token: str | None
) -> None:
    environment = _environment(served, key, SECRET, token)

    def answered(*arguments: str) -> dict[str, Any]:
        done = _aws(environment, *arguments, "--collection-id", "cli")
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    answered("create-collection")
    indexed = answered("index-faces", "--image-bytes", f"fileb://{images['GROUP']}")
    faces = [str(record["Face"]["FaceId"]) for record in indexed["FaceRecords"]]
    assert len(answered("list-faces")["Faces"]) == len(faces) == 2
    found = answered("search-faces-by-image", "--image-bytes", f"fileb://{images['ANN']}")
    assert found["FaceMatches"][0]["Face"]["FaceId"] in faces
    assert answered("delete-faces", "--face-ids", *faces)["DeletedFaces"] == faces
    answered("delete-collection")


@pytest.mark.slow
def test_the_aws_cli_with_a_wrong_secret_is_refused(plain: Served) -> None:
    done = _aws(_environment(plain, LONG_LIVED, "wrong", None), "list-collections")
    assert done.returncode != 0
    assert "InvalidSignatureException" in done.stderr
    unsigned = _aws(
        _environment(plain, LONG_LIVED, SECRET, None), "list-collections", "--no-sign-request"
    )
    assert "MissingAuthenticationTokenException" in unsigned.stderr


def _javascript(
    served: Served, images: Mapping[str, Path], key: str, secret: str, token: str | None
) -> dict[str, object]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed (command node)")
    if not (CLIENTS / "node_modules" / "@aws-sdk" / "client-rekognition").is_dir():
        pytest.skip("the AWS SDK for JavaScript is not installed: npm ci --prefix tests/clients")
    environment = _environment(served, key, secret, token)
    done = subprocess.run(  # noqa: S603 - our own script
        [node, str(CLIENTS / "lifecycle.mjs")],
        env={
            **environment,
            "ENDPOINT": served.url,
            **{name: str(file) for name, file in images.items()},
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize(("key", "token"), [(LONG_LIVED, None), (TEMPORARY, TOKEN)])
def test_the_javascript_sdk_lives_a_life_signed(
    served: Served, images: Mapping[str, Path], key: str, token: str | None
) -> None:
    life = _javascript(served, images, key, SECRET, token)
    assert life["arn"] == f"arn:aws:rekognition:eu-west-1:{ACCOUNT}:collection/javascript"
    assert life["collections"] == ["javascript"]
    assert isinstance(life["indexed"], list)
    assert isinstance(life["deleted"], list)
    assert isinstance(life["found"], list)
    assert sorted(life["indexed"]) == sorted(life["deleted"])
    assert len(life["indexed"]) == 2
    assert life["found"][0] in life["indexed"]


def test_the_javascript_sdk_with_a_wrong_secret_gets_aws_error(
    plain: Served, images: Mapping[str, Path]
) -> None:
    refused = _javascript(plain, images, LONG_LIVED, "wrong", None)
    assert refused == {"error": "InvalidSignatureException", "status": 400}


# --- TLS ------------------------------------------------------------------------------------------


def test_plain_http_does_not_reach_a_server_with_tls(encrypted: Served) -> None:
    with pytest.raises(httpx.HTTPError):
        httpx.get(encrypted.url.replace("https", "http"))


def test_only_current_tls_is_spoken(encrypted: Served) -> None:
    context = ssl.create_default_context(cafile=str(encrypted.certificate))
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context.minimum_version = context.maximum_version = version
        assert httpx.get(f"{encrypted.url}/healthz", verify=context).status_code == 200
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = ssl.TLSVersion.TLSv1_3
    weak = ssl.create_default_context(cafile=str(encrypted.certificate))
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers("ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{encrypted.url}/healthz", verify=weak)


def test_files_that_cannot_serve_tls_are_named(tls: TlsFiles, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for certificate, key in (
        (tmp_path / "missing.pem", tls.key),
        (tls.certificate, tmp_path / "missing.pem"),
        (empty, tls.key),
        (tls.certificate, empty),
    ):
        with pytest.raises(ConfigError, match=r"missing\.pem|empty\.pem"):
            TlsFiles(certificate, key)


def test_a_key_with_a_passphrase_is_refused_instead_of_asked_for(
    tls: TlsFiles, tmp_path: Path
) -> None:
    openssl = shutil.which("openssl")
    assert openssl is not None
    locked = tmp_path / "locked.pem"
    command = [openssl, "pkcs8", "-topk8", "-in", str(tls.key), "-out", str(locked)]
    subprocess.run([*command, "-passout", "pass:x"], check=True, capture_output=True)  # noqa: S603 - our own arguments
    with pytest.raises(ConfigError, match="passphrase"):
        TlsFiles(tls.certificate, locked)


# --- where it may listen --------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "::"])  # noqa: S104 - refused
def test_the_network_needs_keys_and_tls(host: str, tls: TlsFiles) -> None:
    unsigned = create_app(RekognitionService(MemoryRecognizer()))
    signed = create_app(RekognitionService(MemoryRecognizer()), ServerSettings(keys=keyring()))
    with pytest.raises(ConfigError, match="signatures"):
        serve_forever(unsigned, host, 0)
    with pytest.raises(ConfigError, match="signatures"):
        serve_forever(unsigned, host, 0, tls=tls)
    with pytest.raises(ConfigError, match="TLS"):
        serve_forever(signed, host, 0)


def test_with_keys_any_host_name_is_served(plain: Served) -> None:
    headers = {"Host": "rekognition.example.org"}
    answer = httpx.post(plain.url, headers=headers)
    assert answer.json()["__type"] == "MissingAuthenticationTokenException"


# --- web pages ------------------------------------------------------------------------------------

PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    # what the SDK for JavaScript sends from a browser
    "Access-Control-Request-Headers": "amz-sdk-invocation-id,amz-sdk-request,authorization,"
    "content-type,x-amz-content-sha256,x-amz-date,x-amz-security-token,x-amz-target,"
    "x-amz-user-agent",
}


@pytest.fixture
def shared() -> Iterator[str]:
    with ServiceServer(_app(cors_origins=(ORIGIN,))) as server:
        yield server.url


def test_a_page_of_a_named_origin_may_call(shared: str) -> None:
    preflight = httpx.options(shared, headers=PREFLIGHT)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    allowed = set(re.split(", *", preflight.headers["access-control-allow-headers"].lower()))
    assert set(PREFLIGHT["Access-Control-Request-Headers"].split(",")) <= allowed
    refused = httpx.post(shared, headers={"Origin": ORIGIN})
    assert refused.json()["__type"] == "MissingAuthenticationTokenException"
    assert refused.headers["access-control-allow-origin"] == ORIGIN
    assert "x-amzn-requestid" in refused.headers["access-control-expose-headers"].lower()


def test_a_page_of_another_origin_may_not(shared: str) -> None:
    headers = {**PREFLIGHT, "Origin": "https://evil.example.org"}
    answer = httpx.options(shared, headers=headers)
    assert "access-control-allow-origin" not in answer.headers
    answer = httpx.post(shared, headers={"Origin": "https://evil.example.org"})
    assert "access-control-allow-origin" not in answer.headers


def test_no_page_may_call_unless_asked_for(plain: Served) -> None:
    for answer in (
        httpx.options(plain.url, headers=PREFLIGHT),
        httpx.post(plain.url, headers={"Origin": ORIGIN}),
    ):
        assert not any(name.startswith("access-control") for name in answer.headers)


@pytest.mark.parametrize(
    "origin", ["*", "", "null", "example.org", "https://example.org/", "https://*.org", "file://"]
)
def test_an_origin_that_is_none_is_refused(origin: str) -> None:
    with pytest.raises(ConfigError, match="origin"):
        ServerSettings(cors_origins=(origin,))


def test_every_origin_is_allowed_only_with_keys() -> None:
    assert ServerSettings(keys=keyring(), cors_origins=("*",)).cors_origins == ("*",)


# --- the command ----------------------------------------------------------------------------------

KEYS = """
[[keys]]
id = "AKIDLONGLIVED"
secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
account = "111122223333"
allow = [{ actions = ["*"], resources = ["*"] }]
"""


@dataclass(frozen=True, slots=True)
class Command:
    """A running ``rekadapter serve``, and the address it printed."""

    process: subprocess.Popen[str]
    url: str
    said: str


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **environment: str) -> Command:
        command = [sys.executable, "-c", "from rekadapter.cli import main; main()", "serve"]
        process = subprocess.Popen(  # noqa: S603 - our own arguments
            [*command, "--backend", "memory", *arguments],
            env={**os.environ, **environment},
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        started.append(process)
        assert process.stderr is not None
        said = process.stderr.readline()
        address = re.search(r"AWS_ENDPOINT_URL_REKOGNITION=(\S+)", said)
        return Command(process, address[1] if address else "", said)

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_the_command_serves_keys_and_tls_on_a_free_port_and_stops_cleanly(
    run: Callable[..., Command], tls: TlsFiles, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(KEYS)
    keys.chmod(0o600)
    files = ["--keys", str(keys), "--tls-cert", str(tls.certificate), "--tls-key", str(tls.key)]
    command = run(*files, "--port", "0", "--metrics")
    assert re.fullmatch(r"https://127\.0\.0\.1:[1-9][0-9]+", command.url)
    client = _client(Served(command.url, tls.certificate))
    assert client.list_collections()["CollectionIds"] == []
    client.close()
    context = ssl.create_default_context(cafile=str(tls.certificate))
    scraped = httpx.get(f"{command.url}/metrics", verify=context).text
    assert 'requests_total{operation="ListCollections",code="OK"} 1' in scraped
    command.process.send_signal(signal.SIGINT)
    _, rest = command.process.communicate(timeout=30)
    assert command.process.returncode == 0
    assert SECRET not in command.said + rest


def test_the_command_takes_keys_from_the_environment(run: Callable[..., Command]) -> None:
    key = {"id": LONG_LIVED, "secret": SECRET, "account": ACCOUNT}
    keys = {"keys": [{**key, "allow": [{"actions": ["*"], "resources": ["*"]}]}]}
    command = run("--port", "0", REKADAPTER_SERVICE_KEYS=json.dumps(keys))
    unsigned = httpx.post(command.url)
    assert unsigned.json()["__type"] == "MissingAuthenticationTokenException"
    client = _client(Served(command.url))
    assert client.list_collections()["CollectionIds"] == []
    client.close()


def test_insecure_serves_any_host_name(run: Callable[..., Command]) -> None:
    command = run("--port", "0", "--insecure")
    answer = httpx.get(f"{command.url}/healthz", headers={"Host": "rekognition.example.org"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--host", "0.0.0.0"], "keys"),  # noqa: S104 - refused
        (["--tls-cert", "x.pem"], "go together"),
        (["--keys", "missing.toml"], "missing.toml"),
        (["--cors", "*"], "origin"),
    ],
)
def test_the_command_refuses_in_one_line(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["serve", "--backend", "memory", "--port", "0", *arguments]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("error: ")
    assert complaint in said


def test_signed_requests_are_looked_at_only_where_there_are_keys() -> None:
    with ServiceServer(create_app(RekognitionService(MemoryRecognizer()))) as server:
        client = _client(Served(server.url), "AKIDNOBODY", "wrong")
        assert client.list_collections()["CollectionIds"] == []
        client.close()


def test_a_request_of_the_past_is_refused_by_the_real_clock(plain: Served) -> None:
    headers = Signed(host=plain.url.removeprefix("http://")).headers()
    answer = httpx.post(plain.url, headers=headers, content=b"{}")
    assert answer.json()["__type"] == "InvalidSignatureException"
    assert "Signature expired" in answer.text or "not yet current" in answer.text
