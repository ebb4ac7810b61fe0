"""Two backends on the same cameras and frames: where their answers agree, and where they do not.

The unit is the track, not the frame: a hundred frames of one person are one case. Agreement is not
correctness; two systems can be wrong together.

Boxes of the same frame are paired by overlap, best first, each box once. A track belongs with the
track of the other backend that it shares most frames with. Where one backend broke a person's
transit into several tracks, each piece is held against the other's whole track and shown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from rekadapter.evaluation.summary import cameras_of, failed_observation
from rekadapter.observation import Observation, Run, TrackRecord
from rekadapter.types import CameraId

MIN_IOU: Final = 0.3
"""Detectors draw faces differently (from the brows or from the hair); boxes of one face still share
about a third of their union, those of neighbors hardly anything."""


class Outcome(StrEnum):
    """How two decisions about the same transit compare; A and B are the backends in order."""

    SAME_SUBJECT = "both name the same subject"
    BOTH_UNKNOWN = "both say unknown"
    DIFFERENT_SUBJECTS = "they name different subjects"
    ONLY_A_IDENTIFIED = "only the first names a subject"
    ONLY_B_IDENTIFIED = "only the second names a subject"
    ONLY_A_SAW = "only the first saw a face"
    ONLY_B_SAW = "only the second saw a face"
    NOT_COMPARABLE = "the other answered none of these frames"

    @property
    def agrees(self) -> bool:
        return self in {Outcome.SAME_SUBJECT, Outcome.BOTH_UNKNOWN}


@dataclass(frozen=True, slots=True)
class TrackPair:
    """One transit as two backends saw it; the side that saw nothing is None.

    ``frames_a`` and ``frames_b`` count the frames of each track, ``frames_shared`` those in which
    their boxes lie over each other. ``frames_answered`` counts the frames of the track (A's where
    there is one) that the other backend answered, and so could have seen it in.
    """

    camera: CameraId
    outcome: Outcome
    a: TrackRecord | None
    b: TrackRecord | None
    frames_a: int
    frames_b: int
    frames_shared: int
    frames_answered: int


@dataclass(frozen=True, slots=True)
class Pairing:
    """Two backends held against each other over all cameras; pairs by camera, then time."""

    backend_a: str
    backend_b: str
    frames_both: int
    frames_only_a: int
    frames_only_b: int
    faces_both: int
    faces_only_a: int
    faces_only_b: int
    pairs: tuple[TrackPair, ...]

    @property
    def agreements(self) -> tuple[TrackPair, ...]:
        return tuple(pair for pair in self.pairs if pair.outcome.agrees)

    @property
    def disagreements(self) -> tuple[TrackPair, ...]:
        """All that is neither an agreement nor beyond comparison."""
        return tuple(
            pair
            for pair in self.pairs
            if not pair.outcome.agrees and pair.outcome is not Outcome.NOT_COMPARABLE
        )

    def counts(self) -> Mapping[Outcome, int]:
        """Pairs by outcome, every outcome named."""
        counted = Counter(pair.outcome for pair in self.pairs)
        return {outcome: counted[outcome] for outcome in Outcome}


def pair_backends(run: Run, backend_a: str, backend_b: str) -> Pairing:
    """The answers of two backends of one run, paired. Tracks without a record (a run that was
    killed) are left out, as their decisions were never made."""
    cameras = [_CameraPairing(run, camera, backend_a, backend_b) for camera in cameras_of(run)]
    return Pairing(
        backend_a=backend_a,
        backend_b=backend_b,
        frames_both=sum(len(one.answered_a & one.answered_b) for one in cameras),
        frames_only_a=sum(len(one.answered_a - one.answered_b) for one in cameras),
        frames_only_b=sum(len(one.answered_b - one.answered_a) for one in cameras),
        faces_both=sum(one.faces_both for one in cameras),
        faces_only_a=sum(one.faces_only_a for one in cameras),
        faces_only_b=sum(one.faces_only_b for one in cameras),
        pairs=tuple(pair for one in cameras for pair in one.pairs()),
    )


def match_boxes(
    a: Sequence[Observation], b: Sequence[Observation], *, min_iou: float = MIN_IOU
) -> tuple[tuple[int, int], ...]:
    """Indices of faces of one frame that are the same face: best overlap first, each face once."""
    overlaps = sorted(
        (
            (-one.box.iou(other.box), i, j)
            for i, one in enumerate(a)
            for j, other in enumerate(b)
            if one.box is not None and other.box is not None
        ),
    )
    taken_a: set[int] = set()
    taken_b: set[int] = set()
    matches = []
    for overlap, i, j in overlaps:
        if -overlap < min_iou or i in taken_a or j in taken_b:
            continue
        taken_a.add(i)
        taken_b.add(j)
        matches.append((i, j))
    return tuple(matches)


_Frames = Mapping[int, Sequence[Observation]]


class _CameraPairing:
    """One camera: the faces of each frame paired, counted by track."""

    def __init__(self, run: Run, camera: CameraId, backend_a: str, backend_b: str) -> None:
        self._camera = camera
        self._tracks_a = _tracks(run, camera, backend_a)
        self._tracks_b = _tracks(run, camera, backend_b)
        frames_a, frames_b = _frames(run, camera, backend_a), _frames(run, camera, backend_b)
        self.answered_a, self.answered_b = _answered(frames_a), _answered(frames_b)
        self._frames_of_a, self._frames_of_b = _by_track(frames_a), _by_track(frames_b)
        self.faces_both = self.faces_only_a = self.faces_only_b = 0
        self._shared: Counter[tuple[int, int]] = Counter()
        for frame in sorted(self.answered_a & self.answered_b):
            self._match(_faces(frames_a[frame]), _faces(frames_b[frame]))

    def _match(self, a: Sequence[Observation], b: Sequence[Observation]) -> None:
        matches = match_boxes(a, b)
        self.faces_both += len(matches)
        self.faces_only_a += len(a) - len(matches)
        self.faces_only_b += len(b) - len(matches)
        for i, j in matches:
            track_a, track_b = a[i].track, b[j].track
            if track_a is None or track_b is None:
                continue
            if track_a in self._tracks_a and track_b in self._tracks_b:
                self._shared[track_a, track_b] += 1

    def pairs(self) -> tuple[TrackPair, ...]:
        """Sorted by the time at which the transit began."""
        partners_a = _partners((a, b, count) for (a, b), count in self._shared.items())
        partners_b = _partners((b, a, count) for (a, b), count in self._shared.items())
        met = {(a, b) for a, b in partners_a.items()} | {(a, b) for b, a in partners_b.items()}
        found = [self._both(a, b) for a, b in sorted(met)]
        found += [self._only_a(a) for a in sorted(self._tracks_a.keys() - partners_a.keys())]
        found += [self._only_b(b) for b in sorted(self._tracks_b.keys() - partners_b.keys())]
        return tuple(sorted(found, key=_began))

    def _both(self, a: int, b: int) -> TrackPair:
        one, other = self._tracks_a[a], self._tracks_b[b]
        return self._pair(_compared(one, other), one, other)

    def _only_a(self, a: int) -> TrackPair:
        answered = self._frames_of_a[a] & self.answered_b
        outcome = Outcome.ONLY_A_SAW if answered else Outcome.NOT_COMPARABLE
        return self._pair(outcome, self._tracks_a[a], None)

    def _only_b(self, b: int) -> TrackPair:
        answered = self._frames_of_b[b] & self.answered_a
        outcome = Outcome.ONLY_B_SAW if answered else Outcome.NOT_COMPARABLE
        return self._pair(outcome, None, self._tracks_b[b])

    def _pair(self, outcome: Outcome, a: TrackRecord | None, b: TrackRecord | None) -> TrackPair:
        frames_a = self._frames_of_a[a.track] if a else set()
        frames_b = self._frames_of_b[b.track] if b else set()
        answered = frames_a & self.answered_b if a else frames_b & self.answered_a
        return TrackPair(
            camera=self._camera,
            outcome=outcome,
            a=a,
            b=b,
            frames_a=len(frames_a),
            frames_b=len(frames_b),
            frames_shared=self._shared[a.track, b.track] if a and b else 0,
            frames_answered=len(answered),
        )


def _compared(a: TrackRecord, b: TrackRecord) -> Outcome:
    one, other = a.decision.subject, b.decision.subject
    if one is not None and other is not None:
        return Outcome.SAME_SUBJECT if one == other else Outcome.DIFFERENT_SUBJECTS
    if one is None and other is None:
        return Outcome.BOTH_UNKNOWN
    return Outcome.ONLY_A_IDENTIFIED if one is not None else Outcome.ONLY_B_IDENTIFIED


def _began(pair: TrackPair) -> tuple[float, bool, int, int]:
    starts = [track.first_seconds for track in (pair.a, pair.b) if track]
    a, b = (track.track if track else -1 for track in (pair.a, pair.b))
    return min(starts), pair.a is None, a, b


def _partners(shared: Iterable[tuple[int, int, int]]) -> dict[int, int]:
    """For each track the one of the other backend with most frames in common, the lower on ties."""
    best: dict[int, tuple[int, int]] = {}
    for one, other, count in sorted(shared):
        if one not in best or count > best[one][1]:
            best[one] = (other, count)
    return {one: other for one, (other, _) in best.items()}


def _tracks(run: Run, camera: CameraId, backend: str) -> Mapping[int, TrackRecord]:
    return {
        track.track: track
        for track in run.tracks
        if track.camera == camera and track.backend == backend
    }


def _frames(run: Run, camera: CameraId, backend: str) -> _Frames:
    frames: defaultdict[int, list[Observation]] = defaultdict(list)
    for one in run.observations:
        if one.camera == camera and one.backend == backend:
            frames[one.frame].append(one)
    return frames


def _answered(frames: _Frames) -> set[int]:
    return {
        frame for frame, seen in frames.items() if not any(failed_observation(one) for one in seen)
    }


def _faces(seen: Sequence[Observation]) -> list[Observation]:
    return [one for one in seen if one.box is not None]


def _by_track(frames: _Frames) -> Mapping[int, set[int]]:
    found: defaultdict[int, set[int]] = defaultdict(set)
    for frame, seen in frames.items():
        for one in seen:
            if one.track is not None:
                found[one.track].add(frame)
    return found
