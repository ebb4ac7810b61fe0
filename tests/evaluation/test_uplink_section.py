"""The uplink over a run: no byte lost, no byte counted twice, and nothing said without requests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.evaluation.uplink import rate_over_time, uplink_section
from rekadapter.observation import LedgerEntry
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
