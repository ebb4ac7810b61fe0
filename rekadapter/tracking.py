"""Faces to tracks, and a decision per track by the evidence of all its sightings.

Everything here is arithmetic on what a recognizer answered: no clock, no thread, no file.
"""

from __future__ import annotations

import math
import statistics
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from rekadapter.observation import CandidateRecord, Decision
from rekadapter.types import (
    BoundingBox,
    Candidate,
    ComparisonScore,
    FaceIdentification,
    Point,
    Reason,
    SubjectId,
)

_AMPLE_EYE_DISTANCE_PX: Final = 60.0
"""Above it a camera counts as good; face models take chips of about this size."""

# --- decisions --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DecisionRules:
    """When a name is said.

    A sighting supports the subject of its best candidate, and only if that candidate meets
    ``threshold``. Sightings weigh by the area of the face (``evidence_weight``): far away everybody
    looks like somebody. A subject is named if at least ``min_sightings`` sightings support it, with
    at least ``dominance`` times the weight of any other subject, and with at least ``min_share`` of
    the weight of all that were searched: a stranger who meets the threshold now and then, as one
    does in hundreds of frames, stays unknown. One frame can deceive, so two are asked for wherever
    a second could be had; a single photograph is judged on its own (1). Where few sightings are
    asked about, one candidate that meets ``clear`` stands for all of ``min_sightings``; None: none
    does. ``empty_gallery`` says that there was nobody to compare with.
    """

    threshold: ComparisonScore
    min_sightings: int = 2
    dominance: float = 2.0
    min_share: float = 0.5
    empty_gallery: bool = False
    clear: ComparisonScore | None = None


@dataclass(slots=True)
class _Support:
    count: int
    weight: float
    best: Candidate


class Evidence:
    """What the sightings of one face say so far. The order in which they are added has no effect,
    and memory grows with the number of subjects, not of sightings."""

    def __init__(self, rules: DecisionRules) -> None:
        self._rules = rules
        self._searched = 0
        self._weight = 0.0
        self._not_searched: Counter[Reason] = Counter()
        self._support: dict[SubjectId, _Support] = {}
        self._nearest: Candidate | None = None

    def add(self, face: FaceIdentification) -> None:
        """Takes one more sighting into account.

        Raises:
            ScaleMismatchError: its scores are on another scale than the threshold.
        """
        if face.not_searched is not None:
            self._not_searched[face.not_searched.reason] += 1
            return
        weight = evidence_weight(face.face.eye_distance_px)
        self._searched += 1
        self._weight += weight
        if not face.candidates:
            return
        nearest = face.candidates[0]
        self._nearest = _nearer(self._nearest, nearest)
        if nearest.score.meets(self._rules.threshold):
            # Two subjects at the same best score (one photograph under two names) both count:
            # neither is more likely than the other.
            equals = (c for c in face.candidates if c.score.value == nearest.score.value)
            self._count(equals, weight)

    def _count(self, candidates: Iterable[Candidate], weight: float) -> None:
        for subject, candidate in {named(c): c for c in candidates}.items():
            support = self._support.setdefault(subject, _Support(0, 0.0, candidate))
            support.count += 1
            support.weight += weight
            support.best = _nearer(support.best, candidate)

    def support(self, subject: SubjectId) -> tuple[float, float]:
        """How well ``subject`` is supported: two of these can be compared, more is better."""
        held = self._support.get(subject)
        return (held.weight, _closeness(held.best)) if held else (0.0, -math.inf)

    def decision(self) -> Decision:
        """The subject, or unknown with the reason and whom it resembled most."""
        if not self._support:
            return self._unknown(self._why_nobody(), self._nearest, supporting=0)
        ranked = sorted(self._support.items(), key=lambda entry: (_rank(entry[1]), entry[0]))
        subject, leader = ranked[0]
        rival = ranked[1][1].weight if len(ranked) > 1 else 0.0
        if leader.weight < self._rules.dominance * rival:
            reason = Reason.CONFLICTING_CANDIDATES
        elif self._too_few(leader):
            reason = Reason.TOO_FEW_SIGHTINGS
        else:
            best = CandidateRecord.of(leader.best)
            return Decision(subject, None, best, self._searched, leader.count)
        return self._unknown(reason, leader.best, supporting=leader.count)

    def _too_few(self, leader: _Support) -> bool:
        rules = self._rules
        clear = rules.clear is not None and leader.best.score.meets(rules.clear)
        few = leader.count < rules.min_sightings and not clear
        return few or leader.weight < rules.min_share * self._weight

    def _why_nobody(self) -> Reason:
        if self._searched:
            empty = self._rules.empty_gallery and self._nearest is None
            return Reason.EMPTY_GALLERY if empty else Reason.BELOW_THRESHOLD
        reasons = sorted(self._not_searched.items(), key=lambda entry: (-entry[1], entry[0]))
        return reasons[0][0] if reasons else Reason.NO_FACE

    def _unknown(self, reason: Reason, best: Candidate | None, *, supporting: int) -> Decision:
        record = CandidateRecord.of(best) if best else None
        return Decision(None, reason, record, self._searched, supporting)


