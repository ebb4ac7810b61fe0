"""AWS's requests per second are kept, from any number of threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.backends.rekognition.limits import (
    OPERATIONS,
    RequestLimiter,
    default_requests_per_second,
)
from tests.rekognition.fakes import FakeClock

RATES = st.floats(0.05, 200, allow_nan=False)


@given(RATES, st.lists(st.floats(0, 3), min_size=1, max_size=120))
def test_no_window_holds_more_than_the_rate_and_none_waits_without_need(
    rate: float, pauses: list[float]
) -> None:
    clock = FakeClock()
    limiter = RequestLimiter({"IndexFaces": rate}, clock=clock, sleep=clock.sleep)
    count = max(1, int(rate))
    starts: list[float] = []
    for pause in pauses:
        clock.pass_time(pause)
        asked = clock.now
        waited = limiter.wait("IndexFaces")
        assert clock.now == pytest.approx(asked + waited)
        if waited > 0:
            assert starts[-count] + count / rate == pytest.approx(clock.now)
        starts.append(clock.now)
    for first, last in zip(starts, starts[count:], strict=False):
        assert last - first >= count / rate - 1e-6


def test_operations_do_not_wait_for_each_other() -> None:
    clock = FakeClock()
    limiter = RequestLimiter({"A": 1.0, "B": 1.0}, clock=clock, sleep=clock.sleep)
    assert [limiter.wait(name) for name in ("A", "B", "unlimited")] == [0, 0, 0]
    assert limiter.wait("A") == 1.0


def test_threads_share_one_limit() -> None:
    clock = FakeClock()
    limiter = RequestLimiter({"A": 10.0}, clock=lambda: 0.0, sleep=clock.sleep)
    with ThreadPoolExecutor(8) as pool:
        waits = sorted(pool.map(lambda _: limiter.wait("A"), range(40)))
    assert waits == [float(second) for second in range(4) for _ in range(10)]


@pytest.mark.parametrize(
    ("operation", "region", "rate"),
    [
        ("SearchFacesByImage", "us-east-1", 50),
        ("SearchFacesByImage", "eu-west-1", 50),
        ("SearchFacesByImage", "eu-central-1", 5),
        ("IndexFaces", "us-west-2", 50),
        ("DetectFaces", "us-west-2", 100),
        ("CompareFaces", "ap-south-1", 25),
        ("CreateCollection", "us-east-1", 5),
        ("DeleteFaces", "us-east-1", 5),
        ("StartFaceSearch", "us-east-1", 5),
        ("GetFaceSearch", "us-east-1", 20),
        ("GetFaceDetection", "eu-central-1", 5),
    ],
)
def test_defaults_are_awss_quotas(operation: str, region: str, rate: float) -> None:
    assert operation in OPERATIONS
    assert default_requests_per_second(operation, region) == rate


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above zero"):
        RequestLimiter({"A": 0.0})
