"""What can honestly be said of a face from its pixels and five landmarks, and the quality filter.

All of it is estimated; none of it is Rekognition's: use it to compare cameras, not vendors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from rekadapter.backends.local.geometry import Floats
from rekadapter.imaging import Pixels
from rekadapter.recognizer import QualityFilter
from rekadapter.types import DetectedFace, FaceQuality, PixelBox, Pose, Reason

HEAD: Final = np.array(
    [
        [-31.5, 0.0, 0.0],
        [31.5, 0.0, 0.0],
        [0.0, 34.4, -30.0],
        [-26.8, 58.0, -3.0],
        [26.8, 58.0, -3.0],
    ]
)
"""An average head in millimeters, x to the viewer's right, y down, z away from the camera: eyes,
nose tip, corners of the mouth. Across the face: the median landmarks of frontal faces (see
``align.DLIB_150``) at a pupil distance of 63 mm; in depth: rounded anthropometric means."""

_HEAD_INVERSE: Final = np.linalg.pinv(HEAD - HEAD.mean(axis=0))

_SHARPNESS_SIDE: Final = 96
"""Faces are averaged down to this long side before sharpness is measured, never enlarged."""

_SHARPNESS_HALF: Final = 150.0
"""The variance of the Laplacian that counts as 50 % sharp."""


def estimate_pose(points: Floats) -> Pose:
    """Rotation of the head in degrees from landmarks of shape (5, 2) in pixels.

    Roll is exact: the angle of the line between the eyes, positive clockwise as the viewer sees it.
    Yaw (positive: the face turns to the viewer's right) and pitch (positive: it looks up) come from
    fitting an average head under weak perspective, the least-squares affine camera made orthonormal
    (POS, DeMenthon and Davis, IJCV 15, 1995). On other heads than the average expect errors of 10
    degrees and more: good for telling frontal from profile, no measurement.
    """
    eyes = points[1].astype(np.float64) - points[0].astype(np.float64)
    roll = math.degrees(math.atan2(eyes[1], eyes[0]))
    upright = _turned(points.astype(np.float64), -roll)
    camera = (_HEAD_INVERSE @ (upright - upright.mean(axis=0))).T
    right, down = _orthonormal(camera)
    forward = np.cross(right, down)
    yaw = math.degrees(math.asin(float(np.clip(-right[2], -1, 1))))
    pitch = math.degrees(math.atan2(float(down[2]), float(forward[2])))
    return Pose(roll=roll, yaw=yaw, pitch=pitch)


def _turned(points: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    turned: NDArray[np.float64] = points @ np.array([[cos, sin], [-sin, cos]])
    return turned


def _orthonormal(camera: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two orthonormal rows nearest to a 2 x 3 camera matrix."""
    left, _, right = np.linalg.svd(camera, full_matrices=False)
    rows = left @ right
    return rows[0], rows[1]


def eye_distance(points: Floats) -> float:
    """Pixels between the eye landmarks of one face (5, 2)."""
    return float(np.hypot(*(points[1] - points[0]).astype(np.float64)))


def measure_quality(pixels: Pixels, box: PixelBox) -> FaceQuality:
    """Sharpness and brightness of the box in percent.

    Brightness is the mean luma (ITU-R BT.601) over 255. Sharpness is v / (v + 150) with v the
    variance of the Laplacian of the luma, the box averaged down to 96 pixels first so that a large
    and a small picture of the same face compare.
    """
    face = pixels[box.top : box.bottom, box.left : box.right]
    shrink = _SHARPNESS_SIDE / max(face.shape[:2])
    if shrink < 1:
        face = np.asarray(
            cv2.resize(face, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8
        )
    luma = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY)
    variance = float(cv2.Laplacian(luma, cv2.CV_32F).var())
    return FaceQuality(
        sharpness=100 * variance / (variance + _SHARPNESS_HALF),
        brightness=100 * float(luma.mean()) / 255,
    )


@dataclass(frozen=True, slots=True)
class QualityBounds:
    """What a face needs to pass one strength of the quality filter. The bounds are ours.

    ``face_size_px`` is held against ``alignment_size``; angles in degrees, the rest in percent.
    """

    confidence: float
    face_size_px: float
    sharpness: float
    darkest: float
    brightest: float
    angle: float


_LOW: Final = QualityBounds(50, 12, 2, 8, 97, 75)
_MEDIUM: Final = QualityBounds(60, 20, 10, 12, 93, 50)
_HIGH: Final = QualityBounds(75, 30, 20, 18, 88, 30)

BOUNDS: Final[dict[QualityFilter, QualityBounds | None]] = {
    QualityFilter.NONE: None,
    QualityFilter.AUTO: _LOW,
    QualityFilter.LOW: _LOW,
    QualityFilter.MEDIUM: _MEDIUM,
    QualityFilter.HIGH: _HIGH,
}
"""AUTO is LOW: it refuses what cannot serve as a reference and nothing else."""


def reasons_against(
    face: DetectedFace, face_size_px: float, strength: QualityFilter
) -> tuple[Reason, ...]:
    """Why a face does not pass the filter, in Rekognition's words; empty if it does."""
    bounds = BOUNDS[strength]
    if bounds is None:
        return ()
    failed = {
        Reason.LOW_CONFIDENCE: face.confidence < bounds.confidence,
        Reason.SMALL_BOUNDING_BOX: face_size_px < bounds.face_size_px,
        Reason.EXTREME_POSE: _turned_away(face, bounds.angle),
        Reason.LOW_SHARPNESS: face.quality is not None
        and face.quality.sharpness < bounds.sharpness,
        Reason.LOW_BRIGHTNESS: face.quality is not None
        and not bounds.darkest <= face.quality.brightness <= bounds.brightest,
    }
    return tuple(reason for reason, is_so in failed.items() if is_so)


def _turned_away(face: DetectedFace, angle: float) -> bool:
    return face.pose is not None and max(abs(face.pose.yaw), abs(face.pose.pitch)) > angle
