"""A face upright, centered and at one size: what an embedder was trained to see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from rekadapter.backends.local.geometry import Floats
from rekadapter.imaging import Pixels


@dataclass(frozen=True, slots=True)
class ChipTemplate:
    """Where the five landmarks of a face stand in a square chip of ``side`` pixels.

    ``points`` are x, y of left eye, right eye, nose, left and right corner of the mouth.
    """

    side: int
    points: tuple[tuple[float, float], ...]

    def array(self) -> Floats:
        """``points`` as float32 of shape (5, 2)."""
        return np.asarray(self.points, dtype=np.float32)

    @property
    def eye_distance(self) -> float:
        """Pixels between the eyes in the chip."""
        left, right = self.array()[:2]
        return float(np.hypot(*(right - left)))


DLIB_150: Final = ChipTemplate(
    150, ((45.1, 48.3), (103.3, 46.2), (73.4, 79.1), (49.7, 102.0), (99.3, 100.0))
)
"""Median positions of CenterFace's landmarks in the chips that dlib itself cuts (150 px, padding
0.25), measured by us on labelled photographs: dlib aligns on other landmarks than CenterFace
gives."""

ARCFACE_112: Final = ChipTemplate(
    112,
    (
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ),
)
"""ArcFace's template (Deng et al., CVPR 2019; InsightFace's reference alignment), also SFace's."""


def similarity_transform(
    points: Floats | NDArray[np.float64], template: Floats | NDArray[np.float64]
) -> NDArray[np.float64]:
    """The rotation, uniform scale and shift that takes ``points`` nearest to ``template``.

    Least squares after S. Umeyama, "Least-squares estimation of transformation parameters between
    two point patterns", IEEE PAMI 13(4), 1991; in two dimensions, without reflection, it has this
    closed form over complex numbers. Both arrays have shape (n, 2); the answer (2, 3).
    """
    source = points.astype(np.float64) @ np.array([1, 1j])
    target = template.astype(np.float64) @ np.array([1, 1j])
    source_center, target_center = source.mean(), target.mean()
    spread = source - source_center
    power = float(np.sum(np.abs(spread) ** 2))
    if power < 1e-12:
        # all landmarks in one place: any rotation is as good, so none
        turn = complex(1.0)
    else:
        turn = complex(np.vdot(spread, target - target_center) / power)
    shift = target_center - turn * source_center
    return np.array(
        [[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]], dtype=np.float64
    )


def transform_scale(matrix: NDArray[np.float64]) -> float:
    """Pixels of the chip per pixel of the image under a similarity transform (2, 3)."""
    return float(np.hypot(matrix[0, 0], matrix[1, 0]))


def cut_chips(pixels: Pixels, points: Floats, template: ChipTemplate) -> Pixels:
    """One chip per face, uint8 BGR of shape (faces, side, side, 3).

    ``points`` has shape (faces, 5, 2) in pixels of ``pixels``. Outside the image chips are black.
    """
    chips = np.zeros((len(points), template.side, template.side, 3), dtype=np.uint8)
    target = template.array()
    for chip, landmarks in zip(chips, points, strict=True):
        _warp(pixels, landmarks, target, chip)
    return chips


def _warp(pixels: Pixels, landmarks: Floats, target: Floats, chip: Pixels) -> None:
    matrix = similarity_transform(landmarks, target)
    scale = transform_scale(matrix)
    if scale < 0.5:
        # bilinear sampling of a much larger face would alias: average it down first
        window, matrix = _shrunk_window(pixels, matrix, chip.shape[0])
        cv2.warpAffine(window, matrix, chip.shape[1::-1], dst=chip, flags=cv2.INTER_LINEAR)
        return
    cv2.warpAffine(pixels, matrix, chip.shape[1::-1], dst=chip, flags=cv2.INTER_LINEAR)


def _shrunk_window(
    pixels: Pixels, matrix: NDArray[np.float64], side: int
) -> tuple[Pixels, NDArray[np.float64]]:
    """The part of the image under the chip, averaged down to about the chip's own resolution."""
    height, width = pixels.shape[:2]
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0, 1], [side, 0, 1], [0, side, 1], [side, side, 1]]) @ inverse.T
    left, top = np.clip(np.floor(corners.min(axis=0)), 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(
        np.ceil(corners.max(axis=0)), (left + 1, top + 1), (width, height)
    ).astype(int)
    factor = transform_scale(matrix)
    small_width = max(1, round((right - left) * factor))
    small_height = max(1, round((bottom - top) * factor))
    small = cv2.resize(
        pixels[top:bottom, left:right], (small_width, small_height), interpolation=cv2.INTER_AREA
    )
    # pixel centers: x_image = (x_small + 0.5) * step - 0.5 + left
    step_x, step_y = (right - left) / small_width, (bottom - top) / small_height
    to_image = np.array(
        [[step_x, 0, (step_x - 1) / 2 + left], [0, step_y, (step_y - 1) / 2 + top], [0, 0, 1]]
    )
    return np.asarray(small, dtype=np.uint8), np.asarray(matrix @ to_image, dtype=np.float64)
