"""The table of a run in a terminal: what it counts, and what it says."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from datetime import UTC, datetime

from rich.console import Console

from rekadapter.cli.live import LiveTable, Meter
from rekadapter.observation import LedgerEntry
from rekadapter.pipeline import LaneStatus
from rekadapter.recognizer import NoLimit, RequestRecord
from rekadapter.types import CameraId
from rekadapter.uplink.pacer import UplinkPacer

LOBBY = CameraId("lobby [1]")
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
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_is_of_the_last_ten_seconds_and_the_bytes_of_all() -> None:
    clock = Clock()
    meter = Meter(clock)
    for _ in range(4):
        meter.record(LedgerEntry(REQUEST, LOBBY, 1))
        clock.now += 4.0
    rate = meter.rate(LOBBY, "cloud")
    assert (rate.calls, rate.sent_bytes) == (4, 50_000)
    assert rate.bits_per_second == 8 * 25_000 / 10
    clock.now += 100.0
    assert meter.rate(LOBBY, "cloud").bits_per_second == 0.0


def test_requests_of_other_cameras_and_backends_are_not_mixed_in() -> None:
    meter = Meter()
    meter.record(LedgerEntry(REQUEST, CameraId("door"), 1))
    meter.record(LedgerEntry(replace(REQUEST, backend="other"), LOBBY, 1))
    meter.record(LedgerEntry(REQUEST))
    assert meter.rate(LOBBY, "cloud").calls == 0
    assert meter.rate(LOBBY, "cloud").round_trip_seconds is None


def shown(table: LiveTable) -> str:
    text = io.StringIO()
    Console(file=text, width=200).print(table.table())
    return text.getvalue()


def test_a_row_says_what_became_of_the_frames_and_what_was_sent() -> None:
    meter = Meter()
    meter.record(LedgerEntry(REQUEST, LOBBY, 1))
    table = LiveTable(meter, NoLimit(), console=Console(file=io.StringIO()))
    status = LaneStatus(
        LOBBY, "cloud", captured=50, gated=30, dropped={"replaced_by_newer": 7}, processed=9
    )
    assert status.under_way == 4
    table.started(LOBBY, 120)
    table.watch(lambda: (status, replace(status, backend="local", dropped={})))
    cloud, local = shown(table).splitlines()[2:4]
    assert cloud.split("│")[0].strip() == "lobby [1]"
    assert [cell.strip() for cell in cloud.split("│")[2:]] == [
        "50 of 120", "30", "4", "9", "7 replaced by newer", "1", "12", "10", "200 ms"
    ]  # fmt: skip
    assert [cell.strip() for cell in local.split("│")[6:]] == ["-", "-", "-", "-", "-"]


def test_the_budget_is_told_where_there_is_one() -> None:
    pacer = UplinkPacer(250_000.0, stop=threading.Event())
    with_one = LiveTable(Meter(), pacer, console=Console(file=io.StringIO()))
    without = LiveTable(Meter(), None, console=Console(file=io.StringIO()))
    assert "ceiling 2,000 kbit/s" in shown(with_one)
    assert "uplink" not in shown(without)
