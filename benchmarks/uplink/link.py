"""How well the uploader follows a link: its cap, steps, an outage, and shares by weight.

    python benchmarks/uplink/link.py [--rates 0.25,0.5,1,2,8] [--seconds 20] [--only cap,below,...]

The real boto3 backend sends through ``rekadapter.testing.link_relay`` to an HTTP server on loopback
that takes 150 ms for an answer; the relay adds 20 ms each way. Bytes are counted where the relay
reads them, so by neither the uploader nor its kernel. Four workers send JPEGs of 20 kB (crops) or
250 kB (frames) as base64.

* cap: the link is wide; the largest 10 s window against the cap, and how much of it was used.
* below: the cap is 8 Mbit/s and the link gives less; how much of the link was used, and the median
  time from the last byte of a request to its answer (the relay's own queue holds 64 kB).
* step: cap 2 Mbit/s, the link goes 2 -> 0.5 -> 2 Mbit/s.
* outage: cap 2 Mbit/s, the link stalls for 30 s.
* shares: four cameras of weights 1, 1, 2 and 4, one of them with a crowd, on 1 Mbit/s.
* netns: two network namespaces and ``tc tbf``, where root allows it.
"""

from __future__ import annotations

import argparse
import http.server
import itertools
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from rekadapter.backends.rekognition import open_rekognition
from rekadapter.errors import RekadapterError
from rekadapter.imaging import Image, encode_jpeg
from rekadapter.recognizer import BackendContext, FaceSelection, Recognizer, RequestRecord
from rekadapter.testing.link_relay import Arrival, Fault, LinkRelay
from rekadapter.types import GalleryId
from rekadapter.uplink import UplinkPacer

MEGABIT = 125_000.0
SERVICE_SECONDS = 0.15
ANSWER = json.dumps(
    {
        "SearchedFaceBoundingBox": {"Left": 0.2, "Top": 0.2, "Width": 0.5, "Height": 0.5},
        "SearchedFaceConfidence": 99.0,
        "FaceMatches": [],
        "FaceModelVersion": "7.0",
    }
).encode()


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


@dataclass
class Log:
    """Keeps what every request took."""

    records: list[RequestRecord] = field(default_factory=list)

    def record(self, request: RequestRecord) -> None:
        self.records.append(request)


@dataclass
class Bench:
    """A server, a relay before it, and the real backend sending through the real pacer."""

    relay: LinkRelay
    pacer: UplinkPacer
    recognizer: Recognizer
    log: Log
    stop: threading.Event
    began: float
    rates: list[tuple[float, float]] = field(default_factory=list)

    def ask(self, image: Image) -> None:
        self.recognizer.identify(
            GalleryId("bench"),
            image,
            threshold=self.recognizer.capabilities.threshold(80.0),
            faces=FaceSelection.LARGEST,
        )

    def send(self, image: Image, seconds: float, *, workers: int = 4) -> None:
        """Keeps ``workers`` busy for so long; notes the rate as it goes."""
        over = threading.Event()

        def work() -> None:
            while not over.is_set() and not self.stop.is_set():
                with suppress(RekadapterError):
                    self.ask(image)

        crew = [threading.Thread(target=work) for _ in range(workers)]
        for thread in crew:
            thread.start()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.rates.append((time.monotonic(), self.pacer.state().rate))
            time.sleep(0.02)
        over.set()
        self.stop.set()
        for thread in crew:
            thread.join()

    def carried(self, start: float, end: float) -> float:
        """Bytes that came to the relay between two times since the beginning."""
        low, high = self.began + start, self.began + end
        return sum(one.size for one in self.relay.arrivals() if low <= one.at < high)

    def until(self, after: float, holds: Callable[[float], bool]) -> float:
        """Seconds after ``after`` until the rate first is as asked for."""
        start = self.began + after
        return next(
            (at - start for at, rate in self.rates if at >= start and holds(rate)), float("inf")
        )


@contextmanager
def bench(cap: float, link: float = float("inf")) -> Iterator[Bench]:
    server = Server(("127.0.0.1", 0), Service)
    serving = threading.Thread(target=server.serve_forever, args=(0.05,))
    serving.start()
    stop, log = threading.Event(), Log()
    address = ("127.0.0.1", int(server.server_address[1]))
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            LinkRelay(address, rate=link, delay_seconds=0.02) as relay,
        ):
            pacer = UplinkPacer(cap, stop=stop)
            context = BackendContext(
                Path(folder), Path(folder), pacer=pacer, request_log=log, stop=stop
            )
            recognizer = open_rekognition("bench", options(relay.url), context)
            try:
                yield Bench(relay, pacer, recognizer, log, stop, time.monotonic())
            finally:
                recognizer.close()
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def options(url: str) -> dict[str, object]:
    return {
        "endpoint_url": url,
        "unsigned": True,
        "region": "us-east-1",
        "requests_per_second": {"SearchFacesByImage": 1000.0},
    }


