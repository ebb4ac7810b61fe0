"""The rate a link really gives, from what is sent, what arrives, and how long it takes.

A model of the bottleneck in the spirit of BBR (Cardwell et al., "BBR: Congestion-Based Congestion
Control", 2016): the rate at which bytes arrive while a queue stands is what the link gives, and a
delay above the smallest seen is a queue. As in delay-based control for video calls (Carlucci et
al., "Analysis and Design of the Google Congestion Control for WebRTC", 2016) the rate falls to a
share of what arrived and grows again by factors, gently near the rate that was too much the last
time. Pure arithmetic: the time is an argument of everything, and nothing happens between calls.

Time is cut into rounds. At the end of each, one transition::

    STARTUP --queue--> DRAIN --queue gone, or not ours--> STEADY --queue--> DRAIN
       |  doubles while all of the rate is used             |  grows while all of it is used
       +-----------------ceiling reached------------------->+
    any --bytes on their way, none arrives--> OUTAGE --one arrives--> STARTUP at half the old rate
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from rekadapter.uplink.delay import Delay, Queue, Throughput

ROUND_SECONDS: Final = 0.25
_ROUND_ARRIVALS: Final = 2
_LONGEST_ROUND_SECONDS: Final = 1.5
"""A round lasts until enough has arrived to speak of a rate, within these bounds."""

_ALL_OF_IT: Final = 0.75
"""Who sends at least this share of the rate in a round is held back by it. Less is idling, which
says nothing about the link."""

_DOUBLE: Final = 2.0
_GROW: Final = 1.25
_GROW_GENTLY: Final = 1.05
_NEAR_LOW: Final = 0.8
_NEAR_HIGH: Final = 1.2
"""Between these shares of the rate that was too much the last time the rate grows gently."""
_CHANGED: Final = 2.0
"""Beyond so many times that rate the link is another one, and the rate doubles as at the start."""
_CLEAR_QUEUE: Final = 3.0
"""A queue of so many times what is tolerated is believed at once, a smaller one when it is there in
two rounds on end."""
_BESIDE_A_QUEUE: Final = 1.25
"""Who does not use all of the rate while a queue stands keeps so much of what came through."""
_KEEPS_UP: Final = 0.7
"""The rate grows only while at least this share of what is sent arrives."""
_TRUST: Final = 3.0
_TRUST_ANSWERED: Final = 2.0
"""The rate grows to no more than this times what arrived in a round, nor, once under way, than this
times what was answered of late: it never runs away."""

_BELOW_CAPACITY: Final = 0.95
_FOREIGN_QUEUE_SHARE: Final = 0.85
_DRAIN_SHARE: Final = 0.5
_DRAIN_GENTLY: Final = 0.75
"""What is sent of what the link gives while its queue empties: a long queue, and the rest of it."""
_MEASURABLE_QUEUE: Final = 2.0
"""A shorter queue may be empty for a part of the round: what arrives says too little."""
_DRAIN_ROUNDS: Final = 8
"""A queue that has not shrunk for so many rounds at half the rate is somebody else's."""

_PATH_TOLERANCE_SECONDS: Final = 0.1
_ANSWER_TOLERANCE_SECONDS: Final = 0.4
_BACKLOG_TOLERANCE_SECONDS: Final = 0.35
"""Above the smallest of the last minute. An answer includes the service's own work, which varies; a
backlog includes the slices that have just been sent."""

_SILENCE_SECONDS: Final = 3.0
_FAILURES: Final = 2

_FLOOR_SHARE: Final = 0.02
_LEAST_RATE: Final = 2_000.0
_FIRST_RATE: Final = 32_000.0
"""Slow enough to see the delay of an empty link before there is a queue; doubled in a moment."""
_TRICKLE_SHARE: Final = 0.01


class Phase(StrEnum):
    """What the control is doing."""

    STARTUP = "startup"
    STEADY = "steady"
    DRAIN = "drain"
    OUTAGE = "outage"


@dataclass(frozen=True, slots=True)
class Round:
    """What a round told; it took as long as ``rounds`` of the shortest.

    Bytes a second that were ``sent`` and that ``arrived``: by acknowledgments, but by answers where
    only they tell of a queue, because then somebody between acknowledges early; and that were
    ``answered``, where that is known. Whether all of the rate was used or more than a moment's
    worth is on its way (``filled``); whether a request was under way all the time (``busy``);
    whether as much arrives as is sent, as far as is known (``keeps_up``); the ``queue``, None where
    nothing told of delays.
    """

    rounds: float
    sent: float
    arrived: float
    answered: float | None
    filled: bool
    busy: bool
    keeps_up: bool
    queue: Queue | None


