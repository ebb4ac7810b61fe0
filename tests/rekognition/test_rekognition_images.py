"""Crops: what is cut around a face, and whether the face searched is the one meant."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.backends.rekognition.images import (
    CROP_FACTORS,
    crop_around,
    is_the_face_meant,
    shorter_side_px,
)
from rekadapter.imaging import Image
from rekadapter.types import BoundingBox, DetectedFace

SIDES = st.integers(80, 600)
EDGES = st.floats(-0.1, 0.95)
LENGTHS = st.floats(0.02, 0.9)
BOXES = st.builds(BoundingBox, EDGES, EDGES, LENGTHS, LENGTHS)


def blank(width: int, height: int) -> Image:
    return Image.from_pixels(np.zeros((height, width, 3), dtype=np.uint8))


def a_face(box: BoundingBox) -> DetectedFace:
    return DetectedFace(box, 99.0)


def seen_in(region: BoundingBox, box: BoundingBox) -> BoundingBox:
    """A box of the image as a detector gives it in a crop: what ``within`` undoes."""
    return BoundingBox(
        (box.left - region.left) / region.width,
        (box.top - region.top) / region.height,
        box.width / region.width,
        box.height / region.height,
    )


@given(SIDES, SIDES, st.lists(BOXES, min_size=1, max_size=5))
def test_a_crop_is_searchable_holds_its_face_and_leads_back_to_it(
    width: int, height: int, boxes: list[BoundingBox]
) -> None:
    image = blank(width, height)
    everyone = [a_face(box) for box in boxes]
    for face in everyone:
        cut = crop_around(image, face, everyone)
        assert min(cut.image.size.width, cut.image.size.height) >= 80
        visible = face.box.clipped()
        assert cut.region.intersection(visible) == pytest.approx(visible.area, abs=1e-9)
        found = seen_in(cut.region, face.box).within(cut.region)
        assert is_the_face_meant(found, face, everyone)


@given(st.floats(0, 0.6), st.floats(0, 0.6))
def test_a_face_elsewhere_is_never_taken_for_the_one_meant(left: float, top: float) -> None:
    meant = a_face(BoundingBox(left, top, 0.1, 0.1))
    other = a_face(BoundingBox(left + 0.12, top + 0.12, 0.2, 0.2))
    assert not is_the_face_meant(other.box, meant, [meant, other])
    assert not is_the_face_meant(other.box, meant, [meant])


def test_of_two_faces_that_overlap_the_nearer_one_was_searched() -> None:
    meant = a_face(BoundingBox(0.3, 0.3, 0.2, 0.2))
    other = a_face(BoundingBox(0.36, 0.3, 0.2, 0.2))
    assert is_the_face_meant(BoundingBox(0.31, 0.3, 0.2, 0.2), meant, [meant, other])
    assert not is_the_face_meant(BoundingBox(0.35, 0.3, 0.2, 0.2), meant, [meant, other])


def test_a_face_alone_is_cut_with_head_and_shoulders() -> None:
    face = a_face(BoundingBox(0.4, 0.4, 0.2, 0.2))
    cut = crop_around(blank(1000, 500), face, [face])
    assert cut.region.iou(face.box.scaled(CROP_FACTORS[0])) > 0.98


def test_the_shorter_side_counts_in_pixels() -> None:
    assert shorter_side_px(a_face(BoundingBox(0, 0, 0.1, 0.5)), blank(500, 400)) == 50
