"""The outbox: bounded, fair over cameras, closable; nothing is lost without being handed back."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.uplink import Outbox

WAIT_SECONDS = 10.0


def finished(thread: threading.Thread) -> bool:
    thread.join(WAIT_SECONDS)
    return not thread.is_alive()


def test_turns_count_each_camera_without_a_gap() -> None:
    outbox = Outbox[int]({"a": 1.0, "b": 1.0}, capacity=3)
    for item in range(3):
        assert outbox.put("a", item)
        assert outbox.put("b", item + 10)
    taken = [outbox.take() for _ in range(6)]
    for camera in ("a", "b"):
        turns = [(one.turn, one.item) for one in taken if one and one.camera == camera]
        assert [turn for turn, _ in turns] == [0, 1, 2]
        assert [item for _, item in turns] == sorted(item for _, item in turns)


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=60), st.integers(1, 4))
def test_a_waiting_camera_is_served_within_one_round(offers: str, capacity: int) -> None:
    cameras = "abcd"
    outbox = Outbox[int](dict.fromkeys(cameras, 1.0), capacity=capacity)
    waiting: Counter[str] = Counter()
    passed_over: Counter[str] = Counter()
    for step, camera in enumerate(offers):
        if outbox.replace(camera, step) is None:
            waiting[camera] += 1
        if step % 3:
            continue
        taken = outbox.take()
        assert taken is not None
        waiting[taken.camera] -= 1
        passed_over[taken.camera] = 0
        for other in cameras:
            if waiting[other] and other != taken.camera:
                passed_over[other] += 1
                assert passed_over[other] <= len(cameras) - 1


def test_a_heavier_camera_gets_its_larger_share() -> None:
    outbox = Outbox[int]({"heavy": 3.0, "light": 1.0}, capacity=100)
    for item in range(100):
        outbox.put("heavy", item)
        outbox.put("light", item)
    served = Counter(taken.camera for _ in range(80) if (taken := outbox.take()))
    assert 58 <= served["heavy"] <= 62


def test_an_idle_camera_does_not_catch_up() -> None:
    outbox = Outbox[int]({"busy": 1.0, "idle": 1.0}, capacity=100)
    for item in range(50):
        outbox.put("busy", item)
    for _ in range(40):
        outbox.take()
    for item in range(10):
        outbox.put("idle", item)
    first = [taken.camera for _ in range(6) if (taken := outbox.take())]
    assert Counter(first)["busy"] >= 2


def test_the_newest_wins_and_what_it_displaced_is_handed_back() -> None:
    outbox = Outbox[str]({"a": 1.0}, capacity=2)
    assert outbox.replace("a", "one") is None
    assert outbox.replace("a", "two") is None
    assert outbox.replace("a", "three") == "one"
    taken = outbox.take()
    assert taken is not None
    assert taken.item == "two"


def test_put_waits_for_room_and_loses_nothing() -> None:
    outbox = Outbox[int]({"a": 1.0}, capacity=1)
    accepted: list[bool] = []
    thread = threading.Thread(target=lambda: accepted.extend(outbox.put("a", n) for n in range(50)))
    thread.start()
    items = [taken.item for _ in range(50) if (taken := outbox.take())]
    assert finished(thread)
    assert items == list(range(50))
    assert all(accepted)


def test_closing_lets_the_rest_out_and_then_ends() -> None:
    outbox = Outbox[int]({"a": 1.0})
    outbox.put("a", 1)
    outbox.close()
    assert not outbox.put("a", 2)
    assert outbox.replace("a", 3) == 3
    assert not outbox.exhausted
    assert outbox.take() is not None
    assert outbox.exhausted
    assert outbox.take() is None


def test_abandoning_hands_back_what_nobody_took_and_wakes_who_waits() -> None:
    outbox = Outbox[int]({"a": 1.0, "b": 1.0}, capacity=1)
    outbox.put("a", 1)
    outcome: list[bool] = []
    putting = threading.Thread(target=lambda: outcome.append(outbox.put("a", 2)))
    putting.start()
    left = outbox.abandon()
    assert finished(putting)
    # The second put either found room after the hand-back and was refused, or waited and was.
    assert outcome == [False]
    assert left == (("a", 1),)
    assert outbox.abandon() == ()


def test_closing_wakes_a_worker_that_waits() -> None:
    outbox = Outbox[int]({"a": 1.0})
    taking = threading.Thread(target=outbox.take)
    taking.start()
    outbox.close()
    assert finished(taking)


def test_take_gives_up_when_time_is_up() -> None:
    assert Outbox[int]({"a": 1.0}).take(0.001) is None


def test_a_camera_with_too_much_in_hand_is_passed_over_until_some_is_settled() -> None:
    outbox = Outbox[int]({"a": 1.0, "b": 1.0}, capacity=5, in_hand=2)
    for item in range(4):
        outbox.put("a", item)
    outbox.put("b", 10)
    taken = [outbox.take(0.001) for _ in range(4)]
    assert [one and one.item for one in taken] == [0, 10, 1, None]
    outbox.close()
    assert not outbox.exhausted
    outbox.settle("a")
    last = outbox.take()
    assert last is not None
    assert (last.turn, last.item) == (2, 2)


def test_a_slot_holds_at_least_one() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Outbox[int]({"a": 1.0}, capacity=0)
