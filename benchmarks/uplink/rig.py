"""What the parts of ``link.py`` share: a service, a link before it, and the real backend that sends
through the real pacer."""

from __future__ import annotations

import http.server
import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import cv2
import numpy as np

from rekadapter.backends.rekognition import open_rekognition
from rekadapter.errors import RekadapterError
from rekadapter.imaging import Image, encode_jpeg
from rekadapter.observation import LedgerEntry
from rekadapter.recognizer import BackendContext, FaceSelection, Recognizer, RequestLog
from rekadapter.sinks.ledger import Ledger
from rekadapter.testing.link_relay import Arrival, Fault, LinkRelay
from rekadapter.types import GalleryId
from rekadapter.uplink import UplinkPacer

MEGABIT = 125_000.0
SERVICE_SECONDS = 0.15
_LOOK_SECONDS = 0.02
SEARCHED = {"Left": 0.2, "Top": 0.2, "Width": 0.5, "Height": 0.5}
_FOUND = {"SearchedFaceBoundingBox": SEARCHED, "SearchedFaceConfidence": 99.0, "FaceMatches": []}
_GALLERY = {"FaceCount": 1, "FaceModelVersion": "7.0", "CollectionARN": "arn", "UserCount": 0}
ANSWER = json.dumps({**_GALLERY, **_FOUND}).encode()


class Service(http.server.BaseHTTPRequestHandler):
    """Reads a request, thinks, answers."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(SERVICE_SECONDS)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name given
        pass


class Server(http.server.ThreadingHTTPServer):
    """Says nothing of clients that hang up at the end of a part."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass

    @contextmanager
    def serving(self) -> Iterator[tuple[str, int]]:
        thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield str(self.server_address[0]), int(self.server_address[1])
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class Link(Protocol):
    """A link that can be made narrow, cut and mended, and that counts for itself."""

    url: str

    def set_rate(self, bytes_per_second: float) -> None: ...
    def cut(self) -> None: ...
    def mend(self) -> None: ...
    def look(self) -> None:
        """Called every 20 ms by the thread that measures."""

    def arrivals(self) -> Sequence[Arrival]:
        """Bytes that left the site, in order of time (``time.monotonic``)."""
        ...

    def queued_bytes(self) -> int:
        """In the link's own queue now."""
        ...


OpenLink = Callable[[float], AbstractContextManager[Link]]
"""Opens a link of so many bytes a second, with a service behind it."""


class RelayLink:
    """The loopback relay as a link."""

    def __init__(self, relay: LinkRelay) -> None:
        self._relay = relay
        self.url = relay.url
        self.set_rate = relay.set_rate
        self.arrivals = relay.arrivals

    def cut(self) -> None:
        self._relay.set_fault(Fault.STALL)

    def mend(self) -> None:
        self._relay.set_fault(Fault.NONE)

    def look(self) -> None:
        pass

    def queued_bytes(self) -> int:
        return self._relay.queued_bytes


@contextmanager
def relay_link(rate: float) -> Iterator[Link]:
    with (
        Server(("127.0.0.1", 0), Service).serving() as address,
        LinkRelay(address, rate=rate, delay_seconds=0.02) as relay,
    ):
        yield RelayLink(relay)


@dataclass
class Log:
    """Keeps every request, and for which camera it was made."""

    entries: list[LedgerEntry] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)

    def __post_init__(self) -> None:
        self.ledger.listen(self.entries.append)

    @property
    def seconds(self) -> list[float]:
        """What answered requests took."""
        done = [one.request for one in self.entries if one.request.outcome == "ok"]
        return [one.latency_seconds for one in done]

    @property
    def lost(self) -> int:
        return sum(one.request.outcome != "ok" for one in self.entries)


@dataclass(frozen=True, slots=True)
class Sample:
    """The uplink at a moment: the rate believed, and what stands in the link's queue."""

    at: float
    rate: float
    queued: int


