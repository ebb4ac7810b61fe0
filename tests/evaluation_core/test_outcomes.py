"""An outcome that contradicts itself never reaches a figure."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rekadapter.evaluation.outcomes import (
    ComparisonOutcome,
    Cut,
    Failure,
    PersonId,
    ScoredSubject,
    SearchOutcome,
    best_per_subject,
    turned,
)
from rekadapter.types import ScoreScale

SIMILARITY = ScoreScale("similarity", 0, 100)
DISTANCE = ScoreScale("distance", 0, 2, higher_is_closer=False)
ANN, BOB = PersonId("ann"), PersonId("bob")


@settings(deadline=None)
@given(st.floats(0, 2), st.floats(0, 2))
def test_a_turned_distance_meets_a_turned_threshold_exactly_when_it_did_before(
    distance: float, threshold: float
) -> None:
    assert (turned(distance, DISTANCE) >= turned(threshold, DISTANCE)) == (distance <= threshold)
    assert turned(turned(distance, DISTANCE), DISTANCE) == distance


def test_a_similarity_is_left_alone() -> None:
    assert turned(80.0, SIMILARITY) == 80.0


def _listed(*pairs: tuple[PersonId, float]) -> tuple[ScoredSubject, ...]:
    return tuple(ScoredSubject(subject, score) for subject, score in pairs)


@pytest.mark.parametrize(
    ("candidates", "mated", "failure", "cut"),
    [
        pytest.param(((ANN, 0.9),), False, None, None, id="absent person is a candidate"),
        pytest.param(((BOB, 0.1), (ANN, 0.9)), True, None, None, id="not best first"),
        pytest.param(((ANN, 0.9), (ANN, 0.8)), True, None, None, id="subject twice"),
        pytest.param(((ANN, 0.9),), True, Failure("NO_FACE"), None, id="failed with candidates"),
        pytest.param(((ANN, math.nan),), True, None, None, id="not a number"),
        pytest.param(((ANN, 0.3),), True, None, Cut(floor=0.5), id="below its own floor"),
        pytest.param(
            ((ANN, 0.9), (BOB, 0.3)), True, None, Cut(max_candidates=1), id="longer than its cut"
        ),
    ],
)
def test_a_search_that_contradicts_itself_is_refused(
    candidates: tuple[tuple[PersonId, float], ...],
    mated: bool,  # noqa: FBT001 - a column of the table
    failure: Failure | None,
    cut: Cut | None,
) -> None:
    with pytest.raises(ValueError, match="search 's1'"):
        SearchOutcome("s1", ANN, mated, _listed(*candidates), cut, failure)


def test_several_faces_of_a_subject_count_once_with_the_best_score() -> None:
    faces = _listed((ANN, 0.4), (BOB, 0.9), (ANN, 0.7))
    assert best_per_subject(faces) == _listed((BOB, 0.9), (ANN, 0.7))


@pytest.mark.parametrize(
    ("score", "failure"),
    [(None, None), (0.5, Failure("NO_FACE")), (math.inf, None)],
    ids=["no score and no reason", "failed with a score", "infinite"],
)
def test_a_comparison_that_contradicts_itself_is_refused(
    score: float | None, failure: Failure | None
) -> None:
    with pytest.raises(ValueError, match="comparison 'c1'"):
        ComparisonOutcome("c1", ANN, BOB, score, failure)


def test_a_comparison_is_mated_when_both_are_the_same_person() -> None:
    assert ComparisonOutcome("c1", ANN, ANN, 0.5).mated
    assert not ComparisonOutcome("c2", ANN, BOB, 0.5).mated


@pytest.mark.parametrize("arguments", [(None, None), (math.inf, None), (None, 0)])
def test_a_cut_says_where_it_is(arguments: tuple[float | None, int | None]) -> None:
    with pytest.raises(ValueError, match=r"cut|floor"):
        Cut(*arguments)


def test_a_failure_needs_a_cause() -> None:
    with pytest.raises(ValueError, match="cause"):
        Failure("")
