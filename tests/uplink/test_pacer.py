"""The pacer: threads keep to the budget inside a body, in order of arrival, and end when told."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rekadapter.errors import StoppedError
from rekadapter.recognizer import BodyPacer
from rekadapter.uplink import PacedUpload, Phase, Schedule, UplinkPacer

RATE = 250_000.0
MIDDAY = datetime(2026, 5, 1, 12, 0)  # noqa: DTZ001 - a local time of day is what a schedule is about


class FakeTime:
    """A clock that only waiting moves, a little short each time as real waits may be."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []
        self.local = MIDDAY

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds * 0.9 if seconds > 1e-3 else seconds
        return False

    def pacer(self, ceiling: float | Schedule = RATE) -> UplinkPacer:
        return UplinkPacer(
            ceiling,
            stop=threading.Event(),
            clock=self.clock,
            wait=self.wait,
            local_time=lambda: self.local,
        )


def all_arrived() -> int:
    return 0


def send(pacer: UplinkPacer, size: int, clock: Callable[[], float]) -> list[tuple[float, int]]:
    """Sends a request slice by slice, each acknowledged at once; when and how much."""
    upload, slices, left = pacer.begin(all_arrived), [], size
    while left:
        part = upload.turn(left)
        slices.append((clock(), part))
        left -= part
    upload.answered()
    upload.end(size)
    return slices


def test_it_paces_bodies() -> None:
    assert isinstance(FakeTime().pacer(), BodyPacer)


@given(
    sizes=st.lists(st.integers(1, 2_000_000), min_size=1, max_size=8),
    rate=st.floats(4_000.0, 4e6),
    pauses=st.lists(st.floats(0.0, 30.0), min_size=8, max_size=8),
)
@settings(max_examples=25, deadline=None)
def test_every_ten_seconds_stay_within_the_cap_and_five_percent(
    sizes: list[int], rate: float, pauses: list[float]
) -> None:
    time = FakeTime()
    pacer = time.pacer(rate)
    sent: list[tuple[float, int]] = []
    for size, pause in zip(sizes, pauses, strict=False):
        time.now += pause
        sent += send(pacer, size, time.clock)
    first, inside = 0, 0
    for at, size in sent:
        inside += size
        while sent[first][0] < at - 10.0:
            inside -= sent[first][1]
            first += 1
        assert inside <= rate * 10 * 1.05 + 1
    assert sum(size for _, size in sent) == sum(sizes)


def test_a_large_body_is_spread_over_its_time_and_uses_the_whole_rate() -> None:
    time = FakeTime()
    pacer = time.pacer()
    send(pacer, 1_000_000, time.clock)  # start-up is over
    began = time.now
    sent = send(pacer, 2_500_000, time.clock)
    assert 2_500_000 / RATE * 0.97 <= time.now - began <= 2_500_000 / RATE * 1.03
    assert max(size for _, size in sent) <= RATE * 0.05
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(sent)]
    assert max(gaps) <= 0.2


def test_encryption_and_handshakes_are_paid_for_and_what_was_not_sent_is_not() -> None:
    time = FakeTime()
    pacer = time.pacer()
    send(pacer, 1_000_000, time.clock)
    time.now += 10
    upload = pacer.begin(all_arrived)
    assert upload.turn(10_000) == 10_000
    upload.answered()
    upload.end(10_000 + 100_000)
    before = pacer.state().sent
    later = pacer.begin(all_arrived)
    later.turn(10_000)
    assert later.waited_seconds == pytest.approx((100_000 + 20_000 - 50_000) / RATE, rel=0.1)
    later.end(4_000)
    assert pacer.state().sent == before + 4_000


def test_a_whole_request_waits_until_all_of_it_may_go() -> None:
    time = FakeTime()
    pacer = time.pacer()
    pacer.wait_to_send(1_000_000)
    began = time.now
    waited = pacer.wait_to_send(250_000)
    assert waited == pytest.approx(time.now - began)
    assert waited == pytest.approx(1.0, rel=0.1)


def test_the_hour_changes_the_cap() -> None:
    time = FakeTime()
    pacer = time.pacer(Schedule.parse("08-18:1Mbit/s, else 4Mbit/s"))
    send(pacer, 500_000, time.clock)
    assert pacer.state().rate == 125_000
    time.local, time.now = MIDDAY.replace(hour=18), time.now + 2
    send(pacer, 2_000_000, time.clock)
    assert (pacer.state().rate, pacer.state().ceiling) == (500_000, 500_000)
    time.local, time.now = MIDDAY.replace(hour=9), time.now + 2
    assert pacer.state().rate == 125_000


def test_answers_that_stay_away_make_the_uplink_unreachable_until_one_comes() -> None:
    time = FakeTime()
    pacer = time.pacer()
    send(pacer, 500_000, time.clock)
    upload = pacer.begin(all_arrived)
    upload.turn(1_000)
    time.now += 10
    assert not pacer.state().reachable
    upload.answered()
    state = pacer.state()
    assert (state.reachable, state.phase, state.in_flight) == (True, Phase.STARTUP, 0)


def test_the_older_upload_gets_the_next_slice() -> None:
    """Once the older one has asked, the younger one gets nothing until the older one is done."""
    pacer = UplinkPacer(1e6, stop=threading.Event())
    order: list[str] = []
    young_runs = threading.Event()
    old, young = pacer.begin(all_arrived), pacer.begin(all_arrived)

    def run(upload: PacedUpload, name: str, left: int) -> None:
        while left:
            left -= upload.turn(left)
            order.append(name)
            young_runs.set()

    younger = threading.Thread(target=run, args=(young, "young", 400_000))
    younger.start()
    assert young_runs.wait(10)
    run(old, "old", 200_000)
    younger.join(10)
    assert not younger.is_alive()
    first, last = order.index("old"), len(order) - 1 - order[::-1].index("old")
    # a slice that the young one was granted just before may be noted just after
    assert order[first : last + 1].count("young") <= 2


def test_a_stuck_connection_does_not_hold_up_the_others() -> None:
    time = FakeTime()
    pacer = time.pacer()
    stuck = pacer.begin(all_arrived)
    stuck.turn(100_000)
    assert sum(size for _, size in send(pacer, 100_000, time.clock)) == 100_000


def test_stopping_ends_the_waits_of_all_threads() -> None:
    stop = threading.Event()
    pacer = UplinkPacer(100.0, stop=stop)
    outcome: list[Exception] = []
    lock = threading.Lock()

    def wait() -> None:
        try:
            pacer.wait_to_send(1_000_000)
        except StoppedError as error:
            with lock:
                outcome.append(error)

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    stop.set()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert len(outcome) == 4


def test_after_stop_nothing_is_sent_even_if_there_is_room() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError, match="stopped"):
        UplinkPacer(1e9, stop=stop).wait_to_send(1)
    with pytest.raises(StoppedError, match="stopped"):
        UplinkPacer(1e9, stop=stop).begin(all_arrived).turn(1)


def test_threads_share_one_cap() -> None:
    """Four threads at once and no wait that lasts: what passed by the clock keeps the one rate."""
    time = FakeTime()
    lock = threading.Lock()
    pacer = time.pacer(10_000.0)
    total: list[int] = []

    def run() -> None:
        for _ in range(5):
            sent = send(pacer, 1_000, time.clock)
            with lock:
                total.extend(size for _, size in sent)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sum(total) == 20_000
    # at most the burst above the rate, and never before its time
    assert time.now - 100.0 >= (20_000 - 0.2 * 10_000) / 10_000 - 1e-6
