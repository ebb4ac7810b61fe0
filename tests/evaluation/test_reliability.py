"""Krippendorff's alpha: his own examples, what it means at its ends, and refusals."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.evaluation.reliability import estimate_alpha, nominal_alpha
from rekadapter.evaluation.statistics import Evidence, Settings

SETTINGS = Settings(resamples=200)
FEW = Settings(resamples=200, evidence=Evidence(min_people=3, min_errors=1))

FOUR_OBSERVERS = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)


def counted(rows: tuple[str, ...]) -> np.ndarray[tuple[int, int], np.dtype[np.intp]]:
    """How many observers gave each unit each of the values 1 to 5."""
    columns = zip(*(row.split() for row in rows), strict=True)
    return np.array([[column.count(str(value)) for value in range(1, 6)] for column in columns])


def test_krippendorffs_example_of_four_observers_with_gaps_gives_his_figure() -> None:
    """K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), example C."""
    assert nominal_alpha(counted(FOUR_OBSERVERS)) == pytest.approx(0.743, abs=5e-4)


def test_two_people_on_two_alerts_by_hand() -> None:
    """n = 4, one unlike pair counted both ways: D = 2, totals 3 and 1: E = 6, 1 - 3 * 2 / 6."""
    assert nominal_alpha(np.array([[2, 0], [1, 1]])) == pytest.approx(0.0)


def test_perfect_agreement_is_one_and_always_the_same_word_is_nothing() -> None:
    assert nominal_alpha(np.array([[2, 0], [0, 2]])) == pytest.approx(1.0)
    assert nominal_alpha(np.array([[2, 0], [2, 0]])) is None
    assert nominal_alpha(np.array([[1, 0], [0, 1]])) is None


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_neither_the_order_of_units_nor_that_of_values_matters(
    rows: list[list[int]], random: Random
) -> None:
    turned = [row[::-1] for row in rows]
    random.shuffle(turned)
    before, after = nominal_alpha(np.array(rows)), nominal_alpha(np.array(turned))
    assert before == (None if after is None else pytest.approx(after))
    assert before is None or before <= 1 + 1e-9


def test_few_people_give_no_figure() -> None:
    counts = np.array([[2, 0], [1, 1], [0, 2], [2, 0]])
    found = estimate_alpha(counts, np.arange(4), SETTINGS)
    assert (found.value, found.n, found.people) == (None, 4, 4)
    assert "too few" in found.reason


def test_one_judge_each_is_no_agreement() -> None:
    found = estimate_alpha(np.array([[1, 0], [0, 1]]), np.arange(2), FEW)
    assert (found.value, found.reason) == (None, "no two people decided on the same")


def test_an_interval_holds_the_value_and_is_the_same_each_time() -> None:
    counts = np.array([[2, 0], [1, 1], [0, 2], [2, 0], [0, 2], [1, 1]] * 10)
    found = estimate_alpha(counts, np.arange(60), SETTINGS)
    assert found == estimate_alpha(counts, np.arange(60), SETTINGS)
    assert found.value is not None
    assert found.ci is not None
    assert found.ci.low < found.value < found.ci.high
    assert found.sufficient


def test_verdicts_that_hardly_vary_are_marked_as_thin() -> None:
    counts = np.array([[2, 0]] * 40 + [[1, 1]])
    found = estimate_alpha(counts, np.arange(41), SETTINGS)
    assert not found.sufficient
    assert "1 decision differed" in found.reason
