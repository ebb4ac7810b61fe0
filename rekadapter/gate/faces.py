"""The gates that look for faces before anything is sent: every face, or the best of each person."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from rekadapter.feeds.frames import Feed, Frame, Sampler
from rekadapter.gate import probe as causes
from rekadapter.gate.asking import Asking, AskingRules
from rekadapter.gate.motion import MotionGate, MotionRules
from rekadapter.gate.probe import FaceFinder, Fate, Followed, Look, Priority, Probe, Settled
from rekadapter.gate.shots import ShotRules, quality_of, reason_against, take_shot
from rekadapter.imaging import Image
from rekadapter.recognizer import Recognizer
from rekadapter.tracking import Follower, Span, TrackingRules
from rekadapter.types import CameraId, DetectedFace

_LEAST_GAP_SECONDS: Final = 0.5
"""Longer than the time between two looks at a scene that stands still."""

Budget = Callable[[], int | None]
"""The most bytes that one picture may take right now; None: no bound."""


def no_budget() -> int | None:
    """No bound."""
    return None


@dataclass(frozen=True, slots=True)
class GateRules:
    """How a gate looks. ``looks_per_second`` frames of each second are looked at, None: all. A
    picture is not worth sending ``max_age_seconds`` after it was taken (live cameras)."""

    shots: ShotRules = field(default_factory=ShotRules)
    motion: MotionRules = field(default_factory=MotionRules)
    asking: AskingRules = field(default_factory=AskingRules)
    looks_per_second: float | None = 5.0
    max_age_seconds: float | None = 30.0


class DetectingFinder:
    """A recognizer of this machine as a finder: its detector, nothing else of it."""

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer

    def find(self, image: Image) -> tuple[DetectedFace, ...]:
        """Every face, largest first."""
        return self._recognizer.detect(image).faces


class SharedFinder:
    """Remembers each thread's last picture: gates of several lanes that look at the same frame, one
    after the other in the camera's thread, search it once."""

    def __init__(self, finder: FaceFinder) -> None:
        self._finder = finder
        self._last = threading.local()

    def find(self, image: Image) -> tuple[DetectedFace, ...]:
        """What the finder finds."""
        held: tuple[Image, tuple[DetectedFace, ...]] | None = getattr(self._last, "held", None)
        if held is None or held[0] is not image:
            held = (image, self._finder.find(image))
            self._last.held = held
        return held[1]


@dataclass(slots=True)
class _Watch:
    """One camera. ``lock`` guards what the camera's thread and the answers' both change."""

    rules: GateRules
    sampler: Sampler
    motion: MotionGate | None
    follower: Follower
    people: dict[int, Asking] = field(default_factory=dict)
    over: dict[int, Span] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


def _watch(rules: GateRules, fps: float | None, *, continuous: bool) -> _Watch:
    """What a camera is watched with. Photographs that have nothing to do with each other are each
    looked at, and nobody waits for a better one."""
    if not continuous:
        asking = replace(rules.asking, patience_seconds=0.0)
        single = replace(rules, asking=asking, looks_per_second=None)
        return _Watch(single, Sampler(None), None, Follower())
    looks = min((rate for rate in (rules.looks_per_second, fps) if rate), default=None)
    tracking = replace(TrackingRules.at(looks), max_gap_seconds=_gap_seconds(looks))
    sampler = Sampler(rules.looks_per_second)
    return _Watch(rules, sampler, MotionGate(rules.motion), Follower(tracking))


def _gap_seconds(looks_per_second: float | None) -> float:
    """How long a face may be hidden and still be the same person: two looks missed. Who is asked
    about once more costs one picture; who is taken for the person before is never asked about."""
    return max(_LEAST_GAP_SECONDS, 2.5 / (looks_per_second or math.inf))


@dataclass(frozen=True, slots=True)
class _Sight:
    """The faces of a frame, or why there are none."""

    faces: tuple[DetectedFace, ...] = ()
    cause: str = causes.NO_FACE

    @property
    def seen(self) -> tuple[DetectedFace, ...] | None:
        """The faces; None where none were looked for."""
        return self.faces if self.cause == causes.NO_FACE else None


class _FaceGate:
    """What the two gates share: a watch for each camera, and the way to the faces of a frame."""

    def __init__(
        self, finder: FaceFinder, rules: GateRules | None = None, *, budget: Budget = no_budget
    ) -> None:
        self._finder = finder
        self._rules = rules or GateRules()
        self._budget = budget
        self._watches: dict[CameraId, _Watch] = {}
        self._opening = threading.Lock()

    def open(self, feed: Feed) -> None:
        """A camera before its first frame; one that was not opened counts as a video."""
        watch = _watch(self._rules, feed.spec.fps, continuous=feed.continuous)
        with self._opening:
            self._watches[feed.spec.camera] = watch

    def _of(self, camera: CameraId) -> _Watch:
        with self._opening:
            if camera not in self._watches:
                self._watches[camera] = _watch(self._rules, None, continuous=True)
            return self._watches[camera]

    def _sight(self, watch: _Watch, frame: Frame) -> _Sight:
        if not watch.sampler.wants(frame.seconds):
            return _Sight(cause=causes.BETWEEN_LOOKS)
        if watch.motion is not None and not watch.motion.passes(frame.image, frame.seconds):
            return _Sight(cause=causes.NO_MOTION)
        faces = self._finder.find(frame.image)
        if watch.motion is not None and faces:
            watch.motion.somebody(frame.seconds)
        return _Sight(faces)

    def _shots(self) -> ShotRules:
        """The rules for now: as many bytes as the rules and the link both allow."""
        shots = self._rules.shots
        bounds = [bound for bound in (shots.max_bytes, self._budget()) if bound is not None]
        return replace(shots, max_bytes=min(bounds, default=None))

    def _probe(
        self, frame: Frame, face: DetectedFace, among: Sequence[DetectedFace]
    ) -> Probe | None:
        shot = take_shot(frame.image, face, among, self._shots())
        if shot is None:
            return None
        return Probe(shot.image, shot.region, face, max_age_seconds=self._rules.max_age_seconds)


