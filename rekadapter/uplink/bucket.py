"""How many bytes may leave the site, and when: pure arithmetic, the time is always an argument."""

from __future__ import annotations

import math
from typing import Final

from rekadapter.errors import ConfigError

BURST_SECONDS: Final = 0.4
"""Seconds of the rate that may pass at once: 4 % of a 10 s window, so that requests of at most that
size keep every window within 5 % of the cap."""

_MAX_IMAGE_BYTES: Final = 5_242_880
"""Largest image Rekognition takes as bytes (service model rekognition/2016-06-27)."""
_LEAST_IMAGE_BYTES: Final = 8_192
"""Below this a frame shows nobody; a slower link sends fewer frames, not emptier ones."""


class TokenBucket:
    """Tokens are bytes: ``rate`` a second flow in, up to ``burst`` stay; a request takes its own.

    Requests are let through in the order of their reservations. One larger than ``burst`` waits for
    a full bucket and leaves a debt, so that the rate holds in the long run. In any interval of
    ``t`` seconds at most ``rate * t + max(burst, largest request)`` bytes are let through.
    Not thread-safe; ``UplinkPacer`` is.
    """

    def __init__(self, rate: float, burst: float, *, now: float) -> None:
        """``rate`` in bytes a second, ``burst`` in bytes; the bucket starts full at ``now``."""
        if not (math.isfinite(rate) and rate > 0 and math.isfinite(burst) and burst > 0):
            raise ValueError(f"rate and burst have to be above 0, not {rate} and {burst}")
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._as_of = now

    def reserve(self, size_bytes: int, *, now: float) -> float:
        """Takes ``size_bytes`` and returns the seconds from ``now`` until they may be sent."""
        if size_bytes < 0:
            raise ValueError(f"a request cannot have {size_bytes} bytes")
        # The bucket's own time runs ahead of ``now`` while earlier reservations are still waiting.
        start = max(now, self._as_of)
        tokens = min(self._burst, self._tokens + (start - self._as_of) * self._rate)
        missing = max(0.0, min(size_bytes, self._burst) - tokens)
        self._as_of = start + missing / self._rate
        self._tokens = tokens + missing - size_bytes
        return max(0.0, self._as_of - now)


def request_budget(bytes_per_second: float | None) -> int:
    """Largest image, in bytes, whose request keeps every 10 s within 5 % of the cap.

    A request in AWS's JSON carries its image as base64, 4 bytes for 3. None: no cap, so only
    Rekognition's own limit counts.
    """
    if bytes_per_second is None:
        return _MAX_IMAGE_BYTES
    in_burst = int(bytes_per_second * BURST_SECONDS * 3 / 4)
    return min(max(in_burst, _LEAST_IMAGE_BYTES), _MAX_IMAGE_BYTES)


_UNITS: Final = {
    "bit/s": 1 / 8,
    "kbit/s": 1e3 / 8,
    "mbit/s": 1e6 / 8,
    "gbit/s": 1e9 / 8,
    "B/s": 1.0,
    "kB/s": 1e3,
    "MB/s": 1e6,
    "GB/s": 1e9,
}


def parse_rate(text: str) -> float:
    """Bytes a second from text such as ``2Mbit/s``, ``500 kbit/s`` or ``1.5 MB/s`` (SI: k = 1000).

    Bits are spelled out and their prefix may have any case; bytes are a capital B, because ``Mb``
    and ``MB`` are too easily taken for each other.

    Raises:
        ConfigError: no number above 0, or a unit not named here.
    """
    compact = "".join(text.split())
    number = compact.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/")
    unit = compact[len(number) :]
    factor = _UNITS.get(unit.lower() if unit.lower().endswith("bit/s") else _kilo(unit))
    try:
        rate = float(number) * factor if factor is not None else math.nan
    except ValueError:
        rate = math.nan
    if not (math.isfinite(rate) and rate > 0):
        raise ConfigError(
            f"'{text}' is not a rate: write a number and kbit/s, Mbit/s, Gbit/s, kB/s or MB/s, "
            "such as 2Mbit/s"
        )
    return rate


def _kilo(unit: str) -> str:
    """``KB/s`` as ``kB/s``: the one prefix whose case people disagree about."""
    return "k" + unit[1:] if unit.startswith("K") else unit
