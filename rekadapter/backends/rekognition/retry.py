"""The one retry policy; botocore's own retries are off, or two policies would multiply.

Exponential backoff with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"): the
n-th wait is drawn evenly from 0 to ``min(cap, base * 2**(n - 1))``. Where the server says how long
to wait, that much is added, up to a bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NoReturn, TypeVar

import tenacity

from rekadapter.errors import DeadlineExceededError, RekadapterError

MAX_HINT_SECONDS: Final = 20.0
"""A server's hint counts up to here, so that a wrong one cannot stop a camera."""

Result = TypeVar("Result")


@dataclass(slots=True)
class Effort:
    """What one call has cost so far; the caller counts attempts and exempt waits into it."""

    attempts: int = 0
    exempt_seconds: float = 0.0
    """waits for the uplink and the request rate, which the deadline does not count"""
    backoff_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Retries until ``deadline_seconds`` after the first attempt began."""

    deadline_seconds: float
    base_seconds: float = 0.2
    cap_seconds: float = 5.0
    clock: Callable[[], float] = field(default=time.monotonic)
    sleep: Callable[[float], None] = field(default=time.sleep)

    def run(
        self,
        attempt: Callable[[], Result],
        effort: Effort,
        *,
        may_retry: Callable[[RekadapterError], bool],
        hint_seconds: Callable[[RekadapterError], float | None],
    ) -> Result:
        """The first result of ``attempt``; an error that may not be retried is raised as it is.

        Raises:
            DeadlineExceededError: the next wait would end after the deadline; the last failure is
                its ``__cause__``.
        """
        started = self.clock()
        try:
            return attempt()  # nearly every call ends here, without tenacity's bookkeeping
        except RekadapterError as error:
            if not may_retry(error):
                raise
            first = [error]

        def replayed() -> Result:
            """tenacity's first attempt is the one that has just failed."""
            if first:
                raise first.pop()
            return attempt()

        def wait(state: tenacity.RetryCallState) -> float:
            hint = hint_seconds(_failure(state)) or 0.0
            return jitter(state) + min(max(hint, 0.0), MAX_HINT_SECONDS)

        def too_late(state: tenacity.RetryCallState) -> bool:
            spent = self.clock() - started - effort.exempt_seconds
            return spent + state.upcoming_sleep > self.deadline_seconds

        def back_off(seconds: float) -> None:
            effort.backoff_seconds += seconds
            self.sleep(seconds)

        jitter = tenacity.wait_random_exponential(self.base_seconds, self.cap_seconds)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_judge(may_retry)),
            wait=wait,
            stop=too_late,
            sleep=back_off,
            retry_error_callback=lambda state: self._give_up(_failure(state), effort),
        )
        return retrying(replayed)

    def _give_up(self, failure: RekadapterError, effort: Effort) -> NoReturn:
        raise DeadlineExceededError(
            f"no answer within {self.deadline_seconds:g} s and {effort.attempts} attempts; "
            f"the last one: {failure} (deadline_seconds sets the time allowed)"
        ) from failure


def _judge(
    may_retry: Callable[[RekadapterError], bool],
) -> Callable[[BaseException], bool]:
    return lambda error: isinstance(error, RekadapterError) and may_retry(error)


def _failure(state: tenacity.RetryCallState) -> RekadapterError:
    failure = state.outcome.exception() if state.outcome else None
    if not isinstance(failure, RekadapterError):
        raise TypeError("only rekadapter's own errors are retried")
    return failure
