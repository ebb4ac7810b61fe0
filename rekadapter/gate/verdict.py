"""What an answer says of the faces of its frame, and whether it settles who they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from rekadapter.gate.probe import Fate, Followed, Probe
from rekadapter.types import (
    BoundingBox,
    ComparisonScore,
    DetectedFace,
    FaceIdentification,
    FailureToAcquire,
    Identification,
    Landmarks,
    Point,
    Reason,
)

NEAR_SHARE: Final = 0.25
"""Scores that fall short of the threshold by less than this share of the way from there to the best
score there is count as near it: from 75 on at 80 of 100, from 98.75 on at 99."""

CLEAR_SHARE: Final = 0.75
"""From this share of that way on a score is clear: 95 at 80 of 100, 99.75 at 99. Strangers on a
street met 80 with 86 and 92, each in one small picture, so those have to be met twice."""

_SAME_FACE_IOU: Final = 0.3
"""Overlap from which the face that was searched may be the one meant: detectors draw boxes of one
face differently, those of neighbors hardly share anything."""


def clear_score(threshold: ComparisonScore) -> ComparisonScore:
    """From which score on one answer is enough to name somebody."""
    return replace(threshold, value=threshold.value + CLEAR_SHARE * _headroom(threshold))


def verdict_of(face: FaceIdentification, threshold: ComparisonScore) -> Fate:
    """Whether an answer settles who somebody is."""
    if not face.candidates:
        return Fate.NOBODY
    score = face.candidates[0].score
    if score.meets(clear_score(threshold)):
        return Fate.CLEAR
    nearly = replace(threshold, value=threshold.value - NEAR_SHARE * _headroom(threshold))
    return Fate.NEAR if score.meets(nearly) else Fate.NOBODY


@dataclass(frozen=True, slots=True)
class Gathered:
    """The faces of a frame and, where the gate follows people, the track of each."""

    faces: tuple[FaceIdentification, ...]
    tracks: tuple[int, ...] | None = None


def gathered(
    answers: Sequence[tuple[Probe, Identification]], followed: Sequence[Followed] | None
) -> Gathered:
    """What the answers about a frame's probes say of its faces, placed in the frame. Where the gate
    follows people, those it did not ask about are there too, as NOT_ASKED."""
    if followed is None:
        meant = [probe.face for probe, _ in answers if probe.face is not None]
        return Gathered(
            tuple(face for probe, answer in answers for face in _faces_of(probe, answer, meant))
        )
    everyone = [one.face for one in followed]
    by_track = {probe.track: (probe, answer) for probe, answer in answers}
    faces = (
        identified(*by_track[one.track], everyone) if one.track in by_track else _not_asked(one)
        for one in followed
    )
    return Gathered(tuple(faces), tuple(one.track for one in followed))


def _faces_of(
    probe: Probe, answer: Identification, everyone: Sequence[DetectedFace]
) -> tuple[FaceIdentification, ...]:
    if probe.face is not None:
        return (identified(probe, answer, everyone),)
    return tuple(_placed(face, probe.region) for face in answer.faces)


def _not_asked(one: Followed) -> FaceIdentification:
    return FaceIdentification(one.face, (), FailureToAcquire(Reason.NOT_ASKED))


def identified(
    probe: Probe, answer: Identification, everyone: Sequence[DetectedFace]
) -> FaceIdentification:
    """The answer about the one face that ``probe`` means, placed in the frame.

    The recognizer says which box of the probe it searched; unless that is the face meant, and no
    other of the frame fits it better, its candidates are set aside (OTHER_FACE_SEARCHED). The box
    is the recognizer's own; the pixels between the eyes are those of the native frame, as the local
    detector measured them.
    """
    meant = probe.face
    if meant is None:
        raise ValueError("a probe of a whole image means no face in particular")
    if not answer.faces:
        why = answer.failure or FailureToAcquire(Reason.NO_FACE)
        return FaceIdentification(meant, (), why)
    searched = answer.faces[0]
    box = searched.face.box.within(probe.region)
    overlap = box.iou(meant.box)
    others = (other for other in everyone if other is not meant)
    if overlap < _SAME_FACE_IOU or any(box.iou(other.box) > overlap for other in others):
        detail = "another face of the crop was searched; its candidates were set aside"
        return FaceIdentification(meant, (), FailureToAcquire(Reason.OTHER_FACE_SEARCHED, detail))
    seen = DetectedFace(
        box=box, confidence=searched.face.confidence, eye_distance_px=meant.eye_distance_px
    )
    return replace(searched, face=seen)


def _placed(face: FaceIdentification, region: BoundingBox) -> FaceIdentification:
    """A face of a part of a frame, put back into the frame."""
    marks = face.face.landmarks
    placed = replace(
        face.face,
        box=face.face.box.within(region),
        landmarks=None
        if marks is None
        else Landmarks(*(_point_within(point, region) for point in marks.points())),
    )
    return replace(face, face=placed)


def _point_within(point: Point, region: BoundingBox) -> Point:
    return Point(region.left + point.x * region.width, region.top + point.y * region.height)


def _headroom(threshold: ComparisonScore) -> float:
    """Signed: added to the threshold it gives a closer score."""
    return threshold.scale.closest - threshold.value
