"""Age and gender by InsightFace's gender-age graph (``genderage.onnx`` of its packs).

What goes in and comes out is what InsightFace's own loader does with the file (``Attribute`` in its
``model_zoo``, read at version 2.1): one face upright in a square, two scores and an age out.
InsightFace publishes neither its accuracy nor on whom it was measured (its model zoo: trained on
CelebA), and no error comes with a single answer. So the age is a point, widened only by what the
user gives, and the scores are passed on as scores.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

import cv2
import numpy as np

from rekadapter.backends.local.geometry import Floats
from rekadapter.backends.local.sessions import OnnxSession, SessionSettings
from rekadapter.errors import ModelCorruptError
from rekadapter.imaging import Image, Pixels
from rekadapter.recognizer import FaceAnalysis, QualityFilter
from rekadapter.types import (
    AgeRange,
    BoundingBox,
    DetectedFace,
    Detection,
    Enrollment,
    FaceAttribute,
    GalleryId,
    Gender,
    PerceivedGender,
    SubjectId,
)

_MARGIN: Final = 1.5
"""The square's side in longer sides of the face's box."""

_OUTPUTS: Final = 3
"""Scores of the two genders, then the age in hundreds of years."""

_OLDEST_YEARS: Final = 122
"""The longest life that has been verified, Jeanne Calment's (1875 to 1997)."""

_NODES_LOOKED_AT: Final = 8
_NODES_OF_BATCH_NORM: Final = 3


class FloatSession(Protocol):
    """One loaded model with one input of floats."""

    def run(self, batch: Floats) -> list[Floats]: ...


@dataclass(frozen=True, slots=True)
class Scaling:
    """What becomes of a pixel's value on its way in: ``(value - mean) / std``."""

    mean: float
    std: float


IN_THE_GRAPH: Final = Scaling(0.0, 1.0)
"""For graphs that subtract and divide on their own."""
OUTSIDE: Final = Scaling(127.5, 128.0)


class GenderAgeModel:
    """The graph and how faces are put before it; safe to use from several threads.

    ``side`` is that of the graph's square input in pixels. ``half_width_years`` widens the age to
    both sides: how far off it may be is for the user to know.
    """

    def __init__(
        self, session: FloatSession, side: int, scaling: Scaling, half_width_years: int = 0
    ) -> None:
        self._session = session
        self._side = side
        self._scaling = scaling
        self._half_width = half_width_years

    def estimated(self, pixels: Pixels, face: DetectedFace) -> DetectedFace:
        """``face`` of an upright BGR image with its age and gender.

        Neither is given for a box without an extent, or where the graph gives no number; no age
        that no human has, and no gender where its two scores are equal.
        """
        values = self.values(pixels, face.box)
        if values is None:
            return face
        return replace(
            face,
            estimated_age=age_of(values[2], self._half_width),
            perceived_gender=gender_of(values[:2]),
        )

    def values(self, pixels: Pixels, box: BoundingBox) -> Floats | None:
        """The graph's three values, float32; None where they would mean nothing."""
        crop = square_around(pixels, box, self._side)
        if crop is None:
            return None
        rgb = crop[:, :, ::-1].astype(np.float32)
        scaled = (rgb - self._scaling.mean) * (1.0 / self._scaling.std)
        batch = np.ascontiguousarray(scaled.transpose(2, 0, 1)[np.newaxis], dtype=np.float32)
        values = self._session.run(batch)[0].reshape(-1)
        return values if np.isfinite(values).all() else None


def square_around(pixels: Pixels, box: BoundingBox, side: int) -> Pixels | None:
    """The face of ``box`` in the middle of a square, uint8 BGR of shape (side, side, 3).

    The square's side is 1.5 times the longer side of the box; black outside of the image. None for
    a box without an extent.
    """
    height, width = pixels.shape[:2]
    longer = max(box.width * width, box.height * height)
    if not longer > 0:
        return None
    scale = side / (longer * _MARGIN)
    center = box.center
    shift_x = side / 2 - center.x * width * scale
    shift_y = side / 2 - center.y * height * scale
    matrix = np.array([[scale, 0.0, shift_x], [0.0, scale, shift_y]])
    return np.asarray(cv2.warpAffine(pixels, matrix, (side, side)), dtype=np.uint8)


