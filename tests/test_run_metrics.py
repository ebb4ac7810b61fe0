"""Metrics of a run: what they count, who may read them, and that they end with it."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.cli import jobs
from rekadapter.cli.app import app
from rekadapter.cli.meter import Meter
from rekadapter.cli.run_metrics import MetricsAddress, RunMetrics, served
from rekadapter.cli.session import OpenBackend
from rekadapter.errors import ConfigError, UsageError
from rekadapter.feeds import FeedSpec
from rekadapter.imaging import Image, encode_jpeg
from rekadapter.observation import LedgerEntry
from rekadapter.pipeline import RunOptions
from rekadapter.progress import LaneStatus
from rekadapter.recognizer import FaceSelection, QualityFilter, RequestRecord
from rekadapter.testing.drawn import DrawnFace, picture
from rekadapter.types import CameraId, ComparisonScore, GalleryId, Identification
from rekadapter.uplink.pacer import UplinkPacer

LOBBY = CameraId('lobby "1"\\\n')
REQUEST = RequestRecord(
    backend="cloud",
    operation="SearchFacesByImage",
    started_at=datetime(2026, 11, 1, tzinfo=UTC),
    bytes_sent=12_500,
    bytes_received=900,
    wire_measure="http",
    wait_seconds=0.0,
    latency_seconds=0.2,
    attempts=1,
    outcome="ok",
    price_usd=0.001,
)
_LABEL = r"[a-z]+=\"(\\.|[^\"\\])*\""
SAMPLE = re.compile(rf"rekadapter_run_[a-z_]+(\{{{_LABEL}(,{_LABEL})*\}})? (\+Inf|[0-9.e-]+)")
GALLERY = GalleryId("staff")
HERE = MetricsAddress("127.0.0.1", 0)


def samples(text: str) -> dict[str, float]:
    """Samples by name and labels; every line has to be one, or a comment of the format."""
    found = {}
    for line in text.splitlines():
        if re.fullmatch(r"# (HELP|TYPE) rekadapter_run_[a-z_]+ .+", line):
            continue
        assert SAMPLE.fullmatch(line), line
        name, _, value = line.rpartition(" ")
        assert name not in found
        found[name.removeprefix("rekadapter_run_")] = float(value)
    return found


def test_frames_requests_prices_and_the_link_are_told() -> None:
    meter = Meter()
    meter.record(LedgerEntry(REQUEST, CameraId("door"), 1))
    meter.record(LedgerEntry(replace(REQUEST, price_usd=None, outcome="SlowDown")))
    pacer = UplinkPacer(125_000.0, stop=threading.Event())
    metrics = RunMetrics(meter, pacer.state)
    dropped = {"replaced_by_newer": 7, "spooled": 2}
    status = LaneStatus(CameraId("door"), "cloud", 50, 30, dropped, 7, queued=3)
    metrics.watch(lambda: (status,))
    found = samples(metrics.text())
    door = '{camera="door",backend="cloud"}'
    assert {name: found[name + door] for name in (
        "frames_captured_total", "frames_gated_total", "frames_processed_total", "frames_queued",
        "frames_asked", "frames_spooled", "sent_bytes_total", "received_bytes_total",
        "round_trip_seconds", "price_usd_total", "unpriced_requests_total",
    )} == {
        "frames_captured_total": 50, "frames_gated_total": 30, "frames_processed_total": 7,
        "frames_queued": 3, "frames_asked": 1, "frames_spooled": 2, "sent_bytes_total": 12_500,
        "received_bytes_total": 900, "round_trip_seconds": 0.2, "price_usd_total": 0.001,
        "unpriced_requests_total": 0,
    }  # fmt: skip
    causes = {name: value for name, value in found.items() if name.startswith("frames_dropped")}
    assert causes == {
        'frames_dropped_total{camera="door",backend="cloud",cause="replaced_by_newer"}': 7
    }
    refused = (
        'requests_total{camera="",backend="cloud",operation="SearchFacesByImage",outcome="%s"}'
    )
    assert found[refused % "SlowDown"] == 1
    assert found["uplink_ceiling_bytes_per_second"] == 125_000
    assert found["uplink_rate_bytes_per_second"] > 0
    assert found["uplink_reachable"] == 1


def test_no_ceiling_is_infinite_and_no_uplink_is_not_told() -> None:
    pacer = UplinkPacer(float("inf"), stop=threading.Event())
    found = samples(RunMetrics(Meter(), pacer.state).text())
    assert found["uplink_ceiling_bytes_per_second"] == float("inf")
    assert not [name for name in samples(RunMetrics(Meter(), None).text()) if "uplink" in name]


def test_any_name_of_a_camera_can_be_told() -> None:
    meter = Meter()
    meter.record(LedgerEntry(REQUEST, LOBBY, 1))
    text = RunMetrics(meter, None).text()
    assert samples(text)[r'sent_bytes_total{camera="lobby \"1\"\\\n",backend="cloud"}'] == 12_500


# --- where it is served -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("9100", "127.0.0.1", 9100),
        ("localhost:0", "localhost", 0),
        ("[::1]:9100", "::1", 9100),
        (":9100", "127.0.0.1", 9100),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert MetricsAddress.parse(text) == MetricsAddress(host, port)


@pytest.mark.parametrize("text", ["", "door", "127.0.0.1", "127.0.0.1:65536", "::1:9", "a b:1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        MetricsAddress.parse(text)


def test_others_may_read_only_where_that_is_allowed() -> None:
    with pytest.raises(UsageError, match=r"0\.0\.0\.0.*--metrics-open"):
        MetricsAddress.parse("0.0.0.0:9100")
    assert MetricsAddress.parse("0.0.0.0:9100", open_to_others=True).open_to_others


def test_it_is_read_over_http_by_loopback_names_only() -> None:
    with served(RunMetrics(Meter(), None), HERE) as url:
        answer = httpx.get(url)
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "frames_captured_total" in answer.text
        assert httpx.get(url, headers={"Host": "evil.example"}).status_code == 400
        assert httpx.get(url.removesuffix("/metrics")).status_code == 404
        assert httpx.post(url).status_code == 405


def test_a_port_in_use_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        address = MetricsAddress("127.0.0.1", port)
        with (
            pytest.raises(ConfigError, match=f"127.0.0.1:{port} cannot be served on.*another port"),
            served(RunMetrics(Meter(), None), address),
        ):
            pass


# --- with a run -------------------------------------------------------------------------------


@pytest.fixture
def camera(tmp_path: Path) -> Path:
    folder = tmp_path / "door"
    folder.mkdir()
    for number in range(2):
        image = picture(DrawnFace("ann", 100, 100, 200))
        (folder / f"{number}.jpg").write_bytes(encode_jpeg(image, 90))
    return folder


class Scraping(MemoryRecognizer):
    """Reads the metrics of the run that asks it."""

    def __init__(self) -> None:
        super().__init__()
        self.url = ""
        self.read: list[str] = []

    def identify(
        self,
        gallery: GalleryId,
        image: Image,
        *,
        threshold: ComparisonScore,
        limit: int = 5,
        faces: FaceSelection = FaceSelection.ALL,
        quality: QualityFilter = QualityFilter.NONE,
    ) -> Identification:
        self.read.append(httpx.get(self.url).text)
        return super().identify(
            gallery, image, threshold=threshold, limit=limit, faces=faces, quality=quality
        )


@pytest.fixture
def scraping() -> Iterator[Scraping]:
    recognizer = Scraping()
    recognizer.create_gallery(GALLERY)
    yield recognizer
    recognizer.close()


def test_a_run_is_told_while_it_goes_on_and_leaves_no_thread(
    camera: Path, scraping: Scraping, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    scraping.url = f"http://127.0.0.1:{port}/metrics"
    opened = OpenBackend("cloud", scraping, scraping.capabilities.default_threshold)
    spec = FeedSpec(CameraId("door"), str(camera))
    request = jobs.RunRequest(
        (spec,), GALLERY, tmp_path / "run", "rekadapter run", RunOptions(),
        metrics=MetricsAddress("127.0.0.1", port),
    )  # fmt: skip
    before = set(threading.enumerate())
    jobs.run_opened([opened], jobs.Uplink.capped_at("1Mbit/s"), request)
    assert set(threading.enumerate()) <= before
    told = samples(scraping.read[-1])
    assert told['frames_captured_total{camera="door",backend="cloud"}'] == 2
    assert told["uplink_ceiling_bytes_per_second"] == 125_000
    with pytest.raises(httpx.ConnectError):
        httpx.get(scraping.url)


def test_a_port_in_use_is_said_before_anything_is_asked_or_written(
    camera: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = ["run", str(camera), "-g", "staff", "-b", "memory", "--out", str(out)]
        done = CliRunner().invoke(app, [*command, "--metrics", address])
    assert isinstance(done.exception, ConfigError)
    assert not out.exists()


def test_allowing_others_means_nothing_without_an_address(camera: Path) -> None:
    command = ["run", str(camera), "-g", "staff", "-b", "memory", "--metrics-open"]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, UsageError)
