"""A fake AWS on loopback and recognizers that talk to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rekadapter.backends.rekognition import open_rekognition
from rekadapter.recognizer import BackendContext, Pacer, Recognizer
from tests.rekognition.fake_aws import FakeAws
from tests.rekognition.fakes import KeptLog, KeptPacer

Opened = Callable[..., Recognizer]


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    server = FakeAws()
    yield server
    server.close()


@pytest.fixture
def log() -> KeptLog:
    return KeptLog()


@pytest.fixture
def pacer() -> KeptPacer:
    return KeptPacer()


@pytest.fixture
def open_on(
    aws: FakeAws, log: KeptLog, pacer: Pacer, tmp_path: Path
) -> Iterator[Callable[..., Recognizer]]:
    """Opens the real backend on the fake AWS; options by keyword."""
    opened: list[Recognizer] = []

    def open_backend(**options: object) -> Recognizer:
        context = BackendContext(tmp_path, tmp_path, pacer=pacer, request_log=log)
        recognizer = open_rekognition("cloud", {"endpoint_url": aws.url, **options}, context)
        opened.append(recognizer)
        return recognizer

    yield open_backend
    for recognizer in opened:
        recognizer.close()


@pytest.fixture
def cloud(open_on: Callable[..., Recognizer]) -> Recognizer:
    return open_on()
