"""The table of a run in a terminal: what it counts, and what it says."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import UTC, datetime

from rich.console import Console

from rekadapter.cli.live import LiveTable
from rekadapter.cli.meter import Meter
from rekadapter.observation import LedgerEntry
from rekadapter.progress import LaneStatus
from rekadapter.recognizer import NoLimit, RequestRecord
from rekadapter.types import CameraId
from rekadapter.uplink.link import Phase
from rekadapter.uplink.pacer import UplinkState

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


def shown(table: LiveTable, width: int = 150) -> list[list[str]]:
    """Lines, and in each what stands apart."""
    text = io.StringIO()
    Console(file=text, width=width).print(table.table())
    return [re.split(r"  +", line.strip()) for line in text.getvalue().splitlines()]


def table_of(meter: Meter, pacer: object, width: int = 150) -> LiveTable:
    return LiveTable(meter, pacer, console=Console(file=io.StringIO(), width=width))


STATUS = LaneStatus(
    LOBBY, "cloud", 50, gated=30, dropped={"replaced_by_newer": 7}, processed=9, queued=3
)


def test_a_row_says_what_became_of_the_frames_and_what_was_sent() -> None:
    meter = Meter()
    meter.record(LedgerEntry(REQUEST, LOBBY, 1))
    table = table_of(meter, NoLimit())
    assert (STATUS.under_way, STATUS.asked) == (4, 1)
    table.started(LOBBY, 120)
    table.watch(lambda: (STATUS, replace(STATUS, backend="local", dropped={})))
    head, cloud, local, lost = shown(table)
    assert dict(zip(head, cloud, strict=True)) == {
        "camera": "lobby [1]", "backend": "cloud", "seen": "50/120", "gated": "30", "queued": "3",
        "asked": "1", "answered": "9", "dropped": "7", "calls": "1", "sent kB": "12",
        "kbit/s": "10", "trip ms": "200",
    }  # fmt: skip
    assert local[7:] == ["0", "-", "-", "-", "-"]
    assert lost == ["lobby [1], cloud: dropped 7 replaced by newer"]


def test_a_narrow_terminal_shows_whole_numbers_in_fewer_columns() -> None:
    table = table_of(Meter(), NoLimit(), width=80)
    table.started(LOBBY, 1_000_000)
    long = replace(STATUS, camera=CameraId("the door at the far end"), captured=1_000_000)
    table.watch(lambda: (long,))
    head, row, _ = shown(table, width=80)
    names = ["camera", "seen", "gated", "queued", "dropped", "sent kB", "kbit/s", "trip ms"]
    assert head == names
    assert row[1:4] == ["1000000", "30", "3"]


class Uplink:
    """A pacer that has let bytes through."""

    def __init__(self) -> None:
        self.sent = 400_000

    def state(self) -> UplinkState:
        return UplinkState(125_000.0, 250_000.0, Phase.STEADY, 0, self.sent)


def test_the_budget_and_what_is_sent_of_it_is_told_where_there_is_one() -> None:
    clock, uplink = Clock(), Uplink()
    console = Console(file=io.StringIO(), width=150)
    table = LiveTable(Meter(), uplink, console=console, clock=clock)
    shown(table)
    clock.now += 4.0
    uplink.sent += 250_000
    told = " ".join(shown(table)[-1])
    assert told == "uplink: 500 of 1,000 kbit/s allowed now, ceiling 2,000 kbit/s, steady"
    clock.now += 60.0
    assert "uplink: 0 of" in " ".join(shown(table)[-1])
    assert "uplink" not in str(shown(table_of(Meter(), None)))


def test_all_requests_are_told_by_camera_and_operation_with_their_price() -> None:
    meter = Meter()
    meter.record(LedgerEntry(replace(REQUEST, price_usd=0.001), LOBBY, 1))
    meter.record(LedgerEntry(replace(REQUEST, outcome="ThrottlingException"), LOBBY, 2))
    meter.record(LedgerEntry(replace(REQUEST, operation="DescribeCollection", price_usd=0.0)))
    camera, setup = meter.flows()
    assert (camera.camera, camera.backend) == (LOBBY, "cloud")
    assert camera.requests == {
        ("SearchFacesByImage", "ok"): 1,
        ("SearchFacesByImage", "ThrottlingException"): 1,
    }
    assert (camera.sent_bytes, camera.received_bytes) == (25_000, 1_800)
    assert (camera.price_usd, camera.unpriced) == (0.001, 1)
    assert setup.camera is None
    assert setup.requests == {("DescribeCollection", "ok"): 1}
