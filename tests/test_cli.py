"""The command line as a user meets it: exit codes, JSON, and never a traceback."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from rekadapter.cli import run
from rekadapter.imaging import encode_jpeg
from rekadapter.testing.drawn import DrawnFace, picture, portrait


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a roster of two drawn people and a few pictures."""
    for who in ("ann", "bob"):
        folder = tmp_path / "roster" / who
        folder.mkdir(parents=True)
        (folder / "1.jpg").write_bytes(encode_jpeg(portrait(who), 90))
    (tmp_path / "nobody.jpg").write_bytes(encode_jpeg(picture(), 90))
    (tmp_path / "notes.jpg").write_text("not a picture")
    group = picture(DrawnFace("ann", 40, 100, 160), DrawnFace("eve", 360, 100, 120))
    (tmp_path / "group.jpg").write_bytes(encode_jpeg(group, 90))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REKADAPTER_BACKEND", "memory")
    return tmp_path


def test_verify_says_no_with_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "roster/ann/1.jpg", "group.jpg"]) == 0
    assert run(["verify", "roster/ann/1.jpg", "roster/bob/1.jpg"]) == 1
    assert run(["verify", "nobody.jpg", "roster/bob/1.jpg"]) == 1
    assert "no face in the source image" in capsys.readouterr().out


def test_json_is_one_document_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["detect", "group.jpg", "--json"]) == 0
    faces = json.loads(capsys.readouterr().out)["faces"]
    assert [round(face["box"]["width"] * 640) for face in faces] == [160, 120]


def test_enroll_names_whom_it_could_not_enroll(
    in_a_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = in_a_folder / "roster" / "carol"
    folder.mkdir()
    (folder / "1.jpg").write_bytes((in_a_folder / "nobody.jpg").read_bytes())
    (folder / "2.jpg").write_text("not a picture")
    assert run(["enroll", "roster", "--gallery", "G"]) == 1
    shown = capsys.readouterr()
    assert "carol" in shown.out
    assert "NO_FACE" in shown.err
    assert "2.jpg" in shown.err


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["detect", "gone.jpg"], 2, "gone.jpg cannot be read"),
        (["detect", "notes.jpg"], 2, "notes.jpg"),
        (["detect", "group.jpg", "-b", "clowd"], 2, "no backend 'clowd'"),
        (["identify", "group.jpg"], 2, "no gallery named"),
        (["identify", "group.jpg", "-g", "G"], 2, "no gallery 'G'"),
        (["identify", "group.jpg", "-g", "two words"], 2, "cannot name a gallery"),
        (["enroll", "roster/ann/1.jpg", "-g", "G"], 2, "--subject"),
        (["enroll", "gone", "-g", "G"], 2, "neither a folder nor an image"),
        (["verify", "group.jpg", "group.jpg", "-t", "high"], 2, "'high' is not a threshold"),
        (["verify", "group.jpg", "group.jpg", "-t", "101"], 2, "between 0 and 100"),
        (["gallery", "remove", "G"], 2, "--subject"),
        (["gallery", "show"], 2, "Missing argument"),
        (["galery"], 2, "No such command"),
        (["--config", "gone.toml", "gallery", "list"], 2, "gone.toml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_is_one_clear_line(
    arguments: list[str], code: int, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == code
    shown = capsys.readouterr()
    assert complaint in shown.err
    assert shown.err.count("\n") == 1
    assert "Traceback" not in shown.err + shown.out


def test_an_unknown_key_in_the_settings_is_named(
    in_a_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (in_a_folder / "rekadapter.toml").write_text('galery = "G"\n')
    assert run(["gallery", "list"]) == 2
    assert "unknown key 'galery'" in capsys.readouterr().err


def test_an_unknown_backend_option_is_named(
    in_a_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (in_a_folder / "rekadapter.toml").write_text("[backends.memory]\nspeed = 11\n")
    assert run(["gallery", "list"]) == 2
    assert "speed" in capsys.readouterr().err


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert "Commands:" in capsys.readouterr().out


@pytest.mark.parametrize("option", [["-t", "memroy=99"], ["-t", "=5"]])
def test_a_misspelt_backend_in_a_flag_is_not_left_out_silently(
    option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", "group.jpg", "group.jpg", *option]) == 2
    assert "is used here, only memory" in capsys.readouterr().err


def test_a_pipe_is_not_waited_for(in_a_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(in_a_folder / "pipe.jpg")
    assert run(["detect", "pipe.jpg"]) == 2
    assert "is not a file" in capsys.readouterr().err


def test_nobody_to_ask_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["gallery", "delete", "G"]) == 2
    assert "--yes" in capsys.readouterr().err


def test_a_roster_with_an_unreadable_name_is_refused_before_anything_is_enrolled(
    in_a_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = os.fsencode(in_a_folder / "roster") + b"/\xff\xfe"
    try:
        os.mkdir(folder)  # noqa: PTH102 - the name is no text
        Path(os.fsdecode(folder), "1.jpg").write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes no such names")
    assert run(["enroll", "roster", "-g", "G"]) == 2
    assert "not valid text" in capsys.readouterr().err
