"""AWS's JSON as rekadapter's types. Every function raises KeyError, TypeError or ValueError where a
member is missing or has another form; ``calls.understanding`` names it."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rekadapter.errors import ConfigError
from rekadapter.names import from_external_image_id
from rekadapter.types import (
    AgeRange,
    BoundingBox,
    Candidate,
    ComparisonScore,
    DetectedFace,
    EnrolledFace,
    FaceComparison,
    FaceId,
    FaceQuality,
    FaceRecord,
    FailureToEnroll,
    Gender,
    ImageId,
    Landmarks,
    PerceivedGender,
    Point,
    Pose,
    Reason,
    ScoreScale,
    Size,
    UserId,
)

logger = logging.getLogger(__name__)

Json = Mapping[str, Any]

SIMILARITY: Final = ScoreScale("AWS Rekognition Similarity", 0.0, 100.0)


def check_threshold(threshold: ComparisonScore) -> None:
    """Refuses one that is on another scale, or outside of Rekognition's.

    Raises:
        ScaleMismatchError: it is on another scale.
        ConfigError: it is not within 0 and 100.
    """
    ComparisonScore(SIMILARITY.low, SIMILARITY).meets(threshold)
    if not SIMILARITY.low <= threshold.value <= SIMILARITY.high:
        raise ConfigError(
            f"a threshold on the scale '{SIMILARITY.name}' lies within 0 and 100, "
            f"not at {threshold.value:g}"
        )


def box_of(data: Json) -> BoundingBox:
    return BoundingBox(
        float(data["Left"]), float(data["Top"]), float(data["Width"]), float(data["Height"])
    )


def similarity_of(match: Json) -> ComparisonScore:
    return ComparisonScore(float(match["Similarity"]), SIMILARITY)


def detected_face(detail: Json, size: Size) -> DetectedFace:
    """A FaceDetail or ComparedFace of an image of ``size`` (native pixels)."""
    landmarks = _landmarks(detail.get("Landmarks") or ())
    pose, quality = detail.get("Pose"), detail.get("Quality")
    return DetectedFace(
        box=box_of(detail["BoundingBox"]),
        confidence=float(detail["Confidence"]),
        landmarks=landmarks,
        pose=Pose(float(pose["Roll"]), float(pose["Yaw"]), float(pose["Pitch"])) if pose else None,
        quality=FaceQuality(float(quality["Sharpness"]), float(quality["Brightness"]))
        if quality
        else None,
        eye_distance_px=_eye_distance_px(landmarks, size) if landmarks else None,
        estimated_age=_age_range(detail.get("AgeRange")),
        perceived_gender=_gender(detail.get("Gender")),
    )


def detected_faces(details: Sequence[Json], size: Size) -> tuple[DetectedFace, ...]:
    """FaceDetails, largest first."""
    faces = (detected_face(detail, size) for detail in details)
    return tuple(sorted(faces, key=lambda face: face.box.area, reverse=True))


def enrolled_face(face: Json) -> EnrolledFace:
    """A Face of a collection; one that another tool indexed without ExternalImageId has no
    subject."""
    external = face.get("ExternalImageId")
    return EnrolledFace(
        face_id=FaceId(str(face["FaceId"])),
        image_id=ImageId(str(face["ImageId"])),
        subject=from_external_image_id(external) if external else None,
        box=box_of(face["BoundingBox"]),
        confidence=float(face["Confidence"]),
        user=UserId(str(face["UserId"])) if face.get("UserId") else None,
    )


def candidates(
    matches: Sequence[Json], threshold: ComparisonScore, limit: int
) -> tuple[Candidate, ...]:
    """FaceMatches as one candidate list: best first, at most ``limit``, all meeting ``threshold``.

    AWS promises as much; a list that a report rests on is checked all the same.
    """
    found = [Candidate(enrolled_face(match["Face"]), similarity_of(match)) for match in matches]
    kept = [candidate for candidate in found if candidate.score.meets(threshold)]
    kept.sort(key=lambda candidate: candidate.score.value, reverse=True)
    return tuple(kept[:limit])


def face_records(records: Sequence[Json], size: Size) -> tuple[FaceRecord, ...]:
    """FaceRecords, largest first."""
    made = (
        FaceRecord(enrolled_face(record["Face"]), detected_face(record["FaceDetail"], size))
        for record in records
    )
    return tuple(sorted(made, key=lambda record: record.detected.box.area, reverse=True))


def failure_to_enroll(unindexed: Json, size: Size) -> FailureToEnroll:
    """An UnindexedFace. A reason that is newer than this version is logged and left out: the
    vendor's own answer keeps it."""
    reasons = []
    for word in unindexed.get("Reasons") or ():
        try:
            reasons.append(Reason(word))
        except ValueError:
            logger.warning("AWS left a face out for a reason not known here: %s", word)
    return FailureToEnroll(tuple(reasons), detected_face(unindexed["FaceDetail"], size))


def comparisons(data: Json, threshold: ComparisonScore, size: Size) -> tuple[FaceComparison, ...]:
    """FaceMatches and UnmatchedFaces of CompareFaces, matches best first.

    AWS gives no similarity for an unmatched face; none is made up.
    """
    scored = [(similarity_of(match), match["Face"]) for match in data["FaceMatches"]]
    scored.sort(key=lambda pair: pair[0].value, reverse=True)
    matched = [
        FaceComparison(detected_face(face, size), matched=score.meets(threshold), score=score)
        for score, face in scored
    ]
    unmatched = [
        FaceComparison(face, matched=False)
        for face in detected_faces(data.get("UnmatchedFaces") or (), size)
    ]
    return (*matched, *unmatched)


def _landmarks(found: Sequence[Json]) -> Landmarks | None:
    points = {str(mark["Type"]): Point(float(mark["X"]), float(mark["Y"])) for mark in found}
    try:
        return Landmarks(
            eye_left=points["eyeLeft"],
            eye_right=points["eyeRight"],
            nose=points["nose"],
            mouth_left=points["mouthLeft"],
            mouth_right=points["mouthRight"],
        )
    except KeyError:
        return None


def _age_range(age: Json | None) -> AgeRange | None:
    return AgeRange(int(age["Low"]), int(age["High"])) if age else None


def _gender(gender: Json | None) -> PerceivedGender | None:
    """A word that is newer than this version is logged and left out, like a reason."""
    if not gender:
        return None
    try:
        value = Gender(gender["Value"])
    except ValueError:
        logger.warning("AWS names a gender not known here: %s", gender["Value"])
        return None
    confidence = gender.get("Confidence")
    return PerceivedGender(value, None if confidence is None else float(confidence))


def _eye_distance_px(landmarks: Landmarks, size: Size) -> float:
    left, right = landmarks.eye_left, landmarks.eye_right
    return math.hypot((right.x - left.x) * size.width, (right.y - left.y) * size.height)
