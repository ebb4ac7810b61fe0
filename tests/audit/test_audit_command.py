"""``rekadapter audit`` from the command line, on runs and evaluations."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rekadapter.cli import run
from rekadapter.sinks.audit_check import check_log
from rekadapter.testing.runs import RunBuilder, Transit
from tests.evaluate.drawn_people import people_folders


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    builder = RunBuilder(cameras={"lobby": 12})
    builder.transit("local", Transit("lobby", 2, 6, subject="ann"))
    builder.write(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return people_folders(tmp_path_factory.mktemp("data") / "people", 6)


@pytest.fixture(scope="module")
def evaluated(people: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An evaluation and the data directory with the salt of its pseudonyms."""
    folder = tmp_path_factory.mktemp("evaluated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REKADAPTER_DATA_DIR", str(folder / "data"))
        assert _evaluate(people, folder / "out") == 0
    return folder / "out", folder / "data"


@pytest.fixture
def out(evaluated: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the evaluation, for this test alone."""
    monkeypatch.setenv("REKADAPTER_DATA_DIR", str(evaluated[1]))
    return Path(shutil.copytree(evaluated[0], tmp_path / "out"))


def _evaluate(people: Path, out: Path, *more: str) -> int:
    return run(["evaluate", str(people), "-b", "memory", "--out", str(out), *more])


def _head(shown: str) -> str:
    return next(line for line in shown.splitlines() if line.startswith("head: ")).split()[1]


def test_verify_says_yes_and_gives_the_head_to_note(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["audit", "verify", str(directory)]) == 0
    shown = capsys.readouterr()
    assert "intact: 27 records" in shown.out
    assert "only a head noted elsewhere" in shown.err
    head = _head(shown.out)
    assert run(["audit", "verify", str(directory), "--head", head]) == 0
    assert run(["audit", "verify", str(directory), "--head", "0" * 64]) == 1
    assert "the log was written anew" in capsys.readouterr().out


def test_verify_names_the_first_record_that_does_not_fit(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracks = directory / "tracks.jsonl"
    tracks.write_bytes(tracks.read_bytes().replace(b'"ann"', b'"bob"'))
    assert run(["audit", "verify", str(directory)]) == 1
    assert "line 1 of tracks.jsonl is not what was written" in capsys.readouterr().out
    assert run(["audit", "verify", str(directory), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["intact"] is False
    assert answer["findings"]["misfits"][0]["record"] == 25


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "verify", str(tmp_path)]) == 2
    assert "holds no run and no evaluation" in capsys.readouterr().err


def test_a_review_goes_into_the_log_and_changes_nothing_else(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracks = (directory / "tracks.jsonl").read_bytes()
    asked = ["audit", "review", str(directory), "-b", "local", "--camera", "lobby", "--track"]
    decided = ["--verdict", "rejected", "--by", "officer 7", "--note", "another person"]
    assert run([*asked, "1", *decided]) == 0
    assert run([*asked, "9", *decided]) == 2
    assert "holds no track 9" in capsys.readouterr().err
    last = json.loads((directory / "audit.jsonl").read_bytes().splitlines()[-1])
    assert last["kind"] == "reviewed"
    assert last["record"]["verdict"] == "rejected"
    assert (directory / "tracks.jsonl").read_bytes() == tracks
    assert run(["audit", "verify", str(directory)]) == 0


def test_a_truth_given_after_the_results_stands_in_the_log(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = tmp_path / "truth.csv"
    truth.write_text("role,person,camera,enters,leaves\ngallery,ann,,,\ntransit,ann,lobby,0,1\n")
    assert run(["report", str(directory), "--truth", str(truth)]) == 0, capsys.readouterr().err
    lines = (directory / "audit.jsonl").read_bytes().splitlines()
    kinds = [json.loads(line)["kind"] for line in lines]
    assert kinds[-2:] == ["given", "reported"]
    assert run(["audit", "verify", str(directory)]) == 0
    given = directory / "comparison.json"
    given.write_bytes(given.read_bytes().replace(b'"ann"', b'"bob"'))
    assert run(["audit", "verify", str(directory)]) == 1
    assert "comparison.json is not as it was" in capsys.readouterr().out


def test_an_evaluation_keeps_every_answer_and_its_report_in_the_log(
    people: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _evaluate(people, out) == 0
    assert "audit log: " in capsys.readouterr().err
    kinds = [json.loads(line)["kind"] for line in (out / "audit.jsonl").read_bytes().splitlines()]
    answers = len((out / "answers.jsonl").read_bytes().splitlines())
    assert kinds == ["began", *["search"] * answers, "ended", "reported"]
    assert run(["audit", "verify", str(out)]) == 0


def test_changed_rules_and_a_second_sitting_are_told_apart_from_tampering(
    people: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[governance]\npurpose = "a test"\n')
    assert _evaluate(people, out, "--rules", str(rules)) == 0
    assert run(["audit", "verify", str(out)]) == 0
    report = json.loads((out / "report.json").read_bytes())
    assert report["run"]["doubts"] == []
    file = out / "evaluation.json"
    file.write_bytes(file.read_bytes().replace(b"a test", b"a joke"))
    capsys.readouterr()
    assert run(["report", str(out)]) == 0
    assert "warning: this evaluation is damaged: evaluation.json" in capsys.readouterr().err
    assert "made from is damaged" in (out / "report.html").read_text(encoding="utf-8")
    assert run(["audit", "verify", str(out)]) == 1


@pytest.mark.parametrize("change", ["changed", "taken out", "put in", "put at the end"])
def test_an_answer_that_was_tampered_with_is_found(
    change: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = out / "answers.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    changed = {
        "changed": [*lines[:8], lines[8].replace(b'"score":', b'"score":1'), *lines[9:]],
        "taken out": [*lines[:8], *lines[9:]],
        "put in": [*lines, lines[8], lines[8]],
        "put at the end": [*lines, lines[8].replace(b'"score":', b'"score":1')],
    }[change]
    assert changed != lines
    file.write_bytes(b"".join(changed))
    capsys.readouterr()
    assert run(["audit", "verify", str(out)]) == 1
    assert "answers.jsonl" in capsys.readouterr().out
    assert run(["report", str(out)]) == 0
    assert "this evaluation is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["requests.jsonl", "sessions.jsonl"])
def test_a_line_added_after_the_last_sitting_is_found(
    name: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (out / name).open("ab") as file:
        file.write(b"{}\n")
    assert run(["audit", "verify", str(out)]) == 1
    assert f"{name} is not as it was" in capsys.readouterr().out


def test_a_sitting_is_in_the_log_before_its_first_answer(people: Path, out: Path) -> None:
    """So that one killed over its first request is told from lines that somebody added later."""
    answers, audit = out / "answers.jsonl", out / "audit.jsonl"
    assert _evaluate(people, out, "--seed", "6") == 0
    lines = audit.read_bytes().splitlines(keepends=True)
    kinds = [json.loads(line)["kind"] for line in lines]
    again = len(kinds) - 1 - kinds[::-1].index("began")
    audit.write_bytes(b"".join(lines[: again + 1]))
    before = json.loads(lines[again])["record"]["files"]["answers.jsonl"]["lines"]
    kept = answers.read_bytes().splitlines(keepends=True)[: before + 1]
    answers.write_bytes(b"".join(kept))
    (out / "requests.jsonl").write_bytes(b"{}\n")
    assert check_log(out).sources_in_words() == ()


def test_a_stopped_evaluation_goes_on_in_the_same_log(
    people: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # as if killed in the middle: two answers and all that came after them were never written
    answers, audit = out / "answers.jsonl", out / "audit.jsonl"
    answers.write_bytes(b"".join(answers.read_bytes().splitlines(keepends=True)[:-2]))
    audit.write_bytes(b"".join(audit.read_bytes().splitlines(keepends=True)[:-5]))
    (out / "report.json").unlink()
    (out / "report.html").unlink()
    assert _evaluate(people, out) == 0
    capsys.readouterr()
    assert run(["audit", "verify", str(out)]) == 0, capsys.readouterr().out


def test_an_evaluation_with_a_damaged_log_is_not_added_to(
    people: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audit = out / "audit.jsonl"
    audit.write_bytes(audit.read_bytes().replace(b'"n":2', b'"n":5', 1))
    assert _evaluate(people, out) == 3
    assert "evaluate into another --out" in capsys.readouterr().err
