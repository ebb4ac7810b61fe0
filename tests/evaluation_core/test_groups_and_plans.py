"""Groups, splits, gallery sizes, plans and consequences: worked examples and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rekadapter.errors import UsageError
from rekadapter.evaluation.consequences import consequences
from rekadapter.evaluation.demographics import (
    UNLABELED,
    GroupErrors,
    GroupPoint,
    PeopleByGroup,
    chance_of_spread,
    fairness_discrepancy_rate,
    garbe,
    gini,
    group_fmr,
    group_fnir,
    group_fnmr,
    group_fpir,
    inequity_rate,
    joined,
    ratio_set,
    ratio_set_of,
)
from rekadapter.evaluation.gallery_size import (
    SizePlan,
    fmr_if_independent,
    fpir_if_independent,
    gallery_size_effect,
)
from rekadapter.evaluation.outcomes import (
    ComparisonOutcome,
    Cut,
    GroupLabel,
    PersonId,
    ScoredSubject,
    SearchOutcome,
)
from rekadapter.evaluation.planner import PlanRequest, Side, design_effect, plan, reach
from rekadapter.evaluation.protocol import (
    PeopleSplit,
    Person,
    SplitRule,
    split_comparisons,
    split_people,
    split_searches,
)
from rekadapter.evaluation.statistics import Settings
from rekadapter.evaluation.synthetic import ScoreModel, SearchDesign, simulate_searches

# --- groups -----------------------------------------------------------------------------------

WORKED = GroupErrors(
    false_match=(3e-5, 3e-4, 1e-3, 1e-2), false_non_match=(0.010, 0.012, 0.015, 0.020)
)


def test_the_worked_example_shows_how_blind_one_number_is() -> None:
    """Four groups, FMR 333-fold apart: FDR calls it fair, the ratios do not."""
    assert fairness_discrepancy_rate(WORKED) == pytest.approx(0.990, abs=5e-4)
    assert garbe(WORKED) == pytest.approx(0.55, abs=5e-3)
    assert inequity_rate(WORKED) == pytest.approx(26, abs=0.5)
    found = ratio_set(WORKED.false_match)
    assert found.max_over_min == pytest.approx(333, abs=0.5)


def test_the_ratio_set_by_hand() -> None:
    found = ratio_set([0.001, 0.01, 0.1])
    assert (found.groups, found.min, found.max) == (3, 0.001, 0.1)
    assert found.max_over_min == pytest.approx(100)
    assert found.max_over_mean == pytest.approx(0.1 / 0.037)
    assert found.max_over_geomean == pytest.approx(10)
    assert found.mean_abs_log10 == pytest.approx(2 / 3)
    assert found.gini == pytest.approx(1.5 * 2 * (0.009 + 0.099 + 0.09) / (2 * 9 * 0.037))


@pytest.mark.parametrize(
    ("rates", "reason"),
    [([0.1], "two groups"), ([0.0, 0.1], "without any error"), ([], "two groups")],
)
def test_a_ratio_that_is_not_defined_is_refused(rates: list[float], reason: str) -> None:
    found = ratio_set(rates)
    assert found.max_over_min is found.gini is None
    assert reason in found.reason


def test_scores_at_their_ends() -> None:
    assert gini([0.2, 0.2, 0.2]) == 0
    assert gini([0, 0, 0, 0.4]) == pytest.approx(1)
    assert inequity_rate(GroupErrors((0.0, 0.1), (0.1, 0.1))) is None
    with pytest.raises(ValueError, match="two groups"):
        GroupErrors((0.1,), (0.1,))


@settings(deadline=None)
@given(st.lists(st.floats(1e-6, 1), min_size=2, max_size=6), st.floats(0.01, 1))
def test_ratios_do_not_change_when_all_rates_do(rates: list[float], factor: float) -> None:
    one, other = ratio_set(rates), ratio_set([rate * factor for rate in rates])
    assert other.max_over_min == pytest.approx(one.max_over_min)
    assert other.mean_abs_log10 == pytest.approx(one.mean_abs_log10, abs=1e-9)
    assert other.gini == pytest.approx(one.gini, abs=1e-9)


def _grouped(value: str, people: int, missed: int, *, mated: bool = True) -> list[SearchOutcome]:
    label = (GroupLabel("age", value),) if value else ()
    found = []
    for index in range(people):
        person = PersonId(f"{value}{index}")
        subject = person if mated else PersonId("enrolled")
        hit = (index >= missed) if mated else (index < missed)
        score = 0.9 if hit else 0.1
        found.append(
            SearchOutcome(
                person, person, mated, (ScoredSubject(subject, score),), None, None, label
            )
        )
    return found


def test_groups_are_suppressed_marked_or_shown_by_how_many_people_there_are() -> None:
    outcomes = [
        *_grouped("young", 200, 20),
        *_grouped("old", 20, 12),
        *_grouped("older", 9, 3),
        *_grouped("", 40, 1),
    ]
    rates = {rate.group: rate for rate in group_fnir(outcomes, GroupPoint("age", 0.5))}
    young = rates["young"].estimate
    assert young is not None
    assert young.value == 0.1
    assert young.sufficient
    old = rates["old"].estimate
    assert old is not None
    assert old.value is None
    assert "20 people are too few" in old.reason
    assert rates["older"].suppressed
    assert rates["older"].estimate is None
    unlabeled = rates[UNLABELED].estimate
    assert unlabeled is not None
    assert not unlabeled.sufficient
    assert ratio_set_of(tuple(rates.values())).left_out == (UNLABELED, "old", "older")


def test_group_fpir_counts_only_people_who_are_not_enrolled() -> None:
    outcomes = [*_grouped("a", 100, 50), *_grouped("b", 100, 30, mated=False)]
    (only,) = group_fpir(outcomes, GroupPoint("age", 0.5))
    assert only.group == "b"
    assert only.estimate is not None
    assert only.estimate.value == 0.3


def test_group_fmr_uses_pairs_within_the_group_only() -> None:
    def pair(i: int, a: str, b: str, score: float) -> ComparisonOutcome:
        groups = (GroupLabel("sex", a),), (GroupLabel("sex", b),)
        first, second = PersonId(f"{a}{i}"), PersonId(f"{b}{i + 1}")
        return ComparisonOutcome(
            f"{a}{b}{i}", first, second, score, None, None, groups[0], groups[1]
        )

    within = [pair(i, "f", "f", 0.9 if i % 4 == 0 else 0.1) for i in range(100)]
    across = [pair(i, "f", "m", 0.9) for i in range(100)]
    (only,) = group_fmr([*within, *across], GroupPoint("sex", 0.5))
    assert only.estimate is not None
    assert only.estimate.value == 0.25
    own = [ComparisonOutcome(f"{i}", PersonId(f"{i}"), PersonId(f"{i}"), 0.1) for i in range(60)]
    (unlabeled,) = group_fnmr(own, GroupPoint("sex", 0.5))
    assert unlabeled.estimate is not None
    assert unlabeled.estimate.value == 1.0


def test_an_intersection_needs_every_label() -> None:
    labels = (GroupLabel("sex", "f"), GroupLabel("age", "65+"))
    assert joined(labels, ("sex", "age")) == GroupLabel("sex x age", "f x 65+")
    assert joined(labels, ("sex", "tone")) is None


def test_a_spread_between_groups_is_held_against_chance() -> None:
    group = np.repeat([0, 1, 2], 60)
    plain = (np.arange(180) % 10 == 0).astype(float)
    skewed = np.where(group == 2, np.arange(180) % 2, np.arange(180) % 20 == 0).astype(float)
    quick = Settings(permutations=999)
    equal = chance_of_spread(PeopleByGroup(plain, np.ones(180), group), quick)
    unequal = chance_of_spread(PeopleByGroup(skewed, np.ones(180), group), quick)
    assert equal is not None
    assert unequal is not None
    assert equal > 0.5
    assert unequal <= 0.001
    assert chance_of_spread(PeopleByGroup(plain, np.ones(180), np.zeros(180, int)), quick) is None


# --- who calibrates ---------------------------------------------------------------------------


def _people(count: int) -> list[Person]:
    tones = ("i", "iii", "vi")
    return [Person(PersonId(f"p{i}"), (GroupLabel("tone", tones[i % 3]),)) for i in range(count)]


@settings(deadline=None)
@given(st.integers(8, 80), st.floats(0.25, 0.75), st.integers(0, 1000), st.randoms())
def test_a_split_is_disjoint_complete_and_blind_to_order(
    count: int, share: float, seed: int, random: object
) -> None:
    rule = SplitRule(share, seed, balance=("tone",))
    people = _people(count)
    split = split_people(people, rule)
    random.shuffle(people)  # type: ignore[attr-defined]  # hypothesis names no type for it
    assert split_people(people, rule) == split
    assert not split.calibration & split.test
    assert split.calibration | split.test == {person.person for person in people}
    assert abs(len(split.calibration) - share * count) <= 1
    for tone in ("i", "iii", "vi"):
        of_tone = [p for p in people if p.groups[0].value == tone]
        chosen = sum(p.person in split.calibration for p in of_tone)
        assert abs(chosen - share * len(of_tone)) <= 1.5


PINNED_CALIBRATION = ["p2", "p3", "p5", "p6"]
PINNED_SHA256 = "e8ad525f2e27dd9cca3b98685871dec84f473de2099f06a4ef617156b557e254"


def test_a_split_is_the_same_on_every_machine() -> None:
    split = split_people(_people(9), SplitRule(seed=1))
    assert sorted(split.calibration) == PINNED_CALIBRATION
    assert split.sha256 == PINNED_SHA256
    assert split_people(_people(9), SplitRule(seed=2)).sha256 != PINNED_SHA256


def test_leakage_is_refused() -> None:
    ann, bob = PersonId("ann"), PersonId("bob")
    with pytest.raises(UsageError, match="both the calibration and the test set"):
        PeopleSplit(frozenset({ann, bob}), frozenset({bob}), SplitRule())
    with pytest.raises(UsageError, match="too few to split"):
        split_people([Person(ann)])
    with pytest.raises(UsageError, match="listed twice"):
        split_people([Person(ann), Person(ann), Person(bob)])
    with pytest.raises(ValueError, match="share"):
        SplitRule(calibration_share=0)


def test_outcomes_go_with_their_people_and_pairs_across_are_left_out() -> None:
    ann, bob, cat = PersonId("ann"), PersonId("bob"), PersonId("cat")
    split = PeopleSplit(frozenset({ann}), frozenset({bob, cat}), SplitRule())
    searches = [SearchOutcome(f"s{i}", p, mated=False) for i, p in enumerate((ann, bob, ann))]
    halves = split_searches(searches, split)
    assert [s.search_id for s in halves.calibration] == ["s0", "s2"]
    assert [s.search_id for s in halves.test] == ["s1"]
    pairs = [
        ComparisonOutcome(f"c{i}", first, second, 0.5)
        for i, (first, second) in enumerate([(ann, ann), (ann, bob), (bob, cat)])
    ]
    compared = split_comparisons(pairs, split)
    assert [c.comparison_id for c in compared.calibration] == ["c0"]
    assert [c.comparison_id for c in compared.test] == ["c2"]
    assert compared.crossing == 1
    with pytest.raises(UsageError, match="neither side"):
        split_searches([SearchOutcome("s", PersonId("dan"), mated=False)], split)


# --- gallery size -----------------------------------------------------------------------------


def test_the_arithmetic_of_the_2018_test_of_28_lawmakers() -> None:
    """28 of 535 probes matched wrongly in a gallery of 25,000: FPIR 5.2 %, FMR about 2e-6."""
    implied = fmr_if_independent(28 / 535, 25_000)
    assert implied == pytest.approx(2.1e-6, rel=0.05)
    assert fpir_if_independent(implied, 25_000) == pytest.approx(28 / 535)


@pytest.mark.parametrize(("gallery", "fpir"), [(1_000, 0.0010), (10_000, 0.0100), (25_000, 0.0247)])
def test_a_tiny_fmr_is_a_large_fpir_at_city_scale(gallery: int, fpir: float) -> None:
    assert fpir_if_independent(1e-6, gallery) == pytest.approx(fpir, abs=1e-4)
    assert fpir_if_independent(1.0, gallery) == fmr_if_independent(1.0, gallery) == 1.0


def test_parts_of_the_gallery_follow_the_extrapolation_where_people_have_no_effects() -> None:
    design = SearchDesign(gallery=80, mated_people=80, nonmated_people=1500)
    model = ScoreModel(lookalike_sd=0.0)
    outcomes = simulate_searches(design, model)
    effect = gallery_size_effect(outcomes, design.gallery_people, 0.2, SizePlan(draws=8))
    assert [point.size for point in effect.points] == [20, 40, 80]
    assert [point.draws for point in effect.points] == [8, 8, 1]
    for point in effect.points:
        assert point.fpir.mean == pytest.approx(model.fpir(0.2, point.size), rel=0.2)
        assert point.fpir.mean == pytest.approx(point.fpir_if_independent, rel=0.15)
    means = [point.fpir.mean or 0 for point in effect.points]
    assert means == sorted(means)


def test_fnir_at_a_part_of_the_gallery_counts_the_mates_who_are_in_it() -> None:
    """Everybody's mate is second, behind one look-alike who may be left out of the part."""
    people = [PersonId(f"p{i}") for i in range(10)]
    searches = [
        SearchOutcome(
            f"s{i}",
            person,
            mated=True,
            candidates=(ScoredSubject(people[0], 0.9), ScoredSubject(person, 0.8)),
        )
        for i, person in enumerate(people[1:])
    ]
    half = SizePlan(fractions=(0.5, 1.0), draws=30, rank=1)
    part, whole = gallery_size_effect(searches, people, 0.5, half).points
    assert (part.size, part.fnir.low, part.fnir.high) == (5, 0.0, 1.0)
    assert whole.fnir.mean == 1.0
    assert whole.fpir.mean is None
    second = gallery_size_effect(searches, people, 0.5, SizePlan(fractions=(0.5,), rank=2))
    assert second.points[0].fnir.high == 0.0


