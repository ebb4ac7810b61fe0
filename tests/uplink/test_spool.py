"""The spool: whole or not there, bounded, newest first, nothing acknowledged twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rekadapter.errors import OutputError
from rekadapter.types import BoundingBox, CameraId
from rekadapter.uplink.spool import Spool, SpooledProbe

START = datetime(2026, 5, 1, 12, tzinfo=UTC)


def probe(number: int, size: int = 100, camera: str = "lobby") -> SpooledProbe:
    return SpooledProbe(
        backend="cloud",
        camera=CameraId(camera),
        frame=number,
        seconds=number / 10,
        captured_at=START + timedelta(seconds=number),
        region=BoundingBox(0.1, 0.2, 0.3, 0.4),
        encoded=bytes([number % 256]) * size,
    )


def drained(spool: Spool) -> list[int]:
    frames = []
    while (one := spool.newest()) is not None:
        frames.append(one.frame)
        spool.acknowledge(one.key)
    return frames


def test_a_probe_comes_back_as_it_was(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10_000)
    assert spool.put(probe(3)) == 0
    assert spool.newest() == probe(3)


def test_the_newest_comes_first_whatever_the_order_of_putting(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 100_000)
    for number in (4, 1, 9, 2):
        spool.put(probe(number))
    assert drained(spool) == [9, 4, 2, 1]
    assert (len(spool), spool.held_bytes) == (0, 0)


def test_a_full_spool_gives_up_its_oldest_and_says_how_many(tmp_path: Path) -> None:
    size = len(probe(1).to_bytes())
    spool = Spool(tmp_path, 3 * size + 10)
    assert [spool.put(probe(number)) for number in (1, 2, 3, 4)] == [0, 0, 0, 1]
    assert spool.put(probe(5, size=2 * 100)) >= 1
    assert spool.put(probe(6, size=100_000)) == 1
    assert 1 not in drained(spool)


def test_what_is_out_is_not_given_out_again_until_it_is_given_back(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10_000)
    spool.put(probe(1))
    first = spool.newest()
    assert first is not None
    assert spool.newest() is None
    spool.give_back(first.key)
    assert spool.newest() == first


def test_another_run_finds_what_was_left_and_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10_000)
    for number in (1, 2, 3):
        spool.put(probe(number))
    out = spool.newest()
    assert out is not None
    spool.acknowledge(out.key)
    spool.newest()  # out when the run ends: nobody knows whether it arrived
    assert drained(Spool(tmp_path, 10_000)) == [2, 1]
    assert drained(Spool(tmp_path, 10_000)) == []


def test_the_same_probe_is_kept_once_and_never_after_its_answer(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10_000)
    spool.put(probe(1))
    spool.put(probe(1))
    assert len(spool) == 1
    assert drained(spool) == [1]
    spool.put(probe(1))
    assert drained(spool) == []


def test_other_facts_make_another_key() -> None:
    one = probe(1)
    others = [
        replace(one, backend="other"),
        replace(one, camera=CameraId("door")),
        replace(one, frame=2),
        replace(one, region=BoundingBox(0.0, 0.2, 0.3, 0.4)),
        replace(one, encoded=b"another"),
        replace(one, captured_at=START),
    ]
    assert len({one.key, *(other.key for other in others)}) == 7


def test_a_file_cut_short_by_a_crash_is_not_there(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10_000)
    spool.put(probe(1))
    spool.put(probe(2))
    newest = max(tmp_path.glob("*.probe"))
    (tmp_path / "00000000000000000009-abc.unfinished").write_bytes(b"half")
    newest.write_bytes(newest.read_bytes()[:-1])
    again = Spool(tmp_path, 10_000)
    assert drained(again) == [1]
    assert list(tmp_path.iterdir()) == []


@given(data=st.binary(max_size=300))
def test_anything_else_is_not_a_probe(data: bytes) -> None:
    with pytest.raises(ValueError, match="damaged"):
        SpooledProbe.from_bytes(data)


@given(
    place=st.integers(0, 200),
    value=st.integers(0, 255),
)
def test_a_changed_byte_is_noticed(place: int, value: int) -> None:
    whole = probe(1).to_bytes()
    changed = bytearray(whole)
    changed[place % len(whole)] = value
    if bytes(changed) == whole:
        return
    with pytest.raises(ValueError, match="damaged"):
        SpooledProbe.from_bytes(bytes(changed))


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["put", "put", "send", "fail"]), st.integers(0, 30)), max_size=40
    ),
    limit=st.integers(300, 3_000),
)
@settings(max_examples=40, deadline=None)
def test_every_probe_is_answered_given_up_or_there_and_the_limit_holds(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], limit: int
) -> None:
    spool = Spool(tmp_path_factory.mktemp("spool"), limit)
    put, given_up = set(), 0
    answered: list[int] = []
    for what, number in steps:
        if what == "put" and number not in put:
            put.add(number)
            given_up += spool.put(probe(number, size=10 * number))
        elif what != "put" and (out := spool.newest()) is not None:
            if what == "send":
                answered.append(out.frame)
                spool.acknowledge(out.key)
            else:
                spool.give_back(out.key)
        assert spool.held_bytes <= limit
    assert len(answered) == len(set(answered))
    assert len(put) == len(answered) + given_up + len(spool)


def test_a_folder_that_cannot_be_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="spool"):
        Spool(tmp_path / "file", 1000)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        replace(probe(1), captured_at=datetime(2026, 5, 1))  # noqa: DTZ001 - what is refused
