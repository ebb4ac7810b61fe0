"""How many bytes may leave the site, and when: pure arithmetic, the time is always an argument."""

from __future__ import annotations

import math
from typing import Final

from rekadapter.errors import ConfigError

BURST_SECONDS: Final = 0.2
"""Seconds of the rate that may pass at once: 2 % of a window of 10 s."""

_NEGLIGIBLE_BYTES: Final = 1e-3

_UPLOAD_SECONDS: Final = 1.0
"""How long one image may take up the whole uplink while others wait behind it."""

_MAX_IMAGE_BYTES: Final = 5_242_880
"""Largest image Rekognition takes as bytes (service model rekognition/2016-06-27)."""
_LEAST_IMAGE_BYTES: Final = 8_192
"""Below this a frame shows nobody; a slower link sends fewer frames, not emptier ones."""


class TokenBucket:
    """Tokens are bytes: ``rate`` a second flow in, up to ``burst`` stay, each byte takes one.

    In any interval of ``t`` seconds at most ``rate * t + burst`` bytes are taken, as long as only
    what ``delay`` lets through is taken, in parts of at most ``burst``. More may be taken (what has
    passed has passed): it is owed, and the rate still holds in the long run. Not thread-safe.
    """

    def __init__(self, rate: float, burst: float, *, now: float) -> None:
        """``rate`` in bytes a second, ``burst`` in bytes; the bucket starts full at ``now``."""
        self._tokens = self._rate = self._burst = 0.0
        self._as_of = now
        self.change(rate, burst, now=now)
        self._tokens = burst

    @property
    def rate(self) -> float:
        return self._rate

    def change(self, rate: float, burst: float, *, now: float) -> None:
        """Another rate and burst from ``now`` on."""
        if not (math.isfinite(rate) and rate > 0 and math.isfinite(burst) and burst > 0):
            raise ValueError(f"rate and burst have to be above 0, not {rate} and {burst}")
        self._fill(now)
        self._rate, self._burst = rate, burst
        self._tokens = min(burst, self._tokens)

    def delay(self, size_bytes: int, *, now: float) -> float:
        """Seconds from ``now`` until ``size_bytes`` may pass; for more than the burst, until the
        bucket is full."""
        self._fill(now)
        missing = min(size_bytes, self._burst) - self._tokens
        # less is rounding: a wait so short would not move a clock
        return missing / self._rate if missing > _NEGLIGIBLE_BYTES else 0.0

    def take(self, size_bytes: int, *, now: float) -> None:
        """Counts ``size_bytes`` that pass now; a negative number gives back what did not."""
        self._fill(now)
        self._tokens = min(self._burst, self._tokens - size_bytes)

    def _fill(self, now: float) -> None:
        # A clock read by another thread may be a little behind.
        elapsed = max(0.0, now - self._as_of)
        self._as_of += elapsed
        self._tokens = min(self._burst, self._tokens + elapsed * self._rate)


def request_budget(bytes_per_second: float | None) -> int:
    """Largest image, in bytes, whose request takes a second of the whole uplink.

    A request in AWS's JSON carries its image as base64, 4 bytes for 3. None: no cap, so only
    Rekognition's own limit counts.
    """
    if bytes_per_second is None or math.isinf(bytes_per_second):
        return _MAX_IMAGE_BYTES
    in_time = int(bytes_per_second * _UPLOAD_SECONDS * 3 / 4)
    return min(max(in_time, _LEAST_IMAGE_BYTES), _MAX_IMAGE_BYTES)


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
_LEAST_RATE: Final = 1 / 8
_MOST_RATE: Final = 1e12 / 8
"""bytes a second; outside of them a wait could not be told to a clock"""


def parse_rate(text: str) -> float:
    """Bytes a second from text such as ``2Mbit/s``, ``500 kbit/s`` or ``1.5 MB/s`` (SI: k = 1000).

    Bits are spelled out and their prefix may have any case; bytes are a capital B, because ``Mb``
    and ``MB`` are too easily taken for each other.

    Raises:
        ConfigError: no number, a unit not named here, or less than 1 bit/s or more than 1 Tbit/s.
    """
    compact = "".join(text.split())
    number = compact.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/")
    unit = compact[len(number) :]
    factor = _UNITS.get(unit.lower() if unit.lower().endswith("bit/s") else _kilo(unit))
    try:
        rate = float(number) * factor if factor is not None else math.nan
    except ValueError:
        rate = math.nan
    if not _LEAST_RATE <= rate <= _MOST_RATE:
        raise ConfigError(
            f"'{text}' is not a rate: write a number and kbit/s, Mbit/s, Gbit/s, kB/s or MB/s, "
            "such as 2Mbit/s"
        )
    return rate


def _kilo(unit: str) -> str:
    """``KB/s`` as ``kB/s``: the one prefix whose case people disagree about."""
    return "k" + unit[1:] if unit.startswith("K") else unit
