"""What the threads of a lane do that has a spool: ask while the uplink is there, keep what comes
while it is gone, and ask about that once it is back.

::

    uplink there   fresh frames first; when none waits, the newest frame of the spool
    uplink gone    every frame goes to the spool; one thread at a time asks about its newest frame,
                   which tells whether the uplink is back
    at the end     no more frames come: the spool is emptied, or, after one more try that fails,
                   left
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from rekadapter.errors import DeadlineExceededError, ImageError, OutputError, RekadapterError
from rekadapter.feeds.frames import Frame
from rekadapter.gate import Probe, gathered
from rekadapter.imaging import Image
from rekadapter.uplink.link_watch import undelivered
from rekadapter.uplink.outbox import Outbox, Taken
from rekadapter.uplink.spool import NOT_SPOOLED, SPOOL_DAMAGED, SPOOL_FULL, SPOOLED
from rekadapter.uplink.spooled import SpooledFrame, SpooledPicture, Ticket
from rekadapter.uplink.uploader import (
    PRICE_CAP,
    REQUEST_FAILED,
    STALE,
    STOPPED,
    Answer,
    Job,
    Lane,
    Late,
    Uploader,
    prepared,
)

logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 0.1
_NO_TURN: Final = -1


class SpoolingLane:
    """One for a lane. ``serve`` runs in each of its workers and ``keep_up`` in one thread more.

    Every frame taken from the outbox gives one answer that has a turn, as in a lane without a
    spool: where it went to the spool, one that was dropped as SPOOLED. What becomes of that frame
    later is told by late answers, none before that one: one without a cause (answered) or with one
    (given up) is the last about it, those dropped as SPOOLED again tell of a part of it.
    """

    def __init__(
        self,
        lane: Lane,
        uploader: Uploader,
        outbox: Outbox[Job],
        *,
        hand_over: Callable[[Answer], None],
        fail: Callable[[BaseException], None],
        stop: threading.Event,
    ) -> None:
        """``hand_over`` takes the answers in the order in which they are given; ``fail`` what the
        next frame would meet as well. ``lane`` has a standby."""
        standby = lane.standby
        if standby is None:
            raise ValueError(f"lane {lane.name} has no standby")
        self._lane = lane
        self._spool, self._watch = standby.spool, standby.watch
        self._uploader = uploader
        self._outbox = outbox
        self._hand_over, self._fail = hand_over, fail
        self._stop = stop
        self._hopeless = threading.Event()
        self._told = threading.Event()

    def serve(self) -> None:
        """Until no more frames come and the spool is empty or cannot be emptied."""
        while not self._over():
            if self._watch.lost:
                busy = self._ask_late() or self._take(_LOOK_SECONDS)
            else:
                busy = self._take(0.0) or self._ask_late() or self._take(_LOOK_SECONDS)
            if not busy and self._outbox.exhausted:
                self._stop.wait(_LOOK_SECONDS)

    def keep_up(self) -> None:
        """Takes what comes while the uplink is gone: then all workers may be waiting for answers,
        for as long as their retries last."""
        while not (self._outbox.exhausted or self._stop.is_set()):
            if self._watch.lost:
                self._take(_LOOK_SECONDS)
            else:
                self._stop.wait(_LOOK_SECONDS)
        self.serve()

    def _over(self) -> bool:
        if not self._outbox.exhausted:
            return False
        return self._stop.is_set() or self._hopeless.is_set() or not self._spool.waiting

    # --- fresh frames -------------------------------------------------------------------------

    def _take(self, timeout_seconds: float) -> bool:
        taken = self._outbox.take(timeout_seconds)
        if taken is None:
            return False
        job, turn = taken.item, taken.turn
        if self._stop.is_set():
            self._hand_over(self._uploader.unasked(job, turn, STOPPED))
        elif self._watch.lost:
            self._keep(job, turn, job.probes)
        elif taken.stale:
            self._hand_over(self._uploader.unasked(job, turn, STALE))
        else:
            self._ask(taken)
        return True

    def _ask(self, taken: Taken[Job]) -> None:
        job = taken.item
        with self._watch.asking():
            answer = self._uploader.ask(job, taken.turn)
        if answer.sent_bytes:
            self._outbox.charge(taken, answer.sent_bytes)
        if not undelivered(answer.error):
            if answer.dropped is None:
                self._watch.reached()
            self._hand_over(answer)
            return
        self._watch.failed()
        kept = self._keep(job, taken.turn, answer.unanswered)
        if kept and len(answer.unanswered) < len(job.probes):
            self._hand_over(_part_of(answer, job, Late(job.frame.captured_at)))

    def _keep(self, job: Job, turn: int, probes: Sequence[Probe]) -> bool:
        """Puts what is to be asked about a frame into the spool; False where that failed."""
        notice = self._uploader.unasked(job, turn, SPOOLED)
        if job.followed is not None:
            seen = gathered((), job.followed)
            notice = replace(notice, faces=seen.faces, tracks=seen.tracks)
        try:
            frame = _spooled(job, probes, self._lane)
            given_up = self._spool.put(frame, out=True)
        except ImageError as error:
            self._hand_over(replace(notice, dropped=REQUEST_FAILED, error=error))
        except OutputError as error:
            self._tell_once(error)
            self._hand_over(self._uploader.unasked(job, turn, NOT_SPOOLED))
        else:
            self._hand_over(notice)
            self._spool.give_back(frame.key)
            for ticket in given_up:
                self._hand_over(self._given_up(ticket, SPOOL_FULL))
            return True
        return False

    def _tell_once(self, error: OutputError) -> None:
        if not self._told.is_set():
            self._told.set()
            logger.warning(
                "%s: frames are lost until it can be used again (%s)", error, NOT_SPOOLED
            )

    # --- frames of the spool ------------------------------------------------------------------

    def _ask_late(self) -> bool:
        """Asks about the newest frame of the spool, where it is this thread's turn to."""
        if self._stop.is_set() or self._hopeless.is_set() or not self._spool.waiting:
            return False
        if not self._watch.begin():
            return False
        try:
            return self._ask_newest()
        except OutputError as error:
            self._hopeless.set()
            self._tell_once(error)
            return False
        finally:
            self._watch.end()

    def _ask_newest(self) -> bool:
        frame = self._spool.newest()
        for ticket in self._spool.damaged():
            if ticket is not None:
                self._hand_over(self._given_up(ticket, SPOOL_DAMAGED))
        if frame is None:
            return False
        try:
            job = _job_of(frame)
        except ImageError:
            self._spool.acknowledge(frame.key)
            self._hand_over(self._given_up(frame.ticket, SPOOL_DAMAGED))
            return True
        late = Late(frame.captured_at, frame.key)
        last = self._outbox.exhausted
        with self._watch.asking():
            answer = self._uploader.ask(job, _NO_TURN, late=late)
        if _waits_again(answer):
            self._keep_waiting(frame, job, answer)
            if last:  # a try that began when no more frames came has failed
                self._hopeless.set()
        else:
            if answer.dropped is None:
                self._watch.reached()
            self._hand_over(answer)
        return True

    def _keep_waiting(self, frame: SpooledFrame, job: Job, answer: Answer) -> None:
        if undelivered(answer.error):
            self._watch.failed()
        else:
            self._watch.refused()
        if answer.fatal and answer.error is not None:
            self._fail(answer.error)
        answered = len(job.probes) - len(answer.unanswered)
        if answered:
            rest = replace(frame, pictures=frame.pictures[answered:])
            self._hand_over(_part_of(answer, job, Late(frame.captured_at, frame.key, rest)))
        else:
            self._spool.give_back(frame.key)

    def _given_up(self, ticket: Ticket, cause: str) -> Answer:
        return Answer(
            self._lane.name,
            ticket.camera,
            _NO_TURN,
            ticket.frame,
            ticket.seconds,
            0.0,
            asked=ticket.tracks,
            dropped=cause,
            late=Late(None),
        )


