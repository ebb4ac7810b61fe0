"""Cameras that follow a script, and on loopback one that speaks HTTP (MJPEG) and one RTSP."""

from __future__ import annotations

import base64
import http.server
import itertools
import socketserver
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from rekadapter.feeds.camera import Picture, Pictures

BOUNDARY = "next"
TS_PACKET = 188
TS_IN_A_DATAGRAM = 7
MPEG_TS = 33


@dataclass
class Camera:
    """What a camera shows and how it behaves; may be changed while it is watched.

    Every connection gets ``pictures`` (JPEG) or ``stream`` (MPEG-TS) over and over, at ``fps``
    pictures or chunks a second, and ends after ``pictures_a_visit`` of them.
    """

    pictures: Sequence[bytes] = ()
    stream: bytes = b""
    fps: float = 25.0
    pictures_a_visit: int | None = None
    status: int = 200
    password: str | None = None
    content_type: str = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
    visits: int = 0
    sent: int = 0
    closing: threading.Event = field(default_factory=threading.Event)

    def admits(self, header: str) -> bool:
        expected = base64.b64encode(f"viewer:{self.password}".encode()).decode()
        return self.password is None or header == f"Basic {expected}"


def still() -> Picture:
    return Picture(lambda: np.zeros((4, 4, 3), np.uint8))


class Scripted:
    """A camera whose every visit gives so many pictures, then ends, fails, or holds the line."""

    def __init__(self, *visits: int | Exception) -> None:
        self.visits = list(visits)
        self.let_go = 0
        self.given = threading.Event()
        self.hold = threading.Event()

    @contextmanager
    def __call__(self) -> Iterator[Pictures]:
        try:
            yield self._pictures()
        finally:
            self.let_go += 1

    def _pictures(self) -> Pictures:
        visit = self.visits.pop(0) if self.visits else 0
        if isinstance(visit, Exception):
            raise visit
        for _ in range(visit):
            yield still()
        self.given.set()
        if not self.visits:
            self.hold.wait(0.05)


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = False
    block_on_close = True
    camera: Camera

    def handle_error(self, request: object, client_address: object) -> None:
        """A viewer that leaves is no error of the camera's."""


class _Mjpeg(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        camera = self.server.camera
        camera.visits += 1
        status = camera.status if camera.admits(self.headers.get("Authorization", "")) else 401
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
        self.send_header("Content-Type", camera.content_type)
        self.end_headers()
        if status == 200:
            self._show(camera)

    def _show(self, camera: Camera) -> None:
        rounds = itertools.islice(itertools.cycle(camera.pictures), camera.pictures_a_visit)
        for picture in rounds:
            head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n"
            part = head.encode() + b"\r\n" + picture + b"\r\n"
            with suppress(OSError):
                self.wfile.write(part if "multipart" in camera.content_type else picture)
            camera.sent += 1
            if camera.closing.wait(1 / camera.fps):
                return

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Quiet."""


class _Rtsp(socketserver.StreamRequestHandler):
    """Just as much of RFC 2326 as a viewer needs, the pictures as MPEG-TS in RTP (RFC 2250)."""

    server: _Server
    answers: ClassVar[dict[str, str]] = {
        "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n",
        "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
        "PLAY": "Session: 1\r\n",
        "TEARDOWN": "Session: 1\r\n",
    }

    def handle(self) -> None:
        camera = self.server.camera
        camera.visits += 1
        while request := self._request():
            method, headers = request
            number = headers.get("cseq", "0")
            if not camera.admits(headers.get("authorization", "")):
                self._answer(
                    f"401 Unauthorized\r\nCSeq: {number}", 'WWW-Authenticate: Basic realm="c"\r\n'
                )
                continue
            if camera.status != 200:
                self._answer(f"{camera.status} No\r\nCSeq: {number}", "")
                return
            if method == "DESCRIBE":
                self._describe(number)
                continue
            self._answer(f"200 OK\r\nCSeq: {number}", self.answers[method])
            if method == "PLAY":
                self._play(camera)
                return
            if method == "TEARDOWN":
                return

    def _request(self) -> tuple[str, dict[str, str]] | None:
        first = self.rfile.readline().decode()
        if not first.strip():
            return None
        headers = {}
        while line := self.rfile.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return first.split()[0], headers

    def _answer(self, status: str, headers: str, body: str = "") -> None:
        self.wfile.write(f"RTSP/1.0 {status}\r\n{headers}\r\n{body}".encode())

    def _describe(self, number: str) -> None:
        body = (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\n"
            f"m=video 0 RTP/AVP {MPEG_TS}\r\na=control:video\r\n"
        )
        headers = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
        self._answer(f"200 OK\r\nCSeq: {number}", headers, body)

    def _play(self, camera: Camera) -> None:
        size = TS_PACKET * TS_IN_A_DATAGRAM
        chunks = [camera.stream[at : at + size] for at in range(0, len(camera.stream), size)]
        rounds = itertools.islice(itertools.cycle(chunks), camera.pictures_a_visit)
        for number, chunk in enumerate(rounds):
            head = struct.pack(">BBHII", 0x80, MPEG_TS, number & 0xFFFF, number * 3600, 1)
            with suppress(OSError):
                self.wfile.write(b"$\x00" + struct.pack(">H", len(head + chunk)) + head + chunk)
            camera.sent += 1
            if camera.closing.wait(1 / camera.fps):
                return


@contextmanager
def served(camera: Camera, *, rtsp: bool = False) -> Iterator[str]:
    """The camera's address without a scheme, as ``127.0.0.1:port/door``."""
    server = _Server(("127.0.0.1", 0), _Rtsp if rtsp else _Mjpeg)
    server.camera = camera
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}/door"
    finally:
        camera.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
