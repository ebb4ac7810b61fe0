"""Motion: what moves passes, what stands still is looked at now and then."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rekadapter.gate import MotionGate, MotionRules
from rekadapter.imaging import Image
from rekadapter.testing.drawn import DrawnFace, picture
from rekadapter.types import Size

SIZE = Size(640, 360)


def test_the_first_frame_and_a_moving_face_pass_and_a_still_scene_does_not() -> None:
    gate = MotionGate(MotionRules(still_seconds=10.0))
    still = picture(DrawnFace("Ann", 50, 50, 60), size=SIZE)
    moved = picture(DrawnFace("Ann", 70, 50, 60), size=SIZE)
    assert gate.passes(still, 0.0)
    assert not gate.passes(still, 0.1)
    assert gate.passes(moved, 0.2)
    assert not gate.passes(moved, 0.3)


def test_an_empty_scene_that_stands_still_is_looked_at_every_second() -> None:
    gate = MotionGate()
    scene = picture(size=SIZE)
    passed = [number for number in range(80) if gate.passes(scene, number / 25)]
    assert passed == [0, 25, 50, 75]


def test_while_somebody_stands_in_it_more_often_and_for_a_second_after() -> None:
    gate = MotionGate()
    scene = picture(DrawnFace("Ann", 50, 50, 60), size=SIZE)
    passed = []
    for number in range(120):
        if gate.passes(scene, number / 25):
            passed.append(number)
            if number < 30:
                gate.somebody(number / 25)
    assert passed == [0, 10, 20, 30, 40, 65, 90, 115]


def test_whoever_moves_into_an_empty_scene_is_looked_at_at_once() -> None:
    gate = MotionGate()
    assert gate.passes(picture(size=SIZE), 0.0)
    assert gate.passes(picture(DrawnFace("Ann", 50, 50, 60), size=SIZE), 0.04)


def test_a_change_too_slow_to_see_from_frame_to_frame_adds_up() -> None:
    gate = MotionGate(MotionRules(threshold=4.0, still_seconds=100.0))
    passed = [n for n in range(20) if gate.passes(picture(size=SIZE, gray=100 + n), n / 25)]
    assert passed == [0, 4, 8, 12, 16]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_noise_of_a_sensor_is_no_motion(seed: int) -> None:
    gate = MotionGate(MotionRules(still_seconds=100.0))
    noise = np.random.default_rng(seed)
    scene = picture(DrawnFace("Ann", 50, 50, 60), size=SIZE).pixels.astype(np.float64)

    def seen() -> Image:
        pixels = np.clip(scene + noise.normal(0.0, 2.5, scene.shape), 0, 255)
        return Image.from_pixels(pixels.astype(np.uint8))

    assert gate.passes(seen(), 0.0)
    assert not any(gate.passes(seen(), number / 25) for number in range(1, 4))


def test_a_camera_that_changes_its_resolution_is_looked_at() -> None:
    gate = MotionGate(MotionRules(still_seconds=100.0))
    assert gate.passes(picture(size=SIZE), 0.0)
    assert gate.passes(picture(size=Size(320, 180)), 0.04)
