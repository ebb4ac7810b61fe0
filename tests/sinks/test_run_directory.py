"""The run directory: what goes in comes out, whatever moment the writer was killed at."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rekadapter.errors import OutputError, UsageError
from rekadapter.observation import (
    BackendRecord,
    CameraRecord,
    CandidateRecord,
    Decision,
    LedgerEntry,
    Observation,
    RunRecord,
    TrackRecord,
)
from rekadapter.recognizer import RequestRecord
from rekadapter.sinks import Ledger, OriginalAnswer, RunDirectory, RunOutcome, read_run
from rekadapter.sinks.audit_check import check_log
from rekadapter.sinks.run_directory import (
    LEDGER_FILE,
    OBSERVATIONS_FILE,
    RUN_FILE,
    TRACKS_FILE,
    _Lines,
)
from rekadapter.sinks.whole_files import RESERVED_BYTES, RESERVED_FILE
from rekadapter.types import (
    BoundingBox,
    CameraId,
    FaceId,
    FaceQuality,
    Pose,
    Reason,
    ScoreScale,
    SubjectId,
)

NOW = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)
LOBBY = CameraId("lobby")

RECORD = RunRecord(
    schema_version=1,
    run_id="r1",
    tool_version="0.1.0",
    command="rekadapter run lobby.mp4",
    started_at=NOW,
    ended_at=None,
    state="running",
    gallery="staff",
    backends=(
        BackendRecord("memory", "memory", "memory-1", 80.0, ScoreScale("s", 0, 100), remote=False),
    ),
    cameras=(),
    settings={"fps": 5.0, "uplink": None, "keep_faces": True, "limit": 5, "gallery": "staff"},
    host={"cpu": "two"},
    versions={"numpy": "2"},
    input_hashes={"lobby": "abc"},
    notes=("the media is synthetic",),
)

OUTCOME = RunOutcome(
    "finished",
    NOW,
    (CameraRecord(LOBBY, "lobby.mp4", 64, 48, 3, {"memory": 2}, {"memory": {"stopped": 1}}),),
)

KNOWN = Observation(
    backend="memory",
    camera=LOBBY,
    frame=7,
    seconds=0.28,
    decision=Decision(
        SubjectId("Zoë 王 \u2028"),
        None,
        CandidateRecord(FaceId("f"), SubjectId("Zoë 王 \u2028"), 97.5, "s", 0.4, "distance"),
        1,
        1,
    ),
    latency_seconds=0.0125,
    box=BoundingBox(-0.01, 0.2, 0.3, 0.1),
    confidence=99.5,
    eye_distance_px=31.25,
    pose=Pose(1.0, -2.0, 3.0),
    quality=FaceQuality(80.0, 60.0),
    track=3,
    candidates=(CandidateRecord(FaceId("f"), None, 97.5, "s"),),
)

FAILED = Observation(
    "memory", LOBBY, 8, 0.32, Decision(None, Reason.REQUEST_FAILED, None), 1.0, error="away"
)

TRACK = TrackRecord(
    "memory",
    LOBBY,
    3,
    0.0,
    0.28,
    7,
    Decision(None, Reason.TOO_FEW_SIGHTINGS, None, 7, 1),
    31.25,
    "camera1.jpg",
)


def request(number: int = 0) -> RequestRecord:
    return RequestRecord(
        "rekognition", "SearchFacesByImage", NOW, 100 + number, 50, "socket", 0.1, 0.2, 1, "ok"
    )


def test_everything_written_is_read_back_the_same(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "a" / "run", RECORD)
    directory.observe(KNOWN)
    directory.observe(FAILED)
    directory.end_track(TRACK)
    with directory.attributed_to(LOBBY, 7):
        directory.ledger.record(request())
    directory.finish(OUTCOME)
    run = read_run(tmp_path / "a" / "run")
    assert run.record == replace(
        RECORD, state="finished", ended_at=NOW, cameras=OUTCOME.cameras, error=None
    )
    assert run.observations == (KNOWN, FAILED)
    assert run.tracks == (TRACK,)
    assert run.ledger == (LedgerEntry(request(), LOBBY, 7),)


def test_a_run_that_is_still_going_can_be_read(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "run", RECORD)
    directory.observe(KNOWN)
    run = read_run(tmp_path / "run")
    assert run.record.state == "running"
    assert run.observations == (KNOWN,)
    directory.finish(OUTCOME)


def test_every_line_is_json_by_itself(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path, RECORD)
    directory.observe(KNOWN)
    directory.observe(FAILED)
    directory.finish(OUTCOME)
    lines = (tmp_path / OBSERVATIONS_FILE).read_text(encoding="utf-8").split("\n")
    assert [json.loads(line)["frame"] for line in lines[:-1]] == [7, 8]
    assert lines[-1] == ""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.integers(0, 3000))
def test_a_file_cut_anywhere_gives_its_whole_lines(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "run"
    if not path.exists():
        directory = RunDirectory.create(path, RECORD)
        for _ in range(3):
            directory.observe(KNOWN)
        directory.finish(OUTCOME)
        (tmp_path / "whole").write_bytes((path / OBSERVATIONS_FILE).read_bytes())
    whole = (tmp_path / "whole").read_bytes()
    kept = whole[: min(cut, len(whole))]
    (path / OBSERVATIONS_FILE).write_bytes(kept)
    assert read_run(path).observations == (KNOWN,) * kept.count(b"\n")


def test_a_process_killed_in_the_middle_leaves_a_readable_run(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import os, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from test_run_directory import KNOWN, RECORD, request
        from rekadapter.sinks import RunDirectory
        directory = RunDirectory.create(Path(sys.argv[1]), RECORD)
        for number in range(50):
            directory.observe(KNOWN)
            directory.ledger.record(request(number))
        os.kill(os.getpid(), 9)
        """
    )
    done = subprocess.run(  # noqa: S603 - our own script in our own interpreter
        [sys.executable, "-c", script, str(tmp_path / "run"), str(Path(__file__).parent)],
        check=False,
    )
    assert done.returncode == -9
    run = read_run(tmp_path / "run")
    assert run.record.state == "running"
    assert len(run.observations) == len(run.ledger) == 50


