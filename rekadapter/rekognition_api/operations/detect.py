"""Faces of an image, without a collection."""

from __future__ import annotations

from rekadapter.rekognition_api.codec import WireObject
from rekadapter.rekognition_api.context import Context
from rekadapter.rekognition_api.images import read_image
from rekadapter.rekognition_api.operations import shapes
from rekadapter.rekognition_api.request import Request


def detect_faces(context: Context, request: Request) -> WireObject:
    """``Attributes`` asks for more or less detail: each face has all that was computed."""
    found = context.recognizer.detect(read_image(context, request.part("Image")))
    kept = found.faces[: context.settings.max_faces_per_image]
    return {"FaceDetails": [shapes.face_detail(face) for face in kept]}
