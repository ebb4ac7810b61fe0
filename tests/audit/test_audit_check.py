"""A directory held against its audit log: what was changed is found, and found by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rekadapter.cli.feed_reports import written_up
from rekadapter.evaluation.summary import summarize
from rekadapter.sinks.audit import AUDIT_FILE, AuditLog, Ended, Reported, Said, Search
from rekadapter.sinks.audit_check import check_log
from rekadapter.sinks.audit_report import head_of
from rekadapter.sinks.run_directory import read_run
from rekadapter.testing.runs import RunBuilder, Transit


def _builder(state: str = "finished") -> RunBuilder:
    builder = RunBuilder(cameras={"lobby": 12}, state=state)
    builder.transit("local", Transit("lobby", 2, 6, subject="ann"))
    builder.transit("rekognition", Transit("lobby", 2, 6))
    builder.request("rekognition", "lobby")
    return builder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole") / "run"
    _builder().write(directory)
    written_up(directory)
    return directory


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def _records(directory: Path, kind: str) -> list[dict[str, object]]:
    lines = (directory / AUDIT_FILE).read_bytes().splitlines()
    return [one["record"] for one in map(json.loads, lines) if one["kind"] == kind]


def test_a_run_as_it_was_left_fits(run: Path) -> None:
    findings = check_log(run)
    assert findings.misfits == ()
    assert findings.head == head_of(run)


def test_the_log_says_under_which_rules_what_was_said(run: Path) -> None:
    (began,) = _records(run, "began")
    assert began["inputs"] == {"lobby.mp4": "1" * 64}
    assert [(one["name"], one["threshold"]) for one in began["systems"]] == [  # type: ignore[attr-defined]
        ("local", 60.0),
        ("rekognition", 80.0),
    ]
    (ann,) = [one for one in _records(run, "said") if one["subject"] == "ann"]
    assert (ann["threshold"], ann["supporting"], ann["searched"]) == (60.0, 5, 5)
    (unknown,) = [one for one in _records(run, "said") if one["subject"] is None]
    assert unknown["reason"] == "BELOW_THRESHOLD"
    assert len(_records(run, "search")) == 24


def test_writing_the_same_report_again_adds_nothing(run: Path) -> None:
    before = (run / AUDIT_FILE).read_bytes()
    written_up(run)
    assert (run / AUDIT_FILE).read_bytes() == before


def _change(file: Path, change: Callable[[bytes], bytes]) -> None:
    data = file.read_bytes()
    file.write_bytes(change(data))
    assert file.read_bytes() != data


def test_a_changed_answer_is_named_by_its_record_and_line(run: Path) -> None:
    _change(
        run / "observations.jsonl",
        lambda data: (
            data.replace(b'"eye_distance_px":40.0', b'"eye_distance_px":70.0', 1)
            if b'"eye_distance_px":40.0' in data
            else data.replace(b'"confidence":99.0', b'"confidence":98.0', 1)
        ),
    )
    first = check_log(run).misfits[0]
    line = next(
        place
        for place, one in enumerate(_records(run, "search"), start=1)
        if one["subject"] == "ann"
    )
    assert first.record == line
    assert first.why == f"line {line} of observations.jsonl is not what was written"


@pytest.mark.parametrize(
    "name", ["run.json", "observations.jsonl", "tracks.jsonl", "ledger.jsonl", "answers.jsonl"]
)
@pytest.mark.parametrize("change", ["added to", "gone"])
def test_no_file_of_an_ended_run_may_change(name: str, change: str, run: Path) -> None:
    if change == "gone":
        (run / name).unlink()
    else:
        _change(run / name, lambda data: data + b"\n")
    findings = check_log(run)
    assert not findings.intact
    assert name in " ".join(one.why for one in findings.misfits)


def test_a_changed_page_is_found_and_casts_no_doubt_on_the_numbers(run: Path) -> None:
    _change(run / "report.html", lambda data: data.replace(b"<h1>", b"<h1>Best "))
    assert [one.why for one in check_log(run).misfits] == ["report.html is not as it was"]
    assert summarize(read_run(run)).doubts == ()


def test_a_decision_rewritten_in_the_log_breaks_the_chain_after_it(run: Path) -> None:
    _change(run / AUDIT_FILE, lambda data: data.replace(b'"subject":"ann"', b'"subject":"bob"', 1))
    first = check_log(run).misfits[0]
    assert "does not carry the hash of record" in first.why
    assert "audit log" in " ".join(summarize(read_run(run)).doubts)


@pytest.mark.parametrize("taken", [1, 2])
def test_records_taken_off_the_end_are_missed_where_the_run_says_it_ended(
    taken: int, run: Path
) -> None:
    head = head_of(run)
    assert head is not None
    _change(run / AUDIT_FILE, lambda data: b"".join(data.splitlines(keepends=True)[:-taken]))
    assert check_log(run, noted=head.sha256).misfits[-1].why.startswith("no record has the noted")
    assert check_log(run).intact == (taken == 1)  # the report's own record; then the run's end


def test_a_log_written_anew_fits_and_only_the_noted_head_tells(run: Path, tmp_path: Path) -> None:
    noted = head_of(run)
    assert noted is not None
    assert check_log(run, noted=noted.sha256).intact
    forged = _builder()
    forged.transit("local", Transit("lobby", 8, 10, subject="bob"))
    forged.write(tmp_path / "forged")
    assert check_log(tmp_path / "forged").intact
    assert not check_log(tmp_path / "forged", noted=noted.sha256).intact


def test_a_killed_run_fits_as_far_as_it_came(tmp_path: Path) -> None:
    _builder("running").write(tmp_path / "run")
    assert check_log(tmp_path / "run").intact
    lines = tmp_path / "run" / "observations.jsonl"
    # killed between a line and its record
    _change(lines, lambda data: data + data.splitlines(keepends=True)[0])
    assert check_log(tmp_path / "run").intact
    _change(lines, lambda data: data + data.splitlines(keepends=True)[0])
    assert "have no record" in check_log(tmp_path / "run").misfits[0].why


def test_an_emptied_log_does_not_fit(tmp_path: Path) -> None:
    _builder("running").write(tmp_path / "run")
    (tmp_path / "run" / AUDIT_FILE).write_bytes(b"")
    assert [one.why for one in check_log(tmp_path / "run").misfits] == [
        "audit.jsonl holds no record"
    ]


def test_a_damaged_run_is_reported_without_being_noted(run: Path) -> None:
    before = (run / AUDIT_FILE).read_bytes()
    _change(run / "tracks.jsonl", lambda data: data[: data.rfind(b"\n", 0, -1) + 1])
    result = written_up(run)
    assert result.head is None
    assert result.evaluation.run.doubts
    assert "damaged" in result.report.read_text(encoding="utf-8")
    assert (run / AUDIT_FILE).read_bytes() == before


def test_a_name_in_a_log_never_leads_out_of_the_directory(run: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    log = AuditLog(run)
    state = next(iter(log.found(Reported)[1].written.values()))  # type: ignore[index]
    log.add(Ended("r", "finished", None, {"../secret": state, "/etc/passwd": state}))
    log.close()
    why = [one.why for one in check_log(run).misfits]
    assert why == ["../secret is missing", "/etc/passwd is missing"]


def test_a_record_of_an_unknown_kind_does_not_fit(run: Path) -> None:
    log = AuditLog(run)
    log._chain.append("rumor", b"{}")
    log.close()
    assert "knows no record 'rumor'" in check_log(run).misfits[0].why


def test_records_hold_no_picture_and_no_template() -> None:
    fields = {*Search.__dataclass_fields__, *Said.__dataclass_fields__}
    assert not fields & {"template", "vector", "embedding", "image", "jpeg"}
