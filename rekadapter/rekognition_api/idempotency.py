"""``ClientRequestToken``: a request that is sent twice is done once.

AWS does not say how long a token of a user operation lives; here it is an hour, which outlasts
every client's retries, and at most so many tokens are remembered. They do not outlive the process.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from rekadapter.errors import ConfigError
from rekadapter.rekognition_api.codec import WireObject
from rekadapter.rekognition_api.faults import idempotent_parameter_mismatch

TOKEN_SECONDS: Final = 3600.0
MAX_TOKENS: Final = 10_000


@dataclass(frozen=True, slots=True)
class TokenKey:
    """Whose token it is, and for what: another operation or region may use the same one."""

    account: str
    region: str
    operation: str
    token: str


@dataclass(slots=True)
class _Kept:
    """A token in use. Its lock makes a repetition wait for the first answer."""

    digest: str
    until: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    answer: WireObject | None = None


class IdempotentAnswers:
    """Answers by token. Safe to use from several threads.

    ``clock`` gives seconds that never go back.
    """

    def __init__(
        self,
        *,
        lifetime_seconds: float = TOKEN_SECONDS,
        capacity: int = MAX_TOKENS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not lifetime_seconds > 0 or capacity < 1:
            raise ConfigError("tokens need a lifetime above 0 seconds and room for at least one")
        self._lifetime = lifetime_seconds
        self._capacity = capacity
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[TokenKey, _Kept] = OrderedDict()

    def once(self, key: TokenKey, given: WireObject, work: Callable[[], WireObject]) -> WireObject:
        """The answer of ``work``, done once for a token; work that failed is done again.

        Raises:
            FaultError: the token came with another input before.
        """
        digest = _digest(given)
        kept = self._entry(key, digest)
        if kept.digest != digest:
            raise idempotent_parameter_mismatch(key.token)
        with kept.lock:
            if kept.answer is None:
                kept.answer = work()
            return kept.answer

    def _entry(self, key: TokenKey, digest: str) -> _Kept:
        now = self._clock()
        with self._lock:
            self._forget(now)
            if key not in self._kept:
                if len(self._kept) >= self._capacity:
                    self._kept.popitem(last=False)
                self._kept[key] = _Kept(digest, now + self._lifetime)
            return self._kept[key]

    def _forget(self, now: float) -> None:
        """The oldest stand first, and all live equally long."""
        while self._kept and next(iter(self._kept.values())).until <= now:
            self._kept.popitem(last=False)


def _digest(given: WireObject) -> str:
    text = json.dumps(given, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()
