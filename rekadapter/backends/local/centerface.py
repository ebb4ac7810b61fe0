"""CenterFace: its output decoded, its looks at an image joined.

The network (Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", 2019,
MIT) gives at every fourth pixel a score, the logarithm of a face's height and width in units of 4
pixels, an offset of its center and five landmarks in units of the box.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from rekadapter.backends.local.geometry import FaceArrays, Floats, Indices, drop_nested, suppress
from rekadapter.backends.local.sessions import Session
from rekadapter.imaging import Pixels
from rekadapter.types import Size

STRIDE: Final = 4
SIDE_MULTIPLE: Final = 32
_MAX_IOU: Final = 0.3
"""CenterFace's own bound for suppression."""


def decode(outputs: list[Floats], min_score: float) -> FaceArrays:
    """Every cell at or above ``min_score`` as a face, in pixels of the network's input.

    ``outputs`` are the network's four, each of shape (1, channels, rows, columns).
    """
    score, log_size, offset, landmarks = (output[0] for output in outputs)
    rows, columns = np.nonzero(score[0] >= min_score)
    # a corrupt or extreme cell must not overflow: no face is larger than e^8 * 4 pixels
    sizes = np.exp(np.minimum(log_size[:, rows, columns], 8.0)) * STRIDE
    height, width = sizes
    top = (rows + offset[0, rows, columns] + 0.5) * STRIDE - height / 2
    left = (columns + offset[1, rows, columns] + 0.5) * STRIDE - width / 2
    boxes = np.stack([left, top, left + width, top + height], axis=1).astype(np.float32)
    places = landmarks[:, rows, columns].T.reshape(-1, 5, 2)
    points = np.stack(
        [
            places[:, :, 1] * width[:, None] + left[:, None],
            places[:, :, 0] * height[:, None] + top[:, None],
        ],
        axis=2,
    ).astype(np.float32)
    return FaceArrays(boxes, score[0, rows, columns], points)


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """How hard the detector looks.

    ``size`` is the long side in pixels to which a larger image is scaled for the main pass;
    ``threshold`` the least score of a face, within (0, 1). On 1080p street video 960 found 96 % of
    the faces that 1280 found in three quarters of the time, and 1920 no more than 1280.
    """

    size: int = 960
    threshold: float = 0.5


@dataclass(frozen=True, slots=True)
class Window:
    """A part of an image in pixels, and the factor by which it is scaled for the network."""

    left: int
    top: int
    width: int
    height: int
    scale: float


_COARSE_SIZE: Final = 320
"""Long side of the second pass that sees faces which fill the image."""

_COARSE_SHARE: Final = 0.3
"""Share of the image's short side from which a face of the coarse pass is taken."""

_SMALL_PX: Final = 24
"""A face of fewer pixels says that more may lie below the detector's limit at this resolution."""

_HINT_SCORE: Final = 0.3
"""What counts as a sign of small faces; below the threshold, for they score poorly."""

_SHRINK_FOR_TILES: Final = 2.0
"""Tiles are worth their time only where the main pass has shrunk the image by more; 1080p video at
the default size is just not tiled."""

_TILE_SIDE: Final = 1024
_OVERLAP: Final = 96
"""Pixels that neighboring tiles share; a face up to this size lies whole in one of them, a larger
one is seen by the look before, at half the resolution."""


