"""The map between a model's own score and a similarity of 0 to 100."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rekadapter.backends.local.scores import EMBEDDED_SCORES, ScoreMap, cosine_scores

MAPS = [EMBEDDED_SCORES, cosine_scores("buffalo_l", 0.4)]
IDS = ["distance", "cosine"]


@pytest.mark.parametrize("scores", MAPS, ids=IDS)
def test_the_packs_threshold_is_80_and_identical_templates_are_100(scores: ScoreMap) -> None:
    assert scores.similarity_of(scores.threshold).value == pytest.approx(80, abs=1e-9)
    assert scores.similarity_of(scores.best).value == 100


@pytest.mark.parametrize("scores", MAPS, ids=IDS)
@given(first=st.floats(0, 1.6), second=st.floats(0, 1.6))
def test_a_closer_raw_score_is_a_higher_similarity(
    scores: ScoreMap, first: float, second: float
) -> None:
    assume(abs(first - second) > 1e-6)
    near, far = sorted((first, second))
    near_score, far_score = (
        scores.similarity_of(scores.best + scores.away * away) for away in (near, far)
    )
    assert near_score.value > far_score.value
    assert 0 < far_score.value <= 100


@pytest.mark.parametrize("scores", MAPS, ids=IDS)
@given(away=st.floats(0, 1.6))
def test_the_map_is_undone(scores: ScoreMap, away: float) -> None:
    raw = scores.best + scores.away * away
    assert scores.raw_of(scores.similarity_of(raw).value) == pytest.approx(raw, abs=1e-6)


@pytest.mark.parametrize("scores", MAPS, ids=IDS)
def test_zero_lets_everything_through_and_more_than_100_nothing(scores: ScoreMap) -> None:
    assert scores.raw_of(0) == scores.away * math.inf
    assert scores.raw_of(100.1) == -scores.away * math.inf


def test_a_cosine_above_one_by_rounding_is_still_100() -> None:
    assert cosine_scores("x", 0.4).similarity_of(1.0000001).value == 100


def test_two_packs_do_not_share_a_scale() -> None:
    names = {scores.similarity.name for scores in (*MAPS, cosine_scores("buffalo_s", 0.4))}
    assert len(names) == 3