class LinkRate:
    """Bytes a second that may be sent: never above ``ceiling`` nor, but for an outage, below a
    floor. Not thread-safe.

    Of every byte sent it has to be told later that it arrived, or that nobody will ever know.
    Periods in which less is sent than the rate allows change nothing.
    """

    def __init__(self, ceiling: float, *, now: float) -> None:
        """``ceiling`` in bytes a second; infinite where only the link sets a limit."""
        self._ceiling = _checked(ceiling)
        self._rate = max(self.floor, min(ceiling / 4, _FIRST_RATE))
        self._phase = Phase.STARTUP
        self._too_much = math.inf
        self._hardly_since = math.inf
        self._path = Delay(_PATH_TOLERANCE_SECONDS)
        self._answers = Delay(_ANSWER_TOLERANCE_SECONDS)
        self._delays = (self._path, self._answers)
        self._in_flight = 0
        self._open = 0
        self._round_busy = False
        self._answered = Throughput()
        self._last_arrival = now
        self._believed_since = now
        self._failures = 0
        self._before_outage = self._rate
        self._answered_since = True
        self._queue_before = False
        self._arrived_before = 0.0
        self._smallest_queue = math.inf
        self._rounds_in_drain = 0
        self._start_round(now)

    # --- what is read -----------------------------------------------------------------------

    @property
    def rate(self) -> float:
        """Bytes a second that may be sent now."""
        if self._phase is Phase.OUTAGE:
            return min(self._ceiling, max(_LEAST_RATE, self._known_ceiling * _TRICKLE_SHARE))
        return self._rate

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def in_flight(self) -> int:
        """Bytes sent of which it is not known yet whether they arrived."""
        return self._in_flight

    @property
    def floor(self) -> float:
        """What is kept of a link that others fill: 2 % of the ceiling."""
        return min(self._ceiling, max(_LEAST_RATE, self._known_ceiling * _FLOOR_SHARE))

    @property
    def _known_ceiling(self) -> float:
        return self._ceiling if math.isfinite(self._ceiling) else 0.0

    # --- what it is told --------------------------------------------------------------------

    def opened(self) -> None:
        """A request is under way."""
        self._open += 1

    def closed(self) -> None:
        """One request fewer is under way: it is answered, or over without an answer."""
        self._open -= 1
        self._look_idle()

    def sent(self, size_bytes: int, *, now: float) -> None:
        """So many bytes were handed to the network."""
        if self._in_flight == 0:
            self._last_arrival = max(self._last_arrival, now)
        self._in_flight += size_bytes
        self._round_sent += size_bytes
        self.tick(now=now)

    def arrived(self, size_bytes: int, *, now: float) -> None:
        """So many of the bytes sent are known to have arrived."""
        if size_bytes <= 0:
            return
        self._leave(size_bytes)
        self._last_arrival = now
        self._failures = 0
        if self._phase is Phase.OUTAGE:
            self._return(now)
        self._round_arrived += size_bytes
        self._round_arrivals += 1
        self.tick(now=now)

    def lost(self, size_bytes: int, *, now: float) -> None:
        """Of so many bytes nobody will ever know: their connection is gone."""
        self._leave(size_bytes)
        self.tick(now=now)

    def failed(self, *, now: float) -> None:
        """A connection broke or was never made. Two without an arrival between them, while nothing
        else arrives, are an outage."""
        self._failures += 1
        quiet = now - self._last_arrival > ROUND_SECONDS or self._in_flight == 0
        if self._failures >= _FAILURES and quiet:
            self._lose()
        self.tick(now=now)

    def path_delay(self, seconds: float, *, now: float) -> None:
        """The oldest byte of an upload that is not known to have arrived is so old (0: none)."""
        if now - seconds >= self._believed_since:
            self._path.sample(seconds, now=now)

    def answer_delay(self, seconds: float, size_bytes: int, *, now: float) -> None:
        """An answer began so long after the last byte of its request, of ``size_bytes``, was
        sent."""
        self._answered_since = True
        self._answered.add(size_bytes, now=now)
        if now - seconds >= self._believed_since:
            self._answers.sample(seconds, now=now)

    def limit(self, ceiling: float, *, now: float) -> None:
        """Another ceiling from now on. A rate that stood at the old one goes on at the new."""
        before, self._ceiling = self._ceiling, _checked(ceiling)
        if self._rate >= before and self._phase is not Phase.OUTAGE:
            self._phase = Phase.STARTUP
            self._start_round(now)
        self._rate = min(ceiling, max(self._rate, self.floor))

    def tick(self, *, now: float) -> None:
        """Lets the time pass: ends a round that is due, notices an outage."""
        if self._in_flight and now - self._last_arrival > self._patience:
            self._lose()
        elapsed = now - self._round_began
        enough = self._round_arrivals >= _ROUND_ARRIVALS or elapsed >= _LONGEST_ROUND_SECONDS
        if self._phase is not Phase.OUTAGE and elapsed >= ROUND_SECONDS and enough:
            self._transition(self._round(elapsed, now), now)
            self._start_round(now)

    # --- rounds -----------------------------------------------------------------------------

    def _leave(self, size_bytes: int) -> None:
        self._in_flight = max(0, self._in_flight - size_bytes)
        self._look_idle()

    def _look_idle(self) -> None:
        # somebody between may acknowledge in the far end's stead: only an answer ends a request
        self._round_busy = self._round_busy and (self._in_flight > 0 or self._open > 0)

    def _start_round(self, now: float) -> None:
        self._round_began = now
        self._round_sent = 0
        self._round_arrived = 0
        self._round_arrivals = 0
        self._round_busy = self._in_flight > 0 or self._open > 0
        for delay in self._delays:
            delay.start_round(now=now)

    def _round(self, elapsed: float, now: float) -> Round:
        sent, arrived = self._round_sent / elapsed, self._round_arrived / elapsed
        answered = self._answered.rate(now=now)
        path = _longer(self._path.queue(now=now), self._backlog(arrived))
        answers = self._answers.queue(now=now)
        queue = _longer(path, answers)
        return Round(
            rounds=elapsed / ROUND_SECONDS,
            sent=sent,
            arrived=answered if answered and queue is answers else arrived,
            answered=answered,
            filled=sent >= _ALL_OF_IT * self._rate or self._in_flight > ROUND_SECONDS * self._rate,
            busy=self._round_busy,
            keeps_up=not self._path.known or arrived >= _KEEPS_UP * sent,
            queue=queue or (None if self._in_flight else Queue(0.0, fresh=True)),
        )

    def _backlog(self, arrived: float) -> Queue | None:
        """What is on its way takes so long to arrive. Not known without acknowledgments: a request
        that the service works on would be on its way too."""
        if not arrived:
            return None
        seconds = self._in_flight / arrived
        return self._path.queue_of(seconds, tolerance_seconds=_BACKLOG_TOLERANCE_SECONDS)

    def _transition(self, told: Round, now: float) -> None:
        if told.queue is None or self._silent(told, now):
            return
        standing = told.queue.size > 1.0
        if self._phase is Phase.DRAIN:
            self._drain(told, told.queue, now)
        elif standing:
            self._see_queue(told, told.queue.size)
        elif told.filled and told.keeps_up:
            self._grow(told)
        self._queue_before = standing
        self._arrived_before = told.arrived

    def _silent(self, told: Round, now: float) -> bool:
        """Hardly anything arrives of what is on its way: that is no rate until it has gone on for
        so long that it would be an outage. What is learned before it ends holds no more after."""
        hardly = self._in_flight > 0 and told.arrived < self.floor / 2
        if not self._path.known or (not hardly and math.isinf(self._hardly_since)):
            return False
        if not hardly:
            self._begin_again(now)
            return True
        self._hardly_since = min(self._hardly_since, now)
        return now - self._hardly_since < 2 * _SILENCE_SECONDS

    def _see_queue(self, told: Round, queue: float) -> None:
        believed = self._queue_before or queue > _CLEAR_QUEUE
        if not believed or told.arrived <= 0:
            return
        if told.filled:
            self._begin_drain(told, queue)
        elif told.busy:
            self._rate = min(self._rate, max(self.floor, _BESIDE_A_QUEUE * told.arrived))

    def _grow(self, told: Round) -> None:
        a_round = _DOUBLE if self._phase is Phase.STARTUP else self._steady_factor
        factor = min(_DOUBLE, a_round**told.rounds)
        trusted = _TRUST * told.arrived
        if self._phase is Phase.STEADY and told.answered is not None:
            # somebody between may take more than the link behind gives
            trusted = min(trusted, _TRUST_ANSWERED * told.answered)
        self._rate = min(self._ceiling, max(self._rate, trusted), self._rate * factor)
        if self._rate >= self._ceiling:
            self._phase = Phase.STEADY

    @property
    def _steady_factor(self) -> float:
        if self._rate > _CHANGED * self._too_much:
            return _DOUBLE
        near = _NEAR_LOW * self._too_much <= self._rate <= _NEAR_HIGH * self._too_much
        return _GROW_GENTLY if near else _GROW

    def _begin_drain(self, told: Round, queue: float) -> None:
        self._phase = Phase.DRAIN
        self._too_much = min(self._rate, self._gives(told))
        self._rate = self._drain_rate(queue)
        self._smallest_queue, self._rounds_in_drain = queue, 0

    def _drain(self, told: Round, queue: Queue, now: float) -> None:
        if queue.size <= 1.0:
            self._settle(_BELOW_CAPACITY)
            return
        self._rate = self._drain_rate(queue.size)
        if not queue.fresh:
            return
        # While a queue of ours empties, more arrives than is sent: exactly what the link gives.
        # While it still grows, or nobody was held back yet, less does. If as much arrives as is
        # sent, the queue is not ours.
        ours = not 0.95 <= told.arrived / max(told.sent, 1.0) <= 1.05
        measured = queue.size > _MEASURABLE_QUEUE and told.arrived > 0
        if measured and (ours or self._rate > 1.05 * told.arrived):
            self._too_much = min(self._too_much, (self._too_much + self._gives(told)) / 2)
        shrunk = queue.size < 0.9 * self._smallest_queue
        self._smallest_queue = min(self._smallest_queue, queue.size)
        self._rounds_in_drain = 0 if shrunk else self._rounds_in_drain + 1
        if self._rounds_in_drain >= _DRAIN_ROUNDS:
            for delay in self._delays:
                delay.accept(now=now)
            self._settle(_FOREIGN_QUEUE_SHARE)

    def _gives(self, told: Round) -> float:
        """What the link gives: the larger of two rounds, because arrivals are told in lumps."""
        return max(told.arrived, self._arrived_before)

    def _drain_rate(self, queue: float) -> float:
        share = _DRAIN_SHARE if queue > _CLEAR_QUEUE else _DRAIN_GENTLY
        return min(self._ceiling, max(self.floor, share * self._too_much))

    def _settle(self, share: float) -> None:
        self._phase = Phase.STEADY
        self._rate = min(self._ceiling, max(self.floor, share * self._too_much))

    # --- outages ----------------------------------------------------------------------------

    @property
    def _patience(self) -> float:
        """Acknowledgments of the kernel come all the time; without them an upload arrives when its
        answer does."""
        on_its_way = 0.0 if self._path.known else 2 * self._in_flight / self.rate
        return _SILENCE_SECONDS + on_its_way

    def _lose(self) -> None:
        if self._phase is not Phase.OUTAGE:
            if self._answered_since:
                self._before_outage = self._rate
            self._phase = Phase.OUTAGE

    def _return(self, now: float) -> None:
        """Without an answer it may have been somebody between, and the link is as it was before."""
        self._answered_since = False
        self._rate = min(self._ceiling, max(self.floor, self._before_outage / 2))
        self._begin_again(now)
        self._start_round(now)

    def _begin_again(self, now: float) -> None:
        """Delays of what was sent before say how long the silence was, not how long the queue is;
        and how little was too much in it says nothing about the link."""
        self._phase = Phase.STARTUP
        self._too_much = self._hardly_since = math.inf
        self._believed_since = now
        for delay in self._delays:
            delay.forget_present()


def _longer(one: Queue | None, other: Queue | None) -> Queue | None:
    if one is None or other is None:
        return one or other
    return other if other.size > one.size else one


def _checked(ceiling: float) -> float:
    if not ceiling > 0:
        raise ValueError(f"a ceiling has to be above 0, not {ceiling}")
    return ceiling