def jpeg_of(size: int) -> Image:
    """A JPEG of about ``size`` bytes."""
    noise = np.random.default_rng(1).integers(0, 255, (1080, 1080, 3), dtype=np.uint8)
    smooth = np.asarray(cv2.GaussianBlur(noise, (5, 5), 1.0), dtype=np.uint8)
    side = 1080
    while len(data := encode_jpeg(Image.from_pixels(smooth[:side, :side]), 88)) > size:
        side = int(side * 0.97)
    return Image.from_bytes(data)


def largest_window(arrivals: tuple[Arrival, ...], seconds: float = 10.0) -> float:
    """Most bytes a second in any ``seconds``."""
    most = inside = first = 0
    for one in arrivals:
        inside += one.size
        while arrivals[first].at < one.at - seconds:
            inside -= arrivals[first].size
            first += 1
        most = max(most, inside)
    return most / seconds


def cap(rates: list[float], seconds: float) -> None:
    print(f"\ncap: wide link, {seconds:g} s each, Mbit/s at the relay")
    print("   cap  image   largest 10 s window   mean of all but the first second   requests")
    for rate, size in itertools.product(rates, (20_000, 250_000)):
        with bench(rate * MEGABIT) as at:
            at.send(jpeg_of(size), seconds)
            window = largest_window(at.relay.arrivals()) / MEGABIT
            mean = at.carried(1, seconds) / (seconds - 1) / MEGABIT
        print(
            f"{rate:6.2f} {size // 1000:4d} kB   {window:8.3f} ({window / rate - 1:+.1%})      "
            f"{mean:8.3f} ({mean / rate:.1%})               {len(at.log.records)}"
        )


def below(rates: list[float], seconds: float) -> None:
    print(f"\nbelow: cap 8 Mbit/s, the link gives less, {seconds:g} s each")
    print("  link  image   carried of the link after 5 s   median request, s   its rate")
    for rate, size in itertools.product([r for r in rates if r < 8], (20_000, 250_000)):
        with bench(8 * MEGABIT, rate * MEGABIT) as at:
            at.send(jpeg_of(size), seconds)
            mean = at.carried(5, seconds) / (seconds - 5) / MEGABIT
            took = [one.latency_seconds for one in at.log.records if one.outcome == "ok"]
            settled = statistics.median(rate for when, rate in at.rates if when > at.began + 5)
        median = f"{statistics.median(took):.2f}" if took else "none done"
        print(
            f"{rate:6.2f} {size // 1000:4d} kB   {mean:8.3f} ({mean / rate:.1%})"
            f"              {median:>10}     {settled / MEGABIT:8.2f}"
        )


def step(_rates: list[float], _seconds: float) -> None:
    print("\nstep: cap 2 Mbit/s, the link gives 2, from 10 s on 0.5, from 25 s on 2 again")
    for size in (20_000, 250_000):
        with bench(2 * MEGABIT, 2 * MEGABIT) as at:
            timers = [
                threading.Timer(10, at.relay.set_rate, (0.5 * MEGABIT,)),
                threading.Timer(25, at.relay.set_rate, (2 * MEGABIT,)),
            ]
            for timer in timers:
                timer.start()
            at.send(jpeg_of(size), 40)
            down = at.until(10, lambda rate: rate <= 0.55 * MEGABIT)
            up = at.until(25, lambda rate: rate >= 1.8 * MEGABIT)
            shares = [
                at.carried(start, end) / (end - start) / given / MEGABIT
                for start, end, given in ((1, 10, 2), (15, 25, 0.5), (30, 40, 2))
            ]
        print(
            f"{size // 1000:4d} kB: down after {down:.1f} s, up after {up:.1f} s; used "
            + ", ".join(f"{share:.0%}" for share in shares)
        )


def outage(_rates: list[float], _seconds: float) -> None:
    print("\noutage: cap 2 Mbit/s, the link stalls from 8 s to 38 s")
    for size in (20_000, 250_000):
        with bench(2 * MEGABIT, 2 * MEGABIT) as at:
            timers = [
                threading.Timer(8, at.relay.set_fault, (Fault.STALL,)),
                threading.Timer(38, at.relay.set_fault, (Fault.NONE,)),
            ]
            for timer in timers:
                timer.start()
            at.send(jpeg_of(size), 53)
            noticed = at.until(8, lambda rate: rate < 0.2 * MEGABIT)
            back = at.until(38, lambda rate: rate >= 1.8 * MEGABIT)
            used = at.carried(43, 53) / 10 / MEGABIT / 2
            lost = sum(one.outcome != "ok" for one in at.log.records)
        print(
            f"{size // 1000:4d} kB: noticed after {noticed:.1f} s, at 90 % again {back:.1f} s "
            f"after the link; used from 5 s after it {used:.0%}; requests given up {lost}"
        )


PARTS = {"cap": cap, "below": below, "step": step, "outage": outage}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rates", default="0.25,0.5,1,2,8")
    arguments.add_argument("--seconds", type=float, default=20.0)
    arguments.add_argument("--only", default=",".join(PARTS))
    chosen = arguments.parse_args()
    rates = [float(rate) for rate in chosen.rates.split(",")]
    for name in chosen.only.split(","):
        PARTS[name](rates, chosen.seconds)


if __name__ == "__main__":
    main()
