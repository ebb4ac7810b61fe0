"""A clock that only sleeping moves, a log that keeps, a pacer that notes."""

from __future__ import annotations

import threading

import cv2
import numpy as np

from rekadapter.imaging import Image, encode_jpeg
from rekadapter.recognizer import RequestRecord


class FakeClock:
    """Time that passes only in ``sleep`` and ``pass_time``."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept.append(seconds)
        self.now += seconds

    def pass_time(self, seconds: float) -> None:
        self.now += seconds


class KeptLog:
    """Keeps every record."""

    def __init__(self) -> None:
        self.records: list[RequestRecord] = []
        self._lock = threading.Lock()

    def record(self, request: RequestRecord) -> None:
        with self._lock:
            self.records.append(request)

    def outcomes(self) -> list[str]:
        return [record.outcome for record in self.records]


class KeptPacer:
    """Notes each size asked for; never waits, but may say it did."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.waits: list[float] = []
        self.failure: BaseException | None = None

    def wait_to_send(self, size_bytes: int) -> float:
        if self.failure is not None:
            raise self.failure
        self.sizes.append(size_bytes)
        return self.waits.pop(0) if self.waits else 0.0


def photo(width: int = 320, height: int = 240, seed: int = 1) -> Image:
    """A JPEG of smooth noise: it compresses like a photograph and decodes everywhere."""
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    smooth = np.asarray(cv2.GaussianBlur(noise, (9, 9), 3), dtype=np.uint8)
    return Image.from_bytes(encode_jpeg(Image.from_pixels(smooth), 90))
