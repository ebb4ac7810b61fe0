"""The spool: whole or not there, bounded, newest first, nothing acknowledged twice."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rekadapter.errors import ConfigError, OutputError
from rekadapter.gate import Followed
from rekadapter.types import BoundingBox, CameraId, DetectedFace, Landmarks, Point, Pose
from rekadapter.uplink.spool import Spool, parse_size
from rekadapter.uplink.spooled import SpooledFrame, SpooledPicture

START = datetime(2026, 5, 1, 12, tzinfo=UTC)
BLOCK = 4096
ROOM = 100 * BLOCK


def waiting(number: int, size: int = 100, camera: str = "lobby") -> SpooledFrame:
    """A frame that came ``number`` seconds after the first."""
    picture = SpooledPicture(BoundingBox(0.1, 0.2, 0.3, 0.4), bytes([number % 256]) * size)
    return SpooledFrame(
        backend="cloud",
        camera=CameraId(camera),
        frame=number,
        seconds=number / 10,
        captured_at=datetime(2020, 1, 1, tzinfo=UTC),
        came_at=START + timedelta(seconds=number),
        pictures=(picture,),
    )


def drained(spool: Spool) -> list[int]:
    frames = []
    while (one := spool.newest()) is not None:
        frames.append(one.frame)
        spool.acknowledge(one.key)
    return frames


def test_a_frame_comes_back_as_it_was(tmp_path: Path) -> None:
    mark = Point(0.3, 0.25)
    face = DetectedFace(
        BoundingBox(0.2, 0.2, 0.1, 0.1),
        98.5,
        Landmarks(mark, mark, mark, mark, mark),
        Pose(1.0, -2.0, 3.5),
        eye_distance_px=31.25,
    )
    frame = replace(
        waiting(3),
        pictures=(
            SpooledPicture(BoundingBox(0.1, 0.2, 0.3, 0.4), b"one", face, 7),
            SpooledPicture(BoundingBox(0.5, 0.2, 0.3, 0.4), b"", None, None),
        ),
        followed=(Followed(7, face), Followed(9, face)),
    )
    with Spool(tmp_path, ROOM) as spool:
        assert spool.put(frame) == ()
        assert spool.newest() == frame
        (ticket,) = spool.tickets()
    assert (ticket.camera, ticket.frame, ticket.tracks) == ("lobby", 3, (7,))


def test_the_newest_comes_first_whatever_the_order_of_putting(tmp_path: Path) -> None:
    with Spool(tmp_path, ROOM) as spool:
        for number in (4, 1, 9, 2):
            spool.put(waiting(number))
        assert drained(spool) == [9, 4, 2, 1]
        assert (len(spool), spool.held_bytes) == (0, 0)


def test_a_full_spool_gives_up_its_oldest_and_says_which(tmp_path: Path) -> None:
    with Spool(tmp_path, 3 * BLOCK) as spool:
        given_up = [spool.put(waiting(number)) for number in (1, 2, 3, 4)]
        assert [[ticket.frame for ticket in tickets] for tickets in given_up] == [[], [], [], [1]]
        assert [ticket.frame for ticket in spool.put(waiting(5, size=5000))] == [2, 3]
        assert [ticket.frame for ticket in spool.put(waiting(6, size=4 * BLOCK))] == [6]
        assert drained(spool) == [5, 4]


def test_what_it_takes_on_disk_is_counted_in_blocks(tmp_path: Path) -> None:
    with Spool(tmp_path, ROOM) as spool:
        spool.put(waiting(1, size=1))
        spool.put(waiting(2, size=2 * BLOCK))
        assert spool.held_bytes == BLOCK + 3 * BLOCK
        files = [path.stat().st_size for path in tmp_path.glob("*.frame")]
        assert spool.held_bytes >= sum(files)


def test_there_is_no_room_while_everything_is_out(tmp_path: Path) -> None:
    with Spool(tmp_path, 2 * BLOCK) as spool:
        spool.put(waiting(1))
        spool.put(waiting(2))
        spool.newest()
        spool.newest()
        assert [ticket.frame for ticket in spool.put(waiting(3))] == [3]
        assert spool.held_bytes == 2 * BLOCK
        assert len(list(tmp_path.glob("*.frame"))) == 2


def test_what_is_out_is_not_given_out_again_until_it_is_given_back(tmp_path: Path) -> None:
    with Spool(tmp_path, ROOM) as spool:
        spool.put(waiting(1))
        first = spool.newest()
        assert first is not None
        assert spool.newest() is None
        spool.give_back(first.key)
        spool.give_back(first.key)
        assert spool.newest() == first
        assert spool.newest() is None


def test_what_is_put_out_waits_for_being_given_back(tmp_path: Path) -> None:
    with Spool(tmp_path, ROOM) as spool:
        spool.put(waiting(1), out=True)
        assert (len(spool), spool.waiting) == (1, 0)
        assert spool.newest() is None
        spool.give_back(waiting(1).key)
        assert spool.newest() == waiting(1)


def test_a_part_that_was_answered_never_comes_back(tmp_path: Path) -> None:
    one, other = waiting(1).pictures[0], SpooledPicture(BoundingBox(0, 0, 1, 1), b"rest", track=4)
    both = replace(waiting(1), pictures=(one, other))
    rest = replace(both, pictures=(other,))
    assert rest.key == both.key
    with Spool(tmp_path, ROOM) as spool:
        spool.put(both)
        assert spool.newest() == both
        spool.shorten(rest)
        assert spool.newest() == rest
    with Spool(tmp_path, ROOM) as again:
        assert again.newest() == rest


def test_another_run_finds_what_was_left_and_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    with Spool(tmp_path, ROOM) as spool:
        for number in (1, 2, 3):
            spool.put(waiting(number))
        out = spool.newest()
        assert out is not None
        spool.acknowledge(out.key)
        spool.newest()  # out when the run ends: nobody knows whether it arrived
    with Spool(tmp_path, ROOM) as again:
        assert drained(again) == [2, 1]
    assert not tmp_path.exists()  # nothing is left to keep


def test_the_same_frame_is_kept_once(tmp_path: Path) -> None:
    with Spool(tmp_path, ROOM) as spool:
        spool.put(waiting(1))
        assert spool.put(waiting(1)) == ()
        assert len(spool) == 1
        assert drained(spool) == [1]


def test_other_frames_have_other_keys() -> None:
    one = waiting(1)
    others = [
        replace(one, backend="other"),
        replace(one, camera=CameraId("door")),
        replace(one, frame=2),
        replace(one, captured_at=START),
    ]
    assert len({one.key, *(other.key for other in others)}) == 5


def test_a_file_cut_short_by_a_crash_is_not_there(tmp_path: Path) -> None:
    with Spool(tmp_path, ROOM) as spool:
        spool.put(waiting(1))
        spool.put(waiting(2))
    newest = max(tmp_path.glob("*.frame"))
    (tmp_path / "00000000000000000009-abc.unfinished").write_bytes(b"half")
    newest.write_bytes(newest.read_bytes()[:-1])
    with Spool(tmp_path, ROOM) as again:
        assert drained(again) == [1]
        assert again.damaged() == (None,)
        assert again.damaged() == ()


def test_a_damaged_frame_is_told_of_by_whoever_put_it(tmp_path: Path) -> None:
    with Spool(tmp_path, ROOM) as spool:
        spool.put(waiting(1))
        spool.put(waiting(2))
        min(tmp_path.glob("*.frame")).unlink()
        assert drained(spool) == [2]
        (ticket,) = spool.damaged()
        assert ticket is not None
        assert ticket.frame == 1
        assert spool.held_bytes == 0


@given(data=st.binary(max_size=300))
def test_anything_else_is_not_a_frame(data: bytes) -> None:
    with pytest.raises(ValueError, match="damaged"):
        SpooledFrame.from_bytes(data)


@given(place=st.integers(0, 200), value=st.integers(0, 255))
def test_a_changed_byte_is_noticed(place: int, value: int) -> None:
    whole = waiting(1).to_bytes()
    changed = bytearray(whole)
    changed[place % len(whole)] = value
    if bytes(changed) == whole:
        return
    with pytest.raises(ValueError, match="damaged"):
        SpooledFrame.from_bytes(bytes(changed))


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["put", "put", "take", "answer", "fail"]), st.integers(0, 30)),
        max_size=40,
    ),
    blocks=st.integers(1, 12),
)
@settings(max_examples=40, deadline=None)
def test_every_frame_is_answered_given_up_or_there_and_the_limit_holds(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], blocks: int
) -> None:
    put: set[int] = set()
    out: list[SpooledFrame] = []
    given_up: list[int] = []
    answered: list[int] = []
    with Spool(tmp_path_factory.mktemp("spool"), blocks * BLOCK) as spool:
        for what, number in steps:
            if what == "put" and number not in put:
                put.add(number)
                given_up += [one.frame for one in spool.put(waiting(number, size=900 * number))]
            elif what == "take" and (one := spool.newest()) is not None:
                out.append(one)
            elif what == "answer" and out:
                answered.append(out[0].frame)
                spool.acknowledge(out.pop(0).key)
            elif what == "fail" and out:
                spool.give_back(out.pop().key)
            assert spool.held_bytes <= blocks * BLOCK
        there = [ticket.frame for ticket in spool.tickets()]
        assert sorted([*answered, *given_up, *there]) == sorted(put)


def test_only_one_at_a_time_may_use_it(tmp_path: Path) -> None:
    with Spool(tmp_path, ROOM) as spool:
        spool.put(waiting(1))
        with pytest.raises(OutputError, match="in use"):
            Spool(tmp_path, ROOM)
    with Spool(tmp_path, ROOM) as again:
        assert len(again) == 1


def test_a_full_disk_is_told_and_leaves_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with Spool(tmp_path, 2 * BLOCK) as spool:
        spool.put(waiting(1))
        spool.put(waiting(2))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OutputError, match="No space left"):
                spool.put(waiting(3))
        assert not list(tmp_path.glob("*.unfinished"))
        # nothing was given up for what could not be written
        assert drained(spool) == [2, 1]


def test_a_folder_that_cannot_be_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="spool"):
        Spool(tmp_path / "file", 1000)


@pytest.mark.parametrize("name", ["captured_at", "came_at"])
def test_a_time_without_a_zone_is_refused(name: str) -> None:
    naive: Any = {name: datetime(2026, 5, 1)}  # noqa: DTZ001 - what is refused
    with pytest.raises(ValueError, match="time zone"):
        replace(waiting(1), **naive)


@pytest.mark.parametrize(
    ("text", "size"),
    [("500MB", 500_000_000), ("1.5 GB", 1_500_000_000), ("20kB", 20_000), (" 8 B ", 8)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "500", "0MB", "-1MB", "5 mb", "5Mb", "1e3MB", "nan GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not a size"):
        parse_size(text)
