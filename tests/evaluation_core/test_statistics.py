"""The person is the unit, thin evidence is refused, and the seed decides everything."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats  # type: ignore[import-untyped]  # scipy ships no annotations
from hypothesis import given, settings
from hypothesis import strategies as st

from rekadapter.evaluation.differences import (
    MarginVerdict,
    PairedTrials,
    holm,
    paired_difference,
)
from rekadapter.evaluation.statistics import (
    Evidence,
    PairTrials,
    Settings,
    Trials,
    Verdict,
    estimate_mean,
    estimate_pair_rate,
    estimate_rate,
    resampled_rates,
    rule_of_three,
    tally_people,
    verdict_at_most,
    wilson,
)


def trials(errors_of_each: list[int], captures: int) -> Trials:
    """Person k has ``errors_of_each[k]`` errors in ``captures`` trials."""
    flags = [[i < errors for i in range(captures)] for errors in errors_of_each]
    people = np.repeat(np.arange(len(errors_of_each)), captures)
    return Trials(np.array(flags, dtype=np.bool_).ravel(), people)


@settings(deadline=None)
@given(st.integers(1, 500), st.data())
def test_wilson_is_scipys_for_whole_numbers(n: int, data: st.DataObject) -> None:
    errors = data.draw(st.integers(0, n))
    theirs = scipy.stats.binomtest(errors, n).proportion_ci(0.9, method="wilson")
    assert wilson(errors / n, n, 0.9) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_resampling_kinds_of_people_is_resampling_people() -> None:
    """Same spread as scipy's own bootstrap of the ratio, to a few percent."""
    rng = np.random.default_rng(7)
    tally = tally_people(trials(rng.binomial(4, 0.2, 80).tolist(), 4))
    theirs = scipy.stats.bootstrap(
        (tally.errors, tally.trials),
        lambda errors, n, axis: errors.sum(axis=axis) / n.sum(axis=axis),
        paired=True,
        n_resamples=8000,
        method="percentile",
        rng=np.random.default_rng(8),
    )
    ours = resampled_rates(tally, Settings(resamples=8000))
    assert ours.std() == pytest.approx(float(theirs.standard_error), rel=0.04)


def test_trials_of_people_who_always_fail_are_worth_one_each() -> None:
    estimate = estimate_rate(trials([5] * 20 + [0] * 80, 5))
    assert estimate.value == 0.2
    assert estimate.n == 500
    assert estimate.n_eff == pytest.approx(100, rel=0.1)
    assert estimate.sufficient


def test_independent_trials_are_worth_themselves() -> None:
    estimate = estimate_rate(trials([1] * 100 + [0] * 300, 1))
    assert estimate.n_eff == pytest.approx(400, rel=0.1)
    assert estimate.ci is not None
    assert (estimate.ci.low, estimate.ci.high) == pytest.approx(wilson(0.25, 400, 0.95), rel=0.02)


def test_more_captures_of_the_same_people_never_count_for_more_than_they_are() -> None:
    spread_evenly = estimate_rate(trials([1] * 50, 4))  # no variance between people at all
    assert spread_evenly.n_eff == 200


def test_no_error_gives_a_bound_and_no_value() -> None:
    estimate = estimate_rate(trials([0] * 1000, 10))
    assert estimate.value is None
    assert estimate.ci is not None
    assert (estimate.ci.low, estimate.ci.high) == pytest.approx((0, 0.003), abs=1e-5)
    assert "1000 people: at most 0.003, not zero" in estimate.reason
    assert not estimate.sufficient


def test_nothing_but_errors_is_bounded_from_below() -> None:
    estimate = estimate_rate(trials([2] * 60, 2))
    assert estimate.value == 1.0
    assert estimate.ci is not None
    assert estimate.ci.low == pytest.approx(1 - rule_of_three(60))
    assert estimate.sufficient


def test_twelve_people_are_refused_however_many_trials_they_give() -> None:
    estimate = estimate_rate(trials([3] * 12, 500))
    assert estimate.value is None
    assert estimate.ci is None
    assert (estimate.n, estimate.errors, estimate.people) == (6000, 36, 12)
    assert "12 people are too few" in estimate.reason
    assert "12 people are too few" in estimate_rate(trials([0] * 12, 500)).reason


