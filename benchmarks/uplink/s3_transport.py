"""What an identification takes of the uplink: inside the request as base64, or through a bucket.

    python benchmarks/uplink/s3_transport.py [--sizes 5,10,20,50,250] [--count 20]

The real boto3 backend asks servers on loopback through ``rekadapter.testing.link_relay``, one relay
before Rekognition and one before S3; bytes are counted where the relays read them. Requests are
signed, with a user's keys and with a role's session token of 1,000 characters, which goes with
every request. Plain HTTP: TLS adds a handshake a connection and 22 bytes to each record of 16 kB.

* bytes: upward, per identification (one SearchFacesByImage; through the bucket PutObject and
  DeleteObject too), connections reused.
* seconds: median of one identification after another on a link of 1 Mbit/s and 40 ms there and
  back; the server takes 150 ms for a search and nothing for the bucket.
"""

from __future__ import annotations

import argparse
import http.server
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rig import ANSWER, MEGABIT, SERVICE_SECONDS, jpeg_of

from rekadapter.backends.rekognition import open_rekognition
from rekadapter.imaging import Image
from rekadapter.recognizer import BackendContext, FaceSelection, Recognizer
from rekadapter.testing.link_relay import LinkRelay
from rekadapter.types import GalleryId

TOKEN = "t" * 1000


class Services(http.server.BaseHTTPRequestHandler):
    """Rekognition, which thinks, and S3, which does not; both forget what they are sent."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self._read()
        time.sleep(SERVICE_SECONDS)
        self._say(200, ANSWER)

    def do_PUT(self) -> None:
        self._read()
        self._say(200, b"", etag=True)

    def do_DELETE(self) -> None:
        self._say(204, b"")

    def _read(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))

    def _say(self, status: int, body: bytes, *, etag: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        if etag:
            self.send_header("ETag", '"00"')
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name given
        pass


@dataclass
class Bench:
    """The backend, and the relays before what it asks."""

    recognizer: Recognizer
    relays: tuple[LinkRelay, ...]

    def ask(self, image: Image) -> None:
        self.recognizer.identify(
            GalleryId("bench"),
            image,
            threshold=self.recognizer.capabilities.threshold(80.0),
            faces=FaceSelection.LARGEST,
        )

    def carried(self) -> int:
        return sum(one.size for relay in self.relays for one in relay.arrivals())


@contextmanager
def bench(*, bucket: bool, rate: float = float("inf"), delay: float = 0.0) -> Iterator[Bench]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Services)
    serving = threading.Thread(target=server.serve_forever, args=(0.05,))
    serving.start()
    address = ("127.0.0.1", int(server.server_address[1]))
    try:
        with ExitStack() as open_now:
            folder = Path(open_now.enter_context(tempfile.TemporaryDirectory()))
            one, other = (
                open_now.enter_context(LinkRelay(address, rate=rate, delay_seconds=delay))
                for _ in range(2)
            )
            options: dict[str, object] = {"endpoint_url": one.url, "region": "us-east-1"}
            if bucket:
                place = {"s3_bucket": "a-bucket-for-images", "s3_endpoint_url": other.url}
                options |= {**place, "s3_from_bytes": 0}
            recognizer = open_rekognition("bench", options, BackendContext(folder, folder))
            open_now.callback(recognizer.close)
            yield Bench(recognizer, (one, other))
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def upward(image: Image, count: int, *, bucket: bool) -> float:
    with bench(bucket=bucket) as at:
        for _ in range(count):
            at.ask(image)
        return at.carried() / count


def seconds(image: Image, count: int, *, bucket: bool) -> float:
    took = []
    with bench(bucket=bucket, rate=MEGABIT, delay=0.02) as at:
        for _ in range(count):
            began = time.perf_counter()
            at.ask(image)
            took.append(time.perf_counter() - began)
    return statistics.median(took)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--sizes", default="5,10,20,50,250", help="of the JPEG, in kB")
    arguments.add_argument("--count", type=int, default=20)
    chosen = arguments.parse_args()
    # signed with keys that mean nothing, whatever this machine's settings say
    os.environ |= {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE7EXAMPLE0", "AWS_SECRET_ACCESS_KEY": "s" * 40}
    print("              keys of a user           token of a role")
    print("     JPEG   base64  bucket  change   base64  bucket  change   base64 s  bucket s")
    for size in (int(1000 * float(one)) for one in chosen.sizes.split(",")):
        image = jpeg_of(size)
        line = f"{len(image.encoded or b''):9,d}"
        for token in ("", TOKEN):
            os.environ["AWS_SESSION_TOKEN"] = token
            inside, through = (upward(image, chosen.count, bucket=way) for way in (False, True))
            line += f"  {inside:7,.0f} {through:7,.0f}  {through / inside - 1:+6.1%}"
        times = [seconds(image, chosen.count, bucket=way) for way in (False, True)]
        print(line + "   {:8.2f}  {:8.2f}".format(*times), flush=True)


if __name__ == "__main__":
    main()