def _waits_again(answer: Answer) -> bool:
    """Whether a late request that failed may succeed later."""
    if answer.dropped in {STOPPED, PRICE_CAP}:
        return True
    error = answer.error
    if isinstance(error, DeadlineExceededError):
        return True
    return answer.fatal or (isinstance(error, RekadapterError) and error.retryable)


def _part_of(answer: Answer, job: Job, late: Late) -> Answer:
    """What was answered before the rest failed."""
    answered = job.probes[: len(job.probes) - len(answer.unanswered)]
    return replace(
        answer,
        turn=_NO_TURN,
        asked=tuple(probe.track for probe in answered if probe.track is not None),
        dropped=SPOOLED,
        error=None,
        fatal=False,
        late=late,
    )


def _spooled(job: Job, probes: Sequence[Probe], lane: Lane) -> SpooledFrame:
    """What is to be asked about a frame, encoded as it would have been sent.

    Raises:
        ImageError: it cannot be encoded.
    """
    frame = job.frame
    pictures = tuple(
        SpooledPicture(
            probe.region,
            prepared(probe.image, lane.upload_bytes).encoded or b"",
            probe.face,
            probe.track,
        )
        for probe in probes
    )
    return SpooledFrame(
        backend=lane.name,
        camera=frame.camera,
        frame=frame.index,
        seconds=frame.seconds,
        captured_at=frame.captured_at,
        came_at=job.came_at or datetime.now(UTC),
        pictures=pictures,
        followed=job.followed,
    )


def _job_of(frame: SpooledFrame) -> Job:
    """What was spooled, to be asked about."""
    probes = tuple(
        Probe(Image.from_bytes(one.encoded), one.region, one.face, one.track)
        for one in frame.pictures
    )
    age = (datetime.now(UTC) - frame.came_at).total_seconds()
    return Job(
        Frame(frame.camera, frame.frame, frame.seconds, frame.captured_at, probes[0].image),
        probes,
        frame.followed,
        made_at=time.perf_counter() - max(0.0, age),
        whole=False,
    )
