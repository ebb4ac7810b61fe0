"""What the adapter costs over plain boto3: the same SearchFacesByImage, the same loopback server.

    python benchmarks/adapter_cost.py [--calls 2000] [--server-ms 0]

Every side sends the same JPEG with the same parameters and reads the same answer; calls alternate,
so that all meet the same machine. Printed: median latency of each and its ratio to plain boto3.
``--server-ms`` makes the server take that long to answer, as a real one does.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import select
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import boto3
import cv2
import numpy as np

from rekadapter.backends.rekognition import open_rekognition
from rekadapter.imaging import Image, encode_jpeg
from rekadapter.recognizer import BackendContext, FaceSelection
from rekadapter.types import GalleryId

WARM_UP = 60

ANSWER = {
    "SearchedFaceBoundingBox": {"Left": 0.25, "Top": 0.25, "Width": 0.5, "Height": 0.5},
    "SearchedFaceConfidence": 99.9,
    "FaceMatches": [
        {
            "Similarity": 99.5 - number,
            "Face": {
                "FaceId": f"{number:08x}-0000-4000-8000-000000000000",
                "ImageId": f"{number:08x}-0000-4000-8000-0000000000ff",
                "ExternalImageId": f"subject-{number}",
                "BoundingBox": {"Left": 0.1, "Top": 0.2, "Width": 0.3, "Height": 0.4},
                "Confidence": 99.9,
            },
        }
        for number in range(5)
    ],
    "FaceModelVersion": "7.0",
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--calls", type=int, default=2000)
    arguments.add_argument("--server-ms", type=float, default=0.0)
    chosen = arguments.parse_args()
    receiver, sender = multiprocessing.Pipe(duplex=False)
    server = multiprocessing.Process(
        target=serve, args=(sender, chosen.server_ms / 1000), daemon=True
    )
    server.start()
    try:
        compare(f"http://127.0.0.1:{receiver.recv()}", chosen.calls)
    finally:
        server.terminate()
        server.join()


def compare(url: str, calls: int) -> None:
    # credentials that nobody checks; AWS's own settings may hold none here
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "for-the-loopback-server-only")
    with tempfile.TemporaryDirectory() as folder:
        context = BackendContext(Path(folder), Path(folder))
        options = {
            "endpoint_url": url,
            "region": "us-east-1",
            "requests_per_second": {"SearchFacesByImage": 1_000_000},
        }
        adapter = open_rekognition("adapter", options, context)
        plain = boto3.client("rekognition", endpoint_url=url, region_name="us-east-1")
        jpeg = photograph()
        image = Image.from_bytes(jpeg)
        threshold = adapter.capabilities.threshold(80.0)

        def identify(probe: Image) -> None:
            adapter.identify(
                GalleryId("bench"), probe, threshold=threshold, faces=FaceSelection.LARGEST
            )

        def by_boto3() -> None:
            plain.search_faces_by_image(
                CollectionId="bench",
                Image={"Bytes": jpeg},
                FaceMatchThreshold=80.0,
                MaxFaces=5,
                QualityFilter="NONE",
            )

        sides = {
            "plain boto3": by_boto3,
            "rekadapter": lambda: identify(image),
            "rekadapter, and the image read from its bytes": lambda: identify(
                Image.from_bytes(jpeg)
            ),
        }
        taken = interleaved(sides, calls)
        adapter.close()
        plain.close()
    theirs = statistics.median(taken["plain boto3"])
    print(f"{calls} calls each, a JPEG of {len(jpeg)} bytes; medians")
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        print(f"{median * 1000:8.3f} ms   ratio {median / theirs:.3f}   {name}")


def interleaved(sides: Mapping[str, Callable[[], None]], calls: int) -> dict[str, list[float]]:
    """Latencies of each side in seconds, taken in turns that each side leads as often."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(calls + WARM_UP):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            started = time.perf_counter()
            sides[name]()
            taken[name].append(time.perf_counter() - started)
    return {name: seconds[WARM_UP:] for name, seconds in taken.items()}


def photograph() -> bytes:
    """A JPEG of about 20 kB, as a face's crop has."""
    noise = np.random.default_rng(1).integers(0, 255, (320, 240, 3), dtype=np.uint8)
    smooth = np.asarray(cv2.GaussianBlur(noise, (7, 7), 1.5), dtype=np.uint8)
    return encode_jpeg(Image.from_pixels(smooth), 88)


def serve(port: Connection, delay: float) -> None:
    """One answer for everything, written by hand: the server shall cost as little as it can."""
    body = json.dumps(ANSWER).encode()
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\n"
        b"x-amzn-RequestId: 11111111-2222-4333-8444-555555555555\r\n"
        b"Date: Mon, 23 Nov 2026 12:00:00 GMT\r\n"
        b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port.send(listener.getsockname()[1])
        buffers: dict[socket.socket, bytes] = {}
        while True:
            accept_and_answer(listener, buffers, answer, delay)


def accept_and_answer(
    listener: socket.socket, buffers: dict[socket.socket, bytes], answer: bytes, delay: float
) -> None:
    ready, _, _ = select.select([listener, *buffers], [], [])
    for one in ready:
        if one is listener:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            buffers[connection] = b""
            continue
        data = one.recv(1 << 20)
        if not data:
            del buffers[one]
            one.close()
            continue
        buffers[one] += data
        if complete(buffers[one]):
            buffers[one] = b""
            time.sleep(delay)
            one.sendall(answer)


def complete(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    if not end:
        return False
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return len(body) >= int(length or b"0")


if __name__ == "__main__":
    main()
