"""The uplink over a run: no byte lost, no byte counted twice, and nothing said without requests."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.evaluation.report import report_html
from rekadapter.evaluation.thumbnails import Thumbnails
from rekadapter.evaluation.uplink import budget_over_time, rate_over_time, uplink_section
from rekadapter.evaluation.uplink_cameras import camera_bars
from rekadapter.observation import LedgerEntry, Run
from rekadapter.recognizer import RequestRecord
from rekadapter.testing.runs import RunBuilder, remote_backend
from rekadapter.types import CameraId

START = datetime(2026, 11, 1, tzinfo=UTC)


def entry(start: float, seconds: float, size: int, backend: str = "cloud") -> LedgerEntry:
    request = RequestRecord(
        backend=backend,
        operation="SearchFacesByImage",
        started_at=START + timedelta(seconds=start),
        bytes_sent=size,
        bytes_received=900,
        wire_measure="http",
        wait_seconds=seconds / 2,
        latency_seconds=seconds / 2,
        attempts=1,
        outcome="ok",
    )
    return LedgerEntry(request, CameraId("lobby"), 1)


entries = st.lists(
    st.builds(
        entry,
        st.floats(0.0, 2_000.0),
        st.floats(0.0, 60.0),
        st.integers(0, 1_000_000),
        st.sampled_from(["cloud", "other"]),
    ),
    min_size=1,
    max_size=20,
)


@given(entries)
def test_every_byte_is_counted_once(made: list[LedgerEntry]) -> None:
    rate = rate_over_time(made, None)
    sent = sum(one.request.bytes_sent for one in made)
    shown = sum(sum(values) for values in rate.backends.values()) * rate.bin_seconds / 8
    assert shown == pytest.approx(sent, abs=1e-3 * len(made), rel=1e-6)
    assert all(len(values) <= 301 for values in rate.backends.values())


@given(entries)
def test_no_window_holds_more_than_everything(made: list[LedgerEntry]) -> None:
    rate = rate_over_time(made, None)
    total = 8 * sum(one.request.bytes_sent for one in made)
    assert rate.highest_window <= total / rate.bin_seconds * (1 + 1e-9) + 1e-6


def test_a_burst_and_a_steady_stream_are_told_apart() -> None:
    burst = rate_over_time([entry(0.0, 1.0, 125_000), entry(29.0, 1.0, 0)], 1e6)
    steady = rate_over_time([entry(0.0, 30.0, 125_000)], 1e6)
    assert burst.highest_window == pytest.approx(100_000)
    assert steady.highest_window == pytest.approx(33_333, rel=0.02)


def test_a_run_without_requests_for_a_camera_has_no_such_section() -> None:
    builder = RunBuilder()
    assert uplink_section(builder.build()) is None
    builder.request("rekognition", None)
    assert uplink_section(builder.build()) is None


def test_the_ages_of_answered_frames_are_told_by_backend() -> None:
    builder = RunBuilder(backends=(remote_backend(),), cameras={"lobby": 4})
    builder.request("rekognition", "lobby")
    run = builder.build()
    aged = tuple(replace(seen, age_seconds=1.0 + seen.frame) for seen in run.observations)
    section = uplink_section(replace(run, observations=aged))
    assert section is not None
    (age,) = section.ages
    assert (age.frames, age.p50_seconds, age.p95_seconds) == (4, 2.0, 4.0)
    assert section.rate.ceiling == 2e6
    assert section.rate_plot is not None
    assert section.age_plot is not None


def test_a_request_on_the_last_edge_is_counted() -> None:
    made = [entry(448.0, 0.0, 0), entry(1756.9149161242929, 0.0, 1)]
    rate = rate_over_time(made, None)
    shown = sum(sum(values) for values in rate.backends.values()) * rate.bin_seconds / 8
    assert shown == pytest.approx(1.0, abs=1e-3)


# --- the budget over time ---------------------------------------------------------------------


def run_with(uplink: str | None, **host: str) -> Run:
    run = RunBuilder(backends=(remote_backend(),), cameras={"lobby": 1}).build()
    record = replace(run.record, settings={"uplink": uplink}, host=host)
    # the first request at 09:59:58 where it is two hours later than by UTC
    began = datetime(2026, 11, 1, 7, 59, 58, tzinfo=UTC)
    moved = [entry(0.0, 4.0, 1_000), entry(3.0, 1.0, 1_000)]
    ledger = [
        replace(
            one, request=replace(one.request, started_at=one.request.started_at - START + began)
        )
        for one in moved
    ]
    return replace(run, record=record, ledger=tuple(ledger))


def budget(run: Run) -> tuple[float, ...] | None:
    return budget_over_time(run, rate_over_time(run.ledger, None))


def test_a_budget_by_the_hour_changes_when_the_hour_does_at_the_cameras() -> None:
    by_hour = "10-18:1Mbit/s, else 4Mbit/s"
    run = run_with(by_hour, utc_offset="+0200")
    assert budget(run) == (4e6, 4e6, 1e6, 1e6, 1e6)
    section = uplink_section(run)
    assert section is not None
    assert by_hour in section.budget
    # drawn: dashes that go from one height to another
    assert section.rate_plot is not None
    assert "budget" in section.rate_plot


@pytest.mark.parametrize(
    ("uplink", "host", "expected", "words"),
    [
        ("10-18:1Mbit/s, else 4Mbit/s", {}, None, "by the hour"),
        ("auto", {}, (float("inf"),) * 5, "followed the link"),
        ("2Mbit/s", {}, (2e6,) * 5, "2,000 kbit/s"),
        (None, {"utc_offset": "+0200"}, None, "No budget was set."),
        ("as fast as it goes", {}, None, "No budget was set."),
    ],
)
def test_a_budget_that_nobody_knows_is_not_drawn(
    uplink: str | None, host: dict[str, str], expected: tuple[float, ...] | None, words: str
) -> None:
    run = run_with(uplink, **host)
    assert budget(run) == expected
    section = uplink_section(run)
    assert section is not None
    assert words in section.budget


# --- by camera --------------------------------------------------------------------------------


def street() -> Run:
    """Two cameras of four frames each; those of the gate are answered late on the whole."""
    builder = RunBuilder(backends=(remote_backend(),), cameras={"lobby": 4, "gate": 4})
    for camera, size in (("gate", 30_000), ("lobby", 10_000), ("lobby", 20_000), (None, 5_000)):
        builder.request("rekognition", camera, bytes_sent=size)
    run = builder.build()
    slower = {"lobby": 1.0, "gate": 2.0}
    aged = tuple(
        replace(seen, age_seconds=slower[seen.camera] * (1 + seen.frame))
        for seen in run.observations
    )
    return replace(run, observations=aged)


def test_bytes_are_told_by_camera_in_the_order_of_the_run() -> None:
    lobby, gate = camera_bars(street()).bytes_sent
    assert (lobby.camera, lobby.bytes_sent, lobby.bytes_a_frame) == ("lobby", 30_000, 7_500)
    assert (gate.camera, gate.bytes_sent) == ("gate", 30_000)
    assert lobby.share + gate.share == 1.0
    assert (lobby.width, gate.width) == (100.0, 100.0)


def test_ages_are_told_by_camera_from_the_median_to_the_95th_percentile() -> None:
    lobby, gate = camera_bars(street()).ages
    assert (lobby.frames, lobby.p50_seconds, lobby.p95_seconds) == (4, 2.0, 4.0)
    assert (gate.p50_seconds, gate.p95_seconds) == (4.0, 8.0)
    assert (lobby.left, lobby.width) == (25.0, 25.0)
    assert (gate.left, gate.width) == (50.0, 50.0)
    assert [tick.label for tick in camera_bars(street()).ticks] == [
        "0 s",
        "2 s",
        "4 s",
        "6 s",
        "8 s",
    ]


def test_what_waited_on_disk_does_not_hide_the_ages_of_the_others() -> None:
    run = street()
    waited = tuple(
        replace(seen, late=True, age_seconds=3600.0) if seen.frame == 3 else seen
        for seen in run.observations
    )
    lobby, _ = camera_bars(replace(run, observations=waited)).ages
    assert (lobby.frames, lobby.p95_seconds) == (3, 3.0)


def test_many_cameras_keep_the_page_small_and_say_so() -> None:
    names = {f"camera {number:03}": 1 for number in range(100)}
    builder = RunBuilder(backends=(remote_backend(),), cameras=names)
    for name in names:
        builder.request("rekognition", name)
    bars = camera_bars(builder.build())
    assert len(bars.bytes_sent) + bars.hidden == 100


def test_the_page_shows_both_charts_with_their_numbers(tmp_path: Path) -> None:
    page = report_html(street(), Thumbnails(tmp_path))
    section = page[page.index('<h2 id="uplink">') : page.index('<h2 id="systems">')]
    text = re.sub(r"<[^>]+>", "", section)
    assert "lobby 30.0 kB, 50 %; 7.5 kB a frame answered" in text
    assert "gate 4.0 s; 95&nbsp;%: 8.0 s (4 frames)" in text
