"""The rate that follows the link: transitions to the number, laws over simulated links."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rekadapter.uplink.link import LinkRate, Phase
from tests.uplink.simulated_link import Simulation

MEGABIT = 125_000.0
CAP = 2 * MEGABIT


def doing(link: LinkRate) -> Phase:
    return link.phase


def a_round(link: LinkRate, at: float, *, share: float = 1.0, delay: float = 0.02) -> float:
    """Plays a round of 0.25 s in which ``share`` of the rate is sent and arrives ``delay`` after it
    was sent; returns its end."""
    size = int(link.rate * 0.125 * share)
    for half in (0.125, 0.25):
        link.sent(size, now=at)
        link.path_delay(delay, now=at + half)
        link.arrived(size, now=at + half)
    return at + 0.25


def rounds(link: LinkRate, at: float, count: int, **how: float) -> float:
    for _ in range(count):
        at = a_round(link, at, **how)
    return at


def steady(ceiling: float = CAP) -> tuple[LinkRate, float]:
    """A link at its ceiling, and the time."""
    link = LinkRate(ceiling, now=0.0)
    at = rounds(link, 0.0, 4)
    assert (doing(link), link.rate) == (Phase.STEADY, ceiling)
    return link, at


# --- to the number ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ceiling", "expected"),
    [
        (CAP, [32_000, 64_000, 128_000, 250_000, 250_000]),
        (40_000.0, [10_000, 20_000, 40_000, 40_000, 40_000]),
        (4_000.0, [2_000, 4_000, 4_000, 4_000, 4_000]),
    ],
)
def test_it_starts_low_and_doubles_up_to_the_ceiling(ceiling: float, expected: list[int]) -> None:
    link = LinkRate(ceiling, now=0.0)
    seen = [link.rate]
    at = 0.0
    for _ in range(4):
        at = a_round(link, at)
        seen.append(link.rate)
    assert seen == expected
    assert doing(link) is Phase.STEADY


def test_without_a_ceiling_it_starts_low_and_trusts_only_what_arrives() -> None:
    link = LinkRate(math.inf, now=0.0)
    assert link.rate == 32_000
    at = rounds(link, 0.0, 3)
    assert link.rate == 256_000
    # all of it is sent, and a fifth arrives: three times that is less than the rate, which stays
    size = int(link.rate * 0.125)
    for half in (0.125, 0.25):
        link.sent(size, now=at)
        link.arrived(size // 5, now=at + half)
    assert link.rate == 256_000


def test_a_small_queue_is_believed_when_it_is_there_twice() -> None:
    link, at = steady()
    at = a_round(link, at, delay=0.15)
    assert doing(link) is Phase.STEADY
    a_round(link, at, delay=0.15)
    assert doing(link) is Phase.DRAIN
    assert link.rate == pytest.approx(0.75 * CAP, rel=1e-3)


def test_a_clear_queue_is_believed_at_once_and_drained_at_half_the_rate() -> None:
    link, at = steady()
    a_round(link, at, delay=0.4)
    assert doing(link) is Phase.DRAIN
    assert link.rate == pytest.approx(0.5 * CAP, rel=1e-3)


def test_an_empty_queue_ends_draining_just_below_what_was_too_much() -> None:
    link, at = steady()
    at = a_round(link, at, delay=0.4)
    a_round(link, at)
    assert doing(link) is Phase.STEADY
    assert link.rate == pytest.approx(0.95 * CAP, rel=1e-3)


def test_near_the_rate_that_was_too_much_it_grows_gently() -> None:
    link, at = steady(4 * MEGABIT)
    at = a_round(link, at, delay=0.4)
    at = a_round(link, at)
    before = link.rate
    a_round(link, at)
    assert link.rate == pytest.approx(min(4 * MEGABIT, before * 1.05), rel=1e-3)


def test_a_queue_that_half_the_rate_does_not_shrink_is_somebody_elses_and_accepted() -> None:
    link, at = steady()
    at = a_round(link, at, delay=0.4)
    at = rounds(link, at, 8, delay=0.4)
    assert doing(link) is Phase.STEADY
    assert link.rate == pytest.approx(0.85 * CAP, rel=1e-3)
    at = rounds(link, at, 2, delay=0.4)
    assert link.rate > 0.85 * CAP


def test_an_answer_that_takes_longer_is_a_queue_too() -> None:
    link, at = steady()
    for delay in (0.2, 0.2, 0.9, 0.9):
        link.answer_delay(delay, 60_000, now=at)
        at = a_round(link, at)
    assert doing(link) is Phase.DRAIN


def test_silence_with_bytes_on_their_way_is_an_outage_of_a_trickle() -> None:
    link, at = steady()
    link.sent(25_000, now=at)
    link.tick(now=at + 2.9)
    assert doing(link) is Phase.STEADY
    link.tick(now=at + 3.1)
    assert (doing(link), link.rate) == (Phase.OUTAGE, 2_500)


def test_without_acknowledgments_an_upload_on_its_way_is_no_silence() -> None:
    """At 32 kB/s 250 kB arrive after 8 s, and nothing is heard until the answer."""
    link = LinkRate(CAP, now=0.0)
    link.sent(250_000, now=0.0)
    assert link.rate == 32_000
    link.tick(now=18.0)
    assert doing(link) is Phase.STARTUP
    link.tick(now=19.0)
    assert doing(link) is Phase.OUTAGE


def test_a_trickle_of_acknowledgments_is_silence_and_not_a_rate() -> None:
    """Somebody between may take the first bytes of each connection while the link behind is gone.
    A rate cut to that would make the silence before an outage look short, and the way back long."""
    link, at = steady()
    link.sent(60_000, now=at)
    link.tick(now=at + 1.5)
    link.path_delay(2.9, now=at + 2.9)
    link.arrived(1_000, now=at + 2.9)
    link.tick(now=at + 3.1)
    assert (doing(link), link.rate) == (Phase.STEADY, CAP)
    link.tick(now=at + 6.0)
    assert doing(link) is Phase.OUTAGE
    link.arrived(1_000, now=at + 20.0)
    assert (doing(link), link.rate) == (Phase.STARTUP, CAP / 2)


def test_outages_without_an_answer_between_them_do_not_wear_the_rate_down() -> None:
    link, at = steady()
    for _ in range(5):
        link.sent(25_000, now=at)
        link.tick(now=at + 4.0)
        assert doing(link) is Phase.OUTAGE
        at += 10.0
        link.arrived(1_000, now=at)
        assert (doing(link), link.rate) == (Phase.STARTUP, CAP / 2)


def test_after_a_silence_that_was_no_outage_it_doubles_as_at_the_start() -> None:
    link, at = steady()
    for _ in range(7):
        link.sent(62_500, now=at)
        for half in (0.125, 0.25):
            link.path_delay(0.9, now=at + half)
            link.arrived(3_000, now=at + half)
        at += 0.25
    assert doing(link) is Phase.DRAIN
    assert (narrow := link.rate) < CAP / 10
    link.lost(link.in_flight, now=at)
    link.sent(3_000, now=at)
    for second in (1.5, 2.9, 4.4):
        link.arrived(10, now=at + second)
    assert link.rate == narrow
    rounds(link, at + 4.4, 7)
    assert link.rate == CAP


def test_a_link_that_gives_next_to_nothing_for_long_is_slow_and_not_silent() -> None:
    link, at = steady()
    link.sent(60_000, now=at)
    for second in range(1, 13):
        link.path_delay(float(second), now=at + second)
        link.arrived(1_000, now=at + second)
    assert (link.phase is not Phase.OUTAGE, link.rate) == (True, link.floor)


def test_the_first_byte_after_an_outage_brings_half_the_rate_and_doubles() -> None:
    link, at = steady()
    link.sent(25_000, now=at)
    link.tick(now=at + 30.0)
    at += 30.0
    # how long it was under way says how long the outage was, and is no queue
    link.path_delay(30.0, now=at)
    link.arrived(25_000, now=at)
    assert (doing(link), link.rate) == (Phase.STARTUP, 125_000)
    rounds(link, at, 1)
    assert (doing(link), link.rate) == (Phase.STEADY, 250_000)


def test_two_failures_on_a_quiet_link_are_an_outage_and_one_is_not() -> None:
    link, at = steady()
    link.failed(now=at + 1.0)
    assert doing(link) is Phase.STEADY
    link.failed(now=at + 1.1)
    assert doing(link) is Phase.OUTAGE


def test_failures_beside_arrivals_are_the_servers_affair() -> None:
    link, at = steady()
    link.sent(20_000, now=at)
    for _ in range(5):
        link.failed(now=at + 0.01)
        link.arrived(1_000, now=at + 0.02)
    assert doing(link) is not Phase.OUTAGE


def test_a_raised_ceiling_is_grown_into_and_a_lowered_one_holds_at_once() -> None:
    link, at = steady()
    link.limit(1_000_000, now=at)
    assert link.rate == CAP
    at = rounds(link, at, 2)
    assert link.rate == 1_000_000
    link.limit(10_000, now=at)
    assert link.rate == 10_000


@pytest.mark.parametrize("ceiling", [0.0, -1.0, math.nan])
def test_a_ceiling_is_above_zero(ceiling: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        LinkRate(ceiling, now=0.0)


# --- laws -------------------------------------------------------------------------------------

events = st.lists(
    st.tuples(
        st.sampled_from(["sent", "arrived", "lost", "failed", "path", "answer", "tick"]),
        st.integers(0, 200_000),
        st.floats(0.0, 5.0),
    ),
    max_size=80,
)


@given(ceiling=st.floats(100.0, 1e8) | st.just(math.inf), steps=events)
def test_whatever_happens_the_rate_stays_within_its_bounds(
    ceiling: float, steps: list[tuple[str, int, float]]
) -> None:
    link = LinkRate(ceiling, now=0.0)
    now = 0.0
    for what, size, pause in steps:
        now += pause
        tell(link, what, size, now)
        assert 0 < link.rate <= ceiling
        assert link.rate >= link.floor or link.phase is Phase.OUTAGE
        assert link.in_flight >= 0


def tell(link: LinkRate, what: str, size: int, now: float) -> None:
    if what == "sent":
        link.sent(size, now=now)
    elif what == "arrived":
        link.arrived(min(size, link.in_flight), now=now)
    elif what == "lost":
        link.lost(min(size, link.in_flight), now=now)
    elif what == "failed":
        link.failed(now=now)
    elif what == "path":
        link.path_delay(size / 100_000, now=now)
    elif what == "answer":
        link.answer_delay(size / 100_000, size, now=now)
    else:
        link.tick(now=now)


@given(pauses=st.lists(st.floats(0.0, 3600.0), max_size=20))
def test_idling_changes_nothing(pauses: list[float]) -> None:
    link, now = steady()
    for pause in pauses:
        now += pause
        link.tick(now=now)
    assert (link.rate, link.phase) == (CAP, Phase.STEADY)


@given(shares=st.lists(st.floats(0.01, 0.7), min_size=1, max_size=30), below=st.booleans())
def test_using_less_than_the_rate_neither_raises_nor_lowers_it(
    shares: list[float],
    below: bool,  # noqa: FBT001 - drawn
) -> None:
    link, now = steady()
    if below:
        now = a_round(link, now, delay=0.4)
        now = a_round(link, now)
    before = link.rate
    for share in shares:
        now = a_round(link, now, share=share)
    assert link.rate == before


@given(low=st.floats(0.0, 3.0), more=st.floats(0.0, 3.0))
@settings(max_examples=50)
def test_a_longer_queue_never_leaves_a_higher_rate(low: float, more: float) -> None:
    rates = []
    for delay in (low, low + more):
        link, at = steady()
        link.tick(now=at + 10.0)  # time for a delay so long to be one of the present
        rounds(link, at + 10.0, 2, delay=delay)
        rates.append(link.rate)
    assert rates[1] <= rates[0] + 1e-6


# --- over a simulated link --------------------------------------------------------------------


def stepping(now: float) -> float:
    return CAP if now < 15 or now >= 30 else CAP / 4


@pytest.mark.parametrize("acknowledged", [True, False], ids=["acks", "answers only"])
@pytest.mark.parametrize("ceiling", [CAP, math.inf], ids=["capped", "auto"])
def test_a_step_down_and_up_is_followed_within_five_seconds(
    ceiling: float,
    acknowledged: bool,  # noqa: FBT001 - a column of the table
) -> None:
    link = Simulation(stepping, ceiling, acknowledged=acknowledged).run(45)
    assert link.first_time(15, lambda rate: rate <= CAP / 4 * 1.05) <= 5.0
    assert link.first_time(30, lambda rate: rate >= CAP * 0.9) <= 5.0
    assert link.carried(20, 30) >= 0.9 * CAP / 4 * 10
    assert link.carried(35, 45) >= 0.9 * CAP * 10
    # what is known only from answers cannot be told from the service's work below 0.4 s
    assert sum(link.queued[2500:3000]) / 500 <= (0.5 if acknowledged else 1.0) * CAP / 4


@pytest.mark.parametrize("acknowledged", [True, False], ids=["acks", "answers only"])
def test_an_outage_of_thirty_seconds_is_over_within_five(
    acknowledged: bool,  # noqa: FBT001 - a column of the table
) -> None:
    link = Simulation(lambda t: 0.0 if 15 <= t < 45 else CAP, CAP, acknowledged=acknowledged)
    link.run(60)
    assert Phase.OUTAGE in link.phases
    assert link.first_time(45, lambda rate: rate >= CAP * 0.9) <= 5.0
    assert link.carried(50, 60) >= 0.9 * CAP * 10


@pytest.mark.parametrize("others", [0.5, 0.75, 2.0], ids=["half", "three quarters", "all of it"])
def test_other_traffic_takes_its_share_and_does_not_starve_ours(others: float) -> None:
    link = Simulation(lambda _: CAP, CAP, others=lambda t: others * CAP if 10 < t < 40 else 0.0)
    link.run(50)
    beside = link.carried(15, 40) / 25
    assert beside >= 0.05 * CAP
    assert link.carried(45, 50) >= 0.9 * CAP * 5


@given(
    steps=st.lists(st.floats(0.3, 8.0), min_size=2, max_size=4),
    cap=st.floats(0.25, 8.0),
    size=st.integers(5_000, 100_000),
)
@settings(max_examples=12, deadline=None)
def test_no_ten_seconds_carry_more_than_the_cap_and_recovery_follows(
    steps: list[float], cap: float, size: int
) -> None:
    ceiling = cap * MEGABIT

    def gives(now: float) -> float:
        return steps[min(int(now / 12), len(steps) - 1)] * MEGABIT

    link = Simulation(gives, ceiling, request_bytes=size, workers=6)
    link.run(12 * len(steps) + 12)
    window = 1000
    sums = [sum(link.sent[at : at + window]) for at in range(0, len(link.sent) - window, 50)]
    assert max(sums) <= ceiling * 10 * 1.05
    end = link.now
    possible = min(ceiling, gives(end))
    # six requests of this size and a round trip between them are all that is ever offered
    offered = 6 * size / (0.2 + 6 * size / possible)
    assert link.carried(end - 10, end) >= 0.8 * min(possible, offered) * 10
