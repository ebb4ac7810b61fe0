"""A picture of one face: how good it is, whether it is worth sending, and in how many bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rekadapter.imaging import Image, crop, encode_jpeg, scaled_down
from rekadapter.types import BoundingBox, DetectedFace, Reason, Size

CROP_FACTORS: Final = (2.0, 1.6, 1.3)
"""A face's box is widened by the first of these: head and shoulders, as AWS asks, which warns of
tight crops (developer guide, "Recommendations for facial comparison input images"). The tighter
ones are for crowds, where a wide crop would hold a larger face, which would be searched instead."""

_HIDDEN_SHARE: Final = 0.3
"""A face of which less than this share is in a crop is taken for too little to be found there."""

_EYES_OF_BOX: Final = 0.42
"""Eye distance over the shorter side of a face's box, for detectors that give no landmarks: the
median of CenterFace's boxes on the frontal faces of a street clip."""

_AMPLE_SHARPNESS: Final = 50.0
_DARK, _BRIGHT = 20.0, 90.0


@dataclass(frozen=True, slots=True)
class ShotRules:
    """What a picture of a face needs, and what it may cost.

    ``min_eye_px``: fewer native pixels between the eyes are not worth sending. ``enough_eye_px``:
    larger faces are scaled down to it, as more pixels tell the recognizer no more. ``quality`` and
    ``min_quality`` are libjpeg's. ``max_bytes`` is the most a picture may take, None without bound.
    ``min_side_px`` is the least side of an image that the recognizer takes. Faces turned further
    than ``max_angle`` degrees, blurred below ``min_sharpness`` percent or of a brightness outside
    ``brightness`` percent are not sent; what a detector does not tell is not held against a face.

    The defaults come from ``rekadapter plan --measure`` on the embedded pack, 2026-11-23: 57
    photographs of 10 people, one more of each enrolled, faces scaled to so many pixels between the
    eyes. At 16 px and quality 65 all 57 were identified (1.2 kB at the median), at quality 50 55 of
    57, at 35 50; at 12 px and quality 80 39; at 10 px 13; nobody was taken for another. From 24 px
    on all were, down to quality 20. 16 px are also about the 40 px of face from which Rekognition
    finds one; 40 px and quality 70 leave AWS, whose curve is not known, twice the pixels that it
    advises at least (a face of 50 px).
    """

    min_eye_px: float = 16.0
    enough_eye_px: float = 40.0
    quality: int = 70
    min_quality: int = 50
    max_bytes: int | None = None
    min_side_px: int = 80
    max_angle: float = 65.0
    min_sharpness: float = 8.0
    brightness: tuple[float, float] = (8.0, 97.0)


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture of one face, encoded: ``image`` holds a JPEG, ``region`` is where it stands in its
    frame, ``eye_px`` what is left between the eyes after scaling."""

    image: Image
    region: BoundingBox
    eye_px: float


def eye_px(face: DetectedFace, size: Size) -> float:
    """Native pixels between the eyes; from the box where the detector gives no eyes."""
    if face.eye_distance_px is not None:
        return face.eye_distance_px
    return _EYES_OF_BOX * min(face.box.width * size.width, face.box.height * size.height)


def quality_of(face: DetectedFace, size: Size) -> float:
    """One number to choose the best of a person's pictures by: pixels between the eyes, as few as
    60 being ample, less for blur, for a face too dark or too bright, and for one turned aside: by
    the square of the cosine of its yaw, and once more as its eyes come together."""
    sharpness = brightness = frontal = 1.0
    if face.pose is not None:
        frontal = max(0.0, math.cos(math.radians(face.pose.yaw))) ** 2
    if face.quality is not None:
        sharpness = 0.5 + 0.5 * min(1.0, face.quality.sharpness / _AMPLE_SHARPNESS)
        level = face.quality.brightness
        brightness = min(1.0, max(0.2, level / _DARK), max(0.2, (100 - level) / (100 - _BRIGHT)))
    return min(eye_px(face, size), 60.0) * sharpness * brightness * frontal


def reason_against(face: DetectedFace, size: Size, rules: ShotRules) -> Reason | None:
    """Why a face is not worth sending; None if it is."""
    if eye_px(face, size) < rules.min_eye_px:
        return Reason.FACE_TOO_SMALL
    pose, quality = face.pose, face.quality
    if pose is not None and max(abs(pose.yaw), abs(pose.pitch)) > rules.max_angle:
        return Reason.EXTREME_POSE
    if quality is not None:
        if quality.sharpness < rules.min_sharpness:
            return Reason.LOW_SHARPNESS
        if not rules.brightness[0] <= quality.brightness <= rules.brightness[1]:
            return Reason.LOW_BRIGHTNESS
    return None


def region_around(
    face: DetectedFace, everyone: Sequence[DetectedFace], factors: Sequence[float] = CROP_FACTORS
) -> BoundingBox:
    """Head and shoulders: the widest margin in which no larger face can be recognized, or else the
    tightest."""
    larger = [
        other.box for other in everyone if other is not face and other.box.area >= face.box.area
    ]
    for factor in factors:
        region = face.box.scaled(factor)
        if all(other.intersection(region) < _HIDDEN_SHARE * other.area for other in larger):
            break
    return region


def take_shot(
    image: Image, face: DetectedFace, everyone: Sequence[DetectedFace], rules: ShotRules
) -> Shot | None:
    """The face as a JPEG that fits ``max_bytes``; None where it would have to fall below the floor.

    Scaled down where it has more pixels than needed, never up; first the JPEG quality gives way to
    the byte budget, then the pixels between the eyes.
    """
    cut = crop(image, region_around(face, everyone), min_side_px=rules.min_side_px)
    native = eye_px(face, image.size)
    for target in _sizes(native, rules):
        factor = _not_too_small(target / native, cut.image.size, rules.min_side_px)
        if factor * native < min(target, rules.min_eye_px) * (1 - 1e-9):
            continue
        scaled = scaled_down(cut.image, factor)
        for quality in _qualities(rules):
            data = encode_jpeg(scaled, quality)
            if rules.max_bytes is None or len(data) <= rules.max_bytes:
                return Shot(Image.from_bytes(data), cut.region, native * factor)
    return None


def _sizes(native: float, rules: ShotRules) -> Iterator[float]:
    """Eye distances to try, largest first, down to the floor."""
    size = min(native, rules.enough_eye_px)
    while size > rules.min_eye_px:
        yield size
        size *= 0.8
    yield min(native, rules.min_eye_px)


def _qualities(rules: ShotRules) -> Iterator[int]:
    yield from range(rules.quality, rules.min_quality, -10)
    yield rules.min_quality


def _not_too_small(factor: float, size: Size, min_side_px: int) -> float:
    """The factor, or the one that leaves the shorter side as long as the recognizer asks."""
    shorter = min(size.width, size.height)
    # rounded up: a side of 79.6 px would come out one short of 80
    least = math.ceil(min_side_px) / shorter if shorter > min_side_px else 1.0
    return min(1.0, max(factor, least))
