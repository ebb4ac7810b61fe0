"""What shall go wrong in a mock, and with which calls."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from rekadapter.errors import ConfigError
from rekadapter.rekognition_api.faults import Fault
from rekadapter.rekognition_api.model import ServiceModel

_PROTOCOL_ERRORS: Final = frozenset(
    {
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "SerializationException",
        "ServiceUnavailable",
        "UnknownOperationException",
        "UnrecognizedClientException",
        "ValidationException",
    }
)
"""Errors of AWS's JSON protocol, which no service model lists."""
_SERVER_ERRORS: Final = frozenset({"InternalServerError"})
_UNAVAILABLE: Final = frozenset({"ServiceUnavailable"})


@dataclass(frozen=True, slots=True)
class Injection:
    """What shall go wrong, and with which calls.

    Of the calls to ``operations`` (none named: to any), every ``every``-th is a candidate; each
    candidate is hit with probability ``chance``, until ``times`` have been hit. A hit call takes
    ``latency_seconds`` longer and, where ``code`` is given, ends in that error and changes nothing.
    ``retry_after_ms`` is the hint that botocore's retries honor.
    """

    code: str | None = None
    message: str = ""
    status: int = 400
    retry_after_ms: int | None = None
    latency_seconds: float = 0.0
    operations: frozenset[str] = frozenset()
    times: int | None = None
    every: int = 1
    chance: float = 1.0

    def __post_init__(self) -> None:
        if self.every < 1 or (self.times is not None and self.times < 1):
            raise ConfigError("an injection needs every >= 1 and, where given, times >= 1")
        if not 0.0 <= self.chance <= 1.0 or self.latency_seconds < 0.0:
            raise ConfigError("an injection needs a chance from 0 to 1 and a latency of 0 or more")
        if self.code is None and self.latency_seconds == 0.0:
            raise ConfigError("an injection needs an error code or a latency")


def throttle(
    times: int | None = None,
    *,
    every: int = 1,
    chance: float = 1.0,
    operations: Iterable[str] = (),
    retry_after_ms: int | None = None,
) -> Injection:
    """``ProvisionedThroughputExceededException`` for the next ``times`` calls (None: for all).

    ``every=3`` throttles each third call, ``chance=0.1`` about one in ten, by the mock's seed.
    """
    return Injection(
        code="ProvisionedThroughputExceededException",
        message="Provisioned Rate exceeded.",
        retry_after_ms=retry_after_ms,
        operations=_names(operations),
        times=times,
        every=every,
        chance=chance,
    )


def fail(
    code: str,
    *,
    message: str = "",
    status: int | None = None,
    times: int | None = None,
    operations: Iterable[str] = (),
) -> Injection:
    """The AWS error ``code`` for the next ``times`` calls (None: for all).

    ``status`` is the HTTP status; by default 500 for ``InternalServerError``, 503 for
    ``ServiceUnavailable``, and 400 for anything else.
    """
    return Injection(
        code=code,
        message=message or f"{code}, injected by the mock.",
        status=_status_of(code) if status is None else status,
        operations=_names(operations),
        times=times,
    )


def slow(seconds: float, *, times: int | None = None, operations: Iterable[str] = ()) -> Injection:
    """``seconds`` more before the next ``times`` answers (None: all)."""
    return Injection(latency_seconds=seconds, operations=_names(operations), times=times)


def check_injection(injection: Injection, model: ServiceModel) -> None:
    """
    Raises:
        ConfigError: Rekognition has no such operation, or no such error.
    """
    unknown = injection.operations - model.names
    if unknown:
        raise ConfigError(f"Rekognition has no operation {', '.join(sorted(unknown))}")
    known = {error for row in model.operations.values() for error in row.errors}
    if injection.code is not None and injection.code not in known | _PROTOCOL_ERRORS:
        raise ConfigError(f"no operation of the mock answers {injection.code}")


@dataclass(slots=True)
class Armed:
    """An injection and how far it has got."""

    injection: Injection
    draw: random.Random
    matched: int = field(default=0)
    hit: int = field(default=0)

    def hits(self, operation: str) -> bool:
        """Whether this call is hit; to be asked once for each call."""
        rule = self.injection
        if rule.operations and operation not in rule.operations:
            return False
        self.matched += 1
        spent = rule.times is not None and self.hit >= rule.times
        if spent or self.matched % rule.every or self.draw.random() >= rule.chance:
            return False
        self.hit += 1
        return True

    def rewind(self, draw: random.Random) -> None:
        self.draw, self.matched, self.hit = draw, 0, 0


def injected(injection: Injection) -> Fault:
    return Fault(
        code=injection.code or "",
        message=injection.message,
        status=injection.status,
        retry_after_ms=injection.retry_after_ms,
    )


def _names(operations: Iterable[str]) -> frozenset[str]:
    """One name, or several."""
    return frozenset({operations} if isinstance(operations, str) else operations)


def _status_of(code: str) -> int:
    if code in _SERVER_ERRORS:
        return 500
    return 503 if code in _UNAVAILABLE else 400
