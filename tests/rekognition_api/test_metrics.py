"""Metrics: complete, well formed, and without a word that a client chose."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.rekognition_api.metrics import Exchange, Metrics
from rekadapter.rekognition_api.server import ServerSettings, ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from tests.rekognition_api.signing import NOW, Signed, keyring, sent

SAMPLE = re.compile(
    r"(?P<name>[a-z_]+)(?:\{(?P<labels>(?:[a-z_]+=\"[A-Za-z0-9+.]+\",?)*)\})? (?P<value>[0-9.e+-]+)"
)


def _samples(text: str) -> dict[str, float]:
    """Samples by name and labels; every line has to be one, or a comment of the format."""
    found = {}
    for line in text.splitlines():
        if re.fullmatch(r"# (HELP|TYPE) rekadapter_service_[a-z_]+ .+", line):
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        assert line.rpartition(" ")[0] not in found
        found[line.rpartition(" ")[0]] = float(sample["value"])
    return found


@pytest.fixture
def url() -> Iterator[str]:
    settings = ServerSettings(keys=keyring(), metrics=True)
    app = create_app(RekognitionService(MemoryRecognizer()), settings, clock=lambda: NOW)
    with ServiceServer(app) as server:
        yield server.url


def test_each_request_is_counted_by_operation_and_code(url: str) -> None:
    create = Signed("CreateCollection", b'{"CollectionId": "secret-gallery"}')
    answers = [
        sent(url, one)
        for one in (
            create,
            create,
            Signed("CreateCollection", b"{}", secret="wrong"),
            Signed("ListStreamProcessors"),
            Signed("EvilOperation"),
        )
    ]
    scraped = httpx.get(f"{url}/metrics")
    assert scraped.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = _samples(scraped.text)
    prefix = "rekadapter_service_"
    counted = {
        (operation, code): found.get(
            f'{prefix}requests_total{{operation="{operation}",code="{code}"}}'
        )
        for operation, code in (
            ("CreateCollection", "OK"),
            ("CreateCollection", "ResourceAlreadyExistsException"),
            ("CreateCollection", "InvalidSignatureException"),
            ("ListStreamProcessors", "UnknownOperationException"),
            ("other", "UnknownOperationException"),
        )
    }
    assert set(counted.values()) == {1.0}
    assert sum(value for name, value in found.items() if "requests_total" in name) == len(answers)
    assert found[f'{prefix}refused_total{{code="InvalidSignatureException"}}'] == 1
    assert found[f'{prefix}request_seconds_count{{operation="CreateCollection"}}'] == 3
    assert found[f"{prefix}in_flight"] == 0
    assert found[f"{prefix}received_bytes_total"] == 34 * 2 + 2 * 3
    assert found[f"{prefix}sent_bytes_total"] == sum(len(answer.body) for answer in answers)
    assert "secret-gallery" not in scraped.text
    assert "Evil" not in scraped.text


def test_a_scrape_does_not_count_itself(url: str) -> None:
    httpx.get(f"{url}/metrics")
    assert "requests_total{" not in httpx.get(f"{url}/metrics").text


def test_metrics_are_served_only_where_asked_for() -> None:
    with ServiceServer(create_app(RekognitionService(MemoryRecognizer()))) as server:
        answer = httpx.get(f"{server.url}/metrics")
    assert answer.json()["__type"] == "UnknownOperationException"


def test_buckets_add_up_from_the_smallest() -> None:
    metrics = Metrics(["DetectFaces"])
    for seconds in (0.001, 0.005, 0.3, 99.0):
        metrics.add(Exchange(operation="DetectFaces", seconds=seconds))
    found = _samples(metrics.text(in_flight=3))
    name = 'rekadapter_service_request_seconds_bucket{operation="DetectFaces",le="%s"}'
    assert [found[name % bound] for bound in ("0.005", "0.01", "0.25", "0.5", "30.0", "+Inf")] == [
        2,
        2,
        2,
        3,
        3,
        4,
    ]
    assert found['rekadapter_service_request_seconds_sum{operation="DetectFaces"}'] == 99.306
    assert found["rekadapter_service_in_flight"] == 3
