"""The byte budget: laws of the bucket, and the pacer that makes threads keep to it."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.errors import ConfigError, StoppedError
from rekadapter.uplink import TokenBucket, UplinkPacer, parse_rate, request_budget

sizes = st.integers(0, 5000)
pauses = st.floats(0.0, 20.0)


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
        now += pause
        sent.append((now + bucket.reserve(size, now=now), size))
    for first, (start, _) in enumerate(sent):
        passed = largest = 0
        for end, size in sent[first:]:
            passed += size
            largest = max(largest, size)
            assert passed <= rate * (end - start) + max(burst, largest) + 1e-3


@given(rate=st.floats(1.0, 1e4), steps=st.lists(st.tuples(pauses, sizes), max_size=40))
def test_turns_come_in_the_order_they_were_asked_for(
    rate: float, steps: list[tuple[float, int]]
) -> None:
    bucket = TokenBucket(rate, rate * 0.4, now=0.0)
    now, before = 0.0, 0.0
    for pause, size in steps:
        now += pause
        at = now + bucket.reserve(size, now=now)
        assert at >= max(now, before) - 1e-6
        before = at


@given(
    rate=st.floats(10.0, 1e4),
    burst=st.floats(1.0, 1e4),
    steps=st.lists(st.integers(1, 5000), min_size=1, max_size=40),
)
def test_work_that_is_always_there_uses_the_whole_rate(
    rate: float, burst: float, steps: list[int]
) -> None:
    """The bucket holds nothing back that the rate allows: it owes at most one request."""
    bucket = TokenBucket(rate, burst, now=0.0)
    last = max(bucket.reserve(size, now=0.0) for size in steps)
    assert last <= sum(steps) / rate + 1e-6


def test_a_request_over_the_burst_waits_for_a_full_bucket_and_leaves_a_debt() -> None:
    bucket = TokenBucket(100, 50, now=0.0)
    assert bucket.reserve(30, now=0.0) == 0.0
    assert bucket.reserve(250, now=0.0) == pytest.approx(0.3)
    assert bucket.reserve(10, now=0.3) == pytest.approx(2.1)
    assert bucket.reserve(0, now=2.4) == 0.0


def test_an_idle_uplink_saves_up_no_more_than_the_burst() -> None:
    bucket = TokenBucket(100, 50, now=0.0)
    assert bucket.reserve(50, now=1000.0) == 0.0
    assert bucket.reserve(50, now=1000.0) == pytest.approx(0.5)


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0), (float("nan"), 1)])
def test_a_bucket_needs_a_rate_and_a_burst(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        TokenBucket(rate, burst, now=0.0)


@given(st.floats(1e3, 1e7))
def test_full_budget_requests_stay_within_five_percent_of_any_ten_seconds(rate: float) -> None:
    size = max(1, int(rate * 0.4))
    bucket = TokenBucket(rate, rate * 0.4, now=0.0)
    sent = [bucket.reserve(size, now=0.0) for _ in range(80)]
    for start in sent:
        in_window = sum(size for at in sent if start <= at <= start + 10.0 + 1e-9)
        assert in_window <= rate * 10 * 1.05


def test_the_image_budget_leaves_room_for_base64_and_has_bounds() -> None:
    assert request_budget(250_000) * 4 / 3 <= 100_000
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


class FakeTime:
    """A clock that only waiting moves, a little short each time as real waits may be."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds * 0.9 if seconds > 1e-3 else seconds
        return False


def test_the_pacer_never_lets_a_request_go_early() -> None:
    time, stop = FakeTime(), threading.Event()
    pacer = UplinkPacer(1000, stop=stop, clock=time.clock, wait=time.wait)
    sent = []
    for _ in range(20):
        waited = pacer.wait_to_send(300)
        sent.append(time.now)
        assert waited >= 0
    for number, at in enumerate(sent):
        assert 300 * (number + 1) <= 1000 * (at - 100.0) + 400 + 1e-6


def test_the_pacer_says_how_long_it_held_a_request_back() -> None:
    time, stop = FakeTime(), threading.Event()
    pacer = UplinkPacer(1000, stop=stop, clock=time.clock, wait=time.wait)
    assert pacer.wait_to_send(400) == 0.0
    assert pacer.wait_to_send(200) == pytest.approx(0.2)


def test_stopping_ends_a_wait_and_the_request_is_not_sent() -> None:
    stop = threading.Event()
    pacer = UplinkPacer(1.0, stop=stop)
    outcome: list[Exception] = []

    def send() -> None:
        try:
            pacer.wait_to_send(1_000_000)
            pacer.wait_to_send(1_000_000)
        except StoppedError as error:
            outcome.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    stop.set()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert len(outcome) == 1


def test_after_stop_nothing_is_sent_even_if_there_is_room() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError, match="stopped"):
        UplinkPacer(1e9, stop=stop).wait_to_send(1)


def test_threads_share_one_cap() -> None:
    """Four threads at once: their releases, by the waits they were told, keep the one rate."""
    stop = threading.Event()
    lock = threading.Lock()
    released: list[float] = []
    pacer = UplinkPacer(1000, stop=stop, clock=lambda: 0.0, wait=lambda _: True)

    def send() -> None:
        for _ in range(5):
            waited = pacer.wait_to_send(100)
            with lock:
                released.append(waited)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(round(at, 6) for at in released) == [
        round(max(0.0, (number * 100 - 300) / 1000), 6) for number in range(20)
    ]
