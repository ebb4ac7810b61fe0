"""A damaged run directory: its report warns, whatever is missing, and never falls over."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rekadapter.cli import run as rekadapter
from rekadapter.errors import RekadapterError
from rekadapter.evaluation.report import render_report
from rekadapter.evaluation.summary import summarize, write_summary
from rekadapter.sinks.audit import AUDIT_FILE
from rekadapter.sinks.run_directory import (
    ANSWERS_FILE,
    LEDGER_FILE,
    OBSERVATIONS_FILE,
    RUN_FILE,
    TRACKS_FILE,
    read_run,
)
from rekadapter.testing.runs import RunBuilder, Transit

LINES = (OBSERVATIONS_FILE, TRACKS_FILE, LEDGER_FILE, ANSWERS_FILE, AUDIT_FILE)


def _builder(state: str = "finished") -> RunBuilder:
    builder = RunBuilder(cameras={"lobby": 30, "gate": 20}, state=state)
    builder.transit("local", Transit("lobby", 2, 12, subject="ann"))
    builder.transit("local", Transit("lobby", 5, 9, left=0.6))
    builder.transit("rekognition", Transit("gate", 2, 12))
    builder.drop("rekognition", "lobby", range(25, 30), "stopped")
    builder.fail("rekognition", "gate", range(15, 18))
    builder.request("rekognition", "lobby")
    return builder


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    _builder().write(tmp_path / "run")
    return tmp_path / "run"


def _lines(file: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True))))


def _warned(directory: Path) -> str:
    summary = write_summary(directory)
    assert summary.doubts
    return " ".join(summary.doubts)


@pytest.mark.parametrize("state", ["finished", "interrupted", "failed", "running"])
def test_a_whole_run_raises_no_doubt(state: str, tmp_path: Path) -> None:
    _builder(state).write(tmp_path / "run")
    assert write_summary(tmp_path / "run").doubts == ()


def test_the_page_says_what_the_summary_says(directory: Path) -> None:
    assert "This run is damaged" not in render_report(directory).read_text(encoding="utf-8")
    _lines(directory / OBSERVATIONS_FILE, lambda lines: lines[: len(lines) // 2])
    page = render_report(directory).read_text(encoding="utf-8")
    assert "This run is damaged" in page
    assert "observations.jsonl speaks of" in page


def test_answers_that_were_cut_away_are_missed(directory: Path) -> None:
    _lines(directory / OBSERVATIONS_FILE, lambda lines: lines[: len(lines) // 2])
    assert "observations.jsonl speaks of" in _warned(directory)


def test_one_face_of_a_frame_with_two_is_missed(directory: Path) -> None:
    seen = read_run(directory).observations
    two = [one for one in seen if (one.camera, one.backend, one.frame) == ("lobby", "local", 7)]
    assert len(two) == 2
    _lines(
        directory / OBSERVATIONS_FILE,
        lambda lines: [line for place, line in enumerate(lines) if seen[place] is not two[1]],
    )
    assert "rest on more faces than observations.jsonl holds" in _warned(directory)


def test_tracks_that_were_cut_away_are_missed(directory: Path) -> None:
    _lines(directory / TRACKS_FILE, lambda lines: lines[:-1])
    assert "tracks.jsonl lacks 1 tracks" in _warned(directory)


def test_a_track_that_stands_twice_is_noticed(directory: Path) -> None:
    _lines(directory / TRACKS_FILE, lambda lines: [*lines, lines[0]])
    assert "twice" in _warned(directory)


def test_a_last_line_cut_within_is_noticed(directory: Path) -> None:
    file = directory / TRACKS_FILE
    file.write_bytes(file.read_bytes()[:-20])
    assert "last line of tracks.jsonl is cut off" in _warned(directory)


@pytest.mark.parametrize("name", LINES)
def test_a_file_that_is_gone_is_noticed(name: str, directory: Path) -> None:
    (directory / name).unlink()
    warned = _warned(directory)
    assert f"{name} is missing" in warned or f"there is no {name}" in warned


def test_lines_of_another_run_are_noticed(directory: Path) -> None:
    file = directory / OBSERVATIONS_FILE
    file.write_bytes(file.read_bytes().replace(b'"camera":"gate"', b'"camera":"yard"'))
    assert "cameras or systems that run.json does not know" in _warned(directory)


def test_a_killed_run_made_no_counts_but_its_log_misses_the_lines(tmp_path: Path) -> None:
    _builder("running").write(tmp_path / "run")
    _lines(tmp_path / "run" / OBSERVATIONS_FILE, lambda lines: lines[:10])
    doubts = summarize(read_run(tmp_path / "run")).doubts
    assert doubts == ("observations.jsonl ends before its line 11",)


def test_the_terminal_warns_too(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _lines(directory / OBSERVATIONS_FILE, lambda lines: lines[:3])
    assert rekadapter(["report", str(directory)]) == 0
    shown = capsys.readouterr()
    assert "warning: this run is damaged: observations.jsonl" in shown.err
    assert "DAMAGED" in shown.out


def _damage(name: str, at: float, cut: int, put: bytes, directory: Path) -> Path:
    damaged = directory.with_name("damaged")
    shutil.rmtree(damaged, ignore_errors=True)
    shutil.copytree(directory, damaged)
    data = (damaged / name).read_bytes()
    place = int(at * len(data))
    (damaged / name).write_bytes(data[:place] + put + data[place + cut :])
    return damaged


SAME_RUN = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
DAMAGE = {
    "name": st.sampled_from([RUN_FILE, *LINES]),
    "at": st.floats(0, 1),
    "cut": st.integers(0, 400),
    "put": st.binary(max_size=40),
}


@settings(SAME_RUN, max_examples=80)
@given(**DAMAGE)
def test_whatever_is_damaged_is_counted_or_a_clear_error(
    name: str, at: float, cut: int, put: bytes, directory: Path
) -> None:
    damaged = _damage(name, at, cut, put, directory)
    with contextlib.suppress(RekadapterError):
        write_summary(damaged)


@settings(SAME_RUN, max_examples=8)
@given(**DAMAGE)
def test_whatever_is_damaged_is_a_page_or_a_clear_error(
    name: str, at: float, cut: int, put: bytes, directory: Path
) -> None:
    damaged = _damage(name, at, cut, put, directory)
    with contextlib.suppress(RekadapterError):
        render_report(damaged)
