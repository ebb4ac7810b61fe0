"""Parts of answers: what a recognizer saw, in the members Rekognition has for it.

What the recognizer did not compute is left out; nothing is made up to fill a member.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

from rekadapter.errors import SubjectIdError
from rekadapter.names import to_external_image_id
from rekadapter.rekognition_api.codec import WireObject
from rekadapter.rekognition_api.context import Context
from rekadapter.types import (
    AgeRange,
    BoundingBox,
    Candidate,
    DetectedFace,
    EnrolledFace,
    FaceAttribute,
    FaceQuality,
    Landmarks,
    PerceivedGender,
    Pose,
    Reason,
    SubjectId,
)

logger = logging.getLogger(__name__)

REASONS: Final = MappingProxyType(
    {
        Reason.EXCEEDS_MAX_FACES: "EXCEEDS_MAX_FACES",
        Reason.EXTREME_POSE: "EXTREME_POSE",
        Reason.LOW_BRIGHTNESS: "LOW_BRIGHTNESS",
        Reason.LOW_SHARPNESS: "LOW_SHARPNESS",
        Reason.LOW_CONFIDENCE: "LOW_CONFIDENCE",
        Reason.SMALL_BOUNDING_BOX: "SMALL_BOUNDING_BOX",
        Reason.FACE_TOO_SMALL: "SMALL_BOUNDING_BOX",
        Reason.LOW_FACE_QUALITY: "LOW_FACE_QUALITY",
    }
)
"""Rekognition's word for a reason; a reason it has no word for is left out."""

_ATTRIBUTES: Final = MappingProxyType(
    {
        "ALL": frozenset(FaceAttribute),
        "AGE_RANGE": frozenset({FaceAttribute.AGE}),
        "GENDER": frozenset({FaceAttribute.GENDER}),
    }
)

_NUMERIC: Final = re.compile(r"[0-9.]+")


def bounding_box(box: BoundingBox) -> WireObject:
    return {"Width": box.width, "Height": box.height, "Left": box.left, "Top": box.top}


def face(context: Context, enrolled: EnrolledFace) -> WireObject:
    """``Face``: a face in a collection."""
    return {
        "FaceId": enrolled.face_id,
        "BoundingBox": bounding_box(enrolled.box),
        "ImageId": enrolled.image_id,
        "ExternalImageId": _external_image_id(enrolled.subject),
        "Confidence": enrolled.confidence,
        "IndexFacesModelVersion": numeric_version(context.model_version),
        "UserId": enrolled.user,
    }


def face_match(context: Context, candidate: Candidate) -> WireObject:
    """``FaceMatch``: a candidate with its similarity."""
    return {"Similarity": candidate.score.value, "Face": face(context, candidate.face)}


def attributes(words: Iterable[str]) -> frozenset[FaceAttribute]:
    """What ``Attributes``, ``DetectionAttributes`` or ``FaceAttributes`` ask for, beyond what every
    face has, as far as a recognizer may have it."""
    asked: set[FaceAttribute] = set()
    return frozenset(asked.union(*(_ATTRIBUTES.get(word, frozenset()) for word in words)))


def compared_face(detected: DetectedFace) -> WireObject:
    """``ComparedFace``."""
    return {
        "BoundingBox": bounding_box(detected.box),
        "Landmarks": _landmarks(detected.landmarks),
        "Pose": _pose(detected.pose),
        "Quality": _quality(detected.quality),
        "Confidence": detected.confidence,
    }


def face_detail(
    detected: DetectedFace, attributes: frozenset[FaceAttribute] = frozenset()
) -> WireObject:
    """``FaceDetail``, with no other estimates than ``attributes``."""
    face = detected.with_only(attributes)
    return {
        **compared_face(face),
        "AgeRange": _age_range(face.estimated_age),
        "Gender": _gender(face.perceived_gender),
    }


def numeric_version(model: str) -> str:
    """``IndexFacesModelVersion`` allows digits and dots only: a model name of another form becomes
    ``0.`` and a number that stands for it, the same number for the same name."""
    if _NUMERIC.fullmatch(model):
        return model
    return f"0.{int.from_bytes(hashlib.sha256(model.encode()).digest()[:4], 'big')}"


def _external_image_id(subject: SubjectId | None) -> str | None:
    if subject is None:
        return None
    try:
        return to_external_image_id(subject)
    except SubjectIdError:
        logger.warning("a subject id does not fit in an ExternalImageId; its face goes without")
        return None


def _age_range(age: AgeRange | None) -> WireObject | None:
    return None if age is None else {"Low": age.low, "High": age.high}


def _gender(gender: PerceivedGender | None) -> WireObject | None:
    return None if gender is None else {"Value": gender.value, "Confidence": gender.confidence}


def _landmarks(found: Landmarks | None) -> list[WireObject] | None:
    if found is None:
        return None
    named = {
        "eyeLeft": found.eye_left,
        "eyeRight": found.eye_right,
        "mouthLeft": found.mouth_left,
        "mouthRight": found.mouth_right,
        "nose": found.nose,
    }
    return [{"Type": name, "X": point.x, "Y": point.y} for name, point in named.items()]


def _pose(pose: Pose | None) -> WireObject | None:
    return None if pose is None else {"Roll": pose.roll, "Yaw": pose.yaw, "Pitch": pose.pitch}


def _quality(quality: FaceQuality | None) -> WireObject | None:
    if quality is None:
        return None
    return {"Brightness": quality.brightness, "Sharpness": quality.sharpness}
