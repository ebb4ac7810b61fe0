"""Made-up scores through the whole report path: known rates come out, small tests are refused."""

from __future__ import annotations

import pytest

from rekadapter.evaluation.decision_page import evaluation_html
from rekadapter.evaluation.evaluate import StoredEvaluation, evaluated
from rekadapter.evaluation.outcomes import GroupLabel
from rekadapter.evaluation.results import EstimateResult, EvaluationReport, report_text
from rekadapter.evaluation.synthetic import GroupModel, ScoreModel, SearchDesign
from rekadapter.testing.evaluations import made_up_evaluation

MODELS = {"alpha": ScoreModel(failure_rate=0.01), "beta": ScoreModel(mated_mean=0.46)}
THRESHOLD = 0.40
GROUPS = (
    GroupModel(GroupLabel("site", "north"), 0.5),
    GroupModel(GroupLabel("site", "south"), 0.5, mated_shift=-0.08, nonmated_shift=0.05),
)


@pytest.fixture(scope="module")
def large() -> EvaluationReport:
    design = SearchDesign(gallery=240, mated_people=240, nonmated_people=500, captures=2)
    return evaluated(made_up_evaluation(design, MODELS, default_threshold=THRESHOLD))


@pytest.fixture(scope="module")
def small() -> EvaluationReport:
    design = SearchDesign(gallery=6, mated_people=6, nonmated_people=6, captures=3)
    return evaluated(made_up_evaluation(design, MODELS, default_threshold=THRESHOLD))


def holds(estimate: EstimateResult, truth: float) -> bool:
    assert estimate.ci is not None
    return estimate.ci.lo <= truth <= estimate.ci.hi


@pytest.mark.parametrize("system", MODELS)
def test_the_report_recovers_known_rates_at_the_shipped_default(
    large: EvaluationReport, system: str
) -> None:
    model = MODELS[system]
    row = next(r for r in large.accuracy if r.system == system and r.basis == "shipped_default")
    assert row.fnir.sufficient
    assert holds(row.fnir, model.fnmr(THRESHOLD))
    assert holds(row.fpir, model.fpir(THRESHOLD, 240))


@pytest.mark.parametrize("system", MODELS)
def test_both_systems_are_compared_at_one_rate_of_false_alerts(
    large: EvaluationReport, system: str
) -> None:
    row = next(r for r in large.accuracy if r.system == system and r.target_fpir == 0.1)
    assert row.threshold is not None
    assert row.chosen is not None
    assert row.chosen.achieved is not None
    assert row.chosen.achieved <= 0.1
    assert holds(row.fnir, MODELS[system].fnmr(row.threshold))


def test_the_worse_system_is_found_to_miss_more(large: EvaluationReport) -> None:
    pair = next(p for p in large.paired if p.target_fpir == 0.1)
    assert pair.diff is not None
    assert pair.diff.ci is not None
    assert pair.diff.ci.lo > 0
    assert pair.p_holm is not None
    assert pair.p_holm < 0.01


def test_twelve_people_are_refused(small: EvaluationReport) -> None:
    assert {one.result for one in small.conclusions} == {"not enough evidence"}
    assert all(row.fnir.value is None and row.fpir.value is None for row in small.accuracy)
    assert all(not curve.points for curve in small.det)
    evidence = [v for v in small.verdicts if v.gate == "evidence"]
    assert {v.result for v in evidence} == {"not enough evidence"}


def test_a_refusal_says_how_many_people_it_takes(
    small: EvaluationReport, large: EvaluationReport
) -> None:
    says = [line for line in small.decision.findings if "How many people it takes" in line]
    assert says
    assert "about 2,500 absent people" in says[0]
    sufficient = [row for row in large.accuracy if row.primary and row.chosen]
    said = any("How many people it takes" in line for line in large.decision.findings)
    assert said != all(row.chosen and row.chosen.sufficient for row in sufficient)


def test_a_page_of_twelve_people_says_so_and_draws_nothing(small: EvaluationReport) -> None:
    page = evaluation_html(small)
    assert "Nothing can be concluded about alpha" in page
    assert "No curve is drawn" in page
    assert "0.0000" not in page


def test_known_group_differences_are_recovered() -> None:
    design = SearchDesign(
        gallery=160, mated_people=160, nonmated_people=600, captures=2, groups=GROUPS
    )
    model = ScoreModel(mated_mean=0.52)
    report = evaluated(made_up_evaluation(design, {"alpha": model}, default_threshold=THRESHOLD))
    equity = report.equity[0]
    assert equity.threshold is not None
    for group in GROUPS:
        own = model.shifted(group.mated_shift, group.nonmated_shift)
        cell = next(one for one in equity.per_group if one.group == group.label.value)
        assert cell.fnir is not None
        assert cell.fpir is not None
        assert holds(cell.fnir, own.fnmr(equity.threshold))
        assert holds(cell.fpir, own.fpir(equity.threshold, 160))
    ratio = next(one for one in equity.ratios if one.metric == "fnir")
    assert ratio.chance_p is not None
    assert ratio.chance_p < 0.05
    gate = next(v for v in report.verdicts if v.gate == "equity")
    assert gate.result in {"fail", "not enough evidence"}


def test_the_order_of_stored_answers_moves_nothing() -> None:
    design = SearchDesign(gallery=40, mated_people=40, nonmated_people=60)
    stored = made_up_evaluation(design, MODELS, default_threshold=THRESHOLD)
    turned = StoredEvaluation(stored.record, dict(reversed(list(stored.answers.items()))))
    assert report_text(evaluated(turned)) == report_text(evaluated(stored))


def test_the_page_is_one_small_file_that_refers_to_nothing(large: EvaluationReport) -> None:
    page = evaluation_html(large)
    assert len(page.encode()) < 2_000_000
    for outside in ("src=", "<script", "@import", "url(http", "<link", "<iframe"):
        assert outside not in page
    assert evaluation_html(large) == page
    assert "<svg" in page