def decide(faces: Iterable[FaceIdentification], rules: DecisionRules) -> Decision:
    """One decision over all sightings of one face, in any order.

    Raises:
        ScaleMismatchError: a score is on another scale than the threshold.
    """
    evidence = Evidence(rules)
    for face in faces:
        evidence.add(face)
    return evidence.decision()


def named(candidate: Candidate) -> SubjectId:
    """Whom a candidate stands for: its subject, or its face id where it was enrolled without."""
    return candidate.subject if candidate.subject is not None else SubjectId(candidate.face.face_id)


def _closeness(candidate: Candidate) -> float:
    score = candidate.score
    return score.value if score.scale.higher_is_closer else -score.value


def _rank(support: _Support) -> tuple[float, float]:
    return (-support.weight, -_closeness(support.best))


def evidence_weight(eye_distance_px: float | None) -> float:
    """How much a sighting counts: the square of the eye distance in pixels, up to where more pixels
    tell no more; 1 where it is not known, which then holds for every sighting of a backend."""
    if eye_distance_px is None:
        return 1.0
    return min(max(eye_distance_px, 1.0), _AMPLE_EYE_DISTANCE_PX) ** 2


def _nearer(one: Candidate | None, other: Candidate) -> Candidate:
    """The closer of two; at the same score the smaller face id, so that order has no effect."""
    if one is None:
        return other
    return min(one, other, key=lambda c: (-_closeness(c), c.face.face_id))


# --- tracks -----------------------------------------------------------------------------------

_WALK_FACES_PER_SECOND: Final = 8.0
"""How far a walker gets across the view: 1.5 m/s over faces a little less than 0.2 m wide."""


@dataclass(frozen=True, slots=True)
class TrackingRules:
    """When a face is taken for the one seen before.

    Its center lies within ``max_shift`` face sizes of where the last ones lead to, its sides are
    within a factor of ``max_growth``, and no more than ``max_gap_seconds`` have passed. Once the
    face's motion is known, less is allowed: ``steady_shift`` face sizes, and ``shift_per_second``
    more as time passes; else whoever steps in front of a face would take over its track.
    Photographs of a folder count one second apart, so by default they are never joined.
    """

    max_gap_seconds: float = 0.9
    max_shift: float = 1.8
    max_growth: float = 1.7
    steady_shift: float = 0.3
    shift_per_second: float = 1.0

    @classmethod
    def at(cls, fps: float | None) -> TrackingRules:
        """Rules for so many frames a second (None: a camera's usual many): a walker who is seen
        less often is waited for longer and gets further in between."""
        rules = cls()
        if fps is None:
            return rules
        interval = 1.0 / fps
        return replace(
            rules,
            max_gap_seconds=max(rules.max_gap_seconds, 2.5 * interval),
            max_shift=max(rules.max_shift, _WALK_FACES_PER_SECOND * interval),
            steady_shift=max(rules.steady_shift, _WALK_FACES_PER_SECOND * interval / 2),
        )


@dataclass(frozen=True, slots=True)
class EndedTrack:
    """A person who crossed the view, as far as could be followed."""

    track: int
    first_seconds: float
    last_seconds: float
    sightings: int
    decision: Decision
    median_eye_distance_px: float | None


