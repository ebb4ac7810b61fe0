"""A picture of a face: within its budget, above its floor, around the face that is meant."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rekadapter.gate import ShotRules, quality_of
from rekadapter.gate.shots import eye_px, reason_against, region_around, take_shot
from rekadapter.imaging import Image
from rekadapter.types import BoundingBox, DetectedFace, FaceQuality, Pose, Reason, Size

SIZE = Size(640, 480)


def noisy() -> Image:
    """The hardest picture to compress."""
    pixels = np.random.default_rng(7).integers(0, 256, (SIZE.height, SIZE.width, 3))
    return Image.from_pixels(pixels.astype(np.uint8))


NOISE = noisy()


def face(left: float, top: float, side: float, *, eyes: float | None = None) -> DetectedFace:
    """A square face; coordinates in pixels of the picture."""
    box = BoundingBox(left / 640, top / 480, side / 640, side / 480)
    return DetectedFace(box, 99.0, eye_distance_px=0.42 * side if eyes is None else eyes)


faces = st.builds(face, st.floats(-40.0, 620.0), st.floats(-40.0, 460.0), st.floats(30.0, 300.0))


@settings(max_examples=40, deadline=None)
@given(faces, st.lists(faces, max_size=3), st.integers(200, 60_000))
def test_a_shot_keeps_its_budget_and_its_floor_or_there_is_none(
    meant: DetectedFace, others: list[DetectedFace], max_bytes: int
) -> None:
    rules = ShotRules(max_bytes=max_bytes)
    shot = take_shot(NOISE, meant, [meant, *others], rules)
    if shot is None:
        assert take_shot(NOISE, meant, [meant, *others], ShotRules()) is not None
        return
    assert shot.image.encoded is not None
    assert len(shot.image.encoded) <= max_bytes
    native = eye_px(meant, SIZE)
    assert min(native, rules.min_eye_px) * 0.999 <= shot.eye_px <= native
    assert min(shot.image.size.width, shot.image.size.height) >= rules.min_side_px
    cut = shot.region.pixels(SIZE)
    assert shot.image.size.width <= cut.width
    assert shot.image.size.height <= cut.height


@settings(max_examples=30, deadline=None)
@given(faces, st.integers(2_000, 20_000), st.integers(2_000, 20_000))
def test_more_bytes_never_give_fewer_pixels_between_the_eyes(
    meant: DetectedFace, one: int, other: int
) -> None:
    less, more = sorted((one, other))
    small = take_shot(NOISE, meant, [meant], ShotRules(max_bytes=less))
    large = take_shot(NOISE, meant, [meant], ShotRules(max_bytes=more))
    if small is not None:
        assert large is not None
        assert large.eye_px >= small.eye_px


def test_a_large_face_is_scaled_to_what_is_enough_and_a_small_one_left_alone() -> None:
    large, small = face(200, 100, 200), face(300, 200, 50)
    rules = ShotRules(enough_eye_px=40.0)
    of_large = take_shot(NOISE, large, [large], rules)
    of_small = take_shot(NOISE, small, [small], rules)
    assert of_large is not None
    assert of_small is not None
    assert of_large.eye_px == pytest.approx(40.0)
    assert of_small.eye_px == pytest.approx(21.0)
    cut = of_small.region.pixels(SIZE)
    assert of_small.image.size == Size(cut.width, cut.height)


def test_a_crop_holds_head_and_shoulders_but_no_larger_face() -> None:
    meant, neighbor = face(200, 200, 60), face(255, 190, 90)
    assert region_around(meant, [meant]).width == pytest.approx(2.0 * meant.box.width)
    tight = region_around(meant, [meant, neighbor])
    assert tight.width < 2.0 * meant.box.width
    assert neighbor.box.intersection(tight) < 0.3 * neighbor.box.area


REASONS: list[tuple[DetectedFace, Reason | None]] = [
    (face(0, 0, 100), None),
    (face(0, 0, 100, eyes=15.9), Reason.FACE_TOO_SMALL),
    (
        DetectedFace(face(0, 0, 100).box, 99.0, pose=Pose(0.0, 70.0, 0.0), eye_distance_px=40.0),
        Reason.EXTREME_POSE,
    ),
    (
        DetectedFace(
            face(0, 0, 100).box, 99.0, quality=FaceQuality(3.0, 50.0), eye_distance_px=40.0
        ),
        Reason.LOW_SHARPNESS,
    ),
    (
        DetectedFace(
            face(0, 0, 100).box, 99.0, quality=FaceQuality(50.0, 3.0), eye_distance_px=40.0
        ),
        Reason.LOW_BRIGHTNESS,
    ),
]


@pytest.mark.parametrize(("seen", "reason"), REASONS)
def test_a_face_below_the_floor_is_refused_with_the_reason(
    seen: DetectedFace, reason: Reason | None
) -> None:
    assert reason_against(seen, SIZE, ShotRules()) is reason


def test_of_two_pictures_the_larger_sharper_better_lit_more_frontal_one_is_better() -> None:
    def quality(eyes: float, sharpness: float, brightness: float, yaw: float = 0.0) -> float:
        seen = DetectedFace(
            face(0, 0, 100).box,
            99.0,
            pose=Pose(0.0, yaw, 0.0),
            quality=FaceQuality(sharpness, brightness),
            eye_distance_px=eyes,
        )
        return quality_of(seen, SIZE)

    best = quality(40.0, 60.0, 50.0)
    assert best > quality(30.0, 60.0, 50.0)
    assert best > quality(40.0, 20.0, 50.0)
    assert best > quality(40.0, 60.0, 5.0)
    assert best > quality(40.0, 60.0, 99.0)
    assert best > quality(40.0, 60.0, 50.0, -40.0)
    assert quality(100.0, 60.0, 50.0) == quality(60.0, 60.0, 50.0)
