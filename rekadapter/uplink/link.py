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
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

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
_NEAR_HIGH: Final = 1.15
"""Between these shares of the rate that was too much the last time the rate grows gently."""
_CLEAR_QUEUE: Final = 3.0
"""A queue of so many times what is tolerated is believed at once, a smaller one when it is there in
two rounds on end."""
_BESIDE_A_QUEUE: Final = 1.25
"""Who does not use all of the rate while a queue stands keeps so much of what came through."""
_TRUST: Final = 3.0
"""The rate grows to no more than this times what arrived in a round: it never runs away."""

_BELOW_CAPACITY: Final = 0.95
_FOREIGN_QUEUE_SHARE: Final = 0.85
_DRAIN_SHARE: Final = 0.5
_DRAIN_ROUNDS: Final = 4
"""A queue that has not shrunk for so many rounds at half the rate is somebody else's."""

_BASE_SECONDS: Final = 60.0
_PATH_TOLERANCE_SECONDS: Final = 0.1
_ANSWER_TOLERANCE_SECONDS: Final = 0.4
"""A delay counts as a queue from so much above the smallest of the last minute, or from as much as
that smallest itself where it is more. An answer includes the service's own work, which varies."""

_SILENCE_SECONDS: Final = 3.0
_FAILURES: Final = 2

_FLOOR_SHARE: Final = 0.05
_LEAST_RATE: Final = 2_000.0
_FIRST_RATE: Final = 32_000.0
_TRICKLE_SHARE: Final = 0.02


class Phase(StrEnum):
    """What the control is doing."""

    STARTUP = "startup"
    STEADY = "steady"
    DRAIN = "drain"
    OUTAGE = "outage"


class _Delay:
    """The smallest delay of a round against the smallest of the last minute."""

    def __init__(self, tolerance_seconds: float) -> None:
        self._tolerance = tolerance_seconds
        self._smallest: deque[tuple[float, float]] = deque()
        self.latest: float | None = None

    def sample(self, seconds: float, *, now: float) -> None:
        self.latest = seconds if self.latest is None else min(self.latest, seconds)
        while self._smallest and self._smallest[-1][1] >= seconds:
            self._smallest.pop()
        self._smallest.append((now, seconds))

    def queue(self, *, now: float) -> float:
        """How many times what is tolerated this round's delay lies above the base; 0 without a
        sample. Above 1 it is a queue."""
        while self._smallest and self._smallest[0][0] < now - _BASE_SECONDS:
            self._smallest.popleft()
        if self.latest is None or not self._smallest:
            return 0.0
        base = self._smallest[0][1]
        return (self.latest - base) / max(self._tolerance, base)

    def accept(self, *, now: float) -> None:
        """From now on the present delay is the base: the queue is somebody else's to empty."""
        if self.latest is not None:
            self._smallest.clear()
            self._smallest.append((now, self.latest))


@dataclass(frozen=True, slots=True)
class Round:
    """What a round told: bytes a second that ``arrived`` and were ``sent``; whether all of the rate
    was used or more than a moment's worth is on its way (``filled``); whether something was on its
    way all the time (``busy``); ``queue`` as of ``_Delay``."""

    sent: float
    arrived: float
    filled: bool
    busy: bool
    queue: float


