"""Boxes on the pixel grid of one image, as arrays: suppression and the map of a detector's output.

Pure functions. A box array has shape (n, 4) and dtype float32: left, top, right, bottom in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]

_NESTED: Final = 0.7
"""Share of the smaller box inside the larger from which the two are taken for one face."""


@dataclass(frozen=True, slots=True)
class FaceArrays:
    """Faces of one image in pixels of that image.

    ``boxes`` (n, 4) left, top, right, bottom; ``scores`` (n,) within [0, 1]; ``points`` (n, 5, 2)
    x and y of left eye, right eye, nose, left and right corner of the mouth, left as the viewer
    sees it. All float32.
    """

    boxes: Floats
    scores: Floats
    points: Floats

    def __len__(self) -> int:
        return len(self.scores)

    def taken(self, which: Indices) -> FaceArrays:
        """The faces of these indices, in their order."""
        return FaceArrays(self.boxes[which], self.scores[which], self.points[which])

    def moved(self, *, scale: tuple[float, float], offset: tuple[float, float]) -> FaceArrays:
        """Coordinates times ``scale`` (x, y), then plus ``offset`` (x, y), both in pixels."""
        factor = np.asarray(scale, dtype=np.float32)
        shift = np.asarray(offset, dtype=np.float32)
        return FaceArrays(
            self.boxes * np.tile(factor, 2) + np.tile(shift, 2),
            self.scores,
            self.points * factor + shift,
        )

    @staticmethod
    def none() -> FaceArrays:
        """No face."""
        return FaceArrays(
            np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32)
        )

    @staticmethod
    def joined(parts: list[FaceArrays]) -> FaceArrays:
        """The faces of several parts, in their order."""
        if not parts:
            return FaceArrays.none()
        return FaceArrays(
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.points for part in parts]),
        )


def areas(boxes: Floats) -> Floats:
    """Area of each box, shape (n,); a box with a negative side has none."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    area: Floats = sides[:, 0] * sides[:, 1]
    return area


def intersections(box: Floats, boxes: Floats) -> Floats:
    """Area that one box (4,) shares with each of ``boxes`` (n, 4), shape (n,)."""
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[2:], boxes[:, 2:])
    sides = np.maximum(high - low, 0)
    shared: Floats = sides[:, 0] * sides[:, 1]
    return shared


def suppress(boxes: Floats, scores: Floats, max_iou: float) -> Indices:
    """Greedy non-maximum suppression: indices of the boxes kept, best score first.

    Of two boxes whose intersection over union passes ``max_iou`` the better stays; equal scores are
    settled by position, so the answer is always the same.
    """
    order = np.argsort(-scores, kind="stable")
    area = areas(boxes)
    kept: list[int] = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        shared = intersections(boxes[best], boxes[rest])
        union = area[best] + area[rest] - shared
        order = rest[shared <= max_iou * np.maximum(union, np.finfo(np.float32).tiny)]
    return np.asarray(kept, dtype=np.intp)


def drop_nested(faces: FaceArrays) -> FaceArrays:
    """Faces without the weaker of two boxes of which one lies inside the other.

    A face that fills the frame makes CenterFace report a part of it as a face of its own; the
    intersection over union of such a pair is too small for plain suppression. Two boxes are nested
    where at least 70 % of the smaller lies inside the larger.
    """
    order = np.argsort(-faces.scores, kind="stable")
    area = areas(faces.boxes)
    kept: list[int] = []
    for index in order:
        chosen = np.asarray(kept, dtype=np.intp)
        shared = intersections(faces.boxes[index], faces.boxes[chosen])
        smaller = np.minimum(area[index], area[chosen])
        if not np.any(shared >= _NESTED * np.maximum(smaller, np.finfo(np.float32).tiny)):
            kept.append(int(index))
    return faces.taken(np.asarray(kept, dtype=np.intp))
