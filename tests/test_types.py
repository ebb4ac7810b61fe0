"""Boxes and scores: the laws their users rely on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.errors import ScaleMismatchError
from rekadapter.types import BoundingBox, ComparisonScore, PixelBox, Point, ScoreScale, Size

SIMILARITY = ScoreScale("similarity", 0, 100)
DISTANCE = ScoreScale("distance", 0, 2, higher_is_closer=False)

share = st.floats(-0.5, 1.5)
side = st.floats(0.001, 1.0)
boxes = st.builds(BoundingBox, share, share, side, side)
sizes = st.builds(Size, st.integers(1, 4000), st.integers(1, 4000))


@given(boxes, boxes)
def test_iou_is_symmetric_and_within_0_and_1(one: BoundingBox, other: BoundingBox) -> None:
    assert one.iou(other) == pytest.approx(other.iou(one))
    assert 0.0 <= one.iou(other) <= 1.0 + 1e-9
    assert one.iou(one) == pytest.approx(1.0)


@given(boxes, sizes)
def test_pixels_lie_inside_the_image_and_are_never_empty(box: BoundingBox, size: Size) -> None:
    pixels = box.pixels(size)
    assert 0 <= pixels.left < pixels.right <= size.width
    assert 0 <= pixels.top < pixels.bottom <= size.height


@given(sizes, st.data())
def test_whole_pixels_survive_fractions(size: Size, data: st.DataObject) -> None:
    left = data.draw(st.integers(0, size.width - 1))
    top = data.draw(st.integers(0, size.height - 1))
    right = data.draw(st.integers(left + 1, size.width))
    bottom = data.draw(st.integers(top + 1, size.height))
    box = PixelBox(left, top, right, bottom)
    assert BoundingBox.from_pixels(box, size).pixels(size) == box


@given(boxes, boxes)
def test_a_face_found_in_a_crop_is_placed_back(face: BoundingBox, region: BoundingBox) -> None:
    placed = face.within(region)
    assert (placed.left - region.left) / region.width == pytest.approx(face.left, abs=1e-6)
    assert placed.width / region.width == pytest.approx(face.width, abs=1e-6)


@given(st.lists(st.builds(Point, share, share), min_size=1))
def test_the_box_around_points_holds_them_all(points: list[Point]) -> None:
    box = BoundingBox.around(points)
    assert all(box.left <= p.x <= box.right + 1e-9 for p in points)
    assert all(box.top <= p.y <= box.bottom + 1e-9 for p in points)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        BoundingBox(value, 0, 1, 1)
    with pytest.raises(ValueError, match="finite"):
        ComparisonScore(value, SIMILARITY)


def test_a_threshold_is_inclusive_in_both_directions() -> None:
    assert ComparisonScore(80, SIMILARITY).meets(ComparisonScore(80, SIMILARITY))
    assert not ComparisonScore(79.9, SIMILARITY).meets(ComparisonScore(80, SIMILARITY))
    assert ComparisonScore(0.5, DISTANCE).meets(ComparisonScore(0.6, DISTANCE))
    assert not ComparisonScore(0.7, DISTANCE).meets(ComparisonScore(0.6, DISTANCE))


def test_two_scales_never_meet() -> None:
    with pytest.raises(ScaleMismatchError, match="similarity"):
        ComparisonScore(0.5, DISTANCE).meets(ComparisonScore(80, SIMILARITY))
