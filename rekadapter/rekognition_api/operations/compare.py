"""1:1: the largest face of one image against the faces of another."""

from __future__ import annotations

from rekadapter.recognizer import QualityFilter
from rekadapter.rekognition_api.codec import WireObject
from rekadapter.rekognition_api.context import Context
from rekadapter.rekognition_api.faults import no_faces
from rekadapter.rekognition_api.images import read_image
from rekadapter.rekognition_api.operations import shapes
from rekadapter.rekognition_api.request import Request
from rekadapter.types import FaceComparison, Verification

DEFAULT_THRESHOLD = 80.0


def compare_faces(context: Context, request: Request) -> WireObject:
    """Faces that the quality filter leaves out are in neither list."""
    value = request.number("SimilarityThreshold", DEFAULT_THRESHOLD)
    found = context.recognizer.verify(
        read_image(context, request.part("SourceImage")),
        read_image(context, request.part("TargetImage")),
        threshold=context.recognizer.capabilities.threshold(value),
        quality=QualityFilter(request.optional_text("QualityFilter") or QualityFilter.NONE),
    )
    if found.source is None or found.failure is not None:
        raise no_faces()
    compared = _largest(found, context.settings.max_faces_per_image)
    return {
        "SourceImageFace": {
            "BoundingBox": shapes.bounding_box(found.source.box),
            "Confidence": found.source.confidence,
        },
        "FaceMatches": [_match(one) for one in compared if one.matched],
        "UnmatchedFaces": [shapes.compared_face(one.face) for one in compared if not one.matched],
    }


def _largest(found: Verification, most: int) -> list[FaceComparison]:
    """The largest target faces, in the order given: best match first."""
    if len(found.comparisons) <= most:
        return list(found.comparisons)
    areas = sorted((one.face.box.area for one in found.comparisons), reverse=True)
    return [one for one in found.comparisons if one.face.box.area >= areas[most - 1]][:most]


def _match(comparison: FaceComparison) -> WireObject:
    score = comparison.score
    return {
        "Similarity": None if score is None else score.value,
        "Face": shapes.compared_face(comparison.face),
    }