@dataclass(frozen=True, slots=True)
class Followed:
    """``tracks``: which track each face of the frame belongs to, in the order they were given, None
    for a frame that came too late. ``ended``: the tracks that this frame showed to be over."""

    tracks: tuple[int | None, ...]
    ended: tuple[EndedTrack, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """A track as far as it was followed: when, and in how many frames."""

    track: int
    first_seconds: float
    last_seconds: float
    sightings: int


@dataclass(frozen=True, slots=True)
class Steps:
    """``tracks``: which track each box belongs to, in the order given, None for a frame that came
    too late. ``over``: the tracks that this frame showed to be over."""

    tracks: tuple[int | None, ...]
    over: tuple[Span, ...]


@dataclass(slots=True)
class _Track:
    number: int
    box: BoundingBox
    first_seconds: float
    last_seconds: float
    sightings: int = 0
    velocity: Point = field(default_factory=lambda: Point(0.0, 0.0))

    @property
    def span(self) -> Span:
        return Span(self.number, self.first_seconds, self.last_seconds, self.sightings)


_TRUSTED_SECONDS = 0.3
"""How far ahead a face's motion is believed; a walker turns, and noise grows with the distance."""
_SHORTEST_STEP_SECONDS = 1e-3
"""Frames closer to one another, as damaged time stamps make them, show noise and no motion."""


_SIGHTINGS_TO_KNOW_MOTION = 3


class Follower:
    """Which boxes of successive frames are the same face, by place, size and motion alone.

    Frames have to come in order of time; one from before the last is not followed. Not thread-safe.
    """

    def __init__(self, rules: TrackingRules | None = None) -> None:
        self._rules = rules or TrackingRules()
        self._alive: dict[int, _Track] = {}
        self._issued = 0
        self._now = -math.inf

    def update(self, seconds: float, boxes: Sequence[BoundingBox]) -> Steps:
        """Takes the faces of the frame at ``seconds``; a frame without any also moves time on."""
        if seconds < self._now:
            return Steps((None,) * len(boxes), ())
        self._now = seconds
        over = self._end(
            track
            for track in self._alive.values()
            if seconds - track.last_seconds > self._rules.max_gap_seconds
        )
        found = self._matched(seconds, boxes)
        tracks = tuple(self._see(found.get(place), seconds, box) for place, box in enumerate(boxes))
        return Steps(tracks, over)

    def close(self) -> tuple[Span, ...]:
        """Ends every track: the feed is over."""
        return self._end(self._alive.values())

    def _matched(self, seconds: float, boxes: Sequence[BoundingBox]) -> dict[int, _Track]:
        """Which track each face (by its place) goes on: the likeliest pairs first."""
        pairs = []
        for track in self._alive.values():
            expected = _expected(track, seconds)
            max_shift = self._max_shift(track, seconds)
            for place, box in enumerate(boxes):
                affinity = _affinity(expected, box, max_shift, self._rules.max_growth)
                if affinity is not None:
                    pairs.append((-affinity, track.number, place))
        found: dict[int, _Track] = {}
        used: set[int] = set()
        for _, number, place in sorted(pairs):
            if number not in used and place not in found:
                used.add(number)
                found[place] = self._alive[number]
        return found

    def _max_shift(self, track: _Track, seconds: float) -> float:
        rules = self._rules
        if track.sightings < _SIGHTINGS_TO_KNOW_MOTION:
            return rules.max_shift
        passed = seconds - track.last_seconds
        return min(rules.max_shift, rules.steady_shift + rules.shift_per_second * passed)

    def _see(self, track: _Track | None, seconds: float, box: BoundingBox) -> int:
        if track is None:
            self._issued += 1
            track = _Track(self._issued, box, seconds, seconds)
            self._alive[track.number] = track
        track.velocity = _velocity(track, seconds, box)
        track.box = box
        track.last_seconds = seconds
        track.sightings += 1
        return track.number

    def _end(self, tracks: Iterable[_Track]) -> tuple[Span, ...]:
        ending = sorted(tracks, key=lambda track: track.number)
        for track in ending:
            del self._alive[track.number]
        return tuple(track.span for track in ending)


@dataclass(slots=True)
class _Case:
    number: int
    evidence: Evidence
    eye_distances: array[float] = field(default_factory=lambda: array("d"))
    together: set[int] = field(default_factory=set)
    """tracks seen in one frame with this one: certainly other people"""
    taken: set[SubjectId] = field(default_factory=set)
    """subjects that somebody seen together with this one turned out to be"""


class Casebook:
    """The evidence about each track of one camera, whoever numbers the tracks. Not thread-safe.

    Two tracks seen in one frame are two people: if both would be named the same subject, the better
    supported one keeps the name, the other is unknown (CONFLICTING_CANDIDATES), and if neither is
    better, so are both. A track that ended first and was named keeps its name.
    """

    def __init__(self, rules: DecisionRules) -> None:
        self._rules = rules
        self._open: dict[int, _Case] = {}

    def see(self, sightings: Iterable[tuple[int, FaceIdentification]]) -> None:
        """The faces of one frame, each with its track."""
        numbers = []
        for number, face in sightings:
            numbers.append(number)
            case = self._open.setdefault(number, _Case(number, Evidence(self._rules)))
            case.evidence.add(face)
            if face.face.eye_distance_px is not None:
                case.eye_distances.append(face.face.eye_distance_px)
        for number in numbers:
            self._open[number].together.update(other for other in numbers if other != number)

    def end(self, spans: Iterable[Span]) -> tuple[EndedTrack, ...]:
        """The decisions about tracks that are over; one that was never seen here has none to go
        by (NO_FACE)."""
        ending = sorted(spans, key=lambda span: span.track)
        cases = [
            self._open.get(span.track) or _Case(span.track, Evidence(self._rules))
            for span in ending
        ]
        ended = tuple(
            _ended(span, case, self._settled(case))
            for span, case in zip(ending, cases, strict=True)
        )
        for span in ending:
            self._open.pop(span.track, None)
        for case in self._open.values():
            case.together.intersection_update(self._open)
        return ended

    def _settled(self, case: _Case) -> Decision:
        decision = case.evidence.decision()
        if decision.subject is None:
            return decision
        if decision.subject in case.taken or self._yields(case, decision.subject):
            reason = Reason.CONFLICTING_CANDIDATES
            return replace(decision, subject=None, reason=reason)
        for rival in self._seen_with(case):
            rival.taken.add(decision.subject)
        return decision

    def _yields(self, case: _Case, subject: SubjectId) -> bool:
        """Whether somebody seen together with this one has as good a claim to the name."""
        own = case.evidence.support(subject)
        yields = False
        for rival in self._seen_with(case):
            theirs = rival.evidence.support(subject)
            if rival.evidence.decision().subject == subject and theirs >= own:
                yields = True
                if theirs == own:
                    rival.taken.add(subject)
        return yields

    def _seen_with(self, case: _Case) -> list[_Case]:
        return [self._open[number] for number in case.together if number in self._open]


class Tracker:
    """The faces of one camera as one backend sees them: followed, and decided about.

    Frames have to come in order of time; one from before the last is not followed (its faces get
    no track). Not thread-safe: one thread owns it.
    """

    def __init__(self, decision: DecisionRules, rules: TrackingRules | None = None) -> None:
        self._follower = Follower(rules)
        self._casebook = Casebook(decision)

    def update(self, seconds: float, faces: Sequence[FaceIdentification]) -> Followed:
        """Takes the faces of the frame at ``seconds``; a frame without any also moves time on."""
        steps = self._follower.update(seconds, [face.face.box for face in faces])
        ended = self._casebook.end(steps.over)
        self._casebook.see(
            (track, face)
            for track, face in zip(steps.tracks, faces, strict=True)
            if track is not None
        )
        return Followed(steps.tracks, ended)

    def close(self) -> tuple[EndedTrack, ...]:
        """Ends every track: the feed is over."""
        return self._casebook.end(self._follower.close())


def _ended(span: Span, case: _Case, decision: Decision) -> EndedTrack:
    distances = case.eye_distances
    return EndedTrack(
        track=span.track,
        first_seconds=span.first_seconds,
        last_seconds=span.last_seconds,
        sightings=span.sightings,
        decision=decision,
        median_eye_distance_px=statistics.median(distances) if distances else None,
    )


def _expected(track: _Track, seconds: float) -> BoundingBox:
    """Where the track's face should be by now."""
    ahead = min(seconds - track.last_seconds, _TRUSTED_SECONDS)
    return replace(
        track.box,
        left=track.box.left + track.velocity.x * ahead,
        top=track.box.top + track.velocity.y * ahead,
    )


def _velocity(track: _Track, seconds: float, box: BoundingBox) -> Point:
    """Motion of the center in image sides a second: the average of the newest and what was held,
    so that a detector's jitter counts half."""
    passed = seconds - track.last_seconds
    if passed < _SHORTEST_STEP_SECONDS:
        return track.velocity
    old, new = track.box.center, box.center
    return Point(
        (track.velocity.x + (new.x - old.x) / passed) / 2,
        (track.velocity.y + (new.y - old.y) / passed) / 2,
    )


def _affinity(
    expected: BoundingBox, box: BoundingBox, max_shift: float, max_growth: float
) -> float | None:
    """How likely ``box`` shows the face expected, higher is likelier; None if it cannot be."""
    width, height = (expected.width + box.width) / 2, (expected.height + box.height) / 2
    if min(expected.width, expected.height, box.width, box.height) <= 0:
        return None
    growth = max(
        expected.width / box.width,
        box.width / expected.width,
        expected.height / box.height,
        box.height / expected.height,
    )
    shift = math.hypot(
        (box.center.x - expected.center.x) / width, (box.center.y - expected.center.y) / height
    )
    if growth > max_growth or shift > max_shift:
        return None
    return expected.iou(box) - shift
