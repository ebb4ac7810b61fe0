"""A loopback server that speaks HTTP/1.1 to boto3, answers by rule, and counts every byte."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Received:
    """One request as it came in; ``size`` is its bytes on the socket."""

    operation: str
    parameters: Json
    headers: Mapping[str, str]
    size: int
    connection: int

    def image(self, member: str = "Image") -> bytes:
        return base64.b64decode(self.parameters[member]["Bytes"])


@dataclass(frozen=True)
class Reply:
    """What to answer: ``body`` as JSON unless it is bytes; ``keep`` cuts it short on the socket."""

    body: Json | bytes = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    keep: int | None = None
    drop: bool = False
    delay: float = 0.0

    def on_the_wire(self) -> bytes:
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        headers = {
            "x-amzn-RequestId": "11111111-2222-4333-8444-555555555555",
            "Content-Type": "application/x-amz-json-1.1",
            "Content-Length": str(len(body)),
            **self.headers,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {self.status} OK\r\n{lines}\r\n".encode()
        return head + (body if self.keep is None else body[: self.keep])


def error(code: str, message: str, status: int = 400, **headers: str) -> Reply:
    """An error as Rekognition writes one."""
    body = {"__type": code, "Code": code, "Message": message, "Logref": "0"}
    return Reply(body, status, {name.replace("_", "-"): text for name, text in headers.items()})


NO_FACE = error(
    "InvalidParameterException", "There are no faces in the image. Should be at least 1."
)
THROTTLED = error("ProvisionedThroughputExceededException", "Provisioned Rate exceeded.")
UNAVAILABLE = error("ThrottlingException", "Service Unavailable", 500)

Rule = Callable[[Received], Reply]


class FakeAws:
    """Answers each operation by its rule; one without a rule is unknown, as on a real service."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.rules: dict[str, Rule] = {}
        self.requests: list[Received] = []
        self.bytes_received = 0
        self.bytes_sent = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self._tls = tls
        self.port = int(self._listener.getsockname()[1])
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def on(self, operation: str, *replies: Reply | Rule) -> None:
        """The rule for ``operation``: these replies in turn, the last for ever."""
        left = list(replies)

        def rule(received: Received) -> Reply:
            reply = left.pop(0) if len(left) > 1 else left[0]
            return reply(received) if callable(reply) else reply

        self.rules[operation] = rule

    def of(self, operation: str) -> list[Received]:
        return [request for request in self.requests if request.operation == operation]

    def operations(self) -> list[str]:
        return [request.operation for request in self.requests]

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(5)
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.append(connection)
            number = len(self._connections)
            thread = threading.Thread(target=self._serve, args=(connection, number), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with connection:
            try:
                if self._tls is not None:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                with connection:
                    while self._exchange(connection, number):
                        pass
            except OSError:
                return

    def _exchange(self, connection: socket.socket, number: int) -> bool:
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return False
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")[1:]
        headers = {name.lower(): value for name, _, value in (li.partition(": ") for li in lines)}
        while len(body) < int(headers.get("content-length", "0")):
            more = connection.recv(65536)
            if not more:
                return False
            body += more
        size = len(head) + 4 + len(body)
        operation = headers.get("x-amz-target", ".").split(".")[1]
        received = Received(operation, json.loads(body), headers, size, number)
        with self._lock:
            self.requests.append(received)
            self.bytes_received += size
            rule = self.rules.get(operation)
            reply = rule(received) if rule else error("UnknownOperationException", operation)
        time.sleep(reply.delay)
        if reply.drop:
            return False
        answer = reply.on_the_wire()
        with self._lock:
            self.bytes_sent += len(answer)
        connection.sendall(answer)
        return reply.keep is None


# --- Rekognition's shapes ---------------------------------------------------------------------


def box(left: float, top: float, width: float, height: float) -> Json:
    return {"Left": left, "Top": top, "Width": width, "Height": height}


def face_detail(where: Json, confidence: float = 99.5) -> Json:
    """A FaceDetail with the attributes of DEFAULT."""
    places = {
        "eyeLeft": (0.3, 0.4),
        "eyeRight": (0.7, 0.4),
        "nose": (0.5, 0.6),
        "mouthLeft": (0.35, 0.8),
        "mouthRight": (0.65, 0.8),
    }
    return {
        "BoundingBox": where,
        "Confidence": confidence,
        "Landmarks": [
            {
                "Type": name,
                "X": where["Left"] + x * where["Width"],
                "Y": where["Top"] + y * where["Height"],
            }
            for name, (x, y) in places.items()
        ],
        "Pose": {"Roll": 1.0, "Yaw": -2.0, "Pitch": 3.0},
        "Quality": {"Sharpness": 90.0, "Brightness": 70.0},
    }


def face(number: int, subject: str | None = None) -> Json:
    """A Face of a collection."""
    found: Json = {
        "FaceId": face_id(number),
        "ImageId": f"{number:08x}-0000-4000-8000-0000000000ff",
        "BoundingBox": box(0.1, 0.2, 0.3, 0.4),
        "Confidence": 99.9,
        "IndexFacesModelVersion": "7.0",
    }
    if subject is not None:
        found["ExternalImageId"] = subject
    return found


def face_id(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def searched(*matches: tuple[float, Json], where: Json | None = None) -> Reply:
    """An answer of SearchFacesByImage."""
    return Reply(
        {
            "SearchedFaceBoundingBox": where or box(0.25, 0.25, 0.5, 0.5),
            "SearchedFaceConfidence": 99.0,
            "FaceMatches": [{"Similarity": score, "Face": found} for score, found in matches],
            "FaceModelVersion": "7.0",
        }
    )
