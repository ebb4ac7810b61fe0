"""Keys, a signer written from AWS's description alone (so not botocore's), and a raw connection."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from rekadapter.rekognition_api.keys import AccessKey, KeyRing
from rekadapter.rekognition_api.policies import Caller, Grant, grant

ACCOUNT = "111122223333"
NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
LONG_LIVED = "AKIDLONGLIVED"
TEMPORARY = "ASIATEMPORARY"
GATE = "AKIDGATE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "FwoGZXIvYXdzEXAMPLE/token+with=signs=="
EXPIRES = datetime(2036, 1, 1, tzinfo=UTC)


def allowed(*actions: str, galleries: tuple[str, ...] = (), everything: bool = False) -> Grant:
    resources = ("*",) if everything else ()
    return grant(actions, resources=resources, galleries=galleries, account=ACCOUNT)


def keyring() -> KeyRing:
    """A key that may do all, the same with a session token, and one for a gate with one gallery."""
    everything = (allowed("*", everything=True),)
    gate = (allowed("rekognition:Search*", "rekognition:DescribeCollection", galleries=("staff",)),)
    keys = [
        AccessKey(LONG_LIVED, Caller(ACCOUNT, "owner", everything), SECRET),
        AccessKey(TEMPORARY, Caller(ACCOUNT, "guest", everything), SECRET, TOKEN, EXPIRES),
        AccessKey(GATE, Caller(ACCOUNT, "gate-1", gate), SECRET),
    ]
    return KeyRing({key.key_id: key for key in keys})


@dataclass(frozen=True, slots=True)
class Signed:
    """A request as it goes over the wire, and how it is signed."""

    target: str = "ListCollections"
    body: bytes = b"{}"
    method: str = "POST"
    path: str = "/"
    query: str = ""
    host: str = "127.0.0.1"
    key: str = LONG_LIVED
    secret: str = SECRET
    token: str | None = None
    at: datetime = NOW
    region: str = "eu-west-1"
    service: str = "rekognition"
    extra: tuple[tuple[str, str], ...] = ()
    unsigned: tuple[str, ...] = ()

    def headers(self) -> dict[str, str]:
        """All of them, ``Authorization`` included."""
        headers = {
            "content-type": "application/x-amz-json-1.1",
            "host": self.host,
            "x-amz-date": self._stamp,
            "x-amz-target": f"RekognitionService.{self.target}",
            **dict(self.extra),
        }
        if self.token is not None:
            headers["x-amz-security-token"] = self.token
        return {**headers, "authorization": self._authorization(headers)}

    def wire(self) -> bytes:
        """The bytes of an HTTP/1.1 request."""
        target = self.path + (f"?{self.query}" if self.query else "")
        lines = [f"{self.method} {target} HTTP/1.1"]
        headers = {**self.headers(), "content-length": str(len(self.body))}
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + self.body

    @property
    def _stamp(self) -> str:
        return self.at.strftime("%Y%m%dT%H%M%SZ")

    def _authorization(self, headers: Mapping[str, str]) -> str:
        names = sorted(set(headers) - set(self.unsigned))
        lines = [f"{name}:{headers[name]}" for name in names]
        digest = headers.get("x-amz-content-sha256", hashlib.sha256(self.body).hexdigest())
        path = quote(self.path, safe="/~")
        signed = ";".join(names)
        canonical = "\n".join([self.method, path, self.query, *lines, "", signed, digest])
        scope = f"{self._stamp[:8]}/{self.region}/{self.service}/aws4_request"
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        text = "\n".join(["AWS4-HMAC-SHA256", self._stamp, scope, hashed])
        key = f"AWS4{self.secret}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        return (
            f"AWS4-HMAC-SHA256 Credential={self.key}/{scope}, "
            f"SignedHeaders={signed}, Signature={signature}"
        )


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """``status`` is 0 where nothing came back."""

    status: int
    body: bytes

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["__type"]) if self.status != 200 else "OK"

    @property
    def message(self) -> str:
        return str(json.loads(self.body)["Message"])


def sent(url: str, request: Signed) -> RawAnswer:
    """``request`` sent to ``url``, signed for its host."""
    return exchanged(url, replace(request, host=urlsplit(url).netloc).wire())


def exchanged(url: str, wire: bytes, *, patience: float = 20.0) -> RawAnswer:
    """The first answer to bytes sent as they are."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    with socket.create_connection((parts.hostname, parts.port or 0), patience) as connection:
        connection.sendall(wire)
        return _first_answer(connection)


def _first_answer(connection: socket.socket) -> RawAnswer:
    received = b""
    while True:
        head, end, body = received.partition(b"\r\n\r\n")
        lengths = [
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        ]
        if end and (not lengths or len(body) >= lengths[0]):
            return RawAnswer(int(head.split(b" ")[1]), body)
        try:
            chunk = connection.recv(65536)
        except (TimeoutError, ConnectionResetError):
            return RawAnswer(0, b"")
        if not chunk:
            return RawAnswer(int(head.split(b" ")[1]), body) if end else RawAnswer(0, b"")
        received += chunk
