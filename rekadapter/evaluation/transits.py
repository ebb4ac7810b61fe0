"""A run held against who was really there: transits found and missed, names that were wrong.

The search of a feed is the transit: one person crossing one view once. A name is right if somebody
of that name was in view (give or take the tolerance), whoever the track followed; every other name
is a false alert. Where several people were in view, a false alert and an unnamed track belong to
the transit they share most of their time with: places in the picture are not part of the truth.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rekadapter.errors import UsageError
from rekadapter.evaluation.outcomes import (
    Failure,
    GroupLabel,
    PersonId,
    ScoredSubject,
    SearchOutcome,
    best_per_subject,
)
from rekadapter.evaluation.summary import failed_observation
from rekadapter.evaluation.track_names import Naming, first_said, subject_of, track_scores
from rekadapter.evaluation.truth import TransitEntry, Truth
from rekadapter.observation import BackendRecord, Observation, Run, TrackRecord
from rekadapter.types import CameraId, Reason

NO_TRACK: Final = "NO_TRACK"
"""nobody was followed while this person crossed the view"""


@dataclass(frozen=True, slots=True)
class Crossing:
    """A transit of the truth with its number there; ``enrolled``: the person is in the gallery."""

    number: int
    entry: TransitEntry
    enrolled: bool

    @property
    def id(self) -> str:
        return f"t{self.number:05d}"


@dataclass(frozen=True, slots=True)
class FalseAlert:
    """A name said while nobody of that name was in view. ``crossing`` is whom it is counted under,
    None where nobody was in view at all; ``in_view`` counts the transits of that time."""

    track: TrackRecord
    crossing: Crossing | None
    in_view: int


@dataclass(frozen=True, slots=True)
class CrossingAnswer:
    """What one system made of one transit. ``search`` is None where nobody knows who it was:
    such a transit is counted and carries no interval."""

    crossing: Crossing
    named: bool
    false_names: int
    seconds_to_name: float | None
    search: SearchOutcome | None


@dataclass(frozen=True, slots=True)
class SystemTransits:
    """One system on every transit that was watched, in the order of the truth."""

    backend: BackendRecord
    answers: tuple[CrossingAnswer, ...]
    right_names: tuple[TrackRecord, ...]
    false_alerts: tuple[FalseAlert, ...]


def watched(run: Run, truth: Truth) -> tuple[Crossing, ...]:
    """The transits that began before their camera's last frame; a run that was cut short did not
    see the others. A camera whose time was not recorded counts as watched throughout."""
    seconds = {record.camera: record.seconds for record in run.record.cameras}
    gallery = set(truth.gallery)
    return tuple(
        Crossing(number, one, one.person in gallery)
        for number, one in enumerate(truth.transits, 1)
        if (end := seconds.get(CameraId(one.camera))) is None or one.enters <= end
    )


def refuse_strangers(run: Run, truth: Truth) -> None:
    """Raises ``UsageError`` where a system knows somebody whom the truth does not list as enrolled:
    then it cannot be said who is absent."""
    known = {subject_of(c) for one in run.observations for c in one.candidates}
    strange = sorted(known - set(truth.gallery))
    if strange:
        more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
        raise UsageError(
            f"the gallery holds {', '.join(map(repr, strange[:5]))}{more}, whom the truth does not "
            "list: add a row of role 'gallery' for everybody who is enrolled"
        )


def held_against(
    run: Run, truth: Truth, crossings: Sequence[Crossing], naming: Mapping[CameraId, Naming]
) -> SystemTransits:
    """What one backend made of the transits; ``naming`` is its rule on each camera."""
    backend = next(iter(naming.values())).backend
    cameras = [
        _Camera(run, truth, camera, how, [c for c in crossings if c.entry.camera == camera])
        for camera, how in naming.items()
    ]
    answers = {one.crossing.number: one for camera in cameras for one in camera.answers()}
    return SystemTransits(
        backend=backend,
        answers=tuple(answers[one.number] for one in crossings if one.number in answers),
        right_names=tuple(track for camera in cameras for track in camera.right),
        false_alerts=tuple(alert for camera in cameras for alert in camera.false),
    )


class _Camera:
    """One backend on one camera."""

    def __init__(
        self,
        run: Run,
        truth: Truth,
        camera: CameraId,
        naming: Naming,
        crossings: Sequence[Crossing],
    ) -> None:
        name = naming.backend.name
        self._truth = truth
        self._naming = naming
        self._crossings = crossings
        self._order = sorted(range(len(crossings)), key=lambda n: crossings[n].entry.enters)
        self._enters = [crossings[place].entry.enters for place in self._order]
        stays = (one.entry.leaves - one.entry.enters for one in crossings)
        self._longest = max(stays, default=0.0)
        mine = (one for one in run.tracks if one.camera == camera and one.backend == name)
        self._tracks = sorted(mine, key=lambda one: one.track)
        self._sightings: dict[int, list[Observation]] = defaultdict(list)
        self._failed: list[float] = []
        for one in run.observations:
            if one.camera != camera or one.backend != name:
                continue
            if one.track is not None:
                self._sightings[one.track].append(one)
            elif failed_observation(one):
                self._failed.append(one.seconds)
        self._during = {one.track: self._overlapping(one) for one in self._tracks}
        self._owned = self._by_owner()
        named = [one for one in self._tracks if one.decision.subject is not None]
        self.right = tuple(one for one in named if self._of_name(one, one.decision.subject))
        rightly = {one.track for one in self.right}
        self._named = self._by_name()
        self.false = tuple(self._false_alert(one) for one in named if one.track not in rightly)

    def answers(self) -> Iterator[CrossingAnswer]:
        """Every transit of this camera."""
        false = Counter(alert.crossing.number for alert in self.false if alert.crossing)
        candidates = self._candidates()
        for crossing in self._crossings:
            own = self._named.get(crossing.number, [])
            yield CrossingAnswer(
                crossing=crossing,
                named=bool(own),
                false_names=false[crossing.number],
                seconds_to_name=self._seconds_to_name(crossing, own),
                search=self._search(crossing, candidates[crossing.number]),
            )

    # --- whose a track is ---------------------------------------------------------------------

    def _by_owner(self) -> Mapping[int, list[TrackRecord]]:
        """By transit, the tracks that belong to it."""
        found: dict[int, list[TrackRecord]] = defaultdict(list)
        for track in self._tracks:
            owner = self._owner(track)
            if owner is not None:
                found[owner.number].append(track)
        return found

    def _by_name(self) -> Mapping[int, list[TrackRecord]]:
        """By transit, the tracks that named its person."""
        found: dict[int, list[TrackRecord]] = defaultdict(list)
        for track in self.right:
            for crossing in self._of_name(track, track.decision.subject):
                found[crossing.number].append(track)
        return found

    def _in_view(self, track: TrackRecord) -> list[Crossing]:
        return self._during[track.track]

    def _overlapping(self, track: TrackRecord) -> list[Crossing]:
        reach = self._truth.tolerance_seconds
        since = bisect_left(self._enters, track.first_seconds - reach - self._longest)
        until = bisect_right(self._enters, track.last_seconds + reach)
        near = (self._crossings[place] for place in self._order[since:until])
        found = [
            one
            for one in near
            if one.entry.overlap(track.first_seconds, track.last_seconds) >= -reach
        ]
        return sorted(found, key=lambda one: one.number)

    def _of_name(self, track: TrackRecord, subject: str | None) -> list[Crossing]:
        """Transits of ``subject`` during a track."""
        return [one for one in self._in_view(track) if one.entry.person == subject]

    def _owner(self, track: TrackRecord) -> Crossing | None:
        """The transit that a track shares most of their joint time with."""
        return max(self._in_view(track), key=lambda one: _shared(one, track), default=None)

    def _false_alert(self, track: TrackRecord) -> FalseAlert:
        return FalseAlert(track, self._owner(track), len(self._in_view(track)))

    # --- scores -------------------------------------------------------------------------------

    def _candidates(self) -> dict[int, list[ScoredSubject]]:
        """By transit: a name goes to those who bear it, or else to whom the track belongs."""
        found: dict[int, list[ScoredSubject]] = {one.number: [] for one in self._crossings}
        for track in self._tracks:
            owner = self._owner(track)
            for scored in track_scores(self._sightings[track.track], self._naming):
                bearers = self._of_name(track, scored.subject)
                for crossing in bearers or ([owner] if owner else []):
                    found[crossing.number].append(scored)
        return found

    def _search(self, crossing: Crossing, scored: Sequence[ScoredSubject]) -> SearchOutcome | None:
        if crossing.entry.nameless:
            return None
        failure = None if scored else self._failure(crossing)
        labels = self._truth.labels(crossing.entry.person)
        return SearchOutcome(
            search_id=crossing.id,
            person=PersonId(crossing.entry.person),
            mated=crossing.enrolled,
            candidates=best_per_subject(scored),
            failure=failure,
            groups=tuple(GroupLabel(one.attribute, one.value) for one in labels),
        )

    def _failure(self, crossing: Crossing) -> Failure | None:
        """Why there was nothing to search with; None where faces were searched all the same."""
        own = self._owned.get(crossing.number, [])
        if not own:
            entry = crossing.entry
            lost = any(entry.enters <= seconds <= entry.leaves for seconds in self._failed)
            return Failure(str(Reason.REQUEST_FAILED) if lost else NO_TRACK)
        reasons = [str(one.decision.reason) for one in own if one.decision.reason in _NEVER_ASKED]
        return Failure(reasons[0]) if len(reasons) == len(own) else None

    def _seconds_to_name(self, crossing: Crossing, own: Iterable[TrackRecord]) -> float | None:
        said = [
            first_said(self._sightings[one.track], crossing.entry.person, self._naming)
            for one in own
        ]
        known = [seconds for seconds in said if seconds is not None]
        return max(0.0, min(known) - crossing.entry.enters) if known else None


_NEVER_ASKED: Final = frozenset(Reason) - {
    Reason.BELOW_THRESHOLD,
    Reason.EMPTY_GALLERY,
    Reason.TOO_FEW_SIGHTINGS,
    Reason.CONFLICTING_CANDIDATES,
}
"""what the decision on a track says if nothing of it was compared with a gallery"""


def _shared(crossing: Crossing, track: TrackRecord) -> tuple[float, int]:
    """Joint time over all time of the two; the earlier of the truth on ties."""
    entry = crossing.entry
    joint = entry.overlap(track.first_seconds, track.last_seconds)
    whole = max(entry.leaves, track.last_seconds) - min(entry.enters, track.first_seconds)
    return (joint / whole, -crossing.number)
