"""A run that did nothing fails, with a line that says why; one that did something does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.cli import jobs, run
from rekadapter.cli.feed_reports import RunResult, written_up
from rekadapter.cli.nothing import refuse_nothing
from rekadapter.cli.runs import finish_run
from rekadapter.cli.session import OpenBackend
from rekadapter.errors import (
    BackendError,
    FeedError,
    OutputError,
    RekadapterError,
    ServiceUnavailableError,
)
from rekadapter.evaluation.summary import summarize
from rekadapter.feeds import FeedSpec
from rekadapter.imaging import encode_jpeg
from rekadapter.pipeline import RunOptions
from rekadapter.sinks import read_run
from rekadapter.testing.drawn import DrawnFace, picture, portrait
from rekadapter.testing.runs import RunBuilder
from rekadapter.types import CameraId, GalleryId, Identification, SubjectId
from tests.evaluate.drawn_people import people_folders

GALLERY = GalleryId("staff")


class _Down(MemoryRecognizer):
    """A service that answers nothing."""

    def identify(self, *_: Any, **__: Any) -> Identification:
        raise ServiceUnavailableError("the service is down")


def _run(recognizer: MemoryRecognizer, source: Path) -> RunResult:
    recognizer.create_gallery(GALLERY)
    recognizer.enroll(GALLERY, portrait("ann"), subject=SubjectId("ann"))
    opened = OpenBackend("here", recognizer, recognizer.capabilities.default_threshold)
    spec = FeedSpec(CameraId("door"), str(source))
    out = source.with_name("run")
    request = jobs.RunRequest((spec,), GALLERY, out, "rekadapter run door", RunOptions())
    return jobs.run_opened([opened], jobs.Uplink.capped_at(None), request)


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    file = tmp_path / "1.jpg"
    file.write_bytes(encode_jpeg(picture(DrawnFace("ann", 100, 100, 200)), 90))
    return file


def test_a_run_whose_only_picture_cannot_be_read_fails(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_text("not a picture")
    result = _run(MemoryRecognizer(), tmp_path / "1.jpg")
    with pytest.raises(FeedError, match="none of 1 frames can be read") as failure:
        refuse_nothing(result.directory, result.summary)
    assert failure.value.exit_code == 2


def test_a_run_whose_backend_never_answered_fails_with_its_words(photograph: Path) -> None:
    result = _run(_Down(), photograph)
    with pytest.raises(BackendError, match="here answered none of 1 frames: the service is down"):
        refuse_nothing(result.directory, result.summary)


def test_a_run_that_saw_nobody_has_done_its_work(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(encode_jpeg(picture(), 90))
    result = _run(MemoryRecognizer(), tmp_path / "1.jpg")
    refuse_nothing(result.directory, result.summary)


@pytest.mark.parametrize(
    ("cause", "complaint"),
    [
        ("no_motion", None),
        ("price_cap", "was asked about no frame: 100 price cap"),
        ("unreadable_image", "none of 100 frames can be read"),
    ],
)
def test_frames_lost_to_one_cause(cause: str, complaint: str | None, tmp_path: Path) -> None:
    builder = RunBuilder(cameras={"lobby": 100})
    builder.drop("rekognition", "lobby", range(100), cause)
    builder.write(tmp_path / "run")
    summary = summarize(read_run(tmp_path / "run"))
    if complaint is None:
        refuse_nothing(tmp_path / "run", summary)
        return
    with pytest.raises(RekadapterError, match=complaint):
        refuse_nothing(tmp_path / "run", summary)


def test_an_interrupted_run_is_not_blamed(tmp_path: Path) -> None:
    builder = RunBuilder(cameras={"lobby": 0}, state="interrupted")
    builder.write(tmp_path / "run")
    refuse_nothing(tmp_path / "run", summarize(read_run(tmp_path / "run")))


def test_a_run_that_never_said_how_it_ended_is_not_called_running(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RunBuilder(cameras={"lobby": 7}, state="running").write(tmp_path / "run")
    assert run(["report", str(tmp_path / "run")]) == 0
    assert "run going on, or killed" in capsys.readouterr().out


def test_an_interrupted_run_says_what_waits_for_the_uplink(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    builder = RunBuilder(cameras={"lobby": 7}, state="interrupted")
    builder.drop("rekognition", "lobby", range(7), "spooled")
    builder.write(tmp_path / "run")
    with pytest.raises(typer.Exit) as end:
        finish_run(written_up(tmp_path / "run"), as_json=False)
    assert end.value.exit_code == 130
    told = capsys.readouterr().err
    assert "the run was interrupted" in told
    assert f"7 frames wait for the uplink: rekadapter spool drain {tmp_path / 'run'}" in told


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OutputError("the disk is full")])
def test_a_run_whose_report_is_not_finished_is_kept_and_named(
    error: BaseException,
    photograph: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken_off(_: Path) -> RunResult:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "written_up", broken_off)
        with pytest.raises(type(error)):
            _run(MemoryRecognizer(), photograph)
    directory = photograph.with_name("run")
    assert f"rekadapter report {directory}" in capsys.readouterr().err
    assert run(["report", str(directory)]) == 0


def test_ctrl_c_in_any_command_is_said(
    photograph: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MemoryRecognizer, "detect", interrupted)
    assert run(["detect", str(photograph), "-b", "memory"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_evaluation_that_got_no_answer_fails_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = people_folders(tmp_path / "people", 4)
    monkeypatch.setattr(MemoryRecognizer, "identify", _Down.identify)
    arguments = ["evaluate", str(data), "-b", "memory", "--out", str(tmp_path / "out")]
    assert run(arguments) == 3
    shown = capsys.readouterr().err
    assert "memory answered none of" in shown
    assert "--retry-failed" in shown


def test_the_exit_codes_are_in_the_reference() -> None:
    page = Path(__file__).parents[1] / "docs" / "cli.md"
    assert "a run of which no frame could be read" in page.read_text(encoding="utf-8")