def test_a_smaller_gallery_is_not_guessed_from_cut_lists() -> None:
    ann, bob = PersonId("ann"), PersonId("bob")
    searches = [
        SearchOutcome(
            "s",
            PersonId("x"),
            mated=False,
            candidates=(ScoredSubject(ann, 0.9),),
            cut=Cut(max_candidates=1),
        )
    ]
    assert "cut above the threshold" in gallery_size_effect(searches, [ann, bob], 0.5).reason
    assert gallery_size_effect(searches, [ann, bob], 0.95).reason == ""
    with pytest.raises(UsageError, match="not in the gallery"):
        gallery_size_effect(searches, [bob], 0.95)
    with pytest.raises(ValueError, match="fractions"):
        SizePlan(fractions=(0.0,))


# --- plans and consequences -------------------------------------------------------------------


def test_the_rules_of_three_and_thirty_by_hand() -> None:
    """FPIR 0.003: 1,000 clean people, or 10,000 to measure it, before anyone calibrates."""
    wanted = plan(PlanRequest(0.003, 0.02, calibration_share=0.5))
    people = {need.claim: need.people for need in wanted.needs}
    assert people["claim FPIR at most 0.003"] == 2_000
    assert people["measure FPIR 0.003 within 30 %"] == 20_000
    assert people["measure FNIR 0.02 within 30 %"] == 1_500
    assert people["choose a threshold at FPIR 0.003 on calibration people"] == 6_667
    assert wanted.people(Side.NONMATED) == 20_000
    assert wanted.captures(Side.MATED) == 1_500


