"""Drawn faces: squares that the memory backend recognizes, so that tests need no photograph.

A drawn face is a magenta frame around a board of 8x8 gray fields; the fields are the identity's
SHA-256. It survives scaling, JPEG and crops with margin, and no model takes it for a person.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from rekadapter.backends.memory import FIELDS, FRAME_SHARE
from rekadapter.imaging import Image, Pixels
from rekadapter.types import BoundingBox, PixelBox, Size

MAGENTA: Final = (255, 0, 255)


@dataclass(frozen=True, slots=True)
class DrawnFace:
    """Who, and the square it fills, in pixels."""

    identity: str
    left: int
    top: int
    side: int

    def box(self, size: Size) -> BoundingBox:
        """The face's box as fractions of an image of ``size``."""
        pixels = PixelBox(self.left, self.top, self.left + self.side, self.top + self.side)
        return BoundingBox.from_pixels(pixels, size)


def board(identity: str) -> Pixels:
    """The identity's gray fields, uint8, shape (8, 8): half of them light, half dark, as hashed."""
    digest = np.frombuffer(hashlib.sha256(identity.encode()).digest() * 2, dtype=np.uint8)
    return (40 + digest[: FIELDS * FIELDS].reshape(FIELDS, FIELDS).astype(np.float64) * 0.7).astype(
        np.uint8
    )


def draw(canvas: Pixels, face: DrawnFace) -> None:
    """Draws one face into BGR pixels, in place; it has to lie inside the canvas."""
    frame = max(2, round(face.side * FRAME_SHARE))
    inner = face.side - 2 * frame
    fields = cv2.resize(board(face.identity), (inner, inner), interpolation=cv2.INTER_NEAREST)
    square = np.full((face.side, face.side, 3), MAGENTA, dtype=np.uint8)
    square[frame : frame + inner, frame : frame + inner] = fields[:, :, None]
    canvas[face.top : face.top + face.side, face.left : face.left + face.side] = square


def picture(*faces: DrawnFace, size: Size | None = None, gray: int = 200) -> Image:
    """A plain picture with the given drawn faces; without any, a picture of nobody."""
    size = size or Size(640, 480)
    canvas: Pixels = np.full((size.height, size.width, 3), gray, dtype=np.uint8)
    for face in faces:
        draw(canvas, face)
    return Image.from_pixels(canvas)


def portrait(identity: str, *, side: int = 160, gray: int = 200) -> Image:
    """One drawn face with room around it."""
    margin = side // 2
    size = Size(side + 2 * margin, side + 2 * margin)
    return picture(DrawnFace(identity, margin, margin, side), size=size, gray=gray)