class CropGate(_FaceGate):
    """Mode ``crop``: every face worth sending, of every frame in which something moves."""

    def look(self, frame: Frame) -> Look:
        """See ``Gate``."""
        sight = self._sight(self._of(frame.camera), frame)
        if not sight.faces:
            return Look(cause=sight.cause, seen=sight.seen)
        size, shots = frame.image.size, self._rules.shots
        worth = [face for face in sight.faces if reason_against(face, size, shots) is None]
        if not worth:
            return Look(cause=causes.NOT_WORTH_SENDING, seen=sight.seen)
        probes = [self._probe(frame, face, sight.faces) for face in worth]
        return Look(tuple(probe for probe in probes if probe), causes.OVER_BUDGET, seen=sight.seen)


class TrackGate(_FaceGate):
    """Mode ``track``: people are followed here, and only the best pictures of each are sent. See
    ``AskingRules`` for when. Answers flow back through ``settle``."""

    def look(self, frame: Frame) -> Look:
        """See ``Gate``."""
        watch = self._of(frame.camera)
        sight = self._sight(watch, frame)
        if sight.seen is None:
            return Look(cause=sight.cause)
        with watch.lock:
            steps = watch.follower.update(frame.seconds, [face.box for face in sight.faces])
            watch.over |= {span.track: span for span in steps.over}
            followed = tuple(
                Followed(track, face)
                for track, face in zip(steps.tracks, sight.faces, strict=True)
                if track is not None
            )
            if not followed:
                return Look(cause=causes.NO_FACE, seen=sight.seen)
            return replace(self._chosen(watch, frame, followed), seen=sight.seen)

    def settle(self, camera: CameraId, track: int, frame: int, fate: Fate) -> None:
        """See ``FollowsFaces``."""
        watch = self._of(camera)
        with watch.lock:
            if track in watch.people:
                watch.people[track].settle(frame, fate)

    def close(self, camera: CameraId) -> None:
        """See ``FollowsFaces``."""
        watch = self._of(camera)
        with watch.lock:
            watch.over |= {span.track: span for span in watch.follower.close()}

    def settled(self, camera: CameraId) -> tuple[Settled, ...]:
        """See ``FollowsFaces``."""
        watch = self._of(camera)
        with watch.lock:
            done = [track for track in sorted(watch.over) if not watch.people[track].under_way]
            return tuple(
                Settled(watch.over.pop(track), watch.people.pop(track).unasked) for track in done
            )

    def under_way(self, camera: CameraId) -> int:
        """See ``FollowsFaces``."""
        watch = self._of(camera)
        with watch.lock:
            return sum(person.under_way for person in watch.people.values())

    def _chosen(self, watch: _Watch, frame: Frame, followed: tuple[Followed, ...]) -> Look:
        everyone = [one.face for one in followed]
        probes, outcomes = [], set()
        for one in followed:
            asking = watch.people.setdefault(one.track, Asking(watch.rules.asking))
            chosen = self._asked_about(asking, frame, one, everyone)
            if isinstance(chosen, Probe):
                probes.append(chosen)
            else:
                outcomes.add(chosen)
        cause = next((cause for cause in _CLOSEST_FIRST if cause in outcomes), causes.NO_FACE)
        probes.sort(key=lambda probe: probe.priority)
        return Look(tuple(probes), cause, followed)

    def _asked_about(
        self, asking: Asking, frame: Frame, one: Followed, everyone: Sequence[DetectedFace]
    ) -> Probe | str:
        """The probe, or the cause why there is none."""
        size = frame.image.size
        quality = quality_of(one.face, size)
        reason = reason_against(one.face, size, self._rules.shots)
        if reason is not None:
            asking.refused(quality, reason)
            return causes.NOT_WORTH_SENDING
        priority = asking.wants(quality, frame.seconds)
        if priority is None:
            return causes.NOT_A_BETTER_SHOT
        return self._sent(asking, frame, one, everyone, priority)

    def _sent(
        self,
        asking: Asking,
        frame: Frame,
        one: Followed,
        everyone: Sequence[DetectedFace],
        priority: Priority,
    ) -> Probe | str:
        probe = self._probe(frame, one.face, everyone)
        if probe is None:
            return causes.OVER_BUDGET
        quality = quality_of(one.face, frame.image.size)
        asking.sent(frame.index, quality, frame.seconds, priority)
        return replace(probe, track=one.track, priority=priority)


_CLOSEST_FIRST: Final = (
    causes.OVER_BUDGET,
    causes.NOT_A_BETTER_SHOT,
    causes.NOT_WORTH_SENDING,
)
"""Which cause a frame of several people is counted under: the one nearest to being sent."""
