"""The command line at a site whose link to a service is cut and mended on command."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rekadapter.imaging import Image, encode_jpeg
from rekadapter.rekognition_api.server import ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.testing.drawn import portrait
from rekadapter.testing.link_relay import Fault, LinkRelay
from rekadapter.types import Detection, SubjectId
from rekadapter.uplink.spooled import SpooledFrame
from tests.pipeline.conftest import GALLERY, Asked, walking

PEOPLE = 18


def patiently(holds: Callable[[], bool]) -> None:
    """Waits for another process, which takes its time to start on a busy machine."""
    for _ in range(9000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never happened")


@dataclass
class Seeing(Asked):
    """Notes every whole picture it was sent: the adapter has the faces of one found first."""

    seen: list[bytes] = field(default_factory=list)

    def detect(self, image: Image, **how: Any) -> Detection:
        with self.lock:
            self.seen.append(image.encoded or b"")
        return self.inner.detect(image, **how)


@dataclass
class Site:
    """A service behind a link, and the command in processes of their own."""

    folder: Path
    relay: LinkRelay
    asked: Seeing

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "from rekadapter.cli import main; main()", *arguments]
        environment = {**os.environ, "REKADAPTER_DATA_DIR": str(self.folder / "data")}
        return subprocess.Popen(  # noqa: S603 - our own program
            command, cwd=self.folder, stderr=subprocess.PIPE, text=True, env=environment
        )

    def killed_once(self, holds: Callable[[], bool], *arguments: str) -> None:
        with self.start(*arguments) as process:
            try:
                patiently(holds)
            finally:
                process.kill()

    @contextmanager
    def cut_once(self, holds: Callable[[], bool]) -> Iterator[None]:
        """The link is gone as soon as ``holds``, until it is mended."""

        def cut() -> None:
            patiently(holds)
            self.relay.set_fault(Fault.DROP)

        thread = threading.Thread(target=cut)
        thread.start()
        try:
            yield
        finally:
            thread.join()

    def mend(self) -> None:
        self.relay.set_fault(Fault.NONE)

    def waiting(self) -> dict[str, bytes]:
        """The picture of each frame that lies in the spool whole, by the frame's key."""
        files = (self.folder / "run" / "spool").rglob("*.frame")
        frames = [SpooledFrame.from_bytes(file.read_bytes()) for file in files]
        return {frame.key: frame.pictures[0].encoded for frame in frames}

    def lines(self, run: str) -> int:
        file = self.folder / run / "observations.jsonl"
        return file.read_bytes().count(b"\n") if file.is_file() else 0


@contextmanager
def site_in(folder: Path) -> Iterator[Site]:
    """A folder of drawn photographs, and the settings of a backend behind the link."""
    asked = Seeing()
    asked.inner.create_gallery(GALLERY)
    asked.inner.enroll(GALLERY, portrait("Ann"), subject=SubjectId("Ann"))
    (folder / "lobby").mkdir()
    for number, image in enumerate(walking("Ann", PEOPLE)):
        (folder / "lobby" / f"{number:02}.jpg").write_bytes(encode_jpeg(image, 90))
    with ServiceServer(create_app(RekognitionService(asked))) as server:
        port = urlsplit(server.url).port
        assert port is not None
        with LinkRelay(("127.0.0.1", port), rate=60_000.0, queue_bytes=16_384) as relay:
            (folder / "rekadapter.toml").write_text(
                f"""
                gallery = "staff"
                [backends.cloud]
                type = "rekognition"
                endpoint_url = "{relay.url}"
                unsigned = true
                region = "us-east-1"
                connect_timeout = 0.5
                read_timeout = 0.5
                deadline_seconds = 0.5
                """
            )
            yield Site(folder, relay, asked)
