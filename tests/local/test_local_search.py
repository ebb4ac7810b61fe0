"""Search against comparing every face by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.backends.local.geometry import Floats
from rekadapter.backends.local.manifests import Metric
from rekadapter.backends.local.models import unit_length
from rekadapter.backends.local.search import TemplateMatrix


def _templates(seed: int, count: int, *, copies: int) -> Floats:
    """Random rows, the last ``copies`` of them near or equal to earlier ones."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 16)).astype(np.float32)
    for number in range(min(copies, count)):
        rows[-1 - number] = rows[0] + np.float32(1e-5) * (number % 3)
    return rows


def _by_hand(rows: Floats, probe: Floats, metric: Metric) -> list[tuple[float, int]]:
    """Every row with its distance from the best score, best first."""
    scored = []
    for index, row in enumerate(rows):
        squared = float(np.sum((row.astype(np.float64) - probe) ** 2, dtype=np.float64))
        away = np.sqrt(squared) if metric is Metric.EUCLIDEAN else squared / 2
        scored.append((float(away), index))
    return sorted(scored)


@pytest.mark.parametrize("metric", Metric)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 120),
    copies=st.integers(0, 10),
    limit=st.integers(1, 130),
)
def test_search_is_brute_force(
    metric: Metric, seed: int, count: int, copies: int, limit: int
) -> None:
    rows = _templates(seed, count, copies=copies)
    probe = rows[0] + np.float32(0.01)
    if metric is Metric.COSINE:
        rows, probe = unit_length(rows), unit_length(probe[None])[0]
    expected = _by_hand(rows, probe, metric)
    # between two rows, so that rounding decides nothing
    cut = expected[len(expected) // 2][0] + 1e-4
    worst = cut if metric is Metric.EUCLIDEAN else 1 - cut
    hits = TemplateMatrix.of(rows).nearest(probe, limit=limit, worst=worst, metric=metric)
    away = [hit.raw if metric is Metric.EUCLIDEAN else 1 - hit.raw for hit in hits]
    wanted = [value for value, _ in expected if value <= cut][:limit]
    assert away == pytest.approx(wanted, abs=1e-5)
    assert away == sorted(away)
    assert len({hit.row for hit in hits}) == len(hits)


def test_equal_faces_keep_the_order_of_enrollment() -> None:
    rows = np.tile(np.ones(4, np.float32), (6, 1))
    hits = TemplateMatrix.of(rows).nearest(rows[0], limit=4, worst=1, metric=Metric.EUCLIDEAN)
    assert [hit.row for hit in hits] == [0, 1, 2, 3]


def test_identical_templates_have_no_distance() -> None:
    rows = _templates(1, 50, copies=0)
    hit = TemplateMatrix.of(rows).nearest(rows[7], limit=1, worst=9, metric=Metric.EUCLIDEAN)[0]
    assert (hit.row, hit.raw) == (7, 0.0)


def test_an_empty_matrix_and_a_limit_of_none_give_nothing() -> None:
    empty = TemplateMatrix.of(np.empty((0, 4), np.float32))
    one = TemplateMatrix.of(np.ones((1, 4), np.float32))
    probe = np.ones(4, np.float32)
    assert empty.nearest(probe, limit=5, worst=9, metric=Metric.EUCLIDEAN) == []
    assert one.nearest(probe, limit=0, worst=9, metric=Metric.EUCLIDEAN) == []
