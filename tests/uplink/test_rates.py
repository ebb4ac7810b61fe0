"""The byte budget: laws of the bucket, sizes and rates."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.errors import ConfigError
from rekadapter.uplink import TokenBucket, parse_rate, request_budget

sizes = st.integers(0, 5000)
pauses = st.floats(0.0, 20.0)


def passed(bucket: TokenBucket, size: int, now: float) -> float:
    """When ``size`` bytes were let through and taken, asked for at ``now``."""
    at = now + bucket.delay(size, now=now)
    bucket.take(size, now=at)
    return at


@given(
    rate=st.floats(1.0, 1e4),
    burst=st.floats(1.0, 3e3),
    steps=st.lists(st.tuples(pauses, sizes), min_size=1, max_size=40),
)
def test_no_interval_carries_more_than_rate_and_burst(
    rate: float, burst: float, steps: list[tuple[float, int]]
) -> None:
    bucket = TokenBucket(rate, burst, now=0.0)
    now, sent = 0.0, []
    for pause, size in steps:
        part = min(size, int(burst))
        now = passed(bucket, part, now + pause)
        sent.append((now, part))
    for first, (start, _) in enumerate(sent):
        total = 0
        for end, size in sent[first:]:
            total += size
            assert total <= rate * (end - start) + burst + 1e-3


@given(
    steps=st.lists(
        st.tuples(st.floats(0.0, 3.0), st.floats(1.0, 1e4), sizes), min_size=1, max_size=30
    )
)
def test_a_changing_rate_carries_no_more_than_its_sum_over_time(
    steps: list[tuple[float, float, int]],
) -> None:
    bucket = TokenBucket(1000.0, 200.0, now=0.0)
    now, rate, allowed, total = 0.0, 1000.0, 200.0, 0
    for pause, changed, size in steps:
        bucket.take(part := min(size, 40), now=(at := now + bucket.delay(part, now=now)))
        allowed += (at - now) * rate + pause * rate
        total += part
        now, rate = at + pause, changed
        bucket.change(rate, 200.0, now=now)
        assert total <= allowed + 1e-3


@given(
    rate=st.floats(10.0, 1e4),
    burst=st.floats(1.0, 1e4),
    steps=st.lists(st.integers(1, 5000), min_size=1, max_size=40),
)
def test_work_that_is_always_there_uses_the_whole_rate(
    rate: float, burst: float, steps: list[int]
) -> None:
    bucket = TokenBucket(rate, burst, now=0.0)
    now = 0.0
    for size in steps:
        now = passed(bucket, size, now)
    assert now <= sum(steps) / rate + 1e-6


def test_more_than_the_burst_waits_for_a_full_bucket_and_leaves_a_debt() -> None:
    bucket = TokenBucket(100, 50, now=0.0)
    assert passed(bucket, 30, 0.0) == 0.0
    assert passed(bucket, 250, 0.0) == pytest.approx(0.3)
    assert bucket.delay(10, now=0.3) == pytest.approx(2.1)


def test_an_idle_uplink_saves_up_no_more_than_the_burst() -> None:
    bucket = TokenBucket(100, 50, now=0.0)
    assert passed(bucket, 50, 1000.0) == 1000.0
    assert bucket.delay(50, now=1000.0) == pytest.approx(0.5)


def test_what_did_not_pass_is_given_back_up_to_the_burst() -> None:
    bucket = TokenBucket(100, 50, now=0.0)
    bucket.take(50, now=0.0)
    bucket.take(-20, now=0.0)
    assert bucket.delay(20, now=0.0) == 0.0
    bucket.take(-500, now=0.0)
    assert bucket.delay(50, now=0.0) == 0.0
    bucket.take(50, now=0.0)
    assert bucket.delay(1, now=0.0) == pytest.approx(0.01)


def test_a_clock_read_a_little_late_gives_nothing_twice() -> None:
    bucket = TokenBucket(100, 50, now=10.0)
    bucket.take(50, now=10.0)
    bucket.take(0, now=9.0)
    assert bucket.delay(50, now=10.0) == pytest.approx(0.5)


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0), (float("nan"), 1)])
def test_a_bucket_needs_a_rate_and_a_burst(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        TokenBucket(rate, burst, now=0.0)


def test_the_image_budget_leaves_room_for_base64_and_has_bounds() -> None:
    assert request_budget(250_000) * 4 / 3 <= 250_000
    assert request_budget(math.inf) == 5_242_880
    assert request_budget(None) == 5_242_880
    assert request_budget(1e9) == 5_242_880
    assert request_budget(1.0) == 8_192


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("2Mbit/s", 250_000),
        ("2 mbit/s", 250_000),
        ("500kbit/s", 62_500),
        ("0.5 Gbit/s", 62_500_000),
        ("800 bit/s", 100),
        ("64kB/s", 64_000),
        ("64KB/s", 64_000),
        ("1.5 MB/s", 1_500_000),
        (" 1e3 kB/s ", 1_000_000),
    ],
)
def test_a_rate_is_read_in_si_units(text: str, rate: float) -> None:
    assert parse_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize(
    "text", ["", "fast", "2", "2Mb/s", "2mB/s", "-1Mbit/s", "0kB/s", "nan MB/s", "infMB/s", "2M"]
)
def test_what_is_no_rate_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(ConfigError, match="kbit/s, Mbit/s"):
        parse_rate(text)