class CenterFaceDetector:
    """Finds faces and their five landmarks; safe to call from several threads.

    It looks at the whole image at ``size``; at the whole again at 320 pixels, for faces so large
    that the first look sees only their parts; and, at an image it had to shrink by more than 2,
    tile by tile at twice the first resolution, then at four times and so on up to the image's own
    as long as each look has found small faces.
    """

    def __init__(self, session: Session, settings: DetectorSettings) -> None:
        self._session = session
        self._settings = settings

    def detect(self, pixels: Pixels) -> FaceArrays:
        """Faces of an image, best score first, coordinates in pixels of the image."""
        size = Size(pixels.shape[1], pixels.shape[0])
        whole = _whole(size, self._settings.size)
        parts = [self._look(pixels, whole, self._settings.threshold)]
        parts += self._tile_levels(pixels, size, whole.scale)
        parts.append(self._large_faces(pixels, size))
        faces = FaceArrays.joined(parts)
        faces = faces.taken(suppress(faces.boxes, faces.scores, _MAX_IOU))
        return drop_nested(faces)

    def _tile_levels(self, pixels: Pixels, size: Size, scale: float) -> Iterator[FaceArrays]:
        threshold = self._settings.threshold
        more = scale < 1 / _SHRINK_FOR_TILES
        while more:
            scale = min(1.0, 2 * scale)
            tiles = [self._look_at_tile(pixels, tile) for tile in _tiles(size, scale)]
            seen = FaceArrays.joined(tiles)
            yield seen.taken(np.flatnonzero(seen.scores >= threshold))
            more = scale < 1 and _has_small(seen, scale)

    def _large_faces(self, pixels: Pixels, size: Size) -> FaceArrays:
        window = _whole(size, _COARSE_SIZE)
        if window.scale == 1.0:
            return FaceArrays.none()
        faces = self._look(pixels, window, self._settings.threshold)
        sides = np.max(faces.boxes[:, 2:] - faces.boxes[:, :2], axis=1, initial=0)
        return faces.taken(np.flatnonzero(sides >= _COARSE_SHARE * min(size.width, size.height)))

    def _look_at_tile(self, pixels: Pixels, tile: Window) -> FaceArrays:
        faces = self._look(pixels, tile, min(_HINT_SCORE, self._settings.threshold))
        return faces.taken(_not_cut(faces.boxes, tile, Size(pixels.shape[1], pixels.shape[0])))

    def _look(self, pixels: Pixels, window: Window, min_score: float) -> FaceArrays:
        view = pixels[
            window.top : window.top + window.height, window.left : window.left + window.width
        ]
        width = max(1, round(window.width * window.scale))
        height = max(1, round(window.height * window.scale))
        canvas = np.zeros((1, _padded(height), _padded(width), 3), dtype=np.uint8)
        target = canvas[0, :height, :width]
        if window.scale == 1.0:
            target[:] = view
        else:
            # averaging takes ten times as long and changes nothing above half the size
            how = cv2.INTER_LINEAR if window.scale >= 0.5 else cv2.INTER_AREA
            target[:] = cv2.resize(view, (width, height), interpolation=how)
        faces = decode(self._session.run(canvas), min_score)
        faces = faces.taken(suppress(faces.boxes, faces.scores, _MAX_IOU))
        scale = (window.width / width, window.height / height)
        return faces.moved(scale=scale, offset=(window.left, window.top))


def _whole(size: Size, long_side: int) -> Window:
    scale = min(1.0, long_side / max(size.width, size.height))
    return Window(0, 0, size.width, size.height, scale)


def _padded(side: int) -> int:
    return math.ceil(side / SIDE_MULTIPLE) * SIDE_MULTIPLE


def _has_small(faces: FaceArrays, scale: float) -> bool:
    sides = np.max(faces.boxes[:, 2:] - faces.boxes[:, :2], axis=1, initial=0) * scale
    return bool(np.any(sides < _SMALL_PX))


def _tiles(size: Size, scale: float) -> Iterator[Window]:
    """Overlapping windows that cover the image, each at most 1024 pixels wide once scaled."""
    longest, overlap = round(_TILE_SIDE / scale), round(_OVERLAP / scale)
    for top, bottom in tile_spans(size.height, longest, overlap):
        for left, right in tile_spans(size.width, longest, overlap):
            yield Window(left, top, right - left, bottom - top, scale)


def tile_spans(length: int, longest: int, overlap: int) -> list[tuple[int, int]]:
    """The fewest equal spans of at most ``longest`` that cover ``length`` and share ``overlap``."""
    if length <= longest:
        return [(0, length)]
    count = math.ceil((length - overlap) / (longest - overlap))
    side = math.ceil((length + (count - 1) * overlap) / count)
    starts = [round((length - side) * index / (count - 1)) for index in range(count)]
    return [(start, start + side) for start in starts]


def _not_cut(boxes: Floats, tile: Window, size: Size) -> Indices:
    """Faces that no inner border of the tile cuts; a neighbor sees those whole."""
    margin = 2 / tile.scale
    right, bottom = tile.left + tile.width, tile.top + tile.height
    low = np.array([tile.left, tile.top]) + margin
    high = np.array([right, bottom]) - margin
    at_low = np.array([tile.left == 0, tile.top == 0])
    at_high = np.array([right >= size.width, bottom >= size.height])
    inside = ((boxes[:, :2] >= low) | at_low) & ((boxes[:, 2:] <= high) | at_high)
    return np.flatnonzero(inside.all(axis=1))
