"""Reviews in the audit log: old ones read on, and several people add to one log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rekadapter.sinks.audit import AUDIT_FILE, Reviewed, Verdict
from rekadapter.sinks.audit_check import check_log
from rekadapter.sinks.chain import ChainedLog
from rekadapter.sinks.review_log import ReviewLog, read_run_log
from rekadapter.testing.runs import RunBuilder, Transit, local_backend


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    builder = RunBuilder(backends=(local_backend(),), cameras={"lobby": 40})
    builder.transit("local", Transit("lobby", 0, 9))
    builder.transit("local", Transit("lobby", 20, 29, subject="ann"))
    builder.write(tmp_path / "run")
    return tmp_path / "run"


def decision(by: str, seconds: float | None = 1.5) -> Reviewed:
    return Reviewed("local", "lobby", 2, Verdict.CONFIRMED, by, "", seconds)


def test_a_review_of_an_older_version_has_no_seconds_and_still_verifies(directory: Path) -> None:
    log = ChainedLog(directory / AUDIT_FILE)
    old = {"system": "local", "camera": "lobby", "track": 2, "verdict": "confirmed", "by": "a",
           "note": ""}  # fmt: skip
    log.append("reviewed", json.dumps(old).encode())
    log.close()
    ReviewLog(directory).add([decision("b")])
    assert check_log(directory).intact
    found = read_run_log(directory)
    assert found is not None
    assert [one.decision for one in found.reviews] == [decision("a", None), decision("b")]


def test_two_logs_open_at_a_time_take_turns(directory: Path) -> None:
    first, second = ReviewLog(directory), ReviewLog(directory)
    for _ in range(3):
        first.add([decision("a")])
        head = second.add([decision("b"), decision("c")])
    findings = check_log(directory)
    assert findings.intact
    assert findings.head == head
    found = read_run_log(directory)
    assert found is not None
    assert "".join(one.decision.by for one in found.reviews) == "abc" * 3
    assert found.reviews[-1].sha256 == head.sha256


def test_the_log_says_when_the_first_track_and_the_first_name_were_decided(
    directory: Path,
) -> None:
    lines = [json.loads(line) for line in (directory / AUDIT_FILE).read_bytes().splitlines()]
    said = [one["at"] for one in lines if one["kind"] == "said"]
    found = read_run_log(directory)
    assert found is not None
    times = (found.began, found.first_said, found.first_name)
    shown = [one.isoformat().replace("+00:00", "Z") for one in times if one is not None]
    assert shown == [lines[0]["at"], said[0], said[1]]


def test_a_log_that_is_missing_or_broken_gives_nothing(directory: Path, tmp_path: Path) -> None:
    assert read_run_log(tmp_path) is None
    log = directory / AUDIT_FILE
    log.write_bytes(log.read_bytes().replace(b'"n":3,', b'"n":4,'))
    assert read_run_log(directory) is None
