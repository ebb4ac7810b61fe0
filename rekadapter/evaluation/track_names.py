"""At which thresholds a track would have been named, and when a name was first sure.

A run asks for uncensored candidate lists, so rekadapter's rule for naming a track
(``tracking.DecisionRules``) can be followed again at any threshold. The score of a track for a
subject is the highest threshold at which the rule names that subject: it belongs to the rule and
the system together, as the alerts on the street do. What tracks seen together do to each other
(``tracking.Casebook``) is not followed again: it can only take names away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rekadapter.evaluation.outcomes import PersonId, ScoredSubject, best_per_subject, turned
from rekadapter.gate.verdict import CLEAR_SHARE, clear_score
from rekadapter.observation import BackendRecord, CandidateRecord, Observation
from rekadapter.tracking import DecisionRules, Evidence, evidence_weight
from rekadapter.types import (
    BoundingBox,
    Candidate,
    ComparisonScore,
    DetectedFace,
    EnrolledFace,
    FaceIdentification,
    FailureToAcquire,
    ImageId,
    Reason,
    ScoreScale,
    SubjectId,
)

_SEARCHED = frozenset({None, Reason.BELOW_THRESHOLD, Reason.EMPTY_GALLERY})
"""what the decision on a single face says if the face was searched"""


@dataclass(frozen=True, slots=True)
class Naming:
    """How tracks of one backend on one camera were named: ``min_sightings`` supporting sightings,
    or, where ``clear_is_enough``, one that is clear. ``live``: the camera did not wait for us."""

    backend: BackendRecord
    min_sightings: int = 2
    clear_is_enough: bool = False
    live: bool = False

    @property
    def rules(self) -> DecisionRules:
        """The rule at the threshold that was in force."""
        threshold = ComparisonScore(self.backend.threshold, self.backend.scale)
        clear = clear_score(threshold) if self.clear_is_enough else None
        return DecisionRules(threshold, min_sightings=self.min_sightings, clear=clear)

    def turned(self, score: float) -> float:
        """A score or a threshold, turned so that higher is closer, or back."""
        return turned(score, self.backend.scale)


def was_searched(sighting: Observation) -> bool:
    """Whether the face was compared with a gallery, whatever came of it."""
    return sighting.box is not None and sighting.decision.reason in _SEARCHED


def subject_of(candidate: CandidateRecord) -> str:
    """Whom a candidate stands for: its subject, or its face where it was enrolled without."""
    return candidate.subject if candidate.subject is not None else candidate.face_id


# --- every threshold ----------------------------------------------------------------------------


def track_scores(sightings: Iterable[Observation], naming: Naming) -> Sequence[ScoredSubject]:
    """For each subject that the track would be named at some threshold, the highest of these;
    scores are turned so that higher is closer, best first."""
    searched = [one for one in sightings if was_searched(one)]
    whole = sum(evidence_weight(one.eye_distance_px) for one in searched)
    found = _named_at(_votes(searched, naming), whole, naming)
    return best_per_subject(tuple(found))


@dataclass(frozen=True, slots=True)
class _Vote:
    score: float
    subjects: tuple[str, ...]
    weight: float


@dataclass(slots=True)
class _Support:
    best: float
    count: int = 0
    weight: float = 0.0


def _votes(searched: Sequence[Observation], naming: Naming) -> list[_Vote]:
    """The sightings that have a candidate, closest first."""
    votes = [
        _Vote(
            naming.turned(one.candidates[0].score),
            tuple({subject_of(c): None for c in _equals(one.candidates)}),
            evidence_weight(one.eye_distance_px),
        )
        for one in searched
        if one.candidates
    ]
    return sorted(votes, key=lambda vote: -vote.score)


def _equals(candidates: Sequence[CandidateRecord]) -> Iterator[CandidateRecord]:
    return (one for one in candidates if one.score == candidates[0].score)


def _named_at(votes: Sequence[_Vote], whole: float, naming: Naming) -> Iterator[ScoredSubject]:
    """Lets the threshold fall: between two scores the supporters stay the same."""
    support: dict[str, _Support] = {}
    steps = [(score, tuple(same)) for score, same in groupby(votes, key=lambda vote: vote.score)]
    for place, (score, same) in enumerate(steps):
        for vote in same:
            for subject in vote.subjects:
                held = support.setdefault(subject, _Support(vote.score))
                held.count += 1
                held.weight += vote.weight
        below = steps[place + 1][0] if place + 1 < len(steps) else None
        named = _named(support, whole, naming)
        at = None if named is None else _threshold(support[named], score, naming)
        if named is not None and at is not None and (below is None or at > below):
            yield ScoredSubject(PersonId(named), at)


def _named(support: dict[str, _Support], whole: float, naming: Naming) -> str | None:
    """Who leads by weight, as ``tracking.Evidence`` decides, before sightings are counted."""
    rules = naming.rules
    ranked = sorted(support, key=lambda name: (-support[name].weight, -support[name].best, name))
    leader = support[ranked[0]]
    rival = support[ranked[1]].weight if len(ranked) > 1 else 0.0
    enough = leader.weight >= rules.dominance * rival and leader.weight >= rules.min_share * whole
    return ranked[0] if enough else None


def _threshold(leader: _Support, score: float, naming: Naming) -> float | None:
    """The highest threshold, at most ``score``, at which so many sightings name the leader."""
    if leader.count >= naming.min_sightings:
        return score
    if not naming.clear_is_enough:
        return None
    best = naming.turned(naming.backend.scale.closest)
    # the inverse of ``clear_score``: clear lies CLEAR_SHARE of the way from threshold to best
    return min(score, (leader.best - CLEAR_SHARE * best) / (1 - CLEAR_SHARE))


# --- when -----------------------------------------------------------------------------------------


def first_said(sightings: Iterable[Observation], subject: str, naming: Naming) -> float | None:
    """Media seconds at which the evidence first sufficed for ``subject``; None where it never did.

    The wait for that answer is included: of a live camera, and where the uplink was gone, all of
    it, of a recording the answer's own time, because how long a frame of a file waits for its turn
    says nothing about a camera.
    """
    evidence = Evidence(naming.rules)
    for one in sorted(sightings, key=lambda one: (_known_at(one), one.frame)):
        evidence.add(_as_face(one, naming.backend.scale))
        if evidence.decision().subject == subject:
            queued = (naming.live or one.late) and one.age_seconds is not None
            return one.seconds + ((one.age_seconds or 0.0) if queued else one.latency_seconds)
    return None


def _known_at(one: Observation) -> float:
    """What had to wait for the uplink comes after what was answered meanwhile."""
    return one.seconds + (one.age_seconds or 0.0 if one.late else 0.0)


def _as_face(sighting: Observation, scale: ScoreScale) -> FaceIdentification:
    """What was stored of a face, as the backend gave it."""
    box = sighting.box or BoundingBox(0.0, 0.0, 1.0, 1.0)
    face = DetectedFace(box, sighting.confidence or 0.0, eye_distance_px=sighting.eye_distance_px)
    if not was_searched(sighting):
        return FaceIdentification(
            face, not_searched=FailureToAcquire(sighting.decision.reason or Reason.NOT_ASKED)
        )
    return FaceIdentification(face, tuple(_candidate(one, scale) for one in sighting.candidates))


def _candidate(record: CandidateRecord, scale: ScoreScale) -> Candidate:
    subject = None if record.subject is None else SubjectId(record.subject)
    box = BoundingBox(0.0, 0.0, 1.0, 1.0)
    face = EnrolledFace(record.face_id, ImageId(""), subject, box, 0.0)
    return Candidate(face, ComparisonScore(record.score, scale))
