"""What one answer settles about a person, on any scale."""

from __future__ import annotations

import pytest

from rekadapter.gate import Fate, verdict_of
from rekadapter.types import (
    BoundingBox,
    Candidate,
    ComparisonScore,
    DetectedFace,
    EnrolledFace,
    FaceId,
    FaceIdentification,
    ImageId,
    ScoreScale,
    SubjectId,
)

PERCENT = ScoreScale("percent", 0.0, 100.0)
DISTANCE = ScoreScale("distance", 0.0, 1.0, higher_is_closer=False)
BOX = BoundingBox(0.4, 0.4, 0.1, 0.1)


def answer(*scores: float, scale: ScoreScale) -> FaceIdentification:
    enrolled = EnrolledFace(FaceId("1"), ImageId("1"), SubjectId("ann"), BOX, 99.0)
    candidates = tuple(Candidate(enrolled, ComparisonScore(one, scale)) for one in scores)
    return FaceIdentification(DetectedFace(BOX, 99.0), candidates)


@pytest.mark.parametrize(
    ("score", "fate"),
    [
        (99.0, Fate.CLEAR),
        (95.0, Fate.CLEAR),
        (94.9, Fate.NEAR),
        (80.0, Fate.NEAR),
        (79.9, Fate.NEAR),
        (75.0, Fate.NEAR),
        (74.9, Fate.NOBODY),
    ],
)
def test_how_sure_an_answer_is_goes_by_its_place_between_threshold_and_best(
    score: float, fate: Fate
) -> None:
    assert verdict_of(answer(score, scale=PERCENT), ComparisonScore(80.0, PERCENT)) is fate


@pytest.mark.parametrize(
    ("distance", "fate"),
    [
        (0.125, Fate.CLEAR),
        (0.126, Fate.NEAR),
        (0.5, Fate.NEAR),
        (0.625, Fate.NEAR),
        (0.63, Fate.NOBODY),
    ],
)
def test_where_less_is_closer_the_order_is_turned(distance: float, fate: Fate) -> None:
    assert verdict_of(answer(distance, scale=DISTANCE), ComparisonScore(0.5, DISTANCE)) is fate


def test_without_a_candidate_it_is_nobody() -> None:
    assert verdict_of(answer(scale=PERCENT), ComparisonScore(80.0, PERCENT)) is Fate.NOBODY
