"""Faces of an image, without a collection."""

from __future__ import annotations

from rekadapter.recognizer import analysis_of
from rekadapter.rekognition_api.codec import WireObject
from rekadapter.rekognition_api.context import Context
from rekadapter.rekognition_api.images import read_image
from rekadapter.rekognition_api.operations import shapes
from rekadapter.rekognition_api.request import Request


def detect_faces(context: Context, request: Request) -> WireObject:
    """Each face has all that was computed; age and gender only where ``Attributes`` asks."""
    asked = shapes.attributes(request.texts("Attributes"))
    image = read_image(context, request.part("Image"))
    found = analysis_of(context.recognizer, asked).detect(image)
    kept = found.faces[: context.settings.max_faces_per_image]
    return {"FaceDetails": [shapes.face_detail(face, asked) for face in kept]}
