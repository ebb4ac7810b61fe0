"""`rekadapter evaluate` and `rekadapter report` from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rekadapter.cli import run
from tests.evaluate.drawn_people import people_folders


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return people_folders(tmp_path / "people", 6)


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_an_evaluation_writes_a_report_and_refuses_to_conclude(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(["evaluate", str(data), "--backend", "memory", "--out", str(out)]) == 0
    assert "not enough evidence" in capsys.readouterr().out
    report = json.loads((out / "report.json").read_text())
    assert report["data"]["mated_searches"] == 6
    assert report["data"]["nonmated_searches"] == 9
    page = (out / "report.html").read_text()
    assert page.count("not provided") >= 25
    assert str(tmp_path) not in page


def test_the_same_answers_give_the_same_bytes_anywhere(data: Path, tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    run(["evaluate", str(data), "--backend", "memory", "--out", str(out)])
    shutil.copytree(out, elsewhere)
    shutil.rmtree(data)
    for name in ("report.json", "report.html"):
        (elsewhere / name).unlink()
    assert run(["report", str(elsewhere)]) == 0
    assert files_of(elsewhere) == files_of(out)


def test_a_second_run_asks_nothing_and_changes_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["evaluate", str(data), "--backend", "memory", "--out", str(out)]
    run(arguments)
    before = files_of(out)
    assert run(arguments) == 0
    assert "nothing will be asked or paid" in capsys.readouterr().err
    assert files_of(out) == before


def test_governance_is_added_without_asking_again(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(["evaluate", str(data), "--backend", "memory", "--out", str(out)])
    answers = (out / "answers.jsonl").read_bytes()
    rules = tmp_path / "rules.toml"
    rules.write_text('[governance]\npurpose = "find <lost> children"\n')
    arguments = ["evaluate", str(data), "--backend", "memory", "--out", str(out)]
    assert run([*arguments, "--rules", str(rules)]) == 0
    assert (out / "answers.jsonl").read_bytes() == answers
    assert "find &lt;lost&gt; children" in (out / "report.html").read_text()


def test_the_plan_is_printed_and_nothing_is_asked(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", str(data), "--plan", "--target-fpir", "0.003"]) == 0
    shown = capsys.readouterr()
    assert "rule of 3" in shown.out
    assert "claim FPIR at most 0.003" in shown.out
    assert "too few for any rate" in shown.err


def test_calls_that_cost_more_than_allowed_are_not_made(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", str(data), "--backend", "rekognition", "--out", str(tmp_path / "o")]
    assert run([*arguments, "--max-usd", "0.01"]) == 2
    assert "--max-usd" in capsys.readouterr().err
    assert not (tmp_path / "o" / "requests.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["evaluate"], "name a data set"),
        (["evaluate", "nowhere"], "does not exist"),
    ],
)
def test_a_usage_error_is_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    shown = capsys.readouterr().err
    assert says in shown
    assert len(shown.splitlines()) == 1


def test_an_evaluation_directory_keeps_to_its_photographs(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run(["evaluate", str(data), "--backend", "memory", "--out", str(out)])
    other = people_folders(tmp_path / "others", 5)
    assert run(["evaluate", str(other), "--backend", "memory", "--out", str(out)]) == 2
    assert "other photographs" in capsys.readouterr().err


@pytest.mark.slow
def test_ten_real_people_give_a_full_report_that_refuses(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["evaluate", str(shared_data / "faces"), "-b", "local", "-b", "memory"]
    assert run([*arguments, "--out", str(out)]) == 0
    report = json.loads((out / "report.json").read_text())
    shipped = next(
        row
        for row in report["accuracy"]
        if row["system"] == "local" and row["basis"] == "shipped_default"
    )
    assert (shipped["fnir"]["errors"], shipped["fpir"]["errors"]) == (0, 0)
    assert shipped["fnir"]["value"] is None
    results = {one["system"]: one["result"] for one in report["conclusions"]}
    assert results == {"local": "not enough evidence", "memory": "fail"}
