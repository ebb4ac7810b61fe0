"""The ceiling of an uplink by the hour of the day."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import time
from typing import Final

from rekadapter.errors import ConfigError
from rekadapter.uplink.bucket import parse_rate

_HOURS: Final = re.compile(r"(\d{1,2})(?::(\d\d))?-(\d{1,2})(?::(\d\d))?:(.+)", re.DOTALL)
_ELSE: Final = re.compile(r"else\b:?(.+)", re.DOTALL)
_DAY_MINUTES: Final = 24 * 60
AUTO: Final = "auto"


@dataclass(frozen=True, slots=True)
class Window:
    """From ``start`` to before ``end``, minutes of the day, at most ``rate`` bytes a second.
    Where it ends before it starts it spans midnight."""

    start: int
    end: int
    rate: float

    def covers(self, minute: int) -> bool:
        if self.start < self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end


@dataclass(frozen=True, slots=True)
class Schedule:
    """The first window that covers a time sets the ceiling, else ``otherwise``; both in bytes a
    second, infinite where only the link itself sets a limit."""

    otherwise: float
    windows: tuple[Window, ...] = ()

    def ceiling_at(self, local: time) -> float:
        """Bytes a second at a local time of day."""
        minute = local.hour * 60 + local.minute
        return next((one.rate for one in self.windows if one.covers(minute)), self.otherwise)

    @property
    def lowest(self) -> float:
        """The ceiling at the narrowest hour: what an upload has to fit at any time."""
        return min([self.otherwise, *(window.rate for window in self.windows)])

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """``2Mbit/s``; by the hour ``08-18:1Mbit/s, else 4Mbit/s`` (``22:30-06`` spans midnight);
        ``auto`` in place of a rate follows the link without a cap.

        Raises:
            ConfigError: none of these, or hours without a rate for the rest of the day.
        """
        *entries, last = [entry.strip() for entry in text.split(",")]
        windows = tuple(_window(entry, text) for entry in entries)
        otherwise = _ELSE.fullmatch(last)
        if bool(windows) != bool(otherwise):
            raise _refused(text)
        return cls(_rate(otherwise[1] if otherwise else last), windows)


def _window(entry: str, text: str) -> Window:
    found = _HOURS.fullmatch(entry)
    if found is None:
        raise _refused(text)
    start, end = _minute(found[1], found[2]), _minute(found[3], found[4])
    if start is None or end is None or start == end:
        raise _refused(text)
    return Window(start % _DAY_MINUTES, end, _rate(found[5]))


def _minute(hour: str, minute: str | None) -> int | None:
    total = int(hour) * 60 + int(minute or 0)
    return total if int(minute or 0) < 60 and total <= _DAY_MINUTES else None


def _rate(text: str) -> float:
    return math.inf if text.strip() == AUTO else parse_rate(text)


def _refused(text: str) -> ConfigError:
    return ConfigError(
        f"'{text}' is no uplink: write a rate such as 2Mbit/s, auto, or hours with a rate for the "
        "rest of the day such as '08-18:1Mbit/s, else 4Mbit/s'"
    )
