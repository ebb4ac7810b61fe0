"""The ceiling by the hour: what is read, what is refused, and that each minute has one."""

from __future__ import annotations

import math
from datetime import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.errors import ConfigError
from rekadapter.uplink import Schedule

MEGABIT = 125_000.0
OFFICE = "08-18:1Mbit/s, else 4Mbit/s"


@pytest.mark.parametrize(
    ("text", "at", "megabit"),
    [
        ("2Mbit/s", time(3), 2),
        (OFFICE, time(7, 59), 4),
        (OFFICE, time(8), 1),
        (OFFICE, time(17, 59), 1),
        (OFFICE, time(18), 4),
        ("08-18:1Mbit/s,else 4Mbit/s", time(12), 1),
        ("22:30-06:8Mbit/s, else: 1 Mbit/s", time(22, 29), 1),
        ("22:30-06:8Mbit/s, else: 1 Mbit/s", time(22, 30), 8),
        ("22:30-06:8Mbit/s, else: 1 Mbit/s", time(0), 8),
        ("22:30-06:8Mbit/s, else: 1 Mbit/s", time(6), 1),
        ("18-24:3Mbit/s, 00-06:5Mbit/s, else 1Mbit/s", time(23, 59), 3),
        ("18-24:3Mbit/s, 00-06:5Mbit/s, else 1Mbit/s", time(0), 5),
        ("24-06:5Mbit/s, else 1Mbit/s", time(1), 5),
        ("08-12:1Mbit/s, 10-14:2Mbit/s, else 4Mbit/s", time(11), 1),
        ("auto", time(1), math.inf),
        ("08-18:1Mbit/s, else auto", time(19), math.inf),
    ],
)
def test_the_first_window_that_covers_a_time_sets_its_ceiling(
    text: str, at: time, megabit: float
) -> None:
    assert Schedule.parse(text).ceiling_at(at) == megabit * MEGABIT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "08-18:1Mbit/s",
        "else 4Mbit/s",
        "08-18:1Mbit/s, 4Mbit/s",
        "else 4Mbit/s, 08-18:1Mbit/s",
        "08-08:1Mbit/s, else 4Mbit/s",
        "08-25:1Mbit/s, else 4Mbit/s",
        "08:60-09:1Mbit/s, else 4Mbit/s",
        "8to9:1Mbit/s, else 4Mbit/s",
        "08-18:fast, else 4Mbit/s",
        "automatic",
        "elsewhere",
    ],
)
def test_anything_else_is_refused_with_the_forms_that_are_taken(text: str) -> None:
    with pytest.raises(ConfigError, match="such as"):
        Schedule.parse(text)


def test_the_lowest_ceiling_is_known() -> None:
    assert Schedule.parse(OFFICE).lowest == MEGABIT
    assert Schedule.parse("auto").lowest == math.inf


@given(start=st.integers(0, 23), end=st.integers(0, 24), minute=st.integers(0, 1439))
def test_a_window_covers_as_many_minutes_as_it_is_long(start: int, end: int, minute: int) -> None:
    if start == end % 24:
        return
    schedule = Schedule.parse(f"{start:02}-{end:02}:1Mbit/s, else 4Mbit/s")
    covered = [schedule.ceiling_at(time(*divmod(one, 60))) == MEGABIT for one in range(24 * 60)]
    assert sum(covered) == (end - start) % 24 * 60
    assert covered[minute] == (((minute - start * 60) % 1440) < (end - start) % 24 * 60)