def test_captures_of_one_person_help_only_as_far_as_they_differ() -> None:
    assert design_effect(1, 0.9) == 1
    one = plan(PlanRequest(0.003, 0.02))
    alike = plan(PlanRequest(0.003, 0.02, captures_per_person=4, likeness=1.0))
    independent = plan(PlanRequest(0.003, 0.02, captures_per_person=4, likeness=0.0))
    assert alike.people(Side.MATED) == one.people(Side.MATED)
    assert independent.people(Side.MATED) == one.people(Side.MATED) / 4


def test_only_people_outside_the_gallery_are_split() -> None:
    few, many = (plan(PlanRequest(0.01, 0.05, calibration_share=c)) for c in (0.2, 0.6))
    assert few.people(Side.MATED) == many.people(Side.MATED) == 30 / 0.05
    tested = [need for need in many.needs if need.claim.startswith("claim FPIR")]
    assert [need.people for need in tested] == [3 / 0.01 / 0.4]


def test_no_part_of_a_split_falls_below_thirty_people() -> None:
    easy = plan(PlanRequest(0.5, 0.5, calibration_share=0.4))
    people = {need.claim: need.people for need in easy.needs}
    assert people["choose a threshold at FPIR 0.5 on calibration people"] == 30 / 0.4
    assert people["claim FPIR at most 0.5"] == 30 / 0.6
    assert people["claim FNIR at most 0.5"] == 30


