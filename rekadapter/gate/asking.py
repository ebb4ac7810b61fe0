"""When to ask about a person again: arithmetic on what was sent and what came of it, no clock."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rekadapter.gate.probe import Fate, Priority
from rekadapter.types import Reason


@dataclass(frozen=True, slots=True)
class AskingRules:
    """``patience_seconds``: how long a first picture may wait for a better one; none is waited for
    where it is as good as ``ample``. After that a picture is sent again only if it is ``gain``
    times as good as the best one sent, or ``confirm_gain`` times once the answer was clear: a name
    given far away has to hold close up. After an answer near the threshold, and until one is clear,
    it is checked ``rechecks`` times at least ``recheck_seconds`` apart, with a picture at least
    ``recheck_share`` as good: what counts then is that it is another one. A picture that was lost
    on the way is replaced after ``retry_seconds``. Nobody is asked about more than ``most`` times.
    """

    patience_seconds: float = 0.4
    ample: float = 24.0
    gain: float = 1.3
    confirm_gain: float = 2.0
    recheck_seconds: float = 0.4
    recheck_share: float = 0.8
    rechecks: int = 3
    retry_seconds: float = 1.0
    most: int = 8


class Asking:
    """What was asked about one person. ``quality`` is of ``shots.quality_of``, ``now`` media time.

    A better picture is better than all that were answered or are on their way.
    """

    def __init__(self, rules: AskingRules) -> None:
        self._rules = rules
        self._worth_since: float | None = None
        self._best_seen = 0.0
        self._best_reason: tuple[float, Reason] | None = None
        self._under_way: dict[int, float] = {}
        self._best_answered = 0.0
        self._asked = 0
        self._lost = 0
        self._rechecked = 0
        self._last_sent = -math.inf
        self._fate: Fate | None = None
        self._near_once = False

    @property
    def under_way(self) -> int:
        """Pictures sent and not settled."""
        return len(self._under_way)

    @property
    def unasked(self) -> Reason | None:
        """Why nothing was ever sent and answered; None if something was."""
        if self._fate is not None:
            return None
        if self._worth_since is not None or self._best_reason is None:
            return Reason.NOT_ASKED
        return self._best_reason[1]

    def refused(self, quality: float, reason: Reason) -> None:
        """A sighting was not worth sending."""
        if self._best_reason is None or quality > self._best_reason[0]:
            self._best_reason = (quality, reason)

    def wants(self, quality: float, now: float) -> Priority | None:
        """Whether a sighting worth sending shall be sent, and how urgently."""
        if self._worth_since is None:
            self._worth_since = now
        self._best_seen = max(self._best_seen, quality)
        if self._asked - self._lost >= self._rules.most:
            return None
        best_sent = max(self._best_answered, *self._under_way.values(), 0.0)
        if best_sent == 0.0:
            return self._first(quality, now)
        gain = self._rules.confirm_gain if self._fate is Fate.CLEAR else self._rules.gain
        if quality >= gain * best_sent:
            return Priority.BETTER_SHOT
        return Priority.RECHECK if self._near(quality, best_sent, now) else None

    def sent(self, frame: int, quality: float, now: float, priority: Priority) -> None:
        """The sighting in ``frame`` is on its way."""
        self._under_way[frame] = quality
        self._asked += 1
        self._rechecked += priority is Priority.RECHECK
        self._last_sent = now

    def settle(self, frame: int, fate: Fate) -> None:
        """What became of the picture of ``frame``."""
        quality = self._under_way.pop(frame, None)
        if quality is None:
            return
        if fate is Fate.LOST:
            self._lost += 1
        else:
            self._best_answered = max(self._best_answered, quality)
            self._fate = fate
            self._near_once = fate is not Fate.CLEAR and (self._near_once or fate is Fate.NEAR)

    def _first(self, quality: float, now: float) -> Priority | None:
        rules = self._rules
        if now - self._last_sent < rules.retry_seconds:
            return None
        waited = now - (now if self._worth_since is None else self._worth_since)
        as_good_as_any = waited >= rules.patience_seconds and quality >= 0.95 * self._best_seen
        too_long = waited >= 2 * rules.patience_seconds
        ready = quality >= rules.ample or as_good_as_any or too_long
        return Priority.FIRST_SHOT if ready else None

    def _near(self, quality: float, best_sent: float, now: float) -> bool:
        rules = self._rules
        return (
            self._near_once
            and not self._under_way
            and self._rechecked < rules.rechecks
            and now - self._last_sent >= rules.recheck_seconds
            and quality >= rules.recheck_share * best_sent
        )
