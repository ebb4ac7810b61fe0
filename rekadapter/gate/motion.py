"""Motion, cheaply: the difference of two small gray pictures, block by block."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from rekadapter.imaging import Image

_BLOCK: Final = 4
"""Blocks are 4 x 4 points: noise averages out over 16 of them, a face far away still fills one."""


@dataclass(frozen=True, slots=True)
class MotionRules:
    """``points`` across the picture are compared; a block whose mean gray value differs by
    ``threshold`` of 255 has moved. A picture that stands still is looked at all the same, every
    ``still_seconds`` while somebody stands in it, every ``empty_seconds`` once nobody was found for
    so long: finding faces is what a quiet camera costs."""

    points: int = 192
    threshold: float = 4.0
    still_seconds: float = 0.4
    empty_seconds: float = 1.0


class MotionGate:
    """One camera's: tells whether a picture differs from the last one that passed. It is that one
    it compares with, not the last frame, so that a slow change adds up until it passes."""

    def __init__(self, rules: MotionRules | None = None) -> None:
        self._rules = rules or MotionRules()
        self._passed: NDArray[np.float32] | None = None
        self._passed_at = 0.0
        self._somebody_at = -math.inf

    def somebody(self, seconds: float) -> None:
        """A face was found in the frame at ``seconds``."""
        self._somebody_at = seconds

    def passes(self, image: Image, seconds: float) -> bool:
        """Whether the frame at ``seconds`` is worth looking at."""
        blocks = self._blocks(image)
        still = self._passed is not None and self._passed.shape == blocks.shape
        if self._passed is not None and still:
            moved = float(np.abs(blocks - self._passed).max()) >= self._rules.threshold
            if not moved and seconds - self._passed_at < self._patience(seconds) - 1e-6:
                return False
        self._passed, self._passed_at = blocks, seconds
        return True

    def _patience(self, seconds: float) -> float:
        rules = self._rules
        empty = seconds - self._somebody_at >= rules.empty_seconds - 1e-6
        return max(rules.still_seconds, rules.empty_seconds) if empty else rules.still_seconds

    def _blocks(self, image: Image) -> NDArray[np.float32]:
        """Mean gray values, float32, one for each block. Every n-th pixel is taken without
        averaging: of a 1080p frame 1 % is read."""
        step = max(1, image.size.width // self._rules.points)
        gray = cv2.cvtColor(np.ascontiguousarray(image.pixels[::step, ::step]), cv2.COLOR_BGR2GRAY)
        rows, columns = max(1, gray.shape[0] // _BLOCK), max(1, gray.shape[1] // _BLOCK)
        # averaged before rounding: whole gray values would double the noise
        exact = gray.astype(np.float32)
        blocks = cv2.resize(exact, (columns, rows), interpolation=cv2.INTER_AREA)
        return np.asarray(blocks, dtype=np.float32)
