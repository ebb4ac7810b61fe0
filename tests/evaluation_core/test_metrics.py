"""Error rates: toy cases by hand, laws by hypothesis, scikit-learn and pyeer as oracles."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rekadapter.evaluation.metrics import (
    ANY_RANK,
    NO_THRESHOLD,
    CauseCount,
    ComparisonTable,
    SearchTable,
    cmc,
    comparison_det,
    comparison_table,
    comparison_unknown,
    det_curve,
    failure_causes,
    failure_to_acquire,
    failure_to_enroll,
    fmr,
    fnir,
    fnir_unknown,
    fnmr,
    fpir,
    fpir_unknown,
    operating_point,
    search_table,
    selectivity,
)
from rekadapter.evaluation.outcomes import (
    ComparisonOutcome,
    Cut,
    EnrollmentOutcome,
    Failure,
    PersonId,
    ScoredSubject,
    SearchOutcome,
)
from rekadapter.evaluation.statistics import Evidence, Settings
from rekadapter.evaluation.thresholds import threshold_at_fmr

ANN, BOB, CAT, DAN = (PersonId(name) for name in ("ann", "bob", "cat", "dan"))
NO_FACE = Failure("NO_FACE")
LENIENT = Settings(evidence=Evidence(min_people=1, min_errors=0))


def listed(*pairs: tuple[PersonId, float]) -> tuple[ScoredSubject, ...]:
    return tuple(ScoredSubject(subject, score) for subject, score in pairs)


def mated(
    person: PersonId, *pairs: tuple[PersonId, float], cut: Cut | None = None
) -> SearchOutcome:
    return SearchOutcome(f"{person}-mated", person, mated=True, candidates=listed(*pairs), cut=cut)


def nonmated(name: str, *pairs: tuple[PersonId, float], cut: Cut | None = None) -> SearchOutcome:
    return SearchOutcome(name, PersonId(name), mated=False, candidates=listed(*pairs), cut=cut)


def toy() -> SearchTable:
    """Four mated searches (one failed) and four non-mated ones (one failed, one empty)."""
    return search_table(
        [
            mated(ANN, (ANN, 0.9), (BOB, 0.2)),
            mated(BOB, (CAT, 0.7), (BOB, 0.6)),
            mated(CAT, (ANN, 0.3)),
            SearchOutcome("dan-mated", DAN, mated=True, failure=NO_FACE),
            nonmated("x", (ANN, 0.6), (BOB, 0.5)),
            nonmated("y", (CAT, 0.3)),
            nonmated("z"),
            SearchOutcome("w", PersonId("w"), mated=False, failure=NO_FACE),
        ]
    )


@pytest.mark.parametrize(
    ("threshold", "rank", "expected"),
    [
        pytest.param(0.6, ANY_RANK, 2 / 4, id="inclusive, any rank"),
        pytest.param(0.6, 1, 3 / 4, id="rank 1: bob is second"),
        pytest.param(0.61, ANY_RANK, 3 / 4, id="just above bob's score"),
        pytest.param(NO_THRESHOLD, 2, 2 / 4, id="a failure misses at any threshold"),
        pytest.param(0.95, ANY_RANK, 1.0, id="nothing passes"),
    ],
)
def test_fnir_by_hand(threshold: float, rank: int, expected: float) -> None:
    assert fnir(toy(), threshold, rank).rate == expected


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0.6, 1 / 4), (0.61, 0.0), (0.3, 2 / 4), (NO_THRESHOLD, 2 / 4)],
    ids=["inclusive", "above all", "two alerts", "failed and empty searches raise none"],
)
def test_fpir_by_hand(threshold: float, expected: float) -> None:
    assert fpir(toy(), threshold).rate == expected


def test_cmc_and_selectivity_by_hand() -> None:
    assert cmc(toy(), [1, 2, 50]).tolist() == [1 / 4, 2 / 4, 2 / 4]
    assert selectivity(toy(), 0.5, LENIENT).value == pytest.approx(2 / 4)
    assert selectivity(toy(), 0.3, LENIENT).value == pytest.approx(3 / 4)


def test_a_tie_with_the_mate_counts_against_the_system() -> None:
    first = search_table([mated(ANN, (ANN, 0.9), (BOB, 0.9))])
    second = search_table([mated(ANN, (BOB, 0.9), (ANN, 0.9))])
    for table in (first, second):
        assert fnir(table, 0.5, rank=1).rate == 1.0
        assert fnir(table, 0.5, rank=2).rate == 0.0


def test_failures_are_counted_by_cause() -> None:
    outcomes = [
        SearchOutcome("1", ANN, mated=True, failure=NO_FACE),
        SearchOutcome("2", BOB, mated=True, failure=Failure("ThrottledError")),
        SearchOutcome("3", BOB, mated=False, failure=NO_FACE),
        nonmated("x"),
    ]
    assert failure_causes(outcomes) == (CauseCount("NO_FACE", 2), CauseCount("ThrottledError", 1))
    assert failure_to_acquire(outcomes).rate == 3 / 4
    enrolled = [EnrollmentOutcome(ANN), EnrollmentOutcome(BOB, NO_FACE)]
    assert failure_to_enroll(enrolled).rate == 1 / 2


# --- cut lists --------------------------------------------------------------------------------


def test_nothing_is_said_below_the_score_that_the_system_cut_at() -> None:
    cut = Cut(floor=80.0)
    table = search_table([mated(ANN, cut=cut), nonmated("x", cut=cut), nonmated("y")])
    assert "below 80 were not returned" in fnir_unknown(table, 79.0)
    assert "below 80 were not returned" in fpir_unknown(table, 79.0)
    assert fnir_unknown(table, 80.0) == ""
    assert fpir_unknown(table, 80.0) == ""
    point = operating_point(table, "shipped default 50", 50.0, settings=LENIENT)
    assert point.fnir.value is point.fpir.value is point.selectivity.value is None
    assert "collect uncensored scores" in point.fnir.reason


def test_a_mate_behind_the_end_of_a_short_list_is_unknown_unless_the_rank_excludes_it() -> None:
    cut = Cut(max_candidates=2)
    table = search_table([mated(ANN, (BOB, 0.7), (CAT, 0.6), cut=cut)])
    assert "cut before their mate" in fnir_unknown(table, 0.5)
    assert "cut before their mate" in fnir_unknown(table, 0.5, rank=3)
    assert fnir_unknown(table, 0.5, rank=2) == ""
    assert fnir_unknown(table, 0.65) == ""  # the list ended below the threshold: a sure miss


def test_a_known_alert_stays_known_below_the_cut() -> None:
    table = search_table([nonmated("x", (ANN, 90.0), cut=Cut(floor=80.0))])
    assert fpir_unknown(table, 10.0) == ""


def test_the_workload_is_not_understated_by_cut_lists() -> None:
    table = search_table([nonmated("x", (ANN, 0.7), cut=Cut(max_candidates=1))])
    assert selectivity(table, 0.6, LENIENT).value is None
    assert selectivity(table, 0.8, LENIENT).value == 0.0


def test_a_det_starts_where_the_scores_were_cut() -> None:
    cut = Cut(floor=0.5)
    outcomes = [mated(ANN, (ANN, 0.9), cut=cut), mated(BOB, cut=cut), nonmated("x", (ANN, 0.6))]
    curve = det_curve(search_table(outcomes))
    assert curve.cut_at == 0.5
    assert curve.threshold.min() >= 0.5


# --- laws -------------------------------------------------------------------------------------

SCORES = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.floats(0, 1))


@st.composite
def search_tables(draw: st.DrawFn) -> tuple[list[SearchOutcome], SearchTable]:
    outcomes = []
    for index in range(draw(st.integers(1, 12))):
        is_mated = draw(st.booleans())
        person = PersonId(f"p{index // 2}" if is_mated else f"n{index // 2}")
        failed = draw(st.booleans()) and draw(st.booleans())
        subjects = [PersonId(f"p{k}") for k in range(draw(st.integers(0, 6)))]
        scores = sorted((draw(SCORES) for _ in subjects), reverse=True)
        outcomes.append(
            SearchOutcome(
                f"s{index}",
                person,
                is_mated,
                ()
                if failed
                else listed(*zip(draw(st.permutations(subjects)), scores, strict=True)),
                failure=NO_FACE if failed else None,
            )
        )
    return outcomes, search_table(outcomes)


@settings(deadline=None)
@given(search_tables(), SCORES, SCORES, st.integers(1, 6))
def test_a_higher_threshold_never_finds_more_and_never_alerts_more(
    case: tuple[list[SearchOutcome], SearchTable], one: float, other: float, rank: int
) -> None:
    _, table = case
    low, high = sorted((one, other))
    assert not np.any(fnir(table, low, rank).errors & ~fnir(table, high, rank).errors)
    assert not np.any(fpir(table, high).errors & ~fpir(table, low).errors)


@settings(deadline=None)
@given(search_tables(), SCORES, st.integers(1, 6))
def test_a_longer_list_never_misses_more(
    case: tuple[list[SearchOutcome], SearchTable], threshold: float, rank: int
) -> None:
    _, table = case
    assert not np.any(
        fnir(table, threshold, rank + 1).errors & ~fnir(table, threshold, rank).errors
    )


@settings(deadline=None)
@given(search_tables(), SCORES, st.integers(1, 6), st.data())
def test_a_failure_in_place_of_an_answer_never_lowers_fnir_nor_any_denominator(
    case: tuple[list[SearchOutcome], SearchTable], threshold: float, rank: int, data: st.DataObject
) -> None:
    outcomes, before = case
    index = data.draw(st.integers(0, len(outcomes) - 1))
    old = outcomes[index]
    failed = SearchOutcome(old.search_id, old.person, old.mated, failure=NO_FACE)
    after = search_table([*outcomes[:index], failed, *outcomes[index + 1 :]])
    assert fnir(after, threshold, rank).errors.sum() >= fnir(before, threshold, rank).errors.sum()
    assert fnir(after, threshold).errors.size == fnir(before, threshold).errors.size
    assert fpir(after, threshold).errors.size == fpir(before, threshold).errors.size


@settings(deadline=None)
@given(search_tables(), st.integers(1, 6))
def test_every_point_of_a_det_is_what_counting_gives(
    case: tuple[list[SearchOutcome], SearchTable], rank: int
) -> None:
    _, table = case
    curve = det_curve(table, rank)
    for threshold, alarm, miss in zip(
        curve.threshold, curve.false_positive, curve.false_negative, strict=True
    ):
        assert alarm == fpir(table, float(threshold)).rate
        assert miss == fnir(table, float(threshold), rank).rate
    assert np.all(np.diff(curve.false_positive) <= 0)
    assert np.all(np.diff(curve.false_negative) >= 0)


def test_a_thinned_curve_keeps_its_ends_and_only_real_points() -> None:
    rng = np.random.default_rng(1)
    curve = comparison_det(_compared(rng.normal(1, 1, 500), rng.normal(0, 1, 500)))
    thin = curve.thinned(50)
    assert thin.threshold.size <= 50
    assert {thin.threshold[0], thin.threshold[-1]} == {curve.threshold[0], curve.threshold[-1]}
    assert np.isin(thin.threshold, curve.threshold).all()
    assert curve.thinned(5000) is curve
    with pytest.raises(ValueError, match="two points"):
        curve.thinned(1)


# --- comparisons ------------------------------------------------------------------------------


def _compared(genuine: Iterable[float], impostor: Iterable[float]) -> ComparisonTable:
    same = [ComparisonOutcome(f"g{i}", ANN, ANN, float(s)) for i, s in enumerate(genuine)]
    other = [ComparisonOutcome(f"i{i}", ANN, BOB, float(s)) for i, s in enumerate(impostor)]
    return comparison_table([*same, *other])


def test_fmr_and_fnmr_by_hand() -> None:
    table = comparison_table(
        [
            ComparisonOutcome("1", ANN, ANN, 0.9),
            ComparisonOutcome("2", ANN, ANN, 0.5),
            ComparisonOutcome("3", BOB, BOB, None, NO_FACE),
            ComparisonOutcome("4", ANN, BOB, 0.5),
            ComparisonOutcome("5", ANN, CAT, None, NO_FACE),
        ]
    )
    assert fnmr(table, 0.5).rate == 1 / 3
    assert fnmr(table, 0.51).rate == 2 / 3
    assert fnmr(table, NO_THRESHOLD).rate == 1 / 3  # a failure misses at any threshold
    assert fmr(table, 0.5).rate == 1 / 2
    assert fmr(table, 0.51).rate == 0.0
    assert fmr(table, NO_THRESHOLD).rate == 1 / 2  # a failure is never a match


def test_a_withheld_comparison_is_unknown_below_where_it_was_withheld() -> None:
    table = comparison_table([ComparisonOutcome("1", ANN, BOB, None, withheld_below=80.0)])
    assert "not returned" in comparison_unknown(table, 79.0)
    assert comparison_unknown(table, 80.0) == ""


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=30),
    st.lists(st.integers(0, 20), min_size=1, max_size=30),
)
def test_scikit_learn_gives_the_same_det(genuine: list[int], impostor: list[int]) -> None:
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the oracle here")
    labels = [1] * len(genuine) + [0] * len(impostor)
    false_match, false_non_match, thresholds = sklearn.det_curve(labels, [*genuine, *impostor])
    table = _compared(genuine, impostor)
    ours = comparison_det(table)
    found = {
        threshold: (alarm, miss)
        for threshold, alarm, miss in zip(
            ours.threshold, ours.false_positive, ours.false_negative, strict=True
        )
    }
    for threshold, alarm, miss in zip(thresholds, false_match, false_non_match, strict=True):
        if math.isfinite(threshold) and threshold in found:
            assert found[threshold] == pytest.approx((alarm, miss))
    shared = [threshold for threshold in thresholds if threshold in found]
    assert len(shared) >= len(thresholds) - 1  # scikit-learn may end with an infinite threshold


def test_pyeer_gives_the_same_rates_at_its_thresholds() -> None:
    pyeer = pytest.importorskip("pyeer.eer_info", reason="pyeer is the oracle here")
    rng = np.random.default_rng(3)
    genuine, impostor = rng.normal(2, 1, 400), rng.normal(0, 1, 600)
    stats = pyeer.get_eer_stats(genuine, impostor)
    table = _compared(genuine, impostor)
    for threshold, alarm, miss in zip(stats.thrs, stats.fmr, stats.fnmr, strict=True):
        assert fmr(table, float(threshold)).rate == pytest.approx(alarm)
        assert fnmr(table, float(threshold)).rate == pytest.approx(miss)


@pytest.mark.parametrize("target", [0.1, 0.05, 0.01])
def test_a_threshold_at_fixed_fmr_is_pyeers_or_the_next_false_score_above(target: float) -> None:
    """pyeer takes any score for a threshold, this one only scores that a false match had."""
    pyeer = pytest.importorskip("pyeer.eer_info", reason="pyeer is the oracle here")
    rng = np.random.default_rng(11)
    genuine, impostor = rng.normal(2, 1, 500), rng.normal(0, 1, 2000)
    stats = pyeer.get_eer_stats(genuine, impostor)
    theirs = {0.1: stats.fmr10_th, 0.05: stats.fmr20_th, 0.01: stats.fmr100_th}[target]
    table = _compared(genuine, impostor)
    choice = threshold_at_fmr(table, target, Evidence(min_people=1, min_errors=1))
    assert choice.threshold == impostor[impostor >= theirs].min()
    assert choice.achieved == pytest.approx(fmr(table, float(theirs)).rate)
