"""From answers to what is written: puts them in order, follows faces, decides, writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from rekadapter.gate import Settled
from rekadapter.observation import CandidateRecord, Decision, Observation, TrackRecord
from rekadapter.sinks.sink import OriginalAnswer, Sink
from rekadapter.tracking import (
    Casebook,
    DecisionRules,
    EndedTrack,
    Followed,
    Tracker,
    TrackingRules,
    decide,
)
from rekadapter.types import CameraId, DetectedFace, FaceIdentification, Reason, SubjectId
from rekadapter.uplink.spool import SPOOLED
from rekadapter.uplink.uploader import Answer


@dataclass(frozen=True, slots=True)
class _BestFace:
    rank: tuple[float, float]
    jpeg: bytes


class Recorder:
    """The answers of one backend about one camera, in any order; writes them in the order in which
    the frames were taken. One thread owns it.

    Thumbnails are kept one a track: the sighting with most pixels between the eyes. For a track
    that is named it is one that supports the name: a reader has to see what the decision rests on,
    also where the track went astray to another person.

    Where a gate follows the people, its tracks are taken as they are: answers come numbered, and
    ``end`` is told which tracks are over. A late answer then counts for its track like any other.
    Without such a gate the faces of a late answer get no track: those of its time are over.
    """

    def __init__(
        self,
        backend: str,
        camera: CameraId,
        sink: Sink,
        *,
        decision: DecisionRules,
        tracking: TrackingRules,
        thumbnail_prefix: str,
    ) -> None:
        self._backend = backend
        self._camera = camera
        self._sink = sink
        self._one_face = replace(decision, min_sightings=1)
        self._tracker = Tracker(decision, tracking)
        self._casebook = Casebook(decision)
        self._prefix = thumbnail_prefix
        self._early: dict[int, Answer] = {}
        self._next_turn = 0
        self._passed: set[int] = set()
        self._best: dict[int, dict[SubjectId | None, _BestFace]] = {}

    def take(self, answer: Answer) -> Iterator[Answer]:
        """Keeps ``answer`` until those before it are there, then writes; gives back each answer
        that is written. A frame that waits for the uplink is passed over, and given back at once.
        To be run to its end.

        Raises:
            OutputError: the sink cannot write; what is not written stays in ``unwritten``.
        """
        if answer.dropped == SPOOLED:
            self._pass_over(answer)
            yield answer
        else:
            self._early[answer.turn] = answer
        while (due := self._due()) is not None:
            self._write(due)
            del self._early[self._next_turn]
            self._next_turn += 1
            yield due

    def late(self, answer: Answer) -> None:
        """Writes a late answer, in whatever order they come.

        Raises:
            OutputError: the sink cannot write.
        """
        self._keep_originals(answer)
        if answer.tracks is not None:
            self._casebook.see(zip(answer.tracks, answer.faces, strict=True))
        places = [place for place, face in enumerate(answer.faces) if not _not_asked(face)]
        for place in places:
            track = None if answer.tracks is None else answer.tracks[place]
            self._write_face(answer, place, track)
        if answer.error is not None:
            self._sink.observe(self._failed(answer, answer.error))
        elif answer.dropped is None and not places:
            self._sink.observe(self._no_face(answer))

    def unwritten(self) -> tuple[Answer, ...]:
        """Answers that were taken and not written."""
        return tuple(self._early.values())

    def end(self, settled: Iterable[Settled]) -> None:
        """Writes tracks that the gate says are over."""
        over = {one.span.track: one for one in settled}
        ended = self._casebook.end(one.span for one in over.values())
        self._end(tuple(_with_reason(track, over[track.track]) for track in ended))

    def close(self) -> None:
        """Ends and writes every track that was followed here."""
        self._end(self._tracker.close())

    def _due(self) -> Answer | None:
        while self._next_turn in self._passed:
            self._passed.remove(self._next_turn)
            self._next_turn += 1
        return self._early.get(self._next_turn)

    def _pass_over(self, answer: Answer) -> None:
        """Its turn is given away; who was seen together in the frame is certain already."""
        self._passed.add(answer.turn)
        if answer.tracks is not None:
            self._casebook.see(zip(answer.tracks, answer.faces, strict=True))

    def _write(self, answer: Answer) -> None:
        self._keep_originals(answer)
        if answer.error is not None:
            self._sink.observe(self._failed(answer, answer.error))
        elif answer.dropped is None:
            self._write_faces(answer)

    def _keep_originals(self, answer: Answer) -> None:
        for one in answer.original:
            self._sink.keep_answer(
                OriginalAnswer(
                    self._backend,
                    self._camera,
                    answer.frame,
                    one.operation,
                    one.request_id,
                    one.json,
                )
            )

    def _write_faces(self, answer: Answer) -> None:
        followed = self._followed(answer)
        self._end(followed.ended)
        if not answer.faces:
            self._sink.observe(self._no_face(answer))
        for place in range(len(answer.faces)):
            self._write_face(answer, place, followed.tracks[place])

    def _write_face(self, answer: Answer, place: int, track: int | None) -> None:
        face = answer.faces[place]
        seen = self._of_face(answer, face, track)
        if track is not None and answer.thumbnails and answer.thumbnails[place]:
            self._keep_better(track, seen, face.face, answer.thumbnails[place])
        self._sink.observe(seen)

    def _followed(self, answer: Answer) -> Followed:
        if answer.tracks is None:
            return self._tracker.update(answer.seconds, answer.faces)
        self._casebook.see(zip(answer.tracks, answer.faces, strict=True))
        return Followed(answer.tracks, ())

    def _of_face(self, answer: Answer, face: FaceIdentification, track: int | None) -> Observation:
        seen = face.face
        return replace(
            self._observation(answer, decide((face,), self._one_face)),
            box=seen.box,
            confidence=seen.confidence,
            eye_distance_px=seen.eye_distance_px,
            pose=seen.pose,
            quality=seen.quality,
            track=track,
            candidates=tuple(CandidateRecord.of(candidate) for candidate in face.candidates),
        )

    def _no_face(self, answer: Answer) -> Observation:
        reason = answer.failure.reason if answer.failure else Reason.NO_FACE
        return self._observation(answer, _unknown(reason))

    def _failed(self, answer: Answer, error: Exception) -> Observation:
        text = str(error) or type(error).__name__
        decision = _unknown(Reason.REQUEST_FAILED)
        return replace(self._observation(answer, decision), error=text)

    def _observation(self, answer: Answer, decision: Decision) -> Observation:
        return Observation(
            backend=self._backend,
            camera=self._camera,
            frame=answer.frame,
            seconds=answer.seconds,
            decision=decision,
            latency_seconds=answer.latency_seconds,
            age_seconds=answer.age_seconds,
            late=answer.late is not None,
            captured_at=answer.late.captured_at if answer.late else None,
        )

    def _keep_better(self, track: int, seen: Observation, face: DetectedFace, jpeg: bytes) -> None:
        rank = (face.eye_distance_px or 0.0, face.box.area)
        best = self._best.setdefault(track, {})
        held = best.get(seen.decision.subject)
        if held is None or rank > held.rank:
            best[seen.decision.subject] = _BestFace(rank, jpeg)

    def _thumbnail(self, track: EndedTrack) -> str | None:
        best = self._best.pop(track.track, {})
        supporting = best.get(track.decision.subject) if track.decision.subject else None
        shown = supporting or max(best.values(), key=lambda face: face.rank, default=None)
        if shown is None:
            return None
        name = f"{self._prefix}-track{track.track}.jpg"
        self._sink.keep_face(name, shown.jpeg)
        return name

    def _end(self, tracks: tuple[EndedTrack, ...]) -> None:
        for track in tracks:
            self._sink.end_track(
                TrackRecord(
                    backend=self._backend,
                    camera=self._camera,
                    track=track.track,
                    first_seconds=track.first_seconds,
                    last_seconds=track.last_seconds,
                    sightings=track.sightings,
                    decision=track.decision,
                    median_eye_distance_px=track.median_eye_distance_px,
                    thumbnail=self._thumbnail(track),
                )
            )


def _with_reason(track: EndedTrack, settled: Settled) -> EndedTrack:
    """A track about which nothing was answered is unknown for the gate's reason."""
    if settled.unasked is None or track.decision.subject is not None:
        return track
    return replace(track, decision=_unknown(settled.unasked))


def _not_asked(face: FaceIdentification) -> bool:
    return face.not_searched is not None and face.not_searched.reason is Reason.NOT_ASKED


def _unknown(reason: Reason) -> Decision:
    return Decision(subject=None, reason=reason, best=None, sightings=0)