def test_few_errors_are_shown_and_marked() -> None:
    estimate = estimate_rate(trials([1] * 3 + [0] * 97, 1))
    assert estimate.value == 0.03
    assert not estimate.sufficient
    assert "rests on 3 errors" in estimate.reason


def test_nothing_measured_is_said() -> None:
    nothing = Trials(np.zeros(0, dtype=np.bool_), np.zeros(0, dtype=np.intp))
    assert estimate_rate(nothing).reason == "nothing was measured"
    pairs = PairTrials(nothing.errors, nothing.people, nothing.people)
    assert estimate_pair_rate(pairs).reason == "nothing was measured"
    assert "nothing" in estimate_mean(np.zeros(0), nothing.people).reason


def test_the_seed_decides_the_interval() -> None:
    data = trials([2] * 20 + [0] * 60, 4)
    assert estimate_rate(data) == estimate_rate(data)
    assert estimate_rate(data, Settings(seed=6)).ci != estimate_rate(data).ci


@settings(deadline=None, max_examples=25)
@given(st.permutations(range(40)))
def test_neither_the_order_nor_the_codes_of_people_matter(order: list[int]) -> None:
    data = trials([2] * 10 + [0] * 30, 3)
    shuffled = np.array(order)
    rows = np.concatenate([np.flatnonzero(data.people == person) for person in order])
    renamed = Trials(data.errors[rows], shuffled[data.people[rows]] * 7)
    assert estimate_rate(renamed) == estimate_rate(data)


def test_one_look_alike_who_matches_everybody_widens_the_interval_on_fmr() -> None:
    first, second = np.triu_indices(60, 1)
    wolf = PairTrials((first == 0) & (second <= 30), first, second)
    rng = np.random.default_rng(1)
    scattered = rng.permutation(wolf.errors)
    wolf_estimate = estimate_pair_rate(wolf)
    scattered_estimate = estimate_pair_rate(PairTrials(scattered, first, second))
    assert wolf_estimate.value == scattered_estimate.value
    assert wolf_estimate.people == 60
    assert wolf_estimate.n_eff is not None
    assert scattered_estimate.n_eff is not None
    assert wolf_estimate.n_eff < scattered_estimate.n_eff / 5


def test_it_does_not_matter_who_of_a_pair_is_named_first() -> None:
    rng = np.random.default_rng(4)
    first, second = np.triu_indices(50, 1)
    wrong = rng.random(first.size) < 0.3 * (first == 3) + 0.02
    forward = estimate_pair_rate(PairTrials(wrong, first, second))
    backward = estimate_pair_rate(PairTrials(wrong, second, first))
    assert forward.n_eff == pytest.approx(backward.n_eff)


def test_sparse_and_dense_pairs_give_the_same_interval() -> None:
    rng = np.random.default_rng(2)
    first = np.arange(400)
    second = (first + 1) % 400
    wrong = rng.random(400) < 0.1
    once = estimate_pair_rate(PairTrials(wrong, first, second), Settings(resamples=300))
    many = PairTrials(np.tile(wrong, 30), np.tile(first, 30), np.tile(second, 30))
    repeated = estimate_pair_rate(many, Settings(resamples=300))
    assert once.value == repeated.value
    assert repeated.n_eff is not None
    assert once.n_eff == pytest.approx(min(400, repeated.n_eff))


def test_the_complement_counts_the_same_misses() -> None:
    missed = estimate_rate(trials([1] * 20 + [0] * 80, 1))
    found = missed.complement()
    assert found.value == 0.8
    assert found.errors == 20
    assert found.ci is not None
    assert missed.ci is not None
    assert (found.ci.low, found.ci.high) == (1 - missed.ci.high, 1 - missed.ci.low)


