"""The chain: what is changed, taken out, put in or moved is named by the first record it breaks."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rekadapter.errors import BrokenChainError, OutputError
from rekadapter.sinks.chain import ORIGIN, ChainedLog, read_chain

NOW = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)


def _log(path: Path, records: int) -> str:
    log = ChainedLog(path, clock=lambda: NOW)
    for number in range(records):
        log.append("said", json.dumps({"number": number, "name": "Łucja % {}\u2028"}).encode())
    log.close()
    return log.head


def test_anybody_can_check_it_with_a_hash_and_a_json_reader(tmp_path: Path) -> None:
    head = _log(tmp_path / "log", 5)
    before = ORIGIN
    for n, line in enumerate((tmp_path / "log").read_bytes().split(b"\n")[:-1]):
        held = json.loads(line)
        assert (held["n"], held["previous"], held["at"]) == (n, before, "2026-11-01T12:30:00Z")
        before = hashlib.sha256(line).hexdigest()
    assert before == head


def test_a_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    _log(tmp_path / "log", 3)
    head = _log(tmp_path / "log", 2)
    read = list(read_chain(tmp_path / "log"))
    assert [one.link.n for one in read] == [0, 1, 2, 3, 4]
    assert read[-1].sha256 == head


def test_a_line_that_a_killed_writer_left_half_is_taken_off(tmp_path: Path) -> None:
    _log(tmp_path / "log", 3)
    whole = (tmp_path / "log").read_bytes()
    (tmp_path / "log").write_bytes(whole[:-15])
    assert len(list(read_chain(tmp_path / "log"))) == 2
    _log(tmp_path / "log", 1)
    assert len(list(read_chain(tmp_path / "log"))) == 3


def _broken_at(path: Path, lines: list[bytes]) -> int | None:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    try:
        list(read_chain(path))
    except BrokenChainError as error:
        return error.record
    return None


@pytest.mark.parametrize(
    ("name", "broken"), [("taken out", 3), ("put in", 4), ("swapped", 3), ("said otherwise", 4)]
)
def test_the_first_record_that_does_not_fit_is_named(
    name: str, broken: int, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    _log(path, 8)
    lines = path.read_bytes().split(b"\n")[:-1]
    changed = {
        "taken out": lines[:3] + lines[4:],
        "put in": [*lines[:4], lines[3], *lines[4:]],
        "swapped": [*lines[:3], lines[4], lines[3], *lines[5:]],
        "said otherwise": [
            *lines[:3],
            lines[3].replace(b'"number": 3', b'"number": 9'),
            *lines[4:],
        ],
    }
    assert _broken_at(path, changed[name]) == broken


def test_the_last_record_is_held_by_the_head_alone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    head = _log(path, 4)
    lines = path.read_bytes().split(b"\n")[:-1]
    assert _broken_at(path, [*lines[:3], lines[3].replace(b'"number": 3', b'"number": 9')]) is None
    assert head not in [one.sha256 for one in read_chain(path)]


@settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.floats(0, 1, exclude_max=True), put=st.binary(max_size=3), cut=st.integers(0, 3))
def test_no_change_leaves_both_the_chain_and_the_head_as_they_were(
    place: float, put: bytes, cut: int, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    path.unlink(missing_ok=True)
    head = _log(path, 6)
    data = path.read_bytes()
    at = int(place * len(data))
    changed = data[:at] + put + data[at + cut :]
    path.write_bytes(changed)
    try:
        hashes = [one.sha256 for one in read_chain(path)]
    except BrokenChainError:
        return
    assert (head in hashes) == changed.startswith(data)


def test_a_damaged_log_is_not_added_to(tmp_path: Path) -> None:
    _log(tmp_path / "log", 3)
    (tmp_path / "log").write_bytes((tmp_path / "log").read_bytes().replace(b'"n":1', b'"n":7'))
    with pytest.raises(BrokenChainError, match="record 1 "):
        ChainedLog(tmp_path / "log")


def test_a_log_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="gone"):
        ChainedLog(tmp_path / "gone" / "log")


def test_while_somebody_adds_to_a_log_nobody_else_can_and_then_they_can(tmp_path: Path) -> None:
    path = tmp_path / "log"
    first = ChainedLog(path)
    first.append("said", b"{}")
    with pytest.raises(OutputError, match="added to by another process"):
        ChainedLog(path, wait_seconds=0)
    first.close()
    _log(path, 1)
    assert [one.link.n for one in read_chain(path)] == [0, 1]


def test_who_has_read_a_log_reads_only_what_came_after(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = ChainedLog(path)
    log.append("began", b"{}")
    log.close()
    known = log.verified
    _log(path, 2)
    assert [one.link.n for one in read_chain(path, known)] == [1, 2]
    again = ChainedLog(path, after=known)
    again.append("said", b"{}")
    again.close()
    read = list(read_chain(path))
    assert (len(read), read[-1].sha256) == (4, again.head)
    assert again.verified.size == path.stat().st_size


def test_what_others_added_and_does_not_fit_is_not_added_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = ChainedLog(path)
    log.append("began", b"{}")
    log.close()
    with path.open("ab") as file:
        file.write(b'{"n":1,"at":"2026-11-01T12:30:00Z","previous":"00","kind":"a","record":{}}\n')
    with pytest.raises(BrokenChainError, match="record 1 "):
        ChainedLog(path, after=log.verified)
    with pytest.raises(BrokenChainError, match="record 1 "):
        ChainedLog(path, after=log.verified)
