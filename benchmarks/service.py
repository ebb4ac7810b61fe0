"""What the Rekognition-compatible service costs over calling its recognizer directly.

Run ``python benchmarks/service.py [--backend local]``. The service runs in a process of its own;
direct calls and requests through HTTP alternate on the same images in one run. Target (design): at
most 10 % or 2 ms over, whichever is larger.

"direct" is called in a worker thread, as pipelines and servers call a recognizer. With glibc a
recognizer's large arrays (the memory backend on a 1080p frame) are given back to the system after
each call in one process and kept in another, some milliseconds that are not the service's: set
``MALLOC_TRIM_THRESHOLD_=268435456 MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TOP_PAD_=67108864`` to
measure without them.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import entry_points
from multiprocessing.connection import Connection
from pathlib import Path

import platformdirs

from rekadapter.imaging import Image, encode_jpeg
from rekadapter.recognizer import BackendContext, FaceSelection, Recognizer
from rekadapter.rekognition_api.server import ServerSettings, ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.testing.drawn import DrawnFace, picture, portrait
from rekadapter.testing.material import photo_material
from rekadapter.types import GalleryId, Size

GALLERY = GalleryId("bench")
HEADERS = {
    "Content-Type": "application/x-amz-json-1.1",
    "X-Amz-Target": "RekognitionService.SearchFacesByImage",
}


@dataclass(frozen=True, slots=True)
class Case:
    """A picture with one enrolled face."""

    name: str
    image: bytes

    @property
    def body(self) -> bytes:
        text = base64.b64encode(self.image).decode()
        return json.dumps({"CollectionId": GALLERY, "Image": {"Bytes": text}}).encode()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--backend", default="memory")
    options.add_argument("--calls", type=int, default=60)
    given = options.parse_args()
    cases = _cases(given.backend)
    with tempfile.TemporaryDirectory() as folder:
        recognizer = _opened(given.backend, Path(folder) / "direct", cases)
        parent, child = multiprocessing.Pipe()
        arguments = (given.backend, str(Path(folder) / "served"), cases, child)
        server = multiprocessing.get_context("spawn").Process(target=_serve, args=arguments)
        server.start()
        address = str(parent.recv())
        try:
            for case in cases:
                _compare(recognizer, address, case, given.calls)
            for clients in (1, 8, 64):
                _load(address, cases[0], clients, given.calls)
        finally:
            parent.send("stop")
            server.join()
            recognizer.close()


def _cases(backend: str) -> list[Case]:
    if backend == "memory":
        frame = picture(DrawnFace("ann", 700, 300, 200), size=Size(1920, 1080))
        faces = [("400x400 crop", portrait("ann", side=200)), ("1920x1080 frame", frame)]
    else:
        material = photo_material()
        faces = [("portrait", material.ann), ("two people", material.group)]
    return [Case(name, encode_jpeg(image, 90)) for name, image in faces]


def _opened(backend: str, folder: Path, cases: list[Case]) -> Recognizer:
    factory = entry_points(group="rekadapter.backends")[backend].load()
    cache = Path(platformdirs.user_cache_dir("rekadapter"))
    recognizer: Recognizer = factory(backend, {}, BackendContext(folder, cache))
    recognizer.create_gallery(GALLERY)
    for case in cases:
        recognizer.enroll(GALLERY, Image.from_bytes(case.image), subject=None)
    return recognizer


def _serve(backend: str, folder: str, cases: list[Case], pipe: Connection) -> None:
    recognizer = _opened(backend, Path(folder), cases)
    app = create_app(RekognitionService(recognizer), ServerSettings(max_in_flight=128))
    with ServiceServer(app) as server:
        pipe.send(server.url.removeprefix("http://"))
        pipe.recv()
    recognizer.close()


def _compare(recognizer: Recognizer, address: str, case: Case, calls: int) -> None:
    threshold = recognizer.capabilities.threshold(80.0)
    body = case.body
    connection = http.client.HTTPConnection(address)

    def direct() -> None:
        recognizer.identify(
            GALLERY,
            Image.from_bytes(case.image),
            threshold=threshold,
            faces=FaceSelection.LARGEST,
        )

    def served() -> None:
        _post(connection, body)

    with ThreadPoolExecutor(1) as worker:

        def in_a_thread() -> None:
            worker.submit(direct).result()

        calls_of = {"main thread": direct, "direct": in_a_thread, "served": served}
        for call in [*calls_of.values()] * 3:
            call()
        times: dict[str, list[float]] = {name: [] for name in calls_of}
        for _ in range(calls):
            for name, call in calls_of.items():
                times[name].append(_timed(call))
    connection.close()
    main_thread, base, over = (statistics.median(spent) for spent in times.values())
    print(
        f"{case.name:16} {len(case.image) / 1000:4.0f} kB  direct {base:7.2f} ms "
        f"(main thread {main_thread:7.2f})  served {over:7.2f} ms  over {over - base:+6.2f} ms "
        f"({(over / base - 1) * 100:+.0f} %)  "
        f"target {'met' if over - base <= max(2.0, 0.1 * base) else 'missed'}"
    )


def _load(address: str, case: Case, clients: int, calls: int) -> None:
    body = case.body
    each = max(4, 4 * calls // clients)

    def client(_: int) -> list[float]:
        connection = http.client.HTTPConnection(address)
        times = [_timed(lambda: _post(connection, body)) for _ in range(each)]
        connection.close()
        return times

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        times = [
            spent
            for spent_by_client in pool.map(client, range(clients))
            for spent in spent_by_client
        ]
    seconds = time.perf_counter() - started
    p95 = statistics.quantiles(times, n=20)[18]
    print(
        f"{clients:3} clients  {len(times) / seconds:7.1f} requests/s  "
        f"p50 {statistics.median(times):7.1f} ms  p95 {p95:7.1f} ms"
    )


def _post(connection: http.client.HTTPConnection, body: bytes) -> None:
    connection.request("POST", "/", body, HEADERS)
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 200, text[:200]


def _timed(call: Callable[[], None]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
