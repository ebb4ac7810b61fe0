"""Whether two backends' answers to one call agree. Agreement is not correctness: both may be wrong.

Scores are never held against each other: each side's decision comes from its own threshold on its
own scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from rekadapter.types import (
    BoundingBox,
    Detection,
    FaceComparison,
    FaceId,
    FaceIdentification,
    Identification,
    Reason,
    SubjectId,
    Verification,
)

MIN_IOU: Final = 0.3
"""Detectors draw faces differently (from the brows or from the hair); boxes of one face still share
about a third of their union, those of neighbors hardly anything."""


class Agreement(StrEnum):
    """How two answers compare; of several faces the gravest counts, in this order."""

    SHADOW_FAILED = "shadow_failed"
    DIFFERENT_SUBJECTS = "different_subjects"
    ONLY_PRIMARY = "only_primary"
    """only the primary names somebody, or says that the pair matches"""
    ONLY_SHADOW = "only_shadow"
    CANNOT_TELL = "cannot_tell"
    """both matched an enrolled face, but one of the two was enrolled without a subject"""
    ONLY_PRIMARY_SAW = "only_primary_saw"
    """a face that the shadow did not find, and that the primary does not name"""
    ONLY_SHADOW_SAW = "only_shadow_saw"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class FaceDecision:
    """What one side says about one face.

    ``matched``: a candidate met the threshold (the best one's ``subject``, ``face_id`` and
    ``score`` follow), or the pair matches. Otherwise ``reason`` says why not; for a mere detection
    both are None.
    """

    box: BoundingBox
    matched: bool | None = None
    subject: SubjectId | None = None
    face_id: FaceId | None = None
    score: float | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """One side's answer. ``threshold`` and all scores are on ``scale``.

    ``failure``: the image gave nothing to search with. ``error``: there is no answer, and why.
    """

    backend: str
    latency_seconds: float
    threshold: float | None
    scale: str
    faces: tuple[FaceDecision, ...] = ()
    failure: Reason | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class FacePair:
    """One face as both saw it: its place in each side's ``faces``, None where it was not found."""

    primary: int | None
    shadow: int | None
    agreement: Agreement


# --- what an answer decides -------------------------------------------------------------------

AnyAnswer = Detection | Identification | Verification


def decisions(answer: AnyAnswer) -> tuple[tuple[FaceDecision, ...], Reason | None]:
    """The decision on each face, and why there is none if there is none."""
    match answer:
        case Detection():
            return tuple(FaceDecision(face.box) for face in answer.faces), None
        case Identification():
            failure = answer.failure.reason if answer.failure else None
            return tuple(map(_identified, answer.faces)), failure
        case Verification():
            failure = answer.failure.reason if answer.failure else None
            return tuple(map(_compared, answer.comparisons)), failure


def _identified(found: FaceIdentification) -> FaceDecision:
    box = found.face.box
    if found.not_searched is not None:
        return FaceDecision(box, matched=False, reason=found.not_searched.reason)
    if not found.candidates:
        return FaceDecision(box, matched=False, reason=Reason.BELOW_THRESHOLD)
    best = found.candidates[0]
    return FaceDecision(
        box,
        matched=True,
        subject=best.subject,
        face_id=best.face.face_id,
        score=best.score.value,
    )


def _compared(comparison: FaceComparison) -> FaceDecision:
    score = comparison.score.value if comparison.score else None
    reason = None if comparison.matched else Reason.BELOW_THRESHOLD
    return FaceDecision(comparison.face.box, comparison.matched, score=score, reason=reason)


# --- holding two against each other -----------------------------------------------------------


def compare(
    primary: Answered, shadow: Answered, *, names: bool, one_face: bool
) -> tuple[Agreement, tuple[FacePair, ...]]:
    """The gravest agreement, and that of each face.

    ``names``: decisions name subjects (1:N). ``one_face``: both were asked about one and the same
    face, so that boxes need not be paired.
    """
    if shadow.error is not None:
        return Agreement.SHADOW_FAILED, ()
    matched = _pair_single if one_face else _pair_by_overlap
    pairs = tuple(
        FacePair(mine, theirs, _agreement(_at(primary, mine), _at(shadow, theirs), names=names))
        for mine, theirs in matched(primary.faces, shadow.faces)
    )
    gravest = min((pair.agreement for pair in pairs), key=list(Agreement).index, default=None)
    return gravest or Agreement.SAME, pairs


_Places = list[tuple[int | None, int | None]]
_Pairing = Callable[[Sequence[FaceDecision], Sequence[FaceDecision]], _Places]


def _pair_single(mine: Sequence[FaceDecision], theirs: Sequence[FaceDecision]) -> _Places:
    if not mine and not theirs:
        return []
    return [(0 if mine else None, 0 if theirs else None)]


def _pair_by_overlap(mine: Sequence[FaceDecision], theirs: Sequence[FaceDecision]) -> _Places:
    """Each box once, those that overlap most first; then those left over."""
    overlaps = sorted(
        (-one.box.iou(other.box), i, j)
        for i, one in enumerate(mine)
        for j, other in enumerate(theirs)
    )
    partner: dict[int, int] = {}
    taken: set[int] = set()
    for overlap, i, j in overlaps:
        if -overlap >= MIN_IOU and i not in partner and j not in taken:
            partner[i] = j
            taken.add(j)
    pairs: _Places = [(i, partner.get(i)) for i in range(len(mine))]
    return pairs + [(None, j) for j in range(len(theirs)) if j not in taken]


def _at(answer: Answered, place: int | None) -> FaceDecision | None:
    return None if place is None else answer.faces[place]


def _agreement(
    primary: FaceDecision | None, shadow: FaceDecision | None, *, names: bool
) -> Agreement:
    mine, theirs = _matched(primary), _matched(shadow)
    if mine != theirs:
        return Agreement.ONLY_PRIMARY if mine else Agreement.ONLY_SHADOW
    if primary is None or shadow is None:
        return Agreement.ONLY_SHADOW_SAW if primary is None else Agreement.ONLY_PRIMARY_SAW
    if not (mine and names):
        return Agreement.SAME
    if primary.subject is None or shadow.subject is None:
        return Agreement.CANNOT_TELL
    same = primary.subject == shadow.subject
    return Agreement.SAME if same else Agreement.DIFFERENT_SUBJECTS


def _matched(decision: FaceDecision | None) -> bool:
    return decision is not None and bool(decision.matched)
