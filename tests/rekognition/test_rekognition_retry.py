"""One retry policy: jittered, bounded by a deadline, led by the server's hint."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.backends.rekognition.retry import MAX_HINT_SECONDS, Effort, RetryPolicy
from rekadapter.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    RekadapterError,
    ServiceUnavailableError,
    ThrottledError,
)
from tests.rekognition.fakes import FakeClock


class Flaky:
    """Fails as told, then answers; each attempt takes ``seconds`` of the clock."""

    def __init__(
        self,
        clock: FakeClock,
        effort: Effort,
        failures: Iterable[BaseException],
        seconds: float = 0.0,
    ) -> None:
        self._clock = clock
        self._effort = effort
        self._failures = iter(failures)
        self._seconds = seconds

    def __call__(self) -> str:
        self._effort.attempts += 1
        self._clock.pass_time(self._seconds)
        for failure in self._failures:
            raise failure
        return "answer"


def policy(clock: FakeClock, deadline: float = 60.0) -> RetryPolicy:
    return RetryPolicy(deadline, clock=clock, sleep=clock.sleep)


def run(
    clock: FakeClock,
    failures: Iterable[BaseException],
    *,
    deadline: float = 60.0,
    hint: float | None = None,
    seconds: float = 0.0,
) -> tuple[str, Effort]:
    effort = Effort()
    answer = policy(clock, deadline).run(
        Flaky(clock, effort, failures, seconds),
        effort,
        may_retry=lambda error: error.retryable,
        hint_seconds=lambda _: hint,
    )
    return answer, effort


def test_an_answer_at_once_needs_no_wait() -> None:
    clock = FakeClock()
    answer, effort = run(clock, [])
    assert (answer, effort.attempts, clock.slept) == ("answer", 1, [])


@given(st.integers(1, 12))
def test_waits_are_jittered_within_the_exponential_bound_and_counted(failures: int) -> None:
    clock = FakeClock()
    _, effort = run(clock, [ThrottledError("slow")] * failures, deadline=3600)
    assert len(clock.slept) == failures
    for number, wait in enumerate(clock.slept):
        assert 0 <= wait <= min(5.0, 0.2 * 2**number)
    assert effort.attempts == failures + 1
    assert effort.backoff_seconds == pytest.approx(sum(clock.slept))


@pytest.mark.parametrize(("hint", "least"), [(3.0, 3.0), (86_400.0, MAX_HINT_SECONDS), (-1, 0)])
def test_the_servers_hint_is_waited_for_but_bounded(hint: float, least: float) -> None:
    clock = FakeClock()
    run(clock, [ThrottledError("slow")], hint=hint)
    assert least <= clock.slept[0] <= least + 0.2


def test_an_error_that_cannot_pass_is_raised_at_once_as_it_is() -> None:
    clock = FakeClock()
    fault = InvalidRequestError("no")
    with pytest.raises(InvalidRequestError) as raised:
        run(clock, [fault, fault])
    assert raised.value is fault
    assert clock.slept == []


def test_a_fault_of_ours_is_not_retried() -> None:
    clock = FakeClock()
    with pytest.raises(ZeroDivisionError):
        run(clock, [ZeroDivisionError()])
    assert clock.slept == []


@given(st.floats(0.5, 100), st.floats(0.01, 30))
def test_the_deadline_ends_it_with_the_last_failure_as_the_cause(
    deadline: float, seconds: float
) -> None:
    clock = FakeClock()
    failures = (ServiceUnavailableError(str(number)) for number in count())
    with pytest.raises(DeadlineExceededError, match="attempts") as raised:
        run(clock, failures, deadline=deadline, seconds=seconds)
    assert isinstance(raised.value.__cause__, ServiceUnavailableError)
    # no wait ends after the deadline; only the attempt that it leads to may
    assert clock.now - 1000.0 <= deadline + seconds + 1e-6


def test_waiting_for_the_uplink_does_not_eat_the_deadline() -> None:
    clock = FakeClock()
    effort = Effort()
    failures: list[RekadapterError] = [ThrottledError("slow")]

    def attempt() -> str:
        effort.attempts += 1
        clock.pass_time(500.0)
        effort.exempt_seconds += 500.0
        if failures:
            raise failures.pop()
        return "answer"

    answer = policy(clock, deadline=10.0).run(
        attempt, effort, may_retry=lambda error: error.retryable, hint_seconds=lambda _: None
    )
    assert (answer, effort.attempts) == ("answer", 2)
