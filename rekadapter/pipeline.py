"""The path of a frame. Read this file first.

One thread a camera reads frames and asks each lane's gate what of them matters. Each lane (one
backend with its gallery and threshold) has an outbox with a slot a camera, and workers that fetch
from it, prepare the image for the uplink and ask the recognizer. The calling thread alone decides
and writes, and tells the gate what its probes came to::

    camera threads         Feed.frames -> Gate.look -> Outbox.put          one decode, every lane
    workers of each lane   Outbox.take -> Uploader.ask -> results
    calling thread         results -> Recorder (tracks, decide) -> Sink
                                   -> Gate.settle

Every hand-over is bounded: a slow sink holds back the workers, slow workers fill their lane's
outbox, and a full outbox holds back the camera (a file waits; a live camera drops its oldest
frame). A frame of which a gate lets nothing pass is counted under the gate's cause; one that a
worker took gives exactly one answer, whatever happens. So the counts close in every mode.

A lane with a standby (``uplink/spooling.py``) keeps frames on disk while its uplink is gone. Such a
frame counts as dropped, ``spooled``, until a late answer says what became of it.
"""

from __future__ import annotations

import functools
import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from rekadapter.errors import (
    ConfigError,
    FeedError,
    ImageError,
    OutputError,
    ScaleMismatchError,
    StoppedError,
)
from rekadapter.feeds.frames import UNREADABLE, Feed, FeedItem, Frame, LostFrame, Silence, let_go
from rekadapter.gate import (
    Fate,
    FollowsFaces,
    Gate,
    WholeFrame,
    clear_score,
    verdict_of,
)
from rekadapter.progress import LaneStatus, NoProgress, ProgressListener, WatchesRun, status_of
from rekadapter.recognizer import FaceSelection
from rekadapter.sinks.frame_count import FrameCount
from rekadapter.sinks.recorder import Recorder
from rekadapter.sinks.sink import RunOutcome, Sink
from rekadapter.threads import Countdown, FirstError
from rekadapter.tracking import DecisionRules, TrackingRules
from rekadapter.types import CameraId
from rekadapter.uplink.outbox import Outbox, Terms
from rekadapter.uplink.spool import SPOOLED
from rekadapter.uplink.spooling import SpoolingLane
from rekadapter.uplink.uploader import (
    STALE,
    STOPPED,
    Answer,
    AskOptions,
    Job,
    Lane,
    Late,
    Uploader,
    expected_bytes,
)

__all__ = ["Lane", "ProgressListener", "RunOptions", "RunOutcome", "run_feeds"]

logger = logging.getLogger(__name__)

NOT_WRITTEN: Final = "not_written"
REPLACED: Final = "replaced_by_newer"

_IN_HAND: Final = 16
"""Frames of a camera that may be answered ahead of a slow one: answers are written in order."""

_WAITING_BYTES: Final = 128_000_000
"""Pixels that wait in one camera's slot: two frames of 16 megapixels."""

_LOOK_SECONDS: Final = 0.1
"""How often the calling thread looks whether somebody asked it to stop."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run asks, decides and ends.

    ``limit`` candidates are kept a face. ``duration_seconds`` ends each feed at that media time.
    ``keep_faces`` writes a thumbnail a track. ``min_sightings`` is how many sightings of a track
    have to agree before a name is said; None asks for two in a video and for one in photographs.
    ``tracking`` None follows each feed by its own frame rate. ``gates`` are the lanes' own, by the
    lane's name; a lane that has none shares ``gate``, which must not follow people then.
    """

    limit: int = 5
    faces: FaceSelection = FaceSelection.ALL
    duration_seconds: float | None = None
    keep_faces: bool = False
    min_sightings: int | None = None
    tracking: TrackingRules | None = None
    gate: Gate = field(default_factory=WholeFrame)
    gates: Mapping[str, Gate] = field(default_factory=dict)


def run_feeds(
    feeds: Sequence[Feed],
    lanes: Sequence[Lane],
    sink: Sink,
    options: RunOptions,
    *,
    stop: threading.Event,
    progress: ProgressListener | None = None,
) -> RunOutcome:
    """Runs every feed through every lane and writes what comes out; returns how it ended.

    ``stop`` ends it early from another thread or a signal handler (``interrupted``): what was
    answered is written, the rest counted as stopped. If something fails that the next frame would
    meet as well (credentials, a missing gallery, a full disk, a bug), the run sets ``stop`` itself,
    so that everything that waits on it wakes up. A camera that breaks off ends alone. However it
    ends, every thread is joined and the sink is finished before this returns or raises.

    Raises:
        ConfigError, ScaleMismatchError: feeds, lanes or thresholds that make no sense.
        FeedError: a camera broke off; all others ran to their end first.
        RekadapterError: what kept the run from finishing.
    """
    run = _Run(feeds, lanes, sink, options, stop, progress or NoProgress())
    return run.to_its_end()