def test_a_line_damaged_in_the_middle_is_named(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path, RECORD).finish(OUTCOME)
    (tmp_path / TRACKS_FILE).write_text('{"backend": "memory"}\n{}\n', encoding="utf-8")
    with pytest.raises(OutputError, match=r"line 1 of .*tracks\.jsonl is damaged"):
        read_run(tmp_path)


def test_a_directory_with_a_run_is_not_written_into(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path, RECORD).finish(OUTCOME)
    before = (tmp_path / RUN_FILE).read_bytes()
    with pytest.raises(UsageError, match="holds a run already"):
        RunDirectory.create(tmp_path, RECORD)
    assert (tmp_path / RUN_FILE).read_bytes() == before


def test_a_directory_with_other_files_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(UsageError, match="holds other files"):
        RunDirectory.create(tmp_path, RECORD)
    with pytest.raises(UsageError, match="is a file"):
        RunDirectory.create(tmp_path / "thesis.tex", RECORD)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises((OutputError, UsageError), match="another directory with --out"):
        RunDirectory.create(tmp_path / "file" / "run", RECORD)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_an_output_error() -> None:
    lines = _Lines(Path("/dev/full"), Observation)
    with pytest.raises(OutputError, match="cannot be written"):
        lines.append(KNOWN)
    lines.close()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no run directory"),
        ("{", r"run\.json was not written by rekadapter"),
        ("[]", r"run\.json was not written by rekadapter"),
        ('{"name": "other"}', r"run\.json was not written by rekadapter"),
        ('{"schema_version": 99}', "version 99"),
    ],
)
def test_a_foreign_directory_is_told_apart(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / RUN_FILE).write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        read_run(tmp_path)


def test_a_missing_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run directory"):
        read_run(tmp_path / "gone")


