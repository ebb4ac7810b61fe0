"""Who may try an uplink that is gone, and when it counts as gone."""

from __future__ import annotations

import pytest

from rekadapter.errors import (
    ConnectionFailedError,
    CredentialsError,
    DeadlineExceededError,
    ThrottledError,
)
from rekadapter.uplink.link_watch import PAUSE_SECONDS, SILENCE_SECONDS, LinkWatch, undelivered
from tests.rekognition.fakes import FakeClock


def after_retries(cause: Exception) -> DeadlineExceededError:
    error = DeadlineExceededError("no answer within 60 s")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "gone"),
    [
        (ConnectionFailedError("no route"), True),
        (after_retries(ConnectionFailedError("no route")), True),
        (after_retries(ThrottledError("slower")), False),
        (DeadlineExceededError("of nothing"), False),
        (ThrottledError("slower"), False),
        (CredentialsError("expired"), False),
        (None, False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_who_could_not_be_reached_was_not_delivered_to(
    error: Exception | None,
    gone: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert undelivered(error) is gone


def test_an_uplink_that_is_there_is_used_by_as_many_as_may() -> None:
    watch = LinkWatch(most=3)
    assert not watch.lost
    assert [watch.begin() for _ in range(5)] == [True, True, True, False, False]
    watch.end()
    assert watch.begin()


def test_one_at_a_time_tries_a_lost_one_and_waits_in_between() -> None:
    clock = FakeClock()
    watch = LinkWatch(most=3, clock=clock)
    watch.failed()
    assert watch.lost
    assert not watch.begin()
    clock.pass_time(PAUSE_SECONDS)
    assert [watch.begin() for _ in range(3)] == [True, False, False]
    watch.failed()
    watch.end()
    assert not watch.begin()
    clock.pass_time(PAUSE_SECONDS)
    assert watch.begin()


def test_an_answer_ends_the_outage_at_once() -> None:
    watch = LinkWatch(most=2)
    watch.failed()
    watch.reached()
    assert not watch.lost
    assert [watch.begin() for _ in range(3)] == [True, True, False]


def test_what_the_rate_control_says_counts_before_any_request_has_failed() -> None:
    reachable = [False]
    watch = LinkWatch(reachable=lambda: reachable[0], most=3)
    assert watch.lost
    assert [watch.begin() for _ in range(2)] == [True, False]
    reachable[0] = True
    assert not watch.lost
    assert watch.begin()


def test_a_refusal_is_a_pause_and_no_outage() -> None:
    clock = FakeClock()
    watch = LinkWatch(clock=clock)
    watch.refused()
    assert not watch.lost
    assert not watch.begin()
    clock.pass_time(PAUSE_SECONDS)
    assert watch.begin()


def test_requests_that_nobody_answers_for_long_mean_that_it_is_gone() -> None:
    clock = FakeClock()
    watch = LinkWatch(clock=clock)
    clock.pass_time(10 * SILENCE_SECONDS)
    with watch.asking():
        assert not watch.lost  # nobody was asked before
        clock.pass_time(SILENCE_SECONDS - 1)
        with watch.asking():
            clock.pass_time(2)
            assert watch.lost
            watch.reached()
            assert not watch.lost
            clock.pass_time(SILENCE_SECONDS + 1)
            assert watch.lost
    assert not watch.lost