@pytest.mark.parametrize(
    ("errors_of_each", "limit", "verdict"),
    [
        pytest.param([0] * 1100, 0.003, Verdict.PASS, id="clean and enough"),
        pytest.param([0] * 900, 0.003, Verdict.INSUFFICIENT, id="clean, too few for the limit"),
        pytest.param([1] * 50 + [0] * 50, 0.1, Verdict.FAIL, id="plainly above"),
        pytest.param([0] * 12, 0.5, Verdict.INSUFFICIENT, id="twelve people prove nothing"),
        pytest.param([1] * 3 + [0] * 97, 0.03, Verdict.INSUFFICIENT, id="on the limit"),
    ],
)
def test_a_requirement_passes_only_with_the_whole_interval(
    errors_of_each: list[int], limit: float, verdict: Verdict
) -> None:
    assert verdict_at_most(estimate_rate(trials(errors_of_each, 1)), limit, Evidence()) is verdict


def test_a_mean_has_an_interval_over_people() -> None:
    values = np.repeat([0.0, 2.0], 200)
    estimate = estimate_mean(values, np.repeat(np.arange(100), 4))
    assert estimate.value == 1.0
    assert estimate.ci is not None
    assert estimate.ci.low == pytest.approx(0.8, abs=0.03)


# --- two systems ------------------------------------------------------------------------------


def paired(only_a: int, only_b: int, people: int) -> PairedTrials:
    """One trial per person: so many err with A only, with B only, the rest with neither."""
    a, b = np.zeros(people, dtype=np.bool_), np.zeros(people, dtype=np.bool_)
    a[:only_a], b[only_a : only_a + only_b] = True, True
    return PairedTrials(a, b, np.arange(people))


@pytest.mark.parametrize(("only_a", "only_b"), [(10, 2), (3, 3), (1, 0), (12, 1)])
def test_with_one_trial_per_person_the_p_value_is_mcnemars(only_a: int, only_b: int) -> None:
    exact = scipy.stats.binomtest(only_a, only_a + only_b).pvalue
    ours = paired_difference(paired(only_a, only_b, 100), margin=0.02)
    assert ours.p_value == pytest.approx(exact, abs=1e-9)
    assert ours.difference.value == pytest.approx((only_b - only_a) / 100)


def test_systems_that_never_differ_are_not_worse_only_when_there_are_people_enough() -> None:
    many = paired_difference(paired(0, 0, 500), margin=0.01)
    few = paired_difference(paired(0, 0, 100), margin=0.01)
    assert many.p_value == few.p_value == 1.0
    assert many.verdict is MarginVerdict.NOT_WORSE
    assert few.verdict is MarginVerdict.INSUFFICIENT
    assert not many.difference.sufficient


def test_a_system_far_beyond_the_margin_is_called_worse() -> None:
    found = paired_difference(paired(5, 60, 300), margin=0.02)
    assert found.verdict is MarginVerdict.WORSE
    assert found.p_value is not None
    assert found.p_value < 0.001
    assert found.difference.sufficient


def test_swapping_the_systems_turns_the_difference_round() -> None:
    forward = paired_difference(paired(30, 10, 200), margin=0.02)
    backward = paired_difference(paired(10, 30, 200), margin=0.02)
    assert forward.difference.value == -(backward.difference.value or 0)
    assert forward.p_value == pytest.approx(backward.p_value)


def test_twelve_people_decide_nothing_between_two_systems() -> None:
    found = paired_difference(paired(0, 12, 12), margin=0.02)
    assert found.difference.value is None
    assert found.verdict is MarginVerdict.INSUFFICIENT


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.6, 0.7]) == (1.0, 1.0)
    assert holm([]) == ()


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(new >= old for new, old in zip(adjusted, p_values, strict=True))
    ranked = [adjusted[i] for i in sorted(range(len(p_values)), key=p_values.__getitem__)]
    assert ranked == sorted(ranked)


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="level"):
        Settings(level=95)
    with pytest.raises(ValueError, match="resamples"):
        Settings(resamples=1)
    with pytest.raises(ValueError, match="margin"):
        paired_difference(paired(1, 1, 50), margin=0)
    with pytest.raises(ValueError, match="one person"):
        Trials(np.zeros(2, dtype=np.bool_), np.zeros(3, dtype=np.intp))