class LinkRate:
    """Bytes a second that may be sent: never above ``ceiling`` nor, but for an outage, below a
    floor. Not thread-safe.

    Of every byte sent it has to be told later that it arrived, or that nobody will ever know.
    Periods in which less is sent than the rate allows change nothing.
    """

    def __init__(self, ceiling: float, *, now: float) -> None:
        """``ceiling`` in bytes a second; infinite where only the link sets a limit."""
        self._ceiling = _checked(ceiling)
        self._rate = min(ceiling, max(_FIRST_RATE, self._known_ceiling / 4))
        self._phase = Phase.STARTUP
        self._too_much = math.inf
        self._path = _Delay(_PATH_TOLERANCE_SECONDS)
        self._answers = _Delay(_ANSWER_TOLERANCE_SECONDS)
        self._in_flight = 0
        self._round_busy = False
        self._last_arrival = now
        self._believed_since = now
        self._failures = 0
        self._before_outage = self._rate
        self._queue_before = False
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
        """What is kept of a link that others fill: 5 % of the ceiling."""
        return min(self._ceiling, max(_LEAST_RATE, self._known_ceiling * _FLOOR_SHARE))

    @property
    def _known_ceiling(self) -> float:
        return self._ceiling if math.isfinite(self._ceiling) else 0.0

    # --- what it is told --------------------------------------------------------------------

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

    def answer_delay(self, seconds: float, *, now: float) -> None:
        """An answer began so long after the last byte of its request was sent."""
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
        self._round_busy = self._round_busy and self._in_flight > 0

    def _start_round(self, now: float) -> None:
        self._round_began = now
        self._round_sent = 0
        self._round_arrived = 0
        self._round_arrivals = 0
        self._round_busy = self._in_flight > 0
        self._path.latest = None
        self._answers.latest = None

    def _round(self, elapsed: float, now: float) -> Round:
        sent = self._round_sent / elapsed
        return Round(
            sent=sent,
            arrived=self._round_arrived / elapsed,
            filled=sent >= _ALL_OF_IT * self._rate or self._in_flight > ROUND_SECONDS * self._rate,
            busy=self._round_busy,
            queue=max(self._path.queue(now=now), self._answers.queue(now=now)),
        )

    def _transition(self, told: Round, now: float) -> None:
        if self._phase is Phase.DRAIN:
            self._drain(told, now)
        elif told.queue > 1.0:
            self._see_queue(told)
        elif told.filled:
            self._grow(told)
        self._queue_before = told.queue > 1.0

    def _see_queue(self, told: Round) -> None:
        believed = self._queue_before or told.queue > _CLEAR_QUEUE
        if not believed or told.arrived <= 0:
            return
        if told.filled:
            self._begin_drain(told)
        elif told.busy:
            self._rate = min(self._rate, max(self.floor, _BESIDE_A_QUEUE * told.arrived))

    def _grow(self, told: Round) -> None:
        factor = _DOUBLE if self._phase is Phase.STARTUP else self._steady_factor
        trusted = max(self._rate, _TRUST * told.arrived)
        self._rate = min(self._ceiling, trusted, self._rate * factor)
        if self._rate >= self._ceiling:
            self._phase = Phase.STEADY

    @property
    def _steady_factor(self) -> float:
        near = _NEAR_LOW * self._too_much <= self._rate <= _NEAR_HIGH * self._too_much
        return _GROW_GENTLY if near else _GROW

    def _begin_drain(self, told: Round) -> None:
        self._phase = Phase.DRAIN
        self._too_much = min(self._rate, told.arrived)
        self._rate = max(self.floor, _DRAIN_SHARE * self._too_much)
        self._smallest_queue, self._rounds_in_drain = told.queue, 0

    def _drain(self, told: Round, now: float) -> None:
        if told.queue <= 1.0:
            self._settle(_BELOW_CAPACITY)
            return
        # While a queue of ours empties, more arrives than is sent: exactly what the link gives.
        # While it still grows, less does. If both are the same, the queue is not ours.
        if told.arrived > 0 and not 0.95 <= told.arrived / max(told.sent, 1.0) <= 1.05:
            self._too_much = min(self._too_much, told.arrived)
            self._rate = max(self.floor, _DRAIN_SHARE * self._too_much)
        shrunk = told.queue < 0.9 * self._smallest_queue
        self._smallest_queue = min(self._smallest_queue, told.queue)
        self._rounds_in_drain = 0 if shrunk else self._rounds_in_drain + 1
        if self._rounds_in_drain >= _DRAIN_ROUNDS:
            self._path.accept(now=now)
            self._answers.accept(now=now)
            self._settle(_FOREIGN_QUEUE_SHARE)

    def _settle(self, share: float) -> None:
        self._phase = Phase.STEADY
        self._rate = min(self._ceiling, max(self.floor, share * self._too_much))

    # --- outages ----------------------------------------------------------------------------

    @property
    def _patience(self) -> float:
        """Without acknowledgments of the kernel an upload arrives when its answer does."""
        return _SILENCE_SECONDS + 2 * self._in_flight / self.rate

    def _lose(self) -> None:
        if self._phase is not Phase.OUTAGE:
            self._before_outage = self._rate
            self._phase = Phase.OUTAGE

    def _return(self, now: float) -> None:
        """Delays of what was sent before say how long the outage was, not how long the queue is."""
        self._phase = Phase.STARTUP
        self._rate = min(self._ceiling, max(self.floor, self._before_outage / 2))
        self._too_much = math.inf
        self._believed_since = now
        self._start_round(now)


def _checked(ceiling: float) -> float:
    if not ceiling > 0:
        raise ValueError(f"a ceiling has to be above 0, not {ceiling}")
    return ceiling