class _Run:
    def __init__(
        self,
        feeds: Sequence[Feed],
        lanes: Sequence[Lane],
        sink: Sink,
        options: RunOptions,
        stop: threading.Event,
        progress: ProgressListener,
    ) -> None:
        self._feeds, self._lanes = tuple(feeds), tuple(lanes)
        self._sink, self._options = sink, options
        self._stop, self._progress = stop, progress
        specs = [feed.spec for feed in feeds]
        weights: dict[str, float] = {spec.camera: spec.weight for spec in specs}
        self._outboxes = {
            lane.name: Outbox[Job](
                weights, held_bytes=_WAITING_BYTES, in_hand=_IN_HAND + lane.workers
            )
            for lane in lanes
        }
        self._results = Outbox[Answer](
            {lane.name: 1.0 for lane in lanes},
            capacity=2 * max((lane.workers for lane in lanes), default=1),
        )
        self._gates = {lane.name: options.gates.get(lane.name, options.gate) for lane in lanes}
        self._thresholds = {lane.name: lane.threshold for lane in lanes}
        self._count = FrameCount(specs, [lane.name for lane in lanes])
        self._recorders: dict[tuple[str, CameraId], Recorder] = {}
        self._errors = FirstError()
        self._feed_errors = FirstError()
        self._interrupted = False
        self._sink_works = True
        self._settled = threading.Condition()
        self._standbys = {lane.name: lane.standby for lane in lanes if lane.standby is not None}
        self._spooled: Counter[tuple[str, CameraId]] = Counter()
        """pictures of people that wait in a spool, under the condition above"""

    def to_its_end(self) -> RunOutcome:
        threads: list[threading.Thread] = []
        try:
            self._check()
            self._recorders = self._new_recorders()
            threads = self._start()
            self._collect()
        except BaseException as error:  # noqa: BLE001 - raised again once the directory is valid
            self._fail(error)
            self._abandon()
            self._drain(threads)
        for thread in threads:
            thread.join()
        return self._finished()

    # --- before -------------------------------------------------------------------------------

    def _check(self) -> None:
        if not self._feeds or not self._lanes:
            raise ConfigError("a run needs at least one feed and one backend")
        for kind, names in (
            ("cameras", [feed.spec.camera for feed in self._feeds]),
            ("backends", [lane.name for lane in self._lanes]),
        ):
            if len(set(names)) != len(names):
                raise ConfigError(f"two {kind} of a run have the same name: {', '.join(names)}")
        own = [id(gate) for gate in self._gates.values() if isinstance(gate, FollowsFaces)]
        if len(set(own)) != len(own):
            raise ConfigError("a gate that follows people serves one backend: give each its own")
        for lane in self._lanes:
            if lane.standby is not None and lane.upload_bytes is None:
                raise ConfigError(f"'{lane.name}' sends nothing over an uplink: it needs no spool")
            scale = lane.recognizer.capabilities.score_scale
            if lane.threshold.scale != scale:
                raise ScaleMismatchError(
                    f"the threshold for '{lane.name}' is on scale '{lane.threshold.scale.name}': "
                    f"give it on '{scale.name}'"
                )

    def _new_recorders(self) -> dict[tuple[str, CameraId], Recorder]:
        """One for each lane and camera. Asking for the galleries also tells of missing ones, wrong
        models, regions and credentials before the first frame is read."""
        recorders = {}
        for place, lane in enumerate(self._lanes):
            held = lane.recognizer.describe_gallery(lane.gallery)
            rules = DecisionRules(lane.threshold, empty_gallery=held.face_count == 0)
            if isinstance(self._gates[lane.name], FollowsFaces):
                # few pictures of a person are sent: one clear answer has to be enough
                rules = replace(rules, clear=clear_score(lane.threshold))
            for number, feed in enumerate(self._feeds):
                recorders[lane.name, feed.spec.camera] = Recorder(
                    lane.name,
                    feed.spec.camera,
                    self._sink,
                    decision=replace(rules, min_sightings=self._min_sightings(feed)),
                    tracking=self._options.tracking or TrackingRules.at(feed.spec.fps),
                    thumbnail_prefix=f"camera{number + 1}-backend{place + 1}",
                )
        return recorders

    def _min_sightings(self, feed: Feed) -> int:
        if self._options.min_sightings is not None:
            return self._options.min_sightings
        return 2 if feed.continuous else 1

    def _start(self) -> list[threading.Thread]:
        if isinstance(self._progress, WatchesRun):
            self._progress.watch(self._status)
        self._take_over_spools()
        for feed in self._feeds:
            self._progress.started(feed.spec.camera, feed.expected_frames)
            for gate in self._gates.values():
                if isinstance(gate, FollowsFaces):
                    gate.open(feed)
        works = [work for lane in self._lanes for work in self._works(lane)]
        no_more_frames = Countdown(len(self._feeds), self._close_outboxes)
        no_more_answers = Countdown(len(works), self._results.close)
        threads = [
            threading.Thread(
                name=f"camera {feed.spec.camera}", target=self._read, args=(feed, no_more_frames)
            )
            for feed in self._feeds
        ] + [
            threading.Thread(name=name, target=self._guarded, args=(work, no_more_answers))
            for name, work in works
        ]
        for thread in threads:
            thread.start()
        return threads

    def _take_over_spools(self) -> None:
        """What another run has left counts from the beginning."""
        for name, standby in self._standbys.items():
            for ticket in standby.spool.tickets():
                self._count.captured(ticket.camera, ticket.seconds)
                self._count.dropped(ticket.camera, name, SPOOLED)
                self._spooled[name, ticket.camera] += len(ticket.tracks)

    def _status(self) -> tuple[LaneStatus, ...]:
        queued = {name: outbox.waiting() for name, outbox in self._outboxes.items()}
        return tuple(
            status_of(record, lane.name, queued[lane.name][record.camera])
            for record in self._count.records()
            for lane in self._lanes
        )

    # --- camera threads -----------------------------------------------------------------------

    def _read(self, feed: Feed, countdown: Countdown) -> None:
        try:
            self._read_frames(feed)
        except FeedError as error:
            logger.warning("camera %s ended early: %s", feed.spec.camera, error)
            self._count.broke(feed.spec.camera, str(error))
            self._feed_errors.keep(error)
        except Exception as error:  # noqa: BLE001 - it travels to the calling thread
            self._fail(error)
        finally:
            countdown.one_less()

    def _read_frames(self, feed: Feed) -> None:
        duration = self._options.duration_seconds
        with let_go(feed.frames()) as items:
            for item in items:
                if self._stop.is_set() or (duration is not None and item.seconds >= duration):
                    return
                self._take(feed, item)

    def _take(self, feed: Feed, item: FeedItem) -> None:
        match item:
            case Silence():
                if item.reason:
                    self._count.away(item.camera, item.lasts)
            case LostFrame():
                if item.detail:
                    logger.warning("camera %s, frame %s: %s", item.camera, item.index, item.detail)
                self._count.captured(item.camera, item.seconds)
                self._drop_everywhere(item.camera, item.cause)
            case Frame():
                self._count.captured(item.camera, item.seconds, item.image.size)
                self._hand_over(feed, item)

    def _hand_over(self, feed: Feed, frame: Frame) -> None:
        for lane in self._lanes:
            name, outbox = lane.name, self._outboxes[lane.name]
            try:
                look = self._gates[name].look(frame)
            except ImageError as error:
                logger.warning("camera %s, frame %s: %s", frame.camera, frame.index, error)
                self._drop(frame.camera, name, UNREADABLE)
                continue
            if look.seen is not None:
                self._count.seen(frame.camera, name, look.seen)
            if not look.probes:
                self._drop(frame.camera, name, look.cause)
                continue
            now = time.perf_counter(), datetime.now(UTC)
            job = Job(frame, look.probes, look.followed, *now)
            terms = _terms(job, lane, live=feed.live)
            if feed.live:
                for displaced in outbox.replace(frame.camera, job, terms):
                    self._lose(displaced, name, STOPPED if self._stop.is_set() else REPLACED)
            elif not outbox.put(frame.camera, job, terms):
                self._lose(job, name, STOPPED)
            else:
                self._wait_for_answers(frame.camera, name)

    def _wait_for_answers(self, camera: CameraId, lane: str) -> None:
        """What a gate that follows people asks next depends on what it heard: a file waits for the
        answers, so that a run of it can be repeated; not for those that wait for the uplink."""
        gate = self._gates[lane]
        if not isinstance(gate, FollowsFaces):
            return
        standby = self._standbys.get(lane)
        with self._settled:
            while gate.under_way(camera) > self._spooled[lane, camera] and not self._stop.is_set():
                if standby is not None and standby.watch.lost:
                    return
                self._settled.wait(_LOOK_SECONDS)

    # --- workers ------------------------------------------------------------------------------

    def _works(self, lane: Lane) -> Iterator[tuple[str, Callable[[], None]]]:
        """What the threads of a lane do, by the threads' names."""
        options = self._options
        uploader = Uploader(
            lane,
            AskOptions(options.limit, options.faces, options.keep_faces),
            attributed_to=self._sink.attributed_to,
        )
        serve: Callable[[], None] = functools.partial(self._serve, lane, uploader)
        if lane.standby is not None:
            spooling = SpoolingLane(
                lane,
                uploader,
                self._outboxes[lane.name],
                hand_over=self._answer,
                fail=self._fail,
                stop=self._stop,
            )
            serve = spooling.serve
            yield f"{lane.name} spool", spooling.keep_up
        for number in range(lane.workers):
            yield f"{lane.name} {number}", serve

    def _guarded(self, work: Callable[[], None], countdown: Countdown) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - it travels to the calling thread
            self._fail(error)
        finally:
            countdown.one_less()

    def _serve(self, lane: Lane, uploader: Uploader) -> None:
        outbox = self._outboxes[lane.name]
        while (taken := outbox.take()) is not None:
            if taken.stale:
                self._answer(uploader.unasked(taken.item, taken.turn, STALE))
                continue
            answer = uploader.ask(taken.item, taken.turn)
            if answer.sent_bytes:
                outbox.charge(taken, answer.sent_bytes)
            self._answer(answer)

    def _answer(self, answer: Answer) -> None:
        if answer.fatal and answer.error is not None:
            self._fail(answer.error)
        self._results.put(answer.backend, answer)

    # --- the calling thread -------------------------------------------------------------------

    def _collect(self) -> None:
        """Writes answers as they come until no more can; hands back unread work once stopped."""
        while not self._results.exhausted:
            try:
                taken = self._results.take(_LOOK_SECONDS)
            except KeyboardInterrupt:
                self._stop.set()
                continue
            if self._stop.is_set():
                self._interrupted = True
                self._abandon()
            if taken is not None:
                self._write(taken.item)

    def _write(self, answer: Answer) -> None:
        recorder = self._recorders[answer.backend, answer.camera]
        if not self._sink_works:
            self._not_written(answer)
            return
        try:
            if answer.late is not None:
                recorder.late(answer)
                self._tally_late(answer, answer.late)
            else:
                for written in recorder.take(answer):
                    self._tally(written)
            self._end_tracks(answer.backend, answer.camera)
        except Exception as error:  # noqa: BLE001 - raised again once every thread has ended
            self._sink_works = False
            self._fail(error)

    def _not_written(self, answer: Answer) -> None:
        if answer.late is None:  # else the frame is counted already, and waits on
            waits = answer.dropped == SPOOLED
            self._drop(answer.camera, answer.backend, SPOOLED if waits else NOT_WRITTEN)
        self._settle(answer.backend, answer.camera, answer.frame, answer.asked)

    def _tally(self, written: Answer) -> None:
        self._outboxes[written.backend].settle(written.camera)
        if written.dropped == SPOOLED:
            self._drop(written.camera, written.backend, SPOOLED)
            with self._settled:
                self._spooled[written.backend, written.camera] += len(written.asked)
                self._settled.notify_all()
            return
        if written.dropped is None:
            self._count.processed(written.camera, written.backend)
            self._progress.frame_done(written.camera, written.backend)
        else:
            self._drop(written.camera, written.backend, written.dropped)
        self._settle_heard(written)

    def _tally_late(self, written: Answer, late: Late) -> None:
        """What is written down is not asked again; what it said of people is heard like any other
        answer."""
        self._standbys[written.backend].spool.settle(late.key, late.rest)
        if written.dropped != SPOOLED:
            self._count.moved(written.camera, written.backend, SPOOLED, written.dropped)
        with self._settled:
            self._spooled[written.backend, written.camera] -= len(written.asked)
        self._settle_heard(written)

    def _settle_heard(self, written: Answer) -> None:
        threshold = self._thresholds[written.backend]
        faces = zip(written.tracks or (), written.faces, strict=False)
        fates = {track: verdict_of(face, threshold) for track, face in faces}
        self._settle(written.backend, written.camera, written.frame, written.asked, fates)

    def _end_tracks(self, lane: str, camera: CameraId) -> None:
        """Writes the tracks that the lane's gate followed to their end."""
        gate = self._gates[lane]
        if isinstance(gate, FollowsFaces):
            self._recorders[lane, camera].end(gate.settled(camera))

    def _abandon(self) -> None:
        for name, outbox in self._outboxes.items():
            for _, job in outbox.abandon():
                self._lose(job, name, STOPPED)
        with self._settled:
            self._settled.notify_all()

    def _drain(self, threads: Sequence[threading.Thread]) -> None:
        """Lets workers get rid of their answers, so that every thread can end."""
        while threads and not self._results.exhausted:
            taken = self._results.take()
            if taken is not None:
                self._not_written(taken.item)

    def _finished(self) -> RunOutcome:
        self._close_recorders()
        error = self._errors.held or self._feed_errors.held
        outcome = RunOutcome(
            state=self._state(error),
            ended_at=datetime.now(UTC),
            cameras=self._count.records(),
            error=None if error is None else str(error) or type(error).__name__,
        )
        try:
            self._sink.finish(outcome)
        except OutputError as failure:
            if error is None:
                raise
            logger.warning("the end of the run could not be written down: %s", failure)
        if error is not None:
            raise error
        return outcome

    def _close_recorders(self) -> None:
        for name, standby in self._standbys.items():
            for ticket in standby.spool.tickets():
                self._settle(name, ticket.camera, ticket.frame, ticket.tracks)
        for (name, camera), recorder in self._recorders.items():
            for answer in recorder.unwritten():
                self._drop(camera, name, answer.dropped or NOT_WRITTEN)
                self._settle(name, camera, answer.frame, answer.asked)
            gate = self._gates[name]
            if isinstance(gate, FollowsFaces):
                gate.close(camera)
            if self._sink_works:
                try:
                    self._end_tracks(name, camera)
                    recorder.close()
                except Exception as error:  # noqa: BLE001 - raised once the sink is finished
                    self._sink_works = False
                    self._fail(error)

    def _state(self, error: BaseException | None) -> str:
        if error is not None and not isinstance(error, KeyboardInterrupt | StoppedError):
            return "failed"
        return "interrupted" if error is not None or self._interrupted else "finished"

    # --- any thread ---------------------------------------------------------------------------

    def _fail(self, error: BaseException) -> None:
        self._errors.keep(error)
        self._stop.set()
        with self._settled:
            self._settled.notify_all()

    def _lose(self, job: Job, lane: str, cause: str) -> None:
        """A frame that nobody will answer for."""
        frame = job.frame
        self._drop(frame.camera, lane, cause)
        self._settle(lane, frame.camera, frame.index, job.asked)

    def _settle(
        self,
        lane: str,
        camera: CameraId,
        frame: int,
        tracks: Sequence[int],
        fates: Mapping[int, Fate] | None = None,
    ) -> None:
        """Tells a gate that follows people what became of those it asked about in a frame."""
        gate = self._gates[lane]
        if isinstance(gate, FollowsFaces):
            for track in tracks:
                gate.settle(camera, track, frame, (fates or {}).get(track, Fate.LOST))
        with self._settled:
            self._settled.notify_all()

    def _close_outboxes(self) -> None:
        for outbox in self._outboxes.values():
            outbox.close()

    def _drop_everywhere(self, camera: CameraId, cause: str) -> None:
        for lane in self._lanes:
            self._drop(camera, lane.name, cause)

    def _drop(self, camera: CameraId, backend: str, cause: str) -> None:
        self._count.dropped(camera, backend, cause)
        self._progress.frame_done(camera, backend)


def _terms(job: Job, lane: Lane, *, live: bool) -> Terms:
    """How a job waits: new people before better shots before re-checks. A live camera's picture is
    given up when it is too old; a file's never, every frame of it counts."""
    size = job.frame.image.size
    ages = [probe.max_age_seconds for probe in job.probes if probe.max_age_seconds is not None]
    return Terms(
        held_bytes=3 * size.width * size.height,
        priority=min(probe.priority for probe in job.probes),
        expires_at=time.monotonic() + min(ages) if live and ages else math.inf,
        expected_bytes=expected_bytes([probe.image for probe in job.probes], lane.upload_bytes),
    )