@dataclass
class Rig:
    """The real backend sending through the real pacer over a link."""

    link: Link
    pacer: UplinkPacer
    recognizer: Recognizer
    log: Log
    stop: threading.Event
    began: float
    samples: list[Sample] = field(default_factory=list)

    def ask(self, image: Image) -> None:
        self.recognizer.identify(
            GalleryId("bench"),
            image,
            threshold=self.recognizer.capabilities.threshold(80.0),
            faces=FaceSelection.LARGEST,
        )

    def send(self, image: Image, seconds: float, *, workers: int = 4) -> None:
        """Keeps ``workers`` busy for so long; notes rate and queue as it goes."""
        over = threading.Event()

        def work() -> None:
            while not over.is_set() and not self.stop.is_set():
                with suppress(RekadapterError):
                    self.ask(image)

        crew = [threading.Thread(target=work) for _ in range(workers)]
        for thread in crew:
            thread.start()
        self.watch(seconds)
        over.set()
        self.stop.set()
        for thread in crew:
            thread.join()

    def watch(self, seconds: float) -> None:
        """Notes rate and queue for so long."""
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            self.link.look()
            self.samples.append(Sample(now, self.pacer.state().rate, self.link.queued_bytes()))
            time.sleep(_LOOK_SECONDS)

    def carried(self, start: float, end: float) -> float:
        """Bytes that left between two times since the beginning."""
        low, high = self.began + start, self.began + end
        return sum(one.size for one in self.link.arrivals() if low <= one.at < high)

    def used(self, start: float, end: float, rate: float) -> float:
        """Share of ``rate`` used between two times since the beginning."""
        return self.carried(start, end) / (end - start) / rate

    def until(self, after: float, holds: Callable[[float], bool]) -> float:
        """Seconds after ``after`` until the rate first is as asked for."""
        start = self.began + after
        later = (one for one in self.samples if one.at >= start)
        return next((one.at - start for one in later if holds(one.rate)), float("inf"))

    def between(self, start: float, end: float) -> list[Sample]:
        return [one for one in self.samples if start <= one.at - self.began < end]


@contextmanager
def rig(open_link: OpenLink, cap: float, link: float = float("inf")) -> Iterator[Rig]:
    stop, log = threading.Event(), Log()
    with tempfile.TemporaryDirectory() as folder, open_link(link) as opened:
        pacer = UplinkPacer(cap, stop=stop)
        recognizer = open_backend(opened.url, Path(folder), pacer, log.ledger, stop)
        try:
            yield Rig(opened, pacer, recognizer, log, stop, time.monotonic())
        finally:
            stop.set()
            recognizer.close()


class BulkUpload:
    """Somebody else on the same link: one TCP connection that sends as fast as it may."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._address = (place.hostname or "", place.port or 0)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.sent: list[Arrival] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def carried(self, start: float, end: float) -> int:
        """Bytes handed to the kernel between two times of ``time.monotonic``."""
        return sum(one.size for one in self.sent if start <= one.at < end)

    def _send(self) -> None:
        with suppress(OSError), socket.create_connection(self._address, 5.0) as connection:
            # a small buffer, so that what is handed over is about what leaves
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
            connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n")
            while not self._over.is_set():
                self.sent.append(Arrival(time.monotonic(), connection.send(bytes(4_096))))


def open_backend(
    url: str, folder: Path, pacer: UplinkPacer, log: RequestLog, stop: threading.Event
) -> Recognizer:
    options = {
        "endpoint_url": url,
        "unsigned": True,
        "region": "us-east-1",
        "requests_per_second": {"SearchFacesByImage": 1000.0},
    }
    context = BackendContext(folder, folder, pacer=pacer, request_log=log, stop=stop)
    return open_rekognition("bench", options, context)


def jpeg_of(size: int) -> Image:
    """A JPEG of at most ``size`` bytes, and not much less."""
    noise = np.random.default_rng(1).integers(0, 255, (1080, 1080, 3), dtype=np.uint8)
    smooth = np.asarray(cv2.GaussianBlur(noise, (5, 5), 1.0), dtype=np.uint8)
    side, quality = 1080, 88 if size > 10_000 else 60  # a side below 80 px would be refused
    while len(data := encode_jpeg(Image.from_pixels(smooth[:side, :side]), quality)) > size:
        side = int(side * 0.97)
    return Image.from_bytes(data)


def largest_window(arrivals: Sequence[Arrival], seconds: float = 10.0) -> float:
    """Most bytes a second in any ``seconds``."""
    most = inside = first = 0
    for one in arrivals:
        inside += one.size
        while arrivals[first].at < one.at - seconds:
            inside -= arrivals[first].size
            first += 1
        most = max(most, inside)
    return most / seconds