def test_faces_and_original_answers_are_kept_beside_the_rest(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path, RECORD)
    directory.keep_face("camera1-track1.jpg", b"jpeg")
    directory.keep_answer(OriginalAnswer("r", LOBBY, 1, "SearchFacesByImage", "id", '{"a": 1}'))
    directory.finish(OUTCOME)
    assert (tmp_path / "faces" / "camera1-track1.jpg").read_bytes() == b"jpeg"
    (line,) = (tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(json.loads(line)["json"]) == {"a": 1}


# --- the ledger -------------------------------------------------------------------------------


def test_requests_before_there_is_a_directory_are_written_first(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.record(request(1))
    directory = RunDirectory.create(tmp_path, RECORD, ledger)
    with ledger.attributed_to(LOBBY, 4):
        ledger.record(request(2))
    ledger.record(request(3))
    directory.finish(OUTCOME)
    entries = read_run(tmp_path).ledger
    assert [entry.request.bytes_sent for entry in entries] == [101, 102, 103]
    assert [(entry.camera, entry.frame) for entry in entries] == [
        (None, None),
        (LOBBY, 4),
        (None, None),
    ]


def test_a_request_after_the_end_does_no_harm(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path, RECORD)
    directory.finish(OUTCOME)
    directory.ledger.record(request())
    assert read_run(tmp_path).ledger == ()


def test_each_thread_is_attributed_its_own_frame(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path, RECORD)
    together = threading.Barrier(4)

    def ask(frame: int) -> None:
        for _ in range(50):
            with directory.attributed_to(LOBBY, frame):
                together.wait()
                directory.ledger.record(request(frame))

    threads = [threading.Thread(target=ask, args=(frame,)) for frame in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    directory.finish(OUTCOME)
    entries = read_run(tmp_path).ledger
    assert len(entries) == 200
    assert all(entry.request.bytes_sent == 100 + (entry.frame or 0) for entry in entries)


def test_the_attribution_ends_with_its_context_even_on_an_error(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path, RECORD)
    with pytest.raises(RuntimeError), directory.attributed_to(LOBBY, 1):
        raise RuntimeError
    directory.ledger.record(request())
    directory.finish(OUTCOME)
    text = (tmp_path / LEDGER_FILE).read_text(encoding="utf-8")
    assert json.loads(text)["camera"] is None


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A disk of so many kB."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("only root can make a small disk here")
    place = tmp_path / "disk"
    place.mkdir()
    size = f"size={request.param}k"
    made = subprocess.run([mount, "-t", "tmpfs", "-o", size, "tmpfs", str(place)], check=False)  # noqa: S603 our own mount
    if made.returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)  # noqa: S603, S607 the mount made above


def fill(directory: RunDirectory) -> None:
    for _ in range(10_000):
        directory.observe(KNOWN)


@pytest.mark.parametrize("small_disk", [100, 101, 112, 160, 300], indirect=True)
def test_a_run_that_fills_the_disk_says_so_and_can_be_read(small_disk: Path) -> None:
    path = small_disk / "run"
    directory = RunDirectory.create(path, RECORD)
    with pytest.raises(OutputError):
        fill(directory)
    error = "the disk is full"
    directory.finish(RunOutcome("failed", NOW, (), error))
    run = read_run(path)
    assert (run.record.state, run.record.error) == ("failed", error)
    assert check_log(path).head.records > 0
    assert not [entry.name for entry in path.iterdir() if entry.suffix == ".partial"]
    assert not (path / RESERVED_FILE).exists()
    assert run.observations


@pytest.mark.parametrize("small_disk", [40], indirect=True)
def test_a_disk_without_room_for_the_end_is_said_at_the_beginning(small_disk: Path) -> None:
    with pytest.raises(OutputError, match="free space there"):
        RunDirectory.create(small_disk / "run", RECORD)
    assert not any((small_disk / "run").iterdir())


def test_room_kept_for_the_end_is_given_back(tmp_path: Path) -> None:
    for end in ("finish", "close"):
        directory = RunDirectory.create(tmp_path / end, RECORD)
        assert (tmp_path / end / RESERVED_FILE).stat().st_size == RESERVED_BYTES
        if end == "finish":
            directory.finish(RunOutcome("finished", NOW, (), None))
        else:
            directory.close()
        assert not (tmp_path / end / RESERVED_FILE).exists()
