"""Cost: closed-form sums; what is not known is named and never taken for zero."""

from __future__ import annotations

from datetime import date

import pytest

from rekadapter.evaluation.cost import cost_section, total_usd
from rekadapter.evaluation.evaluate import evaluated
from rekadapter.evaluation.record import EvaluationRecord, PriceEntry, PriceTier
from rekadapter.evaluation.results import CostResult
from rekadapter.evaluation.rules import CostInputs, Requirements, Rules
from rekadapter.evaluation.synthetic import ScoreModel, SearchDesign
from rekadapter.testing.evaluations import made_up_evaluation

SEARCHES = PriceEntry(
    item="image",
    unit="image",
    operations=("SearchFacesByImage",),
    tiers=(PriceTier(usd=0.001, up_to=1_000_000), PriceTier(usd=0.0008, up_to=5_000_000)),
    source="a test",
    as_of=date(2026, 1, 2),
)
FACES = PriceEntry(
    item="face",
    unit="face and month",
    operations=("storage",),
    tiers=(PriceTier(usd=0.00001),),
    source="a test",
    as_of=date(2026, 1, 2),
)
LOCAL_INPUTS = {
    "hardware_usd": 3600.0,
    "power_usd_per_month": 20.0,
    "licence_usd_per_month": 0.0,
    "admin_hours_per_month": 4.0,
    "admin_usd_per_hour": 70.0,
}


def a_record(inputs: CostInputs) -> EvaluationRecord:
    design = SearchDesign(gallery=4, mated_people=4, nonmated_people=4)
    models = {"cloud": ScoreModel(), "box": ScoreModel()}
    record = made_up_evaluation(
        design, models, default_threshold=0.4, rules=Rules(cost=inputs)
    ).record
    cloud, box = record.systems
    priced = cloud.model_copy(update={"remote": True, "prices": (SEARCHES, FACES)})
    return record.model_copy(update={"systems": (priced, box)})


def cost_of(**inputs: float) -> CostResult:
    return cost_section(a_record(CostInputs.model_validate(inputs)), (), (), ())


@pytest.mark.parametrize(
    ("units", "usd"),
    [(0, 0.0), (1000, 1.0), (1_000_000, 1000.0), (1_500_000, 1400.0), (6_000_000, None)],
)
def test_tiers_add_up_and_end_where_they_are_known(units: int, usd: float | None) -> None:
    assert total_usd(SEARCHES, units) == (usd if usd is None else pytest.approx(usd))


def test_a_line_without_input_is_named_and_not_zero() -> None:
    cloud = cost_of(searches_per_month=300_000).monthly[0]
    lines = {line.item: line.usd for line in cloud.lines}
    assert lines["searches"] == pytest.approx(300.0)
    assert lines["stored faces"] is None
    assert set(cloud.missing) == {"stored faces", "traffic", "review of false alerts"}
    assert cloud.total_usd == pytest.approx(300.0)


def test_nothing_known_is_no_sum() -> None:
    assert all(month.total_usd is None for month in cost_of().monthly)


def test_break_even_is_fixed_cost_over_the_price_of_a_search() -> None:
    section = cost_of(searches_per_month=1000, **LOCAL_INPUTS)
    assert section.breakeven[0].searches_per_month == pytest.approx(400 / 0.001)
    assert section.monthly[1].total_usd == pytest.approx(400)


def test_break_even_is_refused_where_a_fixed_cost_is_missing() -> None:
    found = cost_of(hardware_usd=3600).breakeven[0]
    assert found.searches_per_month is None
    assert "not given whole" in found.reason


def test_a_month_with_holes_passes_no_budget() -> None:
    design = SearchDesign(gallery=4, mated_people=4, nonmated_people=4)
    rules = Rules(
        requirements=Requirements(monthly_budget_usd=1000),
        cost=CostInputs(hardware_usd=360),
    )
    stored = made_up_evaluation(design, {"box": ScoreModel()}, default_threshold=0.4, rules=rules)
    gate = next(v for v in evaluated(stored).verdicts if v.gate == "cost")
    assert gate.result == "not enough evidence"
