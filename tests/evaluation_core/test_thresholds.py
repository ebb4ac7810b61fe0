"""A threshold is chosen on some people, remembers them, and is refused where data are thin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rekadapter.errors import UsageError
from rekadapter.evaluation.equal_fpir import weighted_thresholds
from rekadapter.evaluation.metrics import SearchTable, comparison_table, fpir, search_table
from rekadapter.evaluation.outcomes import (
    ComparisonOutcome,
    Cut,
    Failure,
    PersonId,
    ScoredSubject,
    SearchOutcome,
)
from rekadapter.evaluation.statistics import Evidence
from rekadapter.evaluation.thresholds import at_choice, threshold_at_fmr, threshold_at_fpir

SUBJECT = PersonId("somebody enrolled")


def unknown_people(
    scores: Sequence[float | None], cut: Cut | None = None, name: str = "n"
) -> SearchTable:
    """One non-mated search per score; None is a failure."""
    return search_table(
        SearchOutcome(
            f"{name}{i}",
            PersonId(f"{name}{i}"),
            mated=False,
            candidates=() if score is None else (ScoredSubject(SUBJECT, score),),
            cut=cut,
            failure=Failure("NO_FACE") if score is None else None,
        )
        for i, score in enumerate(scores)
    )


def test_the_lowest_score_that_keeps_the_target_is_chosen() -> None:
    choice = threshold_at_fpir(unknown_people([i / 1000 for i in range(1000)]), 0.02)
    assert choice.threshold == 0.98
    assert choice.achieved == 0.02
    assert choice.errors == 20
    assert choice.sufficient
    assert choice.ties == 1


def test_failures_stay_in_the_denominator_of_the_target() -> None:
    scores: list[float | None] = [i / 500 for i in range(500)]
    choice = threshold_at_fpir(unknown_people([*scores, *[None] * 500]), 0.02)
    assert choice.errors == 20
    assert choice.trials == 1000


def test_ties_that_do_not_fit_are_left_out_and_counted() -> None:
    choice = threshold_at_fpir(unknown_people([100.0] * 15 + [99.0] * 20 + [10.0] * 965), 0.02)
    assert choice.threshold == 100.0
    assert choice.achieved == 0.015
    assert choice.ties == 20


@pytest.mark.parametrize(
    ("scores", "target", "reason"),
    [
        pytest.param([100.0] * 50 + [1.0] * 950, 0.02, "share the highest score", id="saturated"),
        pytest.param([0.5] * 12, 0.1, "12 people are too few", id="twelve people"),
        pytest.param([i / 100 for i in range(100)], 0.003, "takes 334 at least", id="thin"),
        pytest.param([None] * 100, 0.1, "every threshold keeps FPIR at 0", id="no scores"),
        pytest.param([], 0.1, "0 people are too few", id="nothing"),
    ],
)
def test_an_unreachable_target_is_refused_with_the_reason(
    scores: list[float | None], target: float, reason: str
) -> None:
    choice = threshold_at_fpir(unknown_people(scores), target)
    assert choice.threshold is None
    assert choice.achieved is None
    assert not choice.sufficient
    assert reason in choice.reason


def test_a_threshold_that_rests_on_few_errors_is_marked() -> None:
    choice = threshold_at_fpir(unknown_people([i / 100 for i in range(100)]), 0.05)
    assert choice.threshold == 0.95
    assert not choice.sufficient
    assert "rests on 5 errors" in choice.reason


def test_a_target_above_what_the_floor_lets_through_is_marked() -> None:
    shown = unknown_people([80.0 + i for i in range(12)], Cut(floor=80.0))
    empty = [
        SearchOutcome(f"e{i}", PersonId(f"e{i}"), mated=False, cut=Cut(floor=80.0))
        for i in range(88)
    ]
    table = search_table(
        [
            *empty,
            *(
                SearchOutcome(
                    person,
                    person,
                    mated=False,
                    candidates=(ScoredSubject(SUBJECT, float(top)),),
                    cut=Cut(floor=80.0),
                )
                for person, top in zip(shown.person_ids, shown.nonmated.top, strict=True)
            ),
        ]
    )
    choice = threshold_at_fpir(table, 0.3)
    assert choice.threshold == 80.0
    assert not choice.sufficient
    assert "below 80 were not returned" in choice.reason


def test_a_threshold_cannot_be_reported_on_the_people_it_was_chosen_on() -> None:
    people = unknown_people([i / 1000 for i in range(1000)])
    choice = threshold_at_fpir(people, 0.02)
    with pytest.raises(UsageError, match="both the calibration and the test set"):
        at_choice(people, choice)
    other = unknown_people([i / 1000 for i in range(1000)], name="other")
    assert at_choice(other, choice).fpir.value == pytest.approx(0.02)


def test_without_a_threshold_every_figure_is_refused_with_the_reason() -> None:
    choice = threshold_at_fpir(unknown_people([0.5] * 12), 0.1)
    point = at_choice(unknown_people([0.5] * 40, name="other"), choice)
    assert point.threshold is None
    assert point.fpir.value is None
    assert point.fpir.n == 40
    assert "12 people are too few" in point.fpir.reason


def test_a_threshold_at_an_fmr_counts_comparisons() -> None:
    pairs = [
        ComparisonOutcome(f"c{i}", PersonId(f"a{i}"), PersonId(f"b{i}"), i / 200)
        for i in range(200)
    ]
    choice = threshold_at_fmr(comparison_table(pairs), 0.1)
    assert choice.metric == "FMR"
    assert choice.threshold == 0.9
    assert choice.errors == 20


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.integers(0, 8), st.none()), min_size=1, max_size=60),
    st.sampled_from([0.05, 0.1, 1 / 3, 0.7]),
)
def test_the_target_is_never_exceeded_and_no_lower_score_would_keep_it(
    tops: list[int | None], target: float
) -> None:
    scores = [None if top is None else float(top) for top in tops]
    table = unknown_people(scores)
    choice = threshold_at_fpir(table, target, Evidence(min_people=1, min_errors=1))
    lower = [s for s in scores if s is not None]
    if choice.threshold is not None:
        assert fpir(table, choice.threshold).rate == choice.achieved
        assert choice.achieved <= target + 1e-9
        lower = [score for score in lower if score < choice.threshold]
    possible = target * len(scores) >= 1
    if lower and possible:
        assert fpir(table, float(np.max(lower))).rate > target


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 3)), min_size=1, max_size=40),
    st.sampled_from([0.1, 1 / 3, 0.7]),
)
def test_a_resampled_threshold_is_the_threshold_of_the_people_drawn(
    drawn: list[tuple[int, int]], target: float
) -> None:
    """Weights choose as if each search stood there as often as it was drawn."""
    repeated = [float(top) for top, times in drawn for _ in range(times)]
    weights = np.array([[float(times) for _, times in drawn]])
    searches = unknown_people([float(top) for top, _ in drawn]).nonmated
    found = weighted_thresholds(searches, weights, target)[0]
    choice = threshold_at_fpir(unknown_people(repeated), target, Evidence(1, 1))
    if choice.threshold is not None:
        rate = np.mean(np.array(repeated) >= found)
        assert rate == choice.achieved
