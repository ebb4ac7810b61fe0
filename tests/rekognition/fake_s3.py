"""An S3 on loopback that keeps objects, and fails as it is told to."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

BUCKET = "pictures"


@dataclass(frozen=True)
class Asked:
    """One request as it came in."""

    operation: str
    key: str
    headers: Mapping[str, str]
    body: bytes
    version: str | None


@dataclass(frozen=True)
class Fault:
    """An answer that is an error; ``status`` 0 closes the connection after the request was carried
    out, so that nobody learns of it."""

    code: str = ""
    status: int = 403
    headers: Mapping[str, str] = field(default_factory=dict)


LOST = Fault(status=0)
DENIED = Fault("AccessDenied", 403)


class FakeS3:
    """One bucket. ``faults`` are met by the next requests of an operation, in turn; those in
    ``always`` by every one."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[Asked] = []
        self.faults: dict[str, list[Fault]] = {}
        self.always: dict[str, Fault] = {}
        self.version: str | None = None
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.s3 = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def operations(self) -> list[str]:
        return [one.operation for one in self.asked]

    def answer(self, asked: Asked) -> Fault | None:
        """Carries a request out unless a fault is met; one of status 0 comes after that."""
        self.asked.append(asked)
        fault = self._fault(asked.operation)
        if fault is None or fault.status == 0:
            self._carry_out(asked)
        return fault

    def _fault(self, operation: str) -> Fault | None:
        waiting = self.faults.get(operation)
        return waiting.pop(0) if waiting else self.always.get(operation)

    def _carry_out(self, asked: Asked) -> None:
        if asked.operation == "PutObject":
            self.objects[asked.key] = asked.body
        else:
            self.objects.pop(asked.key, None)

    def headers(self, operation: str) -> dict[str, str]:
        headers = {"x-amz-request-id": "0A1B2C"}
        if operation == "PutObject":
            headers["ETag"] = '"00"'
            if self.version is not None:
                headers["x-amz-version-id"] = self.version
        return headers


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    s3: FakeS3


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_PUT(self) -> None:
        self._answer("PutObject", 200)

    def do_DELETE(self) -> None:
        self._answer("DeleteObject", 204)

    def _answer(self, operation: str, status: int) -> None:
        s3, url = self.server.s3, urlsplit(self.path)
        _, bucket, key = unquote(url.path).split("/", 2)
        assert bucket == BUCKET
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        version = parse_qs(url.query).get("versionId", [None])[0]
        fault = s3.answer(Asked(operation, key, headers, body, version))
        if fault is None:
            self._say(status, b"", s3.headers(operation))
        elif fault.status == 0:
            self.close_connection = True
        else:
            self._say(fault.status, _error(fault.code), fault.headers)

    def _say(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name given
        pass


def _error(code: str) -> bytes:
    return (
        f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>said S3</Message>"
        "<RequestId>0A1B2C</RequestId></Error>"
    ).encode()
