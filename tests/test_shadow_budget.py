"""A shadow's budget is kept in any hour and in all, to the byte and to the cent."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.errors import ConfigError
from rekadapter.recognizer import RequestRecord
from rekadapter.shadow import BudgetLimits, ShadowBudget, ShadowBudgetError
from rekadapter.shadow.budget import Spent


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def record(sent: int, price: float | None) -> RequestRecord:
    return RequestRecord(
        backend="b",
        operation="DetectFaces",
        started_at=datetime.now(UTC),
        bytes_sent=sent,
        bytes_received=0,
        wire_measure="socket",
        wait_seconds=0,
        latency_seconds=0,
        attempts=1,
        outcome="ok",
        price_usd=price,
    )


def _refused(budget: ShadowBudget, size: int) -> Spent | None:
    try:
        budget.wait_to_send(size)
    except ShadowBudgetError as refusal:
        return refusal.spent
    return None


SENT = st.lists(st.tuples(st.floats(0, 2000), st.integers(0, 400), st.integers(0, 50)), max_size=60)


@given(requests=SENT)
def test_no_hour_has_more_bytes_than_allowed_and_what_the_wire_adds(
    requests: list[tuple[float, int, int]],
) -> None:
    clock = Clock()
    budget = ShadowBudget(BudgetLimits(bytes_per_hour=1000, bytes_in_all=5000), clock=clock)
    sent: list[tuple[float, int]] = []
    for pause, size, more in requests:
        clock.now += pause
        if budget.spent() is not None:
            continue
        if _refused(budget, size) is not None:
            continue
        budget.record(record(size + more, 0.0))
        sent.append((clock.now, size + more))
    for start, _ in sent:
        assert sum(size for at, size in sent if start <= at < start + 3600) <= 1000 + 50
    assert sum(size for _, size in sent) <= 5000 + 50
    assert budget.bytes_sent == sum(size for _, size in sent)


@given(requests=st.lists(st.floats(0, 900), max_size=60))
def test_no_hour_costs_more_than_allowed(requests: list[float]) -> None:
    clock = Clock()
    limits = BudgetLimits(usd_per_hour=0.01, usd_in_all=0.05)
    budget = ShadowBudget(limits, usd_per_request=0.001, clock=clock)
    sent = []
    for pause in requests:
        clock.now += pause
        if (refused := _refused(budget, 100)) is not None:
            assert refused is Spent.PRICE
            continue
        budget.record(record(100, 0.001))
        sent.append(clock.now)
    for start in sent:
        assert len([at for at in sent if start <= at < start + 3600]) <= 10
    assert len(sent) <= 50


def test_ten_calls_of_a_tenth_are_allowed_in_an_hour() -> None:
    clock = Clock()
    limits = BudgetLimits(usd_per_hour=0.01)
    budget = ShadowBudget(limits, usd_per_request=0.001, clock=clock)
    for _ in range(10):
        assert budget.spent() is None
        budget.wait_to_send(1)
        budget.record(record(1, 0.001))
        clock.now += 360
    assert budget.usd_billed == 0.01


def test_calls_are_spread_over_the_hour() -> None:
    clock = Clock()
    budget = ShadowBudget(BudgetLimits(bytes_per_hour=1000), clock=clock)
    budget.wait_to_send(100)
    assert budget.spent() is Spent.BYTES
    clock.now = 359
    assert budget.spent() is Spent.BYTES
    clock.now = 361
    assert budget.spent() is None


def test_a_call_of_several_requests_may_use_more_than_its_share_of_the_hour() -> None:
    budget = ShadowBudget(BudgetLimits(bytes_per_hour=1000), clock=Clock())
    for _ in range(10):
        budget.wait_to_send(100)
    with pytest.raises(ShadowBudgetError, match="byte budget"):
        budget.wait_to_send(1)


def test_what_is_left_in_all_can_be_used_up_and_then_nothing_is_begun() -> None:
    clock = Clock()
    budget = ShadowBudget(BudgetLimits(bytes_in_all=100), clock=clock)
    budget.wait_to_send(100)
    clock.now = 1e9
    assert budget.spent() is Spent.BYTES


def test_retries_of_one_request_are_settled_together() -> None:
    clock = Clock()
    budget = ShadowBudget(BudgetLimits(bytes_in_all=1000), clock=clock)
    for _ in range(3):
        budget.wait_to_send(100)
    budget.record(record(330, 0.001))
    assert budget.bytes_sent == 330
    budget.wait_to_send(670)
    with pytest.raises(ShadowBudgetError):
        budget.wait_to_send(1)


def test_a_price_that_is_not_known_is_counted() -> None:
    budget = ShadowBudget(BudgetLimits())
    budget.wait_to_send(10)
    budget.record(record(10, None))
    assert (budget.usd_billed, budget.requests_of_unknown_price) == (0, 1)


def test_a_budget_in_dollars_needs_a_known_price() -> None:
    with pytest.raises(ConfigError, match="price"):
        ShadowBudget(BudgetLimits(usd_per_hour=1))


@pytest.mark.parametrize("limit", [0, -1, float("nan"), float("inf")])
def test_a_limit_is_above_nothing(limit: float) -> None:
    with pytest.raises(ConfigError):
        BudgetLimits(bytes_per_hour=limit)


def test_without_limits_everything_passes() -> None:
    budget = ShadowBudget(BudgetLimits())
    for _ in range(5):
        assert budget.wait_to_send(10**9) == 0.0
        assert budget.spent() is None
