"""Boxes, decoding and alignment as properties."""

from __future__ import annotations

import itertools
import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rekadapter.backends.local.align import (
    ARCFACE_112,
    DLIB_150,
    ChipTemplate,
    cut_chips,
    similarity_transform,
    transform_scale,
)
from rekadapter.backends.local.centerface import decode, tile_spans
from rekadapter.backends.local.geometry import (
    FaceArrays,
    Floats,
    areas,
    drop_nested,
    intersections,
    suppress,
)
from rekadapter.backends.local.quality import HEAD, estimate_pose

sides = st.floats(1, 400, width=32)


@st.composite
def scored_boxes(draw: st.DrawFn) -> tuple[Floats, Floats]:
    count = draw(st.integers(0, 25))
    corners = draw(arrays.arrays(np.float32, (count, 2), elements=st.floats(0, 500, width=32)))
    sizes = draw(arrays.arrays(np.float32, (count, 2), elements=sides))
    scores = draw(arrays.arrays(np.float32, count, elements=st.floats(0, 1, width=32)))
    return np.concatenate([corners, corners + sizes], axis=1), scores


def _iou(a: Floats, b: Floats) -> float:
    shared = float(intersections(a, b[None])[0])
    union = float(areas(a[None])[0] + areas(b[None])[0]) - shared
    return shared / union


@given(scored_boxes(), st.floats(0.1, 0.9))
def test_suppression_keeps_boxes_apart_and_drops_only_for_a_better_one(
    given_boxes: tuple[Floats, Floats], bound: float
) -> None:
    boxes, scores = given_boxes
    kept = [int(index) for index in suppress(boxes, scores, bound)]
    assert [scores[i] for i in kept] == sorted((scores[i] for i in kept), reverse=True)
    for position, first in enumerate(kept):
        assert all(_iou(boxes[first], boxes[other]) <= bound + 1e-4 for other in kept[:position])
    for index in set(range(len(boxes))) - set(kept):
        assert any(
            scores[other] >= scores[index] and _iou(boxes[other], boxes[index]) > bound - 1e-4
            for other in kept
        )


@given(scored_boxes())
def test_no_kept_face_lies_inside_another(given_boxes: tuple[Floats, Floats]) -> None:
    boxes, scores = given_boxes
    points = np.zeros((len(boxes), 5, 2), np.float32)
    left = drop_nested(FaceArrays(boxes, scores, points))
    for index in range(len(left)):
        others = np.delete(np.arange(len(left)), index)
        shared = intersections(left.boxes[index], left.boxes[others])
        assert np.all(shared < areas(left.boxes[others]) * 0.7 + 1e-2)


def test_the_better_of_two_nested_faces_stays() -> None:
    boxes = np.array([[0, 0, 100, 100], [30, 30, 60, 60], [200, 0, 240, 40]], np.float32)
    faces = FaceArrays(
        boxes, np.array([0.9, 0.6, 0.7], np.float32), np.zeros((3, 5, 2), np.float32)
    )
    assert drop_nested(faces).boxes[:, 0].tolist() == [0, 200]