def age_of(hundreds: np.float32, half_width_years: int) -> AgeRange | None:
    """The age, rounded to a year as InsightFace does; None for one that nobody has."""
    # far off, the product with 100 is no number any more
    years = int(np.round(hundreds * 100)) if abs(hundreds) < 2 else -1
    if not 0 <= years <= _OLDEST_YEARS:
        return None
    return AgeRange(max(0, years - half_width_years), years + half_width_years)


def gender_of(scores: Floats) -> PerceivedGender | None:
    """The higher of the two scores, female first; None where they are equal.

    The confidence is the softmax of the two in percent: the model's own score, not how often it is
    right. That they are the scores of a two-class softmax is known from InsightFace's author on the
    graph's predecessor (deepinsight/insightface, issue 378).
    """
    female, male = (float(score) for score in scores)
    if female == male:
        return None
    confidence = 100.0 / (1.0 + float(np.exp(-abs(female - male))))
    return PerceivedGender(Gender.FEMALE if female > male else Gender.MALE, confidence)


def load_gender_age(
    path: Path, data: bytes, settings: SessionSettings, half_width_years: int
) -> GenderAgeModel:
    """The graph in ``data``, the bytes of ``path``.

    Raises:
        ModelCorruptError: not a graph with one square image in and three values out.
    """
    try:
        session = OnnxSession(data, settings)
    except ModelCorruptError as error:
        raise ModelCorruptError(f"{path} cannot be loaded: {error}") from error
    side = _side_of(session)
    if side is None or session.output_shapes[0][-1:] != [_OUTPUTS]:
        raise ModelCorruptError(
            f"{path} is not a gender-age graph: that has one square image of three channels in and "
            f"{_OUTPUTS} values out"
        )
    return GenderAgeModel(session, side, scaling_of(_first_nodes(data)), half_width_years)


def scaling_of(first_nodes: Iterable[str]) -> Scaling:
    """Whether a graph scales its input itself, by the names of its first nodes.

    InsightFace's own rule, for graphs from MXNet: a subtraction and a multiplication among the
    first eight nodes, or a batch normalization called ``bn_data`` among the first three.
    """
    names = list(islice(first_nodes, _NODES_LOOKED_AT))
    subtracts = any(name.startswith(("Sub", "_minus")) for name in names)
    multiplies = any(name.startswith(("Mul", "_mul")) for name in names)
    normalizes = "bn_data" in names[:_NODES_OF_BATCH_NORM]
    return IN_THE_GRAPH if normalizes or (subtracts and multiplies) else OUTSIDE


def _first_nodes(data: bytes) -> list[str]:
    import onnx  # noqa: PLC0415 a third of a second that only packs with such a graph need

    graph = onnx.load_model_from_string(data).graph
    return [str(node.name) for node in graph.node[:_NODES_LOOKED_AT]]


def _side_of(session: OnnxSession) -> int | None:
    shape = session.input_shape
    if len(session.output_shapes) != 1 or len(shape) != 4 or shape[1] != 3:
        return None
    height, width = shape[2:]
    return height if isinstance(height, int) and height == width else None


@dataclass(frozen=True, slots=True)
class LocalAnalysis:
    """A recognizer's detecting and enrolling, with what ``model`` makes of each face."""

    recognizer: FaceAnalysis
    model: GenderAgeModel
    attributes: frozenset[FaceAttribute]

    def detect(self, image: Image) -> Detection:
        """See ``FaceAnalysis``."""
        found = self.recognizer.detect(image)
        return replace(found, faces=tuple(self._told(image, face) for face in found.faces))

    def enroll(
        self,
        gallery: GalleryId,
        image: Image,
        *,
        subject: SubjectId | None,
        max_faces: int | None = None,
        quality: QualityFilter = QualityFilter.AUTO,
    ) -> Enrollment:
        """See ``FaceAnalysis``."""
        made = self.recognizer.enroll(
            gallery, image, subject=subject, max_faces=max_faces, quality=quality
        )
        return made.described(lambda face: self._told(image, face))

    def _told(self, image: Image, face: DetectedFace) -> DetectedFace:
        return self.model.estimated(image.pixels, face).with_only(self.attributes)