def test_groups_and_margins_add_their_own_needs() -> None:
    plain = plan(PlanRequest(0.1, 0.1))
    groups = plan(PlanRequest(0.1, 0.1, groups=20))
    margin = plan(PlanRequest(0.1, 0.1, margin=0.01))
    assert groups.people(Side.NONMATED) > plain.people(Side.NONMATED)
    assert margin.people(Side.MATED) > plain.people(Side.MATED)
    assert all(need.captures >= need.people > 0 for need in (*groups.needs, *margin.needs))


def test_what_a_number_of_people_can_show() -> None:
    assert reach(12).clean_bound is None
    found = reach(100, captures_per_person=4, likeness=0.0)
    assert found.clean_bound == 0.03
    assert found.measurable_rate == 30 / 400


@pytest.mark.parametrize(
    "wrong", [{"target_fpir": 0}, {"margin": 2.0}, {"groups": 0}, {"likeness": -1}]
)
def test_a_plan_for_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"between|least"):
        PlanRequest(**({"target_fpir": 0.01, "target_fnir": 0.02} | wrong))  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("fpir", "alerts", "precision"), [(0.05, 500, 0.002), (0.003, 30, 0.029), (0.00017, 1.7, 0.34)]
)
def test_what_a_rate_means_on_the_street(fpir: float, alerts: float, precision: float) -> None:
    """10,000 faces a day, one in 10,000 of them on the list, 89 % of those found."""
    (day,) = consequences(10_000, fpir, 0.89, [1e-4])
    assert day.false_alerts_per_day == pytest.approx(alerts, rel=0.02)
    assert day.precision == pytest.approx(precision, rel=0.15)


def test_no_alerts_have_no_precision() -> None:
    assert consequences(10_000, 0.0, 0.0, [0.1])[0].precision is None
    with pytest.raises(ValueError, match="between 0 and 1"):
        consequences(10_000, 5.0, 0.9, [0.1])