@given(
    row=st.integers(0, 7),
    column=st.integers(0, 9),
    height=st.floats(8, 200),
    width=st.floats(8, 200),
    shift=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_decoding_undoes_how_the_network_writes_a_face(
    row: int,
    column: int,
    height: float,
    width: float,
    shift: tuple[float, float],
    place: tuple[float, float],
) -> None:
    score = np.zeros((1, 1, 8, 10), np.float32)
    log_size, offset = np.zeros((2, 1, 2, 8, 10), np.float32)
    landmarks = np.zeros((1, 10, 8, 10), np.float32)
    score[0, 0, row, column] = 0.8
    log_size[0, :, row, column] = math.log(height / 4), math.log(width / 4)
    offset[0, :, row, column] = shift
    landmarks[0, :, row, column] = place * 5
    faces = decode([score, log_size, offset, landmarks], 0.5)
    assert len(faces) == 1
    left, top, right, bottom = faces.boxes[0].tolist()
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx(
        ((column + shift[1] + 0.5) * 4, (row + shift[0] + 0.5) * 4), abs=1e-2
    )
    assert (right - left, bottom - top) == pytest.approx((width, height), rel=1e-3)
    expected = (left + place[1] * width, top + place[0] * height)
    assert faces.points[0, 3].tolist() == pytest.approx(expected, abs=1e-1)


def test_decoding_an_extreme_cell_stays_finite() -> None:
    outputs = [np.full((1, channels, 2, 2), 1e4, np.float32) for channels in (1, 2, 2, 10)]
    assert np.isfinite(decode(outputs, 0.5).boxes).all()


@given(
    scale=st.floats(0.05, 20),
    angle=st.floats(-math.pi, math.pi),
    x=st.floats(-2000, 2000),
    y=st.floats(-2000, 2000),
    template=st.sampled_from([DLIB_150, ARCFACE_112]),
)
def test_alignment_undoes_any_turn_scale_and_shift(
    scale: float, angle: float, x: float, y: float, template: ChipTemplate
) -> None:
    turn = scale * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    target = template.array().astype(np.float64)
    seen = target @ turn.T + (x, y)
    matrix = similarity_transform(seen, target)
    back = seen @ matrix[:, :2].T + matrix[:, 2]
    assert np.abs(back - target).max() < 1e-6
    assert transform_scale(matrix) == pytest.approx(1 / scale)


def test_landmarks_in_one_place_still_give_a_finite_transform() -> None:
    matrix = similarity_transform(np.full((5, 2), 7, np.float32), DLIB_150.array())
    assert np.isfinite(matrix).all()


@pytest.mark.parametrize("factor", [0.3, 1, 2.5, 8])
def test_a_chip_shows_the_same_face_at_any_resolution(factor: float) -> None:
    y, x = np.mgrid[0:120, 0:120]
    smooth = np.stack([x, y, 120 - x], axis=2).astype(np.uint8)
    points = np.array([[45, 48], [75, 47], [60, 62], [48, 75], [72, 74]], np.float32)
    side = round(120 * factor)
    image = np.asarray(cv2.resize(smooth, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)
    at_one = cut_chips(smooth, points[None], DLIB_150)
    # pixel centers move with the resolution
    moved = (points + 0.5) * factor - 0.5
    scaled = cut_chips(image, moved[None].astype(np.float32), DLIB_150)
    middle = np.s_[0, 30:120, 30:120]
    assert np.abs(at_one[middle].astype(int) - scaled[middle]).mean() < 2


def test_a_face_at_the_border_is_cut_with_black_beyond_it() -> None:
    white = np.full((100, 100, 3), 255, np.uint8)
    points = DLIB_150.array() * 0.5 - np.array([30, 0], np.float32)
    chip = cut_chips(white, points[None], DLIB_150)[0]
    assert chip[75, 20].max() == 0
    assert chip[75, 100].min() == 255


def _head_seen(yaw: float, pitch: float, roll: float) -> Floats:
    """An average head turned by angles in degrees, as a distant camera sees it."""
    a, b, c = (math.radians(v) for v in (yaw, -pitch, roll))
    about_y = np.array([[math.cos(a), 0, -math.sin(a)], [0, 1, 0], [math.sin(a), 0, math.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]])
    about_z = np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]])
    turned = HEAD @ (about_z @ about_x @ about_y).T
    return np.asarray(turned[:, :2] * 2 + 300, np.float32)


@pytest.mark.parametrize("angles", [(0, 0, 0), (40, 0, 0), (-40, 0, 0), (0, 25, 0), (0, -25, 0)])
@pytest.mark.parametrize("roll", [0, 30, -120])
def test_pose_of_the_average_head_comes_back(angles: tuple[int, int, int], roll: int) -> None:
    pose = estimate_pose(_head_seen(angles[0], angles[1], roll))
    assert pose.roll == pytest.approx(roll, abs=0.5)
    assert (pose.yaw, pose.pitch) == pytest.approx(angles[:2], abs=0.5)


def test_a_nose_to_the_viewers_right_is_a_positive_yaw() -> None:
    points = DLIB_150.array().copy()
    points[2, 0] += 12
    assert estimate_pose(points).yaw > 5


def test_a_nose_near_the_eyes_is_a_positive_pitch() -> None:
    points = DLIB_150.array().copy()
    points[2, 1] -= 12
    assert estimate_pose(points).pitch > 5


@given(length=st.integers(1, 20000), longest=st.integers(200, 3000), overlap=st.integers(0, 96))
def test_tiles_cover_everything_and_share_what_they_must(
    length: int, longest: int, overlap: int
) -> None:
    spans = tile_spans(length, longest, overlap)
    assert spans[0][0] == 0
    assert spans[-1][1] == length
    assert all(end - start <= longest for start, end in spans)
    for (_, end), (start, _) in itertools.pairwise(spans):
        # rounding to whole pixels may cost one on each side
        assert end - start >= overlap - 2
