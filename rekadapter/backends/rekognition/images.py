"""What is sent for an image: the file as it came where AWS takes it, else a JPEG that it takes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rekadapter.backends.rekognition.options import MIN_IMAGE_SIDE_PX
from rekadapter.errors import ImageTooSmallError
from rekadapter.imaging import Crop, Image, crop, encode_jpeg, encode_within
from rekadapter.types import BoundingBox, DetectedFace

logger = logging.getLogger(__name__)

CROP_FACTORS: Final = (2.0, 1.6, 1.3)
"""A face's box is widened by the first of these: AWS asks for head and shoulders and warns of tight
crops (developer guide, "Recommendations for facial comparison input images"). The tighter ones are
for crowds, where a wide crop would hold a larger face, which AWS would search instead."""

HIDDEN_SHARE: Final = 0.3
"""A face of which less than this share is in the crop is taken for too little to be found there."""

SAME_FACE_IOU: Final = 0.3
"""Overlap from which the face AWS searched in a crop may be the one meant."""

_SENT_AS_THEY_ARE: Final = frozenset({"JPEG", "PNG"})


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """``quality`` is libjpeg's, for what has to be encoded here."""

    max_bytes: int
    quality: int


def sendable(image: Image, limits: ImageLimits) -> bytes:
    """The bytes to send: at most ``limits.max_bytes`` of JPEG or PNG.

    Raises:
        ImageTooSmallError: a side is under 80 px; enlarging would add nothing to recognize.
        ImageTooLargeError: it does not fit, however small.
        InvalidImageError: it has to be encoded again and cannot be decoded.
    """
    if min(image.size.width, image.size.height) < MIN_IMAGE_SIDE_PX:
        raise ImageTooSmallError(
            f"an image of {image.size} is too small for AWS Rekognition: each side needs "
            f"{MIN_IMAGE_SIDE_PX} px (use the original, not an enlarged copy)"
        )
    if image.encoded is not None and image.format in _SENT_AS_THEY_ARE:
        if len(image.encoded) <= limits.max_bytes:
            return image.encoded
        return _reduced(image, limits, len(image.encoded))
    data = encode_jpeg(image, limits.quality)
    return data if len(data) <= limits.max_bytes else _reduced(image, limits, len(data))


def _reduced(image: Image, limits: ImageLimits, size: int) -> bytes:
    data = encode_within(image, limits.max_bytes, quality=limits.quality)
    logger.info(
        "an image of %s with %d bytes was encoded again to %d bytes: at most %d may be sent",
        image.size,
        size,
        len(data),
        limits.max_bytes,
    )
    return data


def shorter_side_px(face: DetectedFace, image: Image) -> float:
    """The shorter side of a face in pixels of the image as it was given."""
    return min(face.box.width * image.size.width, face.box.height * image.size.height)


def crop_around(image: Image, face: DetectedFace, everyone: Sequence[DetectedFace]) -> Crop:
    """Head and shoulders of ``face`` from the native pixels, never enlarged.

    The widest of ``CROP_FACTORS`` in which no larger face can be recognized, or else the tightest.
    """
    larger = [
        other.box for other in everyone if other is not face and other.box.area >= face.box.area
    ]
    for factor in CROP_FACTORS:
        cut = crop(image, face.box.scaled(factor), min_side_px=MIN_IMAGE_SIDE_PX)
        if all(other.intersection(cut.region) < HIDDEN_SHARE * other.area for other in larger):
            break
    return cut


def is_the_face_meant(
    searched: BoundingBox, meant: DetectedFace, everyone: Sequence[DetectedFace]
) -> bool:
    """Whether a box found in a crop, placed back in the image, is the face that was cut out."""
    overlap = searched.iou(meant.box)
    return overlap >= SAME_FACE_IOU and all(
        searched.iou(other.box) <= overlap + 1e-6 for other in everyone
    )
